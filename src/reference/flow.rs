//! The body of an answer on its way: what the provider sends goes through filters, piece by piece, and nothing is held back
//! that a filter does not hold.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{Instant, Sleep};

use super::telling::Meter;
use crate::serve::Wait;

/// What comes out of a filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Bytes, which leave on their own.
    Bytes(Bytes),
    /// Nothing for this long.
    Pause(Duration),
    /// The body ends here, as if it were whole.
    End,
    /// The connection breaks here.
    Break,
}

/// Something that a body goes through.
pub trait Filter: Send {
    /// Takes what came and puts out what can go on.
    fn push(&mut self, bytes: Bytes, out: &mut Vec<Piece>);

    /// The body is over; puts out what was held back.
    fn end(&mut self, _out: &mut Vec<Piece>) {}
}

/// Ends the connection to the provider when nobody reads from it any more.
#[derive(Debug)]
pub(super) struct Connection(pub(super) AbortHandle);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A body on its way.
pub(super) struct Flow {
    source: Source,
    filters: Vec<Box<dyn Filter>>,
    ready: VecDeque<Piece>,
    wait: Wait,
    /// The length, where it is known and stays.
    length: Option<u64>,
    /// Who keeps the books.
    meter: Option<Meter>,
    /// What is said while the provider says nothing.
    pings: Option<Pings>,
}

/// An event in every stretch of silence of this length.
struct Pings {
    every: Duration,
    next: Pin<Box<Sleep>>,
}

/// The event that says that a stream is alive.
const PING: &[u8] = b"event: ping\ndata: {\"type\":\"ping\"}\n\n";

impl Pings {
    /// The silence begins anew.
    fn reset(&mut self) {
        self.next.as_mut().reset(Instant::now() + self.every);
    }
}

enum Source {
    /// What the provider sends.
    Upstream(Incoming, #[expect(dead_code, reason = "dropping it closes the connection")] Connection),
    /// What the provider sends, read whether or not anybody wants it.
    Detached(mpsc::UnboundedReceiver<Bytes>),
    /// Nothing more comes.
    Over,
}

impl Flow {
    /// What a provider sends, through filters.
    pub(super) fn through(body: Incoming, connection: Connection, filters: Vec<Box<dyn Filter>>) -> Self {
        let length = if filters.is_empty() { body.size_hint().exact() } else { None };
        Self {
            source: Source::Upstream(body, connection),
            filters,
            ready: VecDeque::new(),
            wait: Wait::Nothing,
            length,
            meter: None,
            pings: None,
        }
    }

    /// With somebody who follows what goes out.
    pub(super) fn metered(self, meter: Option<Meter>) -> Self {
        Self { meter, ..self }
    }

    /// With a ping in every stretch of silence of this length. What goes out has to be whole events.
    pub(super) fn pinging(self, every: Duration) -> Self {
        Self { pings: Some(Pings { every, next: Box::pin(tokio::time::sleep(every)) }), ..self }
    }

    /// What a provider sends, through filters; it is read to its end even when the client leaves.
    pub(super) fn detached(mut body: Incoming, connection: Connection, filters: Vec<Box<dyn Filter>>) -> Self {
        use http_body_util::BodyExt as _;
        let (pieces, source) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let _open = connection;
            while let Some(Ok(frame)) = body.frame().await {
                // Nobody may be reading any more.
                let _ = frame.into_data().map(|bytes| pieces.send(bytes));
            }
        });
        let (ready, wait) = (VecDeque::new(), Wait::Nothing);
        Self { source: Source::Detached(source), filters, ready, wait, length: None, meter: None, pings: None }
    }

    /// A body that is whole, through filters.
    pub(super) fn whole(body: Bytes, filters: Vec<Box<dyn Filter>>) -> Self {
        let length = filters.is_empty().then_some(body.len() as u64);
        let ready = VecDeque::new();
        let mut flow =
            Self { source: Source::Over, filters, ready, wait: Wait::Nothing, length, meter: None, pings: None };
        if !body.is_empty() {
            flow.take(body);
        }
        flow.finish();
        flow
    }

    /// Waits until a piece came for which `wanted` holds, or the end; nothing is lost.
    pub(super) async fn until(&mut self, wanted: impl Fn(&[u8]) -> bool) {
        use http_body_util::BodyExt as _;
        let mut held = VecDeque::new();
        loop {
            match self.frame().await {
                Some(Ok(frame)) => {
                    let Ok(bytes) = frame.into_data() else { continue };
                    let found = wanted(&bytes);
                    held.push_back(Piece::Bytes(bytes));
                    if found {
                        break;
                    }
                }
                Some(Err(_)) => {
                    held.push_back(Piece::Break);
                    break;
                }
                None => break,
            }
        }
        held.append(&mut self.ready);
        self.ready = held;
    }

    /// Gives bytes to the first filter and what comes out to the next.
    fn take(&mut self, bytes: Bytes) {
        let pieces = run(&mut self.filters, vec![Piece::Bytes(bytes)]);
        self.ready.extend(pieces);
    }

    /// The source is over: each filter in turn gives what it held, through those behind it.
    fn finish(&mut self) {
        for n in 0..self.filters.len() {
            let mut out = Vec::new();
            self.filters[n].end(&mut out);
            let pieces = run(&mut self.filters[n + 1..], out);
            self.ready.extend(pieces);
        }
        self.filters.clear();
    }
}

fn run(filters: &mut [Box<dyn Filter>], mut pieces: Vec<Piece>) -> Vec<Piece> {
    for filter in filters {
        let mut out = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Bytes(bytes) => filter.push(bytes, &mut out),
                other => out.push(other),
            }
        }
        pieces = out;
    }
    pieces
}

impl Body for Flow {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        loop {
            ready!(self.wait.poll(cx));
            match self.ready.pop_front() {
                Some(Piece::Bytes(bytes)) if bytes.is_empty() => continue,
                Some(Piece::Bytes(bytes)) => {
                    if !self.ready.is_empty() {
                        self.wait = Wait::Flush;
                    }
                    if let Some(meter) = &mut self.meter {
                        meter.see(&bytes);
                    }
                    if let Some(pings) = &mut self.pings {
                        pings.reset();
                    }
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(Piece::Pause(pause)) => {
                    self.wait = Wait::pause(pause);
                    continue;
                }
                Some(Piece::End) => {
                    self.ready.clear();
                    self.source = Source::Over;
                    return Poll::Ready(None);
                }
                Some(Piece::Break) => {
                    self.ready.clear();
                    self.source = Source::Over;
                    return Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())));
                }
                None => {}
            }
            let next = match &mut self.source {
                Source::Upstream(body, _) => Pin::new(body).poll_frame(cx),
                Source::Detached(pieces) => pieces.poll_recv(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes)))),
                Source::Over => return Poll::Ready(None),
            };
            let Poll::Ready(next) = next else {
                let Some(pings) = &mut self.pings else { return Poll::Pending };
                ready!(pings.next.as_mut().poll(cx));
                pings.reset();
                return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(PING)))));
            };
            match next {
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        self.take(bytes);
                    }
                }
                Some(Err(error)) => {
                    self.source = Source::Over;
                    return Poll::Ready(Some(Err(io::Error::other(error))));
                }
                None => {
                    self.source = Source::Over;
                    self.finish();
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.source, Source::Over) && self.ready.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
