//! The parts of what a check looks for, each broken alone: a check that looks at several things looks at every one of them.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ccsmoke::check::Verdict;
use ccsmoke::config::Audit;
use ccsmoke::reference::{Alteration, Head, Inbound, Whole};
use hyper::StatusCode;
use hyper::header::HeaderValue;
use serde_json::{Value, json};

use super::broken::{Case, all_fail};
use super::odd::{CHAT, odd, odd_whole, redirect, talkative, waiting, without};
use super::rig::{Rigged, Start, gateway};

const MESSAGES: &str = "/v1/messages";
const MODELS: &str = "/v1/models";

/// Changes the JSON of an answer.
fn edit(answer: &mut Whole, change: impl Fn(&mut Value)) {
    let mut body = answer.value();
    change(&mut body);
    answer.set_json(&body);
}

/// Replaces a text in the body of an answer.
fn replace(answer: &mut Whole, from: &str, to: &str) {
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(text.contains(from), "{from:?} is not in {text}");
    answer.body = text.replace(from, to).into();
}

fn says(request: &Inbound, words: &str) -> bool {
    String::from_utf8_lossy(&request.body).contains(words)
}

fn refused(status: u16, kind: &str) -> Whole {
    Whole::refusal(status, kind, "no")
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn anthropic() -> Vec<Case> {
    vec![
        ("plain", "`role` is \"user\"", odd_whole(MESSAGES, |_, a| edit(a, |b| b["role"] = json!("user")))),
        ("plain", "no stop reason", odd_whole(MESSAGES, |_, a| edit(a, |b| b["stop_reason"] = Value::Null))),
        ("plain", "no `id` or no `model`", odd_whole(MESSAGES, |_, a| edit(a, |b| drop(b["model"].take())))),
        ("plain", "no text", odd_whole(MESSAGES, |_, a| edit(a, |b| b["content"] = json!([])))),
        (
            "usage",
            "whole: 0 input",
            odd_whole(MESSAGES, |r, a| {
                if !r.streams() {
                    edit(a, |b| b["usage"] = json!({"input_tokens": 0, "output_tokens": 44}));
                }
            }),
        ),
        (
            "stream",
            "content-type is text/plain",
            odd_whole(MESSAGES, |_, a| {
                a.headers.insert("content-type", HeaderValue::from_static("text/plain"));
            }),
        ),
        (
            "stream",
            "message_stop",
            odd_whole(MESSAGES, |r, a| {
                if r.streams() {
                    replace(a, "event: message_stop", "event: message_delta");
                }
            }),
        ),
        (
            "stream",
            "block",
            odd_whole(MESSAGES, |r, a| {
                if r.streams() {
                    replace(a, "\"index\":0", "\"index\":1");
                }
            }),
        ),
        (
            "stream",
            "streamed it says",
            odd_whole(MESSAGES, |r, a| {
                if !r.streams() {
                    replace(a, "The reference", "A reference");
                }
            }),
        ),
        (
            "models",
            "claude-opus-5-5",
            odd(|r| (r.json["model"] == "claude-opus-5-5").then(|| refused(404, "not_found_error"))),
        ),
        (
            "unknown-model",
            "another model answered",
            odd(|r| {
                let unknown = r.json["model"].as_str().is_some_and(|m| m.contains("no-such-model"));
                unknown.then(|| {
                    Whole::json(200, &json!({"type": "message", "role": "assistant", "model": "x", "content": []}))
                })
            }),
        ),
        ("wrong-key", "status 403", odd(|_| Some(refused(403, "permission_error")))),
        ("wrong-key", "the error's type is \"api_error\"", odd(|_| Some(refused(401, "api_error")))),
        ("no-key", "not in Anthropic's envelope", odd(|_| Some(Whole::json(401, &json!({"detail": "Unauthorized"}))))),
        (
            "both-credentials",
            "x-api-key: status 401",
            odd(|r| (!r.header("x-api-key").is_empty()).then(|| refused(401, "authentication_error"))),
        ),
        (
            "secrets",
            "the provider's key comes back to the client, in a header",
            talkative(|a| {
                a.headers.insert("x-debug-key", HeaderValue::from_static("sk-the-gateways-own-key"));
            }),
        ),
        (
            "secrets",
            "the provider's key comes back to the client, in the body",
            talkative(|a| edit(a, |b| b["debug"] = json!("Bearer sk-the-gateways-own-key"))),
        ),
        (
            "malformed",
            "no max_tokens",
            odd(|r| (r.json.is_object() && r.json["max_tokens"].is_null()).then(|| refused(500, "api_error"))),
        ),
        ("malformed", "an unknown role", odd(|r| says(r, "\"role\":\"ccsmoke\"").then(|| refused(500, "api_error")))),
        ("error-status", "overloaded", odd_status(529, 500)),
        ("error-status", "rate-limit", odd_status(429, 503)),
        ("error-status", "bad-request", odd_status(400, 422)),
        ("error-status", "broken", odd_status(500, 502)),
        (
            "retry-headers",
            "request-id",
            odd_whole(MESSAGES, |_, a| {
                a.headers.remove("request-id");
            }),
        ),
        (
            "retry-headers",
            "x-should-retry",
            odd_whole(MESSAGES, |_, a| {
                a.headers.remove("x-should-retry");
            }),
        ),
        (
            "count-tokens",
            "for an image",
            odd_whole("/v1/messages/count_tokens", |r, a| {
                if says(r, "image/png") {
                    a.set_json(&json!({"input_tokens": 5}));
                }
            }),
        ),
        (
            "count-tokens",
            "no input_tokens",
            odd_whole("/v1/messages/count_tokens", |_, a| a.set_json(&json!({"tokens": 12}))),
        ),
        ("discovery", "a redirect to", odd(|r| (r.head.uri.path() == MODELS).then(|| redirect(307)))),
        (
            "discovery",
            "gives up after 3 s",
            waiting(|r| Duration::from_millis(if r.head.uri.path() == MODELS { 3300 } else { 0 })),
        ),
        (
            "discovery",
            "status 401",
            odd(|r| {
                let with_key = r.head.uri.path() == MODELS && !r.header("x-api-key").is_empty();
                with_key.then(|| refused(401, "authentication_error"))
            }),
        ),
        (
            "discovery",
            "no list under `data`",
            odd_whole(MODELS, |_, a| a.set_json(&json!({"models": ["claude-sonnet-5-5"]}))),
        ),
        (
            "redirects",
            "?beta=true: status 307",
            odd(|r| r.head.uri.query().is_some_and(|q| q.contains("beta")).then(|| redirect(307))),
        ),
        ("slash", "status 500", odd(|r| r.head.uri.path().ends_with('/').then(|| refused(500, "api_error")))),
        (
            "system-role",
            "words that the client does not know",
            odd(|r| says(r, "\"role\":\"system\"").then(|| refused(400, "invalid_request_error"))),
        ),
        (
            "text",
            "status 403",
            odd(|r| says(r, "<script>").then(|| Whole::new(403, "text/plain", "Request blocked by rule 941100"))),
        ),
        ("thinking", "effort", odd(|r| without(r, |body| drop(body.as_object_mut().unwrap().remove("output_config"))))),
        (
            "pairs",
            "context_management: Extra inputs",
            odd(|r| {
                if says(r, "context_management") {
                    r.head.headers.insert("anthropic-beta", HeaderValue::from_static("claude-code-20250219"));
                }
                None
            }),
        ),
    ]
}

fn openai() -> Vec<Case> {
    vec![
        (
            "chat-plain",
            "/id is missing",
            odd_whole(CHAT, |_, a| edit(a, |b| drop(b.as_object_mut().unwrap().remove("id")))),
        ),
        ("chat-plain", "/created is \"now\"", odd_whole(CHAT, |_, a| edit(a, |b| b["created"] = json!("now")))),
        (
            "chat-plain",
            "/choices/0/message/role",
            odd_whole(CHAT, |_, a| edit(a, |b| b["choices"][0]["message"]["role"] = json!("user"))),
        ),
        (
            "chat-plain",
            "/choices/0/message/content",
            odd_whole(CHAT, |_, a| edit(a, |b| b["choices"][0]["message"]["content"] = json!(["a"]))),
        ),
        (
            "chat-plain",
            "/choices/0/finish_reason",
            odd_whole(CHAT, |_, a| edit(a, |b| b["choices"][0]["finish_reason"] = Value::Null)),
        ),
        (
            "chat-plain",
            "not the provider's",
            odd_whole(CHAT, |_, a| edit(a, |b| b["choices"][0]["message"]["content"] = json!("cached"))),
        ),
        (
            "chat-plain",
            "content-type is text/html",
            odd_whole(CHAT, |_, a| {
                a.headers.insert("content-type", HeaderValue::from_static("text/html"));
            }),
        ),
        (
            "chat-usage",
            "does not add up",
            odd_whole(CHAT, |_, a| edit(a, |b| drop(b.as_object_mut().unwrap().remove("usage")))),
        ),
        ("chat-usage", "does not add up", odd_whole(CHAT, |_, a| edit(a, |b| b["usage"]["prompt_tokens"] = json!(0)))),
        (
            "chat-stream",
            "chat.completion.chunk",
            odd_whole(CHAT, |_, a| replace(a, "chat.completion.chunk", "chat.completion")),
        ),
        (
            "chat-stream",
            "no finish_reason",
            odd_whole(CHAT, |_, a| replace(a, "\"finish_reason\":\"stop\"", "\"finish_reason\":null")),
        ),
        (
            "chat-stream",
            "in one chunk",
            odd_whole(CHAT, |r, a| {
                let nonce = r.json["messages"][0]["content"].as_str().unwrap_or_default().to_owned();
                let chunk = json!({
                    "object": "chat.completion.chunk",
                    "choices": [{"index": 0, "delta": {"content": nonce}, "finish_reason": "stop"}],
                });
                a.body = format!("data: {chunk}\n\ndata: [DONE]\n\n").into();
            }),
        ),
        (
            "chat-stream",
            "content-type is application/json",
            odd_whole(CHAT, |_, a| {
                a.headers.insert("content-type", HeaderValue::from_static("application/json"));
            }),
        ),
        (
            "chat-unknown-model",
            "no error object",
            odd(|r| says(r, "no-such-model").then(|| Whole::json(404, &json!({"detail": "?"})))),
        ),
    ]
}

/// A gateway that makes one status of another.
fn odd_status(from: u16, to: u16) -> Start {
    odd_whole(MESSAGES, move |_, answer| {
        if answer.status == from {
            answer.status = StatusCode::from_u16(to).unwrap();
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn every_part_of_a_check_of_messages_is_looked_at() {
    all_fail(anthropic()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_part_of_a_check_of_chat_completions_is_looked_at() {
    all_fail(openai()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_probable_cause_of_a_held_back_stream_is_named() {
    let held_back = |change: fn(&mut Whole)| odd_whole(MESSAGES, move |_, answer| change(answer));
    for (start, words) in [
        (held_back(|_| {}), "collected it whole"),
        (
            held_back(|answer| {
                answer.headers.insert("server", HeaderValue::from_static("nginx/1.22.1"));
            }),
            "proxy_buffering off",
        ),
        (
            held_back(|answer| {
                let mut coded = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                coded.write_all(&answer.body).unwrap();
                answer.body = coded.finish().unwrap().into();
                answer.headers.insert("content-encoding", HeaderValue::from_static("gzip"));
            }),
            "leave text/event-stream uncompressed",
        ),
    ] {
        let row = Rigged::start(start).await.one("incremental").await;
        let advice = row.advice.unwrap_or_default();
        assert!(row.verdict == Verdict::Failed && advice.contains(words), "{}: {advice}", row.message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_health_endpoint_that_takes_its_time_or_is_not_there_fails() {
    let mut slow = Rigged::start(waiting(|_| Duration::from_millis(1200))).await;
    slow.settings.health = Some(MODELS.to_owned());
    let row = slow.one("health").await;
    assert!(row.verdict == Verdict::Failed && row.message.contains("it took 1"), "{}", row.message);
    slow.settings.health = Some("/nowhere".to_owned());
    let row = slow.one("health").await;
    assert!(row.verdict == Verdict::Failed && row.message.contains("status 404"), "{}", row.message);
}

/// A gateway that writes a line of its log for every answer, in the middle of other lines; it may forget the id.
struct Logging {
    log: PathBuf,
    with_id: bool,
}

impl Alteration for Logging {
    fn head(&self, _: &Inbound, head: &mut Head) {
        let id = head.headers.get("request-id").filter(|_| self.with_id).map(|id| id.to_str().unwrap());
        let line = json!({"request": {"id": id}, "status": head.status.as_u16()});
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(&self.log).unwrap();
        writeln!(file, "INFO not a line of the record\n{line}").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_requests_may_be_the_lines_of_a_log() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("gateway.log");
    for (with_id, verdict) in [(true, Verdict::Passed), (false, Verdict::Failed)] {
        let start = gateway(Some(Arc::new(Logging { log: log.clone(), with_id })));
        let mut rigged = Rigged::start(start).await.logging_to(&log);
        let id = "/request/id".to_owned();
        rigged.settings.audit =
            Some(Audit { path: None, entries: String::new(), id, status: Some("/status".to_owned()), answer: None });
        let row = rigged.one("audit").await;
        assert_eq!(row.verdict, verdict, "{}", row.message);
    }
}
