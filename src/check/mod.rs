//! `ccsmoke check`: a gateway judged over HTTP, without the client.
//!
//! Every check is one entry of one static table ([`table::CHECKS`]) with one function. Requests go through a tap of our own, so
//! that what came back is on record byte for byte; where the scripted provider stands behind the gateway, its tap shows what
//! the gateway made of them, and the comparison of the matrix says what differs.

mod anthropic;
mod bench;
mod caller;
pub mod checklist;
pub(crate) mod counters;
mod junit;
mod openai;
pub mod report;
pub mod table;
mod tell;
mod telling;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use bench::Rig;
use bench::{Bench, Found};
pub use junit::junit;
pub use report::{CheckReport, Row, Seen};
use table::{CHECKS, Check, Phase};
pub use tell::{markdown, text};

/// How many checks are at the gateway at once.
const TOGETHER: usize = 6;

/// How much a requirement weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Claude Code does not work without it.
    Must,
    /// Something is worse without it.
    Should,
    /// A gateway may leave it out.
    Optional,
}

/// One of the APIs that a gateway may serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Face {
    /// Anthropic Messages.
    Anthropic,
    /// `OpenAI` Chat Completions.
    Openai,
    /// The gateway itself, whichever API it serves.
    Gateway,
}

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The requirement is met.
    Passed,
    /// It is not met.
    Failed,
    /// It does not apply to this gateway, or cannot be known from where we stand.
    NotApplicable,
    /// Something else came between.
    Undecided,
}

impl Verdict {
    /// The verdict in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::NotApplicable => "not applicable",
            Self::Undecided => "undecided",
        }
    }
}

/// Which of the table's checks are made.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// Only these; all when empty.
    pub only: Vec<String>,
    /// None of these.
    pub skip: Vec<String>,
    /// Nothing that weighs less than this.
    pub level: Option<Level>,
    /// Only this face, and what concerns the gateway itself.
    pub face: Option<Face>,
}

impl Choice {
    fn takes(&self, check: &Check) -> bool {
        let named = |names: &[String]| names.iter().any(|name| name == check.id);
        let in_question = self.only.is_empty() || named(&self.only);
        in_question
            && !named(&self.skip)
            && self.level.is_none_or(|level| check.level <= level)
            && self.face.is_none_or(|face| check.face == face || check.face == Face::Gateway)
    }

    /// The checks that are made, in the table's order.
    pub fn checks(&self) -> Vec<&'static Check> {
        CHECKS.iter().filter(|check| self.takes(check)).collect()
    }

    /// A name that no check has.
    pub fn unknown(&self) -> Option<&str> {
        let known = |name: &&String| !CHECKS.iter().any(|check| check.id == name.as_str());
        self.only.iter().chain(&self.skip).find(known).map(String::as_str)
    }
}

/// Makes the checks. `told` hears of each row as it comes; the rows stand in the table's order.
///
/// A gateway that does not answer at all leaves everything but the first row undecided. What was not done when `cancel` came is
/// left out.
pub async fn run(
    rig: Rig,
    choice: &Choice,
    cancel: &CancellationToken,
    told: &mut (dyn FnMut(&Row) + Send),
) -> CheckReport {
    let clock = Instant::now();
    let rig = Arc::new(rig);
    let checks = choice.checks();
    let mut rows: Vec<(usize, Row)> = Vec::new();
    let mut unreachable: Option<String> = None;
    for phase in Phase::ALL {
        let due = checks.iter().enumerate().filter(|(_, check)| check.phase == phase);
        let places = Arc::new(Semaphore::new(if phase == Phase::Together { TOGETHER } else { 1 }));
        let mut running = JoinSet::new();
        for (at, check) in due {
            let (rig, check, places) = (Arc::clone(&rig), *check, Arc::clone(&places));
            let unreachable = unreachable.clone();
            running.spawn(async move {
                let _place = places.acquire_owned().await;
                (at, make(rig, check, unreachable).await)
            });
        }
        loop {
            let joined = tokio::select! {
                joined = running.join_next() => joined,
                () = cancel.cancelled() => break,
            };
            let Some(joined) = joined else { break };
            // A check that panics is a mistake of ours; its row is missing, which the totals show.
            let Ok((at, row)) = joined else { continue };
            if phase == Phase::Reach && row.verdict == Verdict::Failed {
                unreachable = Some(row.message.clone());
            }
            told(&row);
            rows.push((at, row));
        }
    }
    rows.sort_by_key(|(at, _)| *at);
    CheckReport {
        ccsmoke_version: env!("CARGO_PKG_VERSION").to_owned(),
        schema_version: report::SCHEMA_VERSION,
        target: rig.target.name.clone(),
        gateway_version: rig.gateway_version.clone(),
        both_sides: rig.both_sides(),
        model: rig.model.clone(),
        duration_s: seconds(clock.elapsed()),
        interrupted: cancel.is_cancelled(),
        checks: rows.into_iter().map(|(_, row)| row).collect(),
    }
}

async fn make(rig: Arc<Rig>, check: &'static Check, unreachable: Option<String>) -> Row {
    let clock = Instant::now();
    let bench = Bench::new(rig);
    let found = match unreachable {
        Some(_) => Found::undecided("the gateway does not answer at all: see `reach`"),
        None => (check.run)(bench.clone()).await,
    };
    Row {
        id: check.id.to_owned(),
        title: check.title.to_owned(),
        face: check.face,
        level: check.level,
        rules: check.rules.iter().map(|rule| (*rule).to_owned()).collect(),
        expected: check.expected.to_owned(),
        advice: (found.verdict == Verdict::Failed).then(|| found.advice.unwrap_or(check.advice).to_owned()),
        verdict: found.verdict,
        message: found.message,
        seen: bench.seen(),
        duration_s: seconds(clock.elapsed()),
    }
}

fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1000.0).round() / 1000.0
}
