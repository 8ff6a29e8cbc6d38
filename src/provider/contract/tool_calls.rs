//! Calls and results belong together: every call of an assistant turn has its one result at the beginning of the next user
//! turn, every result its call in the turn before, and no id occurs twice.

use std::collections::HashSet;

use super::{Refusal, Request};
use crate::provider::reading::{Block, Role, RoleTurn};

pub(super) fn check(request: &Request<'_>) -> Result<(), Refusal> {
    let turns = &request.turns;
    unique_ids(turns)?;
    for (i, turn) in turns.iter().enumerate() {
        match turn.role {
            Role::Assistant => answered(turn, turns.get(i + 1))?,
            Role::User => called(turn, i.checked_sub(1).and_then(|before| turns.get(before)))?,
        }
    }
    Ok(())
}

fn unique_ids(turns: &[RoleTurn<'_>]) -> Result<(), Refusal> {
    let mut seen = HashSet::new();
    for block in turns.iter().flat_map(|t| &t.blocks) {
        if block.call_id().is_some_and(|id| !seen.insert(id)) {
            return Err(at(block, "`tool_use` ids must be unique"));
        }
    }
    Ok(())
}

/// Every call of the assistant turn has its result in the user turn after it, in front of everything else.
fn answered(turn: &RoleTurn<'_>, next: Option<&RoleTurn<'_>>) -> Result<(), Refusal> {
    let results: HashSet<&str> = next.into_iter().flat_map(|n| &n.blocks).map_while(Block::result_id).collect();
    let missing = |b: &&Block<'_>| b.call_id().is_some_and(|id| !results.contains(id));
    let Some(first) = turn.blocks.iter().find(missing) else { return Ok(()) };
    let ids = turn.blocks.iter().filter(missing).filter_map(Block::call_id).collect::<Vec<_>>().join(", ");
    Err(Refusal::invalid(format!(
        "messages.{}: `tool_use` ids were found without `tool_result` blocks immediately after: {ids}. Each `tool_use` \
         block must have a corresponding `tool_result` block in the next message.",
        first.message
    )))
}

/// Every result of the user turn has its call in the assistant turn before it, and is the only one for it.
fn called(turn: &RoleTurn<'_>, before: Option<&RoleTurn<'_>>) -> Result<(), Refusal> {
    let calls: HashSet<&str> = before.into_iter().flat_map(|b| &b.blocks).filter_map(Block::call_id).collect();
    let mut seen = HashSet::new();
    for (block, id) in turn.blocks.iter().filter_map(|b| b.result_id().map(|id| (b, id))) {
        if !calls.contains(id) {
            return Err(at(
                block,
                &format!(
                    "unexpected `tool_use_id` found in `tool_result` blocks: {id}. Each `tool_result` block must have \
                     a corresponding `tool_use` block in the previous message."
                ),
            ));
        }
        if !seen.insert(id) {
            return Err(at(
                block,
                &format!("each tool_use must have a single result. Found multiple `tool_result` blocks with id: {id}"),
            ));
        }
    }
    Ok(())
}

fn at(block: &Block<'_>, what: &str) -> Refusal {
    Refusal::invalid(format!("messages.{}.content.{}: {what}", block.message, block.index))
}
