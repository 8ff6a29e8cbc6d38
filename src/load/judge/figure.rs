//! The figure that a threshold asks for, out of the records of a run.

use std::collections::BTreeMap;

use super::Known;
use crate::load::engine::shared::Shared;
use crate::load::metrics::histogram::Histogram;
use crate::load::metrics::record::{ScenarioRecord, View};
use crate::load::metrics::times::Times;
use crate::load::metrics::{Failure, Metric};
use crate::load::threshold::{Aggregate, Count, Filter, Measure, Subject, Threshold};

/// How many records there are and how each is seen. A run looks at its own while it goes on.
pub trait Records {
    /// Shows every record.
    fn each(&self, see: &mut dyn FnMut(&ScenarioRecord));
}

impl Records for [ScenarioRecord] {
    fn each(&self, see: &mut dyn FnMut(&ScenarioRecord)) {
        self.iter().for_each(see);
    }
}

impl Records for Shared {
    fn each(&self, see: &mut dyn FnMut(&ScenarioRecord)) {
        self.look(see);
    }
}

/// A figure and how many samples it stands on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::load) struct Figure {
    pub(in crate::load) value: f64,
    pub(in crate::load) n: u64,
    pub(in crate::load) decided: bool,
}

/// The views that a filter means, one of each record.
fn views<'a>(record: &'a ScenarioRecord, filter: &'a Filter) -> Option<&'a View> {
    let scenario = filter.scenario.as_ref().is_none_or(|name| *name == record.name);
    let fits = |view: &&View| {
        view.tags.stream == filter.stream && view.tags.prompt == filter.prompt && view.tags.model == filter.model
    };
    record.views.iter().find(fits).filter(|_| scenario)
}

/// The times of a metric: from the plan where the load is open and the threshold does not ask for the service's.
pub(super) fn times(records: &(impl Records + ?Sized), metric: Metric, service: bool, filter: &Filter) -> Histogram {
    let mut all = Histogram::default();
    records.each(&mut |record| {
        let metric = if record.open && !service { metric.from_plan() } else { metric };
        if let Some(times) = views(record, filter).and_then(|view| view.times.get(metric)) {
            all.add(times);
        }
    });
    all
}

#[expect(clippy::cast_precision_loss, reason = "counts are short of 2^52")]
pub(super) fn figure(threshold: &Threshold, records: &(impl Records + ?Sized), known: Known<'_>) -> Option<Figure> {
    let Threshold { subject: Subject { measure, filter }, aggregate, min_n, .. } = threshold;
    if let Measure::Time { metric, service } = measure {
        let times = times(records, *metric, *service, filter);
        return figure_of(&times, *aggregate, *min_n);
    }
    if *measure == Measure::MetricsDiff {
        let (differing, n) = known.counters?;
        return Some(Figure { value: differing as f64, n, decided: true });
    }
    let mut all = View::default();
    let (mut planned, mut dropped, mut flawed) = (0, 0, 0);
    let mut again = None;
    // Several records of one scenario took the same time.
    let mut took: BTreeMap<String, u64> = BTreeMap::new();
    records.each(&mut |record| {
        let Some(view) = views(record, filter) else { return };
        all.add(&View { times: Times::default(), ..view.clone_counts() });
        planned += if record.open { record.planned } else { record.all().counters.sent };
        dropped += record.dropped;
        again = again.or(record.behind.map(|_| 0)).map(|n| n + record.behind.map_or(0, |behind| behind.again()));
        if let Measure::Protocol(flaw) = measure {
            let counts = record.flaws.iter().filter(|(known, _)| flaw.is_none_or(|f| f == **known));
            flawed += counts.map(|(_, n)| n).sum::<u64>();
        }
        let longest = took.entry(record.name.clone()).or_default();
        *longest = record.took_us.max(*longest);
    });
    let seconds = took.into_values().sum::<u64>() as f64 / 1e6;
    let counters = &all.counters;
    let count = match measure {
        Measure::Count(count) => match count {
            Count::Planned => planned,
            Count::Sent => counters.sent,
            Count::Ok => counters.ok,
            Count::Failed => counters.failed,
            Count::Late => counters.late,
            Count::Dropped => dropped,
            Count::Retries => counters.retries,
            Count::Goodput => counters.good,
            Count::Stalls => counters.stalls,
            Count::Coalesced => counters.coalesced,
            // Nobody looked behind the gateway.
            Count::GwRetries => again?,
        },
        Measure::Errors(None) => counters.failed,
        Measure::Errors(Some(failure)) => all.failures.get(failure).copied().unwrap_or(0),
        Measure::Protocol(None) => all.failures.get(&Failure::Protocol).copied().unwrap_or(0),
        Measure::Protocol(Some(_)) => flawed,
        Measure::Saturated => u64::from(known.saturated),
        Measure::OutputTps => counters.tokens_out,
        Measure::Time { .. } | Measure::MetricsDiff => 0,
    };
    let n = counters.sent;
    let value = match aggregate {
        Aggregate::Rate => count as f64 / n.max(1) as f64,
        Aggregate::Share => count as f64 / planned.max(1) as f64,
        Aggregate::PerSecond | Aggregate::Value => count as f64 / seconds.max(1e-6),
        _ => count as f64,
    };
    let decided = min_n.map_or(n > 0 || planned > 0, |min| n >= min);
    Some(Figure { value, n, decided })
}

/// A figure of times; none where there are no samples to say anything of.
#[expect(clippy::cast_precision_loss, reason = "counts are short of 2^52")]
pub(in crate::load) fn figure_of(times: &Histogram, aggregate: Aggregate, min_n: Option<u64>) -> Option<Figure> {
    let n = times.count();
    let (value, trusted) = match aggregate {
        Aggregate::Percentile(percent) => {
            let percentile = times.percentile(percent);
            (percentile.micros as f64, percentile.trusted)
        }
        Aggregate::Min => (times.min() as f64, n > 0),
        Aggregate::Max => (times.max() as f64, n > 0),
        Aggregate::Avg => (times.mean(), n > 0),
        _ => (n as f64, true),
    };
    let decided = min_n.map_or(trusted, |min| n >= min && n > 0);
    (n > 0 || decided).then_some(Figure { value, n, decided })
}

impl View {
    /// The counts without the times.
    fn clone_counts(&self) -> Self {
        Self {
            tags: self.tags.clone(),
            counters: self.counters,
            failures: self.failures.clone(),
            times: Times::default(),
        }
    }
}
