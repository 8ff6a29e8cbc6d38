//! What Chat Completions refuses: shapes, roles, and calls and results that do not belong together.

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;

use super::{arguments, at_least, call_id, name_unknown, object, one_of, text, tools};
use crate::provider::openai::words;
use crate::provider::reading;
use crate::provider::refusal::Refusal;

const ROLES: [&str; 6] = ["system", "assistant", "user", "function", "tool", "developer"];

const PARTS: [&str; 6] = ["text", "image_url", "input_audio", "refusal", "audio", "file"];

const TOOL_KINDS: [&str; 2] = ["function", "custom"];

/// How long the id of a call may be, in characters.
const MAX_CALL_ID: usize = 40;

const KNOWN_FIELDS: [&str; 40] = [
    "audio",
    "chat_template_kwargs",
    "enable_thinking",
    "frequency_penalty",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "metadata",
    "modalities",
    "model",
    "n",
    "parallel_tool_calls",
    "prediction",
    "presence_penalty",
    "prompt_cache_key",
    "prompt_cache_retention",
    "reasoning",
    "reasoning_effort",
    "response_format",
    "safety_identifier",
    "seed",
    "service_tier",
    "stop",
    "store",
    "stream",
    "stream_options",
    "temperature",
    "thinking",
    "tool_choice",
    "tools",
    "top_k",
    "top_logprobs",
    "top_p",
    "user",
    "verbosity",
    "web_search_options",
];

const KNOWN_MESSAGE_KEYS: [&str; 9] =
    ["annotations", "audio", "content", "function_call", "name", "reasoning_content", "refusal", "role", "tool_calls"];

const KNOWN_FUNCTION_KEYS: [&str; 4] = ["description", "name", "parameters", "strict"];

const KNOWN_PART_KEYS: [&str; 7] = ["audio", "file", "image_url", "input_audio", "refusal", "text", "type"];

pub(super) fn check(body: &Value) -> Result<(), Refusal> {
    if body["model"].as_str().is_none_or(str::is_empty) {
        return Err(Refusal::invalid("you must provide a model parameter"));
    }
    let messages = match &body["messages"] {
        Value::Null => return Err(words::missing("messages")),
        Value::Array(messages) if messages.is_empty() => return Err(words::empty_array("messages")),
        Value::Array(messages) => messages,
        other => return Err(words::wrong_type("messages", "an array of objects", other)),
    };
    messages.iter().enumerate().try_for_each(|(i, m)| message(m, i))?;
    offered(body)?;
    at_least(body, "max_tokens", 1)?;
    at_least(body, "max_completion_tokens", 1)?;
    if !body["stream_options"].is_null() && body["stream"] != true {
        let words = "The 'stream_options' parameter is only allowed when 'stream' is enabled.";
        return Err(Refusal::invalid(words).about("stream_options"));
    }
    paired(messages)
}

fn offered(body: &Value) -> Result<(), Refusal> {
    let tools = tools::list(&body["tools"])?;
    for (i, tool) in tools.iter().enumerate() {
        if one_of(tool, "type", &format!("tools[{i}].type"), &TOOL_KINDS)? == "function" {
            let path = format!("tools[{i}].function");
            if tool["function"].is_null() {
                return Err(words::missing(path));
            }
            object(&tool["function"], &path)?;
            tools::function(&tool["function"], &path)?;
        }
    }
    if body["tools"].is_array() && tools.is_empty() {
        return Err(words::empty_array("tools"));
    }
    match ["tool_choice", "parallel_tool_calls"].iter().find(|name| tools.is_empty() && !body[**name].is_null()) {
        Some(name) => Err(words::only_with_tools(name)),
        None => Ok(()),
    }
}

fn message(message: &Value, i: usize) -> Result<(), Refusal> {
    let path = format!("messages[{i}]");
    object(message, &path)?;
    let role = one_of(message, "role", &format!("{path}.role"), &ROLES)?;
    if role == "tool" {
        text(message, "tool_call_id", &format!("{path}.tool_call_id"))?;
    }
    if role == "assistant" {
        calls(&message["tool_calls"], &path)?;
    }
    match &message["content"] {
        Value::String(_) => Ok(()),
        Value::Array(parts) if parts.is_empty() => Err(words::empty_array(format!("{path}.content"))),
        Value::Array(parts) => parts.iter().enumerate().try_for_each(|(j, p)| part(p, role, &path, j)),
        // What else an assistant can have said.
        Value::Null if ["tool_calls", "function_call", "refusal", "audio"].iter().any(|k| !message[k].is_null()) => {
            Ok(())
        }
        Value::Null => Err(Refusal::invalid("Invalid value for 'content': expected a string, got null.")
            .about(format!("messages.[{i}].content"))),
        other => Err(words::wrong_type(format!("{path}.content"), "one of a string or array of objects", other)),
    }
}

fn part(part: &Value, role: &str, message: &str, j: usize) -> Result<(), Refusal> {
    let path = format!("{message}.content[{j}]");
    object(part, &path)?;
    match one_of(part, "type", &format!("{path}.type"), &PARTS)? {
        "text" => text(part, "text", &format!("{path}.text")).map(|_| ()),
        "image_url" if role != "user" => Err(Refusal::invalid(format!(
            "Invalid '{message}'. Image URLs are only allowed for messages with role 'user', but this message with role \
             '{role}' contains an image URL."
        ))
        .about(message)
        .coded("invalid_value")),
        "image_url" if part["image_url"].is_null() => Err(words::missing(format!("{path}.image_url"))),
        "image_url" => {
            object(&part["image_url"], &format!("{path}.image_url"))?;
            text(&part["image_url"], "url", &format!("{path}.image_url.url")).map(|_| ())
        }
        _ => Ok(()),
    }
}

fn calls(calls: &Value, message: &str) -> Result<(), Refusal> {
    let path = format!("{message}.tool_calls");
    let calls = match calls {
        Value::Null => return Ok(()),
        Value::Array(calls) if calls.is_empty() => return Err(words::empty_array(path)),
        Value::Array(calls) => calls,
        other => return Err(words::wrong_type(path, "an array of objects", other)),
    };
    for (j, call) in calls.iter().enumerate() {
        let path = format!("{path}[{j}]");
        object(call, &path)?;
        call_id(call, "id", &format!("{path}.id"), MAX_CALL_ID)?;
        if one_of(call, "type", &format!("{path}.type"), &TOOL_KINDS)? == "function" {
            let (function, path) = (&call["function"], format!("{path}.function"));
            if function.is_null() {
                return Err(words::missing(path));
            }
            object(function, &path)?;
            tools::name(function, &path)?;
            arguments(function, &format!("{path}.arguments"))?;
        }
    }
    Ok(())
}

/// The calls of an assistant message, and which message answers which.
struct Open<'a> {
    calls: Vec<&'a str>,
    answered: HashMap<&'a str, usize>,
}

/// The messages after one with calls are their results, one each, before anybody says anything else.
fn paired(messages: &[Value]) -> Result<(), Refusal> {
    let mut open: Option<Open<'_>> = None;
    for (i, message) in messages.iter().enumerate() {
        if message["role"] == "tool" {
            let id = message["tool_call_id"].as_str().unwrap_or_default();
            let Some(open) = &mut open else {
                let words = "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with \
                             'tool_calls'.";
                return Err(Refusal::invalid(words).about(format!("messages.[{i}].role")));
            };
            open.answer(id, i)?;
        } else {
            open.take().map_or(Ok(()), |open| open.close(&format!("messages.[{i}].role")))?;
            open = Open::of(message, i)?;
        }
    }
    open.map_or(Ok(()), |open| open.close("messages"))
}

impl<'a> Open<'a> {
    fn of(message: &'a Value, i: usize) -> Result<Option<Self>, Refusal> {
        let mut calls = Vec::new();
        for (j, call) in message["tool_calls"].as_array().into_iter().flatten().enumerate() {
            let id = call["id"].as_str().unwrap_or_default();
            if let Some(first) = calls.iter().position(|c| *c == id) {
                // Ours: the position is like the one of results, for which the wording is public.
                return Err(Refusal::invalid(format!(
                    "Invalid parameter: Duplicate value for 'id' of '{id}', in messages[{i}].tool_calls[{first}] and \
                     messages[{i}].tool_calls[{j}]."
                ))
                .about(format!("messages.[{i}].tool_calls.[{j}].id")));
            }
            calls.push(id);
        }
        Ok((!calls.is_empty()).then(|| Self { calls, answered: HashMap::new() }))
    }

    fn answer(&mut self, id: &'a str, i: usize) -> Result<(), Refusal> {
        let about = format!("messages.[{i}].tool_call_id");
        if !self.calls.contains(&id) {
            return Err(Refusal::invalid(format!(
                "Invalid parameter: 'tool_call_id' of '{id}' not found in 'tool_calls' of previous message."
            ))
            .about(about));
        }
        match self.answered.insert(id, i) {
            None => Ok(()),
            Some(first) => Err(Refusal::invalid(format!(
                "Invalid parameter: Duplicate value for 'tool_call_id' of '{id}', in messages[{first}] and messages[{i}]."
            ))
            .about(about)),
        }
    }

    fn close(self, about: &str) -> Result<(), Refusal> {
        let missing: Vec<&str> = self.calls.into_iter().filter(|id| !self.answered.contains_key(id)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(Refusal::invalid(format!(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. The \
             following tool_call_ids did not have response messages: {}",
            missing.join(", ")
        ))
        .about(about))
    }
}

/// What a request holds that is in none of the lists above.
pub(super) fn unknown(body: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    name_unknown(&mut found, body, "field", &KNOWN_FIELDS);
    for tool in reading::tools(body) {
        name_unknown(&mut found, &tool["function"], "tool", &KNOWN_FUNCTION_KEYS);
    }
    for message in reading::messages(body) {
        let own: &[&str] =
            if message["role"] == "tool" { &["content", "name", "role", "tool_call_id"] } else { &KNOWN_MESSAGE_KEYS };
        name_unknown(&mut found, message, "message", own);
        for part in message["content"].as_array().into_iter().flatten() {
            name_unknown(&mut found, part, "part", &KNOWN_PART_KEYS);
        }
    }
    found
}
