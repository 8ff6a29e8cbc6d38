//! Answers of the Responses API, checked while they come. Source: `OpenAI`'s API reference, "Streaming events".

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Ask, Gathered, Reading, Said, Seen, Text, read, read_whole, said};
use crate::load::metrics::Flaw;

/// Follows one stream.
#[derive(Debug, Default)]
pub struct Reader {
    pub(super) gathered: Gathered,
    started: bool,
    /// The number of the last event.
    last: Option<u64>,
    /// The items of the output that are open, by index, with the arguments of a function call.
    open: BTreeMap<u64, String>,
}

/// Any event. Everything may be missing: what is missing is a flaw and no reason to stop reading.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<Text<'a>>,
    sequence_number: Option<u64>,
    output_index: Option<u64>,
    #[serde(default, borrow)]
    delta: Option<Text<'a>>,
    response: Option<Response>,
    message: Option<String>,
}

/// A response, as events carry it and as it comes whole.
#[derive(Deserialize)]
struct Response {
    object: Option<String>,
    status: Option<String>,
    output: Option<Vec<Value>>,
    usage: Option<Usage>,
    error: Option<Value>,
}

#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "the names of the API")]
struct Usage {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    total_tokens: Option<u64>,
}

impl Reader {
    fn flaw(&mut self, flaw: Flaw) {
        self.gathered.flaws.add(flaw);
    }

    fn frame(&mut self, flaw: Flaw) -> Seen {
        self.flaw(flaw);
        Seen::Frame
    }

    pub(super) fn event(&mut self, name: Option<&str>, data: &str) -> Seen {
        let event = match read::<Event<'_>>(data) {
            Ok(event) => event,
            // What clients of this API skip, and gateways send out of habit.
            Err(_) if data == "[DONE]" => {
                self.gathered.unknown_events += 1;
                return Seen::Frame;
            }
            Err(flaw) => return self.frame(flaw),
        };
        let kind = event.kind.as_deref().unwrap_or_default();
        if name.is_some_and(|name| name != kind) {
            self.flaw(Flaw::Shape);
        }
        if kind == "error" {
            self.gathered.error = Some(event.message.unwrap_or_else(|| data.to_owned()));
            return Seen::Frame;
        }
        if !kind.starts_with("response.") {
            self.gathered.unknown_events += 1;
            return Seen::Frame;
        }
        // A number that is left out means an event that is lost.
        if self.gathered.ended
            || self.started == (kind == "response.created")
            || event.sequence_number.zip(self.last).is_some_and(|(number, last)| number != last + 1)
        {
            self.flaw(Flaw::Order);
        }
        self.last = event.sequence_number.or(self.last);
        let index = event.output_index;
        match kind {
            "response.created" => {
                self.started = true;
                if event.response.is_none() {
                    self.flaw(Flaw::Shape);
                }
            }
            "response.output_item.added" => match index {
                Some(index) if self.open.insert(index, String::new()).is_none() => {}
                Some(_) => self.flaw(Flaw::Order),
                None => self.flaw(Flaw::Shape),
            },
            "response.output_item.done" => match index.and_then(|index| self.open.remove(&index)) {
                Some(arguments) if arguments.is_empty() || is_object(&arguments) => {}
                Some(_) => self.flaw(Flaw::ToolArguments),
                None => self.flaw(Flaw::Order),
            },
            "response.output_text.delta" | "response.refusal.delta" => {
                return self.delta(index, event.delta.as_deref(), |reader, text| reader.gathered.hear(text));
            }
            "response.reasoning_text.delta" | "response.reasoning_summary_text.delta" => {
                return self
                    .delta(index, event.delta.as_deref(), |reader, text| reader.gathered.note(text.len(), false));
            }
            "response.function_call_arguments.delta" => {
                return self.delta(index, event.delta.as_deref(), |reader, text| {
                    if let Some(arguments) = index.and_then(|index| reader.open.get_mut(&index)) {
                        arguments.push_str(text);
                    }
                    reader.gathered.note(text.len(), true)
                });
            }
            "response.completed" | "response.incomplete" => {
                if !self.open.is_empty() {
                    self.flaw(Flaw::Order);
                }
                self.gathered.ended = true;
                match event.response {
                    Some(response) => self.over(&response),
                    None => self.flaw(Flaw::Shape),
                }
            }
            "response.failed" => {
                let error = event.response.and_then(|r| r.error).unwrap_or_default();
                self.gathered.error = Some(error["message"].as_str().map_or_else(|| error.to_string(), str::to_owned));
            }
            _ => {}
        }
        Seen::Frame
    }

    fn delta(&mut self, index: Option<u64>, delta: Option<&str>, take: impl FnOnce(&mut Self, &str) -> Seen) -> Seen {
        if !index.is_some_and(|index| self.open.contains_key(&index)) {
            return self.frame(Flaw::Order);
        }
        match delta {
            None => self.frame(Flaw::Shape),
            Some("") => Seen::Frame,
            Some(text) => take(self, text),
        }
    }

    /// The end of a response: how it ended and what it cost.
    fn over(&mut self, response: &Response) {
        match response.status.as_deref() {
            Some("completed" | "incomplete") => self.gathered.finish = true,
            _ => self.flaw(Flaw::FinishReason),
        }
        let Some(usage) = &response.usage else { return };
        let (Some(input), Some(output)) = (usage.input_tokens, usage.output_tokens) else {
            return self.flaw(Flaw::UsageSum);
        };
        if usage.total_tokens.is_some_and(|total| total != input.saturating_add(output)) {
            self.flaw(Flaw::UsageSum);
        }
        self.gathered.usage = Some((input, output));
    }

    pub(super) fn finish(self) -> Reading {
        self.gathered.done(true)
    }
}

fn is_object(text: &str) -> bool {
    serde_json::from_str::<Map<String, Value>>(text).is_ok()
}

/// Reads an answer that came whole.
pub(super) fn whole(body: &[u8]) -> Reading {
    let mut reader = Reader::default();
    let response = match read_whole::<Response>(body) {
        Ok(response) => response,
        Err(flaw) => {
            reader.flaw(flaw);
            return Reading { flaws: reader.gathered.flaws, ..Reading::default() };
        }
    };
    if let Some(error) = response.error.as_ref().filter(|error| !error.is_null()) {
        reader.gathered.error = Some(error["message"].as_str().map_or_else(|| error.to_string(), str::to_owned));
    }
    if response.object.as_deref() != Some("response") || response.output.is_none() {
        reader.flaw(Flaw::Shape);
        return reader.gathered.done(false);
    }
    for item in response.output.iter().flatten() {
        match item["type"].as_str() {
            Some("message") => {
                for part in item["content"].as_array().into_iter().flatten() {
                    if let Some(text) = part["text"].as_str().or_else(|| part["refusal"].as_str()) {
                        reader.gathered.hear(text);
                    }
                }
            }
            Some("function_call") => {
                if !item["arguments"].as_str().is_some_and(|text| text.is_empty() || is_object(text)) {
                    reader.flaw(Flaw::ToolArguments);
                }
                reader.gathered.note(1, true);
            }
            Some("reasoning") => drop(reader.gathered.note(1, false)),
            Some(_) => {}
            None => reader.flaw(Flaw::Shape),
        }
    }
    reader.over(&response);
    reader.gathered.done(false)
}

/// A request's body.
#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<&'a str>,
    input: Vec<Said<'a>>,
    stream: bool,
    /// Nothing that is sent in a load is worth keeping at the provider's.
    store: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Value>,
}

/// The body of a request.
pub(super) fn body(ask: &Ask<'_>) -> Vec<u8> {
    let tool = |tool: &super::ToolFile| {
        let schema: Value = serde_json::from_str(&tool.schema).unwrap_or_default();
        json!({ "type": "function", "name": tool.name, "description": tool.description, "parameters": schema })
    };
    let body = Body {
        model: ask.model,
        instructions: ask.system,
        input: ask.messages.iter().map(|(role, content)| said(*role, content)).collect(),
        stream: ask.stream,
        store: false,
        temperature: ask.temperature,
        max_output_tokens: ask.max_tokens,
        tools: ask.tools.iter().map(tool).collect(),
    };
    serde_json::to_vec(&body).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::load::conversation::Role;
    use crate::load::scenario::{Api, ToolFile};

    /// A healthy stream; the events' names and numbers are put in front.
    fn stream(events: &[Value]) -> String {
        let event = |(number, event): (usize, &Value)| {
            let mut event = event.clone();
            event["sequence_number"] = number.into();
            format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap())
        };
        events.iter().enumerate().map(event).collect()
    }

    fn healthy() -> Vec<Value> {
        let usage = json!({ "input_tokens": 5, "output_tokens": 2, "total_tokens": 7 });
        vec![
            json!({ "type": "response.created", "response": { "object": "response", "status": "in_progress" } }),
            json!({ "type": "response.in_progress", "response": { "object": "response", "status": "in_progress" } }),
            json!({ "type": "response.output_item.added", "output_index": 0, "item": { "type": "message" } }),
            json!({ "type": "response.content_part.added", "output_index": 0, "content_index": 0, "part": {} }),
            json!({ "type": "response.output_text.delta", "output_index": 0, "delta": "Hel" }),
            json!({ "type": "response.output_text.delta", "output_index": 0, "delta": "lo" }),
            json!({ "type": "response.output_text.done", "output_index": 0, "text": "Hello" }),
            json!({ "type": "response.content_part.done", "output_index": 0, "part": {} }),
            json!({ "type": "response.output_item.done", "output_index": 0, "item": {} }),
            json!({ "type": "response.completed", "response": { "object": "response", "status": "completed", "usage": usage } }),
        ]
    }

    fn read(stream: &str) -> (Reading, usize) {
        super::super::tests::read(Api::OpenaiResponses, stream)
    }

    fn flaws(events: &[Value]) -> Vec<Flaw> {
        read(&stream(events)).0.flaws.iter().collect()
    }

    const WHOLE: &str = r#"{"object":"response","status":"completed","error":null,"output":[{"type":"reasoning","summary":[]},
        {"type":"message","content":[{"type":"output_text","text":"Hello"}]}],
        "usage":{"input_tokens":5,"output_tokens":2,"total_tokens":7}}"#;

    #[test]
    fn a_healthy_answer_has_no_flaw_and_only_content_counts_as_content() {
        let (reading, content) = read(&stream(&healthy()));
        assert_eq!((flaws(&healthy()), content, reading.ended), (vec![], 2, true));
        assert_eq!((reading.text.as_str(), reading.tokens.input, reading.tokens.output), ("Hello", 5, 2));
        let reading = whole(WHOLE.as_bytes());
        assert!(reading.flaws.is_empty(), "{:?}", reading.flaws);
        assert_eq!((reading.text.as_str(), reading.tokens.output), ("Hello", 2));
    }

    #[test]
    fn each_flaw_of_a_stream_is_found() {
        let changed = |change: &dyn Fn(&mut Vec<Value>)| {
            let mut events = healthy();
            change(&mut events);
            flaws(&events)
        };
        assert!(changed(&|e| drop(e.remove(0))).contains(&Flaw::Order), "no start");
        assert!(changed(&|e| drop(e.remove(2))).contains(&Flaw::Order), "no item");
        assert!(changed(&|e| drop(e.remove(8))).contains(&Flaw::Order), "an open item");
        assert!(changed(&|e| drop(e.pop())).contains(&Flaw::EndMarker), "no end");
        assert!(changed(&|e| e.push(e[6].clone())).contains(&Flaw::Order), "after the end");
        assert_eq!(changed(&|e| e[9]["response"]["usage"]["total_tokens"] = 8.into()), [Flaw::UsageSum]);
        assert_eq!(changed(&|e| e[9]["response"]["usage"] = Value::Null), [Flaw::UsageMissing]);
        assert!(changed(&|e| e[9]["response"]["status"] = "stop".into()).contains(&Flaw::FinishReason));
        assert_eq!(changed(&|e| e[5]["delta"] = Value::Null), [Flaw::Shape]);
        let lost = stream(&healthy()).replace("\"sequence_number\":5", "\"sequence_number\":6");
        assert!(read(&lost).0.flaws.has(Flaw::Order), "a number is left out");
        let failed = json!({ "type": "response.failed", "response": { "error": { "message": "overloaded" } } });
        let (reading, _) = read(&stream(&[healthy()[0].clone(), failed]));
        assert_eq!(reading.error.as_deref(), Some("overloaded"));
        let call = |arguments: &str| {
            changed(&|e| {
                e[4] =
                    json!({ "type": "response.function_call_arguments.delta", "output_index": 0, "delta": arguments });
            })
        };
        assert_eq!((call("{}"), call("{oops")), (vec![], vec![Flaw::ToolArguments]));
    }

    #[test]
    fn each_flaw_of_a_whole_answer_is_found() {
        let flaws = |from: &str, to: &str| {
            assert!(WHOLE.contains(from), "{from}");
            whole(WHOLE.replace(from, to).as_bytes()).flaws.iter().collect::<Vec<_>>()
        };
        assert!(flaws("\"object\":\"response\"", "\"object\":\"other\"").contains(&Flaw::Shape));
        assert!(flaws("\"status\":\"completed\"", "\"status\":null").contains(&Flaw::FinishReason));
        assert_eq!(flaws("\"total_tokens\":7", "\"total_tokens\":9"), [Flaw::UsageSum]);
        assert_eq!(flaws("{\"object\"", "{{\"object\""), [Flaw::Json]);
    }

    #[test]
    fn a_request_is_written_as_the_api_has_it() {
        let tool =
            ToolFile { name: "Read".into(), description: "Reads".into(), schema: "{\"type\":\"object\"}".into() };
        let ask = Ask {
            model: "m",
            system: Some("Be brief."),
            messages: vec![(Role::User, "a"), (Role::Assistant, "b"), (Role::User, "c")],
            stream: true,
            temperature: Some(0.5),
            max_tokens: Some(9),
            tools: std::slice::from_ref(&tool),
        };
        let written: Value = serde_json::from_slice(&Api::OpenaiResponses.body(&ask)).unwrap();
        let input = json!([
            { "role": "user", "content": "a" }, { "role": "assistant", "content": "b" }, { "role": "user", "content": "c" },
        ]);
        let tools =
            json!([{ "type": "function", "name": "Read", "description": "Reads", "parameters": { "type": "object" } }]);
        let wanted = json!({
            "model": "m", "instructions": "Be brief.", "input": input, "stream": true, "store": false, "temperature": 0.5,
            "max_output_tokens": 9, "tools": tools,
        });
        assert_eq!(written, wanted);
    }

    proptest! {
        #[test]
        fn no_stream_makes_the_reader_fall_over(at in 0_usize..2000, len in 0_usize..60, splinter in "[{}\",:a-z0-9\\n ]{0,8}") {
            let mut text = stream(&healthy());
            let at = at.min(text.len());
            let end = (at + len).min(text.len());
            text.replace_range(at..end, &splinter);
            drop(read(&text));
            drop(whole(text.as_bytes()));
        }
    }
}
