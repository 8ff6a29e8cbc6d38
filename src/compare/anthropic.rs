//! The way up to an Anthropic face: headers that have to pass, and the body value by value.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::json::{Change, diff};
use super::meaning::Meaning;
use super::openai::tell_system;
use super::outcome::{Api, Outcome};
use super::{Kind, Sides};
use crate::exchange::Header;

/// The most places that are told of one request, of each kind.
const MOST: usize = 20;

/// The most marks for the prompt cache that the API takes.
const MOST_CACHE_MARKS: usize = 4;

/// Speaks of the client's own platform; it says nothing to a provider.
const BROWSER: &str = "anthropic-dangerous-direct-browser-access";

impl Sides<'_, '_, '_, '_> {
    /// Headers and query of the request.
    pub(super) fn headers(&mut self) {
        let (sent, arrived) = (&self.call.exchange.request, &self.far.exchange.request);
        let mut names: Vec<String> = sent.headers.iter().map(|h| h.name.to_ascii_lowercase()).collect();
        names.retain(|n| n.starts_with("anthropic-") && n != BROWSER && !self.rewrites.header(n));
        // Betas can also be invented.
        if !self.rewrites.header("anthropic-beta") {
            names.push("anthropic-beta".to_owned());
        }
        names.sort_unstable();
        names.dedup();
        for name in names {
            let (a, b) = (values(&sent.headers, &name), values(&arrived.headers, &name));
            let place = format!("request header {name}");
            if name == "anthropic-beta" {
                if let Some(words) = betas(&a, &b) {
                    self.tell_at(Kind::RequestBetas, words, &place);
                }
            } else if a != b {
                let kind = if name == "anthropic-version" { Kind::RequestVersion } else { Kind::RequestHeader };
                let words =
                    |v: &[&str]| if v.is_empty() { "nothing".to_owned() } else { format!("{:?}", v.join(", ")) };
                self.tell_at(kind, format!("{name}: sent {}, arrived {}", words(&a), words(&b)), &place);
            }
        }
        self.identity();
        let query = |target: &str| target.split_once('?').map(|(_, q)| q.to_owned()).unwrap_or_default();
        let (a, b) = (query(&sent.target), query(&arrived.target));
        if a != b && !self.rewrites.query() {
            self.tell(Kind::RequestQuery, format!("query: sent {a:?}, arrived {b:?}"));
        }
    }

    /// What tells the provider which client asks. A gateway may use it up; where the provider then refuses, it was needed.
    fn identity(&mut self) {
        const NAMES: [&str; 2] = ["user-agent", "x-app"];
        if !matches!(self.far.outcome, Outcome::Refusal) {
            return;
        }
        let (sent, arrived) = (&self.call.exchange.request.headers, &self.far.exchange.request.headers);
        let lost = |name: &&str| !values(sent, name).is_empty() && values(sent, name) != values(arrived, name);
        let lost: Vec<&str> = NAMES.into_iter().filter(|n| lost(n) && !self.rewrites.header(n)).collect();
        if !lost.is_empty() {
            let message =
                format!("the provider refused a request whose {} had been changed or lost", lost.join(" and "));
            self.tell_at(Kind::RequestIdentity, message, "request headers");
        }
    }

    /// The body, value by value.
    pub(super) fn body(&mut self) {
        let (call, far) = (self.call, self.far);
        let (mut sent, mut arrived) = (Cow::Borrowed(&call.request), Cow::Borrowed(&far.body));
        if self.rewrites.system_message() {
            tell_system(self, &Meaning::of(Api::Anthropic, &sent), &Meaning::of(Api::Anthropic, &arrived));
            sent = Cow::Owned(without_system(&call.request));
            arrived = Cow::Owned(without_system(&far.body));
        }
        let mut places: BTreeMap<Kind, Places> = BTreeMap::new();
        diff(&sent, &arrived, &mut |path, change| {
            if let Some(kind) = self.kind_of(path, change) {
                places.entry(kind).or_default().add(path, change);
            }
        });
        for (kind, places) in places {
            self.tell_at(kind, places.words(), &format!("request:{}", places.first));
        }
        let (before, after) = (cache_marks(&call.request), cache_marks(&far.body));
        if after > MOST_CACHE_MARKS && after > before {
            let message =
                format!("{before} marks for the cache were sent, {after} arrived; the API takes {MOST_CACHE_MARKS}");
            self.tell(Kind::RequestCacheControl, message);
        }
        // A suffix of the client's own is no name that any provider knows, whatever the gateway maps.
        if self.rewrites.model() && far.body["model"].as_str().is_some_and(|m| m.ends_with("[1m]")) {
            self.tell(
                Kind::RequestModel,
                format!("model: arrived {}, with the client's own suffix", far.body["model"]),
            );
        }
    }

    /// What a change at that path breaks; `None` when it is allowed.
    fn kind_of(&self, path: &str, change: Change<'_>) -> Option<Kind> {
        let keys: Vec<&str> = path.split('/').skip(1).collect();
        let field = keys.first().copied().unwrap_or_default();
        let within = |key: &str| keys.contains(&key);
        let (kind, allowed) = match field {
            _ if within("cache_control") && !within("input") && !within("input_schema") => {
                (Kind::RequestCacheControl, self.rewrites.cache_control())
            }
            "model" => (Kind::RequestModel, self.rewrites.model()),
            "metadata" => (Kind::RequestMetadata, self.rewrites.metadata()),
            "stream" => (Kind::RequestStream, self.rewrites.stream()),
            _ if is_reshaped(&keys, change) => (Kind::RequestReshaped, false),
            "thinking" => (Kind::RequestThinking, false),
            "output_config" if is_effort(&keys, change) => (Kind::RequestThinking, false),
            "tools" | "tool_choice" => (Kind::RequestTools, false),
            "system" => (Kind::RequestSystem, false),
            "messages" if keys.len() == 2 && is_system_message(change) => (Kind::RequestSystem, false),
            "messages" if loses_media(&keys, change) => (Kind::RequestMedia, false),
            "messages" => (Kind::RequestHistory, false),
            _ if change.arrived.is_none() => (Kind::RequestFieldDropped, false),
            _ if change.sent.is_none() => (Kind::RequestFieldAdded, false),
            _ => (Kind::RequestFieldChanged, false),
        };
        (!allowed).then_some(kind)
    }
}

/// Whether a change takes an image or a document away, or alters its data.
fn loses_media(keys: &[&str], change: Change<'_>) -> bool {
    const KINDS: [&str; 2] = ["image", "document"];
    let is_kind = |value: &Value| KINDS.iter().any(|kind| value == kind);
    keys.contains(&"source")
        || (keys.last() == Some(&"type") && change.sent.is_some_and(is_kind))
        || media(change.sent) > media(change.arrived)
}

/// How many images and documents a part of a conversation holds.
fn media(value: Option<&Value>) -> usize {
    match value {
        Some(Value::Array(items)) => items.iter().map(|item| media(Some(item))).sum(),
        Some(Value::Object(fields)) => {
            let here = matches!(fields.get("type").and_then(Value::as_str), Some("image" | "document"));
            usize::from(here) + media(fields.get("content"))
        }
        _ => 0,
    }
}

/// How many marks for the prompt cache a request holds: on system texts, tools, and content of messages.
fn cache_marks(body: &Value) -> usize {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut blocks: Vec<Value> = [list(&body["system"]), list(&body["tools"])].concat();
    blocks.extend(list(&body["messages"]).iter().flat_map(|m| list(&m["content"])));
    blocks.iter().filter(|block| block["cache_control"].is_object()).count()
}

/// The places of one kind in one request.
#[derive(Default)]
struct Places {
    first: String,
    words: Vec<String>,
    more: usize,
}

impl Places {
    fn add(&mut self, path: &str, change: Change<'_>) {
        if self.words.is_empty() {
            path.clone_into(&mut self.first);
        }
        if self.words.len() < MOST {
            self.words.push(format!("{path}: {change}"));
        } else {
            self.more += 1;
        }
    }

    fn words(&self) -> String {
        let more = if self.more > 0 { format!("; and {} places more", self.more) } else { String::new() };
        self.words.join("; ") + &more
    }
}

/// All values of a header.
fn values<'h>(headers: &'h [Header], name: &str) -> Vec<&'h str> {
    headers.iter().filter(|h| h.name.eq_ignore_ascii_case(name)).map(|h| h.value.as_str()).collect()
}

/// How two lists of betas differ, whatever their order; `None` when they do not.
fn betas(sent: &[&str], arrived: &[&str]) -> Option<String> {
    let split = |values: &[&str]| -> BTreeSet<String> {
        values.iter().flat_map(|v| v.split(',')).map(|b| b.trim().to_owned()).filter(|b| !b.is_empty()).collect()
    };
    let (sent, arrived) = (split(sent), split(arrived));
    let only = |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).cloned().collect::<Vec<_>>().join(", ");
    match (only(&sent, &arrived), only(&arrived, &sent)) {
        (lost, new) if lost.is_empty() && new.is_empty() => None,
        (lost, new) if new.is_empty() => Some(format!("anthropic-beta lost {lost}")),
        (lost, new) if lost.is_empty() => Some(format!("anthropic-beta gained {new}")),
        (lost, new) => Some(format!("anthropic-beta lost {lost} and gained {new}")),
    }
}

/// A body without its system texts.
fn without_system(body: &Value) -> Value {
    let mut body = body.clone();
    if let Some(fields) = body.as_object_mut() {
        fields.remove("system");
    }
    if let Some(messages) = body.get_mut("messages").and_then(Value::as_array_mut) {
        messages.retain(|m| m["role"] != "system");
    }
    body
}

/// The API takes a string for one block of text, and null or an empty list for an absent field.
fn is_reshaped(keys: &[&str], change: Change<'_>) -> bool {
    match (change.sent, change.arrived) {
        (None, Some(Value::Array(list))) | (Some(Value::Array(list)), None) => keys.len() == 1 && list.is_empty(),
        (None, Some(Value::Null)) | (Some(Value::Null), None) => true,
        (Some(sent), Some(arrived)) if keys.first() == Some(&"messages") && keys.last() == Some(&"content") => {
            let wrapped = |text: &Value| json!([{ "type": "text", "text": text }]);
            (sent.is_string() && *arrived == wrapped(sent)) || (arrived.is_string() && *sent == wrapped(arrived))
        }
        _ => false,
    }
}

/// Whether a change in `output_config` is about the effort.
fn is_effort(keys: &[&str], change: Change<'_>) -> bool {
    let holds = |value: Option<&Value>| value.is_some_and(|v| v.get("effort").is_some());
    keys.get(1) == Some(&"effort") || (keys.len() == 1 && (holds(change.sent) || holds(change.arrived)))
}

/// Whether a message that came or went is one of the system.
fn is_system_message(change: Change<'_>) -> bool {
    match (change.sent, change.arrived) {
        (Some(one), None) | (None, Some(one)) => one["role"] == "system",
        _ => false,
    }
}
