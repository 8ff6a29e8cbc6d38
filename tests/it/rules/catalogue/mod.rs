//! Every defect of the fault catalogue, and siblings of its families, done to a cell that went right behind a gateway: what the
//! two sides then hold has to be found, laid to the gateway, and told by a fitting code.

mod answers;
mod requests;
mod transport;

use std::collections::BTreeSet;

use ccsmoke::evidence::{Evidence, TargetKind};
use ccsmoke::exchange::{Arrival, Body, Exchange};
use ccsmoke::finding::{Finding, Severity, Suspect};
use serde_json::{Value, json};

use super::edit::{Event, clean, events, judge, refuse, response, set_body, stream, written};
use crate::compare::translated::chat;

/// A defect, done to a cell.
struct Defect {
    /// The catalogue's name for it; siblings that it does not hold begin with `+`.
    id: &'static str,
    words: &'static str,
    /// The cell as it would be behind a gateway without the defect.
    cell: fn() -> Evidence,
    plant: fn(&mut Evidence),
    code: &'static str,
}

fn defect(
    id: &'static str,
    words: &'static str,
    cell: fn() -> Evidence,
    plant: fn(&mut Evidence),
    code: &'static str,
) -> Defect {
    Defect { id, words, cell, plant, code }
}

fn all() -> Vec<Defect> {
    [requests::all(), answers::all(), transport::all()].into_iter().flatten().collect()
}

/// A cell behind a gateway that passes everything on.
fn passed_on(probe: &str) -> Evidence {
    let mut evidence = clean(probe);
    evidence.cell.target.kind = TargetKind::Gateway;
    evidence.behind = Some(evidence.exchanges.clone());
    evidence
}

fn text() -> Evidence {
    passed_on("basic_text")
}

fn thinking() -> Evidence {
    passed_on("thinking")
}

fn tool() -> Evidence {
    passed_on("tool_use_roundtrip")
}

fn interleaved() -> Evidence {
    passed_on("interleaved_thinking_tool")
}

fn agent() -> Evidence {
    passed_on("subagent_task")
}

/// A request behind a gateway that translates; its probe is about thinking.
fn translated() -> Evidence {
    let mut evidence = chat().evidence();
    evidence.cell.probe = "thinking".to_owned();
    evidence
}

/// Two requests behind a gateway that translates, of which the second brings back what the first one's answer thought.
fn translated_twice() -> Evidence {
    let mut evidence = translated();
    let mut later = chat();
    let turn = json!({ "role": "assistant", "content": [
        { "type": "thinking", "thinking": "One more file.", "signature": "" },
        { "type": "text", "text": "And another one." },
        { "type": "tool_use", "id": "call_2", "name": "Read", "input": { "file_path": "/w/b.txt" } },
    ]});
    let result =
        json!({ "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "call_2", "content": "b" }] });
    later.near.edit(|b| b["messages"].as_array_mut().unwrap().extend([turn, result]));
    let call = json!({ "id": "call_2", "type": "function",
        "function": { "name": "Read", "arguments": "{\"file_path\":\"/w/b.txt\"}" } });
    let turn = json!({ "role": "assistant", "content": "And another one.", "reasoning_content": "One more file.",
        "tool_calls": [call] });
    let result = json!({ "role": "tool", "tool_call_id": "call_2", "content": "b" });
    later.far.edit(|b| b["messages"].as_array_mut().unwrap().extend([turn, result]));
    let mut later = later.evidence();
    let at = 60_000_000;
    for exchange in later.exchanges.iter_mut().chain(later.behind.iter_mut().flatten()) {
        exchange.id = 1;
        delay(exchange, at);
    }
    evidence.exchanges.append(&mut later.exchanges);
    evidence.behind.as_mut().unwrap().append(later.behind.as_mut().unwrap());
    evidence
}

fn delay(exchange: &mut Exchange, by_us: u64) {
    exchange.request.head_us += by_us;
    exchange.request.body_us += by_us;
    exchange.ended_us += by_us;
    if let Some(response) = &mut exchange.response {
        response.head_us += by_us;
        response.arrivals.iter_mut().for_each(|a| a.at_us += by_us);
    }
}

/// Changes what the provider tap recorded.
fn behind(e: &mut Evidence, change: impl FnOnce(&mut Evidence)) {
    let mut far = e.behind.take().unwrap();
    std::mem::swap(&mut e.exchanges, &mut far);
    change(e);
    std::mem::swap(&mut e.exchanges, &mut far);
    e.behind = Some(far);
}

/// Changes both sides alike.
fn both(e: &mut Evidence, change: impl Fn(&mut Evidence)) {
    change(e);
    behind(e, change);
}

/// The client sends this, and it arrives.
fn ask(e: &mut Evidence, exchange: usize, change: impl Fn(&mut Value)) {
    both(e, |e| super::edit::request(e, exchange, &change));
}

/// The gateway changes the request.
fn up(e: &mut Evidence, exchange: usize, change: impl FnOnce(&mut Value)) {
    behind(e, |e| super::edit::request(e, exchange, change));
}

/// The gateway changes a header of the request, or drops it.
fn up_header(e: &mut Evidence, exchange: usize, name: &str, value: Option<&str>) {
    behind(e, |e| {
        let headers = &mut e.exchanges[exchange].request.headers;
        headers.retain(|h| !h.name.eq_ignore_ascii_case(name));
        headers.extend(value.map(|v| ccsmoke::exchange::Header { name: name.to_owned(), value: v.to_owned() }));
    });
}

/// The provider answers with this, and it arrives.
fn say(e: &mut Evidence, exchange: usize, change: impl Fn(&mut Vec<Event>)) {
    both(e, |e| stream(e, exchange, &change));
}

/// The gateway refuses by itself: the provider is never asked.
fn refused(e: &mut Evidence, exchange: usize, status: u16, words: &str) {
    refuse(e, exchange, status, words);
    e.behind.as_mut().unwrap().remove(exchange);
}

/// The provider refuses, and so does the gateway: in other words, perhaps.
fn refused_there(e: &mut Evidence, exchange: usize, far: (u16, &str), near: (u16, &str)) {
    refuse(e, exchange, near.0, near.1);
    behind(e, |e| refuse(e, exchange, far.0, far.1));
}

/// Every event of the answer arrives by itself, at these times after the request, in microseconds.
fn paced(e: &mut Evidence, exchange: usize, at: impl Fn(usize) -> u64) {
    let all = events(&e.exchanges[exchange]);
    let began = e.exchanges[exchange].request.head_us;
    let arrivals: Vec<Arrival> = (0..)
        .zip(&all)
        .map(|(i, event)| Arrival { at_us: began + at(i), len: written(std::slice::from_ref(event)).len() as u64 })
        .collect();
    let last = arrivals.last().unwrap().at_us;
    let response = response(e, exchange);
    set_body(response, written(&all));
    response.arrivals = arrivals;
    response.head_us = began + at(0);
    e.exchanges[exchange].ended_us = last + 1_000;
    e.launches.iter_mut().for_each(|l| l.duration_us += last);
}

/// A request beside the conversation, on both sides, with the same answer.
fn beside(e: &mut Evidence, method: &str, target: &str, asked: &Value, status: u16, body: &str) -> usize {
    let at = e.exchanges.len();
    both(e, |e| {
        let mut exchange = e.exchanges.last().unwrap().clone();
        exchange.id = u32::try_from(at).unwrap();
        method.clone_into(&mut exchange.request.method);
        target.clone_into(&mut exchange.request.target);
        exchange.request.body = if asked.is_null() { Body::default() } else { Body::whole(asked.to_string()) };
        let after = exchange.ended_us - exchange.request.head_us + 1_000;
        delay(&mut exchange, after);
        exchange.ended_us = exchange.request.head_us + 2_000;
        e.exchanges.push(exchange);
        super::edit::answer(e, at, status, "application/json", body);
    });
    at
}

fn said(found: &[Finding]) -> Vec<(&str, Suspect, &str)> {
    found.iter().map(|f| (f.code.as_str(), f.suspect, f.message.as_str())).collect()
}

#[test]
fn every_defect_is_found_and_laid_to_the_gateway() {
    let mut missed = Vec::new();
    for Defect { id, words, cell, plant, code } in all() {
        let mut evidence = cell();
        let before = judge(&evidence).findings;
        if before.iter().any(|f| f.code == code) {
            missed.push(format!("{id} ({words}): {code} was there before: {:#?}", said(&before)));
        }
        plant(&mut evidence);
        let found = judge(&evidence).findings;
        let right = |f: &Finding| f.code == code && f.suspect == Suspect::Gateway && f.severity > Severity::Note;
        if !found.iter().any(right) {
            missed.push(format!("{id} ({words}): no {code} in {:#?}", said(&found)));
        }
        let blamed = found.iter().filter(|f| f.severity > Severity::Note && !before.contains(f));
        if let Some(other) = blamed.clone().find(|f| matches!(f.suspect, Suspect::Harness | Suspect::Environment)) {
            missed.push(format!("{id} ({words}): lays it to {}: {}", other.suspect, other.code));
        }
    }
    assert!(missed.is_empty(), "{} missed:\n{}", missed.len(), missed.join("\n"));
}

#[test]
fn every_entry_of_the_catalogue_is_there() {
    let held: BTreeSet<&str> = all().iter().map(|d| d.id).filter(|id| !id.starts_with('+')).collect();
    assert_eq!(held.len(), 93, "{held:?}");
}

#[test]
fn cells_behind_a_gateway_that_passes_everything_on_are_found_nothing_of() {
    for cell in [text, thinking, tool, interleaved, agent] {
        assert_eq!(judge(&cell()).findings, []);
    }
}
