//! What Claude Code can do and a gateway can break: the closed list by which probes say what they exercise, and faults what
//! they break.

use serde::{Deserialize, Serialize};

/// One capability of Claude Code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Capability {
    /// A plain answer.
    Text,
    /// An answer that arrives piece by piece.
    Streaming,
    /// Characters of more than one byte.
    Unicode,
    /// Thinking with its signature.
    Thinking,
    /// Thinking between tool calls.
    InterleavedThinking,
    /// A tool call and its result.
    ToolUse,
    /// Several tool calls in one answer.
    ParallelTools,
    /// Tools whose definitions are loaded on demand.
    ToolSearch,
    /// Tools of MCP servers.
    Mcp,
    /// The server's web search.
    WebSearch,
    /// An agent launched by the main conversation.
    Subagent,
    /// Images.
    Vision,
    /// PDF documents.
    Pdf,
    /// Answers that follow a JSON schema.
    StructuredOutput,
    /// Compaction of a conversation.
    Compact,
    /// Conversations near the model's window.
    LongContext,
    /// The prompt cache.
    Caching,
    /// Token counts of answers.
    UsageAccounting,
    /// Counting tokens before asking.
    CountTokens,
    /// Refusals, retries and what the client does about them.
    Errors,
    /// Credentials and who may ask.
    Auth,
    /// The list of models.
    ModelDiscovery,
}

impl Capability {
    /// Its name, as files and reports have it.
    pub fn name(&self) -> String {
        // A unit variant is a string to serde.
        serde_json::to_value(self).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
    }
}
