//! What the real Messages API refuses, in its words. Pure: plain headers and bytes in, a refusal or an acceptance out, so
//! that a recorded request can be held against it as well as one that just arrived.
//!
//! The wordings are quoted from public reports; the client recovers by some of them, so they are kept to the letter.
//! What is not known here (a new field, beta, block type) is accepted and named in [`Accepted::unknown`].

mod blocks;
mod features;
mod fields;
mod thinking;
mod tool_calls;

#[cfg(test)]
mod tests;

use serde_json::Value;

use super::count;
use super::issued::Issued;
use super::reading::{self, RoleTurn, ThinkingMode};
pub use super::refusal::Refusal;
use crate::exchange::{Header, header};

/// The largest body that the API takes, in bytes.
pub const MAX_BODY_BYTES: usize = 32 * 1024 * 1024;

/// What a request is sent to; the rules differ a little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// `POST /v1/messages`.
    Messages,
    /// `POST /v1/messages/count_tokens`: needs no `max_tokens`.
    CountTokens,
}

/// Limits that differ from one provider to another; none by default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    /// The only models served; any when absent.
    pub models: Option<Vec<String>>,
    /// The context window in (estimated) tokens; unlimited when absent.
    pub context_window: Option<u64>,
}

/// A request that the API would answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// The body.
    pub body: Value,
    /// What it holds that we do not know, sorted: `beta:x-2099-01-01`, `block:foo`, `field:speed`, `message:name`,
    /// `tool:colour`.
    pub unknown: Vec<String>,
}

/// A request as the rules see it.
struct Request<'a> {
    body: &'a Value,
    betas: features::Betas<'a>,
    turns: Vec<RoleTurn<'a>>,
    thinking: ThinkingMode,
    issued: &'a Issued,
}

/// Holds a request against the API's rules, credentials aside.
///
/// # Errors
/// The first rule that it breaks. Shape comes before meaning, as with the real API.
pub fn check(
    endpoint: Endpoint,
    headers: &[Header],
    body: &[u8],
    issued: &Issued,
    limits: &Limits,
) -> Result<Accepted, Refusal> {
    if body.len() > MAX_BODY_BYTES {
        return Err(Refusal::of(413, "request_too_large", "Request exceeds the maximum size"));
    }
    if header(headers, "anthropic-version").is_none_or(str::is_empty) {
        return Err(Refusal::invalid("anthropic-version: header is required"));
    }
    let body: Value = serde_json::from_slice(body)
        .map_err(|e| Refusal::invalid(format!("The request body is not valid JSON: {e}")))?;
    let betas = features::Betas::of(headers);
    fields::check(endpoint, &body, &betas)?;
    let request =
        Request { betas, turns: reading::turns(&body), thinking: ThinkingMode::of(&body), issued, body: &body };
    features::check(&request)?;
    blocks::check(&request)?;
    tool_calls::check(&request)?;
    thinking::check(&request)?;
    within(endpoint, &body, limits)?;
    let unknown = features::unknown(&request);
    Ok(Accepted { body, unknown })
}

/// The limits of the provider: which models, and how much fits.
fn within(endpoint: Endpoint, body: &Value, limits: &Limits) -> Result<(), Refusal> {
    let model = body["model"].as_str().unwrap_or_default();
    if limits.models.as_ref().is_some_and(|known| !known.iter().any(|k| k == model)) {
        return Err(Refusal::not_found(format!("model: {model}")));
    }
    let (Some(window), Endpoint::Messages) = (limits.context_window, endpoint) else { return Ok(()) };
    let prompt = count::tokens(body);
    if prompt > window {
        return Err(Refusal::invalid(format!("prompt is too long: {prompt} tokens > {window} maximum")));
    }
    let max_tokens = body["max_tokens"].as_u64().unwrap_or_default();
    if prompt.saturating_add(max_tokens) > window {
        return Err(Refusal::invalid(format!(
            "input length and `max_tokens` exceed context limit: {prompt} + {max_tokens} > {window}, decrease input \
             length or `max_tokens` and try again"
        )));
    }
    Ok(())
}
