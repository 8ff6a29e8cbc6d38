//! One attempt at one cell: workspace, tap and client are set up, the client runs, and what it left is evidence, redacted, on
//! disk and judged.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{Mutex, OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::budget::Use;
use crate::client::Client;
use crate::control::acquit;
use crate::evidence::{
    CellFacts, EVIDENCE_VERSION, Evidence, LaunchFacts, LogFacts, ProcessFacts, SendFacts, TapFacts, TargetKind,
};
use crate::exchange::Exchange;
use crate::judge::judge;
use crate::launch::{self, arguments, environment};
use crate::log_delta::{LogMark, Wait};
use crate::model::{Model, asked_or_default};
use crate::probe::{Credential, EndAt, Launch, Probe, Vars};
use crate::process::{self, Activity, Controls, ProcessLimits, ProcessSpec};
use crate::provider::{self, Conversation, WRONG_KEY};
use crate::redact::Redactor;
use crate::report::cell_name;
use crate::report::store::RunFiles;
use crate::secret::Secret;
use crate::send;
use crate::stand::{Common, Entry, Stand};
use crate::tap::{Access, Credentials, Tap, TapConfig, cell_token};
use crate::tap_log::tap_log;
use crate::text_rules::TextRules;
use crate::verdict::{Outcome, Verdict};
use crate::workspace::Workspace;

/// The first part of every marker.
const MARKER_PREFIX: &str = "CCS";

/// How long a gateway's log is waited for after the last launch.
const LATE_LINES: Wait = Wait { quiet: Duration::from_millis(100), at_most: Duration::from_secs(1) };

/// How long a provider may go on after its client was ended.
const UNTIL_CANCELLED: Duration = Duration::from_secs(5);

/// One cell of the plan.
#[derive(Clone)]
pub struct CellPlan {
    /// Against what.
    pub stand: Arc<Stand>,
    /// What is asked.
    pub probe: Arc<Probe>,
    /// Who asks.
    pub client: Arc<Client>,
    /// Which model is asked for.
    pub model: Model,
}

impl CellPlan {
    /// The cell's name; see [`cell_name`].
    pub fn name(&self) -> String {
        cell_name(&self.stand.name, &self.model.full_name, &self.probe.id, &self.client.version)
    }

    /// Whether the gateway might not survive it, or remember it: its provider fails or breaks off. Such cells run last, and one
    /// after the other.
    pub fn may_harm_gateway(&self) -> bool {
        self.stand.remembers_errors() && self.probe.makes_trouble()
    }

    /// How many requests its client will send, as far as the probe tells.
    fn expected_requests(&self) -> u32 {
        let launches = u32::try_from(self.probe.launch.len()).unwrap_or(u32::MAX);
        self.probe.expect.requests.as_ref().map_or(launches, |requests| *requests.get_ref())
    }

    /// How long it will take, compared with others: launches, what a client without `--bare` does more, and what the script makes
    /// it wait. Waiting costs no processor, so that what waits longest has to begin first.
    pub fn weight(&self) -> usize {
        const MS: u64 = 150;
        let turns = self.probe.turn.len();
        let waits = self.probe.turn.iter().map(|turn| turn.waits_ms() / MS).sum::<u64>();
        let waits = usize::try_from(waits).unwrap_or(usize::MAX);
        (self.probe.launch.len() * 4 + turns + if self.probe.bare { 0 } else { 4 }).saturating_add(waits)
    }
}

/// Limits of a run that hold for every cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    /// From a launch's start to its end, where the probe names nothing else.
    pub timeout: Duration,
    /// The most requests of a cell.
    pub max_requests: u32,
    /// What a cell may cost, in US dollars. The client looks after a turn, so it goes beyond by what one turn costs.
    pub max_cost_usd: Option<f64>,
}

/// What all cells of a run share.
pub struct Rig {
    /// What all targets share.
    pub common: Common,
    /// The scripted provider without a gateway, for controls.
    pub embedded: Arc<Stand>,
    /// The text rules.
    pub rules: TextRules,
    /// Masks what is written.
    pub redactor: Redactor,
    /// Where it is written.
    pub files: RunFiles,
    /// Limits of every cell.
    pub limits: Limits,
    /// Places for clients that are starting.
    starts: Arc<Semaphore>,
    /// Controls, by probe and client version; each is run once.
    controls: Mutex<HashMap<ControlKey, Arc<OnceCell<Control>>>>,
}

impl Rig {
    /// Nothing is started and no control is run yet. As many clients may be starting at once as there are cores.
    pub fn new(
        common: Common,
        embedded: Arc<Stand>,
        rules: TextRules,
        redactor: Redactor,
        files: RunFiles,
        limits: Limits,
    ) -> Self {
        let starts = Arc::new(Semaphore::new(common.world.cores));
        Self { common, embedded, rules, redactor, files, limits, starts, controls: Mutex::default() }
    }
}

/// One attempt at a cell.
#[derive(Debug)]
pub struct Attempted {
    /// What was seen.
    pub evidence: Evidence,
    /// What is said of it, the control considered.
    pub verdict: Verdict,
    /// The evidence of the control that was held against it, relative to the report.
    pub control_path: Option<String>,
}

/// A probe with a client and without a gateway.
#[derive(Debug, Clone)]
pub struct Control {
    verdict: Verdict,
    path: String,
}

/// What a control belongs to: the probe's name and the client's version.
pub type ControlKey = (String, String);

impl Rig {
    /// What an attempt at a cell is expected to use of the run's budget.
    pub fn expected_use(&self, cell: &CellPlan) -> Use {
        Use { requests: u64::from(cell.expected_requests()), cost_usd: self.limits.max_cost_usd.unwrap_or(0.0) }
    }

    /// Runs one attempt and judges it; what failed behind a gateway is held against the control.
    ///
    /// # Errors
    /// ccsmoke could not do its own part; in words.
    pub async fn attempt(
        &self,
        cell: &CellPlan,
        evidence_path: &str,
        cancel: &CancellationToken,
    ) -> Result<Attempted, String> {
        let (evidence, verdict) = self.run_and_judge(cell, evidence_path, cancel).await?;
        let beyond = evidence.cell.target.kind != TargetKind::Embedded && evidence.gateway_failure().is_none();
        if verdict.outcome != Outcome::Failed || !beyond || cancel.is_cancelled() {
            return Ok(Attempted { evidence, verdict, control_path: None });
        }
        let control = self.control(cell, cancel).await?;
        Ok(Attempted { evidence, verdict: acquit(verdict, &control.verdict), control_path: Some(control.path) })
    }

    /// The same probe with the same client and without the gateway.
    async fn control(&self, cell: &CellPlan, cancel: &CancellationToken) -> Result<Control, String> {
        let key = (cell.probe.id.clone(), cell.client.version.clone());
        let control = Arc::clone(self.controls.lock().await.entry(key).or_default());
        let run = || async {
            let model = asked_or_default(&self.embedded.name, &[]).remove(0);
            let control = CellPlan { stand: Arc::clone(&self.embedded), model, ..cell.clone() };
            let path = self.files.evidence_path(&format!("control {}", control.name()), 1);
            self.run_and_judge(&control, &path, cancel).await.map(|(_, verdict)| Control { verdict, path })
        };
        control.get_or_try_init(run).await.cloned()
    }

    async fn run_and_judge(
        &self,
        cell: &CellPlan,
        evidence_path: &str,
        cancel: &CancellationToken,
    ) -> Result<(Evidence, Verdict), String> {
        let _place = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err("the run was interrupted".to_owned()),
            place = cell.stand.place(cell.expected_requests()) => place,
        };
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
            marker: format!("{MARKER_PREFIX}_{}_{}_{}", scope(&cell.stand.name), probe.kind.get_ref(), random_hex()?),
            nonce: provider::nonce()?,
            workspace: workspace.folder().display().to_string(),
            session_id: uuid::Uuid::new_v4().to_string(),
        };
        let mut evidence = Evidence {
            evidence_version: EVIDENCE_VERSION,
            cell: CellFacts {
                probe: probe.id.clone(),
                target: cell.stand.facts(),
                model: cell.model.name.clone(),
                full_model: cell.model.full_name.clone(),
                cli_version: cell.client.version.clone(),
                vars: vars.clone(),
            },
            launches: Vec::new(),
            sends: Vec::new(),
            exchanges: Vec::new(),
            tap: TapFacts { max_requests: self.limits.max_requests, runaway: false },
            behind: None,
            gateway: None,
            provider: None,
            log: LogFacts::default(),
            workspace: Vec::new(),
            config: Vec::new(),
        };
        let entered = tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(evidence),
            entered = cell.stand.enter(&cell.model, &self.common) => entered,
        };
        let target = match entered {
            Ok(target) => target,
            Err(gateway) => {
                evidence.gateway = Some(gateway);
                return Ok(evidence);
            }
        };
        workspace.fill(probe, &vars)?;
        if let Some(provider) = &target.provider {
            provider.register(Conversation { vars: vars.clone(), turns: probe.turn.clone() });
        }
        let visit = cell.stand.visit();
        let log_mark = target.log.as_deref().map(LogMark::take);
        let started = Instant::now();
        let token = cell_token()?;
        let credentials = Credentials { cell_token: token.clone(), upstream: target.credential.clone() };
        let mut config = TapConfig::new(target.upstream.clone(), Access::Cell(credentials), started);
        config.max_requests = self.limits.max_requests;
        let tap = Tap::start(config).await?;

        let controls = Controls { interrupt: cancel.clone(), ..Controls::default() };
        let wire = tokio::spawn(follow(tap.activity(), controls.activity.clone()));
        let guard = tokio::spawn(stop_runaway(tap.runaway(), controls.runaway.clone()));
        let common =
            Launcher { rig: self, cell, workspace: &workspace, vars: &vars, tap: &tap, token: &token, controls };
        for launch in &probe.launch {
            let facts = common.launch(launch, started).await;
            let ended_well = facts.process.returncode == Some(0);
            evidence.launches.push(facts);
            // What a failed launch was to leave behind for the next one is not there.
            if !ended_well {
                break;
            }
        }
        wire.abort();
        guard.abort();
        let sent = self.send(cell, &vars, &target, &tap, started, cancel).await?;
        if let (Some(_), Some(provider)) = (&probe.expect.cancelled, &target.provider) {
            // A provider that is not left in this time is judged as one that is still at work.
            drop(tokio::time::timeout(UNTIL_CANCELLED, provider.quiet(&vars.nonce)).await);
        }
        (evidence.exchanges, evidence.tap) = tap.finish().await;
        evidence.sends = sent.finish(&mut evidence.exchanges).await;
        evidence.behind = target.claim(&vars.nonce, started);
        evidence.gateway = target.gateway_facts(&evidence.exchanges, cell.may_harm_gateway()).await;
        evidence.provider = target.provider.as_ref().map(|p| p.records(&vars.nonce));
        if let Some(mark) = log_mark {
            evidence.log = mark.delta(LATE_LINES).await;
            evidence.log.shared = visit.was_shared();
        }
        evidence.workspace = workspace.compare(probe, &vars);
        evidence.config = workspace.config_files(probe);
        Ok(evidence)
    }

    /// Sends what the probe has ccsmoke send itself, one after another.
    async fn send(
        &self,
        cell: &CellPlan,
        vars: &Vars,
        target: &Entry,
        tap: &Tap,
        started: Instant,
        cancel: &CancellationToken,
    ) -> io::Result<Sent> {
        let mut sent = Sent::default();
        let model = wire_model(&cell.stand.client_model(&cell.model), &cell.stand.client_env(&cell.model));
        let timeout = cell.probe.timeout_s.map_or(self.limits.timeout, Duration::from_secs);
        for send in &cell.probe.send {
            let (base_url, token) = match send.credential {
                Credential::Bearer | Credential::ApiKey | Credential::Both => {
                    (tap.base_url(), tap.token().unwrap_or_default().to_owned())
                }
                Credential::Wrong | Credential::None => {
                    // A tap of its own puts the wrong credential, or none, into the place of the cell's token.
                    let upstream = (send.credential == Credential::Wrong).then(|| Secret::new(WRONG_KEY));
                    let credentials = Credentials { cell_token: cell_token()?, upstream };
                    let config = TapConfig::new(target.upstream.clone(), Access::Cell(credentials), started);
                    let tap = Tap::start(config).await?;
                    let place = (tap.base_url(), tap.token().unwrap_or_default().to_owned());
                    sent.taps.push(tap);
                    place
                }
            };
            let from_us = micros(started.elapsed());
            let read = tokio::select! {
                read = tokio::time::timeout(timeout, send::send(send, &base_url, &token, vars, &model)) => read,
                () = cancel.cancelled() => break,
            };
            let (left, error) = match read {
                Ok(Ok(read)) => (read == send::Read::Left, None),
                Ok(Err(e)) => (false, Some(e.to_string())),
                Err(_) => (false, Some(format!("no answer within {} s", timeout.as_secs()))),
            };
            sent.sends.push((from_us, SendFacts { name: send.name.get_ref().clone(), exchange: None, left, error }));
        }
        Ok(sent)
    }
}

/// What was sent without a client, and the further taps that it went through.
#[derive(Default)]
struct Sent {
    taps: Vec<Tap>,
    /// Each with the time at which it began.
    sends: Vec<(u64, SendFacts)>,
}

impl Sent {
    /// Adds what the further taps recorded to the cell's exchanges, in order of time, and says which exchange each request is.
    async fn finish(self, exchanges: &mut Vec<Exchange>) -> Vec<SendFacts> {
        for tap in self.taps {
            exchanges.extend(tap.finish().await.0);
        }
        exchanges.sort_by_key(|e| e.request.head_us);
        for (id, exchange) in (0..).zip(exchanges.iter_mut()) {
            exchange.id = id;
        }
        let starts: Vec<u64> = self.sends.iter().map(|(from_us, _)| *from_us).chain([u64::MAX]).collect();
        let of = |(i, (from_us, send)): (usize, (u64, SendFacts))| {
            // The clients are gone, and one was sent after the other.
            let its = exchanges.iter().find(|e| (from_us..starts[i + 1]).contains(&e.request.head_us));
            SendFacts { exchange: its.map(|e| e.id), ..send }
        };
        self.sends.into_iter().enumerate().map(of).collect()
    }
}

/// The id by which a model is asked for on the wire, where the client resolves an alias: as its environment says, or to what
/// 2.1.329 makes of it.
fn wire_model(name: &str, client_env: &[(String, String)]) -> String {
    if !["haiku", "opus", "sonnet"].contains(&name) {
        return name.to_owned();
    }
    let variable = format!("ANTHROPIC_DEFAULT_{}_MODEL", name.to_uppercase());
    let set = client_env.iter().find(|(n, _)| *n == variable).map(|(_, value)| value.clone());
    set.unwrap_or_else(|| format!("claude-{name}-5-5"))
}

/// The SCOPE part of markers: the target's name in capital letters and digits.
fn scope(name: &str) -> String {
    let plain = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase());
    let scope: String = plain.take(12).collect();
    if scope.is_empty() { "TARGET".to_owned() } else { scope }
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
        let model = cell.stand.client_model(&cell.model);
        let args = arguments(probe, launch, vars, &model, rig.limits.max_cost_usd);
        let input = match launch.prompt {
            Some(_) => Ok(None),
            None => workspace.input(&launch::input(launch, probe, vars)).map(Some),
        };
        let input = match input {
            Ok(input) => input,
            Err(e) => {
                let words = format!("standard input cannot be prepared: {e}");
                let process = ProcessFacts { spawn_error: Some(words), ..ProcessFacts::default() };
                return LaunchFacts { args, started_us: micros(recording.elapsed()), duration_us: 0, process };
            }
        };
        let folders = workspace.folders();
        let world = &rig.common.world;
        let mut environment =
            environment(probe, vars, &world.environment, folders, &tap.base_url(), token, world.is_root);
        let of_the_target = cell.stand.client_env(&cell.model);
        environment.extend(of_the_target.into_iter().map(|(name, value)| (name.into(), value.into())));
        let spec = ProcessSpec {
            supervisor: world.program.clone(),
            program: cell.client.path.clone(),
            args: args.clone(),
            environment,
            folder: workspace.folder().to_owned(),
            input,
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
        let until = launch.end_at.map(|EndAt::FirstText| "\"text_delta\"");
        let controls = Controls { until, ..controls.clone() };
        let began = Instant::now();
        let started_us = micros(began.duration_since(recording));
        let release = async move {
            let _spoke = wire.changed().await;
            drop::<Option<OwnedSemaphorePermit>>(permit);
            std::future::pending::<()>().await;
        };
        let process: ProcessFacts = tokio::select! {
            facts = process::run(&spec, &controls) => facts,
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
