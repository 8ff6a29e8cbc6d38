//! What a gateway does to answers: blocks, thinking, tool calls, stop reasons, token counts, the model.

use serde_json::{Value, json};

use super::{Defect, behind, beside, defect, interleaved, passed_on, say, text, thinking, tool, translated};
use crate::rules::edit::{Event, answer, drop_blocks, drop_events, each, replace_in_answer, stream};
use ccsmoke::evidence::Evidence;

pub(super) fn all() -> Vec<Defect> {
    [framing(), thoughts(), tool_calls(), reasons(), usage(), listings()].into_iter().flatten().collect()
}

fn event(data: Value) -> Event {
    Event::new(data)
}

fn delta(index: usize, delta: Value) -> Event {
    event(json!({ "type": "content_block_delta", "index": index, "delta": delta }))
}

/// A whole block as events.
fn block(index: usize, block: Value, deltas: &[Value]) -> Vec<Event> {
    let mut events = vec![event(json!({ "type": "content_block_start", "index": index, "content_block": block }))];
    events.extend(deltas.iter().map(|d| delta(index, d.clone())));
    events.push(event(json!({ "type": "content_block_stop", "index": index })));
    events
}

fn call(index: usize, id: &str) -> Vec<Event> {
    let opened = json!({ "type": "tool_use", "id": id, "name": "Read", "input": {} });
    block(index, opened, &[json!({ "type": "input_json_delta", "partial_json": "{\"file_path\":\"/cell/b\"}" })])
}

fn thought(index: usize, words: &str) -> Vec<Event> {
    let deltas = [
        json!({ "type": "thinking_delta", "thinking": words }),
        json!({ "type": "signature_delta", "signature": "c2lnMg==" }),
    ];
    block(index, json!({ "type": "thinking", "thinking": "", "signature": "" }), &deltas)
}

fn before_end(events: &mut Vec<Event>, more: Vec<Event>) {
    let at = events.iter().position(|e| e.is("message_delta")).unwrap();
    events.splice(at..at, more);
}

/// Two calls in one answer.
fn parallel() -> Evidence {
    let mut e = tool();
    say(&mut e, 0, |events| before_end(events, call(2, "toolu_second")));
    e
}

/// Thinking, a call, and thinking again.
fn thinking_again() -> Evidence {
    let mut e = interleaved();
    say(&mut e, 0, |events| before_end(events, thought(2, "And then?")));
    e
}

/// The events of the block at that index.
fn of(event: &Event, index: u64) -> bool {
    event.data["index"] == index
}

fn framing() -> Vec<Defect> {
    let order = "stream-out-of-order";
    vec![
        defect(
            "blocks-overlap-open",
            "all blocks end at the end",
            tool,
            |e| {
                stream(e, 0, |events| {
                    let (ends, mut rest): (Vec<_>, Vec<_>) =
                        events.drain(..).partition(|event| event.is("content_block_stop"));
                    before_end(&mut rest, ends);
                    *events = rest;
                });
            },
            order,
        ),
        defect(
            "thinking-delta-in-text-block",
            "the last piece",
            thinking,
            |e| {
                stream(e, 0, |events| {
                    let at = events.iter().rposition(|e| e.brings("thinking_delta")).unwrap();
                    let mut piece = events.remove(at);
                    piece.data["index"] = 1.into();
                    let at = events.iter().position(|e| e.opens("text")).unwrap();
                    events.insert(at + 1, piece);
                });
            },
            "stream-delta-misfit",
        ),
        defect(
            "tool-block-never-stopped",
            "dropped",
            tool,
            |e| drop_events(e, 0, |event| event.is("content_block_stop") && of(event, 1)),
            order,
        ),
        defect(
            "all-thinking-collapsed-into-text-block",
            "no thinking block",
            thinking,
            |e| {
                stream(e, 0, |events| {
                    events.retain(|e| {
                        !(of(e, 0) && (e.is("content_block_start") || e.is("content_block_stop")))
                            && !e.brings("signature_delta")
                    });
                    events.iter_mut().filter(|e| of(e, 1)).for_each(|e| e.data["index"] = 0.into());
                    let at = events.iter().position(|e| e.opens("text")).unwrap();
                    let opened = events.remove(at);
                    events.insert(1, opened);
                });
            },
            "stream-delta-misfit",
        ),
        defect(
            "delta-without-index",
            "deltas and ends",
            tool,
            |e| {
                let which = |e: &Event| e.is("content_block_delta") || e.is("content_block_stop");
                each(e, 0, which, |data| drop(data.as_object_mut().unwrap().remove("index")));
            },
            order,
        ),
        defect(
            "interleaved-second-thinking-lost-block",
            "goes into the call",
            thinking_again,
            |e| {
                stream(e, 0, |events| {
                    events.retain(|e| {
                        !(of(e, 2) && (e.is("content_block_start") || e.is("content_block_stop")))
                            && !(of(e, 1) && e.is("content_block_stop"))
                    });
                    events.iter_mut().filter(|e| of(e, 2)).for_each(|e| e.data["index"] = 1.into());
                    before_end(events, vec![event(json!({ "type": "content_block_stop", "index": 1 }))]);
                });
            },
            "stream-delta-misfit",
        ),
        defect(
            "same-index-for-all-tools",
            "one index",
            parallel,
            |e| each(e, 0, |e| of(e, 2), |data| data["index"] = 1.into()),
            order,
        ),
        defect(
            "text-fragmented-by-late-reasoning",
            "a thought in the middle",
            text,
            |e| fragment(e, true),
            "answer-thinking-changed",
        ),
        defect(
            "text-fragmented-by-late-reasoning",
            "nothing in the middle",
            text,
            |e| fragment(e, false),
            "answer-blocks-changed",
        ),
        defect(
            "text-fragmented-by-late-reasoning",
            "by a translator",
            translated,
            |e| fragment(e, false),
            "answer-blocks-changed",
        ),
        defect(
            "split-message-delta",
            "usage behind the stop reason",
            text,
            |e| {
                stream(e, 0, |events| {
                    let at = events.iter().position(|e| e.is("message_delta")).unwrap();
                    let usage = events[at].data.as_object_mut().unwrap().remove("usage").unwrap();
                    let second = json!({ "type": "message_delta", "delta": {}, "usage": usage });
                    events.insert(at + 1, event(second));
                });
            },
            order,
        ),
        defect(
            "strip-sse-event-lines",
            "all of them",
            text,
            |e| {
                let text = super::response(e, 0).body.text().into_owned();
                let kept: String =
                    text.lines().filter(|l| !l.starts_with("event:")).map(|l| format!("{l}\n")).collect();
                super::set_body(super::response(e, 0), kept);
            },
            "stream-malformed",
        ),
        defect(
            "thinking-delta-wrong-field",
            "text",
            thinking,
            |e| {
                each(
                    e,
                    0,
                    |e| e.brings("thinking_delta"),
                    |data| data["delta"]["text"] = data["delta"]["thinking"].take(),
                );
            },
            "stream-malformed",
        ),
        defect(
            "+text under another key",
            "content",
            text,
            |e| each(e, 0, |e| e.brings("text_delta"), |data| data["delta"]["content"] = data["delta"]["text"].take()),
            "stream-malformed",
        ),
        defect(
            "+a second message_start",
            "after the first block",
            text,
            |e| {
                stream(e, 0, |events| {
                    let first = events[0].clone();
                    events.insert(3, first);
                });
            },
            order,
        ),
        defect("+no message_stop", "dropped", text, |e| drop_events(e, 0, |e| e.is("message_stop")), "stream-cut"),
    ]
}

/// Cuts the text into two blocks, with or without a thought between them.
fn fragment(e: &mut Evidence, with_thought: bool) {
    stream(e, 0, |events| {
        let at = events.iter().position(|e| e.brings("text_delta")).unwrap();
        let index = usize::try_from(events[at].data["index"].as_u64().unwrap()).unwrap();
        let whole = events[at].data["delta"]["text"].as_str().unwrap().to_owned();
        let (head, tail) = whole.split_at(3);
        let piece = |text: &str| json!({ "type": "text_delta", "text": text });
        let shift = 1 + usize::from(with_thought);
        for later in &mut events[at + 1..] {
            if let Some(i) = later.data["index"].as_u64() {
                later.data["index"] = (i + shift as u64).into();
            }
        }
        events[at] = delta(index, piece(head));
        let mut between = vec![event(json!({ "type": "content_block_stop", "index": index }))];
        if with_thought {
            between.extend(thought(index + 1, "Hm"));
        }
        let opened = json!({ "type": "text", "text": "" });
        between.push(event(json!({ "type": "content_block_start", "index": index + shift, "content_block": opened })));
        between.push(delta(index + shift, piece(tail)));
        events.splice(at + 1..=at, between);
    });
}

fn thoughts() -> Vec<Defect> {
    let changed = "answer-thinking-changed";
    vec![
        defect(
            "drop-signature-delta",
            "dropped",
            thinking,
            |e| drop_events(e, 0, |e| e.brings("signature_delta")),
            "thinking-unsigned",
        ),
        defect(
            "+signature shortened",
            "altered",
            thinking,
            |e| each(e, 0, |e| e.brings("signature_delta"), |data| data["delta"]["signature"] = "c2ln".into()),
            changed,
        ),
        defect(
            "think-tags-in-text",
            "in front of the text",
            thinking,
            |e| tagged(e, &["<think>The sum first.</think>"]),
            "thinking-in-text",
        ),
        defect(
            "think-tags-in-text",
            "over two deltas",
            thinking,
            |e| tagged(e, &["<thi", "nk>The sum first.</think>"]),
            "thinking-in-text",
        ),
        defect("thinking-never-returned", "dropped", thinking, |e| drop_blocks(e, 0, "thinking"), changed),
        defect("thinking-never-returned", "by a translator", translated, |e| drop_blocks(e, 0, "thinking"), changed),
        defect(
            "empty-thinking-block-replayed",
            "a signature alone",
            thinking,
            |e| drop_events(e, 0, |e| e.brings("thinking_delta")),
            changed,
        ),
        defect(
            "empty-thinking-block-replayed",
            "made up by a translator",
            || {
                let mut e = translated();
                drop_blocks(&mut e, 0, "thinking");
                behind(&mut e, |e| replace_in_answer(e, 0, "\"reasoning_content\"", "\"x\""));
                e
            },
            |e| {
                stream(e, 0, |events| {
                    events.iter_mut().for_each(|e| {
                        if let Some(i) = e.data["index"].as_u64() {
                            e.data["index"] = (i + 1).into();
                        }
                    });
                    let empty = block(0, json!({ "type": "thinking", "thinking": "", "signature": "" }), &[]);
                    events.splice(1..1, empty);
                });
            },
            changed,
        ),
    ]
}

/// The thinking becomes text in front of the answer's.
fn tagged(e: &mut Evidence, pieces: &[&str]) {
    drop_blocks(e, 0, "thinking");
    stream(e, 0, |events| {
        let at = events.iter().position(|e| e.brings("text_delta")).unwrap();
        let deltas = pieces.iter().map(|text| delta(0, json!({ "type": "text_delta", "text": text })));
        events.splice(at..at, deltas);
    });
}

fn tool_calls() -> Vec<Defect> {
    let changed = "answer-tool-changed";
    vec![
        defect(
            "tool-input-lost",
            "no fragments",
            tool,
            |e| drop_events(e, 0, |e| e.brings("input_json_delta")),
            "tool-arguments-incomplete",
        ),
        defect(
            "tool-call-as-text",
            "flattened",
            tool,
            |e| {
                drop_blocks(e, 0, "tool_use");
                stream(e, 0, |events| {
                    let said = json!({ "type": "text_delta", "text": "[Tool call: Read({\"file_path\":\"x\"})]" });
                    let text = block(1, json!({ "type": "text", "text": "" }), &[said]);
                    before_end(events, text);
                });
                each(e, 0, |e| e.is("message_delta"), |data| data["delta"]["stop_reason"] = "end_turn".into());
            },
            changed,
        ),
        defect(
            "cumulative-arguments",
            "the whole prefix each time",
            tool,
            |e| {
                stream(e, 0, |events| {
                    let mut whole = String::new();
                    for event in events.iter_mut().filter(|e| e.brings("input_json_delta")) {
                        whole.push_str(event.data["delta"]["partial_json"].as_str().unwrap());
                        event.data["delta"]["partial_json"] = whole.as_str().into();
                    }
                });
            },
            "tool-arguments-broken",
        ),
        defect(
            "parallel-arguments-concatenated",
            "in the first call",
            parallel,
            |e| {
                stream(e, 0, |events| {
                    events.retain(|e| !(of(e, 2) && !e.is("content_block_delta")));
                    let at = events.iter().position(|e| e.is("content_block_stop") && of(e, 1)).unwrap();
                    let end = events.remove(at);
                    events.iter_mut().filter(|e| of(e, 2)).for_each(|e| e.data["index"] = 1.into());
                    before_end(events, vec![end]);
                });
            },
            "tool-arguments-broken",
        ),
        defect(
            "second-parallel-tool-dropped",
            "dropped",
            parallel,
            |e| stream(e, 0, |events| events.retain(|e| !of(e, 2))),
            changed,
        ),
        defect(
            "tool-name-case-changed",
            "in small letters",
            tool,
            |e| each(e, 0, |e| e.opens("tool_use"), |data| data["content_block"]["name"] = "read".into()),
            changed,
        ),
        defect(
            "tool-use-emitted-twice",
            "with the same id",
            tool,
            |e| {
                stream(e, 0, |events| {
                    let mut again: Vec<Event> = events.iter().filter(|e| of(e, 1)).cloned().collect();
                    again.iter_mut().for_each(|e| e.data["index"] = 2.into());
                    before_end(events, again);
                });
            },
            "tool-id-broken",
        ),
        defect(
            "+tool id replaced",
            "by another",
            tool,
            |e| each(e, 0, |e| e.opens("tool_use"), |data| data["content_block"]["id"] = "call_1".into()),
            changed,
        ),
        defect(
            "web-search-no-results",
            "the blocks are dropped",
            || {
                let mut e = text();
                say(&mut e, 0, |events| {
                    let result = json!({ "type": "web_search_tool_result", "tool_use_id": "srv_1", "content": [] });
                    before_end(events, block(1, result, &[]));
                });
                e
            },
            |e| drop_blocks(e, 0, "web_search_tool_result"),
            "answer-blocks-changed",
        ),
        defect(
            "web-search-no-results",
            "their count is dropped",
            || {
                let mut e = text();
                say(&mut e, 0, |events| {
                    let end = events.iter_mut().find(|e| e.is("message_delta")).unwrap();
                    end.data["usage"]["server_tool_use"] = json!({ "web_search_requests": 1 });
                });
                e
            },
            |e| {
                each(
                    e,
                    0,
                    |e| e.is("message_delta"),
                    |data| {
                        drop(data["usage"].as_object_mut().unwrap().remove("server_tool_use"));
                    },
                );
            },
            "answer-usage-changed",
        ),
    ]
}

/// An answer that ended for another reason.
fn ended(reason: &'static str) -> Evidence {
    let mut e = text();
    say(&mut e, 0, |events| {
        let end = events.iter_mut().find(|e| e.is("message_delta")).unwrap();
        end.data["delta"]["stop_reason"] = reason.into();
        if reason == "stop_sequence" {
            end.data["delta"]["stop_sequence"] = "END".into();
        }
    });
    e
}

fn reason(e: &mut Evidence, reason: &Value, sequence: &Value) {
    each(
        e,
        0,
        |e| e.is("message_delta"),
        |data| {
            data["delta"]["stop_reason"] = reason.clone();
            data["delta"]["stop_sequence"] = sequence.clone();
        },
    );
}

fn reasons() -> Vec<Defect> {
    let changed = "answer-stop-reason-changed";
    vec![
        defect(
            "stop-reason-length-lost",
            "end_turn",
            || ended("max_tokens"),
            |e| reason(e, &json!("end_turn"), &Value::Null),
            changed,
        ),
        defect(
            "stop-reason-length-lost",
            "500",
            || ended("max_tokens"),
            |e| crate::rules::edit::refuse(e, 0, 500, "finish_reason length"),
            "answer-lost",
        ),
        defect("stop-reason-null", "null", tool, |e| reason(e, &Value::Null, &Value::Null), "stop-reason-wrong"),
        defect(
            "stop-sequence-not-reported",
            "end_turn",
            || ended("stop_sequence"),
            |e| reason(e, &json!("end_turn"), &Value::Null),
            changed,
        ),
        defect(
            "stop-sequence-not-reported",
            "the sequence alone",
            || ended("stop_sequence"),
            |e| reason(e, &json!("stop_sequence"), &Value::Null),
            changed,
        ),
        defect(
            "+a reason of another API",
            "tool_calls",
            tool,
            |e| reason(e, &json!("tool_calls"), &Value::Null),
            "stop-reason-wrong",
        ),
        defect(
            "+end_turn after a tool call",
            "end_turn",
            tool,
            |e| reason(e, &json!("end_turn"), &Value::Null),
            "stop-reason-wrong",
        ),
    ]
}

/// Changes the counts at the answer's start and end.
fn counts(e: &mut Evidence, change: impl Fn(&mut Value)) {
    each(e, 0, |e| e.is("message_start"), |data| change(&mut data["message"]["usage"]));
    each(e, 0, |e| e.is("message_delta"), |data| change(&mut data["usage"]));
}

fn without(usage: &mut Value, keys: &[&str]) {
    keys.iter().for_each(|key| drop(usage.as_object_mut().unwrap().remove(*key)));
}

fn usage() -> Vec<Defect> {
    let changed = "answer-usage-changed";
    vec![
        defect(
            "cache-usage-fields-missing",
            "though they are 0",
            text,
            |e| counts(e, |u| without(u, &["cache_creation_input_tokens", "cache_read_input_tokens"])),
            changed,
        ),
        defect(
            "cached-tokens-subtracted",
            "and not told",
            || {
                let mut e = text();
                say(&mut e, 0, |events| {
                    for event in events {
                        for usage in ["/message/usage", "/usage"] {
                            if let Some(usage) = event.data.pointer_mut(usage) {
                                usage["input_tokens"] = 150_000.into();
                                usage["cache_read_input_tokens"] = 149_000.into();
                            }
                        }
                    }
                });
                e
            },
            |e| {
                counts(e, |u| {
                    u["input_tokens"] = 100.into();
                    without(u, &["cache_read_input_tokens"]);
                });
            },
            changed,
        ),
        defect(
            "message-delta-usage-missing",
            "missing",
            text,
            |e| each(e, 0, |e| e.is("message_delta"), |data| drop(data.as_object_mut().unwrap().remove("usage"))),
            "usage-missing",
        ),
        defect(
            "message-delta-usage-missing",
            "null",
            text,
            |e| each(e, 0, |e| e.is("message_delta"), |data| data["usage"] = Value::Null),
            "usage-missing",
        ),
        defect(
            "input-tokens-constant-placeholder",
            "100",
            text,
            |e| {
                each(e, 0, |e| e.is("message_start"), |data| data["message"]["usage"]["input_tokens"] = 100.into());
                each(e, 0, |e| e.is("message_delta"), |data| without(&mut data["usage"], &["input_tokens"]));
            },
            changed,
        ),
        defect(
            "input-tokens-constant-placeholder",
            "1, where the start may be 0",
            || {
                let mut e = text();
                e.cell.target.rewrites.push("usage_start".to_owned());
                e
            },
            |e| {
                each(e, 0, |e| e.is("message_start"), |data| data["message"]["usage"]["input_tokens"] = 1.into());
                each(e, 0, |e| e.is("message_delta"), |data| without(&mut data["usage"], &["input_tokens"]));
            },
            changed,
        ),
        defect(
            "+output tokens not cumulative",
            "the last piece's alone",
            text,
            |e| each(e, 0, |e| e.is("message_delta"), |data| data["usage"]["output_tokens"] = 1.into()),
            changed,
        ),
    ]
}

/// A cell that asks for a count of tokens, and the provider's answer to it.
fn counted() -> Evidence {
    let mut e = text();
    let asked = json!({ "model": "claude-sonnet-5-5", "messages": [{ "role": "user", "content": "word ".repeat(100) }],
        "tools": [{ "name": "Read", "description": "reads files ".repeat(500) }] });
    let at = beside(&mut e, "POST", "/v1/messages/count_tokens?beta=true", &asked, 200, r#"{"input_tokens":1300}"#);
    assert_eq!(at, 1);
    e
}

/// The same where nobody recorded what the provider counted.
fn counted_here() -> Evidence {
    let mut e = counted();
    e.behind.as_mut().unwrap().truncate(1);
    e
}

/// A cell of a probe about counting: it sends nothing to the model.
fn context() -> Evidence {
    let mut e = counted();
    e.cell.probe = "count_tokens".to_owned();
    e
}

/// A cell that asks for the list of models.
fn listed() -> Evidence {
    let mut e = passed_on("basic_text");
    e.cell.probe = "discovery".to_owned();
    let list = json!({ "data": [
        { "type": "model", "id": "claude-sonnet-5-5", "display_name": "Sonnet" },
        { "type": "model", "id": "claude-haiku-5-5", "display_name": "Haiku" },
    ]});
    beside(&mut e, "GET", "/v1/models?limit=1000", &Value::Null, 200, &list.to_string());
    // A list has no nonce by which it could be claimed behind the gateway.
    e.behind.as_mut().unwrap().truncate(1);
    e
}

fn list(e: &mut Evidence, change: impl FnOnce(&mut Value)) {
    let mut list = e.exchanges[1].response.as_ref().unwrap().body.json().unwrap();
    change(&mut list);
    answer(e, 1, 200, "application/json", &list.to_string());
}

fn listings() -> Vec<Defect> {
    let (refused, wrong, models) = ("token-count-refused", "token-count-false", "models-unusable");
    vec![
        defect(
            "count-tokens-404",
            "no route",
            context,
            |e| answer(e, 1, 404, "application/json", r#"{"error":"invalid_path"}"#),
            refused,
        ),
        defect("count-tokens-501", "a stub", counted, |e| answer(e, 1, 501, "application/json", "{}"), refused),
        defect("+count_tokens crashes", "500", counted_here, |e| answer(e, 1, 500, "text/plain", "oops"), refused),
        defect(
            "count-tokens-200-wrong-body",
            "an error",
            counted,
            |e| answer(e, 1, 200, "application/json", r#"{"error":"Unexpected endpoint"}"#),
            wrong,
        ),
        defect(
            "count-tokens-200-wrong-body",
            "0",
            counted_here,
            |e| answer(e, 1, 200, "application/json", r#"{"input_tokens":0}"#),
            wrong,
        ),
        defect(
            "count-tokens-undercounts",
            "the messages alone",
            counted,
            |e| answer(e, 1, 200, "application/json", r#"{"input_tokens":101}"#),
            wrong,
        ),
        defect(
            "count-tokens-undercounts",
            "where nobody knows what the provider counted",
            counted_here,
            |e| answer(e, 1, 200, "application/json", r#"{"input_tokens":101}"#),
            wrong,
        ),
        defect(
            "models-filtered-ids",
            "renamed",
            listed,
            |e| {
                list(e, |l| {
                    l["data"].as_array_mut().unwrap().iter_mut().for_each(|m| m["id"] = "gpt-5".into());
                });
            },
            models,
        ),
        defect(
            "models-filtered-ids",
            "nameless",
            listed,
            |e| list(e, |l| drop(l["data"][0].as_object_mut().unwrap().remove("display_name"))),
            models,
        ),
        defect("+models redirected", "307", listed, |e| answer(e, 1, 307, "text/plain", ""), models),
        defect("+models not served", "404", listed, |e| answer(e, 1, 404, "text/plain", ""), models),
        defect("+models empty", "no entry", listed, |e| list(e, |l| l["data"] = json!([])), models),
        defect("+models too slow", "4 s", listed, |e| e.exchanges[1].ended_us += 4_000_000, models),
    ]
}
