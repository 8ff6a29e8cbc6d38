//! The way up to an OpenAI face: the meaning of the request. Where a text stands, how texts are joined, and what has no
//! equivalent there (metadata, marks for the cache, betas) is the translator's business.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::json::{brief, diff, same};
use super::meaning::{Meaning, Role, Tool, Turn};
use super::outcome::Api;
use super::words::cut;
use super::{Kind, Sides};

/// The most texts or tools that are told of one request, of each kind.
const MOST: usize = 20;

/// Fields that mean the same in both families of APIs, by their names here and there.
const FIELDS: [(&str, &str); 3] = [("temperature", "temperature"), ("top_p", "top_p"), ("stop_sequences", "stop")];

/// Keywords of a schema that say nothing to the model, or that some providers refuse.
const FREE_KEYWORDS: [&str; 4] = ["$schema", "cache_control", "defer_loading", "format"];

impl Sides<'_, '_, '_, '_> {
    /// The meaning of the body.
    pub(super) fn translation(&mut self) {
        let (call, far) = (self.call, self.far);
        let (sent, arrived) = (Meaning::of(Api::Anthropic, &call.request), Meaning::of(far.api, &far.body));
        let left = untranslated(far.api, &far.body);
        if !left.is_empty() {
            self.tell(Kind::RequestUntranslated, listed(&left));
        }
        tell_system(self, &sent, &arrived);
        if let Err(words) = same_conversation(&sent, &arrived, self.rewrites.system_message()) {
            self.tell(Kind::RequestHistory, words);
        }
        self.media(&sent, &arrived);
        let tools = tool_changes(&sent, &arrived);
        if !tools.is_empty() {
            self.tell(Kind::RequestTools, listed(&tools));
        }
        self.parallel_calls();
        self.settings(&sent, &arrived);
        let (a, b) = (&call.request["model"], &far.body["model"]);
        if a != b && !self.rewrites.model() {
            self.tell(Kind::RequestModel, format!("model: sent {}, arrived {}", brief(a), brief(b)));
        }
    }

    /// Images and documents may move to another place, but not away.
    fn media(&mut self, sent: &Meaning<'_>, arrived: &Meaning<'_>) {
        let there: Vec<&str> = arrived.turns.iter().flat_map(|t| t.media.iter().copied()).collect();
        let all: Vec<&str> = sent.turns.iter().flat_map(|t| t.media.iter().copied()).collect();
        let lost = all.iter().filter(|data| !there.iter().any(|t| t.ends_with(*data))).count();
        if lost > 0 {
            let message = format!("{lost} of {} images and documents did not arrive", all.len());
            self.tell(Kind::RequestMedia, message);
        }
    }

    /// Whether the model may call several tools at once. Both APIs let it, unless the request says otherwise.
    fn parallel_calls(&mut self) {
        if self.call.request["tools"].as_array().is_none_or(Vec::is_empty) {
            return;
        }
        let one_at_a_time = self.call.request["tool_choice"]["disable_parallel_tool_use"] == true;
        match &self.far.body["parallel_tool_calls"] {
            Value::Bool(false) if !one_at_a_time => {
                self.tell(Kind::RequestTools, "parallel_tool_calls: the client allows several calls, arrived false");
            }
            Value::Bool(true) | Value::Null if one_at_a_time => {
                let message =
                    "tool_choice.disable_parallel_tool_use: sent true, nothing in what arrived forbids several calls";
                self.tell(Kind::RequestTools, message);
            }
            _ => {}
        }
    }

    fn settings(&mut self, sent: &Meaning<'_>, arrived: &Meaning<'_>) {
        if sent.reasoning.on == Some(false) && arrived.reasoning.on == Some(true) {
            let effort = arrived.reasoning.effort.unwrap_or("no effort named");
            let message = format!("the client switched thinking off, what arrived asks for it ({effort})");
            self.tell(Kind::RequestThinking, message);
        } else if let Some(words) = reasoning_change(sent, arrived) {
            self.tell(Kind::RequestReasoning, words);
        }
        if sent.stream != arrived.stream && !self.rewrites.stream() {
            self.tell(Kind::RequestStream, format!("stream: sent {}, arrived {}", sent.stream, arrived.stream));
        }
        if let (Some(a), Some(b)) = (sent.limit, arrived.limit)
            && a != b
        {
            self.tell(Kind::RequestFieldChanged, format!("the most output tokens: sent {a}, arrived {b}"));
        }
        if sent.format && !arrived.format {
            self.tell(Kind::RequestFieldDropped, "the schema that the answer has to follow did not arrive");
        }
        for (here, there) in FIELDS {
            let (a, b) = (&self.call.request[here], &self.far.body[there]);
            let listed = |v: &Value| if v.is_string() { json!([v]) } else { v.clone() };
            if a.is_null() || same(&listed(a), &listed(b)) {
                continue;
            }
            let kind = if b.is_null() { Kind::RequestFieldDropped } else { Kind::RequestFieldChanged };
            self.tell(kind, format!("{here}: sent {}, arrived {}", brief(a), brief(b)));
        }
    }
}

/// What a translation left as the Messages API has it, or made longer than the other API takes.
fn untranslated(api: Api, body: &Value) -> Vec<String> {
    /// The most characters of `user`.
    const USER: usize = 64;
    let mut left: Vec<String> = ["system", "stop_sequences", "anthropic_version", "betas"]
        .iter()
        .filter(|key| !body[**key].is_null())
        .map(|key| format!("{key} is a field of the Messages API"))
        .collect();
    let tools = body["tools"].as_array().map(Vec::as_slice).unwrap_or_default();
    if tools.iter().any(|t| t["input_schema"].is_object()) {
        left.push("tools have their schema under input_schema".to_owned());
    }
    let list = if api == Api::Chat { "messages" } else { "input" };
    let foreign = |part: &&Value| {
        matches!(part["type"].as_str(), Some("tool_use" | "tool_result" | "document"))
            || (part["type"] == "image" && part["source"].is_object())
    };
    let messages = body[list].as_array().map(Vec::as_slice).unwrap_or_default();
    if let Some(part) = messages.iter().filter_map(|m| m["content"].as_array()).flatten().find(foreign) {
        left.push(format!("a part of type {} stands in {list}", part["type"]));
    }
    let user = body["user"].as_str().map_or(0, |u| u.chars().count());
    if user > USER {
        left.push(format!("user has {user} characters, the provider takes {USER}"));
    }
    left
}

/// The texts of the system: all of them, in order, however they were joined. Where they may be moved, each has to be somewhere.
pub(super) fn tell_system(sides: &mut Sides<'_, '_, '_, '_>, sent: &Meaning<'_>, arrived: &Meaning<'_>) {
    if same_texts(&sent.system, &arrived.system) {
        return;
    }
    let conversation = arrived.turns.iter().flat_map(|t| t.texts.iter().copied());
    let everywhere = arrived.system.iter().copied().chain(conversation).collect::<Vec<_>>();
    let lost = sent.system.iter().find(|s| !everywhere.iter().any(|text| text.contains(s.trim())));
    let words = match lost {
        Some(lost) => format!("a system text did not arrive: {:?}", cut(lost)),
        None if sides.rewrites.system_message() => return,
        None => "the system texts arrived in another order or place, or with others among them".to_owned(),
    };
    sides.tell(Kind::RequestSystem, words);
}

/// Whether texts arrived as they were sent, with nothing but white space between those that were joined.
fn same_texts(sent: &[&str], arrived: &[&str]) -> bool {
    let whole = arrived.join("\n");
    let mut rest = whole.trim();
    for text in sent.iter().map(|t| t.trim()).filter(|t| !t.is_empty()) {
        match rest.strip_prefix(text) {
            Some(after) => rest = after.trim_start(),
            None => return false,
        }
    }
    rest.is_empty()
}

/// The texts that hold something of what was sent; the others are guests.
fn without_guests<'a>(sent: &[&str], arrived: &[&'a str]) -> Vec<&'a str> {
    let sent = || sent.iter().map(|t| t.trim()).filter(|t| !t.is_empty());
    arrived.iter().copied().filter(|text| sent().any(|s| text.contains(s))).collect()
}

/// Compares the turns. Where system texts may move, those that stood inside the conversation may have become the user's.
fn same_conversation(sent: &Meaning<'_>, arrived: &Meaning<'_>, system_moves: bool) -> Result<(), String> {
    let guests = system_moves && sent.inline_system;
    let (a_calls, b_calls) = (ordinals(sent), ordinals(arrived));
    let mut left = arrived.turns.iter().peekable();
    for (i, a) in sent.turns.iter().enumerate() {
        let only_guests =
            |t: &&Turn<'_>| guests && t.role == Role::User && a.role != Role::User && t.results.is_empty();
        if left.peek().is_some_and(only_guests) {
            left.next();
        }
        let place = format!("turn {} of {}", i + 1, sent.turns.len());
        let Some(b) = left.next() else { return Err(format!("{place} did not arrive")) };
        if a.role != b.role {
            return Err(format!("{place} arrived as one of the other side"));
        }
        same_turn(a, b, guests && a.role == Role::User, [&a_calls, &b_calls]).map_err(|e| format!("{place}: {e}"))?;
    }
    match left.find(|t| !(guests && t.role == Role::User && t.results.is_empty())) {
        Some(new) => {
            Err(format!("{} turns were sent, more arrived: {:?}", sent.turns.len(), cut(&new.texts.join(" "))))
        }
        None => Ok(()),
    }
}

/// Tool calls by their ids: ids may change, as long as results keep to their calls.
fn ordinals<'a>(meaning: &Meaning<'a>) -> BTreeMap<&'a str, usize> {
    let calls = meaning.turns.iter().flat_map(|t| &t.calls);
    calls.enumerate().map(|(ordinal, call)| (call.id, ordinal)).collect()
}

fn same_turn(
    a: &Turn<'_>,
    b: &Turn<'_>,
    guests: bool,
    [a_calls, b_calls]: [&BTreeMap<&str, usize>; 2],
) -> Result<(), String> {
    let arrived = if guests { without_guests(&a.texts, &b.texts) } else { b.texts.clone() };
    if !same_texts(&a.texts, &arrived) {
        let (sent, arrived) = super::words::apart(&a.texts.join("\n"), &b.texts.join("\n"));
        return Err(format!("text: sent {sent:?}, arrived {arrived:?}"));
    }
    if a.calls.len() != b.calls.len() {
        return Err(format!("{} tool calls were sent, {} arrived", a.calls.len(), b.calls.len()));
    }
    if b.text_first && !a.text_first {
        return Err("text arrived in front of the tool's result, it was sent behind it".to_owned());
    }
    for (a, b) in a.calls.iter().zip(&b.calls) {
        if a.name != b.name || !same(&a.input, &b.input) {
            let words = |name: &str, input: &Value| format!("{name} {}", brief(input));
            let (sent, arrived) = (words(a.name, &a.input), words(b.name, &b.input));
            return Err(format!("tool call: sent {sent}, arrived {arrived}"));
        }
    }
    if a.results.len() != b.results.len() {
        return Err(format!("{} tool results were sent, {} arrived", a.results.len(), b.results.len()));
    }
    for result in &a.results {
        let ordinal = a_calls.get(result.id);
        let same_call = |id: &str| if ordinal.is_some() { b_calls.get(id) == ordinal } else { id == result.id };
        let Some(there) = b.results.iter().find(|r| same_call(r.id)) else {
            return Err(format!("the result of the tool call {} belongs to no call or to another", result.id));
        };
        let says_something = result.texts.iter().any(|t| !t.trim().is_empty());
        if says_something && !same_texts(&result.texts, &there.texts) {
            let (sent, arrived) = super::words::apart(&result.texts.join("\n"), &there.texts.join("\n"));
            return Err(format!("result of {}: sent {sent:?}, arrived {arrived:?}", result.id));
        }
    }
    Ok(())
}

fn tool_changes(sent: &Meaning<'_>, arrived: &Meaning<'_>) -> Vec<String> {
    let mut changes = Vec::new();
    for a in &sent.tools {
        match arrived.tools.iter().find(|b| b.name == a.name) {
            None => changes.push(format!("{} did not arrive", a.name)),
            Some(b) => changes.extend(tool_change(a, b)),
        }
    }
    let new = |b: &&Tool<'_>| !sent.tools.iter().any(|a| a.name == b.name);
    changes.extend(arrived.tools.iter().filter(new).map(|b| format!("{} was added", b.name)));
    // Without tools there is nothing to choose from.
    if sent.choice != arrived.choice && !sent.tools.is_empty() {
        changes.push(format!("tool_choice: sent {:?}, arrived {:?}", cut(sent.choice), cut(arrived.choice)));
    }
    changes
}

fn tool_change(a: &Tool<'_>, b: &Tool<'_>) -> Option<String> {
    if a.description.trim() != b.description.trim() {
        let (sent, arrived) = super::words::apart(a.description, b.description);
        return Some(format!("{}: description: sent {sent:?}, arrived {arrived:?}", a.name));
    }
    let (sent, arrived) = (plain_schema(a.schema), plain_schema(b.schema));
    let mut first = None;
    diff(&sent, &arrived, &mut |path, change| {
        first.get_or_insert_with(|| format!("{}: schema{path}: {change}", a.name));
    });
    first
}

/// A schema without what says nothing: free keywords, and keywords that are empty.
fn plain_schema(schema: &Value) -> Value {
    let empty = |v: &Value| v.as_object().is_some_and(Map::is_empty) || v.as_array().is_some_and(Vec::is_empty);
    let says_nothing =
        |key: &str, v: &Value| FREE_KEYWORDS.contains(&key) || (matches!(key, "properties" | "required") && empty(v));
    match schema {
        Value::Object(keywords) => {
            let plain = keywords.iter().filter(|(key, v)| !says_nothing(key, v)).map(|(key, v)| {
                // The keys below are names, not keywords.
                let plain = match v {
                    Value::Object(named) if key == "properties" || key == "$defs" => {
                        Value::Object(named.iter().map(|(name, v)| (name.clone(), plain_schema(v))).collect())
                    }
                    _ => plain_schema(v),
                };
                (key.clone(), plain)
            });
            Value::Object(plain.collect())
        }
        Value::Array(schemas) => Value::Array(schemas.iter().map(plain_schema).collect()),
        other => other.clone(),
    }
}

/// What became of thinking and effort; `None` when they arrived.
fn reasoning_change(sent: &Meaning<'_>, arrived: &Meaning<'_>) -> Option<String> {
    let (a, b) = (sent.reasoning, arrived.reasoning);
    if a.on == Some(true) && b.on != Some(true) {
        let there = if b.on.is_some() { "it is switched off" } else { "nothing asks for it" };
        return Some(format!("the client asks for thinking, in what arrived {there}"));
    }
    // Not every provider has as many levels as the client: the highest ones may be one there.
    let level = |effort: &str| match effort {
        "minimal" | "low" => 0,
        "medium" => 1,
        _ => 2,
    };
    match (a.effort, b.effort) {
        (Some(a), Some(b)) if level(a) != level(b) => Some(format!("effort: sent {a}, arrived {b}")),
        (Some(a), None) if b.on.is_none() => Some(format!("effort: sent {a}, arrived nothing")),
        _ => None,
    }
}

/// Changes in one sentence, bounded.
fn listed(changes: &[String]) -> String {
    let more = changes.len().saturating_sub(MOST);
    let tail = if more > 0 { format!("; and {more} more") } else { String::new() };
    changes[..changes.len() - more].join("; ") + &tail
}
