//! One recorded HTTP request with its response: bytes, times, and how it ended.
//!
//! An [`Exchange`] holds the body bytes exactly as they crossed the wire after transfer decoding, and for every arrival
//! from the network the time and the number of bytes, so that the time of each SSE event can be derived and never has to
//! be stored twice.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

/// One request with its response, as one tap saw it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// Position in order of arrival at the tap, from 0.
    pub id: u32,
    /// What the side nearer to the client sent.
    pub request: Request,
    /// What came back; `None` when no response head ever arrived.
    pub response: Option<Response>,
    /// How the exchange ended.
    pub end: End,
    /// When the exchange was over, in microseconds since the recording began.
    pub ended_us: u64,
}

/// The request half of an exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The method as sent, e.g. `POST`.
    pub method: String,
    /// The request target as sent, in origin form, e.g. `/v1/messages?beta=true`.
    pub target: String,
    /// Header fields in order, names in the case in which they were sent. Credentials are recorded as sent by the
    /// client, which holds only its cell's token; the target's real credential is never recorded.
    pub headers: Vec<Header>,
    /// The body after transfer decoding.
    pub body: Body,
    /// When the request head was complete, in microseconds since the recording began.
    pub head_us: u64,
    /// When the last body byte had arrived, in microseconds since the recording began.
    pub body_us: u64,
}

/// The response half of an exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Header fields in order, names in the case in which they were sent.
    pub headers: Vec<Header>,
    /// The body after transfer decoding, but with any content encoding left as it was.
    pub body: Body,
    /// When the response head was complete, in microseconds since the recording began.
    pub head_us: u64,
    /// Arrivals of body bytes in order; their lengths add up to the length of the whole body, kept or not.
    pub arrivals: Vec<Arrival>,
}

/// Some body bytes that arrived together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// When, in microseconds since the recording began.
    pub at_us: u64,
    /// How many bytes.
    pub len: u64,
}

/// One header field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The name, in the case in which it was sent.
    pub name: String,
    /// The value without surrounding white space; bytes that are not UTF-8 are replaced.
    pub value: String,
}

/// How an exchange ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The response was complete by its own framing.
    Complete,
    /// The side behind the tap broke off after its response head: early end, reset, or broken framing.
    UpstreamBroke {
        /// What was seen, in words.
        error: String,
    },
    /// The client went away before the response was complete.
    ClientLeft,
    /// No response head came: connection refused, closed, garbage, or still silent when the cell ended.
    NeverAnswered {
        /// What was seen, in words.
        error: String,
    },
    /// The tap itself answered and forwarded nothing: wrong token, Host, Origin or target, malformed request, runaway cell.
    Refused {
        /// Why, in words.
        reason: String,
    },
}

/// The bytes of a body, up to the recorder's limit.
///
/// On disk a body is `{"text": …}` when it is UTF-8 and `{"base64": …}` when it is not, with `dropped` beside it when the
/// recorder's limit was passed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Body {
    /// The bytes kept: the first ones.
    pub bytes: Vec<u8>,
    /// How many further bytes crossed the wire and were not kept.
    pub dropped: u64,
}

impl Body {
    /// A body that was kept whole.
    pub fn whole(bytes: impl Into<Vec<u8>>) -> Self {
        Self { bytes: bytes.into(), dropped: 0 }
    }

    /// The bytes as text, with what is not UTF-8 replaced.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }

    /// The body as JSON, or `None` when it is cut or not JSON.
    pub fn json(&self) -> Option<serde_json::Value> {
        if self.dropped > 0 {
            return None;
        }
        serde_json::from_slice(&self.bytes).ok()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredBody {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    base64: Option<String>,
    #[serde(skip_serializing_if = "is_zero", default)]
    dropped: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Serialize for Body {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (text, base64) = match std::str::from_utf8(&self.bytes) {
            Ok(text) => (Some(text.to_owned()), None),
            Err(_) => (None, Some(BASE64.encode(&self.bytes))),
        };
        StoredBody { text, base64, dropped: self.dropped }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = StoredBody::deserialize(deserializer)?;
        let bytes = match (stored.text, stored.base64) {
            (Some(text), None) => text.into_bytes(),
            (None, Some(coded)) => BASE64.decode(coded).map_err(serde::de::Error::custom)?,
            _ => return Err(serde::de::Error::custom("a body has either `text` or `base64`")),
        };
        Ok(Self { bytes, dropped: stored.dropped })
    }
}

/// The value of the first header of that name (any case).
pub fn header<'a>(headers: &'a [Header], name: &str) -> Option<&'a str> {
    headers.iter().find(|h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value.as_str())
}

impl Exchange {
    /// Moves all times by so many microseconds into the past, to another recording's clock; none goes below 0.
    pub fn shift_back(&mut self, by_us: u64) {
        let back = |time: &mut u64| *time = time.saturating_sub(by_us);
        back(&mut self.request.head_us);
        back(&mut self.request.body_us);
        back(&mut self.ended_us);
        if let Some(response) = &mut self.response {
            back(&mut response.head_us);
            response.arrivals.iter_mut().for_each(|arrival| back(&mut arrival.at_us));
        }
    }
}

impl Request {
    /// The path without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// Whether this asks the model for an answer: `POST …/v1/messages`, whatever stands in front or in the query.
    pub fn is_inference(&self) -> bool {
        self.method == "POST" && self.path().trim_end_matches('/').ends_with("/v1/messages")
    }
}

impl Response {
    /// Whether the response says that it is an SSE stream.
    pub fn is_event_stream(&self) -> bool {
        header(&self.headers, "content-type")
            .is_some_and(|v| v.trim_start().to_ascii_lowercase().starts_with("text/event-stream"))
    }

    /// When the body byte at `offset` had arrived, in microseconds since the recording began.
    pub fn arrived_us(&self, offset: u64) -> Option<u64> {
        let mut end = 0_u64;
        self.arrivals.iter().find_map(|a| {
            end = end.saturating_add(a.len);
            (offset < end).then_some(a.at_us)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_survives_the_disk_whether_it_is_text_or_not() {
        for bytes in [&b"plain \xE2\x98\x83"[..], &b"\xff\x00broken"[..], &b""[..]] {
            let body = Body { bytes: bytes.to_vec(), dropped: 7 };
            let json = serde_json::to_string(&body).unwrap();
            assert_eq!(serde_json::from_str::<Body>(&json).unwrap(), body);
        }
    }

    #[test]
    fn inference_is_recognised_by_its_path_and_not_by_its_query() {
        let mut request = Request {
            method: "POST".into(),
            target: "/some/prefix/v1/messages?beta=true".into(),
            headers: vec![],
            body: Body::default(),
            head_us: 0,
            body_us: 0,
        };
        assert!(request.is_inference());
        request.target = "/v1/messages/count_tokens?beta=true".into();
        assert!(!request.is_inference());
        request.target = "/v1/models?x=/v1/messages".into();
        assert!(!request.is_inference());
    }

    #[test]
    fn the_time_of_a_byte_is_the_time_of_the_arrival_that_brought_it() {
        let response = Response {
            status: 200,
            headers: vec![],
            body: Body::whole(*b"abcdef"),
            head_us: 1,
            arrivals: vec![Arrival { at_us: 10, len: 2 }, Arrival { at_us: 20, len: 4 }],
        };
        assert_eq!(response.arrived_us(0), Some(10));
        assert_eq!(response.arrived_us(2), Some(20));
        assert_eq!(response.arrived_us(5), Some(20));
        assert_eq!(response.arrived_us(6), None);
    }
}
