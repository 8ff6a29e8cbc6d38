//! When bytes came: whether a stream was held back, and whether pings were passed on. Only what cannot be chance is told.

use serde_json::Value;

use super::outcome::Api;
use super::{Kind, Sides};
use crate::exchange::{End, Response};
use crate::sse;

/// An answer that takes less than this from its first byte to its last is too fast to tell, in microseconds.
const SLOW_US: u64 = 300_000;
/// A ping after which the client hears nothing for so long was not passed on, in microseconds.
const SILENCE_US: u64 = 1_000_000;
/// A ping that was lost once may have been moved.
const LOST_PINGS: usize = 2;

impl Sides<'_, '_, '_, '_> {
    /// Compares the arrivals of a streamed answer.
    pub(super) fn timing(&mut self) {
        let (Some(sent), Some(got)) = (&self.far.exchange.response, &self.call.exchange.response) else { return };
        if self.call.request["stream"] != Value::Bool(true) || sent.status != 200 || got.status != 200 {
            return;
        }
        if let Some(words) = held_back(sent, got) {
            self.tell(Kind::StreamBuffered, words);
        } else if self.far.api == Api::Anthropic && !self.rewrites.pings() && self.call.exchange.end != End::ClientLeft
        {
            self.pings(sent, got);
        }
    }

    fn pings(&mut self, sent: &Response, got: &Response) {
        let items = sse::parse(&sent.body.bytes);
        let pings = items.iter().filter_map(|item| match item {
            sse::Item::Event(e) if e.name.as_deref() == Some("ping") => Some(e.span.end),
            sse::Item::Comment { span, .. } => Some(span.end),
            _ => None,
        });
        let over = self.call.exchange.ended_us;
        let unheard = |at: &u64| {
            let until = at.saturating_add(SILENCE_US);
            until < over && !got.arrivals.iter().any(|a| (*at..=until).contains(&a.at_us))
        };
        let lost = pings.filter_map(|end| sent.arrived_us(end.saturating_sub(1))).filter(unheard).count();
        if lost >= LOST_PINGS {
            let message = format!("{lost} pings of the provider were not passed on while the client heard nothing");
            self.tell(Kind::PingsLost, message);
        }
    }
}

/// Whether a slow answer of several pieces was collected: it reached the client only when its last piece had been sent, and then
/// in far fewer pieces, or all at once. One that comes as late but piece by piece was delayed, as on a busy machine.
fn held_back(sent: &Response, got: &Response) -> Option<String> {
    let times =
        |response: &Response| -> Vec<u64> { response.arrivals.iter().filter(|a| a.len > 0).map(|a| a.at_us).collect() };
    let (pieces, heard) = (times(sent), times(got));
    let (first, last) = (*pieces.first()?, *pieces.last()?);
    let (heard_first, heard_last) = (*heard.first()?, *heard.last()?);
    let took = last.checked_sub(first).filter(|took| *took >= SLOW_US)?;
    let merged = heard.len().saturating_mul(3) <= pieces.len();
    let at_once = heard_last.saturating_sub(heard_first).saturating_mul(20) <= took;
    (pieces.len() >= 3 && heard_first > last && (merged || at_once)).then(|| {
        format!(
            "the provider sent {} pieces in {} ms, the client got its first byte {} ms after the last of them",
            pieces.len(),
            took / 1000,
            (heard_first - last) / 1000,
        )
    })
}
