//! Which requests to the provider a request of the client caused. Nesting in time says which can be meant, content which are;
//! the order of arrival says nothing.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::Value;

use super::meaning::{Meaning, Role};
use super::outcome::{Api, Outcome};
use crate::case::{Call, answer_text};
use crate::decode::decoded;
use crate::exchange::{End, Exchange};

/// An inference request that the provider got.
#[derive(Debug)]
pub(super) struct Behind<'e> {
    pub(super) exchange: &'e Exchange,
    pub(super) api: Api,
    /// The request's body; `None` when it was not kept whole or its coding is unknown.
    pub(super) bytes: Option<Cow<'e, [u8]>>,
    /// The same as JSON; `Null` when it is none.
    pub(super) body: Value,
    pub(super) outcome: Outcome,
}

impl<'e> Behind<'e> {
    /// Reads an exchange; `None` when it does not ask the model for an answer, or the tap refused it.
    pub(super) fn read(exchange: &'e Exchange) -> Option<Self> {
        let api = Api::of(&exchange.request).filter(|_| !matches!(exchange.end, End::Refused { .. }))?;
        let request = &exchange.request;
        let whole = request.body.dropped == 0;
        let bytes = whole.then(|| decoded(&request.headers, &request.body.bytes).ok()).flatten();
        let body = bytes.as_deref().and_then(|b| serde_json::from_slice(b).ok()).unwrap_or_default();
        Some(Self { exchange, api, bytes, body, outcome: Outcome::of(exchange, api) })
    }
}

/// A request of the client with what it caused.
#[derive(Debug)]
pub(super) struct Group<'p, 'c, 'e> {
    pub(super) call: &'c Call<'e>,
    /// The requests to the provider, in order of arrival; empty when there was none.
    pub(super) forwards: Vec<&'p Behind<'e>>,
    /// The one among them whose answer was passed on, as far as it can be told.
    pub(super) decisive: Option<&'p Behind<'e>>,
}

/// Everything that was paired, and what was not.
#[derive(Debug)]
pub(super) struct Pairing<'p, 'c, 'e> {
    pub(super) groups: Vec<Group<'p, 'c, 'e>>,
    /// Requests to the provider that no request of the client caused, each with the exchange that it ran beside, if any.
    pub(super) unprompted: Vec<(&'p Behind<'e>, Option<&'c Call<'e>>)>,
}

/// From here on two requests are taken to be about the same: the same was said last.
const ABOUT_THE_SAME: u32 = 8;

/// Pairs the client's requests with those to the provider.
pub(super) fn pair<'p, 'c, 'e>(calls: &'c [Call<'e>], behind: &'p [Behind<'e>]) -> Pairing<'p, 'c, 'e> {
    let mut nears: Vec<Near<'p, 'c, 'e>> = calls
        .iter()
        .map(|call| Near { call, meaning: Meaning::of(Api::Anthropic, &call.request), caused: Vec::new() })
        .collect();
    let mut unprompted = Vec::new();
    for far in behind {
        let meaning = Meaning::of(far.api, &far.body);
        let candidates = nears.iter_mut().filter(|near| near.may_have_caused(far)).filter_map(|near| {
            let (likeness, nested) = (likeness(&near.meaning, &meaning), near.nests(far));
            let fresh = near.caused.is_empty();
            let rank = (likeness, nested, same_answer(near.call, far), fresh, near.call.exchange.request.head_us);
            (nested || likeness >= ABOUT_THE_SAME).then_some((rank, near))
        });
        match candidates.max_by_key(|(rank, _)| *rank) {
            Some(((likeness, ..), near)) => near.caused.push((likeness, far)),
            None => unprompted.push((far, None)),
        }
    }
    let groups = nears.into_iter().map(|near| near.group(&mut unprompted)).collect();
    Pairing { groups, unprompted }
}

/// A request of the client while its partners are being looked for.
struct Near<'p, 'c, 'e> {
    call: &'c Call<'e>,
    meaning: Meaning<'c>,
    /// With how alike they are.
    caused: Vec<(u32, &'p Behind<'e>)>,
}

impl<'p, 'c, 'e> Near<'p, 'c, 'e> {
    /// What a client that left had asked for may still be on its way.
    fn may_have_caused(&self, far: &Behind<'_>) -> bool {
        let exchange = self.call.exchange;
        let left = exchange.end == End::ClientLeft && exchange.request.head_us <= far.exchange.request.head_us;
        left || self.nests(far)
    }

    /// Whether the request to the provider began while the client was waiting.
    fn nests(&self, far: &Behind<'_>) -> bool {
        let exchange = self.call.exchange;
        (exchange.request.head_us..=exchange.ended_us).contains(&far.exchange.request.head_us)
    }

    /// Where one is about the same as what the client asked, those that are about something else are the gateway's own.
    fn group(self, unprompted: &mut Vec<(&'p Behind<'e>, Option<&'c Call<'e>>)>) -> Group<'p, 'c, 'e> {
        let found = self.caused.iter().any(|(likeness, _)| *likeness >= ABOUT_THE_SAME);
        let (caused, own): (Vec<_>, Vec<_>) =
            self.caused.into_iter().partition(|(likeness, _)| !found || *likeness >= ABOUT_THE_SAME);
        unprompted.extend(own.into_iter().map(|(_, far)| (far, Some(self.call))));
        let rank = |far: &Behind<'_>| {
            (same_answer(self.call, far), far.outcome.finished().is_some(), far.exchange.request.head_us)
        };
        let forwards: Vec<_> = caused.into_iter().map(|(_, far)| far).collect();
        let decisive = forwards.iter().copied().max_by_key(|far| rank(far));
        Group { call: self.call, forwards, decisive }
    }
}

/// How alike two requests are: what was said last counts most, then the tool calls, the length, and what is offered.
fn likeness(near: &Meaning<'_>, far: &Meaning<'_>) -> u32 {
    let said_last = last_words(near).is_some_and(|last| far.turns.iter().rev().take(2).any(|t| says(t, last)));
    let no_words = last_words(near).is_none() && last_words(far).is_none();
    let names = |m: &Meaning<'_>| m.tools.iter().map(|t| t.name.to_owned()).collect::<BTreeSet<_>>();
    let same_ids = near.ids().eq(far.ids());
    ABOUT_THE_SAME * u32::from(said_last || no_words)
        + 2 * u32::from(same_ids)
        + u32::from(near.ids().count() == far.ids().count())
        + u32::from(near.turns.len() == far.turns.len())
        + u32::from(names(near) == names(far))
}

/// The last text of the user, or of a tool's result.
fn last_words<'a>(meaning: &Meaning<'a>) -> Option<&'a str> {
    let turn = meaning.turns.iter().rfind(|t| t.role == Role::User)?;
    let results = turn.results.iter().flat_map(|r| &r.texts);
    results.chain(&turn.texts).map(|t| t.trim()).rfind(|t| !t.is_empty())
}

fn says(turn: &super::meaning::Turn<'_>, words: &str) -> bool {
    let results = turn.results.iter().flat_map(|r| &r.texts);
    turn.role == Role::User && results.chain(&turn.texts).any(|t| t.contains(words))
}

/// Whether the client got the text and the tool calls that the provider answered.
fn same_answer(call: &Call<'_>, far: &Behind<'_>) -> bool {
    let (Some(got), Some(sent)) = (call.answer(), far.outcome.finished()) else { return false };
    let tools = |a: &crate::messages::Answer| a.blocks_of("tool_use").map(|b| b["input"].clone()).collect::<Vec<_>>();
    answer_text(got) == answer_text(sent) && tools(got) == tools(sent)
}
