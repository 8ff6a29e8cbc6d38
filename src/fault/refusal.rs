//! What a gateway refuses, or the backend that it sends requests to, in the words that they were seen to use.

use serde_json::{Value, json};

use super::body::is_web_search;
use crate::reference::{Inbound, Whole};

/// The top-level fields of a request that gateways with a closed schema know.
pub(super) const KNOWN_FIELDS: [&str; 14] = [
    "model",
    "messages",
    "system",
    "max_tokens",
    "metadata",
    "stop_sequences",
    "stream",
    "temperature",
    "top_k",
    "top_p",
    "tools",
    "tool_choice",
    "thinking",
    "service_tier",
];

/// How long a tool's description may be for such a gateway, in characters.
const LONGEST_DESCRIPTION: usize = 8192;

/// The smallest thinking budget of the API.
const SMALLEST_BUDGET: u64 = 1024;

/// How many characters the backend of a small window takes.
const SMALL_WINDOW: usize = 8_000;

/// How long the `user` field of Chat Completions may be.
const LONGEST_USER: usize = 64;

fn invalid(message: &str) -> Whole {
    Whole::refusal(400, "invalid_request_error", message)
}

fn inference(request: &Inbound) -> Option<&Value> {
    request.is_inference().then_some(&request.json)
}

fn tools(body: &Value) -> impl Iterator<Item = &Value> {
    body["tools"].as_array().into_iter().flatten()
}

/// Whether anything in a value makes the function true.
fn any(value: &Value, found: &impl Fn(&Value) -> bool) -> bool {
    found(value)
        || match value {
            Value::Object(map) => map.values().any(|v| any(v, found)),
            Value::Array(items) => items.iter().any(|v| any(v, found)),
            _ => false,
        }
}

pub(super) fn adaptive(request: &Inbound) -> Option<Whole> {
    let adaptive = inference(request)?["thinking"]["type"] == "adaptive";
    adaptive.then(|| Whole::json(502, &json!({"error": {"message": "all models failed"}})))
}

pub(super) fn disabled_with_effort(request: &Inbound) -> Option<Whole> {
    let disabled = inference(request)?["thinking"]["type"] == "disabled";
    disabled.then(|| invalid("thinking options type cannot be disabled when reasoning_effort is set"))
}

pub(super) fn small_budget(request: &Inbound) -> Option<Whole> {
    budget_below(request, SMALLEST_BUDGET)
}

pub(super) fn medium_budget(request: &Inbound) -> Option<Whole> {
    budget_below(request, SMALLEST_BUDGET * 8)
}

fn budget_below(request: &Inbound, floor: u64) -> Option<Whole> {
    let budget = inference(request)?["thinking"]["budget_tokens"].as_u64()?;
    let words = format!("thinking.enabled.budget_tokens: Input should be greater than or equal to {floor}");
    (budget < floor).then(|| invalid(&words))
}

pub(super) fn system_role(request: &Inbound) -> Option<Whole> {
    let messages = inference(request)?["messages"].as_array()?;
    let at = messages.iter().position(|m| m["role"] == "system")?;
    Some(invalid(&format!("messages.{at}.role: Input should be 'user' or 'assistant'")))
}

pub(super) fn unknown_fields(request: &Inbound) -> Option<Whole> {
    let body = inference(request)?;
    let unknown = body.as_object()?.keys().find(|name| !KNOWN_FIELDS.contains(&name.as_str()));
    let long = |tool: &&Value| tool["description"].as_str().is_some_and(|d| d.chars().count() > LONGEST_DESCRIPTION);
    match (unknown, tools(body).position(|t| long(&t))) {
        (Some(name), _) => Some(invalid(&format!("{name}: Extra inputs are not permitted"))),
        (None, Some(at)) => {
            Some(invalid(&format!("tools.{at}.description: String should have at most 8192 characters")))
        }
        (None, None) => None,
    }
}

pub(super) fn defer_loading(request: &Inbound) -> Option<Whole> {
    let at = tools(inference(request)?).position(|t| t["defer_loading"] == true)?;
    Some(invalid(&format!("tools.{at}.custom.defer_loading: Extra inputs are not permitted")))
}

pub(super) fn schema_keywords(request: &Inbound) -> Option<Whole> {
    const UNKNOWN: [&str; 5] = ["$schema", "propertyNames", "exclusiveMinimum", "uniqueItems", "additionalProperties"];
    let body = inference(request)?;
    let word = UNKNOWN.iter().find(|word| tools(body).any(|t| any(&t["input_schema"], &|v| !v[**word].is_null())))?;
    Some(invalid(&format!(
        "Invalid JSON payload received. Unknown name \"{word}\" at 'tools[0].function_declarations[0].parameters': Cannot find field."
    )))
}

pub(super) fn type_arrays(request: &Inbound) -> Option<Whole> {
    let found = tools(inference(request)?).any(|t| any(&t["input_schema"], &|v| v["type"].is_array()));
    found.then(|| {
        invalid(
            "Invalid JSON payload received. Unknown name \"type\": Proto field is not repeating, cannot start list.",
        )
    })
}

/// The grammar of the tools fails within the stream at first, and as a 500 when the client asks again.
pub(super) fn tool_grammar(request: &Inbound) -> Option<Whole> {
    const WORDS: &str =
        "Engine protocol predict request returned 400: Failed to initialize samplers: failed to parse grammar";
    let body = inference(request)?;
    let late = |v: &Value| ["pattern", "anyOf", "enum", "$schema"].iter().any(|word| !v[word].is_null());
    if !tools(body).any(|t| any(&t["input_schema"], &late)) {
        return None;
    }
    if request.repeats > 0 || !request.streams() {
        return Some(Whole::json(500, &json!({"error": {"message": WORDS}})));
    }
    let error = json!({"type": "error", "error": {"type": "api_error", "message": WORDS}});
    Some(Whole::new(200, "text/event-stream", format!("event: error\ndata: {error}\n\n")))
}

pub(super) fn web_search(request: &Inbound) -> Option<Whole> {
    let at = tools(inference(request)?).position(is_web_search)?;
    Some(invalid(&format!(
        "tools.{at}: Input tag 'web_search_20250305' found using 'type' does not match any of the expected tags: 'custom'"
    )))
}

pub(super) fn web_search_options(request: &Inbound) -> Option<Whole> {
    let options = ["allowed_domains", "blocked_domains", "max_uses"];
    let constrained = |t: &Value| is_web_search(t) && options.iter().any(|name| !t[name].is_null());
    let found = tools(inference(request)?).any(constrained);
    found.then(|| invalid("web_search: allowed_domains and blocked_domains are not supported"))
}

pub(super) fn images(request: &Inbound) -> Option<Whole> {
    let found = any(&inference(request)?["messages"], &|v| v["type"] == "image");
    found.then(|| invalid("messages.0.content.0: image input is not supported by this model"))
}

pub(super) fn documents(request: &Inbound) -> Option<Whole> {
    let found = any(&inference(request)?["messages"], &|v| v["type"] == "document");
    found.then(|| invalid("messages.0.content.0: document input is not supported by this model"))
}

/// Text behind a call. The client puts calls last when it repeats such an answer: several texts beside a call come of it.
pub(super) fn text_after_tool_use(request: &Inbound) -> Option<Whole> {
    let messages = inference(request)?["messages"].as_array()?;
    let behind = |m: &Value| {
        let blocks = m["content"].as_array().map(Vec::as_slice).unwrap_or_default();
        let is_text = |b: &&Value| b["type"] == "text";
        let call = blocks.iter().position(|b| b["type"] == "tool_use");
        let follows = call.is_some_and(|at| blocks[at..].iter().any(|b| is_text(&b)));
        m["role"] == "assistant" && (follows || call.is_some() && blocks.iter().filter(is_text).count() > 1)
    };
    messages.iter().any(behind).then(|| {
        Whole::refusal(
            500,
            "api_error",
            "OpenAI chat conversion does not support assistant text after tool_use in the same message",
        )
    })
}

pub(super) fn small_window(request: &Inbound) -> Option<Whole> {
    let length = inference(request)?.to_string().chars().count();
    (length > SMALL_WINDOW)
        .then(|| invalid("request (8801 tokens) exceeds the available context size (8192 tokens), try increasing it"))
}

pub(super) fn bearer(request: &Inbound) -> Option<Whole> {
    let missing = request.is_inference() && request.header("x-api-key").is_empty();
    missing.then(|| Whole::refusal(401, "authentication_error", "missing client token"))
}

pub(super) fn api_key(request: &Inbound) -> Option<Whole> {
    let missing = request.is_inference() && request.header("authorization").is_empty();
    missing.then(|| Whole::refusal(401, "authentication_error", "missing client token"))
}

/// Models that are no sonnet have no mapping.
pub(super) fn other_models(request: &Inbound) -> Option<Whole> {
    let model = inference(request)?["model"].as_str()?;
    (!model.contains("sonnet")).then(|| invalid(&format!("Unknown model \"{model}\"")))
}

pub(super) fn missing_identity(request: &Inbound) -> Option<Whole> {
    request.is_inference().then(|| Whole::refusal(429, "rate_limit_error", "Error"))
}

/// The first request with this very body fails as it can be retried.
pub(super) fn first_call_fails(request: &Inbound) -> Option<Whole> {
    let first = request.is_inference() && request.repeats == 0;
    first.then(|| Whole::refusal(529, "overloaded_error", "Overloaded"))
}

pub(super) fn first_call_forbidden(request: &Inbound) -> Option<Whole> {
    let first = request.is_inference() && request.repeats == 0;
    first.then(|| Whole::refusal(403, "permission_error", "Request not allowed"))
}

pub(super) fn html(request: &Inbound) -> Option<Whole> {
    const PAGE: &str =
        "<!doctype html><html><head><title>Gateway</title></head><body><div id=\"root\"></div></body></html>";
    request.is_inference().then(|| Whole::new(200, "text/html; charset=utf-8", PAGE))
}

pub(super) fn empty(request: &Inbound) -> Option<Whole> {
    request.is_inference().then(|| Whole::new(200, "text/event-stream", ""))
}

pub(super) fn count_404(request: &Inbound) -> Option<Whole> {
    request.is_count().then(|| Whole::json(404, &json!({"detail": "Not Found"})))
}

pub(super) fn count_501(request: &Inbound) -> Option<Whole> {
    let body = json!({"type": "error", "error": {"type": "api_error", "message": "count_tokens is not implemented"}});
    request.is_count().then(|| Whole::json(501, &body))
}

pub(super) fn count_unrelated(request: &Inbound) -> Option<Whole> {
    request.is_count().then(|| Whole::json(200, &json!({"error": "Unexpected endpoint"})))
}

pub(super) fn count_zero(request: &Inbound) -> Option<Whole> {
    request.is_count().then(|| Whole::json(200, &json!({"input_tokens": 0})))
}

// What the provider behind a translation refuses.

fn openai(message: &str) -> Whole {
    Whole::json(400, &json!({"error": {"type": "invalid_request_error", "message": message}}))
}

pub(super) fn reasoning_missing(body: &Value) -> Option<Whole> {
    let missing = |m: &Value| m["tool_calls"].is_array() && m["reasoning_content"].is_null();
    let found = body["messages"].as_array()?.iter().any(missing) && !body["reasoning_effort"].is_null();
    found.then(|| openai("The reasoning_content in the thinking mode must be passed back to the API."))
}

pub(super) fn long_user(body: &Value) -> Option<Whole> {
    let user = body["user"].as_str()?;
    (user.chars().count() > LONGEST_USER).then(|| {
        openai(&format!("Invalid 'user': string too long. Expected a string with maximum length 64, but got a string with length {} instead.", user.chars().count()))
    })
}
