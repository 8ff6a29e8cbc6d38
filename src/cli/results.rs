//! `ccsmoke results`: what is kept of old runs.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand};

use super::{Exit, Failure, to_stdout};
use crate::report::folder::{self, Keep};
use crate::report::terminal::printable;

/// Arguments of `ccsmoke results`.
#[derive(Debug, Args)]
pub struct ResultsArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Remove old reports with their evidence; the newest one and what is being written stay
    Prune(PruneArgs),
}

#[derive(Debug, Args)]
struct PruneArgs {
    /// What to keep: the reports of so many days (30d) or hours (12h), or so many reports (30)
    #[arg(long, value_name = "30d|N", value_parser = Keep::from_str)]
    keep: Keep,
    /// The folder of reports and evidence
    #[arg(long, value_name = "DIR", default_value = "results")]
    results: PathBuf,
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
}

/// Runs `ccsmoke results`.
pub(super) fn main(args: &ResultsArgs) -> Result<Exit, Failure> {
    let Command::Prune(args) = &args.command;
    let now = jiff::Timestamp::now().as_second();
    let old = folder::beyond(&args.results, args.keep, now).map_err(Failure::usage)?;
    for run in &old {
        let removed = if args.dry_run { Ok(true) } else { folder::remove(&args.results, run) };
        let verb = if args.dry_run { "would remove" } else { "removed" };
        match removed {
            Ok(true) => to_stdout(&format!("{verb} {}\n", printable(run)))?,
            Ok(false) => to_stdout(&format!("kept {}: a run is writing to it\n", printable(run)))?,
            Err(e) => return Err(Failure::usage(e)),
        }
    }
    if old.is_empty() {
        to_stdout("nothing is old enough to be removed\n")?;
    }
    Ok(Exit::Good)
}
