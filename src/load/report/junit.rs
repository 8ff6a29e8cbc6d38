//! The thresholds of a run as `JUnit` XML: one test case each, so that CI shows them as it shows tests.

use quick_junit::{Report, TestSuite};

use super::LoadReport;
use crate::load::judge::{State, Verdict};
use crate::report::junit::{Ending, case};
use crate::report::text::printable;

/// The XML.
///
/// # Errors
/// It cannot be written as XML, in words.
pub fn render(report: &LoadReport) -> Result<String, String> {
    let mut suite = TestSuite::new(printable(&format!("load/{}", report.suite.name)));
    for judged in &report.judgement.thresholds {
        let ending = match judged.state {
            State::Held => Ending::Passed,
            State::Broken => Ending::Failed,
            State::Undecided => Ending::Skipped,
        };
        let message = format!("{} (n {}) {}", judged.shown, judged.n, judged.remark);
        suite.add_test_case(case(&format!("{}: {}", judged.subject, judged.condition), ending, message.trim()));
    }
    let ending = if report.judgement.verdict < Verdict::Partial { Ending::Passed } else { Ending::Error };
    suite.add_test_case(case("the run is valid", ending, &report.judgement.reasons.join("; ")));
    let mut all = Report::new("ccsmoke");
    all.add_test_suite(suite);
    all.to_string().map_err(|e| e.to_string())
}
