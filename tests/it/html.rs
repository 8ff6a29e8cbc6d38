//! The HTML report as text: whole without evidence, bounded whatever the evidence, and never with a policy that does not fit.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use ccsmoke::evidence::Evidence;
use ccsmoke::exchange::Body;
use ccsmoke::report::MatrixReport;
use ccsmoke::report::html::{Beside, EvidenceSource, NoEvidence, page};
use ccsmoke::report::store::read_report;
use sha2::{Digest as _, Sha256};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/report/report.json")
}

fn report() -> MatrixReport {
    read_report(&fixture()).unwrap()
}

/// What stands between two texts.
fn between<'a>(page: &'a str, start: &str, end: &str) -> &'a str {
    let from = page.rfind(start).unwrap() + start.len();
    &page[from..from + page[from..].find(end).unwrap()]
}

#[test]
fn without_evidence_everything_of_the_report_is_there() {
    let html = page(&report(), &NoEvidence);
    for row in report().outcomes {
        for words in [&row.feature, &row.evidence_path, &row.text_verdict.rule] {
            assert!(html.contains(words.as_str()), "{words}");
        }
        for finding in &row.findings {
            assert!(html.contains(&finding.code) && html.contains(&finding.severity.to_string()), "{finding:?}");
        }
    }
    assert!(html.contains("the report came without it"));
}

#[test]
fn the_policy_names_exactly_the_script_and_the_style_of_the_page() {
    let html = page(&report(), &Beside::report(&fixture()));
    for (start, end) in [("<script>", "</script>"), ("<style>", "</style>")] {
        let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(between(&html, start, end)));
        assert!(html.contains(&format!("'sha256-{hash}'").replace('\'', "&#39;")), "{start}");
    }
    assert!(!html.contains(" style=\"") && !html.contains("javascript:") && !html.contains("http://"));
}

#[test]
fn an_empty_or_interrupted_run_is_a_page_too() {
    let mut report = report();
    report.outcomes.clear();
    report.interrupted = true;
    report.not_run = vec!["sonnet basic_text 2.1.329".to_owned()];
    let html = page(&report, &NoEvidence);
    assert!(html.contains("The run was interrupted") && html.contains("sonnet basic_text 2.1.329"));
}

/// Evidence with long bodies, and many of them.
struct Huge(Beside);

impl EvidenceSource for Huge {
    fn evidence(&self, path: &str) -> Result<Evidence, String> {
        let mut evidence = self.0.evidence(path)?;
        let mut exchange = evidence.exchanges[0].clone();
        exchange.request.body = Body::whole("line of a body\n".repeat(2_000));
        evidence.exchanges = vec![exchange; 80];
        evidence.launches[0].process.stdout.text = format!("{{\"type\":\"{}\"}}\n", "x".repeat(5000)).repeat(500);
        Ok(evidence)
    }
}

#[test]
fn a_page_stays_small_and_says_what_it_leaves_out() {
    let mut report = report();
    let mut failed = report.outcomes.iter().find(|row| row.classification.is_regression()).unwrap().clone();
    failed.findings = vec![failed.findings[0].clone(); 300];
    failed.findings[0].message = "x".repeat(100_000);
    report.outcomes = vec![failed; 3];
    let html = page(&report, &Huge(Beside::report(&fixture())));
    assert!(html.len() < 15_000_000, "{} bytes", html.len());
    assert!(html.contains("more bytes") && html.contains("\"more_findings\":260"));
    // No two cells share an anchor.
    assert!(html.contains("id=\"data-cell-") && html.contains("~3\""));
}
