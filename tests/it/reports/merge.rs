//! Shards put together.

use ccsmoke::report::merge::{MergeError, merge};
use ccsmoke::report::plan::Shard;
use ccsmoke::report::{MatrixReport, OutcomeRow};
use proptest::prelude::*;

use crate::support::reports::{first_night, large};

/// The reports that the shards of this run would have written.
fn split(whole: &MatrixReport, count: u32) -> Vec<(String, MatrixReport)> {
    let weights: Vec<usize> = whole.plan.as_ref().unwrap().cells.iter().map(String::len).collect();
    let shard = |index| {
        let shard = Shard { index, count };
        let own = shard.places(&weights);
        let names: Vec<&String> = own.iter().map(|&i| &whole.plan.as_ref().unwrap().cells[i]).collect();
        let mut part = whole.clone();
        part.plan.as_mut().unwrap().shard = Some(shard);
        part.outcomes.retain(|row| names.contains(&&row.name()));
        part.not_run.retain(|name| names.contains(&name));
        part.models = part.outcomes.iter().map(|row| row.full_model.clone()).collect();
        part.models.sort();
        part.models.dedup();
        (part.client_cpu_s, part.harness_cpu_s) = (0.25, 0.125);
        (format!("shard-{index}.json"), part)
    };
    (1..=count).map(shard).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]
    #[test]
    fn the_shards_in_any_order_make_exactly_the_whole(
        cells in 1_usize..60, count in 1_u32..9, lost in prop::collection::btree_set(0_usize..60, 0..5), turn in 0_usize..9
    ) {
        let mut whole = large(cells);
        let lost: Vec<String> = lost.into_iter().filter_map(|i| whole.outcomes.get(i)).map(OutcomeRow::name).collect();
        whole.outcomes.retain(|row| !lost.contains(&row.name()));
        whole.not_run = whole.plan.as_ref().unwrap().cells.iter().filter(|c| lost.contains(c)).cloned().collect();
        whole.models = whole.outcomes.iter().map(|row| row.full_model.clone()).collect();
        whole.models.sort();
        whole.models.dedup();
        let mut shards = split(&whole, count);
        let turn = turn % shards.len();
        shards.rotate_left(turn);
        let merged = merge(shards).unwrap();
        (whole.client_cpu_s, whole.harness_cpu_s) = (0.25 * f64::from(count), 0.125 * f64::from(count));
        prop_assert_eq!(merged, whole);
    }
}

#[test]
fn the_run_lasts_from_the_first_start_to_the_last_end() {
    let mut shards = split(&first_night(), 2);
    shards[0].1.started_at = "2026-01-01T03:20:00Z".to_owned();
    (shards[0].1.duration_s, shards[1].1.duration_s) = (1.5, 10.0);
    let merged = merge(shards).unwrap();
    assert_eq!((merged.started_at.as_str(), merged.duration_s), ("2026-01-01T03:17:00Z", 181.5));
}

/// Why the shards of one run cannot be merged after a change to them.
fn refused(change: impl FnOnce(&mut Vec<(String, MatrixReport)>)) -> String {
    let mut shards = split(&first_night(), 3);
    change(&mut shards);
    merge(shards).unwrap_err().to_string()
}

#[test]
fn what_is_not_the_shards_of_one_plan_is_refused_by_name() {
    assert_eq!(merge(Vec::new()), Err(MergeError::Nothing));
    let refusals = [
        refused(|s| drop(s.remove(1))),
        refused(|s| s.truncate(1)),
        refused(|s| s[2] = ("again.json".to_owned(), s[0].1.clone())),
        refused(|s| s[1].1.plan = None),
        refused(|s| s[1].1.plan.as_mut().unwrap().shard = None),
        refused(|s| s[1].1.plan.as_mut().unwrap().shard = Some(Shard { index: 2, count: 4 })),
        refused(|s| s[1].1.plan.as_mut().unwrap().rules.clear()),
        refused(|s| drop(s[1].1.plan.as_mut().unwrap().probes.insert("thinking".to_owned(), String::new()))),
        refused(|s| s[1].1.plan.as_mut().unwrap().cells.push("another cell".to_owned())),
        refused(|s| s[1].1.plan.as_mut().unwrap().cells.reverse()),
        refused(|s| s[1].1.ccsmoke_version = "9".to_owned()),
        refused(|s| drop(s[1].1.outcomes.pop())),
        refused(|s| {
            let row = s[1].1.outcomes[0].clone();
            s[0].1.outcomes.push(row);
        }),
    ];
    insta::assert_snapshot!(refusals.join("\n"));
}

#[test]
fn evidence_is_found_from_where_the_whole_report_stands() {
    let mut report = first_night();
    report.outcomes[0].log_path = Some("/var/log/gateway.log".to_owned());
    report.outcomes[1].log_path = Some("gateway.log".to_owned());
    report.rebase(std::path::Path::new("../night"));
    let paths = |i: usize| {
        let row = &report.outcomes[i];
        (row.log_path.clone().unwrap(), row.evidence_path.clone(), row.attempts[0].evidence_path.clone())
    };
    let evidence = |i: usize| format!("../night/{}", first_night().outcomes[i].evidence_path);
    assert_eq!(paths(0), ("/var/log/gateway.log".to_owned(), evidence(0), evidence(0)));
    assert_eq!(paths(1).0, "gateway.log", "it is not beside the evidence, so it is no file of the run");
    assert_eq!(paths(2), (evidence(2).replace("evidence.json", "tap.log"), evidence(2), evidence(2)));
}
