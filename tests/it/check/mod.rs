//! `ccsmoke check`: the reference gateway passes every check, and fails each when it is broken in the one way that the check looks for.

mod bad_input;
mod broken;
mod odd;
mod parts;
mod profiles;
mod rig;
mod table;

use ccsmoke::check::Verdict;
use rig::{Rigged, gateway};

#[tokio::test(flavor = "multi_thread")]
async fn the_reference_gateway_fails_no_check() {
    let rigged = Rigged::start(gateway(None)).await;
    // The largest bodies take long in a program that is not optimised.
    let report = rigged.check(&[], &["largest-body", "too-large"]).await;
    let bad = |row: &&ccsmoke::check::Row| matches!(row.verdict, Verdict::Failed | Verdict::Undecided);
    let bad: Vec<_> = report.checks.iter().filter(bad).map(|row| format!("{}: {}", row.id, row.message)).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    assert!(report.both_sides && report.count(Verdict::Passed) > 45, "{}", report.count(Verdict::Passed));
    for row in &report.checks {
        let seen = row.seen.iter().filter(|seen| seen.status.is_some()).count();
        assert!(row.verdict == Verdict::NotApplicable || seen > 0, "{} has no evidence", row.id);
    }
}
