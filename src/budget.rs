//! What a whole run may use up, requests, time and dollars: no cell begins that might not fit any more.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// By how much, in US dollars, a sum of fractions may miss what it should be.
const UNEVEN: f64 = 1e-9;

/// What a run may use up; `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Allowance {
    /// Requests that the clients of all cells send. Controls ask nobody but the scripted provider and do not count.
    pub requests: Option<u64>,
    /// From the beginning of the first cell.
    pub time: Option<Duration>,
    /// US dollars, as the clients report them.
    pub cost_usd: Option<f64>,
}

/// What one attempt at a cell uses up.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Use {
    /// Requests.
    pub requests: u64,
    /// US dollars.
    pub cost_usd: f64,
}

/// The account of a run.
#[derive(Debug)]
pub struct Budget {
    allowance: Allowance,
    account: Mutex<Account>,
    settled: Notify,
}

#[derive(Debug, Default)]
struct Account {
    spent: Use,
    /// What the attempts that are going on are expected to use.
    reserved: Use,
    going_on: usize,
    stopped: Option<String>,
}

/// What is put aside for an attempt while it goes on. Dropped without being settled, it has used nothing.
#[derive(Debug)]
pub struct Reservation<'b> {
    budget: &'b Budget,
    expected: Use,
}

impl Budget {
    /// Nothing is spent yet.
    pub fn new(allowance: Allowance) -> Self {
        Self { allowance, account: Mutex::default(), settled: Notify::new() }
    }

    /// Puts aside what an attempt is expected to use. Where that does not fit, it waits for what others that go on leave over;
    /// where none goes on, the budget is spent: `None`, now and ever after.
    pub async fn reserve(&self, expected: Use) -> Option<Reservation<'_>> {
        loop {
            let settled = self.settled.notified();
            tokio::pin!(settled);
            // From here on no settlement is missed.
            settled.as_mut().enable();
            {
                let mut account = self.account();
                if account.stopped.is_some() {
                    return None;
                }
                match self.shortage(&account, expected) {
                    None => {
                        account.reserved = account.reserved.and(expected);
                        account.going_on += 1;
                        return Some(Reservation { budget: self, expected });
                    }
                    Some(words) if account.going_on == 0 => {
                        account.stopped = Some(words);
                        return None;
                    }
                    Some(_) => {}
                }
            }
            settled.await;
        }
    }

    /// The time is over.
    pub fn time_is_over(&self) {
        let seconds = self.allowance.time.unwrap_or_default().as_secs_f64();
        self.account().stopped.get_or_insert_with(|| format!("its {seconds} s were over"));
        self.settled.notify_waiters();
    }

    /// Why no further cell began, in words.
    pub fn stopped(&self) -> Option<String> {
        self.account().stopped.clone()
    }

    /// What there is too little of.
    fn shortage(&self, account: &Account, expected: Use) -> Option<String> {
        let whole = account.spent.and(account.reserved).and(expected);
        if let Some(most) = self.allowance.requests.filter(|most| whole.requests > *most) {
            let (sent, next) = (account.spent.requests, expected.requests);
            return Some(format!("{sent} of {most} requests were sent, and the next cell needs {next}"));
        }
        let most = self.allowance.cost_usd?;
        // An attempt whose cost nobody bounds may begin as long as something is left.
        let fits =
            if expected.cost_usd > 0.0 { whole.cost_usd <= most + UNEVEN } else { whole.cost_usd < most - UNEVEN };
        (!fits).then(|| {
            let next = match expected.cost_usd {
                0.0 => String::new(),
                next => format!(", and the next cell may cost {next}"),
            };
            format!("{:.4} of {most} US dollars were spent{next}", account.spent.cost_usd)
        })
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Use {
    fn and(self, more: Self) -> Self {
        Self { requests: self.requests.saturating_add(more.requests), cost_usd: self.cost_usd + more.cost_usd }
    }
}

impl Reservation<'_> {
    /// The attempt is over and has used this.
    pub fn settle(self, used: Use) {
        let mut account = self.budget.account();
        account.spent = account.spent.and(used);
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let mut account = self.budget.account();
        account.going_on -= 1;
        account.reserved.requests -= self.expected.requests;
        // What is uneven does not add up: with nothing going on nothing is put aside.
        let left = if account.going_on == 0 { 0.0 } else { account.reserved.cost_usd - self.expected.cost_usd };
        account.reserved.cost_usd = left;
        drop(account);
        self.budget.settled.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(requests: u64) -> Use {
        Use { requests, cost_usd: 0.0 }
    }

    fn dollars(cost_usd: f64) -> Use {
        Use { requests: 0, cost_usd }
    }

    #[tokio::test]
    async fn what_might_not_fit_does_not_begin_and_nothing_begins_after_it() {
        let budget = Budget::new(Allowance { requests: Some(5), ..Allowance::default() });
        budget.reserve(requests(2)).await.unwrap().settle(requests(4));
        assert!(budget.reserve(requests(2)).await.is_none());
        assert!(budget.reserve(requests(1)).await.is_none());
        assert_eq!(budget.stopped().unwrap(), "4 of 5 requests were sent, and the next cell needs 2");
    }

    #[tokio::test]
    async fn one_that_does_not_fit_beside_others_waits_for_what_they_leave() {
        let budget = Budget::new(Allowance { cost_usd: Some(0.3), ..Allowance::default() });
        let first = budget.reserve(dollars(0.2)).await.unwrap();
        let second = budget.reserve(dollars(0.2));
        tokio::pin!(second);
        tokio::select! {
            biased;
            _ = &mut second => panic!("it did not wait"),
            () = std::future::ready(()) => first.settle(dollars(0.1)),
        }
        second.await.unwrap().settle(dollars(0.05));
        assert!(budget.reserve(dollars(0.2)).await.is_none());
        assert_eq!(budget.stopped().unwrap(), "0.1500 of 0.3 US dollars were spent, and the next cell may cost 0.2");
    }

    #[tokio::test]
    async fn a_cost_without_bound_may_begin_as_long_as_something_is_left() {
        let budget = Budget::new(Allowance { cost_usd: Some(0.3), ..Allowance::default() });
        budget.reserve(dollars(0.0)).await.unwrap().settle(dollars(0.29));
        budget.reserve(dollars(0.0)).await.unwrap().settle(dollars(0.2));
        assert!(budget.reserve(dollars(0.0)).await.is_none());
        assert_eq!(budget.stopped().unwrap(), "0.4900 of 0.3 US dollars were spent");
    }

    #[tokio::test]
    async fn an_attempt_that_came_to_nothing_has_used_nothing_and_time_ends_the_waiting() {
        let time = Some(Duration::from_secs(2));
        let budget = Budget::new(Allowance { requests: Some(2), time, cost_usd: None });
        drop(budget.reserve(requests(2)).await.unwrap());
        let held = budget.reserve(requests(2)).await;
        assert!(held.is_some());
        let over = async { budget.time_is_over() };
        let (waited, ()) = tokio::join!(budget.reserve(requests(1)), over);
        assert!(waited.is_none());
        assert_eq!(budget.stopped().unwrap(), "its 2 s were over");
    }
}
