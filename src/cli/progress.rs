//! What a person sees while a run goes on, at standard error: on a terminal lines that move, with what is done, running and
//! waiting, the newest failures and the time that is left; elsewhere a line a cell.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::report::OutcomeRow;
use crate::report::terminal::printable;
use crate::run::Event;
use crate::verdict::Outcome;
use crate::world::World;

/// How many of the newest failures stay in sight.
const FAILURES: usize = 5;

/// How often the lines are drawn.
const TICK: Duration = Duration::from_millis(120);

/// Shows a run's events.
pub(super) struct Progress {
    lines: MultiProgress,
    bar: ProgressBar,
    running_line: ProgressBar,
    failure_lines: Vec<ProgressBar>,
    state: State,
    live: Liveness,
}

/// Whether the lines can move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Liveness {
    /// A terminal: lines that are drawn anew.
    Terminal,
    /// A file, a pipe, CI: a line for each finished cell.
    Plain,
    /// Nothing: a program reads events elsewhere.
    Silent,
}

impl Liveness {
    /// What standard error is good for.
    pub(super) fn at(world: &World) -> Self {
        if world.is_watched() { Self::Terminal } else { Self::Plain }
    }
}

/// What is known of the run so far.
#[derive(Debug, Default)]
struct State {
    cells: usize,
    started: Option<Instant>,
    running: BTreeSet<String>,
    passed: usize,
    failed: usize,
    skipped: usize,
    /// The newest last.
    failures: VecDeque<String>,
}

impl State {
    fn see(&mut self, event: &Event, now: Instant) {
        match event {
            Event::RunStarted { cells } => {
                self.cells = cells.len();
                self.started = Some(now);
            }
            Event::CellStarted { cell, .. } => drop(self.running.insert(cell.clone())),
            Event::CellFinished { cell, row } => {
                self.running.remove(cell);
                match row.outcome {
                    Outcome::Passed => self.passed += 1,
                    Outcome::Skipped => self.skipped += 1,
                    Outcome::Failed => {
                        self.failed += 1;
                        self.failures.push_back(failure(cell, row));
                        if self.failures.len() > FAILURES {
                            self.failures.pop_front();
                        }
                    }
                }
            }
            Event::RunFinished { .. } => {}
        }
    }

    fn done(&self) -> usize {
        self.passed + self.failed + self.skipped
    }

    /// `3 running, 12 waiting, 8 passed, 1 failed, about 40 s left`.
    fn words(&self, now: Instant) -> String {
        let waiting = self.cells.saturating_sub(self.done() + self.running.len());
        let parts = [
            (self.running.len(), "running"),
            (waiting, "waiting"),
            (self.passed, "passed"),
            (self.failed, "failed"),
            (self.skipped, "skipped"),
        ];
        let mut words: Vec<String> =
            parts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        words.extend(self.left(now).map(|left| format!("about {} left", duration(left))));
        words.join(", ")
    }

    /// The time that the rest will take when it goes as fast as what is done; `None` before anything is.
    fn left(&self, now: Instant) -> Option<Duration> {
        let done = u32::try_from(self.done()).ok().filter(|n| *n > 0)?;
        let left = u32::try_from(self.cells.saturating_sub(self.done())).ok().filter(|n| *n > 0)?;
        Some(now.saturating_duration_since(self.started?) / done * left)
    }
}

fn failure(cell: &str, row: &OutcomeRow) -> String {
    let cause = row.cause().map(|cause| format!(": {}", cause.words())).unwrap_or_default();
    printable(&format!("✗ {cell}  {}{cause}", row.classification))
}

/// `45 s`, `3 min`, `2 h 5 min`: as exact as a guess is.
fn duration(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..=99 => format!("{seconds} s"),
        seconds @ 100..=5999 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

impl Progress {
    pub(super) fn new(live: Liveness) -> Self {
        let target = match live {
            Liveness::Terminal => ProgressDrawTarget::stderr(),
            Liveness::Plain | Liveness::Silent => ProgressDrawTarget::hidden(),
        };
        let lines = MultiProgress::with_draw_target(target);
        let bar = lines.add(ProgressBar::no_length());
        bar.set_style(ProgressStyle::default_spinner());
        let running_line = lines.add(plain_line());
        Self { lines, bar, running_line, failure_lines: Vec::new(), state: State::default(), live }
    }

    /// Says what is being prepared.
    pub(super) fn preparing(&self, message: &str) {
        match self.live {
            Liveness::Terminal => {
                self.bar.set_message(printable(message));
                self.bar.enable_steady_tick(TICK);
            }
            Liveness::Plain => super::to_stderr(&format!("{}\n", printable(message))),
            Liveness::Silent => {}
        }
    }

    pub(super) fn show(&mut self, event: &Event) {
        let now = Instant::now();
        self.state.see(event, now);
        match event {
            Event::RunStarted { cells } => {
                self.bar.set_length(cells.len() as u64);
                if let Ok(style) = ProgressStyle::with_template("{bar:20} {pos}/{len}  {elapsed}  {wide_msg}") {
                    self.bar.set_style(style);
                }
                // Drawn at its own pace, so that what changes in a burst is seen when it is over.
                if self.live == Liveness::Terminal {
                    self.bar.enable_steady_tick(TICK);
                }
            }
            Event::CellFinished { cell, row } => {
                self.bar.set_position(self.state.done() as u64);
                if self.live == Liveness::Plain {
                    let line = match row.outcome {
                        Outcome::Passed => format!("passed  {cell}  {:.2} s", row.duration_s),
                        _ => format!("{:<6}  {cell}  {}", row.outcome.as_str(), row.classification),
                    };
                    super::to_stderr(&format!("{}\n", printable(&line)));
                }
            }
            Event::CellStarted { .. } => {}
            Event::RunFinished { .. } => return self.clear(),
        }
        self.draw(now);
    }

    fn draw(&mut self, now: Instant) {
        self.bar.set_message(self.state.words(now));
        let running: Vec<&str> = self.state.running.iter().map(String::as_str).collect();
        self.running_line.set_message(printable(&running.join(", ")));
        while self.failure_lines.len() < self.state.failures.len() {
            self.failure_lines.push(self.lines.add(plain_line()));
        }
        for (line, failure) in self.failure_lines.iter().zip(&self.state.failures) {
            line.set_message(failure.clone());
        }
    }

    fn clear(&mut self) {
        for line in self.failure_lines.iter().chain([&self.running_line, &self.bar]) {
            line.finish_and_clear();
        }
    }
}

/// A line that holds nothing but words.
fn plain_line() -> ProgressBar {
    let line = ProgressBar::no_length();
    if let Ok(style) = ProgressStyle::with_template("  {wide_msg}") {
        line.set_style(style);
    }
    line
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_count_what_runs_waits_and_is_done_and_guess_what_is_left() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut state = State { cells: 10, started: Some(start), ..State::default() };
        assert_eq!(state.words(after(5)), "10 waiting");
        state.running.extend(["a".to_owned(), "b".to_owned()]);
        (state.passed, state.failed) = (3, 1);
        assert_eq!(state.words(after(40)), "2 running, 4 waiting, 3 passed, 1 failed, about 60 s left");
        state.running.clear();
        (state.passed, state.skipped) = (8, 1);
        assert_eq!(state.words(after(40)), "8 passed, 1 failed, 1 skipped");
    }

    #[test]
    fn a_guess_is_not_told_to_the_second() {
        let told = [0, 99, 100, 300, 5999, 7500].map(|s| duration(Duration::from_secs(s)));
        assert_eq!(told, ["0 s", "99 s", "2 min", "5 min", "100 min", "2 h 5 min"]);
    }
}
