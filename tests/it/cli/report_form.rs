//! The form of the report, on which other programs rely.

use std::process::Stdio;

use regex::Regex;
use serde_json::Value;

use super::stand_in::{StandIn, ended};
use crate::support::report_path;

/// `path: type` of everything in a value; the elements of a list share one line.
fn shape(path: &str, value: &Value, out: &mut Vec<String>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_f64() => "float",
        Value::Number(_) => "integer",
        Value::String(_) => "text",
        Value::Array(items) => {
            for item in items {
                shape(&format!("{path}[]"), item, out);
            }
            "list"
        }
        Value::Object(map) => {
            for (key, inner) in map {
                shape(&format!("{path}.{key}"), inner, out);
            }
            "object"
        }
    };
    out.push(format!("{path}: {kind}"));
}

/// The shape of a report, a line each, sorted.
fn form(report: &Value) -> String {
    let mut lines = Vec::new();
    shape("", report, &mut lines);
    lines.sort();
    lines.dedup();
    lines.join("\n")
}

/// A run of two models with a client that prints more than an excerpt holds.
fn run() -> StandIn {
    let place = StandIn::claude("head -c 3000 /dev/zero | tr '\\0' x; echo ü >&2; exit 7");
    ended(place.run().args(["--model", "z/b", "--model", "haiku", "--worker", "night_1.a"]), 1);
    place
}

#[test]
fn a_report_has_the_documented_fields_sorted_and_indented() {
    let place = run();
    let text = std::fs::read_to_string(report_path(&place.results())).unwrap();
    let report: Value = serde_json::from_str(&text).unwrap();
    // A map of this library is sorted by its keys.
    assert_eq!(serde_json::to_string_pretty(&report).unwrap() + "\n", text);
    assert!(text.contains('ü'), "text is UTF-8 and not escaped");
    assert!(!text.contains(place.path("").to_str().unwrap()), "no path of this machine");
    insta::assert_snapshot!(form(&report), @r#"
    .ccsmoke_version: text
    .cli: list
    .cli[].sha256: text
    .cli[].version: text
    .cli[]: object
    .client_cpu_s: float
    .duration_s: float
    .harness_cpu_s: float
    .host.arch: text
    .host.cores: integer
    .host.os: text
    .host: object
    .interrupted: bool
    .models: list
    .models[]: text
    .not_run: list
    .outcomes: list
    .outcomes[].attempts: list
    .outcomes[].attempts[].classification: text
    .outcomes[].attempts[].duration_s: float
    .outcomes[].attempts[].evidence_path: text
    .outcomes[].attempts[].outcome: text
    .outcomes[].attempts[]: object
    .outcomes[].classification: text
    .outcomes[].cli_returncode: integer
    .outcomes[].cli_version: text
    .outcomes[].control_path: null
    .outcomes[].cost_usd: null
    .outcomes[].duration_s: float
    .outcomes[].evidence_path: text
    .outcomes[].feature: text
    .outcomes[].findings: list
    .outcomes[].findings[].cites: list
    .outcomes[].findings[].cites[]: text
    .outcomes[].findings[].code: text
    .outcomes[].findings[].message: text
    .outcomes[].findings[].severity: text
    .outcomes[].findings[].suspect: text
    .outcomes[].findings[]: object
    .outcomes[].full_model: text
    .outcomes[].gateway_version: null
    .outcomes[].log_excerpt: text
    .outcomes[].log_path: text
    .outcomes[].model: text
    .outcomes[].outcome: text
    .outcomes[].probe: text
    .outcomes[].request_count: integer
    .outcomes[].source: text
    .outcomes[].stderr_excerpt: text
    .outcomes[].stdout_excerpt: text
    .outcomes[].target: text
    .outcomes[].text_verdict.classification: text
    .outcomes[].text_verdict.outcome: text
    .outcomes[].text_verdict.rule: text
    .outcomes[].text_verdict: object
    .outcomes[].token_evidence.agent_catalog_present: bool
    .outcomes[].token_evidence.agent_result_count: integer
    .outcomes[].token_evidence.agent_tool_count: integer
    .outcomes[].token_evidence.compact_boundary: bool
    .outcomes[].token_evidence.compact_metadata: bool
    .outcomes[].token_evidence.feature: text
    .outcomes[].token_evidence.http_422: bool
    .outcomes[].token_evidence.http_500: bool
    .outcomes[].token_evidence.marker_present: bool
    .outcomes[].token_evidence.run_in_background_false: bool
    .outcomes[].token_evidence.task_tool_count: integer
    .outcomes[].token_evidence.thinking_delta_count: integer
    .outcomes[].token_evidence.timed_out: bool
    .outcomes[].token_evidence.tool_result_count: integer
    .outcomes[].token_evidence.tool_use_count: integer
    .outcomes[].token_evidence: object
    .outcomes[].usage.cache_creation_input_tokens: integer
    .outcomes[].usage.cache_read_input_tokens: integer
    .outcomes[].usage.input_tokens: integer
    .outcomes[].usage.output_tokens: integer
    .outcomes[].usage: object
    .outcomes[]: object
    .plan.cells: list
    .plan.cells[]: text
    .plan.probes.basic_text: text
    .plan.probes: object
    .plan.rules: text
    .plan.shard: null
    .plan: object
    .schema_version: integer
    .started_at: text
    .stopped: null
    .target: text
    .worker_id: text
    : object
    "#);
}

#[test]
fn names_times_and_excerpts_are_written_as_documented() {
    let place = run();
    let (path, report) = (report_path(&place.results()), place.report());
    let name = path.file_name().unwrap().to_str().unwrap();
    let parts = Regex::new(r"\Accsmoke-matrix-night_1\.a-(\d{10})\.json\z").unwrap().captures(name).unwrap();
    let started = report["started_at"].as_str().unwrap();
    assert!(Regex::new(r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\z").unwrap().is_match(started), "{started}");
    assert_eq!(started.parse::<jiff::Timestamp>().unwrap().as_second().to_string(), parts[1]);
    assert_eq!(report["worker_id"], "night_1.a");
    assert_eq!(report["models"], serde_json::json!(["scripted/haiku", "z/b"]), "sorted");
    let models: Vec<&Value> = report["outcomes"].as_array().unwrap().iter().map(|o| &o["full_model"]).collect();
    assert_eq!(models, ["z/b", "scripted/haiku"], "in the order of the plan");
    for row in report["outcomes"].as_array().unwrap() {
        assert_eq!(row["stdout_excerpt"], "x".repeat(2400));
        assert_eq!(row["source"], "command line");
        for relative in ["evidence_path", "log_path"] {
            let relative = row[relative].as_str().unwrap();
            assert!(place.results().join(relative).is_file(), "{relative}");
        }
        let millis = row["duration_s"].as_f64().unwrap() * 1000.0;
        assert!((millis - millis.round()).abs() < 1e-6, "three decimals");
    }
    assert_eq!(report["cli"][0]["sha256"].as_str().unwrap().len(), 64);
}

#[test]
fn two_runs_at_once_do_not_take_each_others_names() {
    let place = StandIn::claude("exit 0");
    let both = [(); 2].map(|()| place.run().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    for mut child in both {
        assert_eq!(child.wait().unwrap().code(), Some(1));
    }
    let reports = place.written().into_iter().filter(|(p, _)| p.parent() == Some(&place.results()) && p.is_file());
    assert_eq!(reports.count(), 2);
}
