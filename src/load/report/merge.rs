//! Shards of one plan put together: counts and histograms are added without loss, and the whole is judged as one run.

use std::time::Duration;

use super::{LoadReport, Shard, figures};
use crate::load::judge::{self, Against, Circumstances};
use crate::load::metrics::record::ScenarioRecord;
use crate::load::threshold::Threshold;

/// Why shards cannot be merged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// There is nothing to merge.
    #[error("there is no shard to merge")]
    Nothing,
    /// Two reports are not of one run.
    #[error("{first} and {second} do not belong together: {what} differs")]
    Strangers {
        /// The name of the first.
        first: String,
        /// The name of the other.
        second: String,
        /// What differs.
        what: &'static str,
    },
    /// A shard is there twice.
    #[error("{first} and {second} are the same shard {index}")]
    Twice {
        /// The name of the first.
        first: String,
        /// The name of the other.
        second: String,
        /// Its number.
        index: u64,
    },
    /// A report's thresholds cannot be read.
    #[error("the threshold {0} cannot be read")]
    Threshold(String),
}

/// Merges the shards of a run, given with their names, and judges the whole. Shards that are missing are named in the verdict.
/// `baseline` is a former run's records.
///
/// # Errors
/// They do not belong together.
pub fn merge(
    mut shards: Vec<(String, LoadReport)>,
    baseline: Option<&[ScenarioRecord]>,
) -> Result<LoadReport, MergeError> {
    shards.sort_by_key(|(_, report)| report.shard.index);
    let mut rest = shards.into_iter();
    let (first, mut whole) = rest.next().ok_or(MergeError::Nothing)?;
    let of = whole.shard.of;
    let mut seen = vec![(whole.shard.index, first.clone())];
    let mut parts = vec![(whole.shard.index, whole.scenarios.clone())];
    for (name, report) in rest {
        let differs = [
            (report.run_id != whole.run_id, "the run id"),
            (report.suite.fingerprint != whole.suite.fingerprint, "the plan"),
            (report.ccsmoke != whole.ccsmoke, "the version of ccsmoke"),
            (report.layout != whole.layout, "the layout of histograms"),
            (report.shard.of != of, "the number of shards"),
            (report.scenarios.len() != whole.scenarios.len(), "the scenarios"),
        ];
        if let Some((_, what)) = differs.into_iter().find(|(is, _)| *is) {
            return Err(MergeError::Strangers { first, second: name, what });
        }
        if let Some((index, known)) = seen.iter().find(|(index, _)| *index == report.shard.index) {
            return Err(MergeError::Twice { first: known.clone(), second: name, index: *index });
        }
        seen.push((report.shard.index, name));
        for (mine, theirs) in whole.scenarios.iter_mut().zip(&report.scenarios) {
            mine.add(theirs);
        }
        parts.push((report.shard.index, report.scenarios));
        whole.workers += report.workers;
        whole.began = whole.began.min(report.began);
        circumstances(&mut whole.circumstances, report.circumstances);
    }
    whole.circumstances.missing = (0..of).filter(|index| !seen.iter().any(|(known, _)| known == index)).collect();
    whole.shard = Shard::WHOLE;
    let mut thresholds = Vec::new();
    for (subject, condition) in &whole.suite.thresholds {
        let read = subject.parse().and_then(|subject| Threshold::parse(&subject, condition));
        thresholds.push(read.map_err(|e| MergeError::Threshold(format!("{subject}: {condition}: {e}")))?);
    }
    whole.figures = figures(&whole.scenarios);
    whole.judgement =
        judge::judge(&whole.scenarios, &thresholds, &whole.circumstances, Against { baseline, shards: &parts });
    Ok(whole)
}

/// Takes the circumstances of another shard: the worst of each counts.
fn circumstances(mine: &mut Circumstances, theirs: Circumstances) {
    mine.cpu_share = mine.cpu_share.max(theirs.cpu_share);
    mine.wall = mine.wall.max(theirs.wall).max(Duration::ZERO);
    mine.stopped = mine.stopped.take().or(theirs.stopped);
}
