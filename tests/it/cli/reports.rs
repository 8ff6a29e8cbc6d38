//! `ccsmoke report` and `ccsmoke results`: stored reports through the command line.

use std::fs;
use std::path::Path;
use std::process::Command;

use ccsmoke::report::MatrixReport;
use serde_json::{Value, json};

use super::stand_in::{ended, write};
use crate::support::ccsmoke;
use crate::support::reports::{first_night, hostile, second_night};

/// A results folder with these reports, each as old as its place in the list says.
fn results(reports: &[MatrixReport]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (i, report) in reports.iter().enumerate() {
        let stem = format!("ccsmoke-matrix-main-{}", 1_767_237_420 + 86_400 * i);
        write(&folder.path().join(format!("results/{stem}.json")), json!(report).to_string());
        write(&folder.path().join(format!("results/{stem}/cell/evidence.json")), "{}");
    }
    folder
}

/// `ccsmoke` in this folder.
fn in_folder(folder: &tempfile::TempDir, arguments: &[&str]) -> Command {
    let mut command = ccsmoke();
    command.current_dir(folder.path()).args(arguments);
    command
}

const OLD: &str = "results/ccsmoke-matrix-main-1767237420.json";
const NEW: &str = "results/ccsmoke-matrix-main-1767323820.json";

#[test]
fn the_newest_report_is_shown_unless_another_is_named() {
    let folder = results(&[first_night(), second_night()]);
    let show = |arguments: &[&str]| ended(&mut in_folder(&folder, &[&["report", "show"], arguments].concat()), 0).0;
    let newest = show(&[]);
    assert!(newest.ends_with(&format!("report {NEW}\n")), "{newest}");
    assert!(
        newest.contains("thinking-unsigned") && newest.contains("results/ccsmoke-matrix-main-1/litellm"),
        "{newest}"
    );
    assert_eq!(show(&["latest"]), newest);
    assert_eq!(show(&["results"]), newest);
    assert_eq!(show(&[NEW]), newest);
    assert!(show(&[OLD]).contains("answer-tool-changed"));
    assert_eq!(ended(&mut in_folder(&folder, &["report", "show", "--fail-on", "regression"]), 1).0, newest);
    let (text, _) = ended(in_folder(&folder, &["report", "show"]).env("COLUMNS", "40"), 0);
    assert!(
        text.len() > newest.len() && text.lines().any(|line| line == "claude    2.1.329")
            || text.lines().count() > newest.lines().count()
    );
}

#[test]
fn every_form_is_printed_as_itself() {
    let folder = results(&[hostile(), second_night()]);
    let show =
        |path: &str, format: &str| ended(&mut in_folder(&folder, &["report", "show", path, "--format", format]), 0).0;
    assert_eq!(serde_json::from_str::<Value>(&show(NEW, "json")).unwrap(), json!(second_night()));
    assert!(show(NEW, "markdown").starts_with("## ccsmoke: 2 failed, 5 passed"));
    assert!(show(NEW, "junit").starts_with("<?xml"));
    assert!(show(NEW, "github").starts_with("::error title=thinking-unsigned"));
    for format in ["text", "markdown", "junit", "github"] {
        assert!(!show(OLD, format).contains(['\u{1b}', '\0', '\u{202e}']), "{format}");
    }
}

#[test]
fn a_comparison_names_what_broke_and_fails() {
    let folder = results(&[first_night(), second_night()]);
    let (text, _) = ended(&mut in_folder(&folder, &["report", "diff", OLD, NEW]), 1);
    assert!(text.starts_with("newly broken: 2 cells\n") && text.contains("gateway litellm: 1.80.0 → 1.81.0"), "{text}");
    assert_eq!(ended(&mut in_folder(&folder, &["report", "diff", OLD]), 1).0, text, "the newest is the new one");
    let (same, _) = ended(&mut in_folder(&folder, &["report", "diff", NEW, "latest"]), 0);
    assert!(same.contains("still broken, for the same cause: 2 cells"), "{same}");
    let (json, _) = ended(&mut in_folder(&folder, &["report", "diff", OLD, NEW, "--format", "json"]), 1);
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["cells"].as_array().unwrap().len(), 4);
    let (markdown, _) = ended(&mut in_folder(&folder, &["report", "diff", OLD, NEW, "--format", "markdown"]), 1);
    assert!(markdown.starts_with("## ccsmoke: ❌"), "{markdown}");
}

#[test]
fn history_is_told_of_folders_and_files_and_a_bad_file_is_named() {
    let folder = results(&[first_night(), second_night()]);
    write(&folder.path().join("results/ccsmoke-matrix-main-9.json"), "{\"half\":");
    let (text, _) = ended(&mut in_folder(&folder, &["report", "trend"]), 0);
    assert!(text.contains("2 reports") && text.contains("broken since 2026-01-02T03:17:00Z"), "{text}");
    assert!(text.contains("left out: results/ccsmoke-matrix-main-9.json: is not a matrix report"), "{text}");
    let (json, err) = ended(&mut in_folder(&folder, &["report", "trend", OLD, "results", "--format", "json"]), 0);
    let trend: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(trend["nights"].as_array().unwrap().len(), 3, "a file that is named twice counts twice");
    assert!(err.contains("left out"), "{err}");
}

#[test]
fn what_cannot_be_shown_is_refused_by_name() {
    let folder = results(&[first_night()]);
    let nothing = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    fs::File::create(folder.path().join("huge.json")).unwrap().set_len(1 << 30).unwrap();
    write(&folder.path().join("foreign.json"), "{\"a\": 1}");
    let newer = json!({ "schema_version": 99 });
    write(&folder.path().join("newer.json"), newer.to_string());
    let said: Vec<String> = [
        (&folder, vec!["report", "show", "absent.json"], 2),
        (&folder, vec!["report", "show", "huge.json"], 2),
        (&folder, vec!["report", "show", "foreign.json"], 2),
        (&folder, vec!["report", "show", "newer.json"], 2),
        (&folder, vec!["report", "show", "empty"], 3),
        (&nothing, vec!["report", "show"], 2),
        (&folder, vec!["report", "diff", OLD, "foreign.json"], 2),
        (&folder, vec!["report", "trend", "empty"], 3),
        (&folder, vec!["report", "trend", "absent"], 3),
        (&folder, vec!["report", "merge", OLD], 2),
        (&folder, vec!["report", "merge", "empty"], 3),
        (&folder, vec!["results", "prune", "--keep", "1", "--results", "absent"], 2),
    ]
    .into_iter()
    .map(|(folder, arguments, code)| {
        let (out, err) = ended(&mut in_folder(folder, &arguments), code);
        format!("{}\n{out}{err}", arguments.join(" "))
    })
    .collect();
    insta::assert_snapshot!(said.join("\n"));
}

#[test]
fn old_results_are_removed_and_latest_stays() {
    let folder = results(&[first_night(), second_night(), first_night()]);
    let names = || {
        let mut names: Vec<String> = fs::read_dir(folder.path().join("results"))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    let before = names();
    let (would, _) = ended(&mut in_folder(&folder, &["results", "prune", "--keep", "1", "--dry-run"]), 0);
    assert_eq!((would.lines().count(), names()), (2, before));
    let (did, _) = ended(&mut in_folder(&folder, &["results", "prune", "--keep", "1"]), 0);
    assert_eq!(did, would.replace("would remove", "removed"));
    assert_eq!(names(), ["ccsmoke-matrix-main-1767410220", "ccsmoke-matrix-main-1767410220.json"]);
    let (nothing, _) = ended(&mut in_folder(&folder, &["results", "prune", "--keep", "1d"]), 0);
    assert_eq!(nothing, "nothing is old enough to be removed\n", "the newest stays whatever its age");
    assert!(ended(&mut in_folder(&folder, &["report", "show"]), 0).0.contains("1767410220"));
    assert!(Path::new(&folder.path().join("results")).is_dir());
}
