//! Anthropic Messages in front, Chat Completions behind.

mod answer;
mod request;
mod stream;

use std::io;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::http::Uri;
use hyper::{Response, Version};
use serde_json::{Value, json};

use super::Alteration;
use super::flow::{Connection, Filter, Flow};
use super::message::{Head, Inbound, Whole, set_length, strip_hop_by_hop};
use super::server::{finish, outbound, whole};
use super::upstream;
use crate::decode::decoded;
use crate::exchange::Header;
use crate::tap::Upstream;

/// Where Chat Completions are asked for.
const CHAT: &str = "/v1/chat/completions";

/// Where models are told of.
const MODELS: &str = "/v1/models";

/// Headers of an answer that mean the same in both APIs.
const KEPT: [&str; 3] = ["retry-after", "x-should-retry", "cache-control"];

/// Answers a request of the Messages API by asking a provider of Chat Completions.
pub(super) async fn respond(
    upstream: &Upstream,
    inbound: &Inbound,
    alteration: &dyn Alteration,
) -> io::Result<Response<Flow>> {
    if inbound.is_count() {
        let answer = Whole::json(200, &json!({"input_tokens": request::estimate(&inbound.json)}));
        return Ok(whole(treated(answer, inbound, alteration)));
    }
    if !inbound.is_inference() {
        return other(upstream, inbound, alteration).await;
    }
    let mut body = request::chat(&inbound.json);
    if let Some(refusal) = alteration.translated(inbound, &mut body) {
        return Ok(whole(treated(translated_whole(&refusal, &Value::Null), inbound, alteration)));
    }
    let mut up = Inbound {
        head: inbound.head.clone(),
        body: body.to_string().into(),
        json: Value::Null,
        serial: inbound.serial,
        repeats: inbound.repeats,
    };
    up.head.uri = Uri::from_static(CHAT);
    up.head.headers = headers_up(&inbound.head.headers);
    let (answer, connection) = upstream::send(upstream, outbound(&up), false).await?;
    let (head, body) = answer.into_parts();
    let is_stream = content_type(&head).starts_with("text/event-stream");
    if head.status.is_success() && is_stream {
        return Ok(streamed(&head, body, connection, inbound, alteration));
    }
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let answer = Whole { status: head.status, body: plain(&head.headers, &body)?, headers: head.headers };
    Ok(whole(treated(translated_whole(&answer, &inbound.json), inbound, alteration)))
}

/// A stream of chunks as a stream of events.
fn streamed(
    head: &Head,
    body: hyper::body::Incoming,
    connection: Connection,
    inbound: &Inbound,
    alteration: &dyn Alteration,
) -> Response<Flow> {
    let mut out = Response::new(()).into_parts().0;
    out.version = Version::HTTP_11;
    out.headers = headers_down(&head.headers);
    out.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    let translation: Box<dyn Filter> = Box::new(stream::Translation::new(&inbound.json));
    let filters = std::iter::once(translation).chain(alteration.filters(inbound, &out)).collect();
    alteration.head(inbound, &mut out);
    Response::from_parts(out, Flow::through(body, connection, filters))
}

/// An answer of the provider, good or bad, as the Messages API has it.
fn translated_whole(answer: &Whole, request: &Value) -> Whole {
    let body = answer.value();
    let translated = if answer.status.is_success() {
        answer::message(&body, request)
    } else {
        answer::error(answer.status.as_u16(), &body, &answer.body)
    };
    let mut out = Whole::json(answer.status.as_u16(), &translated);
    out.headers.extend(headers_down(&answer.headers));
    out
}

/// An answer with what the alteration makes of it.
fn treated(mut answer: Whole, inbound: &Inbound, alteration: &dyn Alteration) -> Whole {
    let mut head = Response::new(()).into_parts().0;
    head.status = answer.status;
    head.headers.clone_from(&answer.headers);
    if alteration.collects(inbound, &head) {
        alteration.whole(inbound, &mut answer);
    }
    answer
}

/// Everything but inference: lists of models are put into the other form, the rest passes as it is.
async fn other(upstream: &Upstream, inbound: &Inbound, alteration: &dyn Alteration) -> io::Result<Response<Flow>> {
    let mut request = outbound(inbound);
    *request.headers_mut() = headers_up(&inbound.head.headers);
    set_length(request.headers_mut(), inbound.body.len());
    let (answer, connection) = upstream::send(upstream, request, false).await?;
    if !inbound.head.uri.path().starts_with(MODELS) {
        return finish(answer, connection, inbound, alteration).await;
    }
    let (mut head, body) = answer.into_parts();
    strip_hop_by_hop(&mut head.headers);
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let mut answer = Whole { status: head.status, headers: head.headers, body };
    if answer.status.is_success() {
        answer.set_json(&answer::models(&answer.value()));
    }
    Ok(whole(treated(answer, inbound, alteration)))
}

/// A body without its content coding.
fn plain(headers: &HeaderMap, body: &Bytes) -> io::Result<Bytes> {
    let text = |v: &HeaderValue| String::from_utf8_lossy(v.as_bytes()).into_owned();
    let coding = headers.get(CONTENT_ENCODING).map(|v| Header { name: CONTENT_ENCODING.to_string(), value: text(v) });
    let decoded = decoded(coding.as_slice(), body).map_err(io::Error::other)?;
    Ok(Bytes::copy_from_slice(&decoded))
}

fn content_type(head: &Head) -> &str {
    head.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default()
}

/// The headers of the request to the provider: the credential in its one form there.
fn headers_up(from: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    let key = from.get("x-api-key").and_then(|v| v.to_str().ok()).map(|key| format!("Bearer {key}"));
    let bearer = key.and_then(|text| HeaderValue::from_str(&text).ok());
    if let Some(credential) = from.get(AUTHORIZATION).cloned().or(bearer) {
        headers.insert(AUTHORIZATION, credential);
    }
    headers
}

/// The headers of the answer to the client.
fn headers_down(from: &HeaderMap) -> HeaderMap {
    let kept = KEPT.iter().filter_map(|name| Some((HeaderName::from_static(name), from.get(*name)?.clone())));
    let mut headers: HeaderMap = kept.collect();
    if let Some(id) = from.get("x-request-id") {
        headers.insert(HeaderName::from_static("request-id"), id.clone());
    }
    headers
}
