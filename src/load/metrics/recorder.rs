//! Takes what came of requests, one by one, into the records of their scenario.

use std::sync::Arc;
use std::time::Duration;

use super::record::{Counters, LATE, ScenarioRecord, Tags, Tokens, View};
use super::{Failure, Flaws, Metric};

/// What came of one request of the plan. Times are nanoseconds since the scenario began.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    /// Its index in the plan.
    pub index: u64,
    /// Whether it asked for a stream.
    pub stream: bool,
    /// The class of its prompt, by its place in the suite.
    pub class: Option<u16>,
    /// Its model, by its place in the suite.
    pub model: u16,
    /// When it was due.
    pub due: u64,
    /// When it was first written.
    pub start: u64,
    /// When it was over.
    pub end: u64,
    /// What the last try saw.
    pub marks: Marks,
    /// Gaps between pieces of content, in microseconds.
    pub gaps: Vec<u32>,
    /// From the provider's sending of each piece to its arrival, in microseconds, where the provider stamps them.
    pub delays: Vec<u32>,
    /// Tokens in and out, as far as they are known.
    pub tokens: Tokens,
    /// What is wrong with it.
    pub failure: Option<(Failure, String)>,
    /// What was found wrong with the answer, whether it fails the request or not.
    pub flaws: Flaws,
    /// Events that the protocol does not know.
    pub unknown_events: u64,
    /// Tries that failed before the last one.
    pub retried: Vec<Failure>,
    /// The run ended before the answer did: neither good nor bad.
    pub interrupted: bool,
}

/// Moments of one try, in nanoseconds since the scenario began.
#[derive(Debug, Clone, Copy, Default)]
pub struct Marks {
    /// This try's first write.
    pub start: u64,
    /// How long the new connection took, where there was one.
    pub connect: Option<u64>,
    /// Status and headers.
    pub headers: Option<u64>,
    /// The first event.
    pub first_event: Option<u64>,
    /// The first content.
    pub first_content: Option<u64>,
    /// The first visible content.
    pub first_visible: Option<u64>,
    /// The last content.
    pub last_content: Option<u64>,
    /// How many pieces of content came.
    pub pieces: u32,
    /// In how many reads content came.
    pub content_reads: u32,
    /// What the stamping provider took for the first piece and for the last, where there is one.
    pub provider: Option<(u64, u64)>,
}

/// What a recorder has to know to sort samples.
#[derive(Debug, Clone, Default)]
pub struct Sorting {
    /// The views, of which the first takes all, and the places of their class and model in the suite.
    pub views: Vec<(Tags, Option<u16>, Option<u16>)>,
    /// Limits that a good answer keeps to, in nanoseconds.
    pub slo: Vec<(Metric, u64)>,
    /// A gap above this is a stall, in microseconds.
    pub stall_us: u32,
}

/// Takes the samples of a scenario.
#[derive(Debug, Clone)]
pub struct Recorder {
    /// What was recorded.
    pub record: ScenarioRecord,
    sorting: Arc<Sorting>,
}

impl Recorder {
    /// A recorder of nothing yet.
    pub fn new(mut record: ScenarioRecord, sorting: Arc<Sorting>) -> Self {
        let view = |(tags, ..): &(Tags, _, _)| View { tags: tags.clone(), ..View::default() };
        record.views = sorting.views.iter().map(view).collect();
        Self { record, sorting }
    }

    /// Takes a sample.
    pub fn take(&mut self, sample: &Sample) {
        let record = &mut self.record;
        let times = times(sample);
        let good = sample.failure.is_none() && !sample.interrupted && {
            let open = record.open;
            self.sorting.slo.iter().all(|(metric, limit)| {
                let metric = if open { metric.from_plan() } else { *metric };
                // What does not apply, as time per token of an answer without a stream, is not missed.
                times.iter().find(|(known, _)| *known == metric).is_none_or(|(_, time)| time <= limit)
            })
        };
        let counters = counters(sample, good, self.sorting.stall_us);
        for ((tags, class, model), view) in self.sorting.views.iter().zip(&mut record.views) {
            let fits = tags.stream.is_none_or(|stream| stream == sample.stream)
                && class.is_none_or(|class| sample.class == Some(class))
                && model.is_none_or(|model| sample.model == model);
            if !fits {
                continue;
            }
            view.counters.add(&counters);
            if let Some((failure, _)) = &sample.failure {
                *view.failures.entry(*failure).or_default() += 1;
            }
            for (metric, nanos) in &times {
                view.times.of(*metric).record(nanos / 1000);
            }
            for (metric, micros) in [(Metric::Itl, &sample.gaps), (Metric::GwChunkDelay, &sample.delays)] {
                if !micros.is_empty() {
                    let histogram = view.times.of(metric);
                    for gap in micros {
                        histogram.record(u64::from(*gap));
                    }
                }
            }
        }
        let slice = record.slices.entry(sample.due / 1000 / record.slice_us.max(1)).or_default();
        let of = |metric: Metric| {
            let metric = if record.open { metric.from_plan() } else { metric };
            times.iter().find(|(known, _)| *known == metric).map(|(_, nanos)| nanos / 1000)
        };
        for (metric, into) in [(Metric::E2e, &mut slice.e2e), (Metric::Ttft, &mut slice.ttft)] {
            if let Some(time) = of(metric) {
                into.record(time);
            }
        }
        for gap in &sample.gaps {
            slice.itl.record(u64::from(*gap));
        }

        let tick = record.tick_us.max(1) * 1000;
        record.ticks.entry(sample.start / tick).or_default().sent += 1;
        if !sample.interrupted {
            let ended = record.ticks.entry(sample.end / tick).or_default();
            ended.ok += u64::from(sample.failure.is_none());
            ended.failed += u64::from(sample.failure.is_some());
        }
        if let Some((failure, words)) = &sample.failure {
            record.examples.entry(*failure).or_default().keep(sample.index, words);
        }
        for flaw in sample.flaws.iter() {
            *record.flaws.entry(flaw).or_default() += 1;
        }
        record.unknown_events += sample.unknown_events;
        record.took_us = record.took_us.max(sample.end / 1000);
    }
}

fn counters(sample: &Sample, good: bool, stall_us: u32) -> Counters {
    let failed = sample.failure.is_some();
    let ok = !failed && !sample.interrupted;
    let marks = &sample.marks;
    let streamed = sample.stream && marks.pieces > 0;
    Counters {
        sent: 1,
        ok: u64::from(ok),
        failed: u64::from(failed),
        late: u64::from(Duration::from_nanos(sample.start.saturating_sub(sample.due)) > LATE),
        interrupted: u64::from(sample.interrupted),
        good: u64::from(good),
        retries: sample.retried.len() as u64,
        streams: u64::from(streamed),
        coalesced: u64::from(streamed && marks.pieces > 2 && marks.content_reads <= 2),
        pieces: u64::from(marks.pieces),
        reads: u64::from(marks.content_reads),
        stalls: sample.gaps.iter().filter(|gap| **gap > stall_us).count() as u64,
        tokens_in: sample.tokens.input,
        tokens_out: sample.tokens.output,
        estimated: u64::from(ok && sample.tokens.estimated),
    }
}

/// The times of a sample that count, in nanoseconds, but for those of its pieces.
fn times(sample: &Sample) -> Vec<(Metric, u64)> {
    let marks = &sample.marks;
    let mut times = Vec::with_capacity(14);
    times.push((Metric::SchedDelay, sample.start.saturating_sub(sample.due)));
    times.extend(marks.connect.map(|took| (Metric::Connect, took)));
    if sample.interrupted {
        return times;
    }
    let timed_out = sample.failure.as_ref().is_some_and(|(failure, _)| failure.is_timeout());
    if sample.failure.is_none() || timed_out {
        times.push((Metric::E2e, sample.end.saturating_sub(sample.start)));
        times.push((Metric::E2eFromPlan, sample.end.saturating_sub(sample.due)));
    }
    if sample.failure.is_some() {
        return times;
    }
    // Times of the last try; what went before it is in the times from the plan and in e2e.
    let since = |mark: Option<u64>| mark.map(|at| at.saturating_sub(marks.start));
    times.extend(since(marks.headers).map(|time| (Metric::Ttfb, time)));
    if sample.stream {
        times.extend(since(marks.first_event).map(|time| (Metric::Ttfe, time)));
        times.extend(since(marks.first_content).map(|time| (Metric::Ttft, time)));
        times.extend(marks.first_content.map(|at| (Metric::TtftFromPlan, at.saturating_sub(sample.due))));
        times.extend(since(marks.first_visible).map(|time| (Metric::Ttfo, time)));
        times.extend(sample.gaps.iter().max().map(|gap| (Metric::MaxGap, u64::from(*gap) * 1000)));
        if let (Some(first), Some(last), 2..) = (marks.first_content, marks.last_content, sample.tokens.output) {
            times.push((Metric::Tpot, last.saturating_sub(first) / (sample.tokens.output - 1)));
        }
        if let (Some(first), Some(last), Some((took_first, took_last))) =
            (marks.first_content, marks.last_content, marks.provider)
        {
            times.push((Metric::GwTtftAdded, first.saturating_sub(marks.start + took_first)));
            times.push((Metric::GwE2eAdded, last.saturating_sub(marks.start + took_last)));
        }
    }
    let whole = sample.end.saturating_sub(sample.start);
    times.extend(whole.checked_div(sample.tokens.output).map(|time| (Metric::NormLatency, time)));
    times
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::record::{SLICES, TICKS};
    use super::*;

    fn sorting() -> Arc<Sorting> {
        let tags = |stream, prompt: Option<&str>| Tags { stream, prompt: prompt.map(str::to_owned), model: None };
        Arc::new(Sorting {
            views: vec![
                (Tags::default(), None, None),
                (tags(Some(true), None), None, None),
                (tags(None, Some("short")), Some(0), None),
            ],
            slo: vec![(Metric::E2e, 1_000_000_000)],
            stall_us: 1_000_000,
        })
    }

    fn recorder() -> Recorder {
        Recorder::new(ScenarioRecord::new("x", true, Duration::from_secs(60)), sorting())
    }

    fn sample() -> impl Strategy<Value = Sample> {
        let failure = prop::option::weighted(0.2, (0..super::super::FAILURES.len(), "[a-z]{0,5}"));
        let times = (0_u64..60_000_000_000, 0_u64..90_000_000_000, 0_u64..2_000_000_000);
        (times, any::<bool>(), prop::option::of(0_u16..2), failure, prop::collection::vec(1_u32..3_000_000, 0..4))
            .prop_map(|((due, took, first), stream, class, failure, gaps)| Sample {
                stream,
                class,
                due,
                start: due + 1000,
                end: due + 1000 + took,
                marks: Marks { start: due + 1000, first_content: Some(due + 1000 + first), ..Marks::default() },
                gaps,
                failure: failure.map(|(kind, words)| (super::super::FAILURES[kind].0, words)),
                ..Sample::default()
            })
    }

    #[test]
    fn a_time_out_counts_with_the_time_waited_and_a_fast_error_does_not_make_the_run_look_fast() {
        let mut recorder = recorder();
        let failed = |failure| Sample {
            start: 0,
            end: 5_000_000_000,
            failure: Some((failure, String::new())),
            ..Sample::default()
        };
        recorder.take(&failed(Failure::Server));
        assert!(recorder.record.all().times.get(Metric::E2e).is_none());
        recorder.take(&failed(Failure::Timeout));
        assert_eq!(recorder.record.all().times[Metric::E2e].count(), 1);
        assert_eq!(recorder.record.all().counters.failed, 2);
    }

    #[test]
    fn latency_counts_from_the_plan_and_goodput_does_too() {
        let mut recorder = recorder();
        let late = Sample { due: 0, start: 900_000_000, end: 1_100_000_000, ..Sample::default() };
        recorder.take(&late);
        let all = recorder.record.all();
        assert_eq!((all.counters.ok, all.counters.good, all.counters.late), (1, 0, 1));
        assert!(all.times[Metric::E2eFromPlan].max() > 1_000_000 && all.times[Metric::E2e].max() < 210_000);
    }

    #[test]
    fn memory_for_charts_does_not_grow_with_the_duration() {
        for hours in [1, 24, 24 * 7] {
            let record = ScenarioRecord::new("x", true, Duration::from_secs(hours * 3600));
            assert!(record.planned_us / record.slice_us < SLICES && record.planned_us / record.tick_us < TICKS);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn the_shards_of_a_run_merged_are_the_run_bit_for_bit(
            samples in prop::collection::vec(sample(), 0..150), shards in 1_u64..6,
        ) {
            let samples: Vec<Sample> =
                (0..).zip(samples).map(|(index, sample)| Sample { index, ..sample }).collect();
            let record = |which: &dyn Fn(u64) -> bool| {
                let mut recorder = recorder();
                for sample in samples.iter().filter(|s| which(s.index)) {
                    recorder.record.plan(Duration::from_nanos(sample.due));
                    recorder.take(sample);
                }
                recorder.record
            };
            let whole = record(&|_| true);
            let mut merged = record(&|k| k % shards == 0);
            for shard in (1..shards).rev() {
                let stored = serde_json::to_string(&record(&|k| k % shards == shard)).unwrap();
                merged.add(&serde_json::from_str(&stored).unwrap());
            }
            prop_assert_eq!(serde_json::to_string(&merged).unwrap(), serde_json::to_string(&whole).unwrap());
        }
    }
}
