//! What an answer has to be, where a request says so itself: statuses, values, the shape of an error, counters that moved.

use serde::Deserialize;
use serde_json::Value;

use super::metrics::{Flaw, Flaws};
use crate::check::counted;

/// What an answer has to be.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Expect {
    /// One of these statuses; none asks for what fits the rest.
    pub statuses: Vec<u16>,
    /// Values of a JSON body, by JSON pointer.
    pub json: Vec<(String, Value)>,
    /// The shape of an error's body.
    pub error_shape: Option<ErrorShape>,
    /// A stream whose events come in the order of its API, whatever else is forgiven.
    pub order: bool,
    /// A stream that comes bit by bit.
    pub incremental: bool,
    /// By how much counters of the body moved since the scenario began: JSON pointers, or names of Prometheus metrics.
    pub delta: Vec<(String, f64)>,
}

/// The shape of an error's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorShape {
    /// `{"type": "error", "error": {"type": …, "message": …}}`.
    Anthropic,
    /// `{"error": {"message": …, "type": …}}`.
    Openai,
}

/// What came, as far as expectations look at it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Came<'a> {
    /// The status.
    pub status: u16,
    /// The body; of a stream nothing.
    pub body: &'a [u8],
    /// What is wrong with the answer.
    pub flaws: Flaws,
    /// Pieces of content, and in how many reads they came.
    pub pieces: u32,
    /// See above.
    pub content_reads: u32,
    /// The body of the same path when the scenario began.
    pub before: Option<&'a str>,
}

/// Flaws of a stream's order.
const ORDER: [Flaw; 4] = [Flaw::Order, Flaw::EndMarker, Flaw::DoubleFinish, Flaw::Framing];

/// How far a counter may be off: sums of floating numbers are taken with a grain.
const GRAIN: f64 = 1e-9;

impl Expect {
    /// Whether this status is one that is expected: where none is named, one of an error for an error's shape, and else one of success.
    pub fn takes(&self, status: u16) -> bool {
        match (self.statuses.is_empty(), self.error_shape) {
            (false, _) => self.statuses.contains(&status),
            (true, Some(_)) => (400..600).contains(&status),
            (true, None) => (200..300).contains(&status),
        }
    }

    /// Whether a refusal is what is expected.
    pub fn asks_for_refusal(&self) -> bool {
        !self.statuses.is_empty() || self.error_shape.is_some()
    }

    /// What is not as expected, in words.
    pub fn missed(&self, came: &Came<'_>) -> Vec<String> {
        if !self.takes(came.status) {
            let asked = self.statuses.iter().map(u16::to_string).collect::<Vec<_>>().join(" or ");
            let asked = match (asked.is_empty(), self.error_shape) {
                (false, _) => asked,
                (true, Some(_)) => "one of an error".to_owned(),
                (true, None) => "one of success".to_owned(),
            };
            return vec![format!("the status is {}, not {asked}", came.status)];
        }
        let mut missed = Vec::new();
        if !self.json.is_empty() {
            match serde_json::from_slice::<Value>(came.body) {
                Ok(body) => {
                    missed.extend(self.json.iter().filter_map(|(pointer, wanted)| other(&body, pointer, wanted)));
                }
                Err(e) => missed.push(format!("the body is no JSON: {e}")),
            }
        }
        if let Some(shape) = self.error_shape
            && !shape.fits(came.body)
        {
            missed.push(format!("the body is no error of {shape:?}: {}", super::face::error_words(came.body)));
        }
        if self.order {
            let wrong: Vec<&str> = ORDER.iter().filter(|flaw| came.flaws.has(**flaw)).map(|flaw| flaw.name()).collect();
            if !wrong.is_empty() {
                missed.push(format!("the events are not in order: {}", wrong.join(", ")));
            }
        }
        if self.incremental && came.content_reads < came.pieces.clamp(2, 3) {
            let (pieces, reads) = (came.pieces, came.content_reads);
            missed.push(format!("the stream is not incremental: {pieces} pieces came in {reads} reads"));
        }
        missed.extend(self.moved(came));
        missed
    }

    /// Counters that did not move by what is expected, in words.
    pub fn moved(&self, came: &Came<'_>) -> Vec<String> {
        let Ok(after) = std::str::from_utf8(came.body) else { return vec!["the counters are not UTF-8".to_owned()] };
        let wrong = |(name, wanted): &(String, f64)| {
            let Some(before) = came.before else { return Some(format!("{name} could not be read before the steps")) };
            match counted(after, name).and_then(|after| Ok(after - counted(before, name)?)) {
                Ok(moved) if (moved - wanted).abs() <= GRAIN => None,
                Ok(moved) => Some(format!("{name} moved by {moved}, not by {wanted}")),
                Err(words) => Some(words),
            }
        };
        self.delta.iter().filter_map(wrong).collect()
    }
}

/// How a value differs from what is expected.
fn other(body: &Value, pointer: &str, wanted: &Value) -> Option<String> {
    match body.pointer(pointer) {
        None => Some(format!("there is nothing at {pointer}, and not {wanted}")),
        Some(value) if is_same(value, wanted) => None,
        Some(value) => Some(format!("{pointer} is {value}, not {wanted}")),
    }
}

/// Whether two values are the same; `1` and `1.0` are.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        _ => one == other,
    }
}

impl ErrorShape {
    fn fits(self, body: &[u8]) -> bool {
        let Ok(body) = serde_json::from_slice::<Value>(body) else { return false };
        let error = &body["error"];
        match self {
            Self::Anthropic => body["type"] == "error" && error["type"].is_string() && error["message"].is_string(),
            Self::Openai => error["message"].is_string() && body["type"].is_null(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missed(expect: &Expect, came: &Came<'_>) -> String {
        expect.missed(came).join("; ")
    }

    #[test]
    fn a_status_is_one_of_those_expected_or_else_one_of_success() {
        let came = |status| Came { status, ..Came::default() };
        assert_eq!(missed(&Expect::default(), &came(204)), "");
        assert_eq!(missed(&Expect::default(), &came(500)), "the status is 500, not one of success");
        let refused = Expect { statuses: vec![400, 404], ..Expect::default() };
        assert_eq!(missed(&refused, &came(404)), "");
        assert_eq!(missed(&refused, &came(200)), "the status is 200, not 400 or 404");
        let shaped = Expect { error_shape: Some(ErrorShape::Openai), ..Expect::default() };
        assert_eq!(missed(&shaped, &came(200)), "the status is 200, not one of an error");
        let body = br#"{"error": {"message": "no"}}"#;
        assert_eq!(missed(&shaped, &Came { status: 401, body, ..Came::default() }), "");
    }

    #[test]
    fn values_stand_where_their_pointers_say() {
        let json = vec![("/status".to_owned(), Value::from("healthy")), ("/n".to_owned(), Value::from(1))];
        let expect = Expect { json, ..Expect::default() };
        let came = |body| Came { status: 200, body, ..Came::default() };
        assert_eq!(missed(&expect, &came(br#"{"status": "healthy", "n": 1.0}"#)), "");
        let sick = missed(&expect, &came(br#"{"status": "sick"}"#));
        assert_eq!(sick, "/status is \"sick\", not \"healthy\"; there is nothing at /n, and not 1");
        assert!(missed(&expect, &came(b"<html>")).starts_with("the body is no JSON"));
    }

    #[test]
    fn errors_have_the_shape_of_their_api_and_no_other() {
        let anthropic = br#"{"type": "error", "error": {"type": "authentication_error", "message": "no"}}"#;
        let openai = br#"{"error": {"message": "no", "type": "invalid_request_error"}}"#;
        assert!(ErrorShape::Anthropic.fits(anthropic) && ErrorShape::Openai.fits(openai));
        assert!(!ErrorShape::Anthropic.fits(openai) && !ErrorShape::Openai.fits(anthropic));
        assert!(!ErrorShape::Anthropic.fits(b"<html>"));
    }

    #[test]
    fn a_stream_is_incremental_when_it_comes_in_reads_of_its_own() {
        let expect = Expect { incremental: true, order: true, ..Expect::default() };
        let came = |pieces, content_reads| Came { status: 200, pieces, content_reads, ..Came::default() };
        assert_eq!(missed(&expect, &came(20, 3)), "");
        assert_eq!(missed(&expect, &came(2, 2)), "");
        assert!(missed(&expect, &came(20, 2)).contains("20 pieces came in 2 reads"));
        assert!(missed(&expect, &came(0, 0)).contains("not incremental"));
        let flaws = std::iter::once(Flaw::Order).collect();
        assert_eq!(missed(&expect, &Came { flaws, ..came(9, 9) }), "the events are not in order: order");
    }

    #[test]
    fn counters_move_by_exactly_what_is_expected() {
        let expect = Expect { delta: vec![("/requests".to_owned(), 2.0)], ..Expect::default() };
        let came = |before| Came { status: 200, body: br#"{"requests": 5}"#, before, ..Came::default() };
        assert_eq!(missed(&expect, &came(Some(r#"{"requests": 3}"#))), "");
        assert_eq!(missed(&expect, &came(Some("{}"))), "/requests moved by 5, not by 2");
        assert!(missed(&expect, &came(None)).contains("could not be read before"));
    }
}
