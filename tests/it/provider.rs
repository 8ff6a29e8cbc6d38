//! The scripted provider over real sockets: whose request it is, what is answered, how it is sent, and what is recorded.

use std::path::Path;
use std::time::Duration;

use ccsmoke::evidence::Face;
use ccsmoke::exchange::Header;
use ccsmoke::provider::contract::{self, Endpoint, Limits};
use ccsmoke::provider::issued::Issued;
use ccsmoke::provider::{Provider, ProviderConfig, nonce};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::scripted::{
    self, PATIENCE, READ_SCRIPT, Reply, address, join_all, record_of_the_call, register, start, text_script,
};

/// The words of an error, once its envelope has been looked at.
fn refusal(reply: &Reply) -> String {
    let body = reply.json();
    assert_eq!(body["type"], "error");
    assert_eq!(body["request_id"].as_str(), reply.header("request-id"));
    assert!(body["request_id"].as_str().unwrap().starts_with("req_"));
    format!(
        "{} {}: {}",
        reply.status,
        body["error"]["type"].as_str().unwrap(),
        body["error"]["message"].as_str().unwrap()
    )
}

fn user(content: impl Into<Value>) -> Value {
    json!({"role": "user", "content": content.into()})
}

fn result(id: &str, content: &str) -> Value {
    user(json!([{"type": "tool_result", "tool_use_id": id, "content": content}]))
}

fn read_tool() -> Value {
    json!([{"name": "Read", "input_schema": {"type": "object"}}])
}

fn request(messages: &[Value], tools: &Value) -> Value {
    json!({"model": "claude-sonnet-5-5", "max_tokens": 100, "stream": true, "messages": messages, "tools": tools,
        "thinking": {"type": "adaptive"}})
}

/// The head of a request; the version is always stated.
fn head(method: &str, target: &str, headers: &str, length: usize) -> String {
    scripted::head(method, target, &format!("anthropic-version: 2023-06-01\r\n{headers}"), length)
}

async fn exchange(provider: &Provider, method: &str, target: &str, headers: &str, body: &[u8]) -> Reply {
    let headers = format!("anthropic-version: 2023-06-01\r\n{headers}");
    scripted::exchange(provider, method, target, &headers, body).await
}

async fn ask(provider: &Provider, body: &Value) -> Reply {
    let key = format!("x-api-key: {}\r\n", provider.api_key());
    exchange(provider, "POST", "/v1/messages?beta=true", &key, body.to_string().as_bytes()).await
}

/// The answer's blocks put together from the stream, as a client would.
fn blocks(reply: &Reply) -> Vec<Value> {
    let mut blocks: Vec<Value> = Vec::new();
    let mut arguments = String::new();
    for data in reply.body.lines().filter_map(|l| l.strip_prefix("data: ")) {
        let event: Value = serde_json::from_str(data).unwrap();
        let delta = &event["delta"];
        let mut append = |field: &str, text: &Value| {
            let block = blocks.last_mut().unwrap();
            block[field] = format!("{}{}", block[field].as_str().unwrap(), text.as_str().unwrap()).into();
        };
        match (event["type"].as_str().unwrap(), delta["type"].as_str().unwrap_or_default()) {
            ("content_block_start", _) => blocks.push(event["content_block"].clone()),
            (_, "text_delta") => append("text", &delta["text"]),
            (_, "thinking_delta") => append("thinking", &delta["thinking"]),
            (_, "signature_delta") => append("signature", &delta["signature"]),
            (_, "input_json_delta") => arguments.push_str(delta["partial_json"].as_str().unwrap()),
            ("content_block_stop", _) if !arguments.is_empty() => {
                blocks.last_mut().unwrap()["input"] = serde_json::from_str(&std::mem::take(&mut arguments)).unwrap();
            }
            _ => {}
        }
    }
    blocks
}

/// The text of an answer, streamed or whole.
fn said(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{}", reply.body);
    let blocks = match reply.header("content-type") {
        Some("application/json") => reply.json()["content"].as_array().unwrap().clone(),
        _ => blocks(reply),
    };
    blocks.iter().filter_map(|b| b["text"].as_str()).collect()
}

#[test]
fn every_request_of_the_real_client_is_accepted_and_holds_nothing_unknown() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/client-requests");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let recorded: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let headers: Vec<Header> = serde_json::from_value(recorded["headers"].clone()).unwrap();
        let endpoint = match recorded["target"].as_str().unwrap() {
            "/v1/messages?beta=true" => Endpoint::Messages,
            "/v1/messages/count_tokens?beta=true" => Endpoint::CountTokens,
            other => panic!("{other}"),
        };
        let body = recorded["body"].to_string();
        let accepted =
            contract::check(endpoint, &headers, body.as_bytes(), &Issued::unknown(), &Limits::default()).unwrap();
        assert_eq!(accepted.unknown, Vec::<String>::new(), "{}", path.display());
        seen += 1;
    }
    assert!(seen > 10, "the recorded requests are missing");
}

#[tokio::test]
async fn a_tool_round_trip_plays_its_turns_and_is_on_record() {
    let provider = start().await;
    let nonce = register(&provider, READ_SCRIPT);
    let prompt = user(format!("read marker.txt ({nonce})"));
    let first = ask(&provider, &request(std::slice::from_ref(&prompt), &read_tool())).await;
    assert_eq!(first.header("content-type"), Some("text/event-stream; charset=utf-8"));
    assert_eq!(first.header("cache-control"), Some("no-cache"));
    assert!(first.header("request-id").unwrap().starts_with("req_"));
    let turn = blocks(&first);
    assert_eq!(turn[0]["thinking"], "let me look");
    assert_eq!(turn[1]["input"], json!({"file_path": "/workspace/marker.txt"}));

    let history = [
        prompt,
        json!({"role": "assistant", "content": turn}),
        result(turn[1]["id"].as_str().unwrap(), "1\tFCC_X_READ_1A2B3C4D\n2\t"),
    ];
    let second = ask(&provider, &request(&history, &read_tool())).await;
    assert_eq!(said(&second), "It says FCC_X_READ_1A2B3C4D");

    let records = provider.records(&nonce);
    let [call, answer] = &records[..] else { panic!("{records:#?}") };
    assert_eq!(call, &record_of_the_call(Face::Anthropic, turn));
    assert_eq!(answer.turn.as_deref(), Some("answer"));
    assert_eq!(answer.usage.unwrap().output_tokens, 5);
    assert_eq!(answer.stop_reason.as_deref(), Some("end_turn"));
    assert!(!answer.thinking && answer.delivered);
    assert!(provider.unclaimed().is_empty());
}

#[tokio::test]
async fn thinking_that_a_gateway_edited_is_refused_and_the_refusal_is_on_record() {
    let provider = start().await;
    let nonce = register(&provider, READ_SCRIPT);
    let prompt = user(format!("read ({nonce})"));
    let mut turn = blocks(&ask(&provider, &request(std::slice::from_ref(&prompt), &read_tool())).await);
    let id = turn[1]["id"].as_str().unwrap().to_owned();
    turn[0]["thinking"] = "let me look ".into();
    let edited = [prompt, json!({"role": "assistant", "content": turn}), result(&id, "x")];
    let reply = ask(&provider, &request(&edited, &read_tool())).await;
    let words = "messages.1.content.0: `thinking` or `redacted_thinking` blocks in the latest assistant message cannot \
                 be modified. These blocks must remain as they were in the original response.";
    assert_eq!(refusal(&reply), format!("400 invalid_request_error: {words}"));
    let record = provider.records(&nonce).pop().unwrap();
    assert_eq!((record.status, record.turn, record.refusal.as_deref()), (400, None, Some(words)));
    assert!(record.delivered);
}

#[tokio::test]
async fn a_retried_request_gets_the_same_bytes_whatever_came_between() {
    let provider = start().await;
    let nonce = register(&provider, READ_SCRIPT);
    let body = request(&[user(format!("read ({nonce})"))], &read_tool());
    let first = ask(&provider, &body).await;
    ask(&provider, &request(&[user(format!("read again ({nonce})"))], &read_tool())).await;
    let again = ask(&provider, &body).await;
    assert_eq!(first.body, again.body);
    assert_eq!(first.header("request-id"), again.header("request-id"));

    // Without streaming it is the same message.
    let mut whole = body;
    whole["stream"] = false.into();
    let whole = ask(&provider, &whole).await;
    assert_eq!(whole.header("content-type"), Some("application/json"));
    assert_eq!(whole.json()["content"], Value::from(blocks(&first)));
    assert!(first.body.contains(whole.json()["id"].as_str().unwrap()));
    let other = ask(&provider, &request(&[user(format!("other ({nonce})"))], &read_tool())).await;
    assert_ne!(blocks(&other)[1]["id"], blocks(&first)[1]["id"]);
}

#[tokio::test]
async fn thinking_is_sent_only_where_it_is_asked_for() {
    let provider = start().await;
    let nonce = register(&provider, READ_SCRIPT);
    let mut body = request(&[user(nonce.clone())], &read_tool());
    body["thinking"] = json!({"type": "disabled"});
    let turn = blocks(&ask(&provider, &body).await);
    assert_eq!(turn.len(), 1);
    assert!(!provider.records(&nonce)[0].thinking);
}

#[tokio::test]
async fn conversations_that_run_at_once_never_mix() {
    let provider = start().await;
    for _ in 0..2_000 {
        register(&provider, READ_SCRIPT);
    }
    let cells: Vec<(String, String)> =
        (0..64).map(|n| (register(&provider, READ_SCRIPT), format!("FCC_CELL_{n:08X}"))).collect();
    let asked = cells.iter().map(|(nonce, marker)| {
        let body = request(&[user(format!("say {marker} ({nonce})"))], &json!([]));
        let provider = &provider;
        async move { said(&ask(provider, &body).await) }
    });
    let answers = join_all(asked).await;
    for ((nonce, marker), answer) in cells.iter().zip(answers) {
        assert_eq!(answer, format!("{marker} of {nonce}"));
        assert_eq!(provider.records(nonce).len(), 1);
    }
    assert!(provider.unclaimed().is_empty());
}

#[tokio::test]
async fn a_conversation_is_claimed_by_its_nonce_wherever_it_stands() {
    let provider = start().await;
    let one = register(&provider, &text_script("one"));
    let other = register(&provider, &text_script("other"));
    let call = json!([{"type": "tool_use", "id": "a", "name": "Agent", "input": {"prompt": format!("do ({one})")}}]);
    let sub_agent = request(&[user(format!("You read files. ({one})"))], &json!([]));
    let resumed = request(
        &[user(format!("hi ({one})")), json!({"role": "assistant", "content": "x"}), user("write a summary")],
        &json!([]),
    );
    let called = request(&[user("go"), json!({"role": "assistant", "content": call}), result("a", "done")], &json!([]));
    let mut in_system = request(&[user("hi")], &json!([]));
    in_system["system"] = json!([{"type": "text", "text": format!("You are {one}")}]);
    for (n, body) in [sub_agent, resumed, called, in_system].iter().enumerate() {
        assert_eq!(said(&ask(&provider, body).await), "one", "request {n}");
    }
    assert_eq!(provider.records(&one).len(), 4);
    assert!(provider.records(&other).is_empty() && provider.unclaimed().is_empty());

    // Neither a guess where there are two, nor where there is none.
    let unclaimed = "ccsmoke: this conversation is not part of any running cell";
    for prompt in [format!("{one} {other}"), "hi".to_owned(), nonce().unwrap()] {
        assert_eq!(said(&ask(&provider, &request(&[user(prompt)], &json!([]))).await), unclaimed);
    }
    assert_eq!((provider.unclaimed().len(), provider.records(&one).len()), (3, 4));
    assert_eq!(provider.unclaimed()[0].turn, None);
}

#[tokio::test]
async fn a_conversation_that_no_turn_fits_is_told_so() {
    let provider = start().await;
    let nonce = register(&provider, READ_SCRIPT);
    let mut tools = read_tool();
    tools[0]["name"] = "Bash".into();
    let messages = [
        user(nonce.clone()),
        json!({"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "Bash", "input": {}},
            {"type": "tool_use", "id": "b", "name": "Bash", "input": {}}]}),
        user(json!([{"type": "tool_result", "tool_use_id": "a"}, {"type": "tool_result", "tool_use_id": "b"}])),
    ];
    assert_eq!(
        said(&ask(&provider, &request(&messages, &tools)).await),
        "ccsmoke: no scripted turn fits this conversation (tool results: 2, tools: Bash)"
    );
    let record = &provider.records(&nonce)[0];
    assert_eq!((record.turn.as_deref(), record.status, record.refusal.as_deref()), (None, 200, None));
}

#[tokio::test]
async fn a_scripted_error_keeps_its_status_words_and_headers() {
    let provider = start().await;
    let nonce = register(
        &provider,
        r#"
        [[turn]]
        name = "full"
        error = { status = 529, kind = "overloaded_error", message = "Overloaded", headers = { retry-after = "1", x-should-retry = "true" } }
        "#,
    );
    let reply = ask(&provider, &request(&[user(nonce.clone())], &json!([]))).await;
    assert_eq!(refusal(&reply), "529 overloaded_error: Overloaded");
    assert_eq!((reply.header("retry-after"), reply.header("x-should-retry")), (Some("1"), Some("true")));
    let record = &provider.records(&nonce)[0];
    assert_eq!((record.turn.as_deref(), record.status, record.refusal.as_deref()), (Some("full"), 529, None));

    let bad = register(
        &provider,
        "[[turn]]\nname = \"bad\"\nerror = { status = 429, kind = \"x\", message = \"y\", headers = { \"a b\" = \"c\" } }",
    );
    let reply = ask(&provider, &request(&[user(bad)], &json!([]))).await;
    assert!(refusal(&reply).contains("turn `bad` has no valid status or headers"), "{}", reply.body);
}

#[tokio::test]
async fn only_its_own_key_opens_it_in_either_header() {
    let provider = start().await;
    let nonce = register(&provider, &text_script("in"));
    let body = request(&[user(nonce.clone())], &json!([])).to_string();
    let key = provider.api_key();
    let attempt = async |headers: String| exchange(&provider, "POST", "/v1/messages", &headers, body.as_bytes()).await;
    for headers in [
        format!("x-api-key: {key}\r\n"),
        format!("authorization: Bearer {key}\r\n"),
        format!("x-api-key: {key}\r\nauthorization: Bearer other\r\n"),
    ] {
        assert_eq!(said(&attempt(headers).await), "in");
    }
    for (headers, words) in [
        ("x-api-key: wrong\r\n".to_owned(), "invalid x-api-key"),
        ("authorization: Bearer wrong\r\n".to_owned(), "Invalid authentication credentials"),
        (format!("authorization: Basic {key}\r\n"), "Invalid authentication credentials"),
        (String::new(), "x-api-key header is required"),
    ] {
        assert_eq!(refusal(&attempt(headers).await), format!("401 authentication_error: {words}"));
    }
    assert_eq!(provider.records(&nonce).iter().filter(|r| r.status == 401).count(), 4);
    assert_ne!(start().await.api_key(), key);
}

#[tokio::test]
async fn a_broken_body_is_refused_and_still_claimed() {
    let provider = start().await;
    let nonce = register(&provider, &text_script("x"));
    let key = format!("x-api-key: {}\r\n", provider.api_key());
    let broken = format!("{{\"model\":\"m\",\"messages\":[{{\"content\":\"{nonce}\"");
    let reply = exchange(&provider, "POST", "/v1/messages", &key, broken.as_bytes()).await;
    assert!(refusal(&reply).starts_with("400 invalid_request_error: The request body is not valid JSON"));
    assert_eq!(provider.records(&nonce)[0].status, 400);

    let huge = vec![b' '; contract::MAX_BODY_BYTES + 4096];
    let reply = exchange(&provider, "POST", "/v1/messages", &key, &huge).await;
    assert!(refusal(&reply).starts_with("413 request_too_large"));
}

#[tokio::test]
async fn events_leave_one_by_one_and_wait_for_their_pause() {
    let provider = start().await;
    let nonce = register(&provider, &format!("{}\npause_ms = 40", text_script("slow")));
    let body = request(&[user(nonce)], &json!([])).to_string();
    let mut stream = TcpStream::connect(address(&provider)).await.unwrap();
    let key = format!("x-api-key: {}\r\n", provider.api_key());
    stream.write_all(head("POST", "/v1/messages", &key, body.len()).as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    let mut times = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        if line.starts_with("event: ") {
            times.push((line, tokio::time::Instant::now()));
        }
    }
    let names: Vec<_> = times.iter().map(|(line, _)| line.trim_start_matches("event: ")).collect();
    assert_eq!(
        names,
        [
            "message_start",
            "content_block_start",
            "ping",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop"
        ]
    );
    let spread = times.last().unwrap().1 - times[0].1;
    // Six pauses; had the events been held back and sent together, there would be none.
    assert!(spread >= Duration::from_millis(120), "{spread:?}");
}

#[tokio::test]
async fn an_answer_whose_reader_went_away_was_not_delivered() {
    let provider = start().await;
    let nonce = register(&provider, &format!("{}\npause_ms = 600000", text_script("never")));
    let body = request(&[user(nonce.clone())], &json!([])).to_string();
    let mut stream = TcpStream::connect(address(&provider)).await.unwrap();
    let key = format!("x-api-key: {}\r\n", provider.api_key());
    stream.write_all(head("POST", "/v1/messages", &key, body.len()).as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while !line.starts_with("event: message_start") {
        line.clear();
        assert!(reader.read_line(&mut line).await.unwrap() > 0, "the stream ended early");
    }
    drop(reader);
    tokio::time::timeout(PATIENCE, provider.quiet(&nonce)).await.expect("the provider hears that nobody listens");
    let records = provider.records(&nonce);
    assert_eq!(records.len(), 1);
    assert!(records[0].streamed && !records[0].delivered && records[0].abandoned);
}

#[tokio::test]
async fn a_turn_is_played_as_often_as_it_says_and_streams_are_told_from_whole_answers() {
    let provider = start().await;
    let script = r#"
        [[turn]]
        name = "once"
        times = 1
        error = { status = 429, kind = "rate_limit_error", message = "violet", headers = { retry-after = "1" } }
        wire = { gzip = true }
        [[turn]]
        name = "streamed"
        when = { stream = true }
        blocks = [{ redacted_thinking = "hidden" }, { text = ["über ", "alles"] }]
        stop_reason = "stop_sequence"
        stop_sequence = "END"
        wire = { split = "character" }
        [[turn]]
        name = "whole"
        blocks = [{ verbatim = '{"type":"web_search_tool_result","tool_use_id":"s","content":[]}' }, { text = ["whole"] }]
    "#;
    let nonce = register(&provider, script);
    let streamed = request(&[user(nonce.clone())], &json!([]));
    let refused = ask(&provider, &streamed).await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("1")));
    assert_eq!(refused.header("content-encoding"), Some("gzip"));
    let answer = ask(&provider, &streamed).await;
    assert_eq!(blocks(&answer).len(), 2);
    assert_eq!(blocks(&answer)[1]["text"], "über alles");
    assert!(answer.body.contains(r#""stop_sequence":"END""#));
    let mut whole = streamed;
    whole["stream"] = false.into();
    let answer = ask(&provider, &whole).await.json();
    assert_eq!(answer["content"][0]["type"], "web_search_tool_result");
    let played: Vec<_> = provider.records(&nonce).into_iter().map(|r| r.turn.unwrap()).collect();
    assert_eq!(played, ["once", "streamed", "whole"]);
}

#[tokio::test]
async fn tokens_are_counted_the_same_every_time_and_leave_no_record() {
    let provider = start().await;
    let nonce = register(&provider, READ_SCRIPT);
    let key = format!("x-api-key: {}\r\n", provider.api_key());
    let count = async |body: Value| {
        let target = "/v1/messages/count_tokens?beta=true";
        exchange(&provider, "POST", target, &key, body.to_string().as_bytes()).await
    };
    let small = json!({"model": "m", "messages": [user(nonce.clone())]});
    let large = json!({"model": "m", "messages": [user(nonce.clone())], "tools": read_tool()});
    let tokens = async |body: &Value| count(body.clone()).await.json()["input_tokens"].as_u64().unwrap();
    assert!(tokens(&small).await > 0);
    assert_eq!(tokens(&small).await, tokens(&small).await);
    assert!(tokens(&large).await > tokens(&small).await);
    assert_eq!(refusal(&count(json!({"model": "m"})).await), "400 invalid_request_error: messages: Field required");
    assert!(provider.records(&nonce).is_empty() && provider.unclaimed().is_empty());
}

#[tokio::test]
async fn models_are_listed_in_pages() {
    let models = Some(["a", "b", "c"].map(str::to_owned).to_vec());
    let limits = Limits { models, context_window: None };
    let provider = Provider::start(ProviderConfig { limits, ..ProviderConfig::default() }).await.unwrap();
    let key = format!("x-api-key: {}\r\n", provider.api_key());
    let list = async |query: &str| exchange(&provider, "GET", &format!("/v1/models{query}"), &key, b"").await.json();
    let all = list("?limit=1000").await;
    let ids: Vec<_> = all["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect();
    assert_eq!((ids, &all["has_more"]), (vec!["a", "b", "c"], &json!(false)));
    assert_eq!(
        all["data"][0],
        json!({"type": "model", "id": "a", "display_name": "a", "created_at": "2026-01-01T00:00:00Z"})
    );
    let page = list("?limit=2").await;
    assert_eq!((&page["first_id"], &page["last_id"], &page["has_more"]), (&json!("a"), &json!("b"), &json!(true)));
    let rest = list("?limit=2&after_id=b").await;
    assert_eq!((&rest["first_id"], &rest["has_more"]), (&json!("c"), &json!(false)));
    let anonymous = exchange(&provider, "GET", "/v1/models", "", b"").await;
    assert_eq!(anonymous.status, 401);
    let missing = ask(&provider, &request(&[user("hi")], &json!([]))).await;
    assert_eq!(refusal(&missing), "404 not_found_error: model: claude-sonnet-5-5");
}

#[tokio::test]
async fn paths_and_methods_are_told_apart_and_a_head_is_always_well() {
    let provider = start().await;
    for path in ["/", "/api/hello", "/v1/messages"] {
        assert_eq!(exchange(&provider, "HEAD", path, "", b"").await.status, 200);
    }
    let unknown = exchange(&provider, "POST", "/v1/complete", "", b"{}").await;
    assert_eq!(refusal(&unknown), "404 not_found_error: Not found");
    let method = exchange(&provider, "GET", "/v1/messages", "", b"").await;
    assert_eq!(refusal(&method), "405 invalid_request_error: Method Not Allowed");
}

#[tokio::test]
async fn a_port_in_use_is_named_and_a_dropped_provider_lets_go() {
    let provider = start().await;
    let port = address(&provider).rsplit(':').next().unwrap().parse().unwrap();
    let config = ProviderConfig { port, ..ProviderConfig::default() };
    let taken = Provider::start(config.clone()).await.err().unwrap();
    assert_eq!(taken.kind(), std::io::ErrorKind::AddrInUse);
    assert!(taken.to_string().contains(&format!("127.0.0.1:{port}: another program listens there")), "{taken}");

    let mut open = TcpStream::connect(address(&provider)).await.unwrap();
    assert_eq!(exchange(&provider, "HEAD", "/", "", b"").await.status, 200);
    drop(provider);
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, open.read_to_end(&mut rest)).await.expect("the connection ends");
    assert!(rest.is_empty());
    Provider::start(config).await.expect("the port is free again");
}
