//! The report as Markdown, for the summary page of a CI job. Whatever came from outside stands in code spans, where nothing is
//! markup, link or mention.

use std::fmt::Write as _;

use super::cause::causes;
use super::grid::Grid;
use super::terminal::places;
use super::text::{counted, printable};
use super::{MatrixReport, OutcomeRow};
use crate::verdict::Outcome;

/// GitHub refuses a step's summary above 1 MiB; what would go beyond this is counted instead of shown.
const MAX_BYTES: usize = 900 << 10;

/// More columns than these make a page scroll sideways: then targets and models go down and features across.
const COLUMNS: usize = 6;

/// The report as a Markdown document.
pub fn render(report: &MatrixReport) -> String {
    let mut out = format!("## ccsmoke: {}\n\n", totals(report));
    let versions: Vec<String> = report.cli.iter().map(|client| code(&client.version)).collect();
    let _ = writeln!(
        out,
        "claude {} · target {} · {} · {:.1} s\n",
        versions.join(", "),
        code(&report.target),
        code(&report.started_at),
        report.duration_s
    );
    if !report.outcomes.is_empty() {
        matrix(&mut out, report);
    }
    let causes = causes(report);
    if !causes.is_empty() {
        out.push_str("### Causes\n\n| cells | cause | suspect | example | where |\n|---:|---|---|---|---|\n");
        let lines = causes.iter().map(|explained| {
            format!(
                "| {} | {} | {} {} | {} | {} |\n",
                explained.rows.len(),
                code_in_table(&explained.cause.code),
                explained.cause.suspect.map(|s| s.to_string()).unwrap_or_default(),
                if explained.place.is_empty() { String::new() } else { code_in_table(explained.place) },
                explained.finding.map(|f| code_in_table(&cut(&f.message, 300))).unwrap_or_default(),
                code_in_table(&cut(&places(&explained.rows), 600)),
            )
        });
        bounded(&mut out, lines, "cause");
        out.push('\n');
    }
    let failed: Vec<&OutcomeRow> =
        causes.iter().flat_map(|c| &c.rows).copied().filter(|r| r.outcome == Outcome::Failed).collect();
    if !failed.is_empty() {
        out.push_str("### Failed cells\n\n");
        bounded(&mut out, failed.into_iter().map(cell), "failed cell");
    }
    out
}

fn totals(report: &MatrixReport) -> String {
    let count = |outcome: Outcome| report.outcomes.iter().filter(|r| r.outcome == outcome).count();
    let mut parts: Vec<String> = [Outcome::Failed, Outcome::Passed, Outcome::Skipped]
        .map(|outcome| (count(outcome), outcome))
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, outcome)| format!("{n} {outcome}"))
        .collect();
    if !report.not_run.is_empty() {
        parts.push(format!("{} not run", report.not_run.len()));
    }
    if report.interrupted {
        parts.push("interrupted".to_owned());
    }
    if parts.is_empty() { "nothing ran".to_owned() } else { parts.join(", ") }
}

/// Appends what fits; the rest is counted.
pub(super) fn bounded(out: &mut String, parts: impl ExactSizeIterator<Item = String>, what: &str) {
    let all = parts.len();
    for (i, part) in parts.enumerate() {
        if out.len() + part.len() > MAX_BYTES {
            let _ = writeln!(out, "\n{} more did not fit.\n", counted(all - i, what));
            return;
        }
        out.push_str(&part);
    }
}

fn matrix(out: &mut String, report: &MatrixReport) {
    let grid = Grid::of(report);
    let face = |cell: Option<&OutcomeRow>| match cell {
        Some(row) if row.outcome == Outcome::Passed => format!("✅ {:.2} s", row.duration_s),
        Some(row) if row.outcome == Outcome::Failed => format!("❌ {}", row.classification),
        Some(row) => format!("⏭️ {}", row.classification),
        None => "·".to_owned(),
    };
    let column = |i: usize| {
        let column = &grid.columns[i];
        let gateway = column.gateway_version.map(|v| format!(" gateway {}", code_in_table(v))).unwrap_or_default();
        format!("{} claude {}{gateway}", code_in_table(&column.name()), code_in_table(column.cli_version))
    };
    let feature = |i: usize| code_in_table(grid.features[i]);
    let (features, columns) = (grid.features.len(), grid.columns.len());
    if columns <= COLUMNS {
        table(out, (0..features).map(feature), (0..columns).map(column), |line, at| face(grid.cell(line, at)));
    } else {
        table(out, (0..columns).map(column), (0..features).map(feature), |line, at| face(grid.cell(at, line)));
    }
}

fn table(
    out: &mut String,
    lines: impl ExactSizeIterator<Item = String>,
    heads: impl ExactSizeIterator<Item = String>,
    cell: impl Fn(usize, usize) -> String,
) {
    let columns = heads.len();
    let heads: Vec<String> = heads.collect();
    let _ = writeln!(out, "| | {} |\n|---|{}", heads.join(" | "), "---|".repeat(columns));
    let lines = lines.enumerate().map(|(line, name)| {
        let cells: Vec<String> = (0..columns).map(|at| cell(line, at)).collect();
        format!("| {name} | {} |\n", cells.join(" | "))
    });
    bounded(out, lines, "line");
    out.push('\n');
}

fn cell(row: &OutcomeRow) -> String {
    let mut out = format!("- ❌ {} {}\n", code(&row.name()), row.classification);
    for finding in &row.findings {
        let _ = writeln!(
            out,
            "  - {} · {} · {}: {}",
            finding.severity,
            finding.suspect,
            code(&finding.code),
            code(&cut(&finding.message, 1000))
        );
        if !finding.cites.is_empty() {
            let _ = writeln!(out, "    see {}", code(&cut(&finding.cites.join(", "), 1000)));
        }
    }
    let _ = writeln!(out, "  - evidence {}", code(&row.evidence_path));
    out
}

fn cut(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A code span that shows exactly this text: its fence is longer than any run of backticks in it. Source: `CommonMark` 0.31.2,
/// section 6.1.
pub(super) fn code(text: &str) -> String {
    let text = printable(text);
    if text.trim().is_empty() {
        return String::from("` `");
    }
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let pad = if text.starts_with(['`', ' ']) || text.ends_with(['`', ' ']) { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// The same in a table, where a bar would end the cell even in a code span. Source: GFM 0.29, section 4.10.
pub(super) fn code_in_table(text: &str) -> String {
    code(text).replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_span_cannot_be_left() {
        assert_eq!(code("plain <b>"), "`plain <b>`");
        assert_eq!(code("a ``` b"), "````a ``` b````");
        assert_eq!(code("`x`"), "`` `x` ``");
        assert_eq!(code("two\nlines\n\n# head"), "`two\\nlines\\n\\n# head`");
        assert_eq!(code_in_table("a|b"), "`a\\|b`");
        assert_eq!(code(""), "` `");
    }
}
