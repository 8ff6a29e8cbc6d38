//! The doctor's report for a terminal.

use std::fmt::Write as _;

use console::Style;

use super::{DoctorReport, Outcome};
use crate::report::terminal::{Colours, printable};

/// The report as text, ending with a newline.
pub fn text(report: &DoctorReport, colours: Colours) -> String {
    let mut out = String::new();
    let client = &report.client;
    let line = match (&client.path, &client.version) {
        (None, _) => "client   none".to_owned(),
        (Some(path), None) => format!("client   {path}, which is not usable"),
        (Some(path), Some(version)) => {
            let tested = if client.tested { "tested" } else { "not tested" };
            format!("client   {path} ({}), version {version}, {tested}", client.found.as_deref().unwrap_or("given"))
        }
    };
    let _ = writeln!(out, "{}", printable(&line));
    let _ = writeln!(out, "against  {}", printable(&report.target));
    let widest = report.ways.iter().map(|row| row.title.len()).max().unwrap_or(0);
    for row in &report.ways {
        let (sign, style) = match row.outcome {
            Outcome::Works => ("✓ works", Style::new().green()),
            Outcome::Fails => ("✗ fails", Style::new().red().bold()),
            Outcome::Hangs => ("✗ hangs", Style::new().red().bold()),
            Outcome::Skipped => ("- skipped", Style::new().dim()),
        };
        let sign = style.force_styling(colours == Colours::On).apply_to(sign);
        let reason = row.reason.as_deref().map_or_else(String::new, |reason| format!("  {reason}"));
        let _ = writeln!(out, "  {:<widest$}  {sign}  {:>5.1} s{}", row.title, row.took_s, printable(&reason));
    }
    if !report.variables.is_empty() {
        let _ = writeln!(out, "variables that would reach a client");
        for variable in &report.variables {
            let _ = writeln!(out, "  {} {}", printable(&variable.name), printable(&variable.value));
        }
    }
    for problem in &report.problems {
        let _ = writeln!(out, "! {}\n  to do: {}", printable(&problem.what), printable(&problem.to_do));
    }
    let verdict = match (report.interrupted, report.works) {
        (true, _) => "interrupted",
        (_, true) => "the client works",
        (_, false) => "the client does not work in the plain way (-p over pipes)",
    };
    let _ = writeln!(out, "{verdict}");
    out
}
