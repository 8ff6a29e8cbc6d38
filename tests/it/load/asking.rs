//! What a suite can ask: APIs, credentials, models of the target, scenarios that begin later, bursts.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread::JoinHandle;

use ccsmoke::load::answers::Fault;
use ccsmoke::load::metrics::Metric;

use super::{Source, Suite, shown};
use crate::support::ccsmoke;

#[test]
fn responses_are_asked_for_and_checked_whole_and_streamed() {
    let source = Source::with(Fault::None, 1);
    let suite = Suite::arrivals(40, "500ms", "errors = [\"count == 0\"]");
    let output = suite.command(&source.url()).args(["--api", "openai-responses"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
    let report = super::report(&suite.results());
    let all = report.scenarios[0].all();
    assert_eq!((all.counters.ok, all.counters.tokens_out), (20, 160));
    assert!(all.times[Metric::GwChunkDelay].count() > 0, "pieces are stamped");
    let cut = Source::with(Fault::Cut, 1);
    let suite = Suite::arrivals(40, "500ms", "");
    let output = suite.command(&cut.url()).args(["--api", "openai-responses"]).output().unwrap();
    assert_eq!(output.status.code(), Some(10), "{}", shown(&output));
}

#[test]
fn a_stream_of_chat_completions_counts_tokens_only_for_whoever_asks() {
    let source = Source::with(Fault::None, 1);
    let address = source.url().trim_start_matches("http://").to_owned();
    for (options, counted) in
        [("{\"include_usage\":true}", true), ("{}", false), ("null", false), ("{\"include_usage\":null}", false)]
    {
        let body = format!("{{\"model\":\"m\",\"stream\":true,\"stream_options\":{options},\"messages\":[]}}");
        let mut stream = std::net::TcpStream::connect(&address).unwrap();
        let head = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("[DONE]"), "{answer}");
        assert_eq!(answer.contains("completion_tokens"), counted, "{answer}");
    }
}

#[test]
fn models_are_those_that_the_target_lists_but_for_those_of_a_file() {
    let source = Source::with(Fault::None, 1);
    let suite = Suite::arrivals(40, "500ms", "");
    std::fs::write(suite.folder.path().join("filter.txt"), "# not these\nmodel-b # as it is slow\n").unwrap();
    suite.change("models = [\"one\", \"two\"]", "models_exclude = \"filter.txt\"");
    let (exit, report, printed) = suite.run(&source.url());
    assert_eq!(exit, 0, "{printed}");
    let models: Vec<&str> = report.scenarios[0].views.iter().filter_map(|v| v.tags.model.as_deref()).collect();
    assert_eq!(models, ["model-a"]);
}

#[test]
fn a_scenario_begins_after_its_start_and_counts_from_there() {
    let source = Source::with(Fault::None, 1);
    let suite = Suite::new(
        "order = \"parallel\"\nscenario = [\
         { name = \"now\", load = { arrivals = { rate = \"20/s\", for = \"500ms\" } }, mix = [{ stream = false }] }, \
         { name = \"open\", start = \"700ms\", load = { arrivals = { rate = \"20/s\", for = \"500ms\" } }, mix = [{ stream = false }] }, \
         { name = \"closed\", start = \"700ms\", load = { users = { users = 1, for = \"300ms\" } }, mix = [{ stream = false }] }]\n",
    );
    let began = std::time::Instant::now();
    let (exit, report, printed) = suite.run(&source.url());
    assert_eq!(exit, 0, "{printed}");
    assert!(began.elapsed().as_millis() > 1100, "{printed}");
    for record in &report.scenarios {
        assert!(record.all().counters.ok > 0, "{printed}");
        // Times count from the scenario's own start, or every request would be 700 ms late.
        let from_plan = record.all().times[Metric::E2eFromPlan].max();
        let service = record.all().times[Metric::E2e].max();
        assert!(from_plan < service + 600_000, "{}: {from_plan} {service}", record.name);
    }
    assert_eq!(report.scenarios[1].planned, 10);
}

/// A server that answers 204 to everything, each connection once, and gives the requests that it got.
fn sink(requests: usize) -> (String, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let served = std::thread::spawn(move || {
        let mut seen = Vec::new();
        while seen.len() < requests {
            let (mut stream, _) = listener.accept().unwrap();
            let mut text = Vec::new();
            let mut buffer = [0; 4096];
            // The first connection only looks whether somebody listens.
            loop {
                let read = stream.read(&mut buffer).unwrap_or(0);
                text.extend_from_slice(&buffer[..read]);
                let whole = String::from_utf8_lossy(&text).into_owned();
                if read == 0 {
                    break;
                }
                if let Some((_, body)) = whole.split_once("\r\n\r\n")
                    && body.len() >= "{\"a\": 1}".len()
                {
                    seen.push(whole);
                    stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
                    break;
                }
            }
        }
        seen
    });
    (url, served)
}

#[test]
fn raw_bodies_are_posted_as_they_are_with_the_credential_in_the_header_that_is_named() {
    let (url, served) = sink(4);
    let suite = Suite::new(
        "scenario = [{ name = \"s\", load = { arrivals = { rate = \"8/s\", for = \"500ms\" } }, mix = [{ prompt = [\"short\"] }] }]\n",
    );
    suite.change(
        "api = \"openai_chat\"",
        "api = \"raw\"\npath = \"/v1/embed\"\nauth_header = \"x-key\"\nconnections = \"new\"",
    );
    suite.change("tokens = [\"a\", \"b\"]", "tokens = [\"${TOKENS:-one, two}\"]");
    suite.change("texts = [\"Hello?\"]", "texts = ['{\"a\": 1}']");
    let (exit, report, printed) = suite.run(&url);
    assert_eq!((exit, report.scenarios[0].all().counters.ok), (0, 4), "{printed}");
    assert_eq!(report.scenarios[0].all().times[Metric::Connect].count(), 4, "each has a connection of its own");
    let seen = served.join().unwrap();
    assert!(
        seen.iter()
            .all(|request| request.starts_with("POST /v1/embed HTTP/1.1\r\n") && request.ends_with("{\"a\": 1}"))
    );
    let keys = |key: &str| seen.iter().filter(|request| request.contains(&format!("x-key: {key}\r\n"))).count();
    assert_eq!((keys("one"), keys("two")), (2, 2), "in rotation: {seen:?}");
    assert!(!seen.iter().any(|request| request.contains("authorization")));
}

#[test]
fn bursts_follow_from_the_seed() {
    let source = Source::with(Fault::None, 1);
    let suite = Suite::new(
        "scenario = [{ name = \"s\", load = { arrivals = { rate = \"40/s\", for = \"1s\", process = \"gamma\", shape = 0.3 } }, \
         mix = [{ stream = false }] }]\n",
    );
    let (exit, report, printed) = suite.run(&source.url());
    let planned = report.scenarios[0].planned;
    assert_eq!(exit, 0, "{printed}");
    assert!((10..110).contains(&planned), "{planned}");
    let plan = suite.command(&source.url()).arg("--plan").output().unwrap();
    assert!(shown(&plan).contains(&format!("{planned} requests")), "{}", shown(&plan));
}

#[test]
fn users_are_done_after_so_many_requests_each_or_together() {
    let source = Source::with(Fault::None, 1);
    for (users, sent) in [("users = 3, each = 4", 12), ("users = 3, total = 10", 10)] {
        let suite = Suite::new(&format!(
            "scenario = [{{ name = \"s\", load = {{ users = {{ {users}, for = \"1m\" }} }}, mix = [{{ stream = false }}] }}]\n"
        ));
        let (exit, report, printed) = suite.run(&source.url());
        assert_eq!((exit, report.scenarios[0].all().counters.ok), (0, sent), "{users}: {printed}");
    }
}

#[test]
fn options_of_k6_become_a_suite_that_can_be_run_and_what_is_left_out_is_said() {
    let source = Source::with(Fault::None, 1);
    let suite = Suite::new("");
    let options = r#"{"noConnectionReuse": true, "thresholds": {"http_req_failed": ["rate<0.05"], "vus": ["value<5"]}, "scenarios": {
        "a": {"executor": "constant-arrival-rate", "rate": 40, "duration": "500ms", "preAllocatedVUs": 5},
        "b": {"executor": "shared-iterations", "vus": 2, "iterations": 6, "startTime": "100ms"}}}"#;
    let from = suite.folder.path().join("options.json");
    std::fs::write(&from, options).unwrap();
    let mut command = ccsmoke();
    let output = command.args(["load", "import"]).arg(&from).arg("--output").arg(suite.path()).output().unwrap();
    let printed = shown(&output);
    assert_eq!(output.status.code(), Some(0), "{printed}");
    assert!(printed.contains("not translated: noConnectionReuse = true"), "{printed}");
    assert!(printed.contains("not translated: thresholds.\"vus\""), "{printed}");
    assert!(
        std::fs::read_to_string(suite.path()).unwrap().contains("#   scenarios.a.preAllocatedVUs = 5"),
        "{printed}"
    );
    let (exit, report, printed) = suite.run(&source.url());
    // Twenty answers are enough for a share of failures, and the busy machine may make the engine late.
    assert!([0, 12, 15].contains(&exit), "{printed}");
    let sent: Vec<u64> = report.scenarios.iter().map(|s| s.all().counters.ok).collect();
    assert_eq!(sent, [20, 6], "{printed}");
    let output = ccsmoke().args(["load", "import", "Cargo.toml"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", shown(&output));
}
