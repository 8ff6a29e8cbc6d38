//! The table of refusals: single blocks and tools.

use serde_json::{Value, json};

use super::*;

pub(super) fn blocks() -> Vec<Row> {
    let marked = |text: &str| json!({"type": "text", "text": text, "cache_control": {"type": "ephemeral"}});
    let marked_call = |marks: Value| {
        let mut body = talk(&[
            user(json!([marked("hi")])),
            assistant(json!([call("x")])),
            user(json!([{"type": "tool_result", "tool_use_id": "x", "content": marks}])),
        ]);
        body["system"] = json!([marked("s")]);
        let mut read = tool("Read");
        read["cache_control"] = json!({"type": "ephemeral"});
        body["tools"] = json!([read]);
        body
    };
    vec![
        row(
            "messages: text content blocks must be non-empty",
            talk(&[user(json!([text("hi"), text("")]))]),
            talk(&[user(json!([text("hi")]))]),
        ),
        row(
            "system: text content blocks must be non-empty",
            with("system", json!([text("")])),
            with("system", json!([text("x")])),
        ),
        row(
            "messages.0.content.1.text: cache_control cannot be set for empty text blocks",
            talk(&[user(json!([text("hi"), marked("")]))]),
            talk(&[user(json!([text("hi"), marked("x")]))]),
        ),
        row(
            "messages.1: all messages must have non-empty content except for the optional final assistant message",
            talk(&[user("hi"), assistant(json!([])), user("ho")]),
            talk(&[user("hi"), assistant(json!([]))]),
        ),
        row(
            "messages.0: all messages must have non-empty content except for the optional final assistant message",
            talk(&[user("")]),
            // What the client sends: a system entry that carries its effort alone.
            talk(&[user("hi"), json!({"role": "system", "content": [], "output_config": {"effort": "medium"}})]),
        ),
        row(
            "A maximum of 4 blocks with cache_control may be provided. Found 5.",
            marked_call(json!([marked("1"), marked("2")])),
            marked_call(json!([marked("1"), text("2")])),
        ),
        row(
            "tools: Tool names must be unique.",
            with("tools", json!([tool("Read"), tool("Bash"), tool("Read")])),
            with("tools", json!([tool("Read"), tool("Bash")])),
        ),
    ]
}
