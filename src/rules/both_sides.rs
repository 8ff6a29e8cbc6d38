//! Rules about what a gateway changed between its two sides: each kind of difference is one rule, and the gateway is the
//! suspect without a guess.

use std::collections::BTreeMap;

use crate::case::Case;
use crate::compare::{Difference, Kind};
use crate::evidence::TargetKind;
use crate::finding::Suspect;

use super::Found;

/// The differences of one kind. What was seen in the same words in several exchanges is one finding with all their places.
pub(super) fn changed(case: &Case<'_>, kind: Kind) -> Vec<Found> {
    let mut alike: BTreeMap<&str, Vec<&Difference>> = BTreeMap::new();
    for difference in case.differences.iter().filter(|d| d.kind == kind) {
        alike.entry(&difference.message).or_default().push(difference);
    }
    let found = alike.into_iter().map(|(message, all)| Found {
        exchange: all.iter().filter_map(|d| d.exchange).min(),
        cites: all.iter().flat_map(|d| d.cites.iter().cloned()).collect(),
        ..Found::new(Suspect::Gateway, message)
    });
    found.collect()
}

/// What tells the provider which client asks. A provider that refuses because the probe says so looks at nothing.
pub(super) fn identity_lost(case: &Case<'_>) -> Vec<Found> {
    if case.probe.makes_trouble() { Vec::new() } else { changed(case, Kind::RequestIdentity) }
}

/// Thinking that did not arrive. What a translation makes of it fails only a probe that is about thinking.
pub(super) fn thinking_changed(case: &Case<'_>) -> Vec<Found> {
    let mut found = changed(case, Kind::RequestThinking);
    if case.probe.expect.thinking.is_some() {
        found.extend(changed(case, Kind::RequestReasoning));
    }
    found
}

/// Thinking that a translation lost where nobody looks for it.
pub(super) fn thinking_untranslated(case: &Case<'_>) -> Vec<Found> {
    if case.probe.expect.thinking.is_some() { Vec::new() } else { changed(case, Kind::RequestReasoning) }
}

/// Token counts that changed. What a translation makes of them fails only a probe that is about usage.
pub(super) fn usage_changed(case: &Case<'_>) -> Vec<Found> {
    let translated = case.evidence.cell.target.kind == TargetKind::Translator;
    if translated && case.probe.expect.usage.is_none() { Vec::new() } else { changed(case, Kind::AnswerUsage) }
}

/// A provider that was kept answering when the client had left; where its own side was not recorded, by its own account.
pub(super) fn cancel_ignored(case: &Case<'_>) -> Vec<Found> {
    let found = changed(case, Kind::CancelIgnored);
    if found.is_empty() { super::scripted::not_cancelled(case) } else { found }
}
