//! Faults of transport: compression, framing, time, truncation.

use super::super::Change::{Body, Bytes, Drop, Edit, Head, Refuse, Text, Wait, Whole};
use super::super::Family::Transport;
use super::super::{Fault, body, events, refusal, whole, wire};
use crate::capability::Capability::{self, Errors, LongContext, Streaming, Thinking, ToolUse, Unicode};
use crate::reference::HeadWaits;

/// What is found when the client gets something that it cannot read.
const UNREADABLE: &[&str] =
    &["answer-unreadable", "connection-broke", "stream-mislabelled", "stream-cut", "answer-empty"];

/// What is found when a stream ends early.
const CUT: &[&str] = &["stream-cut", "tool-arguments-incomplete", "break-hidden"];

/// What is found when a stream comes late.
const LATE: &[&str] = &["stream-buffered"];

const PLAIN: Capability = Capability::Text;

/// B: how a stream is carried.
pub(super) const TRANSPORT: &[Fault] = &[
    Fault::response(
        Transport,
        "gzip-header-on-plain-body",
        "content-encoding: gzip kept on an already decompressed body",
    )
    .by(&[Head(wire::label_gzip)])
    .breaks(&[Streaming, Errors, PLAIN])
    .found_as(UNREADABLE)
    .in_probes(&["basic_text"]),
    Fault::response(Transport, "gzip-header-on-plain-body/length", "and the content-length of the compressed body")
        .by(&[Head(wire::label_gzip), Head(wire::stale_length)])
        .breaks(&[Streaming, Errors, PLAIN])
        .found_as(UNREADABLE)
        .in_probes(&["basic_text"]),
    Fault::response(Transport, "stale-content-length", "the content-length of another body")
        .by(&[Head(wire::stale_length)])
        .breaks(&[Streaming, PLAIN])
        .found_as(UNREADABLE)
        .in_probes(&["basic_text"]),
    Fault::response(
        Transport,
        "utf8-split-replacement-char",
        "multi-byte character split across network chunks becomes U+FFFD",
    )
    .by(&[Edit(wire::tear_characters)])
    .breaks(&[Unicode, PLAIN, ToolUse])
    .found_as(&["text-garbled", "answer-text-changed", "answer-tool-changed"])
    .in_probes(&["unicode"]),
    Fault::response(Transport, "no-ping-during-silence", "no ping/comment while the upstream is silent")
        .by(&[Drop(wire::is_ping)])
        .breaks(&[Streaming, Thinking, LongContext])
        .found_as(&["stream-pings-lost"])
        .in_probes(&["keep_alive"]),
    Fault::response(Transport, "no-ping-during-silence/held-25s", "25 s without a byte before the content")
        .by(&[events::PAUSE_BEFORE_TEXT])
        .breaks(&[Streaming, Thinking, LongContext])
        .found_as(&["stream-pings-lost", "stream-buffered"])
        .in_probes(&["keep_alive"]),
    Fault::response(Transport, "empty-200-body", "HTTP 200 with zero bytes")
        .by(&[Refuse(refusal::empty)])
        .breaks(&[Errors, Streaming])
        .found_as(&["answer-empty", "stream-cut", "answer-lost", "answer-invented", "request-not-forwarded"])
        .in_probes(&["basic_text"]),
    Fault::response(
        Transport,
        "no-headers-before-first-token",
        "status line and headers withheld until the first upstream byte",
    )
    .by(&[Wait(HeadWaits::ForContent)])
    .breaks(&[Streaming, LongContext])
    .found_as(LATE)
    .in_probes(&["slow_first_byte"]),
    Fault::response(Transport, "stream-false-returns-sse", "stream:false (or absent) answered with SSE")
        .by(&[Body(body::stream_forced_on)])
        .breaks(&[Streaming, Errors])
        .found_as(&["stream-not-asked-for", "request-stream-changed"])
        .in_probes(&["http_plain", "fallback_non_streaming"]),
    Fault::request(
        Transport,
        "stream-true-returns-json",
        "a stream that was asked for is answered with one JSON message",
    )
    .by(&[Body(body::stream_forced_off)])
    .breaks(&[Streaming])
    .found_as(&["stream-not-used", "request-stream-changed", "stream-mislabelled"])
    .in_probes(&["streaming"]),
    Fault::response(Transport, "sse-event-split-across-chunks-stalls", "an SSE frame split over two chunks is lost")
        .by(&[events::LOSE_SPLIT_FRAMES])
        .breaks(&[Streaming])
        .found_as(&[
            "stream-out-of-order",
            "stream-cut",
            "answer-text-changed",
            "stream-delta-misfit",
            "answer-blocks-changed",
        ])
        .in_probes(&["streaming"]),
    Fault::response(Transport, "sse-event-split-across-chunks-stalls/tail", "the last unterminated frame is lost")
        .by(&[events::CUT_BEFORE_STOP])
        .breaks(&[Streaming])
        .found_as(CUT)
        .in_probes(&["streaming"]),
    Fault::response(Transport, "whole-stream-buffered", "SSE buffered and delivered in one piece")
        .by(&[Bytes(wire::buffered)])
        .breaks(&[Streaming])
        .found_as(LATE)
        .in_probes(&["streaming"]),
    Fault::response(Transport, "whole-stream-buffered/8k", "SSE delivered in 8 KiB steps")
        .by(&[Bytes(wire::buffered_8k)])
        .breaks(&[Streaming])
        .found_as(LATE)
        .in_probes(&["streaming"]),
    Fault::response(Transport, "whole-stream-buffered/1k", "SSE delivered in 1 KiB steps")
        .by(&[Bytes(wire::buffered_1k)])
        .breaks(&[Streaming])
        .found_as(LATE)
        .in_probes(&["streaming"]),
    Fault::response(Transport, "gzip-body-not-decoded", "compressed error body parsed as text")
        .by(&[Whole(whole::error, whole::compressed_words)])
        .breaks(&[Errors])
        .found_as(&["error-words-changed", "error-status-changed", "text-garbled"])
        .in_probes(&["error_gzip", "error_rate_limited"]),
    Fault::response(Transport, "partial-200-then-clean-eof", "mid-stream failure swallowed: body just ends")
        .by(&[events::CUT_AFTER_TEXT])
        .breaks(&[Errors, Streaming])
        .found_as(CUT)
        .in_probes(&["streaming"]),
    Fault::response(Transport, "connection-reset-mid-stream", "the connection breaks in mid-stream")
        .by(&[events::RESET_MID_STREAM])
        .breaks(&[Errors, Streaming])
        .found_as(&["connection-broke", "stream-cut"])
        .in_probes(&["streaming"]),
    Fault::response(Transport, "split-message-delta", "stop_reason and usage sent in separate message_delta events")
        .by(&[events::SPLIT_MESSAGE_DELTA])
        .breaks(&[PLAIN, Capability::UsageAccounting])
        .found_as(&["stream-out-of-order", "usage-missing", "stream-malformed"])
        .in_probes(&["basic_text", "usage_truth"]),
    Fault::response(Transport, "strip-sse-event-lines", "only data: lines forwarded, event: lines stripped")
        .by(&[Text(wire::without_event_lines)])
        .breaks(&[Streaming])
        .found_as(&["stream-malformed"])
        .in_probes(&["basic_text"]),
    Fault::response(Transport, "empty-lines-lost", "events run together without the empty line between them")
        .by(&[Text(wire::without_empty_lines)])
        .breaks(&[Streaming])
        .found_as(&["stream-malformed", "stream-cut", "answer-empty", "answer-unreadable"])
        .in_probes(&["basic_text"]),
    Fault::response(Transport, "data-encoded-twice", "the data of events are JSON within JSON")
        .by(&[Text(wire::data_as_string)])
        .breaks(&[Streaming])
        .found_as(&["stream-malformed", "answer-empty"])
        .in_probes(&["basic_text"]),
    Fault::response(Transport, "truncate-mid-tool-json", "stream cut inside input_json_delta, clean EOF, HTTP 200")
        .by(&[events::CUT_MID_TOOL])
        .breaks(&[ToolUse, Errors])
        .found_as(CUT)
        .in_probes(&["tool_use_roundtrip"]),
];
