//! Users who wait for each answer: a closed load.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::worker::{Place, Worker};
use crate::load::arrivals::Curve;
use crate::load::plan::Plan;

/// Starts this worker's users. Each comes when the curve has risen to it, sends one request after another, and rests while the curve
/// is below it.
pub(super) fn users(worker: &Rc<Worker>, scenario: usize, curve: &Curve) {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "users are counted in u32")]
    let most = curve.peak().ceil() as u64;
    for user in (0..most).filter(|user| worker.is_mine(*user)) {
        let (own, curve) = (Rc::clone(worker), curve.clone());
        worker.spawn(async move { one_user(&own, scenario, user, &curve).await });
    }
}

async fn one_user(worker: &Worker, scenario: usize, user: u64, curve: &Curve) {
    let suite = Arc::clone(&worker.common.suite);
    let plan = Plan::new(&suite, &suite.scenarios[scenario]);
    #[expect(clippy::cast_precision_loss, reason = "users are counted in u32")]
    let level = user as f64 + 1.0;
    let mut sent = 0;
    while !worker.is_stopping() {
        let now = worker.now();
        match curve.reaches(level, Duration::from_nanos(now)) {
            None => return,
            Some(wait) if !wait.is_zero() => worker.pause(wait).await,
            Some(_) => {
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
