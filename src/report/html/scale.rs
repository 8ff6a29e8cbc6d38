//! How much of its evidence each cell may show, so that a page stays one that a browser opens at once.

/// The most that the cells' details take together, in bytes of JSON; what comes after shows the report's facts alone.
pub(super) const PAGE_BYTES: usize = 9 << 20;

/// How much of a cell's evidence is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scale {
    /// Requests on both sides, in order of arrival; each is one row of the timeline.
    pub(super) exchanges: usize,
    /// Marks on a row of the timeline.
    pub(super) marks: usize,
    /// Lines of one side-by-side view.
    pub(super) rows: usize,
    /// Characters of one line.
    pub(super) line: usize,
    /// Lines of the client's output.
    pub(super) events: usize,
    /// Characters of an excerpt.
    pub(super) excerpt: usize,
}

impl Scale {
    /// Of a cell that did not pass, among `failed` of them.
    pub(super) fn of_failed(failed: usize) -> Self {
        match failed {
            0..=40 => Self { exchanges: 60, marks: 240, rows: 400, line: 600, events: 240, excerpt: 2400 },
            41..=250 => Self { exchanges: 24, marks: 80, rows: 120, line: 240, events: 60, excerpt: 1200 },
            _ => Self { exchanges: 8, marks: 24, rows: 32, line: 160, events: 16, excerpt: 400 },
        }
    }

    /// Of a cell that passed: the timeline alone.
    pub(super) const PASSED: Self = Self { exchanges: 16, marks: 40, rows: 0, line: 0, events: 0, excerpt: 240 };

    /// Of a cell for which no room is left.
    pub(super) const REPORT_ALONE: Self = Self { exchanges: 0, marks: 0, rows: 0, line: 0, events: 0, excerpt: 160 };
}
