//! A stream of Chat Completions as one of the Messages API, event by event.

use bytes::Bytes;
use serde_json::{Value, json};

use super::super::flow::{Filter, Piece};
use super::answer::{error_type, message_id, signature};
use crate::openai::read_chat;
use crate::sse::{Item, Limits, Parser};

/// The translation of one stream.
pub(super) struct Translation {
    parser: Parser,
    model: Value,
    started: bool,
    open: Option<Open>,
    /// The index of the next block.
    next: u64,
    /// The text of the open thinking block.
    thinking: String,
    called: bool,
    finish: Option<String>,
    usage: Option<Value>,
    over: bool,
}

/// What the open block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Thinking,
    Text,
    /// The call with this index among the calls.
    Call(u64),
}

impl Translation {
    pub(super) fn new(request: &Value) -> Self {
        Self {
            parser: Parser::new(Limits::default()),
            model: request["model"].clone(),
            started: false,
            open: None,
            next: 0,
            thinking: String::new(),
            called: false,
            finish: None,
            usage: None,
            over: false,
        }
    }

    fn chunk(&mut self, chunk: &Value, out: &mut Vec<Piece>) {
        if chunk["error"].is_object() {
            let status = chunk["error"]["code"].as_u64().and_then(|c| u16::try_from(c).ok()).unwrap_or(500);
            let error = json!({"type": error_type(status), "message": chunk["error"]["message"]});
            emit(&json!({"type": "error", "error": error}), out);
            self.over = true;
            return;
        }
        self.start(chunk, out);
        if chunk["usage"].is_object() {
            self.usage = read_chat(chunk).end_usage;
        }
        let choice = &chunk["choices"][0];
        let delta = &choice["delta"];
        let reasoning = delta["reasoning_content"].as_str().or_else(|| delta["reasoning"].as_str());
        if let Some(text) = reasoning.filter(|t| !t.is_empty()) {
            self.open(Open::Thinking, &json!({"type": "thinking", "thinking": "", "signature": ""}), out);
            self.thinking.push_str(text);
            self.delta(&json!({"type": "thinking_delta", "thinking": text}), out);
        }
        if let Some(text) = delta["content"].as_str().filter(|t| !t.is_empty()) {
            self.open(Open::Text, &json!({"type": "text", "text": ""}), out);
            self.delta(&json!({"type": "text_delta", "text": text}), out);
        }
        for call in delta["tool_calls"].as_array().into_iter().flatten() {
            let index = call["index"].as_u64().unwrap_or(0);
            let function = &call["function"];
            let block = json!({"type": "tool_use", "id": call["id"], "name": function["name"], "input": {}});
            self.called = true;
            self.open(Open::Call(index), &block, out);
            if let Some(text) = function["arguments"].as_str().filter(|t| !t.is_empty()) {
                self.delta(&json!({"type": "input_json_delta", "partial_json": text}), out);
            }
        }
        if let Some(finish) = choice["finish_reason"].as_str() {
            self.finish = Some(finish.to_owned());
        }
    }

    fn start(&mut self, chunk: &Value, out: &mut Vec<Piece>) {
        if std::mem::replace(&mut self.started, true) {
            return;
        }
        let model = if chunk["model"].is_string() { &chunk["model"] } else { &self.model };
        let message = json!({
            "id": message_id(chunk["id"].as_str().unwrap_or_default()),
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [],
            "stop_reason": null,
            "stop_sequence": null,
            "usage": {"input_tokens": 0, "output_tokens": 0},
        });
        emit(&json!({"type": "message_start", "message": message}), out);
    }

    /// Opens a block unless it is open already, and closes the one before it.
    fn open(&mut self, what: Open, block: &Value, out: &mut Vec<Piece>) {
        if self.open == Some(what) {
            return;
        }
        self.close(out);
        emit(&json!({"type": "content_block_start", "index": self.next, "content_block": block}), out);
        self.open = Some(what);
    }

    fn close(&mut self, out: &mut Vec<Piece>) {
        if self.open == Some(Open::Thinking) {
            let signature = signature(&std::mem::take(&mut self.thinking));
            self.delta(&json!({"type": "signature_delta", "signature": signature}), out);
        }
        if self.open.take().is_some() {
            emit(&json!({"type": "content_block_stop", "index": self.next}), out);
            self.next += 1;
        }
    }

    fn delta(&self, delta: &Value, out: &mut Vec<Piece>) {
        emit(&json!({"type": "content_block_delta", "index": self.next, "delta": delta}), out);
    }

    /// The provider is done: what it counted stands in its last chunk.
    fn finish(&mut self, out: &mut Vec<Piece>) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        self.close(out);
        let reason = match self.finish.as_deref() {
            _ if self.called => "tool_use",
            Some("length") => "max_tokens",
            Some("content_filter") => "refusal",
            _ => "end_turn",
        };
        let usage = self.usage.take().unwrap_or_else(|| json!({"output_tokens": 0}));
        let delta = json!({"stop_reason": reason, "stop_sequence": null});
        emit(&json!({"type": "message_delta", "delta": delta, "usage": usage}), out);
        emit(&json!({"type": "message_stop"}), out);
    }
}

impl Filter for Translation {
    fn push(&mut self, bytes: Bytes, out: &mut Vec<Piece>) {
        for item in self.parser.push(&bytes) {
            match item {
                Item::Event(_) if self.over => {}
                Item::Event(event) if event.data.trim() == "[DONE]" => self.finish(out),
                Item::Event(event) => {
                    if let Ok(chunk) = serde_json::from_str(&event.data) {
                        self.chunk(&chunk, out);
                    }
                }
                // What keeps the connection alive here keeps it alive there.
                Item::Comment { .. } => emit(&json!({"type": "ping"}), out),
                Item::Retry { .. } | Item::Fault { .. } => {}
            }
        }
    }

    fn end(&mut self, out: &mut Vec<Piece>) {
        if !self.over {
            let error = json!({"type": "api_error", "message": "the provider's stream ended before its answer did"});
            emit(&json!({"type": "error", "error": error}), out);
        }
    }
}

/// Puts an event out, by its own name.
fn emit(event: &Value, out: &mut Vec<Piece>) {
    let name = event["type"].as_str().unwrap_or_default();
    out.push(Piece::Bytes(format!("event: {name}\ndata: {event}\n\n").into()));
}
