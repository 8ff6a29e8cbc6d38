//! The record in memory: exchanges in order of arrival, bounded, and complete at any moment.
//!
//! Each exchange has its own lock, held only while bytes are copied, so recording never holds up a relay.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::response::Seen;
use crate::exchange::{Arrival, Body, End, Exchange, Header, Request, Response};

/// How much of what crosses the wire is kept, in bytes. What is beyond is counted and relayed all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most of one request body.
    pub request_body: usize,
    /// The most of one response body.
    pub response_body: usize,
    /// The most of all bodies together.
    pub total: usize,
}

impl Default for Limits {
    /// 64 MiB for each body, 192 MiB for all.
    fn default() -> Self {
        Self { request_body: 64 << 20, response_body: 64 << 20, total: 192 << 20 }
    }
}

/// The most exchanges that are recorded; what a runaway client sends after them is refused and forgotten.
const MAX_EXCHANGES: usize = 1_000;

/// The most arrivals that are recorded one by one; later ones are added to the last.
const MAX_ARRIVALS: usize = 1 << 18;

/// All exchanges of one tap.
#[derive(Debug)]
pub(super) struct Recorder {
    started: Instant,
    limits: Limits,
    /// How many further body bytes may be kept.
    room: AtomicUsize,
    slots: Mutex<Vec<Arc<Mutex<Slot>>>>,
}

/// One exchange, open or ended.
#[derive(Debug, Clone)]
struct Slot {
    request: Request,
    response: Option<Response>,
    end: Option<(End, u64)>,
}

/// The handle by which a relay records one exchange.
#[derive(Debug, Clone)]
pub(super) struct Record {
    recorder: Arc<Recorder>,
    slot: Arc<Mutex<Slot>>,
}

/// A poisoned lock only means that another task panicked; what was recorded is still true.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recorder {
    pub(super) fn new(started: Instant, limits: Limits) -> Self {
        Self { started, limits, room: AtomicUsize::new(limits.total), slots: Mutex::new(Vec::new()) }
    }

    /// Microseconds since the recording began.
    pub(super) fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Begins the record of a request whose head is complete.
    pub(super) fn open(self: &Arc<Self>, method: &str, target: &str, headers: Vec<Header>) -> Record {
        let now = self.now_us();
        let request = Request {
            method: method.to_owned(),
            target: target.to_owned(),
            headers,
            body: Body::default(),
            head_us: now,
            body_us: now,
        };
        let slot = Arc::new(Mutex::new(Slot { request, response: None, end: None }));
        let mut slots = lock(&self.slots);
        if slots.len() < MAX_EXCHANGES {
            slots.push(Arc::clone(&slot));
        }
        Record { recorder: Arc::clone(self), slot }
    }

    /// Takes out all that was recorded. Exchanges that are still open end here: nothing more of them will be seen.
    pub(super) fn take(&self) -> Vec<Exchange> {
        let now = self.now_us();
        let slots = std::mem::take(&mut *lock(&self.slots)).into_iter().map(|slot| match Arc::try_unwrap(slot) {
            Ok(slot) => slot.into_inner().unwrap_or_else(PoisonError::into_inner),
            Err(shared) => lock(&shared).clone(),
        });
        (0..).zip(slots).map(|(id, slot)| slot.into_exchange(id, now)).collect()
    }

    /// Takes out the exchanges whose request is wanted, and makes room for as many bytes again. What is still open is told of
    /// as it stands.
    pub(super) fn claim(&self, wanted: impl Fn(&Request) -> bool) -> Vec<Exchange> {
        let now = self.now_us();
        let mut claimed = Vec::new();
        let mut id = 0;
        lock(&self.slots).retain(|slot| {
            let slot = lock(slot);
            let mine = wanted(&slot.request);
            if mine {
                claimed.push(slot.clone().into_exchange(id, now));
            }
            id += 1;
            !mine
        });
        let kept = |e: &Exchange| e.request.body.bytes.len() + e.response.as_ref().map_or(0, |r| r.body.bytes.len());
        self.room.fetch_add(claimed.iter().map(kept).sum(), Ordering::Relaxed);
        claimed
    }

    /// Keeps what the limits allow of the bytes, the first ones, and counts the rest.
    fn keep(&self, body: &mut Body, bytes: &[u8], limit: usize) {
        let wanted = if body.dropped > 0 { 0 } else { bytes.len().min(limit.saturating_sub(body.bytes.len())) };
        let room =
            self.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |room| Some(room.saturating_sub(wanted)));
        let (Ok(room) | Err(room)) = room;
        let kept = wanted.min(room);
        body.bytes.extend_from_slice(&bytes[..kept]);
        body.dropped += (bytes.len() - kept) as u64;
    }
}

impl Slot {
    fn into_exchange(self, id: u32, now: u64) -> Exchange {
        let (end, ended_us) = self.end.unwrap_or_else(|| match self.response {
            None => (End::NeverAnswered { error: "no response head came before the cell ended".to_owned() }, now),
            Some(_) => (End::ClientLeft, now),
        });
        Exchange { id, request: self.request, response: self.response, end, ended_us }
    }

    /// The first end counts, but for a response that seemed complete and then went on.
    fn end(&mut self, end: End, at_us: u64) {
        let went_on = matches!((&self.end, &end), (Some((End::Complete, _)), End::UpstreamBroke { .. }));
        if self.end.is_none() || went_on {
            self.end = Some((end, at_us));
        }
    }
}

impl Record {
    /// Body bytes of the request arrived.
    pub(super) fn request_body(&self, bytes: &[u8]) {
        let mut slot = lock(&self.slot);
        slot.request.body_us = self.recorder.now_us();
        self.recorder.keep(&mut slot.request.body, bytes, self.recorder.limits.request_body);
    }

    /// Bytes of the response arrived at a time and said this.
    pub(super) fn response(&self, at_us: u64, seen: Seen) {
        let mut slot = lock(&self.slot);
        match seen {
            Seen::Head { status, headers } => {
                let body = Body::default();
                slot.response = Some(Response { status, headers, body, head_us: at_us, arrivals: Vec::new() });
            }
            Seen::Body(bytes) => {
                let Some(response) = &mut slot.response else { return };
                let len = bytes.len() as u64;
                let one_by_one = response.arrivals.len() < MAX_ARRIVALS;
                match response.arrivals.last_mut() {
                    // The later time holds for all of them: by then each had arrived.
                    Some(last) if last.at_us == at_us => last.len += len,
                    Some(last) if !one_by_one => *last = Arrival { at_us, len: last.len + len },
                    _ => response.arrivals.push(Arrival { at_us, len }),
                }
                self.recorder.keep(&mut response.body, &bytes, self.recorder.limits.response_body);
            }
            Seen::End => slot.end(End::Complete, at_us),
            Seen::Broken(error) => slot.end(End::UpstreamBroke { error }, at_us),
            Seen::NoHead(error) => slot.end(End::NeverAnswered { error }, at_us),
        }
    }

    /// The exchange ended now.
    pub(super) fn end(&self, end: End) {
        lock(&self.slot).end(end, self.recorder.now_us());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorder(limits: Limits) -> Arc<Recorder> {
        Arc::new(Recorder::new(Instant::now(), limits))
    }

    fn head() -> Seen {
        Seen::Head { status: 200, headers: vec![] }
    }

    #[test]
    fn bodies_are_kept_up_to_their_limit_and_then_up_to_the_total() {
        let recorder = recorder(Limits { request_body: 3, response_body: 4, total: 9 });
        for _ in 0..2 {
            let record = recorder.open("POST", "/", vec![]);
            record.request_body(b"abcdef");
            record.response(1, head());
            record.response(2, Seen::Body(b"12".to_vec()));
            record.response(3, Seen::Body(b"3456".to_vec()));
        }
        let kept: Vec<_> = recorder
            .take()
            .into_iter()
            .map(|e| (e.request.body, e.response.unwrap()))
            .map(|(q, r)| {
                (q.text().into_owned(), q.dropped, r.body.text().into_owned(), r.body.dropped, r.arrivals.len())
            })
            .collect();
        assert_eq!(kept, [("abc".into(), 3, "1234".into(), 2, 2), ("ab".into(), 4, String::new(), 6, 2)]);
    }

    #[test]
    fn an_open_exchange_ends_as_what_it_is() {
        let recorder = recorder(Limits::default());
        let _silent = recorder.open("GET", "/a", vec![]);
        recorder.open("GET", "/b", vec![]).response(1, head());
        let ends: Vec<_> = recorder.take().into_iter().map(|e| e.end).collect();
        assert!(matches!(ends.as_slice(), [End::NeverAnswered { .. }, End::ClientLeft]), "{ends:?}");
    }

    #[test]
    fn the_number_of_records_and_arrivals_is_bounded_and_lengths_still_add_up() {
        let recorder = recorder(Limits::default());
        let record = recorder.open("GET", "/", vec![]);
        record.response(0, head());
        for at in 0..MAX_ARRIVALS as u64 + 10 {
            record.response(at, Seen::Body(vec![0]));
        }
        for _ in 0..MAX_EXCHANGES + 10 {
            recorder.open("GET", "/", vec![]);
        }
        let exchanges = recorder.take();
        assert_eq!(exchanges.len(), MAX_EXCHANGES);
        let arrivals = &exchanges[0].response.as_ref().unwrap().arrivals;
        assert_eq!(arrivals.len(), MAX_ARRIVALS);
        assert_eq!(arrivals.iter().map(|a| a.len).sum::<u64>(), MAX_ARRIVALS as u64 + 10);
    }
}
