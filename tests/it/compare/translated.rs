//! The comparison behind a gateway that translates to an OpenAI API.

use std::collections::BTreeSet;

use ccsmoke::evidence::TargetKind;
use ccsmoke::exchange::End;
use ccsmoke::finding::Severity;
use serde_json::{Value, json};

use super::{PROBE, Scene, TEXT_PROBE, THINKING_PROBE, findings_of, message, request};

/// What a translator has to be allowed.
const REWRITES: [&str; 4] = ["model", "system_message", "thinking_signature", "usage_start"];

fn array(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The text of a content: a string, or its text blocks.
fn text(content: &Value) -> String {
    let parts = array(content).iter().filter_map(|b| b["text"].as_str());
    content.as_str().map_or_else(|| parts.collect::<Vec<_>>().join("\n"), str::to_owned)
}

fn images(content: &Value) -> Vec<Value> {
    let image = |b: &Value| {
        b["source"]["data"]
            .as_str()
            .map(|d| json!({ "type": "image_url", "image_url": { "url": format!("data:image/png;base64,{d}") } }))
    };
    array(content).iter().filter_map(image).collect()
}

/// A faithful translation of a request into Chat Completions.
fn asked_of_chat(request: &Value) -> Value {
    let mut system = vec![text(&request["system"])];
    let mut messages = Vec::new();
    for message in array(&request["messages"]) {
        let content = &message["content"];
        let blocks = array(content);
        match message["role"].as_str() {
            Some("system") => system.push(text(content)),
            Some("assistant") => {
                let calls: Vec<Value> = blocks
                    .iter()
                    .filter(|b| b["type"] == "tool_use")
                    .map(|b| {
                        json!({ "id": b["id"], "type": "function", "function": {
                            "name": b["name"], "arguments": b["input"].to_string(),
                        }})
                    })
                    .collect();
                let mut said = json!({ "role": "assistant", "content": text(content) });
                if !calls.is_empty() {
                    said["tool_calls"] = json!(calls);
                }
                messages.push(said);
            }
            _ => {
                for result in blocks.iter().filter(|b| b["type"] == "tool_result") {
                    let said = text(&result["content"]);
                    messages.push(json!({ "role": "tool", "tool_call_id": result["tool_use_id"], "content": said }));
                    let shown = images(&result["content"]);
                    if !shown.is_empty() {
                        messages.push(json!({ "role": "user", "content": shown }));
                    }
                }
                let said = text(content);
                if !said.is_empty() {
                    messages.push(json!({ "role": "user", "content": [{ "type": "text", "text": said }] }));
                }
            }
        }
    }
    messages.insert(0, json!({ "role": "system", "content": system.join("\n\n") }));
    let tools: Vec<Value> = array(&request["tools"])
        .iter()
        .map(|t| {
            let mut schema = t["input_schema"].clone();
            schema.as_object_mut().unwrap().remove("$schema");
            json!({ "type": "function", "function": {
                "name": t["name"], "description": t["description"], "parameters": schema,
            }})
        })
        .collect();
    json!({
        "model": "gpt-scripted",
        "messages": messages,
        "tools": tools,
        "max_completion_tokens": request["max_tokens"],
        "reasoning_effort": request["output_config"]["effort"],
        "stream": true,
        "stream_options": { "include_usage": true },
    })
}

/// The same in Responses.
fn asked_of_responses(request: &Value) -> Value {
    let chat = asked_of_chat(request);
    let mut input = Vec::new();
    for message in array(&chat["messages"]).iter().skip(1) {
        let content = &message["content"];
        match message["role"].as_str() {
            Some("tool") => input.push(json!({
                "type": "function_call_output", "call_id": message["tool_call_id"], "output": content,
            })),
            Some("assistant") => {
                for call in array(&message["tool_calls"]) {
                    let f = &call["function"];
                    input.push(json!({
                        "type": "function_call", "call_id": call["id"], "name": f["name"], "arguments": f["arguments"],
                    }));
                }
                let said = json!([{ "type": "output_text", "text": content }]);
                input.push(json!({ "type": "message", "role": "assistant", "content": said }));
            }
            _ => {
                let part = |p: &Value| match p["image_url"]["url"].as_str() {
                    Some(url) => json!({ "type": "input_image", "image_url": url }),
                    None => json!({ "type": "input_text", "text": p["text"] }),
                };
                let parts: Vec<Value> = array(content).iter().map(part).collect();
                input.push(json!({ "role": "user", "content": parts }));
            }
        }
    }
    let tool = |t: &Value| {
        let mut tool = t["function"].clone();
        tool["type"] = json!("function");
        tool
    };
    json!({
        "model": "gpt-scripted",
        "instructions": chat["messages"][0]["content"],
        "input": input,
        "tools": array(&chat["tools"]).iter().map(tool).collect::<Vec<_>>(),
        "max_output_tokens": request["max_tokens"],
        "reasoning": { "effort": "high" },
        "stream": true,
    })
}

/// The chunks in which a provider gives [`message`] as Chat Completions.
fn chat_answer() -> String {
    let message = message();
    let content = &message["content"];
    let chunk = |delta: Value| json!({ "model": "gpt-scripted", "choices": [{ "index": 0, "delta": delta }] });
    let arguments = content[2]["input"].to_string();
    let (head, tail) = arguments.split_at(5);
    let call = |function: Value, id: Value| json!({ "tool_calls": [{ "index": 0, "id": id, "function": function }] });
    let chunks = [
        chunk(json!({ "role": "assistant", "content": "" })),
        chunk(json!({ "reasoning_content": content[0]["thinking"] })),
        chunk(json!({ "content": content[1]["text"] })),
        chunk(call(json!({ "name": "Read", "arguments": head }), json!("call_2"))),
        chunk(call(json!({ "arguments": tail }), Value::Null)),
        json!({ "model": "gpt-scripted", "choices": [{ "index": 0, "delta": {}, "finish_reason": "tool_calls" }] }),
        json!({ "model": "gpt-scripted", "choices": [], "usage": {
            "prompt_tokens": 330, "completion_tokens": 42, "prompt_tokens_details": { "cached_tokens": 10 },
        }}),
    ];
    let data = chunks.iter().map(Value::to_string).chain(["[DONE]".to_owned()]);
    data.map(|data| format!("data: {data}\n\n")).collect::<Vec<_>>().concat()
}

/// The last event of the same answer as Responses.
fn responses_answer() -> String {
    let content = &message()["content"];
    let response = json!({
        "status": "completed", "model": "gpt-scripted",
        "output": [
            { "type": "reasoning", "summary": [{ "type": "summary_text", "text": content[0]["thinking"] }] },
            { "type": "message", "content": [{ "type": "output_text", "text": content[1]["text"] }] },
            { "type": "function_call", "call_id": "call_2", "name": "Read", "arguments": content[2]["input"].to_string() },
        ],
        "usage": { "input_tokens": 330, "output_tokens": 42, "input_tokens_details": { "cached_tokens": 10 } },
    });
    let data = json!({ "type": "response.completed", "response": response });
    format!("event: response.completed\ndata: {data}\n\n")
}

/// A gateway that translates faithfully into Chat Completions.
pub(crate) fn chat() -> Scene {
    let mut scene = Scene::through();
    scene.kind = TargetKind::Translator;
    scene.rewrites = REWRITES.map(str::to_owned).to_vec();
    "/v1/chat/completions".clone_into(&mut scene.far.target);
    scene.far.headers = vec![("authorization".to_owned(), "Bearer x".to_owned())];
    scene.far.body = asked_of_chat(&request()).to_string().into_bytes();
    scene.far.answer = chat_answer().into_bytes();
    let mut said = message();
    said["content"][0]["signature"] = json!("");
    said["content"][2]["id"] = json!("call_2");
    said["usage"]["input_tokens"] = json!(0);
    said["usage"]["cache_creation_input_tokens"] = json!(0);
    said["usage"]["cache_read_input_tokens"] = json!(0);
    scene.near.says(&said);
    let counts = r#""usage":{"input_tokens":320,"cache_read_input_tokens":10,"output_tokens":42}"#;
    let text = String::from_utf8(scene.near.answer.clone()).unwrap();
    scene.near.answer = text.replace(r#""usage":{"output_tokens":42}"#, counts).into_bytes();
    scene
}

/// A gateway that translates faithfully into Responses.
fn responses() -> Scene {
    let mut scene = chat();
    "/v1/responses".clone_into(&mut scene.far.target);
    scene.far.body = asked_of_responses(&request()).to_string().into_bytes();
    scene.far.answer = responses_answer().into_bytes();
    scene
}

fn only(code: &str) -> BTreeSet<String> {
    BTreeSet::from([code.to_owned()])
}

#[test]
fn a_faithful_translation_is_found_nothing_of_in_either_api() {
    assert_eq!(chat().findings(), []);
    assert_eq!(responses().findings(), []);
}

/// A code and what is lost with it.
type Lost = (&'static str, fn(&mut Value));

#[test]
fn what_a_translation_loses_on_the_way_up_is_told() {
    let cases: &[Lost] = &[
        ("request-history-changed", |b| b["messages"][1]["content"][0]["text"] = json!("Read ref-0123456789abcdef")),
        ("request-history-changed", |b| b["messages"][2]["tool_calls"][0]["function"]["arguments"] = json!("{}")),
        ("request-history-changed", |b| b["messages"][2]["tool_calls"] = json!([])),
        ("request-history-changed", |b| b["messages"][3]["tool_call_id"] = json!("other")),
        ("request-history-changed", |b| b["messages"][3]["content"] = json!("2\tmarker")),
        ("request-history-changed", |b| drop(b["messages"].as_array_mut().unwrap().drain(2..4))),
        ("request-history-changed", |b| {
            b["messages"].as_array_mut().unwrap().push(json!({ "role": "assistant", "content": "{" }));
        }),
        ("request-history-changed", |b| b["messages"][5]["content"] = json!("Go on. And be quick.")),
        ("request-system-changed", |b| b["messages"][0]["content"] = json!("You are an agent.\nMind the date.")),
        ("request-tools-changed", |b| b["tools"] = json!([])),
        ("request-tools-changed", |b| b["tools"][0]["function"]["description"] = json!("reads")),
        ("request-tools-changed", |b| b["tools"][0]["function"]["parameters"]["required"] = json!(["other"])),
        ("request-tools-changed", |b| b["tool_choice"] = json!("required")),
        ("request-thinking-untranslated", |b| b["reasoning_effort"] = json!("low")),
        ("request-thinking-untranslated", |b| drop(b.as_object_mut().unwrap().remove("reasoning_effort"))),
        ("request-thinking-untranslated", |b| b["reasoning"] = json!({ "effort": "high", "enabled": false })),
        ("request-stream-changed", |b| b["stream"] = json!(false)),
        ("request-field-changed", |b| b["max_completion_tokens"] = json!(4096)),
    ];
    for (i, (code, change)) in cases.iter().enumerate() {
        let mut scene = chat();
        scene.far.edit(change);
        assert_eq!(scene.codes(), only(code), "case {i}: {:#?}", scene.findings());
    }
}

#[test]
fn thinking_that_a_translation_loses_fails_the_probes_about_thinking_only() {
    let mut scene = chat();
    scene.far.edit(|b| b["reasoning_effort"] = json!("none"));
    let of =
        |probe| findings_of(probe, &scene.evidence()).into_iter().map(|f| (f.code, f.severity)).collect::<Vec<_>>();
    assert_eq!(of(&PROBE), [("request-thinking-untranslated".to_owned(), Severity::Note)]);
    assert_eq!(of(&THINKING_PROBE), [("request-thinking-changed".to_owned(), Severity::Degraded)]);
}

#[test]
fn what_a_translation_may_do_on_the_way_up_is_not_told() {
    let cases: &[fn(&mut Value)] = &[
        |b| b["messages"][0]["role"] = json!("developer"),
        |b| b["tool_choice"] = json!("auto"),
        |b| drop(b.as_object_mut().unwrap().remove("max_completion_tokens")),
        |b| b["tools"][0]["function"]["parameters"]["properties"]["file_path"]["format"] = json!("path"),
        // Ids may change where calls and results agree.
        |b| {
            b["messages"][2]["tool_calls"][0]["id"] = json!("call_x");
            b["messages"][3]["tool_call_id"] = json!("call_x");
        },
        // A system text from the middle may become a word of the user, with a note in front of it.
        |b| {
            b["messages"][0]["content"] = json!("x-anthropic-billing-header: cc_version=2;\nYou are an agent.");
            let note = json!({ "role": "user", "content": "A note of the operator:\nMind the date." });
            b["messages"].as_array_mut().unwrap().insert(2, note);
        },
    ];
    for (i, change) in cases.iter().enumerate() {
        let mut scene = chat();
        scene.far.edit(change);
        assert_eq!(scene.findings(), [], "case {i}");
    }
}

#[test]
fn system_texts_among_the_users_words_need_the_rewrite() {
    let mut scene = chat();
    scene.far.edit(|b| {
        let note = json!({ "role": "user", "content": "A note of the operator:\nMind the date." });
        b["messages"].as_array_mut().unwrap().insert(2, note);
    });
    assert_eq!(scene.findings(), []);
    scene.rewrites.retain(|r| r != "system_message");
    assert_eq!(scene.codes(), only("request-history-changed"));
}

#[test]
fn what_a_translation_loses_on_the_way_down_is_told() {
    let cases: &[(&str, &str, &str)] = &[
        ("answer-text-changed", "And another one.", "And another one"),
        ("answer-thinking-changed", "One more file.", "One more"),
        ("answer-tool-changed", "/w/b.txt", "/w/c.txt"),
        ("answer-stop-reason-changed", "\"stop_reason\":\"tool_use\"", "\"stop_reason\":\"end_turn\""),
        ("answer-usage-changed", "\"input_tokens\":320", "\"input_tokens\":330"),
        ("answer-usage-changed", "\"input_tokens\":320,\"cache_read_input_tokens\":10", "\"input_tokens\":330"),
        ("answer-usage-changed", "\"output_tokens\":42", "\"output_tokens\":0"),
    ];
    for (code, from, to) in cases {
        for mut scene in [chat(), responses()] {
            let text = String::from_utf8(scene.near.answer.clone()).unwrap();
            assert!(text.contains(from), "{from} in {text}");
            scene.near.answer = text.replace(from, to).into_bytes();
            assert_eq!(scene.codes(), only(code), "{to}");
        }
    }
}

#[test]
fn lost_reasoning_is_told_only_where_the_client_asked_for_thinking() {
    let mut scene = chat();
    let thought = String::from_utf8(scene.near.answer.clone()).unwrap();
    scene.near.answer = thought.replace("One more file.", "").into_bytes();
    assert_eq!(scene.codes(), only("answer-thinking-changed"));
    scene.near.remove("thinking");
    assert_eq!(scene.findings(), []);
}

#[test]
fn each_rewrite_of_a_translator_is_needed() {
    let codes = [
        ("model", vec!["request-model-changed"]),
        ("thinking_signature", vec!["answer-thinking-changed"]),
        ("usage_start", vec!["answer-usage-changed"]),
        ("system_message", vec![]),
    ];
    for (rewrite, expected) in codes {
        let mut scene = chat();
        scene.rewrites.retain(|r| r != rewrite);
        let expected: BTreeSet<String> = expected.into_iter().map(str::to_owned).collect();
        assert_eq!(scene.codes(), expected, "{rewrite}");
    }
}

#[test]
fn token_counts_that_were_never_asked_for_are_the_gateways_fault() {
    let mut scene = chat();
    scene.far.edit(|b| drop(b.as_object_mut().unwrap().remove("stream_options")));
    let text = String::from_utf8(scene.far.answer.clone()).unwrap();
    let (chunks, _) = text.rsplit_once("data: {").unwrap();
    scene.far.answer = format!("{chunks}data: [DONE]\n\n").into_bytes();
    let found = scene.findings();
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].message.contains("include_usage"));
    // Text and tools work without token counts.
    assert_eq!(findings_of(&TEXT_PROBE, &scene.evidence()), []);
}

#[test]
fn errors_have_to_get_the_envelope_and_keep_status_and_words() {
    let refusal = json!({ "error": { "message": "too many", "type": "server_error", "code": null } });
    let enveloped = json!({ "type": "error", "error": { "type": "overloaded_error", "message": "too many" } });
    let mut scene = chat();
    scene.far.refuses(503, &refusal, &[]);
    scene.near.refuses(503, &enveloped, &[]);
    assert_eq!(scene.findings(), []);
    scene.near.refuses(503, &refusal, &[]);
    assert_eq!(scene.codes(), only("error-envelope-lost"));
    scene.near.refuses(500, &enveloped, &[]);
    assert_eq!(scene.codes(), only("error-status-changed"));
}

#[test]
fn a_cut_answer_must_not_look_whole() {
    let mut scene = chat();
    scene.far.breaks_behind("And another one.", End::UpstreamBroke { error: "reset".to_owned() });
    assert_eq!(scene.codes(), only("answer-invented"));
}
