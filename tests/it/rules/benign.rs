//! What a rule must not mind: whatever the protocol allows, and whatever the client has been seen to take without harm.

use std::io::Write as _;

use ccsmoke::evidence::Evidence;
use ccsmoke::exchange::{Arrival, End, Exchange, Header};
use ccsmoke::finding::Severity;
use ccsmoke::verdict::Outcome;
use serde_json::{Value, json};

use super::edit::{
    Event, PROBES, clean, each, judge, live, printed, renumber, request, response, set_body, set_header, stream,
};

/// Changes one answer of a cell that went right.
type OfAnswer = fn(&mut Evidence, usize);

/// Changes a cell that went right.
type OfCell = fn(&mut Evidence);

/// Changes the bytes of an answer's body.
fn rewrite(e: &mut Evidence, i: usize, change: impl Fn(String) -> String) {
    let text = response(e, i).body.text().into_owned();
    set_body(response(e, i), change(text));
}

/// Puts these lines between any two events.
fn between(e: &mut Evidence, i: usize, lines: &str) {
    rewrite(e, i, |text| text.replace("\n\n", &format!("\n\n{lines}")));
}

fn packed(e: &mut Evidence, i: usize, coding: &str, pack: impl Fn(&[u8]) -> Vec<u8>) {
    let body = pack(&response(e, i).body.bytes);
    set_header(&mut response(e, i).headers, "Content-Encoding", coding);
    set_body(response(e, i), body);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    writer.write_all(bytes).unwrap();
    writer.finish().unwrap()
}

/// A frame of zstd whose blocks are not compressed: RFC 8878, section 3.1.1.
fn zstd(bytes: &[u8]) -> Vec<u8> {
    let size = |n: usize, bytes: usize| u32::try_from(n).unwrap().to_le_bytes()[..bytes].to_vec();
    let mut frame = vec![0x28, 0xB5, 0x2F, 0xFD, 0xA0];
    frame.extend(size(bytes.len(), 4));
    frame.extend(size(bytes.len() << 3 | 1, 3));
    frame.extend(bytes);
    frame
}

fn is_end(event: &Event) -> bool {
    event.is("message_delta")
}

/// What may vary in an answer, each with its name.
const OF_ANSWERS: &[(&str, OfAnswer)] = &[
    ("pings", |e, i| between(e, i, "event: ping\ndata: {\"type\": \"ping\"}\n\n")),
    ("pings without a type", |e, i| between(e, i, "event: ping\ndata: {}\n\nevent: ping\ndata:\n\n")),
    ("comments", |e, i| between(e, i, ": keep-alive\n\n:\n\n")),
    ("reconnection times and ids", |e, i| rewrite(e, i, |text| text.replace("event: ", "retry: 3000\nid: 7\nevent: "))),
    ("unknown fields", |e, i| rewrite(e, i, |text| text.replace("event: ", "x-trace: abc\nevent: "))),
    ("unknown events", |e, i| between(e, i, "event: future_event\ndata: {\"type\":\"future_event\",\"x\":[1]}\n\n")),
    ("events of no name", |e, i| between(e, i, "data: {\"progress\": 50}\n\n")),
    ("events that are not JSON", |e, i| between(e, i, "event: x-progress\ndata: 50 %\n\n")),
    ("another API's end mark", |e, i| rewrite(e, i, |text| text + "data: [DONE]\n\n")),
    ("a ping behind the end", |e, i| {
        rewrite(e, i, |text| text + "event: ping\ndata: {\"type\":\"ping\"}\n\n: bye\n\n");
    }),
    ("carriage returns", |e, i| rewrite(e, i, |text| text.replace('\n', "\r\n"))),
    ("carriage returns alone", |e, i| rewrite(e, i, |text| text.replace('\n', "\r"))),
    ("further empty lines", |e, i| rewrite(e, i, |text| text.replace("\n\n", "\n\n\n\n"))),
    ("no spaces behind colons", |e, i| {
        rewrite(e, i, |text| text.replace("data: ", "data:").replace("event: ", "event:"));
    }),
    ("data in front of the event", |e, i| {
        rewrite(e, i, |text| {
            let swap = |event: &str| match event.split_once('\n') {
                Some((name, data)) => format!("{data}\n{name}\n\n"),
                None => String::new(),
            };
            text.split_terminator("\n\n").map(swap).collect()
        });
    }),
    ("data over several lines", |e, i| rewrite(e, i, |text| text.replace(",\"index\":", ",\ndata: \"index\":"))),
    ("a byte order mark", |e, i| rewrite(e, i, |text| format!("\u{FEFF}{text}"))),
    ("one byte an arrival", |e, i| {
        let response = response(e, i);
        let first = response.arrivals[0].at_us;
        let ats = (0..response.body.bytes.len() as u64).map(|n| Arrival { at_us: first + n, len: 1 });
        response.arrivals = ats.collect();
    }),
    ("one arrival", |e, i| rewrite(e, i, |text| text)),
    ("a slow response", |e, i| {
        let response = response(e, i);
        response.head_us += 40_000_000;
        response.arrivals.iter_mut().for_each(|a| a.at_us += 80_000_000);
        e.exchanges[i].ended_us += 80_000_000;
    }),
    ("a client that leaves at the answer's end", |e, i| e.exchanges[i].end = End::ClientLeft),
    ("what the request holds itself", |e, i| {
        request(e, i, |r| r["metadata"]["note"] = "<think>\u{FFFD}".into());
        rewrite(e, i, |text| text.replacen("\"text\":\"\"", "\"text\":\"\",\"x\":\"<think>\u{FFFD}\"", 1));
    }),
    ("gzip", |e, i| packed(e, i, "gzip", gzip)),
    ("GZIP in capitals", |e, i| packed(e, i, "GZIP", gzip)),
    ("zstd", |e, i| packed(e, i, "zstd", zstd)),
    ("no coding, said so", |e, i| packed(e, i, "identity", <[u8]>::to_vec)),
    ("headers in capitals and in another order", |e, i| {
        let headers = &mut response(e, i).headers;
        headers.reverse();
        headers.iter_mut().for_each(|h| h.name = h.name.to_uppercase());
    }),
    ("further headers", |e, i| {
        for (name, value) in [("server", "nginx"), ("x-litellm-cost", "0.1"), ("vary", "*"), ("set-cookie", "a=b")] {
            response(e, i).headers.push(Header { name: name.to_owned(), value: value.to_owned() });
        }
    }),
    ("another spelling of the content-type", |e, i| {
        set_header(&mut response(e, i).headers, "content-type", "Text/Event-Stream;charset=UTF-8");
    }),
    ("a renamed model", |e, i| starts(e, i, |message| message["model"] = "gpt-oss-120b".into())),
    ("another message id", |e, i| starts(e, i, |message| message["id"] = "chatcmpl-1".into())),
    ("no message id", |e, i| starts(e, i, |message| drop(message.as_object_mut().unwrap().remove("id")))),
    ("usage at the end alone", |e, i| {
        starts(e, i, |message| drop(message.as_object_mut().unwrap().remove("usage")));
    }),
    ("usage with further keys", |e, i| {
        each(e, i, is_end, |data| {
            data["usage"]["server_tool_use"] = json!({"web_search_requests": 0});
            data["usage"]["cache_creation"] = Value::Null;
        });
    }),
    ("input counted at the start alone", |e, i| {
        each(e, i, is_end, |data| {
            data["usage"].as_object_mut().unwrap().retain(|key, _| key == "output_tokens");
        });
    }),
    ("input that the end leaves open", |e, i| {
        each(e, i, is_end, |data| {
            for key in ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"] {
                data["usage"][key] = Value::Null;
            }
        });
    }),
    ("input out of the cache alone", |e, i| {
        let cached = |usage: &mut Value| {
            usage["cache_read_input_tokens"] = usage["input_tokens"].take();
            usage["input_tokens"] = 0.into();
        };
        starts(e, i, |message| cached(&mut message["usage"]));
        each(e, i, is_end, |data| cached(&mut data["usage"]));
    }),
    ("usage that grows over several ends", |e, i| {
        stream(e, i, |events| {
            let at = events.iter().position(is_end).unwrap();
            let mut early = events[at].clone();
            early.data["usage"] = json!({"output_tokens": 3});
            let mut open = early.clone();
            open.data["delta"] = json!({"stop_reason": null, "stop_sequence": null});
            events.splice(at..at, [open, early]);
        });
    }),
    ("a named stop sequence", |e, i| {
        each(e, i, is_end, |data| data["delta"]["stop_sequence"] = "END".into());
    }),
    ("unknown keys everywhere", |e, i| {
        stream(e, i, |events| {
            for event in events {
                let further = [("x_trace", json!("abc")), ("future", json!({"a": [1]}))];
                for part in [Value::as_object_mut(&mut event.data)].into_iter().flatten() {
                    part.extend(further.iter().map(|(k, v)| ((*k).to_owned(), v.clone())));
                }
                for key in ["message", "content_block", "delta", "usage"] {
                    if let Some(part) = event.data[key].as_object_mut() {
                        part.extend(further.iter().map(|(k, v)| ((*k).to_owned(), v.clone())));
                    }
                }
                event.data.as_object_mut().unwrap().retain(|_, v| !v.is_null());
            }
        });
    }),
    ("deltas of unknown types", |e, i| {
        stream(e, i, |events| {
            let mut more = Vec::new();
            for event in events.drain(..) {
                let index = event.data["index"].clone();
                let opens = event.is("content_block_start");
                more.push(event);
                if opens {
                    let delta = json!({"type": "future_delta", "future": 1});
                    more.push(Event::new(json!({"type": "content_block_delta", "index": index, "delta": delta})));
                }
            }
            *events = more;
        });
    }),
    ("a block of an unknown type in front of the end", |e, i| {
        stream(e, i, |events| {
            let at = events.iter().position(is_end).unwrap();
            let index = events.iter().filter(|event| event.is("content_block_start")).count();
            let block = json!({"type": "future_block", "text": "whatever"});
            let block = [
                Event::new(json!({"type": "content_block_start", "index": index, "content_block": block})),
                Event::new(json!({"type": "content_block_stop", "index": index})),
            ];
            events.splice(at..at, block);
        });
    }),
    ("one delta a block", |e, i| {
        stream(e, i, |events| {
            let keys = ["text", "thinking", "partial_json"];
            let mut joined: Vec<Event> = Vec::new();
            for event in events.drain(..) {
                let key = keys.into_iter().find(|key| event.data["delta"][key].is_string());
                let last = joined.iter_mut().rfind(|e| !e.is("ping"));
                match (key, last.filter(|last| last.data["delta"]["type"] == event.data["delta"]["type"])) {
                    (Some(key), Some(last)) => {
                        let text = [&last.data, &event.data].map(|d| d["delta"][key].as_str().unwrap()).concat();
                        last.data["delta"][key] = text.into();
                    }
                    _ => joined.push(event),
                }
            }
            *events = joined;
        });
    }),
    ("deltas of nothing", |e, i| {
        stream(e, i, |events| {
            let mut more = Vec::new();
            for event in events.drain(..) {
                let key = ["text", "thinking", "partial_json"].into_iter().find(|k| event.data["delta"][k].is_string());
                if let Some(key) = key {
                    let mut nothing = event.clone();
                    nothing.data["delta"][key] = "".into();
                    more.push(nothing);
                }
                more.push(event);
            }
            *events = more;
        });
    }),
];

fn starts(e: &mut Evidence, i: usize, change: impl Fn(&mut Value)) {
    each(e, i, |event| event.is("message_start"), |data| change(&mut data["message"]));
}

/// An exchange beside the conversation.
fn beside(e: &Evidence, method: &str, target: &str, status: u16, body: &str) -> Exchange {
    let mut exchange = e.exchanges[0].clone();
    exchange.request.method = method.to_owned();
    exchange.request.target = target.to_owned();
    if method != "POST" {
        exchange.request.body = ccsmoke::exchange::Body::default();
    }
    let response = exchange.response.as_mut().unwrap();
    response.status = status;
    set_header(&mut response.headers, "content-type", "application/json");
    set_body(response, body);
    exchange
}

/// What may vary in a cell, each with its name.
const OF_CELLS: &[(&str, OfCell)] = &[
    ("noise at standard error", |e| {
        for launch in &mut e.launches {
            let noise = "[claude-code:unrecognized_model] {\"model\":\"x\"}\n(node:1) Warning: something\n";
            launch.process.stderr.text.push_str(noise);
        }
    }),
    ("lines of unknown types", |e| {
        for launch in 0..e.launches.len() {
            printed(e, launch, |lines| {
                lines.insert(0, json!({"type": "future", "x": 1}));
                lines.push(json!({"type": "system", "subtype": "future"}));
            });
        }
    }),
    ("empty lines", |e| {
        for launch in &mut e.launches {
            launch.process.stdout.text = launch.process.stdout.text.replace('\n', "\n\n");
        }
    }),
    ("a slow client", |e| e.launches.iter_mut().for_each(|l| l.duration_us += 60_000_000)),
    ("a list of models", |e| {
        let listing = [
            beside(e, "GET", "/v1/models?limit=1000", 200, r#"{"data":[]}"#),
            beside(e, "GET", "/v1/models?limit=1000", 404, "not found"),
        ];
        e.exchanges.splice(0..0, listing);
    }),
    ("a warm-up that is not answered", |e| {
        let mut warm_up = beside(e, "HEAD", "/api/hello", 404, "");
        e.exchanges.insert(0, warm_up.clone());
        warm_up.response = None;
        warm_up.end = End::NeverAnswered { error: "closed".to_owned() };
        e.exchanges.insert(0, warm_up);
    }),
    ("counts of tokens", |e| {
        let target = "/v1/messages/count_tokens?beta=true";
        let counting = [
            beside(e, "POST", target, 200, r#"{"input_tokens":900}"#),
            beside(e, "POST", target, 404, r#"{"type":"error"}"#),
        ];
        e.exchanges.splice(1..1, counting);
    }),
    ("headers of requests in lower case", |e| {
        for exchange in &mut e.exchanges {
            exchange.request.headers.iter_mut().for_each(|h| h.name = h.name.to_lowercase());
            exchange.request.headers.reverse();
        }
    }),
    ("a log that says what went well", |e| {
        e.log.delta = "INFO \"POST /v1/messages?beta=true HTTP/1.1\" 200 OK\n".to_owned();
        e.log.notes.push("the file was rotated".to_owned());
    }),
];

/// Checks that a variation is no reason to fail; notes are allowed.
fn passes(evidence: &Evidence, words: &str) {
    for evidence in [evidence.clone(), live(evidence.clone())] {
        let verdict = judge(&evidence);
        let told: Vec<_> = verdict.findings.iter().filter(|f| f.severity > Severity::Note).collect();
        assert_eq!(told, Vec::<&ccsmoke::finding::Finding>::new(), "{words}");
        assert_eq!(verdict.outcome, Outcome::Passed, "{words}: {verdict:?}");
    }
}

#[test]
fn no_variation_of_an_answer_is_a_defect() {
    for probe in PROBES {
        for (name, vary) in OF_ANSWERS {
            let mut evidence = clean(probe);
            for i in 0..evidence.exchanges.len() {
                vary(&mut evidence, i);
            }
            passes(&evidence, &format!("{probe}: {name}"));
        }
    }
}

#[test]
fn no_variation_of_a_cell_is_a_defect() {
    for probe in PROBES {
        for (name, vary) in OF_CELLS {
            let mut evidence = clean(probe);
            vary(&mut evidence);
            renumber(&mut evidence);
            passes(&evidence, &format!("{probe}: {name}"));
        }
    }
}

#[test]
fn a_side_request_behind_a_gateway_is_no_defect() {
    for probe in PROBES {
        for last in [false, true] {
            let mut evidence = clean(probe);
            let mut side = clean("basic_text").exchanges.remove(0);
            let mut request = side.request.body.json().unwrap();
            request["messages"] = json!([{"role": "user", "content": "A title for this session, please."}]);
            request["tools"] = json!([]);
            request.as_object_mut().unwrap().remove("thinking");
            side.request.body = ccsmoke::exchange::Body::whole(request.to_string());
            let text =
                side.response.as_ref().unwrap().body.text().replace(&clean("basic_text").cell.vars.marker, "A title");
            set_body(side.response.as_mut().unwrap(), text);
            side.request.head_us = evidence.exchanges[0].request.head_us;
            let at = if last { evidence.exchanges.len() } else { 0 };
            // The summary is the last answer of its launch.
            if probe != "compact_command" {
                evidence.exchanges.insert(at, side);
                renumber(&mut evidence);
                passes(&live(evidence), &format!("{probe}, at {at}"));
            }
        }
    }
}
