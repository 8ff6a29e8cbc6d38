//! The reports of a run's shards put together: the report that the run would have written in one piece.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::path::Path;

use thiserror::Error;

use super::plan::{PlanFacts, Shard};
use super::{CliFacts, MatrixReport, OutcomeRow, SCHEMA_VERSION};

/// Why reports cannot be put together.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum MergeError {
    /// No report was given.
    #[error("there is no report to merge")]
    Nothing,
    /// A report tells no plan, or no shard.
    #[error("{file}: {why}; only reports of `ccsmoke run --shard i/n` can be merged")]
    NoShard {
        /// Which.
        file: String,
        /// What is missing.
        why: &'static str,
    },
    /// Two reports come from different plans.
    #[error("{first} and {second} are shards of different plans: {difference}")]
    Mixed {
        /// The report that the others are held against.
        first: String,
        /// The one that differs.
        second: String,
        /// In what.
        difference: String,
    },
    /// A shard was given twice.
    #[error("{first} and {second} are both shard {shard}; give one of them")]
    Twice {
        /// One of them.
        first: String,
        /// The other.
        second: String,
        /// The shard.
        shard: Shard,
    },
    /// Shards were not given.
    #[error("{} missing, of {count}: {}", if missing.len() == 1 { "a shard is" } else { "shards are" }, list(missing, *count))]
    Missing {
        /// Their numbers.
        missing: Vec<u32>,
        /// How many there are.
        count: u32,
    },
    /// A report does not hold what its shard of the plan holds.
    #[error("{file}: is not whole: the cell {cell:?} is neither among its outcomes nor named as not run")]
    NotWhole {
        /// Which.
        file: String,
        /// The first cell that it should hold.
        cell: String,
    },
    /// A report holds a cell that the plan does not.
    #[error("{file}: holds the cell {cell:?} more often than the plan does")]
    Beyond {
        /// Which.
        file: String,
        /// The cell.
        cell: String,
    },
}

fn list(missing: &[u32], count: u32) -> String {
    missing.iter().map(|index| format!("{index}/{count}")).collect::<Vec<_>>().join(", ")
}

/// A shard's report with the name of its file.
type Named = (String, MatrixReport);

/// What a shard says of a cell: its row, or that it was not run.
type Told<'a> = (&'a str, Option<OutcomeRow>);

/// Puts the reports of all shards of one plan together: the cells in the order of the plan, the totals of all.
///
/// The run lasted from the first start to the last end. The machine is the first shard's.
///
/// # Errors
/// The reports are not the shards of one plan, each once and whole.
pub fn merge(mut shards: Vec<Named>) -> Result<MatrixReport, MergeError> {
    shards.sort_by_key(|(_, report)| report.plan.as_ref().and_then(|plan| plan.shard));
    let plan = check(&shards)?;
    let mut told: HashMap<String, VecDeque<Told<'_>>> = HashMap::new();
    for (file, report) in &shards {
        for row in &report.outcomes {
            told.entry(row.name()).or_default().push_back((file, Some(row.clone())));
        }
        for name in &report.not_run {
            told.entry(name.clone()).or_default().push_back((file, None));
        }
    }
    let (mut outcomes, mut not_run) = (Vec::new(), Vec::new());
    for name in &plan.cells {
        match told.get_mut(name).and_then(VecDeque::pop_front) {
            Some((_, Some(row))) => outcomes.push(row),
            Some((_, None)) => not_run.push(name.clone()),
            None => {
                let files: Vec<&str> = shards.iter().map(|(file, _)| file.as_str()).collect();
                return Err(MergeError::NotWhole { file: files.join(", "), cell: name.clone() });
            }
        }
    }
    if let Some((cell, (file, _))) = told.iter().find_map(|(cell, rest)| Some((cell, rest.front()?))) {
        return Err(MergeError::Beyond { file: (*file).to_owned(), cell: cell.clone() });
    }
    let reports = || shards.iter().map(|(_, report)| report);
    let names = |pick: fn(&MatrixReport) -> &str| {
        let mut all: Vec<&str> = Vec::new();
        for name in reports().map(pick) {
            if !all.contains(&name) {
                all.push(name);
            }
        }
        all.join(", ")
    };
    let models: BTreeSet<String> = reports().flat_map(|report| report.models.iter().cloned()).collect();
    let mut cli: Vec<CliFacts> = Vec::new();
    for client in reports().flat_map(|report| &report.cli) {
        if !cli.contains(client) {
            cli.push(client.clone());
        }
    }
    let Some((_, first)) = shards.first() else { return Err(MergeError::Nothing) };
    let (started_at, duration_s) = lasted(&shards);
    Ok(MatrixReport {
        ccsmoke_version: first.ccsmoke_version.clone(),
        schema_version: SCHEMA_VERSION,
        started_at,
        duration_s,
        client_cpu_s: millis(reports().map(|report| report.client_cpu_s).sum()),
        harness_cpu_s: millis(reports().map(|report| report.harness_cpu_s).sum()),
        worker_id: names(|report| &report.worker_id),
        target: names(|report| &report.target),
        models: models.into_iter().collect(),
        cli,
        host: first.host.clone(),
        interrupted: reports().any(|report| report.interrupted),
        stopped: reports().find_map(|report| report.stopped.clone()),
        not_run,
        outcomes,
        plan: Some(PlanFacts { shard: None, ..plan }),
    })
}

/// Three decimals, as every duration of a report has.
fn millis(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

/// The plan that all reports share, once every shard of it is there exactly once.
fn check(shards: &[Named]) -> Result<PlanFacts, MergeError> {
    let (first, first_report) = shards.first().ok_or(MergeError::Nothing)?;
    let mut given: BTreeMap<Shard, &str> = BTreeMap::new();
    for (file, report) in shards {
        let no_shard = |why| MergeError::NoShard { file: file.clone(), why };
        let plan = report.plan.as_ref().ok_or_else(|| no_shard("tells no plan"))?;
        let shard = plan.shard.ok_or_else(|| no_shard("is a whole run and no shard of one"))?;
        if let Some(difference) = difference(first_report, report) {
            return Err(MergeError::Mixed { first: first.clone(), second: file.clone(), difference });
        }
        if let Some(other) = given.insert(shard, file) {
            return Err(MergeError::Twice { first: other.to_owned(), second: file.clone(), shard });
        }
    }
    let count = given.keys().next().map_or(0, |shard| shard.count);
    let missing: Vec<u32> = (1..=count).filter(|&index| !given.contains_key(&Shard { index, count })).collect();
    if !missing.is_empty() {
        return Err(MergeError::Missing { missing, count });
    }
    first_report.plan.clone().ok_or(MergeError::Nothing)
}

/// In what the plans of two reports differ, in words.
fn difference(one: &MatrixReport, other: &MatrixReport) -> Option<String> {
    let (Some(a), Some(b)) = (&one.plan, &other.plan) else { return Some("one tells no plan".to_owned()) };
    let count = |plan: &PlanFacts| plan.shard.map(|shard| shard.count);
    if count(a) != count(b) {
        let words = |plan: &PlanFacts| count(plan).map_or("none".to_owned(), |n| n.to_string());
        return Some(format!("{} shards and {} shards", words(a), words(b)));
    }
    if one.ccsmoke_version != other.ccsmoke_version {
        return Some(format!("ccsmoke {} and {}", one.ccsmoke_version, other.ccsmoke_version));
    }
    if a.cells != b.cells {
        let (ours, others): (BTreeSet<_>, BTreeSet<_>) = (a.cells.iter().collect(), b.cells.iter().collect());
        return Some(match ours.symmetric_difference(&others).next() {
            Some(cell) => format!("only one of them has the cell {cell:?}"),
            None => "the cells stand in another order".to_owned(),
        });
    }
    if let Some((probe, _)) = a.probes.iter().find(|(probe, hash)| b.probes.get(*probe) != Some(hash)) {
        return Some(format!("the probe {probe:?} is another one"));
    }
    if a.probes != b.probes {
        return Some("one has more probes".to_owned());
    }
    (a.rules != b.rules).then(|| "the text rules are other ones".to_owned())
}

/// When the first shard began, and the seconds from then until the last one ended.
fn lasted(shards: &[Named]) -> (String, f64) {
    let reports = || shards.iter().map(|(_, report)| report);
    let began = reports().map(|report| report.started_at.clone()).min().unwrap_or_default();
    let time = |text: &str| text.parse::<jiff::Timestamp>().ok();
    let first = time(&began);
    let ends = reports().map(|report| {
        let later = time(&report.started_at).zip(first).map_or(0, |(own, first)| own.duration_since(first).as_millis());
        #[expect(clippy::cast_precision_loss, reason = "milliseconds between two dates are below 2^53")]
        let later_s = later as f64 / 1000.0;
        later_s + report.duration_s
    });
    let duration_s = ends.fold(0.0, f64::max);
    (began, millis(duration_s))
}

impl MatrixReport {
    /// Puts a path in front of the evidence's paths, which are relative to the report: for a report that is kept elsewhere than
    /// its evidence.
    pub fn rebase(&mut self, folder: &Path) {
        let moved = |path: &mut String| {
            if !path.is_empty() && Path::new(path.as_str()).is_relative() {
                *path = folder.join(path.as_str()).to_string_lossy().into_owned();
            }
        };
        for row in &mut self.outcomes {
            let own_log = |log: &String| Path::new(log).parent() == Path::new(&row.evidence_path).parent();
            if let Some(log) = row.log_path.as_mut().filter(|log| own_log(log)) {
                moved(log);
            }
            row.control_path.iter_mut().for_each(moved);
            row.attempts.iter_mut().for_each(|attempt| moved(&mut attempt.evidence_path));
            moved(&mut row.evidence_path);
        }
    }
}
