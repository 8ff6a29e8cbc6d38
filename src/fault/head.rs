//! What a gateway does to the head of a request.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;

use crate::reference::Inbound;

/// The header that lists beta features.
const BETAS: &str = "anthropic-beta";

pub(super) fn drop_betas(headers: &mut HeaderMap) {
    headers.remove(BETAS);
}

pub(super) fn old_betas(headers: &mut HeaderMap) {
    if headers.contains_key(BETAS) {
        let list = "claude-code-20250219,interleaved-thinking-2025-05-14,fine-grained-tool-streaming-2025-05-14";
        headers.insert(HeaderName::from_static(BETAS), HeaderValue::from_static(list));
    }
}

/// Takes one beta away.
fn without_beta(headers: &mut HeaderMap, lost: impl Fn(&str) -> bool) {
    let all: Vec<&str> =
        headers.get_all(BETAS).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(',')).collect();
    let kept: Vec<&str> = all.iter().map(|b| b.trim()).filter(|b| !lost(b)).collect();
    if kept.len() == all.len() {
        return;
    }
    let Ok(value) = HeaderValue::from_str(&kept.join(",")) else { return };
    headers.insert(HeaderName::from_static(BETAS), value);
}

pub(super) fn drop_context_management_beta(headers: &mut HeaderMap) {
    without_beta(headers, |beta| beta.starts_with("context-management"));
}

pub(super) fn drop_thinking_beta(headers: &mut HeaderMap) {
    without_beta(headers, |beta| beta.starts_with("interleaved-thinking"));
}

pub(super) fn drop_version(headers: &mut HeaderMap) {
    headers.remove("anthropic-version");
}

pub(super) fn drop_identity(headers: &mut HeaderMap) {
    for name in ["user-agent", "x-app", BETAS] {
        headers.remove(name);
    }
}

pub(super) fn swap_credential(headers: &mut HeaderMap) {
    let bearer = headers.remove("authorization");
    let key = headers.remove("x-api-key");
    let bare = |v: HeaderValue| v.to_str().ok().map(|t| t.trim_start_matches("Bearer ").to_owned());
    if let Some(token) = bearer.and_then(bare).and_then(|t| HeaderValue::from_str(&t).ok()) {
        headers.insert(HeaderName::from_static("x-api-key"), token);
    }
    if let Some(token) = key.and_then(bare).and_then(|t| HeaderValue::from_str(&format!("Bearer {t}")).ok()) {
        headers.insert(HeaderName::from_static("authorization"), token);
    }
}

/// The list of betas as Bedrock takes it, with all of them in one string.
pub(super) fn betas_as_one(request: &mut Inbound) {
    let list = request.header(BETAS).to_owned();
    if !request.is_inference() || list.is_empty() {
        return;
    }
    let one = HeaderValue::from_str(&list.replace(',', "%2C"));
    if let Ok(one) = one {
        request.head.headers.insert(HeaderName::from_static(BETAS), one);
    }
}

pub(super) fn betas_in_body(request: &mut Inbound) {
    let list = request.header(BETAS).to_owned();
    if !request.is_inference() || list.is_empty() {
        return;
    }
    request.head.headers.remove(BETAS);
    let mut body = request.json.clone();
    body["anthropic_beta"] = json!([list]);
    request.set_json(&body);
}

/// The request goes on as it is to a provider that knows only its own path.
pub(super) fn untranslated_path(request: &mut Inbound) {
    if let Ok(path) = format!("/v1{}", request.head.uri.path()).parse() {
        request.head.uri = path;
    }
}
