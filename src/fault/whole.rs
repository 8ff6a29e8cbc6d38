//! What a gateway does to answers that it takes whole: errors, counts, lists of models, answers that are not streamed.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::reference::{Head, Inbound, Whole};

pub(super) fn error(_: &Inbound, head: &Head) -> bool {
    head.status.is_client_error() || head.status.is_server_error()
}

pub(super) fn client_error(_: &Inbound, head: &Head) -> bool {
    head.status.is_client_error()
}

pub(super) fn count(request: &Inbound, head: &Head) -> bool {
    request.is_count() && head.status.is_success()
}

pub(super) fn models(request: &Inbound, head: &Head) -> bool {
    request.head.uri.path() == "/v1/models" && head.status.is_success()
}

/// A message that is not streamed.
pub(super) fn message(request: &Inbound, head: &Head) -> bool {
    let json = head.headers.get("content-type").is_some_and(|v| v.as_bytes().starts_with(b"application/json"));
    request.is_inference() && head.status == 200 && json
}

fn words(answer: &Whole) -> String {
    answer.value()["error"]["message"].as_str().unwrap_or_default().to_owned()
}

pub(super) fn compressed_words(_: &Inbound, answer: &mut Whole) {
    let packed = gzip(&answer.body);
    let garbled = String::from_utf8_lossy(&packed).into_owned();
    *answer = Whole::refusal(400, "invalid_request_error", &garbled);
}

pub(super) fn gzip(bytes: &[u8]) -> Bytes {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    // Writing to memory does not fail.
    let written = encoder.write_all(bytes).and_then(|()| encoder.finish());
    written.unwrap_or_default().into()
}

pub(super) fn masked_context_error(_: &Inbound, answer: &mut Whole) {
    if is_context_error(answer) {
        *answer = Whole::json(502, &json!({"error": {"message": "All target providers failed."}}));
    }
}

pub(super) fn generic_context_error(_: &Inbound, answer: &mut Whole) {
    if is_context_error(answer) {
        let mut body = answer.value();
        body["error"]["message"] = "The request could not be processed.".into();
        answer.set_json(&body);
    }
}

fn is_context_error(answer: &Whole) -> bool {
    let words = words(answer);
    words.contains("prompt is too long") || words.contains("exceed context limit")
}

pub(super) fn detail(_: &Inbound, answer: &mut Whole) {
    answer.set_json(&json!({"detail": words(answer)}));
}

pub(super) fn bare_string(_: &Inbound, answer: &mut Whole) {
    answer.set_json(&json!({"error": words(answer)}));
}

pub(super) fn null_type(_: &Inbound, answer: &mut Whole) {
    let inner = answer.value().to_string();
    answer.set_json(&json!({"error": {"message": inner, "type": null, "param": null, "code": null}}));
}

pub(super) fn plain_text(_: &Inbound, answer: &mut Whole) {
    let status = answer.status;
    *answer = Whole::new(status.as_u16(), "text/plain", words(answer));
}

pub(super) fn generic_500(_: &Inbound, answer: &mut Whole) {
    *answer = Whole::json(500, &json!({"error": {"message": "Internal error"}}));
}

pub(super) fn final_400(_: &Inbound, answer: &mut Whole) {
    *answer = Whole::refusal(400, "invalid_request_error", &words(answer));
}

pub(super) fn error_in_200(_: &Inbound, answer: &mut Whole) {
    let body = answer.value();
    *answer = Whole::json(200, &body);
}

pub(super) fn gpt_ids(_: &Inbound, answer: &mut Whole) {
    each_model(answer, |n, model| model["id"] = format!("gpt-{}", n + 4).into());
}

pub(super) fn no_display_names(_: &Inbound, answer: &mut Whole) {
    each_model(answer, |_, model| {
        if let Some(fields) = model.as_object_mut() {
            fields.remove("display_name");
        }
    });
}

pub(super) fn no_models(_: &Inbound, answer: &mut Whole) {
    answer.set_json(&json!({"data": [], "has_more": false, "first_id": null, "last_id": null}));
}

fn each_model(answer: &mut Whole, mut edit: impl FnMut(usize, &mut Value)) {
    let mut body = answer.value();
    for (n, model) in body["data"].as_array_mut().into_iter().flatten().enumerate() {
        edit(n, model);
    }
    answer.set_json(&body);
}

/// Only what stands in messages is counted.
pub(super) fn undercount(request: &Inbound, answer: &mut Whole) {
    let texts: usize =
        request.json["messages"].as_array().into_iter().flatten().map(|m| m["content"].to_string().len()).sum();
    answer.set_json(&json!({"input_tokens": texts / 4}));
}

/// What is done to every message: in a stream event by event, or whole.
pub(super) fn edit_message(answer: &mut Whole, edit: impl FnOnce(&mut Value)) {
    let mut body = answer.value();
    edit(&mut body);
    answer.set_json(&body);
}

pub(super) fn whole_without_cache_counts(_: &Inbound, answer: &mut Whole) {
    edit_message(answer, super::wire::without_cache_counts);
}

pub(super) fn whole_end_turn(_: &Inbound, answer: &mut Whole) {
    edit_message(answer, |body| {
        if body["stop_reason"] == "stop_sequence" {
            body["stop_reason"] = "end_turn".into();
            body["stop_sequence"] = Value::Null;
        }
    });
}

pub(super) fn whole_length_lost(_: &Inbound, answer: &mut Whole) {
    edit_message(answer, |body| {
        if body["stop_reason"] == "max_tokens" {
            body["stop_reason"] = "end_turn".into();
        }
    });
}

/// A streamed answer.
pub(super) fn stream(request: &Inbound, head: &Head) -> bool {
    super::apply::is_stream(request, head)
}

pub(super) fn length_as_500(_: &Inbound, answer: &mut Whole) {
    if String::from_utf8_lossy(&answer.body).contains("\"stop_reason\":\"max_tokens\"") {
        *answer = Whole::json(500, &json!({"error": {"message": "finish_reason length"}}));
    }
}
