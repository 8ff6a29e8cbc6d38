//! The report as `JUnit` XML: a suite for each target, a case for each cell.

mod document;

use std::collections::HashMap;

use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestRerun, TestSuite};

use document::attached;
pub(crate) use document::{Ending, case, duration};

use super::text::{printable, visible};
use super::{Attempt, MatrixReport, OutcomeRow};
use crate::verdict::Outcome;

/// The report as a `JUnit` XML document.
///
/// Attempts before the last are reruns; a cell that passed after one that did not is flaky.
///
/// # Errors
/// The XML cannot be written, which writing to memory rules out.
pub fn render(report: &MatrixReport) -> Result<String, SerializeError> {
    let mut document = Report::new("ccsmoke");
    document.set_time(duration(report.duration_s));
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut suites: Vec<TestSuite> = Vec::new();
    for row in &report.outcomes {
        let place = *places.entry(&row.target).or_insert_with(|| {
            let mut suite = TestSuite::new(printable(if row.target.is_empty() { &report.target } else { &row.target }));
            for (name, value) in [("ccsmoke", &report.ccsmoke_version), ("started_at", &report.started_at)] {
                suite.add_property((name, printable(value).as_str()));
            }
            suites.push(suite);
            suites.len() - 1
        });
        suites[place].add_test_case(cell(row));
    }
    for suite in &mut suites {
        suite.set_time(suite.test_cases.iter().filter_map(|case| case.time).sum());
    }
    document.add_test_suites(suites);
    document.to_string()
}

fn cell(row: &OutcomeRow) -> TestCase {
    let before = row.attempts.len().saturating_sub(1);
    let ending = match row.outcome {
        Outcome::Passed => Ending::Passed,
        Outcome::Skipped => Ending::Skipped,
        Outcome::Failed if row.classification.is_regression() => Ending::Failed,
        Outcome::Failed => Ending::Error,
    };
    let message = row.deciding().map_or(&row.text_verdict.rule, |finding| &finding.message);
    let mut case = case(&row.feature, ending, message);
    let status = &mut case.status;
    if row.outcome != Outcome::Passed {
        status.set_type(row.classification.as_str());
        status.set_description(description(row));
    }
    if row.outcome != Outcome::Skipped {
        status.add_reruns(row.attempts.iter().take(before).enumerate().map(rerun));
    }
    case.set_classname(printable(&format!("{} claude-{}", row.full_model, row.cli_version)));
    case.set_time(duration(row.duration_s));
    for (name, value) in [("evidence", Some(&row.evidence_path)), ("gateway_version", row.gateway_version.as_ref())] {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            case.add_property((name, printable(value).as_str()));
        }
    }
    if row.outcome != Outcome::Passed {
        if !row.stdout_excerpt.is_empty() {
            case.set_system_out(attached(&visible(&row.stdout_excerpt)));
        }
        if !row.stderr_excerpt.is_empty() {
            case.set_system_err(attached(&visible(&row.stderr_excerpt)));
        }
    }
    case
}

/// The findings, a paragraph each, and where the evidence is.
fn description(row: &OutcomeRow) -> String {
    let findings = row.findings.iter().map(|finding| {
        let head = format!("{} · {} · {}", finding.severity, finding.suspect, finding.code);
        let cites = finding.cites.join(", ");
        let see = if cites.is_empty() { cites } else { format!("\n  see {}", printable(&cites)) };
        format!("{}\n  {}{see}", printable(&head), printable(&finding.message))
    });
    let evidence = format!("evidence {}", printable(&row.evidence_path));
    attached(&findings.chain([evidence]).collect::<Vec<_>>().join("\n"))
}

fn rerun((i, attempt): (usize, &Attempt)) -> TestRerun {
    let kind = if attempt.classification.is_regression() { NonSuccessKind::Failure } else { NonSuccessKind::Error };
    let mut rerun = TestRerun::new(kind);
    rerun.set_type(attempt.classification.as_str());
    rerun.set_message(format!("attempt {}: {}", i + 1, attempt.classification));
    rerun.set_time(duration(attempt.duration_s));
    rerun.set_description(format!("evidence {}", printable(&attempt.evidence_path)));
    rerun
}
