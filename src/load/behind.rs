//! What our source of answers saw behind the gateway: how many calls the gateway made of each of ours, and how long it took until the
//! source saw that we had hung up.

use std::collections::HashMap;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep};

use super::face::mark::Mark;
use super::get::get;
use super::metrics::Metric;
use super::metrics::record::{Behind, ScenarioRecord};
use super::plan::Shard;
use super::tally::{PATH, Seen};
use crate::tap::Upstream;

/// How long the source may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How long a gateway may take to pass on that a client has hung up.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often the source is asked meanwhile. No event tells of it.
const LOOK: Duration = Duration::from_millis(50);

/// The number of a run, or of a shard of it, in its marks.
pub fn number(run_id: &str, shard: Shard) -> u32 {
    let hash = Sha256::digest(format!("{run_id} {} {}", shard.index, shard.of));
    hash.iter().take(4).fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// Whether this is a source of answers that keeps a tally.
///
/// # Errors
/// In words: it is none.
pub async fn reach(source: &Upstream) -> Result<(), String> {
    seen(source, 0).await.map(|_| ())
}

async fn seen(source: &Upstream, run: u32) -> Result<Seen, String> {
    let body = get(source, &format!("{PATH}{run}"), &[], TIMEOUT).await?;
    serde_json::from_slice(&body)
        .map_err(|e| format!("no source of answers that keeps a tally (`ccsmoke load answers`): {e}"))
}

/// Asks the source what it saw, and puts it into the records. `hung_up` are the tries that this program gave up, and when.
///
/// # Errors
/// In words: the source does not say.
pub async fn settle(
    source: &Upstream,
    run: u32,
    hung_up: &[(Mark, u64)],
    records: &mut [ScenarioRecord],
) -> Result<(), String> {
    let since = Instant::now();
    let is_ours = |mark: &Mark| hung_up.iter().any(|(known, _)| known == mark);
    let seen = loop {
        let seen = seen(source, run).await?;
        if !seen.open.iter().any(is_ours) || since.elapsed() > PATIENCE {
            break seen;
        }
        sleep(LOOK).await;
    };
    for (place, record) in (0..).zip(&mut *records) {
        let calls = seen.scenarios.get(&place).copied().unwrap_or_default();
        record.behind = Some(Behind {
            calls: calls.calls,
            tries: calls.tries,
            most: calls.most,
            unaware: 0,
            forgotten: if place == 0 { seen.forgotten } else { 0 },
        });
    }
    let given_up: HashMap<Mark, u64> = seen.given_up.into_iter().collect();
    for (mark, at) in hung_up {
        let Some(record) = records.get_mut(usize::from(mark.scenario)) else { continue };
        if seen.open.contains(mark) {
            record.behind.get_or_insert_default().unaware += 1;
        } else if let (Some(seen), Some(all)) = (given_up.get(mark), record.views.first_mut())
            && let Some(took) = seen.checked_sub(*at)
        {
            // What was given up before we hung up, somebody between us and the source had given up.
            all.times.of(Metric::GwAbortSeen).record(took / 1000);
        }
    }
    Ok(())
}
