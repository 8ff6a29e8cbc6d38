//! What Responses refuses: shapes, roles, ids of the wrong kind, and calls and results that do not belong together.

use std::collections::{BTreeSet, HashSet};

use serde_json::Value;

use super::{arguments, at_least, call_id, name_unknown, object, one_of, text, tools};
use crate::provider::openai::reading::item_kind;
use crate::provider::openai::words;
use crate::provider::reading;
use crate::provider::refusal::Refusal;

const ROLES: [&str; 4] = ["assistant", "system", "developer", "user"];

const PARTS: [&str; 9] = [
    "input_text",
    "input_image",
    "input_audio",
    "output_text",
    "refusal",
    "input_file",
    "computer_screenshot",
    "summary_text",
    "encrypted_content",
];

const ASSISTANT_PARTS: [&str; 2] = ["output_text", "refusal"];

/// How long the id of a call may be, in characters.
const MAX_CALL_ID: usize = 64;

/// The least that an answer may be limited to, in tokens.
const MIN_OUTPUT_TOKENS: i64 = 16;

const KNOWN_FIELDS: [&str; 30] = [
    "background",
    "context_management",
    "conversation",
    "include",
    "input",
    "instructions",
    "max_output_tokens",
    "max_tool_calls",
    "metadata",
    "model",
    "parallel_tool_calls",
    "previous_response_id",
    "prompt",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning",
    "safety_identifier",
    "service_tier",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "text",
    "tool_choice",
    "tools",
    "top_logprobs",
    "top_p",
    "truncation",
    "user",
    "verbosity",
];

const KNOWN_TOOL_KEYS: [&str; 5] = ["description", "name", "parameters", "strict", "type"];

pub(super) fn check(body: &Value) -> Result<(), Refusal> {
    if text(body, "model", "model")?.is_empty() {
        return Err(words::empty_string("model"));
    }
    if let Some(id) = body["previous_response_id"].as_str() {
        // Nothing is stored: an answer follows from its request alone.
        return Err(Refusal::invalid(format!("Previous response with id '{id}' not found."))
            .about("previous_response_id")
            .coded("previous_response_not_found"));
    }
    match &body["input"] {
        Value::Null => return Err(words::missing("input")),
        Value::String(_) => {}
        Value::Array(items) if items.is_empty() => return Err(words::empty_array("input")),
        Value::Array(items) => {
            items.iter().enumerate().try_for_each(|(i, item)| check_item(item, &format!("input[{i}]")))?;
            paired(items)?;
        }
        other => return Err(words::wrong_type("input", "one of a string or array of objects", other)),
    }
    for (i, tool) in tools::list(&body["tools"])?.iter().enumerate() {
        // Tools of other types are the provider's own and bring everything with them.
        if text(tool, "type", &format!("tools[{i}].type"))? == "function" {
            tools::function(tool, &format!("tools[{i}]"))?;
        }
    }
    at_least(body, "max_output_tokens", MIN_OUTPUT_TOKENS)
}

fn check_item(item: &Value, path: &str) -> Result<(), Refusal> {
    object(item, path)?;
    match item_kind(item) {
        "message" => {
            own_id(item, path, "msg")?;
            message(item, path)
        }
        "function_call" => {
            own_id(item, path, "fc")?;
            call_id(item, "call_id", &format!("{path}.call_id"), MAX_CALL_ID)?;
            tools::name(item, path)?;
            arguments(item, &format!("{path}.arguments"))
        }
        "function_call_output" => {
            own_id(item, path, "fc")?;
            call_id(item, "call_id", &format!("{path}.call_id"), MAX_CALL_ID)?;
            match &item["output"] {
                Value::Null => Err(words::missing(format!("{path}.output"))),
                Value::String(_) => Ok(()),
                Value::Array(parts) => check_parts(parts, &format!("{path}.output"), &PARTS),
                other => Err(words::wrong_type(format!("{path}.output"), "one of a string or array of objects", other)),
            }
        }
        "reasoning" => own_id(item, path, "rs"),
        _ => Ok(()),
    }
}

/// The id that an item may have begins like those of its kind.
fn own_id(item: &Value, path: &str, prefix: &str) -> Result<(), Refusal> {
    match item["id"].as_str() {
        Some(id) if !id.starts_with(prefix) => Err(words::wrong_id(format!("{path}.id"), id, prefix)),
        _ => Ok(()),
    }
}

fn message(message: &Value, path: &str) -> Result<(), Refusal> {
    let role = one_of(message, "role", &format!("{path}.role"), &ROLES)?;
    let content = format!("{path}.content");
    let parts = match &message["content"] {
        Value::String(_) => return Ok(()),
        Value::Array(parts) => parts,
        Value::Null => return Err(words::missing(content)),
        other => return Err(words::wrong_type(content, "one of a string or array of objects", other)),
    };
    check_parts(parts, &content, &PARTS)?;
    let foreign = |part: &Value| !ASSISTANT_PARTS.contains(&part["type"].as_str().unwrap_or_default());
    match parts.iter().position(foreign).filter(|_| role == "assistant") {
        Some(j) => {
            let kind = parts[j]["type"].as_str().unwrap_or_default();
            Err(words::unsupported(format!("{content}[{j}]"), kind, &ASSISTANT_PARTS))
        }
        None => Ok(()),
    }
}

fn check_parts(parts: &[Value], path: &str, supported: &[&str]) -> Result<(), Refusal> {
    for (j, part) in parts.iter().enumerate() {
        let path = format!("{path}[{j}]");
        object(part, &path)?;
        let kind = one_of(part, "type", &format!("{path}.type"), supported)?;
        if matches!(kind, "input_text" | "output_text") {
            text(part, "text", &format!("{path}.text"))?;
        }
    }
    Ok(())
}

/// Every call has its result and every result its call, wherever they stand.
fn paired(items: &[Value]) -> Result<(), Refusal> {
    let of_kind = |kind: &'static str| items.iter().filter(move |item| item_kind(item) == kind);
    let ids = |kind: &'static str| of_kind(kind).filter_map(|item| item["call_id"].as_str());
    let known = |kind: &'static str| ids(kind).collect::<HashSet<_>>();
    let (calls, results) = (known("function_call"), known("function_call_output"));
    let wrong = |message: String| Err(Refusal::invalid(message).about("input"));
    for kind in ["function_call", "function_call_output"] {
        let mut seen = HashSet::new();
        if let Some(id) = ids(kind).find(|id| !seen.insert(*id)) {
            return wrong(format!(
                "Duplicate item found with id {id}. Remove duplicate items from your input and try again."
            ));
        }
    }
    if let Some(id) = ids("function_call_output").find(|id| !calls.contains(id)) {
        return wrong(format!("No tool call found for function call output with call_id {id}."));
    }
    if let Some(id) = ids("function_call").find(|id| !results.contains(id)) {
        return wrong(format!("No tool output found for function call {id}."));
    }
    Ok(())
}

/// The keys of an item that are known, by its type; `None` for a type that is not known.
fn known_keys(kind: &str) -> Option<&'static [&'static str]> {
    Some(match kind {
        "message" => &["content", "id", "phase", "role", "status", "type"],
        "function_call" => &["arguments", "call_id", "id", "name", "namespace", "status", "type"],
        "function_call_output" => &["call_id", "id", "output", "status", "type"],
        "reasoning" => &["content", "encrypted_content", "id", "status", "summary", "type"],
        _ => return None,
    })
}

/// What a request holds that is in none of the lists above.
pub(super) fn unknown(body: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    name_unknown(&mut found, body, "field", &KNOWN_FIELDS);
    for tool in reading::tools(body).iter().filter(|t| t["type"] == "function") {
        name_unknown(&mut found, tool, "tool", &KNOWN_TOOL_KEYS);
    }
    for item in body["input"].as_array().into_iter().flatten() {
        let kind = item_kind(item);
        match known_keys(kind) {
            Some(known) => name_unknown(&mut found, item, kind, known),
            None => {
                found.insert(format!("item:{kind}"));
            }
        }
    }
    found
}
