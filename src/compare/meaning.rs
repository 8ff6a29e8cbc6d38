//! What a request means, whichever API it is written for: who says what, which tools are offered, called and answered, and
//! how the model is to think.

use serde_json::Value;

use super::outcome::Api;
use crate::openai::arguments_of;

/// A request, read for its meaning.
#[derive(Debug, Default)]
pub(super) struct Meaning<'a> {
    /// The texts of the system, wherever they stand, in order.
    pub(super) system: Vec<&'a str>,
    /// Whether some of them stand inside the conversation.
    pub(super) inline_system: bool,
    /// The conversation: consecutive messages of one role are one turn, and turns without content are none.
    pub(super) turns: Vec<Turn<'a>>,
    /// The tools that are offered.
    pub(super) tools: Vec<Tool<'a>>,
    /// `auto`, `any`, `none`, or the name of the one tool that must be called.
    pub(super) choice: &'a str,
    /// Whether the answer is to be streamed.
    pub(super) stream: bool,
    /// The most output tokens.
    pub(super) limit: Option<u64>,
    /// How the model is to think.
    pub(super) reasoning: Reasoning<'a>,
    /// Whether the answer has to follow a schema.
    pub(super) format: bool,
}

/// What one side says between two words of the other.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    pub(super) role: Role,
    pub(super) texts: Vec<&'a str>,
    pub(super) calls: Vec<ToolCall<'a>>,
    pub(super) results: Vec<ToolResult<'a>>,
    /// Images and documents: their data, or where they are to be fetched from.
    pub(super) media: Vec<&'a str>,
    /// What the model had thought.
    pub(super) reasoning: Vec<&'a str>,
    /// Whether text stands in front of a tool's result.
    pub(super) text_first: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    User,
    Assistant,
}

/// A tool call that the model made.
#[derive(Debug)]
pub(super) struct ToolCall<'a> {
    pub(super) id: &'a str,
    pub(super) name: &'a str,
    pub(super) input: Value,
}

/// What came of a tool call.
#[derive(Debug)]
pub(super) struct ToolResult<'a> {
    pub(super) id: &'a str,
    pub(super) texts: Vec<&'a str>,
}

/// A tool that is offered.
#[derive(Debug)]
pub(super) struct Tool<'a> {
    pub(super) name: &'a str,
    pub(super) description: &'a str,
    /// `Null` for tools that the provider itself runs.
    pub(super) schema: &'a Value,
}

/// How the model is to think.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reasoning<'a> {
    /// Whether it is to think at all; `None` when the request does not say.
    pub(super) on: Option<bool>,
    /// How hard.
    pub(super) effort: Option<&'a str>,
}

impl<'a> Meaning<'a> {
    /// Reads a request. What is not as the API has it means nothing.
    pub(super) fn of(api: Api, body: &'a Value) -> Self {
        let mut meaning = match api {
            Api::Anthropic => Self::anthropic(body),
            Api::Chat => Self::chat(body),
            Api::Responses => Self::responses(body),
        };
        meaning.stream = body["stream"] == true;
        meaning.turns.retain(|t| !t.is_empty());
        // What is dropped between two turns of one role makes them one.
        let turns = std::mem::take(&mut meaning.turns);
        for turn in turns {
            let into = meaning.turn(turn.role);
            into.texts.extend(turn.texts);
            into.calls.extend(turn.calls);
            into.results.extend(turn.results);
            into.media.extend(turn.media);
            into.reasoning.extend(turn.reasoning);
            into.text_first |= turn.text_first;
        }
        meaning
    }

    fn anthropic(body: &'a Value) -> Self {
        let mut meaning = Self { system: texts(&body["system"]), choice: "auto", ..Self::default() };
        for message in array(&body["messages"]) {
            let content = &message["content"];
            let role = match message["role"].as_str() {
                Some("user") => Role::User,
                Some("assistant") => Role::Assistant,
                Some("system") => {
                    meaning.inline_system = true;
                    meaning.system.extend(texts(content));
                    continue;
                }
                _ => continue,
            };
            let turn = meaning.turn(role);
            turn.texts.extend(content.as_str());
            for block in array(content) {
                match block["type"].as_str() {
                    Some("thinking") => turn.reasoning.extend(block["thinking"].as_str()),
                    Some("tool_use") => turn.calls.push(ToolCall {
                        id: text(&block["id"]),
                        name: text(&block["name"]),
                        input: block["input"].clone(),
                    }),
                    Some("tool_result") => {
                        let content = &block["content"];
                        turn.result(ToolResult { id: text(&block["tool_use_id"]), texts: texts(content) });
                        turn.media.extend(array(content).iter().filter_map(anthropic_media));
                    }
                    _ => {
                        turn.texts.extend(part_text(block));
                        turn.media.extend(anthropic_media(block));
                    }
                }
            }
        }
        meaning.tools = array(&body["tools"])
            .iter()
            .map(|t| Tool { name: text(&t["name"]), description: text(&t["description"]), schema: &t["input_schema"] })
            .collect();
        let choice = &body["tool_choice"];
        match choice["type"].as_str() {
            Some("tool") => meaning.choice = text(&choice["name"]),
            Some(kind) => meaning.choice = kind,
            None => {}
        }
        meaning.limit = body["max_tokens"].as_u64();
        let kind = body["thinking"]["type"].as_str();
        let effort = body["output_config"]["effort"].as_str();
        meaning.reasoning = Reasoning { on: kind.map(|k| k != "disabled"), effort };
        meaning.format = body["output_config"]["format"].is_object() || body["output_format"].is_object();
        meaning
    }

    fn chat(body: &'a Value) -> Self {
        let mut meaning = Self { choice: openai_choice(&body["tool_choice"]), ..Self::default() };
        for message in array(&body["messages"]) {
            let content = &message["content"];
            let turn = match message["role"].as_str() {
                Some("system" | "developer") => {
                    meaning.inline_system |= !meaning.turns.is_empty();
                    meaning.system.extend(texts(content));
                    continue;
                }
                Some("tool") => {
                    let result = ToolResult { id: text(&message["tool_call_id"]), texts: texts(content) };
                    let turn = meaning.turn(Role::User);
                    turn.result(result);
                    turn.media.extend(array(content).iter().filter_map(openai_media));
                    continue;
                }
                Some("user") => meaning.turn(Role::User),
                Some("assistant") => meaning.turn(Role::Assistant),
                _ => continue,
            };
            turn.texts.extend(texts(content));
            turn.media.extend(array(content).iter().filter_map(openai_media));
            turn.reasoning.extend(message["reasoning_content"].as_str().or_else(|| message["reasoning"].as_str()));
            for call in array(&message["tool_calls"]) {
                let (id, function) = (text(&call["id"]), &call["function"]);
                let input = arguments_of(text(&function["arguments"]));
                turn.calls.push(ToolCall { id, name: text(&function["name"]), input });
            }
        }
        meaning.tools = array(&body["tools"]).iter().map(|t| openai_tool(&t["function"])).collect();
        meaning.limit = body["max_completion_tokens"].as_u64().or_else(|| body["max_tokens"].as_u64());
        meaning.reasoning = openai_reasoning(body);
        meaning.format = body["response_format"].is_object();
        meaning
    }

    fn responses(body: &'a Value) -> Self {
        let mut meaning = Self {
            system: texts(&body["instructions"]),
            choice: openai_choice(&body["tool_choice"]),
            ..Self::default()
        };
        if let Some(said) = body["input"].as_str() {
            meaning.turn(Role::User).texts.push(said);
        }
        for item in array(&body["input"]) {
            match item["type"].as_str().unwrap_or("message") {
                "function_call" => {
                    let input = arguments_of(text(&item["arguments"]));
                    let call = ToolCall { id: text(&item["call_id"]), name: text(&item["name"]), input };
                    meaning.turn(Role::Assistant).calls.push(call);
                }
                "function_call_output" => {
                    let result = ToolResult { id: text(&item["call_id"]), texts: texts(&item["output"]) };
                    let turn = meaning.turn(Role::User);
                    turn.result(result);
                    turn.media.extend(array(&item["output"]).iter().filter_map(openai_media));
                }
                "message" => {
                    let content = &item["content"];
                    let role = match item["role"].as_str() {
                        Some("user") => Role::User,
                        Some("assistant") => Role::Assistant,
                        Some("system" | "developer") => {
                            meaning.inline_system |= !meaning.turns.is_empty();
                            meaning.system.extend(texts(content));
                            continue;
                        }
                        _ => continue,
                    };
                    let turn = meaning.turn(role);
                    turn.texts.extend(texts(content));
                    turn.media.extend(array(content).iter().filter_map(openai_media));
                }
                _ => {}
            }
        }
        meaning.tools = array(&body["tools"]).iter().map(openai_tool).collect();
        meaning.limit = body["max_output_tokens"].as_u64();
        meaning.reasoning = openai_reasoning(body);
        meaning.format = body["text"]["format"].is_object();
        meaning
    }

    /// The turn that is being filled, or a new one when the other side spoke last.
    fn turn(&mut self, role: Role) -> &mut Turn<'a> {
        if self.turns.last().is_none_or(|t| t.role != role) {
            self.turns.push(Turn {
                role,
                texts: Vec::new(),
                calls: Vec::new(),
                results: Vec::new(),
                media: Vec::new(),
                reasoning: Vec::new(),
                text_first: false,
            });
        }
        let last = self.turns.len() - 1;
        &mut self.turns[last]
    }

    /// The ids of calls and results, in order.
    pub(super) fn ids(&self) -> impl Iterator<Item = &'a str> {
        let of = |t: &Turn<'a>| {
            let calls: Vec<&'a str> = t.calls.iter().map(|c| c.id).chain(t.results.iter().map(|r| r.id)).collect();
            calls
        };
        self.turns.iter().flat_map(of)
    }
}

impl<'a> Turn<'a> {
    fn result(&mut self, result: ToolResult<'a>) {
        self.text_first |= self.texts.iter().any(|t| !t.trim().is_empty());
        self.results.push(result);
    }

    fn is_empty(&self) -> bool {
        self.calls.is_empty()
            && self.results.is_empty()
            && self.media.is_empty()
            && self.texts.iter().all(|t| t.trim().is_empty())
    }
}

/// The texts of a content, in any of the APIs: a string, or parts that are or have a `text`.
fn texts(content: &Value) -> Vec<&str> {
    match content {
        Value::String(text) => vec![text],
        Value::Array(parts) => parts.iter().filter_map(part_text).collect(),
        _ => Vec::new(),
    }
}

/// The text of one part of a content.
fn part_text(part: &Value) -> Option<&str> {
    match part["type"].as_str() {
        Some("text" | "input_text" | "output_text") => part["text"].as_str(),
        _ => part.as_str(),
    }
}

fn anthropic_media(block: &Value) -> Option<&str> {
    if block["type"] != "image" && block["type"] != "document" {
        return None;
    }
    let source = &block["source"];
    source["data"].as_str().or_else(|| source["url"].as_str())
}

fn openai_media(part: &Value) -> Option<&str> {
    match part["type"].as_str()? {
        "image_url" => part["image_url"]["url"].as_str(),
        "input_image" => part["image_url"].as_str(),
        "file" => part["file"]["file_data"].as_str(),
        "input_file" => part["file_data"].as_str().or_else(|| part["file_url"].as_str()),
        _ => None,
    }
}

fn openai_tool(tool: &Value) -> Tool<'_> {
    Tool { name: text(&tool["name"]), description: text(&tool["description"]), schema: &tool["parameters"] }
}

fn openai_choice(choice: &Value) -> &str {
    match choice {
        Value::String(word) if word == "required" => "any",
        Value::String(word) => word,
        Value::Object(_) => choice["name"].as_str().unwrap_or_else(|| text(&choice["function"]["name"])),
        _ => "auto",
    }
}

/// Reasoning as the APIs have it, and as providers that speak them have it: `reasoning.enabled`, `thinking.type`.
fn openai_reasoning(body: &Value) -> Reasoning<'_> {
    let effort = body["reasoning_effort"].as_str().or_else(|| body["reasoning"]["effort"].as_str());
    let switch = body["reasoning"]["enabled"].as_bool();
    let kind = body["thinking"]["type"].as_str().map(|k| k != "disabled");
    let on = switch.or(kind).or_else(|| effort.map(|e| e != "none"));
    Reasoning { on, effort }
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
