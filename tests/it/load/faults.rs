//! What is wrong with answers fails the run, and the run says why.

use std::time::Duration;

use ccsmoke::load::answers::Fault;
use ccsmoke::load::judge::Verdict;
use ccsmoke::load::metrics::{Failure, Metric};

use super::{Source, Suite};

#[test]
fn right_answers_pass_and_every_request_of_the_plan_is_sent() {
    let source = Source::with(Fault::None, 1);
    let suite = Suite::arrivals(50, "2s", "errors = [\"count == 0\"], e2e = [\"p50 < 20s\"]");
    let (exit, report, printed) = suite.run(&source.url());
    assert_eq!((exit, report.judgement.verdict), (0, Verdict::Held), "{printed}");
    let record = &report.scenarios[0];
    assert_eq!((record.planned, record.all().counters.ok, record.dropped), (100, 100, 0));
    assert!(record.all().times[Metric::GwChunkDelay].count() > 0, "the source's stamps are read");
    assert_eq!(record.all().counters.tokens_out, 800);
}

#[test]
fn each_planted_fault_fails_the_run_by_its_own_name() {
    for (fault, every, failure, exit, words) in [
        (Fault::Status(500), 1, Failure::Server, 10, "a planted failure"),
        (Fault::Status(500), 2, Failure::Server, 10, "status 500"),
        (Fault::Status(401), 1, Failure::Auth, 10, "status 401"),
        (Fault::Status(422), 3, Failure::Validation, 10, "status 422"),
        (Fault::Status(429), 1, Failure::RateLimited, 10, "status 429"),
        (Fault::Status(529), 1, Failure::Overloaded, 10, "status 529"),
        (Fault::WrongBody, 1, Failure::Protocol, 10, "shape"),
        (Fault::Cut, 1, Failure::Cut, 10, "broke off"),
        (Fault::Silence, 4, Failure::TtftTimeout, 10, "no content came"),
    ] {
        let source = Source::with(fault, every);
        let suite = Suite::arrivals(40, "500ms", "errors = [\"rate < 5%\"]");
        let (code, report, printed) = suite.run(&source.url());
        assert_eq!(code, exit, "{fault:?}: {printed}");
        let count = report.scenarios[0].all().failures.get(&failure).copied().unwrap_or(0);
        assert!(count > 0, "{fault:?}: {printed}");
        assert!(printed.contains(words) && printed.contains(failure.name()), "{fault:?}: {printed}");
        assert!(printed.contains("FAILED"), "{fault:?}: {printed}");
    }
}

#[test]
fn a_suite_that_says_nothing_of_failures_fails_by_one() {
    let source = Source::with(Fault::Status(503), 10);
    let (exit, _, printed) = Suite::arrivals(40, "500ms", "").run(&source.url());
    assert_eq!(exit, 10, "{printed}");
}

#[test]
fn wrong_answers_with_status_200_fail_a_run_that_forgives_failures() {
    let source = Source::with(Fault::WrongBody, 20);
    let (exit, report, printed) = Suite::arrivals(40, "1s", "errors = [\"rate < 50%\"]").run(&source.url());
    assert_eq!((exit, report.judgement.verdict), (11, Verdict::Protocol), "{printed}");
    assert!(printed.contains("answers came with status 200 and are wrong"), "{printed}");
}

#[test]
fn streams_that_come_all_at_once_are_counted() {
    let source = Source::with(Fault::Lump, 1);
    let (_, report, printed) =
        Suite::arrivals(40, "500ms", "\"delivery.coalesced\" = [\"count == 0\"]").run(&source.url());
    let counters = report.scenarios[0].all().counters;
    assert!(counters.streams > 0 && counters.coalesced == counters.streams, "{printed}");
}

#[test]
fn requests_that_failed_are_tried_again_where_the_scenario_says_so() {
    let source = Source::with(Fault::Status(503), 3);
    let suite = Suite::new(
        "scenario = [{ name = \"s\", load = { arrivals = { rate = \"40/s\", for = \"500ms\" } }, mix = [{ stream = false }], \
         retry = { max = 8, base = \"1ms\", cap = \"5ms\" } }]\n",
    );
    let (exit, report, printed) = suite.run(&source.url());
    let counters = report.scenarios[0].all().counters;
    assert_eq!((exit, counters.ok), (0, 20), "{printed}");
    assert!(counters.retries > 0, "{printed}");
}

#[test]
fn a_missed_threshold_that_asks_for_it_ends_the_run_early() {
    let source = Source::with(Fault::Status(500), 1);
    let suite = Suite::arrivals(20, "60s", "errors = [\"rate < 5%, abort_after=500ms\"]");
    let began = std::time::Instant::now();
    let (exit, report, printed) = suite.run(&source.url());
    assert_eq!(exit, 10, "{printed}");
    assert!(began.elapsed() < Duration::from_secs(40) && printed.contains("stopped early"), "{printed}");
    assert_eq!(report.scenarios[0].planned, 1200, "what was planned stays what was planned");
}

#[test]
fn a_budget_of_tokens_or_dollars_ends_the_run_with_a_valid_report() {
    let source = Source::with(Fault::None, 1);
    let body = |limits: &str| {
        let text = "scenario = [{ name = \"s\", load = { arrivals = { rate = \"50/s\", for = \"60s\" } }, mix = [{ stream = true }] }]\n";
        let suite = Suite::new(text);
        let written = std::fs::read_to_string(suite.path()).unwrap();
        std::fs::write(suite.path(), written.replace("[limits]\n", &format!("[limits]\n{limits}\n"))).unwrap();
        suite
    };
    // Each answer is 18 tokens: 10 in and 8 out.
    for (limits, words) in [
        ("tokens = 360", "the run was stopped at its limit of 360 tokens"),
        (
            "usd = 0.01\nusd_per_million_in = 30.0\nusd_per_million_out = 25.0",
            "the run was stopped at its limit of 0.01 USD",
        ),
    ] {
        let began = std::time::Instant::now();
        let (exit, report, printed) = body(limits).run(&source.url());
        assert!(began.elapsed() < Duration::from_secs(40), "{printed}");
        assert_eq!((exit, report.judgement.verdict), (12, Verdict::Invalid), "{printed}");
        assert!(printed.contains(words) && printed.contains("planned requests were never sent"), "{printed}");
        let counters = report.scenarios[0].all().counters;
        assert!((20..200).contains(&counters.ok) && counters.tokens_out >= 160, "{printed}");
        assert_eq!(report.scenarios[0].planned, 3000);
    }
}
