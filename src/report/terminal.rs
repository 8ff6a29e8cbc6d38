//! The matrix for a terminal: what works and what does not at a glance, then the causes, then what is wrong with the failed
//! cells.
//!
//! Everything that came from outside is printed without control characters, so that it can neither colour nor move nor
//! command the terminal.

use std::fmt::Write as _;
use std::path::Path;

use console::{Style, measure_text_width};

use super::cause::{Explained, causes};
use super::grid::Grid;
pub use super::text::printable;
use super::text::{clipped, counted, folded};
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
    pub(super) fn style(self, style: Style) -> Style {
        style.force_styling(self == Self::On)
    }
}

/// What is written on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// With or without colours.
    pub colours: Colours,
    /// How many columns a line may have; `None` where a line has no end, as in a file.
    pub columns: Option<usize>,
}

/// How much is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Of every cause a few cells.
    Brief,
    /// Every failed cell, its attempts, and the end of what was printed and logged.
    Full,
}

/// How many cells of a cause are shown in brief.
const SHOWN: usize = 5;

/// The widest that a column of the matrix gets.
const WIDEST_COLUMN: usize = 40;

/// The report as text, ending with a newline. `path` is where it was written.
pub fn render(report: &MatrixReport, path: &str, screen: Screen, detail: Detail) -> String {
    let mut out = String::new();
    if !report.outcomes.is_empty() {
        matrix(&mut out, report, screen);
    }
    let causes = causes(report);
    let red: usize = causes.iter().map(|cause| cause.rows.len()).sum();
    if red > 1 {
        let _ = writeln!(out, "{}, {red} cells that did not pass", counted(causes.len(), "cause"));
        for cause in &causes {
            explained(&mut out, cause, screen);
        }
        out.push('\n');
    }
    for cause in &causes {
        some(&mut out, &cause.rows, "with this cause", path, screen, detail);
    }
    let told: Vec<&OutcomeRow> = report.outcomes.iter().filter(|row| worth_telling(row)).collect();
    some(&mut out, &told, "that passed with something to tell", path, screen, detail);
    totals(&mut out, report, screen);
    let _ = writeln!(out, "report {}", printable(path));
    out
}

/// Whether a passed cell has findings to be shown.
fn worth_telling(row: &OutcomeRow) -> bool {
    row.outcome == Outcome::Passed && (!row.findings.is_empty() || row.attempts.len() > 1)
}

pub(super) fn symbol(outcome: Outcome, colours: Colours) -> String {
    let (sign, style) = match outcome {
        Outcome::Passed => ("✓", Style::new().green()),
        Outcome::Failed => ("✗", Style::new().red().bold()),
        Outcome::Skipped => ("-", Style::new().yellow()),
    };
    colours.style(style).apply_to(sign).to_string()
}

/// Features down, targets with models and client versions across. What does not fit beside the first columns stands below them.
fn matrix(out: &mut String, report: &MatrixReport, screen: Screen) {
    let grid = Grid::of(report);
    let heads: Vec<[String; 3]> = grid
        .columns
        .iter()
        .map(|column| [column.name(), column.cli_version.to_owned(), column.gateway_version.unwrap_or("").to_owned()])
        .map(|head| head.map(|text| clipped(&printable(&text), WIDEST_COLUMN)))
        .collect();
    let cell = |line, column| {
        grid.cell(line, column).map_or(("·".to_owned(), String::new()), |row| face(row, screen.colours))
    };
    let width = |column: usize| {
        let cells = (0..grid.features.len()).map(|line| measure_text_width(&cell(line, column).1) + 2);
        heads[column].iter().map(|text| measure_text_width(text)).chain(cells).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let features: Vec<String> = grid.features.iter().map(|f| clipped(&printable(f), WIDEST_COLUMN)).collect();
    let first = features.iter().map(|f| measure_text_width(f)).chain(["claude".len()]).max().unwrap_or(0);
    let mut from = 0;
    while from < heads.len() {
        let shown = from..from + fitting(&widths[from..], first, screen.columns);
        for (pick, name) in [(0, ""), (1, "claude"), (2, "gateway")] {
            if pick == 2 && heads[shown.clone()].iter().all(|head| head[2].is_empty()) {
                continue;
            }
            let mut line = padded(name, first);
            for column in shown.clone() {
                line.push_str("  ");
                line.push_str(&padded(&heads[column][pick], widths[column]));
            }
            push_trimmed(out, &line);
        }
        for (at, feature) in features.iter().enumerate() {
            let mut line = padded(feature, first);
            for column in shown.clone() {
                let (sign, text) = cell(at, column);
                let _ = write!(line, "  {sign} {}", padded(&text, widths[column].saturating_sub(2)));
            }
            push_trimmed(out, &line);
        }
        out.push('\n');
        from = shown.end;
    }
}

/// A cell of the matrix: its sign and its words.
fn face(row: &OutcomeRow, colours: Colours) -> (String, String) {
    let text = match row.outcome {
        Outcome::Passed => format!("{:>6.2} s", row.duration_s),
        _ => row.classification.to_string(),
    };
    (symbol(row.outcome, colours), text)
}

/// How many of the columns fit beside the first one; one at least.
fn fitting(widths: &[usize], first: usize, columns: Option<usize>) -> usize {
    let Some(columns) = columns else { return widths.len() };
    let ends = widths.iter().scan(first, |end, width| {
        *end += 2 + width;
        Some(*end)
    });
    ends.take_while(|end| *end <= columns).count().max(1)
}

/// The text with spaces up to a width.
pub(super) fn padded(text: &str, width: usize) -> String {
    console::pad_str(text, width, console::Alignment::Left, None).into_owned()
}

fn push_trimmed(out: &mut String, line: &str) {
    out.push_str(line.trim_end_matches(' '));
    out.push('\n');
}

/// A cause in one line, and the cells that it explains.
fn explained(out: &mut String, explained: &Explained<'_>, screen: Screen) {
    const LINES: usize = 3;
    let Some(first) = explained.rows.first() else { return };
    let place = if explained.place.is_empty() { String::new() } else { format!(" {}", explained.place) };
    let message = explained.finding.map(|f| format!(": {}", f.message)).unwrap_or_default();
    let head = printable(&format!("{}{place}{message}", explained.cause.words()));
    let count = counted(explained.rows.len(), "cell");
    let head =
        screen.columns.map_or_else(|| head.clone(), |columns| clipped(&head, columns.saturating_sub(count.len() + 4)));
    let bold = screen.colours.style(Style::new().bold());
    let _ = writeln!(out, "{} {}  {head}", symbol(first.outcome, screen.colours), bold.apply_to(count));
    let lines = folded(&printable(&places(&explained.rows)), screen.columns.map(|columns| columns.saturating_sub(4)));
    let dim = screen.colours.style(Style::new().dim());
    for line in lines.iter().take(LINES) {
        let _ = writeln!(out, "    {}", dim.apply_to(line));
    }
    if lines.len() > LINES {
        let _ = writeln!(out, "    {}", dim.apply_to("…"));
    }
}

/// Cells by model and feature, each model once: `scripted/sonnet: thinking, streaming; scripted/haiku: thinking`.
pub(super) fn places(rows: &[&OutcomeRow]) -> String {
    let versions = rows.iter().any(|row| row.cli_version != rows[0].cli_version);
    let mut models: Vec<(String, Vec<&str>)> = Vec::new();
    for row in rows {
        let version = if versions { format!(" (claude {})", row.cli_version) } else { String::new() };
        let place = format!("{}{version}", super::place_name(&row.target, &row.full_model));
        match models.iter_mut().find(|(name, _)| *name == place) {
            Some((_, features)) => features.push(&row.feature),
            None => models.push((place, vec![&row.feature])),
        }
    }
    models.iter().map(|(place, features)| format!("{place}: {}", features.join(", "))).collect::<Vec<_>>().join("; ")
}

/// Cells in detail, in brief only the first ones.
fn some(out: &mut String, rows: &[&OutcomeRow], which: &str, path: &str, screen: Screen, detail: Detail) {
    let shown = if detail == Detail::Full { rows.len() } else { SHOWN };
    for row in rows.iter().take(shown) {
        cell(out, row, path, screen, detail);
    }
    if rows.len() > shown {
        let left = rows.len() - shown;
        paragraph(out, 0, &format!("… and {left} more {which}; `ccsmoke report show --full` shows them"), screen);
        out.push('\n');
    }
}

/// A path that is relative to a report, as the reader can open it.
pub(super) fn beside(report: &str, path: &str) -> String {
    let folder = Path::new(report).parent().unwrap_or(Path::new(""));
    printable(&folder.join(path).to_string_lossy())
}

/// Writes a printable text, folded to the screen.
pub(super) fn paragraph(out: &mut String, indent: usize, text: &str, screen: Screen) {
    for line in folded(text, screen.columns.map(|columns| columns.saturating_sub(indent))) {
        let _ = writeln!(out, "{:indent$}{line}", "");
    }
}

fn cell(out: &mut String, row: &OutcomeRow, report: &str, screen: Screen, detail: Detail) {
    let name = super::place_name(&row.target, &row.full_model);
    let head = format!("{name} {} (claude {}): {}", row.feature, row.cli_version, row.classification);
    let bold = screen.colours.style(Style::new().bold());
    let lines = folded(&printable(&head), screen.columns.map(|columns| columns.saturating_sub(2)));
    for (i, line) in lines.iter().enumerate() {
        let sign = if i == 0 { symbol(row.outcome, screen.colours) } else { " ".to_owned() };
        let _ = writeln!(out, "{sign} {}", bold.apply_to(line));
    }
    for finding in &row.findings {
        let style = match finding.severity {
            Severity::Broken => Style::new().red(),
            Severity::Degraded => Style::new().yellow(),
            Severity::Note => Style::new().dim(),
        };
        let head = printable(&format!("{} · {} · {}", finding.severity, finding.suspect, finding.code));
        let _ = writeln!(out, "  {}", screen.colours.style(style).apply_to(head));
        paragraph(out, 4, &printable(&finding.message), screen);
        if !finding.cites.is_empty() {
            paragraph(out, 4, &format!("see {}", printable(&finding.cites.join(", "))), screen);
        }
    }
    if row.attempts.len() > 1 {
        let tries: Vec<String> = row.attempts.iter().map(|a| a.classification.to_string()).collect();
        paragraph(out, 2, &format!("attempts: {}", tries.join(", ")), screen);
    }
    if detail == Detail::Full {
        for attempt in row.attempts.iter().filter(|a| a.evidence_path != row.evidence_path) {
            let _ = writeln!(out, "  evidence {}", beside(report, &attempt.evidence_path));
        }
    }
    let _ = writeln!(out, "  evidence {}", beside(report, &row.evidence_path));
    if detail == Detail::Full {
        if let Some(control) = &row.control_path {
            let _ = writeln!(out, "  control  {}", beside(report, control));
        }
        for (name, excerpt) in
            [("stdout", &row.stdout_excerpt), ("stderr", &row.stderr_excerpt), ("log", &row.log_excerpt)]
        {
            if !excerpt.is_empty() {
                let _ = writeln!(out, "  end of {name}");
                for line in excerpt.lines() {
                    let _ = writeln!(out, "  | {}", printable(line));
                }
            }
        }
    }
    out.push('\n');
}

fn totals(out: &mut String, report: &MatrixReport, screen: Screen) {
    let count = |outcome: Outcome| report.outcomes.iter().filter(|r| r.outcome == outcome).count();
    let mut parts = Vec::new();
    for (outcome, style) in [
        (Outcome::Passed, Style::new().green()),
        (Outcome::Failed, Style::new().red().bold()),
        (Outcome::Skipped, Style::new().yellow()),
    ] {
        let n = count(outcome);
        if n > 0 {
            parts.push(screen.colours.style(style).apply_to(format!("{n} {outcome}")).to_string());
        }
    }
    if !report.not_run.is_empty() {
        parts.push(format!("{} not run", report.not_run.len()));
    }
    if parts.is_empty() {
        parts.push("nothing ran".to_owned());
    }
    let why = match &report.stopped {
        _ if report.interrupted => " (interrupted)".to_owned(),
        Some(words) => format!(" (the run's budget is spent: {})", printable(words)),
        None => String::new(),
    };
    let shard = report.plan.as_ref().and_then(|plan| plan.shard);
    let shard = shard.map(|shard| format!(", shard {shard}")).unwrap_or_default();
    let _ = writeln!(out, "{} in {:.1} s{shard}{why}", parts.join(", "), report.duration_s);
    let regressions: Vec<String> = report.regressions().collect();
    for line in regressions.iter().take(LINES_OF_REGRESSIONS) {
        paragraph(out, 0, &format!("regression: {}", printable(line)), screen);
    }
    if regressions.len() > LINES_OF_REGRESSIONS {
        let _ = writeln!(out, "… and {} more regressions", regressions.len() - LINES_OF_REGRESSIONS);
    }
}

/// So many regressions are named at the end; the causes name all of them.
const LINES_OF_REGRESSIONS: usize = 20;
