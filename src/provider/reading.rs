//! A Messages request read the way the API reads it: consecutive messages of one role are one turn, a string is one text
//! block, and `role: "system"` entries stand beside the turns. Every block keeps the place it has in the request, because
//! refusals name it.

use serde_json::Value;

use super::script::Facts;

/// Who speaks in a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    User,
    Assistant,
}

/// Consecutive messages of one role, which the API combines.
#[derive(Debug)]
pub(super) struct RoleTurn<'a> {
    pub(super) role: Role,
    /// The position of its last message in `messages`.
    pub(super) message: usize,
    pub(super) blocks: Vec<Block<'a>>,
}

/// One content block and its place: `messages.{message}.content.{index}`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block<'a> {
    pub(super) message: usize,
    pub(super) index: usize,
    pub(super) kind: &'a str,
    /// The block, or the string that stands for a text block.
    pub(super) value: &'a Value,
}

impl<'a> Block<'a> {
    fn new(message: usize, index: usize, value: &'a Value) -> Self {
        let kind = if value.is_string() { "text" } else { value["type"].as_str().unwrap_or_default() };
        Self { message, index, kind, value }
    }

    /// A text field of the block.
    pub(super) fn field(&self, name: &str) -> Option<&'a str> {
        self.value.get(name).and_then(Value::as_str)
    }

    /// The text of a text block.
    pub(super) fn text(&self) -> Option<&'a str> {
        if self.kind == "text" { self.value.as_str().or_else(|| self.field("text")) } else { None }
    }

    /// The id of a tool call.
    pub(super) fn call_id(&self) -> Option<&'a str> {
        if self.kind == "tool_use" { self.field("id") } else { None }
    }

    /// The id of the call that a tool result answers.
    pub(super) fn result_id(&self) -> Option<&'a str> {
        if self.kind == "tool_result" { self.field("tool_use_id") } else { None }
    }

    /// Whether it is a thinking block of either kind.
    pub(super) fn is_thinking(&self) -> bool {
        is_thinking(self.kind)
    }
}

impl RoleTurn<'_> {
    /// Whether the turn brings a tool result.
    pub(super) fn has_results(&self) -> bool {
        self.blocks.iter().any(|b| b.kind == "tool_result")
    }
}

/// Whether `kind` is a thinking block of either kind.
pub(super) fn is_thinking(kind: &str) -> bool {
    matches!(kind, "thinking" | "redacted_thinking")
}

/// The blocks of a message, whatever its role: its array, or its string as one text block.
pub(super) fn blocks(message: usize, content: &Value) -> impl Iterator<Item = Block<'_>> {
    items(content).iter().enumerate().map(move |(index, value)| Block::new(message, index, value))
}

/// The texts within a tool result's content.
pub(super) fn result_texts<'a>(result: &Block<'a>) -> impl Iterator<Item = &'a str> {
    result.value.get("content").into_iter().flat_map(|content| blocks(0, content)).filter_map(|b| b.text())
}

/// The messages of a body; none when there is no array.
pub(super) fn messages(body: &Value) -> &[Value] {
    body["messages"].as_array().map_or(&[], Vec::as_slice)
}

/// The tools of a body; none when there is no array.
pub(super) fn tools(body: &Value) -> &[Value] {
    body["tools"].as_array().map_or(&[], Vec::as_slice)
}

/// The entries of an array; anything else but null is its own only entry.
pub(super) fn items(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        Value::Null => &[],
        single => std::slice::from_ref(single),
    }
}

/// The turns of a conversation.
pub(super) fn turns(body: &Value) -> Vec<RoleTurn<'_>> {
    let mut turns: Vec<RoleTurn<'_>> = Vec::new();
    for (i, message) in messages(body).iter().enumerate() {
        let role = match message["role"].as_str() {
            Some("user") => Role::User,
            Some("assistant") => Role::Assistant,
            _ => continue,
        };
        let content = blocks(i, &message["content"]);
        match turns.last_mut() {
            Some(turn) if turn.role == role => {
                turn.message = i;
                turn.blocks.extend(content);
            }
            _ => turns.push(RoleTurn { role, message: i, blocks: content.collect() }),
        }
    }
    turns
}

/// What the conversation holds, as far as scripts ask for it.
pub(super) fn facts(body: &Value) -> Facts<'_> {
    let mut facts = Facts::offering(tools(body).iter().filter_map(|tool| tool["name"].as_str()));
    for block in turns(body).iter().filter(|t| t.role == Role::User).flat_map(|t| &t.blocks) {
        if let Some(text) = block.text() {
            facts.hear_user(text);
        } else if block.kind == "tool_result" {
            facts.hear_result(result_texts(block));
        }
    }
    facts
}

/// Whether and how a request asks for thinking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ThinkingMode {
    /// Absent or `disabled`.
    Off,
    /// `enabled`, with a budget.
    Enabled,
    /// `adaptive`, or a kind that we do not know yet.
    Adaptive,
}

impl ThinkingMode {
    /// The mode that a request asks for.
    pub(super) fn of(body: &Value) -> Self {
        match body["thinking"]["type"].as_str() {
            None | Some("disabled") => Self::Off,
            Some("enabled") => Self::Enabled,
            Some(_) => Self::Adaptive,
        }
    }
}
