//! What a person sees while a load goes on, at standard error: a few lines that are drawn again on a terminal, a line every ten seconds
//! elsewhere.

use std::time::Duration;

use console::{Term, measure_text_width};

use super::to_stderr;
use crate::load::metrics::histogram::Histogram;
use crate::load::run::Glance;
use crate::load::threshold::{figure_of_time, short};
use crate::report::terminal::printable;
use crate::report::text::clipped;

/// How often a line is printed where nothing can be drawn.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// How many thresholds at risk are named.
const AT_RISK: usize = 4;

/// The dashboard.
pub(super) struct Dashboard {
    is_terminal: bool,
    /// What stands on the terminal: the widths of its lines.
    drawn: Vec<usize>,
    last_line: Option<Duration>,
    last: Counted,
}

/// What had been counted when it was looked at.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    at: Duration,
    sent: u64,
    answered: u64,
}

impl Dashboard {
    pub(super) fn new(is_terminal: bool) -> Self {
        Self { is_terminal, drawn: Vec::new(), last_line: None, last: Counted::default() }
    }

    pub(super) fn show(&mut self, glance: &Glance) {
        let lines = lines(glance, &mut self.last);
        if self.is_terminal {
            self.draw(&lines);
        } else if self.last_line.is_none_or(|last| glance.elapsed >= last + LINE_EVERY) {
            self.last_line = Some(glance.elapsed);
            let words: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
            to_stderr(&(words.join("  ") + "\n"));
        }
    }

    /// Draws the lines in the place of those before, at the size that the terminal has now.
    fn draw(&mut self, lines: &[String]) {
        let (rows, columns) = Term::stderr().size_checked().unwrap_or((24, 80));
        let (rows, columns) = (usize::from(rows).max(2), usize::from(columns).max(2));
        let mut frame = self.cleared(columns);
        // What does not fit is cut: a line that becomes two, or one that leaves at the top, cannot be drawn again.
        for line in lines.iter().take(rows - 1) {
            let line = clipped(line, columns - 1);
            self.drawn.push(measure_text_width(&line));
            frame.push_str(&line);
            frame.push('\n');
        }
        to_stderr(&frame);
    }

    /// What takes the lines away that stand there. A terminal that was made narrower since has folded them.
    fn cleared(&mut self, columns: usize) -> String {
        let rows: usize = self.drawn.drain(..).map(|width| width.div_ceil(columns).max(1)).sum();
        if rows == 0 { String::new() } else { format!("\r\x1b[{rows}A\x1b[J") }
    }

    pub(super) fn finish(&mut self) {
        let columns = Term::stderr().size_checked().map_or(80, |(_, columns)| usize::from(columns).max(2));
        let frame = self.cleared(columns);
        if !frame.is_empty() {
            to_stderr(&frame);
        }
    }
}

/// What is told: the rates since the last look, what became of requests, their times, their failures, and what is at risk.
fn lines(glance: &Glance, last: &mut Counted) -> Vec<String> {
    let c = &glance.counters;
    let counted = Counted { at: glance.elapsed, sent: c.sent, answered: c.ok + c.failed };
    let before = std::mem::replace(last, counted);
    let passed = counted.at.saturating_sub(before.at).as_secs_f64().max(1e-3);
    #[expect(clippy::cast_precision_loss, reason = "requests between two looks are few")]
    let rate = |now: u64, before: u64| short(now.saturating_sub(before) as f64 / passed);
    let mut lines = vec![
        format!(
            "{:>5.0} s  {}  {} sent/s  {} answers/s  in flight {} ({} streams)",
            counted.at.as_secs_f64(),
            printable(glance.scenarios.last().map_or("", String::as_str)),
            rate(counted.sent, before.sent),
            rate(counted.answered, before.answered),
            glance.in_flight,
            glance.streams,
        ),
        format!("         planned {}  sent {}  ok {}  failed {}", glance.planned, c.sent, c.ok, c.failed),
    ];
    for (name, times) in [("e2e", &glance.e2e), ("ttft", &glance.ttft)] {
        if times.count() > 0 {
            lines.push(format!("         {name:<5} {}", percentiles(times)));
        }
    }
    if !glance.failures.is_empty() {
        let kinds: Vec<String> = glance.failures.iter().map(|(kind, n)| format!("{} {n}", kind.name())).collect();
        lines.push(format!("         errors: {}", kinds.join(", ")));
    }
    let named = glance.at_risk.iter().take(AT_RISK).map(|risk| format!("         at risk: {}", printable(risk)));
    lines.extend(named);
    if let Some(more) = glance.at_risk.len().checked_sub(AT_RISK + 1) {
        lines.push(format!("         and {} more at risk", more + 1));
    }
    lines
}

fn percentiles(times: &Histogram) -> String {
    #[expect(clippy::cast_precision_loss, reason = "microseconds of a run fit")]
    let at = |percent| figure_of_time(times.percentile(percent).micros as f64);
    format!("p50 {}  p95 {}  p99 {}  n {}", at(50.0), at(95.0), at(99.0), times.count())
}
