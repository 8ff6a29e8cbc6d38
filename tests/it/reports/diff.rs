//! Two nights held against each other.

use ccsmoke::finding::Suspect;
use ccsmoke::report::MatrixReport;
use ccsmoke::report::diff::{ChangeKind, Diff, markdown, terminal};
use ccsmoke::report::terminal::{Colours, Screen};
use ccsmoke::verdict::Outcome;
use proptest::prelude::*;

use crate::support::reports::{failed, first_night, report, row, second_night, skipped};

const SCREEN: Screen = Screen { colours: Colours::Off, columns: Some(80) };

#[test]
fn a_planted_regression_is_named_with_its_cells_its_cause_and_what_else_changed() {
    let diff = Diff::of(&first_night(), &second_night());
    assert!(diff.fails());
    insta::assert_snapshot!(terminal::render(&diff, "results/new.json", SCREEN));
    insta::assert_snapshot!(markdown::render(&diff));
    insta::assert_json_snapshot!(diff);
}

/// How the only cell changed between two rows.
fn kind(old: ccsmoke::report::OutcomeRow, new: ccsmoke::report::OutcomeRow) -> Vec<ChangeKind> {
    let diff = Diff::of(&report("2026-01-01T00:00:00Z", vec![old]), &report("2026-01-02T00:00:00Z", vec![new]));
    diff.cells.iter().map(|cell| cell.kind).collect()
}

#[test]
fn every_change_of_a_cell_has_its_kind() {
    let good = || row("g", "g/m", "f");
    let bad = |code: &str| failed(good(), code, Suspect::Gateway, "words");
    let gone = || row("g", "g/m", "other");
    assert_eq!(kind(good(), good()), []);
    assert_eq!(kind(good(), bad("a")), [ChangeKind::NewlyBroken]);
    assert_eq!(kind(bad("a"), good()), [ChangeKind::NewlyFixed]);
    assert_eq!(kind(bad("a"), bad("a")), [ChangeKind::SameCause]);
    assert_eq!(kind(bad("a"), bad("b")), [ChangeKind::OtherCause]);
    assert_eq!(kind(bad("a"), failed(good(), "a", Suspect::Client, "words")), [ChangeKind::OtherCause]);
    assert_eq!(kind(good(), gone()), [ChangeKind::New, ChangeKind::Missing]);
    assert_eq!(kind(bad("a"), gone()), [ChangeKind::New, ChangeKind::Missing], "not looked at is not mended");
    assert_eq!(kind(good(), skipped(good())), [ChangeKind::Missing]);
    assert_eq!(kind(skipped(good()), bad("a")), [ChangeKind::NewlyBroken]);
    assert_eq!(kind(skipped(good()), good()), [ChangeKind::New]);
    assert_eq!(kind(skipped(good()), skipped(good())), [ChangeKind::New]);
    assert_eq!(kind(skipped(good()), gone()), [ChangeKind::New], "what was not judged cannot be missed");
}

#[test]
fn a_new_release_of_the_client_is_compared_with_the_one_before() {
    let with = |version: &str| {
        let mut night = first_night();
        for row in &mut night.outcomes {
            row.cli_version = version.to_owned();
        }
        report("2026-01-01T03:17:00Z", night.outcomes)
    };
    let diff = Diff::of(&with("2.1.99"), &with("2.1.100"));
    assert!(!diff.fails(), "{diff:?}");
    assert_eq!((diff.passed_in_both, diff.cells.len()), (7, 1));
    assert!(
        diff.changes
            .iter()
            .any(|c| (c.what.as_str(), c.old.as_str(), c.new.as_str()) == ("client", "2.1.99", "2.1.100"))
    );
    // With several, the newest takes the newest's place, by number and not by letter.
    let both = |a: &str, b: &str| {
        let rows = [with(a).outcomes, with(b).outcomes].concat();
        report("2026-01-01T03:17:00Z", rows)
    };
    let diff = Diff::of(&both("2.1.98", "2.1.99"), &both("2.1.99", "2.1.100"));
    assert!(!diff.fails(), "{diff:?}");
    let diff = Diff::of(&both("2.1.98", "2.1.99"), &with("2.1.100"));
    assert_eq!(diff.of_kind(ChangeKind::Missing).count(), 8, "one version has no successor");
}

#[test]
fn what_a_cell_is_tested_with_is_compared_by_its_hash() {
    let old = first_night();
    let mut new = old.clone();
    let plan = new.plan.as_mut().unwrap();
    plan.rules = "ef".repeat(32);
    plan.probes.insert("thinking".to_owned(), "9".repeat(64));
    new.cli[0].sha256 = "0".repeat(64);
    new.host.cores = 64;
    let changes: Vec<_> = Diff::of(&old, &new).changes.into_iter().map(|change| change.what).collect();
    assert_eq!(changes, ["client's program (SHA-256)", "probe thinking", "text rules", "machine"]);
    let mut older = old.clone();
    older.plan = None;
    assert_eq!(Diff::of(&older, &new).changes.len(), 2, "an older report tells no hashes");
}

fn nights() -> impl Strategy<Value = MatrixReport> {
    let cell = (0_usize..4, 0_usize..3, 0_usize..4).prop_map(|(feature, model, how)| {
        let row = row("g", &format!("g/{model}"), &format!("f{feature}"));
        match how {
            0 => failed(row, "a", Suspect::Gateway, "words"),
            1 => failed(row, "b", Suspect::Provider, "words"),
            2 => skipped(row),
            _ => row,
        }
    });
    prop::collection::vec(cell, 0..12).prop_map(|mut rows| {
        rows.sort_by_key(ccsmoke::report::OutcomeRow::name);
        rows.dedup_by_key(|row| row.name());
        report("2026-01-01T03:17:00Z", rows)
    })
}

proptest! {
    #[test]
    fn a_report_does_not_differ_from_itself(night in nights()) {
        let diff = Diff::of(&night, &night);
        prop_assert!(!diff.fails() && diff.changes.is_empty());
        prop_assert!(diff.cells.iter().all(|c| matches!(c.kind, ChangeKind::SameCause | ChangeKind::New)));
    }

    #[test]
    fn every_judged_cell_is_accounted_for_and_the_way_back_mirrors_it((old, new) in (nights(), nights())) {
        let (there, back) = (Diff::of(&old, &new), Diff::of(&new, &old));
        let count = |diff: &Diff, kind| diff.of_kind(kind).count();
        let judged = |report: &MatrixReport| report.outcomes.iter().filter(|r| r.outcome != Outcome::Skipped).count();
        let kept = [ChangeKind::SameCause, ChangeKind::OtherCause, ChangeKind::NewlyFixed];
        let broke = there.of_kind(ChangeKind::NewlyBroken).filter(|cell| cell.old_cause.is_none()).count();
        let known = kept.iter().map(|k| count(&there, *k)).sum::<usize>() + there.passed_in_both + count(&there, ChangeKind::Missing);
        prop_assert!(known <= judged(&old) && judged(&old) <= known + broke);
        for kind in [ChangeKind::SameCause, ChangeKind::OtherCause] {
            prop_assert_eq!(count(&there, kind), count(&back, kind));
        }
        prop_assert_eq!(there.passed_in_both, back.passed_in_both);
        prop_assert_eq!(there.fails(), there.cells.iter().any(|c| c.kind.fails()));
    }
}
