//! Shards of a plan, merged.

use ccsmoke::load::answers::Fault;

use super::{Source, Suite, report, reports, shown};
use crate::support::ccsmoke;

fn shard(suite: &Suite, url: &str, shard: &str, run_id: &str) {
    let output = suite.command(url).args(["--shard", shard, "--run-id", run_id]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
}

#[test]
fn merged_shards_are_the_plan_and_are_judged_as_one_run() {
    let source = Source::with(Fault::None, 1);
    let suite = Suite::arrivals(40, "500ms", "e2e = [\"p50 < 20s\"]");
    for part in ["0/3", "1/3", "2/3"] {
        // Alone each has too few samples for its median.
        let mut command = suite.command(&source.url());
        let output = command.args(["--shard", part, "--run-id", "run-a"]).output().unwrap();
        assert_eq!(output.status.code(), Some(15), "{}", shown(&output));
    }
    let merged = tempfile::tempdir().unwrap();
    let mut command = ccsmoke();
    let output = command
        .args(["load", "merge", "--results"])
        .arg(merged.path())
        .args(reports(&suite.results()))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
    let whole = report(merged.path());
    assert_eq!((whole.scenarios[0].planned, whole.scenarios[0].all().counters.ok), (20, 20));
}

#[test]
fn shards_that_do_not_belong_together_or_are_missing_are_told() {
    let source = Source::with(Fault::None, 1);
    let suite = Suite::arrivals(20, "200ms", "");
    shard(&suite, &source.url(), "0/2", "run-a");
    shard(&suite, &source.url(), "1/2", "run-b");
    let merged = tempfile::tempdir().unwrap();
    let merge = |files: &[std::path::PathBuf]| {
        let mut command = ccsmoke();
        let output = command.args(["load", "merge", "--results"]).arg(merged.path()).args(files).output().unwrap();
        (output.status.code().unwrap(), shown(&output))
    };
    let all = reports(&suite.results());
    let (exit, printed) = merge(&all);
    assert!(exit == 2 && printed.contains("the run id differs"), "{printed}");
    let (exit, printed) = merge(&[all[0].clone(), all[0].clone()]);
    assert!(exit == 2 && printed.contains("the same shard 0"), "{printed}");
    let (exit, printed) = merge(&all[..1]);
    assert!(exit == 14 && printed.contains("shards are missing: 1"), "{printed}");
}

#[test]
fn a_report_travels_through_a_log() {
    let source = Source::with(Fault::None, 1);
    let suite = Suite::arrivals(20, "200ms", "");
    let output = suite.command(&source.url()).arg("--emit-log").output().unwrap();
    let merged = tempfile::tempdir().unwrap();
    let mut command = ccsmoke();
    command.args(["load", "merge", "-", "--results"]).arg(merged.path());
    let mut child = command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), &output.stdout).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(report(merged.path()).scenarios, report(&suite.results()).scenarios);
}

#[test]
fn each_shard_can_be_asked_by_itself_and_the_whole_be_held_against_a_baseline() {
    let source = Source::with(Fault::None, 1);
    let suite = Suite::arrivals(100, "1s", "e2e = [\"p50 < 20s, scope=each_shard\", \"p50 < baseline*100\"]");
    for part in ["0/2", "1/2"] {
        let mut command = suite.command(&source.url());
        let output = command.args(["--shard", part, "--run-id", "run-a", "--undecided", "pass"]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
    }
    let shards = reports(&suite.results());
    let merge = |more: &[&str]| {
        let merged = tempfile::tempdir().unwrap();
        let mut command = ccsmoke();
        let output =
            command.args(["load", "merge", "--results"]).arg(merged.path()).args(more).args(&shards).output().unwrap();
        (output.status.code().unwrap(), shown(&output))
    };
    let (exit, printed) = merge(&[]);
    assert_eq!(exit, 15, "there is no baseline: {printed}");
    assert!(printed.contains("the worst; 2 of 2 shards hold it"), "{printed}");
    let (exit, printed) = merge(&["--baseline", shards[0].to_str().unwrap()]);
    assert_eq!(exit, 0, "{printed}");
}

#[test]
fn exit_codes_can_be_those_of_k6() {
    let fails = Source::with(Fault::Status(500), 1);
    let right = Source::with(Fault::None, 1);
    let suite = Suite::arrivals(20, "200ms", "errors = [\"count == 0\"]");
    let few = Suite::arrivals(20, "200ms", "e2e = [\"p99 < 9s\"]");
    for (suite, url, more, expected) in [
        (&suite, right.url(), vec![], 0),
        (&suite, fails.url(), vec![], 99),
        (&few, right.url(), vec![], 99),
        (&suite, "http://127.0.0.1:9".to_owned(), vec![], 107),
        (&suite, right.url(), vec!["--max-requests", "2"], 107),
        (&suite, right.url(), vec!["--baseline", "/no/such/file"], 104),
    ] {
        let output = suite.command(&url).args(["--exit-codes", "k6"]).args(&more).output().unwrap();
        assert_eq!(output.status.code(), Some(expected), "{more:?} {}", shown(&output));
    }
}
