//! A run as one self-contained page: verdict, thresholds, every scenario with its times and plots. No script, nothing from elsewhere.

use minijinja::Environment;
use minijinja::value::Serde;
use serde::Serialize;
use serde_json::json;

use super::LoadReport;
use super::plots::plots;
use super::terminal::tags;
use crate::load::judge::Verdict;
use crate::load::metrics::DEFINITIONS;
use crate::load::metrics::histogram::Histogram;
use crate::load::metrics::record::ScenarioRecord;
use crate::load::threshold::figure_of_time;

/// How many examples are shown of each kind of failure.
const EXAMPLES: usize = 5;

#[derive(Serialize)]
struct Scenario<'a> {
    name: &'a str,
    load: &'a str,
    planned: u64,
    sent: u64,
    ok: u64,
    failed: u64,
    dropped: u64,
    late: u64,
    rows: Vec<Row>,
    failures: Vec<FailureRow<'a>>,
    plots: Vec<Picture>,
}

#[derive(Serialize)]
struct Row {
    name: String,
    definition: String,
    cells: Vec<String>,
}

#[derive(Serialize)]
struct FailureRow<'a> {
    name: &'static str,
    count: u64,
    examples: Vec<&'a str>,
}

#[derive(Serialize)]
struct Picture {
    title: &'static str,
    svg: String,
}

/// The page.
///
/// # Errors
/// The template cannot be filled in, which the tests rule out; in words.
pub fn render(report: &LoadReport) -> Result<String, String> {
    let mut environment = Environment::new();
    // The name's ending turns escaping on.
    environment.add_template("page.html", include_str!("page.html")).map_err(|e| e.to_string())?;
    let page = environment.get_template("page.html").map_err(|e| e.to_string())?;
    let (verdict, tone) = match report.judgement.verdict {
        Verdict::Held => ("All thresholds held", "held"),
        Verdict::Undecided => ("Undecided: nothing broke, and there were too few samples", "undecided"),
        Verdict::Protocol => ("Failed: wrong answers with status 200", "broken"),
        Verdict::Broken => ("Failed", "broken"),
        Verdict::Partial => ("Partial: shards are missing", "undecided"),
        Verdict::Invalid => ("Invalid: these figures say nothing of the target", "broken"),
        Verdict::Unreachable => ("The target could not be reached", "broken"),
        Verdict::Interrupted => ("Interrupted", "undecided"),
    };
    let scenarios: Vec<Scenario<'_>> =
        report.scenarios.iter().zip(&report.suite.loads).map(|(record, load)| scenario(record, load)).collect();
    let definitions: Vec<_> =
        DEFINITIONS.iter().map(|(_, name, words)| json!({ "name": name, "words": words })).collect();
    let filled = json!({
        "title": report.suite.title,
        "suite": report.suite.name,
        "target": report.target,
        "began": report.began,
        "seed": report.suite.seed,
        "ccsmoke": report.ccsmoke,
        "run_id": report.run_id,
        "verdict": verdict,
        "tone": tone,
        "reasons": report.judgement.reasons,
        "thresholds": report.judgement.thresholds,
        "scenarios": scenarios,
        "definitions": definitions,
    });
    page.render(Serde(filled)).map_err(|e| e.to_string())
}

fn scenario<'a>(record: &'a ScenarioRecord, load: &'a str) -> Scenario<'a> {
    let all = record.all();
    let judged = if record.open { super::Metric::E2eFromPlan } else { super::Metric::E2e };
    let mut rows: Vec<Row> = Vec::new();
    for (metric, name, definition) in DEFINITIONS {
        if let Some(times) = all.times.get(&metric) {
            rows.push(Row { name: name.to_owned(), definition: definition.to_owned(), cells: cells(times) });
        }
    }
    for view in record.views.iter().skip(1) {
        if let Some(times) = view.times.get(&judged) {
            let name = format!("{}: {}", judged.name(), tags(&view.tags));
            rows.push(Row { name, definition: String::new(), cells: cells(times) });
        }
    }
    let failures = record.examples.iter().map(|(failure, examples)| FailureRow {
        name: failure.name(),
        count: all.failures.get(failure).copied().unwrap_or(0),
        examples: examples.0.values().take(EXAMPLES).map(String::as_str).collect(),
    });
    let pictures = plots(record).into_iter().map(|plot| Picture { title: plot.title, svg: plot.svg });
    Scenario {
        name: &record.name,
        load,
        planned: record.planned,
        sent: all.counters.sent,
        ok: all.counters.ok,
        failed: all.counters.failed,
        dropped: record.dropped,
        late: all.counters.late,
        rows,
        failures: failures.collect(),
        plots: pictures.collect(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a run fit")]
fn cells(times: &Histogram) -> Vec<String> {
    let percentiles = [50.0, 90.0, 95.0, 99.0, 99.9].map(|percent| {
        let percentile = times.percentile(percent);
        let shown = figure_of_time(percentile.micros as f64);
        if percentile.trusted { shown } else { format!("[{shown}]") }
    });
    let rest = [figure_of_time(times.max() as f64), times.count().to_string()];
    percentiles.into_iter().chain(rest).collect()
}
