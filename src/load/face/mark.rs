//! Marks of requests: where a source of answers stands behind the gateway, each try says which it is, in a header and at the end of
//! its last message. Gateways drop headers and fields that they do not know; what the model is told, they pass on.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The header with a request's mark.
pub const HEADER: &str = "x-ccsmoke-request";

/// What every mark begins with.
const MARK: &str = "[ccsmoke-request ";

/// Which try of which request of which run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Mark {
    /// The run, or the shard of it.
    pub run: u32,
    /// The scenario's place in the suite.
    pub scenario: u16,
    /// The request's number in the scenario's plan.
    pub index: u64,
    /// How many tries went before.
    pub attempt: u16,
}

impl Mark {
    /// The last mark in a text.
    pub fn find(text: &str) -> Option<Self> {
        let inner = text[text.rfind(MARK)? + MARK.len()..].split_once(']')?.0;
        let mut parts = inner.split(' ');
        let mark = Self {
            run: parts.next()?.parse().ok()?,
            scenario: parts.next()?.parse().ok()?,
            index: parts.next()?.parse().ok()?,
            attempt: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(mark)
    }

    /// The body with this mark at the end of what the user said last; none where there is no such place.
    pub fn put_into(self, body: &[u8]) -> Option<Vec<u8>> {
        let mut body: Value = serde_json::from_slice(body).ok()?;
        let last = body["messages"].as_array_mut()?.iter_mut().rfind(|message| message["role"] == "user")?;
        match &mut last["content"] {
            Value::String(text) => *text = format!("{text}\n\n{self}"),
            Value::Array(blocks) => blocks.push(json!({ "type": "text", "text": self.to_string() })),
            _ => return None,
        }
        serde_json::to_vec(&body).ok()
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { run, scenario, index, attempt } = self;
        write!(f, "{MARK}{run} {scenario} {index} {attempt}]")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINE: Mark = Mark { run: 7, scenario: 1, index: 12, attempt: 2 };

    #[test]
    fn a_mark_stands_at_the_end_of_what_the_user_said_last() {
        for content in [json!("hi"), json!([{ "type": "tool_result", "tool_use_id": "t", "content": "x" }])] {
            let earlier = json!({ "role": "user", "content": "[ccsmoke-request 1 1 1 1]" });
            let body = json!({ "messages": [earlier, { "role": "assistant", "content": "a" }, { "role": "user", "content": content }] });
            let marked = String::from_utf8(MINE.put_into(body.to_string().as_bytes()).unwrap()).unwrap();
            assert_eq!(Mark::find(&marked), Some(MINE), "{marked}");
        }
        for body in ["", "{}", r#"{"messages": []}"#, r#"{"messages": [{"role": "user", "content": 5}]}"#] {
            assert_eq!(MINE.put_into(body.as_bytes()), None, "{body}");
        }
    }

    proptest! {
        #[test]
        fn only_a_whole_mark_is_one(text in ".{0,20}(\\[ccsmoke-request )?[0-9 ]{0,30}\\]?.{0,9}") {
            if let Some(mark) = Mark::find(&text) {
                prop_assert_eq!(text.matches(MARK).count(), 1);
                prop_assert_eq!(Mark::find(&mark.to_string()), Some(mark));
            }
        }
    }
}
