//! What a gateway may do without being wrong: differences that no client of the protocol notices.

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::Version;
use hyper::header::{CONNECTION, CONTENT_ENCODING, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::Change;
use super::apply::is_stream;
use super::events::{Events, Frame};
use super::whole;
use crate::reference::{Behind, Filter, Head, HeadWaits, Inbound, Piece, Whole};

/// A difference that is no defect.
#[derive(Debug, Clone, Copy)]
pub struct Variation {
    /// Its name.
    pub id: &'static str,
    /// What is different, in one line.
    pub title: &'static str,
    /// What answers behind the gateway.
    pub behind: Behind,
    /// What the gateway does.
    pub changes: &'static [Change],
    /// What its profile has to declare.
    pub rewrites: &'static [&'static str],
}

/// What a translation to Chat Completions cannot keep.
const TRANSLATION: &[&str] = &[
    "metadata",
    "query",
    "system_message",
    "thinking_signature",
    "usage_start",
    "pings",
    "count_tokens",
    "error_message",
];

/// All variations. The first two are none: the gateway as it is.
pub static VARIATIONS: &[Variation] = &[
    of("clean", "nothing: what comes is passed on", &[]),
    Variation {
        behind: Behind::Openai,
        rewrites: TRANSLATION,
        ..of("clean-translation", "nothing but the translation", &[])
    },
    of("extra-pings", "a ping before every event", &[Change::Events(|| Box::new(Before(|| vec![ping()])))]),
    of("comments", "a comment before every event", &[Change::Events(|| Box::new(Before(|| vec![comment()])))]),
    of("byte-by-byte", "streams leave one byte at a time", &[Change::Bytes(byte_by_byte)]),
    of(
        "large-writes",
        "pieces that are there together leave in one write of up to 64 KiB",
        &[Change::Bytes(large_writes)],
    ),
    of("crlf", "lines of streams end in CR LF", &[Change::Text(crlf)]),
    of("cr", "lines of streams end in CR", &[Change::Text(cr)]),
    of("data-without-space", "no space behind `data:` and `event:`", &[Change::Text(without_space)]),
    of("multi-line-data", "data in two lines", &[Change::Text(two_data_lines)]),
    of("event-ids", "ids and a reconnection time in streams", &[Change::Text(with_id)]),
    of("header-case", "names of headers in title case", &[Change::TitleCase]),
    of(
        "header-order",
        "headers in another order",
        &[Change::Headers(reversed), Change::Head(|_, head| reversed(&mut head.headers))],
    ),
    of(
        "extra-headers",
        "further headers on both sides",
        &[Change::Headers(request_headers), Change::Head(answer_headers)],
    ),
    of(
        "unknown-fields",
        "fields of the gateway's own in every event",
        &[Change::Edit(unknown_field), Change::Whole(whole::message, unknown_in_whole)],
    ),
    of(
        "unknown-events",
        "events of the gateway's own",
        &[Change::Events(|| Box::new(Before(|| vec![unknown_event()])))],
    ),
    of("gzip", "compressed answers, flushed event by event", &[Change::Bytes(gzip), Change::Head(gzip_head)]),
    of("http-1.0", "HTTP/1.0 towards the client", &[Change::Head(http_10)]),
    of(
        "http-1.0-upstream",
        "HTTP/1.0 towards the provider",
        &[Change::Request(|request| request.head.version = Version::HTTP_10)],
    ),
    of("connection-close", "every connection ends with its answer", &[Change::Head(close)]),
    Variation {
        rewrites: &["model"],
        ..of(
            "renamed-model",
            "another name of the model towards the provider",
            &[Change::Body(renamed), Change::Edit(other_model), Change::Whole(whole::message, other_model_in_whole)],
        )
    },
    of(
        "message-ids",
        "message ids of the gateway's own",
        &[Change::Edit(other_id), Change::Whole(whole::message, other_id_in_whole)],
    ),
    of(
        "late-head",
        "the head of every answer comes half a second later",
        &[Change::Wait(HeadWaits::For(Duration::from_millis(500)))],
    ),
    of("slow", "every piece comes 20 ms later than it could", &[Change::Bytes(slow)]),
];

/// The variation of this name.
pub fn variation(id: &str) -> Option<&'static Variation> {
    VARIATIONS.iter().find(|v| v.id == id)
}

const fn of(id: &'static str, title: &'static str, changes: &'static [Change]) -> Variation {
    Variation { id, title, behind: Behind::Anthropic, changes, rewrites: &[] }
}

/// Puts something in front of every event but the first.
struct Before(fn() -> Vec<Piece>);

impl Events for Before {
    fn event(&mut self, frame: Frame, out: &mut Vec<Piece>) {
        if !frame.event.is_null() && frame.kind() != "message_start" {
            out.extend((self.0)());
        }
        out.push(frame.piece());
    }
}

fn ping() -> Piece {
    Frame::new(json!({"type": "ping"})).piece()
}

fn comment() -> Piece {
    Piece::Bytes(Bytes::from_static(b": keep-alive\n\n"))
}

fn unknown_event() -> Piece {
    Frame::new(json!({"type": "gateway_status", "queue": 0})).piece()
}

// The text of events.

fn crlf(raw: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(raw).replace('\n', "\r\n").into_bytes()
}

fn cr(raw: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(raw).replace('\n', "\r").into_bytes()
}

fn without_space(raw: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(raw);
    text.split_inclusive('\n')
        .map(|l| l.replacen("data: ", "data:", 1).replacen("event: ", "event:", 1))
        .collect::<String>()
        .into()
}

/// White space between two fields of JSON can be the end of a line.
fn two_data_lines(raw: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(raw).replacen("data: {", "data: {\ndata: ", 1).into()
}

fn with_id(raw: &[u8]) -> Vec<u8> {
    if raw.starts_with(b"event:") { [b"id: 7\nretry: 3000\n", raw].concat() } else { raw.to_vec() }
}

// Headers.

fn reversed(headers: &mut HeaderMap) {
    let mut all: Vec<_> = std::mem::take(headers).into_iter().collect();
    let mut name = None;
    // Further values of a name come without it.
    for (own, _) in &mut all {
        match own {
            Some(_) => name.clone_from(own),
            None => own.clone_from(&name),
        }
    }
    headers.extend(all.into_iter().rev().filter_map(|(name, value)| Some((name?, value))).fold(
        HeaderMap::new(),
        |mut map, (name, value)| {
            map.append(name, value);
            map
        },
    ));
}

fn request_headers(headers: &mut HeaderMap) {
    headers.insert(HeaderName::from_static("x-forwarded-for"), HeaderValue::from_static("127.0.0.1"));
    headers.insert(HeaderName::from_static("via"), HeaderValue::from_static("1.1 gateway"));
}

fn answer_headers(_: &Inbound, head: &mut Head) {
    head.headers.insert(HeaderName::from_static("x-gateway-request"), HeaderValue::from_static("42"));
    head.headers.insert(HeaderName::from_static("server"), HeaderValue::from_static("gateway"));
    head.headers.insert(HeaderName::from_static("via"), HeaderValue::from_static("1.1 gateway"));
}

fn close(_: &Inbound, head: &mut Head) {
    head.headers.insert(CONNECTION, HeaderValue::from_static("close"));
}

fn http_10(request: &Inbound, head: &mut Head) {
    head.version = Version::HTTP_10;
    close(request, head);
}

// Bodies.

fn byte_by_byte(request: &Inbound, head: &Head) -> Option<Box<dyn Filter>> {
    is_stream(request, head).then(|| Box::new(Bytewise) as Box<dyn Filter>)
}

struct Bytewise;

impl Filter for Bytewise {
    fn push(&mut self, bytes: Bytes, out: &mut Vec<Piece>) {
        out.extend((0..bytes.len()).map(|n| Piece::Bytes(bytes.slice(n..=n))));
    }
}

fn large_writes(request: &Inbound, head: &Head) -> Option<Box<dyn Filter>> {
    is_stream(request, head).then(|| Box::new(LargeWrites(Vec::new())) as Box<dyn Filter>)
}

/// What comes within one arrival leaves within one piece, whatever the events in it.
struct LargeWrites(Vec<u8>);

impl Filter for LargeWrites {
    fn push(&mut self, bytes: Bytes, out: &mut Vec<Piece>) {
        // An event that is not whole yet would wait for its rest anyway.
        self.0.extend_from_slice(&bytes);
        if self.0.ends_with(b"\n\n") || self.0.len() >= 1 << 16 {
            out.push(Piece::Bytes(std::mem::take(&mut self.0).into()));
        }
    }

    fn end(&mut self, out: &mut Vec<Piece>) {
        out.push(Piece::Bytes(std::mem::take(&mut self.0).into()));
    }
}

fn slow(request: &Inbound, head: &Head) -> Option<Box<dyn Filter>> {
    is_stream(request, head).then(|| Box::new(Slow) as Box<dyn Filter>)
}

struct Slow;

impl Filter for Slow {
    fn push(&mut self, bytes: Bytes, out: &mut Vec<Piece>) {
        out.push(Piece::Pause(Duration::from_millis(20)));
        out.push(Piece::Bytes(bytes));
    }
}

fn takes_gzip(request: &Inbound, head: &Head) -> bool {
    request.header("accept-encoding").contains("gzip") && !head.headers.contains_key(CONTENT_ENCODING)
}

fn gzip_head(request: &Inbound, head: &mut Head) {
    if takes_gzip(request, head) {
        head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
}

fn gzip(request: &Inbound, head: &Head) -> Option<Box<dyn Filter>> {
    let encoder = || GzEncoder::new(Vec::new(), Compression::fast());
    takes_gzip(request, head).then(|| Box::new(Gzip(Some(encoder()))) as Box<dyn Filter>)
}

struct Gzip(Option<GzEncoder<Vec<u8>>>);

impl Filter for Gzip {
    fn push(&mut self, bytes: Bytes, out: &mut Vec<Piece>) {
        let Some(encoder) = &mut self.0 else { return };
        // Writing to memory does not fail.
        let _ = encoder.write_all(&bytes).and_then(|()| encoder.flush());
        out.push(Piece::Bytes(std::mem::take(encoder.get_mut()).into()));
    }

    fn end(&mut self, out: &mut Vec<Piece>) {
        let rest = self.0.take().and_then(|encoder| encoder.finish().ok());
        out.push(Piece::Bytes(rest.unwrap_or_default().into()));
    }
}

// Fields.

fn unknown_field(event: &mut Value) {
    event["gateway"] = json!({"latency_ms": 3});
    if let Some(usage) = event.get_mut("usage").and_then(Value::as_object_mut) {
        usage.insert("gateway_cost".to_owned(), json!(0.1));
    }
}

fn unknown_in_whole(_: &Inbound, answer: &mut Whole) {
    whole::edit_message(answer, unknown_field);
}

fn renamed(body: &mut Value, _: u64) {
    if let Some(model) = body["model"].as_str() {
        body["model"] = format!("backend-{model}").into();
    }
}

fn other_model(event: &mut Value) {
    if let Some(model) = event["message"]["model"].as_str() {
        event["message"]["model"] = model.replacen("backend-", "", 1).into();
    }
}

fn other_model_in_whole(_: &Inbound, answer: &mut Whole) {
    whole::edit_message(answer, |body| {
        if let Some(model) = body["model"].as_str() {
            body["model"] = model.replacen("backend-", "", 1).into();
        }
    });
}

fn other_id(event: &mut Value) {
    if let Some(id) = event["message"]["id"].as_str() {
        event["message"]["id"] = format!("msg_gw{}", id.trim_start_matches("msg_")).into();
    }
}

fn other_id_in_whole(_: &Inbound, answer: &mut Whole) {
    whole::edit_message(answer, |body| {
        if let Some(id) = body["id"].as_str() {
            body["id"] = format!("msg_gw{}", id.trim_start_matches("msg_")).into();
        }
    });
}
