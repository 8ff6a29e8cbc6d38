//! What a check works with: it sends requests, has the scripted provider play its part behind the gateway, and finds something.
//! Everything that a check sends and gets is told of in its row without its doing.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};

use super::Verdict;
use super::caller::{Ask, Came, Leave, Shown, Stopped, call};
use super::report::Seen;
use crate::case::{Call, Reply, answer_text};
use crate::compare::{Difference, Kind, compare_sides};
use crate::config::Checks;
use crate::decode::decoded;
use crate::evidence::{TargetFacts, TargetKind};
use crate::exchange::{End, Exchange, Header, header};
use crate::messages::Answer;
use crate::probe::{Turn, Vars};
use crate::provider::{Conversation, nonce};
use crate::redact::Redactor;
use crate::secret::Secret;
use crate::stand::Entry;
use crate::tap::Upstream;

/// How much of a body is shown, in characters.
const SHOWN: usize = 240;

/// The text of the scripts, as in a probe file.
const SCRIPTS: &str = include_str!("scripts.toml");

/// What the scripted provider answers, by name; in words why the built-in file is broken, which a test rules out.
static TURNS: LazyLock<Result<BTreeMap<String, Turn>, String>> = LazyLock::new(|| {
    #[derive(serde::Deserialize)]
    struct File {
        turn: Vec<Turn>,
    }
    let file: File = toml::from_str(SCRIPTS).map_err(|e| e.to_string())?;
    Ok(file.turn.into_iter().map(|turn| (turn.name.get_ref().clone(), turn)).collect())
});

/// What all checks of a run share.
pub struct Rig {
    /// What is known of the target: its name, who answers, and what it may change.
    pub target: TargetFacts,
    /// The version that it tells.
    pub gateway_version: Option<String>,
    /// The model that is asked for.
    pub model: String,
    /// All models that have to answer.
    pub models: Vec<String>,
    /// Where it is.
    pub upstream: Upstream,
    /// What it wants to be shown.
    pub credential: Option<Secret>,
    /// Whether the gateway itself has a credential to ask for; one that has none is open on purpose.
    pub is_keyed: bool,
    /// What its profile says for checks alone.
    pub settings: Checks,
    /// The running target, whose provider side is on record.
    pub entry: Arc<Entry>,
    /// When to give up a request.
    pub deadline: Duration,
    /// The same for endpoints with a slow client behind them.
    pub slow_deadline: Duration,
    /// How much is asked of the gateway.
    pub bounds: Bounds,
    /// What masks secrets in what is shown.
    pub redactor: Arc<Redactor>,
    /// When the recording began: all times count from here.
    pub began: Instant,
}

/// How much is asked of a gateway: what the client and the API ask of it, unless somebody has less time.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// How long a gateway may say nothing while its provider says nothing. Clients give up after 300 s; whoever sends pings at all
    /// does so every few seconds.
    pub silence: Duration,
    /// The largest request that the API takes, in bytes.
    pub largest_body: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { silence: Duration::from_secs(30), largest_body: 32 << 20 }
    }
}

impl Rig {
    /// Whether what crossed the gateway's other side is on record.
    pub fn both_sides(&self) -> bool {
        matches!(self.target.kind, TargetKind::Gateway | TargetKind::Translator)
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) verdict: Verdict,
    pub(super) message: String,
    /// In the place of the check's own advice.
    pub(super) advice: Option<&'static str>,
}

impl Found {
    fn new(verdict: Verdict, message: impl Into<String>) -> Self {
        Self { verdict, message: message.into(), advice: None }
    }

    pub(super) fn passed(message: impl Into<String>) -> Self {
        Self::new(Verdict::Passed, message)
    }

    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self::new(Verdict::Failed, message)
    }

    pub(super) fn not_applicable(message: impl Into<String>) -> Self {
        Self::new(Verdict::NotApplicable, message)
    }

    pub(super) fn undecided(message: impl Into<String>) -> Self {
        Self::new(Verdict::Undecided, message)
    }

    pub(super) fn advising(self, advice: &'static str) -> Self {
        Self { advice: Some(advice), ..self }
    }
}

/// A step of a check: what it is after, or what the check has come to already.
pub(super) type Step<T> = Result<T, Found>;

/// One check's own place at the rig.
#[derive(Clone)]
pub(super) struct Bench {
    pub(super) rig: Arc<Rig>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// A request with all that came of it.
pub(super) struct Asked {
    pub(super) came: Came,
    pub(super) nonce: String,
    /// What the gateway sent to its provider for it; `None` where that is not on record.
    pub(super) behind: Option<Vec<Exchange>>,
}

impl Bench {
    pub(super) fn new(rig: Arc<Rig>) -> Self {
        Self { rig, seen: Arc::default() }
    }

    /// What was sent and seen so far, in order.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A check that makes sense only where the provider's answer is known.
    pub(super) fn needs_script(&self) -> Step<()> {
        if self.rig.target.kind == TargetKind::Live {
            let words = "needs the scripted provider behind the gateway: start it from a profile (--gateway)";
            return Err(Found::not_applicable(words));
        }
        Ok(())
    }

    /// A check that makes sense only where what arrives at the provider is on record.
    pub(super) fn needs_both_sides(&self) -> Step<()> {
        self.needs_script()?;
        if self.rig.both_sides() {
            return Ok(());
        }
        Err(Found::not_applicable("there is no gateway between"))
    }

    /// A check that makes sense only where the provider speaks Anthropic Messages.
    pub(super) fn needs_pass_through(&self) -> Step<()> {
        self.needs_both_sides()?;
        if self.rig.target.kind == TargetKind::Translator {
            return Err(Found::not_applicable("the provider behind the gateway speaks another API"));
        }
        Ok(())
    }

    /// A request for a message, answered with that script where the provider is ours.
    pub(super) fn post(&self, script: &'static str) -> Step<Post<'_>> {
        let nonce = nonce().map_err(|e| Found::undecided(e.to_string()))?;
        let prompt = format!("ccsmoke check {nonce}: answer with this reference and nothing else.");
        let body = json!({
            "model": self.rig.model,
            "max_tokens": 256,
            "messages": [{"role": "user", "content": prompt}],
        });
        Ok(Post {
            bench: self,
            script,
            before: None,
            nonce,
            body,
            raw: None,
            words: String::new(),
            settle: Duration::ZERO,
            ask: Ask {
                method: "POST",
                target: "/v1/messages".to_owned(),
                headers: vec![
                    ("content-type".to_owned(), "application/json".to_owned()),
                    ("anthropic-version".to_owned(), "2023-06-01".to_owned()),
                    ("user-agent".to_owned(), concat!("ccsmoke/", env!("CARGO_PKG_VERSION")).to_owned()),
                ],
                body: Bytes::new(),
                shown: Shown::Bearer,
                leave: Leave::Never,
                deadline: self.rig.deadline,
            },
        })
    }

    /// A request without a body.
    pub(super) async fn plain(&self, method: &'static str, target: &str, shown: Shown) -> Step<Asked> {
        let headers = vec![
            ("anthropic-version".to_owned(), "2023-06-01".to_owned()),
            ("user-agent".to_owned(), concat!("ccsmoke/", env!("CARGO_PKG_VERSION")).to_owned()),
        ];
        let ask = Ask {
            method,
            target: target.to_owned(),
            headers,
            body: Bytes::new(),
            shown,
            leave: Leave::Never,
            deadline: self.rig.deadline,
        };
        self.send(&ask, String::new(), &format!("sent with {}", shown_words(shown)), Duration::ZERO).await
    }

    /// Sends it, and looks at the provider's side when that has settled.
    async fn send(&self, ask: &Ask, nonce: String, words: &str, settle: Duration) -> Step<Asked> {
        let rig = &self.rig;
        let came = call(&rig.upstream, rig.credential.as_ref(), ask, rig.began).await.map_err(Found::undecided)?;
        tokio::time::sleep(settle).await;
        let behind = if nonce.is_empty() { None } else { rig.entry.claim(&nonce, rig.began) };
        let asked = Asked { came, nonce, behind };
        let seen = self.told(ask, &asked, words);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
        Ok(asked)
    }

    /// The row's account of a request, without secrets.
    fn told(&self, ask: &Ask, asked: &Asked, words: &str) -> Seen {
        let masked = |text: &str| self.rig.redactor.text(text).into_owned();
        let came = &asked.came;
        let sent_us = came.exchange.request.head_us;
        let response = came.exchange.response.as_ref();
        let header_line = |h: &Header| masked(&format!("{}: {}", h.name, h.value));
        let millis = |us: u64| us.saturating_sub(sent_us) / 1000;
        Seen {
            request: masked(&format!("{} {}", ask.method, ask.target)),
            sent: masked(words),
            status: came.status(),
            headers: response.map_or_else(Vec::new, |r| r.headers.iter().map(header_line).collect()),
            body: masked(&cut(&asked.text())),
            body_bytes: response.map_or(0, |r| r.body.bytes.len() as u64 + r.body.dropped),
            ended: asked.ended(),
            first_byte_ms: response.and_then(|r| r.arrivals.first()).map(|a| millis(a.at_us)),
            took_ms: millis(came.exchange.ended_us),
            arrivals: response.map_or(0, |r| r.arrivals.len()),
            forwarded: asked.behind.as_ref().map(Vec::len),
        }
    }
}

/// A request for an answer that is being written.
pub(super) struct Post<'b> {
    bench: &'b Bench,
    script: &'static str,
    /// What the provider answers the first time it is asked.
    before: Option<&'static str>,
    nonce: String,
    body: Value,
    raw: Option<Bytes>,
    words: String,
    settle: Duration,
    ask: Ask,
}

impl Post<'_> {
    /// With this streaming.
    pub(super) fn stream(self, stream: bool) -> Self {
        self.with("stream", json!(stream))
    }

    /// With this top-level field.
    pub(super) fn with(mut self, key: &str, value: Value) -> Self {
        self.body[key] = value;
        self
    }

    /// With the body as this makes it; it gets the prompt's nonce.
    pub(super) fn edit(mut self, edit: impl FnOnce(&mut Value, &str)) -> Self {
        edit(&mut self.body, &self.nonce);
        self
    }

    /// With another body, which need not be JSON.
    pub(super) fn raw(mut self, body: impl Into<Bytes>) -> Self {
        self.raw = Some(body.into());
        self
    }

    /// With one more header.
    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.ask.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// To another target.
    pub(super) fn to(mut self, target: &str) -> Self {
        target.clone_into(&mut self.ask.target);
        self
    }

    /// With this credential.
    pub(super) fn shown(mut self, shown: Shown) -> Self {
        self.ask.shown = shown;
        self
    }

    /// And going away early.
    pub(super) fn leave(mut self, leave: Leave) -> Self {
        self.ask.leave = leave;
        self
    }

    /// With another deadline.
    pub(super) fn deadline(mut self, deadline: Duration) -> Self {
        self.ask.deadline = deadline;
        self
    }

    /// With this answer of the provider the first time that it is asked.
    pub(super) fn before(mut self, script: &'static str) -> Self {
        self.before = Some(script);
        self
    }

    /// And giving the gateway so much time before the provider's side is looked at.
    pub(super) fn settle(mut self, settle: Duration) -> Self {
        self.settle = settle;
        self
    }

    /// With words for the row about what makes it special.
    pub(super) fn about(mut self, words: impl Into<String>) -> Self {
        self.words = words.into();
        self
    }

    /// Sends it and awaits what comes.
    pub(super) async fn send(mut self) -> Step<Asked> {
        let rig = &self.bench.rig;
        if let Some(provider) = &rig.entry.provider {
            let scripts = TURNS.as_ref().map_err(|e| Found::undecided(e.as_str()))?;
            let script = |name: &str| {
                let turn = scripts.get(name).cloned();
                turn.ok_or_else(|| Found::undecided(format!("there is no script {name:?}")))
            };
            let mut turns = vec![script(self.script)?];
            if let Some(before) = self.before {
                turns.insert(0, Turn { times: Some(1), ..script(before)? });
            }
            let vars = Vars {
                marker: String::new(),
                nonce: self.nonce.clone(),
                workspace: String::new(),
                session_id: String::new(),
            };
            provider.register(Conversation { vars, turns });
        }
        self.ask.body = self.raw.unwrap_or_else(|| self.body.to_string().into());
        let body = cut(&String::from_utf8_lossy(&self.ask.body[..self.ask.body.len().min(SHOWN * 4)]));
        let gap = if self.words.is_empty() { "" } else { ": " };
        let words = format!("{}{gap}{body}", self.words);
        self.bench.send(&self.ask, self.nonce, &words, self.settle).await
    }
}

impl Asked {
    /// The status of the response.
    pub(super) fn status(&self) -> Option<u16> {
        self.came.status()
    }

    /// How long it took from the request to the end.
    pub(super) fn took(&self) -> Duration {
        let exchange = &self.came.exchange;
        Duration::from_micros(exchange.ended_us.saturating_sub(exchange.request.head_us))
    }

    /// A header of the response.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        header(&self.came.exchange.response.as_ref()?.headers, name)
    }

    /// The body of the response, as text.
    pub(super) fn text(&self) -> String {
        let Some(response) = &self.came.exchange.response else { return String::new() };
        let bytes = decoded(&response.headers, &response.body.bytes).unwrap_or((&*response.body.bytes).into());
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The body of the response as JSON; `Null` where it is none.
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text()).unwrap_or_default()
    }

    /// The exchange as the rules read it.
    pub(super) fn call(&self) -> Call<'_> {
        Call::read(&self.came.exchange)
    }

    /// The whole answer of the model.
    pub(super) fn answer(&self) -> Step<Answer> {
        let unreadable = match self.call().reply {
            Reply::Streamed(answer, _) | Reply::Whole(answer) if self.came.is_whole() || answer.finished => {
                return Ok(answer);
            }
            Reply::Unreadable(words) if self.came.is_whole() && !self.is_html() => Some(words),
            _ => None,
        };
        Err(Found::failed(match unreadable {
            Some(words) => format!("status 200 with {words}: {:?}", cut(&self.text())),
            None => self.what_came(),
        }))
    }

    /// What the gateway changed between its two sides.
    pub(super) fn differences(&self, rig: &Rig) -> Vec<Difference> {
        let Some(behind) = &self.behind else { return Vec::new() };
        compare_sides(&[self.call()], behind, &rig.target, &self.nonce).differences
    }

    /// Fails when the gateway changed one of these.
    pub(super) fn unchanged(&self, rig: &Rig, kinds: &[Kind]) -> Step<()> {
        let told: Vec<String> = self
            .differences(rig)
            .into_iter()
            .filter(|difference| kinds.contains(&difference.kind))
            .map(|difference| difference.message)
            .collect();
        if told.is_empty() { Ok(()) } else { Err(Found::failed(told.join("; "))) }
    }

    /// Whether the answer is an HTML page.
    pub(super) fn is_html(&self) -> bool {
        let typed = self.header("content-type").is_some_and(|kind| kind.to_ascii_lowercase().contains("text/html"));
        typed || self.text().trim_start().to_ascii_lowercase().starts_with("<!doctype html")
    }

    /// How it ended, where that was not as it should.
    pub(super) fn ended(&self) -> Option<String> {
        let bytes = self.came.exchange.response.as_ref().map_or(0, |r| r.body.bytes.len() as u64 + r.body.dropped);
        match (self.came.stopped, &self.came.exchange.end) {
            (Some(Stopped::Deadline(after)), _) if self.came.exchange.response.is_some() => {
                Some(format!("the answer did not end within {} s ({bytes} bytes)", after.as_secs_f64()))
            }
            (Some(Stopped::Deadline(after)), _) => Some(format!("no answer within {} s", after.as_secs_f64())),
            (Some(Stopped::TooMuch), _) => Some(format!("the answer does not end: {bytes} bytes and more")),
            (Some(Stopped::Left), _) => Some("we left, as planned".to_owned()),
            (None, End::Complete) => None,
            (None, End::ClientLeft) => Some("the answer could not be read to its end".to_owned()),
            (None, End::UpstreamBroke { error } | End::NeverAnswered { error }) => Some(error.clone()),
            (None, End::Refused { reason }) => Some(format!("refused by ccsmoke's own tap: {reason}")),
        }
    }

    /// What came, in one line: for an answer that is not what was asked for.
    pub(super) fn what_came(&self) -> String {
        let Some(status) = self.status() else {
            return self.ended().unwrap_or_else(|| "no answer".to_owned());
        };
        if let Some(place) = self.header("location").filter(|_| (300..400).contains(&status)) {
            return format!("status {status}, a redirect to {place}");
        }
        if self.is_html() {
            let title = title(&self.text()).map_or_else(String::new, |title| format!(" ({title:?})"));
            return format!("status {status} with an HTML page{title}, not an API's answer");
        }
        let words = self.call().error_words();
        let end = self.ended().map_or_else(String::new, |end| format!("; {end}"));
        match (status, words.is_empty()) {
            (200, _) => format!("status 200 with {:?}{end}", cut(&self.text())),
            (_, true) => format!("status {status} with an empty body{end}"),
            (_, false) => format!("status {status}: {}{end}", cut(&words)),
        }
    }

    /// Fails unless the response has one of these statuses.
    pub(super) fn has_status(&self, wanted: impl Fn(u16) -> bool) -> Step<()> {
        if self.status().is_some_and(wanted) { Ok(()) } else { Err(Found::failed(self.what_came())) }
    }

    /// Fails unless an error came in the envelope of the Messages API.
    pub(super) fn has_envelope(&self) -> Step<()> {
        if self.call().has_error_envelope() {
            return Ok(());
        }
        Err(Found::failed(format!("{}, not in Anthropic's envelope: {:?}", self.what_came(), cut(&self.text()))))
    }

    /// The text of an answer, which has to hold the prompt's reference where the answer is scripted.
    pub(super) fn said(&self, answer: &Answer, rig: &Rig) -> Step<String> {
        let text = answer_text(answer);
        if text.trim().is_empty() {
            return Err(Found::failed("the answer has no text"));
        }
        if rig.target.kind != TargetKind::Live && !text.contains(&self.nonce) {
            return Err(Found::failed(format!("the answer is not the provider's: {:?}", cut(&text))));
        }
        Ok(text)
    }
}

fn shown_words(shown: Shown) -> &'static str {
    match shown {
        Shown::Bearer => "Authorization: Bearer",
        Shown::ApiKey => "x-api-key",
        Shown::Wrong => "a wrong key",
        Shown::Nothing => "no credential",
    }
}

/// The beginning of a text, in one line.
pub(super) fn cut(text: &str) -> String {
    let mut line: String = text.chars().take(SHOWN).map(|c| if c == '\r' { ' ' } else { c }).collect();
    if text.chars().nth(SHOWN).is_some() {
        line.push('…');
    }
    line
}

/// The title of an HTML page.
fn title(page: &str) -> Option<String> {
    let (_, rest) = page.split_once("<title>")?;
    Some(cut(rest.split_once("</title>")?.0.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_scripts_are_well_formed() {
        assert!(TURNS.as_ref().unwrap().len() > 5);
    }

    #[test]
    fn the_title_of_a_page_is_found_whatever_stands_around_it() {
        assert_eq!(title("<html><title> 502 Bad Gateway </title>").as_deref(), Some("502 Bad Gateway"));
        assert_eq!(title("<title>never ends"), None);
    }
}
