//! Thinking comes back exactly as it was issued, where it was issued, and only when the request has thinking.

use serde_json::Value;

use super::{Refusal, Request};
use crate::provider::reading::{Block, Role, RoleTurn, ThinkingMode, is_thinking};

pub(super) fn check(request: &Request<'_>) -> Result<(), Refusal> {
    let assistants = || request.turns.iter().enumerate().filter(|(_, t)| t.role == Role::Assistant);
    let latest = assistants().next_back();
    let issued = latest.and_then(|(_, turn)| issued_turn(request, turn));
    for (i, turn) in assistants() {
        let as_issued = issued.as_deref().filter(|_| latest.is_some_and(|(last, _)| last == i));
        signatures(request, turn, as_issued)?;
    }
    if let (Some((_, turn)), Some(issued)) = (latest, issued.as_deref()) {
        unmoved(turn, issued)?;
    }
    if let Some((i, turn)) = latest.filter(|(i, _)| is_final(&request.turns, *i)) {
        match request.thinking {
            ThinkingMode::Enabled => starts_with_thinking(request, i, turn, issued.as_deref())?,
            ThinkingMode::Off => without_thinking(turn)?,
            // With adaptive thinking a model may do without, so the API lets a turn come back without its thinking.
            ThinkingMode::Adaptive => {}
        }
    }
    for (_, turn) in assistants() {
        if let Some(last) = turn.blocks.last().filter(|b| b.is_thinking()) {
            return Err(Refusal::invalid(format!(
                "messages.{}: The final block in an assistant message cannot be `{}`.",
                last.message, last.kind
            )));
        }
    }
    Ok(())
}

/// The turn as it was issued, when one of its calls is remembered.
fn issued_turn(request: &Request<'_>, turn: &RoleTurn<'_>) -> Option<std::sync::Arc<[Value]>> {
    turn.blocks.iter().filter_map(Block::call_id).find_map(|id| request.issued.turn_of(id))
}

/// Whether the turn is where the answer goes on: it ends the conversation, or only tool results follow it.
fn is_final(turns: &[RoleTurn<'_>], i: usize) -> bool {
    turns.get(i + 1).is_none_or(RoleTurn::has_results)
}

/// Every thinking block is signed, and its signature is true. In the latest turn a signature of that very turn under
/// another text says that the block was edited; everywhere else the API only sees that the signature does not fit.
fn signatures(request: &Request<'_>, turn: &RoleTurn<'_>, as_issued: Option<&[Value]>) -> Result<(), Refusal> {
    for block in &turn.blocks {
        let genuine = match block.kind {
            "thinking" => {
                let (text, signature) = (block.field("thinking"), block.field("signature"));
                request.issued.verifies(text.unwrap_or_default(), signature.unwrap_or_default())
            }
            "redacted_thinking" if !request.issued.issued_redacted(block.field("data").unwrap_or_default()) => {
                return Err(at(block, "Invalid `data` in `redacted_thinking` block"));
            }
            _ => true,
        };
        if !genuine {
            let signature = block.field("signature").filter(|s| !s.is_empty());
            let of_this_turn = |b: &Value| signature.is_some_and(|s| b["signature"] == s);
            let edited = as_issued.is_some_and(|blocks| blocks.iter().any(of_this_turn));
            return Err(if edited { modified(block) } else { at(block, "Invalid `signature` in `thinking` block") });
        }
    }
    Ok(())
}

/// The thinking of the latest turn, where there is any, stands where it was issued and is complete.
fn unmoved(turn: &RoleTurn<'_>, issued: &[Value]) -> Result<(), Refusal> {
    let came_back = placed(turn.blocks.iter().map(|b| b.value));
    let original = placed(issued.iter());
    let Some(first) = turn.blocks.iter().find(|b| b.is_thinking()) else { return Ok(()) };
    if came_back == original {
        return Ok(());
    }
    // The first block that is not what and where it was; when only later ones are missing, the first one stands for them.
    let wrong = came_back
        .iter()
        .zip(&original)
        .position(|(a, b)| a != b)
        .or_else(|| (came_back.len() > original.len()).then_some(original.len()));
    let block = wrong.and_then(|n| turn.blocks.iter().filter(|b| b.is_thinking()).nth(n)).unwrap_or(first);
    Err(modified(block))
}

/// Every thinking block with its text and its position, neighbouring texts counted as one and empty ones not at all: a
/// client may join or drop those without touching the thinking.
fn placed<'a>(blocks: impl Iterator<Item = &'a Value>) -> Vec<(usize, &'a str, &'a str)> {
    let mut found = Vec::new();
    let (mut position, mut after_text) = (0, false);
    for block in blocks {
        let kind = block["type"].as_str().unwrap_or_default();
        let is_text = kind == "text" || block.is_string();
        if is_text && (after_text || block["text"] == "") {
            continue;
        }
        if is_thinking(kind) {
            let field = |name: &str| block[name].as_str().unwrap_or_default();
            found.push((position, field("thinking"), field("signature")));
        }
        after_text = is_text;
        position += 1;
    }
    found
}

fn starts_with_thinking(
    request: &Request<'_>,
    i: usize,
    turn: &RoleTurn<'_>,
    issued: Option<&[Value]>,
) -> Result<(), Refusal> {
    let Some(first) = turn.blocks.first().filter(|b| !b.is_thinking()) else { return Ok(()) };
    let never_had = match issued {
        Some(blocks) => !blocks.first().is_some_and(|b| is_thinking(b["type"].as_str().unwrap_or_default())),
        // A turn that we do not know: without interleaving a model thinks only at the beginning of a loop of tool calls.
        None => loop_before(&request.turns, i).any(|t| t.blocks.first().is_some_and(Block::is_thinking)),
    };
    if never_had {
        return Ok(());
    }
    Err(Refusal::invalid(format!(
        "messages.{}.content.{}.type: Expected `thinking` or `redacted_thinking`, but found `{}`. When `thinking` is \
         enabled, a final `assistant` message must start with a thinking block (preceeding the lastmost set of \
         `tool_use` and `tool_result` blocks). We recommend you include thinking blocks from previous turns. To avoid \
         this requirement, disable `thinking`. Please consult our documentation at \
         https://docs.claude.com/en/docs/build-with-claude/extended-thinking",
        first.message, first.index, first.kind
    )))
}

/// The earlier assistant turns of the loop of tool calls that turn `i` belongs to, latest first.
fn loop_before<'a>(turns: &'a [RoleTurn<'a>], i: usize) -> impl Iterator<Item = &'a RoleTurn<'a>> {
    let in_loop = |t: &&RoleTurn<'_>| t.role == Role::Assistant || t.has_results();
    turns[..i].iter().rev().take_while(in_loop).filter(|t| t.role == Role::Assistant)
}

fn without_thinking(turn: &RoleTurn<'_>) -> Result<(), Refusal> {
    let Some(block) = turn.blocks.iter().find(|b| b.is_thinking()) else { return Ok(()) };
    Err(at(
        block,
        &format!(
            "When thinking is disabled, an `assistant` message in the final position cannot contain `{}`. To use \
             thinking blocks, enable `thinking` in your request.",
            block.kind
        ),
    ))
}

fn modified(block: &Block<'_>) -> Refusal {
    at(
        block,
        "`thinking` or `redacted_thinking` blocks in the latest assistant message cannot be modified. These blocks must \
         remain as they were in the original response.",
    )
}

fn at(block: &Block<'_>, what: &str) -> Refusal {
    Refusal::invalid(format!("messages.{}.content.{}: {what}", block.message, block.index))
}
