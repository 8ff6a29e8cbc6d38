//! The way down: what the provider answered against what the client got.

use serde_json::Value;

use super::json::{brief, same};
use super::outcome::Outcome;
use super::{Kind, Sides, words};
use crate::case::{Reply, answer_text};
use crate::exchange::{End, Response, header};
use crate::messages::Answer;

/// Counts of input tokens, which together are what was read.
const INPUT: [&str; 3] = ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"];

impl Sides<'_, '_, '_, '_> {
    /// Compares the answers, where the provider gave one or failed to.
    pub(super) fn answer(&mut self) {
        // What a client that left did not get says nothing, and what was not kept cannot be compared.
        let kept = self.call.exchange.response.as_ref().is_none_or(|r| r.body.dropped == 0);
        if self.call.was_left() || !kept {
            return;
        }
        let (call, far) = (self.call, self.far);
        let got = call.answer().filter(|a| a.finished);
        match (&far.outcome, got) {
            (Outcome::Unknown, _) | (Outcome::Refusal, None) => {}
            (Outcome::Answer(sent), Some(got)) if sent.finished => self.contents(sent, got),
            (Outcome::Answer(sent), None) if sent.finished => self.lost(),
            (_, Some(_)) => {
                let message =
                    format!("the client got a whole answer, but what the provider gave was {}", super::ended(far));
                self.tell(Kind::AnswerInvented, message);
            }
            (Outcome::Answer(_) | Outcome::Nothing, None) => self.break_hidden(),
        }
    }

    fn lost(&mut self) {
        let instead = match (&self.call.reply, self.call.status()) {
            (_, None) => "nothing".to_owned(),
            (Reply::None, Some(status)) => format!("status {status}"),
            (Reply::Unreadable(what), _) => what.clone(),
            _ => match self.call.answer().and_then(|a| a.error.as_ref()) {
                Some(error) => format!("an error ({})", words::cut(error)),
                None => "a part of it".to_owned(),
            },
        };
        self.tell(Kind::AnswerLost, format!("the provider gave a whole answer, the client got {instead}"));
    }

    /// A broken connection has to look broken, or to be told as an error.
    fn break_hidden(&mut self) {
        let End::UpstreamBroke { error } = &self.far.exchange.end else { return };
        let got = self.call.answer();
        // Where nothing but the close of the connection ends a body, as in HTTP/1.0, there is no other way to break off.
        let framed =
            |r: &Response| ["transfer-encoding", "content-length"].iter().any(|n| header(&r.headers, n).is_some());
        let shows_breaks = self.call.exchange.response.as_ref().is_some_and(framed);
        if shows_breaks && self.call.exchange.end == End::Complete && got.is_some_and(|a| a.error.is_none()) {
            let message =
                format!("the provider's connection broke ({}), the client's ended cleanly", words::cut(error));
            self.tell(Kind::BreakHidden, message);
        }
    }

    /// Two whole answers.
    fn contents(&mut self, sent: &Answer, got: &Answer) {
        let before = self.out.len();
        self.text(sent, got);
        self.thinking(sent, got);
        self.tools(sent, got);
        if self.out.len() == before {
            if self.translated() {
                self.fragments(sent, got);
            } else {
                self.blocks(sent, got);
            }
        }
        if sent.stop_reason != got.stop_reason {
            let word = |reason: &Option<String>| reason.clone().unwrap_or_else(|| "none".to_owned());
            let (a, b) = (word(&sent.stop_reason), word(&got.stop_reason));
            // What a translator's provider means by its reason is not always known.
            if sent.stop_reason.is_some() || !self.translated() {
                self.tell(Kind::AnswerStopReason, format!("stop reason: answered {a}, got {b}"));
            }
        } else if sent.stop_sequence != got.stop_sequence && !self.translated() {
            let word = |text: &Option<String>| text.as_ref().map_or("none".to_owned(), |t| format!("{t:?}"));
            let (a, b) = (word(&sent.stop_sequence), word(&got.stop_sequence));
            self.tell(Kind::AnswerStopReason, format!("stop sequence: answered {a}, got {b}"));
        }
        self.usage(sent, got);
        // A gateway that maps names has to map them back.
        let mapped_back = got.model.is_some() && got.model.as_deref() == self.call.request["model"].as_str();
        if sent.model != got.model && !mapped_back && !self.rewrites.model() {
            let word = |model: &Option<String>| model.clone().unwrap_or_else(|| "none".to_owned());
            self.tell(Kind::AnswerModel, format!("model: answered {}, got {}", word(&sent.model), word(&got.model)));
        }
    }

    fn text(&mut self, sent: &Answer, got: &Answer) {
        let (a, b) = (answer_text(sent), answer_text(got));
        if a != b {
            let (a, b) = words::apart(&a, &b);
            self.tell(Kind::AnswerText, format!("text: answered {a:?}, got {b:?}"));
        }
    }

    /// One text that was cut into several blocks by what came between its pieces.
    fn fragments(&mut self, sent: &Answer, got: &Answer) {
        // Text behind a call cannot be in the block in front of it.
        let parts = got.blocks.split(|block| block["type"] == "tool_use");
        let texts = |blocks: &[Value]| blocks.iter().filter(|block| block["type"] == "text").count();
        let (a, b) = (texts(&sent.blocks), parts.map(texts).max().unwrap_or(0));
        if a > 0 && b > a {
            self.tell(Kind::AnswerBlocks, format!("the provider's text is one piece, the client got {b} text blocks"));
        }
    }

    fn thinking(&mut self, sent: &Answer, got: &Answer) {
        let (sent, got) = (thoughts(sent), thoughts(got));
        if self.translated() {
            self.translated_thinking(&sent, &got);
            return;
        }
        if sent.len() != got.len() {
            let message = format!("{} thinking blocks were answered, the client got {}", sent.len(), got.len());
            return self.tell(Kind::AnswerThinking, message);
        }
        for (i, (a, b)) in sent.iter().zip(&got).enumerate() {
            for key in ["type", "thinking", "signature", "data"] {
                let unsigned = key == "signature" && signature(b).is_empty() && self.rewrites.thinking_signature();
                if a[key] != b[key] && !unsigned {
                    let message =
                        format!("{key} of thinking block {i}: answered {}, got {}", brief(&a[key]), brief(&b[key]));
                    self.tell(Kind::AnswerThinking, message);
                }
            }
        }
    }

    /// Reasoning has to become thinking, where the client asks for thinking. The provider has no signature to give.
    fn translated_thinking(&mut self, sent: &[&Value], got: &[&Value]) {
        let text = |blocks: &[&Value]| blocks.iter().filter_map(|b| b["thinking"].as_str()).collect::<String>();
        let (a, b) = (text(sent), text(got));
        if a.trim().is_empty() && b.trim().is_empty() && got.iter().any(|block| block["type"] == "thinking") {
            return self.tell(Kind::AnswerThinking, "a thinking block without any thinking was made up");
        }
        if a.is_empty() || !self.call.asks_for_thinking() {
            return;
        }
        if b.is_empty() {
            self.tell(Kind::AnswerThinking, format!("the provider's reasoning was lost: {:?}", words::cut(&a)));
        } else if a.trim() != b.trim() {
            let (a, b) = words::apart(&a, &b);
            self.tell(Kind::AnswerThinking, format!("thinking: answered {a:?}, got {b:?}"));
        } else if got.iter().any(|b| signature(b).is_empty()) && !self.rewrites.thinking_signature() {
            self.tell(Kind::AnswerThinking, "the provider's reasoning became thinking without a signature");
        }
    }

    fn tools(&mut self, sent: &Answer, got: &Answer) {
        let (a, b): (Vec<&Value>, Vec<&Value>) =
            (sent.blocks_of("tool_use").collect(), got.blocks_of("tool_use").collect());
        if a.len() != b.len() {
            let message = format!("{} tool calls were answered, the client got {}", a.len(), b.len());
            return self.tell(Kind::AnswerTool, message);
        }
        for (a, b) in a.into_iter().zip(b) {
            let keys: &[&str] = if self.translated() { &["name", "input"] } else { &["name", "input", "id"] };
            for key in keys.iter().filter(|key| !same(&a[**key], &b[**key])) {
                let name = a["name"].as_str().unwrap_or_default();
                let message =
                    format!("{key} of a call of {name}: answered {}, got {}", brief(&a[*key]), brief(&b[*key]));
                self.tell(Kind::AnswerTool, message);
            }
        }
    }

    /// Order and number of the blocks, and everything about them that has no code of its own.
    fn blocks(&mut self, sent: &Answer, got: &Answer) {
        let kinds =
            |a: &Answer| a.blocks.iter().map(|b| b["type"].as_str().unwrap_or("none").to_owned()).collect::<Vec<_>>();
        let (a, b) = (kinds(sent), kinds(got));
        if a != b {
            let message = format!("blocks: answered {}, got {}", words::cut(&a.join(", ")), words::cut(&b.join(", ")));
            return self.tell(Kind::AnswerBlocks, message);
        }
        for (i, (a, b)) in sent.blocks.iter().zip(&got.blocks).enumerate() {
            let unsigned = is_thought(a) && self.rewrites.thinking_signature();
            if !same(a, b) && !unsigned {
                let (a, b) = words::apart(&a.to_string(), &b.to_string());
                self.tell(Kind::AnswerBlocks, format!("block {i}: answered {a}, got {b}"));
            }
        }
    }

    fn usage(&mut self, sent: &Answer, got: &Answer) {
        if sent.start_usage.is_none() && sent.end_usage.is_none() {
            let streamed = self.far.exchange.response.as_ref().is_some_and(crate::exchange::Response::is_event_stream);
            if self.translated() && streamed && self.far.body["stream_options"]["include_usage"] != true {
                let message = "the gateway did not ask the provider for token counts (stream_options.include_usage)";
                self.tell(Kind::AnswerUsage, message);
            }
            return;
        }
        if let Some(words) = count_change(sent, got, self.translated()) {
            return self.tell(Kind::AnswerUsage, words);
        }
        if !self.translated()
            && let Some(words) = counts_lost(sent, got)
        {
            return self.tell(Kind::AnswerUsage, words);
        }
        let begun = |answer: &Answer, key: &str| count(answer.start_usage.as_ref(), key);
        for key in INPUT {
            let due = if sent.start_usage.is_some() { begun(sent, key) } else { total(sent, key) };
            let start = begun(got, key);
            if start != due && !(self.rewrites.usage_start() && start == 0) {
                return self.tell(Kind::AnswerUsage, format!("{key} at the start: answered {due}, got {start}"));
            }
        }
    }
}

/// How the counts of a whole answer differ; `None` when they do not. What a translator counts as input may be divided in its
/// own way between what was written to the cache and what was not.
fn count_change(sent: &Answer, got: &Answer, translated: bool) -> Option<String> {
    let input = |answer: &Answer| INPUT.iter().map(|key| total(answer, key)).fold(0, u64::saturating_add);
    let mut counts: Vec<(&str, u64, u64)> =
        vec![("output_tokens", total(sent, "output_tokens"), total(got, "output_tokens"))];
    if translated {
        counts.push(("all input tokens", input(sent), input(got)));
        counts.push((INPUT[2], total(sent, INPUT[2]), total(got, INPUT[2])));
    } else {
        counts.extend(INPUT.map(|key| (key, total(sent, key), total(got, key))));
    }
    let wrong: Vec<String> = counts
        .into_iter()
        .filter(|(_, a, b)| a != b)
        .map(|(what, a, b)| format!("{what}: answered {a}, got {b}"))
        .collect();
    (!wrong.is_empty()).then(|| wrong.join("; "))
}

/// Counts that the provider gave, be they 0, and the client got nowhere.
fn counts_lost(sent: &Answer, got: &Answer) -> Option<String> {
    let says = |answer: &Answer, key: &str| {
        let of = |usage: &Option<Value>| usage.as_ref().is_some_and(|u| !u[key].is_null());
        of(&answer.start_usage) || of(&answer.end_usage)
    };
    let keys = ["input_tokens", INPUT[1], INPUT[2], "output_tokens", "server_tool_use"];
    let lost: Vec<&str> = keys.into_iter().filter(|key| says(sent, key) && !says(got, key)).collect();
    (!lost.is_empty()).then(|| format!("usage lost {}", lost.join(", ")))
}

/// A count as it stands at the answer's end: there, or where the end does not say, at its start.
fn total(answer: &Answer, key: &str) -> u64 {
    match count(answer.end_usage.as_ref(), key) {
        0 => count(answer.start_usage.as_ref(), key),
        end => end,
    }
}

fn count(usage: Option<&Value>, key: &str) -> u64 {
    usage.and_then(|u| u[key].as_u64()).unwrap_or(0)
}

fn is_thought(block: &Value) -> bool {
    block["type"] == "thinking" || block["type"] == "redacted_thinking"
}

fn thoughts(answer: &Answer) -> Vec<&Value> {
    answer.blocks.iter().filter(|b| is_thought(b)).collect()
}

fn signature(block: &Value) -> &str {
    block["signature"].as_str().unwrap_or_default()
}
