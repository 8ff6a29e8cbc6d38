//! A run: cells in parallel, rows in the order of the plan, events as they come, a report whole at the end, also when the
//! run was interrupted.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};
use serde::Serialize;
use thiserror::Error;
use tokio::sync::{Mutex, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::cell::{Attempted, CellPlan, Rig};
use crate::finding::Finding;
use crate::judge::text_input;
use crate::report::store::StoreError;
use crate::report::{Attempt, CliFacts, HostFacts, MatrixReport, OutcomeRow, SCHEMA_VERSION, excerpt, seconds};
use crate::rules;
use crate::verdict::{Classification, Outcome, TextVerdict, Usage, Verdict};

/// What happens in a run. The core emits these; terminals and programs consume them.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The run begins.
    RunStarted {
        /// Every cell of the plan, as `model feature cli_version`.
        cells: Vec<String>,
    },
    /// A cell's client is started.
    CellStarted {
        /// The cell.
        cell: String,
        /// Which attempt it is, from 1.
        attempt: usize,
    },
    /// A cell is judged, after its last attempt.
    CellFinished {
        /// The cell.
        cell: String,
        /// Its row in the report.
        row: Box<OutcomeRow>,
    },
    /// The report is written.
    RunFinished {
        /// Its path.
        report: PathBuf,
    },
}

/// How a run goes.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The name of this worker, for the report.
    pub worker: String,
    /// How many cells may be alive at once.
    pub jobs: usize,
    /// How often a cell is tried again whose failure describes the world.
    pub retries: usize,
    /// When the run began.
    pub started_at: jiff::Timestamp,
    /// The target's name, for the report.
    pub target: String,
    /// The clients, for the report.
    pub clients: Vec<CliFacts>,
    /// The machine, for the report.
    pub host: HostFacts,
}

/// Why a run could not be carried out or told of.
#[derive(Debug, Error)]
pub enum RunError {
    /// The report or its folder cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Runs the cells and writes the report.
///
/// # Errors
/// The report cannot be written. What goes wrong with a cell is a row, never an error.
pub async fn run(
    rig: Arc<Rig>,
    plan: Vec<CellPlan>,
    options: RunOptions,
    events: mpsc::UnboundedSender<Event>,
    cancel: CancellationToken,
) -> Result<(MatrixReport, PathBuf), RunError> {
    let clock = std::time::Instant::now();
    let cpu_before = own_cpu_us();
    // Nobody may be listening; a run goes on without.
    let tell = |event: Event| drop(events.send(event));
    let names: Vec<String> = plan.iter().map(CellPlan::name).collect();
    tell(Event::RunStarted { cells: names.clone() });

    let rows = run_cells(&rig, plan, &options, &events, &cancel).await;
    let harness_cpu_us = own_cpu_us().saturating_sub(cpu_before);

    let models: BTreeSet<String> = rows.iter().flatten().map(|r| r.row.full_model.clone()).collect();
    let not_run = names.iter().zip(&rows).filter(|(_, row)| row.is_none()).map(|(name, _)| name.clone()).collect();
    let report = MatrixReport {
        ccsmoke_version: env!("CARGO_PKG_VERSION").to_owned(),
        schema_version: SCHEMA_VERSION,
        started_at: options.started_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        duration_s: seconds(u64::try_from(clock.elapsed().as_micros()).unwrap_or(u64::MAX)),
        harness_cpu_s: seconds(harness_cpu_us),
        client_cpu_s: seconds(rows.iter().flatten().map(|row| row.client_cpu_us).sum()),
        worker_id: options.worker,
        target: options.target,
        models: models.into_iter().collect(),
        cli: options.clients,
        host: options.host,
        interrupted: cancel.is_cancelled(),
        not_run,
        outcomes: rows.into_iter().flatten().map(|row| row.row).collect(),
    };
    let path = rig.files.write_report(&report, &rig.redactor)?;
    tell(Event::RunFinished { report: path.clone() });
    Ok((report, path))
}

/// Runs every cell; a row is `None` when its cell was not run to its end.
async fn run_cells(
    rig: &Arc<Rig>,
    plan: Vec<CellPlan>,
    options: &RunOptions,
    events: &mpsc::UnboundedSender<Event>,
    cancel: &CancellationToken,
) -> Vec<Option<RunCell>> {
    let mut rows: Vec<Option<RunCell>> = plan.iter().map(|_| None).collect();
    let mut order: Vec<(usize, CellPlan)> = plan.into_iter().enumerate().collect();
    // The longest cells first, so that none of them is left over at the end while cores are idle.
    order.sort_by_key(|(i, cell)| (std::cmp::Reverse(cell.weight()), *i));
    let alive = Arc::new(Semaphore::new(options.jobs.max(1)));
    let mut running = JoinSet::new();
    let mut places = HashMap::new();
    let mut left: HashMap<String, usize> = HashMap::new();
    for (_, cell) in &order {
        *left.entry(cell.stand.name.clone()).or_default() += 1;
    }
    let left = Arc::new(Mutex::new(left));
    for (i, cell) in order {
        let permit = tokio::select! {
            biased;
            () = cancel.cancelled() => break,
            permit = Arc::clone(&alive).acquire_owned() => permit,
        };
        let (rig, events, cancel, retries) = (Arc::clone(rig), events.clone(), cancel.clone(), options.retries);
        let place = (i, cell.clone());
        let left = Arc::clone(&left);
        let task = running.spawn(async move {
            let row = run_cell(&rig, &cell, retries, &events, &cancel).await;
            leave(&left, &cell).await;
            drop(permit);
            row
        });
        places.insert(task.id(), place);
    }
    while let Some(joined) = running.join_next_with_id().await {
        let (id, row) = match joined {
            Ok(ended) => ended,
            // A cell that panics is a mistake of ours; the others go on.
            Err(panic) => {
                let words = format!("ccsmoke panicked while it ran this cell: {panic}");
                let cell = places.get(&panic.id()).map(|(_, cell)| cell);
                let row = |cell| RunCell { row: self::row(cell, &harness_error(&words)), client_cpu_us: 0 };
                (panic.id(), cell.map(row))
            }
        };
        if let Some((i, _)) = places.get(&id) {
            rows[*i] = row;
        }
    }
    rows
}

/// A cell of a target has ended: a gateway ends with the last of them, so that no more of them are alive than are needed. The
/// provider without a gateway stays, for controls.
async fn leave(left: &Mutex<HashMap<String, usize>>, cell: &CellPlan) {
    let is_last = {
        let mut left = left.lock().await;
        let count = left.entry(cell.stand.name.clone()).or_default();
        *count = count.saturating_sub(1);
        *count == 0
    };
    if is_last && !cell.stand.is_embedded() {
        cell.stand.stop().await;
    }
}

async fn run_cell(
    rig: &Rig,
    cell: &CellPlan,
    retries: usize,
    events: &mpsc::UnboundedSender<Event>,
    cancel: &CancellationToken,
) -> Option<RunCell> {
    let mut attempts = Vec::new();
    let mut client_cpu_us = 0;
    let missing = cell.stand.missing(&rig.common.world);
    if !missing.is_empty() {
        let row = row(cell, &no_credential(&missing));
        drop(events.send(Event::CellFinished { cell: cell.name(), row: Box::new(row.clone()) }));
        return Some(RunCell { row, client_cpu_us });
    }
    loop {
        let attempt = attempts.len() + 1;
        drop(events.send(Event::CellStarted { cell: cell.name(), attempt }));
        let evidence_path = rig.files.evidence_path(&cell.name(), attempt);
        let result = rig.attempt(cell, &evidence_path, cancel).await;
        if cancel.is_cancelled() {
            return None;
        }
        let (mut row, verdict) = match result {
            Ok(Attempted { evidence, verdict, control_path }) => {
                let text = text_input(&cell.probe, &evidence);
                client_cpu_us += evidence.launches.iter().map(|l| l.process.cpu_us).sum::<u64>();
                let mut row = row(cell, &verdict);
                row.duration_s = seconds(evidence.launches.iter().map(|l| l.duration_us).sum());
                row.cli_returncode = text.returncode;
                row.log_path = Some(match &evidence.log.path {
                    Some(path) => path.clone(),
                    None => evidence_path.replace("evidence.json", "tap.log"),
                });
                row.control_path = control_path;
                row.gateway_version = evidence.gateway.as_ref().and_then(|g| g.version.clone());
                row.stdout_excerpt = excerpt(&text.stdout);
                row.stderr_excerpt = excerpt(&text.stderr);
                row.log_excerpt = excerpt(&text.log_delta);
                (row, verdict)
            }
            Err(words) => {
                let verdict = harness_error(&words);
                (row(cell, &verdict), verdict)
            }
        };
        row.evidence_path.clone_from(&evidence_path);
        attempts.push(Attempt {
            outcome: verdict.outcome,
            classification: verdict.classification,
            duration_s: row.duration_s,
            evidence_path,
        });
        // A regression is a finding about the product: no later attempt takes it back.
        let again = verdict.outcome == Outcome::Failed && !verdict.classification.is_regression();
        if again && attempts.len() <= retries {
            // The world is given time to mend; there is no event that tells when it has.
            tokio::select! {
                () = tokio::time::sleep(pause_before(attempts.len())) => continue,
                () = cancel.cancelled() => return None,
            }
        }
        row.attempts = attempts;
        drop(events.send(Event::CellFinished { cell: cell.name(), row: Box::new(row.clone()) }));
        return Some(RunCell { row, client_cpu_us });
    }
}

/// How long to wait before a failed cell is tried again: one second, then twice as long each time, at most half a minute.
fn pause_before(failed: usize) -> Duration {
    const LONGEST: u64 = 30;
    let exponent = u32::try_from(failed.saturating_sub(1)).unwrap_or(u32::MAX);
    Duration::from_secs(2_u64.saturating_pow(exponent).min(LONGEST))
}

/// A cell's row, and what its client cost in all attempts.
struct RunCell {
    row: OutcomeRow,
    client_cpu_us: u64,
}

/// CPU time of this process so far, user and system, in microseconds; its children are not in it.
fn own_cpu_us() -> u64 {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return 0 };
    let micros = |t: nix::sys::time::TimeVal| u64::try_from(t.tv_sec() * 1_000_000 + t.tv_usec()).unwrap_or(0);
    micros(usage.user_time()) + micros(usage.system_time())
}

fn row(cell: &CellPlan, verdict: &Verdict) -> OutcomeRow {
    OutcomeRow {
        target: cell.stand.name.clone(),
        gateway_version: None,
        control_path: None,
        model: cell.model.name.clone(),
        full_model: cell.model.full_name.clone(),
        source: cell.model.source.clone(),
        feature: cell.probe.id.clone(),
        probe: cell.probe.id.clone(),
        capabilities: cell.probe.capabilities.get_ref().iter().copied().collect(),
        cli_version: cell.client.version.clone(),
        outcome: verdict.outcome,
        classification: verdict.classification,
        text_verdict: verdict.text_verdict.clone(),
        findings: verdict.findings.clone(),
        duration_s: 0.0,
        cli_returncode: None,
        token_evidence: verdict.token_evidence.clone(),
        request_count: verdict.request_count,
        usage: verdict.usage,
        cost_usd: verdict.cost_usd,
        attempts: Vec::new(),
        log_path: None,
        evidence_path: String::new(),
        stdout_excerpt: String::new(),
        stderr_excerpt: String::new(),
        log_excerpt: String::new(),
    }
}

/// The verdict on a cell that ccsmoke itself could not carry out.
fn harness_error(words: &str) -> Verdict {
    nothing_captured(Outcome::Failed, Classification::HarnessBug, rules::harness_error(words))
}

/// The verdict on a cell whose target wants a credential that is not there.
fn no_credential(variables: &[String]) -> Verdict {
    let finding = rules::credential_missing(&variables.join(", "));
    nothing_captured(Outcome::Skipped, Classification::MissingEnv, finding)
}

fn nothing_captured(outcome: Outcome, classification: Classification, finding: Finding) -> Verdict {
    Verdict {
        outcome,
        classification,
        findings: vec![finding],
        request_count: 0,
        token_evidence: crate::text_evidence::TokenEvidence::default(),
        text_verdict: TextVerdict { outcome, classification, rule: "nothing-was-captured".to_owned() },
        usage: Usage::default(),
        cost_usd: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_between_attempts_double_and_are_bounded() {
        let seconds: Vec<u64> = [1, 2, 3, 5, 6, 100, usize::MAX].map(|n| pause_before(n).as_secs()).to_vec();
        assert_eq!(seconds, [1, 2, 4, 16, 30, 30, 30]);
    }
}
