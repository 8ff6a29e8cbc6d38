//! Fields and the betas that they come with: a field without its beta is an extra input. And the list of what we know at
//! all, so that what is new is named and not refused.

use std::collections::BTreeSet;

use serde_json::Value;

use super::fields::custom;
use super::{Refusal, Request};
use crate::exchange::Header;
use crate::provider::reading;

/// Betas any of which allows the field; names without their date.
type AnyOf = &'static [&'static str];

const CONTEXT_MANAGEMENT: AnyOf = &["context-management"];
const EFFORT: AnyOf = &["effort"];
const STRUCTURED_OUTPUTS: AnyOf = &["structured-outputs"];
/// The client sends deferred tools with `mid-conversation-tool-changes` alone (2.1.329, measured).
const DEFER_LOADING: AnyOf = &["tool-search", "tool-search-tool", "advanced-tool-use", "mid-conversation-tool-changes"];
const INPUT_EXAMPLES: AnyOf = &["tool-examples", "advanced-tool-use"];
/// `role: "system"` inside `messages`. For a model that it does not know the client sends it with
/// `mid-conversation-tool-changes` alone (2.1.329, measured).
pub(super) const SYSTEM_ROLE: AnyOf = &["mid-conversation-system", "per-turn-control", "mid-conversation-tool-changes"];
const MESSAGE_OUTPUT_CONFIG: AnyOf = &["mid-conversation-system", "per-turn-control"];

/// Betas that need no field or belong to one above.
const KNOWN_BETAS: AnyOf = &[
    "claude-code",
    "code-execution",
    "context-1m",
    "extended-cache-ttl",
    "fallback-credit",
    "files-api",
    "fine-grained-tool-streaming",
    "interleaved-thinking",
    "mcp-client",
    "oauth",
    "prompt-caching",
    "prompt-caching-scope",
    "thinking-display-updates",
    "thinking-token-count",
    "token-counting",
    "web-fetch",
];

const KNOWN_FIELDS: AnyOf = &[
    "cache_control",
    "container",
    "context_management",
    "max_tokens",
    "mcp_servers",
    "messages",
    "metadata",
    "model",
    "output_config",
    "service_tier",
    "stop_sequences",
    "stream",
    "system",
    "temperature",
    "thinking",
    "tool_choice",
    "tools",
    "top_k",
    "top_p",
];

const KNOWN_MESSAGE_KEYS: AnyOf = &["content", "output_config", "role"];

const KNOWN_TOOL_KEYS: AnyOf = &[
    "cache_control",
    "defer_loading",
    "description",
    "eager_input_streaming",
    "input_examples",
    "input_schema",
    "name",
    "strict",
    "type",
];

const KNOWN_BLOCKS: AnyOf = &[
    "container_upload",
    "document",
    "image",
    "redacted_thinking",
    "search_result",
    "server_tool_use",
    "text",
    "thinking",
    "tool_reference",
    "tool_result",
    "tool_use",
    "web_fetch_tool_result",
    "web_search_tool_result",
];

/// The values of `anthropic-beta`, over all its header fields.
pub(super) struct Betas<'a>(Vec<&'a str>);

impl<'a> Betas<'a> {
    pub(super) fn of(headers: &'a [Header]) -> Self {
        let values = headers.iter().filter(|h| h.name.eq_ignore_ascii_case("anthropic-beta"));
        Self(values.flat_map(|h| h.value.split(',')).map(str::trim).filter(|b| !b.is_empty()).collect())
    }

    /// Whether one of these betas is asked for, whatever its date.
    pub(super) fn any(&self, names: AnyOf) -> bool {
        self.0.iter().any(|beta| names.contains(&undated(beta)))
    }
}

/// A beta's name without its date, `-2025-06-27` or `-20250219`.
fn undated(beta: &str) -> &str {
    let date = |pattern: &str| {
        let start = beta.len().checked_sub(pattern.len())?;
        let tail = beta.as_bytes().get(start..)?;
        let fits = tail.iter().zip(pattern.bytes()).all(|(b, p)| if p == b'0' { b.is_ascii_digit() } else { *b == p });
        if fits { beta.get(..start) } else { None }
    };
    date("-0000-00-00").or_else(|| date("-00000000")).unwrap_or(beta)
}

/// Refuses the first field whose beta is not asked for.
pub(super) fn check(request: &Request<'_>) -> Result<(), Refusal> {
    let (body, betas) = (request.body, &request.betas);
    let allowed = |path: &str, value: &Value, names: AnyOf| {
        if value.is_null() || betas.any(names) {
            return Ok(());
        }
        Err(Refusal::invalid(format!("{path}: Extra inputs are not permitted")))
    };
    allowed("context_management", &body["context_management"], CONTEXT_MANAGEMENT)?;
    let output = &body["output_config"];
    if !betas.any(EFFORT) && !betas.any(STRUCTURED_OUTPUTS) && paired(output) {
        allowed("output_config", output, &[])?;
    }
    allowed("output_config.effort", &output["effort"], EFFORT)?;
    allowed("output_config.format", &output["format"], STRUCTURED_OUTPUTS)?;
    for (i, tool) in reading::tools(body).iter().enumerate() {
        let kind = if custom(tool) { "custom" } else { tool["type"].as_str().unwrap_or("custom") };
        allowed(&format!("tools.{i}.{kind}.defer_loading"), &tool["defer_loading"], DEFER_LOADING)?;
        allowed(&format!("tools.{i}.{kind}.input_examples"), &tool["input_examples"], INPUT_EXAMPLES)?;
    }
    for (i, message) in reading::messages(body).iter().enumerate() {
        allowed(&format!("messages.{i}.output_config"), &message["output_config"], MESSAGE_OUTPUT_CONFIG)?;
    }
    Ok(())
}

/// Whether an `output_config` holds a field that comes with a beta.
fn paired(output: &Value) -> bool {
    ["effort", "format"].iter().any(|name| !output[name].is_null())
}

/// What the request holds that is in none of the lists above.
pub(super) fn unknown(request: &Request<'_>) -> Vec<String> {
    let mut found = BTreeSet::new();
    let paired = [CONTEXT_MANAGEMENT, EFFORT, STRUCTURED_OUTPUTS, DEFER_LOADING, INPUT_EXAMPLES, SYSTEM_ROLE];
    for beta in &request.betas.0 {
        let name = undated(beta);
        if !KNOWN_BETAS.contains(&name) && !paired.iter().any(|names| names.contains(&name)) {
            found.insert(format!("beta:{beta}"));
        }
    }
    let mut keys = |of: &Value, what: &str, known: AnyOf| {
        let keys = of.as_object().into_iter().flat_map(serde_json::Map::keys);
        found.extend(keys.filter(|k| !known.contains(&k.as_str())).map(|k| format!("{what}:{k}")));
    };
    keys(request.body, "field", KNOWN_FIELDS);
    for message in reading::messages(request.body) {
        keys(message, "message", KNOWN_MESSAGE_KEYS);
    }
    // The fields of a tool with a type of its own are that type's business.
    for tool in reading::tools(request.body).iter().filter(|t| custom(t)) {
        keys(tool, "tool", KNOWN_TOOL_KEYS);
    }
    for message in reading::messages(request.body) {
        for block in reading::blocks(0, &message["content"]) {
            let within = block.value.get("content").into_iter().flat_map(|c| reading::blocks(0, c));
            let nested = within.filter(|_| block.kind == "tool_result");
            let kinds = std::iter::once(block).chain(nested).map(|b| b.kind);
            found.extend(kinds.filter(|k| !KNOWN_BLOCKS.contains(k)).map(|k| format!("block:{k}")));
        }
    }
    found.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beta_is_known_by_its_name_without_either_form_of_date() {
        assert_eq!(undated("context-management-2025-06-27"), "context-management");
        assert_eq!(undated("claude-code-20250219"), "claude-code");
        assert_eq!(undated("context-1m-2025-08-07"), "context-1m");
        assert_eq!(undated("effort"), "effort");
        assert_eq!(undated("-2025-11-24"), "");
        assert_eq!(undated("é"), "é");
    }
}
