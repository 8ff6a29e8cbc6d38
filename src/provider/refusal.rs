//! What an API says when it will not answer, before it is put into the envelope of either API.

use std::borrow::Cow;

/// A request that the API would refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The error's type, e.g. `invalid_request_error`.
    pub kind: Cow<'static, str>,
    /// The message.
    pub message: String,
    /// Which part of the request is meant, e.g. `messages[0].role`. Only OpenAI says so.
    pub param: Option<String>,
    /// A word for programs, e.g. `missing_required_parameter`. Only OpenAI has one.
    pub code: Option<&'static str>,
}

impl Refusal {
    /// A refusal that neither names a part of the request nor has a code.
    pub(super) fn of(status: u16, kind: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { status, kind: kind.into(), message: message.into(), param: None, code: None }
    }

    /// 400, the status of every broken rule about a request's content.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::of(400, "invalid_request_error", message)
    }

    /// 404 of Anthropic, as for a model or a path that does not exist.
    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::of(404, "not_found_error", message)
    }

    /// 401 of Anthropic.
    pub(super) fn unauthenticated(message: impl Into<String>) -> Self {
        Self::of(401, "authentication_error", message)
    }

    /// The same refusal about this part of the request.
    pub(super) fn about(self, param: impl Into<String>) -> Self {
        Self { param: Some(param.into()), ..self }
    }

    /// The same refusal with this code.
    pub(super) fn coded(self, code: &'static str) -> Self {
        Self { code: Some(code), ..self }
    }

    /// The same refusal with this status.
    pub(super) fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }
}
