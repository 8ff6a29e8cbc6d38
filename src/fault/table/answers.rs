//! Faults of answers: blocks, tool calls, usage.

use super::super::Change::{Drop, Edit, Refuse, Translated, Whole};
use super::super::Family::{Blocks, ToolCalls, Usage};
use super::super::{Change, Fault, body, events, refusal, translated, whole, wire};
use crate::capability::Capability::{
    Caching, Compact, CountTokens, InterleavedThinking, LongContext, Mcp, ParallelTools, Streaming, Text, Thinking,
    ToolUse, UsageAccounting,
};

/// A: how blocks are framed.
pub(super) const BLOCKS: &[Fault] = &[
    Fault::response(Blocks, "blocks-overlap-open", "next block opened before the previous one is stopped")
        .by(&[events::STOPS_AT_THE_END])
        .breaks(&[Streaming, ToolUse, ParallelTools, Thinking])
        .found_as(&["stream-out-of-order"])
        .in_probes(&["tool_use_roundtrip"]),
    Fault::response(Blocks, "thinking-delta-in-text-block", "thinking_delta emitted into a block opened as text")
        .by(&[events::LATE_THINKING_DELTA])
        .breaks(&[Thinking, InterleavedThinking, Streaming])
        .found_as(&["stream-delta-misfit"])
        .in_probes(&["thinking"]),
    Fault::response(
        Blocks,
        "thinking-delta-in-text-block/tool",
        "thinking_delta emitted into a block opened as tool_use",
    )
    .by(&[events::LATE_THINKING_DELTA])
    .breaks(&[Thinking, InterleavedThinking, ToolUse])
    .found_as(&["stream-delta-misfit"])
    .in_probes(&["interleaved_thinking_tool"]),
    Fault::response(Blocks, "tool-block-never-stopped", "tool_use block without content_block_stop")
        .by(&[events::LAST_TOOL_STAYS_OPEN])
        .breaks(&[ToolUse])
        .found_as(&["stream-out-of-order", "stream-cut"])
        .in_probes(&["tool_use_roundtrip"]),
    Fault::response(
        Blocks,
        "all-thinking-collapsed-into-text-block",
        "thinking deltas on the index of a block that is not open yet",
    )
    .by(&[events::COLLAPSE_THINKING])
    .breaks(&[Thinking])
    .found_as(&["stream-delta-misfit", "stream-out-of-order"])
    .in_probes(&["thinking"]),
    Fault::response(
        Blocks,
        "all-thinking-collapsed-into-text-block/opened",
        "thinking and text deltas both under one index-0 text block",
    )
    .by(&[events::COLLAPSE_THINKING_INTO_TEXT])
    .breaks(&[Thinking])
    .found_as(&["stream-delta-misfit"])
    .in_probes(&["thinking"]),
    Fault::response(Blocks, "delta-without-index", "content_block_delta/stop lacks the index field")
        .by(&[Edit(wire::without_index)])
        .breaks(&[Streaming, Text])
        .found_as(&["stream-malformed", "stream-out-of-order"])
        .in_probes(&["basic_text"]),
    Fault::response(
        Blocks,
        "interleaved-second-thinking-lost-block",
        "second reasoning segment of a turn gets no block of its own",
    )
    .by(&[events::LOSE_SECOND_THINKING])
    .breaks(&[InterleavedThinking, ToolUse])
    .found_as(&["stream-delta-misfit", "stream-out-of-order"])
    .in_probes(&["signature_replay"]),
    Fault::response(Blocks, "same-index-for-all-tools", "several tool blocks share one index")
        .by(&[events::ALL_ON_INDEX_OF_FIRST_TOOL])
        .breaks(&[ParallelTools])
        .found_as(&["stream-out-of-order"])
        .in_probes(&["parallel_tools"]),
    Fault::response(
        Blocks,
        "text-fragmented-by-late-reasoning",
        "one answer split into many text blocks by interleaved reasoning",
    )
    .by(&[events::FRAGMENT_TEXT])
    .breaks(&[Text, Thinking])
    .found_as(&["answer-blocks-changed", "answer-invented", "answer-thinking-changed", "thinking-unsigned"])
    .in_probes(&["basic_text"]),
    Fault::response(Blocks, "thinking-delta-wrong-field", "thinking_delta carries `text` instead of `thinking`")
        .by(&[Edit(wire::thinking_as_text)])
        .breaks(&[Thinking])
        .found_as(&["stream-malformed", "stream-delta-misfit"])
        .in_probes(&["thinking"]),
    Fault::response(Blocks, "message-start-lost", "a stream without message_start")
        .by(&[Drop(wire::is_message_start)])
        .breaks(&[Streaming, Text])
        .found_as(&["stream-out-of-order", "stream-cut", "stream-malformed"])
        .in_probes(&["basic_text"]),
    Fault::response(Blocks, "block-starts-lost", "blocks are filled that were never opened")
        .by(&[Drop(wire::is_block_start)])
        .breaks(&[Streaming, Text])
        .found_as(&["stream-out-of-order"])
        .in_probes(&["basic_text"]),
    Fault::response(Blocks, "message-delta-lost", "a stream without message_delta")
        .by(&[Drop(wire::is_message_delta)])
        .breaks(&[Streaming, Text, UsageAccounting])
        .found_as(&["stream-cut", "stream-out-of-order", "stop-reason-wrong"])
        .in_probes(&["basic_text"]),
    Fault::response(Blocks, "message-stop-lost", "a stream without message_stop")
        .by(&[Drop(wire::is_message_stop)])
        .breaks(&[Streaming, Text])
        .found_as(&["stream-cut"])
        .in_probes(&["basic_text"]),
];

/// D: tool calls.
pub(super) const TOOL_CALLS: &[Fault] = &[
    Fault::response(ToolCalls, "tool-input-lost", "all input_json_delta lost: tool_use arrives with input {}")
        .by(&[Drop(wire::is_arguments)])
        .breaks(&[ToolUse])
        .found_as(&["answer-tool-changed", "tool-arguments-incomplete", "tool-arguments-broken"])
        .in_probes(&["tool_use_roundtrip"]),
    Fault::request(ToolCalls, "disable-parallel-ignored", "tool_choice.disable_parallel_tool_use not honoured")
        .by(&[Change::Body(body::disable_parallel_dropped)])
        .breaks(&[ParallelTools])
        .found_as(&["request-tools-changed", "request-field-dropped", "request-field-changed"])
        .in_probes(&["http_tool_choice"]),
    Fault::request(ToolCalls, "disable-parallel-ignored/openai", "parallel_tool_calls forced true by a translator")
        .translating()
        .by(&[Translated(translated::parallel_true)])
        .breaks(&[ParallelTools])
        .found_as(&["request-tools-changed", "request-field-dropped", "request-field-changed"])
        .in_probes(&["http_tool_choice"]),
    Fault::request(
        ToolCalls,
        "parallel-tools-forced-off",
        "the gateway switches parallel tool use off whatever the client said",
    )
    .by(&[Change::Body(body::parallel_forced_off)])
    .breaks(&[ParallelTools])
    .found_as(&["request-tools-changed", "request-field-added", "request-field-changed"])
    .in_probes(&["parallel_tools", "tool_use_roundtrip"]),
    Fault::request(
        ToolCalls,
        "parallel-tools-forced-off/openai",
        "gateway sends parallel_tool_calls:false whatever the client said",
    )
    .translating()
    .by(&[Translated(translated::parallel_false)])
    .breaks(&[ParallelTools])
    .found_as(&["request-tools-changed", "request-field-added", "request-field-changed"])
    .in_probes(&["parallel_tools", "tool_use_roundtrip"]),
    Fault::request(ToolCalls, "tool-choice-dropped", "tool_choice not forwarded")
        .by(&[Change::Body(body::drop_tool_choice)])
        .breaks(&[ToolUse])
        .found_as(&["request-tools-changed", "request-field-dropped"])
        .in_probes(&["http_tool_choice"]),
    Fault::response(ToolCalls, "stop-reason-length-lost", "truncation reported as end_turn")
        .by(&[Edit(wire::length_lost), Whole(whole::message, whole::whole_length_lost)])
        .breaks(&[Text, LongContext])
        .found_as(&["answer-stop-reason-changed", "stop-reason-wrong"])
        .in_probes(&["stop_reason_max_tokens"]),
    Fault::response(ToolCalls, "stop-reason-length-lost/500", "an answer that hit the limit becomes HTTP 500")
        .by(&[Whole(whole::stream, whole::length_as_500)])
        .breaks(&[Text, LongContext])
        .found_as(&["error-status-changed", "answer-lost", "request-refused"])
        .in_probes(&["stop_reason_max_tokens"]),
    Fault::response(ToolCalls, "tool-call-as-text", "tool call returned as text")
        .by(&[events::CALL_AS_TEXT, Edit(wire::tool_use_ends_turn)])
        .breaks(&[ToolUse])
        .found_as(&["answer-blocks-changed", "answer-tool-changed", "tool-not-called", "answer-stop-reason-changed"])
        .in_probes(&["tool_use_roundtrip"]),
    Fault::response(ToolCalls, "cumulative-arguments", "partial_json repeats the whole prefix each time")
        .by(&[events::CUMULATIVE_ARGUMENTS])
        .breaks(&[ToolUse])
        .found_as(&["tool-arguments-broken", "answer-tool-changed"])
        .in_probes(&["tool_use_roundtrip"]),
    Fault::response(
        ToolCalls,
        "parallel-arguments-concatenated",
        "arguments of two parallel calls concatenated into one",
    )
    .by(&[events::CONCATENATE_ARGUMENTS])
    .breaks(&[ParallelTools])
    .found_as(&["tool-arguments-broken", "answer-tool-changed", "answer-blocks-changed"])
    .in_probes(&["parallel_tools"]),
    Fault::response(
        ToolCalls,
        "second-parallel-tool-dropped",
        "only the first of several parallel tool calls survives",
    )
    .by(&[events::DROP_LATER_TOOLS])
    .breaks(&[ParallelTools])
    .found_as(&["answer-blocks-changed", "answer-tool-changed", "answer-lost"])
    .in_probes(&["parallel_tools"]),
    Fault::response(ToolCalls, "stop-reason-null", "stop_reason stays null")
        .by(&[Edit(wire::null_stop_reason)])
        .breaks(&[ToolUse, Text])
        .found_as(&["stop-reason-wrong", "answer-stop-reason-changed"])
        .in_probes(&["tool_use_roundtrip"]),
    Fault::response(ToolCalls, "stop-reason-null/end-turn", "stop_reason of a tool call is end_turn")
        .by(&[Edit(wire::tool_use_ends_turn)])
        .breaks(&[ToolUse])
        .found_as(&["stop-reason-wrong", "answer-stop-reason-changed"])
        .in_probes(&["tool_use_roundtrip"]),
    Fault::response(ToolCalls, "stop-reason-null/openai-words", "stop_reason in OpenAI's words")
        .by(&[Edit(wire::openai_stop_reason)])
        .breaks(&[ToolUse])
        .found_as(&["stop-reason-wrong", "answer-stop-reason-changed"])
        .in_probes(&["tool_use_roundtrip"]),
    Fault::response(ToolCalls, "stop-sequence-not-reported", "stop_sequence hit reported as end_turn")
        .by(&[Edit(wire::stop_sequence_lost), Whole(whole::message, whole::whole_end_turn)])
        .breaks(&[Text])
        .found_as(&["answer-stop-reason-changed", "stop-reason-wrong"])
        .in_probes(&["stop_sequence"]),
    Fault::response(ToolCalls, "refusal-not-reported", "a refusal reported as end_turn")
        .by(&[Edit(wire::refusal_lost)])
        .breaks(&[Text])
        .found_as(&["answer-stop-reason-changed", "stop-reason-wrong"])
        .in_probes(&["refusal"]),
    Fault::response(ToolCalls, "tool-name-case-changed", "tool name case changed (Bash -> bash)")
        .by(&[Edit(wire::lower_case_tools)])
        .breaks(&[ToolUse, Mcp])
        .found_as(&["answer-tool-changed"])
        .in_probes(&["tool_use_roundtrip"]),
    Fault::response(ToolCalls, "tool-name-case-changed/prefixed", "a prefix is put in front of tool names")
        .by(&[Edit(wire::prefixed_tools)])
        .breaks(&[ToolUse, Mcp])
        .found_as(&["answer-tool-changed"])
        .in_probes(&["tool_use_roundtrip"]),
    Fault::response(ToolCalls, "tool-use-emitted-twice", "same tool_use (same id) emitted twice")
        .by(&[events::EMIT_TOOLS_TWICE])
        .breaks(&[ToolUse, ParallelTools])
        .found_as(&["tool-id-broken", "answer-blocks-changed", "answer-tool-changed"])
        .in_probes(&["tool_use_roundtrip"]),
    Fault::response(ToolCalls, "tool-ids-not-unique", "every tool call has the same id")
        .by(&[Edit(wire::one_tool_id)])
        .breaks(&[ToolUse, ParallelTools])
        .found_as(&["tool-id-broken", "answer-tool-changed"])
        .in_probes(&["parallel_tools"]),
    Fault::response(ToolCalls, "tool-id-empty", "tool calls have an empty id")
        .by(&[Edit(wire::empty_tool_id)])
        .breaks(&[ToolUse])
        .found_as(&["tool-id-broken", "answer-tool-changed"])
        .in_probes(&["tool_use_roundtrip"]),
    Fault::response(ToolCalls, "text-trimmed", "white space at the end of each piece of text gets lost")
        .by(&[Edit(wire::cut_text)])
        .breaks(&[Text, Streaming])
        .found_as(&["answer-text-changed"])
        .in_probes(&["streaming"]),
];

/// I: usage, counts, compaction.
pub(super) const USAGE: &[Fault] = &[
    Fault::response(Usage, "count-tokens-404", "POST /v1/messages/count_tokens not served")
        .by(&[Refuse(refusal::count_404)])
        .breaks(&[CountTokens, Compact])
        .found_as(&[
            "token-count-refused",
            "request-not-forwarded",
            "request-refused",
            "token-count-false",
            "error-not-enveloped",
        ])
        .in_probes(&["count_tokens"]),
    Fault::response(Usage, "backend-window-smaller-than-advertised", "backend limit below what the client believes")
        .by(&[Refuse(refusal::small_window)])
        .breaks(&[LongContext, Compact])
        .found_as(&["request-refused", "request-not-forwarded"])
        .in_probes(&["large_body", "subagent_task"]),
    Fault::response(Usage, "count-tokens-200-wrong-body", "count_tokens answers 200 with an unrelated body")
        .by(&[Refuse(refusal::count_unrelated)])
        .breaks(&[CountTokens, Compact])
        .found_as(&["token-count-false", "request-not-forwarded"])
        .in_probes(&["count_tokens"]),
    Fault::response(Usage, "count-tokens-200-wrong-body/zero", "count_tokens answers 0")
        .by(&[Refuse(refusal::count_zero)])
        .breaks(&[CountTokens, Compact])
        .found_as(&["token-count-false", "request-not-forwarded"])
        .in_probes(&["count_tokens"]),
    Fault::response(Usage, "cache-usage-fields-missing", "cache_creation/cache_read fields never returned")
        .by(&[Edit(wire::without_cache_counts), Whole(whole::message, whole::whole_without_cache_counts)])
        .breaks(&[Caching, UsageAccounting])
        .found_as(&["usage-without-cache", "answer-usage-changed", "usage-wrong"])
        .in_probes(&["usage_truth"]),
    Fault::response(Usage, "cached-tokens-subtracted", "cached tokens subtracted from input without being reported")
        .by(&[Edit(wire::cached_subtracted)])
        .breaks(&[UsageAccounting, Compact])
        .found_as(&["answer-usage-changed", "usage-wrong", "usage-without-cache"])
        .in_probes(&["usage_truth"]),
    Fault::response(Usage, "count-tokens-undercounts", "count_tokens ignores system and tools")
        .by(&[Whole(whole::count, whole::undercount)])
        .breaks(&[CountTokens, Compact])
        .found_as(&["token-count-false"])
        .in_probes(&["count_tokens"]),
    Fault::response(Usage, "message-delta-usage-missing", "message_delta without usage")
        .by(&[Edit(wire::without_usage_at_end)])
        .breaks(&[UsageAccounting])
        .found_as(&["usage-missing", "answer-usage-changed"])
        .in_probes(&["usage_truth"]),
    Fault::response(Usage, "message-delta-usage-missing/null", "message_delta with usage null")
        .by(&[Edit(wire::null_usage_at_end)])
        .breaks(&[UsageAccounting])
        .found_as(&["usage-missing", "answer-usage-changed"])
        .in_probes(&["usage_truth"]),
    Fault::response(Usage, "count-tokens-501", "count_tokens stub answers 501")
        .by(&[Refuse(refusal::count_501)])
        .breaks(&[CountTokens])
        .found_as(&["token-count-refused", "request-not-forwarded", "request-refused", "token-count-false"])
        .in_probes(&["count_tokens"]),
    Fault::response(Usage, "input-tokens-constant-placeholder", "input_tokens is a constant (100) and never corrected")
        .by(&[Edit(wire::constant_input)])
        .breaks(&[UsageAccounting, Compact, LongContext])
        .found_as(&["answer-usage-changed", "usage-wrong"])
        .in_probes(&["usage_truth"]),
    Fault::response(Usage, "usage-all-zero", "all token counts are 0")
        .by(&[Edit(wire::zero_usage)])
        .breaks(&[UsageAccounting])
        .found_as(&["usage-zero", "answer-usage-changed", "usage-wrong"])
        .in_probes(&["usage_truth"]),
    Fault::response(Usage, "output-counted-twice", "output tokens counted twice")
        .by(&[Edit(wire::double_output)])
        .breaks(&[UsageAccounting])
        .found_as(&["answer-usage-changed", "usage-wrong"])
        .in_probes(&["usage_truth"]),
];
