//! The table of refusals: every rule of the API with a request that breaks it and its nearest kin that does not.

mod blocks;
mod features;
mod fields;
mod thinking;
mod tool_calls;

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

#[test]
fn every_rule_refuses_in_the_words_of_the_api_and_lets_the_next_of_kin_pass() {
    let table = [
        fields::fields(),
        blocks::blocks(),
        tool_calls::tool_calls(),
        thinking::signatures(),
        thinking::thinking_modes(),
        features::pairs(),
    ];
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

    use crate::provider::resembling::json_of;

    const WORDS: &[&str] =
        &["text", "thinking", "tool_use", "tool_result", "user", "assistant", "system", "enabled", "", "x", "a"];

    const KEYS: &[&str] = &[
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
    ];

    fn anything() -> impl Strategy<Value = Value> {
        json_of(WORDS, KEYS)
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
