//! The comparison of a gateway's two sides, on evidence made for the purpose: one exchange of the client and what the
//! gateway made of it, changed in one place.

mod cases;
mod pairing;
mod properties;
pub(crate) mod translated;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use ccsmoke::evidence::{CellFacts, EVIDENCE_VERSION, Evidence, LogFacts, TapFacts, TargetFacts, TargetKind};
use ccsmoke::exchange::{Arrival, Body, End, Exchange, Header, Request, Response};
use ccsmoke::finding::{Finding, Suspect};
use ccsmoke::judge::judge;
use ccsmoke::probe::{Probe, Vars};
use ccsmoke::text_rules::TextRules;
use serde_json::{Value, json};

pub(super) const NONCE: &str = "ref-0123456789abcdef";

static PROBE: LazyLock<Probe> = LazyLock::new(|| Probe::read(&probes().join("usage_truth.toml")).unwrap());

/// One that is about text alone.
static TEXT_PROBE: LazyLock<Probe> = LazyLock::new(|| Probe::read(&probes().join("basic_text.toml")).unwrap());

static THINKING_PROBE: LazyLock<Probe> = LazyLock::new(|| Probe::read(&probes().join("thinking.toml")).unwrap());

static TEXT_RULES: LazyLock<TextRules> = LazyLock::new(|| TextRules::read(&probes().join("rules.toml")).unwrap());

/// The codes of the rules that compare the two sides, from the table itself.
pub(crate) static CODES: LazyLock<BTreeSet<String>> = LazyLock::new(|| {
    let table = include_str!("../../../src/rules/table.rs");
    let rules = table.split("    Rule {").filter(|rule| rule.contains("both_sides::"));
    rules.map(|rule| rule.split('"').nth(1).unwrap().to_owned()).collect()
});

fn probes() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("probes")
}

/// When the client's first exchange begins, in microseconds.
const START: u64 = 1_000_000;
/// How much later the request is at the provider, and the answer at the client.
const HOP: u64 = 1_000;

/// What one side saw of an exchange.
#[derive(Clone)]
pub(crate) struct Side {
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    status: u16,
    answer_headers: Vec<(String, String)>,
    answer: Vec<u8>,
    /// When the head of the answer came, after the exchange's begin.
    head: u64,
    /// When each piece of the answer came, after the exchange's begin; pieces are equal in length.
    pieces: Vec<u64>,
    end: End,
    answered: bool,
}

/// One request of the client and what the gateway made of it.
#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) near: Side,
    pub(crate) far: Side,
    pub(super) kind: TargetKind,
    pub(crate) rewrites: Vec<String>,
}

impl Side {
    fn request(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Changes the request's body.
    pub(crate) fn edit(&mut self, edit: impl FnOnce(&mut Value)) {
        let mut body = self.request();
        edit(&mut body);
        self.body = body.to_string().into_bytes();
    }

    fn set(&mut self, pointer: &str, value: Value) {
        self.edit(|body| *body.pointer_mut(pointer).unwrap() = value);
    }

    fn remove(&mut self, field: &str) {
        self.edit(|body| drop(body.as_object_mut().unwrap().remove(field)));
    }

    /// Sets a header of the request, or takes it away.
    fn header(&mut self, name: &str, value: Option<&str>) {
        self.headers.retain(|(n, _)| n != name);
        self.headers.extend(value.map(|v| (name.to_owned(), v.to_owned())));
    }

    /// Answers with a stream of this message.
    pub(crate) fn says(&mut self, message: &Value) {
        self.answer = stream(message).into_bytes();
    }

    /// Answers with an error.
    pub(crate) fn refuses(&mut self, status: u16, body: &Value, headers: &[(&str, &str)]) {
        self.status = status;
        self.answer = body.to_string().into_bytes();
        self.answer_headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        self.answer_headers.extend(headers.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
    }

    /// The answer breaks off behind this text.
    fn breaks_behind(&mut self, text: &str, end: End) {
        let whole = String::from_utf8(self.answer.clone()).unwrap();
        let at = whole.find(text).unwrap() + text.len();
        self.answer = whole.as_bytes()[..at].to_vec();
        self.end = end;
    }

    fn exchange(&self, id: u32, at: u64) -> Exchange {
        let fields = |list: &[(String, String)]| {
            list.iter().map(|(name, value)| Header { name: name.clone(), value: value.clone() }).collect::<Vec<_>>()
        };
        let request = Request {
            method: "POST".to_owned(),
            target: self.target.clone(),
            headers: fields(&self.headers),
            body: Body::whole(self.body.clone()),
            head_us: at,
            body_us: at,
        };
        let count = self.pieces.len().max(1);
        let piece = self.answer.len().div_ceil(count);
        let mut left = self.answer.len();
        let mut arrivals = Vec::new();
        for after in &self.pieces {
            let len = piece.min(left);
            left -= len;
            arrivals.push(Arrival { at_us: at + after, len: len as u64 });
        }
        let ended_us = at + self.pieces.last().copied().unwrap_or(0) + HOP;
        let response = self.answered.then(|| Response {
            status: self.status,
            headers: fields(&self.answer_headers),
            body: Body::whole(self.answer.clone()),
            head_us: at + self.head,
            arrivals,
        });
        Exchange { id, request, response, end: self.end.clone(), ended_us }
    }
}

impl Scene {
    /// A gateway that passes everything on as it is.
    pub(crate) fn through() -> Self {
        let headers = [
            ("anthropic-version", "2023-06-01"),
            ("anthropic-beta", "claude-code-20250219,effort-2025-11-24"),
            ("anthropic-probe", "1"),
            ("x-app", "cli"),
        ];
        let owned = |list: &[(&str, &str)]| list.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        let side = Side {
            target: "/v1/messages?beta=true".to_owned(),
            headers: owned(&headers),
            body: request().to_string().into_bytes(),
            status: 200,
            answer_headers: owned(&[("content-type", "text/event-stream"), ("request-id", "req_1")]),
            answer: stream(&message()).into_bytes(),
            head: 0,
            pieces: vec![10_000, 20_000, 30_000],
            end: End::Complete,
            answered: true,
        };
        Self { near: side.clone(), far: side, kind: TargetKind::Gateway, rewrites: Vec::new() }
    }

    /// Allows a rewrite.
    pub(super) fn allow(&mut self, rewrite: &str) {
        self.rewrites.push(rewrite.to_owned());
    }

    /// Changes both sides alike.
    fn both(&mut self, change: impl Fn(&mut Side)) {
        change(&mut self.near);
        change(&mut self.far);
    }

    pub(crate) fn evidence(&self) -> Evidence {
        let mut near = self.near.exchange(0, START);
        let far = self.far.exchange(0, START + HOP);
        if near.end != End::ClientLeft {
            near.ended_us = near.ended_us.max(far.ended_us + HOP);
        }
        let mut evidence = evidence(vec![near], Some(vec![far]), self.rewrites.clone());
        evidence.cell.target.kind = self.kind;
        evidence
    }

    pub(super) fn findings(&self) -> Vec<Finding> {
        findings(&self.evidence())
    }

    pub(super) fn codes(&self) -> BTreeSet<String> {
        self.findings().into_iter().map(|f| f.code).collect()
    }
}

/// A conversation with everything in it that a gateway can break.
pub(super) fn request() -> Value {
    json!({
        "model": "claude-sonnet-5-5",
        "max_tokens": 32000,
        "stream": true,
        "metadata": { "user_id": "u" },
        "thinking": { "type": "adaptive" },
        "output_config": { "effort": "high" },
        "context_management": { "edits": [{ "type": "clear_thinking", "keep": "all" }] },
        "system": [
            { "type": "text", "text": "x-anthropic-billing-header: cc_version=2;" },
            { "type": "text", "text": "You are an agent.", "cache_control": { "type": "ephemeral" } },
        ],
        "tools": [{
            "name": "Read",
            "description": "reads files",
            "input_schema": {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "type": "object",
                "properties": { "file_path": { "type": "string" } },
                "required": ["file_path"],
            },
        }],
        "messages": [
            { "role": "user", "content": [{ "type": "text", "text": format!("Read the file. {NONCE}") }] },
            { "role": "system", "content": [{ "type": "text", "text": "Mind the date." }] },
            { "role": "assistant", "content": [
                { "type": "thinking", "thinking": "I should read.", "signature": "c2ln" },
                { "type": "text", "text": "I will read it." },
                { "type": "tool_use", "id": "toolu_1", "name": "Read", "input": { "file_path": "/w/a.txt" } },
            ] },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "toolu_1", "content": [
                    { "type": "text", "text": "1\tmarker" },
                    { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo=" } },
                ] },
                { "type": "text", "text": "Go on." },
            ] },
        ],
    })
}

/// An answer with everything in it that a gateway can break.
pub(super) fn message() -> Value {
    json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-5-5",
        "content": [
            { "type": "thinking", "thinking": "One more file.", "signature": "c2lnMg==" },
            { "type": "text", "text": "And another one." },
            { "type": "tool_use", "id": "toolu_2", "name": "Read", "input": { "file_path": "/w/b.txt" } },
        ],
        "stop_reason": "tool_use",
        "usage": {
            "input_tokens": 300, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 10, "output_tokens": 42,
        },
    })
}

/// The stream of a message.
pub(super) fn stream(message: &Value) -> String {
    let mut events = Vec::new();
    let mut event = |kind: &str, mut data: Value| {
        data["type"] = kind.into();
        events.push(format!("event: {kind}\ndata: {data}\n\n"));
    };
    let mut start = message.clone();
    start["content"] = json!([]);
    start["stop_reason"] = Value::Null;
    start["usage"]["output_tokens"] = json!(1);
    event("message_start", json!({ "message": start }));
    event("ping", json!({}));
    for (index, block) in message["content"].as_array().unwrap().iter().enumerate() {
        let mut opened = block.clone();
        let mut deltas = Vec::new();
        for (key, delta) in [("thinking", "thinking_delta"), ("text", "text_delta"), ("signature", "signature_delta")] {
            if let Some(text) = block[key].as_str() {
                opened[key] = json!("");
                deltas.push(json!({ "type": delta, key: text }));
            }
        }
        if block["input"].is_object() {
            opened["input"] = json!({});
            deltas.push(json!({ "type": "input_json_delta", "partial_json": block["input"].to_string() }));
        }
        event("content_block_start", json!({ "index": index, "content_block": opened }));
        for delta in deltas {
            event("content_block_delta", json!({ "index": index, "delta": delta }));
        }
        event("content_block_stop", json!({ "index": index }));
    }
    let usage = json!({ "output_tokens": message["usage"]["output_tokens"] });
    event("message_delta", json!({ "delta": { "stop_reason": message["stop_reason"] }, "usage": usage }));
    event("message_stop", json!({}));
    events.concat()
}

pub(super) fn evidence(near: Vec<Exchange>, behind: Option<Vec<Exchange>>, rewrites: Vec<String>) -> Evidence {
    let target =
        TargetFacts { name: "gateway".to_owned(), kind: TargetKind::Gateway, rewrites, credential_is_given: false };
    let vars = Vars {
        marker: "FCC_X_1A2B3C4D".to_owned(),
        nonce: NONCE.to_owned(),
        workspace: "/w".to_owned(),
        session_id: "s".to_owned(),
    };
    Evidence {
        evidence_version: EVIDENCE_VERSION,
        cell: CellFacts {
            probe: "basic_text".to_owned(),
            target,
            model: "sonnet".to_owned(),
            full_model: "gateway/sonnet".to_owned(),
            cli_version: "2.1.329".to_owned(),
            vars,
        },
        launches: Vec::new(),
        sends: Vec::new(),
        config: Vec::new(),
        exchanges: near,
        tap: TapFacts { max_requests: 50, runaway: false },
        behind,
        gateway: None,
        provider: None,
        log: LogFacts::default(),
        workspace: Vec::new(),
    }
}

/// What the judge finds between the two sides.
pub(super) fn findings(evidence: &Evidence) -> Vec<Finding> {
    findings_of(&PROBE, evidence)
}

fn findings_of(probe: &Probe, evidence: &Evidence) -> Vec<Finding> {
    let mut found = judge(&TEXT_RULES, probe, evidence).findings;
    found.retain(|f| CODES.contains(&f.code));
    assert!(found.iter().all(|f| f.suspect == Suspect::Gateway && !f.cites.is_empty()), "{found:?}");
    found
}

#[test]
fn a_gateway_that_changes_nothing_is_found_nothing_of() {
    assert_eq!(Scene::through().findings(), []);
}

#[test]
fn without_a_tap_behind_the_gateway_nothing_is_compared() {
    let mut scene = Scene::through();
    scene.far.remove("tools");
    let mut evidence = scene.evidence();
    assert_eq!(findings(&evidence).len(), 1);
    evidence.behind = None;
    assert_eq!(findings(&evidence), []);
}

#[test]
fn a_finding_names_the_place_in_both_exchanges_and_what_was_sent_and_arrived() {
    let mut scene = Scene::through();
    scene.far.set("/thinking/type", json!("enabled"));
    let found = scene.findings();
    assert_eq!(found[0].message, r#"/thinking/type: sent "adaptive", arrived "enabled""#);
    assert_eq!(found[0].cites, ["exchange 0 request:/thinking/type", "behind 0 request:/thinking/type"]);
}

#[test]
fn a_request_in_which_everything_differs_is_told_of_in_bounds() {
    let mut scene = Scene::through();
    let many = |word: &str| (0..500).map(|i| (format!("k{i}"), json!(word.repeat(300)))).collect::<Value>();
    scene.near.edit(|body| body["x"] = many("a"));
    scene.far.edit(|body| body["x"] = many("b"));
    let found = scene.findings();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].message.matches("arrived").count(), 20);
    assert!(found[0].message.ends_with("; and 480 places more"), "{}", found[0].message);
    assert!(found[0].message.len() < 6000);
}
