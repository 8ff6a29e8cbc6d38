//! Rules about single blocks and tools: nothing empty, few marks for the cache, every tool's name once.

use std::collections::HashSet;

use serde_json::Value;

use super::{Refusal, Request};
use crate::provider::reading;

/// How many cache breakpoints a request may have.
const MAX_CACHE_MARKS: usize = 4;

pub(super) fn check(request: &Request<'_>) -> Result<(), Refusal> {
    nothing_empty(request)?;
    few_cache_marks(request.body)?;
    unique_tools(request.body)
}

fn nothing_empty(request: &Request<'_>) -> Result<(), Refusal> {
    let messages = reading::messages(request.body);
    for (i, message) in messages.iter().enumerate() {
        let content = &message["content"];
        let empty = content.as_str() == Some("") || content.as_array().is_some_and(Vec::is_empty);
        // The last assistant message may be empty, and a system entry may carry its `output_config` alone.
        let may_be = message["role"] == "system" || (message["role"] == "assistant" && i + 1 == messages.len());
        if empty && !may_be {
            return Err(Refusal::invalid(format!(
                "messages.{i}: all messages must have non-empty content except for the optional final assistant message"
            )));
        }
        if let Value::Array(blocks) = content {
            blocks
                .iter()
                .enumerate()
                .try_for_each(|(j, b)| text(b, "messages", &format!("messages.{i}.content.{j}")))?;
        }
    }
    if let Value::Array(blocks) = &request.body["system"] {
        blocks.iter().enumerate().try_for_each(|(j, b)| text(b, "system", &format!("system.{j}")))?;
    }
    Ok(())
}

/// A block of `part` that stands at `path`: a text is not empty.
fn text(block: &Value, part: &str, path: &str) -> Result<(), Refusal> {
    if block["type"] != "text" || block["text"] != "" {
        return Ok(());
    }
    Err(Refusal::invalid(if block["cache_control"].is_null() {
        format!("{part}: text content blocks must be non-empty")
    } else {
        format!("{path}.text: cache_control cannot be set for empty text blocks")
    }))
}

fn few_cache_marks(body: &Value) -> Result<(), Refusal> {
    let marked = |blocks: &Value| blocks.as_array().map_or(0, |b| b.iter().filter(|b| is_marked(b)).count());
    let mut found = usize::from(is_marked(body)) + marked(&body["system"]) + marked(&body["tools"]);
    for content in reading::messages(body).iter().map(|m| &m["content"]) {
        let within = content.as_array().into_iter().flatten().map(|block| marked(&block["content"]));
        found += marked(content) + within.sum::<usize>();
    }
    if found <= MAX_CACHE_MARKS {
        return Ok(());
    }
    Err(Refusal::invalid(format!(
        "A maximum of {MAX_CACHE_MARKS} blocks with cache_control may be provided. Found {found}."
    )))
}

fn is_marked(value: &Value) -> bool {
    value.get("cache_control").is_some_and(|mark| !mark.is_null())
}

fn unique_tools(body: &Value) -> Result<(), Refusal> {
    let mut seen = HashSet::new();
    if reading::tools(body).iter().filter_map(|t| t["name"].as_str()).all(|name| seen.insert(name)) {
        return Ok(());
    }
    Err(Refusal::invalid("tools: Tool names must be unique."))
}
