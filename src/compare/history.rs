//! What shows only over several requests of a conversation: a prefix that does not stay the same, and reasoning that the
//! provider gave and does not get back.

use std::collections::BTreeMap;

use super::meaning::{Meaning, Role};
use super::outcome::Api;
use super::pair::{Behind, Group};
use super::words::{apart, cut};
use super::{Difference, Kind, cite};
use crate::case::Call;

/// The client's requests with what arrived of them, each read for its meaning.
struct Step<'a> {
    call: &'a Call<'a>,
    far: &'a Behind<'a>,
    sent: Meaning<'a>,
    arrived: Meaning<'a>,
}

/// Compares each request with those before it.
pub(super) fn compare(groups: &[Group<'_, '_, '_>], out: &mut Vec<Difference>) {
    let steps: Vec<Step<'_>> = groups
        .iter()
        .filter_map(|group| {
            let far = group.decisive.filter(|far| !far.body.is_null())?;
            let sent = Meaning::of(Api::Anthropic, &group.call.request);
            Some(Step { call: group.call, far, sent, arrived: Meaning::of(far.api, &far.body) })
        })
        .collect();
    prefixes(&steps, out);
    reasoning(&steps, out);
}

fn tell(step: &Step<'_>, before: &Step<'_>, kind: Kind, message: String, out: &mut Vec<Difference>) {
    let cites = vec![before.call.cite(), step.call.cite(), cite(before.far.exchange), cite(step.far.exchange)];
    out.push(Difference { kind, message, cites, exchange: Some(step.call.exchange.id) });
}

/// System texts that the client sent twice alike have to arrive alike: the provider's cache knows a prompt by its first bytes.
fn prefixes(steps: &[Step<'_>], out: &mut Vec<Difference>) {
    let mut seen: BTreeMap<String, &Step<'_>> = BTreeMap::new();
    for step in steps.iter().filter(|step| !step.sent.system.is_empty()) {
        let before = *seen.entry(step.sent.system.join("\0")).or_insert(step);
        let (a, b) = (before.arrived.system.join("\n"), step.arrived.system.join("\n"));
        if a != b {
            let (a, b) = apart(&a, &b);
            let message = format!("the client sent the same system texts twice, they arrived as {a:?} and as {b:?}");
            return tell(step, before, Kind::RequestPrefix, message, out);
        }
    }
}

/// What the provider reasoned in front of a tool call has to come back with the call's result, where the client sends it.
fn reasoning(steps: &[Step<'_>], out: &mut Vec<Difference>) {
    for (i, step) in steps.iter().enumerate().filter(|(_, step)| step.far.api == Api::Chat) {
        let kept = step.arrived.turns.iter().filter(|t| t.role == Role::Assistant).any(|t| !t.reasoning.is_empty());
        let sent = || step.sent.turns.iter().filter(|t| !t.calls.is_empty()).flat_map(|t| &t.reasoning);
        let gave = |before: &&Step<'_>| {
            let answer = before.far.outcome.finished();
            let given: String = answer
                .into_iter()
                .flat_map(|a| a.blocks_of("thinking"))
                .filter_map(|b| b["thinking"].as_str())
                .collect();
            !given.trim().is_empty() && sent().any(|text| text.trim() == given.trim())
        };
        if let Some(before) = steps[..i].iter().find(gave).filter(|_| !kept) {
            let text = sent().copied().collect::<String>();
            let message =
                format!("the provider's reasoning did not come back with the tool's result: {:?}", cut(&text));
            return tell(step, before, Kind::RequestReasoning, message, out);
        }
    }
}
