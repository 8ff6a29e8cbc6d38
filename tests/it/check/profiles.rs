//! `ccsmoke check` as a person runs it: with the profiles of the documentation, and on a gateway that runs already.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::support::{ccsmoke, output, stderr, stdout};

/// A port that is free now.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A profile of the documentation with some texts replaced, in a folder of its own. It starts the program under test.
fn profile(name: &str, replaced: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
    let mut text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).unwrap();
    for (from, to) in replaced {
        assert!(text.contains(from), "{name} does not hold {from:?}");
        text = text.replace(from, to);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    let own = Path::new(env!("CARGO_BIN_EXE_ccsmoke")).parent().unwrap();
    std::fs::write(&path, format!("search = [\"{}\"]\n{text}", own.display())).unwrap();
    (folder, path)
}

/// A check whose report is JSON.
fn check() -> Command {
    let mut command = ccsmoke();
    command.args(["check", "--format", "json"]);
    command
}

/// The report's verdict and message of a check.
fn row(out: &Output, id: &str) -> (String, String) {
    let report: Value = serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {}", stderr(out)));
    let row = report["checks"].as_array().unwrap().iter().find(|row| row["id"] == id).unwrap();
    ["verdict", "message"].map(|key| row[key].as_str().unwrap().to_owned()).into()
}

#[test]
fn the_reference_profile_of_the_documentation_finds_nothing_wrong_with_the_reference() {
    let port = free_port().to_string();
    let (_folder, path) = profile("reference.toml", &[("41871", &port)]);
    // The largest bodies take long in a program that is not optimised.
    let out = output(check().arg("--gateway").arg(path).args(["--skip", "largest-body,too-large"]));
    assert_eq!(out.status.code(), Some(0), "{}{}", stdout(&out), stderr(&out));
    for (id, words) in [
        (
            "health",
            "status healthy, provider-1 up, provider-2 up, by default provider-1, chain provider-1 → provider-2",
        ),
        ("metrics", "8 counters moved by what 2 requests were"),
        ("audit", "2 requests, each there once"),
        ("fallback", "a refused connection, 500, 429, 529, no answer in time: another provider answers"),
    ] {
        let (verdict, message) = row(&out, id);
        assert!(verdict == "passed" && message.contains(words), "{id}: {verdict}: {message}");
    }
}

#[test]
fn counters_in_prometheus_text_are_read_by_their_names() {
    let only = |path: PathBuf| output(check().arg("--gateway").arg(path).args(["--only", "metrics"]));
    let (_folder, path) = profile("reference-prometheus.toml", &[]);
    let (verdict, message) = row(&only(path), "metrics");
    assert!(verdict == "passed" && message.contains("8 counters"), "{verdict}: {message}");

    for (flaw, words) in [
        ("counts-twice", "model_requests moved by 4, not by 2"),
        ("forgets-cache", "cache_read_tokens moved by 0, not by 666"),
        ("wrong-cost", "cost moved by 0.011316, not by 0.00985"),
        ("no-latency", "the average latency is 0"),
    ] {
        let flawed = format!("\"--telling\", \"--telling-flaw\", \"{flaw}\"");
        let (_folder, path) = profile("reference-prometheus.toml", &[("\"--telling\"", &flawed)]);
        let out = only(path);
        let (verdict, message) = row(&out, "metrics");
        assert!(out.status.code() == Some(1) && verdict == "failed" && message.contains(words), "{flaw}: {message}");
    }
}

/// A gateway that runs already, and ends with this.
struct Gateway {
    child: Child,
    url: String,
}

impl Gateway {
    /// Starts the reference gateway in front of a provider at that port, which may be there only later.
    fn start(port: u16, further: &[&str]) -> Self {
        let mut command = ccsmoke();
        command.args(["gateway", "--upstream", &format!("http://127.0.0.1:{port}")]).args(further);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.split_whitespace().nth(2).unwrap().to_owned();
        Self { child, url }
    }

    /// Checks it on both sides.
    fn check(&self, port: u16, only: &str) -> Output {
        let port = port.to_string();
        output(check().args([&self.url, "--upstream", "anthropic", "--upstream-port", &port, "--only", only]))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn a_running_gateway_whose_provider_is_ours_is_compared_on_both_sides() {
    let port = free_port();
    let out = Gateway::start(port, &[]).check(port, "stream,betas,unknown-fields,error-status,no-key");
    assert_eq!(out.status.code(), Some(0), "{}{}", stdout(&out), stderr(&out));
    let report: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(report["both_sides"], true);
    assert!(row(&out, "unknown-fields").1.contains("it arrives as it was sent"), "{report:#}");

    // What only the other side shows.
    let port = free_port();
    let out = Gateway::start(port, &["--fault", "anthropic-beta-dropped"]).check(port, "betas");
    let (verdict, message) = row(&out, "betas");
    assert!(verdict == "failed" && message.contains("anthropic-beta lost"), "{message}");
}

#[test]
fn a_translating_gateway_whose_provider_is_ours_is_compared_by_meaning() {
    let port = free_port();
    let gateway = Gateway::start(port, &["--openai"]);
    let port = port.to_string();
    let args = ["--upstream", "openai", "--upstream-port", &port, "--only", "plain,stream,tools,pings"];
    let out = output(check().arg(&gateway.url).args(args));
    assert_eq!(out.status.code(), Some(0), "{}{}", stdout(&out), stderr(&out));
    assert_eq!(row(&out, "pings").0, "not_applicable");
}

#[test]
fn the_scripted_provider_behind_a_url_needs_a_port_that_is_free() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for (args, words) in [
        (vec!["--upstream", "anthropic"], "give --upstream-port PORT"),
        (vec!["--upstream-port", "4000"], "only with --upstream anthropic or openai"),
        (vec!["--upstream", "anthropic", "--upstream-port", &port], port.as_str()),
        (vec!["--upstream", "bedrock", "--upstream-port", "4000"], "`live`, `anthropic` or `openai`"),
    ] {
        let out = output(ccsmoke().args(["check", "http://127.0.0.1:1"]).args(&args));
        assert!(out.status.code() == Some(2) && stderr(&out).contains(words), "{args:?}: {}", stderr(&out));
    }
    for what in
        [["check", "--target", "scripted"], ["check", "--gateway", "nginx-tuned"], ["run", "--gateway", "nginx-tuned"]]
    {
        let out = output(ccsmoke().args(what).args(["--upstream", "anthropic", "--upstream-port", "4000"]));
        let refused = stderr(&out).contains("are for a gateway at a URL");
        assert!(out.status.code() == Some(2) && refused, "{what:?}: {}", stderr(&out));
    }
}
