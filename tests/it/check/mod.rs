//! `ccsmoke check`: the reference gateway passes every check, and fails each when it is broken in the one way that the check looks for.

mod bad_input;
mod broken;
mod odd;
mod parts;
mod profiles;
mod rig;
mod table;

use std::time::Duration;

use ccsmoke::check::{CheckReport, Verdict};
use ccsmoke::config::Checks;
use ccsmoke::evidence::TargetKind;
use rig::{Rigged, gateway, translator};

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_gateway_fails_no_check() {
    let rigged = Rigged::start(gateway(None)).await;
    let report = rigged.check(&[], &[]).await;
    nothing_is_wrong(&report);
    assert!(report.both_sides && report.count(Verdict::Passed) > 50, "{}", report.count(Verdict::Passed));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_gateway_fails_no_check_when_it_translates() {
    let mut rigged = Rigged::start(translator(Duration::from_millis(400))).await;
    rigged.kind = TargetKind::Translator;
    // A translation cannot know the counts when it begins to stream.
    rigged.rewrites = vec!["usage_start".to_owned()];
    rigged.settings = Checks::default();
    let report = rigged.check(&[], &[]).await;
    nothing_is_wrong(&report);
    assert!(report.both_sides && report.count(Verdict::Passed) > 45, "{}", report.count(Verdict::Passed));
}

/// No check failed or stayed open, and each shows what it saw.
fn nothing_is_wrong(report: &CheckReport) {
    let bad = |row: &&ccsmoke::check::Row| matches!(row.verdict, Verdict::Failed | Verdict::Undecided);
    let bad: Vec<_> = report.checks.iter().filter(bad).map(|row| format!("{}: {}", row.id, row.message)).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    for row in &report.checks {
        let seen = row.seen.iter().filter(|seen| seen.status.is_some()).count();
        assert!(row.verdict == Verdict::NotApplicable || seen > 0, "{} has no evidence", row.id);
    }
}
