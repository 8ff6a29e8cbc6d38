//! The automaton: every kind of fault with the smallest stream that has it and its healthy sibling, and what holds for any
//! stream.
#![expect(clippy::needless_pass_by_value, reason = "a literal reads better without a reference in front of it")]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

type Stream = Vec<(String, String)>;

fn event(data: &Value) -> (String, String) {
    (data["type"].as_str().unwrap_or_default().to_owned(), data.to_string())
}

fn start() -> Value {
    let usage = json!({"input_tokens": 9, "output_tokens": 1});
    json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "model": "m", "content": [], "usage": usage}})
}

fn opens(index: u64, block: Value) -> Value {
    json!({"type": "content_block_start", "index": index, "content_block": block})
}

fn text_opens(index: u64) -> Value {
    opens(index, json!({"type": "text", "text": ""}))
}

fn thinking_opens(index: u64) -> Value {
    opens(index, json!({"type": "thinking", "thinking": "", "signature": ""}))
}

fn tool_opens(index: u64, id: &str) -> Value {
    opens(index, json!({"type": "tool_use", "id": id, "name": "Read", "input": {}}))
}

fn delta(index: u64, delta: Value) -> Value {
    json!({"type": "content_block_delta", "index": index, "delta": delta})
}

fn text(index: u64, piece: &str) -> Value {
    delta(index, json!({"type": "text_delta", "text": piece}))
}

fn thought(index: u64, piece: &str) -> Value {
    delta(index, json!({"type": "thinking_delta", "thinking": piece}))
}

fn signature(index: u64) -> Value {
    delta(index, json!({"type": "signature_delta", "signature": "c2ln"}))
}

fn arguments(index: u64, piece: &str) -> Value {
    delta(index, json!({"type": "input_json_delta", "partial_json": piece}))
}

fn closes(index: u64) -> Value {
    json!({"type": "content_block_stop", "index": index})
}

fn ends(reason: &str) -> Value {
    json!({"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 7}})
}

fn stop() -> Value {
    json!({"type": "message_stop"})
}

fn error() -> Value {
    json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
}

/// Reads events that are named as they should be.
fn read(events: &[Value]) -> Answer {
    read_raw(&events.iter().map(event).collect::<Stream>())
}

fn read_raw(events: &[(String, String)]) -> Answer {
    read_stream(events.iter().map(|(name, data)| StreamEvent { name, data }))
}

fn kinds(answer: &Answer) -> Vec<FaultKind> {
    answer.faults.iter().map(|f| f.kind).collect()
}

/// A stream with every kind of block that deltas fill.
fn full() -> Vec<Value> {
    vec![
        start(),
        json!({"type": "ping"}),
        thinking_opens(0),
        thought(0, "Let me "),
        thought(0, "see."),
        signature(0),
        closes(0),
        text_opens(1),
        text(1, "I will "),
        text(1, "read."),
        closes(1),
        tool_opens(2, "toolu_1"),
        arguments(2, "{\"file_path\":"),
        arguments(2, "\"a\"}"),
        closes(2),
        ends("tool_use"),
        stop(),
    ]
}

/// A text answer with these events instead of the one that brings the text.
fn around(middle: &[Value]) -> Vec<Value> {
    [&[start(), text_opens(0)], middle, &[closes(0), ends("end_turn"), stop()]].concat()
}

/// An answer that holds nothing but this thinking or this tool call.
fn holding(blocks: &[Value], reason: &str) -> Vec<Value> {
    [&[start()], blocks, &[ends(reason), stop()]].concat()
}

#[test]
fn a_stream_is_put_together_as_the_message_would_come_whole() {
    let answer = read(&full());
    assert_eq!(answer.faults, []);
    assert!(answer.finished);
    assert_eq!(answer.stop_reason.as_deref(), Some("tool_use"));
    let blocks = json!([
        {"type": "thinking", "thinking": "Let me see.", "signature": "c2ln"},
        {"type": "text", "text": "I will read."},
        {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"file_path": "a"}},
    ]);
    assert_eq!(Value::from(answer.blocks.clone()), blocks);
    let whole = read_message(&json!({
        "id": "msg_1", "type": "message", "model": "m", "content": blocks, "stop_reason": "tool_use",
        "usage": {"input_tokens": 9, "output_tokens": 7},
    }));
    assert_eq!((whole.faults, whole.blocks, whole.finished), (vec![], answer.blocks, true));
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn each_fault_is_named_and_its_healthy_sibling_is_not() {
    use FaultKind::{
        Cut, DeltaMisfit, ErrorEvent, Malformed, OutOfOrder, StopReason, ToolArguments, ToolId, Unsigned, Usage,
    };
    let hello = || around(&[text(0, "Hello")]);
    let tool = |id: &str, pieces: &[&str]| {
        let fill = pieces.iter().map(|p| arguments(0, p)).collect::<Vec<_>>();
        holding(&[&[tool_opens(0, id)], fill.as_slice(), &[closes(0)]].concat(), "tool_use")
    };
    let without = |events: Vec<Value>, kind: &str| events.into_iter().filter(|e| e["type"] != kind).collect::<Vec<_>>();
    let counted = |usage: Value| {
        let end = json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage});
        vec![start(), text_opens(0), text(0, "Hello"), closes(0), end, stop()]
    };
    let two_tools = |second: &str| {
        let blocks = [
            tool_opens(0, "toolu_1"),
            arguments(0, "{}"),
            closes(0),
            tool_opens(1, second),
            arguments(1, "{}"),
            closes(1),
        ];
        holding(&blocks, "tool_use")
    };
    let signed = [thinking_opens(0), thought(0, "Hm"), signature(0), closes(0)];
    let started_with_text = opens(0, json!({"type": "text", "text": "Hello"}));
    let started_with_input = opens(0, json!({"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"a": 1}}));
    let cases: Vec<(&str, FaultKind, Vec<Value>, Vec<Value>)> = vec![
        ("a delta without its text", Malformed, around(&[delta(0, json!({"type": "text_delta"}))]), hello()),
        (
            "thinking under the key of text",
            Malformed,
            holding(
                &[
                    thinking_opens(0),
                    delta(0, json!({"type": "thinking_delta", "text": "Hm"})),
                    signature(0),
                    closes(0),
                ],
                "end_turn",
            ),
            holding(&signed, "end_turn"),
        ),
        (
            "a text that stands in the block's start",
            Malformed,
            vec![start(), started_with_text, closes(0), ends("end_turn"), stop()],
            hello(),
        ),
        (
            "a message_start without a message",
            Malformed,
            [&[json!({"type": "message_start"})], &hello()[1..]].concat(),
            hello(),
        ),
        ("no message_start", OutOfOrder, hello()[1..].to_vec(), hello()),
        ("two of them", OutOfOrder, [&[start()], &*hello()].concat(), hello()),
        ("no end of a block", OutOfOrder, without(hello(), "content_block_stop"), hello()),
        ("no message_delta", OutOfOrder, without(hello(), "message_delta"), hello()),
        ("a block's end twice", OutOfOrder, around(&[text(0, "Hello"), closes(0)]), hello()),
        ("a delta of no block", OutOfOrder, around(&[text(1, "Hello")]), hello()),
        (
            "a delta without an index",
            OutOfOrder,
            around(&[json!({"type": "content_block_delta", "delta": {"type": "text_delta", "text": "Hello"}})]),
            hello(),
        ),
        ("a block in a block", OutOfOrder, around(&[text_opens(1), text(1, "Hello"), closes(1)]), hello()),
        (
            "an index that is left out",
            OutOfOrder,
            holding(&[text_opens(1), text(1, "Hello"), closes(1)], "end_turn"),
            hello(),
        ),
        (
            "an index that comes twice",
            OutOfOrder,
            holding(&[text_opens(0), text(0, "a"), closes(0), text_opens(0), text(0, "b"), closes(0)], "end_turn"),
            holding(&[text_opens(0), text(0, "a"), closes(0), text_opens(1), text(1, "b"), closes(1)], "end_turn"),
        ),
        ("an event behind the end", OutOfOrder, [&*hello(), &[ends("end_turn")]].concat(), hello()),
        ("thinking in a text", DeltaMisfit, around(&[thought(0, "Hm")]), hello()),
        (
            "a signature in a tool call",
            DeltaMisfit,
            holding(&[tool_opens(0, "toolu_1"), signature(0), closes(0)], "tool_use"),
            tool("toolu_1", &["{}"]),
        ),
        ("an end inside a block", Cut, hello()[..3].to_vec(), hello()),
        ("an end without message_stop", Cut, without(hello(), "message_stop"), hello()),
        ("an error", ErrorEvent, [&hello()[..3], &[error()]].concat(), hello()),
        ("torn arguments", ToolArguments, tool("toolu_1", &["{\"a\":"]), tool("toolu_1", &["{\"a\":", "1}"])),
        (
            "arguments that grow instead of going on",
            ToolArguments,
            tool("toolu_1", &["{\"a\":", "{\"a\":1}"]),
            tool("toolu_1", &["{\"a\":", "1}"]),
        ),
        ("arguments of two calls in one", ToolArguments, tool("toolu_1", &["{}", "{}"]), tool("toolu_1", &["{}"])),
        ("arguments that are a list", ToolArguments, tool("toolu_1", &["[1]"]), tool("toolu_1", &["", "{}"])),
        (
            "arguments in the block's start",
            ToolArguments,
            holding(&[started_with_input.clone(), closes(0)], "tool_use"),
            holding(&[started_with_input, arguments(0, "{\"a\":1}"), closes(0)], "tool_use"),
        ),
        ("no id", ToolId, tool("", &["{}"]), tool("call-1_A", &["{}"])),
        ("an id that the API refuses", ToolId, tool("functions.Read:0", &["{}"]), tool("call-1_A", &["{}"])),
        ("an id on two calls", ToolId, two_tools("toolu_1"), two_tools("toolu_2")),
        (
            "no signature",
            Unsigned,
            holding(&[thinking_opens(0), thought(0, "Hm"), closes(0)], "end_turn"),
            holding(&signed, "end_turn"),
        ),
        (
            "no stop reason",
            StopReason,
            [
                &hello()[..4],
                &[
                    json!({"type": "message_delta", "delta": {"stop_reason": null}, "usage": {"output_tokens": 7}}),
                    stop(),
                ],
            ]
            .concat(),
            hello(),
        ),
        (
            "a turn that ends with a tool call",
            StopReason,
            holding(&[tool_opens(0, "t"), closes(0)], "end_turn"),
            tool("t", &["{}"]),
        ),
        ("a call that never came", StopReason, holding(&signed, "tool_use"), holding(&signed, "end_turn")),
        ("another API's reason", StopReason, holding(&signed, "stop"), holding(&signed, "a_reason_of_tomorrow")),
        (
            "two reasons",
            StopReason,
            [&hello()[..4], &[ends("max_tokens"), ends("end_turn"), stop()]].concat(),
            [&hello()[..4], &[ends("end_turn"), ends("end_turn"), stop()]].concat(),
        ),
        ("usage that is null", Usage, counted(Value::Null), counted(json!({"output_tokens": 7, "input_tokens": null}))),
        ("no output counted", Usage, counted(json!({"input_tokens": 9})), counted(json!({"output_tokens": 0}))),
        (
            "a count that goes down",
            Usage,
            [
                &hello()[..4],
                &[
                    ends("end_turn"),
                    json!({"type": "message_delta", "delta": {}, "usage": {"output_tokens": 6}}),
                    stop(),
                ],
            ]
            .concat(),
            [
                &hello()[..4],
                &[
                    ends("end_turn"),
                    json!({"type": "message_delta", "delta": {}, "usage": {"output_tokens": 8}}),
                    stop(),
                ],
            ]
            .concat(),
        ),
    ];
    for (words, kind, broken, healthy) in cases {
        assert_eq!(kinds(&read(&healthy)), [], "the sibling of: {words}");
        let faults = read(&broken).faults;
        assert!(faults.iter().any(|f| f.kind == kind), "{words}: {faults:?}");
        assert!(faults.iter().all(|f| f.event <= broken.len()), "{words}: {faults:?}");
    }
}

#[test]
fn a_single_defect_gives_a_single_fault() {
    let defects = [
        (around(&[thought(0, "Hm"), text(0, "Hello")]), FaultKind::DeltaMisfit, 2),
        (full()[..4].to_vec(), FaultKind::Cut, 4),
        ([&full()[..5], &full()[6..]].concat(), FaultKind::Unsigned, 5),
        ([&full()[..15], &[ends("end_turn"), stop()]].concat(), FaultKind::StopReason, 16),
    ];
    for (events, kind, at) in defects {
        let faults = read(&events).faults;
        let found: Vec<_> = faults.iter().map(|f| (f.kind, f.event)).collect();
        assert_eq!(found, [(kind, at)], "{faults:?}");
    }
}

#[test]
fn an_event_is_known_by_its_line_and_its_type() {
    let with = |index: usize, name: &str, data: &str| {
        let mut events: Stream = full().iter().map(event).collect();
        events.insert(index, (name.to_owned(), data.to_owned()));
        kinds(&read_raw(&events))
    };
    // What other servers add, clients skip.
    for (name, data) in [
        ("", "[DONE]"),
        ("", "{}"),
        ("", r#"{"type":"ping"}"#),
        ("ping", ""),
        ("ping", "{}"),
        ("x-progress", "50 %"),
        ("future_event", r#"{"type":"future_event","x":1}"#),
    ] {
        for index in [1, 4, 17] {
            assert_eq!(with(index, name, data), [], "{name:?} {data:?} at {index}");
        }
    }
    // What carries the message must be what it says.
    for (name, data) in [
        ("content_block_delta", "not JSON"),
        ("content_block_delta", "[]"),
        ("", r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"x"}}"#),
        ("message", r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"x"}}"#),
    ] {
        assert_eq!(with(4, name, data), [FaultKind::Malformed], "{name:?} {data:?}");
    }
    assert_eq!(with(4, "error", "boom"), [FaultKind::ErrorEvent]);
}

#[test]
fn blocks_that_overlap_are_still_put_together() {
    let mut events = full();
    let end = events.remove(6);
    events.insert(14, end);
    let answer = read(&events);
    assert!(kinds(&answer).iter().all(|k| *k == FaultKind::OutOfOrder), "{:?}", answer.faults);
    assert_eq!(answer.blocks, read(&full()).blocks);
}

#[test]
fn unknown_blocks_deltas_and_keys_are_no_faults() {
    let blocks = [
        opens(0, json!({"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [{"type": "x"}]})),
        closes(0),
        opens(1, json!({"type": "text", "text": "", "citations": null, "future": {}})),
        delta(1, json!({"type": "citations_delta", "citation": {}})),
        text(1, "Hello"),
        closes(1),
    ];
    assert_eq!(kinds(&read(&holding(&blocks, "pause_turn"))), []);
}

fn any_event() -> impl Strategy<Value = (String, String)> {
    let known =
        proptest::sample::select(full().into_iter().chain([error(), text_opens(7), closes(9)]).collect::<Vec<_>>());
    prop_oneof![
        8 => known.prop_map(|e| event(&e)),
        1 => (any::<String>(), any::<String>()),
        1 => proptest::sample::select(CARRIERS.to_vec()).prop_map(|c| (c.to_owned(), json!({"type": c}).to_string())),
    ]
}

proptest! {
    #[test]
    fn every_prefix_of_a_healthy_stream_is_a_cut_and_nothing_else(length in 0_usize..17) {
        let answer = read(&full()[..length]);
        prop_assert_eq!(kinds(&answer), [FaultKind::Cut]);
        prop_assert!(!answer.finished);
    }

    #[test]
    fn no_events_make_it_panic(events in proptest::collection::vec(any_event(), 0..40)) {
        let answer = read_raw(&events);
        prop_assert!(answer.faults.iter().all(|f| f.event <= events.len()));
        prop_assert_eq!(answer.clone(), read_raw(&events));
        // What is not a whole message never looks like one.
        prop_assert!(answer.finished || !answer.faults.is_empty());
    }

    #[test]
    fn any_other_order_of_its_events_is_told(events in Just(full()[2..].to_vec()).prop_shuffle()) {
        let events = [&full()[..2], &events].concat();
        let told = !read(&events).faults.is_empty();
        // Pieces of one block may change places: their order is content.
        prop_assert!(told || read(&events).blocks.len() == 3);
    }
}
