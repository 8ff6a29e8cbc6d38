//! Gateways that are started for a load, with a source of answers behind them.

use std::path::Path;

use ccsmoke::load::metrics::Metric;

use super::{Suite, report, shown};
use crate::support::ccsmoke;

/// The profile of our own gateway, which the built program starts.
fn profile(folder: &Path, start: &str) -> std::path::PathBuf {
    let path = folder.join("own.toml");
    let program = env!("CARGO_BIN_EXE_ccsmoke");
    let text = format!(
        "upstream = \"anthropic\"\nstart = [{program:?}, \"gateway\", \"--port\", \"{{port}}\", \"--upstream\", \"{{upstream}}\"{start}]\n\
         ready = \"/_ccsmoke/ready\"\nauth_token = \"{{master_key}}\"\nmodels = [\"claude-a\", \"claude-b\"]\n"
    );
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_gateway_is_started_for_the_run_and_what_it_added_is_known() {
    let suite = Suite::arrivals(40, "1s", "\"gw.chunk_delay\" = [\"p50 < 2s\"], errors = [\"count == 0\"]");
    let own = profile(suite.folder.path(), "");
    let mut command = ccsmoke();
    command.args(["load", "--threads", "1", "--first", "5ms", "--pieces", "4", "--gap", "1ms", "--gateway"]).arg(own);
    let output = command.arg("--results").arg(suite.results()).arg(suite.path()).output().unwrap();
    let printed = shown(&output);
    assert_eq!(output.status.code(), Some(0), "{printed}");
    let report = report(&suite.results());
    let all = report.scenarios[0].all();
    assert_eq!((all.counters.ok, all.counters.tokens_out), (40, 160), "{printed}");
    assert!(all.times[Metric::GwTtftAdded].count() > 0, "{printed}");
    assert!(printed.contains("own (with a source of answers behind it)"), "{printed}");
    let models: Vec<&str> = report.scenarios[0].views.iter().filter_map(|v| v.tags.model.as_deref()).collect();
    assert_eq!(models, ["claude-a", "claude-b"], "those of the profile are asked");
}

#[test]
fn a_target_of_the_configuration_that_is_started_is_started_and_conversations_go_through_it() {
    let folder = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_ccsmoke");
    let config = format!(
        "[[target]]\nname = \"mine\"\nupstream = \"anthropic\"\n\
         start = [{program:?}, \"gateway\", \"--port\", \"{{port}}\", \"--upstream\", \"{{upstream}}\"]\nready = \"/_ccsmoke/ready\"\n"
    );
    std::fs::write(folder.path().join("ccsmoke.toml"), config).unwrap();
    let mut command = ccsmoke();
    command.args(["replay", "--think", "0", "--target", "mine", "--first", "1ms", "--pieces", "2", "--results"]);
    let output = command.arg(folder.path().join("results")).current_dir(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
    let sessions = &report(&folder.path().join("results")).scenarios[0].sessions;
    assert_eq!(sessions.values().map(|s| s.ok).sum::<u64>(), 10);
}

#[test]
fn a_gateway_that_does_not_come_up_is_told_with_what_it_said_and_nothing_is_sent() {
    let suite = Suite::arrivals(10, "1s", "");
    let own = profile(suite.folder.path(), ", \"--fault\", \"no-such-fault\"");
    let mut command = ccsmoke();
    command.args(["load", "--gateway"]).arg(own).arg("--results").arg(suite.results()).arg(suite.path());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(13), "{}", shown(&output));
    assert!(shown(&output).contains("no-such-fault"), "{}", shown(&output));
    assert!(super::reports(&suite.results()).is_empty());
}

#[test]
fn how_answers_come_can_be_said_only_where_there_is_a_source_of_them() {
    let suite = Suite::arrivals(10, "1s", "");
    let output = suite.command("http://127.0.0.1:9").args(["--first", "1ms"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", shown(&output));
    assert!(shown(&output).contains("--gateway"), "{}", shown(&output));
}
