//! Requests and answers as an alteration sees them.

use bytes::Bytes;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::http::{request, response};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

/// Headers that belong to one connection and are never passed on (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [&str; 8] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Where Messages are asked for.
const MESSAGES: &str = "/v1/messages";

/// Where tokens are counted.
const COUNT_TOKENS: &str = "/v1/messages/count_tokens";

/// The head of an answer.
pub type Head = response::Parts;

/// A request of the client, with its body whole.
#[derive(Debug)]
pub struct Inbound {
    /// Method, target and headers.
    pub head: request::Parts,
    /// The body.
    pub body: Bytes,
    /// The body as JSON, as the client sent it; null when it is none.
    pub json: Value,
    /// How many requests came before this one.
    pub serial: u64,
    /// How many requests with this very body came before this one.
    pub repeats: u64,
}

impl Inbound {
    /// Whether it asks for an answer of the model.
    pub fn is_inference(&self) -> bool {
        self.head.method == Method::POST && self.head.uri.path() == MESSAGES
    }

    /// Whether it asks to count tokens.
    pub fn is_count(&self) -> bool {
        self.head.method == Method::POST && self.head.uri.path() == COUNT_TOKENS
    }

    /// Whether the answer was asked for as a stream.
    pub fn streams(&self) -> bool {
        self.json["stream"] == true
    }

    /// The value of a header that is text; empty when it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.head.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    /// Replaces the body by this JSON.
    pub fn set_json(&mut self, body: &Value) {
        self.body = body.to_string().into();
    }
}

/// An answer with its body whole.
#[derive(Debug, Clone)]
pub struct Whole {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Whole {
    /// An answer of this type.
    pub fn new(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
        Self { status, headers, body: body.into() }
    }

    /// An answer that is JSON.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::new(status, "application/json", body.to_string())
    }

    /// A refusal in Anthropic's envelope.
    pub fn refusal(status: u16, kind: &str, message: &str) -> Self {
        let mut answer = Self::json(status, &json!({"type": "error", "error": {"type": kind, "message": message}}));
        if let Ok(id) = HeaderValue::from_str(&format!("req_{:032x}", u128::from(status))) {
            answer.headers.insert(HeaderName::from_static("request-id"), id);
        }
        answer
    }

    /// The body as JSON; null when it is none.
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Replaces the body by this JSON.
    pub fn set_json(&mut self, body: &Value) {
        self.body = body.to_string().into();
    }
}

/// Takes away what belongs to the connection on which it came.
pub(super) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<String> = headers
        .get_all("connection")
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    for name in HOP_BY_HOP.into_iter().chain(named.iter().map(String::as_str)) {
        headers.remove(name);
    }
}

/// States the length of a body that is whole.
pub(super) fn set_length(headers: &mut HeaderMap, length: usize) {
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
}
