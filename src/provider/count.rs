//! A deterministic estimate of how many tokens a request is: what `count_tokens` answers and the context window is held
//! against. It grows with every text, tool and image; it does not pretend to be a tokenizer.

use serde_json::Value;

use super::reading;

/// Bytes of text that make one token.
const BYTES_PER_TOKEN: u64 = 4;

/// What every request costs on top.
const PER_REQUEST: u64 = 3;

/// What every message, block and tool costs on top of its text.
const PER_ITEM: u64 = 4;

/// What an image costs, whatever its size.
const PER_IMAGE: u64 = 1_600;

/// The estimate of a whole request, at least 1.
pub fn tokens(body: &Value) -> u64 {
    let system: u64 = ["system", "instructions"].iter().flat_map(|part| reading::items(&body[part])).map(block).sum();
    let tools: u64 = reading::tools(body).iter().map(|tool| PER_ITEM + text(tool)).sum();
    let said = reading::messages(body).iter().chain(reading::items(&body["input"]));
    PER_REQUEST + system + tools + said.map(message).sum::<u64>()
}

/// A message of any API, or an item of a Responses request, which need not have a content.
fn message(message: &Value) -> u64 {
    match message.get("content") {
        Some(content) => {
            let blocks = reading::items(content).iter().map(block).sum::<u64>();
            PER_ITEM + blocks + message.get("tool_calls").map_or(0, text)
        }
        None => block(message),
    }
}

fn block(value: &Value) -> u64 {
    match value["type"].as_str() {
        Some("image" | "image_url" | "input_image") => PER_IMAGE,
        Some("text" | "input_text" | "output_text") => PER_ITEM + text(&value["text"]),
        Some("tool_result") => PER_ITEM + reading::items(&value["content"]).iter().map(block).sum::<u64>(),
        _ => PER_ITEM + text(value),
    }
}

/// The estimate of a text alone.
pub(super) fn text_tokens(text: &str) -> u64 {
    (text.len() as u64).div_ceil(BYTES_PER_TOKEN)
}

/// The tokens of every text within, keys and numbers left out except a tool schema's own names.
fn text(value: &Value) -> u64 {
    bytes(value).div_ceil(BYTES_PER_TOKEN)
}

fn bytes(value: &Value) -> u64 {
    match value {
        Value::String(s) => s.len() as u64,
        Value::Array(items) => items.iter().map(bytes).sum(),
        // Marks for the cache are not read by the model.
        Value::Object(fields) => {
            fields.iter().filter(|(k, _)| *k != "cache_control").map(|(k, v)| k.len() as u64 + bytes(v)).sum()
        }
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_estimate_grows_with_text_tools_and_images_and_is_never_zero() {
        assert!(tokens(&json!({})) > 0);
        let small = json!({"messages": [{"role": "user", "content": "hi"}]});
        let long = json!({"messages": [{"role": "user", "content": "hi ".repeat(100)}]});
        let tool = json!({"messages": [{"role": "user", "content": "hi"}],
            "tools": [{"name": "Read", "input_schema": {"type": "object"}}]});
        let image = json!({"messages": [{"role": "user", "content": [
            {"type": "text", "text": "hi"}, {"type": "image", "source": {}}]}]});
        let nested = json!({"messages": [{"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "image", "source": {}}]}]}]});
        for larger in [&long, &tool, &image, &nested] {
            assert!(tokens(larger) > tokens(&small), "{larger}");
        }
    }

    #[test]
    fn marks_for_the_cache_and_the_form_of_a_text_do_not_count() {
        let plain = json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]});
        let marked = json!({"messages": [{"role": "user", "content": [
            {"type": "text", "text": "hello", "cache_control": {"type": "ephemeral"}}]}]});
        let string = json!({"messages": [{"role": "user", "content": "hello"}]});
        assert_eq!(tokens(&plain), tokens(&marked));
        assert_eq!(tokens(&plain), tokens(&string));
    }
}
