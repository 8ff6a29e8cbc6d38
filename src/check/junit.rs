//! A check report as `JUnit` XML.

use quick_junit::{Report, TestSuite};

use super::Verdict;
use super::report::CheckReport;
use crate::report::junit::{Ending, case, duration};
use crate::report::text::{printable, visible};

/// The report as `JUnit` XML: one suite, one case a check.
///
/// # Errors
/// It cannot be written as XML; in words.
pub fn junit(report: &CheckReport) -> Result<String, String> {
    let mut xml = Report::new("ccsmoke check");
    let mut suite = TestSuite::new(printable(&report.target));
    for row in &report.checks {
        let ending = match row.verdict {
            Verdict::Passed => Ending::Passed,
            Verdict::Failed => Ending::Failed,
            Verdict::Undecided => Ending::Error,
            Verdict::NotApplicable => Ending::Skipped,
        };
        let mut case = case(&row.id, ending, &row.message);
        if row.verdict == Verdict::Failed {
            let advice = row.advice.as_deref().unwrap_or_default();
            case.status.set_description(visible(&format!("expected: {}\nto do: {advice}", row.expected)));
        }
        case.set_classname("ccsmoke.check");
        case.set_time(duration(row.duration_s));
        suite.add_test_case(case);
    }
    xml.add_test_suite(suite);
    xml.to_string().map_err(|e| e.to_string())
}
