//! Clients that misbehave, through a whole run: it ends, its report is whole, the cell is named for what it is, and nothing of
//! the client lives on.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use serde_json::{Value, json};

use super::stand_in::{StandIn, ended};

/// Runs one cell with the client to this exit code, checks that it is tidy, and gives its row.
fn cell(place: &StandIn, args: &[&str], code: i32) -> Value {
    ended(place.run().args(args), code);
    place.assert_tidy();
    let row = place.row();
    let attempts = row["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), place.launches(), "{row:#}");
    assert_eq!(attempts.last().unwrap()["evidence_path"], row["evidence_path"]);
    row
}

/// Outcome, classification and exit code of a row.
fn ending(row: &Value) -> Value {
    json!([row["outcome"], row["classification"], row["cli_returncode"]])
}

/// `code suspect` of every finding.
fn findings(row: &Value) -> Vec<String> {
    let found = row["findings"].as_array().unwrap().iter();
    found.map(|f| format!("{} {}", f["code"].as_str().unwrap(), f["suspect"].as_str().unwrap())).collect()
}

#[test]
fn a_client_that_hangs_is_ended_in_time_tried_again_and_no_regression() {
    for (fail_on, code) in [("regression", 0), ("never", 0), ("any", 1)] {
        let place = StandIn::claude("echo waiting; sleep 1000");
        let row = cell(&place, &["--timeout", "1", "--retries", "1", "--fail-on", fail_on], code);
        assert_eq!(ending(&row), json!(["failed", "probe_timeout", null]));
        assert_eq!(findings(&row)[0], "client-timeout client");
        assert_eq!(row["text_verdict"]["classification"], "probe_timeout");
        assert_eq!(row["token_evidence"]["timed_out"], true);
        assert_eq!(row["stdout_excerpt"], "waiting\n", "what it had printed is kept");
        assert_eq!(row["attempts"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn a_client_that_never_asks_is_a_regression_and_not_tried_again() {
    for (fail_on, code) in [("regression", 1), ("never", 0), ("any", 1)] {
        let place = StandIn::claude("exit 0");
        let row = cell(&place, &["--retries", "3", "--fail-on", fail_on], code);
        assert_eq!(ending(&row), json!(["failed", "harness_bug", 0]));
        assert_eq!(findings(&row)[0], "no-request client");
        assert_eq!(row["attempts"].as_array().unwrap().len(), 1);
    }
}

#[test]
fn a_failed_cell_is_told_of_with_its_causes_and_its_evidence() {
    let place = StandIn::claude("echo 'error: unknown option --bare' >&2; exit 1");
    let (out, err) = ended(&mut place.run(), 1);
    insta::assert_snapshot!(place.filtered(&out), @r#"
                scripted/sonnet
    claude      2.1.329
    basic_text  ✗ harness_bug

    ✗ scripted/sonnet basic_text (claude 2.1.329): harness_bug
      broken · client · no-request
        no inference request reached the tap
        see launch 1 stderr
      broken · client · client-exit-code
        launch 1 ended with exit code 1: error: unknown option --bare
        see launch 1
      broken · harness · text-verdict-floor
        the text verdict is harness_bug by the rule no-request-reached-the-gateway
        see probes/rules.toml
      evidence [HERE]/results/ccsmoke-matrix-main-[TIME]/scripted-sonnet-basic_text-2.1.329-[HASH]/attempt-1/evidence.json

    1 failed in [T] s
    regression: scripted/sonnet basic_text: harness_bug
    report [HERE]/results/ccsmoke-matrix-main-[TIME].json
    "#);
    insta::assert_snapshot!(place.filtered(&err), @"failed  scripted/sonnet basic_text 2.1.329  harness_bug");
}

#[test]
fn a_client_that_floods_its_output_is_read_to_the_end() {
    let place = StandIn::claude("yes 'a line that nobody asked for' | head -c 1000000");
    let row = cell(&place, &[], 1);
    assert_eq!(ending(&row), json!(["failed", "harness_bug", 0]));
    assert_eq!(row["stdout_excerpt"].as_str().unwrap().chars().count(), 2400);
    assert!(findings(&row).contains(&"client-output-unreadable client".to_owned()), "{row:#}");
}

#[test]
fn a_client_that_prints_garbage_cannot_command_the_terminal() {
    let place =
        StandIn::claude(r#"printf '\377\376{"type":\033[2J\033]0;title\007\n'; printf '\033[31mred\n' >&2; exit 3"#);
    let (out, err) = ended(&mut place.run(), 1);
    assert!(!format!("{out}{err}").contains(|c: char| c.is_control() && c != '\n'), "{out}{err}");
    place.assert_tidy();
    let row = place.row();
    assert_eq!(ending(&row), json!(["failed", "harness_bug", 3]));
    assert!(row["stdout_excerpt"].as_str().unwrap().starts_with("\u{fffd}\u{fffd}{"), "{row:#}");
    assert!(out.contains("\\u{1b}[31mred"), "its words are shown, made harmless: {out}");
}

#[test]
fn a_client_that_leaves_processes_in_sessions_of_their_own_is_cleaned_up_after() {
    let place = StandIn::claude("setsid sleep 1000 & setsid sh -c 'trap \"\" TERM HUP; sleep 1000 & wait' & exit 0");
    let row = cell(&place, &[], 1);
    assert!(findings(&row).contains(&"client-leftovers client".to_owned()), "{row:#}");
    assert_eq!(row["cli_returncode"], 0);
}

#[test]
fn a_client_that_something_else_killed_is_said_to_be_so() {
    let place = StandIn::claude("kill -KILL $$");
    let row = cell(&place, &[], 1);
    // By text alone nothing was ever asked, and the verdict is never kinder than that.
    assert_eq!(ending(&row), json!(["failed", "harness_bug", null]));
    assert!(findings(&row).contains(&"client-killed environment".to_owned()), "{row:#}");
}

#[test]
fn a_client_that_ignores_the_request_to_end_is_ended_by_force() {
    let place = StandIn::claude("trap '' TERM INT HUP; while :; do sleep 1; done");
    let row = cell(&place, &["--timeout", "1"], 0);
    assert_eq!(ending(&row), json!(["failed", "probe_timeout", null]));
}

#[test]
fn events_are_json_lines_in_order_and_nothing_else_is_said() {
    let place = StandIn::claude("[ \"$TERM\" = dumb ] && sleep 1000");
    let probes = ["--probe", "thinking", "--timeout", "1", "--retries", "1", "--message-format", "json"];
    let (out, err) = ended(place.run().args(probes), 0);
    assert_eq!(err, "");
    let events: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&str> = events.iter().map(|e| e["event"].as_str().unwrap()).collect();
    assert_eq!((names[0], *names.last().unwrap()), ("run_started", "run_finished"));
    let cells = ["scripted/sonnet basic_text 2.1.329", "scripted/sonnet thinking 2.1.329"];
    assert_eq!(events[0]["cells"], json!(cells));
    for cell in cells {
        let of_cell: Vec<Value> = events
            .iter()
            .filter(|e| e["cell"] == cell)
            .map(|e| json!([e["event"], e["attempt"], e["row"]["classification"]]))
            .collect();
        let expected = [
            json!(["cell_started", 1, null]),
            json!(["cell_started", 2, null]),
            json!(["cell_finished", null, "probe_timeout"]),
        ];
        assert_eq!(of_cell, expected, "{cell}");
    }
    let report = place.report();
    let path = events.last().unwrap()["report"].as_str().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&std::fs::read(path).unwrap()).unwrap(), report);
    let rows: Vec<&Value> = report["outcomes"].as_array().unwrap().iter().collect();
    for event in events.iter().filter(|e| e["event"] == "cell_finished") {
        assert!(rows.contains(&&event["row"]), "the row of the event is the row of the report");
    }
}

/// A run whose clients report to a pipe that they hold open for as long as they live.
struct Interrupted {
    place: StandIn,
    child: std::process::Child,
    lines: std::io::Lines<BufReader<File>>,
}

impl Interrupted {
    fn start() -> Self {
        let place = StandIn::empty();
        let pipe = place.path("pipe");
        mkfifo(&pipe, Mode::S_IRWXU).unwrap();
        let version = r#"[ "$1" = --version ] && { echo "2.1.329 (Claude Code)"; exit 0; }"#;
        let hold = format!("exec 9> '{}'; trap 'echo asked to end >&9' TERM; echo up >&9", pipe.display());
        place.script("claude", &format!("{version}\n{hold}\nwhile :; do sleep 1000 & wait; done"));
        let child = place.run().stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(File::open(pipe).unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "up");
        Self { place, child, lines }
    }

    fn interrupt(&mut self) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGINT).unwrap();
    }
}

#[test]
fn an_interrupt_ends_the_clients_and_leaves_a_partial_report() {
    let mut run = Interrupted::start();
    run.interrupt();
    assert_eq!(run.lines.next().unwrap().unwrap(), "asked to end");
    assert!(run.lines.next().is_none(), "it was ended by force");
    let Interrupted { place, child, .. } = run;
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    place.assert_tidy();
    let report = place.report();
    assert_eq!((&report["interrupted"], &report["outcomes"]), (&json!(true), &json!([])));
    assert_eq!(report["not_run"], json!(["scripted/sonnet basic_text 2.1.329"]));
    insta::assert_snapshot!(place.filtered(&String::from_utf8(output.stdout).unwrap()), @r#"
    1 not run in [T] s (interrupted)
    report [HERE]/results/ccsmoke-matrix-main-[TIME].json
    "#);
    // Nothing in it can be judged.
    ended(crate::support::ccsmoke().arg("judge").arg(place.results()), 3);
}

#[test]
fn a_second_interrupt_ends_at_once_and_nothing_survives() {
    let mut run = Interrupted::start();
    run.interrupt();
    assert_eq!(run.lines.next().unwrap().unwrap(), "asked to end");
    let asked = Instant::now();
    run.interrupt();
    assert_eq!(run.child.wait().unwrap().code(), Some(130));
    assert!(run.lines.next().is_none(), "every client has let go of the pipe");
    assert!(asked.elapsed() < Duration::from_secs(3), "it did not wait for the client's grace");
    // The supervisor itself needs a moment to leave.
    while run.place.survivors() > 0 {
        assert!(asked.elapsed() < Duration::from_secs(10), "processes are left");
    }
}
