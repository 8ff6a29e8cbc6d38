//! Defects, each planted into evidence of a cell that went right: who is suspected, and what is said of the cell.

use std::collections::BTreeSet;

use ccsmoke::evidence::{EndedBy, Evidence};
use ccsmoke::exchange::End;
use ccsmoke::finding::{Severity, Suspect};
use ccsmoke::rules::{RULES, rule};
use ccsmoke::verdict::{Classification, Outcome};
use serde_json::{Value, json};

use super::edit::{
    Event, PROBES, answer, asked_before, clean, drop_blocks, drop_events, each, events, gives_up, judge, keep, live,
    printed, refuse, renumber, replace_in_answer, request, response, result, set_body, set_header, stream, unanswered,
    written,
};

use Classification::{HarnessBug, MissingEnv, ModelFeatureFailure, ProbeTimeout, ProductFailure, UpstreamUnavailable};
use Suspect::{Client, Environment, Gateway, Harness, Model, Provider};

/// The one code without a check: it stands for cells without evidence.
const WITHOUT_CHECK: &str = "harness-error";

/// A defect in a cell.
struct Planted {
    words: &'static str,
    code: &'static str,
    probe: &'static str,
    plant: fn(&mut Evidence),
    /// Suspect and class without a gateway.
    scripted: (Suspect, Classification),
    /// Suspect and class behind a gateway.
    live: (Suspect, Classification),
    /// Whether the finding stands first and decides; otherwise it is a note, or the echo of another one.
    decides: bool,
}

impl Planted {
    /// The finding does not decide.
    fn beside(self) -> Self {
        Self { decides: false, ..self }
    }
}

type Plant = fn(&mut Evidence);

/// A defect whose suspect does not depend on what stands at the other end.
fn by(
    suspect: Suspect,
    class: Classification,
    code: &'static str,
    probe: &'static str,
    words: &'static str,
    plant: Plant,
) -> Planted {
    Planted { words, code, probe, plant, scripted: (suspect, class), live: (suspect, class), decides: true }
}

/// A defect of the wire: the gateway's, or without one the script's.
fn wire(code: &'static str, probe: &'static str, words: &'static str, plant: Plant) -> Planted {
    let planted = by(Gateway, ProductFailure, code, probe, words, plant);
    Planted { scripted: (Provider, HarnessBug), ..planted }
}

/// A well-formed answer that is not what was asked for: the model's, or the script's.
fn model(code: &'static str, probe: &'static str, words: &'static str, plant: Plant) -> Planted {
    let planted = by(Model, ModelFeatureFailure, code, probe, words, plant);
    Planted { scripted: (Provider, HarnessBug), ..planted }
}

fn client(code: &'static str, probe: &'static str, words: &'static str, plant: Plant) -> Planted {
    by(Client, ProductFailure, code, probe, words, plant)
}

const TEXT: &str = "basic_text";
const THINK: &str = "thinking";
const TOOL: &str = "tool_use_roundtrip";
const INTER: &str = "interleaved_thinking_tool";
const AGENT: &str = "subagent_task";
const COMPACT: &str = "compact_command";

fn all() -> Vec<Planted> {
    [requests(), responses(), transport(), order(), content(), counts(), processes(), tools(), outcomes()]
        .into_iter()
        .flatten()
        .collect()
}

/// Ends the first launch from outside, with nothing printed at its end.
fn ended(e: &mut Evidence, by: EndedBy) {
    e.launches[0].process.returncode = None;
    e.launches[0].process.ended_by = Some(by);
    printed(e, 0, |lines| lines.retain(|l| l["type"] != "result"));
}

/// Leaves the last exchange waiting.
fn waiting(e: &mut Evidence) {
    let last = e.exchanges.last_mut().unwrap();
    last.response = None;
    last.end = End::ClientLeft;
}

fn requests() -> Vec<Planted> {
    vec![
        by(Client, HarnessBug, "no-request", TEXT, "no request", |e| {
            keep(e, 0);
            gives_up(e, 0, "Invalid settings");
        }),
        by(Environment, HarnessBug, "tap-refused", TEXT, "a request without the token", |e| {
            e.exchanges[0].response = None;
            e.exchanges[0].end = End::Refused { reason: "the token is missing".to_owned() };
            gives_up(e, 0, "Failed to authenticate");
        }),
        by(Client, HarnessBug, "tool-not-offered", TOOL, "requests without tools", |e| {
            for i in 0..2 {
                request(e, i, |r| r["tools"] = json!([]));
            }
        }),
        by(Client, HarnessBug, "thinking-not-requested", THINK, "a request without thinking", |e| {
            request(e, 0, |r| drop(r.as_object_mut().unwrap().remove("thinking")));
        }),
        client("thinking-not-replayed", INTER, "another signature sent back", |e| {
            request(e, 1, |r| {
                let blocks = r["messages"].as_array_mut().unwrap().iter_mut().filter(|m| m["role"] == "assistant");
                blocks.for_each(|m| m["content"][0]["signature"] = "b3RoZXI=".into());
            });
        }),
        client("thinking-not-replayed", INTER, "thinking not sent back", |e| {
            request(e, 1, |r| {
                let turns = r["messages"].as_array_mut().unwrap().iter_mut().filter(|m| m["role"] == "assistant");
                turns.for_each(|m| m["content"].as_array_mut().unwrap().retain(|b| b["type"] != "thinking"));
            });
        }),
        wire("fell-back-to-non-streaming", TOOL, "the second request without streaming", |e| {
            request(e, 1, |r| r["stream"] = false.into());
            let whole = whole(&events(&e.exchanges[1]));
            answer(e, 1, 200, "application/json", &whole);
        }),
        wire("request-retried", TEXT, "the same request twice", |e| asked_before(e, 0)),
        wire("request-retried", TEXT, "a retry counter", |e| {
            set_header(&mut e.exchanges[0].request.headers, "x-stainless-retry-count", "1");
        }),
        wire("request-retried", TEXT, "a retry in the client's output", |e| {
            let line = json!({"type": "system", "subtype": "api_retry", "attempt": 1, "max_retries": 2,
                "error_status": null, "error": "unknown"});
            printed(e, 0, |lines| lines.insert(2, line));
        }),
        Planted {
            scripted: (Provider, ProductFailure),
            ..wire("runaway", TEXT, "requests without end", |e| {
                e.tap.runaway = true;
                ended(e, EndedBy::Runaway);
            })
        },
    ]
}

/// The message that a stream builds, as it would come whole.
fn whole(events: &[Event]) -> String {
    let stream = events.iter().map(|e| (e.name.clone(), e.data.to_string())).collect::<Vec<_>>();
    let read = stream.iter().map(|(name, data)| ccsmoke::messages::StreamEvent { name, data });
    let answer = ccsmoke::messages::read_stream(read);
    json!({"type": "message", "role": "assistant", "id": answer.id, "model": answer.model, "content": answer.blocks,
        "stop_reason": answer.stop_reason, "usage": answer.end_usage})
    .to_string()
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

impl Planted {
    /// Another suspect without a gateway.
    fn scripted(self, suspect: Suspect) -> Self {
        Self { scripted: (suspect, HarnessBug), ..self }
    }
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

fn content() -> Vec<Planted> {
    vec![
        wire("tool-arguments-broken", TOOL, "pieces that hold all that came before", |e| {
            stream(e, 0, |events| {
                let mut so_far = String::new();
                for event in events.iter_mut().filter(|event| event.brings("input_json_delta")) {
                    so_far += event.data["delta"]["partial_json"].as_str().unwrap();
                    event.data["delta"]["partial_json"] = so_far.as_str().into();
                }
            });
        }),
        wire("tool-arguments-broken", TOOL, "two calls' arguments in one", |e| {
            stream(e, 0, |events| {
                let at = events.iter().rposition(|event| event.brings("input_json_delta")).unwrap();
                let more = json!({"type": "input_json_delta", "partial_json": "{}"});
                events.insert(at + 1, Event::new(json!({"type": "content_block_delta", "index": 1, "delta": more})));
            });
        }),
        wire("tool-arguments-broken", TOOL, "arguments in the block's start", |e| {
            let input = json!({"file_path": format!("{}/note.txt", e.cell.vars.workspace)});
            drop_events(e, 0, |event| event.brings("input_json_delta"));
            each(e, 0, |event| event.opens("tool_use"), |data| data["content_block"]["input"] = input.clone());
        }),
        wire("tool-arguments-incomplete", TOOL, "arguments that never came", |e| {
            drop_events(e, 0, |event| event.brings("input_json_delta"));
        }),
        model("tool-arguments-incomplete", TOOL, "one argument of two", |e| {
            request(e, 0, |r| r["tools"][0]["input_schema"]["required"] = json!(["file_path", "pages"]));
        }),
        wire("tool-id-broken", AGENT, "one id for calls of two answers", |e| {
            let id = |e: &Evidence, i: usize| {
                let opens = events(&e.exchanges[i]).into_iter().find(|event| event.opens("tool_use")).unwrap();
                opens.data["content_block"]["id"].as_str().unwrap().to_owned()
            };
            let (first, second) = (id(e, 0), id(e, 1));
            replace_in_answer(e, 1, &second, &first);
        }),
        wire("tool-id-broken", TOOL, "a call that comes twice", |e| {
            stream(e, 0, |events| {
                let mut again: Vec<_> = events.iter().filter(|event| event.data["index"] == 1).cloned().collect();
                again.iter_mut().for_each(|event| event.data["index"] = 2.into());
                let at = events.iter().position(|event| event.is("message_delta")).unwrap();
                events.splice(at..at, again);
            });
        }),
        wire("tool-id-broken", TOOL, "an id that the API refuses", |e| {
            each(e, 0, |event| event.opens("tool_use"), |data| data["content_block"]["id"] = "functions.Read:0".into());
        }),
        wire("thinking-unsigned", THINK, "no signature", |e| {
            drop_events(e, 0, |event| event.brings("signature_delta"))
        }),
        wire("thinking-in-text", TEXT, "tags in the text", |e| {
            replace_in_answer(e, 0, "\"text\":\"CCS_", "\"text\":\"<think>Hm.</think>CCS_");
        }),
        wire("text-garbled", TOOL, "a character that came apart", |e| {
            replace_in_answer(e, 0, "I will read ", "I will read \u{FFFD}\u{FFFD}");
        }),
        wire("stop-reason-wrong", TOOL, "an end of turn after a call", |e| {
            replace_in_answer(e, 0, "\"stop_reason\":\"tool_use\"", "\"stop_reason\":\"end_turn\"");
        }),
        wire("stop-reason-wrong", TEXT, "a call that never came", |e| {
            replace_in_answer(e, 0, "\"stop_reason\":\"end_turn\"", "\"stop_reason\":\"tool_use\"");
        }),
        wire("stop-reason-wrong", TEXT, "another API's reason", |e| {
            replace_in_answer(e, 0, "\"stop_reason\":\"end_turn\"", "\"stop_reason\":\"stop\"");
        }),
        wire("stop-reason-wrong", TOOL, "no reason", |e| {
            replace_in_answer(e, 0, "\"stop_reason\":\"tool_use\"", "\"stop_reason\":null");
        }),
        wire("answer-empty", TEXT, "content that was counted and never came", |e| {
            drop_blocks(e, 0, "text");
            result(e, 0, |line| line["result"] = "".into());
        }),
        model("answer-empty", TEXT, "an end of turn and nothing else", |e| {
            drop_blocks(e, 0, "text");
            each(e, 0, |event| event.is("message_delta"), |data| data["usage"]["output_tokens"] = 2.into());
            result(e, 0, |line| line["result"] = "".into());
        }),
        wire("thinking-absent", THINK, "no thinking", |e| drop_blocks(e, 0, "thinking")),
        wire("thinking-absent", INTER, "no thinking in front of the call", |e| {
            drop_blocks(e, 0, "thinking");
            request(e, 1, |r| {
                let turns = r["messages"].as_array_mut().unwrap().iter_mut().filter(|m| m["role"] == "assistant");
                turns.for_each(|m| m["content"].as_array_mut().unwrap().retain(|b| b["type"] != "thinking"));
            });
        }),
    ]
}

/// Adds a request that counts tokens, with that answer.
fn count_tokens(e: &mut Evidence, status: u16, body: &str) {
    let mut counting = e.exchanges[0].clone();
    counting.request.target = "/v1/messages/count_tokens?beta=true".to_owned();
    e.exchanges.push(counting);
    renumber(e);
    let last = e.exchanges.len() - 1;
    answer(e, last, status, "application/json", body);
}

fn counts() -> Vec<Planted> {
    vec![
        wire("usage-missing", TEXT, "no usage at the end", |e| {
            each(e, 0, |event| event.is("message_delta"), |data| drop(data.as_object_mut().unwrap().remove("usage")));
        }),
        wire("usage-missing", TEXT, "usage in an event of its own", |e| {
            stream(e, 0, |events| {
                let at = events.iter().position(|event| event.is("message_delta")).unwrap();
                let mut second = events[at].clone();
                second.data["delta"] = json!({});
                events[at].data.as_object_mut().unwrap().remove("usage");
                events.insert(at + 1, second);
            });
        }),
        wire("usage-missing", TEXT, "no input", |e| {
            replace_in_answer(e, 0, "\"input_tokens\":321", "\"input_tokens\":0")
        }),
        wire("usage-missing", TEXT, "no output", |e| {
            replace_in_answer(e, 0, "\"output_tokens\":42", "\"output_tokens\":0");
        }),
        wire("usage-without-cache", TEXT, "no counts of the cache", |e| {
            replace_in_answer(e, 0, "\"cache_creation_input_tokens\":0,\"cache_read_input_tokens\":0,", "");
        })
        .beside(),
        wire("token-count-false", TEXT, "a count of zero", |e| count_tokens(e, 200, r#"{"input_tokens":0}"#)),
        wire("token-count-false", TEXT, "an error that calls itself a success", |e| {
            count_tokens(e, 200, r#"{"error":"Unexpected endpoint"}"#);
        }),
    ]
}

fn processes() -> Vec<Planted> {
    vec![
        by(Environment, HarnessBug, "client-not-started", TEXT, "a program that is none", |e| {
            keep(e, 0);
            e.launches[0].process = ccsmoke::evidence::ProcessFacts {
                spawn_error: Some("Exec format error".to_owned()),
                ..Default::default()
            };
        }),
        by(Client, HarnessBug, "client-config-not-applied", TOOL, "no tools", |e| {
            printed(e, 0, |lines| {
                lines.iter_mut().filter(|l| l["subtype"] == "init").for_each(|l| l["tools"] = json!([]))
            });
        }),
        by(Client, HarnessBug, "client-config-not-applied", TEXT, "another permission mode", |e| {
            printed(e, 0, |lines| {
                lines
                    .iter_mut()
                    .filter(|l| l["subtype"] == "init")
                    .for_each(|l| l["permissionMode"] = "default".into());
            });
        }),
        by(Gateway, ProbeTimeout, "client-timeout", TOOL, "a wait without end", |e| {
            ended(e, EndedBy::Deadline);
            waiting(e);
        })
        .waiting_on_provider(),
        by(Gateway, ProbeTimeout, "client-timeout", TOOL, "a wait that the cell's end ended", |e| {
            ended(e, EndedBy::Deadline);
            unanswered(e, 1, "no response head came before the cell ended");
            e.exchanges[1].ended_us = e.launches[0].started_us + e.launches[0].duration_us + 10;
        })
        .waiting_on_provider(),
        by(Client, ProbeTimeout, "client-timeout", TOOL, "a client that does not end", |e| {
            ended(e, EndedBy::Lingering);
        }),
        client("client-output-limit", TEXT, "output without end", |e| ended(e, EndedBy::OutputLimit)),
        by(Environment, UpstreamUnavailable, "client-killed", TOOL, "killed inside an answer", |e| {
            e.launches[0].process.returncode = None;
            e.launches[0].process.signal = Some(9);
            printed(e, 0, |lines| lines.retain(|l| l["type"] != "result"));
            keep(e, 1);
            stream(e, 0, |events| events.truncate(8));
            e.exchanges[0].end = End::ClientLeft;
        }),
        client("client-exit-code", TEXT, "an exit code", |e| e.launches[0].process.returncode = Some(3)),
        client("workspace-altered", TOOL, "a file that was changed", |e| e.workspace[0].intact = false).beside(),
        client("client-leftovers", TEXT, "a process left behind", |e| e.launches[0].process.leftovers = 1).beside(),
        client("client-output-unreadable", TEXT, "a line that is not JSON", |e| {
            e.launches[0].process.stdout.text.insert_str(0, "Welcome!\n");
        })
        .beside(),
    ]
}

impl Planted {
    /// Without a gateway the provider is who lets the client wait; the class stays.
    fn waiting_on_provider(self) -> Self {
        Self { scripted: (Provider, self.live.1), ..self }
    }
}

/// The tool results in a request.
fn results(r: &mut Value, change: impl Fn(&mut Value)) {
    let messages = r["messages"].as_array_mut().unwrap().iter_mut();
    let blocks = messages.filter_map(|m| m["content"].as_array_mut()).flatten();
    blocks.filter(|b| b["type"] == "tool_result").for_each(change);
}

fn tools() -> Vec<Planted> {
    vec![
        model("tool-unexpected", TOOL, "a tool that nobody offered", |e| {
            each(e, 0, |event| event.opens("tool_use"), |data| data["content_block"]["name"] = "Bash".into());
        }),
        wire("tool-unexpected", TOOL, "a tool's name in lower case", |e| {
            each(e, 0, |event| event.opens("tool_use"), |data| data["content_block"]["name"] = "read".into());
        }),
        model("tool-unexpected", TOOL, "a file outside the workspace", |e| {
            stream(e, 0, |events| {
                let mut pieces = ["{\"file_path\":\"/etc/passwd\"}"].into_iter();
                for event in events.iter_mut().filter(|event| event.brings("input_json_delta")) {
                    event.data["delta"]["partial_json"] = pieces.next().unwrap_or_default().into();
                }
            });
        }),
        model("tool-not-called", TOOL, "an answer instead of a call", |e| {
            drop_blocks(e, 0, "tool_use");
            replace_in_answer(e, 0, "\"stop_reason\":\"tool_use\"", "\"stop_reason\":\"end_turn\"");
            keep(e, 1);
            result(e, 0, |line| line["result"] = "I will read the file.".into());
        }),
        model("tool-not-called", TOOL, "another file of the workspace", |e| {
            replace_in_answer(e, 0, "note.txt", "nope.txt")
        }),
        client("tool-failed", TOOL, "a run that failed", |e| {
            request(e, 1, |r| results(r, |block| block["is_error"] = true.into()));
        }),
        client("tool-result-wrong", TOOL, "another file's content", |e| {
            request(e, 1, |r| results(r, |block| block["content"] = "1\tnothing".into()));
        }),
        by(Harness, HarnessBug, "tool-result-wrong", TOOL, "a file that never held the marker", |e| {
            e.workspace[0].expected = "nothing\n".to_owned();
            request(e, 1, |r| results(r, |block| block["content"] = "1\tnothing".into()));
        }),
        model("tool-result-wrong", AGENT, "a sub-agent that reports nothing", |e| {
            request(e, 3, |r| results(r, |block| block["content"] = "There is no code.".into()));
        }),
        client("tool-result-missing", TOOL, "no result", |e| keep(e, 1)),
        client("tool-result-missing", TOOL, "a request without the result", |e| {
            request(e, 1, |r| results(r, |block| block["tool_use_id"] = "toolu_other".into()));
        }),
        client("agent-not-run", AGENT, "a sub-agent that asks nothing", |e| {
            e.exchanges.drain(1..3);
            renumber(e);
        }),
        client("agent-not-run", AGENT, "a sub-agent in the background", |e| {
            request(e, 3, |r| results(r, |block| block["content"] = "Async agent launched successfully.".into()));
            printed(e, 0, |lines| lines.retain(|l| l["subtype"] != "task_notification"));
        }),
        model("agent-not-run", AGENT, "nobody delegates", |e| {
            drop_blocks(e, 0, "tool_use");
            replace_in_answer(e, 0, "\"stop_reason\":\"tool_use\"", "\"stop_reason\":\"end_turn\"");
            keep(e, 1);
        })
        .beside(),
    ]
}

fn outcomes() -> Vec<Planted> {
    vec![
        client("compact-not-done", COMPACT, "no boundary", |e| {
            printed(e, 1, |lines| lines.retain(|l| l["subtype"] != "compact_boundary"));
        }),
        client("compact-not-done", COMPACT, "no request for a summary", |e| keep(e, 1)),
        model("compact-lost-marker", COMPACT, "a summary without the marker", |e| {
            let marker = e.cell.vars.marker.clone();
            replace_in_answer(e, 1, &marker, "something");
        }),
        client("answer-is-error", TEXT, "an error out of nothing", |e| {
            result(e, 0, |line| line["is_error"] = true.into());
        }),
        model("answer-is-error", TOOL, "a model that goes on and on", |e| {
            result(e, 0, |line| {
                line["is_error"] = true.into();
                line["subtype"] = "error_max_turns".into();
            });
        }),
        client("answer-missing", TEXT, "no result line", |e| {
            printed(e, 0, |lines| lines.retain(|l| l["type"] != "result"));
        }),
        model("answer-wrong", TEXT, "another answer", |e| {
            let marker = e.cell.vars.marker.clone();
            replace_in_answer(e, 0, &marker, "Sorry.");
            result(e, 0, |line| line["result"] = "Sorry.".into());
        }),
        client("answer-wrong", TEXT, "an answer that the client lost", |e| {
            result(e, 0, |line| line["result"] = "Sorry.".into());
        }),
        Planted {
            scripted: (Provider, ProductFailure),
            ..wire("text-verdict-floor", TEXT, "an error in the gateway's log", |e| {
                e.log.delta = "\"POST /v1/messages?beta=true HTTP/1.1\" 500\n".to_owned();
            })
        },
        by(Harness, HarnessBug, "text-verdict-floor", AGENT, "a payload in the log without the tool", |e| {
            e.log.delta = "FULL_PAYLOAD {'tools': [{'name': 'Read'}], 'tool_choice': None}\n".to_owned();
        }),
    ]
}

#[test]
fn every_rule_finds_a_planted_defect_and_names_the_right_suspect() {
    let mut wrong = Vec::new();
    for planted in all() {
        for (kind, (suspect, class)) in [("scripted", planted.scripted), ("live", planted.live)] {
            let mut evidence = clean(planted.probe);
            (planted.plant)(&mut evidence);
            if kind == "live" {
                evidence = live(evidence);
            }
            let verdict = judge(&evidence);
            let place = verdict.findings.iter().position(|f| f.code == planted.code);
            let right = place.is_some_and(|at| {
                let decides = at == 0 && verdict.classification == class;
                verdict.findings[at].suspect == suspect && (!planted.decides || decides)
            });
            let passes = rule(planted.code).unwrap().severity == Severity::Note && verdict.findings.len() == 1;
            if !right || passes != (verdict.outcome == Outcome::Passed) {
                let found: Vec<_> = verdict.findings.iter().map(|f| (&f.code, f.suspect, &f.message)).collect();
                wrong.push(format!(
                    "{} ({}, {}): {:?} with {found:#?}",
                    planted.code, planted.words, kind, verdict.classification
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn one_request_more_is_a_defect_only_where_every_request_is_scripted() {
    let mut evidence = clean(TEXT);
    asked_before(&mut evidence, 0);
    request(&mut evidence, 0, |r| r["max_tokens"] = 64.into());
    let codes = |e: &Evidence| judge(e).findings.into_iter().map(|f| f.code).collect::<Vec<_>>();
    assert_eq!(codes(&evidence), ["request-retried"]);
    assert_eq!(codes(&live(evidence)), Vec::<String>::new());
}

#[test]
fn every_rule_has_a_planted_defect() {
    let planted: BTreeSet<_> = all().iter().map(|p| p.code).collect();
    let missing: Vec<_> =
        RULES.iter().map(|r| r.code).filter(|c| *c != WITHOUT_CHECK && !planted.contains(c)).collect();
    assert_eq!(missing, Vec::<&str>::new());
}

#[test]
fn every_rule_is_silent_where_nothing_is_wrong() {
    for probe in PROBES {
        for evidence in [clean(probe), live(clean(probe))] {
            let verdict = judge(&evidence);
            assert_eq!(verdict.findings, [], "{probe}");
            assert_eq!((verdict.outcome, verdict.classification), (Outcome::Passed, Classification::Passed));
        }
    }
}

#[test]
fn rewriting_a_stream_changes_nothing_by_itself() {
    for probe in PROBES {
        for i in 0..clean(probe).exchanges.len() {
            let mut evidence = clean(probe);
            stream(&mut evidence, i, |_| ());
            assert_eq!(written(&events(&evidence.exchanges[i])), response(&mut evidence, i).body.text());
            assert_eq!(judge(&evidence).findings, [], "{probe} {i}");
        }
    }
}
