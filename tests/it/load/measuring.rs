//! What is measured is what was: known delays, a planted stall, the plan kept.

use std::time::Duration;

use ccsmoke::load::answers::{Fault, Manner};
use ccsmoke::load::metrics::Metric;

use super::{Source, Suite, quick};

#[test]
fn a_stall_is_seen_by_every_request_that_was_due_in_it() {
    // Two seconds of four: a request due at its beginning waits two seconds, and half of all wait a second or more than none.
    let stall = Fault::Stall { at: Duration::from_millis(1500), lasts: Duration::from_secs(2) };
    let source = Source::start(Manner { fault: stall, ..quick() });
    let suite = Suite::new(
        "scenario = [{ name = \"s\", load = { arrivals = { rate = \"100/s\", for = \"4s\" } }, mix = [{ stream = false }] }]\n",
    );
    let (_, report, printed) = suite.run(&source.url());
    let times = &report.scenarios[0].all().times[Metric::E2eFromPlan];
    let p99 = times.percentile(98.0).micros;
    assert!((1_700_000..3_500_000).contains(&p99), "{printed}");
    assert!(times.percentile(25.0).micros < 1_000_000, "{printed}");
}

#[test]
fn the_time_to_the_first_piece_is_that_of_the_source_and_what_lies_between_is_told() {
    let first = Duration::from_millis(60);
    let source = Source::start(Manner { first, ..quick() });
    let suite = Suite::new(
        "scenario = [{ name = \"s\", load = { arrivals = { rate = \"20/s\", for = \"2s\" } }, mix = [{ stream = true }] }]\n",
    );
    let (_, report, printed) = suite.run(&source.url());
    let times = &report.scenarios[0].all().times;
    let ttft = times[Metric::Ttft].percentile(50.0).micros;
    assert!((60_000..400_000).contains(&ttft), "{printed}");
    // The client sees what the source did and what lay between, which is a loopback here.
    let added = times[Metric::GwTtftAdded].percentile(50.0).micros;
    assert!(added < 100_000 && added < ttft, "{printed}");
    assert_eq!(times[Metric::Itl].count(), 7 * 40, "{printed}");
}

#[test]
fn users_wait_for_their_answers() {
    let source = Source::start(Manner { first: Duration::from_millis(50), ..quick() });
    let suite = Suite::new(
        "scenario = [{ name = \"s\", load = { users = { users = 3, for = \"1s\" } }, mix = [{ stream = true }], model = \"each\" }]\n",
    );
    let (exit, report, printed) = suite.run(&source.url());
    assert_eq!(exit, 0, "{printed}");
    let record = &report.scenarios[0];
    // Three users cannot have more than three answers in each 50 ms.
    assert!((3..=63).contains(&record.all().counters.ok), "{printed}");
    assert!(!record.open && record.planned == record.all().counters.sent);
}

#[test]
fn a_limit_of_requests_in_flight_makes_them_wait_and_the_wait_counts() {
    let source = Source::start(Manner { first: Duration::from_millis(100), ..quick() });
    let suite = Suite::new(
        "scenario = [{ name = \"s\", load = { arrivals = { rate = \"40/s\", for = \"500ms\" } }, mix = [{ stream = false }] }]\n",
    );
    let output = suite.command(&source.url()).args(["--max-in-flight", "1"]).output().unwrap();
    let report = super::report(&suite.results());
    let times = &report.scenarios[0].all().times;
    // Twenty requests one after another take two seconds; each took its 100 ms, and the last waited for all others.
    assert!(times[Metric::E2e].percentile(50.0).micros < times[Metric::E2eFromPlan].percentile(50.0).micros);
    assert!(times[Metric::E2eFromPlan].max() > 1_200_000, "{}", super::shown(&output));
    assert_eq!((report.scenarios[0].dropped, report.scenarios[0].all().counters.ok), (0, 20));
}

#[test]
fn an_engine_that_was_late_makes_the_run_invalid() {
    let source = Source::with(Fault::None, 1);
    let suite = Suite::arrivals(50, "500ms", "");
    let text = std::fs::read_to_string(suite.path()).unwrap().replace("lag = \"30s\"", "lag = \"1us\"");
    std::fs::write(suite.path(), text).unwrap();
    let (exit, _, printed) = suite.run(&source.url());
    assert_eq!(exit, 12, "{printed}");
    assert!(printed.contains("INVALID") && printed.contains("ccsmoke itself was late by"), "{printed}");
}
