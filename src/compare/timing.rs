//! When bytes came: whether a stream or its head was held back, whether pings were passed on, and whether the provider was left
//! when the client left. Both sides' times are compared, never absolute speed; only what cannot be chance is told.

use serde_json::Value;

use super::outcome::Api;
use super::{Kind, Sides};
use crate::decode::decoded;
use crate::exchange::{End, Response};
use crate::sse;

/// An answer that takes less than this from its first byte to its last is too fast to tell, in microseconds.
const SLOW_US: u64 = 300_000;
/// A ping after which the client hears nothing for so long was not passed on, in microseconds.
const SILENCE_US: u64 = 1_000_000;
/// A ping that was lost once may have been moved.
const LOST_PINGS: usize = 2;

/// A head that reaches the client so much later than it was sent was held back, in microseconds.
const HEAD_US: u64 = 1_000_000;
/// A provider that is still answering so long after the client has left was not told of it, in microseconds.
const CANCEL_US: u64 = 4_000_000;
/// A step that was held back at least so long, in microseconds.
const STEP_US: u64 = 250_000;
/// What the gateway had in hands for so long before the client got it was held back, in microseconds: longer than a busy machine
/// takes, and than a gateway that is merely slow waits before a piece.
const LATE_US: u64 = 5_000_000;
/// What fills a buffer and what leaves it are so close together, in microseconds.
const FILLED_US: u64 = 50_000;

impl Sides<'_, '_, '_, '_> {
    /// Compares the arrivals of a streamed answer.
    pub(super) fn timing(&mut self) {
        self.cancel();
        let (Some(sent), Some(got)) = (&self.far.exchange.response, &self.call.exchange.response) else { return };
        if self.call.request["stream"] != Value::Bool(true) || sent.status != 200 || got.status != 200 {
            return;
        }
        // Of an answer that the client left only the beginning is there, which may be late as a whole.
        let whole = !self.call.was_left();
        let held = held_back(sent, got).or_else(|| self.stepped(sent, got)).or_else(|| late(sent, got));
        if let Some(words) = held.filter(|_| whole) {
            return self.tell(Kind::StreamBuffered, words);
        }
        if let Some(words) = self.head_withheld(sent, got) {
            self.tell(Kind::HeadWithheld, words);
        }
        if self.far.api == Api::Anthropic && !self.rewrites.pings() {
            self.pings(sent, got);
        }
    }

    /// A client that left wants nothing more; what goes on is paid for and read by nobody.
    fn cancel(&mut self) {
        let (near, far) = (self.call.exchange, self.far.exchange);
        // An answer that was whole before the client left was not cancelled.
        if near.end != End::ClientLeft || self.call.answer().is_some_and(|a| a.finished) {
            return;
        }
        let after = far.ended_us.saturating_sub(near.ended_us);
        if after >= CANCEL_US {
            let message = format!("the client left, the provider was kept answering for another {} ms", after / 1000);
            self.tell(Kind::CancelIgnored, message);
        }
    }

    /// Whether the client got the response head only with the first byte of the body, or the first content, though the provider
    /// had sent it long before.
    fn head_withheld(&self, sent: &Response, got: &Response) -> Option<String> {
        let first_byte = sent.arrivals.iter().find(|a| a.len > 0).map(|a| a.at_us);
        let first_content = content_times(sent, self.far.api).first().copied();
        let late = got.head_us.saturating_sub(sent.head_us);
        let waited_for = [(first_content, "content"), (first_byte, "byte of the body")]
            .into_iter()
            .find(|(at, _)| at.is_some_and(|at| at.saturating_sub(sent.head_us) >= HEAD_US && got.head_us >= at));
        waited_for.map(|(_, what)| {
            format!(
                "the provider sent its response head at once, the client got it {} ms later, with the first {what}",
                late / 1000
            )
        })
    }

    /// Whether content that came to the gateway piece by piece went to the client in a few large steps, each only when its last
    /// piece had come.
    fn stepped(&self, sent: &Response, got: &Response) -> Option<String> {
        let (far, near) = (content_times(sent, self.far.api), content_times(got, Api::Anthropic));
        if far.len() != near.len() || far.len() < 6 {
            return None;
        }
        let took = far.last()?.checked_sub(*far.first()?).filter(|took| *took >= SLOW_US)?;
        let (mut steps, mut held, mut single) = (0_u64, 0_u64, 0_u64);
        let pieces: Vec<(u64, u64)> = near.into_iter().zip(far).collect();
        let mut all = pieces.chunk_by(|a, b| a.0 == b.0).peekable();
        while let Some(step) = all.next() {
            let (Some((at, first)), Some((_, last))) = (step.first(), step.last()) else { continue };
            let span = last.saturating_sub(*first);
            single += u64::from(step.len() == 1);
            // A machine that stalls lets go at any time, a full buffer with the piece that fills it, of which a part may be left
            // over for the next step.
            let next = all.peek().and_then(|step| step.first()).map(|(_, came)| *came);
            let soon = at.saturating_sub(*last).saturating_mul(2) <= span;
            if span >= STEP_US && (soon || next.is_some_and(|next| at.abs_diff(next) <= FILLED_US)) {
                steps += 1;
                held += span;
            }
        }
        // Where pieces also come one by one, the others were late and not collected.
        (steps >= 2 && single <= 1 && held.saturating_mul(10) >= took.saturating_mul(6)).then(|| {
            format!("the provider's pieces came over {} ms, the client got them in {steps} steps", took / 1000)
        })
    }

    fn pings(&mut self, sent: &Response, got: &Response) {
        let items = sse::parse(&sent.body.bytes);
        let pings = items.iter().filter_map(|item| match item {
            sse::Item::Event(e) if e.name.as_deref() == Some("ping") => Some(e.span.end),
            sse::Item::Comment { span, .. } => Some(span.end),
            _ => None,
        });
        let over = self.call.exchange.ended_us;
        // Before its first byte a client waits for the answer, pings or not.
        let begun = got.arrivals.iter().find(|a| a.len > 0).map_or(u64::MAX, |a| a.at_us);
        let unheard = |at: &u64| {
            let until = at.saturating_add(SILENCE_US);
            begun <= *at && until < over && !got.arrivals.iter().any(|a| (*at..=until).contains(&a.at_us))
        };
        let lost = pings.filter_map(|end| sent.arrived_us(end.saturating_sub(1))).filter(unheard).count();
        if lost >= LOST_PINGS {
            let message = format!("{lost} pings of the provider were not passed on while the client heard nothing");
            self.tell(Kind::PingsLost, message);
        }
    }
}

/// When each event that brings content had arrived.
fn content_times(response: &Response, api: Api) -> Vec<u64> {
    let brings = |data: &str| match api {
        Api::Anthropic => data.contains("content_block_delta"),
        Api::Chat => ["content", "reasoning", "tool_calls"].iter().any(|key| data.contains(key)),
        Api::Responses => data.contains(".delta"),
    };
    let Ok(bytes) = decoded(&response.headers, &response.body.bytes) else { return Vec::new() };
    // Behind a content coding the place in the text says nothing about the place on the wire.
    if bytes.len() != response.body.bytes.len() {
        return Vec::new();
    }
    let time = |item| match item {
        sse::Item::Event(e) if brings(&e.data) => response.arrived_us(e.span.end.saturating_sub(1)),
        _ => None,
    };
    sse::parse(&bytes).into_iter().filter_map(time).collect()
}

/// Whether the client waited for an event though the provider had sent nothing for as long: the gateway had it already. Pings and
/// comments may be the gateway's own.
fn late(sent: &Response, got: &Response) -> Option<String> {
    let bytes = decoded(&got.headers, &got.body.bytes).ok().filter(|bytes| bytes.len() == got.body.bytes.len())?;
    sse::parse(&bytes).into_iter().find_map(|item| {
        let sse::Item::Event(event) = item else { return None };
        let name = event.name.as_deref().filter(|name| *name != "ping")?;
        let at = got.arrived_us(event.span.end.saturating_sub(1))?;
        let in_hands = sent.arrivals.iter().filter(|a| a.len > 0 && a.at_us <= at).map(|a| a.at_us).max()?;
        let waited = at - in_hands;
        (waited >= LATE_US).then(|| {
            format!("the client got `{name}` {} ms after the last that the provider had sent until then", waited / 1000)
        })
    })
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
