//! What a gateway does to responses as such: bytes, framing, time, and errors.

use serde_json::json;

use super::{Defect, behind, both, defect, interleaved, paced, refused_there, say, text, thinking, tool};
use crate::rules::edit::{
    Event, answer, drop_events, refuse, replace_in_answer, request, response, set_body, set_header, stream, whole,
};
use ccsmoke::evidence::Evidence;
use ccsmoke::exchange::{Arrival, End};

pub(super) fn all() -> Vec<Defect> {
    [bodies(), cuts(), time(), errors()].into_iter().flatten().collect()
}

fn bodies() -> Vec<Defect> {
    let unreadable = "answer-unreadable";
    vec![
        defect(
            "gzip-header-on-plain-body",
            "kept",
            text,
            |e| set_header(&mut response(e, 0).headers, "content-encoding", "gzip"),
            unreadable,
        ),
        defect(
            "gzip-header-on-plain-body",
            "with the length of what was compressed",
            text,
            |e| {
                set_header(&mut response(e, 0).headers, "content-encoding", "gzip");
                set_header(&mut response(e, 0).headers, "content-length", "300");
                let head = response(e, 0).body.bytes[..300].to_vec();
                set_body(response(e, 0), head);
            },
            unreadable,
        ),
        defect(
            "utf8-split-replacement-char",
            "in text",
            text,
            |e| replace_in_answer(e, 0, "CCS_", "CCS\u{FFFD}\u{FFFD}_"),
            "text-garbled",
        ),
        defect(
            "utf8-split-replacement-char",
            "in arguments",
            tool,
            |e| replace_in_answer(e, 0, "rk/note", "rk/n\u{FFFD}te"),
            "answer-tool-changed",
        ),
        defect(
            "utf8-split-replacement-char",
            "in thinking",
            thinking,
            |e| {
                let at = |e: &Event| e.brings("thinking_delta");
                super::super::edit::each(e, 0, at, |data| data["delta"]["thinking"] = "\u{FFFD}".into());
            },
            "answer-thinking-changed",
        ),
        defect(
            "empty-200-body",
            "a stream of nothing",
            text,
            |e| answer(e, 0, 200, "text/event-stream", ""),
            unreadable,
        ),
        defect("empty-200-body", "no type either", text, |e| answer(e, 0, 200, "text/plain", ""), unreadable),
        defect(
            "html-200-page",
            "a page",
            text,
            |e| answer(e, 0, 200, "text/html", "<!doctype html><html>Sign in</html>"),
            unreadable,
        ),
        defect(
            "stream-false-returns-sse",
            "a stream all the same",
            || {
                let mut e = text();
                both(&mut e, |e| {
                    request(e, 0, |b| drop(b.as_object_mut().unwrap().remove("stream")));
                    let message = whole(&super::events(&e.exchanges[0]));
                    answer(e, 0, 200, "application/json", &message);
                });
                e
            },
            |e| {
                let streamed = text().exchanges.remove(0).response;
                e.exchanges[0].response = streamed;
            },
            "stream-not-asked-for",
        ),
        defect(
            "+stream collected into one message",
            "JSON",
            text,
            |e| {
                let message = whole(&super::events(&e.exchanges[0]));
                answer(e, 0, 200, "application/json", &message);
            },
            "stream-not-used",
        ),
    ]
}

fn cuts() -> Vec<Defect> {
    vec![
        defect(
            "sse-event-split-across-chunks-stalls",
            "a delta is lost",
            tool,
            |e| {
                stream(e, 0, |events| {
                    let at = events.iter().position(|e| e.brings("text_delta")).unwrap();
                    events.remove(at);
                });
            },
            "answer-text-changed",
        ),
        defect(
            "sse-event-split-across-chunks-stalls",
            "a block's start is lost",
            tool,
            |e| drop_events(e, 0, |e| e.opens("tool_use")),
            "stream-out-of-order",
        ),
        defect(
            "sse-event-split-across-chunks-stalls",
            "the last event is lost",
            tool,
            |e| drop_events(e, 0, |e| e.is("message_stop")),
            "stream-cut",
        ),
        defect(
            "partial-200-then-clean-eof",
            "after some text",
            tool,
            |e| {
                stream(e, 0, |events| {
                    let at = events.iter().rposition(|e| e.brings("text_delta")).unwrap();
                    events.truncate(at + 1);
                });
            },
            "stream-cut",
        ),
        defect(
            "partial-200-then-clean-eof",
            "where the provider broke off",
            tool,
            |e| {
                both(e, |e| stream(e, 0, |events| events.truncate(5)));
                set_header(&mut response(e, 0).headers, "transfer-encoding", "chunked");
                behind(e, |e| e.exchanges[0].end = End::UpstreamBroke { error: "reset".to_owned() });
            },
            "break-hidden",
        ),
        defect(
            "truncate-mid-tool-json",
            "inside the arguments",
            tool,
            |e| {
                stream(e, 0, |events| {
                    let at = events.iter().position(|e| e.brings("input_json_delta")).unwrap();
                    events.truncate(at + 2);
                });
            },
            "stream-cut",
        ),
        defect(
            "midstream-error-without-close",
            "after two pieces",
            tool,
            |e| {
                stream(e, 0, |events| {
                    events.truncate(5);
                    let error = json!({ "type": "api_error", "message": "upstream" });
                    events.push(Event::new(json!({ "type": "error", "error": error })));
                });
            },
            "stream-error",
        ),
        defect(
            "+a broken answer made whole",
            "end_turn",
            text,
            |e| {
                behind(e, |e| {
                    stream(e, 0, |events| events.truncate(4));
                    e.exchanges[0].end = End::UpstreamBroke { error: "reset".to_owned() };
                });
            },
            "answer-invented",
        ),
        defect(
            "+the client made up the end",
            "in its output",
            text,
            |e| {
                stream(e, 0, |events| events.truncate(4));
                super::super::edit::printed(e, 0, |lines| {
                    lines.insert(1, json!({ "type": "stream_event", "event": { "type": "message_stop" } }));
                });
            },
            "answer-end-made-up",
        ),
        defect(
            "+the client let the model go on",
            "cut off mid-stream",
            text,
            |e| {
                let mut second = e.exchanges[0].clone();
                second.id = 1;
                let after = second.ended_us - second.request.head_us + 1_000;
                super::delay(&mut second, after);
                e.exchanges.push(second.clone());
                e.behind.as_mut().unwrap().push(second);
                super::ask(e, 1, |b| {
                    let words = "Your response was cut off mid-stream. Resume directly from where you stopped.";
                    b["messages"].as_array_mut().unwrap().push(json!({ "role": "user", "content": words }));
                });
                drop_events(e, 0, |e| e.is("message_stop") || e.is("message_delta"));
            },
            "answer-resumed",
        ),
    ]
}

/// An answer in which the provider is silent for 25 s and sends a ping every five.
fn silent() -> Evidence {
    let mut e = interleaved();
    say(&mut e, 0, |events| {
        let ping = || Event::new(json!({ "type": "ping" }));
        events.splice(2..2, (0..5).map(|_| ping()));
    });
    both(&mut e, |e| paced(e, 0, |i| if i < 2 { 1_000 } else { (i as u64 - 1).min(6) * 5_000_000 }));
    later(&mut e);
    e
}

/// What follows comes after the slow answer.
fn later(e: &mut Evidence) {
    let after = e.exchanges[0].ended_us;
    both(e, |e| e.exchanges.iter_mut().skip(1).for_each(|e| super::delay(e, after)));
}

/// An answer in two hundred pieces of text, one every 50 ms.
fn long() -> Evidence {
    let mut e = tool();
    say(&mut e, 0, |events| {
        let at = events.iter().position(|e| e.brings("text_delta")).unwrap();
        let more = vec![events[at].clone(); 200];
        events.splice(at..at, more);
    });
    both(&mut e, |e| paced(e, 0, |i| 1_000 + i as u64 * 50_000));
    later(&mut e);
    e
}

/// The client gets what the provider had sent only in steps of so many bytes.
fn buffered(e: &mut Evidence, size: u64) {
    let response = response(e, 0);
    let total = response.body.bytes.len() as u64;
    let mut arrivals = Vec::new();
    let mut at = 0;
    while at < total {
        let len = size.min(total - at);
        let at_us = response.arrived_us(at + len - 1).unwrap();
        arrivals.push(Arrival { at_us: at_us + 2_000, len });
        at += len;
    }
    response.arrivals = arrivals;
}

fn time() -> Vec<Defect> {
    vec![
        defect(
            "no-ping-during-silence",
            "dropped",
            silent,
            |e| {
                let times: Vec<Arrival> = response(e, 0).arrivals.clone();
                let kept: Vec<Arrival> = {
                    let pings: Vec<bool> = super::events(&e.exchanges[0]).iter().map(|e| e.is("ping")).collect();
                    times.into_iter().zip(pings).filter(|(_, ping)| !ping).map(|(at, _)| at).collect()
                };
                drop_events(e, 0, |e| e.is("ping"));
                response(e, 0).arrivals = kept;
            },
            "stream-pings-lost",
        ),
        defect(
            "no-ping-during-silence",
            "dropped, so that the client leaves",
            silent,
            |e| {
                let first = response(e, 0).arrivals[..2].to_vec();
                drop_events(e, 0, |e| e.is("ping"));
                stream(e, 0, |events| events.truncate(2));
                response(e, 0).arrivals = first;
                e.exchanges[0].end = End::ClientLeft;
            },
            "stream-pings-lost",
        ),
        defect(
            "no-headers-before-first-token",
            "withheld",
            silent,
            |e| {
                let content = response(e, 0).arrivals[7].at_us;
                response(e, 0).head_us = content;
                response(e, 0).arrivals.iter_mut().for_each(|a| a.at_us = a.at_us.max(content));
            },
            "stream-head-withheld",
        ),
        defect("whole-stream-buffered", "to the end", long, |e| buffered(e, u64::MAX), "stream-buffered"),
        defect("whole-stream-buffered", "in steps of 8 KiB", long, |e| buffered(e, 8192), "stream-buffered"),
        defect(
            "+cancel not passed on",
            "the provider goes on",
            long,
            |e| {
                let arrivals = response(e, 0).arrivals[..20].to_vec();
                let kept: u64 = arrivals.iter().map(|a| a.len).sum();
                response(e, 0).body.bytes.truncate(usize::try_from(kept).unwrap());
                let left = arrivals.last().unwrap().at_us;
                response(e, 0).arrivals = arrivals;
                e.exchanges[0].end = End::ClientLeft;
                e.exchanges[0].ended_us = left;
            },
            "cancel-not-passed-on",
        ),
    ]
}

const TOO_LONG: &str = "prompt is too long: 210000 tokens > 200000 maximum";

fn errors() -> Vec<Defect> {
    let (status, words, shape) = ("error-status-changed", "error-words-changed", "error-envelope-lost");
    vec![
        defect(
            "context-error-masked",
            "502",
            text,
            |e| refused_there(e, 0, (400, TOO_LONG), (502, "All target providers failed.")),
            status,
        ),
        defect(
            "context-error-masked",
            "in other words",
            text,
            |e| refused_there(e, 0, (400, TOO_LONG), (400, "upstream rejected the request")),
            words,
        ),
        defect(
            "error-body-not-anthropic-shaped",
            "detail",
            text,
            |e| {
                refused_there(e, 0, (400, TOO_LONG), (400, TOO_LONG));
                answer(e, 0, 400, "application/json", &json!({ "detail": TOO_LONG }).to_string());
            },
            shape,
        ),
        defect(
            "error-body-not-anthropic-shaped",
            "a string",
            text,
            |e| {
                refused_there(e, 0, (400, TOO_LONG), (400, TOO_LONG));
                answer(e, 0, 400, "application/json", &json!({ "error": TOO_LONG }).to_string());
            },
            shape,
        ),
        defect(
            "error-replaced-by-generic-500",
            "500",
            text,
            |e| refused_there(e, 0, (404, "model: claude-x"), (500, "Internal error")),
            status,
        ),
        defect(
            "gzip-body-not-decoded",
            "as its own words",
            text,
            |e| refused_there(e, 0, (529, "Overloaded"), (400, "\u{1f}\u{FFFD}\u{8}\0\0")),
            status,
        ),
        defect(
            "+retry-after lost",
            "429",
            text,
            |e| {
                refused_there(e, 0, (429, "slow down"), (429, "slow down"));
                behind(e, |e| set_header(&mut response(e, 0).headers, "retry-after", "7"));
            },
            "retry-headers-lost",
        ),
        defect(
            "tool-grammar-failure",
            "an error in the stream",
            tool,
            |e| {
                stream(e, 0, |events| {
                    events.truncate(1);
                    let error = json!({ "type": "api_error", "message": "Failed to initialize samplers" });
                    events.push(Event::new(json!({ "type": "error", "error": error })));
                });
            },
            "stream-error",
        ),
        defect(
            "tool-grammar-failure",
            "then 500",
            tool,
            |e| refuse(e, 0, 500, "Engine protocol predict request returned 400: failed to parse grammar"),
            "answer-lost",
        ),
    ]
}
