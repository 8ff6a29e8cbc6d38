//! Counters: each moves by exactly what was sent, and the newest entry is our request.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::super::bench::{Asked, Bench, Found, Step, cut};
use super::super::caller::Shown;
use super::{LAG, LOOK, prometheus};
use crate::config::{Counter, Metrics, Price};

/// A hundredth of a cent, in millionths of a dollar.
const COST_MARGIN: f64 = 100.0;

/// By how much the times of both sides may differ; whoever counts microseconds or seconds is further off.
const LATENCY_MARGIN: Duration = Duration::from_secs(1);

/// What the `usage` script counts.
const USAGE: [(Counter, u64); 4] = [
    (Counter::InputTokens, 1111),
    (Counter::CacheWriteTokens, 222),
    (Counter::CacheReadTokens, 333),
    (Counter::OutputTokens, 44),
];

/// The value of a counter in a document; a counter that is not there yet is 0.
pub(crate) fn counted(document: &str, name: &str) -> Result<f64, String> {
    if name.starts_with('/') {
        let json: Value = serde_json::from_str(document).map_err(|e| format!("the metrics are no JSON: {e}"))?;
        return match json.pointer(name) {
            None => Ok(0.0),
            Some(value) => value.as_f64().ok_or_else(|| format!("{name} is {value}, not a number")),
        };
    }
    prometheus::sum(document, name)
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

/// What an endpoint says at one moment.
struct Reading {
    counters: BTreeMap<Counter, f64>,
    /// The average latency in milliseconds.
    latency: Option<f64>,
    document: Asked,
}

async fn read(bench: &Bench, metrics: &Metrics) -> Step<Reading> {
    let document = bench.plain("GET", &metrics.path, Shown::Bearer).await?;
    document.has_status(|status| status == 200)?;
    let text = document.text();
    let value = |name: &str| counted(&text, &name.replace("{model}", &bench.rig.model));
    let each = |(counter, name): (&Counter, &String)| Ok((*counter, value(name)?));
    let counters = metrics.counters.iter().map(each).collect::<Result<_, String>>().map_err(Found::failed)?;
    let latency = metrics.average_latency.as_deref().map(value).transpose().map_err(Found::failed)?;
    Ok(Reading { counters, latency, document })
}

pub(in crate::check) async fn metrics(bench: &Bench) -> Step<Found> {
    let Some(metrics) = &bench.rig.settings.metrics else {
        return Ok(Found::not_applicable("the profile names no metrics endpoint ([check.metrics])"));
    };
    bench.needs_script()?;
    let price = bench.rig.settings.prices.get(&bench.rig.model);
    if metrics.counters.contains_key(&Counter::Cost) && price.is_none() {
        let words = format!("the profile counts cost, but has no [check.prices.{:?}]", bench.rig.model);
        return Err(Found::undecided(words));
    }
    let before = read(bench, metrics).await?;
    let mut asked = Vec::new();
    for stream in [false, true] {
        let one = bench.post("usage")?.stream(stream).send().await?;
        one.answer()?;
        asked.push(one);
    }
    let since = Instant::now();
    loop {
        let after = read(bench, metrics).await?;
        let wrong = moved_wrongly(&before, &after, asked.len() as u64, price)
            .into_iter()
            .chain(wrong_latency(&before, &after, &asked))
            .chain(
                asked.last().and_then(|newest| not_newest(&after.document.json(), metrics, newest, &bench.rig.model)),
            )
            .collect::<Vec<_>>();
        if wrong.is_empty() {
            let told = format!("{} counters moved by what {} requests were", after.counters.len(), asked.len());
            return Ok(Found::passed(told));
        }
        if since.elapsed() > LAG {
            return Err(Found::failed(wrong.join("; ")));
        }
        sleep(LOOK).await;
    }
}

/// The counters that moved by something else than so many requests of the `usage` script.
fn moved_wrongly(before: &Reading, after: &Reading, requests: u64, price: Option<&Price>) -> Vec<String> {
    let wanted = |counter: Counter| match counter {
        Counter::Requests | Counter::ModelRequests | Counter::ProviderRequests => float(requests),
        Counter::Cost => price.map_or(0.0, |price| float(cost(price, requests)) / 1e6),
        tokens => USAGE.iter().find(|(c, _)| *c == tokens).map_or(0.0, |(_, n)| float(n * requests)),
    };
    let wrong = |(counter, now): (&Counter, &f64)| {
        let moved = now - before.counters.get(counter).copied().unwrap_or(0.0);
        let margin = if *counter == Counter::Cost { COST_MARGIN / 1e6 } else { 0.0 };
        let right = (moved - wanted(*counter)).abs() <= margin;
        (!right).then(|| format!("{counter} moved by {}, not by {}", rounded(moved), rounded(wanted(*counter))))
    };
    after.counters.iter().filter_map(wrong).collect()
}

/// What cannot be of the average latency: that it is nothing, or that our requests took the gateway longer than they took us.
fn wrong_latency(before: &Reading, after: &Reading, asked: &[Asked]) -> Option<String> {
    let now = after.latency?;
    if now <= 0.0 {
        return Some(format!("the average latency is {now}"));
    }
    let requests = |reading: &Reading| reading.counters.get(&Counter::Requests).copied();
    let (all, earlier) = (requests(after)?, requests(before)?);
    // An average is told in whole milliseconds, so the sum is off by up to one for each request.
    let ours = now * all - before.latency.unwrap_or(0.0) * earlier - all - earlier;
    let seen: Duration = asked.iter().map(Asked::took).sum();
    let most = (seen + LATENCY_MARGIN).as_secs_f64() * 1000.0;
    (ours > most).then(|| {
        format!(
            "by the average latency our requests took {ours:.0} ms and more, but all of it took {} ms",
            seen.as_millis()
        )
    })
}

/// What is missing of our request in the newest entry.
fn not_newest(document: &Value, metrics: &Metrics, newest: &Asked, model: &str) -> Option<String> {
    let pointer = metrics.newest.as_deref()?;
    let entry = document.pointer(pointer).and_then(Value::as_array).and_then(|entries| entries.last());
    let Some(entry) = entry else { return Some(format!("there is no list with entries at {pointer}")) };
    let shown = || cut(&entry.to_string());
    let id = newest.header("request-id");
    let named = match &metrics.newest_id {
        Some(at) => entry.pointer(at).and_then(Value::as_str).is_some_and(|told| Some(told) == id),
        None => texts(entry).any(|text| Some(text) == id || text == model),
    };
    if !named {
        return Some(format!("the newest entry does not name our request ({}): {}", id.unwrap_or(model), shown()));
    }
    let numbers = numbers(entry);
    let due = |counter: Counter| {
        matches!(counter, Counter::InputTokens | Counter::OutputTokens) || metrics.counters.contains_key(&counter)
    };
    if let Some((counter, n)) = USAGE.iter().find(|(counter, n)| due(*counter) && !numbers.contains(n)) {
        return Some(format!("the newest entry has no {counter} of {n}: {}", shown()));
    }
    let latency = metrics.newest_latency.as_ref()?;
    let told = entry.pointer(latency);
    let most = (newest.took() + LATENCY_MARGIN).as_secs_f64() * 1000.0;
    let possible = told.and_then(Value::as_f64).is_some_and(|millis| millis > 0.0 && millis <= most);
    let told = told.map_or_else(|| "nothing".to_owned(), ToString::to_string);
    (!possible).then(|| {
        format!(
            "the newest entry says that our request took {told} ms, and it took {} ms: {}",
            newest.took().as_millis(),
            shown()
        )
    })
}

/// A number as people write it: sums of fractions are off by a little.
fn rounded(number: f64) -> f64 {
    (number * 1e9).round() / 1e9
}

/// All texts within a value.
fn texts(value: &Value) -> Box<dyn Iterator<Item = &str> + '_> {
    match value {
        Value::String(text) => Box::new(std::iter::once(text.as_str())),
        Value::Array(items) => Box::new(items.iter().flat_map(texts)),
        Value::Object(fields) => Box::new(fields.values().flat_map(texts)),
        _ => Box::new(std::iter::empty()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_found_by_pointer_or_by_name_and_labels() {
        let json = r#"{"totals": {"requests": 7}}"#;
        assert_eq!(counted(json, "/totals/requests"), Ok(7.0));
        assert_eq!(counted(json, "/totals/nothing"), Ok(0.0));
        assert_eq!(counted("tokens{kind=\"input\"} 3\ntokens{kind=\"output\"} 5\n", "tokens{kind=\"input\"}"), Ok(3.0));
        assert!(counted("nonsense", "/a").is_err());
    }

    #[test]
    fn cost_is_price_times_tokens() {
        let price = Price { input: 3_000_000, output: 15_000_000, cache_read: 300_000, cache_write: 3_750_000 };
        // 2 × (1111 × 3 + 44 × 15 + 333 × 0.3 + 222 × 3.75) millionths of a dollar.
        assert_eq!(cost(&price, 2), 9850);
    }
}
