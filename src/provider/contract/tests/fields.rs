//! The table of refusals: the shape of a request: fields, roles, turns.

use serde_json::{Value, json};

use super::*;

pub(super) fn fields() -> Vec<Row> {
    let text_block = |block: Value| talk(&[user(json!([block]))]);
    let calls = |block: Value| talk(&[user("hi"), assistant(json!([block])), user(json!([result("x")]))]);
    let good = || talk(&[user("hi")]);
    vec![
        row("model: Field required", without("model"), good()),
        row("max_tokens: Field required", without("max_tokens"), good()),
        row("max_tokens: Input should be greater than or equal to 1", with("max_tokens", 0), with("max_tokens", 1)),
        row("max_tokens: Input should be a valid integer", with("max_tokens", "9"), with("max_tokens", 9)),
        row("messages: Field required", without("messages"), good()),
        row("messages: at least one message is required", talk(&[]), good()),
        row("messages: Input should be a valid list", with("messages", "hi"), good()),
        row("messages.0.role: Field required", talk(&[json!({"content": "hi"})]), good()),
        row(
            "messages: Unexpected role \"tool\". Allowed roles are \"user\" or \"assistant\"",
            talk(&[user("hi"), json!({"role": "tool", "content": "x"})]),
            talk(&[user("hi"), assistant("x")]),
        ),
        row(
            "messages: first message must use the \"user\" role",
            talk(&[assistant("x"), user("hi")]),
            talk(&[user("hi"), assistant("x")]),
        ),
        row(
            "messages: first message must use the \"user\" role",
            talk(&[json!({"role": "system", "content": "x"})]),
            talk(&[json!({"role": "system", "content": "x"}), user("hi")]),
        ),
        row("messages.0.content: Field required", talk(&[json!({"role": "user"})]), good()),
        row("messages.0.content: Input should be a valid list", talk(&[user(3)]), good()),
        row("messages.0.content.0: Input should be an object", text_block(json!("hi")), text_block(text("hi"))),
        row("messages.0.content.0.type: Field required", text_block(json!({"text": "hi"})), text_block(text("hi"))),
        row(
            "messages.0.content.0.text.text: Field required",
            text_block(json!({"type": "text"})),
            text_block(text("hi")),
        ),
        row(
            "messages.1.content.0.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'",
            calls(call("call.1|2")),
            calls(call("x")),
        ),
        row(
            "messages.2.content.0.tool_result.tool_use_id: String should match pattern '^[a-zA-Z0-9_-]+$'",
            talk(&[user("hi"), assistant(json!([call("x")])), user(json!([result("")]))]),
            calls(call("x")),
        ),
        row(
            "messages.1.content.0.tool_use.input: Input should be a valid dictionary",
            calls(json!({"type": "tool_use", "id": "x", "name": "Read", "input": "{}"})),
            calls(json!({"type": "tool_use", "id": "x", "name": "Read", "input": {}})),
        ),
        row(
            "messages.1.content.0.tool_use.input: Field required",
            calls(json!({"type": "tool_use", "id": "x", "name": "Read"})),
            calls(call("x")),
        ),
        row(
            "messages.0: `tool_use` blocks can only be in `assistant` messages",
            text_block(call("x")),
            calls(call("x")),
        ),
        row(
            "messages.1: `tool_result` blocks can only be in `user` messages",
            talk(&[user("hi"), assistant(json!([result("x")]))]),
            calls(call("x")),
        ),
        row(
            "thinking.enabled.budget_tokens: Field required",
            with("thinking", json!({"type": "enabled"})),
            with("thinking", json!({"type": "adaptive"})),
        ),
        row("tools: Input should be a valid list", with("tools", "Read"), with("tools", json!([]))),
        row(
            "tools.0.custom.name: Field required",
            with("tools", json!([{"input_schema": {}}])),
            with("tools", json!([{"type": "web_search_20250305"}])),
        ),
        row(
            "tools.0.custom.input_schema: Field required",
            with("tools", json!([{"name": "Read"}])),
            with("tools", json!([tool("Read")])),
        ),
    ]
}
