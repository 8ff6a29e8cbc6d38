//! The table of refusals: calls and results that belong together.

use serde_json::{Value, json};

use super::*;

pub(super) fn tool_calls() -> Vec<Row> {
    let after_call = |content: Value| talk(&[user("hi"), assistant(json!([call("x"), call("y")])), user(content)]);
    let both = || after_call(json!([result("x"), result("y")]));
    let not_found = |ids: &str| {
        format!(
            "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: {ids}. Each \
             `tool_use` block must have a corresponding `tool_result` block in the next message."
        )
    };
    let unexpected = |place: &str, id: &str| {
        format!(
            "{place}: unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each `tool_result` block must have \
             a corresponding `tool_use` block in the previous message."
        )
    };
    vec![
        row(&not_found("x, y"), after_call(json!("go on")), both()),
        row(&not_found("y"), after_call(json!([result("x")])), both()),
        row(&not_found("x"), talk(&[user("hi"), assistant(json!([call("x")]))]), both()),
        // Results come first; a text in front of them hides them.
        row(
            &not_found("x, y"),
            after_call(json!([text("here:"), result("x"), result("y")])),
            after_call(json!([result("x"), result("y"), text("there")])),
        ),
        row(
            &unexpected("messages.0.content.0", "x"),
            talk(&[user(json!([result("x")]))]),
            // Neighbouring messages of one role are one turn.
            talk(&[
                user("hi"),
                assistant(json!([call("x")])),
                assistant(json!([call("y")])),
                user(json!([result("y")])),
                user(json!([result("x")])),
            ]),
        ),
        row(
            &unexpected("messages.2.content.2", "z"),
            after_call(json!([result("x"), result("y"), result("z")])),
            both(),
        ),
        row(
            "messages.2.content.1: each tool_use must have a single result. Found multiple `tool_result` blocks with id: x",
            after_call(json!([result("x"), result("x"), result("y")])),
            both(),
        ),
        row(
            "messages.1.content.1: `tool_use` ids must be unique",
            talk(&[user("hi"), assistant(json!([call("x"), call("x")])), user(json!([result("x")]))]),
            both(),
        ),
        row(
            "messages.3.content.0: `tool_use` ids must be unique",
            talk(&[
                user("hi"),
                assistant(json!([call("x")])),
                user(json!([result("x")])),
                assistant(json!([call("x")])),
                user(json!([result("x")])),
            ]),
            talk(&[
                user("hi"),
                assistant(json!([call("x")])),
                user(json!([result("x")])),
                assistant(json!([call("y")])),
                user(json!([result("y")])),
            ]),
        ),
    ]
}
