//! Causes: what decided that a cell did not pass, and all cells that the same thing explains. One defect of a gateway turns many
//! cells red; a reader wants to see it once.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::{MatrixReport, OutcomeRow};
use crate::finding::{Finding, Severity, Suspect};
use crate::verdict::Outcome;

/// What decided that a cell did not pass.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Cause {
    /// The rule that found it: of findings, or of the text where no finding decided.
    pub code: String,
    /// Who did it; `None` where the text alone decided, which cannot tell.
    pub suspect: Option<Suspect>,
}

impl Cause {
    /// The cause of a cell with this outcome and these findings, each its severity, suspect and code; `None` when it passed.
    ///
    /// The first finding that is no note decides; a skipped cell's only finding may be one. Where no finding does, the text's rule
    /// did.
    pub(super) fn of(
        outcome: Outcome,
        findings: impl IntoIterator<Item = (Severity, Suspect, String)>,
        text_rule: impl FnOnce() -> String,
    ) -> Option<Self> {
        if outcome == Outcome::Passed {
            return None;
        }
        let deciding = findings.into_iter().find(|(severity, ..)| decides(*severity, outcome));
        Some(match deciding {
            Some((_, suspect, code)) => Self { code, suspect: Some(suspect) },
            None => Self { code: text_rule(), suspect: None },
        })
    }

    /// The words for it: `code · suspect`.
    pub fn words(&self) -> String {
        match self.suspect {
            Some(suspect) => format!("{} · {suspect}", self.code),
            None => self.code.clone(),
        }
    }
}

/// A cause with the cells that it explains.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained<'a> {
    /// The cause.
    pub cause: Cause,
    /// Whose defect it is: the target of a gateway or provider, the model, the client's version; empty for ccsmoke and the world.
    pub place: &'a str,
    /// The finding in the first cell, as an example.
    pub finding: Option<&'a Finding>,
    /// The cells, in the order of the plan. There is one at least.
    pub rows: Vec<&'a OutcomeRow>,
}

/// Whether a finding can decide a cell.
fn decides(severity: Severity, outcome: Outcome) -> bool {
    severity != Severity::Note || outcome == Outcome::Skipped
}

impl OutcomeRow {
    /// The finding that decided.
    pub fn deciding(&self) -> Option<&Finding> {
        self.findings.iter().find(|finding| decides(finding.severity, self.outcome))
    }

    /// What decided that the cell did not pass; `None` when it did.
    pub fn cause(&self) -> Option<Cause> {
        let findings = self.findings.iter().map(|f| (f.severity, f.suspect, f.code.clone()));
        Cause::of(self.outcome, findings, || self.text_verdict.rule.clone())
    }
}

/// The causes of a report: regressions before others, and of each those first that explain most.
///
/// A cause is the same in two cells when the same rule accuses the same one: one gateway, one model, one version of the
/// client. The words of a finding name exchanges and differ from cell to cell, so they do not count.
pub fn causes(report: &MatrixReport) -> Vec<Explained<'_>> {
    let mut places: HashMap<(Cause, &str), usize> = HashMap::new();
    let mut causes: Vec<Explained<'_>> = Vec::new();
    for row in &report.outcomes {
        let Some(cause) = row.cause() else { continue };
        let place = match cause.suspect {
            Some(Suspect::Gateway | Suspect::Provider) | None => row.target.as_str(),
            Some(Suspect::Model) => &row.full_model,
            Some(Suspect::Client) => &row.cli_version,
            Some(Suspect::Environment | Suspect::Harness) => "",
        };
        let at = *places.entry((cause.clone(), place)).or_insert_with(|| {
            causes.push(Explained { cause, place, finding: row.deciding(), rows: Vec::new() });
            causes.len() - 1
        });
        causes[at].rows.push(row);
    }
    let regression = |c: &Explained<'_>| c.rows.iter().any(|row| row.classification.is_regression());
    causes.sort_by_key(|c| std::cmp::Reverse((regression(c), c.rows.len())));
    causes
}
