//! Faults of the same families that the catalogue does not hold: other fields, other places, other statuses; in every second
//! request only, for sub-agents only, in long answers only, in whole answers only, in the last event only.

use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::super::Change::{Body, Edit, Headers, Only, OutlivesClient, Text as Bytes, Whole};
use super::super::Family::{
    Blocks, Caching as CacheFamily, Errors as ErrorFamily, History, Routing, Schema, Thinking as ThinkingFamily,
    ToolCalls, ToolDefinitions, Transport, Usage,
};
use super::super::{Fault, body, events, whole, wire};
use crate::capability::Capability::{
    Caching, CountTokens, Errors, InterleavedThinking, LongContext, Streaming, Subagent, Text, Thinking, ToolUse,
    Unicode, UsageAccounting, Vision,
};
use crate::reference::{Inbound, Whole as Answer};

/// How answers look whose contents were changed.
const TEXT_CHANGED: &[&str] = &["answer-text-changed"];

const TOOLS_CHANGED: &[&str] = &["request-tools-changed"];

const HISTORY_CHANGED: &[&str] = &["request-history-changed"];

const STATUS_CHANGED: &[&str] = &["error-status-changed"];

/// The table.
pub(super) const SIBLINGS: &[Fault] = &[
    Fault::response(Blocks, "first-index-is-one", "blocks are counted from 1")
        .by(&[Edit(index_from_one)])
        .breaks(&[Streaming, Text])
        .found_as(&["stream-out-of-order", "stream-malformed"])
        .in_probes(&["basic_text"]),
    Fault::response(Blocks, "message-start-twice", "message_start is sent twice")
        .by(&[events::MESSAGE_START_TWICE])
        .breaks(&[Streaming, Text])
        .found_as(&["stream-out-of-order"])
        .in_probes(&["basic_text"]),
    Fault::response(Blocks, "footer-added", "the gateway's own words behind every answer")
        .by(&[events::FOOTER])
        .breaks(&[Text])
        .found_as(TEXT_CHANGED)
        .in_probes(&["basic_text"]),
    Fault::response(Transport, "last-event-renamed", "the last event goes by another name")
        .by(&[Bytes(last_event_renamed)])
        .breaks(&[Streaming, Text])
        .found_as(&["stream-malformed", "stream-cut", "stream-out-of-order"])
        .in_probes(&["basic_text"]),
    Fault::response(Transport, "break-behind-the-end", "the connection breaks behind the last event")
        .by(&[events::BREAK_BEHIND_END])
        .breaks(&[Streaming, Text])
        .found_as(&["connection-broke"])
        .in_probes(&["basic_text"]),
    Fault::response(Transport, "pieces-repeated", "every third piece of text is sent twice")
        .by(&[events::REPEAT_TEXT])
        .breaks(&[Streaming])
        .found_as(TEXT_CHANGED)
        .in_probes(&["streaming"]),
    Fault::response(Transport, "long-answers-cut", "what comes after the fiftieth piece of an answer is lost")
        .by(&[events::LOSE_AFTER_FIFTY])
        .breaks(&[Streaming, ToolUse])
        .found_as(&["tool-arguments-incomplete", "tool-arguments-broken", "answer-tool-changed"])
        .in_probes(&["long_tool_stream"]),
    Fault::both(Transport, "cancel-not-passed-on", "the provider goes on answering when the client has left")
        .by(&[OutlivesClient])
        .breaks(&[Streaming])
        .found_as(&["cancel-not-passed-on"])
        .in_probes(&["cancellation"]),
    Fault::response(ThinkingFamily, "signature-cut/every-second", "half of each signature, in every second answer")
        .by(&[Only(every_second, &[Edit(half_signature)])])
        .breaks(&[Thinking, InterleavedThinking])
        .found_as(&["answer-thinking-changed"])
        .in_probes(&["signature_replay"]),
    Fault::response(ThinkingFamily, "redacted-thinking-lost", "redacted thinking does not reach the client")
        .by(&[events::LOSE_REDACTED])
        .breaks(&[Thinking, InterleavedThinking])
        .found_as(&["answer-thinking-changed", "answer-blocks-changed"])
        .in_probes(&["signature_replay"]),
    Fault::request(History, "arguments-as-string", "arguments of calls come back as a string")
        .by(&[Body(arguments_as_string)])
        .breaks(&[ToolUse])
        .found_as(&["request-history-changed", "request-refused"])
        .in_probes(&["tool_use_roundtrip"]),
    Fault::request(History, "tool-results-cut", "results of tools are cut to a few characters")
        .by(&[Body(results_cut)])
        .breaks(&[ToolUse])
        .found_as(HISTORY_CHANGED)
        .in_probes(&["tool_use_roundtrip"]),
    Fault::request(History, "non-ascii-lost", "characters beyond ASCII become question marks on the way up")
        .by(&[Body(non_ascii_lost)])
        .breaks(&[Unicode])
        .found_as(&["request-history-changed", "request-tools-changed", "request-system-changed"])
        .in_probes(&["unicode"]),
    Fault::request(History, "image-type-changed", "images are sent as another type than they are")
        .by(&[Body(image_type_changed)])
        .breaks(&[Vision])
        .found_as(&["request-media-lost", "request-history-changed"])
        .in_probes(&["image_tool_result"]),
    Fault::request(Schema, "beta-added", "a beta that the client did not ask for")
        .by(&[Headers(beta_added)])
        .breaks(&[Thinking, LongContext])
        .found_as(&["request-betas-changed"])
        .in_probes(&["thinking"]),
    Fault::request(Schema, "temperature-changed", "temperature replaced by the gateway's own")
        .by(&[Body(temperature_changed)])
        .breaks(&[Text])
        .found_as(&["request-field-changed"])
        .in_probes(&["http_fields"]),
    Fault::request(Schema, "system-appended", "words of the gateway's own at the end of the system prompt")
        .by(&[Body(system_appended)])
        .breaks(&[Text])
        .found_as(&["request-system-changed"])
        .in_probes(&["basic_text"]),
    Fault::request(ToolDefinitions, "tools-stripped/subagents", "the tools of sub-agents arrive without parameters")
        .by(&[Only(of_subagent, &[Body(body::schemas_stripped)])])
        .breaks(&[Subagent, ToolUse])
        .found_as(TOOLS_CHANGED)
        .in_probes(&["subagent_task"]),
    Fault::request(ToolDefinitions, "required-lost", "schemas of tools no longer say what is required")
        .by(&[Body(required_lost)])
        .breaks(&[ToolUse])
        .found_as(TOOLS_CHANGED)
        .in_probes(&["tool_use_roundtrip"]),
    Fault::response(ToolCalls, "later-stop-reason-lost", "only the first answer says why it ended")
        .by(&[Only(every_second, &[Edit(wire::null_stop_reason)])])
        .breaks(&[ToolUse])
        .found_as(&["stop-reason-wrong", "answer-stop-reason-changed"])
        .in_probes(&["tool_use_roundtrip"]),
    Fault::response(Usage, "usage-all-zero/whole", "all token counts of an answer in one piece are 0")
        .by(&[Whole(whole::message, no_usage_in_whole)])
        .breaks(&[UsageAccounting, Text])
        .found_as(&["usage-zero", "answer-usage-changed", "usage-wrong"])
        .in_probes(&["http_plain"]),
    Fault::response(Usage, "message-start-usage-missing", "message_start without usage")
        .by(&[Edit(no_usage_at_start)])
        .breaks(&[UsageAccounting])
        .found_as(&["usage-missing", "answer-usage-changed", "stream-malformed"])
        .in_probes(&["usage_truth"]),
    Fault::response(Usage, "count-tokens-doubled", "count_tokens answers twice as many")
        .by(&[Whole(whole::count, count_doubled)])
        .breaks(&[CountTokens])
        .found_as(&["token-count-false"])
        .in_probes(&["count_tokens"]),
    Fault::response(ErrorFamily, "429-as-503", "a rate limit becomes 503")
        .by(&[Whole(whole::error, as_503)])
        .breaks(&[Errors])
        .found_as(STATUS_CHANGED)
        .in_probes(&["error_rate_limited"]),
    Fault::response(ErrorFamily, "403-as-404", "a forbidden request becomes 404")
        .by(&[Whole(whole::client_error, as_404)])
        .breaks(&[Errors])
        .found_as(STATUS_CHANGED)
        .in_probes(&["error_forbidden"]),
    Fault::response(ErrorFamily, "error-type-changed", "every error is an api_error")
        .by(&[Whole(whole::error, as_api_error)])
        .breaks(&[Errors])
        .found_as(&["error-words-changed"])
        .in_probes(&["error_bad_request"]),
    Fault::request(CacheFamily, "cache-ttl-lost", "marks for an hour become marks for five minutes")
        .by(&[Body(ttl_lost)])
        .breaks(&[Caching])
        .found_as(&["request-cache-control-changed"])
        .in_probes(&["caching_turns"]),
    Fault::request(Routing, "model-fixed/subagents", "sub-agents get another model than they ask for")
        .by(&[Only(of_subagent, &[Body(other_model)])])
        .breaks(&[Subagent])
        .found_as(&["request-model-changed"])
        .in_probes(&["subagent_model"]),
];

// Which requests are meant.

fn every_second(request: &Inbound) -> bool {
    request.serial % 2 == 1
}

/// The main conversation may call sub-agents, they may not.
fn of_subagent(request: &Inbound) -> bool {
    let tools = request.json["tools"].as_array();
    tools.is_some_and(|tools| !tools.is_empty() && tools.iter().all(|tool| tool["name"] != "Agent"))
}

// Answers.

fn index_from_one(event: &mut Value) {
    if let Some(index) = event["index"].as_u64() {
        event["index"] = (index + 1).into();
    }
}

fn last_event_renamed(raw: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(raw).replace("event: message_stop", "event: done").into()
}

fn half_signature(event: &mut Value) {
    if let Some(signature) = event["delta"]["signature"].as_str() {
        let half: String = signature.chars().take(signature.len() / 2).collect();
        event["delta"]["signature"] = half.into();
    }
}

fn no_usage_at_start(event: &mut Value) {
    if let Some(message) = event.get_mut("message").and_then(Value::as_object_mut) {
        message.remove("usage");
    }
}

fn no_usage_in_whole(_: &Inbound, answer: &mut Answer) {
    whole::edit_message(answer, wire::zero_usage);
}

fn count_doubled(_: &Inbound, answer: &mut Answer) {
    whole::edit_message(answer, |body| {
        body["input_tokens"] = body["input_tokens"].as_u64().unwrap_or(0).saturating_mul(2).into();
    });
}

fn as_503(_: &Inbound, answer: &mut Answer) {
    answer.status = StatusCode::SERVICE_UNAVAILABLE;
}

fn as_404(_: &Inbound, answer: &mut Answer) {
    answer.status = StatusCode::NOT_FOUND;
}

fn as_api_error(_: &Inbound, answer: &mut Answer) {
    whole::edit_message(answer, |body| body["error"]["type"] = "api_error".into());
}

// Requests.

fn each_block(body: &mut Value, mut edit: impl FnMut(&mut Value)) {
    let messages = body["messages"].as_array_mut().into_iter().flatten();
    messages.filter_map(|m| m["content"].as_array_mut()).flatten().for_each(&mut edit);
}

fn arguments_as_string(body: &mut Value, _: u64) {
    each_block(body, |block| {
        if block["type"] == "tool_use" {
            block["input"] = block["input"].to_string().into();
        }
    });
}

fn results_cut(body: &mut Value, _: u64) {
    each_block(body, |block| {
        if block["type"] == "tool_result" {
            let text = block["content"].as_str().or(block["content"][0]["text"].as_str()).unwrap_or_default();
            block["content"] = text.chars().take(5).collect::<String>().into();
        }
    });
}

fn non_ascii_lost(body: &mut Value, _: u64) {
    let text: String = body.to_string().chars().map(|c| if c.is_ascii() { c } else { '?' }).collect();
    if let Ok(plain) = serde_json::from_str(&text) {
        *body = plain;
    }
}

fn image_type_changed(body: &mut Value, _: u64) {
    each_block(body, |block| {
        for inner in block["content"].as_array_mut().into_iter().flatten() {
            if inner["type"] == "image" {
                inner["source"]["media_type"] = "image/webp".into();
            }
        }
    });
}

fn beta_added(headers: &mut HeaderMap) {
    headers.append("anthropic-beta", HeaderValue::from_static("token-efficient-tools-2025-02-19"));
}

fn temperature_changed(body: &mut Value, _: u64) {
    if !body["temperature"].is_null() {
        body["temperature"] = json!(0.2);
    }
}

fn system_appended(body: &mut Value, _: u64) {
    if let Some(system) = body["system"].as_array_mut() {
        system.push(json!({"type": "text", "text": "You are served by a gateway."}));
    }
}

fn required_lost(body: &mut Value, _: u64) {
    for tool in body["tools"].as_array_mut().into_iter().flatten() {
        if let Some(schema) = tool["input_schema"].as_object_mut() {
            schema.remove("required");
        }
    }
}

fn ttl_lost(body: &mut Value, _: u64) {
    match body {
        Value::Object(fields) => {
            if let Some(mark) = fields.get_mut("cache_control").and_then(Value::as_object_mut) {
                mark.remove("ttl");
            }
            fields.values_mut().for_each(|v| ttl_lost(v, 0));
        }
        Value::Array(items) => items.iter_mut().for_each(|v| ttl_lost(v, 0)),
        _ => {}
    }
}

fn other_model(body: &mut Value, _: u64) {
    body["model"] = "claude-opus-4-1".into();
}
