//! What a person sees while a load goes on, at standard error: a few lines that are drawn again on a terminal, a line every ten seconds
//! elsewhere.

use std::fmt::Write as _;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::to_stderr;
use crate::load::metrics::histogram::Histogram;
use crate::load::run::Glance;
use crate::load::threshold::{figure_of_time, short};
use crate::report::terminal::printable;

/// How often a line is printed where nothing can be drawn.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// The dashboard.
pub(super) struct Dashboard {
    bar: Option<ProgressBar>,
    last_line: Option<Duration>,
    last: (Duration, u64),
}

impl Dashboard {
    pub(super) fn new(is_terminal: bool) -> Self {
        let bar = is_terminal.then(|| {
            let bar = ProgressBar::new_spinner();
            bar.set_style(ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar
        });
        Self { bar, last_line: None, last: (Duration::ZERO, 0) }
    }

    pub(super) fn show(&mut self, glance: &Glance) {
        let answered = glance.counters.ok + glance.counters.failed;
        let (before, count) = std::mem::replace(&mut self.last, (glance.elapsed, answered));
        let passed = glance.elapsed.saturating_sub(before).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "answers between two looks are few")]
        let rate = answered.saturating_sub(count) as f64 / passed.max(1e-3);
        let c = &glance.counters;
        let mut text = format!(
            "{:>5.0} s  {}  {} answers/s  in flight {} ({} streams)  planned {}  sent {}  ok {}  failed {}",
            glance.elapsed.as_secs_f64(),
            printable(glance.scenarios.last().map_or("", String::as_str)),
            short(rate),
            glance.in_flight,
            glance.streams,
            glance.planned,
            c.sent,
            c.ok,
            c.failed,
        );
        if let Some(bar) = &self.bar {
            for (name, times) in [("e2e", &glance.e2e), ("ttft", &glance.ttft)] {
                if times.count() > 0 {
                    let _ = write!(text, "\n         {name:<5} {}", percentiles(times));
                }
            }
            for risk in &glance.at_risk {
                let _ = write!(text, "\n         at risk: {}", printable(risk));
            }
            bar.set_message(text);
            bar.tick();
        } else if self.last_line.is_none_or(|last| glance.elapsed >= last + LINE_EVERY) {
            self.last_line = Some(glance.elapsed);
            to_stderr(&(text + "\n"));
        }
    }

    pub(super) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn percentiles(times: &Histogram) -> String {
    #[expect(clippy::cast_precision_loss, reason = "microseconds of a run fit")]
    let at = |percent| figure_of_time(times.percentile(percent).micros as f64);
    format!("p50 {}  p95 {}  p99 {}  n {}", at(50.0), at(95.0), at(99.0), times.count())
}
