//! Each check against a gateway that is broken in the one way that it looks for.

use std::sync::Arc;
use std::time::Duration;

use ccsmoke::check::Verdict;
use ccsmoke::check::table::CHECKS;
use ccsmoke::evidence::TargetKind;
use ccsmoke::reference::telling::Flaw;
use ccsmoke::reference::{Failing, Whole};
use hyper::header::HeaderValue;
use serde_json::json;

use super::odd::{
    CHAT, Mixing, Resentful, faulty, html, mended, odd, odd_whole, own_key, redirect, stubborn, waiting, without,
};
use super::rig::{Rigged, Start, alone, asking_again, flawed, gateway, giving_up_after, misled, translator};

/// A check with what it says of a gateway that it has to fail, and that gateway.
pub(super) type Case = (&'static str, &'static str, Start);

#[expect(clippy::too_many_lines, reason = "a table")]
fn cases() -> Vec<Case> {
    vec![
        ("health", "status degraded", flawed(Flaw::Sick)),
        ("health", "default provider one is not up", flawed(Flaw::DefaultDown)),
        ("metrics", "requests moved by 4, not by 2", flawed(Flaw::CountsTwice)),
        ("metrics", "cache_read_tokens moved by 0, not by 666", flawed(Flaw::ForgetsCache)),
        ("metrics", "cost moved by 0.011316, not by 0.00985", flawed(Flaw::WrongCost)),
        ("metrics", "the average latency is 0", flawed(Flaw::NoLatency)),
        ("metrics", "by the average latency our requests took", flawed(Flaw::WrongUnit)),
        ("metrics", "there is no list with entries at /newest", flawed(Flaw::NoNewest)),
        ("metrics", "does not name our request", flawed(Flaw::StaleNewest)),
        ("audit", "stands there 2 times", flawed(Flaw::AuditTwice)),
        ("audit", "stands there 0 times", flawed(Flaw::AuditForgets)),
        ("audit", "does not hold its answer", flawed(Flaw::AuditMixes)),
        ("audit", "holds a credential", flawed(Flaw::AuditSecret)),
        ("fallback", "500 from the first", alone()),
        ("fallback", "answered, not two", flawed(Flaw::WrongProvider)),
        ("fallback", "asked again, and no other one", asking_again()),
        ("fallback", "the first refuses connections", giving_up_after(Failing::Refused)),
        ("fallback", "500 from the first", giving_up_after(Failing::ServerError)),
        ("fallback", "429 from the first", giving_up_after(Failing::RateLimit)),
        ("fallback", "529 from the first", giving_up_after(Failing::Overloaded)),
        ("fallback", "no answer in time from the first", giving_up_after(Failing::TimeOut)),
        ("plain", "a stream came although", faulty("stream-false-returns-sse")),
        ("stream", "ended without message_stop", faulty("message-stop-lost")),
        (
            "beta-query",
            "no route",
            odd(|r| r.head.uri.query().map(|_| Whole::refusal(404, "not_found_error", "no route"))),
        ),
        ("incremental", "the client got its first byte", faulty("whole-stream-buffered")),
        ("pings", "0 came through", faulty("no-ping-during-silence")),
        ("tools", "stands on two tool calls", faulty("tool-ids-not-unique")),
        ("usage", "0 input and 0 output", faulty("usage-all-zero")),
        ("text", "��", faulty("utf8-split-replacement-char")),
        (
            "models",
            "haiku",
            odd(|r| {
                let haiku = r.json["model"].as_str().is_some_and(|m| m.contains("haiku"));
                haiku.then(|| Whole::refusal(404, "not_found_error", "model: haiku"))
            }),
        ),
        ("version-header", "anthropic-version", faulty("anthropic-version-dropped")),
        ("betas", "anthropic-beta lost", faulty("anthropic-beta-dropped")),
        (
            "unknown-headers",
            "arrived nothing",
            odd(|r| {
                r.head.headers.remove("anthropic-ccsmoke-unheard-of");
                None
            }),
        ),
        (
            "session-headers",
            "unknown header",
            odd(|r| {
                let refused = || Whole::refusal(400, "invalid_request_error", "unknown header");
                r.head.headers.contains_key("x-claude-code-session-id").then(refused)
            }),
        ),
        (
            "unknown-fields",
            "/ccsmoke_unheard_of: sent",
            odd(|r| without(r, |body| drop(body.as_object_mut().unwrap().remove("ccsmoke_unheard_of")))),
        ),
        (
            "nested-fields",
            "/tools/0/strict: sent",
            odd(|r| without(r, |body| drop(body["tools"][0].as_object_mut().unwrap().remove("strict")))),
        ),
        (
            "system",
            "/system/0: sent nothing",
            odd(|r| {
                without(r, |body| {
                    body["system"].as_array_mut().unwrap().insert(0, json!({"type": "text", "text": "Hi"}));
                })
            }),
        ),
        (
            "pairs",
            "/context_management: sent",
            odd(|r| without(r, |body| drop(body.as_object_mut().unwrap().remove("context_management")))),
        ),
        ("thinking", "1 thinking blocks were answered, the client got 0", faulty("thinking-never-returned")),
        ("thinking-replay", "signature of thinking block", faulty("drop-signature-delta")),
        ("cache-control", "ttl", faulty("cache-control-dropped")),
        ("media", "/messages/2/content/0/content/0: sent", faulty("image-in-tool-result-dropped")),
        ("system-role", "/messages/1: sent", faulty("system-role-in-messages-rejected/dropped")),
        (
            "extra-fields",
            "without naming the field",
            odd(|r| {
                (!r.json["agent_type"].is_null()).then(|| Whole::refusal(400, "invalid_request_error", "bad request"))
            }),
        ),
        ("count-tokens", "0 tokens for one sentence", faulty("count-tokens-200-wrong-body/zero")),
        ("discovery", "0 models", faulty("models-empty")),
        ("both-credentials", "Bearer: status 401", faulty("auth-one-header-only")),
        (
            "wrong-key",
            "it is open",
            odd(|r| {
                own_key(r);
                None
            }),
        ),
        (
            "no-key",
            "it is open",
            odd(|r| {
                own_key(r);
                None
            }),
        ),
        (
            "secrets",
            "beside the gateway's own",
            odd(|r| {
                r.head.headers.insert("x-api-key", HeaderValue::from_static("sk-the-gateways-own-key"));
                None
            }),
        ),
        ("redirects", "a redirect to https://elsewhere.test", odd(|_| Some(redirect(307)))),
        (
            "slash",
            "a redirect to https://elsewhere.test",
            odd(|r| r.head.uri.path().ends_with('/').then(|| redirect(308))),
        ),
        ("hello", "no answer within", waiting(|r| Duration::from_secs(if r.head.method == "HEAD" { 60 } else { 0 }))),
        ("parallel", "not the provider's", gateway(Some(Arc::new(Mixing::default())))),
        ("cancel", "still waits for the provider", Box::new(stubborn)),
        ("large-body", "status 413 with an HTML page", odd(|r| (r.body.len() > 1 << 20).then(|| html(413)))),
        ("largest-body", "status 413 with an HTML page", odd(|r| (r.body.len() > 2_000_000).then(|| html(413)))),
        ("too-large", "413 without Anthropic's envelope", odd(|r| (r.body.len() > 3 << 20).then(|| html(413)))),
        (
            "too-large",
            "status 400: no",
            odd(|r| (r.body.len() > 3 << 20).then(|| Whole::refusal(400, "invalid_request_error", "no"))),
        ),
        (
            "malformed",
            "not in Anthropic's envelope",
            odd(|r| r.json.is_null().then(|| Whole::json(400, &json!({"detail": "Invalid JSON"})))),
        ),
        (
            "unknown-model",
            "status 500: KeyError",
            odd(|r| {
                let unknown = r.json["model"].as_str().is_some_and(|m| m.contains("no-such-model"));
                unknown.then(|| Whole::refusal(500, "api_error", "KeyError"))
            }),
        ),
        ("error-status", "the client got 500", faulty("error-replaced-by-generic-500")),
        ("error-words", "All target providers failed", faulty("context-error-masked")),
        ("error-envelope", "without the envelope", faulty("error-body-not-anthropic-shaped")),
        ("retry-headers", "retry-after: answered", faulty("retry-headers-dropped")),
        (
            "broken-stream",
            "the client got a whole answer",
            odd_whole("/v1/messages", |_, answer| answer.body = mended(&answer.body).into()),
        ),
        (
            "chat-plain",
            "/object is",
            odd_whole(CHAT, |_, answer| {
                let mut body = answer.value();
                body["object"] = json!("completion");
                answer.set_json(&body);
            }),
        ),
        (
            "chat-usage",
            "does not add up",
            odd_whole(CHAT, |_, answer| {
                let mut body = answer.value();
                body["usage"]["total_tokens"] = json!(1);
                answer.set_json(&body);
            }),
        ),
        (
            "chat-stream",
            "and not with [DONE]",
            odd_whole(CHAT, |_, answer| {
                answer.body = String::from_utf8(answer.body.to_vec()).unwrap().replace("data: [DONE]\n\n", "").into();
            }),
        ),
        (
            "chat-first-chunk",
            "within 1000 ms",
            waiting(|r| Duration::from_millis(if r.head.uri.path() == CHAT { 1500 } else { 0 })),
        ),
        (
            "chat-unknown-model",
            "status 200",
            odd(|r| {
                let unknown = r.json["model"].as_str().is_some_and(|m| m.contains("no-such-model"));
                unknown.then(|| Whole::json(200, &json!({"object": "chat.completion"})))
            }),
        ),
    ]
}

/// Checks that no gateway of this kind can fail here: whether anything answers is shown with bad input; routes,
/// the state after refusals, and silence behind gateways that translate have tests of their own.
const ELSEWHERE: [&str; 4] = ["reach", "silence", "chat-routing", "alive"];

#[tokio::test(flavor = "multi_thread")]
async fn each_check_fails_when_the_reference_is_broken_in_the_one_way_it_looks_for() {
    all_fail(cases()).await;
}

/// Each of these gateways fails its check, and with these words: nothing else is wrong with it.
pub(super) async fn all_fail(cases: Vec<Case>) {
    let mut wrong = Vec::new();
    for (id, words, start) in cases {
        let row = Rigged::start(start).await.one(id).await;
        if row.verdict != Verdict::Failed || row.advice.is_none() || !row.message.contains(words) {
            wrong.push(format!("{id}: {:?}: {} (and not: {words})", row.verdict, row.message));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_check_has_a_gateway_that_fails_it() {
    let cases = cases();
    for check in CHECKS {
        let shown = cases.iter().any(|(id, ..)| *id == check.id) || ELSEWHERE.contains(&check.id);
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

#[tokio::test(flavor = "multi_thread")]
async fn a_translator_that_says_nothing_while_its_provider_says_nothing_fails() {
    for (pings_every, verdict) in
        [(Duration::from_millis(400), Verdict::Passed), (Duration::from_secs(60), Verdict::Failed)]
    {
        let mut rigged = Rigged::start(translator(pings_every)).await;
        rigged.kind = TargetKind::Translator;
        let row = rigged.one("silence").await;
        assert_eq!(row.verdict, verdict, "{}", row.message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_open_on_purpose_is_not_blamed_for_it() {
    let mut rigged = Rigged::start(odd(|r| {
        own_key(r);
        None
    }))
    .await;
    rigged.is_keyed = false;
    for id in ["wrong-key", "no-key"] {
        let row = rigged.one(id).await;
        assert!(row.verdict == Verdict::NotApplicable && row.message.contains("it is open"), "{}", row.message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_completion_that_takes_too_long_is_no_pass() {
    let mut rigged = Rigged::start(waiting(|_| Duration::from_secs(60))).await;
    rigged.slow_deadline = Duration::from_millis(500);
    for id in ["chat-plain", "chat-usage", "chat-stream", "chat-first-chunk"] {
        let row = rigged.one(id).await;
        let timed_out =
            row.message.contains("no answer within") && row.advice.as_ref().unwrap().contains("--slow-timeout");
        assert!(row.verdict == Verdict::Failed && timed_out, "{id}: {}", row.message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_whose_first_provider_is_elsewhere_is_not_judged() {
    let row = Rigged::start(misled()).await.one("fallback").await;
    assert!(
        row.verdict == Verdict::Undecided && row.message.contains("nobody asked at `first_port`"),
        "{}",
        row.message
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_have_to_be_refused_and_clients_that_start_slowly_are_as_the_profile_says() {
    let mut rigged = Rigged::start(waiting(|_| Duration::from_millis(1200))).await;
    assert_eq!(rigged.one("chat-first-chunk").await.verdict, Verdict::Failed);
    rigged.settings.slow_start = Some(Duration::from_secs(20));
    assert_eq!(rigged.one("chat-first-chunk").await.verdict, Verdict::Passed);
    rigged.settings.routing.refused = vec!["gpt-5".to_owned()];
    let row = rigged.one("chat-unknown-model").await;
    assert!(row.verdict == Verdict::Failed && row.message.contains("gpt-5: status 200"), "{}", row.message);
}
