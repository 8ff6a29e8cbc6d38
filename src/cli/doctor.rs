//! `ccsmoke doctor`: the client is examined, against the scripted provider or a target.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tokio_util::sync::CancellationToken;

use super::check::target_stand;
use super::runtime::{cancel_on_signal, in_runtime};
use super::{Exit, Failure, to_stdout};
use crate::doctor::{DoctorReport, Examination, text};
use crate::model::asked_or_default;
use crate::redact::Redactor;
use crate::stand::{Common, SCRIPTED};
use crate::world::World;

/// What the exit codes of an examination mean.
pub(super) const EXIT_CODES: &str = "Exit codes:
  0    a text answer came back in the plain way: -p over pipes, with standard input closed
  1    none did
  2    the command line, a file or a port cannot be used as asked
  3    nothing could be judged
  130  interrupted; what was seen is told of";

/// Arguments of `ccsmoke doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Examine this claude binary [default: claude on PATH, else the one in ccsmoke's cache]
    #[arg(long, value_name = "PATH")]
    claude: Option<PathBuf>,
    /// Start it through this command as well, with and without a terminal, e.g. "docker exec NAME"; words are separated by spaces
    #[arg(long, value_name = "COMMAND")]
    via: Option<String>,
    /// Have this target of ccsmoke.toml answer [default: the embedded scripted provider]
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
    /// Take targets from this file [default: the nearest ccsmoke.toml in this folder or above]
    #[arg(long, value_name = "FILE", requires = "target")]
    config: Option<PathBuf>,
    /// Ask for this model [default: the target's, else sonnet]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Seconds after which a start is taken to hang
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// How to tell of it
    #[arg(long, value_enum, default_value_t = Output::Text)]
    format: Output,
}

/// How the report is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Text for people
    Text,
    /// The report as JSON
    Json,
}

/// Runs `ccsmoke doctor`.
pub(super) fn main(args: &DoctorArgs, world: &World) -> Result<Exit, Failure> {
    in_runtime(examine(args, world), world)
}

async fn examine(args: &DoctorArgs, world: &World) -> Result<Exit, Failure> {
    let stand = target_stand(args.target.as_deref().unwrap_or(SCRIPTED), args.config.as_deref(), world)?;
    let missing = stand.missing(world);
    if !missing.is_empty() {
        return Err(Failure::nothing(format!("{}: {} has to be set", stand.name, missing.join(", "))));
    }
    let asked: Vec<String> = args.model.iter().cloned().collect();
    let models = stand.models(world, &asked).map_err(Failure::usage)?;
    let model = models.into_iter().next().unwrap_or_else(|| asked_or_default(&stand.name, &[]).remove(0));
    let common = Common::new(world.clone());
    let cancel = CancellationToken::new();
    let signals = tokio::spawn(cancel_on_signal(cancel.clone()));
    let entry = stand.enter(&model, &common).await.map_err(|facts| Failure::nothing(facts.words()))?;
    let credentials: Vec<&str> = stand.credential_variable().into_iter().collect();
    let redactor = Redactor::with_credentials(world.variables(), &credentials).map_err(Failure::usage)?;
    let examination = Examination {
        world,
        given: args.claude.as_deref(),
        via: args.via.iter().flat_map(|via| via.split_whitespace()).map(str::to_owned).collect(),
        entry,
        target: stand.name.clone(),
        model: stand.client_model(&model),
        timeout: Duration::from_secs(args.timeout),
        redactor: &redactor,
        cancel,
    };
    let report = examination.run().await.map_err(Failure::nothing)?;
    drop(examination);
    stand.stop().await;
    signals.abort();
    let out = match args.format {
        Output::Text => text(&report, world.colours()),
        Output::Json => {
            format!("{}\n", serde_json::to_string_pretty(&redactor.masked(&report)).map_err(Failure::usage)?)
        }
    };
    to_stdout(&redactor.text(&out))?;
    Ok(exit(&report))
}

fn exit(report: &DoctorReport) -> Exit {
    match (report.interrupted, report.works) {
        (true, _) => Exit::Interrupted,
        (_, true) => Exit::Good,
        (_, false) => Exit::Regression,
    }
}
