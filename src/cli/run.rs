//! `ccsmoke run`: everything is checked before anything is started; then the cells run, and the report is told of.

use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::baseline::BaselineArgs;
use super::cells::{carry_out, chosen, client_facts, clients, jobs, plan_facts, redactor};
use super::judge::exit_for;
use super::limits::LimitArgs;
use super::progress::{Liveness, Progress};
use super::reach::ReachArgs;
use super::runtime::{cancel_on_signal, in_runtime};
use super::{Exit, FailOn, Failure, Format, ProbesFolder, to_stdout};
use crate::cell::{CellPlan, Rig};
use crate::client::Client;
use crate::config::{self, Config, Profile, Profiles};
use crate::model::asked_or_default;
use crate::near::did_you_mean;
use crate::probe::Probe;
use crate::report::HostFacts;
use crate::report::plan::Shard;
use crate::report::store::RunFiles;
use crate::report::terminal::{self, Detail};
use crate::run::{Event, RunOptions};
use crate::stand::{Common, SCRIPTED, Stand};
use crate::world::World;

/// Arguments of `ccsmoke run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Run this probe only (repeatable) [default: all]
    #[arg(long = "probe", value_name = "NAME")]
    probes: Vec<String>,
    #[command(flatten)]
    folder: ProbesFolder,
    /// Ask for this model (repeatable): an alias or a full name, with or without `provider/` [default: sonnet]
    #[arg(long = "model", value_name = "NAME", value_parser = model_name)]
    models: Vec<String>,
    /// Launch this claude binary [default: claude on PATH, else a pinned version fetched through npm]
    #[arg(long, value_name = "PATH", conflicts_with = "cli")]
    claude: Option<PathBuf>,
    /// Launch this version of Claude Code, fetched through npm once (repeatable; `latest` is allowed)
    #[arg(long, value_name = "VERSION")]
    cli: Vec<String>,
    /// Test the gateway at this base URL instead of the embedded scripted provider
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Test this gateway (repeatable): a profile file, or the name of a built-in profile
    #[arg(long = "gateway", value_name = "FILE|NAME", conflicts_with = "url")]
    gateways: Vec<String>,
    /// Take the targets from this file [default: the nearest ccsmoke.toml in this folder or above, if there is one]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["url", "gateways"])]
    config: Option<PathBuf>,
    /// Test this target only (repeatable; `scripted` is the embedded provider); with --url, its name in reports
    #[arg(long = "target", value_name = "NAME")]
    targets: Vec<String>,
    #[command(flatten)]
    reach: ReachArgs,
    /// The log file of the gateway at --url; what each cell appends to it is read. A `*` in its name stands for the newest file
    #[arg(long, value_name = "FILE", requires = "url")]
    gateway_log: Option<PathBuf>,
    /// The port of the embedded provider; 0 takes a free one
    #[arg(long, value_name = "PORT", default_value_t = 0, conflicts_with = "url")]
    provider_port: u16,
    /// How many cells may be alive at once [default: what the memory holds]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    #[command(flatten)]
    limits: LimitArgs,
    /// How often a cell is tried again whose failure describes the world and not the product
    #[arg(long, value_name = "N", default_value_t = 0)]
    retries: usize,
    /// What makes the exit code 1
    #[arg(long, value_enum, default_value_t = FailOn::Regression)]
    fail_on: FailOn,
    /// The folder of reports and evidence
    #[arg(long, value_name = "DIR", default_value = "results")]
    results: PathBuf,
    /// The name of this worker in the report and its file name
    #[arg(long, value_name = "NAME", default_value = "main", value_parser = worker_name)]
    worker: String,
    /// Run one of several equal shares of the plan, such as 2/4; `ccsmoke report merge` puts their reports together
    #[arg(long, value_name = "I/N", value_parser = Shard::from_str, conflicts_with = "baseline")]
    shard: Option<Shard>,
    #[command(flatten)]
    baseline: BaselineArgs,
    /// How to tell of the run: text for people, or one JSON event a line
    #[arg(long, value_enum, default_value_t = Format::Human)]
    message_format: Format,
}

fn worker_name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    if text.is_empty() || text.len() > 40 || !text.chars().all(plain) || text.starts_with('.') {
        return Err("a worker's name has 1 to 40 letters, digits, `_` or `.`".to_owned());
    }
    Ok(text.to_owned())
}

fn model_name(text: &str) -> Result<String, String> {
    let has_parts = text.split('/').all(|part| !part.is_empty()) && !text.starts_with('-');
    if !has_parts || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("a model is an alias such as `sonnet`, or a full name, with or without `provider/`".to_owned());
    }
    Ok(text.to_owned())
}

/// Runs `ccsmoke run`.
pub(super) fn main(args: &RunArgs, world: &World) -> Result<Exit, Failure> {
    in_runtime(all(args, world), world)
}

async fn all(args: &RunArgs, world: &World) -> Result<Exit, Failure> {
    let live = match args.message_format {
        Format::Json => Liveness::Silent,
        Format::Human => Liveness::at(world),
    };
    let mut progress = Progress::new(live);
    let set = args.folder.read_some(world)?;
    let probes = chosen(&set, &args.probes)?;
    let baseline = args.baseline.read()?;
    let (stands, limits) = stands(args, world)?;
    let redactor = redactor(&stands, world)?;
    let cancel = CancellationToken::new();
    let signals = tokio::spawn(cancel_on_signal(cancel.clone()));
    let started_at = jiff::Timestamp::now();
    // The folder and the port first: nothing is fetched or launched for a run that could not be told of.
    let files = RunFiles::create(&args.results, &args.worker, started_at.as_second()).map_err(Failure::usage)?;
    let embedded = stands.iter().find(|s| s.is_embedded()).cloned();
    let rig = Rig::new(
        Common::new(world.clone()),
        embedded.clone().unwrap_or_else(|| Arc::new(Stand::embedded(0))),
        set.rules,
        redactor,
        files,
        args.limits.of_a_cell(&limits),
    );
    if let Some(embedded) = embedded {
        let default = asked_or_default(&embedded.name, &[]).remove(0);
        embedded.enter(&default, &rig.common).await.map_err(|facts| Failure::usage(facts.words()))?;
    }
    let rig = Arc::new(rig);

    let clients = tokio::select! {
        found = clients(args.claude.as_deref(), &args.cli, world, &mut progress) => found?,
        () = cancel.cancelled() => return Ok(Exit::Interrupted),
    };

    let plan = plan(&stands, &args.models, &clients, &probes, world)?;
    let facts = plan_facts(&plan, set.rules_sha256, args.shard);
    let plan = share(plan, args.shard);
    let options = RunOptions {
        worker: args.worker.clone(),
        jobs: jobs(args.jobs, world),
        retries: args.retries,
        allowance: args.limits.of_the_run(&limits),
        started_at,
        target: stands.iter().map(|s| s.name.as_str()).collect::<Vec<_>>().join(", "),
        clients: client_facts(&clients),
        host: HostFacts::here(world.cores),
        plan: facts,
    };
    let mut told = Ok(());
    let see = |event: &Event| {
        progress.show(event);
        if args.message_format == Format::Json && told.is_ok() {
            let text = serde_json::to_string(&rig.redactor.masked(event));
            told = text.map_err(Failure::usage).and_then(|text| to_stdout(&format!("{text}\n")));
        }
    };
    let done = carry_out(&rig, plan, options, cancel, see).await;
    for stand in &stands {
        stand.stop().await;
    }
    signals.abort();
    let (report, path) = done?;
    told?;
    if args.message_format == Format::Human {
        let text = terminal::render(&report, &path.to_string_lossy(), world.screen(), Detail::Brief);
        to_stdout(&rig.redactor.text(&text))?;
    }
    if report.interrupted {
        return Ok(Exit::Interrupted);
    }
    if args.baseline.is_given() {
        return args.baseline.compare(baseline.as_ref(), &path, (args.message_format, args.fail_on), world);
    }
    if args.shard.is_some() && report.outcomes.is_empty() && report.stopped.is_none() {
        return Ok(Exit::Good);
    }
    let exit = exit_for(report.outcomes.iter().map(|row| (row.outcome, row.classification)), args.fail_on);
    // What was found stands; what was not looked at is not good.
    Ok(if report.stopped.is_some() && exit != Exit::Regression { Exit::Stopped } else { exit })
}

/// The targets that were asked for, or those of the configuration, or the embedded provider; and what the file says of limits.
fn stands(args: &RunArgs, world: &World) -> Result<(Vec<Arc<Stand>>, config::Limits), Failure> {
    if let Some(text) = &args.url {
        return Ok((vec![Arc::new(Stand::profile(typed(args, text, world)?))], config::Limits::default()));
    }
    args.reach.none()?;
    let built_in = Profiles::built_in().map_err(|errors| Failure::usage(super::all(&errors)))?;
    let mut stands = Vec::new();
    let mut limits = config::Limits::default();
    if args.gateways.is_empty() {
        let config = args.config.clone().or_else(|| Config::find_upwards(&world.folder));
        let config = config.map(|path| Config::read(&path, &built_in)).transpose().map_err(Failure::usage)?;
        if let Some(config) = config {
            limits = config.limits;
            stands.extend(config.targets.into_iter().map(Stand::profile));
        }
    }
    for gateway in &args.gateways {
        let profile = named(gateway, &built_in)?;
        if stands.iter().any(|stand: &Stand| stand.name == profile.name) {
            let message = format!("--gateway {gateway}: there is a target {:?} already; name each once", profile.name);
            return Err(Failure::usage(message));
        }
        stands.push(Stand::profile(profile));
    }
    let wants_embedded = stands.is_empty() || args.targets.iter().any(|t| t == SCRIPTED);
    if wants_embedded {
        stands.push(Stand::embedded(args.provider_port));
    }
    let known = stands.iter().map(|s| s.name.clone()).collect::<Vec<_>>();
    if let Some(unknown) = args.targets.iter().find(|t| !known.contains(t)) {
        let others = known.iter().map(String::as_str).filter(|name| *name != SCRIPTED);
        return Err(no_target(unknown, others.chain([SCRIPTED])));
    }
    stands.retain(|s| args.targets.is_empty() || args.targets.contains(&s.name));
    Ok((stands.into_iter().map(Arc::new).collect(), limits))
}

/// The target at `--url`.
fn typed(args: &RunArgs, url: &str, world: &World) -> Result<Profile, Failure> {
    let RunArgs { reach, targets, gateway_log, .. } = args;
    reach.at(url, "--url", world)?;
    let name = targets.first().map_or("gateway", String::as_str);
    let mut profile = Profile::adopted(name, url, reach.auth_token_env.clone(), gateway_log.clone());
    (profile.behind, profile.provider_port) = (reach.upstream, reach.upstream_port);
    profile.ca_file = reach.ca_file.as_ref().map(|file| file.display().to_string());
    Ok(profile)
}

/// What to say to a target where no file names any.
pub(super) fn no_config(name: &str) -> Failure {
    let message = "there is no ccsmoke.toml here or above; `ccsmoke init` writes one, --config names one elsewhere";
    Failure::usage(format!("--target {name}: {message}"))
}

/// What to say to a name that no target has.
pub(super) fn no_target<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Failure {
    let known: Vec<&str> = known.collect();
    let hint = did_you_mean(name, known.iter().copied());
    Failure::usage(format!("there is no target {name:?}; {hint}there are {}", known.join(", ")))
}

/// The gateway of that name: a built-in profile, or a file.
pub(super) fn named(gateway: &str, built_in: &Profiles) -> Result<Profile, Failure> {
    match built_in.get(gateway) {
        Some(profile) => Ok(profile.clone()),
        None if Path::new(gateway).is_file() => Profile::read(Path::new(gateway), built_in).map_err(Failure::usage),
        None => {
            let hint = did_you_mean(gateway, built_in.names());
            let names = built_in.names().collect::<Vec<_>>().join(", ");
            Err(Failure::usage(format!(
                "--gateway {gateway}: there is no such file, and no built-in profile of that name; {hint}there are {names}"
            )))
        }
    }
}

fn plan(
    stands: &[Arc<Stand>],
    asked: &[String],
    clients: &[Arc<Client>],
    probes: &[Arc<Probe>],
    world: &World,
) -> Result<Vec<CellPlan>, Failure> {
    let mut plan = Vec::new();
    for stand in stands {
        for model in stand.models(world, asked).map_err(Failure::usage)? {
            for client in clients {
                for probe in probes.iter().filter(|probe| probe.applies_to(stand.facts().kind)) {
                    let (stand, probe, client) = (Arc::clone(stand), Arc::clone(probe), Arc::clone(client));
                    plan.push(CellPlan { stand, probe, client, model: model.clone() });
                }
            }
        }
    }
    if plan.is_empty() {
        let names = probes.iter().map(|p| p.id.as_str()).collect::<Vec<_>>().join(", ");
        let message = format!("nothing to run: of these probes none says anything of these targets: {names}");
        return Err(Failure::usage(message));
    }
    Ok(plan)
}

/// The cells of the plan that are this run's.
fn share(plan: Vec<CellPlan>, shard: Option<Shard>) -> Vec<CellPlan> {
    let Some(shard) = shard else { return plan };
    let weights: Vec<usize> = plan.iter().map(CellPlan::weight).collect();
    let own = shard.places(&weights);
    plan.into_iter().enumerate().filter(|(i, _)| own.contains(i)).map(|(_, cell)| cell).collect()
}
