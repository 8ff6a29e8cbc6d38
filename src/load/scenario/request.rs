//! The requests of `load.once` and `load.steps` as they are written: what is asked, and what has to come of it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, de};
use toml::Spanned;

use crate::load::expect::ErrorShape;
use crate::load::quantity::Time;

/// A request of `load.once` or `load.steps`: a `prompt`, a prompt of a `class`, or a `get`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RequestFile {
    /// Its name: its class in the report.
    #[schemars(with = "String")]
    pub name: Spanned<String>,
    /// The user's message.
    pub prompt: Option<String>,
    /// The class that the user's message is drawn from.
    #[schemars(with = "Option<String>")]
    pub class: Option<Spanned<String>>,
    /// The path that is asked for with GET, such as `/health`. `${VARIABLE:-default}` is filled in.
    #[schemars(with = "Option<String>")]
    pub get: Option<Spanned<String>>,
    /// Which credential is shown.
    #[serde(default)]
    pub auth: Auth,
    /// The system prompt.
    pub system: Option<String>,
    /// The model; drawn like the others' when absent.
    pub model: Option<String>,
    /// Whether the answer is streamed.
    #[serde(default)]
    pub stream: bool,
    /// The most tokens of the answer.
    pub max_tokens: Option<u32>,
    /// How long the answer may take.
    pub deadline: Option<Time>,
    /// Tools on offer.
    #[serde(default)]
    #[schemars(with = "Vec<ToolFile>")]
    pub tool: Vec<Spanned<ToolFile>>,
    /// What has to come of it; a right answer when absent.
    #[schemars(with = "Option<ExpectFile>")]
    pub expect: Option<Spanned<ExpectFile>>,
}

/// Which credential is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// One of the target's.
    #[default]
    Valid,
    /// The word `invalid`.
    Invalid,
    /// None.
    None,
}

/// A tool on offer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ToolFile {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: String,
    /// The JSON Schema of its arguments, as text.
    pub schema: String,
}

/// What has to come of a request.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpectFile {
    /// The status, or any of several; without it any of an error where an `error_shape` is expected, and else any of success.
    pub status: Option<Statuses>,
    /// Values of the JSON body, by JSON pointer: `{ "/status" = "healthy" }`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, serde_json::Value>")]
    pub json: BTreeMap<Spanned<String>, toml::Value>,
    /// The API whose shape the error has.
    pub error_shape: Option<ErrorShape>,
    /// The events of the stream come in the order of the API, also where `checks.ignore` forgives it.
    #[serde(default)]
    pub order: bool,
    /// The stream comes bit by bit and not in a lump.
    #[serde(default)]
    pub incremental: bool,
    /// By how much counters of the body moved since the steps began: `{ "/requests" = 2 }`, or names of Prometheus metrics. The
    /// counters have two seconds, or the `deadline`, to get there.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, f64>")]
    pub delta: BTreeMap<Spanned<String>, f64>,
}

/// One status, or a list of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statuses(pub Vec<u16>);

/// One status. It is read by a visitor of its own, so that a wrong one is shown at its place in a list.
struct Status(u16);

impl<'de> Deserialize<'de> for Status {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StatusVisitor)
    }
}

struct StatusVisitor;

impl Visitor<'_> for StatusVisitor {
    type Value = Status;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a status such as 200")
    }

    fn visit_i64<E: de::Error>(self, status: i64) -> Result<Status, E> {
        let known = u16::try_from(status).ok().filter(|status| (100..600).contains(status));
        known.map(Status).ok_or_else(|| E::custom(format!("{status} is no HTTP status")))
    }
}

impl<'de> Deserialize<'de> for Statuses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StatusesVisitor)
    }
}

struct StatusesVisitor;

impl<'de> Visitor<'de> for StatusesVisitor {
    type Value = Statuses;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a status such as 200, or a list of them")
    }

    fn visit_i64<E: de::Error>(self, status: i64) -> Result<Statuses, E> {
        Ok(Statuses(vec![StatusVisitor.visit_i64::<E>(status)?.0]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Statuses, A::Error> {
        let mut all = Vec::new();
        while let Some(Status(status)) = list.next_element()? {
            all.push(status);
        }
        if all.is_empty() { Err(de::Error::custom("the list of statuses is empty")) } else { Ok(Statuses(all)) }
    }
}

impl JsonSchema for Statuses {
    fn schema_name() -> Cow<'static, str> {
        "Statuses".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let one = json_schema!({ "type": "integer", "minimum": 100, "maximum": 599 });
        json_schema!({
            "description": "One status, or a list of them.",
            "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }],
        })
    }
}
