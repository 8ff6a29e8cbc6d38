//! What a gateway does to the body of a request.

use serde_json::{Value, json};

/// The blocks of every message of a role.
fn each_block(body: &mut Value, role: &str, mut edit: impl FnMut(&mut Value)) {
    for message in list(body, "messages").iter_mut().filter(|m| m["role"] == role) {
        list(message, "content").iter_mut().for_each(&mut edit);
    }
}

/// Takes blocks out of every message of a role, and messages that then say nothing.
fn lose_blocks(body: &mut Value, role: &str, lost: impl Fn(&Value) -> bool) {
    let Some(messages) = body.get_mut("messages").and_then(Value::as_array_mut) else { return };
    messages.retain_mut(|message| {
        if message["role"] != role {
            return true;
        }
        let Some(blocks) = message.get_mut("content").and_then(Value::as_array_mut) else { return true };
        let before = blocks.len();
        blocks.retain(|b| !lost(b));
        before == 0 || !blocks.is_empty()
    });
}

/// The items of a field; none where there is no such list.
pub(super) fn list<'a>(value: &'a mut Value, key: &str) -> &'a mut [Value] {
    value.get_mut(key).and_then(Value::as_array_mut).map(Vec::as_mut_slice).unwrap_or_default()
}

pub(super) fn take(value: &mut Value, key: &str) -> Option<Value> {
    value.as_object_mut().and_then(|o| o.remove(key))
}

pub(super) fn take_inner(value: &mut Value, outer: &str, key: &str) -> Option<Value> {
    take(value.get_mut(outer)?, key)
}

fn blocks_of<'a>(message: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    message["content"].as_array().into_iter().flatten().filter(move |b| b["type"] == kind)
}

pub(super) fn overwrite_signature(body: &mut Value, _: u64) {
    each_block(body, "assistant", |block| {
        if block["type"] == "thinking" {
            block["signature"] = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I=".into();
        }
    });
}

pub(super) fn strip_signature(body: &mut Value, _: u64) {
    each_block(body, "assistant", |block| {
        if block["type"] == "thinking" {
            block["signature"] = "".into();
        }
    });
}

pub(super) fn drop_thinking(body: &mut Value, _: u64) {
    lose_blocks(body, "assistant", |b| matches!(b["type"].as_str(), Some("thinking" | "redacted_thinking")));
}

pub(super) fn trim_thinking(body: &mut Value, _: u64) {
    each_block(body, "assistant", |block| {
        if let Some(text) = block["thinking"].as_str() {
            block["thinking"] = text.trim().chars().take(24).collect::<String>().into();
        }
    });
}

pub(super) fn drop_disabled_thinking(body: &mut Value, _: u64) {
    if body["thinking"]["type"] == "disabled" {
        take(body, "thinking");
    }
}

pub(super) fn contradict_disabled_thinking(body: &mut Value, _: u64) {
    if body["thinking"]["type"] == "disabled" {
        body["thinking"] = json!({"type": "adaptive"});
    }
}

pub(super) fn thinking_without_budget(body: &mut Value, _: u64) {
    if body["thinking"]["type"] == "adaptive" {
        body["thinking"] = json!({"type": "enabled"});
    }
}

pub(super) fn effort_auto(body: &mut Value, _: u64) {
    if body["thinking"]["type"] == "adaptive" {
        body["output_config"]["effort"] = "auto".into();
    }
}

pub(super) fn drop_effort(body: &mut Value, _: u64) {
    take_inner(body, "output_config", "effort");
}

pub(super) fn cache_control_on_thinking(body: &mut Value, _: u64) {
    let last = list(body, "messages").iter_mut().rev().find(|m| m["role"] == "assistant");
    let Some(message) = last else { return };
    if let Some(block) = list(message, "content").iter_mut().find(|b| b["type"] == "thinking") {
        block["cache_control"] = json!({"type": "ephemeral"});
    }
}

pub(super) fn drop_system_messages(body: &mut Value, _: u64) {
    if let Some(messages) = body.get_mut("messages").and_then(Value::as_array_mut) {
        messages.retain(|m| m["role"] != "system");
    }
}

pub(super) fn system_messages_as_user(body: &mut Value, _: u64) {
    for message in list(body, "messages").iter_mut().filter(|m| m["role"] == "system") {
        message["role"] = "user".into();
        if message["content"].as_array().is_some_and(Vec::is_empty) {
            message["content"] = " ".into();
        }
        take(message, "output_config");
    }
}

pub(super) fn drop_max_tokens(body: &mut Value, _: u64) {
    body["max_tokens"] = 1024.into();
}

pub(super) fn disable_parallel_dropped(body: &mut Value, _: u64) {
    take_inner(body, "tool_choice", "disable_parallel_tool_use");
}

pub(super) fn parallel_forced_off(body: &mut Value, _: u64) {
    if body["tools"].as_array().is_none_or(Vec::is_empty) {
        return;
    }
    if !body["tool_choice"].is_object() {
        body["tool_choice"] = json!({"type": "auto"});
    }
    body["tool_choice"]["disable_parallel_tool_use"] = true.into();
}

pub(super) fn drop_tool_choice(body: &mut Value, _: u64) {
    take(body, "tool_choice");
}

pub(super) fn result_images_dropped(body: &mut Value, _: u64) {
    each_result(body, |result| {
        if let Some(blocks) = result.get_mut("content").and_then(Value::as_array_mut) {
            blocks.retain(|b| b["type"] != "image");
        }
    });
}

pub(super) fn result_images_as_text(body: &mut Value, _: u64) {
    each_result(body, |result| {
        for block in list(result, "content").iter_mut().filter(|b| b["type"] == "image") {
            let kind = block["source"]["media_type"].as_str().unwrap_or_default();
            *block = json!({"type": "text", "text": format!("[image omitted: {kind}]")});
        }
    });
}

pub(super) fn images_dropped(body: &mut Value, _: u64) {
    lose_blocks(body, "user", |b| b["type"] == "image");
}

pub(super) fn documents_dropped(body: &mut Value, _: u64) {
    lose_blocks(body, "user", |b| b["type"] == "document");
    each_result(body, |result| {
        if let Some(blocks) = result.get_mut("content").and_then(Value::as_array_mut) {
            blocks.retain(|b| b["type"] != "document");
        }
    });
}

pub(super) fn is_error_dropped(body: &mut Value, _: u64) {
    each_result(body, |result| {
        take(result, "is_error");
    });
}

pub(super) fn one_result_id_dropped(body: &mut Value, _: u64) {
    let mut left = 1;
    each_result(body, |result| {
        if left > 0 && take(result, "tool_use_id").is_some() {
            left -= 1;
        }
    });
}

pub(super) fn results_emptied(body: &mut Value, _: u64) {
    each_result(body, |result| result["content"] = "".into());
}

fn each_result(body: &mut Value, mut edit: impl FnMut(&mut Value)) {
    each_block(body, "user", |block| {
        if block["type"] == "tool_result" {
            edit(block);
        }
    });
}

/// Texts of a turn with results go in front of them; where there are none, one is made, as gateways with reminders do.
pub(super) fn text_before_results(body: &mut Value, _: u64) {
    for message in list(body, "messages").iter_mut().filter(|m| m["role"] == "user") {
        if blocks_of(message, "tool_result").next().is_none() {
            continue;
        }
        let Some(blocks) = message.get_mut("content").and_then(Value::as_array_mut) else { continue };
        let (mut texts, others): (Vec<_>, Vec<_>) =
            std::mem::take(blocks).into_iter().partition(|b| b["type"] == "text");
        if texts.is_empty() {
            texts.push(json!({"type": "text", "text": "<system-reminder>Results of tools follow.</system-reminder>"}));
        }
        blocks.extend(texts.into_iter().chain(others));
    }
}

pub(super) fn first_call_dropped(body: &mut Value, _: u64) {
    for message in list(body, "messages").iter_mut().filter(|m| m["role"] == "assistant") {
        let Some(blocks) = message.get_mut("content").and_then(Value::as_array_mut) else { continue };
        if let Some(at) = blocks.iter().position(|b| b["type"] == "tool_use") {
            blocks.remove(at);
            if blocks.is_empty() {
                blocks.push(json!({"type": "text", "text": "(tool call)"}));
            }
            return;
        }
    }
}

/// A turn with several results becomes as many turns, with words of the assistant between them.
pub(super) fn results_in_turns_of_their_own(body: &mut Value, _: u64) {
    let Some(messages) = body.get_mut("messages").and_then(Value::as_array_mut) else { return };
    let mut out = Vec::new();
    for message in std::mem::take(messages) {
        let results: Vec<Value> = blocks_of(&message, "tool_result").cloned().collect();
        if message["role"] != "user" || results.len() < 2 {
            out.push(message);
            continue;
        }
        for (n, result) in results.into_iter().enumerate() {
            if n > 0 {
                out.push(json!({"role": "assistant", "content": "..."}));
            }
            out.push(json!({"role": "user", "content": [result]}));
        }
    }
    *messages = out;
}

/// Only the text of the assistant's turns comes back.
pub(super) fn history_flattened(body: &mut Value, _: u64) {
    for message in list(body, "messages").iter_mut().filter(|m| m["content"].is_array()) {
        let words = |b: &Value| match b["type"].as_str() {
            Some("text") => b["text"].as_str().map(str::to_owned),
            Some("tool_use") => {
                Some(format!("[Tool call: {}({})]", b["name"].as_str().unwrap_or_default(), b["input"]))
            }
            Some("tool_result") => Some(format!("[Tool result: {}]", b["content"])),
            _ => None,
        };
        let is_tools = blocks_of(message, "tool_use").chain(blocks_of(message, "tool_result")).next().is_some();
        if is_tools {
            let texts: Vec<String> = message["content"].as_array().into_iter().flatten().filter_map(words).collect();
            message["content"] = texts.join("\n").into();
        }
    }
}

pub(super) fn input_text_dropped(body: &mut Value, _: u64) {
    for message in list(body, "messages") {
        if let Some(blocks) = message.get_mut("content").and_then(Value::as_array_mut) {
            blocks.retain(|b| b["type"] != "input_text");
        }
    }
}

pub(super) fn first_message_dropped(body: &mut Value, _: u64) {
    if let Some(messages) = body.get_mut("messages").and_then(Value::as_array_mut).filter(|m| m.len() > 2) {
        messages.drain(..2);
    }
}

pub(super) fn long_suffix(body: &mut Value, _: u64) {
    if let Some(model) = body["model"].as_str().filter(|m| !m.ends_with("[1m]")) {
        body["model"] = format!("{model}[1m]").into();
    }
}

pub(super) fn model_fixed(body: &mut Value, _: u64) {
    body["model"] = "claude-haiku-4-5".into();
}

pub(super) fn web_search_dropped(body: &mut Value, _: u64) {
    if let Some(tools) = body.get_mut("tools").and_then(Value::as_array_mut) {
        tools.retain(|t| !is_web_search(t));
    }
}

pub(super) fn is_web_search(tool: &Value) -> bool {
    tool["type"].as_str().is_some_and(|kind| kind.starts_with("web_search"))
}

pub(super) fn tool_search_dropped(body: &mut Value, _: u64) {
    let Some(tools) = body.get_mut("tools").and_then(Value::as_array_mut) else { return };
    tools.retain(|t| !t["type"].as_str().is_some_and(|kind| kind.starts_with("tool_search")));
    for tool in tools {
        take(tool, "defer_loading");
    }
}

pub(super) fn deferred_tools_dropped(body: &mut Value, _: u64) {
    if let Some(tools) = body.get_mut("tools").and_then(Value::as_array_mut) {
        tools.retain(|t| t["defer_loading"] != true);
    }
}

pub(super) fn schemas_stripped(body: &mut Value, _: u64) {
    for tool in list(body, "tools").iter_mut().filter(|t| t["input_schema"].is_object()) {
        tool["input_schema"] = json!({"type": "object", "properties": {}});
    }
}

pub(super) fn descriptions_cut(body: &mut Value, _: u64) {
    for tool in list(body, "tools") {
        if let Some(text) = tool["description"].as_str().filter(|t| t.chars().count() > 24) {
            tool["description"] = text.chars().take(24).collect::<String>().into();
        }
    }
}

pub(super) fn last_tool_dropped(body: &mut Value, _: u64) {
    if let Some(tools) = body.get_mut("tools").and_then(Value::as_array_mut) {
        tools.pop();
    }
}

pub(super) fn counter_in_prefix(body: &mut Value, serial: u64) {
    let note = format!("Request {serial} of this gateway.");
    match &mut body["system"] {
        Value::Array(blocks) => blocks.insert(0, json!({"type": "text", "text": note})),
        Value::String(text) => *text = format!("{note}\n{text}"),
        empty => *empty = note.into(),
    }
}

pub(super) fn last_system_block_merged(body: &mut Value, _: u64) {
    let Some(blocks) = body.get_mut("system").and_then(Value::as_array_mut).filter(|b| b.len() > 1) else { return };
    let Some(last) = blocks.pop() else { return };
    let into = blocks.len() - 1;
    let text = [&blocks[into], &last].map(|b| b["text"].as_str().unwrap_or_default()).join("\n");
    blocks[into]["text"] = text.into();
}

pub(super) fn cache_control_dropped(body: &mut Value, _: u64) {
    strip_everywhere(body, "cache_control");
}

fn strip_everywhere(value: &mut Value, key: &str) {
    match value {
        Value::Object(map) => {
            map.remove(key);
            map.values_mut().for_each(|v| strip_everywhere(v, key));
        }
        Value::Array(items) => items.iter_mut().for_each(|v| strip_everywhere(v, key)),
        _ => {}
    }
}

/// Marks of the gateway's own for the cache, one more than are left.
pub(super) fn too_many_cache_marks(body: &mut Value, _: u64) {
    let mark = json!({"type": "ephemeral"});
    let preamble = json!({"type": "text", "text": "Policy of the gateway: be helpful.", "cache_control": mark});
    let Some(blocks) = body.get_mut("system").and_then(Value::as_array_mut) else { return };
    let marks = body_marks(blocks);
    blocks.splice(0..0, std::iter::repeat_n(preamble, 5_usize.saturating_sub(marks).max(1)));
}

fn body_marks(blocks: &[Value]) -> usize {
    blocks.iter().filter(|b| b["cache_control"].is_object()).count()
}

pub(super) fn stream_forced_off(body: &mut Value, _: u64) {
    body["stream"] = false.into();
}

pub(super) fn stream_forced_on(body: &mut Value, _: u64) {
    body["stream"] = true.into();
}

pub(super) fn output_format_dropped(body: &mut Value, _: u64) {
    take_inner(body, "output_config", "format");
    take(body, "output_format");
}

pub(super) fn context_management_dropped(body: &mut Value, _: u64) {
    take(body, "context_management");
}

pub(super) fn unknown_fields_dropped(body: &mut Value, _: u64) {
    if let Some(fields) = body.as_object_mut() {
        fields.retain(|name, _| super::refusal::KNOWN_FIELDS.contains(&name.as_str()));
    }
}

pub(super) fn stop_sequences_dropped(body: &mut Value, _: u64) {
    take(body, "stop_sequences");
}
