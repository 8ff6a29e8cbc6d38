//! A check report as `JUnit` XML.

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::Verdict;
use super::report::CheckReport;

/// The report as `JUnit` XML: one suite, one case a check.
///
/// # Errors
/// It cannot be written as XML; in words.
pub fn junit(report: &CheckReport) -> Result<String, String> {
    let mut xml = Report::new("ccsmoke check");
    let mut suite = TestSuite::new(report.target.as_str());
    for row in &report.checks {
        let status = match row.verdict {
            Verdict::Passed => TestCaseStatus::success(),
            Verdict::Failed => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status.set_message(row.message.as_str());
                let advice = row.advice.as_deref().unwrap_or_default();
                status.set_description(format!("expected: {}\nto do: {advice}", row.expected));
                status
            }
            Verdict::Undecided => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
                status.set_message(row.message.as_str());
                status
            }
            Verdict::NotApplicable => {
                let mut status = TestCaseStatus::skipped();
                status.set_message(row.message.as_str());
                status
            }
        };
        let mut case = TestCase::new(row.id.as_str(), status);
        case.set_classname("ccsmoke.check");
        case.set_time(std::time::Duration::from_secs_f64(row.duration_s.max(0.0)));
        suite.add_test_case(case);
    }
    xml.add_test_suite(suite);
    xml.to_string().map_err(|e| e.to_string())
}
