//! A suite runs: everything is checked before anything is sent.

use std::sync::Arc;

use clap::Args;
use jiff::Timestamp;

use super::super::load_dashboard::Dashboard;
use super::super::{Exit, Failure, to_stderr};
use super::aim::{AimArgs, Opened, take_aim};
use super::around::{Around, AroundArgs};
use super::tell::{OutArgs, masked, tell};
use crate::load;
use crate::load::engine::shared::{Shared, Stopped};
use crate::load::engine::{Drive, room};
use crate::load::face::stamp::now;
use crate::load::judge::Against;
use crate::load::metrics::{FLAWS, Flaw};
use crate::load::plan::Shard;
use crate::load::quantity::Time;
use crate::load::report::{Header, LoadReport};
use crate::load::scenario::Suite;
use crate::world::World;

/// How the run goes, and what is written of it.
#[derive(Debug, Args)]
pub(in crate::cli) struct RunArgs {
    /// Another seed
    #[arg(long, value_name = "N")]
    pub(in crate::cli) seed: Option<u64>,
    /// Threads that send [default: one for each core but one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// Send this part of the plan only: `2/4` is the third of four
    #[arg(long, value_name = "I/N", value_parser = shard, requires = "run_id")]
    shard: Option<Shard>,
    /// What belongs together has the same one
    #[arg(long, value_name = "ID")]
    run_id: Option<String>,
    /// Begin at this time (seconds since 1970), given once for all shards
    #[arg(long, value_name = "SECONDS")]
    start_at: Option<f64>,
    /// Stop after so many requests
    #[arg(long, value_name = "N")]
    max_requests: Option<u64>,
    /// Send at most so many requests at once; the rest wait, and their wait counts
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_in_flight: Option<u32>,
    /// Stop after so many tokens in and out
    #[arg(long, value_name = "N")]
    max_tokens: Option<u64>,
    /// Stop after this time
    #[arg(long, value_name = "TIME")]
    max_time: Option<Time>,
    /// Count this flaw of answers without failing them, such as `usage_sum` (repeatable)
    #[arg(long = "ignore", value_name = "FLAW", value_parser = flaw)]
    ignore: Vec<Flaw>,
    #[command(flatten)]
    around: AroundArgs,
    #[command(flatten)]
    out: OutArgs,
}

impl RunArgs {
    /// Whether a file is written that has room for one suite.
    pub(super) fn is_for_one(&self) -> bool {
        self.around.is_for_one()
    }

    /// What came of the command, in the exit codes that were asked for.
    pub(in crate::cli) fn told_as_asked(&self, done: Result<Exit, Failure>) -> Result<Exit, Failure> {
        self.out.told_as_asked(done)
    }
}

/// Runs one suite, and gives its report as it was told.
pub(in crate::cli) fn run_suite(
    mut suite: Suite,
    aim: &AimArgs,
    args: &RunArgs,
    world: &World,
) -> Result<(Exit, LoadReport), Failure> {
    let aimed = take_aim(&mut suite, aim, world)?;
    args.ignore.iter().for_each(|flaw| suite.ignore.add(*flaw));
    let limits = &mut suite.limits;
    limits.requests = args.max_requests.or(limits.requests);
    limits.in_flight = args.max_in_flight.or(limits.in_flight);
    limits.tokens = args.max_tokens.or(limits.tokens);
    limits.time = args.max_time.map(|t| t.0).or(limits.time);
    let baseline = args.out.baseline()?;
    // What cannot be written is told before anything is sent.
    std::fs::create_dir_all(&args.out.results)
        .map_err(|e| Failure::usage(format!("{}: cannot make the results folder: {e}", args.out.results.display())))?;
    let room = room(&suite).map_err(Failure::usage)?;
    let threads = args.threads.map_or_else(|| world.cores.saturating_sub(1).max(1), usize::from);
    let start_at = args.start_at.map(start).transpose()?;

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::nothing(format!("no runtime could be started: {e}")))?;
    let reports = suite.reports.clone();
    let ((report, trouble), credential) = runtime.block_on(async {
        let opened = aimed.open(&mut suite, aim, world).await?;
        let credential = opened.credential.clone();
        let how = How { workers: threads, answering: aimed.answering_threads(), room, start_at };
        let report = run(suite, &opened, args, &how, baseline.as_ref(), world).await;
        if let Some(harm) = opened.close().await {
            to_stderr(&format!("warning: {harm}\n"));
        }
        Ok::<_, Failure>((report?, credential))
    })?;
    let report = masked(report, credential.as_ref(), world)?;
    let exit = tell(&report, &args.out, &reports, world)?;
    // The report stands all the same.
    trouble.map_or(Ok((exit, report)), Err)
}

/// What was found out before the run.
struct How {
    workers: usize,
    /// Threads of this program that answer.
    answering: usize,
    room: u64,
    start_at: Option<u64>,
}

async fn run(
    mut suite: Suite,
    opened: &Opened,
    args: &RunArgs,
    how: &How,
    baseline: Option<&LoadReport>,
    world: &World,
) -> Result<(LoadReport, Option<Failure>), Failure> {
    let (upstream, target) = (&opened.upstream, &opened.name);
    let unreachable = |why: String| Failure { exit: Exit::Unreachable, message: format!("{target}: {why}") };
    load::run::reach(upstream, suite.target.timeouts.connect).await.map_err(unreachable)?;
    if suite.models.is_empty() {
        suite.models = load::run::models(upstream, &suite.target, &suite.models_exclude)
            .await
            .map_err(|e| Failure::usage(format!("{target}: {e}")))?;
    }
    let suite = Arc::new(suite);
    let shared = Arc::new(Shared::new(suite.limits));
    let part = args.shard.unwrap_or(Shard::WHOLE);
    let mut drive = Drive {
        upstream: upstream.clone(),
        workers: how.workers,
        shard: part,
        start_at: how.start_at,
        marks: None,
        records: None,
    };
    let header = Header {
        run_id: args.run_id.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string()),
        shard: part,
        target: target.clone(),
        began: Timestamp::now().to_string(),
        workers: how.workers,
    };
    let around = Around::begin(&args.around, opened, &suite, &header.run_id, &mut drive, &shared, world).await?;
    let interrupt = tokio::spawn(interrupted(Arc::clone(&shared)));
    let mut dashboard = Dashboard::new(world.stderr_is_terminal);
    let seen = |glance| dashboard.show(&glance);
    let driven = load::run::run(Arc::clone(&suite), drive, how.room, Arc::clone(&shared), seen).await;
    dashboard.finish();
    interrupt.abort();
    let mut driven = driven.map_err(|e| Failure::nothing(format!("the load engine could not be started: {e}")))?;
    let mut circumstances = load::run::circumstances(&suite, &driven, how.workers + how.answering, &shared);
    let trouble = around.end(&shared.take_hung_up(), &mut driven.records, &mut circumstances).await;
    let against = Against { baseline: baseline.map(|b| b.scenarios.as_slice()), shards: &[] };
    Ok((LoadReport::new(&suite, header, driven.records, circumstances, against), trouble))
}

/// The first interrupt ends the run with a report; the second ends the program.
async fn interrupted(shared: Arc<Shared>) {
    if tokio::signal::ctrl_c().await.is_ok() {
        shared.stop(Stopped::Interrupted);
    }
    if tokio::signal::ctrl_c().await.is_ok() {
        std::process::exit(Exit::Interrupted as i32);
    }
}

/// When to begin, on the host's monotonic clock.
#[expect(clippy::cast_possible_truncation, reason = "the cast saturates")]
fn start(epoch_seconds: f64) -> Result<u64, Failure> {
    let wall = Timestamp::now().as_nanosecond();
    let at = (epoch_seconds * 1e9) as i128;
    match u64::try_from(at - wall) {
        Ok(ahead) => Ok(now() + ahead),
        Err(_) => {
            Err(Failure::usage(format!("--start-at {epoch_seconds} has passed; give a time ahead for all shards")))
        }
    }
}

fn shard(text: &str) -> Result<Shard, String> {
    let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
    match parts {
        Some((index, of)) if index < of && of <= 10_000 => Ok(Shard { index, of }),
        _ => Err("a shard is written I/N with I from 0 to N - 1, such as 0/4".to_owned()),
    }
}

fn flaw(text: &str) -> Result<Flaw, String> {
    let known = || FLAWS.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(", ");
    Flaw::named(text).ok_or_else(|| format!("no flaw is called {text:?}; there are {}", known()))
}
