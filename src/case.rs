//! What the rules look at: one cell's evidence, read once into calls of the model, tool calls with their results, and the
//! client's transcript. Derived from evidence alone; nothing here judges.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use crate::capability::Capability;
use crate::compare::{Comparison, Difference, compare};
use crate::decode::decoded;
use crate::evidence::{Evidence, LaunchFacts, ProviderRecord, TargetKind};
use crate::exchange::{End, Exchange, header};
use crate::finding::Suspect;
use crate::messages::{Answer, FaultKind, StreamEvent, read_message, read_stream};
use crate::probe::Probe;
use crate::sse;
use crate::transcript::{Transcript, content_text};
use crate::verdict::TextVerdict;

/// One cell as the rules see it.
#[derive(Debug)]
pub struct Case<'a> {
    /// What was asked.
    pub probe: &'a Probe,
    /// The facts.
    pub evidence: &'a Evidence,
    /// What the client printed.
    pub transcript: Transcript,
    /// Inference requests that the tap forwarded, in order of arrival.
    pub calls: Vec<Call<'a>>,
    /// What the text alone says.
    pub text: TextVerdict,
    /// What the gateway changed between its two sides.
    pub differences: Vec<Difference>,
    /// The client's exchanges whose request the provider itself did not answer to the end, where its side was recorded.
    failed_behind: BTreeSet<u32>,
}

/// One inference request with what came back.
#[derive(Debug)]
pub struct Call<'a> {
    /// The recorded exchange.
    pub exchange: &'a Exchange,
    /// The request's body; `Null` when it is not JSON.
    pub request: Value,
    /// What a response with status 200 said.
    pub reply: Reply,
    /// The launch that sent it, from 1.
    pub launch: usize,
    /// Whether a sub-agent sent it.
    pub by_agent: bool,
    /// Whether ccsmoke sent it itself.
    pub by_probe: bool,
}

/// What a response with status 200 said.
#[derive(Debug)]
pub enum Reply {
    /// There was no response, or another status.
    None,
    /// An answer as an event stream.
    Streamed(Answer, Vec<StreamFault>),
    /// An answer as one JSON message.
    Whole(Answer),
    /// Something else; in words what.
    Unreadable(String),
}

/// Something that the stream's bytes broke below the events: a line that clients drop or repair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamFault {
    /// What, in words.
    pub words: String,
    /// Where in the body, in bytes.
    pub offset: u64,
}

/// A tool call with its result.
#[derive(Debug, Clone, Copy)]
pub struct ToolCall<'a> {
    /// The call of the model that asked for it: index into [`Case::calls`].
    pub call: usize,
    /// The `tool_use` block.
    pub block: &'a Value,
    /// The `tool_result` block that answers it, with the index of the call that carried it.
    pub result: Option<(usize, &'a Value)>,
}

impl<'a> Case<'a> {
    /// Reads the evidence.
    pub fn read(probe: &'a Probe, evidence: &'a Evidence, text: TextVerdict) -> Self {
        let offers_agent = probe.tools.iter().any(|t| t == "Agent");
        let calls = read_calls(evidence, offers_agent);
        let Comparison { differences, failed_behind } = compare(evidence, &calls);
        let transcript = Transcript::read(&evidence.launches);
        Self { probe, evidence, transcript, calls, text, differences, failed_behind }
    }

    /// Whether a call went wrong because the probe arranges it: it is sent to be refused, or the script lets the provider fail. What
    /// the client then does is what the probe is about, and what the gateway made of the failure is compared.
    pub fn is_arranged(&self, call: &Call<'_>) -> bool {
        let failed_there = match &self.evidence.behind {
            Some(_) => self.failed_behind.contains(&call.exchange.id),
            None => self.evidence.cell.target.kind == TargetKind::Embedded,
        };
        let by_the_rules = |r: &ProviderRecord| r.refusal.as_deref() == Some(&*call.error_words());
        let broke_a_rule = || self.evidence.provider.iter().flatten().any(by_the_rules);
        let failed = failed_there && !call.is_whole() && !broke_a_rule();
        (call.by_probe && call.status().is_some_and(|s| s >= 400))
            || (self.scripted() && self.probe.makes_trouble() && failed)
    }

    /// Whether the client had to cope with failures, and all of them were arranged.
    pub fn trouble_is_arranged(&self) -> bool {
        let mut failed = self.launch_calls().filter(|c| !c.is_whole()).peekable();
        failed.peek().is_some() && failed.all(|c| self.is_arranged(c))
    }

    /// Whether the probe is about counting tokens, so that a provider without the endpoint fails it.
    pub fn wants_counts(&self) -> bool {
        self.probe.expect.counts.is_some() || self.probe.capabilities.get_ref().contains(&Capability::CountTokens)
    }

    /// Whether the probe is about the list of models.
    pub fn wants_models(&self) -> bool {
        self.probe.capabilities.get_ref().contains(&Capability::ModelDiscovery)
    }

    /// The exchange that an exchange of the client became behind the gateway: of the same path, within its time, with this body.
    /// None where the request does not hold the cell's nonce: behind the gateway it is then nobody's, and what is beside it is
    /// another one.
    pub fn behind(&self, near: &Exchange) -> Option<&Exchange> {
        if !near.request.body.text().contains(&self.evidence.cell.vars.nonce) {
            return None;
        }
        let same = |far: &&Exchange| {
            far.request.method == near.request.method
                && far.request.path().ends_with(near.request.path())
                && (near.request.head_us..=near.ended_us).contains(&far.request.head_us)
        };
        let all = || self.evidence.behind.iter().flatten().filter(same);
        all().find(|far| far.request.body == near.request.body).or_else(|| all().next())
    }

    /// Whom a defect of the wire is to be laid to: whoever stands at the other end of the client tap.
    pub fn far(&self) -> Suspect {
        match self.evidence.cell.target.kind {
            TargetKind::Embedded => Suspect::Provider,
            TargetKind::Gateway | TargetKind::Translator | TargetKind::Live => Suspect::Gateway,
        }
    }

    /// Whom a well-formed but wrong answer is to be laid to: the script, or the model.
    pub fn author(&self) -> Suspect {
        match self.evidence.cell.target.kind {
            TargetKind::Embedded => Suspect::Provider,
            // What the script says is known to be right: the control shows it.
            TargetKind::Gateway | TargetKind::Translator => Suspect::Gateway,
            TargetKind::Live => Suspect::Model,
        }
    }

    /// Whether the provider was scripted, so that what it answers is no matter of chance.
    pub fn scripted(&self) -> bool {
        self.evidence.cell.target.kind != TargetKind::Live
    }

    /// Whether the target's profile declares that it may change this.
    pub fn may_change(&self, rewrite: &str) -> bool {
        self.evidence.cell.target.rewrites.iter().any(|r| r == rewrite)
    }

    /// The cost that the client reports, in US dollars. It is the session's total, so of several results the largest counts.
    pub fn cost_usd(&self) -> Option<f64> {
        self.transcript.results().filter_map(|r| r.value["total_cost_usd"].as_f64()).reduce(f64::max)
    }

    /// The cell's marker.
    pub fn marker(&self) -> &str {
        &self.evidence.cell.vars.marker
    }

    /// The calls of the main conversation.
    pub fn main_calls(&self) -> impl DoubleEndedIterator<Item = &Call<'a>> {
        self.calls.iter().filter(|c| !c.by_agent)
    }

    /// The calls that a client sent.
    pub fn launch_calls(&self) -> impl DoubleEndedIterator<Item = &Call<'a>> {
        self.calls.iter().filter(|c| !c.by_probe)
    }

    /// Every answer, with its call.
    pub fn answers(&self) -> impl DoubleEndedIterator<Item = (&Call<'a>, &Answer)> {
        self.calls.iter().filter_map(|c| Some((c, c.answer()?)))
    }

    /// The tool calls that the model asked for, with what was sent back for them.
    pub fn tool_calls(&self) -> Vec<ToolCall<'_>> {
        let mut out = Vec::new();
        for (i, call) in self.calls.iter().enumerate() {
            let Some(answer) = call.answer() else { continue };
            for block in answer.blocks_of("tool_use") {
                let result = self.calls.iter().enumerate().skip(i + 1).find_map(|(j, later)| {
                    tool_results(&later.request).find(|r| r["tool_use_id"] == block["id"]).map(|r| (j, r))
                });
                out.push(ToolCall { call: i, block, result });
            }
        }
        out
    }

    /// The launch of that number, from 1.
    pub fn launch(&self, number: usize) -> Option<&LaunchFacts> {
        self.evidence.launches.get(number.checked_sub(1)?)
    }

    /// The last call before the end of that launch.
    pub fn last_call_by(&self, launch: usize) -> Option<&Call<'a>> {
        self.calls.iter().rfind(|c| c.launch <= launch)
    }

    /// Whether the call's launch was ended from outside, so that what is open then says nothing about who answers.
    pub fn was_ended(&self, call: &Call<'_>) -> bool {
        self.launch(call.launch).is_some_and(|l| l.process.ended_by.is_some() || l.process.signal.is_some())
    }

    /// Whether the call was still without an answer when its launch was ended from outside.
    pub fn was_waiting(&self, call: &Call<'_>) -> bool {
        let over = self.launch(call.launch).map(|l| l.started_us.saturating_add(l.duration_us));
        let open = call.was_left() || over.is_some_and(|over| call.exchange.ended_us >= over);
        self.was_ended(call) && open
    }

    /// Whether `found` is the argument that was `wanted`, also when it is a path relative to the workspace.
    pub fn same_argument(&self, found: &str, wanted: &str) -> bool {
        found == wanted || Path::new(&self.evidence.cell.vars.workspace).join(found) == Path::new(wanted)
    }
}

impl<'a> Call<'a> {
    /// A call that nothing is known of but its exchange.
    pub fn read(exchange: &'a Exchange) -> Self {
        let request = exchange.request.body.json().unwrap_or(Value::Null);
        Self { exchange, reply: read_reply(exchange, &request), request, launch: 1, by_agent: false, by_probe: true }
    }
}

impl Call<'_> {
    /// How the call is named in findings.
    pub fn cite(&self) -> String {
        format!("exchange {}", self.exchange.id)
    }

    /// How an event of the call's answer is named in findings.
    pub fn cite_event(&self, event: usize) -> String {
        format!("exchange {} event {event}", self.exchange.id)
    }

    /// The answer, streamed or whole.
    pub fn answer(&self) -> Option<&Answer> {
        match &self.reply {
            Reply::Streamed(answer, _) | Reply::Whole(answer) => Some(answer),
            Reply::None | Reply::Unreadable(_) => None,
        }
    }

    /// The status of the response.
    pub fn status(&self) -> Option<u16> {
        self.exchange.response.as_ref().map(|r| r.status)
    }

    /// The words of an error response: the envelope's message, or the body's beginning.
    pub fn error_words(&self) -> String {
        let body = self.error_body();
        let json: Value = serde_json::from_slice(&body).unwrap_or_default();
        let words = json["error"]["message"].as_str().map(str::to_owned);
        words.unwrap_or_else(|| String::from_utf8_lossy(&body).chars().take(200).collect())
    }

    /// Whether an error response has the form of the API's errors.
    pub fn has_error_envelope(&self) -> bool {
        let json: Value = serde_json::from_slice(&self.error_body()).unwrap_or_default();
        json["type"] == "error" && json["error"]["type"].is_string() && json["error"]["message"].is_string()
    }

    fn error_body(&self) -> Cow<'_, [u8]> {
        let Some(response) = &self.exchange.response else { return Cow::Borrowed(&[]) };
        decoded(&response.headers, &response.body.bytes).unwrap_or(Cow::Borrowed(&response.body.bytes))
    }

    /// Whether an answer came to its end.
    pub fn is_whole(&self) -> bool {
        self.answer().is_some_and(|a| a.finished)
    }

    /// Whether the client left before it had all that it was to be told. A client may leave upon the event that ends an answer or
    /// says why there is none: what its connection would still have brought is but the end of the framing.
    pub fn was_left(&self) -> bool {
        let told = match &self.reply {
            Reply::Streamed(answer, _) | Reply::Whole(answer) => answer.finished || answer.error.is_some(),
            Reply::None => self.has_error_envelope(),
            Reply::Unreadable(_) => false,
        };
        self.exchange.end == End::ClientLeft && !told
    }

    /// Whether the response was complete by its own framing.
    pub fn is_complete(&self) -> bool {
        self.exchange.end == End::Complete
    }

    /// Whether thinking was asked for.
    pub fn asks_for_thinking(&self) -> bool {
        matches!(self.request["thinking"]["type"].as_str(), Some("enabled" | "adaptive"))
    }
}

/// The inference requests that the tap forwarded, in order of arrival. `offers_agent` says whether the probe offers sub-agents.
pub fn read_calls(evidence: &Evidence, offers_agent: bool) -> Vec<Call<'_>> {
    let forwarded = |e: &&Exchange| e.request.is_inference() && !matches!(e.end, End::Refused { .. });
    let calls = evidence.exchanges.iter().filter(forwarded).map(|exchange| {
        let call = Call::read(exchange);
        let by_agent = header(&exchange.request.headers, "x-claude-code-agent-id").is_some()
            || (offers_agent && offers_any(&call.request) && !offers(&call.request, "Agent"));
        let launch = evidence.launches.iter().filter(|l| l.started_us <= exchange.request.head_us).count();
        let by_probe = evidence.sends.iter().any(|s| s.exchange == Some(exchange.id));
        Call { launch: launch.max(1), by_agent, by_probe, ..call }
    });
    calls.collect()
}

/// Whether a request offers a tool of that name.
pub fn offers(request: &Value, tool: &str) -> bool {
    request["tools"].as_array().is_some_and(|tools| tools.iter().any(|t| t["name"] == tool))
}

/// Whether a request offers any tool. The client's side requests (titles, summaries of a line) offer none.
fn offers_any(request: &Value) -> bool {
    request["tools"].as_array().is_some_and(|tools| !tools.is_empty())
}

/// The `tool_result` blocks of a request's conversation.
pub fn tool_results(request: &Value) -> impl Iterator<Item = &Value> {
    content_blocks(request).filter(|b| b["type"] == "tool_result")
}

/// The content blocks of a request's conversation, of all roles.
pub fn content_blocks(request: &Value) -> impl Iterator<Item = &Value> {
    let messages = request["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    messages.iter().flat_map(|m| m["content"].as_array().map(Vec::as_slice).unwrap_or_default())
}

/// The texts of an answer, joined.
pub fn answer_text(answer: &Answer) -> String {
    answer.blocks_of("text").filter_map(|b| b["text"].as_str()).collect()
}

/// The text of a `tool_result` block.
pub fn result_text(block: &Value) -> String {
    content_text(&block["content"])
}

fn read_reply(exchange: &Exchange, request: &Value) -> Reply {
    let Some(response) = exchange.response.as_ref().filter(|r| r.status == 200) else { return Reply::None };
    let bytes = match decoded(&response.headers, &response.body.bytes) {
        Ok(bytes) => bytes,
        Err(words) => return Reply::Unreadable(words),
    };
    let kind = header(&response.headers, "content-type").unwrap_or("none");
    if bytes.is_empty() {
        return Reply::Unreadable(format!("an empty body (content-type {kind})"));
    }
    let json = serde_json::from_slice::<Value>(&bytes);
    if json.is_err() {
        let items = sse::parse(&bytes);
        // A client that asked for a stream reads one, whatever the response says that it is.
        if items.iter().any(|i| matches!(i, sse::Item::Event(_)))
            && (response.is_event_stream() || request["stream"] == true)
        {
            return read_events(&items, response.body.dropped > 0);
        }
    }
    match json {
        Ok(message) if message["type"] == "message" => Reply::Whole(read_message(&message)),
        Ok(_) => Reply::Unreadable("a JSON body that is not a message".to_owned()),
        Err(_) => Reply::Unreadable(format!("a body that is neither an event stream nor JSON (content-type {kind})")),
    }
}

/// Follows the events. The end of a body that was not kept whole says nothing.
fn read_events(items: &[sse::Item], cut_by_recorder: bool) -> Reply {
    let events = items.iter().filter_map(|item| match item {
        sse::Item::Event(e) => Some(StreamEvent { name: e.name.as_deref().unwrap_or_default(), data: &e.data }),
        _ => None,
    });
    let mut answer = read_stream(events);
    let mut faults: Vec<StreamFault> = items.iter().filter_map(stream_fault).collect();
    if cut_by_recorder {
        answer.faults.retain(|f| f.kind != FaultKind::Cut);
        faults.clear();
    }
    Reply::Streamed(answer, faults)
}

/// What clients can lose content by. Unknown fields, byte order marks and the like are harmless variations.
fn stream_fault(item: &sse::Item) -> Option<StreamFault> {
    let sse::Item::Fault { kind, span } = item else { return None };
    let words = match kind {
        sse::FaultKind::InvalidUtf8 { sequences } => format!("{sequences} byte sequences are not UTF-8"),
        sse::FaultKind::LineTooLong | sse::FaultKind::EventTooLarge => "an event is too large to be read".to_owned(),
        sse::FaultKind::Unterminated { name, .. } => {
            format!("the stream ends inside an event ({})", name.as_deref().unwrap_or("of no type yet"))
        }
        _ => return None,
    };
    Some(StreamFault { words, offset: span.start })
}
