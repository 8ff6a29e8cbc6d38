//! The Anthropic Messages answer: the automaton that follows a stream event by event, puts the message together, and
//! names every rule of a well-formed stream that was broken, with the event that broke it, and whether Claude Code copes.
//!
//! Source: <https://docs.claude.com/en/docs/build-with-claude/streaming>. Pings, comments, unknown events, unknown block
//! and delta types are allowed everywhere: the protocol grows.

use serde::Serialize;
use serde_json::{Map, Value};

/// One SSE event as the automaton reads it.
#[derive(Debug, Clone, Copy)]
pub struct StreamEvent<'a> {
    /// The `event:` name; empty when there was none, so that clients skip the event.
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
    /// The stop sequence that was met.
    pub stop_sequence: Option<String>,
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
    /// Whether only the contract is broken: Claude Code was measured to cope with it. Other clients need not.
    pub tolerated: bool,
}

/// The families of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// An event of the message is not what its name says, or does not hold what it has to.
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

/// Stop reasons of other APIs, which gateways forget to translate. A reason that nobody knows yet may be a new one.
const FOREIGN_REASONS: [&str; 8] =
    ["content_filter", "function_call", "length", "stop", "tool_calls", "MAX_TOKENS", "SAFETY", "STOP"];

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
    answer.stop_sequence = text("stop_sequence");
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
        self.faults.push(Fault { kind, event, detail: detail.into(), tolerated: kind == FaultKind::Usage });
    }

    /// A fault that this client copes with.
    fn tolerable(&mut self, kind: FaultKind, event: usize, detail: impl Into<String>) {
        self.faults.push(Fault { kind, event, detail: detail.into(), tolerated: true });
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
            Some(reason) if FOREIGN_REASONS.contains(&reason) => {
                self.fault(FaultKind::StopReason, event, format!("stop reason {reason} is not one of this API"));
            }
            Some("tool_use") if calls == 0 => {
                self.fault(FaultKind::StopReason, event, "stop reason tool_use without a tool call");
            }
            Some(reason @ ("end_turn" | "stop_sequence")) if calls > 0 => {
                self.tolerable(FaultKind::StopReason, event, format!("stop reason {reason} after a tool call"));
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

/// A block that is being filled. It already has its place in the message.
struct OpenBlock {
    index: u64,
    place: usize,
    /// What the block held from the start of what deltas have to bring, by key: clients ignore it.
    early: Map<String, Value>,
    arguments: Option<String>,
}

#[derive(Default)]
struct Automaton {
    answer: Answer,
    events: usize,
    started: bool,
    next_index: u64,
    /// In order of opening. A well-formed stream never has more than one.
    open: Vec<OpenBlock>,
    delta_seen: bool,
    /// The last `message_delta` that brought a stop reason and no usage.
    bare_reason: Option<usize>,
}

/// The events that carry the answer. All others may hold anything: the protocol grows.
pub const CARRIERS: [&str; 6] = [
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
];

/// What deltas bring, by the key under which the whole block has it.
const STREAMED_KEYS: [&str; 4] = ["text", "thinking", "signature", "input"];

impl Automaton {
    fn fault(&mut self, kind: FaultKind, detail: impl Into<String>) {
        let event = self.events;
        self.answer.fault(kind, event, detail);
    }

    fn tolerable(&mut self, kind: FaultKind, detail: impl Into<String>) {
        let event = self.events;
        self.answer.tolerable(kind, event, detail);
    }

    fn step(&mut self, event: StreamEvent<'_>) {
        let data = serde_json::from_str::<Value>(event.data).unwrap_or_default();
        let kind = data["type"].as_str().unwrap_or_default();
        if event.name == "error" || kind == "error" {
            self.error(&data, event.data);
        } else if CARRIERS.contains(&event.name) && !data.is_object() {
            let detail = format!("the data of {} is not a JSON object: {}", event.name, shorten(event.data));
            self.fault(FaultKind::Malformed, detail);
        } else if CARRIERS.contains(&event.name) || CARRIERS.contains(&kind) {
            self.carrier(event.name, kind, &data);
        }
        self.events += 1;
    }

    fn carrier(&mut self, name: &str, kind: &str, data: &Value) {
        if name.is_empty() {
            return self.fault(FaultKind::Malformed, format!("{kind} without an `event:` line: clients skip it"));
        }
        if name != kind {
            self.fault(FaultKind::Malformed, format!("event {name:?} holds data of type {kind:?}"));
        }
        self.follow(kind, data);
    }

    fn error(&mut self, data: &Value, text: &str) {
        let error = &data["error"];
        let words = match (error["type"].as_str(), error["message"].as_str()) {
            (None, None) => shorten(text),
            (kind, message) => [kind, message].map(Option::unwrap_or_default).join(": "),
        };
        self.fault(FaultKind::ErrorEvent, words.clone());
        self.answer.error = Some(words);
    }

    fn follow(&mut self, kind: &str, data: &Value) {
        if self.answer.finished {
            return self.fault(FaultKind::OutOfOrder, format!("{kind} after message_stop"));
        }
        if !self.started && kind != "message_start" {
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
        if let Some(open) = self.open.last() {
            let detail = format!("a block opens while block {} is open", open.index);
            self.tolerable(FaultKind::OutOfOrder, detail);
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
        self.next_index = self.next_index.max(index.saturating_add(1));
        self.close(index);
        let Some(mut block) = data["content_block"].as_object().cloned() else {
            return self.fault(FaultKind::Malformed, "content_block_start without a block");
        };
        let early = take_early(&mut block);
        self.open.push(OpenBlock { index, place: self.answer.blocks.len(), early, arguments: None });
        self.answer.blocks.push(Value::Object(block));
    }

    fn block_delta(&mut self, data: &Value) {
        let delta = &data["delta"];
        let kind = delta["type"].as_str().unwrap_or_default();
        let Some(open) = self.open.iter_mut().rfind(|o| data["index"] == o.index) else {
            return self.fault(FaultKind::OutOfOrder, format!("{kind} for block {}, which is not open", data["index"]));
        };
        let block = &mut self.answer.blocks[open.place];
        let of = block["type"].as_str().unwrap_or_default();
        let (fits, key) = match kind {
            "text_delta" => (of == "text", "text"),
            "thinking_delta" => (of == "thinking", "thinking"),
            "signature_delta" => (of == "thinking", "signature"),
            "input_json_delta" => (of.ends_with("tool_use"), "partial_json"),
            _ => return,
        };
        let Some(piece) = delta[key].as_str() else {
            return self.fault(FaultKind::Malformed, format!("{kind} without {key}"));
        };
        if !fits {
            let detail = format!("{kind} in a {of} block");
            return self.fault(FaultKind::DeltaMisfit, detail);
        }
        if kind == "input_json_delta" {
            open.arguments.get_or_insert_default().push_str(piece);
            open.early.remove("input");
            return;
        }
        open.early.remove(key);
        match &mut block[key] {
            Value::String(text) => text.push_str(piece),
            other => *other = piece.into(),
        }
    }

    fn block_stop(&mut self, data: &Value) {
        if !data["index"].as_u64().is_some_and(|index| self.close(index)) {
            self.fault(FaultKind::OutOfOrder, format!("block {} ends, but it is not open", data["index"]));
        }
    }

    /// Ends the block with that index, if it is open.
    fn close(&mut self, index: u64) -> bool {
        let Some(at) = self.open.iter().rposition(|o| o.index == index) else { return false };
        let open = self.open.remove(at);
        if let Some(text) = open.arguments.filter(|t| !t.is_empty()) {
            let input = serde_json::from_str(&text).unwrap_or(Value::String(text));
            self.answer.blocks[open.place]["input"] = input;
        }
        for key in open.early.keys() {
            let kind = if key == "input" { FaultKind::ToolArguments } else { FaultKind::Malformed };
            self.fault(kind, format!("block {index} brings its {key} in content_block_start, where clients ignore it"));
        }
        let block = self.answer.blocks[open.place].clone();
        let event = self.events;
        self.answer.check_block(&block, event);
        true
    }

    fn message_delta(&mut self, data: &Value) {
        if let Some(open) = self.open.last() {
            let detail = format!("message_delta while block {} is open", open.index);
            self.tolerable(FaultKind::OutOfOrder, detail);
        }
        self.delta_seen = true;
        if let Some(sequence) = data["delta"]["stop_sequence"].as_str() {
            self.answer.stop_sequence = Some(sequence.to_owned());
        }
        if let Some(reason) = data["delta"]["stop_reason"].as_str() {
            if let Some(before) = self.answer.stop_reason.as_deref().filter(|before| *before != reason) {
                let detail = format!("stop reason {reason} after stop reason {before}");
                self.fault(FaultKind::StopReason, detail);
            }
            self.answer.stop_reason = Some(reason.to_owned());
        }
        let has_reason = data["delta"]["stop_reason"].is_string();
        if let Some(usage) = data["usage"].as_object() {
            if let Some(first) = self.bare_reason.take_if(|_| !has_reason) {
                let detail = format!(
                    "usage without stop_reason, which came without usage in event {first}: clients want both in one message_delta"
                );
                self.fault(FaultKind::OutOfOrder, detail);
            }
            self.count(usage);
        } else {
            self.bare_reason = has_reason.then_some(self.events);
            self.fault(FaultKind::Usage, "message_delta without usage");
        }
    }

    /// Usage is cumulative: a later event repeats, corrects or completes what an earlier one said.
    fn count(&mut self, usage: &Map<String, Value>) {
        let mut sum = self.answer.end_usage.take().and_then(|u| u.as_object().cloned()).unwrap_or_default();
        let count = |usage: &Map<String, Value>| usage.get("output_tokens").and_then(Value::as_u64);
        if let Some((before, now)) = count(&sum).zip(count(usage)).filter(|(before, now)| now < before) {
            self.fault(FaultKind::Usage, format!("output_tokens went down from {before} to {now}"));
        }
        sum.extend(usage.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), v.clone())));
        self.answer.end_usage = Some(Value::Object(sum));
    }

    fn message_stop(&mut self) {
        if let Some(open) = self.open.last() {
            let detail = format!("message_stop while block {} is open", open.index);
            self.tolerable(FaultKind::OutOfOrder, detail);
        }
        while let Some(index) = self.open.first().map(|o| o.index) {
            self.close(index);
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
            let detail = match (self.open.last(), self.started, self.delta_seen) {
                (_, false, _) => "the stream ended without a message".to_owned(),
                (Some(open), ..) => format!("the stream ended inside block {}", open.index),
                (None, _, false) => "the stream ended without message_delta and message_stop".to_owned(),
                (None, _, true) => "the stream ended without message_stop".to_owned(),
            };
            self.fault(FaultKind::Cut, detail);
        }
        self.answer
    }
}

/// Takes out of a block that opens what only deltas may bring, and leaves it empty, as clients do.
fn take_early(block: &mut Map<String, Value>) -> Map<String, Value> {
    let is_streamed = block
        .get("type")
        .and_then(Value::as_str)
        .is_some_and(|t| matches!(t, "text" | "thinking") || t.ends_with("tool_use"));
    let mut early = Map::new();
    for key in STREAMED_KEYS.into_iter().filter(|_| is_streamed) {
        let empty = if key == "input" { Value::Object(Map::new()) } else { Value::from("") };
        if let Some(value) = block.get_mut(key).filter(|v| !v.is_null() && **v != empty && **v != "") {
            early.insert(key.to_owned(), std::mem::replace(value, empty));
        }
    }
    early
}

fn shorten(text: &str) -> String {
    let cut: String = text.chars().take(60).collect();
    if cut.len() < text.len() { format!("{cut:?}…") } else { format!("{cut:?}") }
}

#[cfg(test)]
mod tests;
