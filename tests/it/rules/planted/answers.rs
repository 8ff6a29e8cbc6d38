//! Defects of what an answer holds and counts.

use ccsmoke::evidence::Evidence;
use serde_json::json;

use super::{AGENT, INTER, Planted, TEXT, THINK, TOOL, model, wire};
use crate::rules::edit::{
    Event, answer, drop_blocks, drop_events, each, events, renumber, replace_in_answer, request, result, stream,
};

pub(super) fn all() -> Vec<Planted> {
    [content(), counts()].into_iter().flatten().collect()
}

fn content() -> Vec<Planted> {
    vec![
        wire("tool-arguments-broken", TOOL, "pieces that hold all that came before", |e| {
            stream(e, 0, |events| {
                let mut so_far = String::new();
                for event in events.iter_mut().filter(|event| event.brings("input_json_delta")) {
                    so_far += event.data["delta"]["partial_json"].as_str().unwrap();
                    event.data["delta"]["partial_json"] = so_far.as_str().into();
                }
            });
        }),
        wire("tool-arguments-broken", TOOL, "two calls' arguments in one", |e| {
            stream(e, 0, |events| {
                let at = events.iter().rposition(|event| event.brings("input_json_delta")).unwrap();
                let more = json!({"type": "input_json_delta", "partial_json": "{}"});
                events.insert(at + 1, Event::new(json!({"type": "content_block_delta", "index": 1, "delta": more})));
            });
        }),
        wire("tool-arguments-broken", TOOL, "arguments in the block's start", |e| {
            let input = json!({"file_path": format!("{}/note.txt", e.cell.vars.workspace)});
            drop_events(e, 0, |event| event.brings("input_json_delta"));
            each(e, 0, |event| event.opens("tool_use"), |data| data["content_block"]["input"] = input.clone());
        }),
        wire("tool-arguments-incomplete", TOOL, "arguments that never came", |e| {
            drop_events(e, 0, |event| event.brings("input_json_delta"));
        }),
        model("tool-arguments-incomplete", TOOL, "one argument of two", |e| {
            request(e, 0, |r| r["tools"][0]["input_schema"]["required"] = json!(["file_path", "pages"]));
        }),
        wire("tool-id-broken", AGENT, "one id for calls of two answers", |e| {
            let id = |e: &Evidence, i: usize| {
                let opens = events(&e.exchanges[i]).into_iter().find(|event| event.opens("tool_use")).unwrap();
                opens.data["content_block"]["id"].as_str().unwrap().to_owned()
            };
            let (first, second) = (id(e, 0), id(e, 1));
            replace_in_answer(e, 1, &second, &first);
        }),
        wire("tool-id-broken", TOOL, "a call that comes twice", |e| {
            stream(e, 0, |events| {
                let mut again: Vec<_> = events.iter().filter(|event| event.data["index"] == 1).cloned().collect();
                again.iter_mut().for_each(|event| event.data["index"] = 2.into());
                let at = events.iter().position(|event| event.is("message_delta")).unwrap();
                events.splice(at..at, again);
            });
        }),
        wire("tool-id-broken", TOOL, "an id that the API refuses", |e| {
            each(e, 0, |event| event.opens("tool_use"), |data| data["content_block"]["id"] = "functions.Read:0".into());
        }),
        wire("thinking-unsigned", THINK, "no signature", |e| {
            drop_events(e, 0, |event| event.brings("signature_delta"));
        }),
        wire("thinking-in-text", TEXT, "tags in the text", |e| {
            replace_in_answer(e, 0, "\"text\":\"CCS_", "\"text\":\"<think>Hm.</think>CCS_");
        }),
        wire("text-garbled", TOOL, "a character that came apart", |e| {
            replace_in_answer(e, 0, "I will read ", "I will read \u{FFFD}\u{FFFD}");
        }),
        wire("stop-reason-wrong", TOOL, "an end of turn after a call", |e| {
            replace_in_answer(e, 0, "\"stop_reason\":\"tool_use\"", "\"stop_reason\":\"end_turn\"");
        }),
        wire("stop-reason-wrong", TEXT, "a call that never came", |e| {
            replace_in_answer(e, 0, "\"stop_reason\":\"end_turn\"", "\"stop_reason\":\"tool_use\"");
        }),
        wire("stop-reason-wrong", TEXT, "another API's reason", |e| {
            replace_in_answer(e, 0, "\"stop_reason\":\"end_turn\"", "\"stop_reason\":\"stop\"");
        }),
        wire("stop-reason-wrong", TOOL, "no reason", |e| {
            replace_in_answer(e, 0, "\"stop_reason\":\"tool_use\"", "\"stop_reason\":null");
        }),
        wire("answer-empty", TEXT, "content that was counted and never came", |e| {
            drop_blocks(e, 0, "text");
            result(e, 0, |line| line["result"] = "".into());
        }),
        model("answer-empty", TEXT, "an end of turn and nothing else", |e| {
            drop_blocks(e, 0, "text");
            each(e, 0, |event| event.is("message_delta"), |data| data["usage"]["output_tokens"] = 2.into());
            result(e, 0, |line| line["result"] = "".into());
        }),
        wire("thinking-absent", THINK, "no thinking", |e| drop_blocks(e, 0, "thinking")),
        wire("thinking-absent", INTER, "no thinking in front of the call", |e| {
            drop_blocks(e, 0, "thinking");
            request(e, 1, |r| {
                let turns = r["messages"].as_array_mut().unwrap().iter_mut().filter(|m| m["role"] == "assistant");
                turns.for_each(|m| m["content"].as_array_mut().unwrap().retain(|b| b["type"] != "thinking"));
            });
        }),
    ]
}

/// Adds a request that counts tokens, with that answer.
fn count_tokens(e: &mut Evidence, status: u16, body: &str) {
    let mut counting = e.exchanges[0].clone();
    counting.request.target = "/v1/messages/count_tokens?beta=true".to_owned();
    e.exchanges.push(counting);
    renumber(e);
    let last = e.exchanges.len() - 1;
    answer(e, last, status, "application/json", body);
}

fn counts() -> Vec<Planted> {
    vec![
        wire("usage-missing", TEXT, "no usage at the end", |e| {
            each(e, 0, |event| event.is("message_delta"), |data| drop(data.as_object_mut().unwrap().remove("usage")));
        }),
        wire("usage-missing", TEXT, "usage in an event of its own", |e| {
            stream(e, 0, |events| {
                let at = events.iter().position(|event| event.is("message_delta")).unwrap();
                let mut second = events[at].clone();
                second.data["delta"] = json!({});
                events[at].data.as_object_mut().unwrap().remove("usage");
                events.insert(at + 1, second);
            });
        })
        .beside(),
        wire("stream-out-of-order", TEXT, "stop reason and usage in two events", |e| {
            stream(e, 0, |events| {
                let at = events.iter().position(|event| event.is("message_delta")).unwrap();
                let usage = events[at].data.as_object_mut().unwrap().remove("usage");
                events.insert(at + 1, Event::new(json!({"type": "message_delta", "delta": {}, "usage": usage})));
            });
        }),
        wire("usage-zero", TEXT, "no input", |e| {
            replace_in_answer(e, 0, "\"input_tokens\":321", "\"input_tokens\":0");
        })
        .beside(),
        wire("usage-zero", TEXT, "no output", |e| {
            replace_in_answer(e, 0, "\"output_tokens\":42", "\"output_tokens\":0");
        })
        .beside(),
        wire("usage-wrong", TEXT, "no output where usage is expected", |e| {
            e.cell.probe = "usage_truth".into();
            replace_in_answer(e, 0, "\"output_tokens\":42", "\"output_tokens\":0");
        }),
        wire("usage-without-cache", TEXT, "no counts of the cache", |e| {
            replace_in_answer(e, 0, "\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,", "");
        })
        .beside(),
        wire("token-count-false", TEXT, "a count of zero", |e| count_tokens(e, 200, r#"{"input_tokens":0}"#)),
        wire("token-count-false", TEXT, "an error that calls itself a success", |e| {
            count_tokens(e, 200, r#"{"error":"Unexpected endpoint"}"#);
        }),
        wire("token-count-false", TEXT, "a count that cannot be", |e| count_tokens(e, 200, r#"{"input_tokens":3}"#)),
        wire("token-count-refused", TEXT, "a stub", |e| count_tokens(e, 501, "{}")),
        wire("models-unusable", TEXT, "other models", |e| {
            e.cell.probe = "discovery".into();
            let mut listing = e.exchanges[0].clone();
            listing.request.method = "GET".to_owned();
            listing.request.target = "/v1/models?limit=1000".to_owned();
            e.exchanges.push(listing);
            renumber(e);
            answer(e, 1, 200, "application/json", r#"{"data":[{"id":"gpt-5","display_name":"GPT"}]}"#);
        }),
    ]
}
