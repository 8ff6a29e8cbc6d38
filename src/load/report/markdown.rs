//! A run as Markdown, for the summary of a CI job or a comment.

use std::fmt::Write as _;

use super::LoadReport;
use super::terminal::{counters, percentile, tags};
use crate::load::metrics::Metric;
use crate::load::threshold::short;

/// The Markdown.
pub fn render(report: &LoadReport) -> String {
    let mut out =
        format!("## {}\n\n`{}` at `{}`\n\n", cell(&report.suite.title), report.suite.name, cell(&report.target));
    let _ = writeln!(out, "**{:?}**", report.judgement.verdict);
    for reason in &report.judgement.reasons {
        let _ = writeln!(out, "- {}", cell(reason));
    }
    let _ = writeln!(out, "\n| threshold | | figure | n |\n|---|---|---|---|");
    for judged in &report.judgement.thresholds {
        let what = cell(&format!("{}: {}", judged.subject, judged.condition));
        let _ = writeln!(out, "| {what} | {} | {} | {} |", judged.state.sign(), cell(&judged.shown), judged.n);
    }
    let _ = writeln!(
        out,
        "\n| scenario | | sent | ok | ok/s | e2e p50 | p95 | p99 | ttft p50 | p99 |\n|---|---|---|---|---|---|---|---|---|---|"
    );
    for record in &report.scenarios {
        for view in record.views.iter().filter(|v| v.counters.sent > 0) {
            let of = |metric: Metric, percent: f64| {
                let metric = if record.open { metric.from_plan() } else { metric };
                view.times.get(metric).map_or_else(|| "–".to_owned(), |times| percentile(times, percent))
            };
            let figures = report.figures.iter().find(|f| f.scenario == record.name && f.tags == view.tags);
            let _ = writeln!(
                out,
                "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
                cell(&record.name),
                cell(&tags(&view.tags)),
                view.counters.sent,
                view.counters.ok,
                figures.map_or_else(String::new, |f| short(f.ok_per_s)),
                of(Metric::E2e, 50.0),
                of(Metric::E2e, 95.0),
                of(Metric::E2e, 99.0),
                of(Metric::Ttft, 50.0),
                of(Metric::Ttft, 99.0),
            );
        }
    }
    let notes = report
        .scenarios
        .iter()
        .flat_map(|record| super::terminal::behind(record).into_iter().map(|line| format!("{}: {line}", record.name)));
    let notes: Vec<String> = notes.chain(counters(report).into_iter().map(|line| format!("counter {line}"))).collect();
    if !notes.is_empty() {
        out.push('\n');
        for note in notes {
            let _ = writeln!(out, "- {}", cell(&note));
        }
    }
    out.push_str(
        "\nTimes of open loads count from the plan. A percentile in brackets has fewer than ten samples above it.\n",
    );
    out
}

/// A text that cannot break out of a table's cell.
fn cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '|' | '*' | '_' | '`' | '<' | '>' | '[' | ']' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}
