//! What a run may use up: when it is spent, cells that have not begun are not run, the report is whole and says why, and the run
//! is not good.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::asking::{asking, costing};
use super::stand_in::{StandIn, ended, write};

/// One cell after the other, of five models.
const FIVE: [&str; 12] =
    ["--jobs", "1", "--model", "a", "--model", "b", "--model", "c", "--model", "d", "--model", "e"];

/// How many rows there are, how many cells were not run, and why.
fn told(report: &Value) -> Value {
    let count = |key: &str| report[key].as_array().unwrap().len();
    json!([count("outcomes"), count("not_run"), report["stopped"], report["interrupted"]])
}

#[test]
fn no_cell_begins_when_the_requests_are_spent_and_what_was_found_stands() {
    for (fail_on, code) in [("never", 4), ("regression", 1)] {
        // Each sends three where the probe says one: of six one more is beyond five.
        let place = asking(3, "exit 1");
        let limits = ["--max-run-requests", "5", "--fail-on", fail_on];
        let (out, _) = ended(place.run().args(FIVE).args(limits), code);
        place.assert_tidy();
        let why = "6 of 5 requests were sent, and the next cell needs 1";
        assert_eq!(told(&place.report()), json!([2, 3, why, false]));
        assert_eq!(place.launches(), 2);
        assert!(out.contains("3 not run in ") && out.contains(&format!("(the run's budget is spent: {why})")), "{out}");
    }
}

#[test]
fn a_run_that_keeps_to_its_budget_is_not_stopped_by_it() {
    let place = asking(1, "exit 1");
    let limits = ["--max-run-requests", "5", "--max-run-cost", "1", "--max-run-time", "600", "--fail-on", "never"];
    ended(place.run().args(FIVE).args(limits), 0);
    assert_eq!(told(&place.report()), json!([5, 0, null, false]));
}

#[test]
fn no_cell_begins_when_the_dollars_are_spent() {
    let place = asking(1, &costing(0.2));
    ended(place.run().args(FIVE).args(["--max-run-cost", "0.5", "--fail-on", "never"]), 4);
    let why = "0.6000 of 0.5 US dollars were spent";
    assert_eq!(told(&place.report()), json!([3, 2, why, false]));
    // Where it is known what a cell may cost, none begins that might not fit.
    let place = asking(1, &costing(0.2));
    let limits = ["--max-run-cost", "0.5", "--max-cost", "0.25", "--fail-on", "never"];
    ended(place.run().args(FIVE).args(limits), 4);
    let why = "0.4000 of 0.5 US dollars were spent, and the next cell may cost 0.25";
    assert_eq!(told(&place.report()), json!([2, 3, why, false]));
    let launch: Value =
        serde_json::from_slice(&std::fs::read(place.results().join(evidence(&place))).unwrap()).unwrap();
    let args: Vec<&str> = launch["launches"][0]["args"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(args.windows(2).any(|pair| pair == ["--max-budget-usd", "0.25"]), "{args:?}");
}

fn evidence(place: &StandIn) -> String {
    place.report()["outcomes"][0]["evidence_path"].as_str().unwrap().to_owned()
}

#[test]
fn a_cell_that_costs_more_than_it_may_fails() {
    let place = asking(1, &costing(0.2));
    ended(place.run().args(["--max-cost", "0.1", "--fail-on", "never"]), 0);
    let row = place.row();
    let found = row["findings"].as_array().unwrap().iter().find(|f| f["code"] == "cost-exceeded").unwrap();
    assert_eq!(found["message"], "the client counts 0.2 US dollars, and the cell may cost 0.1");
    assert_eq!((&row["outcome"], &row["cost_usd"]), (&json!("failed"), &json!(0.2)));
}

#[test]
fn when_the_time_is_over_running_cells_are_ended_and_nothing_is_left() {
    let place = StandIn::claude("sleep 1000");
    let began = Instant::now();
    let (out, _) = ended(place.run().args(FIVE).args(["--max-run-time", "1"]), 4);
    assert!(began.elapsed() < Duration::from_secs(20));
    place.assert_tidy();
    assert_eq!(told(&place.report()), json!([0, 5, "its 1 s were over", false]));
    assert!(out.contains("5 not run"), "{out}");
}

#[test]
fn limits_stand_in_the_file_too_and_the_command_line_goes_before_it() {
    let target = "[[target]]\nname = 'here'\nurl = 'http://127.0.0.1:9'\n";
    let place = asking(2, "exit 1");
    let config = place.path("ccsmoke.toml");
    write(&config, format!("[limits]\nmax_run_requests = 3\nmax_requests = 1\n{target}"));
    let run = |more: &[&str]| {
        let mut run = place.run();
        run.arg("--config").arg(&config).args(["--target", "scripted", "--fail-on", "never"]).args(FIVE).args(more);
        run
    };
    ended(&mut run(&[]), 4);
    // The second request of each cell is refused as that of a runaway, and has not been sent.
    let why = "3 of 3 requests were sent, and the next cell needs 1";
    assert_eq!(told(&place.report()), json!([3, 2, why, false]));
    std::fs::remove_dir_all(place.results()).unwrap();
    ended(&mut run(&["--max-run-requests", "100"]), 0);
    std::fs::remove_dir_all(place.results()).unwrap();

    write(&config, format!("[limits]\nmax_run_cost_usd = -1\n{target}"));
    let said = place.filtered(&ended(&mut run(&[]), 2).1);
    insta::assert_snapshot!(said, @r"
    error: [HERE]/ccsmoke.toml:2:20: an amount is a number of US dollars above 0, such as 0.25
    2 | max_run_cost_usd = -1
      |                    ^^
    ");
}
