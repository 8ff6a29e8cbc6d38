//! Our totals held against the gateway's own counters, from before the first request to after the last.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use super::get::get;
use super::scenario::Suite;
use crate::check::counted;
use crate::config::{Counter, Metrics};
use crate::tap::Upstream;

/// How long counters may lag behind the last answer.
const LAG: Duration = Duration::from_secs(5);

/// How often they are looked at meanwhile. No event tells when they are up to date.
const LOOK: Duration = Duration::from_millis(100);

/// What is not the same dollars: a hundredth of a cent.
const COST_MARGIN: f64 = 1e-4;

/// What counters said.
pub type Values = BTreeMap<Counter, f64>;

/// What was counted here.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Ours {
    /// Tries that were written.
    pub tries: u64,
    /// Tokens of right answers' requests.
    pub tokens_in: u64,
    /// Tokens of right answers.
    pub tokens_out: u64,
    /// Calls that reached the provider, where it was asked.
    pub calls: Option<u64>,
    /// Dollars, where the suite knows prices.
    pub usd: Option<f64>,
}

/// What a counter moved by, and what it should have.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// Which.
    pub counter: Counter,
    /// By how much it moved.
    pub theirs: f64,
    /// What was counted here; none where that is not known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ours: Option<f64>,
}

impl Told {
    /// Whether both are known and not the same.
    pub fn differs(&self) -> bool {
        let margin = if self.counter == Counter::Cost { COST_MARGIN } else { 1e-6 };
        self.ours.is_some_and(|ours| (ours - self.theirs).abs() > margin)
    }
}

impl Ours {
    #[expect(clippy::cast_precision_loss, reason = "counts are short of 2^52")]
    fn of(&self, counter: Counter) -> Option<f64> {
        match counter {
            Counter::Requests | Counter::ModelRequests => Some(self.tries as f64),
            Counter::ProviderRequests => self.calls.map(|calls| calls as f64),
            Counter::InputTokens => Some(self.tokens_in as f64),
            Counter::OutputTokens => Some(self.tokens_out as f64),
            Counter::Cost => self.usd,
            // Answers under load are not asked what of them came from a cache.
            Counter::CacheReadTokens | Counter::CacheWriteTokens => None,
        }
    }
}

/// Reads the gateway's counters; of those that name a model, the sum over the suite's models.
///
/// # Errors
/// In words: they cannot be had.
pub async fn read(upstream: &Upstream, suite: &Suite, metrics: &Metrics) -> Result<Values, String> {
    let at = |e: String| format!("GET {}: {e}", metrics.path);
    let headers = suite.target.question_headers();
    let body = get(upstream, &metrics.path, &headers, suite.target.timeouts.whole).await.map_err(at)?;
    let document = String::from_utf8_lossy(&body);
    let value = |(counter, name): (&Counter, &String)| {
        let names: Vec<String> = if name.contains("{model}") {
            suite.models.iter().map(|model| name.replace("{model}", model)).collect()
        } else {
            vec![name.clone()]
        };
        let values = names.iter().map(|name| counted(&document, name)).collect::<Result<Vec<f64>, _>>();
        Ok((*counter, values.map_err(at)?.iter().sum()))
    };
    metrics.counters.iter().map(value).collect()
}

/// What the counters moved by since `before`, once they agree with what was counted here or had the time to.
///
/// # Errors
/// In words: they cannot be had.
pub async fn compare(
    upstream: &Upstream,
    suite: &Suite,
    metrics: &Metrics,
    before: &Values,
    ours: &Ours,
) -> Result<Vec<Told>, String> {
    let since = Instant::now();
    loop {
        let after = read(upstream, suite, metrics).await?;
        let told = after.iter().map(|(counter, now)| Told {
            counter: *counter,
            theirs: now - before.get(counter).copied().unwrap_or(0.0),
            ours: ours.of(*counter),
        });
        let told: Vec<Told> = told.collect();
        if since.elapsed() > LAG || !told.iter().any(Told::differs) {
            return Ok(told);
        }
        sleep(LOOK).await;
    }
}
