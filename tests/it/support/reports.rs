//! Reports to test with, made without a run: small ones with planted failures, large ones, hostile ones.

use ccsmoke::finding::{Finding, Severity, Suspect};
use ccsmoke::report::plan::PlanFacts;
use ccsmoke::report::{Attempt, CliFacts, HostFacts, MatrixReport, OutcomeRow, SCHEMA_VERSION};
use ccsmoke::verdict::{Classification, Outcome, TextVerdict};
use serde_json::json;

/// What a hostile model or gateway may answer: markup, ends of scripts and sections, escape sequences, directions, NUL, lines of
/// a runner's own commands.
pub(crate) const HOSTILE: &str = concat!(
    "<img src=x onerror=alert(1)></script>]]>\u{1b}[31m\u{1b}]0;title\u{7}\u{202e}\u{2066}\u{feff}\0",
    "\n::error::made up\n| a `b` ``` [c](http://d) @everyone %0A\r\u{85}\u{2028}&lt;'\""
);

/// A row of a passed cell, asked by claude 2.1.329.
pub(crate) fn row(target: &str, full_model: &str, feature: &str) -> OutcomeRow {
    let folder = format!("ccsmoke-matrix-main-1/{target}-{}-{feature}", full_model.replace('/', "-"));
    // Through JSON, as stored ones come, so that a field that is added later is not missed here.
    serde_json::from_value(json!({
        "target": target, "model": full_model.rsplit('/').next(), "full_model": full_model, "source": "command line",
        "feature": feature, "probe": feature, "cli_version": "2.1.329", "outcome": "passed", "classification": "passed",
        "text_verdict": { "outcome": "passed", "classification": "passed", "rule": "otherwise" }, "findings": [],
        "duration_s": 0.5, "cli_returncode": 0,
        "token_evidence": {
            "agent_catalog_present": false, "agent_result_count": 0, "agent_tool_count": 0, "compact_boundary": false,
            "compact_metadata": false, "http_422": false, "http_500": false, "marker_present": true,
            "run_in_background_false": false, "task_tool_count": 0, "thinking_delta_count": 0, "timed_out": false,
            "tool_result_count": 0, "tool_use_count": 0
        },
        "request_count": 1,
        "usage": {
            "input_tokens": 321, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 42
        },
        "cost_usd": 0.001,
        "attempts": [{
            "outcome": "passed", "classification": "passed", "duration_s": 0.5,
            "evidence_path": format!("{folder}/attempt-1/evidence.json")
        }],
        "log_path": format!("{folder}/attempt-1/tap.log"), "evidence_path": format!("{folder}/attempt-1/evidence.json"),
        "stdout_excerpt": "{\"type\":\"result\"}\n", "stderr_excerpt": "", "log_excerpt": "POST /v1/messages\n"
    }))
    .unwrap()
}

/// A finding.
pub(crate) fn finding(code: &str, severity: Severity, suspect: Suspect, message: &str) -> Finding {
    let (code, message) = (code.to_owned(), message.to_owned());
    Finding { code, severity, suspect, message, cites: vec!["exchange 0 event 6".to_owned()] }
}

/// The row, failed by a broken finding.
pub(crate) fn failed(row: OutcomeRow, code: &str, suspect: Suspect, message: &str) -> OutcomeRow {
    let classification = match suspect {
        Suspect::Gateway | Suspect::Client => Classification::ProductFailure,
        Suspect::Model => Classification::ModelFeatureFailure,
        Suspect::Environment => Classification::UpstreamUnavailable,
        Suspect::Provider | Suspect::Harness => Classification::HarnessBug,
    };
    let found = finding(code, Severity::Broken, suspect, message);
    judged(row, Outcome::Failed, classification, vec![found])
}

/// The row, skipped for want of a credential.
pub(crate) fn skipped(row: OutcomeRow) -> OutcomeRow {
    let found = finding("credential-missing", Severity::Note, Suspect::Environment, "MY_TOKEN is not set");
    judged(row, Outcome::Skipped, Classification::MissingEnv, vec![found])
}

fn judged(row: OutcomeRow, outcome: Outcome, classification: Classification, findings: Vec<Finding>) -> OutcomeRow {
    let text_verdict = TextVerdict { outcome, classification, rule: "planted".to_owned() };
    let attempts = row.attempts.iter().map(|a| Attempt { outcome, classification, ..a.clone() }).collect();
    OutcomeRow { outcome, classification, findings, text_verdict, attempts, ..row }
}

/// The row with an attempt before the last, which failed for the provider's sake.
pub(crate) fn tried_twice(mut row: OutcomeRow) -> OutcomeRow {
    let first = Attempt {
        outcome: Outcome::Failed,
        classification: Classification::UpstreamUnavailable,
        duration_s: 0.25,
        evidence_path: row.evidence_path.clone(),
    };
    row.evidence_path = row.evidence_path.replace("attempt-1", "attempt-2");
    row.attempts[0].evidence_path.clone_from(&row.evidence_path);
    row.attempts.insert(0, first);
    row
}

/// A report of these rows, with its plan.
pub(crate) fn report(started_at: &str, outcomes: Vec<OutcomeRow>) -> MatrixReport {
    let set = |pick: fn(&OutcomeRow) -> &String| {
        let mut names: Vec<String> = outcomes.iter().map(|row| pick(row).clone()).collect();
        names.sort();
        names.dedup();
        names
    };
    let clients = set(|row| &row.cli_version);
    let probes = set(|row| &row.probe).into_iter().map(|probe| (probe, "0123456789abcdef".repeat(4)));
    MatrixReport {
        ccsmoke_version: "0.1.0".to_owned(),
        schema_version: SCHEMA_VERSION,
        started_at: started_at.to_owned(),
        duration_s: 2.5,
        client_cpu_s: 1.25,
        harness_cpu_s: 0.5,
        worker_id: "main".to_owned(),
        target: set(|row| &row.target).join(", "),
        models: set(|row| &row.full_model),
        cli: clients.into_iter().map(|version| CliFacts { version, sha256: "ab".repeat(32) }).collect(),
        host: HostFacts { os: "linux".to_owned(), arch: "x86_64".to_owned(), cores: 2 },
        interrupted: false,
        stopped: None,
        not_run: Vec::new(),
        plan: Some(PlanFacts {
            cells: outcomes.iter().map(OutcomeRow::name).collect(),
            probes: probes.collect(),
            rules: "cd".repeat(32),
            shard: None,
        }),
        outcomes,
    }
}

const FEATURES: [&str; 4] = ["basic_text", "streaming", "thinking", "tool_use_roundtrip"];

/// A night in which a gateway works for two models, but for a tool that has been broken for long.
pub(crate) fn first_night() -> MatrixReport {
    let mut rows = Vec::new();
    for model in ["litellm/sonnet", "litellm/haiku"] {
        for feature in FEATURES {
            let mut row = row("litellm", model, feature);
            row.gateway_version = Some("1.80.0".to_owned());
            rows.push(row);
        }
    }
    let broken = failed(rows[3].clone(), "answer-tool-changed", Suspect::Gateway, "the tool's input is a string");
    rows[3] = broken;
    report("2026-01-01T03:17:00Z", rows)
}

/// The next night, with a newer gateway that loses thinking's signature for both models, does well by the tool, and hides what
/// streaming does for one of them.
pub(crate) fn second_night() -> MatrixReport {
    let mut night = first_night();
    "2026-01-02T03:17:00Z".clone_into(&mut night.started_at);
    for row in &mut night.outcomes {
        row.gateway_version = Some("1.81.0".to_owned());
        if row.feature == "thinking" {
            let event = if row.full_model.ends_with("haiku") { 4 } else { 6 };
            let message = format!("exchange 0, event {event}: the thinking block has no signature");
            *row = failed(row.clone(), "thinking-unsigned", Suspect::Gateway, &message);
        }
    }
    night.outcomes[3] =
        OutcomeRow { gateway_version: Some("1.81.0".to_owned()), ..row("litellm", "litellm/sonnet", FEATURES[3]) };
    night.outcomes.remove(5);
    night
}

/// A report of so many cells, of which about one in eight failed for one of a few causes and some were skipped.
pub(crate) fn large(cells: usize) -> MatrixReport {
    let features: Vec<String> = (0..20).map(|i| format!("feature_{i:02}")).collect();
    let rows = (0..cells).map(|i| {
        let column = i / features.len();
        let (target, model) = (format!("gateway-{}", column % 5), format!("vendor/model-{:03}", column / 5));
        let row = row(&target, &model, &features[i % features.len()]);
        match i % 64 {
            3 | 7 | 11 | 19 | 23 => {
                failed(row, "thinking-unsigned", Suspect::Gateway, "the thinking block has no signature")
            }
            31 => failed(row, "stream-cut", Suspect::Provider, "the stream ended without message_stop"),
            43 => failed(row, "marker-missing", Suspect::Model, "the answer does not hold the marker"),
            59 => skipped(row),
            _ => row,
        }
    });
    report("2026-01-01T03:17:00Z", rows.collect())
}

/// A report in which every text that comes from outside is hostile.
pub(crate) fn hostile() -> MatrixReport {
    let mut bad = row(HOSTILE, HOSTILE, HOSTILE);
    HOSTILE.clone_into(&mut bad.cli_version);
    bad.gateway_version = Some(HOSTILE.to_owned());
    for excerpt in [&mut bad.stdout_excerpt, &mut bad.stderr_excerpt, &mut bad.log_excerpt] {
        HOSTILE.clone_into(excerpt);
    }
    let mut bad = failed(bad, HOSTILE, Suspect::Gateway, HOSTILE);
    bad.findings[0].cites = vec![HOSTILE.to_owned()];
    HOSTILE.clone_into(&mut bad.evidence_path);
    let mut other = bad.clone();
    other.feature = format!("{HOSTILE}2");
    let mut report = report("2026-01-01T03:17:00Z", vec![bad, other]);
    for text in [&mut report.started_at, &mut report.worker_id, &mut report.target, &mut report.ccsmoke_version] {
        HOSTILE.clone_into(text);
    }
    report.not_run.push(HOSTILE.to_owned());
    report
}
