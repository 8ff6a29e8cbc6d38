//! History: what many stored reports say of each cell, night by night. The terminal's table and the page with plots are drawn
//! from this one value.

pub mod read;
pub mod terminal;

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde::{Deserialize, Serialize};

use super::MatrixReport;
use super::cause::Cause;
use crate::finding::{Finding, Severity, Suspect};
use crate::verdict::{Classification, Outcome};

/// The history that some reports tell.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Trend {
    /// The reports, oldest first.
    pub nights: Vec<Night>,
    /// The cells in the order of the newest report, then those that it does not have.
    pub cells: Vec<CellTrend>,
    /// Files that could not be read.
    pub skipped: Vec<SkippedFile>,
}

/// One report as a whole.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Night {
    /// The report's file, as it was named.
    pub file: String,
    /// When the run began, `YYYY-MM-DDTHH:MM:SSZ`.
    pub started_at: String,
    /// How long it took, in seconds.
    pub duration_s: f64,
    /// What its cells cost together, in US dollars.
    pub cost_usd: f64,
    /// How many cells passed.
    pub passed: usize,
    /// How many failed.
    pub failed: usize,
    /// How many were skipped.
    pub skipped: usize,
    /// The version of ccsmoke that wrote it.
    pub ccsmoke_version: String,
}

/// One cell over time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CellTrend {
    /// The target's name.
    pub target: String,
    /// `provider/model`.
    pub full_model: String,
    /// The probe's feature.
    pub feature: String,
    /// The client's version, where a report compares several; else `None`, and each point tells its own.
    pub cli_version: Option<String>,
    /// Oldest first; a night that did not run the cell has none.
    pub points: Vec<Point>,
}

/// What one night says of one cell.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Point {
    /// The place of its report in [`Trend::nights`].
    pub night: usize,
    /// How the cell ended.
    pub outcome: Outcome,
    /// The class of what decided it.
    pub classification: Classification,
    /// What decided that it did not pass.
    pub cause: Option<Cause>,
    /// Whether its attempts did not all end alike.
    pub attempts_differ: bool,
    /// How long its launches took, in seconds.
    pub duration_s: f64,
    /// The cost that the client reports, in US dollars.
    pub cost_usd: Option<f64>,
    /// The client's version.
    pub cli_version: String,
    /// The version that the gateway tells.
    pub gateway_version: Option<String>,
}

/// A file that is not a report which can be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SkippedFile {
    /// The file, as it was named.
    pub file: String,
    /// Why.
    pub why: String,
}

/// Since when a cell is broken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Broken<'a> {
    /// The first point of the failures that have not ended.
    pub since: &'a Point,
    /// The last point before them that passed.
    pub worked: Option<&'a Point>,
}

/// What history needs of a report. Everything else in the file is passed over without being kept.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Reduced {
    started_at: String,
    #[serde(default)]
    ccsmoke_version: String,
    duration_s: f64,
    outcomes: Vec<ReducedRow>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct ReducedRow {
    #[serde(default)]
    target: String,
    full_model: String,
    feature: String,
    cli_version: String,
    #[serde(default)]
    gateway_version: Option<String>,
    outcome: Outcome,
    classification: Classification,
    #[serde(default)]
    findings: Vec<ReducedFinding>,
    text_verdict: ReducedTextVerdict,
    duration_s: f64,
    #[serde(default)]
    cost_usd: Option<f64>,
    #[serde(default)]
    attempts: Vec<ReducedAttempt>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct ReducedFinding {
    code: String,
    severity: Severity,
    suspect: Suspect,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct ReducedTextVerdict {
    rule: String,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
struct ReducedAttempt {
    outcome: Outcome,
}

impl From<&MatrixReport> for Reduced {
    fn from(report: &MatrixReport) -> Self {
        let finding = |f: &Finding| ReducedFinding { code: f.code.clone(), severity: f.severity, suspect: f.suspect };
        let rows = report.outcomes.iter().map(|row| ReducedRow {
            target: row.target.clone(),
            full_model: row.full_model.clone(),
            feature: row.feature.clone(),
            cli_version: row.cli_version.clone(),
            gateway_version: row.gateway_version.clone(),
            outcome: row.outcome,
            classification: row.classification,
            findings: row.findings.iter().map(finding).collect(),
            text_verdict: ReducedTextVerdict { rule: row.text_verdict.rule.clone() },
            duration_s: row.duration_s,
            cost_usd: row.cost_usd,
            attempts: row.attempts.iter().map(|a| ReducedAttempt { outcome: a.outcome }).collect(),
        });
        Self {
            started_at: report.started_at.clone(),
            ccsmoke_version: report.ccsmoke_version.clone(),
            duration_s: report.duration_s,
            outcomes: rows.collect(),
        }
    }
}

impl ReducedRow {
    fn point(self, night: usize) -> Point {
        let outcome = self.outcome;
        let findings = self.findings.into_iter().map(|f| (f.severity, f.suspect, f.code));
        Point {
            night,
            outcome,
            classification: self.classification,
            cause: Cause::of(outcome, findings, || self.text_verdict.rule),
            attempts_differ: self.attempts.windows(2).any(|pair| pair[0].outcome != pair[1].outcome),
            duration_s: self.duration_s,
            cost_usd: self.cost_usd,
            cli_version: self.cli_version,
            gateway_version: self.gateway_version,
        }
    }
}

impl Trend {
    /// The history of named reports, in any order. They are sorted by the time at which they began, then by name.
    pub fn of(reports: impl IntoIterator<Item = (String, Reduced)>, skipped: Vec<SkippedFile>) -> Self {
        let mut reports: Vec<(String, Reduced)> = reports.into_iter().collect();
        reports.sort_by(|(a_file, a), (b_file, b)| (&a.started_at, a_file).cmp(&(&b.started_at, b_file)));
        let by_version = reports.iter().any(|(_, report)| compares_versions(report));
        let nights = reports.iter().map(|(file, report)| night(file, report)).collect();
        let mut places: HashMap<(String, String, String, Option<String>), usize> = HashMap::new();
        let mut cells: Vec<CellTrend> = Vec::new();
        // From the newest report on, so that its order is the cells' order.
        for (night, (_, report)) in reports.into_iter().enumerate().rev() {
            for row in report.outcomes {
                let version = by_version.then(|| row.cli_version.clone());
                let key = (row.target.clone(), row.full_model.clone(), row.feature.clone(), version);
                let place = match places.entry(key) {
                    Entry::Occupied(entry) => *entry.get(),
                    Entry::Vacant(entry) => {
                        let (target, full_model, feature, cli_version) = entry.key().clone();
                        cells.push(CellTrend { target, full_model, feature, cli_version, points: Vec::new() });
                        *entry.insert(cells.len() - 1)
                    }
                };
                cells[place].points.push(row.point(night));
            }
        }
        for cell in &mut cells {
            cell.points.reverse();
        }
        Self { nights, cells, skipped }
    }
}

/// Whether a report holds the same cell with several versions of the client.
fn compares_versions(report: &Reduced) -> bool {
    let mut versions = HashMap::new();
    report.outcomes.iter().any(|row| {
        let key = (&row.target, &row.full_model, &row.feature);
        versions.insert(key, &row.cli_version).is_some_and(|other| *other != row.cli_version)
    })
}

fn night(file: &str, report: &Reduced) -> Night {
    let count = |outcome: Outcome| report.outcomes.iter().filter(|row| row.outcome == outcome).count();
    Night {
        file: file.to_owned(),
        started_at: report.started_at.clone(),
        duration_s: report.duration_s,
        cost_usd: report.outcomes.iter().filter_map(|row| row.cost_usd).sum(),
        passed: count(Outcome::Passed),
        failed: count(Outcome::Failed),
        skipped: count(Outcome::Skipped),
        ccsmoke_version: report.ccsmoke_version.clone(),
    }
}

impl CellTrend {
    /// The points at which the cell was tried.
    fn judged(&self) -> impl DoubleEndedIterator<Item = &Point> {
        self.points.iter().filter(|point| point.outcome != Outcome::Skipped)
    }

    /// The share of outcomes, from 0 to 1, that came and went: another outcome stood before and after, or the attempts of that
    /// one night did not end alike. What broke and stayed broken is no flake.
    pub fn flake_rate(&self) -> f64 {
        let judged: Vec<&Point> = self.judged().collect();
        let alone = |i: usize| {
            let other =
                |j: Option<usize>| j.and_then(|j| judged.get(j)).is_some_and(|p| p.outcome != judged[i].outcome);
            other(i.checked_sub(1)) && other(Some(i + 1))
        };
        let flakes = (0..judged.len()).filter(|&i| judged[i].attempts_differ || alone(i)).count();
        ratio(flakes, judged.len())
    }

    /// Since when the cell is broken; `None` when it passed the last time it was tried, or never was.
    pub fn broken(&self) -> Option<Broken<'_>> {
        let since = self.judged().rev().take_while(|point| point.outcome == Outcome::Failed).last()?;
        let worked = self.judged().rev().find(|point| point.outcome == Outcome::Passed);
        Some(Broken { since, worked })
    }
}

/// A share; 0 of nothing is 0.
fn ratio(part: usize, whole: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "numbers of nights are far below 2^53")]
    let (part, whole) = (part as f64, whole.max(1) as f64);
    part / whole
}
