//! What a gateway tells of itself: health, counters, and the record of requests.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::bench::{Asked, Bench, Found, Step, cut};
use super::caller::Shown;
use super::counters::counted;
use crate::config::{Counter, Metrics, Price};

/// How soon a health endpoint answers that is of use to a load balancer.
const SOON: Duration = Duration::from_secs(1);

/// How long counters and records may lag behind the answer.
const LAG: Duration = Duration::from_secs(2);

/// How often they are looked at meanwhile. No event tells when they are up to date.
const LOOK: Duration = Duration::from_millis(50);

/// A hundredth of a cent, in millionths of a dollar.
const COST_MARGIN: f64 = 100.0;

/// What the `usage` script counts.
const USAGE: [(Counter, u64); 4] = [
    (Counter::InputTokens, 1111),
    (Counter::CacheWriteTokens, 222),
    (Counter::CacheReadTokens, 333),
    (Counter::OutputTokens, 44),
];

pub(super) async fn health(bench: &Bench) -> Step<Found> {
    let Some(path) = &bench.rig.settings.health else {
        return Ok(Found::not_applicable("the profile names no health endpoint ([check] health)"));
    };
    let asked = bench.plain("GET", path, Shown::Bearer).await?;
    asked.has_status(|status| status == 200)?;
    let exchange = &asked.came.exchange;
    let took = Duration::from_micros(exchange.ended_us.saturating_sub(exchange.request.head_us));
    if took > SOON {
        return Err(Found::failed(format!("it took {} ms", took.as_millis())));
    }
    let body = asked.json();
    let mut told = format!("200 after {} ms", took.as_millis());
    if let Some(status) = body["status"].as_str() {
        let _ = write!(told, ", status {status}");
        if !["healthy", "ok", "up", "pass", "connected"].contains(&status.to_ascii_lowercase().as_str()) {
            return Err(Found::failed(told));
        }
    }
    let up = |name: &str| body["providers"][name] == true;
    if let Some(default) = body["routing"]["default_provider"].as_str() {
        let _ = write!(told, ", default provider {default}");
        if !up(default) {
            return Err(Found::failed(format!("{told}, which is not up: providers {}", body["providers"])));
        }
    }
    for name in body["routing"]["fallback_chain"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let _ = write!(told, ", falls back to {name}");
        if body["providers"][name].is_null() {
            return Err(Found::failed(format!("{told}, which is no provider: {}", body["providers"])));
        }
    }
    for key in ["enabled", "log_request_bodies", "log_response_bodies"] {
        if let Some(value) = body["audit"][key].as_bool() {
            let _ = write!(told, ", audit {key} {value}");
        }
    }
    Ok(Found::passed(told))
}

#[expect(clippy::cast_precision_loss, reason = "these numbers are small")]
fn float(n: u64) -> f64 {
    n as f64
}

/// What so many requests of the `usage` script cost, in millionths of a dollar.
fn cost(price: &Price, requests: u64) -> u64 {
    let dear = |counter: Counter| match counter {
        Counter::InputTokens => price.input,
        Counter::OutputTokens => price.output,
        Counter::CacheReadTokens => price.cache_read,
        Counter::CacheWriteTokens => price.cache_write,
        Counter::Requests | Counter::ModelRequests | Counter::ProviderRequests | Counter::Cost => 0,
    };
    USAGE.iter().map(|(counter, tokens)| dear(*counter) * tokens * requests).sum::<u64>() / 1_000_000
}

pub(super) async fn metrics(bench: &Bench) -> Step<Found> {
    let Some(metrics) = &bench.rig.settings.metrics else {
        return Ok(Found::not_applicable("the profile names no metrics endpoint ([check.metrics])"));
    };
    bench.needs_script()?;
    let price = bench.rig.settings.prices.get(&bench.rig.model);
    if metrics.counters.contains_key(&Counter::Cost) && price.is_none() {
        let words = format!("the profile counts cost, but has no [check.prices.{:?}]", bench.rig.model);
        return Err(Found::undecided(words));
    }
    let read = async || -> Step<(BTreeMap<Counter, f64>, Asked)> {
        let asked = bench.plain("GET", &metrics.path, Shown::Bearer).await?;
        asked.has_status(|status| status == 200)?;
        let document = asked.text();
        let value = |(counter, name): (&Counter, &String)| {
            Ok((*counter, counted(&document, &name.replace("{model}", &bench.rig.model))?))
        };
        let values = metrics.counters.iter().map(value).collect::<Result<_, String>>().map_err(Found::failed)?;
        Ok((values, asked))
    };
    let (before, _) = read().await?;
    let mut requests = 0;
    for stream in [false, true] {
        bench.post("usage")?.stream(stream).send().await?.answer()?;
        requests += 1;
    }
    let wanted = |counter: Counter| match counter {
        Counter::Requests | Counter::ModelRequests | Counter::ProviderRequests => float(requests),
        Counter::Cost => price.map_or(0.0, |price| float(cost(price, requests)) / 1e6),
        tokens => USAGE.iter().find(|(c, _)| *c == tokens).map_or(0.0, |(_, n)| float(n * requests)),
    };
    let since = Instant::now();
    loop {
        let (after, asked) = read().await?;
        let mut wrong = Vec::new();
        for (counter, now) in &after {
            let moved = now - before.get(counter).copied().unwrap_or(0.0);
            let margin = if *counter == Counter::Cost { COST_MARGIN / 1e6 } else { 0.0 };
            if (moved - wanted(*counter)).abs() > margin {
                wrong.push(format!("{counter:?} moved by {moved}, not by {}", wanted(*counter)));
            }
        }
        if wrong.is_empty() {
            latest(&asked, metrics.average_latency.as_deref(), metrics.newest.as_deref())?;
            return Ok(Found::passed(format!("{} counters moved by what {requests} requests were", after.len())));
        }
        if since.elapsed() > LAG {
            return Err(Found::failed(wrong.join("; ")));
        }
        sleep(LOOK).await;
    }
}

/// The average latency, and the entry of the newest request.
fn latest(asked: &Asked, latency: Option<&str>, newest: Option<&str>) -> Step<()> {
    let document = asked.text();
    if let Some(name) = latency {
        let millis = counted(&document, name).map_err(Found::failed)?;
        if millis <= 0.0 {
            return Err(Found::failed(format!("the average latency is {millis}")));
        }
    }
    let Some(pointer) = newest else { return Ok(()) };
    let json = asked.json();
    let entry = json.pointer(pointer).and_then(Value::as_array).and_then(|entries| entries.last());
    let Some(entry) = entry else { return Err(Found::failed(format!("there is no list with entries at {pointer}"))) };
    let numbers = numbers(entry);
    let missing = USAGE
        .iter()
        .find(|(counter, n)| matches!(counter, Counter::InputTokens | Counter::OutputTokens) && !numbers.contains(n));
    match missing {
        Some((counter, n)) => {
            Err(Found::failed(format!("the newest entry has no {counter:?} of {n}: {}", cut(&entry.to_string()))))
        }
        None => Ok(()),
    }
}

/// All whole numbers within a value.
fn numbers(value: &Value) -> Vec<u64> {
    match value {
        Value::Number(n) => n.as_u64().into_iter().collect(),
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        Value::Object(fields) => fields.values().flat_map(numbers).collect(),
        _ => Vec::new(),
    }
}

pub(super) async fn audit(bench: &Bench) -> Step<Found> {
    let Some(audit) = &bench.rig.settings.audit else {
        return Ok(Found::not_applicable("the profile names no record of requests ([check.audit])"));
    };
    let mut made = Vec::new();
    for script in ["plain", "bad-request"] {
        if script != "plain" && bench.needs_script().is_err() {
            continue;
        }
        let asked = bench.post(script)?.stream(false).send().await?;
        let Some(id) = asked.header("request-id").map(str::to_owned) else {
            return Err(Found::failed("the answer has no request-id, so that no entry can be found by it"));
        };
        made.push((id, asked.status()));
    }
    let since = Instant::now();
    loop {
        let asked = bench.plain("GET", &audit.path, Shown::Bearer).await?;
        asked.has_status(|status| status == 200)?;
        let json = asked.json();
        let Some(entries) = json.pointer(&audit.entries).and_then(Value::as_array) else {
            return Err(Found::failed(format!("there is no list at {:?}: {}", audit.entries, asked.what_came())));
        };
        let wrong = made.iter().find_map(|(id, status)| {
            let of: Vec<&Value> =
                entries.iter().filter(|e| e.pointer(&audit.id).and_then(Value::as_str) == Some(id)).collect();
            let told = audit.status.as_ref().zip(of.first()).and_then(|(at, entry)| entry.pointer(at));
            match of.len() {
                1 => (told.is_some() && told.and_then(Value::as_u64) != status.map(u64::from))
                    .then(|| format!("{id} ended with {status:?}, and its entry says {told:?}")),
                n => Some(format!("{id} stands there {n} times")),
            }
        });
        if let Some(secret) = &bench.rig.credential
            && asked.came.exchange.response.as_ref().is_some_and(|r| r.body.text().contains(secret.expose()))
        {
            return Err(Found::failed("the record holds the client's credential"));
        }
        match wrong {
            None => {
                return Ok(Found::passed(format!("{} requests, each there once, without a credential", made.len())));
            }
            Some(words) if since.elapsed() > LAG => return Err(Found::failed(words)),
            Some(_) => sleep(LOOK).await,
        }
    }
}

pub(super) async fn fallback(bench: &Bench) -> Step<Found> {
    let Some(fallback) = &bench.rig.settings.fallback else {
        return Ok(Found::not_applicable("the profile says nothing of a chain of providers ([check.fallback])"));
    };
    bench.needs_both_sides()?;
    for first in ["broken", "rate-limit", "overloaded", "asleep"] {
        let named = |found: Found| Found { message: format!("first {first}: {}", found.message), ..found };
        let post = bench.post("plain")?.before(first).stream(true).about(format!("first {first}"));
        let asked = post.deadline(bench.rig.slow_deadline).send().await?;
        let answer = asked.answer().map_err(named)?;
        asked.said(&answer, &bench.rig).map_err(named)?;
        if let Some(fault) = answer.faults.first() {
            return Err(named(Found::failed(fault.detail.clone())));
        }
        if asked.behind.as_ref().is_some_and(|behind| behind.len() < 2) {
            return Err(named(Found::failed("one request only reached the providers")));
        }
        if let (Some(metrics), Some(name)) = (&bench.rig.settings.metrics, &fallback.answers) {
            let told = newest_provider(bench, metrics).await?;
            if told.as_deref() != Some(name) {
                return Err(named(Found::failed(format!("the metrics say that {told:?} answered, not {name:?}"))));
            }
        }
    }
    Ok(Found::passed("500, 429, 529 and a time-out of the first provider: another one answers, once and whole"))
}

/// Who answered last, as the metrics say it when they have caught up.
async fn newest_provider(bench: &Bench, metrics: &Metrics) -> Step<Option<String>> {
    let (Some(list), Some(provider)) = (&metrics.newest, &metrics.newest_provider) else { return Ok(None) };
    sleep(LOOK).await;
    let json = bench.plain("GET", &metrics.path, Shown::Bearer).await?.json();
    let entry = json.pointer(list).and_then(Value::as_array).and_then(|entries| entries.last());
    Ok(entry.and_then(|entry| entry.pointer(provider)?.as_str()).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cost_is_price_times_tokens() {
        let price = Price { input: 3_000_000, output: 15_000_000, cache_read: 300_000, cache_write: 3_750_000 };
        // 2 × (1111 × 3 + 44 × 15 + 333 × 0.3 + 222 × 3.75) millionths of a dollar.
        assert_eq!(cost(&price, 2), 9850);
    }
}
