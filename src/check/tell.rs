//! A check report for people: as text for a terminal, and as Markdown.

use std::fmt::Write as _;

use console::Style;

use super::report::{CheckReport, Row, Seen};
use super::{Level, Verdict};
use crate::report::terminal::{Colours, printable};

/// How many characters of a message fit into a table.
const WIDE: usize = 110;

/// The report as text, ending with a newline: a table, then what failed with its evidence.
pub fn text(report: &CheckReport, colours: Colours) -> String {
    let mut out = String::new();
    let widest = report.checks.iter().map(|row| row.id.len()).max().unwrap_or(0);
    for row in &report.checks {
        let line = format!("{:<widest$}  {}", row.id, short(&row.message));
        let _ = writeln!(out, "{} {:<6} {}", sign(row.verdict, colours), level(row.level), printable(&line));
    }
    for row in report.checks.iter().filter(|row| row.verdict == Verdict::Failed) {
        failed(&mut out, row);
    }
    let _ = writeln!(out, "\n{}", printable(&totals(report)));
    out
}

fn sign(verdict: Verdict, colours: Colours) -> String {
    let (sign, style) = match verdict {
        Verdict::Passed => ("✓", Style::new().green()),
        Verdict::Failed => ("✗", Style::new().red().bold()),
        Verdict::NotApplicable => ("-", Style::new().dim()),
        Verdict::Undecided => ("?", Style::new().yellow()),
    };
    style.force_styling(colours == Colours::On).apply_to(sign).to_string()
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Must => "must",
        Level::Should => "should",
        Level::Optional => "may",
    }
}

fn short(text: &str) -> String {
    let line: String = text.chars().map(|c| if c == '\n' { ' ' } else { c }).take(WIDE).collect();
    if text.chars().nth(WIDE).is_some() { format!("{line}…") } else { line }
}

fn failed(out: &mut String, row: &Row) {
    let rules = if row.rules.is_empty() { String::new() } else { format!(" ({})", row.rules.join(", ")) };
    let mut line = |indent: &str, text: &str| {
        let text: String = text.chars().map(|c| if c == '\n' { ' ' } else { c }).collect();
        let _ = writeln!(out, "{indent}{}", printable(&text));
    };
    line("", "");
    line("", &format!("✗ {}{rules}: {}", row.id, row.title));
    line("  found     ", &row.message);
    line("  expected  ", &row.expected);
    for seen in &row.seen {
        line("  sent      ", &format!("{} {}", seen.request, short(&seen.sent)));
        line("  came      ", &came(seen));
    }
    if let Some(advice) = &row.advice {
        line("  to do     ", advice);
    }
}

/// What came back, in one line.
fn came(seen: &Seen) -> String {
    let Some(status) = seen.status else {
        return seen.ended.clone().unwrap_or_else(|| "nothing".to_owned());
    };
    let telling = ["content-type", "server", "retry-after", "location", "request-id"];
    let headers: Vec<&str> = seen
        .headers
        .iter()
        .filter(|h| h.split_once(':').is_some_and(|(n, _)| telling.contains(&n.to_ascii_lowercase().as_str())))
        .map(String::as_str)
        .collect();
    let ended = seen.ended.as_ref().map_or_else(String::new, |ended| format!(" ({ended})"));
    let forwarded = seen.forwarded.map_or_else(String::new, |n| format!(", {n} to the provider"));
    format!(
        "{status} after {} ms, {} bytes{forwarded}{ended} [{}] {}",
        seen.took_ms,
        seen.body_bytes,
        headers.join("; "),
        short(&seen.body)
    )
}

fn totals(report: &CheckReport) -> String {
    let count = |verdict| report.count(verdict);
    let version = report.gateway_version.as_ref().map_or_else(String::new, |v| format!(" ({v})"));
    let sides = if report.both_sides { "both sides compared" } else { "seen from the client's side only" };
    format!(
        "{}{version}, {sides}: {} passed, {} failed, {} not applicable, {} undecided in {:.1} s{}",
        report.target,
        count(Verdict::Passed),
        count(Verdict::Failed),
        count(Verdict::NotApplicable),
        count(Verdict::Undecided),
        report.duration_s,
        if report.interrupted { " (interrupted)" } else { "" },
    )
}

/// The report as Markdown, ending with a newline.
pub fn markdown(report: &CheckReport) -> String {
    let mut out = format!("## {}\n\n{}\n\n", cell(&report.target), cell(&totals(report)));
    out.push_str("| check | level | rules | verdict | found |\n|---|---|---|---|---|\n");
    for row in &report.checks {
        let message = match (&row.advice, row.verdict) {
            (Some(advice), Verdict::Failed) => format!("{}; to do: {advice}", row.message),
            _ => row.message.clone(),
        };
        let _ = writeln!(
            out,
            "| `{}` | {} | {} | {} | {} |",
            row.id,
            level(row.level),
            row.rules.join(" "),
            row.verdict.words(),
            cell(&message)
        );
    }
    out
}

/// A text that stays within its cell of a table.
fn cell(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => out.push(' '),
            c if c.is_control() => out.extend(c.escape_default()),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' => {
                out.push('\\');
                out.push(c);
            }
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            c => out.push(c),
        }
    }
    out
}
