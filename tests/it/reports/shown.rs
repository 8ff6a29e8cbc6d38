//! One report as text, Markdown, XML and annotations.

use ccsmoke::finding::{Severity, Suspect};
use ccsmoke::report::terminal::{self, Colours, Detail, Screen};
use ccsmoke::report::{MatrixReport, cause, github, junit, markdown};
use console::measure_text_width;

use crate::support::reports::{failed, finding, first_night, large, report, row, second_night, skipped, tried_twice};

fn screen(columns: usize) -> Screen {
    Screen { colours: Colours::Off, columns: Some(columns) }
}

fn shown(report: &MatrixReport, columns: usize, detail: Detail) -> String {
    terminal::render(report, "results/ccsmoke-matrix-main-1.json", screen(columns), detail)
}

/// A report with everything that a row can be.
fn mixed() -> MatrixReport {
    let mut degraded = row("litellm", "litellm/haiku", "streaming");
    degraded.findings.push(finding("unpaced", Severity::Note, Suspect::Gateway, "the stream was held back for 2 s"));
    let mut rows = vec![
        row("litellm", "litellm/sonnet", "streaming"),
        failed(row("litellm", "litellm/sonnet", "thinking"), "thinking-unsigned", Suspect::Gateway, "no signature"),
        degraded,
        failed(
            row("litellm", "litellm/haiku", "thinking"),
            "thinking-unsigned",
            Suspect::Gateway,
            "exchange 4: no signature",
        ),
        tried_twice(row("company", "company/sonnet", "streaming")),
        tried_twice(failed(
            row("company", "company/sonnet", "thinking"),
            "overloaded",
            Suspect::Environment,
            "529, twice",
        )),
        skipped(row("other", "other/sonnet", "streaming")),
    ];
    "line one\nline two\n".clone_into(&mut rows[5].stdout_excerpt);
    let mut report = report("2026-01-01T03:17:00Z", rows);
    report.not_run.push("other/sonnet thinking 2.1.329".to_owned());
    report.interrupted = true;
    report
}

#[test]
fn a_terminal_shows_the_matrix_then_causes_then_cells() {
    insta::assert_snapshot!(shown(&mixed(), 80, Detail::Brief));
}

#[test]
fn everything_is_said_in_full() {
    insta::assert_snapshot!(shown(&mixed(), 200, Detail::Full));
}

#[test]
fn a_wide_terminal_is_used_and_a_narrow_one_is_not_exceeded() {
    let report = large(400);
    let widest = |text: &str| text.lines().filter(|l| !l.contains("evidence")).map(measure_text_width).max().unwrap();
    for columns in [60, 80, 120, 200] {
        let width = widest(&shown(&report, columns, Detail::Brief));
        assert!(width <= columns && width > columns - 30, "{width} of {columns} columns");
    }
}

#[test]
fn one_defect_that_turns_many_cells_red_is_one_cause() {
    let report = large(2000);
    let causes = cause::causes(&report);
    let red = report.outcomes.iter().filter(|row| row.cause().is_some()).count();
    assert_eq!(causes.iter().map(|cause| cause.rows.len()).sum::<usize>(), red, "every red cell has its cause");
    let words: Vec<_> = causes.iter().map(|c| (c.cause.code.as_str(), c.place)).collect();
    assert_eq!(words.iter().filter(|(code, _)| *code == "thinking-unsigned").count(), 5, "one a gateway: {words:?}");
    assert_eq!(words.iter().filter(|(code, _)| *code == "credential-missing").count(), 1, "the world is one");
    let text = shown(&report, 200, Detail::Brief);
    assert!(text.lines().count() < 1500, "brief is brief");
    assert!(shown(&report, 200, Detail::Full).len() > text.len());
}

#[test]
fn colours_are_escape_sequences_and_off_means_none() {
    let coloured = Screen { colours: Colours::On, columns: Some(80) };
    let with = terminal::render(&mixed(), "r.json", coloured, Detail::Full);
    let without = terminal::render(&mixed(), "r.json", screen(80), Detail::Full);
    assert!(with.contains('\u{1b}') && !without.contains('\u{1b}'));
    assert_eq!(console::strip_ansi_codes(&with), without);
}

#[test]
fn a_job_summary_is_markdown() {
    insta::assert_snapshot!(markdown::render(&mixed()));
}

#[test]
fn a_large_report_fits_into_a_job_summary() {
    let mut report = large(8000);
    for row in &mut report.outcomes {
        for finding in &mut row.findings {
            finding.message = "x".repeat(5000);
        }
    }
    let text = markdown::render(&report);
    assert!(text.len() < 1 << 20 && text.contains("more did not fit"), "{}", text.len());
}

#[test]
fn annotations_are_one_a_cause() {
    insta::assert_snapshot!(github::render(&mixed()));
    insta::assert_snapshot!(
        github::render(&report("2026-01-01T03:17:00Z", vec![row("a", "a/b", "c")])),
        @"::notice title=ccsmoke%3A everything passed::1 cell in 2.5 s"
    );
}

#[test]
fn junit_has_a_suite_a_target_and_a_case_a_cell_with_its_attempts() {
    let xml = junit::render(&mixed()).unwrap();
    insta::assert_snapshot!(xml);
    let read = quick_junit::Report::deserialize_from_str(&xml).unwrap();
    assert_eq!((read.tests, read.failures, read.errors), (7, 2, 1));
}

#[test]
fn the_same_report_gives_the_same_text() {
    for report in [first_night(), second_night(), mixed()] {
        let all = |report: &MatrixReport| {
            let texts = [shown(report, 80, Detail::Full), markdown::render(report), github::render(report)];
            (texts, junit::render(report).unwrap())
        };
        let stored = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
        assert_eq!(all(&report), all(&stored));
    }
}
