//! `ccsmoke selftest`: every known defect through the machinery of `ccsmoke run`, and every difference that is none.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::cells::{carry_out, chosen, client_facts, clients, jobs, plan_facts, redactor};
use super::judge::judged_again;
use super::progress::{Liveness, Progress};
use super::report::find;
use super::runtime::{cancel_on_signal, in_runtime};
use super::{Exit, Failure, Format, ProbesFolder, to_stdout};
use crate::budget::Allowance;
use crate::cell::{CellPlan, Limits, Rig};
use crate::config::Profiles;
use crate::fault::VARIATIONS;
use crate::probes::ProbeSet;
use crate::redact::Redactor;
use crate::report::detection::DetectionReport;
use crate::report::store::{RunFiles, write_beside};
use crate::report::{HostFacts, OutcomeRow};
use crate::run::RunOptions;
use crate::selftest::{Selection, Subject, Trial, judge_fault, judge_variation, trials};
use crate::stand::{Common, Stand};
use crate::world::World;

/// The name of the worker in the report of a selftest's cells.
const WORKER: &str = "selftest";

/// Seconds after which a launch of the client is ended: a fault can make it wait.
const TIMEOUT: Duration = Duration::from_secs(45);

/// Requests after which a cell is stopped as a runaway.
const MAX_REQUESTS: u32 = 25;

/// What the exit codes of a selftest mean.
pub(super) const EXIT_CODES: &str = "Exit codes:
  0    every defect was found, and nothing else was accused of anything
  1    a defect was missed, or somebody was accused who did nothing
  2    the command line, a file, a folder or a port cannot be used as asked
  3    no client could be had
  130  interrupted; the matrix holds what was done";

/// Arguments of `ccsmoke selftest`.
#[derive(Debug, Args)]
pub struct SelftestArgs {
    /// Try this fault only (repeatable) [default: all]
    #[arg(long = "fault", value_name = "ID")]
    faults: Vec<String>,
    /// Try this variation only (repeatable) [default: all]
    #[arg(long = "variation", value_name = "ID")]
    variations: Vec<String>,
    /// Try the faults of this family only: a letter from A to L
    #[arg(long, value_name = "LETTER")]
    family: Option<char>,
    /// Use this probe only (repeatable) [default: for each fault the one that shows it, for each variation all]
    #[arg(long = "probe", value_name = "NAME")]
    probes: Vec<String>,
    #[command(flatten)]
    folder: ProbesFolder,
    /// Launch this claude binary [default: claude on PATH, else a pinned version fetched through npm]
    #[arg(long, value_name = "PATH", conflicts_with = "cli")]
    claude: Option<PathBuf>,
    /// Launch this version of Claude Code, fetched through npm once (repeatable; `latest` is allowed)
    #[arg(long, value_name = "VERSION")]
    cli: Vec<String>,
    /// How many cells may be alive at once [default: what the memory holds]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// One fault for each family and way of being made, and a few variations: less than two minutes
    #[arg(long)]
    quick: bool,
    /// Run at least so many cells without a defect, variations and the correct gateway together
    #[arg(long, value_name = "N", default_value_t = 0)]
    clean_cells: usize,
    /// Launch nothing: judge the evidence of earlier selftests again, put together (repeatable; the last one counts)
    #[arg(long, value_name = "RESULTS", conflicts_with_all = ["claude", "cli", "jobs"])]
    again: Vec<PathBuf>,
    /// How to print the matrix
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// The folder of the matrix, the report and the evidence
    #[arg(long, value_name = "DIR", default_value = "results")]
    results: PathBuf,
}

/// Runs `ccsmoke selftest`.
pub(super) fn main(args: &SelftestArgs, world: &World) -> Result<Exit, Failure> {
    in_runtime(all(args, world), world)
}

async fn all(args: &SelftestArgs, world: &World) -> Result<Exit, Failure> {
    let clock = std::time::Instant::now();
    let live = match (args.format, Liveness::at(world)) {
        (Format::Json, Liveness::Plain) => Liveness::Silent,
        (_, live) => live,
    };
    let mut progress = Progress::new(live);
    let set = args.folder.read_some(world)?;
    let probes = chosen(&set, &args.probes)?;
    let selection = Selection {
        faults: args.faults.clone(),
        variations: args.variations.clone(),
        family: args.family.map(|letter| letter.to_ascii_uppercase()),
        quick: args.quick,
        clean_cells: args.clean_cells,
    };
    let trials = trials(&selection, &probes).map_err(Failure::usage)?;
    if !args.again.is_empty() {
        return again(args, &set, &trials, world);
    }
    let stands = stands(&trials, world)?;
    let redactor = redactor(&stands, world)?;
    let cancel = CancellationToken::new();
    let signals = tokio::spawn(cancel_on_signal(cancel.clone()));
    let started_at = jiff::Timestamp::now();
    let files = RunFiles::create(&args.results, WORKER, started_at.as_second()).map_err(Failure::usage)?;
    let clients = tokio::select! {
        found = clients(args.claude.as_deref(), &args.cli, world, &mut progress) => found?,
        () = cancel.cancelled() => return Ok(Exit::Interrupted),
    };
    let plan = plan(&trials, &stands, &clients, world)?;
    let facts = plan_facts(&plan, set.rules_sha256, None);
    let rig = Arc::new(Rig::new(
        Common::new(world.clone()),
        Arc::new(Stand::embedded(0)),
        set.rules,
        redactor,
        files,
        Limits { timeout: TIMEOUT, max_requests: MAX_REQUESTS, max_cost_usd: None },
    ));
    let options = RunOptions {
        worker: WORKER.to_owned(),
        jobs: jobs(args.jobs, world),
        retries: 0,
        allowance: Allowance::default(),
        started_at,
        target: WORKER.to_owned(),
        clients: client_facts(&clients),
        host: HostFacts::here(world.cores),
        plan: facts,
    };
    let done = carry_out(&rig, plan, options, cancel, |event| progress.show(event)).await;
    for stand in &stands {
        stand.stop().await;
    }
    rig.embedded.stop().await;
    signals.abort();
    let (report, _) = done?;
    let mut detection = detection(&trials, &report.outcomes);
    detection.cli = clients.iter().map(|c| c.version.clone()).collect();
    detection.duration_s = clock.elapsed().as_secs_f64();
    detection.interrupted = report.interrupted;
    tell_of(args, &detection, started_at, &rig.redactor)
}

/// Judges what earlier selftests left with the rules of today.
fn again(args: &SelftestArgs, set: &ProbeSet, trials: &[Trial], world: &World) -> Result<Exit, Failure> {
    let (mut rows, mut duration_s, mut versions) = (BTreeMap::new(), 0.0, BTreeSet::new());
    for results in &args.again {
        let (report, _) = judged_again(set, &find(results, &args.results)?)?;
        duration_s += report.duration_s;
        versions.extend(report.cli.into_iter().map(|client| client.version));
        let name = |row: &OutcomeRow| (row.target.clone(), row.probe.clone(), row.cli_version.clone());
        rows.extend(report.outcomes.into_iter().map(|row| (name(&row), row)));
    }
    let rows: Vec<OutcomeRow> = rows.into_values().collect();
    let detection = DetectionReport {
        cli: versions.into_iter().collect(),
        duration_s,
        again: args.again.len(),
        ..detection(trials, &rows)
    };
    tell_of(args, &detection, jiff::Timestamp::now(), &redactor(&[], world)?)
}

/// Writes the matrix and prints it.
fn tell_of(
    args: &SelftestArgs,
    detection: &DetectionReport,
    started_at: jiff::Timestamp,
    redactor: &Redactor,
) -> Result<Exit, Failure> {
    let json = serde_json::to_string_pretty(detection).map_err(Failure::usage)? + "\n";
    let stem = format!("ccsmoke-detection-{}", started_at.as_second());
    std::fs::create_dir_all(&args.results)
        .map_err(|e| Failure::usage(format!("{}: cannot be made: {e}", args.results.display())))?;
    let mut written = Vec::new();
    for (ending, text) in [("json", &json), ("md", &detection.markdown())] {
        let path = write_beside(&args.results, &format!("{stem}.{ending}"), text, redactor);
        written.push(path.map_err(Failure::usage)?);
    }
    match args.format {
        Format::Json => to_stdout(&redactor.text(&json))?,
        Format::Human => {
            let paths: Vec<String> = written.iter().map(|p| p.display().to_string()).collect();
            to_stdout(&redactor.text(&format!("{}matrix {}\n", detection.text(), paths.join(" "))))?;
        }
    }
    Ok(match (detection.interrupted, detection.is_good()) {
        (true, _) => Exit::Interrupted,
        (false, true) => Exit::Good,
        (false, false) => Exit::Regression,
    })
}

/// A target for every gateway that is tried.
fn stands(trials: &[Trial], world: &World) -> Result<Vec<Arc<Stand>>, Failure> {
    let profiles = Profiles::built_in().map_err(|errors| Failure::usage(super::all(&errors)))?;
    let stand = |trial: &Trial| {
        let profile = trial.subject.profile(&world.program, &profiles).map_err(Failure::usage)?;
        Ok(Arc::new(Stand::profile(profile).stateless()))
    };
    trials.iter().map(stand).collect()
}

fn plan(
    trials: &[Trial],
    stands: &[Arc<Stand>],
    clients: &[Arc<crate::client::Client>],
    world: &World,
) -> Result<Vec<CellPlan>, Failure> {
    let mut plan = Vec::new();
    for (trial, stand) in trials.iter().zip(stands) {
        for model in stand.models(world, &[]).map_err(Failure::usage)? {
            for client in clients {
                for probe in &trial.probes {
                    let (stand, probe, client) = (Arc::clone(stand), Arc::clone(probe), Arc::clone(client));
                    plan.push(CellPlan { stand, probe, client, model: model.clone() });
                }
            }
        }
    }
    Ok(plan)
}

/// What the rows of a run say of each gateway.
fn detection(trials: &[Trial], outcomes: &[OutcomeRow]) -> DetectionReport {
    let of = |subject: &Subject| -> Vec<&OutcomeRow> {
        let name = subject.name();
        outcomes.iter().filter(|row| row.target == name).collect()
    };
    let faults = trials.iter().filter_map(|trial| match trial.subject {
        Subject::Fault(fault) => Some(judge_fault(fault, trial, &of(&trial.subject))),
        Subject::Variation(..) => None,
    });
    let variations = VARIATIONS.iter().filter_map(|variation| {
        let own = |t: &&Trial| matches!(t.subject, Subject::Variation(v, _) if v.id == variation.id);
        let rows: Vec<&OutcomeRow> = trials.iter().filter(own).flat_map(|t| of(&t.subject)).collect();
        trials.iter().any(|t| own(&t)).then(|| judge_variation(variation, &rows))
    });
    DetectionReport {
        ccsmoke_version: env!("CARGO_PKG_VERSION").to_owned(),
        cli: Vec::new(),
        duration_s: 0.0,
        again: 0,
        interrupted: false,
        faults: faults.collect(),
        variations: variations.collect(),
    }
}
