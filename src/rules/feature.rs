//! Rules about the feature itself: what the probe's expectations ask for, seen in the model's answers and the tools' results
//! and never in the prompt.

use std::path::{Component, Path};

use serde_json::Value;

use crate::case::{Call, Case, ToolCall, answer_text, offers, result_text};
use crate::finding::Suspect;
use crate::messages::Answer as Message;
use crate::probe::{Answer, Thinking, ToolExpect};
use crate::transcript::ResultLine;
use crate::verdict::Classification;

use super::{Found, shorten};

pub(super) fn tool_not_offered(case: &Case<'_>) -> Vec<Found> {
    let Some(first) = case.calls.first().filter(|c| c.request.is_object()) else { return Vec::new() };
    // Side requests offer no tools, so that one request is enough.
    let missing = case.probe.tools.iter().filter(|t| !case.calls.iter().any(|c| offers(&c.request, t)));
    missing
        .map(|t| {
            Found::new(Suspect::Client, format!("no request offers the tool {t}"))
                .at(first)
                .class(Classification::HarnessBug)
        })
        .collect()
}

pub(super) fn thinking_not_requested(case: &Case<'_>) -> Vec<Found> {
    let Some(wanted) = &case.probe.expect.thinking else { return Vec::new() };
    let Some(first) = case.main_calls().next().filter(|_| !case.main_calls().any(Call::asks_for_thinking)) else {
        return Vec::new();
    };
    let finding = Found::new(Suspect::Client, "no request asks for thinking").at(first);
    vec![finding.cite(case.probe.cite(&wanted.span())).class(Classification::HarnessBug)]
}

fn is_signed_thinking(block: &Value) -> bool {
    let signed = block["signature"].as_str().is_some_and(|s| !s.is_empty());
    (block["type"] == "thinking" && signed) || block["type"] == "redacted_thinking"
}

pub(super) fn thinking_absent(case: &Case<'_>) -> Vec<Found> {
    let Some(wanted) = &case.probe.expect.thinking else { return Vec::new() };
    let (kind, place) = match wanted.get_ref() {
        Thinking::BeforeText => ("text", "the answer's text"),
        Thinking::BeforeTool => ("tool_use", "the tool call"),
    };
    let unsigned_will_do = case.may_change("thinking_signature");
    let is_thinking = |b: &Value| is_signed_thinking(b) || (unsigned_will_do && b["type"] == "thinking");
    let in_front = |answer: &Message| {
        let thought = answer.blocks.iter().position(is_thinking);
        let spoke = answer.blocks.iter().position(|b| b["type"] == kind);
        thought.zip(spoke).is_some_and(|(t, s)| t < s)
    };
    let answers: Vec<_> = case.main_calls().filter_map(|c| Some((c, c.answer()?))).collect();
    // Where no answer of that kind came at all, thinking is not what is wrong.
    let Some((last, _)) = answers.iter().rfind(|(_, a)| a.blocks_of(kind).next().is_some()) else { return Vec::new() };
    if answers.iter().any(|(_, a)| in_front(a)) {
        return Vec::new();
    }
    let message = format!("no signed thinking stands in front of {place}");
    vec![Found::new(case.far(), message).at(last).cite(case.probe.cite(&wanted.span()))]
}

pub(super) fn thinking_not_replayed(case: &Case<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for (i, call) in case.calls.iter().enumerate() {
        let Some(answer) = call.answer() else { continue };
        let Some(id) = answer.blocks_of("tool_use").find_map(|b| b["id"].as_str()) else { continue };
        let issued: Vec<&Value> = answer.blocks.iter().filter(|b| is_signed_thinking(b)).collect();
        let later = case.calls.iter().skip(i + 1).find_map(|c| Some((c, turn_with_call(&c.request, id)?)));
        let Some((later, turn)) = later.filter(|(c, _)| c.asks_for_thinking()) else { continue };
        let sent_back: Vec<&Value> = turn.into_iter().filter(|b| is_signed_thinking(b)).collect();
        let same = issued.len() == sent_back.len()
            && issued
                .iter()
                .zip(&sent_back)
                .all(|(a, b)| a["thinking"] == b["thinking"] && a["signature"] == b["signature"]);
        if !same {
            let message = format!(
                "{} brought {} signed thinking blocks with the tool call {id}, {} sends back {}{}",
                call.cite(),
                issued.len(),
                later.cite(),
                sent_back.len(),
                if issued.len() == sent_back.len() { ", altered" } else { "" },
            );
            // A client drops thinking when it was refused with it; then whoever refused is to blame.
            let refused = case.calls.iter().any(|c| {
                (call.exchange.id..later.exchange.id).contains(&c.exchange.id) && c.status().is_some_and(|s| s >= 400)
            });
            let suspect = if refused { case.far() } else { Suspect::Client };
            found.push(Found::new(suspect, message).at(later).cite(call.cite()));
        }
    }
    found
}

/// The content of the assistant turn that holds the tool call. Consecutive messages of one role are one turn.
fn turn_with_call<'a>(request: &'a Value, id: &str) -> Option<Vec<&'a Value>> {
    let messages = request["messages"].as_array()?;
    let turns = messages.chunk_by(|a, b| a["role"] == b["role"]).filter(|turn| turn[0]["role"] == "assistant");
    turns
        .map(|turn| turn.iter().filter_map(|m| m["content"].as_array()).flatten().collect::<Vec<_>>())
        .find(|blocks| blocks.iter().any(|b| b["type"] == "tool_use" && b["id"] == id))
}

pub(super) fn tool_unexpected(case: &Case<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for tool in case.tool_calls() {
        let call = &case.calls[tool.call];
        let name = tool.block["name"].as_str().unwrap_or_default();
        if !offers(&call.request, name) {
            let message = format!("{} calls the tool {name:?}, which was not offered", call.cite());
            // A model makes a tool up; it does not misspell the name it was given.
            let misspelt = offered_like(&call.request, name);
            found.push(Found::new(if misspelt { case.far() } else { case.author() }, message).at(call));
        } else if let Some(path) = tool.block["input"]["file_path"].as_str().filter(|p| !in_workspace(case, p)) {
            let message = format!("{} lets {name} work on {:?}, outside the workspace", call.cite(), shorten(path));
            found.push(Found::new(case.author(), message).at(call));
        }
    }
    found
}

/// Whether a request offers a tool whose name is that one but for its case, a prefix, or a cut.
fn offered_like(request: &Value, name: &str) -> bool {
    let name = name.to_lowercase();
    let tools = request["tools"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut offered = tools.iter().filter_map(|t| t["name"].as_str()).map(str::to_lowercase);
    !name.is_empty() && offered.any(|tool| tool.contains(&name) || name.contains(&tool))
}

fn in_workspace(case: &Case<'_>, path: &str) -> bool {
    let path = Path::new(path);
    let climbs = path.components().any(|c| c == Component::ParentDir);
    !climbs && (path.is_relative() || path.starts_with(&case.evidence.cell.vars.workspace))
}

/// The tool call that an expectation speaks of: one with the right arguments, else any of that name.
fn find_call<'c>(case: &'c Case<'_>, wanted: &ToolExpect) -> (Option<ToolCall<'c>>, bool) {
    let calls: Vec<_> = case
        .tool_calls()
        .into_iter()
        .filter(|t| t.block["name"] == wanted.name.as_str() && case.calls[t.call].by_agent == wanted.by_agent)
        .collect();
    let right = |t: &&ToolCall<'_>| {
        wanted.input.iter().all(|(key, value)| {
            let value = case.evidence.cell.vars.fill(value);
            t.block["input"][key].as_str().is_some_and(|found| case.same_argument(found, &value))
        })
    };
    // Of several right ones the last decides: a model may try again after a failed run.
    match calls.iter().rfind(right) {
        Some(call) => (Some(*call), true),
        None => (calls.last().copied(), false),
    }
}

/// Walks the probe's tool expectations.
fn for_each_tool<'c>(
    case: &'c Case<'_>,
    check: impl Fn(&ToolExpect, Option<ToolCall<'c>>, bool) -> Option<Found>,
) -> Vec<Found> {
    let mut found = Vec::new();
    for wanted in &case.probe.expect.tool {
        let (call, right) = find_call(case, wanted.get_ref());
        if let Some(finding) = check(wanted.get_ref(), call, right) {
            found.push(finding.cite(case.probe.cite(&wanted.span())));
        }
    }
    found
}

pub(super) fn tool_not_called(case: &Case<'_>) -> Vec<Found> {
    if case.answers().next().is_none() {
        return Vec::new();
    }
    let an_agent_answered = case.calls.iter().any(|c| c.by_agent && c.answer().is_some());
    for_each_tool(case, |wanted, call, right| match call {
        // Without a sub-agent nobody could call it.
        None if wanted.by_agent && !an_agent_answered => None,
        None => Some(Found::new(case.author(), format!("no answer calls the tool {}", wanted.name))),
        Some(call) if !right => {
            let input = shorten(&call.block["input"].to_string());
            let message = format!("the tool {} was called with other arguments: {input}", wanted.name);
            Some(Found::new(case.author(), message).at(&case.calls[call.call]))
        }
        Some(_) => None,
    })
}

pub(super) fn tool_failed(case: &Case<'_>) -> Vec<Found> {
    for_each_tool(case, |wanted, call, right| {
        let (at, result) = call.filter(|_| right)?.result?;
        if result["is_error"] != true {
            return None;
        }
        let message = format!("the run of {} failed: {}", wanted.name, shorten(&result_text(result)));
        Some(Found::new(Suspect::Client, message).at(&case.calls[at]))
    })
}

pub(super) fn tool_result_wrong(case: &Case<'_>) -> Vec<Found> {
    for_each_tool(case, |wanted, call, _| {
        let (at, result) = call?.result?;
        let must = case.evidence.cell.vars.fill(&wanted.result);
        let text = result_text(result);
        if text.contains(&must) || result["is_error"] == true || is_launch_note(&text) {
            return None;
        }
        // What the workspace never held, no client can return; what a sub-agent was not told, it cannot report.
        let held = case.evidence.workspace.iter().any(|f| f.expected.contains(&must));
        let suspect = match (held, wanted.name.as_str()) {
            (false, _) => Suspect::Harness,
            (true, "Agent") => case.author(),
            (true, _) => Suspect::Client,
        };
        let message = format!("the result of {} does not hold {must}: {:?}", wanted.name, shorten(&text));
        Some(Found::new(suspect, message).at(&case.calls[at]))
    })
}

pub(super) fn tool_result_missing(case: &Case<'_>) -> Vec<Found> {
    for_each_tool(case, |wanted, call, _| {
        let call = call.filter(|c| c.result.is_none())?;
        let message = format!("no request brings a result for the call of {}", wanted.name);
        // A client need not run what stands in a broken answer.
        let broken = case.calls[call.call].answer().is_some_and(|a| a.faults.iter().any(|f| !f.tolerated));
        let suspect = if broken { case.far() } else { Suspect::Client };
        Some(Found::new(suspect, message).cite(case.calls[call.call].cite()))
    })
}

/// Whether a result of the Agent tool only says that the sub-agent runs in the background: its report then comes later, as a
/// notification.
fn is_launch_note(result: &str) -> bool {
    result.starts_with("Async agent launched")
}

pub(super) fn agent_not_run(case: &Case<'_>) -> Vec<Found> {
    let Some(wanted) = &case.probe.expect.agent else { return Vec::new() };
    let place = case.probe.cite(&wanted.span());
    let launched = case.tool_calls().into_iter().rfind(|t| t.block["name"] == "Agent");
    let Some(launch) = launched else {
        if case.answers().next().is_none() {
            return Vec::new();
        }
        return vec![Found::new(case.author(), "no answer launches the sub-agent").cite(place)];
    };
    let finished =
        |c: &&Call<'_>| c.answer().is_some_and(|a| a.finished && a.stop_reason.as_deref() == Some("end_turn"));
    let from_agent: Vec<&Call<'_>> = case.calls.iter().filter(|c| c.by_agent).collect();
    let cited = case.calls[launch.call].cite();
    if from_agent.is_empty() {
        return vec![Found::new(Suspect::Client, "the sub-agent sent no request").cite(cited).cite(place)];
    }
    if !from_agent.iter().any(finished) {
        let last = from_agent.last().map(|c| c.cite()).unwrap_or_default();
        return vec![Found::new(case.far(), "the sub-agent's last answer never came").cite(last).cite(place)];
    }
    let reported = launch.result.is_some_and(|(_, r)| !is_launch_note(&result_text(r)));
    let completed = case.transcript.system("task_notification").any(|l| l.value["status"] == "completed");
    if !reported && !completed {
        let message = "the sub-agent was launched, but its report never reached the main conversation";
        return vec![Found::new(Suspect::Client, message).cite(cited).cite(place)];
    }
    Vec::new()
}

/// The answer to the request that asks for the summary: the last one of the last launch.
fn summary<'c, 'a>(case: &'c Case<'a>) -> Option<(&'c Call<'a>, &'c Message)> {
    let last = case.evidence.launches.len();
    case.answers().rfind(|(c, _)| c.launch == last && c.launch > 1)
}

pub(super) fn compact_not_done(case: &Case<'_>) -> Vec<Found> {
    let Some(wanted) = case.probe.expect.compact.as_ref().filter(|w| *w.get_ref()) else { return Vec::new() };
    let place = case.probe.cite(&wanted.span());
    if case.evidence.launches.len() < case.probe.launch.len() {
        // It never came to the launch that compacts; why not is told by others.
        return Vec::new();
    }
    let said = case.transcript.system("status").find_map(|l| Some((l.place, l.value["compact_error"].as_str()?)));
    let Some((call, _)) = summary(case) else {
        let finding = match said {
            Some((at, words)) => Found::new(Suspect::Client, format!("the client did not compact: {words}")).cite(at),
            None => Found::new(Suspect::Client, "no answered compaction request was seen"),
        };
        return vec![finding.cite(place)];
    };
    let boundary =
        case.transcript.system("compact_boundary").any(|l| l.value["compact_metadata"]["trigger"] == "manual");
    let failed =
        case.transcript.system("status").any(|l| l.value["compact_result"].as_str().is_some_and(|r| r != "success"));
    if boundary && !failed {
        return Vec::new();
    }
    let message = "the client asked for a summary and got one, but did not compact";
    let suspect = call.answer().map_or(Suspect::Client, |a| if a.finished { Suspect::Client } else { case.far() });
    vec![Found::new(suspect, message).at(call).cite(place)]
}

pub(super) fn compact_lost_marker(case: &Case<'_>) -> Vec<Found> {
    let Some(wanted) = case.probe.expect.compact.as_ref().filter(|w| *w.get_ref()) else { return Vec::new() };
    let Some((call, answer)) = summary(case) else { return Vec::new() };
    let text = answer_text(answer);
    if text.contains(case.marker()) {
        return Vec::new();
    }
    let message = format!("the summary does not hold {}: {:?}", case.marker(), shorten(&text));
    vec![Found::new(case.author(), message).at(call).cite(case.probe.cite(&wanted.span()))]
}

/// The last launch's number if it is one that ended by itself, so that a result is due.
fn ended_launch(case: &Case<'_>) -> Option<usize> {
    let last = case.evidence.launches.last()?;
    (last.process.returncode == Some(0)).then_some(case.evidence.launches.len())
}

pub(super) fn answer_is_error(case: &Case<'_>) -> Vec<Found> {
    let failed = case.transcript.results().rfind(ResultLine::is_error);
    failed
        // An error that is due is told of by its own rule.
        .filter(|_| case.probe.expect.error.is_none())
        .map(|r| {
            let status = r.api_error_status().map(|s| format!(" (status {s})")).unwrap_or_default();
            let healthy = case.calls.iter().all(|c| c.answer().is_some_and(|a| a.faults.is_empty()));
            let suspect = match r.value["subtype"].as_str() {
                _ if !healthy => case.far(),
                // It went on calling tools.
                Some("error_max_turns") => case.author(),
                _ => Suspect::Client,
            };
            let message = format!("the client reports an error{status}: {}", shorten(r.text()));
            Found::new(suspect, message).cite(r.place).by(case, r.place.launch)
        })
        .into_iter()
        .collect()
}

pub(super) fn answer_missing(case: &Case<'_>) -> Vec<Found> {
    let Some(launch) = ended_launch(case) else { return Vec::new() };
    if case.transcript.last_result(launch).is_some() {
        return Vec::new();
    }
    vec![Found::new(Suspect::Client, "the client ended with exit code 0 and without a result line").by(case, launch)]
}

pub(super) fn answer_wrong(case: &Case<'_>) -> Vec<Found> {
    let Some(wanted) = &case.probe.expect.answer else { return Vec::new() };
    let Some(result) = ended_launch(case).and_then(|l| case.transcript.last_result(l)).filter(|r| !r.is_error()) else {
        return Vec::new();
    };
    let place = case.probe.cite(&wanted.span());
    let marker = match wanted.get_ref() {
        Answer::Marker => case.marker(),
        Answer::Text(text) => text,
        Answer::Structured => {
            if result.value["structured_output"].to_string().contains(case.marker()) {
                return Vec::new();
            }
            let told = shorten(&result.value["structured_output"].to_string());
            let message = format!("the client's structured output does not hold {}: {told}", case.marker());
            return vec![Found::new(case.far(), message).cite(result.place).cite(place)];
        }
    };
    let answers: Vec<_> = case.main_calls().filter_map(|c| Some((c, answer_text(c.answer()?)))).collect();
    // An answer that was cut off is continued by the next one.
    let all: String = answers.iter().map(|(_, text)| text.as_str()).collect();
    let was_answered = all.contains(marker);
    match answers.last() {
        // Behind the answer there may be side requests.
        _ if was_answered && result.text().contains(marker) => Vec::new(),
        Some((call, text)) if !text.contains(marker) => {
            let message = format!("the model's last answer does not hold {marker}: {:?}", shorten(text));
            vec![Found::new(case.author(), message).at(call).cite(result.place).cite(place)]
        }
        Some((call, _)) => {
            let message = format!("the model answered {marker}, the client's result says {:?}", shorten(result.text()));
            vec![Found::new(Suspect::Client, message).at(call).cite(result.place).cite(place)]
        }
        None => {
            let message = format!("no answer came, the client's result says {:?}", shorten(result.text()));
            vec![Found::new(case.far(), message).cite(result.place).cite(place)]
        }
    }
}

pub(super) fn text_floor(case: &Case<'_>) -> Vec<Found> {
    if !case.text.classification.is_regression() || case.probe.is_beyond_text() {
        return Vec::new();
    }
    let message = format!("the text verdict is {} by the rule {}", case.text.classification, case.text.rule);
    let suspect = match case.text.classification {
        Classification::HarnessBug => Suspect::Harness,
        _ => case.far(),
    };
    vec![Found::new(suspect, message).cite("probes/rules.toml").class(case.text.classification)]
}
