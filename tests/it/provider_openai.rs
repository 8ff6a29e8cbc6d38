//! The OpenAI faces of the scripted provider over real sockets: the shapes of their answers, the way of a tool call and back, and
//! that they share scripts, records and claims with Anthropic Messages.

use std::collections::BTreeMap;

use ccsmoke::evidence::Face;
use ccsmoke::provider::contract::Limits;
use ccsmoke::provider::{Provider, ProviderConfig};
use serde_json::{Value, json};

use crate::scripted::{
    READ_SCRIPT, Reply, exchange, join_all, record_of_the_call, register, register_as, start, text_script,
};

const CHAT: &str = "/v1/chat/completions";
const RESPONSES: &str = "/v1/responses";

/// A nonce that is the same in every run, for snapshots.
const NONCE: &str = "ref-00112233445566aa";

/// Everything that an answer can hold.
const FULL_SCRIPT: &str = r#"
[[turn]]
name = "full"
usage = { input_tokens = 100, cache_read_input_tokens = 30, cache_creation_input_tokens = 20, output_tokens = 40 }
blocks = [
    { thinking = { pieces = ["let me ", "look"] } },
    { text = ["I read ", "both ☃"] },
    { tool_use = { name = "Read", fragments = 3, input = { file_path = "{workspace}/ä" } } },
    { tool_use = { name = "Glob", input = {} } },
]
"#;

fn system(text: &str) -> Value {
    json!({"role": "system", "content": text})
}

fn user(text: impl Into<Value>) -> Value {
    json!({"role": "user", "content": text.into()})
}

/// A streamed chat request with `Read` on offer.
fn chat(messages: &[Value]) -> Value {
    let parameters = json!({"type": "object", "properties": {}});
    json!({"model": "m", "stream": true, "messages": messages,
        "tools": [{"type": "function", "function": {"name": "Read", "parameters": parameters}}]})
}

/// A streamed responses request with `Read` on offer that asks for a summary of the reasoning.
fn responses(input: impl Into<Value>) -> Value {
    let parameters = json!({"type": "object", "properties": {}});
    json!({"model": "m", "stream": true, "input": input.into(), "reasoning": {"effort": "low", "summary": "auto"},
        "tools": [{"type": "function", "name": "Read", "parameters": parameters}]})
}

fn whole(mut body: Value) -> Value {
    body["stream"] = false.into();
    body
}

fn without_tools(mut body: Value) -> Value {
    body.as_object_mut().unwrap().remove("tools");
    body
}

fn with(mut body: Value, name: &str, value: Value) -> Value {
    body[name] = value;
    body
}

async fn ask(provider: &Provider, path: &str, body: &Value) -> Reply {
    let key = format!("authorization: Bearer {}\r\n", provider.api_key());
    exchange(provider, "POST", path, &key, body.to_string().as_bytes()).await
}

/// What each event of a stream holds; the mark at the end of a chat stream is none.
fn events(reply: &Reply) -> Vec<Value> {
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("text/event-stream; charset=utf-8")));
    let data = reply.body.lines().filter_map(|l| l.strip_prefix("data: ")).filter(|d| *d != "[DONE]");
    data.map(|d| serde_json::from_str(d).unwrap()).collect()
}

/// A chat message put together from its stream, as a client would, with why it ended.
fn put_together(reply: &Reply) -> (Value, String) {
    let (mut texts, mut calls) = (BTreeMap::<String, String>::new(), Vec::<Value>::new());
    let mut ended = None;
    for chunk in events(reply) {
        let Some(choice) = chunk["choices"].get(0) else { continue };
        assert_eq!(ended, None, "nothing comes after the reason");
        ended = choice["finish_reason"].as_str().map(str::to_owned);
        for name in ["content", "reasoning_content"] {
            if let Some(piece) = choice["delta"][name].as_str() {
                texts.entry(name.to_owned()).or_default().push_str(piece);
            }
        }
        for fragment in choice["delta"]["tool_calls"].as_array().into_iter().flatten() {
            let index = usize::try_from(fragment["index"].as_u64().unwrap()).unwrap();
            if index == calls.len() {
                let mut call = fragment.clone();
                call.as_object_mut().unwrap().remove("index");
                calls.push(call);
            } else {
                assert!(fragment["id"].is_null() && fragment["function"]["name"].is_null());
                let more = fragment["function"]["arguments"].as_str().unwrap();
                let so_far = &mut calls[index]["function"]["arguments"];
                *so_far = format!("{}{more}", so_far.as_str().unwrap()).into();
            }
        }
    }
    let mut message = json!({"role": "assistant", "content": null, "refusal": null, "annotations": []});
    for (name, text) in texts {
        message[name] = text.into();
    }
    if !calls.is_empty() {
        message["tool_calls"] = calls.into();
    }
    (message, ended.unwrap())
}

/// The text of a chat answer, streamed or whole.
fn said(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{}", reply.body);
    let message = match reply.header("content-type") {
        Some("application/json") => reply.json()["choices"][0]["message"].clone(),
        _ => put_together(reply).0,
    };
    message["content"].as_str().unwrap_or_default().to_owned()
}

/// The last event of a responses stream: the response as it ended.
fn response(reply: &Reply) -> Value {
    events(reply).pop().unwrap()["response"].clone()
}

/// The words of an error in OpenAI's envelope.
fn refusal(reply: &Reply) -> String {
    let body = reply.json();
    assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>(), ["error"]);
    assert!(reply.header("x-request-id").unwrap().starts_with("req_"));
    let error = &body["error"];
    let word = |name: &str| error[name].as_str().unwrap_or("-").to_owned();
    assert!(["param", "code"].iter().all(|name| error.get(name).is_some()), "{error}");
    format!("{} {} {} {}: {}", reply.status, word("type"), word("param"), word("code"), word("message"))
}

#[tokio::test]
async fn a_chat_answer_has_the_shape_of_the_api() {
    let provider = start().await;
    register_as(&provider, NONCE, FULL_SCRIPT);
    let body = with(chat(&[user(NONCE)]), "stream_options", json!({"include_usage": true}));
    let streamed = ask(&provider, CHAT, &body).await;
    assert_eq!(streamed.header("cache-control"), Some("no-cache"));
    assert!(streamed.header("x-request-id").unwrap().starts_with("req_"));
    insta::assert_snapshot!("chat_stream", streamed.body);
    let whole = ask(&provider, CHAT, &whole(chat(&[user(NONCE)]))).await;
    assert_eq!(whole.header("content-type"), Some("application/json"));
    insta::assert_snapshot!("chat_whole", whole.body);
}

#[tokio::test]
async fn a_responses_answer_has_the_shape_of_the_api() {
    let provider = start().await;
    register_as(&provider, NONCE, FULL_SCRIPT);
    insta::assert_snapshot!("responses_stream", ask(&provider, RESPONSES, &responses(NONCE)).await.body);
    insta::assert_snapshot!("responses_whole", ask(&provider, RESPONSES, &whole(responses(NONCE))).await.body);
}

#[tokio::test]
async fn a_stream_says_the_same_as_a_whole_answer() {
    let provider = start().await;
    for script in [FULL_SCRIPT, READ_SCRIPT, &text_script("only text")] {
        let nonce = register(&provider, script);
        let body = chat(&[user(nonce.clone())]);
        let (message, reason) = put_together(&ask(&provider, CHAT, &body).await);
        let completion = ask(&provider, CHAT, &whole(body)).await.json();
        assert_eq!(completion["choices"][0]["message"], message);
        assert_eq!(completion["choices"][0]["finish_reason"], reason);

        let streamed = response(&ask(&provider, RESPONSES, &responses(nonce.clone())).await);
        assert_eq!(ask(&provider, RESPONSES, &whole(responses(nonce))).await.json(), streamed);
    }
}

#[tokio::test]
async fn the_events_of_a_responses_stream_are_numbered_and_add_up_to_its_items() {
    let provider = start().await;
    let nonce = register(&provider, FULL_SCRIPT);
    let reply = ask(&provider, RESPONSES, &responses(nonce)).await;
    let events = events(&reply);
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], number);
    }
    let names: Vec<_> = reply.body.lines().filter_map(|l| l.strip_prefix("event: ")).collect();
    assert_eq!(names, events.iter().map(|e| e["type"].as_str().unwrap()).collect::<Vec<_>>());

    let output = response(&reply)["output"].as_array().unwrap().clone();
    let done = events.iter().filter(|e| e["type"] == "response.output_item.done").map(|e| e["item"].clone());
    assert_eq!(done.collect::<Vec<_>>(), output);
    let written = |kind: &str, item: &Value| -> String {
        let mine = |e: &&Value| e["type"] == format!("response.{kind}.delta") && e["item_id"] == item["id"];
        events.iter().filter(mine).map(|e| e["delta"].as_str().unwrap()).collect()
    };
    assert_eq!(written("reasoning_summary_text", &output[0]), output[0]["summary"][0]["text"]);
    assert_eq!(written("output_text", &output[1]), output[1]["content"][0]["text"]);
    assert_eq!(written("function_call_arguments", &output[2]), output[2]["arguments"]);
    assert_eq!(written("function_call_arguments", &output[3]), output[3]["arguments"]);
}

#[tokio::test]
async fn usage_ends_a_chat_stream_only_where_it_is_asked_for() {
    let provider = start().await;
    let nonce = register(&provider, FULL_SCRIPT);
    let plain = ask(&provider, CHAT, &chat(&[user(nonce.clone())])).await;
    assert!(plain.body.ends_with("data: [DONE]\n\n") && !plain.body.contains("usage"));

    let body = with(chat(&[user(nonce)]), "stream_options", json!({"include_usage": true}));
    let mut chunks = events(&ask(&provider, CHAT, &body).await);
    let last = chunks.pop().unwrap();
    assert_eq!(last["choices"], json!([]));
    assert_eq!((&last["usage"]["prompt_tokens"], &last["usage"]["total_tokens"]), (&json!(150), &json!(190)));
    assert_eq!(last["usage"]["prompt_tokens_details"]["cached_tokens"], 30);
    let empty = |chunk: &Value| chunk.get("usage").is_some_and(Value::is_null);
    assert!(chunks.iter().all(empty), "before that it is there and null");
}

#[tokio::test]
async fn a_tool_round_trip_over_chat_plays_its_turns_and_is_on_record() {
    let provider = start().await;
    let nonce = register(&provider, READ_SCRIPT);
    let prompt = user(format!("read marker.txt ({nonce})"));
    let first = ask(&provider, CHAT, &chat(&[system("be brief"), prompt.clone()])).await;
    let (turn, reason) = put_together(&first);
    assert_eq!(reason, "tool_calls");
    assert_eq!(turn["reasoning_content"], "let me look");
    let call = &turn["tool_calls"][0];
    let id = call["id"].as_str().unwrap();
    assert!(id.starts_with("call_"));
    assert_eq!(call["function"]["arguments"], "{\"file_path\":\"/workspace/marker.txt\"}");

    let result = json!({"role": "tool", "tool_call_id": id, "content": "1\tFCC_X_READ_1A2B3C4D\n2\t"});
    let history = [system("be brief"), prompt, json!({"role": "assistant", "tool_calls": [call]}), result];
    let second = ask(&provider, CHAT, &chat(&history)).await;
    assert_eq!(put_together(&second).1, "stop");
    assert_eq!(said(&second), "It says FCC_X_READ_1A2B3C4D");

    let records = provider.records(&nonce);
    let [first, answer] = &records[..] else { panic!("{records:#?}") };
    // The record says what the script meant, in the words of the Messages API.
    let input = json!({"file_path": "/workspace/marker.txt"});
    let blocks = vec![
        json!({"type": "thinking", "thinking": "let me look", "signature": ""}),
        json!({"type": "tool_use", "id": id, "name": "Read", "input": input}),
    ];
    assert_eq!(first, &record_of_the_call(Face::OpenaiChat, blocks));
    assert_eq!((answer.turn.as_deref(), answer.stop_reason.as_deref()), (Some("answer"), Some("end_turn")));
    assert!(provider.unclaimed().is_empty());
}

#[tokio::test]
async fn a_tool_round_trip_over_responses_plays_the_same_turns() {
    let provider = start().await;
    let nonce = register(&provider, READ_SCRIPT);
    let prompt = user(format!("read marker.txt ({nonce})"));
    let first = response(&ask(&provider, RESPONSES, &responses(vec![prompt.clone()])).await);
    assert_eq!((&first["status"], &first["usage"]["output_tokens"]), (&json!("completed"), &json!(42)));
    let items = first["output"].as_array().unwrap();
    assert_eq!(items[0]["summary"][0]["text"], "let me look");

    // The items come back as they were, and the result with them.
    let mut history = vec![prompt];
    history.extend(items.iter().cloned());
    let output = "1\tFCC_X_READ_1A2B3C4D\n2\t";
    history.push(json!({"type": "function_call_output", "call_id": items[1]["call_id"], "output": output}));
    let second = response(&ask(&provider, RESPONSES, &responses(history)).await);
    assert_eq!(second["output"][0]["content"][0]["text"], "It says FCC_X_READ_1A2B3C4D");
    let records = provider.records(&nonce);
    assert_eq!(records.iter().map(|r| r.turn.as_deref()).collect::<Vec<_>>(), [Some("call"), Some("answer")]);
    assert!(records.iter().all(|r| r.face == Face::OpenaiResponses && r.delivered && r.unknown.is_empty()));
    assert_eq!(records[0].blocks[1]["id"], items[1]["call_id"]);
}

#[tokio::test]
async fn thinking_is_left_out_where_it_is_turned_off_and_hidden_where_nobody_asks_for_a_summary() {
    let provider = start().await;
    let nonce = register(&provider, READ_SCRIPT);
    let off = with(chat(&[user(nonce.clone())]), "reasoning", json!({"enabled": false, "effort": "high"}));
    assert!(!ask(&provider, CHAT, &off).await.body.contains("reasoning_content"));
    let off = with(responses(nonce.clone()), "reasoning", json!({"effort": "none"}));
    assert_eq!(response(&ask(&provider, RESPONSES, &off).await)["output"][0]["type"], "function_call");
    assert!(provider.records(&nonce).iter().all(|r| !r.thinking && r.blocks.len() == 1));

    let quiet = with(responses(nonce.clone()), "reasoning", json!({"effort": "high"}));
    let reply = ask(&provider, RESPONSES, &quiet).await;
    let item = &response(&reply)["output"][0];
    assert_eq!((&item["type"], &item["summary"]), (&json!("reasoning"), &json!([])));
    assert!(item.get("encrypted_content").is_none() && !reply.body.contains("reasoning_summary"));
    let proven = with(quiet, "include", json!(["reasoning.encrypted_content"]));
    let item = &response(&ask(&provider, RESPONSES, &proven).await)["output"][0];
    assert!(item["encrypted_content"].as_str().is_some_and(|s| !s.is_empty()));
    let last = provider.records(&nonce).pop().unwrap();
    assert_eq!((&last.blocks[0]["thinking"], &last.blocks[0]["signature"]), (&json!(""), &item["encrypted_content"]));
}

#[tokio::test]
async fn an_answer_that_was_cut_says_so_in_each_apis_words() {
    let provider = start().await;
    for (stop, reason, status, why) in [
        ("max_tokens", "length", "incomplete", json!({"reason": "max_output_tokens"})),
        ("refusal", "content_filter", "incomplete", json!({"reason": "content_filter"})),
        ("stop_sequence", "stop", "completed", Value::Null),
    ] {
        let nonce = register(&provider, &format!("{}\nstop_reason = \"{stop}\"", text_script("cut")));
        assert_eq!(put_together(&ask(&provider, CHAT, &chat(&[user(nonce.clone())])).await).1, reason);
        let reply = ask(&provider, RESPONSES, &responses(nonce)).await;
        let end = response(&reply);
        assert_eq!((&end["status"], &end["incomplete_details"]), (&json!(status), &why));
        assert_eq!(events(&reply).pop().unwrap()["type"], format!("response.{status}"));
    }
}

#[tokio::test]
async fn a_refused_request_is_answered_in_the_envelope_of_the_api_and_is_on_record() {
    let provider = start().await;
    let nonce = register(&provider, READ_SCRIPT);
    let orphan = json!({"role": "tool", "tool_call_id": "a", "content": "x"});
    let reply = ask(&provider, CHAT, &chat(&[user(nonce.clone()), orphan])).await;
    let words =
        "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.";
    assert_eq!(refusal(&reply), format!("400 invalid_request_error messages.[1].role -: {words}"));
    let orphan = json!({"type": "function_call_output", "call_id": "a", "output": "x"});
    let reply = ask(&provider, RESPONSES, &responses(vec![user(nonce.clone()), orphan])).await;
    let other = "No tool call found for function call output with call_id a.";
    assert_eq!(refusal(&reply), format!("400 invalid_request_error input -: {other}"));

    let records = provider.records(&nonce);
    let kept: Vec<_> = records.iter().map(|r| (r.face, r.status, r.refusal.as_deref())).collect();
    assert_eq!(kept, [(Face::OpenaiChat, 400, Some(words)), (Face::OpenaiResponses, 400, Some(other))]);

    // A body that is no JSON still shows whose it is.
    let key = format!("authorization: Bearer {}\r\n", provider.api_key());
    let reply = exchange(&provider, "POST", CHAT, &key, format!("{{\"messages\": \"{nonce}").as_bytes()).await;
    assert!(refusal(&reply).starts_with("400 invalid_request_error - -: We could not parse the JSON body"));
    assert_eq!(provider.records(&nonce).len(), 3);
}

#[tokio::test]
async fn a_scripted_error_keeps_its_status_words_and_headers_in_the_envelope_of_the_api() {
    let provider = start().await;
    let nonce = register(
        &provider,
        r#"
        [[turn]]
        name = "limited"
        error = { status = 429, kind = "rate_limit_error", message = "Slow down", headers = { retry-after = "1" } }
        "#,
    );
    for (path, body) in [(CHAT, chat(&[user(nonce.clone())])), (RESPONSES, responses(nonce.clone()))] {
        let reply = ask(&provider, path, &body).await;
        assert_eq!(refusal(&reply), "429 rate_limit_error - -: Slow down");
        assert_eq!(reply.header("retry-after"), Some("1"));
    }
    let records = provider.records(&nonce);
    assert!(records.iter().all(|r| (r.turn.as_deref(), r.status, &r.refusal) == (Some("limited"), 429, &None)));
}

#[tokio::test]
async fn what_is_not_known_is_counted() {
    let provider = start().await;
    let nonce = register(&provider, &text_script("x"));
    ask(&provider, CHAT, &with(chat(&[user(nonce.clone())]), "speed", json!(1))).await;
    ask(&provider, RESPONSES, &with(responses(nonce.clone()), "speed", json!(1))).await;
    for record in provider.records(&nonce) {
        assert_eq!((record.unknown, record.status), (vec!["field:speed".to_owned()], 200));
    }
}

#[tokio::test]
async fn a_retried_request_gets_the_same_bytes_whatever_came_between() {
    let provider = start().await;
    let nonce = register(&provider, FULL_SCRIPT);
    for (path, body, other) in [
        (CHAT, chat(&[user(nonce.clone())]), chat(&[user(format!("other {nonce}"))])),
        (RESPONSES, responses(nonce.clone()), responses(format!("other {nonce}"))),
    ] {
        let first = ask(&provider, path, &body).await;
        let between = ask(&provider, path, &other).await;
        let again = ask(&provider, path, &body).await;
        assert_eq!((&first.body, first.header("x-request-id")), (&again.body, again.header("x-request-id")));
        assert_ne!(first.body, between.body, "the ids of another conversation are its own");
    }
}

#[tokio::test]
async fn conversations_of_all_apis_that_run_at_once_never_mix() {
    let provider = start().await;
    let cells: Vec<(String, String)> =
        (0..24).map(|n| (register(&provider, READ_SCRIPT), format!("FCC_CELL_{n:08X}"))).collect();
    let asked = cells.iter().map(|(nonce, marker)| {
        let (provider, text) = (&provider, format!("say {marker} ({nonce})"));
        async move {
            let chatted = ask(provider, CHAT, &without_tools(chat(&[user(text.clone())]))).await;
            let answered = ask(provider, RESPONSES, &without_tools(responses(text))).await;
            let item = response(&answered)["output"][0]["content"][0]["text"].as_str().unwrap().to_owned();
            [said(&chatted), item]
        }
    });
    for ((nonce, marker), answers) in cells.iter().zip(join_all(asked).await) {
        assert!(answers.iter().all(|a| *a == format!("{marker} of {nonce}")), "{answers:?}");
        assert_eq!(provider.records(nonce).len(), 2);
    }
    assert!(provider.unclaimed().is_empty());
}

#[tokio::test]
async fn a_conversation_is_claimed_by_its_nonce_wherever_it_stands_and_never_by_a_guess() {
    let provider = start().await;
    let (one, other) = (register(&provider, &text_script("one")), register(&provider, &text_script("other")));
    let arguments = json!({"prompt": format!("do ({one})")}).to_string();
    let call = json!({"id": "a", "type": "function", "function": {"name": "Agent", "arguments": arguments}});
    let called = json!({"role": "assistant", "tool_calls": [call]});
    let result = json!({"role": "tool", "tool_call_id": "a", "content": "done"});
    for messages in [vec![system(&one), user("hi")], vec![user("go"), called, result]] {
        assert_eq!(said(&ask(&provider, CHAT, &chat(&messages)).await), "one");
    }
    let instructed = with(responses("hi"), "instructions", json!(one));
    assert_eq!(response(&ask(&provider, RESPONSES, &instructed).await)["output"][0]["content"][0]["text"], "one");
    assert_eq!((provider.records(&one).len(), provider.records(&other).len()), (3, 0));

    let unclaimed = "ccsmoke: this conversation is not part of any running cell";
    for prompt in [format!("{one} {other}"), "hi".to_owned()] {
        assert_eq!(said(&ask(&provider, CHAT, &chat(&[user(prompt)])).await), unclaimed);
    }
    assert_eq!((provider.unclaimed().len(), provider.records(&one).len()), (2, 3));
}

#[tokio::test]
async fn only_its_own_key_opens_it_and_only_as_bearer() {
    let provider = start().await;
    let nonce = register(&provider, &text_script("in"));
    let body = chat(&[user(nonce.clone())]).to_string();
    let key = provider.api_key();
    let attempt = async |headers: String| exchange(&provider, "POST", CHAT, &headers, body.as_bytes()).await;
    assert_eq!(said(&attempt(format!("authorization: Bearer {key}\r\n")).await), "in");
    let wrong = refusal(&attempt("authorization: Bearer sk-somebody-elses\r\n".into()).await);
    assert!(wrong.starts_with("401 invalid_request_error - invalid_api_key: Incorrect API key provided"), "{wrong}");
    assert!(!wrong.contains("somebody"), "a key is never repeated");
    let without = refusal(&attempt(format!("x-api-key: {key}\r\n")).await);
    assert!(without.starts_with("401 invalid_request_error - -: You didn't provide an API key."), "{without}");
    assert_eq!(provider.records(&nonce).iter().filter(|r| r.status == 401).count(), 2);
}

#[tokio::test]
async fn models_are_listed_in_the_form_of_the_client_that_asks() {
    let models = Some(["openai/a", "b"].map(str::to_owned).to_vec());
    let limits = Limits { models, context_window: None };
    let provider = Provider::start(ProviderConfig { limits, ..ProviderConfig::default() }).await.unwrap();
    let key = format!("authorization: Bearer {}\r\n", provider.api_key());
    let anthropic = format!("{key}anthropic-version: 2023-06-01\r\n");
    let get = async |path: &str, headers: &str| exchange(&provider, "GET", path, headers, b"").await;

    let list = get("/v1/models", &key).await.json();
    let ids: Vec<_> = list["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect();
    assert_eq!((&list["object"], ids), (&json!("list"), vec!["openai/a", "b"]));
    let model = json!({"id": "openai/a", "object": "model", "created": 1_767_225_600, "owned_by": "ccsmoke"});
    assert_eq!(list["data"][0], model);
    for path in ["/v1/models/openai/a", "/v1/models/openai%2Fa"] {
        assert_eq!(get(path, &key).await.json(), model);
    }
    let missing =
        "404 invalid_request_error - model_not_found: The model `x` does not exist or you do not have access to it.";
    assert_eq!(refusal(&get("/v1/models/x", &key).await), missing);
    assert_eq!(refusal(&ask(&provider, CHAT, &with(chat(&[user("hi")]), "model", json!("x"))).await), missing);
    assert_eq!(get("/v1/models", "").await.status, 401);

    assert_eq!(get("/v1/models", &anthropic).await.json()["first_id"], "openai/a");
    assert_eq!(get("/v1/models/b", &anthropic).await.json()["display_name"], "b");
    assert_eq!(get("/v1/models/x", &anthropic).await.json()["error"]["message"], "model: x");
}

#[tokio::test]
async fn a_path_that_is_none_is_told_in_the_form_of_the_client_that_asks() {
    let provider = start().await;
    let unknown = exchange(&provider, "POST", "/v1/completions", "", b"{}").await;
    assert_eq!(refusal(&unknown), "404 invalid_request_error - -: Invalid URL (POST /v1/completions)");
    for path in [CHAT, RESPONSES] {
        let method = refusal(&exchange(&provider, "GET", path, "", b"").await);
        let words = format!("Invalid method for URL (GET {path})");
        assert_eq!(method, format!("405 invalid_request_error - method_not_supported: {words}"));
    }
    // Messages stay Anthropic's, whoever asks.
    let messages = exchange(&provider, "POST", "/v1/messages", "", b"{}").await.json();
    assert_eq!((&messages["type"], &messages["error"]["type"]), (&json!("error"), &json!("authentication_error")));
}
