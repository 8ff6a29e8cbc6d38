//! What differs between the APIs that the provider speaks. Whose request it is, which turn is played and what is recorded does
//! not differ; it is decided in [`super::script`] and [`super::server`].

use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};

use super::answer::{Answer, Thinking};
use super::contract::{self, Accepted, Endpoint, Limits};
use super::issued::Issued;
use super::openai;
use super::reading::{self, ThinkingMode};
use super::refusal::Refusal;
use super::script::Facts;
use crate::evidence::Face;
use crate::exchange::{Header, header};

impl Face {
    /// The API that a request is about: by its path, or where a path belongs to both, by the header that every Anthropic
    /// client sends.
    pub(super) fn of(path: &str, headers: &[Header]) -> Self {
        match path {
            "/v1/messages" | "/v1/messages/count_tokens" => Self::Anthropic,
            "/v1/chat/completions" => Self::OpenaiChat,
            "/v1/responses" => Self::OpenaiResponses,
            _ if header(headers, "anthropic-version").is_some() => Self::Anthropic,
            _ => Self::OpenaiChat,
        }
    }

    /// The path that inference requests go to.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Anthropic => "/v1/messages",
            Self::OpenaiChat => "/v1/chat/completions",
            Self::OpenaiResponses => "/v1/responses",
        }
    }

    /// What the id of an answer begins with.
    pub(super) fn answer_prefix(self) -> &'static str {
        match self {
            Self::Anthropic => "msg_",
            Self::OpenaiChat => "chatcmpl-",
            Self::OpenaiResponses => "resp_",
        }
    }

    /// What the id of a tool call begins with.
    pub(super) fn call_prefix(self) -> &'static str {
        match self {
            Self::Anthropic => "toolu_",
            Self::OpenaiChat | Self::OpenaiResponses => "call_",
        }
    }

    /// The response header that names a request.
    pub(super) fn id_header(self) -> &'static str {
        match self {
            Self::Anthropic => "request-id",
            Self::OpenaiChat | Self::OpenaiResponses => "x-request-id",
        }
    }

    /// Lets in who has the provider's key, which `is_ours` recognises.
    pub(super) fn authorise(self, headers: &[Header], is_ours: impl Fn(&str) -> bool) -> Result<(), Refusal> {
        let bearer = header(headers, "authorization").map(|value| match value.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            _ => "",
        });
        if bearer.is_some_and(&is_ours) {
            return Ok(());
        }
        match (self, header(headers, "x-api-key"), bearer) {
            (Self::Anthropic, Some(key), _) if is_ours(key) => Ok(()),
            (Self::Anthropic, Some(_), _) => Err(Refusal::unauthenticated("invalid x-api-key")),
            (Self::Anthropic, None, Some(_)) => Err(Refusal::unauthenticated("Invalid authentication credentials")),
            (Self::Anthropic, None, None) => Err(Refusal::unauthenticated("x-api-key header is required")),
            (_, _, Some(_)) => Err(openai::words::wrong_key()),
            (_, _, None) => Err(openai::words::no_key()),
        }
    }

    /// Holds an inference request against the API's rules, credentials aside.
    pub(super) fn check(
        self,
        headers: &[Header],
        body: &[u8],
        issued: &Issued,
        limits: &Limits,
    ) -> Result<Accepted, Refusal> {
        match self {
            Self::Anthropic => contract::check(Endpoint::Messages, headers, body, issued, limits),
            Self::OpenaiChat => openai::contract::check(openai::contract::Endpoint::Chat, body, limits),
            Self::OpenaiResponses => openai::contract::check(openai::contract::Endpoint::Responses, body, limits),
        }
    }

    /// What the conversation of a request holds, as far as scripts ask for it.
    pub(super) fn facts(self, body: &Value) -> Facts<'_> {
        match self {
            Self::Anthropic => reading::facts(body),
            Self::OpenaiChat => openai::reading::chat(body),
            Self::OpenaiResponses => openai::reading::responses(body),
        }
    }

    /// The part of a request that makes its conversation this one.
    pub(super) fn conversation(self, body: &Value) -> &Value {
        match self {
            Self::Anthropic | Self::OpenaiChat => &body["messages"],
            Self::OpenaiResponses => &body["input"],
        }
    }

    /// Whether and how the answer to a request holds thinking.
    pub(super) fn thinking(self, body: &Value) -> Option<Thinking> {
        match self {
            Self::Anthropic => {
                (ThinkingMode::of(body) != ThinkingMode::Off).then_some(Thinking { shown: true, signed: true })
            }
            Self::OpenaiChat => openai::reading::chat_thinking(body),
            Self::OpenaiResponses => openai::reading::responses_thinking(body),
        }
    }

    /// An answer as the chunks of a stream.
    pub(super) fn stream(self, answer: &Answer, body: &Value) -> Vec<Bytes> {
        match self {
            Self::Anthropic => answer.events(),
            Self::OpenaiChat => openai::chat::stream(answer, body["stream_options"]["include_usage"] == true),
            Self::OpenaiResponses => openai::responses::stream(answer, body),
        }
    }

    /// An answer in one piece.
    pub(super) fn whole(self, answer: &Answer, body: &Value) -> Bytes {
        match self {
            Self::Anthropic => answer.message(),
            Self::OpenaiChat => openai::chat::whole(answer),
            Self::OpenaiResponses => openai::responses::whole(answer, body),
        }
    }

    /// A refusal in the envelope of the API.
    pub(super) fn envelope(self, refusal: &Refusal, request_id: &str) -> Value {
        let Refusal { kind, message, param, code, .. } = refusal;
        match self {
            Self::Anthropic => {
                json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id})
            }
            Self::OpenaiChat | Self::OpenaiResponses => {
                json!({"error": {"message": message, "type": kind, "param": param, "code": code}})
            }
        }
    }

    /// What is said of a path that does not exist.
    pub(super) fn unknown_path(self, method: &Method, path: &str) -> Refusal {
        match self {
            Self::Anthropic => Refusal::not_found("Not found"),
            Self::OpenaiChat | Self::OpenaiResponses => openai::words::unknown_path(method, path),
        }
    }

    /// What is said of a path that exists with another method.
    pub(super) fn wrong_method(self, method: &Method, path: &str) -> Refusal {
        match self {
            Self::Anthropic => Refusal::invalid("Method Not Allowed").with_status(405),
            Self::OpenaiChat | Self::OpenaiResponses => openai::words::wrong_method(method, path),
        }
    }

    /// What is said of a model that is not served.
    pub(super) fn unknown_model(self, model: &str) -> Refusal {
        match self {
            Self::Anthropic => Refusal::not_found(format!("model: {model}")),
            Self::OpenaiChat | Self::OpenaiResponses => openai::words::unknown_model(model),
        }
    }

    /// A model as the list of models shows it.
    pub(super) fn model(self, id: &str) -> Value {
        match self {
            Self::Anthropic => {
                json!({"type": "model", "id": id, "display_name": id, "created_at": "2026-01-01T00:00:00Z"})
            }
            Self::OpenaiChat | Self::OpenaiResponses => {
                json!({"id": id, "object": "model", "created": openai::CREATED, "owned_by": "ccsmoke"})
            }
        }
    }
}
