//! The shape of a request: required fields, roles, blocks and tools, each in the words of the API's own validation.

use serde_json::Value;

use super::features::{Betas, SYSTEM_ROLE};
use super::{Endpoint, Refusal};
use crate::provider::reading::{self, Block};

pub(super) fn check(endpoint: Endpoint, body: &Value, betas: &Betas<'_>) -> Result<(), Refusal> {
    if !body.is_object() {
        return Err(Refusal::invalid("The request body is not valid JSON: expected an object"));
    }
    text(body, "model", "model")?;
    if endpoint == Endpoint::Messages {
        max_tokens(&body["max_tokens"])?;
    }
    match &body["messages"] {
        Value::Null => return Err(required("messages")),
        Value::Array(messages) if messages.is_empty() => {
            return Err(Refusal::invalid("messages: at least one message is required"));
        }
        Value::Array(messages) => conversation(messages, betas)?,
        _ => return Err(Refusal::invalid("messages: Input should be a valid list")),
    }
    thinking(&body["thinking"])?;
    tools(&body["tools"])
}

fn required(path: &str) -> Refusal {
    Refusal::invalid(format!("{path}: Field required"))
}

/// A required text field of `of`, named `path` in the refusal.
fn text<'a>(of: &'a Value, name: &str, path: &str) -> Result<&'a str, Refusal> {
    match &of[name] {
        Value::Null => Err(required(path)),
        Value::String(text) => Ok(text),
        _ => Err(Refusal::invalid(format!("{path}: Input should be a valid string"))),
    }
}

fn max_tokens(value: &Value) -> Result<(), Refusal> {
    match value {
        Value::Null => Err(required("max_tokens")),
        Value::Number(n) if n.as_u64().is_some_and(|n| n > 0) => Ok(()),
        Value::Number(n) if n.is_i64() || n.is_u64() => {
            Err(Refusal::invalid("max_tokens: Input should be greater than or equal to 1"))
        }
        _ => Err(Refusal::invalid("max_tokens: Input should be a valid integer")),
    }
}

fn conversation(messages: &[Value], betas: &Betas<'_>) -> Result<(), Refusal> {
    let mut begun = false;
    for (i, message) in messages.iter().enumerate() {
        match text(message, "role", &format!("messages.{i}.role"))? {
            "user" => begun = true,
            "assistant" if begun => {}
            "assistant" => return Err(Refusal::invalid("messages: first message must use the \"user\" role")),
            "system" if betas.any(SYSTEM_ROLE) => {}
            "system" => {
                return Err(Refusal::invalid(
                    "messages: Unexpected role \"system\". The Messages API accepts a top-level `system` parameter, \
                     not \"system\" as an input message role.",
                ));
            }
            other => {
                return Err(Refusal::invalid(format!(
                    "messages: Unexpected role \"{other}\". Allowed roles are \"user\" or \"assistant\""
                )));
            }
        }
        match &message["content"] {
            Value::Null => return Err(required(&format!("messages.{i}.content"))),
            Value::String(_) => {}
            content @ Value::Array(_) => {
                for block in reading::blocks(i, content) {
                    check_block(&block, &message["role"])?;
                }
            }
            _ => return Err(Refusal::invalid(format!("messages.{i}.content: Input should be a valid list"))),
        }
    }
    if begun { Ok(()) } else { Err(Refusal::invalid("messages: first message must use the \"user\" role")) }
}

fn check_block(block: &Block<'_>, role: &Value) -> Result<(), Refusal> {
    let path = format!("messages.{}.content.{}", block.message, block.index);
    if !block.value.is_object() {
        return Err(Refusal::invalid(format!("{path}: Input should be an object")));
    }
    let kind = text(block.value, "type", &format!("{path}.type"))?;
    let field = |name: &str| text(block.value, name, &format!("{path}.{kind}.{name}"));
    match kind {
        "text" => {
            field("text")?;
        }
        "tool_use" => {
            if role != "assistant" {
                return Err(only_in(block, "tool_use", "assistant"));
            }
            id(field("id")?, &format!("{path}.tool_use.id"))?;
            field("name")?;
            match &block.value["input"] {
                Value::Object(_) => {}
                Value::Null => return Err(required(&format!("{path}.tool_use.input"))),
                _ => {
                    return Err(Refusal::invalid(format!("{path}.tool_use.input: Input should be a valid dictionary")));
                }
            }
        }
        "tool_result" => {
            if role != "user" {
                return Err(only_in(block, "tool_result", "user"));
            }
            id(field("tool_use_id")?, &format!("{path}.tool_result.tool_use_id"))?;
        }
        "thinking" => {
            field("thinking")?;
        }
        _ => {}
    }
    Ok(())
}

fn only_in(block: &Block<'_>, kind: &str, role: &str) -> Refusal {
    Refusal::invalid(format!("messages.{}: `{kind}` blocks can only be in `{role}` messages", block.message))
}

fn id(id: &str, path: &str) -> Result<(), Refusal> {
    let fits = !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if fits { Ok(()) } else { Err(Refusal::invalid(format!("{path}: String should match pattern '^[a-zA-Z0-9_-]+$'"))) }
}

fn thinking(thinking: &Value) -> Result<(), Refusal> {
    if thinking["type"] == "enabled" && thinking["budget_tokens"].is_null() {
        return Err(required("thinking.enabled.budget_tokens"));
    }
    Ok(())
}

fn tools(tools: &Value) -> Result<(), Refusal> {
    let tools = match tools {
        Value::Null => return Ok(()),
        Value::Array(tools) => tools,
        _ => return Err(Refusal::invalid("tools: Input should be a valid list")),
    };
    for (i, tool) in tools.iter().enumerate() {
        // Tools with a type of their own bring name and schema with it.
        if custom(tool) {
            text(tool, "name", &format!("tools.{i}.custom.name"))?;
            if tool["input_schema"].is_null() {
                return Err(required(&format!("tools.{i}.custom.input_schema")));
            }
        }
    }
    Ok(())
}

/// Whether a tool is declared by the caller, by name and schema.
pub(super) fn custom(tool: &Value) -> bool {
    tool["type"].is_null() || tool["type"] == "custom"
}
