//! The HTTP side: which path means what, who may ask, and how refusals and answers are put into responses.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Response, StatusCode};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::net::TcpListener;

use super::Keys;
use super::Shared;
use super::answer::{Answer, Origin, json_bytes};
use super::contract::{self, Accepted, Endpoint, MAX_BODY_BYTES, Refusal};
use super::count;
use super::reply::Reply;
use super::{script, wire};
use crate::evidence::{Face, ProviderRecord};
use crate::exchange::Header;
use crate::probe::{Turn, TurnError, Wire};
use crate::serve::http;

/// What is answered to a conversation that no running cell registered.
const UNCLAIMED: &str = "ccsmoke: this conversation is not part of any running cell";

/// Where tokens are counted.
const COUNT_TOKENS: &str = "/v1/messages/count_tokens";

/// Where models are listed.
const MODELS_PATH: &str = "/v1/models";

/// Models that are listed when none are configured.
const MODELS: [&str; 3] = ["claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5"];

/// How many models a list holds when the request does not say.
const MODELS_PER_PAGE: usize = 20;

/// Serves until it is dropped; then every connection ends with it.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let service = service_fn(move |request| respond(Arc::clone(&shared), request));
    crate::serve::serve(listener, http(), service).await;
}

/// Answers one request. The error, that the body did not arrive, closes the connection.
async fn respond(shared: Arc<Shared>, request: hyper::Request<Incoming>) -> Result<Response<Reply>, hyper::Error> {
    let (head, body) = request.into_parts();
    if head.method == Method::HEAD {
        return Ok(Response::new(Reply::whole(Bytes::new())));
    }
    let body = read(body).await?;
    let headers = recorded(&head.headers);
    let (method, path) = (&head.method, head.uri.path());
    let face = Face::of(path, &headers);
    let refused = |refusal: &Refusal| shared.refusal(face, refusal, &body);
    // Whoever may see it.
    let shown = |what: &dyn Fn() -> Result<Value, Refusal>| {
        shared.authorise(face, &headers).and_then(|()| what()).map_or_else(|r| refused(&r), |value| ok(&value))
    };
    let model = model_id(path);
    Ok(match (method, path) {
        (&Method::POST, path) if path == face.path() => {
            let (response, pause) = shared.infer(face, &headers, &body);
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            response
        }
        (&Method::POST, COUNT_TOKENS) => shown(&|| shared.count(&headers, &body)),
        (&Method::GET, MODELS_PATH) => shown(&|| Ok(shared.models(face, head.uri.query().unwrap_or_default()))),
        (&Method::GET, _) if model.is_some() => shown(&|| shared.model(face, model.as_deref().unwrap_or_default())),
        (_, path) if path == face.path() || model.is_some() || [COUNT_TOKENS, MODELS_PATH].contains(&path) => {
            refused(&face.wrong_method(method, path))
        }
        (_, path) => refused(&face.unknown_path(method, path)),
    })
}

/// The model that a path asks for: everything behind the list's own path, whose slashes may be escaped or not.
fn model_id(path: &str) -> Option<String> {
    let id = path.strip_prefix(MODELS_PATH)?.strip_prefix('/').filter(|id| !id.is_empty())?;
    Some(percent_decode_str(id).decode_utf8_lossy().into_owned())
}

/// Reads a body to its end, and keeps of it what fits and one byte more, which tells that it was too large.
async fn read(mut body: Incoming) -> Result<Bytes, hyper::Error> {
    let mut kept = BytesMut::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            let room = (MAX_BODY_BYTES + 1).saturating_sub(kept.len());
            kept.extend_from_slice(&data[..data.len().min(room)]);
        }
    }
    Ok(kept.freeze())
}

fn recorded(headers: &HeaderMap) -> Vec<Header> {
    let field = |(name, value): (&HeaderName, &HeaderValue)| Header {
        name: name.as_str().to_owned(),
        value: String::from_utf8_lossy(value.as_bytes()).into_owned(),
    };
    headers.iter().map(field).collect()
}

fn ok(body: &impl Serialize) -> Response<Reply> {
    json_response(StatusCode::OK, json_bytes(body))
}

fn json_response(status: StatusCode, body: Bytes) -> Response<Reply> {
    let mut response = Response::new(Reply::whole(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

impl Shared {
    fn authorise(&self, face: Face, headers: &[Header]) -> Result<(), Refusal> {
        face.authorise(headers, |key| match self.keys {
            Keys::Own => key.as_bytes().ct_eq(self.api_key.as_bytes()).into(),
            Keys::Any => key != super::WRONG_KEY,
        })
    }

    /// A refusal of a request in the form of its API.
    fn refusal(&self, face: Face, refusal: &Refusal, body: &[u8]) -> Response<Reply> {
        error(face, refusal, &self.issued.id("req_", &[&Sha256::digest(body)]))
    }

    /// `POST /v1/messages/count_tokens`.
    fn count(&self, headers: &[Header], body: &[u8]) -> Result<Value, Refusal> {
        let accepted = contract::check(Endpoint::CountTokens, headers, body, &self.issued, &self.limits)?;
        Ok(json!({"input_tokens": count::tokens(&accepted.body)}))
    }

    /// An inference request of either API: the answer, and how long it is held back as a whole.
    fn infer(&self, face: Face, headers: &[Header], body: &[u8]) -> (Response<Reply>, Duration) {
        let accepted =
            self.authorise(face, headers).and_then(|()| face.check(headers, body, &self.issued, &self.limits));
        match accepted {
            Ok(accepted) => self.play(face, accepted),
            Err(refusal) => {
                // A body that is no JSON can still show whose it is.
                let parsed: Option<Value> = serde_json::from_slice(body).ok();
                let text = String::from_utf8_lossy(body);
                let nonces = match &parsed {
                    Some(body) => script::nonces(body),
                    None => script::nonces_in(&text).collect(),
                };
                let record = ProviderRecord {
                    status: refusal.status,
                    refusal: Some(refusal.message.clone()),
                    ..blank_record(face, parsed.as_ref().is_some_and(wants_stream))
                };
                let ledger = self.claim(&nonces).map_or_else(|| Arc::clone(&self.unclaimed), |c| Arc::clone(&c.ledger));
                let receipt = ledger.enter(record);
                (self.refusal(face, &refusal, body).map(|reply| reply.noting(receipt)), Duration::ZERO)
            }
        }
    }

    /// Answers an accepted request with the turn that its conversation has come to.
    fn play(&self, face: Face, Accepted { body, unknown }: Accepted) -> (Response<Reply>, Duration) {
        let script = self.claim(&script::nonces(&body));
        let stream = wants_stream(&body);
        let facts = face.facts(&body).asked_to_stream(stream);
        let turn = script.as_ref().and_then(|s| facts.choose(&s.conversation.turns, |i| s.may_play(i)));
        let held_back = Duration::from_millis(turn.map_or(0, |t| t.wire.head_ms));
        let nonce = script.as_ref().map_or("", |s| s.conversation.vars.nonce.as_str());
        let name = turn.map_or("", |t| t.name.get_ref().as_str());
        let conversation = Sha256::digest(face.conversation(&body).to_string());
        let origin = Origin {
            face,
            issued: &self.issued,
            parts: [nonce.as_bytes(), name.as_bytes(), &conversation],
            model: body["model"].as_str().unwrap_or_default(),
        };
        let ledger = script.as_ref().map_or(&self.unclaimed, |s| &s.ledger);
        let turn_name = turn.map(|t| t.name.get_ref().clone());
        let record = ProviderRecord { turn: turn_name, unknown, ..blank_record(face, stream) };

        if let Some((turn, error)) = turn.and_then(|t| t.error.as_ref().map(|e| (t, e))) {
            let response = scripted_error(face, turn, error, &origin.request_id());
            let receipt = ledger.enter(ProviderRecord { status: response.status().as_u16(), ..record });
            return (response.map(|reply| reply.noting(receipt)), held_back);
        }
        let answer = match (turn, &script) {
            (Some(turn), Some(script)) => {
                let fill = |text: &str| facts.fill(text, &script.conversation.vars);
                Answer::scripted(turn, &origin, face.thinking(&body), fill)
            }
            (_, Some(_)) => Answer::plain(
                format!(
                    "ccsmoke: no scripted turn fits this conversation (tool results: {}, tools: {})",
                    facts.tool_results,
                    facts.offered()
                ),
                &origin,
            ),
            (_, None) => Answer::plain(UNCLAIMED.to_owned(), &origin),
        };
        let blocks = answer.blocks();
        if turn.is_some() {
            self.issued.remember(&blocks);
        }
        let receipt = ledger.enter(ProviderRecord {
            thinking: answer.has_thinking(),
            usage: Some(answer.usage),
            blocks,
            stop_reason: Some(answer.stop_reason.clone()),
            ..record
        });
        let response = if stream {
            let plain = Wire::default();
            let wire = turn.map_or(&plain, |t| &t.wire);
            let (steps, end) = wire::steps(face, face.stream(&answer, &body), answer.pause, wire);
            streamed(Reply::stream(steps, end))
        } else {
            json_response(StatusCode::OK, face.whole(&answer, &body))
        };
        (with_id(face, response.map(|reply| reply.noting(receipt)), &origin.request_id()), held_back)
    }

    /// `GET /v1/models`; Anthropic's has pages, with `limit` and `after_id`.
    fn models(&self, face: Face, query: &str) -> Value {
        let all: Vec<&str> = match &self.limits.models {
            Some(models) => models.iter().map(String::as_str).collect(),
            None => MODELS.to_vec(),
        };
        let entries = |models: &[&str]| models.iter().map(|id| face.model(id)).collect::<Vec<_>>();
        if face != Face::Anthropic {
            return json!({"object": "list", "data": entries(&all)});
        }
        let query: BTreeMap<Cow<'_, str>, Cow<'_, str>> = url::form_urlencoded::parse(query.as_bytes()).collect();
        let limit = query.get("limit").and_then(|n| n.parse().ok()).unwrap_or(MODELS_PER_PAGE).clamp(1, 1000);
        let after = query.get("after_id").and_then(|id| all.iter().position(|m| m == id)).map_or(0, |at| at + 1);
        let page: Vec<&str> = all.iter().copied().skip(after).take(limit).collect();
        json!({
            "data": entries(&page),
            "has_more": after + page.len() < all.len(),
            "first_id": page.first(),
            "last_id": page.last(),
        })
    }

    /// `GET /v1/models/{id}`.
    fn model(&self, face: Face, id: &str) -> Result<Value, Refusal> {
        match &self.limits.models {
            Some(models) if !models.iter().any(|m| m == id) => Err(face.unknown_model(id)),
            _ => Ok(face.model(id)),
        }
    }
}

/// An error as the API puts it.
fn error(face: Face, refusal: &Refusal, request_id: &str) -> Response<Reply> {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    with_id(face, json_response(status, json_bytes(&face.envelope(refusal, request_id))), request_id)
}

fn with_id(face: Face, mut response: Response<Reply>, request_id: &str) -> Response<Reply> {
    if let Ok(value) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert(face.id_header(), value);
    }
    response
}

fn wants_stream(body: &Value) -> bool {
    body["stream"] == true
}

/// A record of an answer that is not known yet.
fn blank_record(face: Face, streamed: bool) -> ProviderRecord {
    ProviderRecord {
        face,
        turn: None,
        status: 200,
        refusal: None,
        streamed,
        thinking: false,
        usage: None,
        blocks: Vec::new(),
        stop_reason: None,
        unknown: Vec::new(),
        delivered: false,
        abandoned: false,
    }
}

fn streamed(reply: Reply) -> Response<Reply> {
    let mut response = Response::new(reply);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn gzipped(body: &[u8]) -> Bytes {
    let mut coded = GzEncoder::new(Vec::new(), Compression::default());
    // Writing to memory cannot fail.
    let _ = coded.write_all(body);
    coded.finish().unwrap_or_default().into()
}

/// A scripted error, whose words are the script's in either envelope; one that HTTP cannot carry is said aloud instead of
/// being bent.
fn scripted_error(face: Face, turn: &Turn, scripted: &TurnError, request_id: &str) -> Response<Reply> {
    let headers: Option<Vec<(HeaderName, HeaderValue)>> =
        scripted.headers.iter().map(|(name, value)| Some((name.parse().ok()?, value.parse().ok()?))).collect();
    let (true, Some(headers)) = (StatusCode::from_u16(scripted.status).is_ok(), headers) else {
        let message = format!("ccsmoke: the error of turn `{}` has no valid status or headers", turn.name.get_ref());
        return error(face, &Refusal::of(500, "api_error", message), request_id);
    };
    let refusal = Refusal::of(scripted.status, scripted.kind.clone(), scripted.message.clone());
    let mut response = if turn.wire.gzip {
        let body = gzipped(&json_bytes(&face.envelope(&refusal, request_id)));
        let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = with_id(face, json_response(status, body), request_id);
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response
    } else {
        error(face, &refusal, request_id)
    };
    response.headers_mut().extend(headers);
    response
}
