//! Rules about the answer on the wire: each family of the stream automaton's faults is one rule.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::case::{Call, Case, Reply};
use crate::exchange::End;
use crate::messages::{Answer, FaultKind};

use super::Found;

pub(super) fn unreadable(case: &Case<'_>) -> Vec<Found> {
    let read = |call: &Call<'_>| match &call.reply {
        Reply::Unreadable(words) => {
            Some(Found::new(case.far(), format!("{} was answered with 200 and {words}", call.cite())).at(call))
        }
        _ => None,
    };
    case.calls.iter().filter_map(read).collect()
}

pub(super) fn not_streamed(case: &Case<'_>) -> Vec<Found> {
    case.calls
        .iter()
        .filter(|c| c.request["stream"] == true && matches!(c.reply, Reply::Whole(_)))
        .map(|c| Found::new(case.far(), format!("{} asked for a stream and got one message", c.cite())).at(c))
        .collect()
}

/// The faults of one kind, one finding for each answer, which names the first and counts the others.
fn faults(case: &Case<'_>, kind: FaultKind) -> Vec<Found> {
    let of = |(call, answer): (&Call<'_>, &Answer)| {
        let all: Vec<_> = answer.faults.iter().filter(|f| f.kind == kind).collect();
        let first = all.first()?;
        let more = if all.len() > 1 { format!(" (and {} more like it)", all.len() - 1) } else { String::new() };
        let message = format!("{}, event {}: {}{more}", call.cite(), first.event, first.detail);
        Some(Found::new(case.far(), message).at_event(call, first.event))
    };
    case.answers().filter_map(of).collect()
}

pub(super) fn error_event(case: &Case<'_>) -> Vec<Found> {
    faults(case, FaultKind::ErrorEvent)
}

pub(super) fn malformed(case: &Case<'_>) -> Vec<Found> {
    let mut found = faults(case, FaultKind::Malformed);
    for call in case.calls.iter().filter(|c| c.exchange.end == End::Complete) {
        let Reply::Streamed(_, faults) = &call.reply else { continue };
        if let Some(first) = faults.first() {
            let message = format!("{}, body byte {}: {}", call.cite(), first.offset, first.words);
            found.push(Found::new(case.far(), message).at(call));
        }
    }
    found
}

pub(super) fn out_of_order(case: &Case<'_>) -> Vec<Found> {
    faults(case, FaultKind::OutOfOrder)
}

pub(super) fn delta_misfit(case: &Case<'_>) -> Vec<Found> {
    faults(case, FaultKind::DeltaMisfit)
}

/// A cut is told only where the connection itself was whole: a broken one, or one that the client left, has its own rule.
pub(super) fn cut(case: &Case<'_>) -> Vec<Found> {
    let mut found = faults(case, FaultKind::Cut);
    let whole = |id: u32| case.calls.iter().any(|c| c.exchange.id == id && c.exchange.end == End::Complete);
    found.retain(|f| f.exchange.is_some_and(whole));
    found
}

pub(super) fn arguments_broken(case: &Case<'_>) -> Vec<Found> {
    faults(case, FaultKind::ToolArguments)
}

pub(super) fn id_broken(case: &Case<'_>) -> Vec<Found> {
    let mut found = faults(case, FaultKind::ToolId);
    let mut seen: BTreeMap<&str, &Call<'_>> = BTreeMap::new();
    for (call, answer) in case.answers() {
        for id in answer.blocks_of("tool_use").filter_map(|b| b["id"].as_str()) {
            if let Some(first) = seen.get(id).filter(|first| first.exchange.id != call.exchange.id) {
                // The same request asked again may get the same answer again.
                if first.request["messages"] != call.request["messages"] {
                    let message = format!("the tool call id {id} of {} stands again in {}", first.cite(), call.cite());
                    found.push(Found::new(case.far(), message).at(first).at(call));
                }
            }
            seen.insert(id, call);
        }
    }
    found
}

pub(super) fn unsigned(case: &Case<'_>) -> Vec<Found> {
    faults(case, FaultKind::Unsigned)
}

pub(super) fn stop_reason(case: &Case<'_>) -> Vec<Found> {
    faults(case, FaultKind::StopReason)
}

pub(super) fn usage(case: &Case<'_>) -> Vec<Found> {
    let mut found = faults(case, FaultKind::Usage);
    for (call, answer) in case.answers().filter(|(_, a)| a.finished && !a.blocks.is_empty()) {
        let count = |usage: &Option<Value>, key: &str| usage.as_ref().and_then(|u| u[key].as_u64());
        let input: u64 = ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"]
            .iter()
            .map(|key| count(&answer.end_usage, key).max(count(&answer.start_usage, key)).unwrap_or(0))
            .sum();
        let counted = count(&answer.end_usage, "output_tokens");
        if (input == 0 || counted == Some(0)) && !answer.faults.iter().any(|f| f.kind == FaultKind::Usage) {
            let message = format!("{} counts {input} input and {} output tokens", call.cite(), counted.unwrap_or(0));
            found.push(Found::new(case.far(), message).at(call));
        }
    }
    found
}
