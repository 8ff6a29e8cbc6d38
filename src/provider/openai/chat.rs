//! Answers as Chat Completions sends them: the chunks of a stream, or one whole completion.

use bytes::Bytes;
use serde::Serialize;

use super::{CREATED, Tokens};
use crate::provider::answer::{Answer, Block, fragments_of, json_bytes};

/// What a client can tell one configuration of the provider from another by; ours has only one.
const FINGERPRINT: &str = "fp_ccsmoke";

/// The chunks of the stream, each as it goes over the wire. `with_usage` is what `stream_options.include_usage` says.
pub(in crate::provider) fn stream(answer: &Answer, with_usage: bool) -> Vec<Bytes> {
    let chunk = |choices, usage| {
        let data = json_bytes(&Envelope::new(answer, "chat.completion.chunk", choices, usage));
        Bytes::from([b"data: ", &data[..], b"\n\n"].concat())
    };
    let mut deltas = vec![Delta::Role { role: "assistant", content: text(answer).map(|_| ""), refusal: () }];
    let mut calls = 0;
    for block in &answer.content {
        match block {
            Block::Text(pieces) => deltas.extend(pieces.iter().map(|content| Delta::Content { content })),
            Block::Thinking { pieces, .. } => {
                deltas.extend(pieces.iter().map(|reasoning_content| Delta::Reasoning { reasoning_content }));
            }
            Block::ToolUse { id, name, input, fragments } => {
                let index = Some(calls);
                let first = Call { index, ..Call::new(id, name, String::new()) };
                deltas.push(Delta::Calls { tool_calls: [first] });
                deltas.extend(fragments_of(input, *fragments).into_iter().map(|arguments| {
                    let function = Function { name: None, arguments };
                    Delta::Calls { tool_calls: [Call { index, id: None, r#type: None, function }] }
                }));
                calls += 1;
            }
            Block::Native(_) => {}
        }
    }
    let running = deltas.into_iter().map(|delta| (delta, None));
    let last = (Delta::End {}, Some(finish_reason(answer)));
    let choices = running.chain([last]).map(|(delta, finish_reason)| Choice::new(Said::Delta(delta), finish_reason));
    let mut chunks: Vec<Bytes> =
        choices.map(|choice| chunk(vec![choice], with_usage.then_some(Counted::Later))).collect();
    if with_usage {
        chunks.push(chunk(Vec::new(), Some(Counted::Now(Usage::of(answer)))));
    }
    chunks.push(Bytes::from_static(b"data: [DONE]\n\n"));
    chunks
}

/// The whole completion, for a request that does not stream.
pub(in crate::provider) fn whole(answer: &Answer) -> Bytes {
    let thinking = answer.content.iter().filter_map(|block| match block {
        Block::Thinking { pieces, .. } => Some(pieces.concat()),
        Block::Text(_) | Block::ToolUse { .. } | Block::Native(_) => None,
    });
    let calls = answer.content.iter().filter_map(|block| match block {
        Block::ToolUse { id, name, input, .. } => Some(Call::new(id, name, input.to_string())),
        Block::Text(_) | Block::Thinking { .. } | Block::Native(_) => None,
    });
    let message = Message {
        role: "assistant",
        content: text(answer),
        reasoning_content: answer.has_thinking().then(|| thinking.collect()),
        tool_calls: calls.collect(),
        refusal: (),
        annotations: [],
    };
    let choice = Choice::new(Said::Message(message), Some(finish_reason(answer)));
    json_bytes(&Envelope::new(answer, "chat.completion", vec![choice], Some(Counted::Now(Usage::of(answer)))))
}

/// The text of an answer; none where it only calls tools.
fn text(answer: &Answer) -> Option<String> {
    let texts: Vec<String> = answer
        .content
        .iter()
        .filter_map(|block| match block {
            Block::Text(pieces) => Some(pieces.concat()),
            Block::Thinking { .. } | Block::ToolUse { .. } | Block::Native(_) => None,
        })
        .collect();
    let calls = answer.content.iter().any(|block| matches!(block, Block::ToolUse { .. }));
    (!texts.is_empty() || !calls).then(|| texts.concat())
}

/// Why the answer ended, in this API's words.
fn finish_reason(answer: &Answer) -> &'static str {
    match answer.stop_reason.as_str() {
        "tool_use" => "tool_calls",
        "max_tokens" | "model_context_window_exceeded" => "length",
        "refusal" => "content_filter",
        _ => "stop",
    }
}

/// A completion, or a chunk of one.
#[derive(Serialize)]
struct Envelope<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    service_tier: &'static str,
    system_fingerprint: &'static str,
    choices: Vec<Choice<'a>>,
    /// Absent where nobody asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Counted>,
}

impl<'a> Envelope<'a> {
    fn new(answer: &'a Answer, object: &'static str, choices: Vec<Choice<'a>>, usage: Option<Counted>) -> Self {
        Self {
            id: &answer.id,
            object,
            created: CREATED,
            model: &answer.model,
            service_tier: "default",
            system_fingerprint: FINGERPRINT,
            choices,
            usage,
        }
    }
}

/// The only choice.
#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    #[serde(flatten)]
    said: Said<'a>,
    logprobs: (),
    finish_reason: Option<&'static str>,
}

impl<'a> Choice<'a> {
    fn new(said: Said<'a>, finish_reason: Option<&'static str>) -> Self {
        Self { index: 0, said, logprobs: (), finish_reason }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Said<'a> {
    Delta(Delta<'a>),
    Message(Message<'a>),
}

#[derive(Serialize)]
#[serde(untagged)]
enum Delta<'a> {
    Role { role: &'static str, content: Option<&'static str>, refusal: () },
    Content { content: &'a str },
    Reasoning { reasoning_content: &'a str },
    Calls { tool_calls: [Call<'a>; 1] },
    End {},
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call<'a>>,
    refusal: (),
    annotations: [(); 0],
}

/// A tool call, or in a stream a fragment of one: only the first names it.
#[derive(Serialize)]
struct Call<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'static str>,
    function: Function<'a>,
}

impl<'a> Call<'a> {
    fn new(id: &'a str, name: &'a str, arguments: String) -> Self {
        let function = Function { name: Some(name), arguments };
        Self { index: None, id: Some(id), r#type: Some("function"), function }
    }
}

#[derive(Serialize)]
struct Function<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    arguments: String,
}

/// The token counts of a chunk: null until the last.
#[derive(Serialize)]
#[serde(untagged)]
enum Counted {
    Later,
    Now(Usage),
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: PromptDetails,
    completion_tokens_details: CompletionDetails,
}

#[derive(Serialize)]
struct PromptDetails {
    cached_tokens: u64,
    audio_tokens: u64,
}

#[derive(Serialize)]
#[expect(clippy::struct_field_names, reason = "they are the API's")]
struct CompletionDetails {
    reasoning_tokens: u64,
    audio_tokens: u64,
    accepted_prediction_tokens: u64,
    rejected_prediction_tokens: u64,
}

impl Usage {
    fn of(answer: &Answer) -> Self {
        let tokens = Tokens::of(answer);
        Self {
            prompt_tokens: tokens.input,
            completion_tokens: tokens.output,
            total_tokens: tokens.total(),
            prompt_tokens_details: PromptDetails { cached_tokens: tokens.cached, audio_tokens: 0 },
            completion_tokens_details: CompletionDetails {
                reasoning_tokens: tokens.reasoning,
                audio_tokens: 0,
                accepted_prediction_tokens: 0,
                rejected_prediction_tokens: 0,
            },
        }
    }
}
