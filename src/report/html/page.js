// The page's script: filters, the keyboard, and what a cell shows when it is opened. Everything from the report becomes a
// text node; nothing here makes markup of a text, and the page's policy forbids it.
(() => {
"use strict";

const byId = (id) => document.getElementById(id);
const dataOf = (id) => { const node = byId(id); return node ? JSON.parse(node.textContent) : null; };
const rules = dataOf("rules") ?? {};
const links = [...document.querySelectorAll("a.cell")];
const dialog = byId("cell");

/** An element; strings among the children become text nodes. */
function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

const many = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`;

/** Microseconds, for people. */
function time(us) {
  if (us < 10_000) return `${(us / 1000).toFixed(1)} ms`;
  if (us < 1_000_000) return `${Math.round(us / 1000)} ms`;
  return `${(us / 1_000_000).toFixed(2)} s`;
}

// ── The matrix: filters and keyboard ─────────────────────────────────────────────────────────────────────────────────

const table = document.querySelector("table.grid");
const body = table ? [...table.tBodies[0].rows] : [];
/** Per line, per column, the links. */
const grid = body.map((row) => [...row.cells].slice(1).map((cell) => [...cell.querySelectorAll("a.cell")]));
/** The heads with the columns that they span. */
const heads = table ? [...table.tHead.rows].flatMap((row) => {
  let at = 0;
  return [...row.cells].filter((cell) => !cell.classList.contains("corner")).map((cell) => {
    const from = at;
    at += cell.colSpan;
    return { cell, from, to: at };
  });
}) : [];
const shows = (link) => !link.classList.contains("out");

function filter() {
  const form = byId("filters");
  const asked = Object.fromEntries(new FormData(form));
  const words = (asked.text ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  delete asked.text;
  const wanted = Object.entries(asked).filter(([, value]) => value !== "");
  for (const link of links) {
    const text = `${link.getAttribute("aria-label")} ${link.dataset.target} ${link.dataset.codes}`.toLowerCase();
    const fits = wanted.every(([key, value]) => link.dataset[key] === value) && words.every((word) => text.includes(word));
    link.classList.toggle("out", !fits);
    if (fits) link.removeAttribute("aria-hidden"); else link.setAttribute("aria-hidden", "true");
  }
  grid.forEach((line, y) => { body[y].hidden = !line.flat().some(shows); });
  const open = (grid[0] ?? []).map((_, x) => grid.some((line) => line[x].some(shows)));
  body.forEach((row) => open.forEach((is, x) => { row.cells[x + 1].hidden = !is; }));
  for (const { cell, from, to } of heads) {
    const span = open.slice(from, to).filter(Boolean).length;
    cell.hidden = span === 0;
    if (span > 0) cell.colSpan = span;
  }
  const fitting = links.filter(shows);
  byId("shown").textContent = fitting.length === links.length
    ? many(links.length, "cell") : `${fitting.length.toLocaleString("en")} of ${many(links.length, "cell")}`;
  rove(fitting.includes(current) ? current : fitting.find((link) => link.dataset.class !== "passed") ?? fitting[0]);
}

/** The one cell that the Tab key reaches. */
let current = null;
function rove(link) {
  if (current) current.tabIndex = -1;
  current = link ?? null;
  if (current) current.tabIndex = 0;
}

function placeOf(link) {
  const cell = link.closest("td");
  return [cell.cellIndex - 1, body.indexOf(cell.parentNode)];
}

/** The next visible cell from a place into a direction. */
function step(x, y, dx, dy) {
  for (x += dx, y += dy; y >= 0 && y < grid.length && x >= 0 && x < grid[y].length; x += dx, y += dy) {
    const link = grid[y][x].find(shows);
    if (link) return link;
  }
  return null;
}

function onKey(event) {
  const link = event.target.closest?.("a.cell");
  if (!link || event.altKey || event.metaKey) return;
  const [x, y] = placeOf(link);
  const all = links.filter(shows);
  const line = grid[y].flat().filter(shows);
  const to = {
    ArrowRight: () => step(x, y, 1, 0), ArrowLeft: () => step(x, y, -1, 0),
    ArrowDown: () => step(x, y, 0, 1), ArrowUp: () => step(x, y, 0, -1),
    Home: () => (event.ctrlKey ? all : line)[0], End: () => (event.ctrlKey ? all : line).at(-1),
    " ": () => { location.hash = link.getAttribute("href"); return null; },
  }[event.key];
  if (!to) return;
  event.preventDefault();
  const next = to();
  if (next) { rove(next); next.focus(); }
}

if (table) {
  const form = byId("filters");
  form.hidden = false;
  byId("hint").hidden = false;
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  // The fields have their first values again only after the event.
  form.addEventListener("reset", () => setTimeout(filter));
  // What sticks beside the first column has to know how wide that is.
  table.style.setProperty("--first", `${table.querySelector(".corner").offsetWidth}px`);
  table.addEventListener("keydown", onKey);
  table.addEventListener("focusin", (event) => { const link = event.target.closest("a.cell"); if (link) rove(link); });
  table.addEventListener("mouseover", (event) => {
    const link = event.target.closest("a.cell");
    if (link && !link.title) link.title = link.getAttribute("aria-label");
  });
  filter();
}

for (const more of document.querySelectorAll("button.more")) {
  more.addEventListener("click", () => {
    const form = byId("filters");
    form.reset();
    form.elements.text.value = `${more.dataset.text} ${more.dataset.target}`;
    filter();
    byId("matrix").scrollIntoView();
    current?.focus();
  });
}

// ── An opened cell ───────────────────────────────────────────────────────────────────────────────────────────────────

const sign = (name) => el("span", { class: "sign", "aria-hidden": "true" }, name);
const tag = (text, extra) => el("span", { class: `tag ${extra ?? ""}` }, text);
/** A text of ours, in which `code` is marked. */
const prose = (text) => text.split("`").map((part, i) => (i % 2 ? el("code", {}, part) : part));
const section = (title, ...children) => el("section", {}, el("h3", {}, title), ...children);
const left = (cut) => cut.left_out ? `${many(cut.left_out, "byte")} left out` : null;

/** A cite as a link to the place in this view, where it has one. */
function cite(text, id) {
  const place = /^(exchange|behind) (\d+)|^launch (\d+)(?: stdout:(\d+))?/.exec(text);
  if (!place) return el("code", {}, text);
  const to = place[1] ? `${place[1]}-${place[2]}` : `launch-${place[3]}${place[4] ? `-${place[4]}` : ""}`;
  return el("a", { href: `#${id}!${to}`, class: "cite", "data-place": to }, text);
}

function findings(data, id) {
  if (data.findings.length === 0) return null;
  const cards = data.findings.map((finding) => {
    const rule = rules[finding.code];
    return el("li", { class: `finding ${finding.severity}` },
      el("p", { class: "name" }, rule ? prose(rule.name) : finding.code),
      el("p", { class: "tags" }, tag(finding.suspect, "suspect"), tag(finding.severity), el("code", {}, finding.code)),
      el("p", { class: "message" }, finding.message),
      finding.cites.length ? el("p", { class: "cites" }, "see ", finding.cites.flatMap((text, i) => [i ? ", " : "", cite(text, id)])) : null,
      rule ? el("dl", { class: "advice" }, el("dt", {}, "Why it matters"), el("dd", {}, prose(rule.why)), el("dt", {}, "What to do"), el("dd", {}, prose(rule.advice))) : null);
  });
  return section("Findings", el("ul", { class: "findings" }, cards), data.more_findings ? el("p", { class: "left" }, `and ${data.more_findings} more`) : null);
}

/** A piece of a bar, as part of what the clock shows. */
function piece(kind, from, to, clock, title) {
  const node = el("i", { class: kind, title });
  const at = (us) => 100 * Math.min(1, Math.max(0, (us - clock.from_us) / clock.span));
  node.style.left = `${at(from)}%`;
  node.style.width = `${at(to) - at(from)}%`;
  return node;
}

/** Marks one after the other; neighbours of one name are one. */
function runs(marks) {
  const out = [];
  for (const [at, name] of marks) {
    const last = out.at(-1);
    if (last && last.name === name) { last.n += 1; last.to = at; } else out.push({ name, n: 1, from: at, to: at });
  }
  return out;
}

function lane(row, clock) {
  // A head alone tells nobody anything: the wait ends with the first that came.
  const answered = row.answered_us === null ? row.to_us : row.marks[0]?.[0] ?? row.answered_us;
  const nearer = row.side === "exchange";
  const who = nearer ? "client → gateway" : "gateway → provider";
  const spoken = `${who} ${row.id}: ${row.request}, ${row.status === null ? "no response" : `status ${row.status}`}; sent in `
    + `${time(row.sent_us - row.from_us)}, waited ${time(answered - row.sent_us)}, `
    + `${row.answered_us === null ? "nothing came" : `answered over ${time(row.to_us - answered)} (${many(row.bytes, "byte")})`}`
    + `${row.trouble ? `; ${row.trouble}` : ""}`;
  const ticks = row.marks.map(([at, name]) => piece("tick", at, at, clock, `${time(at - clock.from_us)} ${name}`));
  const bad = row.trouble || (row.status !== null && row.status >= 400);
  return el("details", { class: `lane ${row.side}${bad ? " bad" : ""}` },
    el("summary", { "aria-label": spoken },
      el("span", { class: "who" }, el("b", {}, `${nearer ? "client" : "provider"} ${row.id}`), el("span", {}, row.request)),
      el("span", { class: "track" },
        piece("sent", row.from_us, row.sent_us, clock, `request, ${time(row.sent_us - row.from_us)}`),
        piece("wait", row.sent_us, answered, clock, `waiting, ${time(answered - row.sent_us)}`),
        row.answered_us === null ? null : piece("got", answered, row.to_us, clock, `response, ${time(row.to_us - answered)}`),
        ticks),
      el("span", { class: "took" }, el("b", {}, row.status === null ? "—" : String(row.status)), ` ${time(row.to_us - row.from_us)}`)),
    el("p", { class: "spoken" }, `${spoken}.`),
    el("ol", { class: "marks" }, runs(row.marks).map((run) => el("li", {},
      el("span", { class: "at" }, time(run.from - clock.from_us)), el("span", {}, run.name),
      run.n > 1 ? el("span", { class: "n" }, `× ${run.n}, until ${time(run.to - clock.from_us)}`) : null))),
    row.more_marks ? el("p", { class: "left" }, `and ${row.more_marks} more`) : null);
}

function lanes(timeline) {
  const clock = { from_us: timeline.from_us, span: Math.max(1, timeline.to_us - timeline.from_us) };
  const launches = timeline.launches.map((launch, i) => {
    const took = time(launch.to_us - launch.from_us);
    const before = launch.from_us < clock.from_us ? `, asks for the first time after ${time(clock.from_us - launch.from_us)}` : "";
    return el("div", { class: "lane process", id: `at-launch-${i + 1}` },
      el("span", { class: "who" }, el("b", {}, `launch ${i + 1}`), el("span", { title: launch.end + before }, launch.end)),
      el("span", { class: "track" }, piece("life", launch.from_us, launch.to_us, clock, `${took}, ${launch.end}${before}`)),
      el("span", { class: "took" }, took));
  });
  const ticks = [0, 0.25, 0.5, 0.75, 1].map((part) => {
    const node = el("span", {}, part === 0 ? "0" : time(part * clock.span));
    node.style.left = `${100 * part}%`;
    return node;
  });
  return el("div", { class: "clock" },
    el("div", { class: "axis", "aria-hidden": "true" }, el("span", {}, "since the first request"), el("div", {}, ticks)),
    launches, timeline.rows.map((row) => lane(row, clock)),
    timeline.left_out ? el("p", { class: "left" }, `and ${many(timeline.left_out, "further exchange")}, in the evidence`) : null,
    el("p", { class: "key", "aria-hidden": "true" }, el("i", { class: "sent" }), "request", el("i", { class: "wait" }), "waiting", el("i", { class: "got" }), "response", el("i", { class: "tick" }), "event"));
}

function sheetRow(row, two) {
  const [[kind, value]] = Object.entries(row);
  const line = (text, extra) => el("div", { class: `line ${extra ?? ""}` }, text);
  const parts = ([before, middle, after]) => [before, middle ? el("mark", {}, middle) : "", after];
  switch (kind) {
    case "=": return two ? [line(value), line(value, "twin")] : [line(value)];
    case "~": return [line(parts(value[0]), "gone"), line(parts(value[1]), "new")];
    case "-": return [line(value, "gone"), line("", "void")];
    case "+": return [line("", "void"), line(value, "new")];
    case "|": return [line(value[0]), line(value[1])];
    default: return [line(`${many(value, "equal line")}`, "skipped")];
  }
}

function sheet(data) {
  const two = data.heads.length > 1;
  return el("div", { class: "side" },
    el("div", { class: "lines heads" }, data.heads.map((head, i) => el("h4", { class: i ? "new" : "gone" }, head))),
    two && data.same ? el("p", { class: "equal" }, "✓ Nothing differs but what every hop sets anew.") : null,
    data.note ? el("p", { class: "left" }, data.note) : null,
    el("div", { class: `lines ${two ? "two" : "one"}`, tabindex: "0", role: "group", "aria-label": data.heads.join(" and ") }, data.rows.map((row) => sheetRow(row, two))),
    data.left_out ? el("p", { class: "left" }, `${many(data.left_out, "further line")}, in the evidence`) : null);
}

function pair(data) {
  const name = [data.exchange === null ? null : `client ${data.exchange}`, data.behind === null ? null : `provider ${data.behind}`].filter(Boolean).join(" → ");
  const differs = [data.request, data.response].some((side) => side.heads.length > 1 && !side.same);
  const node = el("details", { class: "pair" },
    el("summary", {}, el("b", {}, name), ` ${data.title} `, differs ? tag("sides differ", "suspect") : null));
  // The lines are laid out when they are looked at.
  node.addEventListener("toggle", () => { if (node.open && node.childElementCount === 1) node.append(sheet(data.request), sheet(data.response)); });
  return node;
}

/** Lines of output; neighbours that are the same kind of event of a stream are one. */
function groups(lines) {
  const out = [];
  for (const line of lines) {
    const last = out.at(-1)?.[0];
    if (last && line.kind === "stream_event" && last.kind === line.kind && last.says === line.says) out.at(-1).push(line);
    else out.push([line]);
  }
  return out;
}

function output(launch, i) {
  const shown = (group) => {
    const [from, to] = [group[0].n, group.at(-1).n];
    return el("details", { "data-launch": String(i + 1), "data-from": String(from), "data-to": String(to) },
      el("summary", {}, el("span", { class: "at" }, from === to ? String(from) : `${from}–${to}`), el("b", {}, group[0].kind), " ", group[0].says),
      el("pre", {}, group.map((line) => line.raw).join("\n")));
  };
  return el("div", { class: "output" }, el("p", { class: "args" }, el("code", {}, `claude ${launch.args}`)), groups(launch.lines).map(shown),
    launch.more ? el("p", { class: "left" }, `${many(launch.more, "further line")}, in the evidence`) : null);
}

function seen(data) {
  if (data.seen.Err !== undefined) return [section("Evidence", el("p", { class: "left" }, `The evidence cannot be shown: ${data.seen.Err}.`))];
  const { timeline, full } = data.seen.Ok;
  const out = [section("Timeline", lanes(timeline))];
  if (!full) return [...out, el("p", { class: "left" }, "Of a cell that passed, the requests and answers stand in the evidence alone.")];
  if (full.remarks.length) out.push(section("Remarks", el("ul", {}, full.remarks.map((words) => el("li", {}, words)))));
  if (full.pairs.length) {
    out.push(section("Both sides", full.pairs.map(pair), full.more_pairs ? el("p", { class: "left" }, `and ${full.more_pairs} more, in the evidence`) : null));
  }
  if (full.launches.length) out.push(section("The client's output", full.launches.map(output)));
  if (full.provider.length) out.push(section("The scripted provider's account", el("ol", { start: "0" }, full.provider.map((words) => el("li", {}, words)))));
  return out;
}

function facts(data) {
  const usage = data.usage;
  const entries = [
    ["Took", `${data.duration_s.toFixed(2)} s`], ["Requests", String(data.requests)],
    ["Tokens", `${usage.input_tokens} in, ${usage.output_tokens} out, ${usage.cache_read_input_tokens} read from the cache, ${usage.cache_creation_input_tokens} written`],
    ["Cost", data.cost_usd === null ? "not told" : `$${data.cost_usd.toFixed(6)}`],
    ["Exit code", data.returncode === null ? "none" : String(data.returncode)],
    ["By text alone", `${data.text_verdict.classification.replaceAll("_", " ")} (rule ${data.text_verdict.rule})`],
    ["Probe", data.probe], ["Model from", data.source], ["Evidence", data.evidence_path],
  ];
  return el("dl", { class: "facts" }, entries.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

function attempts(data) {
  if (data.attempts.length < 2 && data.control_path === null) return null;
  const list = data.attempts.map((attempt) => el("li", {}, tag(attempt.classification.replaceAll("_", " "), attempt.classification), ` ${attempt.duration_s.toFixed(2)} s `, el("code", {}, attempt.evidence_path)));
  return section("Attempts and control", el("ol", {}, list), data.more_attempts ? el("p", { class: "left" }, `and ${data.more_attempts} more`) : null,
    data.control_path === null ? null : el("p", {}, "The same without the gateway: ", el("code", {}, data.control_path)),
    data.control ? lanes(data.control) : null);
}

function excerpts(data) {
  if (data.excerpts.length === 0) return null;
  return section("The end of what was written", data.excerpts.map(([name, cut]) => el("details", {},
    el("summary", {}, el("b", {}, name), " ", el("span", { class: "left" }, left(cut))), el("pre", { tabindex: "0" }, cut.text))));
}

/** Whether the cell was opened by going there, so that going back leaves it. */
let arrived = false;
let openId = null;

function show(id) {
  const data = dataOf(`data-${id}`);
  const link = byId(`at-${id}`);
  if (!data || !link) return false;
  openId = id;
  byId("cell-head").replaceChildren(sign(link.querySelector(".sign").textContent), ` ${link.closest("tr").cells[0].textContent}`);
  byId("cell-head").className = link.dataset.class;
  byId("cell-sub").replaceChildren(tag(link.dataset.class.replaceAll("_", " "), link.dataset.class),
    ...(link.dataset.suspect ? [tag(link.dataset.suspect, "suspect")] : []), ` ${link.dataset.target} · ${link.dataset.model} · claude ${link.dataset.version}`);
  byId("cell-body").replaceChildren(...[findings(data, id), ...seen(data), attempts(data), excerpts(data), section("Facts", facts(data))].filter(Boolean));
  byId("cell-body").scrollTop = 0;
  if (!dialog.open) dialog.showModal();
  byId("cell-head").focus({ preventScroll: true });
  rove(link);
  return true;
}

/** Opens the place that a cite names, and leads there. */
function lead(place) {
  const [kind, n, line] = place.split("-");
  const find = () => {
    if (kind === "launch") {
      const holds = (node) => node.dataset.launch === n && Number(node.dataset.from) <= Number(line) && Number(line) <= Number(node.dataset.to);
      return [...document.querySelectorAll("details[data-launch]")].find(holds) ?? byId(`at-launch-${n}`);
    }
    const name = `${kind === "exchange" ? "client" : "provider"} ${n}`;
    return [...document.querySelectorAll("details.pair > summary > b")].find((b) => b.textContent.split(" → ").includes(name))?.closest("details")
      ?? [...document.querySelectorAll(`details.lane.${kind} b`)].find((b) => b.textContent === name)?.closest("details");
  };
  const node = find();
  if (!node) return;
  if (node.tagName === "DETAILS") node.open = true;
  node.scrollIntoView({ block: "start" });
  (node.querySelector("summary") ?? node).focus();
}

function route() {
  const [id, place] = location.hash.slice(1).split("!");
  if (id.startsWith("cell-") && (id === openId || show(id))) {
    if (place) lead(place);
    return;
  }
  if (dialog.open) {
    dialog.close();
    const link = byId(`at-${openId}`);
    openId = null;
    link?.focus();
  }
}

function leave() {
  if (arrived) { history.back(); return; }
  history.replaceState(null, "", "#matrix");
  route();
}

/** To the next cell that did not pass, or of all where all did. */
function turn(by) {
  const visible = links.filter((link) => shows(link) || link.id === `at-${openId}`);
  const failed = visible.filter((link) => link.dataset.class !== "passed" || link.id === `at-${openId}`);
  const list = failed.length > 1 ? failed : visible;
  const at = list.findIndex((link) => link.id === `at-${openId}`);
  const next = list[(at + by + list.length) % list.length];
  if (!next) return;
  history.replaceState(null, "", next.getAttribute("href"));
  show(next.id.slice("at-".length));
}

addEventListener("hashchange", () => { if (!openId) arrived = true; route(); });
addEventListener("popstate", () => { if (!location.hash.startsWith("#cell-")) arrived = false; });
dialog.addEventListener("cancel", (event) => { event.preventDefault(); leave(); });
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) leave();
  const link = event.target.closest("a.cite");
  if (link) { event.preventDefault(); history.replaceState(null, "", link.getAttribute("href")); lead(link.dataset.place); }
});
dialog.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === "j") turn(1);
  if (event.key === "k") turn(-1);
});
byId("close").addEventListener("click", leave);
byId("next").addEventListener("click", () => turn(1));
byId("previous").addEventListener("click", () => turn(-1));
route();
})();
