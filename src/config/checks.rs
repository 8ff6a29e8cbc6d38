//! What a profile says for `ccsmoke check` alone: where the gateway tells of itself, and which names go where.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZero;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize};

/// The `[check]` table of a profile.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Checks {
    /// The path that tells of the gateway's health, such as `/health`.
    pub health: Option<String>,
    /// How long the first piece of a Chat Completions stream may take; 1 s when nothing is said. In the file `slow_start_s`.
    #[serde(rename = "slow_start_s", deserialize_with = "seconds")]
    pub slow_start: Option<Duration>,
    /// Where counters stand.
    pub metrics: Option<Metrics>,
    /// Where requests are written down.
    pub audit: Option<Audit>,
    /// Which names of models go where.
    pub routing: Routing,
    /// That another provider answers when the first one fails.
    pub fallback: Option<Fallback>,
    /// What a million tokens cost, by the model's name.
    pub prices: BTreeMap<String, Price>,
}

/// Where counters stand. Each is named by a JSON pointer (`/totals/requests`) or, in Prometheus text, by the metric's name, with
/// labels where it has some (`tokens_total{kind="input"}`). `{model}` stands for the model that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metrics {
    /// The path of the endpoint.
    pub path: String,
    /// Counters that have to move by exactly what was sent.
    pub counters: BTreeMap<Counter, String>,
    /// The average latency in milliseconds, which has to be above 0.
    pub average_latency: Option<String>,
    /// The list of the newest requests, newest last: a JSON pointer.
    pub newest: Option<String>,
    /// The request's id in an entry of that list: what the response's `request-id` said. Without it, the entry has to hold that id,
    /// or the model, somewhere.
    pub newest_id: Option<String>,
    /// How many milliseconds the request took, in such an entry.
    pub newest_latency: Option<String>,
    /// Which provider answered, in such an entry.
    pub newest_provider: Option<String>,
}

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Counter {
    /// Requests.
    Requests,
    /// Requests of the model that was asked for.
    ModelRequests,
    /// Requests by the provider that answers.
    ProviderRequests,
    /// Input tokens outside the cache.
    InputTokens,
    /// Output tokens.
    OutputTokens,
    /// Tokens read from the cache.
    CacheReadTokens,
    /// Tokens written to the cache.
    CacheWriteTokens,
    /// Dollars.
    Cost,
}

impl Counter {
    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::ModelRequests => "model_requests",
            Self::ProviderRequests => "provider_requests",
            Self::InputTokens => "input_tokens",
            Self::OutputTokens => "output_tokens",
            Self::CacheReadTokens => "cache_read_tokens",
            Self::CacheWriteTokens => "cache_write_tokens",
            Self::Cost => "cost",
        }
    }
}

impl fmt::Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where requests are written down.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// The path of the endpoint; without it, the entries are the lines of the profile's `log` that are JSON.
    pub path: Option<String>,
    /// The list of entries of the endpoint: a JSON pointer; the whole document when it is empty.
    #[serde(default)]
    pub entries: String,
    /// The request's id in an entry: a JSON pointer. It has to be what the response's `request-id` said.
    pub id: String,
    /// The answer's status in an entry: a JSON pointer.
    pub status: Option<String>,
    /// The answer's text in an entry, or what holds it: a JSON pointer.
    pub answer: Option<String>,
}

/// That another provider answers when the first one fails. Both are the scripted provider, which fails when it is asked first.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fallback {
    /// What the metrics call the provider that answers then, in the entry at `newest_provider`.
    pub answers: Option<String>,
    /// The port on 127.0.0.1 at which the gateway finds its first provider, so that it can refuse connections. Without it, both
    /// providers have one address, and a refused connection is not tried.
    pub first_port: Option<NonZero<u16>>,
}

/// Which names of models go where.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Routing {
    /// Names that the client behind the gateway answers.
    pub local: Vec<String>,
    /// Names that go to another provider.
    pub routed: Vec<String>,
    /// Names that the gateway refuses as unknown.
    pub refused: Vec<String>,
}

/// What a million tokens cost. In the file these are dollars; here they are millionths of a dollar, so that sums are exact.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Price {
    /// Input outside the cache.
    #[serde(deserialize_with = "micro_dollars")]
    pub input: u64,
    /// Output.
    #[serde(deserialize_with = "micro_dollars")]
    pub output: u64,
    /// Read from the cache.
    #[serde(deserialize_with = "micro_dollars")]
    pub cache_read: u64,
    /// Written to the cache.
    #[serde(deserialize_with = "micro_dollars")]
    pub cache_write: u64,
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked before")]
fn micro_dollars<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let dollars = f64::deserialize(deserializer)?;
    if !(0.0..=1e6).contains(&dollars) {
        return Err(serde::de::Error::custom("a price is between 0 and 1000000 dollars for a million tokens"));
    }
    Ok((dollars * 1e6).round() as u64)
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    Ok(Some(Duration::from_secs(u64::deserialize(deserializer)?)))
}
