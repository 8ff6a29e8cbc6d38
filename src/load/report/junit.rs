//! The thresholds of a run as `JUnit` XML: one test case each, so that CI shows them as it shows tests.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::LoadReport;
use crate::load::judge::{State, Verdict};

/// The XML.
///
/// # Errors
/// It cannot be written as XML, in words.
pub fn render(report: &LoadReport) -> Result<String, String> {
    let mut suite = TestSuite::new(format!("load/{}", report.suite.name));
    for judged in &report.judgement.thresholds {
        let mut status = match judged.state {
            State::Held => TestCaseStatus::success(),
            State::Broken => TestCaseStatus::non_success(NonSuccessKind::Failure),
            State::Undecided => TestCaseStatus::skipped(),
        };
        if judged.state != State::Held {
            status.set_message(format!("{} (n {}) {}", judged.shown, judged.n, judged.remark).trim().to_owned());
        }
        suite.add_test_case(TestCase::new(format!("{}: {}", judged.subject, judged.condition), status));
    }
    let valid = report.judgement.verdict < Verdict::Partial;
    let status = if valid {
        TestCaseStatus::success()
    } else {
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_message(report.judgement.reasons.join("; "));
        status
    };
    suite.add_test_case(TestCase::new("the run is valid", status));
    let mut all = Report::new("ccsmoke");
    all.add_test_suite(suite);
    all.to_string().map_err(|e| e.to_string())
}
