//! The matrix for a terminal: what works and what does not at a glance, then what is wrong with each failed cell.
//!
//! Everything that came from outside is printed without control characters, so that it can neither colour nor move nor
//! command the terminal.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use console::Style;

pub use super::text::printable;
use super::{MatrixReport, OutcomeRow};
use crate::finding::Severity;
use crate::verdict::Outcome;

/// How the terminal is to be written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colours {
    /// With ANSI colours.
    On,
    /// Without any escape sequence.
    Off,
}

impl Colours {
    fn style(self, style: Style) -> Style {
        style.force_styling(self == Self::On)
    }
}

/// The report as text, ending with a newline. `path` is where it was written.
pub fn render(report: &MatrixReport, path: &str, colours: Colours) -> String {
    let mut out = String::new();
    if !report.outcomes.is_empty() {
        grid(&mut out, report, colours);
    }
    for row in report.outcomes.iter().filter(|r| r.outcome != Outcome::Passed || worth_telling(r)) {
        cell(&mut out, row, path, colours);
    }
    totals(&mut out, report, colours);
    let _ = writeln!(out, "report {}", printable(path));
    out
}

/// Whether a passed cell has findings to be shown.
fn worth_telling(row: &OutcomeRow) -> bool {
    !row.findings.is_empty() || row.attempts.len() > 1
}

fn symbol(outcome: Outcome, colours: Colours) -> String {
    let (sign, style) = match outcome {
        Outcome::Passed => ("✓", Style::new().green()),
        Outcome::Failed => ("✗", Style::new().red().bold()),
        Outcome::Skipped => ("-", Style::new().yellow()),
    };
    colours.style(style).apply_to(sign).to_string()
}

/// Features down, models and client versions across.
fn grid(out: &mut String, report: &MatrixReport, colours: Colours) {
    let mut columns: Vec<(&str, &str)> = Vec::new();
    let mut lines: Vec<&str> = Vec::new();
    let mut cells: BTreeMap<(&str, (&str, &str)), &OutcomeRow> = BTreeMap::new();
    for row in &report.outcomes {
        let column = (row.full_model.as_str(), row.cli_version.as_str());
        if !columns.contains(&column) {
            columns.push(column);
        }
        if !lines.contains(&row.feature.as_str()) {
            lines.push(&row.feature);
        }
        cells.insert((&row.feature, column), row);
    }
    let first = lines.iter().map(|l| l.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = columns.iter().map(|(m, v)| console::measure_text_width(m).max(v.len()).max(26)).collect();
    for (pick, name) in [(0, ""), (1, "claude")] {
        let _ = write!(out, "{name:<first$}");
        for (column, width) in columns.iter().zip(&widths) {
            let head = printable(if pick == 0 { column.0 } else { column.1 });
            let _ = write!(out, "  {head:<width$}");
        }
        trim_line(out);
    }
    for line in lines {
        let _ = write!(out, "{line:<first$}");
        for (column, width) in columns.iter().zip(&widths) {
            let Some(row) = cells.get(&(line, *column)) else {
                let _ = write!(out, "  {:<width$}", "·");
                continue;
            };
            let text = match row.outcome {
                Outcome::Passed => format!("{:>6.2} s", row.duration_s),
                _ => row.classification.to_string(),
            };
            let _ = write!(out, "  {} {text:<1$}", symbol(row.outcome, colours), width.saturating_sub(2));
        }
        trim_line(out);
    }
    out.push('\n');
}

fn trim_line(out: &mut String) {
    out.truncate(out.trim_end_matches(' ').len());
    out.push('\n');
}

fn cell(out: &mut String, row: &OutcomeRow, report: &str, colours: Colours) {
    let head = format!("{} {} (claude {}): {}", row.full_model, row.feature, row.cli_version, row.classification);
    let bold = colours.style(Style::new().bold());
    let _ = writeln!(out, "{} {}", symbol(row.outcome, colours), bold.apply_to(printable(&head)));
    for finding in &row.findings {
        let style = match finding.severity {
            Severity::Broken => Style::new().red(),
            Severity::Degraded => Style::new().yellow(),
            Severity::Note => Style::new().dim(),
        };
        let head = format!("{} · {} · {}", finding.severity, finding.suspect, finding.code);
        let _ = writeln!(out, "  {}", colours.style(style).apply_to(head));
        let _ = writeln!(out, "    {}", printable(&finding.message));
        if !finding.cites.is_empty() {
            let _ = writeln!(out, "    see {}", printable(&finding.cites.join(", ")));
        }
    }
    if row.attempts.len() > 1 {
        let tries: Vec<String> = row.attempts.iter().map(|a| a.classification.to_string()).collect();
        let _ = writeln!(out, "  attempts: {}", tries.join(", "));
    }
    let folder = std::path::Path::new(report).parent().unwrap_or(std::path::Path::new(""));
    let _ = writeln!(out, "  evidence {}\n", printable(&folder.join(&row.evidence_path).to_string_lossy()));
}

fn totals(out: &mut String, report: &MatrixReport, colours: Colours) {
    let count = |outcome: Outcome| report.outcomes.iter().filter(|r| r.outcome == outcome).count();
    let mut parts = Vec::new();
    for (outcome, style) in [
        (Outcome::Passed, Style::new().green()),
        (Outcome::Failed, Style::new().red().bold()),
        (Outcome::Skipped, Style::new().yellow()),
    ] {
        let n = count(outcome);
        if n > 0 {
            parts.push(colours.style(style).apply_to(format!("{n} {outcome}")).to_string());
        }
    }
    if !report.not_run.is_empty() {
        parts.push(format!("{} not run", report.not_run.len()));
    }
    if parts.is_empty() {
        parts.push("nothing ran".to_owned());
    }
    let interrupted = if report.interrupted { " (interrupted)" } else { "" };
    let _ = writeln!(out, "{} in {:.1} s{interrupted}", parts.join(", "), report.duration_s);
    for line in report.regressions() {
        let _ = writeln!(out, "regression: {}", printable(&line));
    }
}
