//! Rules about what a gateway changed between its two sides: each kind of difference is one rule, and the gateway is the
//! suspect without a guess.

use std::collections::BTreeMap;

use crate::case::Case;
use crate::compare::{Difference, Kind};
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
