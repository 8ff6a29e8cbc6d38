//! Users who wait for each answer: a closed load.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::worker::{Place, Worker};
use crate::load::arrivals::Curve;
use crate::load::plan::Plan;
use crate::load::scenario::Requests;

/// Starts this worker's users. Each comes when the curve has risen to it, sends one request after another, and rests while the curve
/// is below it.
pub(super) fn users(worker: &Rc<Worker>, scenario: usize, curve: &Curve, requests: Requests) {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "users are counted in u32")]
    let most = curve.peak().ceil() as u64;
    for user in (0..most).filter(|user| worker.is_mine(*user)) {
        let (own, curve) = (Rc::clone(worker), curve.clone());
        worker.spawn(async move { one_user(&own, scenario, user, &curve, requests).await });
    }
}

async fn one_user(worker: &Worker, scenario: usize, user: u64, curve: &Curve, requests: Requests) {
    let suite = Arc::clone(&worker.common.suite);
    let plan = Plan::new(&suite, &suite.scenarios[scenario]);
    #[expect(clippy::cast_precision_loss, reason = "users are counted in u32")]
    let level = user as f64 + 1.0;
    let mut sent = 0;
    while !worker.is_stopping() {
        let now = worker.now(scenario);
        match curve.reaches(level, Duration::from_nanos(now)) {
            None => return,
            Some(wait) if !wait.is_zero() => worker.pause(wait).await,
            Some(_) => {
                let left = match requests {
                    Requests::Any => true,
                    Requests::Each(most) => sent < u64::from(most),
                    Requests::Total(most) => worker.may_begin(scenario, most),
                };
                if !left {
                    return;
                }
                let index = user << 32 | sent;
                sent += 1;
                if worker.drawn(Place { scenario, index, due: now }, &plan.draw(index)).await.is_none() {
                    // Refusals can be faster than anything else; other users have to come to their turn.
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}
