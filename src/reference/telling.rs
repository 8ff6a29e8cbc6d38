//! What the reference gateway tells of itself: health, counters and a record of requests; correct, or wrong in one way.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde_json::{Value, json};

use super::message::Whole;
use crate::config::Price;
use crate::messages::{StreamEvent, read_message, read_stream};
use crate::sse;

/// Where the gateway tells of its health.
pub const HEALTH_PATH: &str = "/_ccsmoke/health";

/// Where its counters stand, as JSON.
pub const METRICS_PATH: &str = "/_ccsmoke/metrics";

/// The same as Prometheus text.
pub const PROMETHEUS_PATH: &str = "/_ccsmoke/metrics.txt";

/// Where its requests are written down.
pub const AUDIT_PATH: &str = "/_ccsmoke/audit";

/// How many requests are remembered one by one.
const REMEMBERED: usize = 200;

/// How much of an answer is kept to read its counts from, in bytes.
const MOST_KEPT: usize = 4 << 20;

/// How much of an answer's text is written down, in characters.
const MOST_WRITTEN: usize = 1 << 16;

/// What is wrong with what the gateway tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Flaw {
    /// It says that it is not well.
    Sick,
    /// Its default provider is down.
    DefaultDown,
    /// Every request counts twice.
    CountsTwice,
    /// Input tokens are those of the stream's start and what was cached is forgotten.
    ForgetsCache,
    /// Cached tokens cost as much as others.
    WrongCost,
    /// Latency is never measured.
    NoLatency,
    /// Latency is told in another unit than it is said to be.
    WrongUnit,
    /// The newest requests are not listed.
    NoNewest,
    /// The newest request is not the last of the list.
    StaleNewest,
    /// All is said to come from the first provider.
    WrongProvider,
    /// Every request is written down twice.
    AuditTwice,
    /// Refusals are not written down.
    AuditForgets,
    /// With every request stands the answer of the newest one.
    AuditMixes,
    /// The credential is written down.
    AuditSecret,
}

/// One request, when its answer is over.
#[derive(Debug, Clone, Default)]
struct Entry {
    id: String,
    model: String,
    provider: String,
    status: u16,
    tokens: [u64; 4],
    latency_ms: u64,
    credential: String,
    answer: String,
}

/// The kinds of tokens, in the order of [`Entry::tokens`], by the names that the API gives them.
const TOKENS: [&str; 4] = ["input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"];

/// The books of a gateway.
#[derive(Debug, Default)]
struct Books {
    requests: u64,
    by_model: BTreeMap<String, u64>,
    by_provider: BTreeMap<String, u64>,
    tokens: [u64; 4],
    /// Millionths of a millionth of a dollar.
    cost: u64,
    latency_ms: u64,
    entries: VecDeque<Entry>,
}

impl Books {
    fn average_latency_ms(&self) -> u64 {
        self.latency_ms.checked_div(self.requests).unwrap_or(0)
    }
}

/// What a gateway tells of itself.
#[derive(Debug)]
pub struct Telling {
    /// The names of its providers, the default first.
    pub providers: Vec<String>,
    /// What a million tokens cost.
    pub price: Price,
    /// What is wrong with it.
    pub flaw: Option<Flaw>,
    books: Mutex<Books>,
}

impl Telling {
    /// Nothing happened yet.
    pub fn new(providers: Vec<String>, price: Price, flaw: Option<Flaw>) -> Self {
        Self { providers, price, flaw, books: Mutex::default() }
    }

    /// The answer of that path; `None` where it is none of these.
    pub(super) fn answer(&self, path: &str) -> Option<Whole> {
        let books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        match path {
            HEALTH_PATH => Some(Whole::json(200, &self.health())),
            METRICS_PATH => Some(Whole::json(200, &self.metrics(&books))),
            PROMETHEUS_PATH => Some(Whole::new(200, "text/plain; version=0.0.4", prometheus(&books))),
            AUDIT_PATH => Some(Whole::json(200, &self.audit(&books))),
            _ => None,
        }
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    fn health(&self) -> Value {
        let up = |(at, name): (usize, &String)| (name.clone(), json!(at > 0 || !self.has(Flaw::DefaultDown)));
        let providers: serde_json::Map<String, Value> = self.providers.iter().enumerate().map(up).collect();
        json!({
            "status": if self.has(Flaw::Sick) { "degraded" } else { "healthy" },
            "providers": providers,
            "routing": {"default_provider": self.providers.first(), "fallback_chain": self.providers},
            "audit": {"enabled": true, "log_request_bodies": false, "log_response_bodies": true},
        })
    }

    fn metrics(&self, books: &Books) -> Value {
        let newest: Vec<Value> = if self.has(Flaw::NoNewest) {
            Vec::new()
        } else {
            let listed = books.entries.len() - usize::from(self.has(Flaw::StaleNewest) && !books.entries.is_empty());
            let entry = |e: &Entry| {
                let tokens: serde_json::Map<String, Value> =
                    TOKENS.iter().zip(e.tokens).map(|(name, n)| ((*name).to_owned(), json!(n))).collect();
                json!({"id": e.id, "model": e.model, "provider": e.provider, "latency_ms": e.latency_ms, "tokens": tokens})
            };
            books.entries.iter().take(listed).map(entry).collect()
        };
        let tokens: serde_json::Map<String, Value> =
            TOKENS.iter().zip(books.tokens).map(|(name, n)| ((*name).to_owned(), json!(n))).collect();
        json!({
            "requests": books.requests,
            "models": books.by_model,
            "providers": books.by_provider,
            "tokens": tokens,
            "cost_usd": dollars(books.cost),
            "average_latency_ms": books.average_latency_ms(),
            "newest": newest,
        })
    }

    fn audit(&self, books: &Books) -> Value {
        let written = |e: &&Entry| !self.has(Flaw::AuditForgets) || e.status < 400;
        let entry = |e: &Entry| {
            let mut entry = json!({"id": e.id, "model": e.model, "status": e.status, "answer": e.answer});
            if self.has(Flaw::AuditMixes) {
                entry["answer"] = json!(books.entries.back().map(|newest| &newest.answer));
            }
            if self.has(Flaw::AuditSecret) {
                entry["credential"] = json!(e.credential);
            }
            entry
        };
        let times = if self.has(Flaw::AuditTwice) { 2 } else { 1 };
        let entries: Vec<Value> =
            books.entries.iter().filter(written).flat_map(|e| std::iter::repeat_n(entry(e), times)).collect();
        json!({ "entries": entries })
    }

    fn enter(&self, mut entry: Entry) {
        if self.has(Flaw::WrongProvider) {
            entry.provider = self.providers.first().cloned().unwrap_or_default();
        }
        if self.has(Flaw::WrongUnit) {
            entry.latency_ms *= 1_000_000;
        }
        let mut books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        if entry.status < 400 {
            let times = if self.has(Flaw::CountsTwice) { 2 } else { 1 };
            books.requests += times;
            *books.by_model.entry(entry.model.clone()).or_default() += times;
            *books.by_provider.entry(entry.provider.clone()).or_default() += times;
            for (sum, n) in books.tokens.iter_mut().zip(entry.tokens) {
                *sum += n;
            }
            let price = if self.has(Flaw::WrongCost) {
                Price { cache_read: self.price.input, cache_write: self.price.input, ..self.price }
            } else {
                self.price
            };
            let prices = [price.input, price.output, price.cache_read, price.cache_write];
            books.cost += prices.iter().zip(entry.tokens).map(|(price, n)| price * n).sum::<u64>();
            books.latency_ms += if self.has(Flaw::NoLatency) { 0 } else { entry.latency_ms };
        }
        if books.entries.len() == REMEMBERED {
            books.entries.pop_front();
        }
        books.entries.push_back(entry);
    }
}

/// The counters as Prometheus text.
fn prometheus(books: &Books) -> String {
    let mut out = String::from("# TYPE gateway_requests_total counter\n");
    // Writing to a string cannot fail.
    for (model, n) in &books.by_model {
        let _ = writeln!(out, "gateway_requests_total{{model=\"{model}\"}} {n}");
    }
    for (provider, n) in &books.by_provider {
        let _ = writeln!(out, "gateway_provider_requests_total{{provider=\"{provider}\"}} {n}");
    }
    for (name, n) in TOKENS.iter().zip(books.tokens) {
        let _ = writeln!(out, "gateway_tokens_total{{kind=\"{name}\"}} {n}");
    }
    let _ = writeln!(out, "gateway_cost_usd_total {}", dollars(books.cost));
    let _ = writeln!(out, "gateway_average_latency_ms {}", books.average_latency_ms());
    out
}

/// Millionths of a millionth of a dollar as dollars.
#[expect(clippy::cast_precision_loss, reason = "a float is what JSON has, and a hundredth of a cent is what matters")]
fn dollars(cost: u64) -> f64 {
    cost as f64 / 1e12
}

/// Follows one answer to its end, and enters it in the books then, also when the client leaves.
pub(super) struct Meter {
    telling: Arc<Telling>,
    entry: Entry,
    begun: Instant,
    streamed: bool,
    kept: Vec<u8>,
}

impl Meter {
    /// Begins when a request has come.
    pub(super) fn begin(telling: &Arc<Telling>, model: &str, credential: &str) -> Self {
        let entry = Entry { model: model.to_owned(), credential: credential.to_owned(), ..Entry::default() };
        Self { telling: Arc::clone(telling), entry, begun: Instant::now(), streamed: false, kept: Vec::new() }
    }

    /// The head of the answer has come, from that provider.
    pub(super) fn head(&mut self, status: u16, id: &str, provider: &str, streamed: bool) {
        (self.entry.status, self.streamed) = (status, streamed);
        id.clone_into(&mut self.entry.id);
        provider.clone_into(&mut self.entry.provider);
    }

    /// Bytes of its body go out.
    pub(super) fn see(&mut self, bytes: &[u8]) {
        let room = MOST_KEPT.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let answer = if self.streamed {
            let items = sse::parse(&self.kept);
            read_stream(items.iter().filter_map(|item| match item {
                sse::Item::Event(e) => Some(StreamEvent { name: e.name.as_deref().unwrap_or_default(), data: &e.data }),
                _ => None,
            }))
        } else {
            read_message(&serde_json::from_slice(&self.kept).unwrap_or_default())
        };
        let count = |key: &str| {
            let of = |usage: &Option<Value>| usage.as_ref().and_then(|usage| usage[key].as_u64());
            of(&answer.end_usage).or_else(|| of(&answer.start_usage)).unwrap_or(0)
        };
        self.entry.tokens = TOKENS.map(count);
        if self.telling.has(Flaw::ForgetsCache) {
            self.entry.tokens[2..].fill(0);
        }
        let texts = answer.blocks_of("text").filter_map(|block| block["text"].as_str());
        self.entry.answer = texts.flat_map(str::chars).take(MOST_WRITTEN).collect();
        self.entry.latency_ms = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX).max(1);
        self.telling.enter(std::mem::take(&mut self.entry));
    }
}
