//! What a gateway may change on the way without being blamed: a closed list, so that a misspelt entry is an error and not a
//! silent permission.

use std::fmt;
use std::str::FromStr;

/// A declared rewrite. Everything that is not declared has to arrive as it was sent.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rewrite {
    /// `model`: the name of the model, in requests and in answers.
    Model,
    /// `metadata`: the request's `metadata` is changed or removed.
    Metadata,
    /// `query`: the query of the request's target, such as `?beta=true`, is changed or removed.
    Query,
    /// `header:NAME`: this header is changed or removed, on the way up and on the way down. The name is in small letters.
    Header(String),
    /// `system_message`: system texts are moved, joined, or removed where they are empty. A translation has one place for all
    /// of them: the billing header and `role: "system"` entries end up in the one system message.
    SystemMessage,
    /// `thinking_signature`: thinking comes back without its signature, because the provider's protocol has none.
    ThinkingSignature,
    /// `usage_start`: the counts in `message_start` are 0; those in `message_delta` have to be right all the same.
    UsageStart,
    /// `pings`: pings of the provider are not passed on.
    Pings,
    /// `count_tokens`: the answer to a request to count tokens is an estimate of the gateway's own.
    CountTokens,
    /// `error_message`: words are put around the provider's error message; its type and status stay.
    ErrorMessage,
    /// `retries`: the gateway asks again after a failure that can pass, perhaps somebody else. It is a promise more than a
    /// permission: a failure that is passed on at once is then a defect.
    Retries,
}

/// The rewrites without a parameter, by the name that files use.
const PLAIN: [(&str, Rewrite); 10] = [
    ("model", Rewrite::Model),
    ("metadata", Rewrite::Metadata),
    ("query", Rewrite::Query),
    ("system_message", Rewrite::SystemMessage),
    ("thinking_signature", Rewrite::ThinkingSignature),
    ("usage_start", Rewrite::UsageStart),
    ("pings", Rewrite::Pings),
    ("count_tokens", Rewrite::CountTokens),
    ("error_message", Rewrite::ErrorMessage),
    ("retries", Rewrite::Retries),
];

impl FromStr for Rewrite {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((_, rewrite)) = PLAIN.iter().find(|(name, _)| *name == text) {
            return Ok(rewrite.clone());
        }
        let token = |name: &str| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
        };
        if let Some(name) = text.strip_prefix("header:") {
            if token(name) {
                return Ok(Self::Header(name.to_ascii_lowercase()));
            }
            return Err(format!("{name:?} is not the name of a header; write for example \"header:retry-after\""));
        }
        let known = PLAIN.map(|(name, _)| name).join(", ");
        Err(format!("unknown rewrite {text:?}; known are {known} and header:NAME"))
    }
}

impl fmt::Display for Rewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header(name) => write!(f, "header:{name}"),
            plain => f.write_str(PLAIN.iter().find(|(_, r)| r == plain).map_or("", |(name, _)| name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rewrite_is_written_as_it_is_read() {
        let names = PLAIN.iter().map(|(name, _)| *name).chain(["header:x-claude-code-session-id"]);
        for name in names {
            assert_eq!(name.parse::<Rewrite>().unwrap().to_string(), name);
        }
        assert_eq!("header:Retry-After".parse::<Rewrite>().unwrap().to_string(), "header:retry-after");
        assert!("header:a b".parse::<Rewrite>().unwrap_err().contains("not the name of a header"));
        assert!("modell".parse::<Rewrite>().unwrap_err().contains("known are model, metadata"));
    }
}
