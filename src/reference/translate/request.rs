//! A request of the Messages API as one of Chat Completions.

use serde_json::{Map, Value, json};

/// What a character is worth where tokens are estimated: four are one token.
const CHARACTERS_PER_TOKEN: usize = 4;

/// The request.
pub(super) fn chat(body: &Value) -> Value {
    let mut out = Map::new();
    out.insert("model".into(), body["model"].clone());
    out.insert("messages".into(), messages(body).into());
    let tools: Vec<Value> = items(&body["tools"]).iter().filter_map(tool).collect();
    if !tools.is_empty() {
        out.insert("tools".into(), tools.into());
        if let Some(choice) = tool_choice(&body["tool_choice"]) {
            out.insert("tool_choice".into(), choice);
        }
        if body["tool_choice"]["disable_parallel_tool_use"] == true {
            out.insert("parallel_tool_calls".into(), false.into());
        }
    }
    let same = [("temperature", "temperature"), ("top_p", "top_p"), ("stop_sequences", "stop")];
    for (from, to) in same.into_iter().chain([("max_tokens", "max_completion_tokens")]) {
        if !body[from].is_null() {
            out.insert(to.into(), body[from].clone());
        }
    }
    if body["stream"] == true {
        out.insert("stream".into(), true.into());
        out.insert("stream_options".into(), json!({"include_usage": true}));
    }
    if let Some(effort) = effort(body) {
        out.insert("reasoning_effort".into(), effort.into());
    }
    let format = [&body["output_config"]["format"], &body["output_format"]].into_iter().find(|f| f.is_object());
    if let Some(format) = format {
        let schema = json!({"name": "answer", "schema": format["schema"], "strict": true});
        out.insert("response_format".into(), json!({"type": "json_schema", "json_schema": schema}));
    }
    Value::Object(out)
}

/// An estimate of how many input tokens a request is.
pub(super) fn estimate(body: &Value) -> usize {
    let counted = json!([body["system"], body["messages"], body["tools"]]).to_string();
    counted.chars().count().div_ceil(CHARACTERS_PER_TOKEN)
}

/// How hard the model is to think; `none` where thinking is switched off.
fn effort(body: &Value) -> Option<&'static str> {
    let stated = || match body["output_config"]["effort"].as_str() {
        Some("low") => Some("low"),
        Some("medium") => Some("medium"),
        Some("high" | "max" | "xhigh") => Some("high"),
        _ => None,
    };
    match body["thinking"]["type"].as_str() {
        Some("disabled") => Some("none"),
        Some(_) => Some(stated().unwrap_or("medium")),
        None => stated(),
    }
}

fn messages(body: &Value) -> Vec<Value> {
    let mut out = Vec::new();
    let system = joined(&body["system"]);
    if !system.is_empty() {
        out.push(json!({"role": "system", "content": system}));
    }
    for message in items(&body["messages"]) {
        let content = &message["content"];
        match message["role"].as_str() {
            Some("assistant") => out.extend(assistant(content)),
            Some("system") => {
                let text = joined(content);
                if !text.is_empty() {
                    out.push(json!({"role": "system", "content": text}));
                }
            }
            _ => user(content, &mut out),
        }
    }
    let (system, rest): (Vec<_>, Vec<_>) = out.into_iter().partition(|m| m["role"] == "system");
    // What the system says stands in front: not every provider takes it elsewhere, and never between a call and its result.
    let system: Vec<&str> = system.iter().filter_map(|m| m["content"].as_str()).collect();
    let first = (!system.is_empty()).then(|| json!({"role": "system", "content": system.join("\n\n")}));
    first.into_iter().chain(rest).collect()
}

/// The results of tools come first, because they have to follow their calls; what cannot stand in them comes behind.
fn user(content: &Value, out: &mut Vec<Value>) {
    if content.is_string() {
        out.push(json!({"role": "user", "content": content}));
        return;
    }
    let mut parts = Vec::new();
    for block in items(content) {
        if block["type"] == "tool_result" {
            let inner = &block["content"];
            let text = if let Some(text) = inner.as_str() { text.to_owned() } else { joined(inner) };
            out.push(json!({"role": "tool", "tool_call_id": block["tool_use_id"], "content": text}));
            parts.extend(items(inner).iter().filter(|b| b["type"] != "text").filter_map(part));
        } else {
            parts.extend(part(block));
        }
    }
    if !parts.is_empty() {
        out.push(json!({"role": "user", "content": parts}));
    }
}

fn part(block: &Value) -> Option<Value> {
    let source = &block["source"];
    let data = || match source["data"].as_str() {
        Some(data) => format!("data:{};base64,{data}", source["media_type"].as_str().unwrap_or_default()),
        None => source["url"].as_str().unwrap_or_default().to_owned(),
    };
    match block["type"].as_str()? {
        "image" => Some(json!({"type": "image_url", "image_url": {"url": data()}})),
        "document" => {
            let name = block["title"].as_str().unwrap_or("document.pdf");
            Some(json!({"type": "file", "file": {"filename": name, "file_data": data()}}))
        }
        _ => Some(json!({"type": "text", "text": block["text"].as_str()?})),
    }
}

fn assistant(content: &Value) -> Option<Value> {
    let mut message = Map::from_iter([("role".to_owned(), "assistant".into())]);
    let blocks = items(content);
    let of = |kind: &str, key: &str| -> String {
        blocks.iter().filter(|b| b["type"] == kind).filter_map(|b| b[key].as_str()).collect()
    };
    let text = content.as_str().map_or_else(|| of("text", "text"), str::to_owned);
    let calls: Vec<Value> = blocks
        .iter()
        .filter(|b| b["type"] == "tool_use")
        .map(|b| {
            let function = json!({"name": b["name"], "arguments": b["input"].to_string()});
            json!({"id": b["id"], "type": "function", "function": function})
        })
        .collect();
    let reasoning = of("thinking", "thinking");
    if text.is_empty() && calls.is_empty() && reasoning.is_empty() {
        return None;
    }
    message.insert("content".into(), if text.is_empty() && !calls.is_empty() { Value::Null } else { text.into() });
    if !reasoning.is_empty() {
        message.insert("reasoning_content".into(), reasoning.into());
    }
    if !calls.is_empty() {
        message.insert("tool_calls".into(), calls.into());
    }
    Some(Value::Object(message))
}

/// A tool that the client runs; those that Anthropic runs have no counterpart.
fn tool(tool: &Value) -> Option<Value> {
    if !tool["input_schema"].is_object() {
        return None;
    }
    let mut function = Map::from_iter([("name".to_owned(), tool["name"].clone())]);
    function.insert("parameters".into(), tool["input_schema"].clone());
    if tool["description"].is_string() {
        function.insert("description".into(), tool["description"].clone());
    }
    Some(json!({"type": "function", "function": function}))
}

fn tool_choice(choice: &Value) -> Option<Value> {
    match choice["type"].as_str()? {
        "any" => Some("required".into()),
        "none" => Some("none".into()),
        "tool" => Some(json!({"type": "function", "function": {"name": choice["name"]}})),
        _ => Some("auto".into()),
    }
}

/// The texts of a content, with an empty line between them.
fn joined(content: &Value) -> String {
    if let Some(text) = content.as_str() {
        return text.to_owned();
    }
    let texts: Vec<&str> = items(content).iter().filter_map(|b| b["text"].as_str()).filter(|t| !t.is_empty()).collect();
    texts.join("\n\n")
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}
