//! Requests that ccsmoke sends itself, for what the client cannot be made to ask.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::{EndAt, SendExpect};

/// One request that ccsmoke sends itself, through the cell's tap to the target.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Send {
    /// A name for findings.
    pub name: Spanned<String>,
    /// The method.
    #[serde(default = "post")]
    pub method: String,
    /// The path with its query; placeholders are filled in.
    pub path: Spanned<String>,
    /// Header fields beside the credential, `host`, `content-length`, `anthropic-version` and `content-type`; one of the last two is
    /// replaced. Placeholders are filled in.
    #[serde(default)]
    pub headers: BTreeMap<String, Spanned<String>>,
    /// The body as JSON text; placeholders in its texts are filled in.
    pub body: Option<Spanned<String>>,
    /// How the request says who it is from.
    #[serde(default)]
    pub credential: Credential,
    /// Where the answer is left.
    pub abort_after: Option<EndAt>,
    /// What must come back.
    pub expect: Spanned<SendExpect>,
}

fn post() -> String {
    "POST".to_owned()
}

/// How a request says who it is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Credential {
    /// The target's credential, as `Authorization: Bearer`.
    #[default]
    Bearer,
    /// The target's credential, as `x-api-key`.
    ApiKey,
    /// The target's credential, in both forms.
    Both,
    /// One that is nobody's, in both forms.
    Wrong,
    /// None at all.
    None,
}
