//! `ccsmoke run --shard` and `--baseline`: parts of a run, and runs held against what is known.

use std::fs;

use serde_json::{Value, json};

use super::stand_in::{StandIn, ended};
use crate::support::{ccsmoke, report_path};

/// What is the same in every run of the same plan: times, random parts and hashes of random folders aside.
fn essence(report: &Value) -> Value {
    let rows = report["outcomes"].as_array().unwrap().iter().map(|row| {
        json!([
            row["full_model"],
            row["feature"],
            row["cli_version"],
            row["outcome"],
            row["classification"],
            row["findings"][0]["code"]
        ])
    });
    let plan = &report["plan"];
    json!([
        rows.collect::<Vec<_>>(),
        report["models"],
        report["target"],
        report["cli"],
        report["not_run"],
        report["interrupted"],
        plan["cells"],
        plan["probes"],
        plan["rules"],
        plan["shard"]
    ])
}

const PLAN: [&str; 8] = ["--probe", "thinking", "--probe", "streaming", "--model", "sonnet", "--model", "haiku"];

fn read(path: &std::path::Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn shards_of_a_run_make_the_whole_run() {
    let place = StandIn::claude("echo hello");
    ended(place.run().args(PLAN), 1);
    let whole = place.report();
    assert_eq!(whole["outcomes"].as_array().unwrap().len(), 6);
    let launches = place.launches();
    for shard in ["3/4", "1/4", "4/4", "2/4"] {
        let results = place.path(&format!("shards/{}", &shard[..1]));
        let (out, _) = ended(place.run_into(&results).args(PLAN).args(["--shard", shard]), 1);
        assert!(out.contains(&format!("shard {shard}")), "{out}");
    }
    assert_eq!(place.launches(), 2 * launches, "every cell was run once more");
    let merge = |shards: &[&str], code| {
        let mut command = ccsmoke();
        command.current_dir(place.path("")).args(["report", "merge"]).args(["--output", "merged/r.json"]);
        ended(command.args(shards.iter().map(|shard| format!("shards/{shard}"))), code)
    };
    let (_, err) = merge(&["1", "4"], 2);
    assert_eq!(err, "error: shards are missing, of 4: 2/4, 3/4\n");
    assert!(!place.path("merged").exists());
    merge(&["2", "1", "4", "3"], 0);
    let merged = read(&place.path("merged/r.json"));
    assert_eq!(essence(&merged), essence(&whole));
    for row in merged["outcomes"].as_array().unwrap() {
        assert!(place.path("merged").join(row["evidence_path"].as_str().unwrap()).is_file(), "{row}");
    }
    ended(ccsmoke().arg("judge").arg(place.path("merged/r.json")), 1);
    let other = place.path("shards/other");
    ended(place.run_into(&other).args(["--shard", "2/4"]), 0);
    let (_, err) = merge(&["1", "other", "3", "4"], 2);
    assert!(err.contains("are shards of different plans: only one of them has the cell"), "{err}");
}

#[test]
fn a_shard_without_cells_is_a_good_one() {
    let place = StandIn::claude("echo hello");
    ended(place.run().args(["--shard", "2/2"]), 0);
    assert_eq!((place.launches(), place.report()["outcomes"].as_array().unwrap().len()), (0, 0));
}

#[test]
fn a_run_is_held_against_what_is_known() {
    let place = StandIn::claude("echo hello");
    let known = place.path("known.json");
    let run = |arguments: &[&str], code| {
        drop(fs::remove_dir_all(place.results()));
        ended(place.run().arg("--baseline").arg(&known).args(arguments), code)
    };
    let (_, err) = run(&[], 2);
    assert!(
        err.contains("known.json: cannot be read") && place.launches() == 0,
        "nothing is launched without it: {err}"
    );
    run(&["--update-baseline"], 0);
    let stored = read(&known);
    assert!(
        place.path(stored["outcomes"][0]["evidence_path"].as_str().unwrap()).is_file(),
        "its evidence is found from there"
    );
    let (out, _) = run(&[], 0);
    assert!(out.contains("still broken, for the same cause: 1 cell"), "known failures fail nobody: {out}");
    let (out, _) = run(&["--model", "haiku"], 1);
    assert!(out.contains("newly broken: 1 cell") && out.contains("missing: 1 cell"), "{out}");
    run(&["--model", "haiku", "--fail-on", "never"], 0);
    assert_eq!(read(&known), stored, "a comparison leaves it as it is");
    let (_, err) = run(&["--shard", "1/2"], 2);
    assert!(err.contains("--shard"), "{err}");
    run(&["--model", "haiku", "--update-baseline"], 0);
    assert_eq!(read(&known)["models"], json!(["scripted/haiku"]));
    assert_eq!(read(&report_path(&place.results()))["models"], json!(["scripted/haiku"]));
}
