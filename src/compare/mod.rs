//! What a gateway changed between its two sides: the requests that the client sent against those that the provider got, the
//! answers that the provider gave against those that the client got. Whatever differs is the gateway's, without a guess.
//!
//! A request to an Anthropic face has to arrive as it was sent but for the declared rewrites; of one to an OpenAI face the
//! meaning is compared. Answers are compared by what they say, whichever face gave them.

mod answer;
mod anthropic;
mod history;
mod json;
mod meaning;
mod openai;
mod outcome;
mod pair;
mod refusal;
mod rewrites;
mod timing;
mod words;

use std::collections::BTreeSet;

use crate::case::Call;
use crate::evidence::{Evidence, TargetFacts, TargetKind};
use crate::exchange::Exchange;

use outcome::{Api, Outcome};
use pair::{Behind, Group, pair};
use rewrites::Rewrites;

/// Something that a gateway changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What was changed.
    pub kind: Kind,
    /// What was seen, in one sentence.
    pub message: String,
    /// Where it was seen, on both sides where there are both: `exchange 2 request:/system/0`, `behind 2 request:/system/0`.
    pub cites: Vec<String>,
    /// The client's exchange; `None` when no request of the client belongs to it.
    pub exchange: Option<u32>,
}

/// What the two sides of a gateway say together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Comparison {
    /// What the gateway changed.
    pub differences: Vec<Difference>,
    /// The client's exchanges whose request the provider itself refused, broke off, or ended with an error.
    pub failed_behind: BTreeSet<u32>,
}

/// What a gateway can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A request of the client never reached the provider.
    RequestNotForwarded,
    /// One request of the client became several, of which an earlier one had not failed.
    RequestMultiplied,
    /// The gateway asked again after a failure.
    RequestRepeated,
    /// The gateway sent a request that the client had not asked for.
    RequestUnprompted,
    /// What arrived is not JSON.
    RequestMalformed,
    /// A translation left parts of the request as the other API has them.
    RequestUntranslated,
    /// What tells the provider which client asks, where the provider refused the request.
    RequestIdentity,
    /// The same system texts arrived in other words than in the request before.
    RequestPrefix,
    /// `anthropic-version`.
    RequestVersion,
    /// `anthropic-beta`.
    RequestBetas,
    /// Another `anthropic-*` header.
    RequestHeader,
    /// The query of the target.
    RequestQuery,
    /// The model's name.
    RequestModel,
    /// `system`, or a system message.
    RequestSystem,
    /// The conversation.
    RequestHistory,
    /// Images or documents.
    RequestMedia,
    /// `tools` or `tool_choice`.
    RequestTools,
    /// Thinking or effort.
    RequestThinking,
    /// Thinking or effort in a translation, whose provider may think in its own way.
    RequestReasoning,
    /// Marks for the prompt cache.
    RequestCacheControl,
    /// Whether the answer is streamed.
    RequestStream,
    /// `metadata`.
    RequestMetadata,
    /// Another field is gone.
    RequestFieldDropped,
    /// A field is new.
    RequestFieldAdded,
    /// Another field has another value.
    RequestFieldChanged,
    /// The same is said in another shape.
    RequestReshaped,
    /// The client got a whole answer where the provider gave none.
    AnswerInvented,
    /// The client did not get the whole answer that the provider gave.
    AnswerLost,
    /// Text.
    AnswerText,
    /// Thinking or its signature.
    AnswerThinking,
    /// Tool calls.
    AnswerTool,
    /// The order, number or kind of blocks.
    AnswerBlocks,
    /// The stop reason.
    AnswerStopReason,
    /// Token counts.
    AnswerUsage,
    /// The name of the model that answered.
    AnswerModel,
    /// The status of a refusal.
    ErrorStatus,
    /// The type or the message of a refusal.
    ErrorWords,
    /// A refusal without the envelope of the Messages API.
    ErrorEnvelope,
    /// `retry-after` or `x-should-retry`.
    RetryHeaders,
    /// `request-id`.
    RequestId,
    /// A failure that the gateway promises to make up for was passed on.
    FailureNotRetried,
    /// A broken connection became a clean end.
    BreakHidden,
    /// The response head was held back until the first content came.
    HeadWithheld,
    /// The provider went on answering a client that had left.
    CancelIgnored,
    /// A stream was held back, until it was over or in steps.
    StreamBuffered,
    /// Pings were not passed on while the client heard nothing else.
    PingsLost,
}

impl Kind {
    /// Whether the client may go on otherwise because of it: what the answer says, how it ends, or why there is none.
    pub fn spoils_the_answer(self) -> bool {
        let beside = matches!(self, Self::AnswerUsage | Self::AnswerModel | Self::RequestId | Self::PingsLost);
        self >= Self::AnswerInvented && !beside
    }
}

/// Compares the two sides of the gateway. Nothing when there is no tap behind it.
pub fn compare(evidence: &Evidence, calls: &[Call<'_>]) -> Comparison {
    let Some(behind) = &evidence.behind else { return Comparison::default() };
    compare_sides(calls, behind, &evidence.cell.target, &evidence.cell.vars.nonce)
}

/// Compares requests of a client with what was recorded behind the gateway at the same time, on the same clock. A request that holds
/// the `nonce` would be known there.
pub fn compare_sides(calls: &[Call<'_>], behind: &[Exchange], target: &TargetFacts, nonce: &str) -> Comparison {
    let rewrites = Rewrites(&target.rewrites);
    let behind: Vec<Behind<'_>> = behind.iter().filter_map(Behind::read).collect();
    let pairing = pair(calls, &behind);
    let mut differences = Vec::new();
    for group in &pairing.groups {
        told_by_number(group, nonce, &mut differences);
        if let Some(far) = group.decisive {
            let translates = target.kind == TargetKind::Translator;
            let mut sides = Sides { call: group.call, far, rewrites, translates, out: &mut differences };
            sides.compare();
            sides.promises(group.forwards.len());
        }
    }
    history::compare(&pairing.groups, &mut differences);
    for (far, beside) in pairing.unprompted {
        let message = format!("the gateway sent {} to the provider without being asked", far.exchange.request.path());
        let cites = beside.map(Call::cite).into_iter().chain([cite(far.exchange)]).collect();
        let exchange = beside.map(|call| call.exchange.id);
        differences.push(Difference { kind: Kind::RequestUnprompted, message, cites, exchange });
    }
    let failed = |group: &&Group<'_, '_, '_>| group.decisive.is_some_and(|far| far.outcome.finished().is_none());
    let failed_behind = pairing.groups.iter().filter(failed).map(|group| group.call.exchange.id).collect();
    Comparison { differences, failed_behind }
}

/// What the client's requests became behind the gateway: for each its exchange and the exchanges of the provider tap that it
/// caused, in order of arrival. Nothing when there is no tap behind the gateway.
pub fn forwards(evidence: &Evidence, calls: &[Call<'_>]) -> Vec<(u32, Vec<u32>)> {
    let behind: Vec<Behind<'_>> = evidence.behind.iter().flatten().filter_map(Behind::read).collect();
    let groups = pair(calls, &behind).groups.into_iter();
    groups.map(|g| (g.call.exchange.id, g.forwards.iter().map(|far| far.exchange.id).collect())).collect()
}

/// What the number of requests says that one request of the client became.
fn told_by_number(group: &Group<'_, '_, '_>, nonce: &str, out: &mut Vec<Difference>) {
    let call = group.call;
    let (kind, message) = match group.forwards.as_slice() {
        [] => {
            // A client that left, or a gateway that never answered, says nothing about what would have been forwarded. Behind
            // the gateway a request is known by the cell's nonce; whether one without it was forwarded cannot be told.
            let known = holds(&call.exchange.request.body.bytes, nonce.as_bytes());
            let told = known && !call.was_left();
            let Some(response) = call.exchange.response.as_ref().filter(|_| told) else { return };
            let words =
                format!("the gateway answered {} by itself; the provider never got the request", response.status);
            (Kind::RequestNotForwarded, words)
        }
        [_] => return,
        [earlier @ .., _] => {
            let failed = |far: &&Behind<'_>| far.outcome.finished().is_none();
            let kind = if earlier.iter().all(failed) { Kind::RequestRepeated } else { Kind::RequestMultiplied };
            let came: Vec<String> = group.forwards.iter().map(|far| ended(far)).collect();
            (kind, format!("one request became {}: {}", came.len(), came.join(", then ")))
        }
    };
    let cites = [call.cite()].into_iter().chain(group.forwards.iter().map(|far| cite(far.exchange))).collect();
    out.push(Difference { kind, message, cites, exchange: Some(call.exchange.id) });
}

/// How a request to the provider came out, in a word.
fn ended(far: &Behind<'_>) -> String {
    match (&far.outcome, &far.exchange.response) {
        (Outcome::Answer(answer), _) if answer.finished => "an answer".to_owned(),
        (Outcome::Answer(_), _) => "a broken answer".to_owned(),
        (_, Some(response)) => format!("status {}", response.status),
        (_, None) => "nothing".to_owned(),
    }
}

fn holds(body: &[u8], nonce: &[u8]) -> bool {
    nonce.is_empty() || body.windows(nonce.len()).any(|w| w == nonce)
}

/// How an exchange behind the gateway is named in findings.
fn cite(exchange: &Exchange) -> String {
    format!("behind {}", exchange.id)
}

/// One request of the client with the one to the provider that answered it.
struct Sides<'o, 'c, 'e, 'p> {
    call: &'c Call<'e>,
    far: &'p Behind<'e>,
    rewrites: Rewrites<'e>,
    /// Whether the gateway is there to translate.
    translates: bool,
    out: &'o mut Vec<Difference>,
}

impl Sides<'_, '_, '_, '_> {
    fn compare(&mut self) {
        self.request();
        self.refusal();
        self.answer();
        self.timing();
    }

    /// The way up. What the recorder did not keep cannot be compared.
    fn request(&mut self) {
        let Some(bytes) = &self.far.bytes else { return };
        if self.far.body.is_null() && !self.call.request.is_null() {
            let start = words::cut(&String::from_utf8_lossy(bytes));
            return self
                .tell(Kind::RequestMalformed, format!("the request arrived as something else than JSON: {start:?}"));
        }
        if !self.translated() {
            self.headers();
            if self.translates {
                let message = format!(
                    "a request of the Messages API went to a provider of another API, as POST {}",
                    self.far.exchange.request.path()
                );
                return self.tell_at(Kind::RequestUntranslated, message, "request target");
            }
        }
        match self.far.api {
            _ if self.call.request.is_null() => {}
            Api::Anthropic => self.body(),
            Api::Chat | Api::Responses => self.translation(),
        }
    }

    fn tell(&mut self, kind: Kind, message: impl Into<String>) {
        self.tell_at(kind, message, "");
    }

    /// Tells of a difference at a place that both exchanges have, such as `request:/system`.
    fn tell_at(&mut self, kind: Kind, message: impl Into<String>, place: &str) {
        let gap = if place.is_empty() { "" } else { " " };
        let cites = [self.call.cite(), cite(self.far.exchange)].map(|c| format!("{c}{gap}{place}"));
        let exchange = Some(self.call.exchange.id);
        self.out.push(Difference { kind, message: message.into(), cites: cites.into(), exchange });
    }

    /// Whether the provider speaks another API than the client.
    fn translated(&self) -> bool {
        self.far.api != Api::Anthropic
    }
}
