//! Each check against a gateway that is broken in the one way that it looks for.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use ccsmoke::check::Verdict;
use ccsmoke::check::table::CHECKS;
use ccsmoke::fault::{Applied, fault};
use ccsmoke::reference::telling::Flaw;
use ccsmoke::reference::{Alteration, Failing, Head, HeadWaits, Inbound, Whole};
use hyper::header::{AUTHORIZATION, HeaderValue};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::rig::{Providers, Rigged, Running, Start, alone, flawed, gateway, giving_up_after};

/// Changes a whole answer.
type Edit = fn(&Inbound, &mut Whole);

/// A gateway that does something else with requests, or with whole answers of one path.
#[derive(Default)]
struct Odd {
    request: Option<fn(&mut Inbound) -> Option<Whole>>,
    whole: Option<(&'static str, Edit)>,
    waits: Option<fn(&Inbound) -> Duration>,
}

impl Alteration for Odd {
    fn request(&self, request: &mut Inbound) -> Option<Whole> {
        self.request.and_then(|odd| odd(request))
    }

    fn collects(&self, request: &Inbound, _: &Head) -> bool {
        self.whole.is_some_and(|(path, _)| request.head.uri.path() == path)
    }

    fn whole(&self, request: &Inbound, answer: &mut Whole) {
        if let Some((_, odd)) = self.whole {
            odd(request, answer);
        }
    }

    fn head_waits(&self, request: &Inbound, _: &Head) -> HeadWaits {
        self.waits.map_or(HeadWaits::No, |waits| HeadWaits::For(waits(request)))
    }
}

/// A gateway that passes every second body on twice, and never the one that came.
#[derive(Default)]
struct Mixing(Mutex<Option<Bytes>>);

impl Alteration for Mixing {
    fn request(&self, request: &mut Inbound) -> Option<Whole> {
        let mut last = self.0.lock().unwrap();
        match last.take() {
            Some(other) => request.body = other,
            None => *last = Some(request.body.clone()),
        }
        None
    }
}

/// A gateway that never gets over a refusal of its provider.
#[derive(Default)]
struct Resentful(AtomicBool);

impl Alteration for Resentful {
    fn request(&self, _: &mut Inbound) -> Option<Whole> {
        self.0.load(Ordering::Relaxed).then(|| Whole::refusal(500, "api_error", "no deployment is available"))
    }

    fn head(&self, _: &Inbound, head: &mut Head) {
        self.0.fetch_or(head.status.is_client_error(), Ordering::Relaxed);
    }
}

/// A gateway that reads its provider's answer to the end, whoever is still there.
fn stubborn(providers: Providers) -> std::pin::Pin<Box<dyn Future<Output = Running>>> {
    Box::pin(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = format!("http://{}", listener.local_addr().unwrap());
        let upstream = providers.second.trim_start_matches("http://").to_owned();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(relay(client, upstream.clone()));
            }
        });
        (Box::new(Ended(task)) as Box<dyn Send>, own)
    })
}

struct Ended(tokio::task::JoinHandle<()>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn relay(mut client: TcpStream, upstream: String) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    // The requests of this check end with the brace of their body.
    while !request.ends_with(b"}") {
        let count = client.read(&mut buffer).await.unwrap();
        if count == 0 {
            return;
        }
        request.extend_from_slice(&buffer[..count]);
    }
    let text = String::from_utf8(request).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let head: Vec<String> =
        head.lines()
            .map(|line| {
                if line.to_ascii_lowercase().starts_with("host:") {
                    format!("host: {upstream}")
                } else {
                    line.to_owned()
                }
            })
            .collect();
    let mut far = TcpStream::connect(&upstream).await.unwrap();
    far.write_all(format!("{}\r\n\r\n{body}", head.join("\r\n")).as_bytes()).await.unwrap();
    while let Ok(count @ 1..) = far.read(&mut buffer).await {
        let _ = client.write_all(&buffer[..count]).await;
    }
}

fn odd(request: fn(&mut Inbound) -> Option<Whole>) -> Start {
    gateway(Some(Arc::new(Odd { request: Some(request), ..Odd::default() })))
}

fn odd_whole(path: &'static str, whole: fn(&Inbound, &mut Whole)) -> Start {
    gateway(Some(Arc::new(Odd { whole: Some((path, whole)), ..Odd::default() })))
}

fn waiting(waits: fn(&Inbound) -> Duration) -> Start {
    gateway(Some(Arc::new(Odd { waits: Some(waits), ..Odd::default() })))
}

/// The reference with a defect of the catalogue.
fn faulty(id: &str) -> Start {
    let changes = fault(id).unwrap_or_else(|| panic!("there is no fault {id}")).changes;
    gateway(Some(Arc::new(Applied(changes))))
}

fn redirect(status: u16) -> Whole {
    let mut answer = Whole::new(status, "text/plain", "");
    answer.headers.insert("location", HeaderValue::from_static("https://elsewhere.test/v1/messages"));
    answer
}

fn html(status: u16) -> Whole {
    Whole::new(status, "text/html", "<html><title>413 Request Entity Too Large</title>")
}

fn without(request: &mut Inbound, edit: fn(&mut Value)) -> Option<Whole> {
    let mut body = request.json.clone();
    edit(&mut body);
    request.set_json(&body);
    None
}

fn own_key(request: &mut Inbound) {
    request.head.headers.remove("x-api-key");
    request.head.headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer sk-the-gateways-own-key"));
}

/// A stream whose error became a clean end.
fn mended(stream: &[u8]) -> String {
    let text = String::from_utf8(stream.to_vec()).unwrap();
    let Some((before, _)) = text.split_once("event: error") else { return text };
    let delta = json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}});
    format!(
        "{before}event: content_block_stop\ndata: {{\"type\":\"content_block_stop\",\"index\":0}}\n\n\
         event: message_delta\ndata: {delta}\n\nevent: message_stop\ndata: {{\"type\":\"message_stop\"}}\n\n"
    )
}

const CHAT: &str = "/v1/chat/completions";

/// A check with the gateway that it has to fail.
#[expect(clippy::too_many_lines, reason = "a table")]
fn cases() -> Vec<(&'static str, Start)> {
    vec![
        ("health", flawed(Flaw::Sick)),
        ("health", flawed(Flaw::DefaultDown)),
        ("metrics", flawed(Flaw::CountsTwice)),
        ("metrics", flawed(Flaw::ForgetsCache)),
        ("metrics", flawed(Flaw::WrongCost)),
        ("metrics", flawed(Flaw::NoLatency)),
        ("metrics", flawed(Flaw::WrongUnit)),
        ("metrics", flawed(Flaw::NoNewest)),
        ("metrics", flawed(Flaw::StaleNewest)),
        ("audit", flawed(Flaw::AuditTwice)),
        ("audit", flawed(Flaw::AuditForgets)),
        ("audit", flawed(Flaw::AuditMixes)),
        ("audit", flawed(Flaw::AuditSecret)),
        ("fallback", alone()),
        ("fallback", flawed(Flaw::WrongProvider)),
        ("fallback", giving_up_after(Failing::Refused)),
        ("fallback", giving_up_after(Failing::ServerError)),
        ("fallback", giving_up_after(Failing::RateLimit)),
        ("fallback", giving_up_after(Failing::Overloaded)),
        ("fallback", giving_up_after(Failing::TimeOut)),
        ("plain", faulty("stream-false-returns-sse")),
        ("stream", faulty("message-stop-lost")),
        ("beta-query", odd(|r| r.head.uri.query().map(|_| Whole::refusal(404, "not_found_error", "no route")))),
        ("incremental", faulty("whole-stream-buffered")),
        ("pings", faulty("no-ping-during-silence")),
        ("tools", faulty("tool-ids-not-unique")),
        ("usage", faulty("usage-all-zero")),
        ("text", faulty("utf8-split-replacement-char")),
        (
            "models",
            odd(|r| {
                let haiku = r.json["model"].as_str().is_some_and(|m| m.contains("haiku"));
                haiku.then(|| Whole::refusal(404, "not_found_error", "model: haiku"))
            }),
        ),
        ("version-header", faulty("anthropic-version-dropped")),
        ("betas", faulty("anthropic-beta-dropped")),
        (
            "unknown-headers",
            odd(|r| {
                r.head.headers.remove("anthropic-ccsmoke-unheard-of");
                None
            }),
        ),
        (
            "session-headers",
            odd(|r| {
                let refused = || Whole::refusal(400, "invalid_request_error", "unknown header");
                r.head.headers.contains_key("x-claude-code-session-id").then(refused)
            }),
        ),
        (
            "unknown-fields",
            odd(|r| without(r, |body| drop(body.as_object_mut().unwrap().remove("ccsmoke_unheard_of")))),
        ),
        ("nested-fields", odd(|r| without(r, |body| drop(body["tools"][0].as_object_mut().unwrap().remove("strict"))))),
        (
            "system",
            odd(|r| {
                without(r, |body| {
                    body["system"].as_array_mut().unwrap().insert(0, json!({"type": "text", "text": "Hi"}));
                })
            }),
        ),
        ("pairs", odd(|r| without(r, |body| drop(body.as_object_mut().unwrap().remove("context_management"))))),
        ("thinking", faulty("thinking-never-returned")),
        ("thinking-replay", faulty("drop-signature-delta")),
        ("cache-control", faulty("cache-control-dropped")),
        ("media", faulty("image-in-tool-result-dropped")),
        ("system-role", faulty("system-role-in-messages-rejected/dropped")),
        (
            "extra-fields",
            odd(|r| {
                (!r.json["agent_type"].is_null()).then(|| Whole::refusal(400, "invalid_request_error", "bad request"))
            }),
        ),
        ("count-tokens", faulty("count-tokens-200-wrong-body/zero")),
        ("discovery", faulty("models-empty")),
        ("both-credentials", faulty("auth-one-header-only")),
        (
            "wrong-key",
            odd(|r| {
                own_key(r);
                None
            }),
        ),
        (
            "no-key",
            odd(|r| {
                own_key(r);
                None
            }),
        ),
        (
            "secrets",
            odd(|r| {
                r.head.headers.insert("x-api-key", HeaderValue::from_static("sk-the-gateways-own-key"));
                None
            }),
        ),
        ("redirects", odd(|_| Some(redirect(307)))),
        ("slash", odd(|r| r.head.uri.path().ends_with('/').then(|| redirect(308)))),
        ("hello", waiting(|r| Duration::from_secs(if r.head.method == "HEAD" { 60 } else { 0 }))),
        ("parallel", gateway(Some(Arc::new(Mixing::default())))),
        ("cancel", Box::new(stubborn)),
        ("large-body", odd(|r| (r.body.len() > 1 << 20).then(|| html(413)))),
        ("malformed", odd(|r| r.json.is_null().then(|| Whole::json(400, &json!({"detail": "Invalid JSON"}))))),
        (
            "unknown-model",
            odd(|r| {
                let unknown = r.json["model"].as_str().is_some_and(|m| m.contains("no-such-model"));
                unknown.then(|| Whole::refusal(500, "api_error", "KeyError"))
            }),
        ),
        ("error-status", faulty("error-replaced-by-generic-500")),
        ("error-words", faulty("context-error-masked")),
        ("error-envelope", faulty("error-body-not-anthropic-shaped")),
        ("retry-headers", faulty("retry-headers-dropped")),
        ("broken-stream", odd_whole("/v1/messages", |_, answer| answer.body = mended(&answer.body).into())),
        (
            "chat-plain",
            odd_whole(CHAT, |_, answer| {
                let mut body = answer.value();
                body["object"] = json!("completion");
                answer.set_json(&body);
            }),
        ),
        (
            "chat-usage",
            odd_whole(CHAT, |_, answer| {
                let mut body = answer.value();
                body["usage"]["total_tokens"] = json!(1);
                answer.set_json(&body);
            }),
        ),
        (
            "chat-stream",
            odd_whole(CHAT, |_, answer| {
                answer.body = String::from_utf8(answer.body.to_vec()).unwrap().replace("data: [DONE]\n\n", "").into();
            }),
        ),
        ("chat-first-chunk", waiting(|r| Duration::from_millis(if r.head.uri.path() == CHAT { 1500 } else { 0 }))),
        (
            "chat-unknown-model",
            odd(|r| {
                let unknown = r.json["model"].as_str().is_some_and(|m| m.contains("no-such-model"));
                unknown.then(|| Whole::json(200, &json!({"object": "chat.completion"})))
            }),
        ),
    ]
}

/// Checks that no gateway of this kind can fail here: whether anything answers is shown with bad input; those about the largest
/// bodies take long in a program that is not optimised; silence is for gateways that translate; routes are asked for in a test of their
/// own, as is the state after refusals.
const ELSEWHERE: [&str; 6] = ["reach", "largest-body", "too-large", "silence", "chat-routing", "alive"];

#[tokio::test(flavor = "multi_thread")]
async fn each_check_fails_when_the_reference_is_broken_in_the_one_way_it_looks_for() {
    let mut wrong = Vec::new();
    for (id, start) in cases() {
        let row = Rigged::start(start).await.one(id).await;
        if row.verdict != Verdict::Failed || row.advice.is_none() {
            wrong.push(format!("{id}: {:?}: {}", row.verdict, row.message));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_check_has_a_gateway_that_fails_it() {
    let cases = cases();
    for check in CHECKS {
        let shown = cases.iter().any(|(id, _)| *id == check.id) || ELSEWHERE.contains(&check.id);
        assert!(shown, "{} is never shown to fail", check.id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_remembers_a_refusal_is_not_alive_after_it() {
    let rigged = Rigged::start(gateway(Some(Arc::new(Resentful::default())))).await;
    let report = rigged.check(&["plain", "error-words", "alive"], &[]).await;
    let verdict = |id: &str| report.checks.iter().find(|row| row.id == id).unwrap().verdict;
    assert_eq!((verdict("plain"), verdict("alive")), (Verdict::Passed, Verdict::Failed));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_goes_elsewhere_than_its_route_says_fails() {
    let mut rigged = Rigged::start(gateway(None)).await;
    rigged.settings.routing.routed = vec!["gpt-5".to_owned()];
    assert_eq!(rigged.one("chat-routing").await.verdict, Verdict::Passed);
    rigged.settings.routing.local = vec!["claude-local".to_owned()];
    assert_eq!(rigged.one("chat-routing").await.verdict, Verdict::Failed);
}
