//! The APIs that requests are written in: how a request is written, and how an answer is read and checked while it comes.
//!
//! These readers look at every byte of an answer in the hot path of a run. They check what a caller relies on; `messages` and
//! `openai` say more, and cost more.

mod anthropic;
pub mod mark;
mod openai;
mod responses;
pub mod stamp;

use std::borrow::Cow;
use std::ops::Deref;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::conversation::Role;
use super::metrics::{Flaw, Flaws, record::Tokens};
use super::scenario::{Api, ToolFile};
use stamp::Stamp;

/// The credential that is shown where a wrong one is asked for.
pub const INVALID_TOKEN: &str = "invalid";

/// The most text of an answer that is kept, in bytes.
const KEPT_TEXT: usize = 1 << 20;

/// A streamed answer that has more text than this and came in one piece was not streamed.
const ONE_PIECE_TEXT: usize = 80;

/// What one request asks.
#[derive(Debug, Clone, Default)]
pub struct Ask<'a> {
    /// The model.
    pub model: &'a str,
    /// The system prompt.
    pub system: Option<&'a str>,
    /// The conversation so far, ending with the user.
    pub messages: Vec<(Role, &'a str)>,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// The temperature.
    pub temperature: Option<f64>,
    /// The most tokens of the answer.
    pub max_tokens: Option<u32>,
    /// Tools on offer.
    pub tools: &'a [ToolFile],
}

/// A request's body. What is absent in one API is left out.
#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<&'a str>,
    messages: Vec<Said<'a>>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Value>,
}

#[derive(Serialize)]
struct Said<'a> {
    role: &'static str,
    content: &'a str,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

/// What an event of a stream brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// No content: a role, a start, a ping, an end.
    Frame,
    /// Content.
    Content {
        /// Whether a person sees it; thinking is not seen.
        visible: bool,
        /// When the provider sent it, where it says so.
        stamp: Option<Stamp>,
    },
}

/// What an answer was, once it is over.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    /// What is wrong with it.
    pub flaws: Flaws,
    /// The error that a stream reported.
    pub error: Option<String>,
    /// The visible text, unless it was not to be kept.
    pub text: String,
    /// Token counts; by pieces where the answer told none.
    pub tokens: Tokens,
    /// Events that the protocol does not know.
    pub unknown_events: u64,
    /// Whether the stream came to its end marker.
    pub ended: bool,
}

/// A string of an answer, which stays where it lies unless something in it is escaped. An optional `Cow` would be copied always.
/// Source: <https://serde.rs/lifetimes.html>
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// Reads JSON; the flaw of what is none, or of another shape.
fn read<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, Flaw> {
    serde_json::from_str(json).map_err(|e| if e.is_data() { Flaw::Shape } else { Flaw::Json })
}

/// Reads a body, which is looked through once for what is no UTF-8, and not string by string.
fn read_whole<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Flaw> {
    read(std::str::from_utf8(body).map_err(|_| Flaw::Json)?)
}

/// Follows one answer.
#[derive(Debug)]
pub enum Reader {
    /// Of Chat Completions.
    Openai(openai::Reader),
    /// Of Messages.
    Anthropic(anthropic::Reader),
    /// Of Responses.
    Responses(responses::Reader),
}

/// What both readers gather.
#[derive(Debug, Default)]
struct Gathered {
    /// Whether nobody will ask for the text.
    forgets_text: bool,
    flaws: Flaws,
    error: Option<String>,
    text: String,
    text_bytes: usize,
    /// Thinking and tool arguments, in bytes.
    other_bytes: usize,
    pieces: u64,
    usage: Option<(u64, u64)>,
    finish: bool,
    unknown_events: u64,
    ended: bool,
}

impl Gathered {
    fn hear(&mut self, text: &str) -> Seen {
        self.pieces += 1;
        self.text_bytes += text.len();
        if !self.forgets_text && self.text.len() + text.len() <= KEPT_TEXT {
            self.text.push_str(text);
        }
        Seen::Content { visible: true, stamp: Stamp::read(text) }
    }

    fn note(&mut self, bytes: usize, visible: bool) -> Seen {
        self.pieces += 1;
        self.other_bytes += bytes;
        Seen::Content { visible, stamp: None }
    }

    /// The checks that both APIs share.
    fn done(mut self, streamed: bool) -> Reading {
        if self.error.is_none() {
            let content = self.text_bytes + self.other_bytes;
            let found = [
                (content == 0, Flaw::Empty),
                (!self.finish, Flaw::FinishReason),
                (self.usage.is_none(), Flaw::UsageMissing),
                (streamed && !self.ended, Flaw::EndMarker),
                (streamed && self.pieces == 1 && content > ONE_PIECE_TEXT, Flaw::OnePiece),
                // What was said cannot have cost nothing.
                (content > 0 && self.usage.is_some_and(|(_, output)| output == 0), Flaw::UsageSum),
            ];
            found.into_iter().filter(|(is, _)| *is).for_each(|(_, flaw)| self.flaws.add(flaw));
        }
        let tokens = match self.usage {
            Some((input, output)) => Tokens { input, output, estimated: false },
            None => Tokens { input: 0, output: self.pieces, estimated: true },
        };
        Reading {
            flaws: self.flaws,
            error: self.error,
            text: self.text,
            tokens,
            unknown_events: self.unknown_events,
            ended: self.ended,
        }
    }
}

impl Reader {
    /// A reader of one streamed answer.
    pub fn new(api: Api) -> Self {
        match api {
            // Nothing is streamed where nothing is known of answers.
            Api::OpenaiChat | Api::Raw => Self::Openai(openai::Reader::default()),
            Api::OpenaiResponses => Self::Responses(responses::Reader::default()),
            Api::AnthropicMessages => Self::Anthropic(anthropic::Reader::default()),
        }
    }

    /// The same reader; the text of the answer is measured and not kept.
    #[must_use]
    pub fn forgetting_text(mut self) -> Self {
        self.gathered().forgets_text = true;
        self
    }

    fn gathered(&mut self) -> &mut Gathered {
        match self {
            Self::Openai(reader) => &mut reader.gathered,
            Self::Anthropic(reader) => &mut reader.gathered,
            Self::Responses(reader) => &mut reader.gathered,
        }
    }

    /// Takes an event.
    pub fn event(&mut self, name: Option<&str>, data: &str) -> Seen {
        match self {
            Self::Openai(reader) => reader.event(data),
            Self::Anthropic(reader) => reader.event(name, data),
            Self::Responses(reader) => reader.event(name, data),
        }
    }

    /// Bytes that are no event.
    pub fn fault(&mut self) {
        self.gathered().flaws.add(Flaw::Framing);
    }

    /// The stream is over.
    pub fn finish(self) -> Reading {
        match self {
            Self::Openai(reader) => reader.finish(),
            Self::Anthropic(reader) => reader.finish(),
            Self::Responses(reader) => reader.finish(),
        }
    }
}

impl Api {
    /// Where requests go, behind the base URL, where nothing else is said.
    pub fn path(self) -> &'static str {
        match self {
            Self::OpenaiResponses => "/v1/responses",
            Self::Raw => "/",
            Self::OpenaiChat => "/v1/chat/completions",
            Self::AnthropicMessages => "/v1/messages",
        }
    }

    /// The header that shows a credential.
    pub fn credential(self, token: &str) -> Vec<(&'static str, String)> {
        let bearer = ("authorization", format!("Bearer {token}"));
        match self {
            Self::OpenaiChat | Self::OpenaiResponses | Self::Raw => vec![bearer],
            // Gateways take either; Anthropic itself takes the key by its own header.
            Self::AnthropicMessages => vec![bearer, ("x-api-key", token.to_owned())],
        }
    }

    /// Headers that each request has.
    pub fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::OpenaiChat | Self::OpenaiResponses | Self::Raw => &[("content-type", "application/json")],
            Self::AnthropicMessages => &[("content-type", "application/json"), ("anthropic-version", "2023-06-01")],
        }
    }

    /// The body of a request.
    pub fn body(self, ask: &Ask<'_>) -> Vec<u8> {
        match self {
            Self::OpenaiResponses => return responses::body(ask),
            Self::Raw => return ask.messages.last().map(|(_, text)| text.as_bytes().to_vec()).unwrap_or_default(),
            Self::OpenaiChat | Self::AnthropicMessages => {}
        }
        let is_openai = self == Self::OpenaiChat;
        let told = ask.system.filter(|_| is_openai).map(|system| Said { role: "system", content: system });
        let messages = ask.messages.iter().map(|(role, content)| said(*role, content));
        let body = Body {
            model: ask.model,
            system: ask.system.filter(|_| !is_openai),
            messages: told.into_iter().chain(messages).collect(),
            stream: ask.stream,
            temperature: ask.temperature,
            max_tokens: if is_openai { ask.max_tokens } else { Some(ask.max_tokens.unwrap_or(1024)) },
            stream_options: (is_openai && ask.stream).then_some(StreamOptions { include_usage: true }),
            tools: ask.tools.iter().map(|tool| self.tool(tool)).collect(),
        };
        serde_json::to_vec(&body).unwrap_or_default()
    }

    fn tool(self, tool: &ToolFile) -> Value {
        let schema: Value = serde_json::from_str(&tool.schema).unwrap_or_default();
        let (name, description) = (&tool.name, &tool.description);
        match self {
            Self::OpenaiChat | Self::OpenaiResponses | Self::Raw => json!({
                "type": "function",
                "function": { "name": name, "description": description, "parameters": schema },
            }),
            Self::AnthropicMessages => json!({ "name": name, "description": description, "input_schema": schema }),
        }
    }

    /// Reads an answer that came whole.
    pub fn whole(self, body: &[u8]) -> Reading {
        match self {
            Self::OpenaiChat => openai::whole(body),
            Self::OpenaiResponses => responses::whole(body),
            Self::Raw => Reading::default(),
            Self::AnthropicMessages => anthropic::whole(body),
        }
    }
}

fn said(role: Role, content: &str) -> Said<'_> {
    let role = match role {
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    Said { role, content }
}

/// The words of an error body, for examples: its `error.message`, or its beginning.
pub fn error_words(body: &[u8]) -> String {
    const LONGEST: usize = 300;
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let words = value["error"]["message"].as_str().or_else(|| value["message"].as_str()).map(str::to_owned);
    let words = words.unwrap_or_else(|| String::from_utf8_lossy(&body[..body.len().min(LONGEST)]).into_owned());
    words.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests;
