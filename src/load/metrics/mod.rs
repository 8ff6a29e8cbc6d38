//! What is measured, by name and definition. The definitions stand in every report, so that figures of two tools are compared
//! for what they are.

pub mod bootstrap;
pub mod histogram;
pub mod record;
pub mod recorder;
pub mod times;

use serde::{Deserialize, Serialize};

/// A time that is measured for each request, or each piece of it, and kept in a histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Metric {
    /// From the plan to the first write.
    SchedDelay,
    /// DNS, TCP and TLS of a new connection.
    Connect,
    /// To status and headers.
    Ttfb,
    /// To the first event of any kind.
    Ttfe,
    /// To the first content.
    Ttft,
    /// To the first content, from the plan.
    TtftFromPlan,
    /// To the first visible content.
    Ttfo,
    /// Gaps between pieces of content.
    Itl,
    /// Mean time per output token.
    Tpot,
    /// Whole time per output token.
    NormLatency,
    /// The longest gap of a stream.
    MaxGap,
    /// To the end.
    E2e,
    /// To the end, from the plan.
    E2eFromPlan,
    /// What stands between provider and client adds to the first piece.
    GwTtftAdded,
    /// What it adds to each piece.
    GwChunkDelay,
    /// What it adds to the whole.
    GwE2eAdded,
    /// How long it keeps from the provider that the client hung up.
    GwAbortSeen,
}

/// How many metrics there are.
pub const METRICS: usize = 17;

/// Every metric with its name and definition, in the order of the enum.
pub const DEFINITIONS: [(Metric, &str, &str); METRICS] = [
    (Metric::SchedDelay, "sched_delay", "from the request's place in the plan to its first write"),
    (Metric::Connect, "connect", "DNS, TCP and TLS of a new connection; n is how many were new"),
    (Metric::Ttfb, "ttfb", "from the first write to status and headers"),
    (Metric::Ttfe, "ttfe", "from the first write to the first event of any kind"),
    (
        Metric::Ttft,
        "ttft",
        "from the first write to the first content (text, thinking or tool arguments; no role, start or ping)",
    ),
    (Metric::TtftFromPlan, "ttft_from_plan", "ttft, from the request's place in the plan"),
    (Metric::Ttfo, "ttfo", "from the first write to the first visible content, which thinking is not"),
    (Metric::Itl, "itl", "every gap between two pieces of content, of all streams"),
    (Metric::Tpot, "tpot", "per request: from the first to the last piece, by output tokens but the first"),
    (Metric::NormLatency, "norm_latency", "per request: e2e by output tokens"),
    (Metric::MaxGap, "max_gap", "the longest gap between two pieces of a stream"),
    (
        Metric::E2e,
        "e2e",
        "from the first write to the end of the answer, over retries; a request that timed out counts with the time waited, \
         one that failed otherwise does not count",
    ),
    (Metric::E2eFromPlan, "e2e_from_plan", "e2e, from the request's place in the plan"),
    (
        Metric::GwTtftAdded,
        "gw.ttft_added",
        "ttft without the time that the stamping provider took for its first piece: what the gateway added",
    ),
    (
        Metric::GwChunkDelay,
        "gw.chunk_delay",
        "from the provider's sending of a piece to its arrival, on one host's clock",
    ),
    (Metric::GwE2eAdded, "gw.e2e_added", "e2e without the time that the stamping provider took"),
    (
        Metric::GwAbortSeen,
        "gw.abort_seen",
        "from our hanging up on an answer that was not over until the provider saw it, on one host's clock; with --source",
    ),
];

/// Counts whose names do not say what they are, with their definitions.
pub const COUNTED: [(&str, &str); 9] = [
    ("output_tps", "output tokens of all answers by the time that the scenario took"),
    ("user_tps", "output tokens a second of one stream: 1 by the median of tpot"),
    ("pieces_per_read", "pieces of content by reads that brought content; above 1 where pieces came together"),
    ("goodput", "right answers that kept to every limit of `slo`; its share is of the planned requests"),
    ("late", "requests that were first written more than 50 ms after they were due"),
    ("dropped", "requests of the plan that were never written, because the run ended before"),
    ("delivery.coalesced", "streams of more than two pieces whose content came in at most two reads"),
    ("gw.retries", "calls that reached the provider beyond the first for the same try of ours; with --source"),
    (
        "gw.metrics_diff",
        "counters of the gateway that did not move by what was counted here, from before the first request to after the last",
    ),
];

impl Metric {
    /// Its name in reports and thresholds.
    pub fn name(self) -> &'static str {
        DEFINITIONS[self as usize].1
    }

    /// The metric of that name.
    pub fn named(name: &str) -> Option<Self> {
        DEFINITIONS.iter().find(|(_, known, _)| *known == name).map(|(metric, ..)| *metric)
    }

    /// The same time counted from the plan, where there is one.
    #[must_use]
    pub fn from_plan(self) -> Self {
        match self {
            Self::E2e => Self::E2eFromPlan,
            Self::Ttft => Self::TtftFromPlan,
            other => other,
        }
    }
}

/// Why a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// 401 or 403.
    Auth,
    /// 400 or 422.
    Validation,
    /// 429.
    RateLimited,
    /// 529.
    Overloaded,
    /// Any other 5xx.
    Server,
    /// Any other status that is not 200.
    Status,
    /// No connection: refused, unreachable, no such host.
    Connect,
    /// No TLS.
    Tls,
    /// This program is out of file descriptors.
    FileDescriptors,
    /// No connection in time.
    ConnectTimeout,
    /// No first piece in time.
    TtftTimeout,
    /// Nothing more for too long.
    IdleTimeout,
    /// Not done in time.
    Timeout,
    /// The answer broke off.
    Cut,
    /// The stream reported an error.
    StreamError,
    /// The answer is well delivered and wrong.
    Protocol,
    /// The answer is not what the request expects.
    Unexpected,
}

/// Every kind of failure with its name.
pub const FAILURES: [(Failure, &str); 17] = [
    (Failure::Auth, "auth"),
    (Failure::Validation, "validation"),
    (Failure::RateLimited, "rate_limited"),
    (Failure::Overloaded, "overloaded"),
    (Failure::Server, "server"),
    (Failure::Status, "status"),
    (Failure::Connect, "connect"),
    (Failure::Tls, "tls"),
    (Failure::FileDescriptors, "file_descriptors"),
    (Failure::ConnectTimeout, "connect_timeout"),
    (Failure::TtftTimeout, "ttft_timeout"),
    (Failure::IdleTimeout, "idle_timeout"),
    (Failure::Timeout, "timeout"),
    (Failure::Cut, "cut"),
    (Failure::StreamError, "stream_error"),
    (Failure::Protocol, "protocol"),
    (Failure::Unexpected, "unexpected"),
];

impl Failure {
    /// Its name in reports and thresholds.
    pub fn name(self) -> &'static str {
        FAILURES[self as usize].1
    }

    /// The kind of that name.
    pub fn named(name: &str) -> Option<Self> {
        FAILURES.iter().find(|(_, known)| *known == name).map(|(failure, _)| *failure)
    }

    /// What a status other than 200 means.
    pub fn of_status(status: u16) -> Self {
        match status {
            401 | 403 => Self::Auth,
            400 | 422 => Self::Validation,
            429 => Self::RateLimited,
            529 => Self::Overloaded,
            500..=599 => Self::Server,
            _ => Self::Status,
        }
    }

    /// Whether time ran out.
    pub fn is_timeout(self) -> bool {
        matches!(self, Self::ConnectTimeout | Self::TtftTimeout | Self::IdleTimeout | Self::Timeout)
    }

    /// Whether there was nobody to talk to.
    pub fn is_unreachable(self) -> bool {
        matches!(self, Self::Connect | Self::ConnectTimeout | Self::Tls)
    }
}

/// What is wrong with an answer that came with status 200.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Flaw {
    /// The content type is not that of what was asked for.
    ContentType,
    /// A body or an event's data is not JSON.
    Json,
    /// A body or an event is not the object that it should be.
    Shape,
    /// There is no content.
    Empty,
    /// There is no finish or stop reason, or one of another API.
    FinishReason,
    /// The finish or stop reason came twice.
    DoubleFinish,
    /// There are no token counts.
    UsageMissing,
    /// The token counts do not add up.
    UsageSum,
    /// All content of a stream came in one piece.
    OnePiece,
    /// The stream did not end with its end marker.
    EndMarker,
    /// Events came in the wrong order.
    Order,
    /// Bytes of the stream are not events.
    Framing,
    /// A tool call's arguments are no JSON object.
    ToolArguments,
}

/// Every flaw with its name.
pub const FLAWS: [(Flaw, &str); 13] = [
    (Flaw::ContentType, "content_type"),
    (Flaw::Json, "json"),
    (Flaw::Shape, "shape"),
    (Flaw::Empty, "empty"),
    (Flaw::FinishReason, "finish_reason"),
    (Flaw::DoubleFinish, "double_finish"),
    (Flaw::UsageMissing, "usage_missing"),
    (Flaw::UsageSum, "usage_sum"),
    (Flaw::OnePiece, "one_piece"),
    (Flaw::EndMarker, "end_marker"),
    (Flaw::Order, "order"),
    (Flaw::Framing, "framing"),
    (Flaw::ToolArguments, "tool_arguments"),
];

impl Flaw {
    /// Its name in reports and thresholds.
    pub fn name(self) -> &'static str {
        FLAWS[self as usize].1
    }

    /// The flaw of that name.
    pub fn named(name: &str) -> Option<Self> {
        FLAWS.iter().find(|(_, known)| *known == name).map(|(flaw, _)| *flaw)
    }
}

/// A set of flaws.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flaws(u16);

impl Flaws {
    /// Puts one in.
    pub fn add(&mut self, flaw: Flaw) {
        self.0 |= 1 << flaw as u8;
    }

    /// Whether it is in.
    pub fn has(self, flaw: Flaw) -> bool {
        self.0 & (1 << flaw as u8) != 0
    }

    /// All that are in.
    pub fn iter(self) -> impl Iterator<Item = Flaw> {
        FLAWS.iter().map(|(flaw, _)| *flaw).filter(move |flaw| self.has(*flaw))
    }

    /// Those that are not in the other set.
    #[must_use]
    pub fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Flaw> for Flaws {
    fn from_iter<T: IntoIterator<Item = Flaw>>(flaws: T) -> Self {
        flaws.into_iter().fold(Self::default(), |mut set, flaw| {
            set.add(flaw);
            set
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_back_to_its_own() {
        for (place, (metric, name, _)) in DEFINITIONS.iter().enumerate() {
            assert_eq!((*metric as usize, Metric::named(name)), (place, Some(*metric)));
        }
        for (place, (failure, name)) in FAILURES.iter().enumerate() {
            assert_eq!((*failure as usize, Failure::named(name)), (place, Some(*failure)));
        }
        for (place, (flaw, name)) in FLAWS.iter().enumerate() {
            assert_eq!((*flaw as usize, Flaw::named(name)), (place, Some(*flaw)));
        }
        let set: Flaws = [Flaw::Json, Flaw::Empty].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [Flaw::Json, Flaw::Empty]);
        assert!(set.without(set).is_empty());
    }
}
