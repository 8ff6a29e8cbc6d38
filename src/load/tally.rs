//! What a source of answers saw of the requests that a load marked: how often each came, and when the connection of one whose answer
//! was not over was closed. A load asks for it when it is done.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::face::mark::Mark;
use super::face::stamp::now;

/// Where it is asked for, with the run's number behind it.
pub const PATH: &str = "/ccsmoke/tally/";

/// How many marks are kept of all runs, some 60 MB. Further ones are only counted.
const MOST_MARKS: usize = 1 << 20;

/// How many runs are kept; the oldest goes.
const MOST_RUNS: usize = 8;

/// What was seen of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// By scenario.
    pub scenarios: BTreeMap<u16, Calls>,
    /// Tries whose answers are not over.
    pub open: Vec<Mark>,
    /// Tries that somebody gave up, with the moment on the host's monotonic clock.
    pub given_up: Vec<(Mark, u64)>,
    /// Calls that were not kept, because there were too many.
    pub forgotten: u64,
}

/// How often tries came.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calls {
    /// Calls.
    pub calls: u64,
    /// Different tries.
    pub tries: u64,
    /// The most calls of one try.
    pub most: u64,
}

/// Keeps what was seen.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    runs: VecDeque<(u32, Run)>,
    marks: usize,
}

#[derive(Debug, Default)]
struct Run {
    heard: HashMap<Mark, Heard>,
    forgotten: u64,
}

#[derive(Debug, Default, Clone, Copy)]
struct Heard {
    calls: u32,
    open: u32,
    given_up: Option<u64>,
}

/// A call that is being answered. Dropped before it is [`Call::over`], it was given up.
#[derive(Debug)]
pub(super) struct Call {
    tally: Arc<Tally>,
    mark: Mark,
    is_over: bool,
}

impl Tally {
    /// A try came.
    pub(super) fn came(self: &Arc<Self>, mark: Mark) -> Call {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !kept.runs.iter().any(|(run, _)| *run == mark.run) {
            if kept.runs.len() == MOST_RUNS {
                let oldest = kept.runs.pop_front();
                kept.marks -= oldest.map_or(0, |(_, run)| run.heard.len());
            }
            kept.runs.push_back((mark.run, Run::default()));
        }
        let Kept { runs, marks } = &mut *kept;
        if let Some((_, run)) = runs.iter_mut().find(|(run, _)| *run == mark.run) {
            let is_known = run.heard.contains_key(&mark);
            if is_known || *marks < MOST_MARKS {
                *marks += usize::from(!is_known);
                let heard = run.heard.entry(mark).or_default();
                heard.calls += 1;
                heard.open += 1;
            } else {
                run.forgotten += 1;
            }
        }
        Call { tally: Arc::clone(self), mark, is_over: false }
    }

    fn ended(&self, mark: Mark, given_up: Option<u64>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let run = kept.runs.iter_mut().find(|(run, _)| *run == mark.run);
        if let Some(heard) = run.and_then(|(_, run)| run.heard.get_mut(&mark)) {
            heard.open = heard.open.saturating_sub(1);
            heard.given_up = heard.given_up.max(given_up);
        }
    }

    /// What was seen of a run.
    pub(super) fn seen(&self, run: u32) -> Seen {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut seen = Seen::default();
        let Some((_, run)) = kept.runs.iter().find(|(known, _)| *known == run) else { return seen };
        for (mark, heard) in &run.heard {
            let calls = seen.scenarios.entry(mark.scenario).or_default();
            calls.calls += u64::from(heard.calls);
            calls.tries += 1;
            calls.most = calls.most.max(u64::from(heard.calls));
            if heard.open > 0 {
                seen.open.push(*mark);
            }
            seen.given_up.extend(heard.given_up.map(|at| (*mark, at)));
        }
        seen.forgotten = run.forgotten;
        seen
    }
}

impl Call {
    /// The answer left as a whole.
    pub(super) fn over(mut self) {
        self.is_over = true;
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let given_up = (!self.is_over).then(now);
        self.tally.ended(self.mark, given_up);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_try_and_those_given_up_have_their_moment() {
        let tally = Arc::new(Tally::default());
        let mark = |index| Mark { run: 1, scenario: 0, index, attempt: 0 };
        tally.came(mark(1)).over();
        tally.came(mark(1)).over();
        let before = now();
        drop(tally.came(mark(2)));
        let open = tally.came(mark(3));
        tally.came(Mark { run: 2, ..mark(1) }).over();
        let seen = tally.seen(1);
        assert_eq!(seen.scenarios[&0], Calls { calls: 4, tries: 3, most: 2 });
        assert_eq!(seen.open, [mark(3)]);
        assert!(matches!(seen.given_up[..], [(known, at)] if known == mark(2) && at >= before));
        open.over();
        assert!(tally.seen(1).open.is_empty());
        assert_eq!(tally.seen(9), Seen::default());
    }

    #[test]
    fn old_runs_make_room() {
        let tally = Arc::new(Tally::default());
        for run in 0..20 {
            tally.came(Mark { run, scenario: 0, index: 0, attempt: 0 }).over();
        }
        assert!(tally.seen(0).scenarios.is_empty());
        assert_eq!(tally.seen(19).scenarios[&0].calls, 1);
        assert_eq!(tally.0.lock().unwrap().marks, MOST_RUNS);
    }
}
