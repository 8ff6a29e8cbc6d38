//! The text verdict against 240 recorded judgements, which fix what consumers of the report rely on.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use ccsmoke::judge_text::judge_lines;
use ccsmoke::text_evidence::{TextInput, request_count, token_evidence};
use ccsmoke::text_rules::TextRules;
use ccsmoke::verdict::{Classification, Outcome};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value;

/// A recorded judgement.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    id: String,
    input: TextInput,
    expected: Expected,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    outcome: Outcome,
    classification: Classification,
    request_count: u64,
    token_evidence: Value,
}

static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let lines = include_str!("../fixtures/seed_verdicts.jsonl").lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
});

static RULES: LazyLock<TextRules> =
    LazyLock::new(|| TextRules::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("probes/rules.toml")).unwrap());

#[test]
fn all_240_recorded_judgements_agree() {
    assert_eq!(CASES.len(), 240);
    for Case { id, input, expected } in CASES.iter() {
        let verdict = RULES.judge(input);
        assert_eq!(verdict.outcome, expected.outcome, "{id}: {}", verdict.rule);
        assert_eq!(verdict.classification, expected.classification, "{id}: {}", verdict.rule);
        assert_eq!(request_count(input), expected.request_count, "{id}");
        assert_eq!(serde_json::to_value(token_evidence(input)).unwrap(), expected.token_evidence, "{id}");
    }
}

#[test]
fn judging_the_recorded_inputs_as_lines_gives_the_recorded_judgements_in_order() {
    let lines: String = CASES.iter().map(|case| serde_json::to_string(&case.input).unwrap() + "\n").collect();
    let mut output = Vec::new();
    assert_eq!(judge_lines(&RULES, "cases.jsonl", lines.as_bytes(), &mut output).unwrap(), 240);
    let output = String::from_utf8(output).unwrap();
    assert_eq!(output.lines().count(), 240);
    for (line, Case { id, expected, .. }) in output.lines().zip(CASES.iter()) {
        let judged: Value = serde_json::from_str(line).unwrap();
        assert_eq!(line, judged.to_string(), "{id}: keys are sorted");
        assert_eq!(judged["outcome"], expected.outcome.as_str(), "{id}");
        assert_eq!(judged["classification"], expected.classification.as_str(), "{id}");
        assert_eq!(judged["request_count"], expected.request_count, "{id}");
        assert_eq!(judged["token_evidence"], expected.token_evidence, "{id}");
    }
}

#[test]
fn every_rule_decides_some_recorded_case_and_not_others() {
    let mut decided: BTreeMap<String, usize> = RULES.names().map(|name| (name.to_owned(), 0)).collect();
    assert_eq!(decided.len(), 8);
    for case in CASES.iter() {
        *decided.get_mut(&RULES.judge(&case.input).rule).unwrap() += 1;
    }
    for (rule, times) in decided {
        assert!((1..CASES.len()).contains(&times), "{rule} decides {times} cases");
    }
}

/// A cell in which everything is in its place: exit code 0, one request, no needs.
fn clean() -> TextInput {
    TextInput {
        log_delta: r#""POST /v1/messages HTTP/1.1" 200 OK"#.to_owned(),
        returncode: Some(0),
        ..TextInput::default()
    }
}

/// A cell that no text explains: its one need is unmet.
fn unexplained() -> TextInput {
    TextInput { marker: "FCC_X_BASIC_0A1B2C3D".to_owned(), ..clean() }
}

#[test]
fn the_statuses_that_are_the_gateways_failure_are_those_of_the_table() {
    for status in 100..=599 {
        let input = TextInput { log_delta: format!(r#""POST /v1/messages?beta=true HTTP/1.1" {status} X"#), ..clean() };
        let failed = status >= 400 && ![401, 403, 404, 408, 409].contains(&status);
        let expected = if failed { "gateway-answered-with-an-error" } else { "every-need-is-met" };
        assert_eq!(RULES.judge(&input).rule, expected, "{status}");
    }
}

#[test]
fn each_rule_fires_on_its_own_words_and_stays_silent_beside_them() {
    let with_exit = |returncode, stderr: &str| TextInput { returncode, stderr: stderr.to_owned(), ..unexplained() };
    let with_log = |log_delta: &str| TextInput { log_delta: log_delta.to_owned(), ..unexplained() };
    let with_stderr = |stderr: &str| TextInput { stderr: stderr.to_owned(), ..unexplained() };
    let agent = |log_delta: &str| TextInput { log_delta: log_delta.to_owned(), requires_agent: true, ..clean() };
    let table = [
        (
            "gateway-answered-with-an-error",
            vec![with_log("CREATE_MESSAGE_ERROR"), with_log(r#"POST /v1/messages/count_tokens HTTP/1.1" 500"#)],
            vec![
                with_stderr("CREATE_MESSAGE_ERROR"),
                with_log(r#"POST /v1/messages HTTP/1.0" 500"#),
                with_log("POST /v1/messages\" x\n HTTP/1.1\" 500"),
            ],
        ),
        (
            "client-lacks-credentials",
            vec![
                with_exit(Some(1), "Invalid API Key"),
                with_exit(None, "Not logged in"),
                with_exit(Some(2), "authentication_error"),
            ],
            vec![with_exit(Some(0), "Invalid API Key"), with_exit(Some(1), "key of the api")],
        ),
        (
            "client-timed-out",
            vec![TextInput { timed_out: true, ..clean() }],
            vec![
                with_stderr("Request timed out"),
                TextInput { timed_out: true, ..with_exit(None, "permission denied") },
            ],
        ),
        (
            "agent-tool-was-not-offered",
            vec![agent(""), agent("FULL_PAYLOAD {'tools': [{'name': 'Read'}]}")],
            vec![clean(), agent("FULL_PAYLOAD {'tools': [{'name': 'Agent'}]}")],
        ),
        ("every-need-is-met", vec![clean()], vec![unexplained(), TextInput { returncode: None, ..clean() }]),
        (
            "provider-was-unavailable",
            vec![
                with_stderr("OVERLOADED"),
                with_stderr("http/1.0 429"),
                with_stderr(r#"HTTP/1.0" 429"#),
                with_stderr("Status: 429"),
                with_stderr("429 too many requests"),
            ],
            vec![
                with_stderr("status 429"),
                with_stderr("status=4290"),
                with_stderr("1429 Too Many Requests"),
                TextInput { stderr: "overloaded".to_owned(), ..clean() },
            ],
        ),
        (
            "no-request-reached-the-gateway",
            vec![with_log(""), with_log(r#""http_method": "POST""#), with_log(r#""http_path": "/v1/messages""#)],
            vec![
                with_log("API_REQUEST:"),
                with_log(r#""event": "api.request.received""#),
                with_log(r#""http_path": "/v1/messages", "http_method": "POST""#),
                TextInput { log_delta: String::new(), ..clean() },
            ],
        ),
        ("model-did-not-do-what-was-asked", vec![unexplained()], vec![clean(), with_log("")]),
    ];
    assert!(RULES.names().eq(table.iter().map(|(rule, ..)| *rule)), "every rule has its cases here");
    for (rule, fires, silent) in table {
        for input in fires {
            assert_eq!(RULES.judge(&input).rule, rule, "{input:?}");
        }
        for input in silent {
            assert_ne!(RULES.judge(&input).rule, rule, "{input:?}");
        }
    }
}

#[test]
fn ten_megabytes_of_output_are_judged_without_delay() {
    for line in [
        "{\"type\":\"stream_event\",\"event\":{\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"hm\"}}}\n",
        // Nearly a pattern, again and again, between letters that make word boundaries costly.
        "ü status=4290 ",
    ] {
        let input = TextInput { stdout: line.repeat(10_000_000 / line.len()), ..unexplained() };
        let started = Instant::now();
        assert_eq!(RULES.judge(&input).rule, "model-did-not-do-what-was-asked");
        // Seconds without optimisation; what grows faster than the text would need hours.
        assert!(started.elapsed() < Duration::from_secs(120), "{:?}", started.elapsed());
    }
}

proptest! {
    #[test]
    fn no_text_is_without_a_verdict(stdout in any::<String>(), log_delta in any::<String>(), marker in any::<String>(), returncode in any::<Option<i32>>()) {
        let input = TextInput { stdout, log_delta, marker, returncode, ..TextInput::default() };
        RULES.judge(&input);
    }

    #[test]
    fn a_line_that_says_nothing_changes_no_verdict(index in 0..240_usize, line in "[ xyz☃]{0,40}") {
        let input = &CASES[index].input;
        let longer = TextInput { stdout: format!("{}\n{line}", input.stdout), log_delta: format!("{}\n{line}", input.log_delta), ..input.clone() };
        prop_assert_eq!(RULES.judge(&longer), RULES.judge(input));
        prop_assert_eq!(token_evidence(&longer), token_evidence(input));
    }
}
