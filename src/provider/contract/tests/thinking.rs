//! The table of refusals: thinking: its signatures, and the kinds of thinking that a request may ask for.

use serde_json::{Value, json};

use super::*;

pub(super) fn signatures() -> Vec<Row> {
    let later = |turn: Value| thinking("adaptive", talk(&[user("hi"), assistant(turn), user("and?")]));
    let latest =
        |turn: Value, id: &str| thinking("adaptive", talk(&[user("hi"), assistant(turn), user(json!([result(id)]))]));
    let before_latest = |turn: Value| {
        let latest = [user("and?"), assistant(thinking_call()), user(json!([result("a")]))];
        thinking("adaptive", talk(&[&[user("hi"), assistant(turn)], &latest[..]].concat()))
    };
    let altered = |field: &str, value: &str| {
        let mut block = thought("look");
        block[field] = value.into();
        block
    };
    let invalid = "messages.1.content.0: Invalid `signature` in `thinking` block";
    let modified = |j: usize| {
        format!(
            "messages.1.content.{j}: `thinking` or `redacted_thinking` blocks in the latest assistant message cannot be \
             modified. These blocks must remain as they were in the original response."
        )
    };
    let mut unsigned = thought("look");
    unsigned.as_object_mut().unwrap().remove("signature");
    let genuine = || later(json!([thought("look"), text("x")]));
    let second = || thought("second")["signature"].as_str().unwrap().to_owned();
    let merged = json!({"type": "thinking", "thinking": "firstsecond", "signature": second()});
    vec![
        row(invalid, later(json!([altered("thinking", "look "), text("x")])), genuine()),
        row(invalid, later(json!([altered("signature", "c2lnbmF0dXJl"), text("x")])), genuine()),
        row(invalid, later(json!([altered("signature", ""), text("x")])), genuine()),
        row(invalid, later(json!([unsigned.clone(), text("x")])), genuine()),
        row(invalid, latest(json!([altered("signature", ""), call("a")]), "a"), latest(thinking_call(), "a")),
        row(invalid, latest(unsigned_call(), "u"), latest(json!([call("u")]), "u")),
        row(invalid, latest(json!([unsigned, call("a")]), "a"), latest(json!([call("a")]), "a")),
        // Edited under the latest turn's signature, but not in the latest turn.
        row(
            invalid,
            before_latest(json!([altered("thinking", "LOOK"), text("x")])),
            before_latest(json!([thought("look"), text("x")])),
        ),
        row(
            "messages.1.content.0: Invalid `data` in `redacted_thinking` block",
            later(json!([{"type": "redacted_thinking", "data": "x"}, text("x")])),
            genuine(),
        ),
        // Edited, moved, merged, lost one of two, brought from another turn.
        row(&modified(0), latest(json!([altered("thinking", "LOOK"), call("a")]), "a"), latest(thinking_call(), "a")),
        row(&modified(1), latest(json!([call("a"), thought("look")]), "a"), latest(thinking_call(), "a")),
        row(&modified(0), latest(json!([merged, text("so"), call("b")]), "b"), latest(interleaved(), "b")),
        row(
            &modified(1),
            latest(json!([thought("first"), thought("second"), text("so"), call("b")]), "b"),
            latest(interleaved(), "b"),
        ),
        row(
            &modified(0),
            latest(json!([thought("first"), text("so"), call("b")]), "b"),
            // Joined and empty texts leave the thinking as it was.
            latest(json!([thought("first"), text("s"), text("o"), thought("second"), call("b")]), "b"),
        ),
        row(
            &modified(1),
            latest(json!([thought("look"), thought("first"), call("a")]), "a"),
            latest(json!([call("a")]), "a"),
        ),
    ]
}

pub(super) fn thinking_modes() -> Vec<Row> {
    let loops = |mode: &str, turn: Value, id: &str| {
        thinking(mode, talk(&[user("hi"), assistant(turn), user(json!([result(id)]))]))
    };
    let expected = |i: usize, found: &str| {
        format!(
            "messages.{i}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{found}`. When \
             `thinking` is enabled, a final `assistant` message must start with a thinking block (preceeding the \
             lastmost set of `tool_use` and `tool_result` blocks). We recommend you include thinking blocks from \
             previous turns. To avoid this requirement, disable `thinking`. Please consult our documentation at \
             https://docs.claude.com/en/docs/build-with-claude/extended-thinking"
        )
    };
    let disabled = "messages.1.content.0: When thinking is disabled, an `assistant` message in the final position cannot \
                    contain `thinking`. To use thinking blocks, enable `thinking` in your request.";
    let unknown_second = |first: Value| {
        thinking(
            "enabled",
            talk(&[
                user("hi"),
                assistant(first),
                user(json!([result("u1")])),
                assistant(json!([call("u2")])),
                user(json!([result("u2")])),
            ]),
        )
    };
    vec![
        row(
            &expected(1, "tool_use"),
            loops("enabled", json!([call("a")]), "a"),
            loops("enabled", thinking_call(), "a"),
        ),
        row(
            &expected(1, "tool_use"),
            loops("enabled", json!([call("unknown")]), "unknown"),
            // Adaptive thinking does not require it, and a turn that was issued without thinking has none to show.
            loops("adaptive", json!([call("a")]), "a"),
        ),
        row(
            &expected(1, "text"),
            thinking("enabled", talk(&[user("hi"), assistant(json!([text("x")]))])),
            loops("enabled", plain_call(), "plain"),
        ),
        row(
            &expected(3, "tool_use"),
            unknown_second(json!([call("u1")])),
            unknown_second(json!([thought("t"), call("u1")])),
        ),
        row(disabled, loops("disabled", thinking_call(), "a"), loops("adaptive", thinking_call(), "a")),
        row(
            disabled,
            talk(&[user("hi"), assistant(thinking_call()), user(json!([result("a")]))]),
            // Where the next question follows, earlier thinking is history and may stay.
            talk(&[user("hi"), assistant(json!([thought("t"), text("x")])), user("and?")]),
        ),
        row(
            "messages.1: The final block in an assistant message cannot be `thinking`.",
            thinking("adaptive", talk(&[user("hi"), assistant(json!([thought("t")])), user("and?")])),
            thinking(
                "adaptive",
                talk(&[user("hi"), assistant(json!([thought("t")])), assistant(json!([text("x")])), user("and?")]),
            ),
        ),
    ]
}
