//! A matrix report as one HTML file that needs nothing else: no network, no other file, no markup from outside.
//!
//! The page itself (facts, causes, matrix, what is wrong with each cell) is rendered here and needs no script. What a cell
//! shows when it is opened stands beside it as JSON, which one small script lays out as text nodes.

mod details;
pub(crate) mod head;
mod matrix;
pub(crate) mod plot;
mod scale;
mod sides;
mod source;
mod text;
mod timeline;
pub mod trend;

use std::collections::BTreeMap;

use askama::Template;
use serde::Serialize;

use super::cause::{Explained, causes};
use super::{MatrixReport, OutcomeRow};
use crate::rules::rule;
use crate::verdict::{Classification, Outcome};
use details::details;
use head::Head;
use matrix::{Cell, Matrix};
use scale::{PAGE_BYTES, Scale};
pub use source::{Beside, EvidenceSource, NoEvidence};
pub(crate) use text::Plain;

const SCRIPT: &str = include_str!("page.js");
const STYLE: &str = include_str!("page.css");

/// The page as its template sees it.
#[derive(Template)]
#[template(path = "page.html")]
struct Page<'r> {
    report: &'r MatrixReport,
    head: Head,
    script: &'static str,
    when: String,
    took: String,
    counts: Vec<(&'static str, usize)>,
    targets: Vec<String>,
    causes: Vec<CauseLine<'r>>,
    matrix: Matrix<'r>,
    /// The cells that did not pass, and those that passed with something to be said.
    told: Vec<&'r Cell<'r>>,
    rules: String,
    details: Vec<(&'r str, String)>,
}

/// One cause as a line.
struct CauseLine<'r> {
    cause: Explained<'r>,
    /// What the code means.
    name: &'static str,
    /// The class of its first cell.
    class: &'static str,
    /// The sign of its class.
    sign: &'static str,
    /// Links to the first cells.
    cells: Vec<(&'r str, String)>,
}

/// How many cells a cause names before the rest is only counted.
const NAMED_CELLS: usize = 8;

/// How many cells are told of in full without their being opened.
const TOLD_CELLS: usize = 200;

/// The report as one HTML file. Evidence that `evidence` cannot give is said to be missing; everything of the report is shown
/// all the same.
pub fn page(report: &MatrixReport, evidence: &dyn EvidenceSource) -> String {
    let cells = matrix::cells(report);
    let page = Page {
        head: Head::new(STYLE, SCRIPT),
        script: SCRIPT,
        when: report.started_at.replace('T', " ").replace('Z', " UTC"),
        took: duration(report.duration_s),
        counts: counts(report),
        targets: targets(report),
        causes: causes(report).into_iter().map(|cause| cause_line(cause, &cells)).collect(),
        told: told(&cells),
        matrix: Matrix::of(&cells),
        rules: text::json_for_script(&rules(report)),
        details: all_details(&cells, evidence),
        report,
    };
    // Writing to a string fails only if a value's own `Display` does, and none here does.
    page.render().unwrap_or_default()
}

fn counts(report: &MatrixReport) -> Vec<(&'static str, usize)> {
    let of = |outcome| report.outcomes.iter().filter(|r| r.outcome == outcome).count();
    let counts = [Outcome::Failed, Outcome::Skipped, Outcome::Passed].map(|o| (o.as_str(), of(o)));
    counts.into_iter().chain([("not run", report.not_run.len())]).filter(|(_, n)| *n > 0).collect()
}

/// Targets with the versions that they tell, each once.
fn targets(report: &MatrixReport) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for row in &report.outcomes {
        let name = match &row.gateway_version {
            Some(version) => format!("{} {}", target(row), number(version)),
            None => target(row).to_owned(),
        };
        if !out.contains(&name) {
            out.push(name);
        }
    }
    out
}

/// The number in what a gateway says of its version, e.g. of `nginx version: nginx/1.22.1`.
fn number(version: &str) -> &str {
    let last = version.split_whitespace().next_back().unwrap_or_default();
    last.rsplit('/').next().unwrap_or(last)
}

/// The target of a row; a report from before there were several does not name it.
fn target(row: &OutcomeRow) -> &str {
    if row.target.is_empty() { row.full_model.split('/').next().unwrap_or_default() } else { &row.target }
}

fn cause_line<'r>(cause: Explained<'r>, cells: &'r [Cell<'r>]) -> CauseLine<'r> {
    // The rows are the report's own, so they are found by where they stand.
    let cell = |row: &&OutcomeRow| cells.iter().find(|cell| std::ptr::eq(cell.row, *row));
    let named = cause.rows.iter().take(NAMED_CELLS).filter_map(cell);
    let class = cause.rows.first().map_or(Classification::Passed, |row| row.classification);
    CauseLine {
        name: rule(&cause.cause.code).map_or("Decided by the text alone", |rule| rule.name),
        class: class.as_str(),
        sign: matrix::sign(class),
        cells: named.map(|c| (c.id.as_str(), format!("{} · {}", c.row.feature, c.row.model))).collect(),
        cause,
    }
}

/// The cells that are told of in full: first those that did not pass.
fn told<'r>(cells: &'r [Cell<'r>]) -> Vec<&'r Cell<'r>> {
    let mut told: Vec<&Cell<'_>> = cells.iter().filter(|cell| cell.is_told()).collect();
    told.sort_by_key(|cell| cell.passed());
    told.truncate(TOLD_CELLS);
    told
}

/// What the codes of the report's findings mean, each once.
fn rules(report: &MatrixReport) -> BTreeMap<&'static str, Meaning> {
    let codes = report.outcomes.iter().flat_map(|row| &row.findings).map(|f| f.code.as_str());
    codes.filter_map(rule).map(|r| (r.code, Meaning { name: r.name, why: r.why, advice: r.advice })).collect()
}

/// What a code means.
#[derive(Serialize)]
struct Meaning {
    name: &'static str,
    why: &'static str,
    advice: &'static str,
}

/// The details of all cells in their order. Those that did not pass are given room first.
fn all_details<'r>(cells: &'r [Cell<'r>], evidence: &dyn EvidenceSource) -> Vec<(&'r str, String)> {
    let failed = cells.iter().filter(|cell| !cell.passed()).count();
    let mut room = PAGE_BYTES;
    let mut order: Vec<usize> = (0..cells.len()).collect();
    order.sort_by_key(|i| cells[*i].passed());
    let mut out: Vec<(&str, String)> = cells.iter().map(|cell| (cell.id.as_str(), String::new())).collect();
    for i in order {
        let cell = &cells[i];
        let scale = if cell.passed() { Scale::PASSED } else { Scale::of_failed(failed) };
        let render = |scale| text::json_for_script(&details(cell.row, evidence, scale));
        let full = if room > 0 { render(scale) } else { render(Scale::REPORT_ALONE) };
        out[i].1 = if full.len() <= room || room == 0 { full } else { render(Scale::REPORT_ALONE) };
        room = room.saturating_sub(out[i].1.len());
    }
    out
}

/// A duration in seconds, for people.
fn duration(seconds: f64) -> String {
    if seconds < 100.0 {
        return format!("{seconds:.1} s");
    }
    let minutes = (seconds / 60.0).floor();
    format!("{minutes:.0} min {:.0} s", seconds - minutes * 60.0)
}
