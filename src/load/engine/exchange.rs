//! One try of one request: written, timed and read to the end of its answer, every piece checked as it comes.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, RETRY_AFTER};
use hyper::{Request, Response, StatusCode};
use tokio::time::Instant;

use super::connection::Connection;
use crate::load::face::stamp::{Stamp, now};
use crate::load::face::{Reader, Reading, Seen, error_words};
use crate::load::metrics::recorder::Marks;
use crate::load::metrics::{Failure, Flaw, Flaws};
use crate::load::scenario::{Api, Timeouts};
use crate::sse;

/// The largest answer that is read whole, in bytes.
const MAX_WHOLE_BYTES: usize = 16 << 20;

/// The largest event that is read, in bytes: with many streams at once, one must not take all memory.
const MAX_EVENT_BYTES: usize = 4 << 20;

/// What one try came to.
#[derive(Debug, Default)]
pub(super) struct Tried {
    /// Its moments, on the host's monotonic clock.
    pub(super) marks: Marks,
    /// Gaps between pieces of content, in microseconds.
    pub(super) gaps: Vec<u32>,
    /// From the provider's sending of a piece to its arrival, in microseconds.
    pub(super) delays: Vec<u32>,
    /// The status, once it came.
    pub(super) status: Option<u16>,
    /// The body, where it was read whole.
    pub(super) body: Bytes,
    /// The answer, as far as it came.
    pub(super) reading: Reading,
    /// What failed.
    pub(super) failure: Option<(Failure, String)>,
    /// How long the other side asks to wait.
    pub(super) retry_after: Option<Duration>,
    /// The other side had closed the idle connection: no answer to this request.
    pub(super) stale: bool,
}

/// What is asked in one try.
pub(super) struct Asked<'a> {
    pub(super) api: Api,
    pub(super) stream: bool,
    pub(super) timeouts: &'a Timeouts,
    /// Flaws that fail nothing.
    pub(super) ignore: Flaws,
    /// Whether the text of the answer is asked for afterwards.
    pub(super) keep_text: bool,
}

impl Asked<'_> {
    /// Sends a request over a connection and reads its answer.
    pub(super) async fn send(&self, connection: &mut Connection, request: Request<Full<Bytes>>, reused: bool) -> Tried {
        let mut tried = Tried::default();
        let began = Instant::now();
        let whole = began + self.timeouts.whole;
        let first = if self.stream { whole.min(began + self.timeouts.ttft) } else { whole };
        connection.wait_until(first);
        let Some(response) = self.head(connection, request, reused, &mut tried).await else {
            return tried;
        };
        if response.status() == StatusCode::OK {
            self.check_head(&response, &mut tried);
            if self.stream {
                self.read_stream(connection, response.into_body(), whole, &mut tried).await;
            } else {
                self.read_whole(connection, response.into_body(), &mut tried).await;
            }
        } else {
            self.read_refusal(connection, response, &mut tried).await;
        }
        self.judge(&mut tried);
        tried
    }

    /// Sends a request; its answer from the head on, or nothing when it failed before.
    pub(super) async fn head(
        &self,
        connection: &mut Connection,
        request: Request<Full<Bytes>>,
        reused: bool,
        tried: &mut Tried,
    ) -> Option<Response<Incoming>> {
        tried.marks.start = now();
        let whole = Instant::now() + self.timeouts.whole;
        let reads = connection.arrival.reads();
        match connection.send(request).await {
            Some(Ok(response)) => {
                tried.marks.headers = Some(connection.arrival.at());
                tried.status = Some(response.status().as_u16());
                Some(response)
            }
            Some(Err(e)) => {
                tried.stale = reused && (e.is_canceled() || is_closed(&e)) && connection.arrival.reads() <= reads + 1;
                tried.failure = Some((Failure::Cut, format!("no answer came: {}", words(&e))));
                None
            }
            None => {
                tried.failure = Some(self.timed_out(whole, "no status came"));
                None
            }
        }
    }

    /// What is wrong with an answer that came to its end.
    fn judge(&self, tried: &mut Tried) {
        if tried.failure.is_some() {
            return;
        }
        if let Some(error) = &tried.reading.error {
            tried.failure = Some((Failure::StreamError, error.clone()));
            return;
        }
        let wrong = tried.reading.flaws.without(self.ignore);
        if wrong.is_empty() {
            return;
        }
        // A stream without its end is cut, whatever else is missing with the end; a body that never was a stream is wrong.
        let is_stream = self.stream && !tried.reading.flaws.has(Flaw::ContentType);
        if is_stream && wrong.has(Flaw::EndMarker) && wrong.has(Flaw::FinishReason) {
            let words = format!("the stream ended after {} pieces, before its end", tried.marks.pieces);
            tried.failure = Some((Failure::Cut, words));
            return;
        }
        let names: Vec<&str> = wrong.iter().map(Flaw::name).collect();
        tried.failure = Some((Failure::Protocol, names.join(", ")));
    }

    fn check_head(&self, response: &Response<Incoming>, tried: &mut Tried) {
        let expected = if self.stream { "text/event-stream" } else { "application/json" };
        let kind = response.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case(expected) {
            tried.reading.flaws.add(Flaw::ContentType);
        }
    }

    fn timed_out(&self, whole: Instant, seen: &str) -> (Failure, String) {
        let (failure, limit) = if Instant::now() >= whole {
            (Failure::Timeout, self.timeouts.whole)
        } else {
            (Failure::TtftTimeout, self.timeouts.ttft)
        };
        (failure, format!("{seen} within {limit:?}"))
    }

    async fn read_stream(&self, connection: &mut Connection, mut body: Incoming, whole: Instant, tried: &mut Tried) {
        let mut parser = sse::Parser::new(sse::Limits { line: MAX_EVENT_BYTES, event: MAX_EVENT_BYTES });
        let mut reader = Reader::new(self.api);
        if !self.keep_text {
            reader = reader.forgetting_text();
        }
        let mut last_read = None;
        let head_flaws = tried.reading.flaws;
        loop {
            match connection.frame(&mut body).await {
                Ok(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else { continue };
                    let at = connection.arrival.at();
                    let read = connection.arrival.reads();
                    for item in parser.push(&data) {
                        follow(item, at, &mut reader, tried, || last_read.replace(read) != Some(read));
                    }
                    if tried.marks.pieces > 0 {
                        connection.wait_until(whole.min(Instant::now() + self.timeouts.idle));
                    }
                }
                Ok(Some(Err(e))) => {
                    let words = format!("the stream broke off after {} pieces: {}", tried.marks.pieces, words(&e));
                    tried.failure = Some((Failure::Cut, words));
                    break;
                }
                Ok(None) => break,
                Err(()) => {
                    tried.failure = Some(if tried.marks.pieces == 0 {
                        self.timed_out(whole, "no content came")
                    } else if Instant::now() >= whole {
                        (Failure::Timeout, format!("the stream did not end within {:?}", self.timeouts.whole))
                    } else {
                        (Failure::IdleTimeout, format!("the stream was silent for {:?}", self.timeouts.idle))
                    });
                    break;
                }
            }
        }
        for item in parser.finish() {
            if matches!(item, sse::Item::Fault { .. }) {
                reader.fault();
            }
        }
        tried.reading = reader.finish();
        head_flaws.iter().for_each(|flaw| tried.reading.flaws.add(flaw));
    }

    /// Reads a body to its end; `None` when it failed.
    pub(super) async fn read_body(
        &self,
        connection: &mut Connection,
        mut body: Incoming,
        tried: &mut Tried,
    ) -> Option<Bytes> {
        let mut kept = BytesMut::new();
        let mut only = Bytes::new();
        loop {
            match connection.frame(&mut body).await {
                Ok(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else { continue };
                    if kept.is_empty() && only.is_empty() {
                        // Nearly every answer is one piece: it is read where it lies.
                        only = data;
                        continue;
                    }
                    if kept.is_empty() {
                        kept.extend_from_slice(&only);
                    }
                    kept.extend_from_slice(&data);
                    if kept.len() > MAX_WHOLE_BYTES {
                        tried.failure =
                            Some((Failure::Protocol, format!("the answer is larger than {MAX_WHOLE_BYTES} bytes")));
                        return None;
                    }
                }
                Ok(Some(Err(e))) => {
                    tried.failure = Some((Failure::Cut, format!("the answer broke off: {}", words(&e))));
                    return None;
                }
                Ok(None) => return Some(if kept.is_empty() { only } else { kept.freeze() }),
                Err(()) => {
                    let words = format!("the answer did not end within {:?}", self.timeouts.whole);
                    tried.failure = Some((Failure::Timeout, words));
                    return None;
                }
            }
        }
    }

    async fn read_whole(&self, connection: &mut Connection, body: Incoming, tried: &mut Tried) {
        let Some(body) = self.read_body(connection, body, tried).await else { return };
        let reading = self.api.whole(&body);
        tried.body = body;
        let head_flaws = std::mem::replace(&mut tried.reading, reading).flaws;
        head_flaws.iter().for_each(|flaw| tried.reading.flaws.add(flaw));
    }

    pub(super) async fn read_refusal(
        &self,
        connection: &mut Connection,
        response: Response<Incoming>,
        tried: &mut Tried,
    ) {
        let status = response.status().as_u16();
        let after = response.headers().get(RETRY_AFTER).and_then(|v| v.to_str().ok()?.trim().parse::<f64>().ok());
        tried.retry_after = after.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let body = self.read_body(connection, response.into_body(), tried).await.unwrap_or_default();
        let words = format!("status {status}: {}", error_words(&body));
        tried.body = body;
        tried.failure = Some((Failure::of_status(status), words));
    }
}

/// Takes one item of a stream. `is_new_read` says whether its bytes came in another read than the content before it.
fn follow(item: sse::Item, at: u64, reader: &mut Reader, tried: &mut Tried, is_new_read: impl FnOnce() -> bool) {
    let event = match item {
        sse::Item::Event(event) => event,
        sse::Item::Fault { .. } => return reader.fault(),
        sse::Item::Comment { .. } | sse::Item::Retry { .. } => return,
    };
    let marks = &mut tried.marks;
    marks.first_event.get_or_insert(at);
    let Seen::Content { visible, stamp } = reader.event(event.name.as_deref(), &event.data) else { return };
    if let Some(last) = marks.last_content {
        tried.gaps.push(micros(at.saturating_sub(last)));
    }
    marks.first_content.get_or_insert(at);
    marks.last_content = Some(at);
    if visible {
        marks.first_visible.get_or_insert(at);
    }
    marks.pieces += 1;
    marks.content_reads += u32::from(is_new_read());
    if let Some(Stamp { received, sent }) = stamp {
        let took = sent.saturating_sub(received);
        marks.provider = Some((marks.provider.map_or(took, |(first, _)| first), took));
        tried.delays.push(micros(at.saturating_sub(sent)));
    }
}

fn micros(nanos: u64) -> u32 {
    u32::try_from(nanos / 1000).unwrap_or(u32::MAX)
}

/// Whether the other side closed the connection before it answered.
fn is_closed(error: &hyper::Error) -> bool {
    error.is_incomplete_message() || error.is_closed()
}

/// An error with its causes.
fn words(error: &hyper::Error) -> String {
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        words = format!("{words}: {inner}");
        cause = inner.source();
    }
    words
}
