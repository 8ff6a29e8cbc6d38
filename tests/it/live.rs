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

/// A change to the file of one probe, and what its cell has to say of it.
struct Plant {
    probe: &'static str,
    from: &'static str,
    to: &'static str,
    code: &'static str,
    suspect: &'static str,
}

const PLANTS: [Plant; 6] = [
    Plant {
        probe: "basic_text",
        from: "text = [\"{prompt.marker}\"]",
        to: "text = [\"something else\"]",
        code: "answer-wrong",
        suspect: "provider",
    },
    Plant {
        probe: "thinking",
        from: "larger.\"] }",
        to: "larger.\"], signed = false }",
        code: "thinking-unsigned",
        suspect: "provider",
    },
    Plant {
        probe: "tool_use_roundtrip",
        from: "content = \"{marker}\\n\"",
        to: "content = \"\"",
        code: "tool-result-wrong",
        suspect: "harness",
    },
    Plant {
        probe: "interleaved_thinking_tool",
        from: "{ thinking = { pieces = [\"The file has to be read first. \", \"Its path is given, \", \"so one Read call is enough.\"] } },",
        to: "",
        code: "thinking-absent",
        suspect: "provider",
    },
    Plant {
        probe: "subagent_task",
        from: "name = \"Agent\", fragments = 5, input = { description = \"Read the report file\", subagent_type = \"file_reader\", prompt = \"Request {nonce}: read the file {workspace}/report.txt and report the code that it holds.\" }",
        to: "name = \"Read\", input = { file_path = \"{workspace}/report.txt\" }",
        code: "tool-not-called",
        suspect: "provider",
    },
    Plant {
        probe: "compact_command",
        from: "remember the code {prompt.marker} for request",
        to: "remember a code for request",
        code: "compact-lost-marker",
        suspect: "provider",
    },
];

/// All at once, in one run of all probes: each plant stands in a probe of its own.
#[test]
fn each_change_that_is_planted_into_a_probe_turns_exactly_its_cell_red() {
    let changes = PLANTS.map(|plant| (format!("{}.toml", plant.probe), plant.from, plant.to));
    let probes = probes_with(&changes.each_ref().map(|(file, from, to)| (file.as_str(), *from, *to)));
    let results = tempfile::tempdir().unwrap();
    let ran = output(ccsmoke().arg("run").arg("--probes").arg(probes.path()).arg("--results").arg(results.path()));
    assert_eq!(ran.status.code(), Some(1), "{}{}", stdout(&ran), stderr(&ran));
    let report = report(results.path());
    let outcomes = report["outcomes"].as_array().unwrap();
    assert_eq!(outcomes.len(), all_probes().len());
    for outcome in outcomes {
        let Some(plant) = PLANTS.iter().find(|plant| outcome["feature"] == plant.probe) else {
            assert_eq!(outcome["classification"], "passed", "{outcome:#}");
            continue;
        };
        assert_eq!(outcome["classification"], "harness_bug", "{outcome:#}");
        let first = &outcome["findings"][0];
        let told = (first["code"].as_str(), first["suspect"].as_str());
        assert_eq!(told, (Some(plant.code), Some(plant.suspect)), "{outcome:#}");
        assert!(!first["cites"].as_array().unwrap().is_empty(), "{first:#}");
        let line = format!("regression: scripted/sonnet {}: harness_bug", plant.probe);
        assert!(stdout(&ran).contains(&line), "{}", stdout(&ran));
    }
}

#[test]
fn an_interrupted_run_leaves_a_valid_partial_report() {
    use std::io::{BufRead as _, BufReader};
    let probes = probes_with(&[("thinking.toml", "usage =", "pause_ms = 3000\nusage =")]);
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
