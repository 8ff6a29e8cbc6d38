//! What is kept of a scenario: counts and histograms in constant memory, all of which can be added up without loss.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::histogram::{Histogram, Sparse};
use super::{Failure, Flaw, Flaws, Metric};

/// How many examples are kept of each kind of failure: those first in the plan.
const EXAMPLES: usize = 100;

/// How many conversations of a session are kept one by one.
const CONVERSATIONS: usize = 200;

/// A request that starts so long after its time counts as late.
pub const LATE: Duration = Duration::from_millis(50);

/// The most slices of a chart and the most ticks of its counters.
const SLICES: u64 = 360;
const TICKS: u64 = 3600;

/// A second, in microseconds.
const SECOND: u64 = 1_000_000;

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

/// Token counts of an answer.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tokens {
    /// Of the request.
    pub input: u64,
    /// Of the answer.
    pub output: u64,
    /// Whether the output is counted by pieces, because the answer told no usage.
    pub estimated: bool,
}

/// Which samples a view takes.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tags {
    /// Streams only, or whole answers only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stream: Option<bool>,
    /// Prompts of this class only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub prompt: Option<String>,
    /// This model only.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub model: Option<String>,
}

/// Counts of a view.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Requests written.
    pub sent: u64,
    /// Answers that are right.
    pub ok: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Requests that started late.
    pub late: u64,
    /// Requests whose answer the end of the run cut off.
    pub interrupted: u64,
    /// Answers that are right and kept to every limit of `slo`.
    pub good: u64,
    /// Tries again.
    pub retries: u64,
    /// Streams that brought content.
    pub streams: u64,
    /// Of these, those whose content came in at most two reads although it took more than two pieces.
    pub coalesced: u64,
    /// Pieces of content.
    pub pieces: u64,
    /// Gaps above the limit for a stall.
    pub stalls: u64,
    /// Tokens of requests.
    pub tokens_in: u64,
    /// Tokens of answers.
    pub tokens_out: u64,
    /// Answers whose tokens were counted by pieces.
    pub estimated: u64,
}

/// The samples of one set of tags.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// Which samples.
    pub tags: Tags,
    /// Their counts.
    pub counters: Counters,
    /// Their times.
    pub times: BTreeMap<Metric, Histogram>,
    /// Their failures by kind.
    pub failures: BTreeMap<Failure, u64>,
}

/// One slice of the plan's time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slice {
    /// Whole times of requests due in it, from the plan where the load is open.
    pub e2e: Sparse,
    /// Times to the first content, likewise.
    pub ttft: Sparse,
    /// Gaps between pieces of those requests.
    pub itl: Sparse,
}

/// Counts of a moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    /// Requests that were due.
    pub planned: u64,
    /// Requests that were written.
    pub sent: u64,
    /// Answers that were right.
    pub ok: u64,
    /// Requests that failed.
    pub failed: u64,
}

/// Examples of one kind of failure.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Examples(pub BTreeMap<u64, String>);

/// All that is kept of a scenario.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ScenarioRecord {
    /// Its name.
    pub name: String,
    /// Whether requests start when they are due, however slow the answers are.
    pub open: bool,
    /// Requests of the plan; of a closed load, those that were sent.
    pub planned: u64,
    /// Requests of the plan that were never sent.
    pub dropped: u64,
    /// How long it is planned to take, in microseconds.
    pub planned_us: u64,
    /// How long it took, to its last answer, in microseconds.
    pub took_us: u64,
    /// The width of a slice, in microseconds.
    pub slice_us: u64,
    /// The width of a tick, in microseconds.
    pub tick_us: u64,
    /// The samples by tags; the first view takes all.
    pub views: Vec<View>,
    /// Charts over the plan's time.
    pub slices: BTreeMap<u64, Slice>,
    /// Counts over time.
    pub ticks: BTreeMap<u64, Tick>,
    /// Examples of failures.
    pub examples: BTreeMap<Failure, Examples>,
    /// Flaws of answers.
    pub flaws: BTreeMap<Flaw, u64>,
    /// Events that the protocol does not know; they fail nothing.
    pub unknown_events: u64,
    /// Connections that the other side had closed while they were idle.
    pub stale_connections: u64,
    /// How late this program itself was with what was due.
    pub lag: Histogram,
    /// Sessions, by their numbers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub sessions: BTreeMap<u32, SessionRecord>,
}

/// One session of conversations. Times are microseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SessionRecord {
    /// When it began and ended, since the scenario began.
    pub began_us: u64,
    /// When it ended.
    pub ended_us: u64,
    /// Conversations tried.
    pub tried: u64,
    /// Conversations that came to their end.
    pub ok: u64,
    /// Conversations that a failure ended.
    pub failed: u64,
    /// Sums over its conversations.
    pub sums: Spoken,
    /// How often each model was asked.
    pub models: BTreeMap<String, u64>,
    /// Conversations ended by each kind of failure.
    pub errors: BTreeMap<Failure, u64>,
    /// The first conversations one by one.
    pub conversations: Vec<ConversationRecord>,
}

/// One conversation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ConversationRecord {
    /// Its id.
    pub id: String,
    /// The model that was asked.
    pub model: String,
    /// The temperature that was asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub temperature: Option<f64>,
    /// Its figures.
    pub sums: Spoken,
    /// The latency of each answer, in order.
    pub latencies_us: Vec<u64>,
    /// What ended it early.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
}

/// What was said, in figures.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spoken {
    /// Messages of the user that were sent.
    pub messages: u64,
    /// Tokens of requests.
    pub tokens_in: u64,
    /// Tokens of answers.
    pub tokens_out: u64,
    /// All latencies, in microseconds.
    pub latency_us: u64,
    /// The shortest.
    pub shortest_us: u64,
    /// The longest.
    pub longest_us: u64,
    /// Time slept between answers and messages, in microseconds.
    pub slept_us: u64,
}

impl Spoken {
    /// Takes the figures of another.
    pub fn add(&mut self, other: &Self) {
        if other.messages > 0 {
            let first = self.messages == 0;
            self.shortest_us = if first { other.shortest_us } else { self.shortest_us.min(other.shortest_us) };
            self.longest_us = self.longest_us.max(other.longest_us);
        }
        self.messages += other.messages;
        self.tokens_in += other.tokens_in;
        self.tokens_out += other.tokens_out;
        self.latency_us += other.latency_us;
        self.slept_us += other.slept_us;
    }
}

impl SessionRecord {
    /// Takes a conversation that is over.
    pub fn take(&mut self, conversation: ConversationRecord, failure: Option<Failure>) {
        self.tried += 1;
        self.ok += u64::from(failure.is_none());
        self.failed += u64::from(failure.is_some());
        self.sums.add(&conversation.sums);
        *self.models.entry(conversation.model.clone()).or_default() += 1;
        if let Some(failure) = failure {
            *self.errors.entry(failure).or_default() += 1;
        }
        if self.conversations.len() < CONVERSATIONS {
            self.conversations.push(conversation);
        }
    }
}

impl Counters {
    /// Takes the counts of another.
    pub fn add(&mut self, other: &Self) {
        let pairs = [
            (&mut self.sent, other.sent),
            (&mut self.ok, other.ok),
            (&mut self.failed, other.failed),
            (&mut self.late, other.late),
            (&mut self.interrupted, other.interrupted),
            (&mut self.good, other.good),
            (&mut self.retries, other.retries),
            (&mut self.streams, other.streams),
            (&mut self.coalesced, other.coalesced),
            (&mut self.pieces, other.pieces),
            (&mut self.stalls, other.stalls),
            (&mut self.tokens_in, other.tokens_in),
            (&mut self.tokens_out, other.tokens_out),
            (&mut self.estimated, other.estimated),
        ];
        for (mine, theirs) in pairs {
            *mine += theirs;
        }
    }
}

impl View {
    /// Takes all of another view of the same tags.
    pub fn add(&mut self, other: &Self) {
        self.counters.add(&other.counters);
        for (metric, histogram) in &other.times {
            self.times.entry(*metric).or_default().add(histogram);
        }
        for (failure, count) in &other.failures {
            *self.failures.entry(*failure).or_default() += count;
        }
    }
}

impl Examples {
    fn keep(&mut self, index: u64, words: &str) {
        if self.0.len() < EXAMPLES || self.0.last_key_value().is_some_and(|(last, _)| index < *last) {
            self.0.insert(index, words.to_owned());
        }
        while self.0.len() > EXAMPLES {
            self.0.pop_last();
        }
    }
}

impl ScenarioRecord {
    /// Nothing yet. The widths of slices and ticks follow from the planned duration, so that every shard has the same.
    pub fn new(name: &str, open: bool, planned: Duration) -> Self {
        let planned_us = micros(planned);
        let width = |from: u64, most: u64| {
            let mut width = from;
            while planned_us / width >= most {
                width *= 2;
            }
            width
        };
        // A short run is drawn in seconds; ten of them would be a chart of one column.
        let slice = if planned_us <= 120 * SECOND { SECOND } else { width(10 * SECOND, SLICES) };
        Self {
            name: name.to_owned(),
            open,
            planned_us,
            slice_us: slice,
            tick_us: width(SECOND, TICKS),
            ..Self::default()
        }
    }

    /// The view of all samples.
    pub fn all(&self) -> &View {
        static NONE: LazyLock<View> = LazyLock::new(View::default);
        self.views.first().unwrap_or(&NONE)
    }

    /// Takes all of another record of the same scenario.
    pub fn add(&mut self, other: &Self) {
        self.planned += other.planned;
        self.dropped += other.dropped;
        self.took_us = self.took_us.max(other.took_us);
        for view in &other.views {
            match self.views.iter_mut().find(|mine| mine.tags == view.tags) {
                Some(mine) => mine.add(view),
                None => self.views.push(view.clone()),
            }
        }
        for (at, slice) in &other.slices {
            let mine = self.slices.entry(*at).or_default();
            mine.e2e.add(&slice.e2e);
            mine.ttft.add(&slice.ttft);
            mine.itl.add(&slice.itl);
        }
        for (at, tick) in &other.ticks {
            let mine = self.ticks.entry(*at).or_default();
            mine.planned += tick.planned;
            mine.sent += tick.sent;
            mine.ok += tick.ok;
            mine.failed += tick.failed;
        }
        for (failure, examples) in &other.examples {
            let mine = self.examples.entry(*failure).or_default();
            examples.0.iter().for_each(|(index, words)| mine.keep(*index, words));
        }
        for (flaw, count) in &other.flaws {
            *self.flaws.entry(*flaw).or_default() += count;
        }
        self.unknown_events += other.unknown_events;
        self.stale_connections += other.stale_connections;
        self.lag.add(&other.lag);
        self.sessions.extend(other.sessions.iter().map(|(number, session)| (*number, session.clone())));
    }

    /// A request is due.
    pub fn plan(&mut self, due: Duration) {
        self.planned += 1;
        self.ticks.entry(micros(due) / self.tick_us.max(1)).or_default().planned += 1;
    }
}

/// Microseconds of a time.
pub fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
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
    sorting: std::sync::Arc<Sorting>,
}

impl Recorder {
    /// A recorder of nothing yet.
    pub fn new(mut record: ScenarioRecord, sorting: std::sync::Arc<Sorting>) -> Self {
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
                view.times.entry(*metric).or_default().record(nanos / 1000);
            }
            for (metric, micros) in [(Metric::Itl, &sample.gaps), (Metric::GwChunkDelay, &sample.delays)] {
                if !micros.is_empty() {
                    let histogram = view.times.entry(metric).or_default();
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
    use std::sync::Arc;

    use proptest::prelude::*;

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
        assert!(!recorder.record.all().times.contains_key(&Metric::E2e));
        recorder.take(&failed(Failure::Timeout));
        assert_eq!(recorder.record.all().times[&Metric::E2e].count(), 1);
        assert_eq!(recorder.record.all().counters.failed, 2);
    }

    #[test]
    fn latency_counts_from_the_plan_and_goodput_does_too() {
        let mut recorder = recorder();
        let late = Sample { due: 0, start: 900_000_000, end: 1_100_000_000, ..Sample::default() };
        recorder.take(&late);
        let all = recorder.record.all();
        assert_eq!((all.counters.ok, all.counters.good, all.counters.late), (1, 0, 1));
        assert!(all.times[&Metric::E2eFromPlan].max() > 1_000_000 && all.times[&Metric::E2e].max() < 210_000);
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
