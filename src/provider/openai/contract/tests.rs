//! The tables of refusals: every rule of both APIs with a request that breaks it and its nearest kin that does not.

mod chat;
mod responses;

use serde_json::{Value, json};

use super::*;

/// One row of a table: what is refused in exactly these words, and its nearest kin that is not.
struct Row {
    message: &'static str,
    param: Option<&'static str>,
    code: Option<&'static str>,
    refused: Value,
    accepted: Value,
}

fn row(
    (param, code): (Option<&'static str>, Option<&'static str>),
    message: &'static str,
    refused: Value,
    accepted: Value,
) -> Row {
    Row { message, param, code, refused, accepted }
}

/// What a refusal names: a part of the request, a code, both or none.
const NOTHING: (Option<&str>, Option<&str>) = (None, None);

fn about(param: &'static str) -> (Option<&'static str>, Option<&'static str>) {
    (Some(param), None)
}

fn coded(param: &'static str, code: &'static str) -> (Option<&'static str>, Option<&'static str>) {
    (Some(param), Some(code))
}

fn assert_table(endpoint: Endpoint, rows: Vec<Row>) {
    let run = |body: &Value| check(endpoint, body.to_string().as_bytes(), &Limits::default());
    for Row { message, param, code, refused, accepted } in rows {
        let refusal = run(&refused).expect_err(message);
        let seen = (&*refusal.message, refusal.param.as_deref(), refusal.code, refusal.status, &*refusal.kind);
        assert_eq!(seen, (message, param, code, 400, "invalid_request_error"), "{refused}");
        if let Err(refusal) = run(&accepted) {
            panic!("the healthy kin of {message:?} is refused with {:?}: {accepted}", refusal.message);
        }
    }
}

/// A request with one field more, or without it where the value is null.
fn with(mut body: Value, name: &str, value: Value) -> Value {
    match value {
        Value::Null => drop(body.as_object_mut().unwrap().remove(name)),
        value => body[name] = value,
    }
    body
}

const BOTH: [(Endpoint, &str); 2] = [(Endpoint::Chat, "messages"), (Endpoint::Responses, "input")];

#[test]
fn a_body_that_is_no_json_object_or_too_large_is_refused() {
    for (endpoint, _) in BOTH {
        for body in [&b"{\"model\":"[..], b"[]", b"\xff"] {
            let refusal = check(endpoint, body, &Limits::default()).unwrap_err();
            assert!(refusal.message.starts_with("We could not parse the JSON body of your request."), "{refusal:?}");
        }
        let large = vec![b' '; MAX_BODY_BYTES + 1];
        let refusal = check(endpoint, &large, &Limits::default()).unwrap_err();
        assert_eq!(refusal.status, 413);
        let fits = check(endpoint, &large[1..], &Limits::default()).unwrap_err();
        assert_eq!(fits.status, 400);
    }
}

#[test]
fn the_limits_of_the_provider_are_refused_in_words_that_clients_know() {
    for (endpoint, conversation) in BOTH {
        let body = json!({"model": "m", conversation: [{"role": "user", "content": "word ".repeat(100)}]}).to_string();
        let run = |limits: &Limits| check(endpoint, body.as_bytes(), limits).map(|_| ());
        let models = |name: &str| Limits { models: Some(vec![name.into()]), context_window: None };
        let refusal = run(&models("other")).unwrap_err();
        assert_eq!((refusal.status, refusal.code), (404, Some("model_not_found")));
        assert_eq!(refusal.message, "The model `m` does not exist or you do not have access to it.");
        assert_eq!(run(&models("m")), Ok(()));
        let window = |tokens: u64| Limits { models: None, context_window: Some(tokens) };
        let refusal = run(&window(100)).unwrap_err();
        assert_eq!((refusal.param.as_deref(), refusal.code), (Some(conversation), Some("context_length_exceeded")));
        assert!(refusal.message.starts_with("This model's maximum context length is 100 tokens."), "{refusal:?}");
        assert_eq!(run(&window(1000)), Ok(()));
    }
}

mod hostile {
    use proptest::prelude::*;

    use super::*;

    use crate::provider::resembling::json_of;

    const WORDS: &[&str] = &[
        "text",
        "input_text",
        "output_text",
        "image_url",
        "user",
        "assistant",
        "tool",
        "function",
        "function_call",
        "function_call_output",
        "message",
        "reasoning",
        "{}",
        "",
        "a",
    ];

    const KEYS: &[&str] = &[
        "type",
        "role",
        "content",
        "text",
        "tool_calls",
        "tool_call_id",
        "call_id",
        "id",
        "name",
        "arguments",
        "output",
        "function",
        "parameters",
        "image_url",
        "url",
    ];

    fn anything() -> impl Strategy<Value = Value> {
        json_of(WORDS, KEYS)
    }

    proptest! {
        #[test]
        fn no_request_breaks_the_rules_themselves(said in anything(), tools in anything(), rest in anything()) {
            for (endpoint, conversation) in BOTH {
                let body = json!({"model": "m", conversation: said, "tools": tools, "max_tokens": rest, "include": rest,
                    "reasoning": rest, "instructions": rest});
                let limits = Limits { context_window: Some(9), ..Limits::default() };
                let _ = check(endpoint, body.to_string().as_bytes(), &limits);
                let _ = crate::provider::openai::reading::chat(&body);
                let _ = crate::provider::openai::reading::responses(&body);
                let _ = crate::provider::openai::reading::responses_thinking(&body);
            }
        }
    }
}
