//! The table of refusals: every rule of the API with a request that breaks it and its nearest kin that does not.

use serde_json::{Value, json};

use super::*;

/// A request as a test states it: the betas and the body.
struct Ask {
    betas: &'static str,
    body: Value,
}

/// One row of the table: what is refused in exactly these words, and its nearest kin that is not.
struct Row {
    status: u16,
    kind: &'static str,
    message: String,
    refused: Ask,
    accepted: Ask,
}

const ALL_BETAS: &str = "claude-code-20250219,context-management-2025-06-27,per-turn-control-2026-07-01,\
                         effort-2025-11-24,advanced-tool-use-2025-11-20,structured-outputs-2025-11-13";

/// A memory that holds the turns below.
fn issued() -> Issued {
    let issued = Issued::with_key([7; 32]);
    for turn in [plain_call(), thinking_call(), interleaved(), unsigned_call()] {
        issued.remember(turn.as_array().unwrap());
    }
    issued
}

fn thought(text: &str) -> Value {
    json!({"type": "thinking", "thinking": text, "signature": Issued::with_key([7; 32]).sign(text)})
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

fn call(id: &str) -> Value {
    json!({"type": "tool_use", "id": id, "name": "Read", "input": {"file_path": "/w/a"}})
}

fn result(id: &str) -> Value {
    json!({"type": "tool_result", "tool_use_id": id, "content": "1\tx"})
}

fn plain_call() -> Value {
    json!([call("plain")])
}

fn thinking_call() -> Value {
    json!([thought("look"), call("a")])
}

/// What only a script says that wants to see what becomes of it.
fn unsigned_call() -> Value {
    json!([{"type": "thinking", "thinking": "look", "signature": ""}, call("u")])
}

fn interleaved() -> Value {
    json!([thought("first"), text("so"), thought("second"), call("b")])
}

fn user(content: impl Into<Value>) -> Value {
    json!({"role": "user", "content": content.into()})
}

fn assistant(content: impl Into<Value>) -> Value {
    json!({"role": "assistant", "content": content.into()})
}

fn tool(name: &str) -> Value {
    json!({"name": name, "description": "d", "input_schema": {"type": "object"}})
}

/// A request with these messages.
fn talk(messages: &[Value]) -> Value {
    json!({"model": "claude-sonnet-5-5", "max_tokens": 100, "messages": messages})
}

/// The smallest request, with one field more.
fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut body = talk(&[user("hi")]);
    body[name] = value.into();
    body
}

/// The smallest request without one of its fields.
fn without(name: &str) -> Value {
    let mut body = talk(&[user("hi")]);
    body.as_object_mut().unwrap().remove(name);
    body
}

/// `body` with thinking of that kind.
fn thinking(kind: &str, mut body: Value) -> Value {
    body["thinking"] =
        if kind == "enabled" { json!({"type": kind, "budget_tokens": 50}) } else { json!({"type": kind}) };
    body
}

fn run(ask: &Ask, limits: &Limits) -> Result<Accepted, Refusal> {
    let headers = [
        Header { name: "Anthropic-Version".into(), value: "2023-06-01".into() },
        Header { name: "anthropic-beta".into(), value: ask.betas.into() },
    ];
    check(Endpoint::Messages, &headers, ask.body.to_string().as_bytes(), &issued(), limits)
}

/// A row about content: the same betas, status 400.
fn row(message: &str, refused: Value, accepted: Value) -> Row {
    Row {
        status: 400,
        kind: "invalid_request_error",
        message: message.into(),
        refused: Ask { betas: ALL_BETAS, body: refused },
        accepted: Ask { betas: ALL_BETAS, body: accepted },
    }
}

/// A row about a field and its beta: the same body with another list of betas.
fn pair(path: &str, body: &Value, without: &'static str, with: &'static str) -> Row {
    Row {
        refused: Ask { betas: without, body: body.clone() },
        accepted: Ask { betas: with, body: body.clone() },
        ..row(&format!("{path}: Extra inputs are not permitted"), Value::Null, Value::Null)
    }
}

fn fields() -> Vec<Row> {
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

fn blocks() -> Vec<Row> {
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

fn tool_calls() -> Vec<Row> {
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

fn signatures() -> Vec<Row> {
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

fn thinking_modes() -> Vec<Row> {
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

fn pairs() -> Vec<Row> {
    let output = |field: &str| with("output_config", json!({field: "x"}));
    let mut deferred = tool("Late");
    deferred["defer_loading"] = true.into();
    let deferred = with("tools", json!([tool("Read"), deferred]));
    let mut typed = json!({"type": "web_search_20250305", "name": "web_search"});
    typed["defer_loading"] = true.into();
    let typed = with("tools", json!([typed]));
    let mut examples = tool("Read");
    examples["input_examples"] = json!([{}]);
    let examples = with("tools", json!([examples]));
    let system = talk(&[user("hi"), json!({"role": "system", "content": "env"})]);
    let effort = talk(&[user("hi"), json!({"role": "system", "content": [], "output_config": {"effort": "low"}})]);
    let managed = with("context_management", json!({"edits": []}));
    let unexpected_role = "messages: Unexpected role \"system\". The Messages API accepts a top-level `system` \
                           parameter, not \"system\" as an input message role.";
    vec![
        pair("context_management", &managed, "", "context-management-2025-06-27"),
        pair("context_management", &managed, "context-1m-2025-08-07", "x, context-management-2099-01-01"),
        pair("output_config", &output("effort"), "", "effort-2025-11-24"),
        pair("output_config.effort", &output("effort"), "structured-outputs-2025-11-13", "effort-2025-11-24"),
        pair("output_config.format", &output("format"), "effort-2025-11-24", "structured-outputs-2025-11-13"),
        pair("tools.1.custom.defer_loading", &deferred, "", "advanced-tool-use-2025-11-20"),
        pair("tools.1.custom.defer_loading", &deferred, "", "tool-search-tool-2025-10-19"),
        pair("tools.1.custom.defer_loading", &deferred, "", "mid-conversation-tool-changes-2026-07-01"),
        pair("tools.0.web_search_20250305.defer_loading", &typed, "", "advanced-tool-use-2025-11-20"),
        pair("tools.0.custom.input_examples", &examples, "", "advanced-tool-use-2025-11-20"),
        pair(
            "messages.1.output_config",
            &effort,
            "mid-conversation-tool-changes-2026-07-01",
            "per-turn-control-2026-07-01",
        ),
        Row { message: unexpected_role.into(), ..pair("", &system, "", "mid-conversation-system-2026-04-07") },
        Row { message: unexpected_role.into(), ..pair("", &system, "", "mid-conversation-tool-changes-2026-07-01") },
    ]
}

#[test]
fn every_rule_refuses_in_the_words_of_the_api_and_lets_the_next_of_kin_pass() {
    let table = [fields(), blocks(), tool_calls(), signatures(), thinking_modes(), pairs()];
    for (n, row) in table.into_iter().flatten().enumerate() {
        let refusal = run(&row.refused, &Limits::default());
        let expected = Refusal::of(row.status, row.kind, row.message);
        assert_eq!(refusal, Err(expected), "row {n}: {}", row.refused.body);
        let accepted = run(&row.accepted, &Limits::default());
        assert!(accepted.is_ok(), "row {n}: {:?} for {}", accepted.err(), row.accepted.body);
    }
}

#[test]
fn a_body_that_is_no_json_object_is_refused() {
    for (body, words) in [(&b"{\"model\":"[..], "The request body is not valid JSON: "), (b"[]", "The request body is")]
    {
        let headers = [Header { name: "anthropic-version".into(), value: "2023-06-01".into() }];
        let refusal = check(Endpoint::Messages, &headers, body, &issued(), &Limits::default()).unwrap_err();
        assert_eq!(refusal.status, 400);
        assert!(refusal.message.starts_with(words), "{}", refusal.message);
    }
}

#[test]
fn the_version_header_is_required() {
    let body = talk(&[user("hi")]).to_string();
    let refusal = check(Endpoint::Messages, &[], body.as_bytes(), &issued(), &Limits::default()).unwrap_err();
    assert_eq!((refusal.status, refusal.message.as_str()), (400, "anthropic-version: header is required"));
}

#[test]
fn a_body_of_more_than_32_mib_is_too_large_and_one_of_exactly_that_is_not() {
    let headers = [Header { name: "anthropic-version".into(), value: "2023-06-01".into() }];
    let mut body = talk(&[user("hi")]).to_string().into_bytes();
    body.resize(MAX_BODY_BYTES, b' ');
    let verdict = |body: &[u8]| check(Endpoint::Messages, &headers, body, &issued(), &Limits::default());
    assert!(verdict(&body).is_ok());
    body.push(b' ');
    let refusal = verdict(&body).unwrap_err();
    assert_eq!((refusal.status, &*refusal.kind), (413, "request_too_large"));
}

#[test]
fn models_and_window_are_limits_only_where_they_are_configured() {
    let ask = |body| Ask { betas: "", body };
    let only = Limits { models: Some(vec!["claude-haiku-5-5".into()]), context_window: None };
    let refusal = run(&ask(talk(&[user("hi")])), &only).unwrap_err();
    assert_eq!((refusal.status, &*refusal.kind), (404, "not_found_error"));
    assert_eq!(refusal.message, "model: claude-sonnet-5-5");
    assert!(run(&ask(with("model", "claude-haiku-5-5")), &only).is_ok());

    let window = Limits { models: None, context_window: Some(1_000) };
    let long = talk(&[user("long ".repeat(2_000))]);
    let prompt = count::tokens(&long);
    let refusal = run(&ask(long.clone()), &window).unwrap_err();
    assert_eq!(refusal.message, format!("prompt is too long: {prompt} tokens > 1000 maximum"));
    let refusal = run(&ask(with("max_tokens", 5_000)), &window).unwrap_err();
    let prompt = count::tokens(&talk(&[user("hi")]));
    assert_eq!(
        refusal.message,
        format!(
            "input length and `max_tokens` exceed context limit: {prompt} + 5000 > 1000, decrease input length or \
             `max_tokens` and try again"
        )
    );
    assert!(run(&ask(talk(&[user("hi")])), &window).is_ok());
    assert!(run(&ask(long), &Limits::default()).is_ok());
}

#[test]
fn counting_tokens_needs_no_max_tokens() {
    let headers = [Header { name: "anthropic-version".into(), value: "2023-06-01".into() }];
    let body = without("max_tokens").to_string();
    assert!(check(Endpoint::CountTokens, &headers, body.as_bytes(), &issued(), &Limits::default()).is_ok());
}

#[test]
fn what_is_not_known_is_accepted_and_named() {
    let mut body = talk(&[
        json!({"role": "user", "content": [text("hi"), {"type": "hologram"}], "mood": "good"}),
        assistant(json!([call("x")])),
        user(json!([{"type": "tool_result", "tool_use_id": "x", "content": [{"type": "smell"}, text("y")]}])),
    ]);
    body["speed"] = "fast".into();
    let mut read = tool("Read");
    read["colour"] = "red".into();
    body["tools"] = json!([read, {"type": "computer_20990101", "name": "computer", "pixels": 3}]);
    let ask = Ask { betas: "claude-code-20250219,probe-beta-2099-01-01", body };
    let expected =
        ["beta:probe-beta-2099-01-01", "block:hologram", "block:smell", "field:speed", "message:mood", "tool:colour"];
    assert_eq!(run(&ask, &Limits::default()).unwrap().unknown, expected);
}

#[test]
fn a_recorded_request_can_be_judged_without_the_providers_key() {
    let body = |signature: &str| {
        let block = json!({"type": "thinking", "thinking": "t", "signature": signature});
        thinking("adaptive", talk(&[user("hi"), assistant(json!([block, text("x")])), user("and?")])).to_string()
    };
    let headers = [Header { name: "anthropic-version".into(), value: "2023-06-01".into() }];
    let verdict = |signature: &str| {
        check(Endpoint::Messages, &headers, body(signature).as_bytes(), &Issued::unknown(), &Limits::default())
    };
    assert!(verdict("c2lnbmF0dXJl").is_ok());
    let refusal = verdict("").unwrap_err();
    assert_eq!(refusal.message, "messages.1.content.0: Invalid `signature` in `thinking` block");
}

mod hostile {
    use proptest::prelude::*;

    use super::*;

    /// JSON that resembles a request just enough to reach every rule.
    fn anything() -> impl Strategy<Value = Value> {
        let words = prop::sample::select(vec![
            "text",
            "thinking",
            "tool_use",
            "tool_result",
            "user",
            "assistant",
            "system",
            "enabled",
            "",
            "x",
            "a",
        ]);
        let keys = prop::sample::select(vec![
            "type",
            "text",
            "thinking",
            "signature",
            "id",
            "tool_use_id",
            "name",
            "input",
            "content",
            "role",
            "cache_control",
            "messages",
            "tools",
            "system",
            "model",
            "max_tokens",
            "output_config",
            "effort",
        ]);
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            words.prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 60, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((keys.clone(), inner), 0..6)
                    .prop_map(|fields| fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn no_request_breaks_the_rules_themselves(messages in anything(), tools in anything(), rest in anything()) {
            let mut body = talk(&[user("hi")]);
            body["messages"] = match messages {
                Value::Array(items) => std::iter::once(user("hi")).chain(items).collect(),
                other => other,
            };
            body["tools"] = tools;
            body["thinking"] = rest.clone();
            body["system"] = rest;
            let _ = run(&Ask { betas: ALL_BETAS, body }, &Limits { context_window: Some(9), ..Limits::default() });
        }
    }
}
