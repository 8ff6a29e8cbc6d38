//! Defects of responses as such, and of the events that carry an answer.

use ccsmoke::exchange::End;
use ccsmoke::finding::Suspect::{Client, Environment, Gateway, Harness, Provider};
use ccsmoke::verdict::Classification::{HarnessBug, MissingEnv, ProductFailure, UpstreamUnavailable};
use serde_json::json;

use super::{AGENT, INTER, Planted, TEXT, THINK, TOOL, by, wire};
use crate::rules::edit::{
    Event, answer, asked_before, drop_blocks, drop_events, each, events, gives_up, keep, printed, refuse,
    replace_in_answer, request, response, set_body, set_header, stream, unanswered, whole,
};

pub(super) fn all() -> Vec<Planted> {
    [responses(), transport(), order()].into_iter().flatten().collect()
}

fn responses() -> Vec<Planted> {
    let unavailable = |planted: Planted| Planted { live: (planted.live.0, UpstreamUnavailable), ..planted };
    vec![
        wire("not-answered", TEXT, "no answer", |e| {
            unanswered(e, 0, "closed without a response");
            gives_up(e, 0, "API Error: Connection dropped");
        }),
        Planted {
            scripted: (Provider, UpstreamUnavailable),
            ..unavailable(wire("not-answered", TEXT, "nobody there", |e| {
                unanswered(e, 0, "cannot connect to 127.0.0.1:1: Connection refused");
                gives_up(e, 0, "API Error: Connection refused");
            }))
        },
        Planted {
            scripted: (Harness, HarnessBug),
            ..by(Environment, MissingEnv, "credential-refused", TEXT, "a bad credential", |e| {
                refuse(e, 0, 401, "invalid x-api-key");
                gives_up(e, 0, "Failed to authenticate");
            })
        },
        Planted {
            scripted: (Harness, HarnessBug),
            ..by(Environment, MissingEnv, "credential-refused", TEXT, "a key for which a database is missing", |e| {
                refuse(e, 0, 400, "Authentication Error, No connected db.");
                gives_up(e, 0, "API Error: 400");
            })
        },
        wire("request-refused", TOOL, "a credential that was good before", |e| {
            refuse(e, 1, 401, "invalid x-api-key");
            gives_up(e, 0, "Failed");
        }),
        wire("request-refused", TEXT, "a firewall's page", |e| {
            answer(e, 0, 403, "text/html", "<html><body>Request blocked</body></html>");
            gives_up(e, 0, "Failed");
        }),
        wire("request-refused", TEXT, "a field that is not known", |e| {
            refuse(e, 0, 400, "context_management: Extra inputs are not permitted");
            gives_up(e, 0, "API Error: 400");
        }),
        wire("request-refused", AGENT, "a sub-agent's model that nobody routes", |e| {
            refuse(e, 1, 404, "model: claude-haiku-5-5");
            keep(e, 2);
            gives_up(e, 0, "Agent terminated early due to an API error");
        }),
        wire("request-refused", TOOL, "a result that the gateway lost on the way up", |e| {
            refuse(e, 1, 400, "tool_use ids were found without tool_result blocks");
            gives_up(e, 0, "API Error: 400");
        }),
        Planted {
            live: (Provider, UpstreamUnavailable),
            ..wire("request-refused", TEXT, "an overloaded provider", |e| {
                refuse(e, 0, 529, "Overloaded");
                gives_up(e, 0, "API Error: 529 Overloaded");
            })
        },
        Planted {
            live: (Provider, UpstreamUnavailable),
            ..wire("request-refused", TEXT, "a provider that is down", |e| {
                refuse(e, 0, 500, "Internal server error");
                gives_up(e, 0, "API Error: 500");
            })
        },
        // The provider's own rules, so that nobody but the client can have broken them.
        Planted {
            scripted: (Client, ProductFailure),
            ..wire("request-refused", TEXT, "a rule of the API that the client broke", |e| {
                let words = "messages: at least one message is required";
                refuse(e, 0, 400, words);
                if let Some(records) = &mut e.provider {
                    records[0].refusal = Some(words.to_owned());
                    records[0].status = 400;
                }
                gives_up(e, 0, "API Error: 400");
            })
        },
        by(Gateway, ProductFailure, "error-not-enveloped", TEXT, "an error in another form", |e| {
            answer(e, 0, 400, "application/json", r#"{"detail":"no"}"#);
            gives_up(e, 0, "API Error: 400");
        })
        .scripted(Provider)
        .beside(),
    ]
}

fn transport() -> Vec<Planted> {
    vec![
        wire("connection-broke", TOOL, "a reset inside a tool call", |e| {
            stream(e, 0, |events| events.truncate(8));
            e.exchanges[0].end = End::UpstreamBroke { error: "connection reset".to_owned() };
        }),
        wire("answer-abandoned", TOOL, "a response that stalled", |e| {
            asked_before(e, 1);
            stream(e, 1, |events| events.truncate(2));
            e.exchanges[1].end = End::ClientLeft;
        }),
        wire("feature-given-up", TEXT, "a beta and its field", |e| {
            asked_before(e, 0);
            let headers = &mut e.exchanges[1].request.headers;
            set_header(headers, "anthropic-beta", "claude-code-20250219");
            request(e, 1, |r| drop(r.as_object_mut().unwrap().remove("context_management")));
            refuse(e, 0, 400, "context_management: Extra inputs are not permitted");
        })
        .beside(),
        wire("answer-resumed", TEXT, "the rest of an answer", |e| {
            asked_before(e, 0);
            stream(e, 0, |events| events.truncate(4));
            request(e, 1, |r| {
                let words = "Your response was cut off mid-stream. Resume directly, no apology.";
                r["messages"].as_array_mut().unwrap().push(json!({"role": "user", "content": words}));
            });
        })
        .beside(),
        wire("answer-end-made-up", TEXT, "message_stop", |e| {
            stream(e, 0, |events| events.truncate(4));
            printed(e, 0, |lines| lines.insert(1, json!({"type": "stream_event", "event": {"type": "message_stop"}})));
        })
        .beside(),
        wire("answer-unreadable", TEXT, "a page", |e| answer(e, 0, 200, "text/html", "<!doctype html><p>Sign in")),
        wire("answer-unreadable", TEXT, "nothing", |e| answer(e, 0, 200, "text/event-stream", "")),
        wire("answer-unreadable", TEXT, "another API's answer", |e| {
            answer(e, 0, 200, "application/json", r#"{"choices":[]}"#);
        }),
        wire("answer-unreadable", TEXT, "a page that calls itself a stream", |e| {
            answer(e, 0, 200, "text/event-stream", "<!doctype html>\n<p>Sign in\n\n");
        }),
        wire("answer-unreadable", TEXT, "a coding that was undone", |e| {
            set_header(&mut response(e, 0).headers, "content-encoding", "gzip");
        }),
        wire("stream-not-used", TEXT, "one message", |e| {
            let whole = whole(&events(&e.exchanges[0]));
            answer(e, 0, 200, "application/json", &whole);
        }),
        wire("stream-not-asked-for", TEXT, "a stream where a message was due", |e| {
            request(e, 0, |r| drop(r.as_object_mut().unwrap().remove("stream")));
        }),
        wire("stream-mislabelled", TEXT, "a stream called text", |e| {
            set_header(&mut response(e, 0).headers, "content-type", "text/plain");
        })
        .beside(),
        wire("stream-error", TEXT, "an error in the stream", |e| {
            stream(e, 0, |events| {
                events.truncate(4);
                events.push(Event::new(
                    json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
                ));
            });
        }),
        wire("stream-cut", TEXT, "a body that just ends", |e| stream(e, 0, |events| events.truncate(4))),
        wire("stream-cut", TOOL, "an end inside a tool's arguments", |e| {
            stream(e, 0, |events| {
                let at = events.iter().position(|e| e.brings("input_json_delta")).unwrap();
                events.truncate(at + 2);
            });
        }),
        wire("stream-cut", TEXT, "no message_stop", |e| drop_events(e, 0, |event| event.is("message_stop"))),
        wire("stream-cut", TEXT, "nothing but a comment and a ping", |e| {
            answer(e, 0, 200, "text/event-stream", ": hello\n\nevent: ping\ndata: {\"type\":\"ping\"}\n\n");
        }),
    ]
}

fn order() -> Vec<Planted> {
    vec![
        wire("stream-malformed", TEXT, "no event lines", |e| {
            let text = response(e, 0).body.text().into_owned();
            let kept: String = text.lines().filter(|l| !l.starts_with("event:")).map(|l| format!("{l}\n")).collect();
            set_body(response(e, 0), kept);
        }),
        wire("stream-malformed", TEXT, "a torn event", |e| replace_in_answer(e, 0, "\"index\":0}", "\"index\":")),
        wire("stream-malformed", TEXT, "a last event without its end", |e| {
            let text = response(e, 0).body.text().trim_end().to_owned() + "\n";
            set_body(response(e, 0), text);
        }),
        wire("stream-malformed", THINK, "thinking under the key of text", |e| {
            each(
                e,
                0,
                |event| event.brings("thinking_delta"),
                |data| {
                    data["delta"]["text"] = data["delta"]["thinking"].take();
                },
            );
        }),
        wire("stream-malformed", TEXT, "a text in the block's start", |e| {
            let marker = e.cell.vars.marker.clone();
            drop_events(e, 0, |event| event.brings("text_delta"));
            each(e, 0, |event| event.opens("text"), |data| data["content_block"]["text"] = marker.as_str().into());
        }),
        wire("stream-malformed", TEXT, "bytes that are no characters", |e| {
            let response = response(e, 0);
            let at = response.body.text().find("CCS_").unwrap();
            let mut bytes = response.body.bytes.clone();
            bytes.insert(at, 0xE2);
            set_body(response, bytes);
        }),
        wire("stream-out-of-order", TEXT, "no message_start", |e| drop_events(e, 0, |event| event.is("message_start"))),
        wire("stream-out-of-order", TEXT, "message_stop twice", |e| {
            stream(e, 0, |events| events.push(Event::new(json!({"type": "content_block_stop", "index": 0}))));
        }),
        wire("stream-out-of-order", TOOL, "blocks that all end at the end", |e| {
            stream(e, 0, |events| {
                let (ends, mut rest): (Vec<_>, Vec<_>) =
                    events.drain(..).partition(|event| event.is("content_block_stop"));
                let at = rest.iter().position(|event| event.is("message_delta")).unwrap();
                rest.splice(at..at, ends);
                *events = rest;
            });
        }),
        wire("stream-out-of-order", TOOL, "a tool call without an end", |e| {
            drop_events(e, 0, |event| event.is("content_block_stop") && event.data["index"] == 1);
        }),
        wire("stream-out-of-order", TOOL, "deltas without an index", |e| {
            each(
                e,
                0,
                |event| event.is("content_block_delta") || event.is("content_block_stop"),
                |data| {
                    data.as_object_mut().unwrap().remove("index");
                },
            );
        }),
        wire("stream-out-of-order", TOOL, "one index for two blocks", |e| {
            each(e, 0, |event| event.data["index"] == 1, |data| data["index"] = 0.into());
        }),
        wire("stream-delta-misfit", THINK, "thinking in a text block", |e| {
            drop_blocks(e, 0, "thinking");
            stream(e, 0, |events| {
                let at = events.iter().position(|event| event.brings("text_delta")).unwrap();
                let delta = json!({"type": "thinking_delta", "thinking": "Hm"});
                events.insert(at, Event::new(json!({"type": "content_block_delta", "index": 0, "delta": delta})));
            });
        }),
        wire("stream-delta-misfit", INTER, "a second thinking inside the tool call", |e| {
            stream(e, 0, |events| {
                let at = events.iter().rposition(|event| event.brings("input_json_delta")).unwrap();
                let delta = json!({"type": "thinking_delta", "thinking": "Hm"});
                events.insert(at, Event::new(json!({"type": "content_block_delta", "index": 1, "delta": delta})));
            });
        }),
    ]
}
