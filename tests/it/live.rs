//! The real client against the embedded provider, through the command that a person types: all probes pass, and what is
//! planted into one of them turns exactly that one red, with the right suspect.

use std::path::Path;

use serde_json::Value;

use crate::support::{ccsmoke, output, probes_with, report, report_path, stderr, stdout};

/// The six probes that the matrix began with, whose text alone says that they passed.
const FOUNDING: [&str; 6] =
    ["basic_text", "compact_command", "interleaved_thinking_tool", "subagent_task", "thinking", "tool_use_roundtrip"];

/// All probes, by name, in the order of the report.
fn all_probes() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("probes");
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter_map(|name| name.strip_suffix(".toml").map(str::to_owned)).collect();
    names.retain(|name| name != "rules");
    names.sort();
    names
}

#[test]
fn all_probes_pass_on_the_embedded_provider() {
    let results = tempfile::tempdir().unwrap();
    let ran = output(ccsmoke().args(["run", "--results"]).arg(results.path()));
    assert_eq!(ran.status.code(), Some(0), "{}{}", stdout(&ran), stderr(&ran));
    let all_passed = format!("{} passed", all_probes().len());
    assert!(stdout(&ran).contains(&all_passed), "{}", stdout(&ran));
    let report = report(results.path());
    let outcomes = report["outcomes"].as_array().unwrap();
    let features: Vec<&str> = outcomes.iter().map(|o| o["feature"].as_str().unwrap()).collect();
    assert_eq!(features, all_probes());
    for outcome in outcomes {
        assert_eq!(outcome["classification"], "passed", "{outcome:#}");
        assert_eq!(outcome["findings"], Value::Array(vec![]), "{outcome:#}");
        if FOUNDING.contains(&outcome["feature"].as_str().unwrap()) {
            assert_eq!(outcome["text_verdict"]["classification"], "passed", "{outcome:#}");
            assert_eq!(outcome["cli_returncode"], 0);
            assert!(outcome["usage"]["output_tokens"].as_u64().unwrap() > 0);
        }
        let evidence = results.path().join(outcome["evidence_path"].as_str().unwrap());
        assert!(evidence.is_file(), "{}", evidence.display());
    }
    // What was stored is judged again, without a client, and nothing is judged otherwise.
    let again = output(ccsmoke().arg("judge").arg(results.path()));
    assert_eq!(again.status.code(), Some(0), "{}", stderr(&again));
    assert!(stdout(&again).contains(&all_passed) && !stdout(&again).contains("otherwise"), "{}", stdout(&again));
}

/// Runs the founding probes with one change to the file of one, and checks that exactly its cell is red.
fn planted(probe: &str, from: &str, to: &str, code: &str, suspect: &str, class: &str) {
    let probes = probes_with(&format!("{probe}.toml"), from, to);
    let results = tempfile::tempdir().unwrap();
    let chosen = FOUNDING.into_iter().flat_map(|name| ["--probe", name]);
    let mut run = ccsmoke();
    run.arg("run").args(chosen).arg("--probes").arg(probes.path()).arg("--results").arg(results.path());
    let ran = output(&mut run);
    assert_eq!(ran.status.code(), Some(1), "{}{}", stdout(&ran), stderr(&ran));
    let report = report(results.path());
    let outcomes = report["outcomes"].as_array().unwrap();
    assert_eq!(outcomes.len(), FOUNDING.len());
    for outcome in outcomes {
        if outcome["feature"] != probe {
            assert_eq!(outcome["classification"], "passed", "{outcome:#}");
            continue;
        }
        assert_eq!(outcome["classification"], class, "{outcome:#}");
        let first = &outcome["findings"][0];
        assert_eq!((first["code"].as_str(), first["suspect"].as_str()), (Some(code), Some(suspect)), "{outcome:#}");
        assert!(!first["cites"].as_array().unwrap().is_empty(), "{first:#}");
    }
    assert!(stdout(&ran).contains(&format!("regression: scripted/sonnet {probe}: {class}")), "{}", stdout(&ran));
}

#[test]
fn an_answer_without_the_marker_is_found() {
    planted(
        "basic_text",
        "text = [\"{prompt.marker}\"]",
        "text = [\"something else\"]",
        "answer-wrong",
        "provider",
        "harness_bug",
    );
}

#[test]
fn a_missing_signature_is_found() {
    planted("thinking", "larger.\"] }", "larger.\"], signed = false }", "thinking-unsigned", "provider", "harness_bug");
}

#[test]
fn an_empty_tool_result_is_found() {
    planted(
        "tool_use_roundtrip",
        "content = \"{marker}\\n\"",
        "content = \"\"",
        "tool-result-wrong",
        "harness",
        "harness_bug",
    );
}

#[test]
fn missing_thinking_is_found() {
    planted(
        "interleaved_thinking_tool",
        "{ thinking = { pieces = [\"The file has to be read first. \", \"Its path is given, \", \"so one Read call is enough.\"] } },",
        "",
        "thinking-absent",
        "provider",
        "harness_bug",
    );
}

#[test]
fn a_sub_agent_that_is_never_launched_is_found() {
    planted(
        "subagent_task",
        "name = \"Agent\", fragments = 5, input = { description = \"Read the report file\", subagent_type = \"file_reader\", prompt = \"Request {nonce}: read the file {workspace}/report.txt and report the code that it holds.\" }",
        "name = \"Read\", input = { file_path = \"{workspace}/report.txt\" }",
        "tool-not-called",
        "provider",
        "harness_bug",
    );
}

#[test]
fn a_summary_without_the_marker_is_found() {
    planted(
        "compact_command",
        "remember the code {prompt.marker} for request",
        "remember a code for request",
        "compact-lost-marker",
        "provider",
        "harness_bug",
    );
}

#[test]
fn an_interrupted_run_leaves_a_valid_partial_report() {
    use std::io::{BufRead as _, BufReader};
    let probes = probes_with("thinking.toml", "usage =", "pause_ms = 3000\nusage =");
    let results = tempfile::tempdir().unwrap();
    let mut child = ccsmoke()
        .args(["run", "--message-format", "json"])
        .arg("--probes")
        .arg(probes.path())
        .arg("--results")
        .arg(results.path())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut events = BufReader::new(child.stdout.take().unwrap()).lines();
    let finished = |line: &String| line.contains("\"event\":\"cell_finished\"");
    assert!(events.by_ref().map(Result::unwrap).any(|line| finished(&line)), "no cell finished");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    events.for_each(drop);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let report = report(results.path());
    assert_eq!(report["interrupted"], true);
    let (done, missing) = (report["outcomes"].as_array().unwrap().len(), report["not_run"].as_array().unwrap().len());
    assert!(done >= 1 && missing >= 1 && done + missing == all_probes().len(), "{done} {missing}");
    assert!(report_path(results.path()).file_name().unwrap().to_str().unwrap().starts_with("ccsmoke-matrix-main-"));
}

#[test]
fn the_quick_selftest_finds_every_defect_and_nothing_else() {
    let results = tempfile::tempdir().unwrap();
    let ran = output(ccsmoke().args(["selftest", "--quick", "--format", "json", "--results"]).arg(results.path()));
    let matrix: Value = serde_json::from_str(&stdout(&ran)).unwrap();
    let faults = matrix["faults"].as_array().unwrap();
    let not_found: Vec<&Value> = faults.iter().filter(|f| f["result"] != "found").collect();
    assert!(not_found.is_empty(), "{not_found:#?}");
    assert!(faults.len() >= 20, "only {} faults were tried", faults.len());
    for variation in matrix["variations"].as_array().unwrap() {
        assert_eq!(variation["false_alarms"], Value::Array(vec![]), "{variation:#}");
    }
    assert_eq!(ran.status.code(), Some(0), "{}", stderr(&ran));

    // The evidence alone says the same.
    let again = ["selftest", "--quick", "--format", "json", "--again"];
    let judged = output(ccsmoke().args(again).arg(results.path()).arg("--results").arg(results.path()));
    assert_eq!(judged.status.code(), Some(0), "{}", stderr(&judged));
    let judged: Value = serde_json::from_str(&stdout(&judged)).unwrap();
    assert_eq!((&judged["faults"], &judged["variations"]), (&matrix["faults"], &matrix["variations"]));
}
