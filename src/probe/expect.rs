//! What must be seen: the expectations of a probe file.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use toml::Spanned;

/// What must be seen.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// What the text verdict needs: the `needed` of `probes/rules.toml`.
    #[serde(default)]
    pub needs: BTreeSet<Need>,
    /// How many inference requests the client makes when everything goes right against the scripted provider.
    pub requests: Option<Spanned<u32>>,
    /// What the model's final answer must be.
    pub answer: Option<Spanned<Answer>>,
    /// Where thinking must come back.
    pub thinking: Option<Spanned<Thinking>>,
    /// Tool calls that must be made, succeed, and bring what is stated.
    #[serde(default)]
    pub tool: Vec<Spanned<ToolExpect>>,
    /// The sub-agent that must be launched and finish.
    pub agent: Option<Spanned<String>>,
    /// Whether the session must be compacted and the marker survive it.
    pub compact: Option<Spanned<bool>>,
    /// Whether the token counts must be what the provider counted.
    pub usage: Option<Spanned<bool>>,
    /// Texts that the client's requests must hold, in a body or as `name: value` of a header: what a gateway is to pass on has
    /// to be there first.
    #[serde(default)]
    pub asks: Vec<Spanned<String>>,
    /// The error with which the client's last launch must end.
    pub error: Option<Spanned<ErrorExpect>>,
    /// How often the client must say that it tries again.
    pub retries: Option<Spanned<u32>>,
    /// Whether the provider must be left when the client is.
    pub cancelled: Option<Spanned<bool>>,
    /// How many requests to count tokens there must be, each with a count above zero.
    pub counts: Option<Spanned<u32>>,
    /// Files of the client's configuration that must be there.
    #[serde(default)]
    pub file: Vec<Spanned<FileExpect>>,
}

/// What the text verdict can need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// The marker occurs.
    Marker,
    /// A tool result occurs.
    ToolResult,
    /// A sub-agent was called and gave a result.
    Agent,
    /// A `Task` tool with `run_in_background` false occurs.
    Task,
    /// Compaction is spoken of.
    Compact,
}

/// What the model's final answer must be.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It holds the marker.
    Marker,
    /// It holds this text, to the letter.
    Text(String),
    /// The client's `structured_output` holds the marker.
    Structured,
}

/// An error that the client must end with.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorExpect {
    /// The status that the client reports; none where the connection failed.
    pub status: Option<u16>,
    /// What its last words must hold.
    pub says: String,
}

/// A file of the client's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileExpect {
    /// The path below the configuration folder.
    pub path: String,
    /// Texts that it must hold.
    pub holds: Vec<String>,
}

/// What a request that ccsmoke sends itself must be answered with.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SendExpect {
    /// The status; of several the first is the provider's own.
    pub status: Vec<u16>,
    /// Values of the answer by JSON pointer; a stream is read as the message that it makes up. Placeholders are filled in.
    #[serde(default)]
    pub holds: BTreeMap<String, toml::Value>,
    /// Texts that the answer must hold.
    #[serde(default)]
    pub says: Vec<String>,
    /// A number, by JSON pointer, that must be larger than in the answer before.
    pub rises: Option<String>,
}

/// Where signed thinking must come back in the main conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Thinking {
    /// In front of an answer's text.
    BeforeText,
    /// In front of a tool call.
    BeforeTool,
}

/// A tool call that must be seen.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolExpect {
    /// The tool's name.
    pub name: String,
    /// Text arguments, by name; a path also matches when it is given relative to the workspace.
    #[serde(default)]
    pub input: BTreeMap<String, String>,
    /// Text that the tool's result must hold; placeholders are filled in.
    pub result: String,
    /// Whether a sub-agent makes the call.
    #[serde(default)]
    pub by_agent: bool,
}
