//! The load report: the one JSON value, histograms inside, that every other output is made from and that shards are merged by.

pub mod html;
pub mod junit;
pub mod markdown;
pub mod merge;
mod plots;
pub mod sessions;
pub mod terminal;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::judge::{self, Against, Circumstances, Judgement};
use super::metrics::histogram::{Histogram, LAYOUT};
use super::metrics::record::{Counters, ScenarioRecord, Tags};
use super::metrics::{COUNTED, DEFINITIONS, Metric};
use super::plan::Shard;
use super::scenario::Suite;
use crate::redact::Redactor;

/// The version of this format.
pub const REPORT_VERSION: u32 = 1;

/// A run of a suite, or of a part of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadReport {
    /// The version of this format.
    pub load_report_version: u32,
    /// The version of ccsmoke.
    pub ccsmoke: String,
    /// What belongs together has the same one.
    pub run_id: String,
    /// Which part of the plan this is.
    pub shard: Shard,
    /// The suite and its plan.
    pub suite: SuiteFacts,
    /// Where requests went.
    pub target: String,
    /// When it began, RFC 3339.
    pub began: String,
    /// How many workers sent.
    pub workers: usize,
    /// The histograms' layout.
    pub layout: String,
    /// What each metric means.
    pub definitions: BTreeMap<String, String>,
    /// What the judgement needs to know.
    pub circumstances: Circumstances,
    /// What was recorded, by scenario.
    pub scenarios: Vec<ScenarioRecord>,
    /// The same in figures.
    pub figures: Vec<Figures>,
    /// What is said of it.
    pub judgement: Judgement,
}

/// The suite that was run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuiteFacts {
    /// Its name.
    pub name: String,
    /// What it shows.
    pub title: String,
    /// What everything random follows from.
    pub seed: u64,
    /// The API.
    pub api: String,
    /// What tells this plan from any other.
    pub fingerprint: String,
    /// The kinds of its loads in words, by scenario.
    pub loads: Vec<String>,
    /// Its thresholds: subject and condition.
    pub thresholds: Vec<(String, String)>,
}

/// A view of a scenario in figures. Times are microseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// The scenario.
    pub scenario: String,
    /// Which samples.
    pub tags: Tags,
    /// Their counts.
    pub counters: Counters,
    /// Right answers a second, over the time that the scenario took.
    pub ok_per_s: f64,
    /// Output tokens a second, likewise.
    pub output_tps: f64,
    /// Output tokens a second of one stream: 1 by the median of `tpot`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub user_tps: Option<f64>,
    /// Pieces of content by reads that brought content.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pieces_per_read: Option<f64>,
    /// Right answers in time, by planned requests.
    pub goodput_share: f64,
    /// Their times.
    pub times: BTreeMap<Metric, Times>,
}

/// A histogram in figures, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// How many samples.
    pub n: u64,
    /// The shortest.
    pub min: u64,
    /// The mean.
    pub mean: f64,
    /// Percentiles. Those that fewer than ten samples lie above are shown in brackets.
    pub p50: u64,
    /// The 90th.
    pub p90: u64,
    /// The 95th.
    pub p95: u64,
    /// The 99th.
    pub p99: u64,
    /// The 99.9th.
    pub p999: u64,
    /// The longest.
    pub max: u64,
}

impl From<&Histogram> for Times {
    fn from(histogram: &Histogram) -> Self {
        let at = |percent| histogram.percentile(percent).micros;
        Self {
            n: histogram.count(),
            min: histogram.min(),
            mean: histogram.mean(),
            p50: at(50.0),
            p90: at(90.0),
            p95: at(95.0),
            p99: at(99.0),
            p999: at(99.9),
            max: histogram.max(),
        }
    }
}

/// What is known of a run when it begins.
#[derive(Debug, Clone)]
pub struct Header {
    /// What belongs together has the same one.
    pub run_id: String,
    /// Which part of the plan.
    pub shard: Shard,
    /// Where requests go.
    pub target: String,
    /// When it began, RFC 3339.
    pub began: String,
    /// How many workers send.
    pub workers: usize,
}

impl LoadReport {
    /// The report of a run.
    pub fn new(
        suite: &Suite,
        header: Header,
        records: Vec<ScenarioRecord>,
        circumstances: Circumstances,
        against: Against<'_>,
    ) -> Self {
        let thresholds = suite.thresholds.iter().map(|t| (t.subject.to_string(), t.text.clone())).collect();
        let facts = SuiteFacts {
            name: suite.name.clone(),
            title: suite.title.clone(),
            seed: suite.seed,
            api: serde_json::to_value(suite.target.api)
                .ok()
                .and_then(|v| v.as_str().map(str::to_owned))
                .unwrap_or_default(),
            fingerprint: suite.fingerprint(),
            loads: suite.scenarios.iter().map(|s| s.load.words().to_owned()).collect(),
            thresholds,
        };
        let judgement = judge::judge(&records, &suite.thresholds, &circumstances, against);
        Self {
            load_report_version: REPORT_VERSION,
            ccsmoke: env!("CARGO_PKG_VERSION").to_owned(),
            run_id: header.run_id,
            shard: header.shard,
            suite: facts,
            target: header.target,
            began: header.began,
            workers: header.workers,
            layout: LAYOUT.to_owned(),
            definitions: definitions(),
            circumstances,
            figures: figures(&records),
            scenarios: records,
            judgement,
        }
    }

    /// The same with every text that came from outside masked. Histograms are no texts.
    #[must_use]
    pub fn redacted(mut self, redactor: &Redactor) -> Self {
        let mask = |text: &mut String| {
            if let Cow::Owned(hidden) = redactor.text(text) {
                *text = hidden;
            }
        };
        mask(&mut self.target);
        mask(&mut self.run_id);
        self.judgement.reasons.iter_mut().for_each(mask);
        for record in &mut self.scenarios {
            record.examples.values_mut().flat_map(|examples| examples.0.values_mut()).for_each(mask);
        }
        self
    }

    /// Reads a report.
    ///
    /// # Errors
    /// In words: it cannot be read, or is none.
    pub fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|e| format!("{shown}: cannot be read: {e}"))?;
        Self::parse(&text).map_err(|e| format!("{shown}: {e}"))
    }

    /// Parses a report.
    ///
    /// # Errors
    /// In words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let value: serde_json::Value =
            serde_json::from_str(text).map_err(|e| format!("is not a load report: not JSON: {e}"))?;
        match value["load_report_version"].as_u64() {
            Some(version) if version <= u64::from(REPORT_VERSION) => {}
            Some(version) => {
                return Err(format!(
                    "has load_report_version {version}, and this ccsmoke reads up to {REPORT_VERSION}: use the one that wrote it"
                ));
            }
            None => return Err("is not a load report: it has no load_report_version".to_owned()),
        }
        serde_json::from_value(value).map_err(|e| format!("is not a load report: {e}"))
    }
}

/// What each metric means.
fn definitions() -> BTreeMap<String, String> {
    let times = DEFINITIONS.iter().map(|(_, name, words)| (*name, *words));
    times.chain(COUNTED).map(|(name, words)| (name.to_owned(), words.to_owned())).collect()
}

/// Every view in figures.
#[expect(clippy::cast_precision_loss, reason = "counts are short of 2^52")]
pub(super) fn figures(records: &[ScenarioRecord]) -> Vec<Figures> {
    let mut all = Vec::new();
    for record in records {
        let seconds = (record.took_us as f64 / 1e6).max(1e-6);
        for view in record.views.iter().filter(|view| view.counters.sent > 0) {
            let Counters { pieces, reads, .. } = view.counters;
            let tpot = view.times.get(Metric::Tpot).map(|times| times.percentile(50.0).micros);
            let planned = if view.tags == Tags::default() { record.planned } else { view.counters.sent };
            all.push(Figures {
                scenario: record.name.clone(),
                tags: view.tags.clone(),
                counters: view.counters,
                ok_per_s: view.counters.ok as f64 / seconds,
                output_tps: view.counters.tokens_out as f64 / seconds,
                user_tps: tpot.filter(|micros| *micros > 0).map(|micros| 1e6 / micros as f64),
                pieces_per_read: (reads > 0).then(|| pieces as f64 / reads as f64),
                goodput_share: view.counters.good as f64 / planned.max(1) as f64,
                times: view.times.iter().map(|(metric, times)| (metric, Times::from(times))).collect(),
            });
        }
    }
    all
}
