//! The answers of OpenAI's APIs, Chat Completions and Responses, streamed or whole, read as the Messages answer that they
//! mean: what a gateway that translates has to give to its client.
//!
//! Sources: <https://platform.openai.com/docs/api-reference/chat/streaming>,
//! <https://platform.openai.com/docs/api-reference/responses-streaming>. Reasoning stands where its users put it:
//! `reasoning_content` or `reasoning` in Chat Completions, the summary of a `reasoning` item in Responses.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::messages::Answer;

/// Follows a stream of Chat Completions by the data of its events.
pub fn read_chat_stream<'a>(events: impl IntoIterator<Item = &'a str>) -> Answer {
    let mut chat = Chat::default();
    for data in events {
        if data.trim() == "[DONE]" {
            chat.done = true;
        } else if let Ok(chunk) = serde_json::from_str::<Value>(data) {
            chat.chunk(&chunk, "delta");
        }
    }
    chat.answer()
}

/// Reads a Chat Completions answer that came whole.
pub fn read_chat(completion: &Value) -> Answer {
    let mut chat = Chat { done: true, ..Chat::default() };
    chat.chunk(completion, "message");
    chat.answer()
}

/// Follows a stream of Responses by the data of its events. All that was streamed stands once more in the last one.
pub fn read_responses_stream<'a>(events: impl IntoIterator<Item = &'a str>) -> Answer {
    let mut answer = Answer::default();
    for data in events {
        let event: Value = serde_json::from_str(data).unwrap_or_default();
        match event["type"].as_str() {
            Some("response.completed" | "response.incomplete" | "response.failed") => {
                answer = read_responses(&event["response"]);
            }
            Some("error") => answer.error = Some(error_words(&event)),
            _ => {}
        }
    }
    answer
}

/// Reads a Responses answer that came whole.
pub fn read_responses(response: &Value) -> Answer {
    let mut answer = Answer {
        id: response["id"].as_str().map(str::to_owned),
        model: response["model"].as_str().map(str::to_owned),
        end_usage: usage(&response["usage"], ["input_tokens", "output_tokens", "input_tokens_details"]),
        ..Answer::default()
    };
    for item in array(&response["output"]) {
        let texts = |key: &str, kind: &str| -> String {
            array(&item[key]).iter().filter(|p| p["type"] == kind).filter_map(|p| p["text"].as_str()).collect()
        };
        match item["type"].as_str() {
            Some("reasoning") => answer.blocks.push(thinking(&texts("summary", "summary_text"))),
            Some("message") => answer.blocks.push(json!({ "type": "text", "text": texts("content", "output_text") })),
            Some("function_call") => {
                answer.blocks.push(tool_use(&item["call_id"], &item["name"], item["arguments"].as_str().unwrap_or("")));
            }
            _ => {}
        }
    }
    if response["error"].is_object() {
        answer.error = Some(error_words(&response["error"]));
        return answer;
    }
    let called = answer.blocks_of("tool_use").next().is_some();
    let reason = match (response["status"].as_str(), response["incomplete_details"]["reason"].as_str()) {
        (Some("completed"), _) if called => "tool_use",
        (Some("completed"), _) => "end_turn",
        (Some("incomplete"), Some("max_output_tokens")) => "max_tokens",
        (Some("incomplete"), Some("content_filter")) => "refusal",
        _ => return answer,
    };
    answer.stop_reason = Some(reason.to_owned());
    answer.finished = true;
    answer
}

/// An answer of Chat Completions, as far as it has come.
#[derive(Default)]
struct Chat {
    answer: Answer,
    reasoning: String,
    text: String,
    /// By index: id, name, and the arguments so far.
    calls: BTreeMap<u64, (Value, Value, String)>,
    finish: Option<String>,
    done: bool,
}

impl Chat {
    /// Takes a chunk, or a whole completion; `key` is where its part of the answer stands.
    fn chunk(&mut self, chunk: &Value, key: &str) {
        for (slot, name) in [(&mut self.answer.id, "id"), (&mut self.answer.model, "model")] {
            if let Some(text) = chunk[name].as_str() {
                *slot = Some(text.to_owned());
            }
        }
        if chunk["error"].is_object() {
            self.answer.error = Some(error_words(&chunk["error"]));
        }
        if let Some(counts) = usage(&chunk["usage"], ["prompt_tokens", "completion_tokens", "prompt_tokens_details"]) {
            self.answer.end_usage = Some(counts);
        }
        let Some(choice) = array(&chunk["choices"]).first() else { return };
        let part = &choice[key];
        let reasoning = part["reasoning_content"].as_str().or_else(|| part["reasoning"].as_str());
        self.reasoning.push_str(reasoning.unwrap_or_default());
        self.text.push_str(part["content"].as_str().or_else(|| part["refusal"].as_str()).unwrap_or_default());
        for (place, piece) in (0_u64..).zip(array(&part["tool_calls"])) {
            let call = self.calls.entry(piece["index"].as_u64().unwrap_or(place)).or_default();
            for (slot, value) in [(&mut call.0, &piece["id"]), (&mut call.1, &piece["function"]["name"])] {
                if value.is_string() {
                    slot.clone_from(value);
                }
            }
            call.2.push_str(piece["function"]["arguments"].as_str().unwrap_or_default());
        }
        if let Some(finish) = choice["finish_reason"].as_str() {
            self.finish = Some(finish.to_owned());
        }
    }

    fn answer(mut self) -> Answer {
        let blocks = &mut self.answer.blocks;
        if !self.reasoning.is_empty() {
            blocks.push(thinking(&self.reasoning));
        }
        if !self.text.is_empty() {
            blocks.push(json!({ "type": "text", "text": self.text }));
        }
        blocks.extend(self.calls.values().map(|(id, name, arguments)| tool_use(id, name, arguments)));
        // Some providers say `stop` behind tool calls; what the answer holds is what it means.
        let reason = match self.finish.as_deref() {
            Some("stop" | "tool_calls" | "function_call") if !self.calls.is_empty() => Some("tool_use"),
            Some("stop") => Some("end_turn"),
            Some("length") => Some("max_tokens"),
            Some("content_filter") => Some("refusal"),
            _ => None,
        };
        self.answer.stop_reason = reason.map(str::to_owned);
        self.answer.finished = self.done && self.finish.is_some() && self.answer.error.is_none();
        self.answer
    }
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn thinking(text: &str) -> Value {
    json!({ "type": "thinking", "thinking": text })
}

fn tool_use(id: &Value, name: &Value, arguments: &str) -> Value {
    json!({ "type": "tool_use", "id": id, "name": name, "input": arguments_of(arguments) })
}

/// The arguments of a tool call, which these APIs send as text: JSON, or the text itself when it is none.
pub fn arguments_of(text: &str) -> Value {
    match text.trim() {
        "" => Value::Object(Map::new()),
        filled => serde_json::from_str(filled).unwrap_or_else(|_| Value::String(text.to_owned())),
    }
}

/// Token counts by the names of the Messages API, where cached input stands beside the rest and not within it.
fn usage(counts: &Value, [input, output, details]: [&str; 3]) -> Option<Value> {
    let whole = counts[input].as_u64()?;
    let cached = counts[details]["cached_tokens"].as_u64().unwrap_or(0);
    Some(json!({
        "input_tokens": whole.saturating_sub(cached),
        "cache_read_input_tokens": cached,
        "output_tokens": counts[output].as_u64().unwrap_or(0),
    }))
}

/// `type: message`, as [`Answer::error`] has it.
fn error_words(error: &Value) -> String {
    [&error["type"], &error["message"]].map(|v| v.as_str().unwrap_or_default()).join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fragments_of_a_chat_stream_become_thinking_text_and_calls_with_their_arguments() {
        let events = [
            r#"{"id":"c1","model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}"#,
            r#"{"choices":[{"delta":{"reasoning_content":"hm "}}]}"#,
            r#"{"choices":[{"delta":{"content":"I will"}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"Read","arguments":"{\"p\""}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":1,"id":"b","function":{"name":"Glob","arguments":""}}]}}]}"#,
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}}]}"#,
            r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
            r#"{"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":3,"prompt_tokens_details":{"cached_tokens":4}}}"#,
        ];
        let answer = read_chat_stream(events.iter().copied().chain(["[DONE]"]));
        let blocks = json!([
            { "type": "thinking", "thinking": "hm " },
            { "type": "text", "text": "I will" },
            { "type": "tool_use", "id": "a", "name": "Read", "input": { "p": 1 } },
            { "type": "tool_use", "id": "b", "name": "Glob", "input": {} },
        ]);
        assert_eq!(Value::Array(answer.blocks.clone()), blocks);
        assert_eq!(answer.stop_reason.as_deref(), Some("tool_use"));
        let counts = json!({ "input_tokens": 6, "cache_read_input_tokens": 4, "output_tokens": 3 });
        assert_eq!(answer.end_usage, Some(counts));
        assert!(answer.finished);
        assert!(!read_chat_stream(events).finished, "without [DONE] the stream was cut");
    }

    #[test]
    fn a_whole_answer_means_the_same_in_both_apis() {
        let chat = read_chat(&json!({
            "choices": [{ "finish_reason": "length", "message": {
                "reasoning": "hm", "content": "half", "tool_calls": null,
            }}],
            "usage": { "prompt_tokens": 5, "completion_tokens": 2 },
        }));
        let responses = json!({
            "status": "incomplete", "incomplete_details": { "reason": "max_output_tokens" },
            "output": [
                { "type": "reasoning", "summary": [{ "type": "summary_text", "text": "hm" }] },
                { "type": "message", "content": [{ "type": "output_text", "text": "half" }] },
            ],
            "usage": { "input_tokens": 5, "output_tokens": 2 },
        });
        assert_eq!(chat, read_responses(&responses));
        assert_eq!(chat.stop_reason.as_deref(), Some("max_tokens"));
        let event = json!({ "type": "response.incomplete", "response": responses }).to_string();
        assert_eq!(chat, read_responses_stream([event.as_str()]));
    }

    #[test]
    fn an_error_in_a_stream_is_kept_and_the_answer_is_not_finished() {
        let error = r#"{"error":{"type":"server_error","message":"overheated"}}"#;
        let chat = read_chat_stream([error, "[DONE]"]);
        assert_eq!((chat.error.as_deref(), chat.finished), (Some("server_error: overheated"), false));
        let event = r#"{"type":"error","message":"overheated"}"#;
        assert_eq!(read_responses_stream([event]).error.as_deref(), Some("error: overheated"));
        assert!(!read_responses_stream(["garbage", "{}"]).finished);
    }
}
