//! One attempt at one cell: workspace, tap and client are set up, the client runs, and what it left is evidence, redacted, on
//! disk and judged.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::client::Client;
use crate::evidence::{
    CellFacts, EVIDENCE_VERSION, Evidence, LaunchFacts, LogFacts, ProcessFacts, TargetFacts, TargetKind,
};
use crate::judge::judge;
use crate::launch::{arguments, environment};
use crate::log_delta::{LogMark, Wait};
use crate::probe::{Launch, Probe, Vars};
use crate::process::{self, Activity, Controls, ProcessLimits, ProcessSpec};
use crate::provider::{self, Conversation, Provider, ProviderConfig};
use crate::redact::Redactor;
use crate::report::store::RunFiles;
use crate::secret::Secret;
use crate::tap::{Access, Credentials, Tap, TapConfig, Upstream, cell_token};
use crate::tap_log::tap_log;
use crate::target::{Model, Target};
use crate::text_rules::TextRules;
use crate::verdict::Verdict;
use crate::workspace::Workspace;
use crate::world::World;

/// The first part of every marker.
const MARKER_PREFIX: &str = "CCS";

/// How long a gateway's log is waited for after the last launch.
const LATE_LINES: Wait = Wait { quiet: Duration::from_millis(100), at_most: Duration::from_secs(1) };

/// One cell of the plan.
#[derive(Debug, Clone)]
pub struct CellPlan {
    /// What is asked.
    pub probe: Arc<Probe>,
    /// Who asks.
    pub client: Arc<Client>,
    /// Which model is asked for.
    pub model: Model,
}

impl CellPlan {
    /// `model feature cli_version`, by which people and files name it.
    pub fn name(&self) -> String {
        format!("{} {} {}", self.model.full_name, self.probe.id, self.client.version)
    }

    /// How long it will take, compared with others: launches, and what a client without `--bare` does more.
    pub fn weight(&self) -> usize {
        let turns = self.probe.turn.len();
        self.probe.launch.len() * 4 + turns + if self.probe.bare { 0 } else { 4 }
    }
}

/// Limits of a run that hold for every cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From a launch's start to its end, where the probe names nothing else.
    pub timeout: Duration,
    /// The most requests of a cell.
    pub max_requests: u32,
}

/// What all cells of a run share.
pub struct Rig {
    target: Target,
    provider: Option<Provider>,
    upstream: Upstream,
    credential: Option<Secret>,
    rules: TextRules,
    /// Masks what is written.
    pub redactor: Redactor,
    /// Where it is written.
    pub files: RunFiles,
    limits: Limits,
    starts: Arc<Semaphore>,
    caller: Vec<(OsString, OsString)>,
    supervisor: PathBuf,
    is_root: bool,
}

impl Rig {
    /// Starts what the target needs.
    ///
    /// # Errors
    /// The embedded provider cannot listen.
    pub async fn start(
        target: Target,
        rules: TextRules,
        redactor: Redactor,
        files: RunFiles,
        limits: Limits,
        starts: Semaphore,
        world: &World,
    ) -> io::Result<Self> {
        let (provider, upstream, credential) = match &target {
            Target::Embedded { port } => {
                let provider = Provider::start(ProviderConfig { port: *port, ..ProviderConfig::default() }).await?;
                let upstream = Upstream::parse(&provider.base_url(), None).map_err(io::Error::other)?;
                let key = Secret::new(provider.api_key());
                (Some(provider), upstream, Some(key))
            }
            Target::Running { url, auth_token_env, .. } => {
                let value = auth_token_env.as_deref().and_then(|name| world.variable(name));
                (None, url.clone(), value.map(Secret::new))
            }
        };
        Ok(Self {
            target,
            provider,
            upstream,
            credential,
            rules,
            redactor,
            files,
            limits,
            starts: Arc::new(starts),
            caller: world.environment.clone(),
            supervisor: world.program.clone(),
            is_root: world.is_root,
        })
    }

    /// Runs one attempt and judges it.
    ///
    /// # Errors
    /// ccsmoke could not do its own part; in words.
    pub async fn attempt(
        &self,
        cell: &CellPlan,
        evidence_path: &str,
        cancel: &CancellationToken,
    ) -> Result<(Evidence, Verdict), String> {
        let evidence = self.gather(cell, cancel).await.map_err(|e| e.to_string())?;
        let evidence = self.redactor.evidence(evidence).map_err(|e| format!("the evidence cannot be stored: {e}"))?;
        let log = tap_log(&evidence.exchanges);
        self.files.store_evidence(evidence_path, &evidence, &log).map_err(|e| e.to_string())?;
        let verdict = judge(&self.rules, &cell.probe, &evidence);
        Ok((evidence, verdict))
    }

    async fn gather(&self, cell: &CellPlan, cancel: &CancellationToken) -> io::Result<Evidence> {
        let probe = &cell.probe;
        let workspace = Workspace::create()?;
        let vars = Vars {
            marker: format!("{MARKER_PREFIX}_{}_{}_{}", self.target.scope(), probe.kind.get_ref(), random_hex()?),
            nonce: provider::nonce()?,
            workspace: workspace.folder().display().to_string(),
            session_id: uuid::Uuid::new_v4().to_string(),
        };
        workspace.fill(probe, &vars)?;
        if let Some(provider) = &self.provider {
            provider.register(Conversation { vars: vars.clone(), turns: probe.turn.clone() });
        }
        let log_mark = match &self.target {
            Target::Running { log: Some(path), .. } => Some(LogMark::take(path)),
            _ => None,
        };
        let started = Instant::now();
        let token = cell_token()?;
        let credentials = Credentials { cell_token: token.clone(), upstream: self.credential.clone() };
        let mut config = TapConfig::new(self.upstream.clone(), Access::Cell(credentials), started);
        config.max_requests = self.limits.max_requests;
        let tap = Tap::start(config).await?;

        let activity = Activity::default();
        let controls = Controls { activity, interrupt: cancel.clone(), runaway: CancellationToken::new() };
        let wire = tokio::spawn(follow(tap.activity(), controls.activity.clone()));
        let guard = tokio::spawn(stop_runaway(tap.runaway(), controls.runaway.clone()));
        let common =
            Launcher { rig: self, cell, workspace: &workspace, vars: &vars, tap: &tap, token: &token, controls };
        let mut launches: Vec<LaunchFacts> = Vec::new();
        for launch in &probe.launch {
            let facts = common.launch(launch, started).await;
            let ended_well = facts.process.returncode == Some(0);
            launches.push(facts);
            // What a failed launch was to leave behind for the next one is not there.
            if !ended_well {
                break;
            }
        }
        wire.abort();
        guard.abort();
        let (exchanges, tap_facts) = tap.finish().await;
        let log = match log_mark {
            Some(mark) => mark.delta(LATE_LINES).await,
            None => LogFacts::default(),
        };
        Ok(Evidence {
            evidence_version: EVIDENCE_VERSION,
            cell: CellFacts {
                probe: probe.id.clone(),
                target: TargetFacts {
                    name: self.target.name().to_owned(),
                    kind: if self.provider.is_some() { TargetKind::Embedded } else { TargetKind::Live },
                    rewrites: Vec::new(),
                },
                model: cell.model.name.clone(),
                full_model: cell.model.full_name.clone(),
                cli_version: cell.client.version.clone(),
                vars: vars.clone(),
            },
            launches,
            exchanges,
            tap: tap_facts,
            behind: None,
            gateway: None,
            provider: self.provider.as_ref().map(|p| p.records(&vars.nonce)),
            log,
            workspace: workspace.compare(probe, &vars),
        })
    }
}

/// Everything that the launches of one cell have in common.
struct Launcher<'a> {
    rig: &'a Rig,
    cell: &'a CellPlan,
    workspace: &'a Workspace,
    vars: &'a Vars,
    tap: &'a Tap,
    token: &'a str,
    controls: Controls,
}

impl Launcher<'_> {
    async fn launch(&self, launch: &Launch, recording: Instant) -> LaunchFacts {
        let Self { rig, cell, workspace, vars, tap, token, controls } = self;
        let probe = &cell.probe;
        let total = probe.timeout_s.map_or(rig.limits.timeout, Duration::from_secs);
        let args = arguments(probe, launch, vars, &cell.model.name);
        let folders = workspace.folders();
        let spec = ProcessSpec {
            supervisor: rig.supervisor.clone(),
            program: cell.client.path.clone(),
            args: args.clone(),
            environment: environment(probe, vars, &rig.caller, folders, &tap.base_url(), token, rig.is_root),
            folder: workspace.folder().to_owned(),
            limits: ProcessLimits {
                total,
                idle: probe.idle_s.map_or(total.mul_f64(2.0 / 3.0), Duration::from_secs),
                ..ProcessLimits::default()
            },
        };
        // Starting is bound by the processor and waiting by memory: the place among the starting ones is given up when the
        // client speaks on the wire for the first time.
        let permit = Arc::clone(&rig.starts).acquire_owned().await.ok();
        let mut wire = tap.activity();
        wire.mark_unchanged();
        let began = Instant::now();
        let started_us = micros(began.duration_since(recording));
        let release = async move {
            let _spoke = wire.changed().await;
            drop::<Option<OwnedSemaphorePermit>>(permit);
            std::future::pending::<()>().await;
        };
        let process: ProcessFacts = tokio::select! {
            facts = process::run(&spec, controls) => facts,
            () = release => ProcessFacts::default(),
        };
        LaunchFacts { args, started_us, duration_us: micros(began.elapsed()), process }
    }
}

/// Passes wire activity on to the idle clock.
async fn follow(mut wire: tokio::sync::watch::Receiver<u64>, activity: Activity) {
    while wire.changed().await.is_ok() {
        activity.touch();
    }
}

/// Ends the client when its cell has sent too many requests.
async fn stop_runaway(passed: impl Future<Output = ()>, stop: CancellationToken) {
    passed.await;
    stop.cancel();
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Eight upper-case hexadecimal digits.
fn random_hex() -> io::Result<String> {
    let bytes = getrandom::u32().map_err(|e| io::Error::other(format!("no randomness from the system: {e}")))?;
    Ok(format!("{bytes:08X}"))
}
