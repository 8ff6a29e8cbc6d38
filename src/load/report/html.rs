//! A run as one self-contained page: verdict, thresholds, every scenario with its times and plots. No script, nothing from elsewhere.

use askama::Template;

use super::LoadReport;
use super::plots::{Plot, plots};
use super::sessions::{SessionFigures, each, together};
use super::terminal::{HEADINGS, behind, cells, counters, tags};
use crate::load::judge::Verdict;
use crate::load::metrics::record::{Counters, ScenarioRecord};
use crate::load::metrics::{DEFINITIONS, Metric};
use crate::report::html::head::Head;

/// What this page's style has beside that of all pages.
const STYLE: &str = include_str!("load.css");

/// How many examples are shown of each kind of failure.
const EXAMPLES: usize = 5;

/// How many sessions are shown one by one.
const SESSIONS: usize = 200;

/// The page as its template sees it.
#[derive(Template)]
#[template(path = "load.html")]
struct Page<'r> {
    head: Head,
    report: &'r LoadReport,
    sign: &'static str,
    verdict: &'static str,
    tone: &'static str,
    headings: [&'static str; 7],
    counters: Vec<String>,
    scenarios: Vec<Scenario<'r>>,
}

struct Scenario<'r> {
    record: &'r ScenarioRecord,
    load: &'r str,
    counters: Counters,
    /// Further counts that are not 0: their names, and whether they are bad.
    others: Vec<(&'static str, u64, bool)>,
    rows: Vec<Row>,
    failures: Vec<FailureRow<'r>>,
    plots: Vec<Plot>,
    /// What was seen behind the gateway, in words.
    behind: Vec<String>,
    /// All sessions together, then each.
    sessions: Vec<SessionFigures>,
}

struct Row {
    name: String,
    definition: &'static str,
    cells: Vec<String>,
}

struct FailureRow<'r> {
    name: &'static str,
    count: u64,
    examples: Vec<&'r str>,
}

/// The page.
pub fn render(report: &LoadReport) -> String {
    let (sign, verdict, tone) = match report.judgement.verdict {
        Verdict::Held => ("✓", "All thresholds held", "held"),
        Verdict::Undecided => ("?", "Undecided: nothing broke, and there were too few samples", "undecided"),
        Verdict::Protocol => ("✗", "Failed: wrong answers with status 200", "broken"),
        Verdict::Broken => ("✗", "Failed", "broken"),
        Verdict::Partial => ("?", "Partial: shards are missing", "undecided"),
        Verdict::Invalid => ("✗", "Invalid: these figures say nothing of the target", "broken"),
        Verdict::Unreachable => ("✗", "The target could not be reached", "broken"),
        Verdict::Interrupted => ("?", "Interrupted", "undecided"),
    };
    let scenarios = report.scenarios.iter().zip(&report.suite.loads);
    let scenarios = scenarios.map(|(record, load)| scenario(report, record, load));
    let page = Page {
        head: Head::new(STYLE, ""),
        sign,
        verdict,
        tone,
        headings: HEADINGS,
        counters: counters(report),
        scenarios: scenarios.collect(),
        report,
    };
    // Writing to a string fails only if a value's own `Display` does, and none here does.
    page.render().unwrap_or_default()
}

fn scenario<'r>(report: &'r LoadReport, record: &'r ScenarioRecord, load: &'r str) -> Scenario<'r> {
    let all = record.all();
    let counters = all.counters;
    let judged = if record.open { Metric::E2eFromPlan } else { Metric::E2e };
    let mut rows: Vec<Row> = Vec::new();
    for (metric, name, definition) in DEFINITIONS {
        if let Some(times) = all.times.get(metric) {
            rows.push(Row { name: name.to_owned(), definition, cells: cells(times).to_vec() });
        }
    }
    for view in record.views.iter().skip(1) {
        if let Some(times) = view.times.get(judged) {
            let name = format!("{}: {}", judged.name(), tags(&view.tags));
            rows.push(Row { name, definition: "", cells: cells(times).to_vec() });
        }
    }
    let failures = record.examples.iter().map(|(failure, examples)| FailureRow {
        name: failure.name(),
        count: all.failures.get(failure).copied().unwrap_or(0),
        examples: examples.0.values().take(EXAMPLES).map(String::as_str).collect(),
    });
    let others = [
        ("failed", counters.failed, true),
        ("dropped", record.dropped, true),
        ("late", counters.late, false),
        ("interrupted", counters.interrupted, false),
        ("retries", counters.retries, false),
        ("stale connections", record.stale_connections, false),
    ];
    Scenario {
        record,
        load,
        counters,
        others: others.into_iter().filter(|(_, count, _)| *count > 0).collect(),
        rows,
        failures: failures.collect(),
        plots: plots(record),
        behind: behind(record),
        sessions: together(report, record).into_iter().chain(each(report, record).into_iter().take(SESSIONS)).collect(),
    }
}
