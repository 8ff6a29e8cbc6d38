//! The table of faults: it holds the whole catalogue, every entry does what it says to a clean exchange, and no variation
//! changes what an answer means.

use std::collections::BTreeSet;
use std::path::Path;

use ccsmoke::fault::{Applied, Change, FAULTS, VARIATIONS, catalogue, fault};
use ccsmoke::messages::CARRIERS;
use ccsmoke::reference::{Alteration as _, Behind, Head, Inbound, Piece};
use ccsmoke::rules::RULES;
use ccsmoke::sse::{Item, Limits, Parser};
use hyper::{Request, Response};
use serde_json::{Value, json};

#[test]
fn every_defect_of_the_catalogue_is_in_the_table_once() {
    let ids: BTreeSet<&str> = FAULTS.iter().map(|f| f.id).collect();
    assert_eq!(ids.len(), FAULTS.len(), "an id occurs twice");
    let missing: Vec<&str> = catalogue().filter(|id| !ids.contains(id)).collect();
    assert_eq!(missing, Vec::<&str>::new());
    assert_eq!(catalogue().count(), 93);
}

#[test]
fn every_entry_says_what_it_does_what_it_breaks_and_how_it_is_found() {
    let codes: BTreeSet<&str> = RULES.iter().map(|r| r.code).collect();
    for fault in FAULTS.iter() {
        assert!(!fault.changes.is_empty() && !fault.breaks.is_empty() && !fault.probes.is_empty(), "{}", fault.id);
        assert!(!fault.codes.is_empty(), "{}", fault.id);
        for code in fault.codes {
            assert!(codes.contains(code), "{}: no rule has the code {code}", fault.id);
        }
    }
    let variations: BTreeSet<&str> = VARIATIONS.iter().map(|v| v.id).collect();
    assert_eq!(variations.len(), VARIATIONS.len());
}

/// The exchanges for inference of a stored cell: the request, and the stream that answered it.
fn exchanges(name: &str) -> Vec<(Value, Vec<u8>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/evidence/{name}.json"));
    let evidence: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let exchanges = evidence["exchanges"].as_array().unwrap().iter();
    let inference = exchanges.filter(|e| e["request"]["target"].as_str().unwrap().starts_with("/v1/messages"));
    inference
        .map(|e| {
            let request = serde_json::from_str(e["request"]["body"]["text"].as_str().unwrap()).unwrap();
            (request, e["response"]["body"]["text"].as_str().unwrap().as_bytes().to_vec())
        })
        .collect()
}

/// Every stored exchange.
fn all() -> Vec<(Value, Vec<u8>)> {
    ["basic_text", "thinking", "tool_use_roundtrip", "interleaved_thinking_tool"]
        .into_iter()
        .flat_map(exchanges)
        .collect()
}

fn inbound(body: &Value) -> Inbound {
    let request = Request::post("/v1/messages?beta=true")
        .header("anthropic-version", "2023-06-01")
        .header("anthropic-beta", "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27")
        .header("authorization", "Bearer token")
        .header("user-agent", "claude-cli/2.1.329")
        .header("x-claude-code-session-id", "1")
        .header("accept-encoding", "gzip");
    let head = request.body(()).unwrap().into_parts().0;
    Inbound { head, body: body.to_string().into(), json: body.clone(), serial: 3, repeats: 0 }
}

fn head() -> Head {
    let response = Response::builder().header("content-type", "text/event-stream; charset=utf-8");
    response.body(()).unwrap().into_parts().0
}

/// A stream through the changes, cut into arrivals of this size; pauses and the end are left out.
fn through(changes: &'static [Change], request: &Value, stream: &[u8], cut: usize) -> Vec<u8> {
    let mut filters = Applied(changes).filters(&inbound(request), &head());
    let mut run = |pieces: Vec<Piece>, last: bool| -> Vec<u8> {
        let mut pieces = pieces;
        for filter in &mut filters {
            let mut out = Vec::new();
            for piece in pieces {
                match piece {
                    Piece::Bytes(bytes) => filter.push(bytes, &mut out),
                    other => out.push(other),
                }
            }
            if last {
                filter.end(&mut out);
            }
            pieces = out;
        }
        let bytes = pieces.into_iter().map(|p| match p {
            Piece::Bytes(bytes) => bytes.to_vec(),
            Piece::End | Piece::Break => b"<end>".to_vec(),
            Piece::Pause(_) => b"<pause>".to_vec(),
        });
        bytes.collect::<Vec<_>>().concat()
    };
    let mut out: Vec<u8> = Vec::new();
    for chunk in stream.chunks(cut) {
        out.extend(run(vec![Piece::Bytes(chunk.to_vec().into())], false));
    }
    out.extend(run(Vec::new(), true));
    out
}

/// The events of a stream.
fn events(stream: &[u8]) -> Vec<Value> {
    let mut parser = Parser::new(Limits::default());
    let mut items = parser.push(stream);
    items.extend(parser.finish());
    let data = items.into_iter().filter_map(|item| if let Item::Event(event) = item { Some(event.data) } else { None });
    data.map(|data| serde_json::from_str(&data).unwrap_or(Value::String(data))).collect()
}

#[test]
fn a_stream_leaves_a_fault_the_same_however_it_arrived() {
    for fault in FAULTS.iter() {
        for (request, stream) in all() {
            // What is held back until a size is reached is about sizes.
            let whole = through(fault.changes, &request, &stream, usize::MAX);
            for cut in [7, 100] {
                let pieces = through(fault.changes, &request, &stream, cut);
                assert_eq!(String::from_utf8_lossy(&pieces), String::from_utf8_lossy(&whole), "{} {cut}", fault.id);
            }
        }
    }
}

#[test]
fn a_fault_of_streams_changes_a_clean_stream() {
    // What needs blocks that no stored stream has.
    const ELSEWHERE: [&str; 14] = [
        "interleaved-second-thinking-lost-block",
        "same-index-for-all-tools",
        "second-parallel-tool-dropped",
        "parallel-arguments-concatenated",
        "stop-reason-length-lost",
        "stop-sequence-not-reported",
        "refusal-not-reported",
        "utf8-split-replacement-char",
        "web-search-no-results",
        "web-search-no-results/blocks",
        "partial-200-then-clean-eof",
        "redacted-thinking-lost",
        "long-answers-cut",
        "pieces-repeated",
    ];
    let by_events = |c: &Change| matches!(c, Change::Edit(_) | Change::Drop(_) | Change::Events(_) | Change::Text(_));
    for fault in FAULTS.iter().filter(|f| f.changes.iter().any(by_events) && !ELSEWHERE.contains(&f.id)) {
        let changed = all().iter().any(|(request, stream)| through(fault.changes, request, stream, 64) != *stream);
        assert!(changed, "{}", fault.id);
    }
}

#[test]
fn a_fault_of_requests_changes_a_clean_request_or_refuses_it() {
    const ELSEWHERE: [&str; 35] = [
        "disable-parallel-ignored",
        "tool-choice-dropped",
        "thinking-disabled-not-mapped",
        "thinking-disabled-not-mapped/ignored",
        "thinking-disabled-not-mapped/contradicted",
        "thinking-budget-floor",
        "thinking-budget-floor/raised",
        "image-in-tool-result-dropped",
        "image-in-tool-result-dropped/text",
        "image-request-rejected",
        "image-request-rejected/ignored",
        "orphan-tool-result/split-turn",
        "input-text-block-dropped",
        "is-error-dropped",
        "pdf-document-dropped",
        "pdf-document-dropped/rejected",
        "text-after-tool-use-unsupported",
        "defer-loading-rejected",
        "stop-sequences-dropped",
        "output-format-dropped",
        "schema-type-array",
        "web-search-no-results",
        "web-search-whole-turn-400",
        "tool-search-not-active",
        "tool-search-not-active/tools-lost",
        "web-search-options-rejected",
        "stream-false-returns-sse",
        "count-tokens-404",
        "count-tokens-501",
        "auth-one-header-only/bearer",
        "backend-window-smaller-than-advertised",
        "non-ascii-lost",
        "image-type-changed",
        "temperature-changed",
        "cache-ttl-lost",
    ];
    let up = |c: &Change| matches!(c, Change::Body(_) | Change::Headers(_) | Change::Request(_) | Change::Refuse(_));
    for fault in FAULTS.iter().filter(|f| f.changes.iter().any(up) && !ELSEWHERE.contains(&f.id)) {
        if fault.id.starts_with("count-tokens") || fault.id == "subagent-model-unmapped" {
            continue;
        }
        let changed = all().iter().any(|(request, _)| {
            let before = inbound(request);
            let mut after = inbound(request);
            let refused = Applied(fault.changes).request(&mut after).is_some();
            let same_head = before.head.headers == after.head.headers && before.head.uri == after.head.uri;
            refused || !same_head || before.body != after.body
        });
        assert!(changed, "{}", fault.id);
    }
}

#[test]
fn a_request_that_a_fault_does_not_mean_keeps_its_bytes() {
    let (request, _) = exchanges("basic_text").remove(0);
    for id in ["image-in-tool-result-dropped", "is-error-dropped", "overwrite-signature", "orphan-tool-result"] {
        let mut after = inbound(&request);
        assert!(Applied(fault(id).unwrap().changes).request(&mut after).is_none());
        assert_eq!(after.body, request.to_string(), "{id}");
    }
}

/// What an answer means, whatever stands between its events.
fn meaning(stream: &[u8]) -> Value {
    let mut events: Vec<Value> =
        events(stream).into_iter().filter(|e| CARRIERS.contains(&e["type"].as_str().unwrap_or_default())).collect();
    for event in &mut events {
        if let Some(fields) = event.as_object_mut() {
            fields.remove("gateway");
        }
        if let Some(usage) = event.get_mut("usage").and_then(Value::as_object_mut) {
            usage.remove("gateway_cost");
        }
        if event["message"].is_object() {
            event["message"]["id"] = json!("msg");
        }
    }
    events.into()
}

#[test]
fn a_variation_does_not_change_what_an_answer_means() {
    for variation in VARIATIONS.iter().filter(|v| v.behind == Behind::Anthropic && v.id != "gzip") {
        for (request, stream) in all() {
            for cut in [1, 50, usize::MAX] {
                let out = through(variation.changes, &request, &stream, cut);
                let out = String::from_utf8(out).unwrap().replace("<pause>", "");
                assert_eq!(meaning(out.as_bytes()), meaning(&stream), "{} {cut}", variation.id);
            }
        }
    }
}

#[test]
fn a_change_that_is_meant_for_some_requests_leaves_the_others_alone() {
    const SOME: &[Change] =
        &[Change::Only(|request| request.json["few"] == true, &[Change::Body(|body, _| body["new"] = json!(1))])];
    for (few, expected) in [(true, json!({"few": true, "new": 1})), (false, json!({"few": false}))] {
        let mut request = inbound(&json!({"few": few}));
        assert!(Applied(SOME).request(&mut request).is_none());
        assert_eq!(serde_json::from_slice::<Value>(&request.body).unwrap(), expected);
    }
}

#[test]
fn the_correct_gateway_alters_nothing() {
    for (request, stream) in all() {
        assert_eq!(through(&[], &request, &stream, 13), stream);
    }
}
