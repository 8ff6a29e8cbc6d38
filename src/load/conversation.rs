//! Conversations to be replayed: our own files, rows of `ShareGPT` and of Mooncake's traces, captures of other tools, and recorded
//! sessions of Claude Code.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::captured::{self, Captured};
use crate::file_error::FileError;

/// A conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Conversation {
    /// Its id.
    pub id: String,
    /// What is said.
    pub script: Script,
}

/// What is said.
#[derive(Debug, Clone, PartialEq)]
pub enum Script {
    /// Messages in turn, of which the first is the user's.
    Messages(Vec<Message>),
    /// Requests as a client sent them.
    Recorded(Vec<RecordedRequest>),
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The person.
    User,
    /// The model.
    Assistant,
}

/// A request of a recorded session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordedRequest {
    /// How long the client waited after the answer before, in milliseconds.
    pub wait_ms: u64,
    /// Headers that carry meaning, such as `anthropic-beta`; never a credential.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// The request target, such as `/v1/messages?beta=true`.
    pub target: String,
    /// The body.
    pub body: Value,
}

/// A file of our own.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OwnFile {
    conversation_id: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    messages: Vec<Message>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    recorded: Vec<RecordedRequest>,
}

/// A row of `ShareGPT`.
#[derive(Deserialize)]
struct ShareGpt {
    #[serde(default)]
    id: String,
    conversations: Vec<ShareGptTurn>,
}

#[derive(Deserialize)]
struct ShareGptTurn {
    from: String,
    value: String,
}

/// A row of one of Mooncake's traces. Source: <https://github.com/kvcache-ai/Mooncake>.
#[derive(Deserialize)]
struct Mooncake {
    timestamp: f64,
    #[serde(default)]
    input_length: u32,
}

/// Reads a file of conversations: JSON with one of them or a list, or one of them a line (`.jsonl`).
///
/// # Errors
/// It is not JSON, or not a conversation; with the place.
pub fn parse(path: &Path, text: &str) -> Result<Vec<Conversation>, FileError> {
    let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let mut rows = Vec::new();
    if path.extension().is_some_and(|e| e == "jsonl") {
        for (line, start) in lines(text) {
            rows.push(row(path, text, line, start, &format!("{stem}-{}", rows.len()))?);
        }
    } else if text.trim_start().starts_with('[') {
        let list: Vec<Value> = serde_json::from_str(text).map_err(|e| json_error(path, text, 0, text, &e))?;
        for entry in list {
            let entry = entry.to_string();
            let read = row(path, &entry, &entry, 0, &format!("{stem}-{}", rows.len()));
            // The place would be one within the row as it was printed again.
            let number = rows.len() + 1;
            rows.push(read.map_err(|e| FileError::whole(path, format!("entry {number}: {}", e.message)))?);
        }
    } else {
        rows.push(row(path, text, text, 0, &stem)?);
    }
    let mut found = Vec::new();
    let mut captured = Vec::new();
    for row in rows {
        match row {
            Row::Conversation(conversation) => found.push(conversation),
            Row::Captured(more) => captured.extend(more),
        }
    }
    for (number, captured) in captured::longest(captured).into_iter().enumerate() {
        let id = captured.id.unwrap_or_else(|| format!("{stem}-{number}"));
        found.push(Conversation { id, script: Script::Messages(captured.messages) });
    }
    if found.is_empty() {
        return Err(FileError::whole(path, "holds no conversation"));
    }
    Ok(found)
}

/// What a row of a file holds.
enum Row {
    /// A conversation.
    Conversation(Conversation),
    /// What was captured, of which others may know more.
    Captured(Vec<Captured>),
}

/// The times of a trace, from its first row, ascending.
///
/// # Errors
/// A row has no time, or times go back.
pub fn trace(path: &Path, text: &str) -> Result<Vec<Duration>, FileError> {
    let mut times: Vec<Duration> = Vec::new();
    let mut first = None;
    for (line, start) in lines(text) {
        let row: Mooncake = serde_json::from_str(line).map_err(|e| json_error(path, text, start, line, &e))?;
        let first = *first.get_or_insert(row.timestamp);
        let wrong =
            || FileError::at(path, text, start..start + line.len(), "times go back; sort the rows by `timestamp`");
        let time = Duration::try_from_secs_f64((row.timestamp - first) / 1000.0).map_err(|_| wrong())?;
        if times.last().is_some_and(|last| time < *last) {
            return Err(wrong());
        }
        times.push(time);
    }
    if times.is_empty() {
        return Err(FileError::whole(path, "holds no row with a `timestamp`"));
    }
    Ok(times)
}

/// The file of a recorded session.
pub fn recorded_file(id: &str, recorded: Vec<RecordedRequest>) -> String {
    let file = OwnFile { conversation_id: id.to_owned(), messages: Vec::new(), recorded };
    let mut text = serde_json::to_string_pretty(&file).unwrap_or_default();
    text.push('\n');
    text
}

/// Lines that hold something, with where they start.
fn lines(text: &str) -> impl Iterator<Item = (&str, usize)> {
    let mut start = 0;
    text.split_inclusive('\n').filter_map(move |line| {
        let at = start;
        start += line.len();
        let line = line.trim_end();
        (!line.trim().is_empty()).then_some((line, at))
    })
}

fn row(path: &Path, text: &str, part: &str, start: usize, id: &str) -> Result<Row, FileError> {
    let value: Value = serde_json::from_str(part).map_err(|e| json_error(path, text, start, part, &e))?;
    if captured::is_spans(&value) {
        return Ok(Row::Captured(captured::spans(&value)));
    }
    if value.get("messages").is_some() && value.get("conversation_id").is_none() {
        let captured = captured::request(&value);
        if captured.messages.is_empty() {
            let message = "no conversation: there is no `conversation_id`, and no message of a user with a text";
            return Err(FileError::at(path, text, start..start + 1, message));
        }
        return Ok(Row::Captured(vec![captured]));
    }
    one(path, text, part, start, id, &value).map(Row::Conversation)
}

fn one(path: &Path, text: &str, part: &str, start: usize, id: &str, value: &Value) -> Result<Conversation, FileError> {
    let fail = |e: &serde_json::Error| json_error(path, text, start, part, e);
    let wrong = |message: &str| FileError::at(path, text, start..start + 1, message);
    if value.get("conversations").is_some() {
        let row: ShareGpt = serde_json::from_str(part).map_err(|e| fail(&e))?;
        let messages = row.conversations.into_iter().filter_map(|turn| {
            let role = match turn.from.as_str() {
                "human" | "user" => Role::User,
                "gpt" | "assistant" | "chatgpt" | "bing" | "bard" => Role::Assistant,
                _ => return None,
            };
            Some(Message { role, content: turn.value })
        });
        // Rows of that data set often begin in the middle, with the model.
        let messages: Vec<Message> = messages.skip_while(|m| m.role == Role::Assistant).collect();
        let id = if row.id.is_empty() { id.to_owned() } else { row.id };
        return checked(Conversation { id, script: Script::Messages(messages) }).map_err(|m| wrong(&m));
    }
    if value.get("timestamp").is_some() {
        let row: Mooncake = serde_json::from_str(part).map_err(|e| fail(&e))?;
        let content = "word ".repeat(row.input_length.max(1) as usize);
        let messages = vec![Message { role: Role::User, content }];
        return Ok(Conversation { id: id.to_owned(), script: Script::Messages(messages) });
    }
    let file: OwnFile = serde_json::from_str(part).map_err(|e| fail(&e))?;
    let script = match (file.messages.is_empty(), file.recorded.is_empty()) {
        (false, true) => Script::Messages(file.messages),
        (true, false) => Script::Recorded(file.recorded),
        _ => return Err(wrong("a conversation has either `messages` or `recorded`")),
    };
    checked(Conversation { id: file.conversation_id, script }).map_err(|m| wrong(&m))
}

fn checked(conversation: Conversation) -> Result<Conversation, String> {
    let Script::Messages(messages) = &conversation.script else { return Ok(conversation) };
    let id = &conversation.id;
    if messages.is_empty() {
        return Err(format!("the conversation {id:?} has no messages"));
    }
    for (place, message) in messages.iter().enumerate() {
        let expected = if place % 2 == 0 { Role::User } else { Role::Assistant };
        if message.role != expected {
            return Err(
                format!("the conversation {id:?}: message {} is not the {expected:?}'s", place + 1).to_lowercase()
            );
        }
        if message.content.trim().is_empty() {
            return Err(format!("the conversation {id:?}: message {} is empty", place + 1));
        }
    }
    Ok(conversation)
}

/// A JSON mistake at its place in the file.
fn json_error(path: &Path, text: &str, start: usize, part: &str, error: &serde_json::Error) -> FileError {
    let line_start: usize = part.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let at = (start + line_start + error.column().saturating_sub(1)).min(text.len());
    let message = error.to_string();
    let message = message.split(" at line ").next().unwrap_or_default();
    FileError::at(path, text, at..at + 1, format!("no conversation: {message}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OWN: &str = r#"{"conversation_id": "haiku", "messages": [
        {"role": "user", "content": "A haiku, please."},
        {"role": "assistant", "content": "Rain on the window"}]}"#;

    #[test]
    fn every_known_form_is_read() {
        let own = parse(Path::new("c/haiku.json"), OWN).unwrap();
        assert_eq!(own[0].id, "haiku");
        let sharegpt = r#"[{"id": "s1", "conversations": [
            {"from": "gpt", "value": "earlier"}, {"from": "human", "value": "hi"}, {"from": "gpt", "value": "hello"}]}]"#;
        let read = parse(Path::new("s.json"), sharegpt).unwrap();
        let Script::Messages(messages) = &read[0].script else { panic!() };
        assert_eq!((read[0].id.as_str(), messages.len(), messages[0].role), ("s1", 2, Role::User));
        let mooncake = "{\"timestamp\": 1000, \"input_length\": 3, \"output_length\": 5, \"hash_ids\": [1]}\n\n{\"timestamp\": 1500}\n";
        assert_eq!(parse(Path::new("m.jsonl"), mooncake).unwrap().len(), 2);
        assert_eq!(trace(Path::new("m.jsonl"), mooncake).unwrap(), [Duration::ZERO, Duration::from_millis(500)]);
        let captures = "{\"messages\": [{\"role\": \"user\", \"content\": \"hi\"}]}\n\
                        {\"id\": \"x\", \"messages\": [{\"role\": \"user\", \"content\": \"hi\"}]}\n";
        let ids: Vec<String> =
            parse(Path::new("captures.jsonl"), captures).unwrap().into_iter().map(|c| c.id).collect();
        assert_eq!(ids, ["captures-0", "x"]);
        let span = |said: &str| {
            format!("{{\"attributes\": {{\"gen_ai.conversation.id\": \"c\", \"gen_ai.input.messages\": [{said}]}}}}\n")
        };
        let said = "{\"role\": \"user\", \"parts\": [{\"type\": \"text\", \"content\": \"hi\"}]}";
        let answered = format!("{said}, {}", said.replace("user", "assistant"));
        let read = parse(Path::new("spans.jsonl"), &(span(said) + &span(&answered) + &span(""))).unwrap();
        let Script::Messages(messages) = &read[0].script else { panic!() };
        assert_eq!((read.len(), read[0].id.as_str(), messages.len()), (1, "c", 2), "the longest of each");
        let recorded = RecordedRequest {
            wait_ms: 5,
            headers: vec![],
            target: "/v1/messages".into(),
            body: serde_json::json!({"model": "m"}),
        };
        let file = recorded_file("cell", vec![recorded.clone()]);
        assert_eq!(parse(Path::new("r.json"), &file).unwrap()[0].script, Script::Recorded(vec![recorded]));
    }

    #[test]
    fn a_mistake_is_shown_at_its_place() {
        let shown = |name: &str, text: &str| parse(Path::new(name), text).unwrap_err().to_string();
        let error = shown("haiku.json", &OWN.replace("\"role\": \"assistant\"", "\"role\": \"asistant\""));
        assert!(error.starts_with("haiku.json:3:") && error.contains("asistant"), "{error}");
        let error = shown("haiku.json", &OWN.replace("\"assistant\"", "\"user\""));
        assert!(error.contains("message 2 is not the assistant's"), "{error}");
        let error = shown(
            "two.jsonl",
            "{\"conversation_id\": \"a\", \"messages\": [{\"role\":\"user\",\"content\":\"x\"}]}\n{oops\n",
        );
        assert!(error.starts_with("two.jsonl:2:2"), "{error}");
        let error = shown("c.jsonl", "{\"messages\": [{\"role\": \"usr\", \"content\": \"hi\"}]}");
        assert!(error.contains("no message of a user"), "{error}");
        assert!(trace(Path::new("t.jsonl"), "{\"timestamp\":5}\n{\"timestamp\":1}").is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_the_readers_fall_over(text in "[\\[\\]{}\",:a-z0-9 \\n]{0,80}") {
            let _ = (parse(Path::new("x.json"), &text), parse(Path::new("x.jsonl"), &text), trace(Path::new("x"), &text));
        }
    }
}
