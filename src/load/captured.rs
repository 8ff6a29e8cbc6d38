//! Conversations out of what was captured elsewhere: spans of OpenTelemetry's conventions for generative AI, and requests for chat
//! completions. Source: <https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/>.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::conversation::{Message, Role};

/// What was said, as it came out of a capture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Captured {
    /// The id of its conversation; none where the capture has none.
    pub id: Option<String>,
    /// What was said by user and model in turn, beginning with the user.
    pub messages: Vec<Message>,
}

/// Whether a value holds spans: an OTLP export, or one span.
pub fn is_spans(value: &Value) -> bool {
    value.get("resourceSpans").is_some() || value.get("attributes").is_some()
}

/// What was said in exported spans. Spans that hold no messages are passed over.
pub fn spans(value: &Value) -> Vec<Captured> {
    let one = |value: &Value| attributes(value).map(|attributes| conversation(&attributes));
    let list = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
    let all: Vec<Captured> = if value.get("resourceSpans").is_some() {
        let scopes = list(value, "resourceSpans").into_iter().flat_map(|resource| list(&resource, "scopeSpans"));
        scopes.flat_map(|scope| list(&scope, "spans")).filter_map(|span| one(&span)).collect()
    } else {
        one(value).into_iter().collect()
    };
    all.into_iter().filter(|captured| !captured.messages.is_empty()).collect()
}

/// One of each conversation. Captures of one conversation repeat what was said before: the longest one has it all.
pub fn longest(all: Vec<Captured>) -> Vec<Captured> {
    let mut kept: Vec<Captured> = Vec::new();
    for captured in all {
        match kept.iter_mut().find(|known| known.id.is_some() && known.id == captured.id) {
            Some(known) if known.messages.len() >= captured.messages.len() => {}
            Some(known) => *known = captured,
            None => kept.push(captured),
        }
    }
    kept
}

/// The conversation of a captured request for chat completions or messages.
pub fn request(value: &Value) -> Captured {
    let id = value["id"].as_str().or_else(|| value["custom_id"].as_str()).map(str::to_owned);
    Captured { id, messages: in_turn(value["messages"].as_array().into_iter().flatten().filter_map(message)) }
}

/// The attributes of a span: a list of keys and values as in OTLP, or an object.
fn attributes(span: &Value) -> Option<Map<String, Value>> {
    match &span["attributes"] {
        Value::Object(attributes) => Some(attributes.clone()),
        Value::Array(list) => {
            let pair = |entry: &Value| Some((entry["key"].as_str()?.to_owned(), plain(&entry["value"])));
            Some(list.iter().filter_map(pair).collect())
        }
        _ => None,
    }
}

/// A value of OTLP as plain JSON.
fn plain(value: &Value) -> Value {
    let Some((kind, inner)) = value.as_object().and_then(|fields| fields.iter().next()) else { return Value::Null };
    match kind.as_str() {
        "arrayValue" => inner["values"].as_array().into_iter().flatten().map(plain).collect(),
        "kvlistValue" => {
            let pair = |entry: &Value| Some((entry["key"].as_str()?.to_owned(), plain(&entry["value"])));
            Value::Object(inner["values"].as_array().into_iter().flatten().filter_map(pair).collect())
        }
        _ => inner.clone(),
    }
}

fn conversation(attributes: &Map<String, Value>) -> Captured {
    // Both ways of writing are allowed: structured, or as text.
    let list = |key: &str| match attributes.get(key) {
        Some(Value::String(text)) => serde_json::from_str::<Vec<Value>>(text).unwrap_or_default(),
        Some(Value::Array(list)) => list.clone(),
        _ => Vec::new(),
    };
    let mut said: Vec<Value> = list("gen_ai.input.messages");
    said.extend(list("gen_ai.output.messages"));
    if said.is_empty() {
        said.extend(numbered(attributes, "gen_ai.prompt."));
        said.extend(numbered(attributes, "gen_ai.completion."));
    }
    let id = attributes.get("gen_ai.conversation.id").and_then(Value::as_str).map(str::to_owned);
    Captured { id, messages: in_turn(said.iter().filter_map(message)) }
}

/// Messages of attributes such as `gen_ai.prompt.0.role`, as older instruments write them.
fn numbered(attributes: &Map<String, Value>, prefix: &str) -> Vec<Value> {
    let mut found: BTreeMap<u32, Map<String, Value>> = BTreeMap::new();
    for (key, value) in attributes {
        let place = key.strip_prefix(prefix).and_then(|rest| rest.split_once('.'));
        if let Some((number, field)) = place.and_then(|(number, field)| Some((number.parse().ok()?, field))) {
            found.entry(number).or_default().insert(field.to_owned(), value.clone());
        }
    }
    let default = if prefix == "gen_ai.completion." { "assistant" } else { "user" };
    let with_role = |mut message: Map<String, Value>| {
        message.entry("role").or_insert_with(|| default.into());
        Value::Object(message)
    };
    found.into_values().map(with_role).collect()
}

/// A message's role and text; nothing for other roles, and for messages without text.
fn message(value: &Value) -> Option<Message> {
    let role = match value["role"].as_str()? {
        "user" | "human" => Role::User,
        "assistant" | "model" => Role::Assistant,
        _ => return None,
    };
    let parts = value.get("parts").or_else(|| value.get("content"))?;
    let content = match parts {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let text = |part: &Value| {
                let is_text = part["type"] == "text";
                let text = part["content"].as_str().or_else(|| part["text"].as_str());
                text.filter(|_| is_text).map(str::to_owned)
            };
            parts.iter().filter_map(text).collect::<Vec<_>>().join("\n")
        }
        _ => return None,
    };
    (!content.trim().is_empty()).then_some(Message { role, content })
}

/// Messages in turn: what one side said at a stretch is one message, and the user begins.
fn in_turn(messages: impl Iterator<Item = Message>) -> Vec<Message> {
    let mut turns: Vec<Message> = Vec::new();
    for message in messages.skip_while(|message| message.role == Role::Assistant) {
        match turns.last_mut() {
            Some(last) if last.role == message.role => last.content = format!("{}\n{}", last.content, message.content),
            _ => turns.push(message),
        }
    }
    turns
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn texts(captured: &Captured) -> Vec<(Role, &str)> {
        captured.messages.iter().map(|m| (m.role, m.content.as_str())).collect()
    }

    #[test]
    fn the_longest_span_of_a_conversation_is_the_conversation() {
        let said = |role: &str, text: &str| json!({ "role": role, "parts": [{ "type": "text", "content": text }] });
        let span = |id: &str, input: Vec<Value>, output: Value| {
            json!({ "attributes": [
                { "key": "gen_ai.conversation.id", "value": { "stringValue": id } },
                { "key": "gen_ai.input.messages", "value": { "stringValue": Value::from(input).to_string() } },
                { "key": "gen_ai.output.messages", "value": { "stringValue": json!([output]).to_string() } },
            ]})
        };
        let short = span("c", vec![said("system", "Be brief."), said("user", "a")], said("assistant", "b"));
        let tool = json!({ "role": "tool", "parts": [{ "type": "tool_call_response", "result": "x" }] });
        let long = span(
            "c",
            vec![said("user", "a"), said("assistant", "b"), tool, said("user", "c"), said("user", "d")],
            said("assistant", "e"),
        );
        let empty = json!({ "attributes": [{ "key": "http.route", "value": { "stringValue": "/" } }] });
        let export = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [short, long, empty] }] }] });
        let found = longest(spans(&export));
        assert_eq!(found.len(), 1);
        let wanted = [(Role::User, "a"), (Role::Assistant, "b"), (Role::User, "c\nd"), (Role::Assistant, "e")];
        assert_eq!((found[0].id.as_deref(), texts(&found[0])), (Some("c"), wanted.to_vec()));
    }

    #[test]
    fn structured_messages_and_numbered_attributes_are_read_too() {
        let part = |text: &str| {
            json!({ "kvlistValue": { "values": [
                { "key": "type", "value": { "stringValue": "text" } }, { "key": "content", "value": { "stringValue": text } },
            ] } })
        };
        let message = json!({ "kvlistValue": { "values": [
            { "key": "role", "value": { "stringValue": "user" } },
            { "key": "parts", "value": { "arrayValue": { "values": [part("hi")] } } },
        ] } });
        let structured = json!({ "attributes": [
            { "key": "gen_ai.input.messages", "value": { "arrayValue": { "values": [message] } } },
        ] });
        assert_eq!(texts(&spans(&structured)[0]), [(Role::User, "hi")]);
        let numbered = json!({ "attributes": {
            "gen_ai.prompt.0.role": "user", "gen_ai.prompt.0.content": "hi", "gen_ai.completion.0.content": "hello",
        } });
        assert_eq!(texts(&spans(&numbered)[0]), [(Role::User, "hi"), (Role::Assistant, "hello")]);
    }

    #[test]
    fn a_captured_request_is_what_was_said_in_it() {
        let body = json!({ "model": "m", "messages": [
            { "role": "system", "content": "Be brief." }, { "role": "user", "content": [{ "type": "text", "text": "hi" }] },
            { "role": "assistant", "content": "hello" }, { "role": "user", "content": "more" },
        ] });
        let wanted = [(Role::User, "hi"), (Role::Assistant, "hello"), (Role::User, "more")];
        assert_eq!(texts(&request(&body)), wanted);
        assert!(request(&json!({ "messages": "none" })).messages.is_empty());
    }
}
