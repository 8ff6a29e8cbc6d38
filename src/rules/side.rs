//! Rules about the requests beside the conversation: counts of tokens, and the list of models.

use serde_json::Value;

use crate::case::Case;
use crate::decode::decoded;
use crate::exchange::{End, Exchange, Response};

use super::{Found, shorten};

/// Whether this asks how many tokens a request has.
fn is_count(exchange: &Exchange) -> bool {
    exchange.request.method == "POST" && exchange.request.path().ends_with("/v1/messages/count_tokens")
}

fn is_model_list(exchange: &Exchange) -> bool {
    exchange.request.method == "GET" && exchange.request.path().ends_with("/v1/models")
}

/// A finding at an exchange beside the conversation.
fn at(case: &Case<'_>, exchange: &Exchange, message: String) -> Found {
    let found = Found::new(case.far(), message).cite(format!("exchange {}", exchange.id));
    let found = match case.behind(exchange) {
        Some(far) => found.cite(format!("behind {}", far.id)),
        None => found,
    };
    Found { exchange: Some(exchange.id), ..found }
}

/// What a response says, its content coding undone; `Null` when it is not JSON.
fn json(response: &Response) -> Value {
    let body = decoded(&response.headers, &response.body.bytes).unwrap_or_default();
    serde_json::from_slice(&body).unwrap_or_default()
}

fn words(response: &Response) -> String {
    let body = decoded(&response.headers, &response.body.bytes).unwrap_or_default();
    shorten(&String::from_utf8_lossy(&body))
}

/// The requests for a count that were answered, with the answers.
fn counts<'a>(case: &Case<'a>) -> impl Iterator<Item = (&'a Exchange, &'a Response)> {
    let all = case.evidence.exchanges.iter().filter(|e| is_count(e) && e.end == End::Complete);
    all.filter_map(|e| Some((e, e.response.as_ref()?)))
}

pub(super) fn count_refused(case: &Case<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for (exchange, response) in counts(case).filter(|(_, r)| r.status != 200) {
        let passed_on = case.behind(exchange).and_then(|far| far.response.as_ref()).map(|r| r.status);
        // Counting is optional: only a probe that is about it misses it.
        let optional = response.status == 404 && !case.wants_counts();
        if !optional && passed_on != Some(response.status) {
            let message = format!(
                "exchange {} asks for a count of tokens and is answered {}: {}",
                exchange.id,
                response.status,
                words(response)
            );
            found.push(at(case, exchange, message));
        }
    }
    found
}

pub(super) fn count_false(case: &Case<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for (exchange, response) in counts(case).filter(|(_, r)| r.status == 200) {
        let Some(told) = json(response)["input_tokens"].as_u64().filter(|n| *n > 0) else {
            let words = words(response);
            let message = format!("exchange {} asks for a count of tokens and is answered {words:?}", exchange.id);
            found.push(at(case, exchange, message));
            continue;
        };
        let own = case.may_change("count_tokens");
        let true_count = case.behind(exchange).and_then(|far| far.response.as_ref());
        let true_count = true_count.and_then(|r| json(r)["input_tokens"].as_u64()).filter(|_| !own);
        let least = least_tokens(exchange);
        let message = match true_count {
            Some(counted) if counted != told => format!("the provider counted {counted} tokens, the client got {told}"),
            None if told < least => format!(
                "exchange {} asks for a count of tokens and is answered {told}; its texts, tools and system prompt have at least {least}",
                exchange.id
            ),
            _ => continue,
        };
        found.push(at(case, exchange, message));
    }
    found
}

/// Fewer tokens than any tokenizer makes of the request's texts: one for every sixteen characters of system, tools and messages.
fn least_tokens(exchange: &Exchange) -> u64 {
    const CHARACTERS: u64 = 16;
    fn letters(value: &Value) -> u64 {
        match value {
            Value::String(text) => text.split_whitespace().map(|word| word.chars().count() as u64).sum(),
            Value::Array(items) => items.iter().map(letters).sum(),
            // Pictures are counted by their size, not by their bytes.
            Value::Object(fields) => fields.iter().filter(|(key, _)| *key != "source").map(|(_, v)| letters(v)).sum(),
            _ => 0,
        }
    }
    let body = exchange.request.body.json().unwrap_or_default();
    ["system", "tools", "messages"].iter().map(|key| letters(&body[*key])).sum::<u64>() / CHARACTERS
}

/// What the client makes of a list of models: it takes ids that hold `claude` or `anthropic`, follows no redirect, and waits
/// three seconds.
pub(super) fn models_unusable(case: &Case<'_>) -> Vec<Found> {
    const PATIENCE_US: u64 = 3_000_000;
    if !case.wants_models() {
        return Vec::new();
    }
    let mut found = Vec::new();
    for exchange in case.evidence.exchanges.iter().filter(|e| is_model_list(e)) {
        let far = case.behind(exchange).and_then(|far| far.response.as_ref());
        let words = match &exchange.response {
            None => "was never answered".to_owned(),
            Some(response) if response.status != 200 && far.is_some_and(|far| far.status == response.status) => {
                continue;
            }
            Some(response) if response.status != 200 => format!("was answered with {}", response.status),
            Some(_) if exchange.ended_us.saturating_sub(exchange.request.head_us) > PATIENCE_US => {
                "took more than the three seconds that the client waits".to_owned()
            }
            Some(response) => match list_fault(&json(response), far.map(json).as_ref()) {
                Some(words) => words,
                None => continue,
            },
        };
        found.push(at(case, exchange, format!("exchange {} asks for the list of models: it {words}", exchange.id)));
    }
    found
}

/// What is wrong with a list of models, compared with the provider's own where it is known.
fn list_fault(list: &Value, provider: Option<&Value>) -> Option<String> {
    let Some(models) = list["data"].as_array() else { return Some("holds no `data`".to_owned()) };
    let id = |model: &Value| model["id"].as_str().unwrap_or_default().to_owned();
    let usable = |id: &String| ["claude", "anthropic"].iter().any(|word| id.to_ascii_lowercase().contains(word));
    if !models.iter().map(id).any(|id| usable(&id)) {
        let first = models.first().map(id).unwrap_or_default();
        return Some(format!("names no model that the client takes: {} models, the first is {first:?}", models.len()));
    }
    let listed = provider.and_then(|p| p["data"].as_array()).map(Vec::as_slice).unwrap_or_default();
    let hidden: Vec<String> =
        listed.iter().map(id).filter(|wanted| usable(wanted) && !models.iter().any(|m| id(m) == *wanted)).collect();
    if let Some(first) = hidden.first() {
        return Some(format!("hides {} of the provider's models, such as {first}", hidden.len()));
    }
    let nameless = models.iter().find(|m| usable(&id(m)) && m["display_name"].as_str().unwrap_or_default().is_empty());
    nameless.map(|model| format!("gives {} no display_name", id(model)))
}
