//! What a gateway does to heads, bytes and single events of an answer.

use bytes::{Bytes, BytesMut};
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderValue};
use serde_json::Value;

use super::apply::is_stream;
use crate::reference::{Filter, Head, Inbound, Piece};

// Heads.

pub(super) fn label_gzip(request: &Inbound, head: &mut Head) {
    if request.is_inference() && head.status == 200 {
        head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
}

/// The length of the body as it was when it was compressed.
pub(super) fn stale_length(request: &Inbound, head: &mut Head) {
    if request.is_inference() && head.status == 200 {
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from_static("311"));
    }
}

pub(super) fn drop_retry_headers(_: &Inbound, head: &mut Head) {
    head.headers.remove("retry-after");
    head.headers.remove("x-should-retry");
}

// Bodies.

/// Everything is held back until the end.
pub(super) fn buffered(request: &Inbound, head: &Head) -> Option<Box<dyn Filter>> {
    is_stream(request, head).then(|| Box::new(Steps::of(usize::MAX)) as Box<dyn Filter>)
}

/// Bytes leave in steps of 8 KiB.
pub(super) fn buffered_8k(request: &Inbound, head: &Head) -> Option<Box<dyn Filter>> {
    is_stream(request, head).then(|| Box::new(Steps::of(8192)) as Box<dyn Filter>)
}

/// Bytes leave in steps of 1 KiB.
pub(super) fn buffered_1k(request: &Inbound, head: &Head) -> Option<Box<dyn Filter>> {
    is_stream(request, head).then(|| Box::new(Steps::of(1024)) as Box<dyn Filter>)
}

struct Steps {
    held: BytesMut,
    step: usize,
}

impl Steps {
    fn of(step: usize) -> Self {
        Self { held: BytesMut::new(), step }
    }
}

impl Filter for Steps {
    fn push(&mut self, bytes: Bytes, out: &mut Vec<Piece>) {
        self.held.extend_from_slice(&bytes);
        while self.held.len() >= self.step {
            out.push(Piece::Bytes(self.held.split_to(self.step).freeze()));
        }
    }

    fn end(&mut self, out: &mut Vec<Piece>) {
        out.push(Piece::Bytes(std::mem::take(&mut self.held).freeze()));
    }
}

// Single events.

/// Every first character of more than one byte was cut by the end of a network chunk.
pub(super) fn tear_characters(event: &mut Value) {
    let Some(delta) = event.get_mut("delta") else { return };
    for key in ["text", "thinking", "partial_json"] {
        if let Some(text) = delta[key].as_str().filter(|t| !t.is_ascii()) {
            let at = text.find(|c: char| !c.is_ascii()).unwrap_or(0);
            let (head, tail) = text.split_at(at);
            let rest: String = tail.chars().skip(1).collect();
            delta[key] = format!("{head}\u{FFFD}\u{FFFD}{rest}").into();
        }
    }
}

pub(super) fn is_ping(event: &Value) -> bool {
    event["type"] == "ping" || event.is_null()
}

pub(super) fn is_signature(event: &Value) -> bool {
    event["delta"]["type"] == "signature_delta"
}

pub(super) fn is_arguments(event: &Value) -> bool {
    event["delta"]["type"] == "input_json_delta"
}

pub(super) fn is_message_stop(event: &Value) -> bool {
    event["type"] == "message_stop"
}

pub(super) fn is_message_delta(event: &Value) -> bool {
    event["type"] == "message_delta"
}

pub(super) fn is_message_start(event: &Value) -> bool {
    event["type"] == "message_start"
}

pub(super) fn is_block_start(event: &Value) -> bool {
    event["type"] == "content_block_start"
}

/// Only `data` lines are passed on.
pub(super) fn without_event_lines(raw: &[u8]) -> Vec<u8> {
    raw.split_inclusive(|b| *b == b'\n').filter(|line| !line.starts_with(b"event:")).flatten().copied().collect()
}

/// Events run together, without the empty line between them.
pub(super) fn without_empty_lines(raw: &[u8]) -> Vec<u8> {
    raw.strip_suffix(b"\n").unwrap_or(raw).to_vec()
}

/// Data that have been put into JSON a second time.
pub(super) fn data_as_string(raw: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(raw);
    let Some((head, data)) = text.split_once("data: ") else { return raw.to_vec() };
    format!("{head}data: {}\n\n", Value::from(data.trim_end())).into_bytes()
}

pub(super) fn without_index(event: &mut Value) {
    if matches!(event["type"].as_str(), Some("content_block_delta" | "content_block_stop")) {
        remove(event, "index");
    }
}

pub(super) fn thinking_as_text(event: &mut Value) {
    if event["delta"]["type"] == "thinking_delta" {
        let text = event["delta"]["thinking"].take();
        remove(&mut event["delta"], "thinking");
        event["delta"]["text"] = text;
    }
}

pub(super) fn other_signature(event: &mut Value) {
    if is_signature(event) {
        event["delta"]["signature"] = "cGxhY2Vob2xkZXI=".into();
    }
}

pub(super) fn without_usage_at_end(event: &mut Value) {
    if is_message_delta(event) {
        remove(event, "usage");
    }
}

pub(super) fn null_usage_at_end(event: &mut Value) {
    if is_message_delta(event) {
        event["usage"] = Value::Null;
    }
}

pub(super) fn zero_usage(event: &mut Value) {
    for usage in usages(event) {
        for count in usage.values_mut().filter(|v| v.is_u64()) {
            *count = 0.into();
        }
    }
}

pub(super) fn double_output(event: &mut Value) {
    for usage in usages(event) {
        if let Some(count) = usage.get_mut("output_tokens") {
            *count = (count.as_u64().unwrap_or(0) * 2).into();
        }
    }
}

pub(super) fn without_cache_counts(event: &mut Value) {
    for usage in usages(event) {
        usage.retain(|name, _| !name.starts_with("cache_"));
    }
}

/// Of the input only what was not in the cache is told of.
pub(super) fn cached_subtracted(event: &mut Value) {
    for usage in usages(event) {
        usage.retain(|name, _| !name.starts_with("cache_"));
        if let Some(count) = usage.get_mut("input_tokens") {
            *count = 100.into();
        }
    }
}

/// The input is a constant, and nothing corrects it.
pub(super) fn constant_input(event: &mut Value) {
    let at_end = is_message_delta(event);
    for usage in usages(event) {
        if at_end {
            usage.remove("input_tokens");
        } else {
            usage.insert("input_tokens".to_owned(), 100.into());
        }
    }
}

pub(super) fn without_server_usage(event: &mut Value) {
    for usage in usages(event) {
        usage.remove("server_tool_use");
    }
}

/// The counts of an event, or of a whole message.
fn usages(event: &mut Value) -> impl Iterator<Item = &mut serde_json::Map<String, Value>> {
    let inner = if event["message"].is_object() { &mut event["message"] } else { event };
    inner.get_mut("usage").and_then(Value::as_object_mut).into_iter()
}

/// Replaces the reason why an answer ended.
fn stop_reason(event: &mut Value, from: &str, to: Value) {
    if event["delta"]["stop_reason"] == from {
        event["delta"]["stop_reason"] = to;
        event["delta"]["stop_sequence"] = Value::Null;
    }
}

pub(super) fn length_lost(event: &mut Value) {
    stop_reason(event, "max_tokens", "end_turn".into());
}

pub(super) fn tool_use_ends_turn(event: &mut Value) {
    stop_reason(event, "tool_use", "end_turn".into());
}

pub(super) fn stop_sequence_lost(event: &mut Value) {
    stop_reason(event, "stop_sequence", "end_turn".into());
}

pub(super) fn refusal_lost(event: &mut Value) {
    stop_reason(event, "refusal", "end_turn".into());
}

pub(super) fn null_stop_reason(event: &mut Value) {
    if is_message_delta(event) {
        event["delta"]["stop_reason"] = Value::Null;
    }
}

pub(super) fn openai_stop_reason(event: &mut Value) {
    stop_reason(event, "tool_use", "tool_calls".into());
    stop_reason(event, "end_turn", "stop".into());
}

pub(super) fn lower_case_tools(event: &mut Value) {
    tool_names(event, str::to_lowercase);
}

pub(super) fn prefixed_tools(event: &mut Value) {
    tool_names(event, |name| format!("functions.{name}"));
}

fn tool_names(event: &mut Value, edit: impl Fn(&str) -> String) {
    let Some(block) = event.get_mut("content_block") else { return };
    if block["type"] == "tool_use"
        && let Some(name) = block["name"].as_str()
    {
        block["name"] = edit(name).into();
    }
}

pub(super) fn one_tool_id(event: &mut Value) {
    if event["content_block"]["type"] == "tool_use" {
        event["content_block"]["id"] = "toolu_00000000000000000000000".into();
    }
}

pub(super) fn empty_tool_id(event: &mut Value) {
    if event["content_block"]["type"] == "tool_use" {
        event["content_block"]["id"] = "".into();
    }
}

pub(super) fn cut_text(event: &mut Value) {
    if let Some(text) = event["delta"]["text"].as_str() {
        event["delta"]["text"] = text.trim_end().into();
    }
}

fn remove(value: &mut Value, key: &str) {
    if let Some(fields) = value.as_object_mut() {
        fields.remove(key);
    }
}
