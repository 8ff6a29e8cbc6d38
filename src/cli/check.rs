//! `ccsmoke check`: a gateway is found or started, the checks are made, and their report is told of.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use tokio_util::sync::CancellationToken;

use super::reach::ReachArgs;
use super::run::{named, no_config, no_target};
use super::runtime::{cancel_on_signal, in_runtime};
use super::{Exit, Failure, all, to_stderr, to_stdout};
use crate::check::{Bounds, CheckReport, Choice, Face, Level, Rig, Verdict, junit, markdown, run, table, text};
use crate::config::{Checks, Config, Profiles};
use crate::evidence::TargetFacts;
use crate::model::{DEFAULT_MODEL, Model, asked_or_default};
use crate::near::did_you_mean;
use crate::redact::Redactor;
use crate::stand::{Common, Entry, SCRIPTED, Stand};
use crate::world::World;

/// What the exit codes of a check mean.
pub(super) const EXIT_CODES: &str = "Exit codes:
  0    no check failed
  1    a check failed
  2    the command line, a file or a port cannot be used as asked
  3    nothing could be judged
  130  interrupted; what was checked is told of";

/// Arguments of `ccsmoke check`.
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(false).args(["url", "gateway", "target", "list"]))]
pub struct CheckArgs {
    /// Check the gateway at this base URL, from the client's side only
    #[arg(value_name = "URL")]
    url: Option<String>,
    /// Start this gateway with the scripted provider behind it: a profile file, or the name of a built-in profile
    #[arg(long, value_name = "FILE|NAME")]
    gateway: Option<String>,
    /// Check this target of ccsmoke.toml (`scripted` is the embedded provider)
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// List the checks
    #[arg(long)]
    list: bool,
    /// Take targets from this file [default: the nearest ccsmoke.toml in this folder or above]
    #[arg(long, value_name = "FILE", requires = "target")]
    config: Option<PathBuf>,
    #[command(flatten)]
    reach: ReachArgs,
    /// Ask for this model (repeatable) [default: the profile's, else claude-sonnet-5-5]
    #[arg(long = "model", value_name = "NAME")]
    models: Vec<String>,
    /// Make this check only (repeatable)
    #[arg(long, value_name = "CHECK", value_delimiter = ',')]
    only: Vec<String>,
    /// Leave this check out (repeatable)
    #[arg(long, value_name = "CHECK", value_delimiter = ',')]
    skip: Vec<String>,
    /// Leave out what weighs less
    #[arg(long, value_enum, default_value_t = Level::Optional)]
    level: Level,
    /// Check this API only; `auto` checks what is served
    #[arg(long, value_enum, default_value_t = FaceArg::Auto)]
    face: FaceArg,
    /// How to tell of it
    #[arg(long, value_enum, default_value_t = Output::Text)]
    format: Output,
    /// Seconds after which a request is given up
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// The same for chat completions, which a slow client may have to answer, and for large requests
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    slow_timeout: u64,
}

/// Which API is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FaceArg {
    /// Anthropic Messages.
    Anthropic,
    /// OpenAI Chat Completions.
    Openai,
    /// Whatever is served.
    Auto,
}

/// How the report is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A table for people
    Text,
    /// The report as JSON
    Json,
    /// JUnit XML
    Junit,
    /// A table in Markdown
    Markdown,
}

/// Runs `ccsmoke check`.
pub(super) fn main(args: &CheckArgs, world: &World) -> Result<Exit, Failure> {
    if args.list {
        return list();
    }
    in_runtime(check(args, world), world)
}

fn list() -> Result<Exit, Failure> {
    let mut out = String::new();
    let widest = table::CHECKS.iter().map(|check| check.id.len()).max().unwrap_or(0);
    for check in table::CHECKS {
        let rules = if check.rules.is_empty() { String::new() } else { format!(" ({})", check.rules.join(", ")) };
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{:<widest$}  {}{rules}", check.id, check.title);
    }
    to_stdout(&out)?;
    Ok(Exit::Good)
}

async fn check(args: &CheckArgs, world: &World) -> Result<Exit, Failure> {
    let choice = Choice {
        only: args.only.clone(),
        skip: args.skip.clone(),
        level: Some(args.level),
        face: match args.face {
            FaceArg::Anthropic => Some(Face::Anthropic),
            FaceArg::Openai => Some(Face::Openai),
            FaceArg::Auto => None,
        },
    };
    if let Some(unknown) = choice.unknown() {
        let hint = did_you_mean(unknown, table::CHECKS.iter().map(|check| check.id));
        return Err(Failure::usage(format!("there is no check {unknown:?}; {hint}`ccsmoke check --list` names all")));
    }
    if choice.checks().is_empty() {
        return Err(Failure::usage("no check is left: --only, --skip, --level and --face leave none"));
    }
    let cancel = CancellationToken::new();
    let signals = tokio::spawn(cancel_on_signal(cancel.clone()));
    let common = Common::new(world.clone());
    let stand = stand(args, world)?;
    let subject = tokio::select! {
        subject = subject(args, world, stand.as_ref(), &common) => subject?,
        () = cancel.cancelled() => return Ok(Exit::Interrupted),
    };
    let rig = rig(args, world, subject)?;
    let redactor = Arc::clone(&rig.redactor);
    let shows = world.stderr_is_terminal && args.format == Output::Text;
    let mut told = |row: &crate::check::Row| {
        if shows {
            to_stderr(&format!("\r\x1b[K{}: {}", row.id, row.verdict.words()));
        }
    };
    let report = run(rig, &choice, &cancel, &mut told).await;
    if shows {
        to_stderr("\r\x1b[K");
    }
    if let Some(stand) = &stand {
        stand.stop().await;
    }
    signals.abort();
    tell(&report, args.format, &redactor, world)?;
    Ok(exit(&report))
}

fn exit(report: &CheckReport) -> Exit {
    if report.interrupted {
        return Exit::Interrupted;
    }
    match (report.judged(), report.count(Verdict::Failed)) {
        (false, _) => Exit::Nothing,
        (true, 0) => Exit::Good,
        (true, _) => Exit::Regression,
    }
}

fn tell(report: &CheckReport, format: Output, redactor: &Redactor, world: &World) -> Result<(), Failure> {
    let out = match format {
        Output::Text => text(report, world.colours()),
        Output::Markdown => markdown(report),
        Output::Junit => junit(report).map_err(Failure::usage)?,
        Output::Json => {
            let json = serde_json::to_string_pretty(&redactor.masked(report)).map_err(Failure::usage)?;
            format!("{json}\n")
        }
    };
    to_stdout(&redactor.text(&out))
}

/// The target as it is checked.
struct Subject {
    facts: TargetFacts,
    models: Vec<String>,
    settings: Checks,
    is_keyed: bool,
    entry: Arc<Entry>,
}

/// The target that has to be started; none for a URL.
fn stand(args: &CheckArgs, world: &World) -> Result<Option<Stand>, Failure> {
    if args.url.is_some() {
        return Ok(None);
    }
    args.reach.none()?;
    if let Some(gateway) = &args.gateway {
        let built_in = Profiles::built_in().map_err(|errors| Failure::usage(all(&errors)))?;
        return Ok(Some(Stand::profile(named(gateway, &built_in)?)));
    }
    target_stand(args.target.as_deref().unwrap_or(SCRIPTED), args.config.as_deref(), world).map(Some)
}

/// The target of that name: the embedded provider, or one of the configuration.
pub(super) fn target_stand(name: &str, config: Option<&Path>, world: &World) -> Result<Stand, Failure> {
    if name == SCRIPTED {
        return Ok(Stand::embedded(0));
    }
    let built_in = Profiles::built_in().map_err(|errors| Failure::usage(all(&errors)))?;
    let config = config.map(Path::to_owned).or_else(|| Config::find_upwards(&world.folder));
    let config = config.ok_or_else(|| no_config(name))?;
    let config = Config::read(&config, &built_in).map_err(Failure::usage)?;
    let unknown = no_target(name, config.targets.iter().map(|t| t.name.as_str()).chain([SCRIPTED]));
    let profile = config.targets.into_iter().find(|target| target.name == name);
    Ok(Stand::profile(profile.ok_or(unknown)?))
}

async fn subject(args: &CheckArgs, world: &World, stand: Option<&Stand>, common: &Common) -> Result<Subject, Failure> {
    if let (Some(url), None) = (&args.url, stand) {
        return typed(args, url, world, common).await;
    }
    let Some(stand) = stand else { return Err(Failure::usage("nothing to check")) };
    let missing = stand.missing(world);
    if !missing.is_empty() {
        let words = format!("{}: {} has to be set", stand.name, missing.join(", "));
        return Err(Failure::nothing(words));
    }
    let models = stand.models(world, &args.models).map_err(Failure::usage)?;
    let default = || asked_or_default(&stand.name, &[]).into_iter().next();
    let first = models.first().cloned().or_else(default);
    let Some(first) = first else { return Err(Failure::usage("no model is named")) };
    let entry = stand.enter(&first, common).await.map_err(|facts| {
        let said = facts.failure.iter().flat_map(|failure| failure.last_lines.iter().map(String::as_str));
        Failure::nothing(std::iter::once(facts.words()).chain(said).collect::<Vec<_>>().join("\n  "))
    })?;
    Ok(Subject {
        facts: stand.facts(),
        models: models.iter().map(|model: &Model| wire_name(&stand.client_model(model))).collect(),
        settings: stand.checks(),
        is_keyed: stand.is_keyed(),
        entry,
    })
}

/// The gateway at a URL.
async fn typed(args: &CheckArgs, url: &str, world: &World, common: &Common) -> Result<Subject, Failure> {
    let (upstream, credential) = args.reach.at(url, "the URL", world)?;
    let is_keyed = credential.is_some();
    let entry = match args.reach.upstream_port {
        None => Entry::bare(upstream, credential),
        Some(port) => Entry::forwarding(upstream, credential, port, common)
            .await
            .map_err(|e| Failure::usage(format!("--upstream-port: {e}; is another run using it?")))?,
    };
    let models = if args.models.is_empty() { vec![DEFAULT_MODEL.to_owned()] } else { args.models.clone() };
    Ok(Subject {
        facts: TargetFacts {
            name: url.to_owned(),
            kind: args.reach.upstream.kind(),
            rewrites: Vec::new(),
            credential_is_given: is_keyed,
        },
        models: models.iter().map(|name| wire_name(name)).collect(),
        settings: Checks::default(),
        is_keyed,
        entry: Arc::new(entry),
    })
}

/// The id that the client sends for an alias; any other name is an id already.
pub(super) fn wire_name(name: &str) -> String {
    match name {
        "opus" | "sonnet" | "haiku" => format!("claude-{name}-5-5"),
        other => other.to_owned(),
    }
}

fn rig(args: &CheckArgs, world: &World, subject: Subject) -> Result<Rig, Failure> {
    let entry = subject.entry;
    let model = subject.models.first().cloned().ok_or_else(|| Failure::usage("no model is named"))?;
    // The credential may be a literal of the profile, which no variable holds; its name says that it is to be masked.
    let own = entry.credential.as_ref().map(|secret| ("TARGET_TOKEN", secret.expose()));
    let named: Vec<&str> = args.reach.auth_token_env.iter().map(String::as_str).collect();
    let redactor = Redactor::with_credentials(own.into_iter().chain(world.variables()), &named);
    Ok(Rig {
        target: subject.facts,
        gateway_version: entry.gateway_version().map(str::to_owned),
        model,
        models: subject.models,
        upstream: entry.upstream.clone(),
        credential: entry.credential.clone(),
        is_keyed: subject.is_keyed,
        settings: subject.settings,
        entry,
        deadline: Duration::from_secs(args.timeout),
        slow_deadline: Duration::from_secs(args.slow_timeout.max(args.timeout)),
        bounds: Bounds::default(),
        redactor: Arc::new(redactor.map_err(Failure::usage)?),
        began: Instant::now(),
    })
}
