//! Which requests to the provider belong to which of the client: by nesting in time and by content.

use std::collections::BTreeSet;

use ccsmoke::exchange::{End, Exchange};
use serde_json::{Value, json};

use super::{HOP, NONCE, START, Scene, Side, evidence, findings};

/// A side that says this to the model and gets this text.
fn said(words: &str, answer: &str) -> Side {
    let mut side = Scene::through().near;
    side.edit(|body| body["messages"] = json!([{ "role": "user", "content": format!("{words} {NONCE}") }]));
    let message = json!({
        "id": "m", "type": "message", "role": "assistant", "model": "claude-sonnet-5-5",
        "content": [{ "type": "text", "text": answer }], "stop_reason": "end_turn",
        "usage": { "input_tokens": 9, "output_tokens": 3 },
    });
    side.says(&message);
    side
}

fn overloaded(side: &Side) -> Side {
    let mut side = side.clone();
    side.refuses(529, &json!({ "type": "error", "error": { "type": "overloaded_error", "message": "x" } }), &[]);
    side
}

/// The exchange of a client that waited for so long.
fn waiting(side: &Side, id: u32, at: u64, for_us: u64) -> Exchange {
    Exchange { ended_us: at + for_us, ..side.exchange(id, at) }
}

fn codes(near: Vec<Exchange>, far: Vec<Exchange>) -> BTreeSet<String> {
    findings(&evidence(near, Some(far), Vec::new())).into_iter().map(|f| f.code).collect()
}

fn only(code: &str) -> BTreeSet<String> {
    BTreeSet::from([code.to_owned()])
}

#[test]
fn requests_at_the_same_time_are_told_apart_by_what_they_say() {
    let sides = [said("one", "1"), said("two", "2"), said("three", "3")];
    let near: Vec<Exchange> = (0..).zip(&sides).map(|(i, s)| waiting(s, i, START, 1_000_000)).collect();
    // They arrive in the opposite order.
    let far: Vec<Exchange> =
        (0..).zip(sides.iter().rev()).map(|(i, s)| s.exchange(i, START + HOP * u64::from(i))).collect();
    assert_eq!(codes(near.clone(), far.clone()), BTreeSet::new());
    // And where one was changed, its own partner is named.
    let mut changed = far;
    let mut body: Value = changed[0].request.body.json().unwrap();
    body["max_tokens"] = json!(1);
    changed[0].request.body.bytes = body.to_string().into_bytes();
    let found = findings(&evidence(near, Some(changed), Vec::new()));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].cites, ["exchange 2 request:/max_tokens", "behind 0 request:/max_tokens"]);
}

#[test]
fn requests_that_say_the_same_are_told_apart_by_their_answers() {
    let sides = [said("one", "first"), said("one", "second")];
    let near: Vec<Exchange> = (0..).zip(&sides).map(|(i, s)| waiting(s, i, START, 1_000_000)).collect();
    let far: Vec<Exchange> = (0..).zip(sides.iter().rev()).map(|(i, s)| s.exchange(i, START + HOP)).collect();
    assert_eq!(codes(near, far), BTreeSet::new());
}

#[test]
fn a_request_that_begins_after_the_client_has_its_answer_is_not_caused_by_it() {
    let side = said("one", "1");
    let near = waiting(&side, 0, START, 50_000);
    let found = codes(vec![near], vec![side.exchange(0, START + HOP), side.exchange(1, START + 60_000)]);
    assert_eq!(found, only("request-unprompted"));
}

/// The same, but the client leaves within the answer.
fn left(side: &Side) -> Side {
    let mut left = side.clone();
    left.breaks_behind("event: content_block_start", End::ClientLeft);
    left
}

#[test]
fn a_request_of_a_client_that_left_may_still_be_on_its_way() {
    let side = said("one", "1");
    let near = waiting(&left(&side), 0, START, 10_000);
    assert_eq!(codes(vec![near.clone()], vec![side.exchange(0, START + 60_000)]), BTreeSet::new());
    assert_eq!(codes(vec![near], vec![said("two", "2").exchange(0, START + 60_000)]), only("request-unprompted"));
}

#[test]
fn what_the_gateway_asks_for_itself_is_not_taken_for_the_clients_request() {
    let (side, own) = (said("one", "1"), said("Give this conversation a title:", "Title"));
    let near = waiting(&side, 0, START, 1_000_000);
    let found = codes(vec![near], vec![own.exchange(0, START + HOP), side.exchange(1, START + 100 * HOP)]);
    assert_eq!(found, only("request-unprompted"));
}

#[test]
fn a_system_prompt_that_was_sent_twice_alike_has_to_arrive_alike() {
    let side = said("one", "1");
    let arrives = |words: &[&str]| {
        let (near, far): (Vec<Exchange>, Vec<Exchange>) = (0..)
            .zip(words)
            .map(|(i, words)| {
                let at = START + 200_000 * u64::from(i);
                let mut far = side.clone();
                far.set("/system/1/text", json!(words));
                (waiting(&side, i, at, 100_000), far.exchange(i, at + HOP))
            })
            .unzip();
        codes(near, far)
    };
    // What is the same each time is another prompt, but one that a cache can know.
    assert_eq!(arrives(&["Be nice.", "Be nice."]), only("request-system-changed"));
    let both = ["cache-prefix-unstable", "request-system-changed"].map(str::to_owned);
    assert_eq!(arrives(&["Request 1", "Request 2"]), BTreeSet::from(both));
}

#[test]
fn a_retry_after_a_failure_is_noted_and_one_after_an_answer_is_not_free() {
    let side = said("one", "1");
    let near = || vec![waiting(&side, 0, START, 1_000_000)];
    let second = side.exchange(1, START + 200 * HOP);
    let found =
        findings(&evidence(near(), Some(vec![overloaded(&side).exchange(0, START + HOP), second.clone()]), vec![]));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].code, "request-repeated");
    assert_eq!(found[0].message, "one request became 2: status 529, then an answer");
    assert_eq!(found[0].cites, ["exchange 0", "behind 0", "behind 1"]);
    assert_eq!(codes(near(), vec![side.exchange(0, START + HOP), second]), only("request-multiplied"));
}

#[test]
fn an_answer_is_compared_with_the_attempt_that_it_came_from() {
    let (side, other) = (said("one", "1"), said("one", "other"));
    let near = waiting(&side, 0, START, 1_000_000);
    let far = vec![side.exchange(0, START + HOP), other.exchange(1, START + 2 * HOP)];
    assert_eq!(codes(vec![near], far), only("request-multiplied"));
}

#[test]
fn an_answer_without_a_request_behind_the_gateway_is_the_gateways_own() {
    let side = said("one", "1");
    let near = vec![waiting(&side, 0, START, 100_000), waiting(&side, 1, START + 200_000, 100_000)];
    let found = findings(&evidence(near, Some(vec![side.exchange(0, START + HOP)]), Vec::new()));
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(
        (found[0].code.as_str(), found[0].cites.as_slice()),
        ("request-not-forwarded", &["exchange 1".to_owned()][..])
    );
}

#[test]
fn where_the_client_left_or_nobody_answered_nothing_is_said_about_forwarding() {
    let side = said("one", "1");
    let left = waiting(&left(&side), 0, START, 100_000);
    let mut silent = waiting(&side, 0, START, 100_000);
    silent.response = None;
    silent.end = End::NeverAnswered { error: "silent".to_owned() };
    assert_eq!(codes(vec![left], vec![]), BTreeSet::new());
    assert_eq!(codes(vec![silent], vec![]), BTreeSet::new());
    // With a whole answer it was told all there was to tell.
    let told = Exchange { end: End::ClientLeft, ..waiting(&side, 0, START, 100_000) };
    assert_eq!(codes(vec![told], vec![]), only("request-not-forwarded"));
}
