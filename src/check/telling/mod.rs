//! What a gateway tells of itself, where its profile says so: health, counters, the record of requests, and who answered.

mod audit;
mod fallback;
mod health;
mod metrics;
mod prometheus;

use std::time::Duration;

pub(super) use audit::audit;
pub(super) use fallback::fallback;
pub(super) use health::health;
pub(crate) use metrics::counted;
pub(super) use metrics::metrics;

/// How long counters and records may lag behind the answer.
const LAG: Duration = Duration::from_secs(2);

/// How often they are looked at meanwhile. No event tells when they are up to date.
const LOOK: Duration = Duration::from_millis(50);
