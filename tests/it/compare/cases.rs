//! Every code with evidence that makes it fire, and the nearest evidence that does not.

use std::collections::BTreeSet;

use ccsmoke::exchange::End;
use ccsmoke::rules::rule;
use serde_json::{Value, json};

use super::translated::chat;
use super::{CODES, NONCE, Scene, Side, message};

/// One code, what makes it fire and nothing else, and what stays silent.
struct CodeCase {
    code: &'static str,
    fires: fn(&mut Scene),
    silent: fn(&mut Scene),
}

fn broke() -> End {
    End::UpstreamBroke { error: "reset".to_owned() }
}

fn overloaded() -> Value {
    json!({ "type": "error", "error": { "type": "overloaded_error", "message": "too many" } })
}

/// Both sides refuse with these bodies.
fn refuse(scene: &mut Scene, [far, near]: [(u16, &Value); 2]) {
    scene.far.refuses(far.0, far.1, &[]);
    scene.near.refuses(near.0, near.1, &[]);
}

/// The client gets this message where the provider said [`message`].
fn got(scene: &mut Scene, edit: impl FnOnce(&mut Value)) {
    let mut said = message();
    edit(&mut said);
    scene.near.says(&said);
}

/// Both get an answer that takes long: the client's pieces come at these times, in microseconds.
fn slowly(scene: &mut Scene, near: &[u64]) {
    scene.far.pieces = vec![10_000, 200_000, 400_000];
    scene.near.pieces = near.to_vec();
}

/// The provider sends a ping every second for ten; pieces of the client come at these seconds.
fn pinging(scene: &mut Scene, seconds: &[u64]) {
    let pings = "event: ping\ndata: {\"type\": \"ping\"}\n\n".repeat(100);
    for side in [&mut scene.near, &mut scene.far] {
        let text = String::from_utf8(side.answer.clone()).unwrap();
        side.answer =
            text.replacen("event: content_block_start", &format!("{pings}event: content_block_start"), 1).into();
    }
    scene.far.pieces = (0..=10).map(|s| 10_000 + s * 1_000_000).collect();
    scene.near.pieces = seconds.iter().map(|s| 11_500 + s * 1_000_000).collect();
}

/// The provider sends its head at once and its answer three seconds later, and so does the gateway.
fn slow_start(scene: &mut Scene) {
    scene.far.pieces = vec![3_000_000, 3_050_000, 3_100_000];
    scene.near.pieces = vec![3_010_000, 3_060_000, 3_110_000];
}

/// The client leaves after 30 ms, the provider's exchange ends so much later.
fn cancelled(scene: &mut Scene, later: u64) {
    scene.near.breaks_behind("And another", End::ClientLeft);
    scene.far.pieces = vec![10_000, 20_000, later];
}

fn through_chat(scene: &mut Scene, edit: impl FnOnce(&mut Value)) {
    *scene = chat();
    scene.far.edit(edit);
}

/// The conversation with the system message in the middle taken out.
fn without_inline_system(side: &mut Side) {
    side.edit(|body| body["messages"].as_array_mut().unwrap().retain(|m| m["role"] != "system"));
}

const CASES: &[CodeCase] = &[
    CodeCase {
        code: "request-not-forwarded",
        fires: |s| "/v1/models".clone_into(&mut s.far.target),
        // Without the nonce it cannot be known behind the gateway.
        silent: |s| {
            "/v1/models".clone_into(&mut s.far.target);
            s.near.set("/messages/0/content/0/text", json!("Read the file."));
        },
    },
    CodeCase {
        code: "request-malformed",
        fires: |s| s.far.body.truncate(100),
        silent: |s| s.both(|side| side.body.truncate(100)),
    },
    CodeCase {
        code: "request-version-changed",
        fires: |s| s.far.header("anthropic-version", None),
        silent: |s| s.both(|side| side.header("anthropic-version", Some("2099-01-01"))),
    },
    CodeCase {
        code: "request-betas-changed",
        fires: |s| s.far.header("anthropic-beta", Some("claude-code-20250219")),
        silent: |s| s.far.header("anthropic-beta", Some("effort-2025-11-24, claude-code-20250219")),
    },
    CodeCase {
        code: "request-header-changed",
        fires: |s| s.far.header("anthropic-probe", None),
        silent: |s| s.far.header("x-app", None),
    },
    CodeCase {
        code: "request-query-changed",
        fires: |s| "/v1/messages".clone_into(&mut s.far.target),
        silent: |s| "/prefix/v1/messages?beta=true".clone_into(&mut s.far.target),
    },
    CodeCase {
        code: "request-not-translated",
        fires: |s| through_chat(s, |b| b["user"] = json!("u".repeat(65))),
        silent: |s| through_chat(s, |b| b["user"] = json!("u".repeat(64))),
    },
    CodeCase {
        code: "client-identity-lost",
        fires: |s| {
            refuse(s, [(429, &overloaded()), (429, &overloaded())]);
            s.far.header("x-app", None);
        },
        // A gateway may use it up, as long as the provider does not mind.
        silent: |s| s.far.header("x-app", None),
    },
    CodeCase {
        code: "failure-not-retried",
        fires: |s| {
            s.allow("retries");
            refuse(s, [(529, &overloaded()), (529, &overloaded())]);
        },
        silent: |s| refuse(s, [(529, &overloaded()), (529, &overloaded())]),
    },
    CodeCase { code: "cancel-not-passed-on", fires: |s| cancelled(s, 10_000_000), silent: |s| cancelled(s, 1_000_000) },
    CodeCase {
        code: "stream-head-withheld",
        fires: |s| {
            slow_start(s);
            s.near.head = 3_055_000;
        },
        silent: |s| {
            slow_start(s);
            s.near.head = 900_000;
        },
    },
    CodeCase {
        code: "request-model-changed",
        fires: |s| s.far.set("/model", json!("claude-haiku")),
        silent: |s| s.both(|side| side.set("/model", json!("claude-haiku"))),
    },
    CodeCase {
        code: "request-metadata-changed",
        fires: |s| s.far.remove("metadata"),
        silent: |s| s.both(|side| side.remove("metadata")),
    },
    CodeCase {
        code: "request-system-changed",
        fires: |s| {
            s.far
                .edit(|b| b["system"].as_array_mut().unwrap().insert(0, json!({ "type": "text", "text": "Be nice." })));
        },
        silent: |s| s.both(|side| side.set("/system", json!("You are an agent."))),
    },
    CodeCase {
        code: "request-history-changed",
        fires: |s| s.far.set("/messages/2/content/0/signature", json!("c2lnbm")),
        silent: |s| s.both(|side| side.set("/messages/2/content/0/signature", json!("c2lnbm"))),
    },
    CodeCase {
        code: "request-media-lost",
        fires: |s| {
            through_chat(s, |b| b["messages"].as_array_mut().unwrap().retain(|m| !m.to_string().contains("image_url")));
        },
        silent: |s| through_chat(s, |_| {}),
    },
    CodeCase {
        code: "request-tools-changed",
        fires: |s| s.far.edit(|b| drop(b["tools"][0].as_object_mut().unwrap().remove("description"))),
        silent: |s| s.both(|side| side.edit(|b| b["tools"][0]["strict"] = json!(true))),
    },
    CodeCase {
        code: "request-thinking-changed",
        fires: |s| s.far.remove("thinking"),
        silent: |s| s.both(|side| side.remove("thinking")),
    },
    CodeCase {
        code: "request-thinking-untranslated",
        fires: |s| through_chat(s, |b| b["reasoning_effort"] = json!("low")),
        silent: |s| through_chat(s, |b| b["reasoning_effort"] = json!("xhigh")),
    },
    CodeCase {
        code: "request-cache-control-changed",
        fires: |s| s.far.edit(|b| drop(b["system"][1].as_object_mut().unwrap().remove("cache_control"))),
        silent: |s| s.both(|side| side.set("/system/1/cache_control", json!({ "type": "ephemeral", "ttl": "1h" }))),
    },
    CodeCase {
        code: "request-stream-changed",
        fires: |s| s.far.set("/stream", json!(false)),
        silent: |s| s.both(|side| side.set("/stream", json!(false))),
    },
    CodeCase {
        code: "request-field-dropped",
        fires: |s| s.far.remove("context_management"),
        silent: |s| s.both(|side| side.remove("context_management")),
    },
    CodeCase {
        code: "request-field-added",
        fires: |s| s.far.edit(|b| b["temperature"] = json!(0.7)),
        silent: |s| s.both(|side| side.edit(|b| b["temperature"] = json!(0.7))),
    },
    CodeCase {
        code: "request-field-changed",
        fires: |s| s.far.set("/max_tokens", json!(4096)),
        silent: |s| s.far.edit(|b| b["max_tokens"] = json!(32000.0)),
    },
    CodeCase {
        code: "request-reshaped",
        fires: |s| s.near.set("/messages/0/content", json!(format!("Read the file. {NONCE}"))),
        silent: |s| s.both(|side| side.set("/messages/0/content", json!(NONCE))),
    },
    CodeCase {
        code: "answer-invented",
        fires: |s| s.far.breaks_behind("And another", broke()),
        silent: |s| s.both(|side| side.breaks_behind("And another", broke())),
    },
    CodeCase {
        code: "answer-lost",
        fires: |s| s.near.breaks_behind("And another", broke()),
        // A client that left did not want the rest.
        silent: |s| s.near.breaks_behind("And another", End::ClientLeft),
    },
    CodeCase {
        code: "answer-text-changed",
        fires: |s| got(s, |m| m["content"][1]["text"] = json!("And another two.")),
        silent: |s| {
            // Cut into other pieces it is the same text.
            let delta = |text: &str| {
                let delta = json!({ "type": "text_delta", "text": text });
                let data = json!({ "type": "content_block_delta", "index": 1, "delta": delta });
                format!("event: content_block_delta\ndata: {data}\n\n")
            };
            let whole = String::from_utf8(s.near.answer.clone()).unwrap();
            let pieces = delta("And an") + &delta("other one.");
            s.near.answer = whole.replace(&delta("And another one."), &pieces).into_bytes();
            assert_ne!(s.near.answer, s.far.answer);
        },
    },
    CodeCase {
        code: "answer-tool-changed",
        fires: |s| got(s, |m| m["content"][2]["input"]["file_path"] = json!("/w/c.txt")),
        silent: |s| got(s, |_| {}),
    },
    CodeCase {
        code: "answer-thinking-changed",
        fires: |s| got(s, |m| m["content"][0]["signature"] = json!("c2lnMg")),
        silent: |s| got(s, |_| {}),
    },
    CodeCase {
        code: "answer-blocks-changed",
        fires: |s| {
            got(s, |m| {
                let block = m["content"].as_array_mut().unwrap().remove(0);
                m["content"].as_array_mut().unwrap().insert(1, block);
            });
        },
        silent: |s| got(s, |_| {}),
    },
    CodeCase {
        code: "answer-stop-reason-changed",
        fires: |s| got(s, |m| m["stop_reason"] = json!("end_turn")),
        silent: |s| got(s, |_| {}),
    },
    CodeCase {
        code: "answer-usage-changed",
        fires: |s| got(s, |m| m["usage"]["cache_read_input_tokens"] = json!(0)),
        silent: |s| got(s, |m| m["usage"]["service_tier"] = json!("standard")),
    },
    CodeCase {
        code: "answer-model-changed",
        fires: |s| got(s, |m| m["model"] = json!("claude-other")),
        // The provider may call the model otherwise than the client did.
        silent: |s| {
            let mut said = message();
            said["model"] = json!("claude-sonnet-5-5-20260101");
            s.far.says(&said);
        },
    },
    CodeCase {
        code: "error-status-changed",
        fires: |s| refuse(s, [(529, &overloaded()), (500, &overloaded())]),
        silent: |s| refuse(s, [(529, &overloaded()), (529, &overloaded())]),
    },
    CodeCase {
        code: "error-words-changed",
        fires: |s| {
            let mut said = overloaded();
            said["error"]["message"] = json!("provider: too many");
            refuse(s, [(529, &overloaded()), (529, &said)]);
        },
        silent: |s| {
            let mut said = overloaded();
            said["request_id"] = json!("req_9");
            refuse(s, [(529, &overloaded()), (529, &said)]);
        },
    },
    CodeCase {
        code: "error-envelope-lost",
        fires: |s| refuse(s, [(529, &overloaded()), (529, &json!({ "error": { "message": "too many" } }))]),
        // What never had an envelope cannot lose it.
        silent: |s| refuse(s, [(502, &json!("bad gateway")), (502, &json!("bad gateway"))]),
    },
    CodeCase {
        code: "retry-headers-lost",
        fires: |s| {
            s.far.refuses(429, &overloaded(), &[("retry-after", "7")]);
            s.near.refuses(429, &overloaded(), &[]);
        },
        silent: |s| {
            s.both(|side| side.refuses(429, &overloaded(), &[("retry-after", "7"), ("x-should-retry", "false")]));
        },
    },
    CodeCase {
        code: "request-id-lost",
        fires: |s| s.near.answer_headers.retain(|(name, _)| name != "request-id"),
        silent: |s| s.near.answer_headers.push(("x-gateway".to_owned(), "1".to_owned())),
    },
    CodeCase {
        code: "break-hidden",
        fires: |s| {
            s.far.breaks_behind("And another", broke());
            s.near.breaks_behind("And another", End::Complete);
            s.near.answer_headers.push(("transfer-encoding".to_owned(), "chunked".to_owned()));
        },
        // A body that ends with its connection, as in HTTP/1.0, cannot break in any other way.
        silent: |s| {
            s.far.breaks_behind("And another", broke());
            s.near.breaks_behind("And another", End::Complete);
        },
    },
    CodeCase { code: "stream-buffered", fires: |s| slowly(s, &[402_000]), silent: |s| slowly(s, &[300_000, 402_000]) },
    CodeCase {
        code: "stream-pings-lost",
        fires: |s| pinging(s, &[0, 6, 10]),
        silent: |s| pinging(s, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
    },
];

/// Codes about several requests, which the module `pairing` has cases for.
const BY_NUMBER: [&str; 4] = ["request-multiplied", "request-repeated", "request-unprompted", "cache-prefix-unstable"];

#[test]
fn every_code_fires_where_it_should_and_stays_silent_beside_it() {
    for case in CASES {
        let mut fires = Scene::through();
        (case.fires)(&mut fires);
        assert_eq!(fires.codes(), BTreeSet::from([case.code.to_owned()]), "{:#?}", fires.findings());
        let mut silent = Scene::through();
        (case.silent)(&mut silent);
        assert_eq!(silent.findings(), [], "beside {}", case.code);
    }
}

#[test]
fn an_end_that_the_gateway_sat_on_was_held_back_and_one_that_the_provider_sent_late_was_not() {
    let mut scene = Scene::through();
    scene.near.pieces = vec![11_000, 21_000, 12_000_000];
    assert_eq!(scene.codes(), BTreeSet::from(["stream-buffered".to_owned()]));
    scene.far.pieces = vec![10_000, 20_000, 11_900_000];
    assert_eq!(scene.findings(), []);
}

#[test]
fn a_stream_that_is_late_but_comes_piece_by_piece_was_not_collected() {
    let mut scene = Scene::through();
    slowly(&mut scene, &[500_000, 560_000, 640_000]);
    assert_eq!(scene.findings(), []);
    slowly(&mut scene, &[500_000, 501_000, 502_000]);
    assert_eq!(scene.codes(), BTreeSet::from(["stream-buffered".to_owned()]));
}

#[test]
fn every_code_has_its_cases() {
    let cases = CASES.iter().map(|c| c.code).chain(BY_NUMBER).map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(cases, *CODES);
    assert!(cases.iter().all(|code| rule(code).is_some()));
}

/// A rewrite and what it allows.
type Rewritten = (&'static str, fn(&mut Scene));

#[test]
fn a_declared_rewrite_allows_what_it_names_and_nothing_else() {
    let through: &[Rewritten] = &[
        ("model", |s| {
            s.far.set("/model", json!("other"));
            got(s, |m| m["model"] = json!("third"));
        }),
        ("metadata", |s| s.far.remove("metadata")),
        ("query", |s| "/v1/messages".clone_into(&mut s.far.target)),
        ("header:anthropic-beta", |s| s.far.header("anthropic-beta", None)),
        ("header:Anthropic-Probe", |s| s.far.header("anthropic-probe", Some("2"))),
        ("header:retry-after", |s| {
            s.far.refuses(429, &overloaded(), &[("retry-after", "7")]);
            s.near.refuses(429, &overloaded(), &[]);
        }),
        ("header:request-id", |s| s.near.answer_headers.retain(|(name, _)| name != "request-id")),
        ("error_message", |s| {
            let mut said = overloaded();
            said["error"]["message"] = json!("gateway: 'too many', sorry");
            refuse(s, [(529, &overloaded()), (529, &said)]);
        }),
        ("system_message", |s| {
            s.far.set(
                "/system",
                json!("x-anthropic-billing-header: cc_version=2;\n\nYou are an agent.\nMind the date."),
            );
            without_inline_system(&mut s.far);
        }),
        ("thinking_signature", |s| got(s, |m| m["content"][0]["signature"] = json!(""))),
        ("cache_control", |s| s.far.edit(|b| drop(b["system"][1].as_object_mut().unwrap().remove("cache_control")))),
        ("stream", |s| s.far.set("/stream", json!(false))),
        ("pings", |s| pinging(s, &[0, 6, 10])),
    ];
    for (rewrite, change) in through {
        let mut scene = Scene::through();
        change(&mut scene);
        assert_ne!(scene.findings(), [], "{rewrite}");
        scene.allow(rewrite);
        assert_eq!(scene.findings(), [], "{rewrite}");
        scene.far.header("anthropic-version", None);
        assert_eq!(scene.codes(), BTreeSet::from(["request-version-changed".to_owned()]), "{rewrite}");
    }
}

#[test]
fn counts_of_zero_at_the_start_are_allowed_only_where_the_end_has_them() {
    let mut scene = Scene::through();
    let start = r#""cache_creation_input_tokens":20,"cache_read_input_tokens":10,"input_tokens":300,"output_tokens":1"#;
    let end = r#""usage":{"output_tokens":42}"#;
    let text = String::from_utf8(scene.near.answer.clone()).unwrap();
    assert!(text.contains(start) && text.contains(end), "{text}");
    let zero = text.replace(start, r#""input_tokens":0,"output_tokens":0"#);
    let late = zero.replace(
        end,
        r#""usage":{"input_tokens":300,"cache_creation_input_tokens":20,"cache_read_input_tokens":10,"output_tokens":42}"#,
    );
    scene.near.answer = late.into_bytes();
    assert_eq!(scene.codes(), BTreeSet::from(["answer-usage-changed".to_owned()]));
    scene.allow("usage_start");
    assert_eq!(scene.findings(), []);
    scene.near.answer = zero.into_bytes();
    assert_eq!(scene.codes(), BTreeSet::from(["answer-usage-changed".to_owned()]));
}

#[test]
fn words_around_an_error_are_allowed_but_not_another_type_or_other_words() {
    for (key, value) in [("type", "api_error"), ("message", "sorry")] {
        let mut scene = Scene::through();
        let mut said = overloaded();
        said["error"][key] = json!(value);
        refuse(&mut scene, [(529, &overloaded()), (529, &said)]);
        scene.allow("error_message");
        assert_eq!(scene.codes(), BTreeSet::from(["error-words-changed".to_owned()]));
    }
}

#[test]
fn a_system_text_that_is_lost_is_told_even_where_system_texts_may_move() {
    let mut scene = Scene::through();
    without_inline_system(&mut scene.far);
    scene.allow("system_message");
    let found = scene.findings();
    assert_eq!(found.len(), 1);
    assert!(found[0].message.contains("Mind the date."), "{}", found[0].message);
}

#[test]
fn an_error_event_has_to_be_passed_on_with_its_words() {
    let event = |words: &str| {
        format!(
            "event: error\ndata: {}\n\n",
            json!({ "type": "error", "error": { "type": "overloaded_error", "message": words } })
        )
    };
    let with = |side: &mut Side, tail: &str, end: End| {
        side.breaks_behind("event: ping\n", end);
        side.answer = [&side.answer[..], b"data: {\"type\":\"ping\"}\n\n", tail.as_bytes()].concat();
    };
    // A client may leave upon the event, without waiting for the end of the framing.
    for (tail, end, codes) in [
        (event("too many"), End::Complete, vec![]),
        (event("too many"), End::ClientLeft, vec![]),
        (event("gateway: error"), End::Complete, vec!["error-words-changed"]),
        (event("gateway: error"), End::ClientLeft, vec!["error-words-changed"]),
        (String::new(), End::Complete, vec!["error-words-changed"]),
        (String::new(), End::ClientLeft, vec![]),
    ] {
        let mut scene = Scene::through();
        with(&mut scene.far, &event("too many"), End::Complete);
        with(&mut scene.near, &tail, end.clone());
        assert_eq!(scene.codes(), codes.into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), "{tail} {end:?}");
    }
    let mut scene = Scene::through();
    with(&mut scene.far, &event("too many"), End::Complete);
    assert_eq!(scene.codes(), BTreeSet::from(["answer-invented".to_owned()]));
}

#[test]
fn what_a_client_read_to_its_end_is_compared_also_where_it_left_before_the_end_of_the_framing() {
    let mut scene = Scene::through();
    got(&mut scene, |m| m["content"][1]["text"] = json!("And another two."));
    scene.near.end = End::ClientLeft;
    assert_eq!(scene.codes(), BTreeSet::from(["answer-text-changed".to_owned()]));
    let mut scene = Scene::through();
    refuse(&mut scene, [(529, &overloaded()), (500, &overloaded())]);
    scene.near.end = End::ClientLeft;
    assert_eq!(scene.codes(), BTreeSet::from(["error-status-changed".to_owned()]));
}

#[test]
fn a_refusal_must_not_become_a_stream() {
    let mut scene = Scene::through();
    scene.far.refuses(529, &overloaded(), &[]);
    assert_eq!(scene.codes(), BTreeSet::from(["answer-invented".to_owned()]));
    scene.near.breaks_behind("event: ping\n", End::Complete);
    assert_eq!(scene.codes(), BTreeSet::from(["error-status-changed".to_owned()]));
}

#[test]
fn a_fast_answer_says_nothing_about_buffering() {
    let mut scene = Scene::through();
    scene.near.pieces = vec![40_000];
    assert_eq!(scene.findings(), []);
    // Nor does one that came in two pieces.
    scene.far.pieces = vec![10_000, 900_000];
    scene.near.pieces = vec![901_000];
    assert_eq!(scene.findings(), []);
}

#[test]
fn the_same_difference_in_several_exchanges_is_one_finding_with_all_places() {
    let mut scene = Scene::through();
    scene.far.remove("thinking");
    let mut evidence = scene.evidence();
    let mut later = scene.near.exchange(1, 100_000_000);
    later.ended_us += 10_000;
    evidence.exchanges.push(later);
    evidence.behind.as_mut().unwrap().push(scene.far.exchange(1, 100_001_000));
    let found = super::findings(&evidence);
    assert_eq!(found.len(), 1);
    let places = ["exchange 0", "behind 0", "exchange 1", "behind 1"].map(|p| format!("{p} request:/thinking"));
    assert_eq!(found[0].cites, places);
}

#[test]
fn what_the_recorder_did_not_keep_is_not_compared() {
    let mut scene = Scene::through();
    scene.far.remove("tools");
    scene.far.says(&json!({ "content": [], "usage": {} }));
    let mut evidence = scene.evidence();
    let behind = &mut evidence.behind.as_mut().unwrap()[0];
    behind.request.body.dropped = 1;
    behind.response.as_mut().unwrap().body.dropped = 1;
    assert_eq!(super::findings(&evidence), []);
}
