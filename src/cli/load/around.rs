//! What a load can have around it: a file of all its requests, our source of answers behind the gateway, and the gateway's own
//! counters. All of it is reached before anything is sent.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::super::{Failure, all};
use super::aim::Opened;
use crate::config::{Config, Metrics, Profile, Profiles};
use crate::load::behind;
use crate::load::engine::Drive;
use crate::load::engine::shared::{Shared, Stopped};
use crate::load::face::mark::Mark;
use crate::load::judge::Circumstances;
use crate::load::metrics::record::ScenarioRecord;
use crate::load::plan::Shard;
use crate::load::records::Recording;
use crate::load::scenario::Suite;
use crate::load::totals::{self, Ours, Values};
use crate::redact::Redactor;
use crate::tap::Upstream;
use crate::target::base_url;
use crate::world::World;

/// What is to be had around a load.
#[derive(Debug, Args)]
pub(super) struct AroundArgs {
    /// Write each request as a line of JSON: `.jsonl`, or `.jsonl.gz` or `.jsonl.zst`
    #[arg(long, value_name = "FILE")]
    records: Option<PathBuf>,
    /// Where `ccsmoke load answers` stands behind the gateway: requests are marked, and it is asked what came of them
    #[arg(long, value_name = "URL")]
    source: Option<String>,
    /// Hold the gateway's own counters against ours: a target of the configuration, a built-in profile, or a profile's file,
    /// with a `[check.metrics]` table
    #[arg(long, value_name = "PROFILE", conflicts_with = "shard")]
    metrics: Option<String>,
}

impl AroundArgs {
    /// Whether a file is written that has room for one suite.
    pub(super) fn is_for_one(&self) -> bool {
        self.records.is_some()
    }
}

/// What is around a load.
pub(super) struct Around {
    suite: Arc<Suite>,
    upstream: Upstream,
    recording: Option<Recording>,
    source: Option<(Upstream, u32)>,
    counters: Option<(Metrics, Values)>,
}

impl Around {
    /// Sets it up, and tells the engine of it.
    pub(super) async fn begin(
        args: &AroundArgs,
        opened: &Opened,
        suite: &Arc<Suite>,
        run_id: &str,
        drive: &mut Drive,
        shared: &Arc<Shared>,
        world: &World,
    ) -> Result<Self, Failure> {
        let upstream = drive.upstream.clone();
        // A source of answers that this run itself has put behind the gateway need not be named.
        let source = match args.source.clone().or_else(|| opened.source_url()) {
            None => None,
            Some(url) => Some(reach_source(&url, run_id, drive.shard).await?),
        };
        let counters = match &args.metrics {
            None => None,
            Some(name) => {
                let metrics = metrics(name, world)?;
                let values = totals::read(&upstream, suite, &metrics).await;
                Some((metrics, values.map_err(|e| Failure::usage(format!("--metrics {name}: {e}")))?))
            }
        };
        let recording = match &args.records {
            None => None,
            Some(path) => {
                let redactor = Redactor::new(world.variables()).map_err(Failure::nothing)?;
                let stop = Arc::clone(shared);
                let on_failure = move |words| stop.stop(Stopped::Trouble(words));
                let started = Recording::start(path, Arc::clone(suite), redactor, on_failure);
                let (sink, recording) = started.map_err(Failure::usage)?;
                drive.records = Some(sink);
                Some(recording)
            }
        };
        drive.marks = source.as_ref().map(|(_, number)| *number);
        Ok(Self { suite: Arc::clone(suite), upstream, recording, source, counters })
    }

    /// Asks all of it what it saw, when the engine has stopped. What went wrong costs nothing of what was measured: it is told when
    /// the report stands.
    pub(super) async fn end(
        self,
        hung_up: &[(Mark, u64)],
        records: &mut [ScenarioRecord],
        circumstances: &mut Circumstances,
    ) -> Option<Failure> {
        let mut wrong = Vec::new();
        if let Some((source, number)) = &self.source
            && let Err(e) = behind::settle(source, *number, hung_up, records).await
        {
            wrong.push(format!("--source: {e}"));
        }
        if let Some((metrics, before)) = &self.counters {
            let ours = self.ours(records);
            match totals::compare(&self.upstream, &self.suite, metrics, before, &ours).await {
                Ok(told) => circumstances.counters = told,
                Err(e) => wrong.push(format!("--metrics: {e}")),
            }
        }
        // The engine is gone, and with it everything that hands over requests.
        wrong.extend(self.recording.and_then(|recording| recording.finish().err()).map(|e| e.to_string()));
        (!wrong.is_empty()).then(|| Failure::usage(wrong.join("\n")))
    }

    #[expect(clippy::cast_precision_loss, reason = "money is counted in doubles")]
    fn ours(&self, records: &[ScenarioRecord]) -> Ours {
        let all = crate::load::judge::total(records);
        let behind = records.iter().filter_map(|record| record.behind);
        Ours {
            tries: all.sent + all.retries,
            tokens_in: all.tokens_in,
            tokens_out: all.tokens_out,
            calls: self.source.as_ref().map(|_| behind.map(|behind| behind.calls).sum()),
            usd: self
                .suite
                .limits
                .usd
                .map(|(_, price_in, price_out)| all.tokens_in as f64 * price_in + all.tokens_out as f64 * price_out),
        }
    }
}

async fn reach_source(url: &str, run_id: &str, shard: Shard) -> Result<(Upstream, u32), Failure> {
    let wrong = |e: String| Failure::usage(format!("--source {url}: {e}"));
    let source = base_url(url).map_err(wrong)?;
    if !source.is_loopback() {
        return Err(wrong("the source has to be on this machine, whose clock its moments are told in".to_owned()));
    }
    behind::reach(&source).await.map_err(wrong)?;
    Ok((source, behind::number(run_id, shard)))
}

/// The counters of a target of the configuration, or of a profile.
fn metrics(name: &str, world: &World) -> Result<Metrics, Failure> {
    let built_in = Profiles::built_in().map_err(|errors| Failure::usage(all(&errors)))?;
    let config = Config::find_upwards(&world.folder).map(|path| Config::read(&path, &built_in));
    let targets = config.transpose().map_err(Failure::usage)?.map(|config| config.targets).unwrap_or_default();
    let profile = match (targets.into_iter().find(|target| target.name == name), built_in.get(name)) {
        (Some(profile), _) => profile,
        (None, Some(profile)) => profile.clone(),
        (None, None) => Profile::read(Path::new(name), &built_in).map_err(Failure::usage)?,
    };
    let missing = || Failure::usage(format!("--metrics {name}: this profile has no [check.metrics] table"));
    profile.check.metrics.ok_or_else(missing)
}
