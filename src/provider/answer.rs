//! What is answered, whichever API it goes out by; and its form in the Messages API: the events of a stream, or one whole
//! message. Both come from the same blocks.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Value, json};

use super::issued::Issued;
use crate::evidence::Face;
use crate::probe::{self, ToolUseBlock, Turn, TurnUsage};

/// One answer, ready to be sent in either form.
pub(super) struct Answer {
    pub(super) id: String,
    pub(super) model: String,
    pub(super) content: Vec<Block>,
    pub(super) stop_reason: String,
    pub(super) stop_sequence: Option<String>,
    pub(super) usage: TurnUsage,
    /// The pause in front of every event after the first.
    pub(super) pause: Duration,
}

/// How scripted thinking goes into an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Thinking {
    /// Its text is shown; otherwise only that there was some.
    pub(super) shown: bool,
    /// It comes with what proves that it is the model's own.
    pub(super) signed: bool,
}

/// A content block in the pieces in which it is streamed.
pub(super) enum Block {
    Text(Vec<String>),
    Thinking {
        pieces: Vec<String>,
        signature: Option<String>,
    },
    ToolUse {
        id: String,
        name: String,
        input: Value,
        fragments: u32,
    },
    /// A block that only Anthropic Messages has.
    Native(Value),
}

/// Where an answer's ids come from: the same conversation gets the same ids.
pub(super) struct Origin<'a> {
    pub(super) face: Face,
    pub(super) issued: &'a Issued,
    /// What makes the answer this one: nonce, turn, conversation.
    pub(super) parts: [&'a [u8]; 3],
    pub(super) model: &'a str,
}

impl Origin<'_> {
    fn id(&self, prefix: &str, index: usize) -> String {
        let index = index.to_le_bytes();
        let [nonce, turn, conversation] = self.parts;
        self.issued.id(prefix, &[nonce, turn, conversation, &index])
    }

    /// The request id.
    pub(super) fn request_id(&self) -> String {
        self.id("req_", 0)
    }
}

impl Answer {
    /// The answer that a scripted turn gives; `fill` fills in placeholders, `thinking` says whether and how it is asked for.
    pub(super) fn scripted(
        turn: &Turn,
        origin: &Origin<'_>,
        thinking: Option<Thinking>,
        fill: impl Fn(&str) -> String,
    ) -> Self {
        let all = |pieces: &[String]| pieces.iter().map(|p| fill(p)).collect::<Vec<_>>();
        let native = origin.face == Face::Anthropic;
        let block = |(index, block): (usize, &probe::Block)| match block {
            probe::Block::RedactedThinking(text) => thinking.filter(|_| native).map(|_| {
                let data = origin.issued.sign(&fill(text));
                Block::Native(json!({"type": "redacted_thinking", "data": data}))
            }),
            probe::Block::Verbatim(text) => serde_json::from_str(text).ok().filter(|_| native).map(|mut value| {
                fill_texts(&mut value, &fill);
                Block::Native(value)
            }),
            probe::Block::Text(pieces) => Some(Block::Text(all(pieces))),
            probe::Block::Thinking(block) => thinking.map(|thinking| {
                let pieces = all(&block.pieces);
                let signed = block.signed && thinking.signed;
                let signature = signed.then(|| origin.issued.sign(&pieces.concat()));
                Block::Thinking { pieces: if thinking.shown { pieces } else { Vec::new() }, signature }
            }),
            probe::Block::ToolUse(ToolUseBlock { name, input, fragments }) => Some(Block::ToolUse {
                id: origin.id(origin.face.call_prefix(), index),
                name: name.clone(),
                input: input
                    .iter()
                    .map(|(k, v)| (k.clone(), filled(v, &fill)))
                    .collect::<serde_json::Map<_, _>>()
                    .into(),
                fragments: *fragments,
            }),
        };
        let content: Vec<Block> = turn.blocks.iter().enumerate().filter_map(block).collect();
        let calls = content.iter().any(|b| matches!(b, Block::ToolUse { .. }));
        let by_default = if calls { "tool_use" } else { "end_turn" };
        Self {
            id: origin.id(origin.face.answer_prefix(), 0),
            model: origin.model.to_owned(),
            content,
            stop_reason: turn.stop_reason.clone().unwrap_or_else(|| by_default.to_owned()),
            stop_sequence: turn.stop_sequence.clone(),
            usage: turn.usage,
            pause: Duration::from_millis(turn.pause_ms),
        }
    }

    /// A plain text, for conversations without a script.
    pub(super) fn plain(text: String, origin: &Origin<'_>) -> Self {
        Self {
            id: origin.id(origin.face.answer_prefix(), 0),
            model: origin.model.to_owned(),
            content: vec![Block::Text(vec![text])],
            stop_reason: "end_turn".to_owned(),
            stop_sequence: None,
            usage: TurnUsage::default(),
            pause: Duration::ZERO,
        }
    }

    /// Whether it holds thinking.
    pub(super) fn has_thinking(&self) -> bool {
        self.content.iter().any(|b| match b {
            Block::Thinking { .. } => true,
            Block::Native(value) => value["type"] == "redacted_thinking",
            Block::Text(_) | Block::ToolUse { .. } => false,
        })
    }

    /// The blocks as the Messages API returns them whole.
    pub(super) fn blocks(&self) -> Vec<Value> {
        self.content.iter().filter_map(|block| serde_json::to_value(block.whole()).ok()).collect()
    }

    /// The whole message, for a request that does not stream.
    pub(super) fn message(&self) -> Bytes {
        let content = self.content.iter().map(Block::whole).collect();
        json_bytes(&self.envelope(content, Some(&self.stop_reason), self.usage))
    }

    /// The events of the stream, each as it goes over the wire.
    pub(super) fn events(&self) -> Vec<Bytes> {
        let started = TurnUsage { output_tokens: 1, ..self.usage };
        let mut events = vec![Event::MessageStart { message: self.envelope(Vec::new(), None, started) }];
        for (index, block) in self.content.iter().enumerate() {
            let delta = |delta| Event::ContentBlockDelta { index, delta };
            events.push(Event::ContentBlockStart { index, content_block: block.start() });
            if index == 0 {
                events.push(Event::Ping);
            }
            match block {
                Block::Text(pieces) => events.extend(pieces.iter().map(|text| delta(Delta::Text { text }))),
                Block::Thinking { pieces, signature } => {
                    events.extend(pieces.iter().map(|thinking| delta(Delta::Thinking { thinking })));
                    events.extend(signature.iter().map(|signature| delta(Delta::Signature { signature })));
                }
                Block::ToolUse { input, fragments, .. } => {
                    let parts = fragments_of(input, *fragments);
                    events.extend(parts.into_iter().map(|partial_json| delta(Delta::InputJson { partial_json })));
                }
                Block::Native(value) => {
                    let input = Some(&value["input"]).filter(|input| input.is_object());
                    let partial_json = input.map(Value::to_string);
                    events.extend(partial_json.map(|partial_json| delta(Delta::InputJson { partial_json })));
                }
            }
            events.push(Event::ContentBlockStop { index });
        }
        let stop = Stop { stop_reason: Some(&self.stop_reason), stop_sequence: self.stop_sequence.as_deref() };
        events.push(Event::MessageDelta { delta: stop, usage: self.usage });
        events.push(Event::MessageStop);
        events.iter().map(Event::to_bytes).collect()
    }

    fn envelope<'a>(
        &'a self,
        content: Vec<Content<'a>>,
        stop_reason: Option<&'a str>,
        usage: TurnUsage,
    ) -> Message<'a> {
        let stop_sequence = self.stop_sequence.as_deref().filter(|_| stop_reason.is_some());
        let stop = Stop { stop_reason, stop_sequence };
        Message { id: &self.id, r#type: "message", role: "assistant", model: &self.model, content, stop, usage }
    }
}

impl Block {
    /// The block as its `content_block_start` shows it: still empty.
    fn start(&self) -> Content<'_> {
        match self {
            Self::Text(_) => Content::Text { text: String::new() },
            Self::Thinking { .. } => Content::Thinking { thinking: String::new(), signature: "" },
            Self::ToolUse { id, name, .. } => Content::ToolUse { id, name, input: json!({}) },
            Self::Native(value) => {
                let mut value = value.clone();
                if value["input"].is_object() {
                    value["input"] = json!({});
                }
                Content::Native(value)
            }
        }
    }

    /// The block as a whole message holds it.
    fn whole(&self) -> Content<'_> {
        match self {
            Self::Text(pieces) => Content::Text { text: pieces.concat() },
            Self::Thinking { pieces, signature } => {
                Content::Thinking { thinking: pieces.concat(), signature: signature.as_deref().unwrap_or_default() }
            }
            Self::ToolUse { id, name, input, .. } => Content::ToolUse { id, name, input: input.clone() },
            Self::Native(value) => Content::Native(value.clone()),
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Content<'a> {
    Text {
        text: String,
    },
    Thinking {
        thinking: String,
        signature: &'a str,
    },
    ToolUse {
        id: &'a str,
        name: &'a str,
        input: Value,
    },
    /// It has its type itself.
    #[serde(untagged)]
    Native(Value),
}

/// A message, in the field order of the API.
#[derive(Serialize)]
struct Message<'a> {
    id: &'a str,
    r#type: &'a str,
    role: &'a str,
    model: &'a str,
    content: Vec<Content<'a>>,
    #[serde(flatten)]
    stop: Stop<'a>,
    usage: TurnUsage,
}

#[derive(Serialize)]
struct Stop<'a> {
    stop_reason: Option<&'a str>,
    stop_sequence: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event<'a> {
    MessageStart { message: Message<'a> },
    ContentBlockStart { index: usize, content_block: Content<'a> },
    Ping,
    ContentBlockDelta { index: usize, delta: Delta<'a> },
    ContentBlockStop { index: usize },
    MessageDelta { delta: Stop<'a>, usage: TurnUsage },
    MessageStop,
}

#[derive(Serialize)]
#[serde(tag = "type")]
enum Delta<'a> {
    #[serde(rename = "text_delta")]
    Text { text: &'a str },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: &'a str },
    #[serde(rename = "signature_delta")]
    Signature { signature: &'a str },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: String },
}

impl Event<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::MessageStart { .. } => "message_start",
            Self::ContentBlockStart { .. } => "content_block_start",
            Self::Ping => "ping",
            Self::ContentBlockDelta { .. } => "content_block_delta",
            Self::ContentBlockStop { .. } => "content_block_stop",
            Self::MessageDelta { .. } => "message_delta",
            Self::MessageStop => "message_stop",
        }
    }

    fn to_bytes(&self) -> Bytes {
        let data = json_bytes(self);
        [b"event: ", self.name().as_bytes(), b"\ndata: ", &data, b"\n\n"].concat().into()
    }
}

/// JSON text; what we serialise has text keys only, so it cannot fail.
pub(super) fn json_bytes(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into()
}

/// Fills in the placeholders of every text within.
fn fill_texts(value: &mut Value, fill: &impl Fn(&str) -> String) {
    match value {
        Value::String(text) => *text = fill(text),
        Value::Array(items) => items.iter_mut().for_each(|v| fill_texts(v, fill)),
        Value::Object(fields) => fields.values_mut().for_each(|v| fill_texts(v, fill)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A scripted argument as JSON, with the placeholders of its texts filled in.
fn filled(value: &toml::Value, fill: &impl Fn(&str) -> String) -> Value {
    match value {
        toml::Value::String(text) => Value::String(fill(text)),
        toml::Value::Integer(n) => (*n).into(),
        toml::Value::Float(n) => (*n).into(),
        toml::Value::Boolean(b) => (*b).into(),
        toml::Value::Datetime(at) => Value::String(at.to_string()),
        toml::Value::Array(items) => items.iter().map(|v| filled(v, fill)).collect(),
        toml::Value::Table(table) => {
            table.iter().map(|(k, v)| (k.clone(), filled(v, fill))).collect::<serde_json::Map<_, _>>().into()
        }
    }
}

/// The JSON text of a call's arguments in the fragments in which it is streamed.
pub(super) fn fragments_of(input: &Value, fragments: u32) -> Vec<String> {
    split(&input.to_string(), fragments)
}

/// A text in `pieces` pieces of nearly the same number of characters; in fewer when it has not so many characters.
fn split(text: &str, pieces: u32) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let pieces = usize::try_from(pieces).unwrap_or(usize::MAX).clamp(1, chars.len().max(1));
    let bound = |n: usize| n * chars.len() / pieces;
    (0..pieces).map(|n| chars[bound(n)..bound(n + 1)].iter().collect()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TURN: &str = r#"
        name = "call"
        usage = { input_tokens = 7, output_tokens = 9 }
        blocks = [
            { thinking = { pieces = ["let me ", "look"] } },
            { text = ["I ", "read ☃"] },
            { tool_use = { name = "Read", fragments = 3, input = { file_path = "{workspace}/ä", limit = 2 } } },
        ]
    "#;

    fn answer(turn: &str, thinking: bool) -> Answer {
        let issued = Issued::with_key([7; 32]);
        let origin = Origin {
            face: Face::Anthropic,
            issued: &issued,
            parts: [b"nonce", b"call", b"hash"],
            model: "claude-sonnet-5-5",
        };
        let thinking = thinking.then_some(Thinking { shown: true, signed: true });
        Answer::scripted(&toml::from_str(turn).unwrap(), &origin, thinking, |t| t.replace("{workspace}", "/w"))
    }

    fn stream(answer: &Answer) -> String {
        answer.events().iter().map(|e| String::from_utf8_lossy(e).into_owned()).collect()
    }

    #[test]
    fn a_stream_has_the_shape_of_the_api() {
        insta::assert_snapshot!(stream(&answer(TURN, true)), @r#"
        event: message_start
        data: {"type":"message_start","message":{"id":"msg_Rm8M7ZCn3pBGGxIlbf5ptSg3","type":"message","role":"assistant","model":"claude-sonnet-5-5","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":7,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":1}}}

        event: content_block_start
        data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}

        event: ping
        data: {"type":"ping"}

        event: content_block_delta
        data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"let me "}}

        event: content_block_delta
        data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"look"}}

        event: content_block_delta
        data: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"1WThDNuJT6a03riLyJiLw6IAIdLBa2kvcQq+dd4IgYs="}}

        event: content_block_stop
        data: {"type":"content_block_stop","index":0}

        event: content_block_start
        data: {"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}

        event: content_block_delta
        data: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"I "}}

        event: content_block_delta
        data: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"read ☃"}}

        event: content_block_stop
        data: {"type":"content_block_stop","index":1}

        event: content_block_start
        data: {"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"toolu_6s2GpUQtDb8FGYwg4IGc5e4A","name":"Read","input":{}}}

        event: content_block_delta
        data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"file_pat"}}

        event: content_block_delta
        data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"h\":\"/w/ä\","}}

        event: content_block_delta
        data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"\"limit\":2}"}}

        event: content_block_stop
        data: {"type":"content_block_stop","index":2}

        event: message_delta
        data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"input_tokens":7,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":9}}

        event: message_stop
        data: {"type":"message_stop"}
        "#);
    }

    #[test]
    fn a_whole_message_says_the_same_as_the_stream() {
        insta::assert_snapshot!(String::from_utf8_lossy(&answer(TURN, true).message()), @r#"{"id":"msg_Rm8M7ZCn3pBGGxIlbf5ptSg3","type":"message","role":"assistant","model":"claude-sonnet-5-5","content":[{"type":"thinking","thinking":"let me look","signature":"1WThDNuJT6a03riLyJiLw6IAIdLBa2kvcQq+dd4IgYs="},{"type":"text","text":"I read ☃"},{"type":"tool_use","id":"toolu_6s2GpUQtDb8FGYwg4IGc5e4A","name":"Read","input":{"file_path":"/w/ä","limit":2}}],"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":7,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":9}}"#);
    }

    #[test]
    fn thinking_is_left_out_where_it_is_not_asked_for_and_ids_stay() {
        let (with, without) = (answer(TURN, true), answer(TURN, false));
        assert!(with.has_thinking() && !without.has_thinking());
        assert_eq!(with.blocks()[1..], without.blocks()[..]);
    }

    #[test]
    fn unsigned_thinking_has_no_signature_delta() {
        let unsigned = TURN.replace("\"look\"] }", "\"look\"], signed = false }");
        let answer = answer(&unsigned, true);
        assert!(!stream(&answer).contains("signature_delta"));
        assert_eq!(answer.blocks()[0]["signature"], "");
    }

    #[test]
    fn the_stop_reason_follows_from_the_blocks_unless_the_script_states_one() {
        assert_eq!(answer("name = \"t\"\nblocks = [{ text = [\"x\"] }]", false).stop_reason, "end_turn");
        assert_eq!(answer(TURN, false).stop_reason, "tool_use");
        let stated = "name = \"t\"\nstop_reason = \"max_tokens\"\nblocks = [{ text = [\"x\"] }]";
        assert_eq!(answer(stated, false).stop_reason, "max_tokens");
    }

    proptest! {
        #[test]
        fn fragments_add_up_and_none_is_empty(text in ".{1,60}", pieces in 0_u32..90) {
            let parts = split(&text, pieces);
            prop_assert_eq!(parts.concat(), text.clone());
            prop_assert!(parts.iter().all(|p| !p.is_empty()));
            let asked = usize::try_from(pieces.max(1)).unwrap();
            prop_assert_eq!(parts.len(), asked.min(text.chars().count()));
        }
    }
}
