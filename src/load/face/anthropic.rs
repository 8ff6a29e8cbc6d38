//! Answers of the Messages API, checked while they come.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Gathered, Reading, Seen, Text, read, read_whole};
use crate::load::metrics::Flaw;

/// Stop reasons of other APIs. A reason that nobody knows yet may be a new one.
const FOREIGN_REASONS: [&str; 6] = ["stop", "length", "tool_calls", "content_filter", "function_call", "STOP"];

/// Follows one stream.
#[derive(Debug, Default)]
pub struct Reader {
    pub(super) gathered: Gathered,
    started: bool,
    /// The block that is open, by its index, with the arguments of a tool call.
    open: Option<(u64, String)>,
    next_index: u64,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

/// Any event. Everything may be missing: what is missing is a flaw and no reason to stop reading.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    index: Option<u64>,
    #[serde(default, borrow)]
    delta: Option<Delta<'a>>,
    message: Option<Start>,
    usage: Option<Usage>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    #[serde(borrow)]
    text: Option<Text<'a>>,
    #[serde(borrow)]
    thinking: Option<Text<'a>>,
    #[serde(borrow)]
    partial_json: Option<Text<'a>>,
    #[serde(borrow)]
    stop_reason: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Start {
    usage: Option<Usage>,
}

#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names of the API")]
struct Usage {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    #[serde(default)]
    cache_read_input_tokens: Option<u64>,
    #[serde(default)]
    cache_creation_input_tokens: Option<u64>,
}

/// A whole message.
#[derive(Deserialize)]
struct Message {
    #[serde(rename = "type")]
    kind: Option<String>,
    content: Option<Vec<Value>>,
    stop_reason: Option<String>,
    usage: Option<Usage>,
    error: Option<Value>,
}

impl Reader {
    fn flaw(&mut self, flaw: Flaw) {
        self.gathered.flaws.add(flaw);
    }

    pub(super) fn event(&mut self, name: Option<&str>, data: &str) -> Seen {
        let event = match read::<Event<'_>>(data) {
            Ok(event) => event,
            // What every client of this protocol skips.
            Err(_) if name.is_none() && data == "[DONE]" => {
                self.gathered.unknown_events += 1;
                return Seen::Frame;
            }
            Err(flaw) => {
                self.flaw(flaw);
                return Seen::Frame;
            }
        };
        let kind = event.kind.as_deref().unwrap_or_default();
        if name == Some("error") || kind == "error" {
            let error = event.error.unwrap_or_default();
            self.gathered.error = Some(error_words(&error));
            return Seen::Frame;
        }
        // Clients go by the name; an event without one is skipped by them.
        if name != Some(kind) {
            self.flaw(Flaw::Shape);
        }
        let known = ["message_start", "content_block_start", "content_block_delta", "content_block_stop"];
        let known = known.contains(&kind) || kind == "message_delta" || kind == "message_stop";
        if known && (self.gathered.ended || self.started == (kind == "message_start")) {
            self.flaw(Flaw::Order);
        }
        match kind {
            "message_start" => {
                self.started = true;
                match event.message {
                    Some(start) => start.usage.iter().for_each(|usage| self.usage(usage)),
                    None => self.flaw(Flaw::Shape),
                }
            }
            "content_block_start" => {
                if self.open.is_some() || event.index != Some(self.next_index) || self.gathered.finish {
                    self.flaw(Flaw::Order);
                }
                let index = event.index.unwrap_or(self.next_index);
                self.next_index = index.saturating_add(1);
                self.open = Some((index, String::new()));
            }
            "content_block_delta" => return self.delta(event.index, event.delta.as_ref()),
            "content_block_stop" => match self.open.take() {
                Some((index, arguments)) if event.index == Some(index) => {
                    if !arguments.is_empty() && serde_json::from_str::<Map<String, Value>>(&arguments).is_err() {
                        self.flaw(Flaw::ToolArguments);
                    }
                }
                _ => self.flaw(Flaw::Order),
            },
            "message_delta" => {
                if self.open.is_some() {
                    self.flaw(Flaw::Order);
                }
                event.usage.iter().for_each(|usage| self.usage(usage));
                let reason = event.delta.and_then(|d| d.stop_reason).map(|reason| reason.to_owned());
                self.reason(reason.as_deref());
            }
            "message_stop" => {
                if !self.gathered.finish {
                    self.flaw(Flaw::Order);
                }
                self.gathered.ended = true;
            }
            "ping" => {}
            _ => self.gathered.unknown_events += 1,
        }
        Seen::Frame
    }

    fn reason(&mut self, reason: Option<&str>) {
        let Some(reason) = reason else { return };
        if self.gathered.finish {
            self.flaw(Flaw::DoubleFinish);
        }
        if FOREIGN_REASONS.contains(&reason) {
            self.flaw(Flaw::FinishReason);
        }
        self.gathered.finish = true;
    }

    fn delta(&mut self, index: Option<u64>, delta: Option<&Delta<'_>>) -> Seen {
        let Some(delta) = delta else {
            self.flaw(Flaw::Shape);
            return Seen::Frame;
        };
        let Some((_, arguments)) = self.open.as_mut().filter(|(open, _)| index == Some(*open)) else {
            self.flaw(Flaw::Order);
            return Seen::Frame;
        };
        match delta.kind.as_deref() {
            Some("text_delta") => match delta.text.as_deref() {
                Some("") => Seen::Frame,
                Some(text) => self.gathered.hear(text),
                None => self.misshapen(),
            },
            Some("thinking_delta") => match delta.thinking.as_deref() {
                Some("") => Seen::Frame,
                Some(text) => self.gathered.note(text.len(), false),
                None => self.misshapen(),
            },
            Some("input_json_delta") => match delta.partial_json.as_deref() {
                Some("") => Seen::Frame,
                Some(text) => {
                    arguments.push_str(text);
                    self.gathered.note(text.len(), true)
                }
                None => self.misshapen(),
            },
            _ => Seen::Frame,
        }
    }

    fn misshapen(&mut self) -> Seen {
        self.flaw(Flaw::Shape);
        Seen::Frame
    }

    fn usage(&mut self, usage: &Usage) {
        let cached = usage.cache_read_input_tokens.unwrap_or(0) + usage.cache_creation_input_tokens.unwrap_or(0);
        // The end of a stream may repeat the input, and a translating gateway may tell it only there.
        if let Some(input) = usage.input_tokens {
            self.input_tokens = Some(input + cached).max(self.input_tokens);
        }
        self.output_tokens = usage.output_tokens.or(self.output_tokens);
    }

    pub(super) fn finish(mut self) -> Reading {
        if self.open.is_some() && self.gathered.ended {
            self.flaw(Flaw::Order);
        }
        self.done(true)
    }

    fn done(mut self, streamed: bool) -> Reading {
        self.gathered.usage = self.input_tokens.zip(self.output_tokens);
        self.gathered.done(streamed)
    }
}

fn error_words(error: &Value) -> String {
    match (error["type"].as_str(), error["message"].as_str()) {
        (None, None) => error.to_string(),
        (kind, message) => [kind, message].map(Option::unwrap_or_default).join(": "),
    }
}

/// Reads an answer that came whole.
pub(super) fn whole(body: &[u8]) -> Reading {
    let mut reader = Reader::default();
    let message = match read_whole::<Message>(body) {
        Ok(message) => message,
        Err(flaw) => {
            reader.flaw(flaw);
            return Reading { flaws: reader.gathered.flaws, ..Reading::default() };
        }
    };
    if let Some(error) = &message.error {
        reader.gathered.error = Some(error_words(error));
    }
    let Some(content) = message.content.filter(|_| message.kind.as_deref() == Some("message")) else {
        reader.flaw(Flaw::Shape);
        return reader.done(false);
    };
    for block in &content {
        match block["type"].as_str() {
            Some("text") => drop(block["text"].as_str().map(|text| reader.gathered.hear(text))),
            Some("thinking") => drop(block["thinking"].as_str().map(|text| reader.gathered.note(text.len(), false))),
            Some("tool_use") => {
                if !block["input"].is_object() {
                    reader.flaw(Flaw::ToolArguments);
                }
                reader.gathered.note(1, true);
            }
            Some(_) => {}
            None => reader.flaw(Flaw::Shape),
        }
    }
    message.usage.iter().for_each(|usage| reader.usage(usage));
    reader.reason(message.stop_reason.as_deref());
    reader.done(false)
}
