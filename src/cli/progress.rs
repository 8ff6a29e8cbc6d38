//! What a person sees while a run goes on, at standard error: a line that moves on a terminal, a line a cell elsewhere.

use std::collections::BTreeSet;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::report::terminal::printable;
use crate::run::Event;
use crate::verdict::Outcome;

/// Shows a run's events.
pub(super) struct Progress {
    bar: ProgressBar,
    running: BTreeSet<String>,
    live: Liveness,
}

/// Whether the line can move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Liveness {
    /// A terminal: one line that is drawn anew.
    Terminal,
    /// A file, a pipe, CI: a line for each finished cell.
    Plain,
    /// Nothing: a program reads events elsewhere.
    Silent,
}

impl Progress {
    pub(super) fn new(live: Liveness) -> Self {
        let bar = match live {
            Liveness::Terminal => ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()),
            Liveness::Plain | Liveness::Silent => ProgressBar::hidden(),
        };
        bar.set_style(ProgressStyle::default_spinner());
        Self { bar, running: BTreeSet::new(), live }
    }

    /// Says what is being prepared.
    pub(super) fn preparing(&self, message: &str) {
        match self.live {
            Liveness::Terminal => {
                self.bar.set_message(printable(message));
                self.bar.enable_steady_tick(Duration::from_millis(120));
            }
            Liveness::Plain => super::to_stderr(&format!("{}\n", printable(message))),
            Liveness::Silent => {}
        }
    }

    pub(super) fn show(&mut self, event: &Event) {
        match event {
            Event::RunStarted { cells } => {
                self.bar.set_length(cells.len() as u64);
                if let Ok(style) = ProgressStyle::with_template("{bar:20} {pos}/{len}  {elapsed}  {wide_msg}") {
                    self.bar.set_style(style);
                }
            }
            Event::CellStarted { cell, .. } => {
                self.running.insert(cell.clone());
            }
            Event::CellFinished { cell, row } => {
                self.running.remove(cell);
                self.bar.inc(1);
                let line = match row.outcome {
                    Outcome::Passed => format!("passed  {cell}  {:.2} s", row.duration_s),
                    _ => format!("{:<6}  {cell}  {}", row.outcome.as_str(), row.classification),
                };
                match self.live {
                    Liveness::Terminal if row.outcome != Outcome::Passed => self.bar.println(printable(&line)),
                    Liveness::Plain => super::to_stderr(&format!("{}\n", printable(&line))),
                    Liveness::Terminal | Liveness::Silent => {}
                }
            }
            Event::RunFinished { .. } => self.bar.finish_and_clear(),
        }
        let names: Vec<&str> = self.running.iter().map(String::as_str).collect();
        self.bar.set_message(printable(&names.join(", ")));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
