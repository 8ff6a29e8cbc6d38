//! The Anthropic Messages answer: the automaton that follows a stream event by event, puts the message together, and
//! names every rule of a well-formed stream that was broken, with the event that broke it.
//!
//! Source: <https://docs.claude.com/en/docs/build-with-claude/streaming>. Pings, comments, unknown events, unknown block
//! and delta types are allowed everywhere: the protocol grows.

use serde::Serialize;
use serde_json::{Map, Value};

/// One SSE event as the automaton reads it.
#[derive(Debug, Clone, Copy)]
pub struct StreamEvent<'a> {
    /// The `event:` name; empty when there was none.
    pub name: &'a str,
    /// The joined `data:` lines.
    pub data: &'a str,
}

/// An answer of the model, streamed or whole.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// The message's id.
    pub id: Option<String>,
    /// The model that says it answered.
    pub model: Option<String>,
    /// The content blocks in order of opening, put together as the API would return them whole.
    pub blocks: Vec<Value>,
    /// Why the model stopped.
    pub stop_reason: Option<String>,
    /// Usage as the answer's start gave it.
    pub start_usage: Option<Value>,
    /// Usage as the answer's end gave it.
    pub end_usage: Option<Value>,
    /// Rules that were broken, in order.
    pub faults: Vec<Fault>,
    /// The error that the stream reported, as `type: message`.
    pub error: Option<String>,
    /// Whether the answer came to its end (`message_stop`, or a whole message).
    pub finished: bool,
}

/// A rule that an answer broke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Which.
    pub kind: FaultKind,
    /// The event, from 0; for a missing event the number of events.
    pub event: usize,
    /// What was seen, in words.
    pub detail: String,
}

/// The families of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// An event's data is not a JSON object, or its type is not its name.
    Malformed,
    /// Events or blocks are missing, doubled, overlapping or in the wrong order.
    OutOfOrder,
    /// A delta does not fit the block it goes to.
    DeltaMisfit,
    /// The stream ended before the message did.
    Cut,
    /// The stream reported an error.
    ErrorEvent,
    /// A tool call's arguments are not a JSON object.
    ToolArguments,
    /// A tool call's id or name is missing or malformed, or an id stands twice.
    ToolId,
    /// A thinking block ended without its signature.
    Unsigned,
    /// The stop reason is missing or contradicts the blocks.
    StopReason,
    /// Token counts are missing.
    Usage,
}

/// Follows a stream to its end.
pub fn read_stream<'a>(events: impl IntoIterator<Item = StreamEvent<'a>>) -> Answer {
    let mut automaton = Automaton::default();
    for event in events {
        automaton.step(event);
    }
    automaton.finish()
}

/// Reads an answer that came whole.
pub fn read_message(message: &Value) -> Answer {
    let mut answer = Answer { finished: true, ..Answer::default() };
    let text = |key: &str| message[key].as_str().map(str::to_owned);
    answer.id = text("id");
    answer.model = text("model");
    answer.stop_reason = text("stop_reason");
    answer.blocks = message["content"].as_array().cloned().unwrap_or_default();
    answer.start_usage = Some(message["usage"].clone()).filter(Value::is_object);
    answer.end_usage.clone_from(&answer.start_usage);
    if message["type"] != "message" || !message["content"].is_array() {
        answer.fault(FaultKind::Malformed, 0, "the body is not a message with content");
    }
    for i in 0..answer.blocks.len() {
        let block = answer.blocks[i].clone();
        answer.check_block(&block, 0);
    }
    answer.check_end(0);
    answer
}

impl Answer {
    fn fault(&mut self, kind: FaultKind, event: usize, detail: impl Into<String>) {
        self.faults.push(Fault { kind, event, detail: detail.into() });
    }

    /// Blocks of that type.
    pub fn blocks_of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.blocks.iter().filter(move |b| b["type"] == kind)
    }

    fn check_block(&mut self, block: &Value, event: usize) {
        match block["type"].as_str() {
            Some("tool_use") => {
                let id = block["id"].as_str().unwrap_or_default();
                let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
                if id.is_empty() || !id.chars().all(plain) {
                    self.fault(FaultKind::ToolId, event, format!("the tool call's id {id:?} is not [a-zA-Z0-9_-]+"));
                }
                if block["name"].as_str().unwrap_or_default().is_empty() {
                    self.fault(FaultKind::ToolId, event, format!("the tool call {id} has no name"));
                }
                if !id.is_empty() && self.blocks_of("tool_use").filter(|b| b["id"] == id).count() > 1 {
                    self.fault(FaultKind::ToolId, event, format!("the id {id} stands on two tool calls"));
                }
                if !block["input"].is_object() {
                    self.fault(FaultKind::ToolArguments, event, format!("the arguments of {id} are not a JSON object"));
                }
            }
            Some("thinking") if block["signature"].as_str().unwrap_or_default().is_empty() => {
                self.fault(FaultKind::Unsigned, event, "the thinking block has no signature");
            }
            Some(_) => {}
            None => self.fault(FaultKind::Malformed, event, "a content block has no type"),
        }
    }

    fn check_end(&mut self, event: usize) {
        let calls = self.blocks_of("tool_use").count();
        match self.stop_reason.as_deref() {
            None => self.fault(FaultKind::StopReason, event, "no stop reason"),
            Some("tool_use") if calls == 0 => {
                self.fault(FaultKind::StopReason, event, "stop reason tool_use without a tool call");
            }
            Some(reason @ ("end_turn" | "stop_sequence")) if calls > 0 => {
                self.fault(FaultKind::StopReason, event, format!("stop reason {reason} after a tool call"));
            }
            Some(_) => {}
        }
        let counted = |usage: &Option<Value>, key: &str| usage.as_ref().is_some_and(|u| u[key].is_u64());
        if !counted(&self.start_usage, "input_tokens") && !counted(&self.end_usage, "input_tokens") {
            self.fault(FaultKind::Usage, event, "no input_tokens anywhere");
        }
        if !counted(&self.end_usage, "output_tokens") {
            self.fault(FaultKind::Usage, event, "no output_tokens at the end");
        }
    }
}

/// A block that is being filled.
struct OpenBlock {
    index: u64,
    value: Map<String, Value>,
    arguments: Option<String>,
}

#[derive(Default)]
struct Automaton {
    answer: Answer,
    events: usize,
    started: bool,
    next_index: u64,
    open: Option<OpenBlock>,
    delta_seen: bool,
}

impl Automaton {
    fn fault(&mut self, kind: FaultKind, detail: impl Into<String>) {
        let event = self.events;
        self.answer.fault(kind, event, detail);
    }

    fn step(&mut self, event: StreamEvent<'_>) {
        match serde_json::from_str::<Value>(event.data) {
            Ok(data) if data.is_object() => self.follow(event.name, &data),
            _ => self.fault(FaultKind::Malformed, format!("data is not a JSON object: {}", shorten(event.data))),
        }
        self.events += 1;
    }

    fn follow(&mut self, name: &str, data: &Value) {
        let kind = data["type"].as_str().unwrap_or_default();
        if kind.is_empty() {
            return self.fault(FaultKind::Malformed, format!("event {name:?} has no type"));
        }
        if name != kind {
            self.fault(FaultKind::Malformed, format!("event {name:?} holds data of type {kind:?}"));
        }
        if kind == "ping" {
            return;
        }
        if kind == "error" {
            let error = &data["error"];
            let words = [&error["type"], &error["message"]].map(|v| v.as_str().unwrap_or_default()).join(": ");
            self.fault(FaultKind::ErrorEvent, words.clone());
            self.answer.error = Some(words);
            return;
        }
        let known =
            ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta"];
        if self.answer.finished {
            return self.fault(FaultKind::OutOfOrder, format!("{kind} after message_stop"));
        }
        if !self.started && kind != "message_start" && (known.contains(&kind) || kind == "message_stop") {
            self.fault(FaultKind::OutOfOrder, format!("{kind} before message_start"));
        }
        match kind {
            "message_start" => self.message_start(&data["message"]),
            "content_block_start" => self.block_start(data),
            "content_block_delta" => self.block_delta(data),
            "content_block_stop" => self.block_stop(data),
            "message_delta" => self.message_delta(data),
            "message_stop" => self.message_stop(),
            _ => {}
        }
    }

    fn message_start(&mut self, message: &Value) {
        if self.started {
            return self.fault(FaultKind::OutOfOrder, "a second message_start");
        }
        self.started = true;
        if !message.is_object() {
            return self.fault(FaultKind::Malformed, "message_start without a message");
        }
        self.answer.id = message["id"].as_str().map(str::to_owned);
        self.answer.model = message["model"].as_str().map(str::to_owned);
        self.answer.start_usage = Some(message["usage"].clone()).filter(Value::is_object);
    }

    fn block_start(&mut self, data: &Value) {
        if let Some(open) = &self.open {
            let detail = format!("a block opens while block {} is open", open.index);
            self.fault(FaultKind::OutOfOrder, detail);
            self.close();
        }
        if self.delta_seen {
            self.fault(FaultKind::OutOfOrder, "a block opens after message_delta");
        }
        let index = data["index"].as_u64();
        if index != Some(self.next_index) {
            let detail = format!("block index {} where {} was due", data["index"], self.next_index);
            self.fault(FaultKind::OutOfOrder, detail);
        }
        let index = index.unwrap_or(self.next_index);
        self.next_index = index.saturating_add(1);
        let Some(value) = data["content_block"].as_object() else {
            return self.fault(FaultKind::Malformed, "content_block_start without a block");
        };
        self.open = Some(OpenBlock { index, value: value.clone(), arguments: None });
    }

    fn block_delta(&mut self, data: &Value) {
        let delta = &data["delta"];
        let kind = delta["type"].as_str().unwrap_or_default().to_owned();
        let Some(open) = self.open.as_mut().filter(|o| data["index"] == o.index) else {
            return self.fault(FaultKind::OutOfOrder, format!("{kind} for block {}, which is not open", data["index"]));
        };
        let block = open.value.get("type").and_then(Value::as_str).unwrap_or_default().to_owned();
        let (fits, key) = match kind.as_str() {
            "text_delta" => (block == "text", "text"),
            "thinking_delta" => (block == "thinking", "thinking"),
            "signature_delta" => (block == "thinking", "signature"),
            "input_json_delta" => (block.ends_with("tool_use"), "partial_json"),
            _ => return,
        };
        let Some(piece) = delta[key].as_str() else {
            return self.fault(FaultKind::Malformed, format!("{kind} without {key}"));
        };
        if !fits {
            return self.fault(FaultKind::DeltaMisfit, format!("{kind} in a {block} block"));
        }
        if kind == "input_json_delta" {
            open.arguments.get_or_insert_default().push_str(piece);
        } else if let Some(Value::String(text)) = open.value.get_mut(key) {
            text.push_str(piece);
        } else {
            open.value.insert(key.to_owned(), Value::String(piece.to_owned()));
        }
    }

    fn block_stop(&mut self, data: &Value) {
        if self.open.as_ref().is_some_and(|o| data["index"] == o.index) {
            self.close();
        } else {
            self.fault(FaultKind::OutOfOrder, format!("block {} ends, but it is not open", data["index"]));
        }
    }

    /// Takes the open block into the message.
    fn close(&mut self) {
        let Some(mut open) = self.open.take() else { return };
        if let Some(text) = open.arguments.filter(|t| !t.is_empty()) {
            match serde_json::from_str::<Value>(&text) {
                Ok(input) => drop(open.value.insert("input".to_owned(), input)),
                Err(_) => drop(open.value.insert("input".to_owned(), Value::String(text))),
            }
        }
        let block = Value::Object(open.value);
        self.answer.blocks.push(block.clone());
        let event = self.events;
        self.answer.check_block(&block, event);
    }

    fn message_delta(&mut self, data: &Value) {
        if let Some(open) = &self.open {
            let detail = format!("message_delta while block {} is open", open.index);
            self.fault(FaultKind::OutOfOrder, detail);
        }
        if self.delta_seen && self.answer.stop_reason.is_some() && data["delta"]["stop_reason"].is_string() {
            self.fault(FaultKind::OutOfOrder, "a second message_delta with a stop reason");
        }
        self.delta_seen = true;
        if let Some(reason) = data["delta"]["stop_reason"].as_str() {
            self.answer.stop_reason = Some(reason.to_owned());
        }
        if data["usage"].is_object() {
            self.answer.end_usage = Some(data["usage"].clone());
        }
    }

    fn message_stop(&mut self) {
        if let Some(open) = &self.open {
            let detail = format!("message_stop while block {} is open", open.index);
            self.fault(FaultKind::OutOfOrder, detail);
            self.close();
        }
        if !self.delta_seen {
            self.fault(FaultKind::OutOfOrder, "message_stop without message_delta");
        }
        self.answer.finished = true;
        let event = self.events;
        self.answer.check_end(event);
    }

    fn finish(mut self) -> Answer {
        if !self.answer.finished && self.answer.error.is_none() {
            let detail = match (&self.open, self.started, self.delta_seen) {
                (_, false, _) => "the stream ended without a message".to_owned(),
                (Some(open), ..) => format!("the stream ended inside block {}", open.index),
                (None, _, false) => "the stream ended without message_delta and message_stop".to_owned(),
                (None, _, true) => "the stream ended without message_stop".to_owned(),
            };
            self.fault(FaultKind::Cut, detail);
        }
        if let Some(open) = self.open.take() {
            self.answer.blocks.push(Value::Object(open.value));
        }
        self.answer
    }
}

fn shorten(text: &str) -> String {
    let cut: String = text.chars().take(60).collect();
    if cut.len() < text.len() { format!("{cut:?}…") } else { format!("{cut:?}") }
}
