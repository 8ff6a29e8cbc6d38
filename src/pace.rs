//! The pace at which cells start at a target whose provider counts requests by the minute. Only starts are held back: once a
//! client runs, nothing stands between it and the gateway.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Spreads requests evenly: after a cell that will send `n` of them the next one starts `n` minutes' shares later.
#[derive(Debug)]
pub struct Pace {
    /// The time that one request is given.
    share: Duration,
    next: Mutex<Option<Instant>>,
}

impl Pace {
    /// So many requests in a minute, at least one.
    pub fn per_minute(requests: u32) -> Self {
        Self { share: Duration::from_secs(60) / requests.max(1), next: Mutex::new(None) }
    }

    /// Waits for the turn of a cell that will send so many requests.
    pub async fn turn(&self, requests: u32) {
        tokio::time::sleep_until(self.reserve(Instant::now(), requests)).await;
    }

    fn reserve(&self, now: Instant, requests: u32) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let turn = next.map_or(now, |next| next.max(now));
        *next = turn.checked_add(self.share.saturating_mul(requests.max(1)));
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_as_far_apart_as_their_requests_and_idle_time_is_not_saved_up() {
        let pace = Pace::per_minute(6);
        let began = Instant::now();
        let turns: Vec<u64> = [(0, 1), (0, 3), (0, 0), (5, 1), (300, 1), (300, 1)]
            .map(|(now, requests)| pace.reserve(began + Duration::from_secs(now), requests) - began)
            .map(|turn| turn.as_secs())
            .to_vec();
        assert_eq!(turns, [0, 10, 40, 50, 300, 310]);
    }
}
