//! Bad input: a clear line, the right exit code, nothing half-written.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::process::Stdio;

use ccsmoke::load::answers::Fault;

use super::{Source, Suite, reports, shown};

#[test]
fn nobody_at_the_target_is_told_before_anything_is_sent() {
    // Port 9 discards, and nobody listens there.
    let suite = Suite::arrivals(10, "1s", "");
    let output = suite.command("http://127.0.0.1:9").output().unwrap();
    assert_eq!(output.status.code(), Some(13), "{}", shown(&output));
    assert!(shown(&output).contains("http://127.0.0.1:9: no connection"), "{}", shown(&output));
    assert!(reports(&suite.results()).is_empty());
}

#[test]
fn only_this_machine_is_loaded_unless_the_configuration_allows_another() {
    let suite = Suite::arrivals(10, "1s", "");
    let aim = |url: &str| {
        let output = suite.command(url).arg("--config").arg(suite.folder.path().join("ccsmoke.toml")).output().unwrap();
        (output.status.code().unwrap(), shown(&output))
    };
    let config = |allow: &str| {
        let text = format!("[[target]]\nname = \"far\"\nurl = \"http://192.0.2.1:4000\"\n{allow}");
        std::fs::write(suite.folder.path().join("ccsmoke.toml"), text).unwrap();
    };
    config("");
    let (exit, printed) = aim("http://192.0.2.1:4000");
    assert_eq!(exit, 2);
    assert!(printed.contains("is not on this machine") && printed.contains("allow_load = true"), "{printed}");
    config("allow_load = true\n");
    let (exit, printed) = aim("http://192.0.2.2:4000");
    assert_eq!(exit, 2, "another address stays refused: {printed}");
    // That address is reserved for documentation: allowed, and nobody is there.
    let text = std::fs::read_to_string(suite.path()).unwrap() + "\n";
    std::fs::write(suite.path(), text.replace("[target]\n", "[target]\nconnect_timeout = \"200ms\"\n")).unwrap();
    let (exit, printed) = aim("http://192.0.2.1:4000/");
    assert_eq!(exit, 13, "{printed}");
}

#[test]
fn a_suite_that_does_not_exist_names_those_that_do() {
    let output = crate::support::ccsmoke().args(["load", "chatt"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(shown(&output).contains("built in are chat, replay, smoke, stress"), "{}", shown(&output));
}

#[test]
fn a_file_of_records_is_for_one_suite() {
    let output = crate::support::ccsmoke().args(["load", "chat", "stress", "--records", "x.jsonl"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(shown(&output).contains("run the suites one by one"), "{}", shown(&output));
}

#[test]
fn a_results_folder_that_cannot_be_written_is_told_and_leaves_nothing() {
    let source = Source::with(Fault::None, 1);
    let suite = Suite::arrivals(10, "200ms", "");
    let mut command = suite.command(&source.url());
    let output = command.args(["--junit", "/dev/full/x.xml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", shown(&output));
    let file = suite.folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let mut command = crate::support::ccsmoke();
    let output = command
        .args(["load", "--url", &source.url(), "--results"])
        .arg(file.join("x"))
        .arg(suite.path())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(shown(&output).contains("cannot make the results folder"), "{}", shown(&output));
}

#[test]
fn too_few_file_descriptors_are_told_before_anything_is_sent() {
    let source = Source::with(Fault::None, 1);
    let suite = Suite::new(
        "scenario = [{ name = \"s\", load = { users = { users = 500, for = \"1s\" } }, mix = [{ stream = true }] }]\n",
    );
    let inner = suite.command(&source.url());
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "ulimit -n 200 && exec \"$0\" \"$@\""]).arg(inner.get_program()).args(inner.get_args());
    limited.current_dir(env!("CARGO_MANIFEST_DIR")).env("NO_COLOR", "1").process_group(0);
    let output = limited.output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", shown(&output));
    assert!(shown(&output).contains("ulimit -n 564"), "{}", shown(&output));
}

#[test]
fn an_interrupted_run_writes_a_valid_report() {
    let source = Source::with(Fault::None, 1);
    let suite = Suite::arrivals(20, "60s", "");
    let mut command = suite.command(&source.url());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    // What it tells of the run shows that the run is on.
    let mut told = BufReader::new(child.stderr.take().unwrap());
    told.read_line(&mut String::new()).unwrap();
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    let status = child.wait_with_output().unwrap().status;
    assert_eq!(status.code(), Some(130));
    let report = super::report(&suite.results());
    assert_eq!(report.scenarios[0].planned, 1200);
    assert!(report.scenarios[0].all().counters.ok < 1200);
}
