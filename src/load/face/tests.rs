//! The readers: a healthy answer of each kind, and each flaw with the smallest change that makes it.

use proptest::prelude::*;

use super::*;
use crate::sse;

const CHAT: &str = r#"data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}

data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"Hel"},"finish_reason":null}]}

data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"lo"},"finish_reason":null}]}

data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}

data: {"object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}

data: [DONE]

"#;

const MESSAGES: &str = r#"event: message_start
data: {"type":"message_start","message":{"id":"m","usage":{"input_tokens":5,"output_tokens":1}}}

event: ping
data: {"type":"ping"}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hel"}}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"lo"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}

event: message_stop
data: {"type":"message_stop"}

"#;

const CHAT_WHOLE: &str = r#"{"object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}"#;

const MESSAGE_WHOLE: &str = r#"{"type":"message","content":[{"type":"text","text":"Hello"}],"stop_reason":"end_turn","usage":{"input_tokens":5,"output_tokens":2}}"#;

pub(super) fn read(api: Api, stream: &str) -> (Reading, usize) {
    let mut reader = Reader::new(api);
    let mut content = 0;
    for item in sse::parse(stream.as_bytes()) {
        match item {
            sse::Item::Event(event) => {
                content += usize::from(reader.event(event.name.as_deref(), &event.data) != Seen::Frame);
            }
            sse::Item::Fault { .. } => reader.fault(),
            _ => {}
        }
    }
    (reader.finish(), content)
}

fn flaws(api: Api, stream: &str) -> Vec<Flaw> {
    read(api, stream).0.flaws.iter().collect()
}

#[test]
fn a_healthy_answer_has_no_flaw_and_only_content_counts_as_content() {
    for (api, stream, whole) in [(Api::OpenaiChat, CHAT, CHAT_WHOLE), (Api::AnthropicMessages, MESSAGES, MESSAGE_WHOLE)]
    {
        let (reading, content) = read(api, stream);
        assert_eq!((flaws(api, stream), content), (vec![], 2), "{api:?}");
        assert_eq!((reading.text.as_str(), reading.tokens.input, reading.tokens.output), ("Hello", 5, 2));
        let reading = api.whole(whole.as_bytes());
        assert!(reading.flaws.is_empty(), "{api:?} {:?}", reading.flaws);
        assert_eq!((reading.text.as_str(), reading.tokens.output), ("Hello", 2));
    }
}

#[test]
fn what_is_escaped_in_an_answer_is_read_as_what_it_means_and_the_rest_stays_where_it_lies() {
    let escaped = |text: &str| text.replace("Hel", "H\\u0065l").replace("\"stop\"", "\"\\u0073top\"");
    for (api, stream) in [(Api::OpenaiChat, CHAT), (Api::AnthropicMessages, MESSAGES)] {
        assert_ne!(escaped(stream), stream);
        let (reading, content) = read(api, &escaped(stream));
        assert_eq!((reading.text.as_str(), reading.flaws.is_empty(), content), ("Hello", true, 2), "{api:?}");
    }
    let whole = Api::OpenaiChat.whole(escaped(CHAT_WHOLE).as_bytes());
    assert_eq!((whole.text.as_str(), whole.flaws.is_empty()), ("Hello", true));
    let text: Option<Text<'_>> = read_whole(b"\"Hello\"").unwrap();
    assert!(matches!(text, Some(Text(Cow::Borrowed("Hello")))));
}

#[test]
fn a_request_is_written_as_its_api_has_it() {
    let tool = ToolFile { name: "Read".into(), description: "Reads".into(), schema: "{\"type\":\"object\"}".into() };
    let ask = Ask {
        model: "m",
        system: Some("Be brief."),
        messages: vec![(Role::User, "a"), (Role::Assistant, "b"), (Role::User, "c")],
        stream: true,
        temperature: Some(0.5),
        max_tokens: None,
        tools: std::slice::from_ref(&tool),
    };
    let body = |api: Api| serde_json::from_slice::<Value>(&api.body(&ask)).unwrap();
    let said = json!([
        { "role": "user", "content": "a" }, { "role": "assistant", "content": "b" }, { "role": "user", "content": "c" },
    ]);
    let schema = json!({ "type": "object" });
    let messages = json!({
        "model": "m", "system": "Be brief.", "messages": said, "stream": true, "temperature": 0.5, "max_tokens": 1024,
        "tools": [{ "name": "Read", "description": "Reads", "input_schema": schema }],
    });
    assert_eq!(body(Api::AnthropicMessages), messages);
    let mut told = vec![json!({ "role": "system", "content": "Be brief." })];
    told.extend(said.as_array().unwrap().iter().cloned());
    let function = json!({ "name": "Read", "description": "Reads", "parameters": schema });
    let chat = json!({
        "model": "m", "messages": told, "stream": true, "temperature": 0.5, "stream_options": { "include_usage": true },
        "tools": [{ "type": "function", "function": function }],
    });
    assert_eq!(body(Api::OpenaiChat), chat);
}

#[test]
fn each_flaw_of_a_chat_stream_is_found() {
    let usage = r#"data: {"object":"chat.completion.chunk","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}

"#;
    for (from, to, flaw) in [
        ("data: [DONE]\n\n", "", Flaw::EndMarker),
        (r#""finish_reason":"stop""#, r#""finish_reason":null"#, Flaw::FinishReason),
        (r#""finish_reason":"stop""#, r#""finish_reason":"end_turn""#, Flaw::FinishReason),
        (r#""total_tokens":7"#, r#""total_tokens":8"#, Flaw::UsageSum),
        (usage, "", Flaw::UsageMissing),
        (r#"{"content":"lo"},"finish_reason":null"#, r#"{"content":"lo"},"finish_reason":"stop""#, Flaw::DoubleFinish),
        (
            r#"chunk","choices":[{"index":0,"delta":{"content":"lo""#,
            r#"other","choices":[{"index":0,"delta":{"content":"lo""#,
            Flaw::Shape,
        ),
        (r#"{"content":"lo"}"#, r#"{"content":"lo""#, Flaw::Json),
        (
            "data: [DONE]\n\n",
            "data: [DONE]\n\ndata: {\"object\":\"chat.completion.chunk\",\"choices\":[]}\n\n",
            Flaw::Order,
        ),
        ("data: [DONE]", "dato: [DONE]", Flaw::Framing),
    ] {
        assert!(CHAT.contains(from), "{from}");
        let found = flaws(Api::OpenaiChat, &CHAT.replacen(from, to, 1));
        assert!(found.contains(&flaw), "{flaw:?}: {found:?}");
    }
    let empty = CHAT.replace("Hel", "").replace("\"lo\"", "\"\"");
    assert!(flaws(Api::OpenaiChat, &empty).contains(&Flaw::Empty));
    let lump = CHAT.replace("Hel", &"long ".repeat(40)).replace("\"lo\"", "\"\"");
    assert_eq!(flaws(Api::OpenaiChat, &lump), [Flaw::OnePiece]);
    let calls = CHAT
        .replace(r#""content":"lo""#, r#""tool_calls":[{"index":0,"function":{"name":"Read","arguments":"{\"a\""}}]"#);
    assert_eq!(flaws(Api::OpenaiChat, &calls), [Flaw::ToolArguments]);
}

#[test]
fn each_flaw_of_a_messages_stream_is_found() {
    let start = MESSAGES.split_inclusive("\n\n").next().unwrap();
    let stop = "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n";
    for (from, to, flaw) in [
        (start, "", Flaw::Order),
        (stop, "", Flaw::Order),
        ("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n", "", Flaw::EndMarker),
        ("\"end_turn\"", "\"stop\"", Flaw::FinishReason),
        ("\"end_turn\"", "null", Flaw::FinishReason),
        ("\"usage\":{\"output_tokens\":2}", "\"usage\":{\"output_tokens\":0}", Flaw::UsageSum),
        ("\"usage\":{\"input_tokens\":5,\"output_tokens\":1}", "\"usage\":{}", Flaw::UsageMissing),
        ("event: content_block_delta\n", "", Flaw::Shape),
        ("\"text\":\"lo\"}}", "\"text\":\"lo\"}", Flaw::Json),
        ("\"index\":0,\"delta\"", "\"index\":1,\"delta\"", Flaw::Order),
    ] {
        assert!(MESSAGES.contains(from), "{from}");
        let found = flaws(Api::AnthropicMessages, &MESSAGES.replacen(from, to, 1));
        assert!(found.contains(&flaw), "{flaw:?}: {found:?}");
    }
}

#[test]
fn an_error_in_a_stream_is_told_and_unknown_events_are_counted_and_forgiven() {
    let error =
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"busy\"}}\n\n";
    let (reading, _) = read(Api::AnthropicMessages, error);
    assert_eq!(reading.error.as_deref(), Some("overloaded_error: busy"));
    let (reading, _) = read(Api::OpenaiChat, "data: {\"error\":{\"message\":\"busy\"}}\n\n");
    assert_eq!(reading.error.as_deref(), Some("busy"));
    let new = MESSAGES.replace("event: ping\ndata: {\"type\":\"ping\"}", "event: news\ndata: {\"type\":\"news\"}");
    let (reading, _) = read(Api::AnthropicMessages, &new);
    assert!(reading.flaws.is_empty() && reading.unknown_events == 1);
}

#[test]
fn wrong_bodies_with_status_200_are_flawed() {
    for (body, flaw) in [
        ("", Flaw::Json),
        ("<html>", Flaw::Json),
        ("[]", Flaw::Shape),
        ("{}", Flaw::Shape),
        (r#"{"object":"chat.completion","choices":[]}"#, Flaw::Empty),
        (r#"{"object":"list","choices":[{"message":{"content":"x"},"finish_reason":"stop"}]}"#, Flaw::Shape),
    ] {
        assert!(Api::OpenaiChat.whole(body.as_bytes()).flaws.has(flaw), "{body}");
    }
    for body in ["{}", r#"{"type":"message"}"#, r#"{"type":"message","content":[{}]}"#] {
        assert!(Api::AnthropicMessages.whole(body.as_bytes()).flaws.has(Flaw::Shape), "{body}");
    }
}

proptest! {
    #[test]
    fn no_damage_makes_a_reader_fall_over(at in 0..CHAT.len(), len in 1_usize..40) {
        let mut damaged = CHAT.to_owned();
        damaged.replace_range(at..(at + len).min(CHAT.len()), "");
        let _ = read(Api::OpenaiChat, &damaged);
        let at = at % MESSAGES.len();
        let mut damaged = MESSAGES.to_owned();
        damaged.replace_range(at..(at + len).min(MESSAGES.len()), "");
        let _ = read(Api::AnthropicMessages, &damaged);
    }
}
