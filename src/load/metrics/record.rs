//! What is kept of a scenario: counts and histograms in constant memory, all of which can be added up without loss.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::histogram::{Histogram, Sparse};
use super::times::Times;
use super::{Failure, Flaw};

/// How many examples are kept of each kind of failure: those first in the plan.
const EXAMPLES: usize = 100;

/// How many conversations of a session are kept one by one.
const CONVERSATIONS: usize = 200;

/// A request that starts so long after its time counts as late.
pub const LATE: Duration = Duration::from_millis(50);

/// The most slices of a chart and the most ticks of its counters.
pub(super) const SLICES: u64 = 360;
pub(super) const TICKS: u64 = 3600;

/// A second, in microseconds.
const SECOND: u64 = 1_000_000;

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
    /// Reads that brought content.
    #[serde(default)]
    pub reads: u64,
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
    pub times: Times,
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
    /// What our own source of answers saw behind the gateway, where it was asked.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub behind: Option<Behind>,
    /// Sessions, by their numbers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub sessions: BTreeMap<u32, SessionRecord>,
}

/// What our own source of answers saw behind the gateway.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Behind {
    /// Calls that came with a mark of this run.
    pub calls: u64,
    /// Different tries of ours among them.
    pub tries: u64,
    /// The most calls for one try.
    pub most: u64,
    /// Tries that we had hung up on and that the source was still answering seconds later.
    pub unaware: u64,
    /// Calls that the source could not keep.
    pub forgotten: u64,
}

impl Behind {
    /// Calls beyond the first for the same try.
    pub fn again(&self) -> u64 {
        self.calls.saturating_sub(self.tries)
    }

    fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.tries += other.tries;
        self.most = self.most.max(other.most);
        self.unaware += other.unaware;
        self.forgotten += other.forgotten;
    }
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
            (&mut self.reads, other.reads),
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
        self.times.add(&other.times);
        for (failure, count) in &other.failures {
            *self.failures.entry(*failure).or_default() += count;
        }
    }
}

impl Examples {
    pub(super) fn keep(&mut self, index: u64, words: &str) {
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
        if let Some(behind) = &other.behind {
            self.behind.get_or_insert_default().add(behind);
        }
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
