//! A comparison for a terminal.

use std::fmt::Write as _;

use console::Style;

use super::{CellChange, ChangeKind, Diff};
use crate::report::terminal::{Screen, beside, paragraph};
use crate::report::text::{counted, printable};

/// The comparison as text, ending with a newline. `new` is where the new report stands.
pub fn render(diff: &Diff, new: &str, screen: Screen) -> String {
    let mut out = String::new();
    for kind in ChangeKind::ALL {
        let cells: Vec<&CellChange> = diff.of_kind(kind).collect();
        if cells.is_empty() {
            continue;
        }
        let style = match kind {
            ChangeKind::NewlyBroken | ChangeKind::Missing => Style::new().red().bold(),
            ChangeKind::OtherCause | ChangeKind::SameCause => Style::new().yellow(),
            ChangeKind::NewlyFixed | ChangeKind::New => Style::new().green(),
        };
        let head = format!("{}: {}", kind.words(), counted(cells.len(), "cell"));
        let _ = writeln!(out, "{}", screen.colours.style(style).apply_to(head));
        for cell in cells {
            change(&mut out, cell, new, screen);
        }
    }
    if !diff.changes.is_empty() {
        let _ = writeln!(out, "what else changed");
        for change in &diff.changes {
            paragraph(&mut out, 2, &change.words(), screen);
        }
    }
    paragraph(&mut out, 0, &summary(diff), screen);
    out
}

/// The numbers in one line.
pub(super) fn summary(diff: &Diff) -> String {
    let mut parts = Vec::new();
    for kind in ChangeKind::ALL {
        let n = diff.of_kind(kind).count();
        if n > 0 {
            parts.push(format!("{n} {}", kind.words()));
        }
    }
    parts.push(format!("{} passed as before", diff.passed_in_both));
    printable(&format!("{} ({} → {})", parts.join("; "), diff.old_started_at, diff.new_started_at))
}

impl super::Change {
    /// The change in one line.
    pub(super) fn words(&self) -> String {
        let side = |text: &str| if text.is_empty() { "not there".to_owned() } else { text.to_owned() };
        printable(&format!("{}: {} → {}", self.what, side(&self.old), side(&self.new)))
    }
}

impl CellChange {
    /// What decided, before and now.
    pub(super) fn causes(&self) -> String {
        let words = |cause: &Option<super::Cause>| cause.as_ref().map(super::Cause::words).unwrap_or_default();
        let (old, new) = (words(&self.old_cause), words(&self.cause));
        printable(&match self.kind {
            ChangeKind::OtherCause => format!("{old} → {new}"),
            ChangeKind::NewlyFixed => format!("was {old}"),
            ChangeKind::Missing if new.is_empty() && !old.is_empty() => format!("was {old}"),
            _ => new,
        })
    }
}

fn change(out: &mut String, cell: &CellChange, new: &str, screen: Screen) {
    let bold = screen.colours.style(Style::new().bold());
    let _ = writeln!(out, "  {}", bold.apply_to(printable(&cell.cell)));
    let causes = cell.causes();
    if !causes.is_empty() {
        paragraph(out, 4, &causes, screen);
    }
    if matches!(cell.kind, ChangeKind::NewlyBroken | ChangeKind::Missing | ChangeKind::OtherCause) {
        if !cell.message.is_empty() {
            paragraph(out, 4, &printable(&cell.message), screen);
        }
        if !cell.evidence_path.is_empty() {
            let _ = writeln!(out, "    evidence {}", beside(new, &cell.evidence_path));
        }
    }
}
