//! The load report in a real browser: its plots, its tables, both lights, a phone, the keyboard, and hostile words of a target.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ccsmoke::load::judge::{Against, Circumstances};
use ccsmoke::load::metrics::Failure;
use ccsmoke::load::metrics::record::{ScenarioRecord, Tags, Tokens};
use ccsmoke::load::metrics::recorder::{Marks, Recorder, Sample, Sorting};
use ccsmoke::load::plan::Shard;
use ccsmoke::load::report::{Header, LoadReport, html};
use ccsmoke::load::scenario::{Adjust, Suite};
use serde_json::json;

use super::chromium::Browser;
use super::{HOSTILE, TOO_WIDE, number, text};

/// A minute of 20 requests a second, half of them streams; every tenth fails with the target's own words.
fn report() -> LoadReport {
    let adjust = Adjust { only: vec!["basic".to_owned(), "stress".to_owned()], ..Adjust::default() };
    let mut suite = Suite::named("chat", Path::new(""), &adjust, &|_| None).unwrap();
    HOSTILE.clone_into(&mut suite.title);
    let tags = [None, Some(true), Some(false)].map(|stream| (Tags { stream, ..Tags::default() }, None, None));
    let sorting = Arc::new(Sorting { views: tags.to_vec(), slo: vec![], stall_us: 1_000_000 });
    let records = suite.scenarios.iter().map(|scenario| {
        let record = ScenarioRecord::new(&scenario.name, true, Duration::from_secs(60));
        let mut recorder = Recorder::new(record, Arc::clone(&sorting));
        for index in 0..1200_u64 {
            let due = index * 50_000_000;
            recorder.record.plan(Duration::from_nanos(due));
            let took = 20_000_000 + index * index % 977 * 300_000;
            let first = Some(due + took / 4);
            let marks = Marks {
                start: due,
                first_content: first,
                last_content: Some(due + took),
                pieces: 8,
                ..Marks::default()
            };
            recorder.take(&Sample {
                index,
                stream: index % 2 == 0,
                due,
                start: due,
                end: due + took,
                marks,
                gaps: vec![1_000 + u32::try_from(index).unwrap() % 700; 7],
                tokens: Tokens { input: 10, output: 8, estimated: false },
                failure: (index % 10 == 9).then(|| (Failure::Server, format!("status 500: {HOSTILE} {index}"))),
                ..Sample::default()
            });
        }
        recorder.record
    });
    let header = Header {
        run_id: "run-1".to_owned(),
        shard: Shard::WHOLE,
        target: format!("http://127.0.0.1:1/{HOSTILE}"),
        began: "2026-11-01T00:00:00Z".to_owned(),
        workers: 1,
    };
    let records = records.collect();
    LoadReport::new(&suite, header, records, Circumstances::default(), Against::default())
}

fn written() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("load.html");
    std::fs::write(&path, html::render(&report())).unwrap();
    (folder, path)
}

/// The plots with what each has drawn: its title, lines or areas, and letters.
const PLOTS: &str = "[...document.querySelectorAll('.plots figure')].slice(0, 5).map(f => [f.querySelector('figcaption').textContent, \
    f.querySelectorAll('svg polyline, svg polygon, svg rect').length > 0, f.querySelector('svg').getBoundingClientRect().width > 200, \
    [...f.querySelectorAll('svg text')].map(t => t.textContent.trim()).join(' ')])";

pub(super) fn plots(program: &Path) {
    let (_folder, path) = written();
    let mut browser = Browser::start(program);
    browser.screen(1280, 900, false, "light");
    browser.open(&path, "");
    assert_eq!(browser.eval("document.querySelectorAll('.plots svg').length"), 10, "five of each of two scenarios");
    let plots = browser.eval(PLOTS);
    for (plot, (title, words)) in plots.as_array().unwrap().iter().zip([
        ("Requests a second: planned, sent, answered right", "planned"),
        ("Failures a second", "failed"),
        ("Latency over time", "seconds of the plan"),
        ("Percentiles", "ttft_from_plan"),
        ("Gaps between pieces", "% of gaps"),
    ]) {
        assert_eq!((&plot[0], &plot[1], &plot[2]), (&json!(title), &json!(true), &json!(true)));
        assert!(plot[3].as_str().unwrap().contains(words), "{plot}");
    }
    // The heat map has a cell for each second and band that a request fell into, and a rare one can be seen.
    assert!(number(&mut browser, "document.querySelectorAll('.plots figure:nth-child(3) rect').length") > 200.0);
    let faintest = "Math.min(...[...document.querySelectorAll('.plots figure:nth-child(3) rect')].map(r => +r.getAttribute('opacity') || 1))";
    assert!(number(&mut browser, faintest) > 0.15);
    assert_eq!(text(&mut browser, "#verdict"), "Failed");
    assert!(text(&mut browser, ".counts").starts_with("planned 1200, sent 1200, right 1080, failed 120"));
    // The colours follow the light, and letters can be read in both.
    let letters = "getComputedStyle(document.querySelector('.plots text')).fill";
    let soft = "getComputedStyle(document.querySelector('.facts dt')).color";
    let light = browser.eval(letters);
    assert_eq!(light, browser.eval(soft));
    browser.screen(1280, 900, false, "dark");
    assert_eq!(browser.eval(letters), browser.eval(soft));
    assert_ne!(browser.eval(letters), light);
    assert_eq!(browser.problems(), [] as [&str; 0]);
}

pub(super) fn hostile(program: &Path) {
    let (_folder, path) = written();
    let raw = std::fs::read_to_string(&path).unwrap();
    assert!(!raw.contains(['\u{1b}', '\u{202e}', '\u{2066}', '\u{7}']));
    let mut browser = Browser::start(program);
    browser.screen(1280, 900, false, "light");
    browser.open(&path, "");
    let body = text(&mut browser, "body");
    assert!(
        body.contains("status 500: <img src=x onerror=\"window.ran=1\"></script>") && body.contains("␛[31mred"),
        "{body}"
    );
    assert_eq!(browser.eval("document.querySelectorAll('img, script').length"), 0);
    assert!(browser.eval("window.ran === undefined").as_bool().unwrap());
    assert!(browser.eval("document.title").as_str().unwrap().starts_with("✗ <img src=x"));
    assert_eq!(browser.problems(), [] as [&str; 0]);
}

pub(super) fn phone(program: &Path) {
    let (_folder, path) = written();
    let mut browser = Browser::start(program);
    browser.screen(360, 740, true, "dark");
    browser.open(&path, "");
    assert_eq!(browser.eval(TOO_WIDE), json!([]));
    assert!(number(&mut browser, "document.querySelector('.plots svg').getBoundingClientRect().width") <= 360.0);
    assert_eq!(browser.problems(), [] as [&str; 0]);
}

pub(super) fn keyboard(program: &Path) {
    let (_folder, path) = written();
    let mut browser = Browser::start(program);
    browser.screen(1280, 900, false, "light");
    browser.open(&path, "");
    browser.key("Tab");
    assert_eq!(text(&mut browser, ":focus"), "Skip to the thresholds");
    browser.key("Tab");
    assert_eq!(text(&mut browser, ":focus"), "basic");
    browser.key("Tab");
    browser.key("Enter");
    browser.until("location.hash === '#scenario-2'");
    // What scrolls sideways can be reached, and says what it is.
    let scrolled = "[...document.querySelectorAll('.scroll')].every(e => e.tabIndex === 0 && (e.ariaLabel || document.getElementById(e.getAttribute('aria-labelledby'))))";
    assert!(browser.eval(scrolled).as_bool().unwrap());
    assert_eq!(browser.problems(), [] as [&str; 0]);
}

/// The page for people to look at, where they ask for it.
pub(super) fn pictures(program: &Path, folder: &Path) {
    let (_folder, path) = written();
    let mut browser = Browser::start(program);
    for (name, width, mobile, light) in
        [("light", 1280, false, "light"), ("dark", 1280, false, "dark"), ("phone", 390, true, "light")]
    {
        browser.screen(width, 1180, mobile, light);
        browser.open(&path, "");
        std::fs::write(folder.join(format!("load-{name}.png")), browser.screenshot()).unwrap();
    }
}
