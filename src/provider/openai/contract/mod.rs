//! What OpenAI's APIs refuse, in their words. Pure, like [`crate::provider::contract`]: bytes in, a refusal or an acceptance out.
//!
//! Fields that are not known are accepted and named in [`Accepted::unknown`]: a provider behind a gateway is more often one that
//! resembles OpenAI than OpenAI itself, and each has fields of its own.

mod chat;
mod responses;
mod tools;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde_json::Value;

use super::words;
use crate::provider::contract::{Accepted, Limits, MAX_BODY_BYTES};
use crate::provider::count;
use crate::provider::refusal::Refusal;

/// What a request is sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::provider) enum Endpoint {
    /// `POST /v1/chat/completions`.
    Chat,
    /// `POST /v1/responses`.
    Responses,
}

/// Holds a request against the API's rules, credentials aside.
///
/// # Errors
/// The first rule that it breaks. Shape comes before meaning.
pub(in crate::provider) fn check(endpoint: Endpoint, body: &[u8], limits: &Limits) -> Result<Accepted, Refusal> {
    if body.len() > MAX_BODY_BYTES {
        return Err(words::too_large(MAX_BODY_BYTES, body.len()));
    }
    let body: Value = serde_json::from_slice(body).map_err(|_| words::unreadable())?;
    if !body.is_object() {
        return Err(words::unreadable());
    }
    let unknown = match endpoint {
        Endpoint::Chat => {
            chat::check(&body)?;
            chat::unknown(&body)
        }
        Endpoint::Responses => {
            responses::check(&body)?;
            responses::unknown(&body)
        }
    };
    within(endpoint, &body, limits)?;
    Ok(Accepted { body, unknown: unknown.into_iter().collect() })
}

/// The limits of the provider: which models, and how much fits.
fn within(endpoint: Endpoint, body: &Value, limits: &Limits) -> Result<(), Refusal> {
    let model = body["model"].as_str().unwrap_or_default();
    if limits.models.as_ref().is_some_and(|known| !known.iter().any(|k| k == model)) {
        return Err(words::unknown_model(model));
    }
    let conversation = match endpoint {
        Endpoint::Chat => "messages",
        Endpoint::Responses => "input",
    };
    let tokens = count::tokens(body);
    match limits.context_window.filter(|window| tokens > *window) {
        Some(window) => Err(words::no_room(conversation, window, tokens)),
        None => Ok(()),
    }
}

/// A required text field of `of`, named `path` in the refusal.
fn text<'a>(of: &'a Value, name: &str, path: &str) -> Result<&'a str, Refusal> {
    match &of[name] {
        Value::Null => Err(words::missing(path)),
        Value::String(text) => Ok(text),
        other => Err(words::wrong_type(path, "a string", other)),
    }
}

/// A required text field that has one of these values.
fn one_of<'a>(of: &'a Value, name: &str, path: &str, supported: &[&str]) -> Result<&'a str, Refusal> {
    let value = text(of, name, path)?;
    if supported.contains(&value) { Ok(value) } else { Err(words::unsupported(path, value, supported)) }
}

/// An entry of a list is an object.
fn object(value: &Value, path: &str) -> Result<(), Refusal> {
    if value.is_object() { Ok(()) } else { Err(words::wrong_type(path, "an object", value)) }
}

/// A count that, where it is given, is at least so much.
fn at_least(body: &Value, name: &str, least: i64) -> Result<(), Refusal> {
    match &body[name] {
        Value::Null => Ok(()),
        Value::Number(n) if n.as_u64().is_some_and(|n| i64::try_from(n).is_ok_and(|n| n < least)) => {
            Err(words::too_small(name, least, &body[name]))
        }
        Value::Number(n) if n.is_u64() => Ok(()),
        Value::Number(n) if n.is_i64() => Err(words::too_small(name, least, &body[name])),
        other => Err(words::wrong_type(name, "an integer", other)),
    }
}

/// The id of a call, which clients make up too.
fn call_id<'a>(of: &'a Value, name: &str, path: &str, most: usize) -> Result<&'a str, Refusal> {
    let id = text(of, name, path)?;
    match id.chars().count() {
        0 => Err(words::empty_string(path)),
        length if length > most => Err(words::too_long(path, most, length)),
        _ => Ok(id),
    }
}

/// The arguments of a call: JSON as a text.
fn arguments(of: &Value, path: &str) -> Result<(), Refusal> {
    let arguments = text(of, "arguments", path)?;
    serde_json::from_str::<serde::de::IgnoredAny>(arguments).map(|_| ()).map_err(|e| words::no_json(path, &e))
}

/// Names the keys of `of` that are not known.
fn name_unknown(found: &mut BTreeSet<String>, of: &Value, what: &str, known: &[&str]) {
    let keys = of.as_object().into_iter().flat_map(serde_json::Map::keys);
    found.extend(keys.filter(|k| !known.contains(&k.as_str())).map(|k| format!("{what}:{k}")));
}
