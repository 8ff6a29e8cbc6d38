//! What the scripted provider answers: the turns of a probe file, what they say, and how their bytes go over the wire.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::{one, yes};

/// One answer of the scripted provider.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    /// A name for messages.
    pub name: Spanned<String>,
    /// When the turn fits; every stated condition must hold.
    #[serde(default)]
    pub when: When,
    /// How often the turn is played in one cell; from then on the next turn that fits is. Without it, always.
    pub times: Option<u32>,
    /// The content blocks, in order.
    #[serde(default)]
    pub blocks: Vec<Block>,
    /// The stop reason; by default `tool_use` when a tool is called and `end_turn` otherwise.
    pub stop_reason: Option<String>,
    /// The stop sequence that is reported.
    pub stop_sequence: Option<String>,
    /// The token counts that are reported.
    #[serde(default)]
    pub usage: TurnUsage,
    /// Milliseconds of pause in front of every event after the first.
    #[serde(default)]
    pub pause_ms: u64,
    /// An error that is answered instead of the blocks.
    pub error: Option<TurnError>,
    /// How the answer goes over the wire.
    #[serde(default)]
    pub wire: Wire,
}

impl Turn {
    /// How long the script keeps the client waiting, in milliseconds.
    pub fn waits_ms(&self) -> u64 {
        let pieces = |block: &Block| match block {
            Block::Thinking(block) => block.pieces.len(),
            Block::Text(pieces) => pieces.len(),
            Block::ToolUse(block) => usize::try_from(block.fragments).unwrap_or(usize::MAX),
            Block::RedactedThinking(_) | Block::Verbatim(_) => 1,
        };
        let events = u64::try_from(self.blocks.iter().map(pieces).sum::<usize>()).unwrap_or(u64::MAX);
        let silence = self.wire.silence.as_ref().map_or(0, |silence| silence.ms);
        self.wire.head_ms.saturating_add(silence).saturating_add(self.pause_ms.saturating_mul(events))
    }

    /// Whether the turn is a failure of the provider, made on purpose: the client then asks again, or gives up.
    pub fn is_trouble(&self) -> bool {
        self.error.is_some() || self.wire.breaks_off()
    }
}

/// When a turn fits: facts of the conversation alone, never the order of arrival.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// A tool of that name is offered.
    pub offers: Option<String>,
    /// No tool of that name is offered.
    pub lacks: Option<String>,
    /// The conversation holds exactly so many tool results.
    pub tool_results: Option<u32>,
    /// The last text of a user message holds this.
    pub user_says: Option<String>,
    /// The answer is to be streamed, or not.
    pub stream: Option<bool>,
}

/// A content block of a scripted answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Block {
    /// Thinking, sent only where the request enables it.
    Thinking(ThinkingBlock),
    /// Thinking that only the provider can read, sent only where the request enables thinking and by Anthropic Messages; the
    /// text makes it this one.
    RedactedThinking(String),
    /// Text, one delta a piece.
    Text(Vec<String>),
    /// A tool call.
    ToolUse(ToolUseBlock),
    /// A block of Anthropic Messages as JSON text; other APIs leave it out.
    Verbatim(String),
}

/// Scripted thinking.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThinkingBlock {
    /// The text, one delta a piece.
    pub pieces: Vec<String>,
    /// Whether a signature follows; without one the block is what the real API never sends.
    #[serde(default = "yes")]
    pub signed: bool,
}

/// A scripted tool call.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolUseBlock {
    /// The tool's name.
    pub name: String,
    /// The arguments; texts have their placeholders filled in.
    pub input: BTreeMap<String, toml::Value>,
    /// In how many fragments the arguments' JSON text is sent.
    #[serde(default = "one")]
    pub fragments: u32,
}

/// Token counts that a scripted answer reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TurnUsage {
    /// Input tokens outside the cache.
    pub input_tokens: u64,
    /// Input tokens written to the cache.
    pub cache_creation_input_tokens: u64,
    /// Input tokens read from the cache.
    pub cache_read_input_tokens: u64,
    /// Output tokens, as the final cumulative count.
    pub output_tokens: u64,
    /// What the provider's own tools were used for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_tool_use: Option<ServerToolUse>,
}

/// How often the provider's own tools were used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerToolUse {
    /// Web searches.
    pub web_search_requests: u64,
}

impl Default for TurnUsage {
    fn default() -> Self {
        Self {
            input_tokens: 321,
            cache_creation_input_tokens: 0,
            cache_read_input_tokens: 0,
            output_tokens: 42,
            server_tool_use: None,
        }
    }
}

/// A scripted refusal.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TurnError {
    /// The HTTP status.
    pub status: u16,
    /// The error's type, e.g. `overloaded_error`.
    pub kind: String,
    /// The message.
    pub message: String,
    /// Further response headers, e.g. `retry-after`.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
}

/// How an answer goes over the wire. The default is one write an event, without a pause, to the end.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wire {
    /// Milliseconds without a byte before the response head.
    #[serde(default)]
    pub head_ms: u64,
    /// A silence within the stream.
    pub silence: Option<Silence>,
    /// Where writes are split, so that the halves arrive apart.
    pub split: Option<Split>,
    /// The stream breaks off.
    pub cut: Option<Cut>,
    /// The stream ends with an error event.
    pub error: Option<StreamError>,
    /// The body of an error is compressed.
    #[serde(default)]
    pub gzip: bool,
}

impl Wire {
    /// Whether the stream does not come to its end.
    pub fn breaks_off(&self) -> bool {
        self.cut.is_some() || self.error.is_some()
    }
}

/// A silence within a stream.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Silence {
    /// Where.
    pub at: Point,
    /// For how many milliseconds.
    pub ms: u64,
    /// A ping is sent that often, in milliseconds; without it there is none.
    pub ping_every_ms: Option<u64>,
}

/// Where writes are split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// Behind the first byte of a character that has several.
    Character,
    /// In the middle of every event.
    Event,
}

/// The end of a stream before its time.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cut {
    /// Where.
    pub at: Point,
    /// How.
    pub how: CutKind,
}

/// How a stream is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CutKind {
    /// The body ends by its framing, as if it were complete.
    End,
    /// The connection is closed within the body.
    Break,
}

/// An error event within a stream.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamError {
    /// Where; nothing follows it.
    pub at: Point,
    /// The error's type.
    pub kind: String,
    /// The message.
    pub message: String,
}

/// A place in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Point {
    /// Behind the first event.
    Start,
    /// Behind the first piece of text.
    InText,
    /// Behind the last text.
    AfterText,
    /// Behind the first fragment of a tool call's arguments.
    InTool,
    /// Behind the last tool call.
    AfterTool,
}
