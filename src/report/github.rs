//! Annotations for GitHub Actions: workflow commands that the runner shows at the job and the pull request.

use std::fmt::Write as _;

use super::MatrixReport;
use super::cause::causes;
use super::terminal::places;
use super::text::{counted, printable};
use crate::verdict::Outcome;

/// One annotation a cause, because GitHub shows ten of a step: an error for a regression, else a warning, and a notice when
/// everything passed.
pub fn render(report: &MatrixReport) -> String {
    let mut out = String::new();
    let causes = causes(report);
    for explained in &causes {
        let regression = explained.rows.iter().any(|row| row.classification.is_regression());
        let level = if regression { "error" } else { "warning" };
        let what = match explained.rows.first().map(|row| row.outcome) {
            Some(Outcome::Skipped) => "skipped",
            _ => "failed",
        };
        let title = format!("{}: {} {what}", explained.cause.words(), counted(explained.rows.len(), "cell"));
        let message = explained.finding.map_or("the text alone decided", |finding| &finding.message);
        command(&mut out, level, &title, &format!("{message} ({})", places(&explained.rows)));
    }
    if causes.is_empty() {
        let message = format!("{} in {:.1} s", counted(report.outcomes.len(), "cell"), report.duration_s);
        command(&mut out, "notice", "ccsmoke: everything passed", &message);
    }
    out
}

/// Writes a workflow command. Source: `actions/toolkit`, `packages/core/src/command.ts`.
fn command(out: &mut String, level: &str, title: &str, message: &str) {
    /// The runner cuts longer messages.
    const CHARS: usize = 4000;
    let data = |text: &str| printable(text).chars().take(CHARS).collect::<String>().replace('%', "%25");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let _ = writeln!(out, "::{level} title={}::{}", property(title), data(message));
}
