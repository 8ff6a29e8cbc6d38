//! Rules about the answer on the wire: each family of the stream automaton's faults is one rule.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::case::{Call, Case, Reply, answer_text};
use crate::exchange::header;
use crate::messages::{Answer, FaultKind};
use crate::probe::TurnUsage;

use super::Found;

pub(super) fn unreadable(case: &Case<'_>) -> Vec<Found> {
    let read = |call: &Call<'_>| match &call.reply {
        Reply::Unreadable(words) if call.is_complete() => {
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

pub(super) fn streamed_unasked(case: &Case<'_>) -> Vec<Found> {
    case.calls
        .iter()
        .filter(|c| c.request.is_object() && c.request["stream"] != true && matches!(c.reply, Reply::Streamed(..)))
        .map(|c| Found::new(case.far(), format!("{} asked for one message and got a stream", c.cite())).at(c))
        .collect()
}

pub(super) fn mislabelled(case: &Case<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for call in case.calls.iter().filter(|c| matches!(c.reply, Reply::Streamed(..))) {
        let Some(response) = call.exchange.response.as_ref().filter(|r| !r.is_event_stream()) else { continue };
        let kind = header(&response.headers, "content-type").unwrap_or("none");
        let message = format!("{} brings a stream with content-type {kind}", call.cite());
        found.push(Found::new(case.far(), message).at(call));
    }
    found
}

/// The faults of one kind, one finding for each answer, which names the first and counts the others.
fn faults(case: &Case<'_>, kind: FaultKind) -> Vec<Found> {
    let scripted = |call: &Call<'_>| {
        matches!(kind, FaultKind::Cut | FaultKind::ErrorEvent | FaultKind::Malformed) && case.is_arranged(call)
    };
    let of = |(call, answer): (&Call<'_>, &Answer)| {
        let all: Vec<_> = answer.faults.iter().filter(|f| f.kind == kind).collect();
        let first = all.first()?;
        let more = if all.len() > 1 { format!(" (and {} more like it)", all.len() - 1) } else { String::new() };
        let copes =
            if all.iter().all(|f| f.tolerated) { "; this client copes with it, the contract does not" } else { "" };
        let message = format!("{}, event {}: {}{more}{copes}", call.cite(), first.event, first.detail);
        Some(Found::new(case.far(), message).at_event(call, first.event))
    };
    case.answers().filter(|(call, _)| !scripted(call)).filter_map(of).collect()
}

pub(super) fn error_event(case: &Case<'_>) -> Vec<Found> {
    faults(case, FaultKind::ErrorEvent)
}

pub(super) fn malformed(case: &Case<'_>) -> Vec<Found> {
    let mut found = faults(case, FaultKind::Malformed);
    for call in case.calls.iter().filter(|c| c.is_complete() && !case.is_arranged(c)) {
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
    let whole = |id: u32| case.calls.iter().any(|c| c.exchange.id == id && c.is_complete());
    found.retain(|f| f.exchange.is_some_and(whole));
    found
}

pub(super) fn arguments_broken(case: &Case<'_>) -> Vec<Found> {
    faults(case, FaultKind::ToolArguments)
}

/// Arguments that the tool's own schema requires.
pub(super) fn arguments_incomplete(case: &Case<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for (call, answer) in case.answers().filter(|(_, a)| a.finished) {
        let tools = call.request["tools"].as_array().map(Vec::as_slice).unwrap_or_default();
        for block in answer.blocks_of("tool_use") {
            let Some(input) = block["input"].as_object() else { continue };
            let Some(tool) = tools.iter().find(|t| t["name"] == block["name"]) else { continue };
            let required = tool["input_schema"]["required"].as_array().map(Vec::as_slice).unwrap_or_default();
            let missing: Vec<&str> =
                required.iter().filter_map(Value::as_str).filter(|key| !input.contains_key(*key)).collect();
            if missing.is_empty() {
                continue;
            }
            // A model forgets one argument; that it says nothing at all is not its way.
            let suspect = if input.is_empty() { case.far() } else { case.author() };
            let message = format!("{} calls {} without {}", call.cite(), block["name"], missing.join(", "));
            found.push(Found::new(suspect, message).at(call));
        }
    }
    found
}

pub(super) fn garbled(case: &Case<'_>) -> Vec<Found> {
    const REPLACED: char = '\u{FFFD}';
    let mut found = Vec::new();
    for (call, answer) in case.answers() {
        let place = answer.blocks.iter().position(|b| b.to_string().contains(REPLACED));
        // What was sent up broken may come back broken.
        if let Some(place) = place.filter(|_| !call.exchange.request.body.text().contains(REPLACED)) {
            let message = format!("{}, block {place}: characters were replaced by U+FFFD", call.cite());
            found.push(Found::new(case.far(), message).at(call));
        }
    }
    found
}

pub(super) fn thinking_in_text(case: &Case<'_>) -> Vec<Found> {
    const TAGS: [&str; 6] = ["<think>", "</think>", "<thinking>", "</thinking>", "<reasoning>", "<|channel|>analysis"];
    let mut found = Vec::new();
    for (call, answer) in case.answers() {
        let text = answer_text(answer);
        let asked = call.exchange.request.body.text();
        if let Some(tag) = TAGS.into_iter().find(|tag| text.contains(tag) && !asked.contains(tag)) {
            let message = format!("the text of {} holds {tag}: {:?}", call.cite(), super::shorten(&text));
            found.push(Found::new(case.far(), message).at(call));
        }
    }
    found
}

pub(super) fn empty(case: &Case<'_>) -> Vec<Found> {
    let says_something = |b: &Value| match b["type"].as_str() {
        Some("text") => b["text"].as_str().is_some_and(|t| !t.trim().is_empty()),
        Some("thinking" | "redacted_thinking") => false,
        _ => true,
    };
    let mut found = Vec::new();
    for (call, answer) in case.answers().filter(|(_, a)| a.finished && !a.blocks.iter().any(says_something)) {
        let counted = answer.end_usage.as_ref().and_then(|u| u["output_tokens"].as_u64()).unwrap_or(0);
        // An end of turn costs a few tokens. More of them, and no block at all, were content that got lost.
        let lost = answer.blocks.is_empty() && counted > 8;
        let message =
            format!("{} brings neither text nor a tool call, and counts {counted} output tokens", call.cite());
        found.push(Found::new(if lost { case.far() } else { case.author() }, message).at(call));
    }
    found
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
    // Reasoning of other providers has no signature that could be passed on.
    if case.may_change("thinking_signature") { Vec::new() } else { faults(case, FaultKind::Unsigned) }
}

pub(super) fn stop_reason(case: &Case<'_>) -> Vec<Found> {
    faults(case, FaultKind::StopReason)
}

pub(super) fn cache_uncounted(case: &Case<'_>) -> Vec<Found> {
    let counted = |usage: &Option<Value>| {
        let Some(usage) = usage.as_ref().and_then(Value::as_object) else { return false };
        ["cache_creation_input_tokens", "cache_read_input_tokens"].iter().any(|key| usage.contains_key(*key))
    };
    let is_silent = |(call, answer): &(&Call<'_>, &Answer)| {
        let marked = call.exchange.request.body.text().contains("\"cache_control\"");
        answer.finished && marked && !counted(&answer.start_usage) && !counted(&answer.end_usage)
    };
    let silent: Vec<&Call<'_>> = case.answers().filter(is_silent).map(|(call, _)| call).collect();
    let Some(first) = silent.first() else { return Vec::new() };
    let message = format!("{} answers say nothing of the cache, the first is {}", silent.len(), first.cite());
    vec![Found::new(case.far(), message).at(first)]
}

pub(super) fn usage(case: &Case<'_>) -> Vec<Found> {
    faults(case, FaultKind::Usage)
}

pub(super) fn usage_zero(case: &Case<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for (call, answer) in case.answers().filter(|(_, a)| a.finished && !a.blocks.is_empty()) {
        let (input, output) = (input_tokens(answer), output_tokens(answer));
        if (input == 0 || output == 0) && !answer.faults.iter().any(|f| f.kind == FaultKind::Usage) {
            let message = format!("{} counts {input} input and {output} output tokens", call.cite());
            found.push(Found::new(case.far(), message).at(call));
        }
    }
    found
}

/// A count as the answer's end gave it, or its start.
fn counted(answer: &Answer, key: &str) -> u64 {
    let of = |usage: &Option<Value>| usage.as_ref().and_then(|u| u[key].as_u64());
    of(&answer.end_usage).max(of(&answer.start_usage)).unwrap_or(0)
}

/// Input tokens, wherever they came from.
fn input_tokens(answer: &Answer) -> u64 {
    ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"]
        .iter()
        .map(|key| counted(answer, key))
        .sum()
}

/// Output tokens as the answer's end gave them: its start only knows the first one.
fn output_tokens(answer: &Answer) -> u64 {
    answer.end_usage.as_ref().and_then(|usage| usage["output_tokens"].as_u64()).unwrap_or(0)
}

pub(super) fn usage_wrong(case: &Case<'_>) -> Vec<Found> {
    let Some(wanted) = case.probe.expect.usage.as_ref().filter(|w| *w.get_ref()) else { return Vec::new() };
    let place = case.probe.cite(&wanted.span());
    let Some((call, _)) = case.answers().next() else { return Vec::new() };
    let sum = |count: fn(&Answer) -> u64| case.answers().map(|(_, answer)| count(answer)).sum::<u64>();
    let (input, output) = (sum(input_tokens), sum(output_tokens));
    let told = format!("the answers count {input} input and {output} output tokens");
    let scripted = case.evidence.provider.as_ref().map(|records| {
        let used = || records.iter().filter_map(|r| r.usage);
        let input = |u: TurnUsage| u.input_tokens + u.cache_creation_input_tokens + u.cache_read_input_tokens;
        (used().map(input).sum::<u64>(), used().map(|u| u.output_tokens).sum::<u64>())
    });
    match scripted {
        Some((i, o)) if (i, o) != (input, output) => {
            vec![Found::new(case.far(), format!("{told}, the provider counted {i} and {o}")).at(call).cite(place)]
        }
        None if input == 0 || output == 0 => vec![Found::new(case.far(), told).at(call).cite(place)],
        _ => Vec::new(),
    }
}
