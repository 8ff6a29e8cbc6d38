//! Answers as Responses sends them: numbered events that build up a list of items, or the whole list at once.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{CREATED, Tokens};
use crate::provider::answer::{Answer, Block, fragments_of, json_bytes};

/// The fields of a request that a response repeats, with what stands there when the request does not say.
fn repeated() -> [(&'static str, Value); 16] {
    [
        ("background", false.into()),
        ("instructions", Value::Null),
        ("max_output_tokens", Value::Null),
        ("max_tool_calls", Value::Null),
        ("metadata", json!({})),
        ("parallel_tool_calls", true.into()),
        ("previous_response_id", Value::Null),
        ("reasoning", json!({"effort": null, "summary": null})),
        ("service_tier", "default".into()),
        ("store", true.into()),
        ("temperature", 1.0.into()),
        ("text", json!({"format": {"type": "text"}, "verbosity": "medium"})),
        ("tool_choice", "auto".into()),
        ("tools", json!([])),
        ("top_p", 1.0.into()),
        ("truncation", "disabled".into()),
    ]
}

/// The events of the stream, each as it goes over the wire.
pub(in crate::provider) fn stream(answer: &Answer, request: &Value) -> Vec<Bytes> {
    let mut events = Events::default();
    let begun = response(answer, request, None);
    events.push("response.created", json!({"response": begun}));
    events.push("response.in_progress", json!({"response": begun}));
    for (index, block) in answer.content.iter().enumerate() {
        item_events(&mut events, answer, index, block);
    }
    let outcome = Outcome::of(answer);
    events.push(outcome.event, json!({"response": response(answer, request, Some(&outcome))}));
    events.0
}

/// The whole response, for a request that does not stream.
pub(in crate::provider) fn whole(answer: &Answer, request: &Value) -> Bytes {
    json_bytes(&response(answer, request, Some(&Outcome::of(answer))))
}

/// The events of a stream so far; their number is the next one's.
#[derive(Default)]
struct Events(Vec<Bytes>);

impl Events {
    /// Adds an event with these fields.
    fn push(&mut self, kind: &str, mut fields: Value) {
        fields["type"] = kind.into();
        fields["sequence_number"] = self.0.len().into();
        self.0.push([b"event: ", kind.as_bytes(), b"\ndata: ", &json_bytes(&fields), b"\n\n"].concat().into());
    }
}

/// How an answer ended, in this API's words.
struct Outcome {
    event: &'static str,
    status: &'static str,
    /// Why it is not complete.
    reason: Option<&'static str>,
}

impl Outcome {
    fn of(answer: &Answer) -> Self {
        let reason = match answer.stop_reason.as_str() {
            "max_tokens" | "model_context_window_exceeded" => Some("max_output_tokens"),
            "refusal" => Some("content_filter"),
            _ => None,
        };
        let (event, status) = match reason {
            Some(_) => ("response.incomplete", "incomplete"),
            None => ("response.completed", "completed"),
        };
        Self { event, status, reason }
    }
}

/// The response object: without an outcome as it is when it has just begun.
fn response(answer: &Answer, request: &Value, outcome: Option<&Outcome>) -> Value {
    let said = outcome.map_or(&[][..], |_| &answer.content);
    let output: Vec<Value> = said.iter().enumerate().map(|(i, block)| item(answer, i, block)).collect();
    let mut response = json!({
        "id": answer.id,
        "object": "response",
        "created_at": CREATED,
        "completed_at": outcome.and_then(|o| o.reason.is_none().then_some(CREATED)),
        "status": outcome.map_or("in_progress", |o| o.status),
        "error": null,
        "incomplete_details": outcome.and_then(|o| o.reason).map(|reason| json!({"reason": reason})),
        "model": answer.model,
        "output": output,
        "usage": outcome.map(|_| usage(answer)),
    });
    for (name, default) in repeated() {
        response[name] = request.get(name).filter(|v| !v.is_null()).cloned().unwrap_or(default);
    }
    response
}

fn usage(answer: &Answer) -> Value {
    let tokens = Tokens::of(answer);
    json!({
        "input_tokens": tokens.input,
        "input_tokens_details": {"cached_tokens": tokens.cached},
        "output_tokens": tokens.output,
        "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
        "total_tokens": tokens.total(),
    })
}

/// The id of the item that a block is: derived from the answer's, with the prefix of its kind.
fn item_id(answer: &Answer, index: usize, block: &Block) -> String {
    let prefix = match block {
        Block::Text(_) => "msg_",
        Block::Thinking { .. } => "rs_",
        Block::ToolUse { .. } | Block::Native(_) => "fc_",
    };
    let own = answer.id.rsplit('_').next().unwrap_or_default();
    format!("{prefix}{own}{index:02}")
}

/// The item that a block is when it is complete.
fn item(answer: &Answer, index: usize, block: &Block) -> Value {
    let id = item_id(answer, index, block);
    match block {
        Block::Text(pieces) => {
            let content = [text_part(&pieces.concat())];
            json!({"id": id, "type": "message", "status": "completed", "role": "assistant", "content": content})
        }
        Block::Thinking { pieces, signature } => {
            let summary: Vec<Value> = shown(pieces).map(|text| summary_part(&text)).into_iter().collect();
            let mut item = json!({"id": id, "type": "reasoning", "summary": summary});
            if let Some(signature) = signature {
                item["encrypted_content"] = signature.as_str().into();
            }
            item
        }
        Block::ToolUse { id: call_id, name, input, .. } => json!({
            "id": id, "type": "function_call", "status": "completed", "call_id": call_id, "name": name,
            "arguments": input.to_string(),
        }),
        // Answers to this API hold none.
        Block::Native(_) => Value::Null,
    }
}

/// The text of a reasoning's summary, where it has one.
fn shown(pieces: &[String]) -> Option<String> {
    (!pieces.is_empty()).then(|| pieces.concat())
}

fn text_part(text: &str) -> Value {
    json!({"type": "output_text", "annotations": [], "logprobs": [], "text": text})
}

fn summary_part(text: &str) -> Value {
    json!({"type": "summary_text", "text": text})
}

/// The events that build up one item.
fn item_events(events: &mut Events, answer: &Answer, index: usize, block: &Block) {
    let complete = item(answer, index, block);
    let id = item_id(answer, index, block);
    // The place of an event within the item, with one field more.
    let at = |part: Option<&str>, name: &str, value: Value| {
        let mut fields = json!({"item_id": id, "output_index": index});
        if let Some(part) = part {
            fields[part] = 0.into();
        }
        fields[name] = value;
        fields
    };
    let mut begun = complete.clone();
    match block {
        Block::Text(_) => begun["content"] = json!([]),
        Block::Thinking { .. } => begun["summary"] = json!([]),
        Block::ToolUse { .. } => begun["arguments"] = "".into(),
        Block::Native(_) => return,
    }
    if !begun["status"].is_null() {
        begun["status"] = "in_progress".into();
    }
    events.push("response.output_item.added", json!({"output_index": index, "item": begun}));
    match block {
        Block::Text(pieces) => {
            let at = |name, value| at(Some("content_index"), name, value);
            let spoken = |name, text: &str| {
                let mut fields = at(name, text.into());
                fields["logprobs"] = json!([]);
                fields
            };
            events.push("response.content_part.added", at("part", text_part("")));
            for piece in pieces {
                events.push("response.output_text.delta", spoken("delta", piece));
            }
            events.push("response.output_text.done", spoken("text", &pieces.concat()));
            events.push("response.content_part.done", at("part", text_part(&pieces.concat())));
        }
        Block::Thinking { pieces, .. } => {
            if let Some(done) = shown(pieces) {
                let at = |name, value| at(Some("summary_index"), name, value);
                events.push("response.reasoning_summary_part.added", at("part", summary_part("")));
                for piece in pieces {
                    events.push("response.reasoning_summary_text.delta", at("delta", piece.as_str().into()));
                }
                events.push("response.reasoning_summary_text.done", at("text", done.as_str().into()));
                events.push("response.reasoning_summary_part.done", at("part", summary_part(&done)));
            }
        }
        Block::ToolUse { input, fragments, name, .. } => {
            for fragment in fragments_of(input, *fragments) {
                events.push("response.function_call_arguments.delta", at(None, "delta", fragment.into()));
            }
            let mut done = at(None, "arguments", input.to_string().into());
            done["name"] = name.as_str().into();
            events.push("response.function_call_arguments.done", done);
        }
        Block::Native(_) => {}
    }
    events.push("response.output_item.done", json!({"output_index": index, "item": complete}));
}
