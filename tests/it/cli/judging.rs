//! `ccsmoke judge`: stored results and captured text.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::Stdio;

use serde_json::{Value, json};

use super::stand_in::{StandIn, ended, write};
use crate::support::{ccsmoke, report_path};

/// A run of two probes with a client that only prints.
fn run() -> StandIn {
    let place = StandIn::claude("echo hello");
    ended(place.run().args(["--probe", "thinking"]), 1);
    place
}

/// What `ccsmoke judge` says of a path in the results, with its exit code.
fn judged(place: &StandIn, name: &str, code: i32) -> String {
    let (out, err) = ended(ccsmoke().arg("judge").arg(place.results().join(name)), code);
    place.filtered(&format!("{out}{err}"))
}

/// Writes the report again, changed, under another name.
fn changed(place: &StandIn, name: &str, change: impl FnOnce(&mut Value)) {
    let mut report = place.report();
    change(&mut report);
    write(&place.results().join("other").join(name), report.to_string());
}

#[test]
fn a_report_is_judged_again_as_it_was_and_nothing_is_launched() {
    let place = run();
    let before = place.written();
    let launches = place.launches();
    let report = report_path(&place.results());
    let name = report.file_name().unwrap().to_str().unwrap();
    let said = judged(&place, name, 1);
    assert!(said.contains("2 failed") && !said.contains("otherwise"), "{said}");
    assert_eq!(judged(&place, "", 1), said, "the folder's newest report is that one");
    let (lines, _) = ended(ccsmoke().arg("judge").arg(&report).args(["--format", "json", "--fail-on", "never"]), 0);
    let rows: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(json!(rows), place.report()["outcomes"]);
    assert_eq!(place.written(), before, "judging writes nothing");
    assert_eq!(place.launches(), launches);
}

#[test]
fn the_newest_report_of_a_folder_is_judged() {
    let place = run();
    let mut report = place.report();
    report["outcomes"].as_array_mut().unwrap().truncate(1);
    let (old, new) = ("ccsmoke-matrix-z-5.json", "ccsmoke-matrix-a-9999999999.json");
    write(&place.results().join(old), "not read");
    write(&place.results().join("ccsmoke-matrix-a-99999999999.json.bak"), "not read");
    write(&place.results().join(new), report.to_string());
    let said = judged(&place, "", 1);
    assert!(said.contains("1 failed") && said.contains(new), "{said}");
}

#[test]
fn one_evidence_file_is_judged_by_itself() {
    let place = run();
    let row = &place.report()["outcomes"][0];
    let said = judged(&place, row["evidence_path"].as_str().unwrap(), 1);
    let verdict: Value = serde_json::from_str(&said).unwrap();
    for key in ["probe", "full_model", "outcome", "classification", "findings", "text_verdict", "token_evidence"] {
        assert_eq!(verdict[key], row[key], "{key}");
    }
}

#[test]
fn what_is_judged_otherwise_than_stored_is_said() {
    let place = run();
    let relative = place.report()["outcomes"][0]["evidence_path"].as_str().unwrap().to_owned();
    changed(&place, "r.json", |report| {
        report["outcomes"].as_array_mut().unwrap().truncate(1);
        let row = &mut report["outcomes"][0];
        (row["classification"], row["outcome"]) = (json!("passed"), json!("passed"));
        row["evidence_path"] = json!(format!("../{relative}"));
    });
    let said = judged(&place, "other/r.json", 1);
    assert!(
        said.ends_with("judged otherwise than stored: scripted/sonnet basic_text: passed → harness_bug\n"),
        "{said}"
    );
}

#[test]
fn what_cannot_be_judged_is_named() {
    let place = run();
    insta::assert_snapshot!(judged(&place, "nothing.json", 2), @r#"
    error: [HERE]/results/nothing.json: cannot be read: No such file or directory (os error 2)
      give a report (results/ccsmoke-matrix-….json), an evidence file, or the results folder
    "#);
    write(&place.results().join("other/text.json"), "hello");
    insta::assert_snapshot!(judged(&place, "other/text.json", 2), @"error: [HERE]/results/other/text.json: is not a matrix report: not JSON: expected value at line 1 column 1");
    changed(&place, "newer.json", |report| report["schema_version"] = json!(2));
    insta::assert_snapshot!(judged(&place, "other/newer.json", 2), @"error: [HERE]/results/other/newer.json: has schema_version 2, and this ccsmoke reads up to 1: use the ccsmoke that wrote it, or a newer one");
    changed(&place, "alone.json", |_| ());
    insta::assert_snapshot!(judged(&place, "other/alone.json", 2), @"error: [HERE]/results/other/ccsmoke-matrix-main-[TIME]/scripted-sonnet-basic_text-2.1.329-[HASH]/attempt-1/evidence.json: the evidence of scripted/sonnet basic_text is not there; keep the folder of evidence beside its report");
    changed(&place, "unknown.json", |report| report["outcomes"][0]["probe"] = json!("juggling"));
    insta::assert_snapshot!(judged(&place, "other/unknown.json", 2), @r#"error: the report speaks of a probe "juggling", which is not among these; see --probes"#);
    changed(&place, "half.json", |report| drop(report.as_object_mut().unwrap().remove("outcomes")));
    let said = judged(&place, "other/half.json", 2);
    // Where the text ends depends on the times in it.
    insta::assert_snapshot!(said.split(" at line ").next().unwrap(), @"error: [HERE]/results/other/half.json: is not a matrix report: missing field `outcomes`");
    let empty = place.path("tmp");
    insta::assert_snapshot!(judged(&place, empty.to_str().unwrap(), 3), @"error: [HERE]/tmp: holds no matrix report (*-matrix-*.json)");
}

/// The vectors: the cases, a line each, and what is expected of each.
fn vectors() -> (String, Vec<Value>) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/seed_verdicts.jsonl");
    let vectors: Vec<Value> =
        std::fs::read_to_string(path).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let cases: Vec<String> = vectors.iter().map(|v| v["input"].to_string()).collect();
    (cases.join("\n") + "\n", vectors.into_iter().map(|v| v["expected"].clone()).collect())
}

#[test]
fn captured_text_is_judged_line_by_line() {
    let place = StandIn::empty();
    let (cases, expected) = vectors();
    write(&place.path("cases.jsonl"), cases);
    let (from_file, _) = ended(ccsmoke().args(["judge", "--text"]).arg(place.path("cases.jsonl")), 0);
    let stdin = File::open(place.path("cases.jsonl")).unwrap();
    let (from_stdin, _) = ended(ccsmoke().args(["judge", "--text", "-"]).stdin(stdin), 0);
    assert_eq!(from_file, from_stdin);
    assert_eq!((from_file.lines().count(), expected.len()), (240, 240));
    for (line, expected) in from_file.lines().zip(expected) {
        let verdict: Value = serde_json::from_str(line).unwrap();
        assert_eq!(verdict.to_string(), line, "the keys are sorted");
        for (key, value) in expected.as_object().unwrap() {
            let Value::Object(counts) = value else {
                assert_eq!(&verdict[key], value, "{line}");
                continue;
            };
            counts.iter().for_each(|(count, value)| assert_eq!(&verdict[key][count], value, "{count}: {line}"));
        }
    }
}

#[test]
fn a_line_that_is_no_case_is_named_with_its_file_and_number() {
    let place = StandIn::empty();
    let (cases, _) = vectors();
    let first = cases.lines().next().unwrap();
    write(&place.path("cases.jsonl"), format!("{first}\n\n{{\"stdout\": 3}}\n"));
    let (out, err) = ended(ccsmoke().args(["judge", "--text"]).arg(place.path("cases.jsonl")), 2);
    assert_eq!(out.lines().count(), 1, "what was judged before is told");
    insta::assert_snapshot!(place.filtered(&err), @r#"
    error: [HERE]/cases.jsonl:3:12: `stdout`: invalid type: integer `3`, expected a string
    a case is one JSON object on one line, with the keys stdout, stderr, log_delta, marker, returncode, timed_out, requires_tool_result, requires_agent, requires_task, requires_compact
    "#);
    insta::assert_snapshot!(ended(ccsmoke().args(["judge", "--text", "-"]).stdin(Stdio::null()), 3).1, @"error: there was no case to judge");
    insta::assert_snapshot!(place.filtered(&ended(ccsmoke().args(["judge", "--text"]).arg(place.path("none")), 2).1), @"error: [HERE]/none: cannot be read: No such file or directory (os error 2)");
    write(&place.path("blank"), "\n\n");
    ended(ccsmoke().args(["judge", "--text"]).arg(place.path("blank")), 3);
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let place = StandIn::empty();
    // More than the pipe holds, so that the writer notices.
    let mut file = File::create(place.path("cases.jsonl")).unwrap();
    let (cases, _) = vectors();
    (0..10).for_each(|_| file.write_all(cases.as_bytes()).unwrap());
    drop(file);
    let mut child = ccsmoke()
        .args(["judge", "--text"])
        .arg(place.path("cases.jsonl"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.starts_with('{'));
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(0), b"".as_slice()));
}

#[test]
fn the_committed_sample_is_judged_as_it_was() {
    let (out, _) = ended(ccsmoke().args(["judge", "results/sample"]), 0);
    assert!(out.contains("8 passed") && !out.contains("otherwise"), "{out}");
}
