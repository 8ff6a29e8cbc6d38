//! What stands behind a gateway and beside it: our source of answers, asked what it saw, and the gateway's own counters.

use std::time::Duration;

use ccsmoke::load::answers::Fault;
use ccsmoke::load::metrics::Metric;
use ccsmoke::load::report::html;

use super::proxy::Gateway;
use super::{Source, Suite, report, shown};

/// Runs a suite with these further arguments, and gives the exit code, the report, and what was printed.
fn run(suite: &Suite, url: &str, more: &[&str]) -> (i32, ccsmoke::load::report::LoadReport, String) {
    let output = suite.command(url).args(more).output().unwrap();
    (output.status.code().unwrap(), report(&suite.results()), shown(&output))
}

#[test]
fn a_gateway_that_tries_again_is_told_of_by_the_calls_behind_it() {
    let source = Source::with(Fault::Status(500), 4);
    let gateway = Gateway { provider: source.url(), retries: 2, ..Gateway::default() }.start();
    let suite = Suite::arrivals(40, "1s", "errors = [\"count == 0\"], \"gw.retries\" = [\"count == 0\"]");
    let (exit, report, printed) = run(&suite, &gateway, &["--source", &source.url()]);
    // Nobody in front of the gateway saw a failure.
    let counters = report.scenarios[0].all().counters;
    assert_eq!((exit, counters.ok, counters.retries), (10, 40, 0), "{printed}");
    let behind = report.scenarios[0].behind.unwrap();
    assert_eq!((behind.tries, behind.calls), (40, 40 + behind.again()), "{printed}");
    assert!((10..=16).contains(&behind.again()) && behind.most >= 2, "{behind:?}");
    assert!(printed.contains(" beyond the first for the same try (at most 2 for one)"), "{printed}");
    assert!(html::render(&report).contains("beyond the first for the same try"));
    assert!(report.definitions["gw.retries"].contains("beyond the first"));
}

#[test]
fn our_own_tries_are_not_the_gateways() {
    let source = Source::with(Fault::Status(503), 3);
    let suite = Suite::new(
        "scenario = [{ name = \"s\", load = { arrivals = { rate = \"40/s\", for = \"500ms\" } }, mix = [{ stream = false }], \
         retry = { max = 8, base = \"1ms\", cap = \"5ms\" } }]\nthresholds = { \"gw.retries\" = [\"count == 0\"] }\n",
    );
    let (exit, report, printed) = run(&suite, &source.url(), &["--source", &source.url()]);
    let behind = report.scenarios[0].behind.unwrap();
    assert_eq!((exit, behind.again()), (0, 0), "{printed}");
    assert_eq!(behind.tries, 20 + report.scenarios[0].all().counters.retries, "{printed}");
}

#[test]
fn how_long_a_gateway_keeps_from_the_provider_that_the_client_left_is_measured() {
    let source = Source::with(Fault::Silence, 5);
    let slow = Duration::from_millis(400);
    let gateway = Gateway { provider: source.url(), slow_to_hang_up: slow, ..Gateway::default() }.start();
    let suite = Suite::arrivals(20, "1s", "errors = [\"rate < 90%\"], \"gw.abort_seen\" = [\"max < 100ms, min_n=1\"]");
    for (url, least) in [(source.url(), 0), (gateway, 400_000)] {
        let _ = std::fs::remove_dir_all(suite.results());
        let (exit, report, printed) = run(&suite, &url, &["--source", &source.url()]);
        let times = &report.scenarios[0].all().times[Metric::GwAbortSeen];
        assert_eq!(times.count(), 4, "{printed}");
        assert!((least..least + 3_000_000).contains(&times.min()), "{printed}");
        assert!(least == 0 || exit == 10, "{printed}");
        assert!(printed.contains("gw.abort_seen"), "{printed}");
        assert_eq!(report.scenarios[0].behind.unwrap().unaware, 0);
    }
}

#[test]
fn a_gateway_that_never_hangs_up_is_told_of() {
    let source = Source::with(Fault::Silence, 5);
    let never = Duration::from_secs(600);
    let gateway = Gateway { provider: source.url(), slow_to_hang_up: never, ..Gateway::default() }.start();
    let suite = Suite::arrivals(20, "500ms", "errors = [\"rate < 90%\"]");
    let (_, report, printed) = run(&suite, &gateway, &["--source", &source.url()]);
    assert_eq!(report.scenarios[0].behind.unwrap().unaware, 2, "{printed}");
    assert!(printed.contains("2 tries were still being answered seconds after we had hung up"), "{printed}");
}

#[test]
fn the_gateways_own_counters_are_held_against_ours() {
    let source = Source::with(Fault::None, 1);
    let suite = Suite::arrivals(40, "500ms", "errors = [\"count == 0\"], \"gw.metrics_diff\" = [\"count == 0\"]");
    let profile = suite.folder.path().join("gateway.toml");
    let text = "url = \"http://127.0.0.1:9\"\n[check.metrics]\npath = \"/metrics\"\n[check.metrics.counters]\nrequests = \"requests_total\"\n";
    std::fs::write(&profile, text).unwrap();
    let gateway = Gateway { provider: source.url(), ..Gateway::default() }.start();
    let arguments = ["--metrics", profile.to_str().unwrap()];
    let (exit, report, printed) = run(&suite, &gateway, &arguments);
    assert_eq!(exit, 0, "{printed}");
    assert!(printed.contains("requests: moved by 20, as counted here"), "{printed}");
    assert_eq!(report.circumstances.counters.len(), 1);
    // One that counts each of its providers' tries has other totals than its clients.
    let failing = Source::with(Fault::Status(500), 2);
    let counting = Gateway { provider: failing.url(), ..Gateway::default() };
    counting.requests.store(7, std::sync::atomic::Ordering::SeqCst);
    let url = counting.start();
    std::fs::write(&profile, text.replace("requests = \"requests_total\"", "output_tokens = \"requests_total\""))
        .unwrap();
    std::fs::remove_dir_all(suite.results()).unwrap();
    let (exit, report, printed) = run(&suite, &url, &arguments);
    assert_eq!(exit, 10, "{printed}");
    assert!(printed.contains("output_tokens: moved by 20, counted here 80 (-60)"), "{printed}");
    assert!(html::render(&report).contains("output_tokens: moved by 20, counted here 80 (-60)"));
}

#[test]
fn what_is_no_source_or_has_no_counters_is_told_before_anything_is_sent() {
    let source = Source::with(Fault::None, 1);
    let suite = Suite::arrivals(10, "200ms", "");
    let gateway = Gateway { provider: source.url(), ..Gateway::default() }.start();
    for (more, words) in [
        (["--source", gateway.as_str()], "no source of answers that keeps a tally"),
        (["--source", "http://127.0.0.1:9"], "no connection"),
        (["--source", "http://192.0.2.1:80"], "has to be on this machine"),
        (["--metrics", "nginx-defaults"], "has no [check.metrics] table"),
        (["--metrics", "no-such-file.toml"], "no-such-file.toml"),
    ] {
        let url = source.url();
        let output = suite.command(&url).args(more).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{more:?} {}", shown(&output));
        assert!(shown(&output).contains(words), "{more:?} {}", shown(&output));
    }
    assert!(super::reports(&suite.results()).is_empty());
}
