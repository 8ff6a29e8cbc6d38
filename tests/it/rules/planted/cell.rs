//! Defects of the client and of the cell: what it asks, how its processes end, what becomes of the feature.

use ccsmoke::evidence::{EndedBy, Evidence, GatewayFacts, GatewayFailure};
use ccsmoke::exchange::End;
use ccsmoke::finding::Suspect::{Client, Environment, Gateway, Harness, Provider};
use ccsmoke::verdict::Classification::{HarnessBug, ProbeTimeout, ProductFailure, UpstreamUnavailable};
use serde_json::{Value, json};

use super::{AGENT, COMPACT, INTER, Planted, TEXT, THINK, TOOL, by, client, model, wire};
use crate::rules::edit::{
    answer, asked_before, drop_blocks, each, events, gives_up, keep, printed, renumber, replace_in_answer, request,
    result, set_header, stream, unanswered, whole,
};

pub(super) fn all() -> Vec<Planted> {
    [requests(), processes(), tools(), outcomes()].into_iter().flatten().collect()
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
        by(Gateway, ProductFailure, "gateway-unusable", TEXT, "a gateway that died", |e| {
            e.launches.clear();
            e.exchanges.clear();
            let last_lines = vec!["out of memory".to_owned()];
            let failure = GatewayFailure { words: "the gateway ended".to_owned(), by_itself: true, last_lines };
            e.gateway = Some(GatewayFacts { version: None, failure: Some(failure) });
        }),
        by(Gateway, ProductFailure, "gateway-unusable", TOOL, "a gateway that was killed under a request", |e| {
            unanswered(e, 1, "closed without a response");
            gives_up(e, 0, "API Error: Connection dropped");
            let failure =
                GatewayFailure { words: "the gateway ended".to_owned(), by_itself: true, last_lines: Vec::new() };
            e.gateway = Some(GatewayFacts { version: None, failure: Some(failure) });
        }),
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
        model("cost-exceeded", TEXT, "more dollars than the cell may cost", |e| {
            e.launches[0].args.extend(["--max-budget-usd".to_owned(), "0.000001".to_owned()]);
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
                lines.iter_mut().filter(|l| l["subtype"] == "init").for_each(|l| l["tools"] = json!([]));
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
        model("tool-unexpected", TOOL, "a way out of the workspace", |e| {
            replace_in_answer(e, 0, "note.txt", "../../note.txt");
        }),
        model("tool-not-called", TOOL, "an answer instead of a call", |e| {
            drop_blocks(e, 0, "tool_use");
            replace_in_answer(e, 0, "\"stop_reason\":\"tool_use\"", "\"stop_reason\":\"end_turn\"");
            keep(e, 1);
            result(e, 0, |line| line["result"] = "I will read the file.".into());
        }),
        model("tool-not-called", TOOL, "another file of the workspace", |e| {
            replace_in_answer(e, 0, "note.txt", "nope.txt");
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
