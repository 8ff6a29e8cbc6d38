//! Requests that are written out: one after another, each held to what is expected of it.

use std::process::Command;

use ccsmoke::load::answers::Fault;
use ccsmoke::load::metrics::Failure;

use super::{Source, Suite, report, shown};
use crate::support::ccsmoke;

/// Smoke, through our own gateway with these arguments.
fn smoke(folder: &std::path::Path, more: &str) -> Command {
    let program = env!("CARGO_BIN_EXE_ccsmoke");
    let text = format!(
        "upstream = \"anthropic\"\nready = \"/_ccsmoke/ready\"\n\
         start = [{program:?}, \"gateway\", \"--port\", \"{{port}}\", \"--upstream\", \"{{upstream}}\", \"--telling\"{more}]\n"
    );
    std::fs::write(folder.join("reference.toml"), text).unwrap();
    let mut command = ccsmoke();
    command.args(["load", "smoke", "--first", "5ms", "--gap", "2ms", "--gateway"]).arg(folder.join("reference.toml"));
    command.arg("--results").arg(folder.join("results"));
    command
}

#[test]
fn the_smoke_suite_passes_with_our_own_gateway_as_it_stands() {
    let folder = tempfile::tempdir().unwrap();
    let output = smoke(folder.path(), "").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
    let record = report(&folder.path().join("results")).scenarios.remove(0);
    let counters = record.all().counters;
    assert_eq!((counters.sent, counters.ok), (6, 6), "what was looked at on the way is no request of the scenario");
    let of_model = record.views.iter().find(|v| v.tags.model.is_some()).unwrap();
    assert_eq!(of_model.counters.sent, 3, "paths and a model that is unknown belong to no model that is listed");
}

#[test]
fn a_gateway_that_counts_or_feels_wrong_fails_by_the_step_that_shows_it() {
    for (flaw, words) in [
        ("counts-twice", "counters: /requests moved by 4, not by 2"),
        ("sick", "health: /status is \"degraded\", not \"healthy\""),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let output = smoke(folder.path(), &format!(", \"--telling-flaw\", {flaw:?}")).output().unwrap();
        assert_eq!(output.status.code(), Some(10), "{}", shown(&output));
        assert!(shown(&output).contains(words), "{}", shown(&output));
        let failures = report(&folder.path().join("results")).scenarios[0].all().failures.clone();
        assert_eq!(failures.into_iter().collect::<Vec<_>>(), [(Failure::Unexpected, 1)], "{flaw}");
    }
}

/// A suite of these requests, one after another.
fn suite(requests: &str) -> Suite {
    Suite::new(&format!(
        "scenario = [{{ name = \"s\", load = {{ steps = {{}} }}, request = [{requests}] }}]\nthresholds = {{ errors = [\"count == 0\"] }}\n"
    ))
}

#[test]
fn what_is_expected_and_does_not_come_is_told() {
    for (fault, request, words) in [
        (Fault::None, "auth = \"none\", expect = { status = 401 }", "step: the status is 200, not 401"),
        (
            Fault::None,
            "auth = \"invalid\", expect = { error_shape = \"anthropic\", status = 401 }",
            "no error of Anthropic",
        ),
        (Fault::Lump, "stream = true, expect = { incremental = true }", "not incremental: 8 pieces came in"),
        (Fault::Status(500), "expect = { status = [400, 404] }", "step: the status is 500, not 400 or 404"),
        (Fault::Cut, "stream = true, expect = { order = true }", "broke off"),
    ] {
        let source = Source::with(fault, 1);
        let (exit, _, printed) =
            suite(&format!("{{ name = \"step\", prompt = \"Hello\", {request} }}")).run(&source.url());
        assert_eq!(exit, 10, "{request}: {printed}");
        assert!(printed.contains(words), "{request}: {printed}");
    }
}

#[test]
fn a_refusal_that_is_expected_is_right_and_all_at_once_too() {
    let source = Source::with(Fault::None, 1);
    let requests = "{ name = \"auth\", prompt = \"Hello\", auth = \"invalid\", expect = { error_shape = \"openai\" } }, \
                    { name = \"model\", prompt = \"Hello\", stream = true, model = \"nonexistent-model\", expect = { status = [400, 404] } }, \
                    { name = \"models\", get = \"/v1/models\", expect = { json = { \"/data/0/id\" = \"model-a\" } } }";
    let (exit, report, printed) = suite(requests).run(&source.url());
    assert_eq!((exit, report.scenarios[0].all().counters.ok), (0, 3), "{printed}");
    let at_once = Suite::new(&format!(
        "scenario = [{{ name = \"s\", load = {{ once = {{ times = 2 }} }}, request = [{requests}] }}]\nthresholds = {{ errors = [\"count == 0\"] }}\n"
    ));
    let (exit, report, printed) = at_once.run(&source.url());
    assert_eq!((exit, report.scenarios[0].all().counters.ok), (0, 6), "{printed}");
}
