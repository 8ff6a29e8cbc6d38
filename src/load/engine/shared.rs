//! What the threads of a run share: when to stop and why, what has been used up, how much is going on.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use crate::load::face::mark::Mark;
use crate::load::face::stamp::now;
use crate::load::metrics::record::{ScenarioRecord, Tokens};
use crate::load::metrics::recorder::Recorder;
use crate::load::scenario::Limits;

/// Why a run ended before its plan did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stopped {
    /// Somebody interrupted it.
    Interrupted,
    /// A limit was reached.
    Limit(String),
    /// A threshold was missed, and asked for an early end.
    Threshold(String),
    /// Something on this side broke down.
    Trouble(String),
}

/// How many tries that this program gave up are remembered.
const MOST_HUNG_UP: usize = 10_000;

/// What the threads of a run share.
#[derive(Debug, Default)]
pub struct Shared {
    stop: CancellationToken,
    why: Mutex<Option<Stopped>>,
    limits: Limits,
    requests: AtomicU64,
    tokens_in: AtomicU64,
    tokens_out: AtomicU64,
    /// Requests that wait for their answers.
    pub in_flight: AtomicU32,
    /// Of these, those that asked for streams.
    pub streams: AtomicU32,
    board: Mutex<Vec<Arc<Mutex<Recorder>>>>,
    over: AtomicBool,
    hung_up: Mutex<Vec<(Mark, u64)>>,
}

impl Shared {
    /// Nothing has been used yet.
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Ends the run; the first reason counts. What is over is not ended.
    pub fn stop(&self, why: Stopped) {
        if self.is_over() {
            return;
        }
        self.why.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
        self.stop.cancel();
    }

    /// What is cancelled when the run ends early.
    pub fn stopping(&self) -> &CancellationToken {
        &self.stop
    }

    /// Why the run ended early, if it did.
    pub fn why(&self) -> Option<Stopped> {
        self.why.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes a request from what is left; false when nothing is left.
    pub(super) fn may_send(&self) -> bool {
        let before = self.requests.fetch_add(1, Ordering::Relaxed);
        match self.limits.requests {
            Some(most) if before >= most => {
                self.stop(Stopped::Limit(format!("{most} requests")));
                false
            }
            _ => true,
        }
    }

    /// Counts tokens against what is left.
    #[expect(clippy::cast_precision_loss, reason = "money is counted in doubles")]
    pub(super) fn used(&self, tokens: &Tokens) {
        let input = self.tokens_in.fetch_add(tokens.input, Ordering::Relaxed) + tokens.input;
        let output = self.tokens_out.fetch_add(tokens.output, Ordering::Relaxed) + tokens.output;
        if let Some(most) = self.limits.tokens
            && input + output >= most
        {
            self.stop(Stopped::Limit(format!("{most} tokens")));
        }
        if let Some((most, price_in, price_out)) = self.limits.usd
            && input as f64 * price_in + output as f64 * price_out >= most
        {
            self.stop(Stopped::Limit(format!("{most} USD")));
        }
    }

    /// A marked try is about to be given up: its connection is closed next.
    pub(super) fn hangs_up(&self, mark: Mark) {
        let mut all = self.hung_up.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < MOST_HUNG_UP {
            all.push((mark, now()));
        }
    }

    /// The marked tries that this program gave up, the first ten thousand, with the moments on the host's monotonic clock.
    pub fn take_hung_up(&self) -> Vec<(Mark, u64)> {
        std::mem::take(&mut self.hung_up.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts up a recorder, so that it can be looked at while it records.
    pub(super) fn put_up(&self, recorder: &Arc<Mutex<Recorder>>) {
        self.board.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(recorder));
    }

    /// The run is over: there is nothing to look at any more.
    pub(super) fn take_down(&self) {
        self.over.store(true, Ordering::Release);
        self.board.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Whether the run is over, and what [`Shared::look`] shows is not what was recorded.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Looks at every record of the run so far. Each is locked for as long as it is looked at: be quick.
    pub fn look(&self, mut at: impl FnMut(&ScenarioRecord)) {
        let board = self.board.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for recorder in board {
            at(&recorder.lock().unwrap_or_else(PoisonError::into_inner).record);
        }
    }
}
