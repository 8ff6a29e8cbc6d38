//! Requests that start when they are due, however slow the answers are: an open load.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::worker::{Job, Worker};
use crate::load::arrivals::Process;
use crate::load::face::stamp::now;
use crate::load::plan::Plan;

/// Gives out this worker's part of the plan when it is due, until it is done or the run is stopped; what was not given out then was
/// dropped.
///
/// # Errors
/// There is no timer to be had: the program is out of file descriptors.
pub(super) fn arrivals(worker: &Rc<Worker>, scenario: usize, process: &Process) -> io::Result<()> {
    let alarm = Alarm::new()?;
    let (own, process) = (Rc::clone(worker), process.clone());
    worker.spawn(async move { keep_time(&own, scenario, &process, &alarm).await });
    Ok(())
}

async fn keep_time(worker: &Rc<Worker>, scenario: usize, process: &Process, alarm: &Alarm) {
    let suite = Arc::clone(&worker.common.suite);
    let it = &suite.scenarios[scenario];
    let dice = Plan::new(&suite, it).dice();
    for (index, due) in process.arrivals(dice).filter(|(k, _)| worker.is_mine(*k)) {
        let moment = worker.common.epoch + u64::try_from((it.start + due).as_nanos()).unwrap_or(u64::MAX);
        let in_time = worker.unless_stopped(alarm.wait_until(moment)).await.is_some();
        worker.recorder(scenario, |r| {
            r.record.plan(due);
            r.record.dropped += u64::from(!in_time);
        });
        if in_time {
            let own = Rc::clone(worker);
            worker.spawn(async move { own.planned(Job { scenario, index, due }).await });
            // Whoever is behind gives out many at once, and others have to come to their turn.
            tokio::task::consume_budget().await;
        }
    }
}

/// A timer of the kernel that the worker itself waits for, together with its connections.
///
/// The runtime's own timers are a millisecond late. A thread that keeps time is not, but handing each request from it to the worker costs
/// two switches of context, more than the request itself; and what makes a worker late makes it late for both.
struct Alarm(AsyncFd<Timer>);

/// What the runtime knows a file by.
struct Timer(TimerFd);

impl AsRawFd for Timer {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl Alarm {
    #[expect(
        deprecated,
        reason = "the way without `unsafe`; what it cannot know, that nobody replaces the file, is plain to see here"
    )]
    fn new() -> io::Result<Self> {
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
        Ok(Self(AsyncFd::with_interest(Timer(timer), Interest::READABLE)?))
    }

    /// Waits for a moment of the host's monotonic clock, in nanoseconds.
    async fn wait_until(&self, moment: u64) {
        if now() >= moment {
            return;
        }
        let at = Expiration::OneShot(TimeSpec::from_duration(Duration::from_nanos(moment)));
        if self.0.get_ref().0.set(at, TimerSetTimeFlags::TFD_TIMER_ABSTIME).is_err() {
            // A kernel that made the timer sets it; were it otherwise, late is better than never.
            return tokio::time::sleep(Duration::from_nanos(moment.saturating_sub(now()))).await;
        }
        poll_fn(|cx| {
            while now() < moment {
                // What went off before was an earlier alarm. Setting a timer takes back what it has told, so that nothing has to be read.
                match ready!(self.0.poll_read_ready(cx)) {
                    Ok(mut told) => told.clear_ready(),
                    Err(_) => return Poll::Ready(()),
                }
            }
            Poll::Ready(())
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_alarm_never_goes_off_early_and_can_be_set_again() {
        let alarm = Alarm::new().unwrap();
        for wait in [0, 200_000, 1_000, 3_000_000, 50_000] {
            let moment = now() + wait;
            alarm.wait_until(moment).await;
            assert!(now() >= moment);
        }
        alarm.wait_until(1).await;
    }

    #[tokio::test]
    async fn an_alarm_that_was_given_up_does_not_disturb_the_next_one() {
        let alarm = Alarm::new().unwrap();
        for _ in 0..20 {
            let given_up = tokio::time::timeout(Duration::from_millis(2), alarm.wait_until(now() + 1_500_000)).await;
            drop(given_up);
            let moment = now() + 2_000_000;
            alarm.wait_until(moment).await;
            assert!(now() >= moment);
        }
    }
}
