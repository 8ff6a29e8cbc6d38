//! The table of refusals of Responses.

use super::*;

fn user(content: impl Into<Value>) -> Value {
    json!({"role": "user", "content": content.into()})
}

fn call(id: &str) -> Value {
    json!({"type": "function_call", "call_id": id, "name": "Read", "arguments": "{}"})
}

fn result(id: &str) -> Value {
    json!({"type": "function_call_output", "call_id": id, "output": "1"})
}

fn talk(input: impl Into<Value>) -> Value {
    json!({"model": "m", "input": input.into()})
}

/// A conversation with one item between the user and a call with its result.
fn with_item(item: Value) -> Value {
    talk(vec![user("hi"), item, call("a"), result("a")])
}

fn said(role: &str, kind: &str) -> Value {
    with_item(json!({"type": "message", "role": role, "content": [{"type": kind, "text": "x"}]}))
}

fn fields() -> Vec<Row> {
    let offer = |tool: Value| with(talk("hi"), "tools", json!([tool]));
    let function = || json!({"type": "function", "name": "Read", "parameters": {"type": "object", "properties": {}}});
    vec![
        row(
            coded("model", "missing_required_parameter"),
            "Missing required parameter: 'model'.",
            json!({"input": "hi"}),
            talk("hi"),
        ),
        row(
            coded("input", "missing_required_parameter"),
            "Missing required parameter: 'input'.",
            json!({"model": "m", "messages": []}),
            talk("hi"),
        ),
        row(
            coded("input", "invalid_type"),
            "Invalid type for 'input': expected one of a string or array of objects, but got an object instead.",
            talk(user("hi")),
            talk(vec![user("hi")]),
        ),
        row(
            coded("input", "empty_array"),
            "Invalid 'input': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            talk(json!([])),
            talk(vec![user("hi")]),
        ),
        row(
            coded("input[1].role", "invalid_value"),
            "Invalid value: 'tool'. Supported values are: 'assistant', 'system', 'developer', and 'user'.",
            with_item(json!({"role": "tool", "content": "x"})),
            with_item(json!({"role": "system", "content": "x"})),
        ),
        row(
            coded("input[1].content[0].type", "invalid_value"),
            "Invalid value: 'text'. Supported values are: 'input_text', 'input_image', 'input_audio', 'output_text', \
             'refusal', 'input_file', 'computer_screenshot', 'summary_text', and 'encrypted_content'.",
            said("user", "text"),
            said("user", "input_text"),
        ),
        row(
            coded("input[1].content[0]", "invalid_value"),
            "Invalid value: 'input_text'. Supported values are: 'output_text' and 'refusal'.",
            said("assistant", "input_text"),
            said("assistant", "output_text"),
        ),
        row(
            coded("previous_response_id", "previous_response_not_found"),
            "Previous response with id 'resp_1' not found.",
            with(talk("hi"), "previous_response_id", json!("resp_1")),
            talk("hi"),
        ),
        row(
            coded("max_output_tokens", "integer_below_min_value"),
            "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got 15 instead.",
            with(talk("hi"), "max_output_tokens", json!(15)),
            with(talk("hi"), "max_output_tokens", json!(16)),
        ),
        row(
            coded("tools[0].name", "missing_required_parameter"),
            "Missing required parameter: 'tools[0].name'.",
            offer(json!({"type": "function", "function": {"name": "Read"}})),
            offer(function()),
        ),
        row(
            coded("tools[0].type", "missing_required_parameter"),
            "Missing required parameter: 'tools[0].type'.",
            offer(json!({"name": "Read"})),
            offer(json!({"type": "web_search"})),
        ),
        row(
            coded("tools[0].parameters", "invalid_function_parameters"),
            "Invalid schema for function 'Read': schema must be a JSON Schema of 'type: \"object\"', got 'type: \
             \"None\"'.",
            offer(with(function(), "parameters", json!({}))),
            offer(function()),
        ),
    ]
}

fn items() -> Vec<Row> {
    let long = "c".repeat(65);
    let round = |id: &str| talk(vec![user("hi"), call(id), result(id)]);
    let arguments = |text: &str| talk(vec![user("hi"), with(call("a"), "arguments", text.into()), result("a")]);
    let id = |item: Value, id: &str| with(item, "id", id.into());
    vec![
        row(
            about("input"),
            "No tool call found for function call output with call_id b.",
            talk(vec![user("hi"), call("a"), result("a"), result("b")]),
            talk(vec![user("hi"), call("a"), call("b"), result("b"), user("x"), result("a")]),
        ),
        row(
            about("input"),
            "No tool output found for function call b.",
            talk(vec![user("hi"), call("a"), call("b"), result("a")]),
            talk(vec![user("hi"), call("a"), call("b"), result("b"), result("a")]),
        ),
        row(
            about("input"),
            "Duplicate item found with id a. Remove duplicate items from your input and try again.",
            talk(vec![user("hi"), call("a"), call("a"), result("a")]),
            round("a"),
        ),
        row(
            coded("input[1].id", "invalid_value"),
            "Invalid 'input[1].id': 'call_1'. Expected an ID that begins with 'fc'.",
            talk(vec![user("hi"), id(call("a"), "call_1"), result("a")]),
            talk(vec![user("hi"), id(call("a"), "fc_1"), result("a")]),
        ),
        row(
            coded("input[0].id", "invalid_value"),
            "Invalid 'input[0].id': 'item_1'. Expected an ID that begins with 'msg'.",
            talk(vec![id(user("hi"), "item_1")]),
            talk(vec![id(user("hi"), "msg_1")]),
        ),
        row(
            coded("input[1].id", "invalid_value"),
            "Invalid 'input[1].id': 'r1'. Expected an ID that begins with 'rs'.",
            with_item(json!({"type": "reasoning", "id": "r1", "summary": []})),
            with_item(json!({"type": "reasoning", "id": "rs_1", "summary": []})),
        ),
        row(
            coded("input[1].call_id", "string_above_max_length"),
            "Invalid 'input[1].call_id': string too long. Expected a string with maximum length 64, but got a string with \
             length 65 instead.",
            round(&long),
            round(&long[1..]),
        ),
        row(
            coded("input[1].arguments", "invalid_value"),
            "Invalid 'input[1].arguments': string is not valid JSON: expected ident at line 1 column 2.",
            arguments("nonsense"),
            arguments("{}"),
        ),
        row(
            coded("input[2].output", "missing_required_parameter"),
            "Missing required parameter: 'input[2].output'.",
            talk(vec![user("hi"), call("a"), with(result("a"), "output", Value::Null)]),
            talk(vec![user("hi"), call("a"), with(result("a"), "output", json!([{"type": "input_image"}]))]),
        ),
    ]
}

#[test]
fn every_broken_rule_is_refused_in_the_words_of_the_api_and_its_healthy_kin_is_not() {
    assert_table(Endpoint::Responses, fields());
    assert_table(Endpoint::Responses, items());
}

#[test]
fn an_empty_list_of_tools_is_none_here() {
    let body = with(talk("hi"), "tools", json!([]));
    assert!(check(Endpoint::Responses, body.to_string().as_bytes(), &Limits::default()).is_ok());
}

#[test]
fn what_is_not_known_is_accepted_and_named() {
    let mut body = talk(vec![json!({"role": "user", "content": "x", "tool_calls": []}), json!({"type": "dream"})]);
    body["speed"] = 1.into();
    let accepted = check(Endpoint::Responses, body.to_string().as_bytes(), &Limits::default()).unwrap();
    assert_eq!(accepted.unknown, ["field:speed", "item:dream", "message:tool_calls"]);
}
