//! Conversations and recorded sessions, replayed.

use ccsmoke::load::answers::Fault;
use ccsmoke::load::conversation::{RecordedRequest, recorded_file};

use super::{Source, report, shown};
use crate::support::ccsmoke;

#[test]
fn the_sample_conversations_are_held_once_and_told_of_one_by_one() {
    let source = Source::with(Fault::None, 1);
    let results = tempfile::tempdir().unwrap();
    let mut command = ccsmoke();
    command.args([
        "replay",
        "--think",
        "0",
        "--show-individual",
        "--url",
        &source.url(),
        "--sessions",
        "2",
        "--results",
    ]);
    let output = command.arg(results.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
    let report = report(results.path());
    let sessions = &report.scenarios[0].sessions;
    assert_eq!(sessions.len(), 2);
    assert_eq!(sessions.values().map(|s| s.ok).sum::<u64>(), 10);
    let printed = shown(&output);
    assert!(printed.contains("haiku") && printed.contains("2 sessions: 10 conversations, 10 ok"), "{printed}");
    let models: Vec<&String> = sessions.values().flat_map(|s| s.models.keys()).collect();
    assert!(models.iter().all(|m| m.starts_with("model-")), "asked of the target: {models:?}");
}

#[test]
fn each_session_has_a_file_of_its_own_where_that_is_asked() {
    let source = Source::with(Fault::None, 1);
    let folder = tempfile::tempdir().unwrap();
    let (results, sessions) = (folder.path().join("results"), folder.path().join("sessions"));
    let mut command = ccsmoke();
    command.args([
        "replay",
        "--think",
        "0.001",
        "--url",
        &source.url(),
        "--sessions",
        "2",
        "--workers",
        "2",
        "--show-individual",
    ]);
    command.arg("--results").arg(&results).arg("--session-reports").arg(&sessions);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
    let mut names: Vec<String> =
        std::fs::read_dir(&sessions).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let scenario = &report(&results).scenarios[0].name;
    assert_eq!(names.len(), 5, "{names:?}");
    let read = |name: String| -> serde_json::Value {
        serde_json::from_slice(&std::fs::read(sessions.join(name)).unwrap()).unwrap()
    };
    let all = read(format!("{scenario}-all.json"));
    let each: Vec<_> = (0..4).map(|n| read(format!("{scenario}-session-{n:04}.json"))).collect();
    let sum = |name: &str| each.iter().map(|session| session[name].as_u64().unwrap()).sum::<u64>();
    for name in ["tried", "ok", "failed", "messages", "tokens_in", "tokens_out", "tokens"] {
        assert_eq!(all[name].as_u64(), Some(sum(name)), "{name}");
    }
    assert_eq!((all["sessions"].as_u64(), all["ok"].as_u64()), (Some(4), Some(10)));
    assert!(all["slept_s"].as_f64() > Some(0.0), "{all}");
    for session in each.iter().chain([&all]) {
        let at = |name: &str| session[name].as_f64().unwrap();
        assert!(at("latency_min_ms") <= at("latency_mean_ms") && at("latency_mean_ms") <= at("latency_max_ms"));
        assert!(at("per_minute") > 0.0 && at("tokens_per_s") > 0.0 && at("duration_s") > 0.0);
        assert!(session["began"].as_str() < session["ended"].as_str(), "{session}");
        assert!((at("tokens") - at("tokens_in") - at("tokens_out")).abs() < 1e-9);
    }
    // An answer of the source takes 2 ms, that to the very first message too.
    for conversation in each.iter().flat_map(|session| session["conversations"].as_array().unwrap()) {
        let latencies = conversation["latencies_ms"].as_array().unwrap();
        assert!(latencies.iter().all(|latency| latency.as_f64() >= Some(2.0)), "{conversation}");
    }
    let conversation = &each[0]["conversations"][0];
    let latencies = conversation["latencies_ms"].as_array().unwrap();
    assert_eq!(latencies.len() as u64, conversation["messages"].as_u64().unwrap());
    assert!(shown(&output).contains("tok/s") && shown(&output).contains("  each "), "{}", shown(&output));
}

#[test]
fn a_session_lasts_and_its_conversations_are_drawn_from_the_seed() {
    let source = Source::with(Fault::None, 1);
    let drawn = |seed: &str| {
        let results = tempfile::tempdir().unwrap();
        let mut command = ccsmoke();
        command.args([
            "replay",
            "--think",
            "0",
            "--duration",
            "500ms",
            "--workers",
            "2",
            "--seed",
            seed,
            "--url",
            &source.url(),
        ]);
        let output = command.arg("--results").arg(results.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
        let first: Vec<_> = report(results.path()).scenarios[0]
            .sessions
            .values()
            .map(|s| (s.conversations[0].id.clone(), s.conversations[0].model.clone(), s.conversations[0].temperature))
            .collect();
        first
    };
    assert_eq!(drawn("1"), drawn("1"));
    assert_ne!(drawn("1"), drawn("2"));
}

#[test]
fn a_recorded_session_is_sent_again_with_its_tools_and_headers() {
    let source = Source::with(Fault::None, 1);
    let folder = tempfile::tempdir().unwrap();
    let body = serde_json::json!({
        "model": "claude-x", "max_tokens": 10, "stream": true, "tools": [{"name": "Read", "input_schema": {"type": "object"}}],
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
    });
    let request = |wait_ms| RecordedRequest {
        wait_ms,
        headers: vec![("anthropic-beta".into(), "a".into())],
        target: "/v1/messages?beta=true".into(),
        body: body.clone(),
    };
    let path = folder.path().join("session.json");
    std::fs::write(&path, recorded_file("cell", vec![request(0), request(10)])).unwrap();
    let results = folder.path().join("results");
    let output =
        ccsmoke().args(["replay", "--url", &source.url(), "--results"]).arg(&results).arg(&path).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
    let session = &report(&results).scenarios[0].sessions[&0];
    assert_eq!((session.ok, session.sums.messages, session.sums.slept_us), (1, 2, 10_000));
    assert_eq!(session.models.keys().collect::<Vec<_>>(), ["claude-x"]);
}

#[test]
fn a_cells_evidence_becomes_a_file_that_can_be_replayed() {
    let source = Source::with(Fault::None, 1);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("session.json");
    let export = ccsmoke()
        .args(["replay", "export", "tests/fixtures/evidence/tool_use_roundtrip.json", "--output"])
        .arg(&file)
        .output()
        .unwrap();
    assert_eq!(export.status.code(), Some(0), "{}", shown(&export));
    let results = folder.path().join("results");
    let mut command = ccsmoke();
    command.args(["replay", "--think", "0", "--model", "other", "--url", &source.url(), "--results"]);
    let output = command.arg(&results).arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
    let session = &report(&results).scenarios[0].sessions[&0];
    assert!(session.sums.messages >= 2, "{}", shown(&output));
    assert_eq!(session.models.keys().collect::<Vec<_>>(), ["other"]);
}

#[test]
fn a_malformed_conversation_is_shown_at_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("broken.json");
    std::fs::write(&path, "{\"conversation_id\": \"x\",\n \"messages\": [{\"role\": \"usr\", \"content\": \"x\"}]}")
        .unwrap();
    let output = ccsmoke().args(["replay", "--url", "http://127.0.0.1:9"]).arg(&path).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(shown(&output).contains("broken.json:2:") && shown(&output).contains("usr"), "{}", shown(&output));
}

#[test]
fn conversations_of_exported_spans_are_held_again() {
    let source = Source::with(Fault::None, 1);
    let folder = tempfile::tempdir().unwrap();
    let said =
        |role: &str, text: &str| serde_json::json!({ "role": role, "parts": [{ "type": "text", "content": text }] });
    let attribute = |key: &str, value: String| serde_json::json!({ "key": key, "value": { "stringValue": value } });
    let span = |input: serde_json::Value| {
        serde_json::json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [{ "attributes": [
            attribute("gen_ai.conversation.id", "c".to_owned()), attribute("gen_ai.input.messages", input.to_string()),
        ] }] }] }] })
        .to_string()
    };
    let first = serde_json::json!([said("user", "a")]);
    let second = serde_json::json!([said("user", "a"), said("assistant", "b"), said("user", "c")]);
    let path = folder.path().join("spans.jsonl");
    std::fs::write(&path, format!("{}\n{}\n", span(first), span(second))).unwrap();
    let results = folder.path().join("results");
    let mut command = ccsmoke();
    command.args(["replay", "--think", "0", "--url", &source.url(), "--results"]).arg(&results).arg(&path);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
    let session = &report(&results).scenarios[0].sessions[&0];
    assert_eq!((session.ok, session.sums.messages, session.conversations[0].id.as_str()), (1, 2, "c"));
}
