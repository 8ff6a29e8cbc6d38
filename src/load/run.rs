//! A run: the target is looked at, the engine driven in a thread of its own, limits and thresholds watched meanwhile.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior};

use super::conversation::Role;
use super::engine::shared::{Shared, Stopped};
use super::engine::{Drive, Driven, drive, out_of_time};
use super::face::Ask;
use super::get::{get, question};
use super::judge::{self, Circumstances, State};
use super::metrics::histogram::Histogram;
use super::metrics::record::Counters;
use super::metrics::{Failure, Metric};
use super::plan::Plan;
use super::scenario::{Load, Suite, Target};
use super::threshold::Threshold;
use crate::tap::{DialError, Upstream};

/// How often a run is looked at while it goes on.
const LOOK: Duration = Duration::from_millis(500);

/// What is seen of a run while it goes on.
#[derive(Debug, Clone, Default)]
pub struct Glance {
    /// Since the beginning.
    pub elapsed: Duration,
    /// The scenarios that have begun.
    pub scenarios: Vec<String>,
    /// Requests of the plan that were due so far; of closed loads, those sent.
    pub planned: u64,
    /// The counts of all requests so far.
    pub counters: Counters,
    /// Requests that wait for their answers, and those among them that asked for streams.
    pub in_flight: u32,
    /// See above.
    pub streams: u32,
    /// Whole times so far, as thresholds see them.
    pub e2e: Histogram,
    /// Times to the first content so far, likewise.
    pub ttft: Histogram,
    /// Failures so far by kind.
    pub failures: BTreeMap<Failure, u64>,
    /// Thresholds that are missed as things stand.
    pub at_risk: Vec<String>,
}

/// Runs a suite to its end. `seen` is called twice a second.
///
/// # Errors
/// No thread or runtime could be started.
pub async fn run(
    suite: Arc<Suite>,
    how: Drive,
    room: u64,
    shared: Arc<Shared>,
    mut seen: impl FnMut(Glance),
) -> io::Result<Driven> {
    let began = Instant::now();
    let engine = {
        let (suite, shared) = (Arc::clone(&suite), Arc::clone(&shared));
        tokio::task::spawn_blocking(move || drive(&suite, &how, room, &shared))
    };
    tokio::pin!(engine);
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let limit = suite.limits.time;
    loop {
        tokio::select! {
            done = &mut engine => return done.map_err(io::Error::other)?,
            _ = looks.tick() => {
                let elapsed = began.elapsed();
                if let Some(limit) = limit.filter(|limit| elapsed >= *limit) {
                    shared.stop(out_of_time(limit));
                }
                let glance = glance(&suite, &shared, elapsed);
                if !shared.is_over() {
                    seen(glance);
                }
            }
        }
    }
}

/// Looks at a run, and ends it when a threshold that asks for it is missed.
fn glance(suite: &Suite, shared: &Shared, elapsed: Duration) -> Glance {
    let mut glance = Glance {
        elapsed,
        in_flight: shared.in_flight.load(Ordering::Relaxed),
        streams: shared.streams.load(Ordering::Relaxed),
        ..Glance::default()
    };
    shared.look(|record| {
        if !glance.scenarios.contains(&record.name) {
            glance.scenarios.push(record.name.clone());
        }
        let all = record.all();
        glance.counters.add(&all.counters);
        for (failure, n) in &all.failures {
            *glance.failures.entry(*failure).or_default() += n;
        }
        glance.planned += if record.open { record.planned } else { all.counters.sent };
        for (metric, into) in [(Metric::E2e, &mut glance.e2e), (Metric::Ttft, &mut glance.ttft)] {
            let metric = if record.open { metric.from_plan() } else { metric };
            all.times.get(metric).into_iter().for_each(|times| into.add(times));
        }
    });
    // Each is a walk over the records; the counts of rates and shares mean something at the end only.
    for threshold in suite.thresholds.iter().filter(|t| is_live(t)) {
        let judged = judge::check(threshold, shared);
        if judged.state != State::Broken {
            continue;
        }
        let words = format!("{}: {} is not {}", judged.subject, judged.shown, judged.condition);
        if threshold.abort_after.is_some_and(|after| elapsed >= after) {
            shared.stop(Stopped::Threshold(words.clone()));
        }
        glance.at_risk.push(words);
    }
    glance
}

/// Whether a threshold says something while the run goes on.
fn is_live(threshold: &Threshold) -> bool {
    use super::threshold::{Aggregate, Count, Measure};
    let grows = matches!(threshold.aggregate, Aggregate::Count | Aggregate::PerSecond | Aggregate::Value);
    let counts_good = matches!(threshold.subject.measure, Measure::Count(Count::Ok | Count::Sent | Count::Goodput));
    threshold.abort_after.is_some() || !(grows || counts_good)
}

/// What the judgement needs to know of a run that is over.
pub fn circumstances(suite: &Suite, driven: &Driven, workers: usize, shared: &Shared) -> Circumstances {
    let interval = |load: &Load| match load {
        Load::Open(process) => Some(1e6 / process.peak_rate().max(1e-6)),
        _ => None,
    };
    #[expect(clippy::cast_precision_loss, reason = "there are few workers")]
    let cpu_share = driven.cpu.as_secs_f64() / (driven.wall.as_secs_f64() * workers.max(1) as f64).max(1e-6);
    Circumstances {
        interval_us: suite.scenarios.iter().map(|s| interval(&s.load)).collect(),
        lag_us: suite.limits.lag.map(super::metrics::record::micros),
        cpu_share,
        wall: driven.wall,
        stopped: shared.why(),
        missing: Vec::new(),
        counters: Vec::new(),
    }
}

/// How many requests the plan of open scenarios holds, by scenario; none for closed ones.
pub fn planned(suite: &Suite) -> Vec<Option<usize>> {
    let count = |scenario: usize| match &suite.scenarios[scenario].load {
        Load::Open(process) => Some(process.arrivals(Plan::new(suite, &suite.scenarios[scenario]).dice()).count()),
        _ => None,
    };
    (0..suite.scenarios.len()).map(count).collect()
}

/// Whether somebody listens at the target.
///
/// # Errors
/// In words: nobody does.
pub async fn reach(upstream: &Upstream, timeout: Duration) -> Result<(), String> {
    match tokio::time::timeout(timeout, upstream.dial()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(DialError::Connect(e))) => Err(format!("no connection: {e}")),
        Ok(Err(DialError::Tls(e))) => Err(format!("no TLS: {e}")),
        Err(_) => Err(format!("no connection within {timeout:?}")),
    }
}

/// The models that the target lists, without those that the suite excludes.
///
/// # Errors
/// In words: the list cannot be had, or names none.
pub async fn models(upstream: &Upstream, target: &Target, exclude: &[String]) -> Result<Vec<String>, String> {
    let list = get(upstream, "/v1/models", &target.question_headers(), target.timeouts.ttft).await;
    let list = list.and_then(|body| serde_json::from_slice::<Value>(&body).map_err(|e| format!("not JSON: {e}")));
    let list = list.map_err(|e| format!("GET /v1/models: {e}; name models in the suite or with --model"))?;
    let ids = list["data"].as_array().into_iter().flatten().filter_map(|m| m["id"].as_str());
    let ids: Vec<String> = ids.filter(|id| !exclude.iter().any(|e| e == id)).map(str::to_owned).collect();
    if ids.is_empty() {
        return Err(
            "GET /v1/models lists no model that may be asked; name models in the suite or with --model".to_owned()
        );
    }
    Ok(ids)
}

/// Asks a gateway that has just been started for one short answer, which is measured nowhere: what it loads for its first request would
/// be held against the first requests of the plan. What comes of it is told by the run.
pub async fn warm_up(upstream: &Upstream, target: &Target, model: &str) {
    let ask = Ask { model, messages: vec![(Role::User, "Hello.")], max_tokens: Some(16), ..Ask::default() };
    let body = Bytes::from(target.api.body(&ask));
    let headers = target.question_headers();
    drop(question(upstream, Method::POST, target.path(), &headers, body, target.timeouts.whole).await);
}
