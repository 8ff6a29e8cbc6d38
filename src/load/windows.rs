//! Thresholds by windows of the plan's time: a bad minute of an hour is not averaged away.

use std::collections::BTreeMap;
use std::time::Duration;

use super::judge::{Figure, Records, figure_of};
use super::metrics::Metric;
use super::metrics::histogram::Histogram;
use super::metrics::record::{ScenarioRecord, Tick, micros};
use super::threshold::{Aggregate, Count, Measure, Threshold, figure_of_time};

/// The samples of a window.
#[derive(Debug, Default)]
struct Window {
    times: Histogram,
    counts: Tick,
    /// Its length in microseconds.
    lasts: u64,
}

/// How a scenario's time is cut: the width of its windows in microseconds, and how many there are. A rest at the end that is no whole
/// window belongs to the last one.
fn cut(record: &ScenarioRecord, window: Duration, step_us: u64) -> (u64, u64) {
    let step = step_us.max(1);
    let width = micros(window).div_ceil(step).max(1) * step;
    (width, (record.planned_us / width).max(1))
}

/// The figure of each window in which something was to be done, with its place in time in words.
pub(super) fn figures(
    threshold: &Threshold,
    window: Duration,
    records: &(impl Records + ?Sized),
) -> Vec<(String, Figure)> {
    let wanted = threshold.subject.filter.scenario.as_ref();
    let mut all: BTreeMap<(String, u64), Window> = BTreeMap::new();
    records.each(&mut |record| {
        if wanted.is_none_or(|name| *name == record.name) {
            take(threshold, window, record, &mut all);
        }
    });
    let figures = all.into_iter().filter_map(|((name, from), window)| {
        #[expect(clippy::cast_precision_loss, reason = "microseconds of a run fit")]
        let at = format!("{name} from {} for {}", figure_of_time(from as f64), figure_of_time(window.lasts as f64));
        Some((at, figure(threshold, &window)?))
    });
    figures.collect()
}

/// Takes a record's samples into their windows, by scenario and beginning.
fn take(threshold: &Threshold, window: Duration, record: &ScenarioRecord, all: &mut BTreeMap<(String, u64), Window>) {
    let metric = match threshold.subject.measure {
        Measure::Time { metric, .. } => Some(metric),
        _ => None,
    };
    let step = if metric.is_some() { record.slice_us } else { record.tick_us };
    let (width, count) = cut(record, window, step);
    let mut put = |at: u64, with: &dyn Fn(&mut Window)| {
        let place = (at * step / width).min(count - 1);
        let from = place * width;
        let own = all.entry((record.name.clone(), from)).or_default();
        own.lasts = if place + 1 == count { record.planned_us.saturating_sub(from).max(width) } else { width };
        with(own);
    };
    match metric {
        Some(metric) => record.slices.iter().for_each(|(at, slice)| {
            let times = match metric {
                Metric::Ttft => &slice.ttft,
                Metric::Itl => &slice.itl,
                _ => &slice.e2e,
            };
            put(*at, &|window| window.times.add(&times.dense()));
        }),
        None => record.ticks.iter().for_each(|(at, tick)| {
            put(*at, &|window| {
                let counts = &mut window.counts;
                // Of a closed load nothing is planned: what was sent was due.
                counts.planned += if record.open { tick.planned } else { tick.sent };
                counts.sent += tick.sent;
                counts.ok += tick.ok;
                counts.failed += tick.failed;
            });
        }),
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts are short of 2^52")]
fn figure(threshold: &Threshold, window: &Window) -> Option<Figure> {
    let counts = &window.counts;
    let answered = counts.ok + counts.failed;
    let count = match threshold.subject.measure {
        Measure::Time { .. } => return figure_of(&window.times, threshold.aggregate, threshold.min_n),
        Measure::Errors(_) | Measure::Count(Count::Failed) => counts.failed,
        Measure::Count(Count::Ok) => counts.ok,
        Measure::Count(Count::Sent) => counts.sent,
        _ => counts.planned,
    };
    if counts.planned + counts.sent + answered == 0 {
        return None;
    }
    let value = match threshold.aggregate {
        Aggregate::Rate => count as f64 / answered.max(1) as f64,
        Aggregate::Share => count as f64 / counts.planned.max(1) as f64,
        Aggregate::PerSecond => count as f64 / (window.lasts.max(1) as f64 / 1e6),
        _ => count as f64,
    };
    let n = match threshold.aggregate {
        Aggregate::Rate => answered,
        _ => counts.planned.max(answered),
    };
    Some(Figure { value, n, decided: threshold.min_n.map_or(n > 0, |min| n >= min) })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::load::metrics::Failure;
    use crate::load::metrics::record::Tags;
    use crate::load::metrics::recorder::{Recorder, Sample, Sorting};

    /// A minute of requests, each with its second and its milliseconds; those without failed.
    fn record(requests: &[(u64, Option<u64>)]) -> ScenarioRecord {
        let sorting = Sorting { views: vec![(Tags::default(), None, None)], slo: vec![], stall_us: 1_000_000 };
        let mut recorder = Recorder::new(ScenarioRecord::new("s", true, Duration::from_secs(60)), Arc::new(sorting));
        for (second, millis) in requests {
            let due = second * 1_000_000_000;
            recorder.record.plan(Duration::from_nanos(due));
            let failure = millis.is_none().then(|| (Failure::Server, String::new()));
            let end = due + millis.unwrap_or(1).min(900) * 1_000_000;
            recorder.take(&Sample { due, start: due, end, failure, ..Sample::default() });
        }
        recorder.record
    }

    fn read(subject: &str, condition: &str) -> Threshold {
        Threshold::parse(&subject.parse().unwrap(), condition).unwrap()
    }

    fn of(threshold: &Threshold, record: &ScenarioRecord) -> Vec<(String, f64, u64)> {
        let figures = figures(threshold, threshold.window.unwrap(), std::slice::from_ref(record));
        figures.into_iter().map(|(at, figure)| (at, figure.value, figure.n)).collect()
    }

    #[test]
    fn each_window_has_its_own_figure_and_a_rest_belongs_to_the_last() {
        let requests: Vec<_> = (0..60).map(|second| (second, (second != 12).then_some(5))).collect();
        let errors = of(&read("errors", "rate < 5%, window=25s"), &record(&requests));
        let expected = [("s from 0 us for 25 s", 0.04, 25), ("s from 25 s for 35 s", 0.0, 35)];
        assert_eq!(errors, expected.map(|(at, value, n)| (at.to_owned(), value, n)));
        let rates = of(&read("sent", "per_s >= 1/s, window=30s"), &record(&requests));
        assert_eq!(rates.iter().map(|(_, rate, _)| *rate).collect::<Vec<_>>(), [1.0, 1.0]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn the_longest_time_and_all_counts_are_those_of_the_windows_together(
            requests in prop::collection::vec((0_u64..60, prop::option::of(1_u64..900)), 1..120), seconds in 1_u64..90,
        ) {
            let record = record(&requests);
            let longest = of(&read("e2e", &format!("max < 1s, window={seconds}s")), &record);
            let longest = longest.iter().map(|(_, value, _)| *value).fold(0.0, f64::max);
            let whole = record.all().times.get(Metric::E2eFromPlan).map_or(0, Histogram::max);
            // Both are the highest time that the layout does not tell from it.
            #[expect(clippy::cast_precision_loss, reason = "small numbers of tests")]
            let whole = whole as f64;
            prop_assert!((longest - whole).abs() <= whole / 1000.0, "{longest} {whole}");
            let failed = of(&read("failed", &format!("count < 1, window={seconds}s")), &record);
            let sum: f64 = failed.iter().map(|(_, value, _)| *value).sum();
            let expected = requests.iter().filter(|(_, millis)| millis.is_none()).count();
            prop_assert!((sum - f64::from(u32::try_from(expected).unwrap())).abs() < 1e-9);
        }
    }
}
