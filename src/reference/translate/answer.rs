//! Whole answers of Chat Completions as the Messages API has them: messages, errors, lists of models.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::openai::read_chat;

/// A completion as a message. `request` names the model where the completion does not.
pub(super) fn message(completion: &Value, request: &Value) -> Value {
    let answer = read_chat(completion);
    let mut blocks = answer.blocks;
    for block in blocks.iter_mut().filter(|b| b["type"] == "thinking") {
        block["signature"] = signature(block["thinking"].as_str().unwrap_or_default()).into();
    }
    let model = answer.model.map_or_else(|| request["model"].clone(), Value::from);
    json!({
        "id": message_id(&answer.id.unwrap_or_default()),
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": blocks,
        "stop_reason": answer.stop_reason,
        "stop_sequence": null,
        "usage": answer.end_usage.unwrap_or_else(|| json!({"input_tokens": 0, "output_tokens": 0})),
    })
}

/// An error in the other envelope. What is no error of this API is told in its own words.
pub(super) fn error(status: u16, body: &Value, raw: &[u8]) -> Value {
    let own = String::from_utf8_lossy(raw);
    let message = body["error"]["message"].as_str().unwrap_or(&own);
    json!({"type": "error", "error": {"type": error_type(status), "message": message}})
}

/// What the Messages API calls an error of this status.
pub(super) fn error_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

/// A list of models, or one model.
pub(super) fn models(body: &Value) -> Value {
    let one = |model: &Value| json!({"type": "model", "id": model["id"], "display_name": model["id"], "created_at": "2026-01-01T00:00:00Z"});
    match body["data"].as_array() {
        Some(list) => {
            let data: Vec<Value> = list.iter().map(one).collect();
            json!({
                "first_id": data.first().map(|m| m["id"].clone()),
                "last_id": data.last().map(|m| m["id"].clone()),
                "data": data,
                "has_more": false,
            })
        }
        None => one(body),
    }
}

/// The id of a message, made of that of the completion.
pub(super) fn message_id(completion: &str) -> String {
    format!("msg_{}", completion.trim_start_matches("chatcmpl-"))
}

/// What stands for the signature that Chat Completions has not: it shows the gateway that thinking came back unaltered.
pub(super) fn signature(thinking: &str) -> String {
    BASE64.encode(Sha256::digest(thinking))
}
