//! What a gateway does to a request that it has translated to Chat Completions.

use serde_json::{Map, Value, json};

use super::body::{list, take};

pub(super) fn reasoning_dropped(body: &mut Value) {
    for message in list(body, "messages").iter_mut().filter(|m| m["tool_calls"].is_array()) {
        take(message, "reasoning_content");
    }
}

pub(super) fn stop_untranslated(body: &mut Value) {
    if let Some(stop) = take(body, "stop") {
        body["stop_sequences"] = stop;
    }
}

pub(super) fn stop_dropped(body: &mut Value) {
    take(body, "stop");
}

pub(super) fn parallel_false(body: &mut Value) {
    if body["tools"].is_array() {
        body["parallel_tool_calls"] = false.into();
    }
}

pub(super) fn parallel_true(body: &mut Value) {
    if body["tools"].is_array() {
        body["parallel_tool_calls"] = true.into();
    }
}

/// The words of a turn with results come in front of them.
pub(super) fn user_before_tool(body: &mut Value) {
    let Some(messages) = body.get_mut("messages").and_then(Value::as_array_mut) else { return };
    let Some(at) = messages.iter().position(|m| m["role"] == "tool") else { return };
    messages
        .insert(at, json!({"role": "user", "content": "<system-reminder>Results of tools follow.</system-reminder>"}));
}

pub(super) fn effort_not_mapped(body: &mut Value) {
    take(body, "reasoning_effort");
}

pub(super) fn tools_untranslated(body: &mut Value) {
    for tool in list(body, "tools") {
        let function = take(tool, "function").unwrap_or_else(|| Map::new().into());
        *tool = json!({"name": function["name"], "description": function["description"], "input_schema": function["parameters"]});
    }
}

pub(super) fn tool_results_as_user(body: &mut Value) {
    for message in list(body, "messages").iter_mut().filter(|m| m["role"] == "tool") {
        message["role"] = "user".into();
        take(message, "tool_call_id");
    }
}

/// The client's id of the user goes into a field that is shorter.
pub(super) fn user_of_client(request: &Value, body: &mut Value) {
    if request["metadata"]["user_id"].is_string() {
        body["user"] = request["metadata"]["user_id"].clone();
    }
}
