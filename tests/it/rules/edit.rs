//! Recorded evidence of cells that went right, and the means to plant a defect in it.

use std::path::Path;
use std::sync::LazyLock;

use ccsmoke::evidence::{Evidence, TargetKind};
use ccsmoke::exchange::{Arrival, Body, End, Exchange, Header, Response};
use ccsmoke::probes::ProbeSet;
use ccsmoke::sse;
use ccsmoke::verdict::Verdict;
use serde_json::{Value, json};

/// The probes that have a fixture.
pub(super) const PROBES: [&str; 6] =
    ["basic_text", "compact_command", "interleaved_thinking_tool", "subagent_task", "thinking", "tool_use_roundtrip"];

/// The evidence of a cell that went right, against the scripted provider.
pub(super) fn clean(probe: &str) -> Evidence {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/evidence");
    let text = std::fs::read_to_string(folder.join(format!("{probe}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The same as a gateway's cell would have it.
pub(super) fn live(mut evidence: Evidence) -> Evidence {
    evidence.cell.target.kind = TargetKind::Live;
    evidence.provider = None;
    evidence
}

static SET: LazyLock<ProbeSet> = LazyLock::new(|| ProbeSet::built_in().unwrap());

pub(super) fn judge(evidence: &Evidence) -> Verdict {
    let set = &*SET;
    ccsmoke::judge::judge(&set.rules, set.get(&evidence.cell.probe).unwrap(), evidence)
}

/// An event of a stream: its name and its data.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) data: Value,
}

impl Event {
    pub(super) fn new(data: Value) -> Self {
        Self { name: data["type"].as_str().unwrap_or_default().to_owned(), data }
    }

    pub(super) fn is(&self, kind: &str) -> bool {
        self.data["type"] == kind
    }

    /// Whether it brings that kind of delta.
    pub(super) fn brings(&self, kind: &str) -> bool {
        self.data["delta"]["type"] == kind
    }

    /// Whether it opens that kind of block.
    pub(super) fn opens(&self, kind: &str) -> bool {
        self.data["content_block"]["type"] == kind
    }
}

pub(super) fn response(evidence: &mut Evidence, exchange: usize) -> &mut Response {
    evidence.exchanges[exchange].response.as_mut().unwrap()
}

/// Puts another body into a response, in one arrival.
pub(super) fn set_body(response: &mut Response, bytes: impl Into<Vec<u8>>) {
    let at_us = response.arrivals.first().map_or(response.head_us, |a| a.at_us);
    response.body = Body::whole(bytes);
    response.arrivals = vec![Arrival { at_us, len: response.body.bytes.len() as u64 }];
}

pub(super) fn set_header(headers: &mut Vec<Header>, name: &str, value: &str) {
    headers.retain(|h| !h.name.eq_ignore_ascii_case(name));
    headers.push(Header { name: name.to_owned(), value: value.to_owned() });
}

/// The events of a streamed answer.
pub(super) fn events(exchange: &Exchange) -> Vec<Event> {
    let items = sse::parse(&exchange.response.as_ref().unwrap().body.bytes);
    let event = |item| match item {
        sse::Item::Event(e) => {
            Some(Event { name: e.name.unwrap_or_default(), data: serde_json::from_str(&e.data).unwrap() })
        }
        _ => None,
    };
    items.into_iter().filter_map(event).collect()
}

pub(super) fn written(events: &[Event]) -> String {
    events.iter().map(|e| format!("event: {}\ndata: {}\n\n", e.name, e.data)).collect()
}

/// Changes the events of an answer.
pub(super) fn stream(evidence: &mut Evidence, exchange: usize, change: impl FnOnce(&mut Vec<Event>)) {
    let mut all = events(&evidence.exchanges[exchange]);
    change(&mut all);
    set_body(response(evidence, exchange), written(&all));
}

/// Changes the data of those events of an answer that pass the filter.
pub(super) fn each(
    evidence: &mut Evidence,
    exchange: usize,
    which: impl Fn(&Event) -> bool,
    change: impl Fn(&mut Value),
) {
    stream(evidence, exchange, |events| events.iter_mut().filter(|e| which(e)).for_each(|e| change(&mut e.data)));
}

/// Takes out of an answer the events that pass the filter.
pub(super) fn drop_events(evidence: &mut Evidence, exchange: usize, which: impl Fn(&Event) -> bool) {
    stream(evidence, exchange, |events| events.retain(|e| !which(e)));
}

/// Takes the blocks of that type out of an answer and numbers the others anew.
pub(super) fn drop_blocks(evidence: &mut Evidence, exchange: usize, kind: &str) {
    stream(evidence, exchange, |events| {
        let gone: Vec<u64> =
            events.iter().filter(|e| e.opens(kind)).map(|e| e.data["index"].as_u64().unwrap()).collect();
        events.retain(|e| e.data["index"].as_u64().is_none_or(|i| !gone.contains(&i)));
        for event in events.iter_mut() {
            if let Some(index) = event.data["index"].as_u64() {
                event.data["index"] = (index - gone.iter().filter(|g| **g < index).count() as u64).into();
            }
        }
    });
}

/// Changes a request's body.
pub(super) fn request(evidence: &mut Evidence, exchange: usize, change: impl FnOnce(&mut Value)) {
    let body = &mut evidence.exchanges[exchange].request.body;
    let mut json = body.json().unwrap();
    change(&mut json);
    *body = Body::whole(json.to_string());
}

/// Answers with an error in the API's form.
pub(super) fn refuse(evidence: &mut Evidence, exchange: usize, status: u16, words: &str) {
    let body = json!({"type": "error", "error": {"type": "invalid_request_error", "message": words}});
    answer(evidence, exchange, status, "application/json", &body.to_string());
}

/// Answers with something else.
pub(super) fn answer(evidence: &mut Evidence, exchange: usize, status: u16, kind: &str, body: &str) {
    let response = response(evidence, exchange);
    response.status = status;
    set_header(&mut response.headers, "content-type", kind);
    set_body(response, body);
}

/// Puts a request in front of one that stands there, which is then the client's second try.
pub(super) fn asked_before(evidence: &mut Evidence, exchange: usize) {
    let copy = evidence.exchanges[exchange].clone();
    evidence.exchanges.insert(exchange, copy);
    renumber(evidence);
}

pub(super) fn renumber(evidence: &mut Evidence) {
    for (id, exchange) in evidence.exchanges.iter_mut().enumerate() {
        exchange.id = u32::try_from(id).unwrap();
    }
}

/// Nothing came back.
pub(super) fn unanswered(evidence: &mut Evidence, exchange: usize, error: &str) {
    evidence.exchanges[exchange].response = None;
    evidence.exchanges[exchange].end = End::NeverAnswered { error: error.to_owned() };
}

/// Keeps the first exchanges only.
pub(super) fn keep(evidence: &mut Evidence, count: usize) {
    evidence.exchanges.truncate(count);
}

/// Changes the lines that a launch (from 0) printed.
pub(super) fn printed(evidence: &mut Evidence, launch: usize, change: impl FnOnce(&mut Vec<Value>)) {
    let text = &mut evidence.launches[launch].process.stdout.text;
    let mut lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    change(&mut lines);
    *text = lines.iter().map(|l| format!("{l}\n")).collect();
}

/// Changes the `result` line of a launch (from 0).
pub(super) fn result(evidence: &mut Evidence, launch: usize, change: impl Fn(&mut Value)) {
    printed(evidence, launch, |lines| lines.iter_mut().filter(|l| l["type"] == "result").for_each(change));
}

/// What the client does when nothing helps: an error and exit code 1.
pub(super) fn gives_up(evidence: &mut Evidence, launch: usize, words: &str) {
    result(evidence, launch, |line| {
        line["is_error"] = true.into();
        line["result"] = words.into();
    });
    evidence.launches[launch].process.returncode = Some(1);
}

/// Replaces a text everywhere in an answer: in its events' data, as the client reads them.
pub(super) fn replace_in_answer(evidence: &mut Evidence, exchange: usize, from: &str, to: &str) {
    let text = response(evidence, exchange).body.text().into_owned();
    assert!(text.contains(from), "{from:?} is not in the answer");
    set_body(response(evidence, exchange), text.replace(from, to));
}

/// The message that a stream builds, as it would come whole.
pub(super) fn whole(events: &[Event]) -> String {
    let stream = events.iter().map(|e| (e.name.clone(), e.data.to_string())).collect::<Vec<_>>();
    let read = stream.iter().map(|(name, data)| ccsmoke::messages::StreamEvent { name, data });
    let answer = ccsmoke::messages::read_stream(read);
    json!({"type": "message", "role": "assistant", "id": answer.id, "model": answer.model, "content": answer.blocks,
        "stop_reason": answer.stop_reason, "usage": answer.end_usage})
    .to_string()
}
