//! The causes behind a report's cells: one entry for each distinct thing that stands first in what is wrong.

use super::{MatrixReport, OutcomeRow};
use crate::finding::{Finding, Severity, Suspect};
use crate::verdict::{Classification, Outcome};

/// One cause with the cells that it explains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause<'r> {
    /// The target where it was seen.
    pub target: &'r str,
    /// The class that it gave its first cell.
    pub classification: Classification,
    /// The finding that decided its first cell; `None` when a cell is not passed and no finding says why.
    pub finding: Option<&'r Finding>,
    /// The cells, as indices into [`MatrixReport::outcomes`].
    pub cells: Vec<usize>,
}

/// The finding that decided a cell: the first that is no note, or of a cell that did not pass the first at all.
pub fn deciding(row: &OutcomeRow) -> Option<&Finding> {
    let failing = row.findings.iter().find(|f| f.severity > Severity::Note);
    failing.or_else(|| row.findings.first().filter(|_| row.outcome != Outcome::Passed))
}

/// The causes of all cells that did not pass: regressions first, then by the number of cells. Cells of one target whose
/// deciding findings have code and suspect in common have one cause.
pub fn causes(report: &MatrixReport) -> Vec<Cause<'_>> {
    let mut causes: Vec<Cause<'_>> = Vec::new();
    for (i, row) in report.outcomes.iter().enumerate().filter(|(_, row)| row.outcome != Outcome::Passed) {
        let finding = deciding(row);
        let same = |cause: &&mut Cause<'_>| {
            cause.target == row.target
                && key(cause.finding) == key(finding)
                && (finding.is_some() || cause.classification == row.classification)
        };
        match causes.iter_mut().find(same) {
            Some(cause) => cause.cells.push(i),
            None => {
                causes.push(Cause { target: &row.target, classification: row.classification, finding, cells: vec![i] })
            }
        }
    }
    causes.sort_by_key(|cause| (!cause.classification.is_regression(), std::cmp::Reverse(cause.cells.len())));
    causes
}

fn key(finding: Option<&Finding>) -> Option<(&str, Suspect)> {
    finding.map(|f| (f.code.as_str(), f.suspect))
}
