//! A comparison as Markdown, for the summary page of a CI job.

use std::fmt::Write as _;

use super::terminal::summary;
use super::{ChangeKind, Diff};
use crate::report::markdown::{bounded, code};
use crate::report::text::counted;

/// The comparison as a Markdown document.
pub fn render(diff: &Diff) -> String {
    let mut out =
        format!("## ccsmoke: {}\n\n", if diff.fails() { "❌ worse than before" } else { "✅ not worse than before" });
    let _ = writeln!(out, "{}\n", summary(diff));
    for kind in ChangeKind::ALL {
        let cells: Vec<_> = diff.of_kind(kind).collect();
        if cells.is_empty() {
            continue;
        }
        let _ = writeln!(out, "### {}: {}\n", kind.words(), counted(cells.len(), "cell"));
        let lines = cells.into_iter().map(|cell| {
            let words = [cell.causes(), cell.message.clone()]
                .map(|text| if text.is_empty() { text } else { format!(": {}", code(&text)) });
            format!("- {}{}\n", code(&cell.cell), words.concat())
        });
        bounded(&mut out, lines, "cell");
        out.push('\n');
    }
    if !diff.changes.is_empty() {
        out.push_str("### What else changed\n\n");
        for change in &diff.changes {
            let _ = writeln!(out, "- {}", code(&change.words()));
        }
    }
    out
}
