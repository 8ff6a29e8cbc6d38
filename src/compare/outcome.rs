//! Which API an exchange speaks, and what came of it: an answer, a refusal, or nothing.

use serde_json::Value;

use crate::decode::decoded;
use crate::exchange::{Exchange, Request, Response};
use crate::messages::{Answer, StreamEvent, read_message, read_stream};
use crate::openai::{read_chat, read_chat_stream, read_responses, read_responses_stream};
use crate::sse;

/// The API of an inference request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Api {
    /// Anthropic Messages.
    Anthropic,
    /// OpenAI Chat Completions.
    Chat,
    /// OpenAI Responses.
    Responses,
}

impl Api {
    /// The API of a request, by its path; `None` when it does not ask the model for an answer.
    pub(super) fn of(request: &Request) -> Option<Self> {
        let path = request.path().trim_end_matches('/');
        match () {
            () if request.method != "POST" => None,
            () if request.is_inference() => Some(Self::Anthropic),
            () if path.ends_with("/chat/completions") => Some(Self::Chat),
            () if path.ends_with("/responses") => Some(Self::Responses),
            () => None,
        }
    }
}

/// What came of a request to the provider.
#[derive(Debug)]
pub(super) enum Outcome {
    /// An answer, which may have been cut or may have ended with an error.
    Answer(Box<Answer>),
    /// A response with another status than 200.
    Refusal,
    /// No response at all.
    Nothing,
    /// Something that cannot be read, or was not kept whole.
    Unknown,
}

impl Outcome {
    /// What came of an exchange with the provider.
    pub(super) fn of(exchange: &Exchange, api: Api) -> Self {
        let Some(response) = &exchange.response else { return Self::Nothing };
        if response.status != 200 {
            return Self::Refusal;
        }
        if response.body.dropped > 0 {
            return Self::Unknown;
        }
        let Ok(bytes) = decoded(&response.headers, &response.body.bytes) else { return Self::Unknown };
        if response.is_event_stream() {
            return Self::Answer(Box::new(streamed(&bytes, api)));
        }
        let Ok(body) = serde_json::from_slice::<Value>(&bytes) else { return Self::Unknown };
        Self::Answer(Box::new(match api {
            Api::Anthropic => read_message(&body),
            Api::Chat => read_chat(&body),
            Api::Responses => read_responses(&body),
        }))
    }

    /// The answer, when it came to its end.
    pub(super) fn finished(&self) -> Option<&Answer> {
        match self {
            Self::Answer(answer) if answer.finished => Some(answer),
            _ => None,
        }
    }
}

fn streamed(bytes: &[u8], api: Api) -> Answer {
    let items = sse::parse(bytes);
    let events = items.iter().filter_map(|item| match item {
        sse::Item::Event(event) => Some(event),
        _ => None,
    });
    let data = events.clone().map(|e| e.data.as_str());
    match api {
        Api::Anthropic => {
            read_stream(events.map(|e| StreamEvent { name: e.name.as_deref().unwrap_or_default(), data: &e.data }))
        }
        Api::Chat => read_chat_stream(data),
        Api::Responses => read_responses_stream(data),
    }
}

/// What a refusal says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    /// Whether it stands in the envelope of the Messages API.
    pub(super) enveloped: bool,
    /// The type of the error.
    pub(super) kind: String,
    /// The message; the whole body where there is none.
    pub(super) message: String,
}

impl Words {
    /// What the body of a refusal says. Both families of APIs put type and message under `error`.
    pub(super) fn of(response: &Response) -> Self {
        let bytes = decoded(&response.headers, &response.body.bytes).unwrap_or((&*response.body.bytes).into());
        let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let error = &body["error"];
        let text = |key: &str| error[key].as_str().map(str::to_owned);
        Self {
            enveloped: body["type"] == "error" && error["type"].is_string() && error["message"].is_string(),
            kind: text("type").unwrap_or_default(),
            message: text("message").unwrap_or_else(|| String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    /// What an `error` event of a stream says.
    pub(super) fn of_event(error: &str) -> Self {
        let (kind, message) = error.split_once(": ").unwrap_or(("", error));
        Self { enveloped: true, kind: kind.to_owned(), message: message.to_owned() }
    }
}
