//! The OpenAI faces of the provider: Chat Completions and Responses, for gateways that translate.
//!
//! Both are played from the same scripts as Anthropic Messages. Thinking has no signature here: Chat Completions carries it as
//! `reasoning_content`, as DeepSeek and vLLM do, and Responses as the summary of a reasoning item, as OpenAI does.

pub(super) mod chat;
pub(super) mod contract;
pub(super) mod reading;
pub(super) mod responses;
pub(super) mod words;

use super::answer::{Answer, Block};
use super::count;

/// When every answer and every model was made, in seconds since 1970: always the same, because answers are.
pub(super) const CREATED: u64 = 1_767_225_600;

/// The token counts of an answer as OpenAI counts: what is read from the cache is part of the input, reasoning is part of the
/// output.
struct Tokens {
    input: u64,
    cached: u64,
    output: u64,
    reasoning: u64,
}

impl Tokens {
    fn of(answer: &Answer) -> Self {
        let usage = &answer.usage;
        let thinking = |block: &Block| match block {
            Block::Thinking { pieces, .. } => count::text_tokens(&pieces.concat()),
            Block::Text(_) | Block::ToolUse { .. } | Block::Native(_) => 0,
        };
        Self {
            input: usage
                .input_tokens
                .saturating_add(usage.cache_creation_input_tokens)
                .saturating_add(usage.cache_read_input_tokens),
            cached: usage.cache_read_input_tokens,
            output: usage.output_tokens,
            reasoning: answer.content.iter().map(thinking).sum::<u64>().min(usage.output_tokens),
        }
    }

    fn total(&self) -> u64 {
        self.input.saturating_add(self.output)
    }
}
