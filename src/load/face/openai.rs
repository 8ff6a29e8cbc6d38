//! Answers of Chat Completions, checked while they come.

use serde::Deserialize;

use super::{Gathered, Reading, Seen, Text, read, read_whole};
use crate::load::metrics::Flaw;

/// Why a model of this API stops.
const REASONS: [&str; 5] = ["stop", "length", "tool_calls", "content_filter", "function_call"];

/// Follows one stream.
#[derive(Debug, Default)]
pub struct Reader {
    pub(super) gathered: Gathered,
    /// The arguments of each tool call, by index.
    arguments: Vec<String>,
}

/// A chunk, or a whole completion. Everything may be missing: what is missing is a flaw and no reason to stop reading.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    object: Option<Text<'a>>,
    #[serde(default, borrow)]
    choices: Option<Vec<Choice<'a>>>,
    usage: Option<Usage>,
    error: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default, borrow, alias = "message")]
    delta: Option<Part<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Part<'a> {
    #[serde(borrow)]
    content: Option<Text<'a>>,
    #[serde(borrow)]
    refusal: Option<Text<'a>>,
    #[serde(borrow)]
    reasoning_content: Option<Text<'a>>,
    #[serde(borrow)]
    reasoning: Option<Text<'a>>,
    #[serde(default)]
    tool_calls: Option<Vec<Call>>,
}

#[derive(Deserialize)]
struct Call {
    index: Option<usize>,
    function: Option<Function>,
}

#[derive(Deserialize)]
struct Function {
    name: Option<String>,
    arguments: Option<String>,
}

#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names of the API")]
struct Usage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    total_tokens: Option<u64>,
}

/// The most tool calls of an answer that are followed.
const MOST_CALLS: usize = 128;

impl Reader {
    pub(super) fn event(&mut self, data: &str) -> Seen {
        if data == "[DONE]" {
            if self.gathered.ended {
                self.gathered.flaws.add(Flaw::Order);
            }
            self.gathered.ended = true;
            return Seen::Frame;
        }
        if self.gathered.ended {
            self.gathered.flaws.add(Flaw::Order);
        }
        match read::<Body<'_>>(data) {
            Ok(body) => self.body(&body, "chat.completion.chunk"),
            Err(flaw) => {
                self.gathered.flaws.add(flaw);
                Seen::Frame
            }
        }
    }

    fn body(&mut self, body: &Body<'_>, object: &str) -> Seen {
        if let Some(error) = &body.error {
            let words = error["message"].as_str().map_or_else(|| error.to_string(), str::to_owned);
            self.gathered.error = Some(words);
            return Seen::Frame;
        }
        if body.object.as_deref() != Some(object) || body.choices.is_none() {
            self.gathered.flaws.add(Flaw::Shape);
        }
        if let Some(usage) = &body.usage {
            self.usage(usage);
        }
        let Some(choice) = body.choices.iter().flatten().next() else { return Seen::Frame };
        let seen = choice.delta.as_ref().map_or(Seen::Frame, |part| self.part(part));
        if seen != Seen::Frame && self.gathered.finish {
            self.gathered.flaws.add(Flaw::Order);
        }
        if let Some(reason) = choice.finish_reason.as_deref() {
            if self.gathered.finish {
                self.gathered.flaws.add(Flaw::DoubleFinish);
            }
            if !REASONS.contains(&reason) {
                self.gathered.flaws.add(Flaw::FinishReason);
            }
            self.gathered.finish = true;
        }
        seen
    }

    fn part(&mut self, part: &Part<'_>) -> Seen {
        let mut seen = Seen::Frame;
        let mut thoughts = [&part.reasoning_content, &part.reasoning].into_iter().flatten();
        if let Some(thinking) = thoughts.find(|text| !text.is_empty()) {
            seen = self.gathered.note(thinking.len(), false);
        }
        for text in [&part.content, &part.refusal] {
            if let Some(text) = text.as_deref().filter(|t| !t.is_empty()) {
                seen = self.gathered.hear(text);
            }
        }
        for (place, call) in part.tool_calls.iter().flatten().enumerate() {
            let index = call.index.unwrap_or(place).min(MOST_CALLS);
            let Some(function) = &call.function else { continue };
            if self.arguments.len() <= index {
                self.arguments.resize_with(index + 1, String::new);
            }
            let arguments = function.arguments.as_deref().unwrap_or_default();
            self.arguments[index].push_str(arguments);
            let bytes = arguments.len() + function.name.as_ref().map_or(0, String::len);
            if bytes > 0 {
                seen = self.gathered.note(bytes, true);
            }
        }
        seen
    }

    fn usage(&mut self, usage: &Usage) {
        let (Some(input), Some(output)) = (usage.prompt_tokens, usage.completion_tokens) else {
            return self.gathered.flaws.add(Flaw::UsageSum);
        };
        if usage.total_tokens.is_some_and(|total| total != input.saturating_add(output)) {
            self.gathered.flaws.add(Flaw::UsageSum);
        }
        self.gathered.usage = Some((input, output));
    }

    pub(super) fn finish(self) -> Reading {
        self.done(true)
    }

    fn done(mut self, streamed: bool) -> Reading {
        let is_object =
            |text: &String| serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(text).is_ok();
        if !self.arguments.iter().filter(|a| !a.is_empty()).all(is_object) {
            self.gathered.flaws.add(Flaw::ToolArguments);
        }
        self.gathered.done(streamed)
    }
}

/// Reads an answer that came whole.
pub(super) fn whole(body: &[u8]) -> Reading {
    let mut reader = Reader::default();
    match read_whole::<Body<'_>>(body) {
        Ok(body) => {
            reader.body(&body, "chat.completion");
            reader.done(false)
        }
        Err(flaw) => {
            reader.gathered.flaws.add(flaw);
            Reading { flaws: reader.gathered.flaws, ..Reading::default() }
        }
    }
}
