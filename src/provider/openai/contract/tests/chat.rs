//! The table of refusals of Chat Completions.

use super::*;

fn user(content: impl Into<Value>) -> Value {
    json!({"role": "user", "content": content.into()})
}

fn call(id: &str) -> Value {
    json!({"id": id, "type": "function", "function": {"name": "Read", "arguments": "{\"a\":1}"}})
}

fn calls(ids: &[&str]) -> Value {
    json!({"role": "assistant", "content": null, "tool_calls": ids.iter().map(|id| call(id)).collect::<Vec<_>>()})
}

fn result(id: &str) -> Value {
    json!({"role": "tool", "tool_call_id": id, "content": "1"})
}

fn talk(messages: &[Value]) -> Value {
    json!({"model": "m", "messages": messages})
}

fn hi() -> Value {
    talk(&[user("hi")])
}

fn tool() -> Value {
    json!({"type": "function", "function": {"name": "Read", "parameters": {"type": "object", "properties": {}}}})
}

/// A request with this function on offer.
fn offering(function: &Value) -> Value {
    with(hi(), "tools", json!([{"type": "function", "function": function}]))
}

/// A conversation with one call, in which one field of the call's function is different.
fn calling(name: &str, value: impl Into<Value>) -> Value {
    let mut turn = calls(&["a"]);
    turn["tool_calls"][0]["function"] = with(turn["tool_calls"][0]["function"].clone(), name, value.into());
    talk(&[user("hi"), turn, result("a")])
}

fn fields() -> Vec<Row> {
    vec![
        row(NOTHING, "you must provide a model parameter", with(hi(), "model", Value::Null), hi()),
        row(
            coded("messages", "missing_required_parameter"),
            "Missing required parameter: 'messages'.",
            with(hi(), "messages", Value::Null),
            hi(),
        ),
        row(
            coded("messages", "empty_array"),
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            talk(&[]),
            hi(),
        ),
        row(
            coded("messages", "invalid_type"),
            "Invalid type for 'messages': expected an array of objects, but got a string instead.",
            json!({"model": "m", "messages": "hi"}),
            hi(),
        ),
        row(
            coded("messages[1].role", "invalid_value"),
            "Invalid value: 'human'. Supported values are: 'system', 'assistant', 'user', 'function', 'tool', and \
             'developer'.",
            talk(&[user("hi"), json!({"role": "human", "content": "x"})]),
            talk(&[user("hi"), json!({"role": "developer", "content": "x"})]),
        ),
        row(
            coded("messages[0].role", "missing_required_parameter"),
            "Missing required parameter: 'messages[0].role'.",
            talk(&[json!({"content": "x"})]),
            hi(),
        ),
        row(
            coded("max_tokens", "integer_below_min_value"),
            "Invalid 'max_tokens': integer below minimum value. Expected a value >= 1, but got 0 instead.",
            with(hi(), "max_tokens", json!(0)),
            with(hi(), "max_tokens", json!(1)),
        ),
        row(
            coded("max_completion_tokens", "integer_below_min_value"),
            "Invalid 'max_completion_tokens': integer below minimum value. Expected a value >= 1, but got -3 instead.",
            with(hi(), "max_completion_tokens", json!(-3)),
            with(hi(), "max_completion_tokens", json!(3)),
        ),
        row(
            coded("max_tokens", "invalid_type"),
            "Invalid type for 'max_tokens': expected an integer, but got a decimal instead.",
            with(hi(), "max_tokens", json!(1.5)),
            with(hi(), "max_tokens", json!(1)),
        ),
        row(
            about("stream_options"),
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
            with(hi(), "stream_options", json!({"include_usage": true})),
            with(with(hi(), "stream_options", json!({"include_usage": true})), "stream", json!(true)),
        ),
    ]
}

fn contents() -> Vec<Row> {
    let image = json!([{"type": "image_url", "image_url": {"url": "data:image/png;base64,x"}}]);
    let text = json!([{"type": "text", "text": "x"}]);
    let answered = |content: &Value| {
        let result = json!({"role": "tool", "tool_call_id": "a", "content": content});
        talk(&[user("hi"), calls(&["a"]), result])
    };
    vec![
        row(
            about("messages.[0].content"),
            "Invalid value for 'content': expected a string, got null.",
            talk(&[user(Value::Null)]),
            talk(&[user("hi"), calls(&["a"]), result("a")]),
        ),
        row(
            about("messages.[1].content"),
            "Invalid value for 'content': expected a string, got null.",
            talk(&[user("hi"), json!({"role": "assistant"})]),
            talk(&[user("hi"), json!({"role": "assistant", "refusal": "no"})]),
        ),
        row(
            coded("messages[0].content", "invalid_type"),
            "Invalid type for 'messages[0].content': expected one of a string or array of objects, but got an integer \
             instead.",
            talk(&[user(1)]),
            talk(&[user("1")]),
        ),
        row(
            coded("messages[0].content", "empty_array"),
            "Invalid 'messages[0].content': empty array. Expected an array with minimum length 1, but got an empty array \
             instead.",
            talk(&[user(json!([]))]),
            talk(&[user(text.clone())]),
        ),
        row(
            coded("messages[0].content[0].type", "invalid_value"),
            "Invalid value: 'tool_result'. Supported values are: 'text', 'image_url', 'input_audio', 'refusal', 'audio', \
             and 'file'.",
            talk(&[user(json!([{"type": "tool_result", "tool_use_id": "a", "content": "x"}]))]),
            talk(&[user(json!([{"type": "file", "file": {"file_data": "x"}}]))]),
        ),
        row(
            coded("messages[0].content[0].text", "missing_required_parameter"),
            "Missing required parameter: 'messages[0].content[0].text'.",
            talk(&[user(json!([{"type": "text"}]))]),
            talk(&[user(text.clone())]),
        ),
        row(
            coded("messages[0].content[0].image_url", "invalid_type"),
            "Invalid type for 'messages[0].content[0].image_url': expected an object, but got a string instead.",
            talk(&[user(json!([{"type": "image_url", "image_url": "data:"}]))]),
            talk(&[user(image.clone())]),
        ),
        row(
            coded("messages[2]", "invalid_value"),
            "Invalid 'messages[2]'. Image URLs are only allowed for messages with role 'user', but this message with role \
             'tool' contains an image URL.",
            answered(&image),
            answered(&text),
        ),
    ]
}

fn tools() -> Vec<Row> {
    let offer = |tools: Value| with(hi(), "tools", tools);
    vec![
        row(
            coded("tools", "empty_array"),
            "Invalid 'tools': empty array. Expected an array with minimum length 1, but got an empty array instead.",
            offer(json!([])),
            hi(),
        ),
        row(
            coded("tools", "invalid_type"),
            "Invalid type for 'tools': expected an array of objects, but got an object instead.",
            offer(json!({})),
            offer(json!([tool()])),
        ),
        row(
            coded("tools", "array_above_max_length"),
            "Invalid 'tools': array too long. Expected an array with maximum length 128, but got an array with length 129 \
             instead.",
            offer(vec![tool(); 129].into()),
            offer(vec![tool(); 128].into()),
        ),
        row(
            coded("tools[0].type", "missing_required_parameter"),
            "Missing required parameter: 'tools[0].type'.",
            offer(json!([{"name": "Read", "input_schema": {"type": "object"}}])),
            offer(json!([tool()])),
        ),
        row(
            coded("tools[1].type", "invalid_value"),
            "Invalid value: 'web_search_20250305'. Supported values are: 'function' and 'custom'.",
            offer(json!([tool(), {"type": "web_search_20250305", "name": "web_search"}])),
            offer(json!([tool(), {"type": "custom", "custom": {"name": "x"}}])),
        ),
        row(
            coded("tools[0].function", "missing_required_parameter"),
            "Missing required parameter: 'tools[0].function'.",
            offer(json!([{"type": "function", "name": "Read"}])),
            offer(json!([tool()])),
        ),
        row(
            about("tool_choice"),
            "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.",
            with(hi(), "tool_choice", json!("auto")),
            with(offer(json!([tool()])), "tool_choice", json!("auto")),
        ),
        row(
            about("parallel_tool_calls"),
            "Invalid value for 'parallel_tool_calls': 'parallel_tool_calls' is only allowed when 'tools' are specified.",
            with(hi(), "parallel_tool_calls", json!(true)),
            with(offer(json!([tool()])), "parallel_tool_calls", json!(true)),
        ),
    ]
}

fn functions() -> Vec<Row> {
    let schema = |parameters: Value| offering(&json!({"name": "Read", "parameters": parameters}));
    let healthy = || schema(json!({"type": "object", "properties": {}}));
    let long = "x".repeat(65);
    vec![
        row(
            coded("tools[0].function.name", "missing_required_parameter"),
            "Missing required parameter: 'tools[0].function.name'.",
            offering(&json!({})),
            offering(&json!({"name": "Read"})),
        ),
        row(
            coded("tools[0].function.name", "empty_string"),
            "Invalid 'tools[0].function.name': empty string. Expected a string with minimum length 1, but got an empty \
             string instead.",
            offering(&json!({"name": ""})),
            offering(&json!({"name": "R"})),
        ),
        row(
            coded("tools[0].function.name", "invalid_value"),
            "Invalid 'tools[0].function.name': string does not match pattern. Expected a string that matches the pattern \
             '^[a-zA-Z0-9_-]+$'.",
            offering(&json!({"name": "mcp.read"})),
            offering(&json!({"name": "mcp__read-1"})),
        ),
        row(
            coded("tools[0].function.name", "string_above_max_length"),
            "Invalid 'tools[0].function.name': string too long. Expected a string with maximum length 64, but got a \
             string with length 65 instead.",
            offering(&json!({"name": long})),
            offering(&json!({"name": long[1..]})),
        ),
        row(
            coded("tools[0].function.parameters", "invalid_function_parameters"),
            "Invalid schema for function 'Read': schema must be a JSON Schema of 'type: \"object\"', got 'type: \
             \"string\"'.",
            schema(json!({"type": "string"})),
            healthy(),
        ),
        row(
            coded("tools[0].function.parameters", "invalid_function_parameters"),
            "Invalid schema for function 'Read': schema must be a JSON Schema of 'type: \"object\"', got 'type: \
             \"None\"'.",
            schema(json!({"properties": {}})),
            healthy(),
        ),
        row(
            coded("tools[0].function.parameters", "invalid_function_parameters"),
            "Invalid schema for function 'Read': In context=(), object schema missing properties.",
            schema(json!({"type": "object"})),
            healthy(),
        ),
        row(
            coded("tools[0].function.parameters", "invalid_function_parameters"),
            "Invalid schema for function 'Read': [] is not of type 'object', 'boolean'.",
            schema(json!([])),
            offering(&json!({"name": "Read"})),
        ),
    ]
}

fn pairs() -> Vec<Row> {
    let round = |id: &str| talk(&[user("hi"), calls(&[id]), result(id)]);
    vec![
        row(
            about("messages.[1].role"),
            "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.",
            talk(&[user("hi"), result("a")]),
            round("a"),
        ),
        row(
            about("messages.[4].role"),
            "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.",
            talk(&[user("hi"), calls(&["b"]), result("b"), user("no"), result("a")]),
            talk(&[user("hi"), calls(&["a"]), result("a"), user("no")]),
        ),
        row(
            about("messages.[3].role"),
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. \
             The following tool_call_ids did not have response messages: b, c",
            talk(&[user("hi"), calls(&["a", "b", "c"]), result("a"), user("go")]),
            talk(&[user("hi"), calls(&["a", "b", "c"]), result("c"), result("a"), result("b"), user("go")]),
        ),
        row(
            about("messages"),
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. \
             The following tool_call_ids did not have response messages: a",
            talk(&[user("hi"), calls(&["a"])]),
            round("a"),
        ),
        row(
            about("messages.[2].tool_call_id"),
            "Invalid parameter: 'tool_call_id' of 'b' not found in 'tool_calls' of previous message.",
            talk(&[user("hi"), calls(&["a"]), result("b")]),
            round("b"),
        ),
        row(
            about("messages.[3].tool_call_id"),
            "Invalid parameter: Duplicate value for 'tool_call_id' of 'a', in messages[2] and messages[3].",
            talk(&[user("hi"), calls(&["a"]), result("a"), result("a")]),
            talk(&[user("hi"), calls(&["a", "b"]), result("a"), result("b")]),
        ),
        row(
            about("messages.[1].tool_calls.[1].id"),
            "Invalid parameter: Duplicate value for 'id' of 'a', in messages[1].tool_calls[0] and \
             messages[1].tool_calls[1].",
            talk(&[user("hi"), calls(&["a", "a"]), result("a")]),
            talk(&[user("hi"), calls(&["a"]), result("a"), calls(&["a"]), result("a")]),
        ),
    ]
}

fn call_shapes() -> Vec<Row> {
    let round = |id: &str| talk(&[user("hi"), calls(&[id]), result(id)]);
    let long = "c".repeat(41);
    vec![
        row(
            coded("messages[1].tool_calls", "empty_array"),
            "Invalid 'messages[1].tool_calls': empty array. Expected an array with minimum length 1, but got an empty \
             array instead.",
            talk(&[user("hi"), json!({"role": "assistant", "content": "x", "tool_calls": []})]),
            talk(&[user("hi"), json!({"role": "assistant", "content": "x", "tool_calls": null})]),
        ),
        row(
            coded("messages[1].tool_calls[0].id", "string_above_max_length"),
            "Invalid 'messages[1].tool_calls[0].id': string too long. Expected a string with maximum length 40, but got \
             a string with length 41 instead.",
            round(&long),
            round(&long[1..]),
        ),
        row(
            coded("messages[2].tool_call_id", "missing_required_parameter"),
            "Missing required parameter: 'messages[2].tool_call_id'.",
            talk(&[user("hi"), calls(&["a"]), json!({"role": "tool", "content": "x"})]),
            round("a"),
        ),
        row(
            coded("messages[1].tool_calls[0].function.arguments", "invalid_value"),
            "Invalid 'messages[1].tool_calls[0].function.arguments': string is not valid JSON: EOF while parsing a \
             value at line 1 column 5.",
            calling("arguments", "{\"a\":"),
            calling("arguments", "{}"),
        ),
        row(
            coded("messages[1].tool_calls[0].function.arguments", "invalid_value"),
            "Invalid 'messages[1].tool_calls[0].function.arguments': string is not valid JSON: EOF while parsing a value \
             at line 1 column 0.",
            calling("arguments", ""),
            calling("arguments", "{}"),
        ),
        row(
            coded("messages[1].tool_calls[0].function.arguments", "invalid_type"),
            "Invalid type for 'messages[1].tool_calls[0].function.arguments': expected a string, but got an object \
             instead.",
            calling("arguments", json!({})),
            calling("arguments", "{}"),
        ),
        row(
            coded("messages[1].tool_calls[0].function.name", "invalid_value"),
            "Invalid 'messages[1].tool_calls[0].function.name': string does not match pattern. Expected a string that \
             matches the pattern '^[a-zA-Z0-9_-]+$'.",
            calling("name", "a b"),
            calling("name", "a_b"),
        ),
    ]
}

#[test]
fn every_broken_rule_is_refused_in_the_words_of_the_api_and_its_healthy_kin_is_not() {
    for table in [fields(), contents(), tools(), functions(), call_shapes(), pairs()] {
        assert_table(Endpoint::Chat, table);
    }
}

#[test]
fn what_is_not_known_is_accepted_and_named() {
    let body = json!({"model": "m", "speed": 1, "messages": [
        {"role": "user", "content": [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}]},
        {"role": "assistant", "content": "x", "thinking_blocks": [], "reasoning_content": "y"}],
        "tools": [{"type": "function", "function": {"name": "Read", "input_schema": {}}}]});
    let accepted = check(Endpoint::Chat, body.to_string().as_bytes(), &Limits::default()).unwrap();
    assert_eq!(accepted.unknown, ["field:speed", "message:thinking_blocks", "part:cache_control", "tool:input_schema"]);
}
