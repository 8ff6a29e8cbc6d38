//! Rules about what the client heals, so that its output looks as if nothing had been wrong.

use serde_json::Value;

use crate::case::{Call, Case};
use crate::exchange::header;

use super::Found;

/// What the client says to the model when an answer broke off. Source: measured with Claude
/// Code 2.1.329.
const RESUMES: [&str; 2] = ["Resume directly", "no visible output"];

/// Whether the call's failure was somebody's doing between client and provider: the answer is broken, or was changed.
fn was_spoilt(case: &Case<'_>, call: &Call<'_>) -> bool {
    let changed = case.differences.iter().any(|d| d.exchange == Some(call.exchange.id) && d.kind.spoils_the_answer());
    (!call.is_whole() || changed) && !case.is_arranged(call)
}

/// The calls of the same conversation, each with the one before it.
fn pairs<'c, 'a>(case: &'c Case<'a>) -> impl Iterator<Item = (&'c Call<'a>, &'c Call<'a>)> {
    let before = |i: usize, call: &Call<'_>| {
        let same = |c: &&Call<'_>| c.by_agent == call.by_agent && c.launch == call.launch && !c.by_probe;
        case.calls[..i].iter().rfind(same)
    };
    let by_client = case.calls.iter().enumerate().filter(|(_, call)| !call.by_probe);
    by_client.filter_map(move |(i, call)| Some((before(i, call)?, call)))
}

pub(super) fn resumed(case: &Case<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for (before, call) in pairs(case).filter(|(before, _)| was_spoilt(case, before)) {
        let said = last_words(&call.request);
        if let Some(words) = RESUMES.iter().find(|words| said.contains(**words)) {
            let message = format!(
                "{} did not bring a whole answer; in {} the client asks the model to go on ({words:?})",
                before.cite(),
                call.cite()
            );
            found.push(Found::new(case.far(), message).at(call).at(before));
        }
    }
    found
}

/// The last text that a request says to the model.
fn last_words(request: &Value) -> String {
    let last = request["messages"].as_array().and_then(|m| m.iter().rfind(|m| m["role"] == "user"));
    last.map(|m| crate::transcript::content_text(&m["content"])).unwrap_or_default()
}

pub(super) fn given_up(case: &Case<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for (before, call) in pairs(case) {
        let refused = before.status().filter(|s| *s >= 400);
        let Some(status) = refused.filter(|_| was_spoilt(case, before)) else { continue };
        let gone = left_out(before, call);
        if !gone.is_empty() {
            let message = format!(
                "after the {status} to {} the client goes on without {}: the feature is off for the whole session",
                before.cite(),
                gone.join(", ")
            );
            found.push(Found::new(case.far(), message).at(call).at(before));
        }
    }
    found
}

/// What a request asks for that the one after it no longer does.
fn left_out(before: &Call<'_>, after: &Call<'_>) -> Vec<String> {
    let betas = |call: &Call<'_>| -> Vec<String> {
        let list = header(&call.exchange.request.headers, "anthropic-beta").unwrap_or_default();
        list.split(',').map(|b| b.trim().to_owned()).filter(|b| !b.is_empty()).collect()
    };
    let kept = betas(after);
    let mut gone: Vec<String> =
        betas(before).into_iter().filter(|b| !kept.contains(b)).map(|b| format!("the beta {b}")).collect();
    for field in ["thinking", "context_management", "output_config", "tools"] {
        if !before.request[field].is_null() && after.request[field].is_null() {
            gone.push(field.to_owned());
        }
    }
    for (words, count) in
        [("the system message", system_messages as fn(&Value) -> usize), ("thinking blocks", thoughts)]
    {
        if count(&before.request) > count(&after.request) {
            gone.push(words.to_owned());
        }
    }
    gone
}

fn system_messages(request: &Value) -> usize {
    request["messages"].as_array().map_or(0, |m| m.iter().filter(|m| m["role"] == "system").count())
}

fn thoughts(request: &Value) -> usize {
    crate::case::content_blocks(request).filter(|b| b["type"] == "thinking" || b["type"] == "redacted_thinking").count()
}

/// Ends of messages that the client printed and that never came: it makes one up for an answer that broke off.
pub(super) fn end_made_up(case: &Case<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for launch in 1..=case.evidence.launches.len() {
        let is_end = |l: &&crate::transcript::Line| {
            l.place.launch == launch && l.value["type"] == "stream_event" && l.value["event"]["type"] == "message_stop"
        };
        let Some(last) = case.transcript.lines.iter().rfind(is_end) else { continue };
        let printed = case.transcript.lines.iter().filter(is_end).count();
        let calls = || case.calls.iter().filter(|c| c.launch == launch);
        let on_wire = calls().filter(|c| c.answer().is_some_and(|a| a.finished)).count();
        let broken = calls().find(|c| c.answer().is_some_and(|a| !a.finished) && was_spoilt(case, c));
        if let Some(call) = broken.filter(|_| printed > on_wire) {
            let message = format!(
                "the client printed {printed} ends of messages, {on_wire} came: it made up the end of {}",
                call.cite()
            );
            found.push(Found::new(case.far(), message).at(call).cite(last.place));
        }
    }
    found
}
