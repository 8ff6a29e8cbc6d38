//! Rules about the tools on offer, which both APIs declare, one a level deeper than the other.

use serde_json::Value;

use super::{object, text};
use crate::provider::openai::words;
use crate::provider::refusal::Refusal;

/// How many tools a request may offer.
const MAX_TOOLS: usize = 128;

/// How long a function's name may be, in characters.
const MAX_NAME: usize = 64;

/// What a function's name consists of.
const NAME_PATTERN: &str = "^[a-zA-Z0-9_-]+$";

/// The tools of a request; none when there is no list.
pub(super) fn list(tools: &Value) -> Result<&[Value], Refusal> {
    let tools = match tools {
        Value::Null => &[][..],
        Value::Array(tools) => tools,
        other => return Err(words::wrong_type("tools", "an array of objects", other)),
    };
    for (i, tool) in tools.iter().enumerate() {
        object(tool, &format!("tools[{i}]"))?;
    }
    if tools.len() > MAX_TOOLS {
        return Err(words::array_too_long("tools", MAX_TOOLS, tools.len()));
    }
    Ok(tools)
}

/// A function that is declared at `path`.
pub(super) fn function(function: &Value, path: &str) -> Result<(), Refusal> {
    let name = name(function, path)?;
    let path = format!("{path}.parameters");
    let wrong = |why: &str| Err(words::wrong_schema(&path, name, why));
    let schema = match &function["parameters"] {
        // A function without parameters need not say so.
        Value::Null => return Ok(()),
        Value::Object(schema) => schema,
        other => return wrong(&format!("{other} is not of type 'object', 'boolean'.")),
    };
    match schema.get("type") {
        Some(Value::String(kind)) if kind == "object" => {}
        Some(Value::String(kind)) => {
            return wrong(&format!("schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{kind}\"'."));
        }
        _ => return wrong("schema must be a JSON Schema of 'type: \"object\"', got 'type: \"None\"'."),
    }
    if !schema.contains_key("properties") {
        return wrong("In context=(), object schema missing properties.");
    }
    Ok(())
}

/// The name of a function that is declared or called at `path`.
pub(super) fn name<'a>(function: &'a Value, path: &str) -> Result<&'a str, Refusal> {
    let path = format!("{path}.name");
    let name = text(function, "name", &path)?;
    if name.is_empty() {
        return Err(words::empty_string(path));
    }
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
        return Err(words::wrong_pattern(path, NAME_PATTERN));
    }
    if name.len() > MAX_NAME {
        return Err(words::too_long(path, MAX_NAME, name.len()));
    }
    Ok(name)
}
