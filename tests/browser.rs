//! The HTML report in a real browser: what a person sees, clicks and types. `.ci/browser` installs the browser; on a machine
//! without one every test here is shown as ignored.
//!
//! With `CCSMOKE_SCREENSHOTS=DIR` (and `CCSMOKE_SCREENSHOTS_OF=REPORT`) the pictures of the README are taken as well.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test's helpers fail like the test itself"
)]
#![expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "the tests are told by the environment what to do"
)]

#[path = "browser/chromium.rs"]
mod chromium;
#[path = "browser/load.rs"]
mod load;

use std::path::{Path, PathBuf};

use ccsmoke::evidence::Evidence;
use ccsmoke::exchange::Body;
use ccsmoke::report::html::{Beside, EvidenceSource, page};
use ccsmoke::report::store::read_report;
use ccsmoke::report::trend::{Reduced, SkippedFile, Trend};
use ccsmoke::report::{MatrixReport, OutcomeRow};
use ccsmoke::verdict::{Classification, Outcome};
use chromium::Browser;
use libtest_mimic::{Arguments, Trial};
use serde_json::json;

/// A test, given the program of the browser.
type Test = fn(&Path);

const TESTS: [(&str, Test); 14] = [
    ("the_page_shows_the_whole_report_and_complains_of_nothing", shows_the_report),
    ("filters_show_the_cells_that_fit_and_hide_the_rest", filters),
    ("a_click_opens_a_cell_with_its_evidence_and_going_back_closes_it", opens_a_cell),
    ("a_link_leads_to_a_cell_and_to_a_place_in_it", deep_links),
    ("everything_can_be_done_with_the_keyboard", keyboard),
    ("what_a_gateway_sends_is_shown_as_text", hostile),
    ("two_thousand_cells_open_at_once", two_thousand),
    ("a_phone_scrolls_no_page_sideways", phone),
    ("history_is_a_page_of_plots_and_strips", history),
    ("a_load_report_draws_its_plots_in_both_lights", load::plots),
    ("what_a_loaded_target_says_is_shown_as_text", load::hostile),
    ("a_load_report_fits_a_phone", load::phone),
    ("a_load_report_can_be_read_with_the_keyboard", load::keyboard),
    ("pictures", pictures),
];

fn main() {
    let arguments = Arguments::from_args();
    let program = chromium::find();
    if program.is_none() {
        eprintln!("no chromium on PATH: the tests of the HTML report are NOT run; `.ci/browser` installs it");
    }
    let trial = |(name, test): (&str, Test)| {
        let here = program.clone();
        let run = move || {
            test(&here.expect("a browser; `.ci/browser` installs one"));
            Ok(())
        };
        Trial::test(name, run).with_ignored_flag(program.is_none())
    };
    libtest_mimic::run(&arguments, TESTS.into_iter().map(trial).collect()).exit();
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/report/report.json")
}

/// A page in a file of its own.
struct Written(tempfile::TempDir);

impl Written {
    fn new(report: &MatrixReport, evidence: &dyn EvidenceSource) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("page.html"), page(report, evidence)).unwrap();
        Self(folder)
    }

    fn of_the_fixture() -> Self {
        Self::new(&read_report(&fixture()).unwrap(), &Beside::report(&fixture()))
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("page.html")
    }
}

fn opened(program: &Path, written: &Written, hash: &str) -> Browser {
    let mut browser = Browser::start(program);
    browser.screen(1280, 900, false, "light");
    browser.open(&written.path(), hash);
    browser
}

/// The page's visible text where a selector leads.
fn text(browser: &mut Browser, selector: &str) -> String {
    let script = format!("document.querySelector({}).innerText", json!(selector));
    browser.eval(&script).as_str().unwrap().to_owned()
}

fn number(browser: &mut Browser, expression: &str) -> f64 {
    browser.eval(expression).as_f64().unwrap()
}

const THINKING: &str = "#cell-claude-code-router-sonnet-thinking-2.1.329";
const STREAMING: &str = "#cell-nginx-defaults-sonnet-streaming-2.1.329";

fn shows_the_report(program: &Path) {
    let mut browser = opened(program, &Written::of_the_fixture(), "");
    assert_eq!(text(&mut browser, "h1").split_whitespace().collect::<Vec<_>>(), ["2", "failed", "1", "passed"]);
    let causes = text(&mut browser, ".causes");
    assert!(
        causes.contains("The stream was held back") && causes.contains("Thinking or effort did not arrive"),
        "{causes}"
    );
    assert_eq!(browser.eval("document.querySelectorAll('a.cell').length"), 3);
    assert_eq!(browser.eval("document.querySelectorAll('.told').length"), 2 + noted(&read_report(&fixture()).unwrap()));
    assert_eq!(browser.problems(), [] as [&str; 0]);
    // The policy holds: nothing but the page's own script runs.
    let inject = "try { document.body.append(Object.assign(document.createElement('script'), {text: 'window.ran = 1'})); } catch {} 0";
    browser.eval(inject);
    assert!(browser.eval("window.ran === undefined").as_bool().unwrap());
    assert!(
        browser
            .eval("(() => { try { document.body.innerHTML = '<b>x</b>'; return false; } catch { return true; } })()")
            .as_bool()
            .unwrap()
    );
}

/// How many cells passed with something to be said.
fn noted(report: &MatrixReport) -> usize {
    let noted = |r: &&OutcomeRow| r.classification == Classification::Passed && !r.findings.is_empty();
    report.outcomes.iter().filter(noted).count()
}

const VISIBLE: &str = "[...document.querySelectorAll('a.cell:not(.out)')].filter(a => a.offsetParent).map(a => a.dataset.target + ' ' + a.closest('tr').cells[0].textContent)";

fn filters(program: &Path) {
    let mut browser = opened(program, &Written::of_the_fixture(), "");
    let choose = |browser: &mut Browser, name: &str, value: &str| {
        browser.eval(&format!(
            "(() => {{ const field = document.querySelector('#filters').elements[{}]; field.value = {}; \
             field.dispatchEvent(new Event('input', {{bubbles: true}})); }})()",
            json!(name),
            json!(value)
        ));
    };
    choose(&mut browser, "target", "claude-code-router");
    assert_eq!(browser.eval(VISIBLE), json!(["claude-code-router thinking"]));
    assert_eq!(text(&mut browser, "#shown"), "1 of 3 cells");
    assert_eq!(browser.eval("document.querySelectorAll('thead th:not([hidden]):not(.corner)').length"), 3);
    browser.click("#filters button[type=reset]");
    browser.until("document.querySelectorAll('a.cell.out').length === 0");
    choose(&mut browser, "class", "passed");
    assert_eq!(browser.eval(VISIBLE), json!(["nginx-defaults basic_text"]));
    browser.click("#filters button[type=reset]");
    browser.until("document.querySelectorAll('a.cell.out').length === 0");
    choose(&mut browser, "suspect", "gateway");
    assert_eq!(browser.eval(VISIBLE).as_array().unwrap().len(), 2);
    // And by typing.
    browser.click("#filters input[name=text]");
    for letter in "buffered".chars() {
        browser.key(&letter.to_string());
    }
    assert_eq!(browser.eval(VISIBLE), json!(["nginx-defaults streaming"]));
    assert_eq!(browser.problems(), [] as [&str; 0]);
}

fn opens_a_cell(program: &Path) {
    let mut browser = opened(program, &Written::of_the_fixture(), "");
    browser.click("td a.cell.product_failure[data-target=nginx-defaults]");
    browser.until("document.querySelector('dialog').open");
    let shown = text(&mut browser, "dialog");
    for words in [
        "streaming",
        "stream-buffered",
        "What to do",
        "proxy_buffering",
        "client 0",
        "provider 0",
        "The client's output",
        "Evidence",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert!(number(&mut browser, "document.querySelectorAll('dialog .lane.behind .tick').length") > 5.0);
    browser.click("details.pair > summary");
    browser.until("document.querySelectorAll('details.pair .line').length > 0");
    let sides = text(&mut browser, "details.pair");
    assert!(sides.contains("The client sent") && sides.contains("The provider got"), "{sides}");
    assert!(
        number(&mut browser, "document.querySelectorAll('details.pair .line.gone, details.pair .line.new').length")
            > 0.0
    );
    browser.eval("history.back()");
    browser.until("!document.querySelector('dialog').open");
    assert_eq!(browser.eval("document.activeElement.dataset.target"), "nginx-defaults");
    browser.eval("history.forward()");
    browser.until("document.querySelector('dialog').open");
    browser.click("#close");
    browser.until("!document.querySelector('dialog').open");
    assert_eq!(browser.problems(), [] as [&str; 0]);
}

fn deep_links(program: &Path) {
    let written = Written::of_the_fixture();
    let mut browser = opened(program, &written, THINKING);
    assert!(browser.eval("document.querySelector('dialog').open").as_bool().unwrap());
    assert!(text(&mut browser, "#cell-sub").contains("claude-code-router"));
    browser.click("dialog a.cite[data-place=exchange-0]");
    browser.until("document.querySelector('details.pair').open");
    assert_eq!(browser.eval("location.hash"), format!("{THINKING}!exchange-0"));
    // Nothing led here, so there is nothing to go back to but the matrix.
    browser.key("Escape");
    browser.until("!document.querySelector('dialog').open");
    assert_eq!(browser.eval("location.hash"), "#matrix");
    drop(browser);
    let mut browser = opened(program, &written, &format!("{STREAMING}!behind-0"));
    assert!(browser.eval("document.querySelector('details.pair').open").as_bool().unwrap());
    assert_eq!(browser.problems(), [] as [&str; 0]);
    drop(browser);
    let mut browser = opened(program, &written, "#cell-that-is-not-there");
    assert!(!browser.eval("document.querySelector('dialog').open").as_bool().unwrap());
    assert_eq!(browser.problems(), [] as [&str; 0]);
}

fn keyboard(program: &Path) {
    let mut browser = opened(program, &Written::of_the_fixture(), "");
    let tabs = (0..60).find(|_| {
        browser.key("Tab");
        browser.eval("document.activeElement.matches('a.cell')") == true
    });
    assert!(tabs.is_some(), "Tab never reaches the matrix");
    assert_ne!(browser.eval("getComputedStyle(document.activeElement).outlineStyle"), "none");
    let here = "document.activeElement.getAttribute('aria-label')";
    let first = browser.eval(here);
    browser.key("ArrowUp");
    browser.key("Home");
    let there = browser.eval(here);
    browser.key("ArrowDown");
    browser.key("ArrowRight");
    assert!(first.is_string() && there.is_string());
    assert_eq!(browser.eval("document.querySelectorAll('a.cell[tabindex=\"0\"]').length"), 1);
    browser.key("Enter");
    browser.until("document.querySelector('dialog').open");
    let one = text(&mut browser, "#cell-sub");
    browser.key("j");
    let other = text(&mut browser, "#cell-sub");
    assert_ne!(one, other);
    browser.key("Escape");
    browser.until("!document.querySelector('dialog').open");
    assert!(browser.eval("document.activeElement.matches('a.cell')").as_bool().unwrap());
    assert_eq!(browser.problems(), [] as [&str; 0]);
}

/// What a gateway, a model or a foreign report may send.
const HOSTILE: &str = "<img src=x onerror=\"window.ran=1\"></script><script>window.ran=2</script>--><!--\u{1b}[31mred\u{1b}]8;;x\u{7} \u{202e}abc\u{2066}&lt;\u{2028}";

/// The fixture with hostile texts in everything that comes from outside.
struct Hostile(Beside);

impl EvidenceSource for Hostile {
    fn evidence(&self, path: &str) -> Result<Evidence, String> {
        let mut evidence = self.0.evidence(path)?;
        evidence.log.notes.push(HOSTILE.to_owned());
        for exchange in evidence.exchanges.iter_mut().chain(evidence.behind.iter_mut().flatten()) {
            exchange.request.target.push_str(HOSTILE);
            HOSTILE.clone_into(&mut exchange.request.headers[0].value);
            let response = exchange.response.as_mut().unwrap();
            let stream = format!("event: {HOSTILE}\ndata: {}\n\n", json!({"text": HOSTILE}));
            response.body = Body::whole(stream.replace('\u{2028}', ""));
            response.arrivals.truncate(1);
            response.arrivals[0].len = response.body.bytes.len() as u64;
        }
        for launch in &mut evidence.launches {
            launch.args.push(HOSTILE.to_owned());
            launch.process.stdout.text = format!("{HOSTILE}\n{}\n", json!({"type": HOSTILE, "result": HOSTILE}));
        }
        Ok(evidence)
    }
}

fn hostile(program: &Path) {
    let mut report = read_report(&fixture()).unwrap();
    HOSTILE.clone_into(&mut report.worker_id);
    report.not_run = vec![HOSTILE.to_owned()];
    for row in &mut report.outcomes {
        for text in
            [&mut row.model, &mut row.feature, &mut row.cli_version, &mut row.stdout_excerpt, &mut row.log_excerpt]
        {
            text.push_str(HOSTILE);
        }
        for finding in &mut row.findings {
            HOSTILE.clone_into(&mut finding.message);
            finding.cites.push(HOSTILE.to_owned());
        }
    }
    let written = Written::new(&report, &Hostile(Beside::report(&fixture())));
    let raw = std::fs::read_to_string(written.path()).unwrap();
    assert!(!raw.contains(['\u{1b}', '\u{202e}', '\u{2066}', '\u{2028}', '\u{7}']));
    let mut browser = opened(program, &written, "");
    for i in 0..report.outcomes.len() {
        browser.eval(&format!("location.hash = document.querySelectorAll('a.cell')[{i}].getAttribute('href')"));
        browser.until("document.querySelector('dialog').open");
        browser.eval("document.querySelectorAll('dialog details').forEach(d => { d.open = true; })");
        browser.until("[...document.querySelectorAll('details.pair')].every(d => d.childElementCount > 1)");
        let shown = text(&mut browser, "dialog");
        assert!(
            shown.contains("<img src=x onerror=\"window.ran=1\"></script>") && shown.contains("␛[31mred"),
            "{shown}"
        );
        assert!(shown.contains("‹U+202E›abc"), "{shown}");
        assert!(!shown.contains(['\u{1b}', '\u{202e}', '\u{2066}']), "{shown}");
        browser.eval("history.back()");
        browser.until("!document.querySelector('dialog').open");
    }
    assert_eq!(browser.eval("document.querySelectorAll('img').length"), 0);
    assert!(browser.eval("window.ran === undefined").as_bool().unwrap());
    assert_eq!(browser.problems(), [] as [&str; 0]);
}

/// 50 features on 8 targets with 5 models each, a tenth of them failed.
fn large() -> MatrixReport {
    let mut report = read_report(&fixture()).unwrap();
    let passed = report.outcomes.iter().find(|r| r.findings.is_empty()).or(report.outcomes.first()).unwrap().clone();
    let failed: Vec<_> = report.outcomes.iter().filter(|r| r.classification.is_regression()).cloned().collect();
    report.outcomes = (0..2000)
        .map(|i| {
            let mut row = if i % 10 == 3 { failed[i % failed.len()].clone() } else { passed.clone() };
            row.feature = format!("feature_{:02}", i / 40);
            row.probe.clone_from(&row.feature);
            row.target = format!("gateway-{}", i % 8);
            row.model = format!("model-{}", i / 8 % 5);
            row.full_model = format!("{}/{}", row.target, row.model);
            row
        })
        .collect();
    report
}

fn two_thousand(program: &Path) {
    let written = Written::new(&large(), &Beside::report(&fixture()));
    let bytes = std::fs::metadata(written.path()).unwrap().len();
    let mut browser = Browser::start(program);
    browser.screen(1280, 900, false, "light");
    let ms = browser.open(&written.path(), "");
    assert_eq!(browser.eval("document.querySelectorAll('a.cell').length"), 2000);
    let began = number(&mut browser, "performance.now()");
    browser.eval("document.querySelector('#filters').elements.suspect.value = 'gateway'; document.querySelector('#filters').dispatchEvent(new Event('input'))");
    let filtered = number(&mut browser, "performance.now()") - began;
    assert_eq!(text(&mut browser, "#shown"), "200 of 2,000 cells");
    browser.click("a.cell.product_failure");
    browser.until("document.querySelector('dialog').open");
    eprintln!("2,000 cells, {bytes} bytes: open after {ms:.0} ms, filtered in {filtered:.0} ms");
    // The bound is generous: the machine may be busy with other tests.
    assert!(ms < 10_000.0, "opened after {ms} ms");
    assert!(bytes < 15_000_000, "{bytes} bytes");
    assert_eq!(browser.problems(), [] as [&str; 0]);
}

/// What reaches beyond the screen, if the page can be scrolled sideways.
const TOO_WIDE: &str = "document.documentElement.scrollWidth <= innerWidth && innerWidth === screen.width ? [] : \
    [innerWidth, ...[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll') && e.getBoundingClientRect().right > screen.width) \
    .map(e => e.tagName + '.' + e.className).slice(0, 9)]";

fn phone(program: &Path) {
    for written in [Written::of_the_fixture(), Written::new(&large(), &Beside::report(&fixture()))] {
        let mut browser = Browser::start(program);
        browser.screen(360, 740, true, "dark");
        browser.open(&written.path(), "");
        assert_eq!(browser.eval(TOO_WIDE), json!([]));
        browser.click("a.cell.product_failure");
        browser.until("document.querySelector('dialog').open");
        browser.eval("document.querySelectorAll('dialog details').forEach(d => { d.open = true; })");
        assert_eq!(browser.eval(TOO_WIDE), json!([]));
        let body =
            "document.querySelector('#cell-body').scrollWidth - document.querySelector('#cell-body').clientWidth";
        assert!(number(&mut browser, body) <= 0.0);
        assert_eq!(browser.problems(), [] as [&str; 0]);
    }
}

/// Nights of which the later ones are the fixture, and the earlier ones worked; one file is no report.
fn nights() -> Trend {
    let report = read_report(&fixture()).unwrap();
    let night = |day: u32| {
        let mut report = report.clone();
        report.started_at = format!("2026-10-{day:02}T02:00:00Z");
        report.duration_s += f64::from(day * 7 % 5);
        for row in report.outcomes.iter_mut().filter(|row| day < 9 || (row.feature == "thinking" && day == 10)) {
            (row.outcome, row.classification) = (Outcome::Passed, Classification::Passed);
        }
        (format!("night-{day}.json"), Reduced::from(&report))
    };
    let skipped = SkippedFile { file: "x.json".into(), why: format!("x.json: {HOSTILE}") };
    Trend::of((1..=14).map(night), vec![skipped])
}

fn history(program: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("page.html");
    std::fs::write(&path, ccsmoke::report::html::trend::page(&nights())).unwrap();
    let mut browser = Browser::start(program);
    browser.screen(360, 740, true, "dark");
    browser.open(&path, "");
    assert_eq!(browser.eval("document.querySelectorAll('.plots svg').length"), 3);
    assert_eq!(browser.eval("document.querySelectorAll('.spark svg').length"), 3);
    let body = text(&mut browser, "body");
    for words in ["broken since 2026-10-09, worked on 2026-10-08", "stream-buffered", "<img src=x onerror"] {
        assert!(body.contains(words), "{words}: {body}");
    }
    assert_eq!(browser.eval(TOO_WIDE), json!([]));
    // The colours of the plots follow the light.
    assert_eq!(
        browser.eval("getComputedStyle(document.querySelector('.plots polygon')).fill"),
        browser.eval("getComputedStyle(document.querySelector('h1 .passed b')).color")
    );
    assert_eq!(browser.problems(), [] as [&str; 0]);
}

fn pictures(program: &Path) {
    let of = std::env::var_os("CCSMOKE_SCREENSHOTS_OF").map_or_else(fixture, PathBuf::from);
    let folder = std::env::var_os("CCSMOKE_SCREENSHOTS").map(PathBuf::from);
    let written = Written::new(&read_report(&of).unwrap(), &Beside::report(&of));
    let mut browser = Browser::start(program);
    let mut take = |name: &str, (width, height), mobile, light: &str, hash: &str, act: &str| {
        browser.screen(width, height, mobile, light);
        browser.open(Path::new("/"), "");
        browser.open(&written.path(), hash);
        browser.eval(act);
        browser.eval("new Promise(done => setTimeout(done, 100))");
        let picture = browser.screenshot();
        assert!(picture.starts_with(b"\x89PNG"));
        if let Some(folder) = &folder {
            std::fs::write(folder.join(format!("html-{name}.png")), picture).unwrap();
        }
    };
    let lead = "document.querySelectorAll('details.pair')[0].open = true";
    take("light", (1280, 1180), false, "light", "", "1");
    take("dark", (1280, 1180), false, "dark", "", "1");
    take("cell", (1280, 1180), false, "light", STREAMING, "1");
    take("sides", (1280, 900), false, "dark", &format!("{THINKING}!exchange-0"), lead);
    take("phone", (390, 844), true, "light", "", "1");
    take("phone-cell", (390, 844), true, "dark", STREAMING, "1");
    if let Some(folder) = &folder {
        load::pictures(program, folder);
    }
}
