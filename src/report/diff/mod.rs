//! Two reports held against each other: which cells broke, which were mended, which are missing, and what else is not as it was.

pub mod markdown;
pub mod terminal;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

use super::cause::Cause;
use super::{MatrixReport, OutcomeRow, cell_name};
use crate::verdict::Outcome;

/// What changed from an old report to a new one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Diff {
    /// When the old run began.
    pub old_started_at: String,
    /// When the new run began.
    pub new_started_at: String,
    /// The cells that are not as they were, and those that are still broken: in the order of the new report, the missing ones
    /// behind them.
    pub cells: Vec<CellChange>,
    /// How many cells passed in both.
    pub passed_in_both: usize,
    /// What else changed, which may be why.
    pub changes: Vec<Change>,
}

/// What became of one cell.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CellChange {
    /// How it changed.
    pub kind: ChangeKind,
    /// The cell as the new report names it, or the old one where the new one does not have it.
    pub cell: String,
    /// What had decided that it did not pass.
    pub old_cause: Option<Cause>,
    /// What decides it now.
    pub cause: Option<Cause>,
    /// The deciding finding's words.
    pub message: String,
    /// Where the new evidence is, relative to the new report; empty for a missing cell.
    pub evidence_path: String,
}

/// How a cell changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It failed, and had not failed before: it had passed, or is new.
    NewlyBroken,
    /// It was judged and is no longer: it is not in the new report, or was skipped there. What is not looked at is not well.
    Missing,
    /// It is broken for another cause than it was.
    OtherCause,
    /// It is broken for the same cause.
    SameCause,
    /// It passed, and had failed before.
    NewlyFixed,
    /// It passed or was skipped, and was not judged before.
    New,
}

impl ChangeKind {
    /// All kinds, the gravest first.
    pub const ALL: [Self; 6] =
        [Self::NewlyBroken, Self::Missing, Self::OtherCause, Self::SameCause, Self::NewlyFixed, Self::New];

    /// The words for it.
    pub fn words(self) -> &'static str {
        match self {
            Self::NewlyBroken => "newly broken",
            Self::Missing => "missing",
            Self::OtherCause => "still broken, for another cause",
            Self::SameCause => "still broken, for the same cause",
            Self::NewlyFixed => "newly fixed",
            Self::New => "new",
        }
    }

    /// Whether it makes the comparison fail.
    pub fn fails(self) -> bool {
        matches!(self, Self::NewlyBroken | Self::Missing)
    }
}

/// Something besides the cells that is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What it is.
    pub what: String,
    /// How it was; empty when it was not there.
    pub old: String,
    /// How it is; empty when it is not there.
    pub new: String,
}

impl Diff {
    /// Holds a new report against an old one.
    ///
    /// A cell is the same when target, model, probe and client version are. Where a client version of the old report is not
    /// in the new one, the newest version that only the new one has takes its place: a matrix that follows the latest client
    /// is compared across its releases.
    pub fn of(old: &MatrixReport, new: &MatrixReport) -> Self {
        let successors = successors(old, new);
        let mut before: HashMap<Key<'_>, &OutcomeRow> = HashMap::new();
        for row in &old.outcomes {
            let version = successors.get(row.cli_version.as_str()).copied().unwrap_or(&row.cli_version);
            before.insert((&row.target, &row.full_model, &row.feature, version), row);
        }
        let (mut cells, mut passed_in_both) = (Vec::new(), 0);
        for row in &new.outcomes {
            let old = before.remove(&key(row, &row.cli_version));
            match compared(old, row) {
                Some(kind) => cells.push(CellChange::of(kind, old, row)),
                None => passed_in_both += usize::from(row.outcome == Outcome::Passed),
            }
        }
        let gone = |row: &&OutcomeRow| {
            let version = successors.get(row.cli_version.as_str()).copied().unwrap_or(&row.cli_version);
            row.outcome != Outcome::Skipped && before.contains_key(&key(row, version))
        };
        cells.extend(old.outcomes.iter().filter(gone).map(|row| CellChange {
            kind: ChangeKind::Missing,
            cell: row.name(),
            old_cause: row.cause(),
            cause: None,
            message: why_missing(row, new, &successors).to_owned(),
            evidence_path: String::new(),
        }));
        Self {
            old_started_at: old.started_at.clone(),
            new_started_at: new.started_at.clone(),
            cells,
            passed_in_both,
            changes: changes(old, new),
        }
    }

    /// The cells that changed in one way.
    pub fn of_kind(&self, kind: ChangeKind) -> impl Iterator<Item = &CellChange> {
        self.cells.iter().filter(move |cell| cell.kind == kind)
    }

    /// Whether a cell is newly broken or missing.
    pub fn fails(&self) -> bool {
        self.cells.iter().any(|cell| cell.kind.fails())
    }
}

/// Target, model, feature, client version.
type Key<'a> = (&'a str, &'a str, &'a str, &'a str);

fn key<'a>(row: &'a OutcomeRow, version: &'a str) -> Key<'a> {
    (&row.target, &row.full_model, &row.feature, version)
}

/// How a cell changed; `None` when it passed in both or was judged in neither.
fn compared(old: Option<&OutcomeRow>, new: &OutcomeRow) -> Option<ChangeKind> {
    let old = old.filter(|row| row.outcome != Outcome::Skipped);
    match (old.map(|row| row.outcome), new.outcome) {
        (Some(Outcome::Failed), Outcome::Failed) => {
            let same = old.and_then(OutcomeRow::cause) == new.cause();
            Some(if same { ChangeKind::SameCause } else { ChangeKind::OtherCause })
        }
        (_, Outcome::Failed) => Some(ChangeKind::NewlyBroken),
        (Some(_), Outcome::Skipped) => Some(ChangeKind::Missing),
        (Some(Outcome::Failed), Outcome::Passed) => Some(ChangeKind::NewlyFixed),
        (Some(_), Outcome::Passed) => None,
        (None, _) => Some(ChangeKind::New),
    }
}

impl CellChange {
    fn of(kind: ChangeKind, old: Option<&OutcomeRow>, new: &OutcomeRow) -> Self {
        Self {
            kind,
            cell: new.name(),
            old_cause: old.and_then(OutcomeRow::cause),
            cause: new.cause(),
            message: new.deciding().map(|f| f.message.clone()).unwrap_or_default(),
            evidence_path: new.evidence_path.clone(),
        }
    }
}

fn why_missing(row: &OutcomeRow, new: &MatrixReport, successors: &BTreeMap<&str, &str>) -> &'static str {
    let version = successors.get(row.cli_version.as_str()).copied().unwrap_or(&row.cli_version);
    let name = cell_name(&row.target, &row.full_model, &row.feature, version);
    if new.not_run.contains(&name) { "it was planned and not run" } else { "it is not in the new report's plan" }
}

/// For client versions that only the old report has, the ones of the new report that take their place: newest for newest.
fn successors<'a>(old: &'a MatrixReport, new: &'a MatrixReport) -> BTreeMap<&'a str, &'a str> {
    let versions = |report: &'a MatrixReport| -> BTreeSet<&'a str> {
        report.outcomes.iter().map(|row| row.cli_version.as_str()).collect()
    };
    let (before, after) = (versions(old), versions(new));
    let newest_first = |versions: Vec<&'a str>| {
        let mut versions = versions;
        versions.sort_by_key(|version| std::cmp::Reverse(in_numbers(version)));
        versions
    };
    let gone = newest_first(before.difference(&after).copied().collect());
    let come = newest_first(after.difference(&before).copied().collect());
    gone.into_iter().zip(come).collect()
}

/// A version by its numbers, so that 2.10 is newer than 2.9.
fn in_numbers(version: &str) -> (Vec<u64>, &str) {
    (version.split(['.', '-', '+']).map_while(|part| part.parse().ok()).collect(), version)
}

/// What may be why: versions, machines, models, probes, rules.
fn changes(old: &MatrixReport, new: &MatrixReport) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut told = |what: &str, old: String, new: String| {
        if old != new {
            changes.push(Change { what: what.to_owned(), old, new });
        }
    };
    told("ccsmoke", old.ccsmoke_version.clone(), new.ccsmoke_version.clone());
    told("client", clients(old, false), clients(new, false));
    if clients(old, false) == clients(new, false) {
        told("client's program (SHA-256)", clients(old, true), clients(new, true));
    }
    let targets = |report: &MatrixReport| joined(report.outcomes.iter().map(|row| row.target.clone()));
    told("targets", targets(old), targets(new));
    let (before, after) = (gateways(old), gateways(new));
    for target in before.keys().filter(|target| after.contains_key(*target)) {
        told(&format!("gateway {target}"), before[target].clone(), after[target].clone());
    }
    told("models", joined(old.models.iter().cloned()), joined(new.models.iter().cloned()));
    if let (Some(before), Some(after)) = (&old.plan, &new.plan) {
        let names: BTreeSet<&String> = before.probes.keys().chain(after.probes.keys()).collect();
        for name in names {
            told(&format!("probe {name}"), short(before.probes.get(name)), short(after.probes.get(name)));
        }
        told("text rules", short(Some(&before.rules)), short(Some(&after.rules)));
    }
    let host = |report: &MatrixReport| {
        let host = &report.host;
        format!("{} {}, {}", host.os, host.arch, super::text::counted(host.cores, "core"))
    };
    told("machine", host(old), host(new));
    changes
}

fn clients(report: &MatrixReport, programs: bool) -> String {
    joined(report.cli.iter().map(|client| if programs { short(Some(&client.sha256)) } else { client.version.clone() }))
}

/// The versions of each target's gateway.
fn gateways(report: &MatrixReport) -> BTreeMap<&str, String> {
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for row in &report.outcomes {
        if let Some(version) = &row.gateway_version {
            versions.entry(&row.target).or_default().insert(version);
        }
    }
    let words = |set: BTreeSet<&str>| set.into_iter().collect::<Vec<_>>().join(", ");
    versions.into_iter().map(|(target, set)| (target, words(set))).collect()
}

/// The first twelve digits of a hash tell it from any other.
fn short(hash: Option<&String>) -> String {
    hash.map_or_else(String::new, |hash| hash.chars().take(12).collect())
}

fn joined(names: impl Iterator<Item = String>) -> String {
    names.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(", ")
}
