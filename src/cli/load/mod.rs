//! `ccsmoke load`: what can be typed, and where it goes.

mod aim;
mod answers;
mod around;
mod go;
mod import;
mod tell;

use std::fmt::Write as _;
use std::path::Path;

use clap::{Args, Subcommand};

pub(super) use self::aim::AimArgs;
use self::answers::AnswersArgs;
pub(super) use self::go::{RunArgs, run_suite};
use self::import::ImportArgs;
use self::tell::MergeArgs;
use super::{Exit, Failure, to_stdout};
use crate::load::quantity::Time;
use crate::load::run;
use crate::load::scenario::file::SuiteFile;
use crate::load::scenario::{Adjust, Suite, source};
use crate::world::World;

/// What the exit codes of `load` and `replay` mean.
pub(super) const EXIT_CODES: &str = "Exit codes:
  0    all thresholds held
  2    the command line, a file or a folder cannot be used as asked
  10   a threshold was missed
  11   answers came with status 200 and are wrong
  12   ccsmoke itself was the limit, or the plan was not sent: the figures say nothing of the target
  13   the target could not be reached
  14   shards are missing
  15   nothing broke, and a threshold had too few samples
  130  the run was interrupted; the report holds what was done
With --exit-codes k6: 99 for 10, 11 and 15, 104 for 2, 105 for 130, 107 for 12, 13 and 14.";

/// Arguments of `ccsmoke load`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct LoadArgs {
    #[command(subcommand)]
    command: Option<LoadCommand>,
    /// The suite: a file, or the name of a built-in one (chat, replay, smoke, stress)
    #[arg(value_name = "SUITE")]
    suites: Vec<String>,
    #[command(flatten)]
    aim: AimArgs,
    #[command(flatten)]
    run: RunArgs,
    /// Run these scenarios only, with commas between them
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
    /// Scale rates and users, and times: `0.1`, or `rate=0.1,time=0.5`
    #[arg(long, value_name = "SCALE", value_parser = scale, default_value = "1")]
    scale: (f64, f64),
    /// Only tell what would be sent
    #[arg(long)]
    plan: bool,
}

#[derive(Debug, Subcommand)]
enum LoadCommand {
    /// Put the shards of a run together and judge the whole
    #[command(after_help = EXIT_CODES)]
    Merge(MergeArgs),
    /// List the built-in suites
    List,
    /// Print the JSON Schema of suite files
    Schema,
    /// Make a suite of k6's options; what cannot be translated is named
    Import(ImportArgs),
    /// Serve answers with known delays and faults, to measure against or to stand behind a gateway
    Answers(AnswersArgs),
}

/// Runs `ccsmoke load`.
pub(super) fn main(args: &LoadArgs, world: &World) -> Result<Exit, Failure> {
    match &args.command {
        Some(LoadCommand::Merge(merge)) => tell::merge_shards(merge, world),
        Some(LoadCommand::List) => list(),
        Some(LoadCommand::Schema) => {
            let schema = serde_json::to_string_pretty(&schemars::schema_for!(SuiteFile)).map_err(Failure::nothing)?;
            to_stdout(&(schema + "\n"))?;
            Ok(Exit::Good)
        }
        Some(LoadCommand::Import(args)) => import::import(args),
        Some(LoadCommand::Answers(answers)) => answers::serve(answers),
        None => args.run.told_as_asked(run_suites(args, world)),
    }
}

fn run_suites(args: &LoadArgs, world: &World) -> Result<Exit, Failure> {
    let adjust = Adjust { rate: args.scale.0, time: args.scale.1, seed: args.run.seed, only: args.only.clone() };
    let mut suites = Vec::new();
    for name in &args.suites {
        suites.push(read(name, &adjust, world)?);
    }
    if suites.is_empty() {
        let known: Vec<&str> = source::built_in_names().collect();
        return Err(Failure::usage(format!("name a suite: a file, or one of {}", known.join(", "))));
    }
    if suites.len() > 1 && args.run.is_for_one() {
        return Err(Failure::usage("--records is a file for one suite; run the suites one by one"));
    }
    if args.plan {
        return plan(&suites);
    }
    let mut worst = Exit::Good;
    for suite in suites {
        let (exit, _) = run_suite(suite, &args.aim, &args.run, world)?;
        if worst == Exit::Good || exit == Exit::Interrupted {
            worst = exit;
        }
        if exit == Exit::Interrupted {
            break;
        }
    }
    Ok(worst)
}

pub(super) fn read(name: &str, adjust: &Adjust, world: &World) -> Result<Suite, Failure> {
    let variable = |name: &str| world.variable(name).map(str::to_owned);
    Suite::named(name, &world.folder, adjust, &variable).map_err(Failure::usage)
}

fn list() -> Result<Exit, Failure> {
    let mut out = String::new();
    for name in source::built_in_names() {
        let suite = Suite::named(name, Path::new(""), &Adjust::default(), &|_| None).map_err(Failure::usage)?;
        let scenarios: Vec<&str> = suite.scenarios.iter().map(|s| s.name.as_str()).collect();
        let _ = writeln!(out, "{name:<8} {}: {}", suite.title, scenarios.join(", "));
    }
    to_stdout(&out)?;
    Ok(Exit::Good)
}

fn plan(suites: &[Suite]) -> Result<Exit, Failure> {
    let mut out = String::new();
    for suite in suites {
        for (scenario, planned) in suite.scenarios.iter().zip(run::planned(suite)) {
            let requests = planned.map_or_else(|| "as many as are answered".to_owned(), |n| format!("{n} requests"));
            let lasts = Time(scenario.load.duration());
            let words = scenario.load.words();
            let _ = writeln!(out, "{}/{}: {requests} in {lasts}; {words}", suite.name, scenario.name);
        }
    }
    to_stdout(&out)?;
    Ok(Exit::Good)
}

fn scale(text: &str) -> Result<(f64, f64), String> {
    let wrong = || "a scale is a number above 0 such as 0.1, or rate=0.1,time=0.5".to_owned();
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|n| (1e-6..=1e4).contains(n)).ok_or_else(wrong);
    if !text.contains('=') {
        return number(text).map(|n| (n, n));
    }
    let mut both = (1.0, 1.0);
    for part in text.split(',') {
        match part.split_once('=') {
            Some(("rate", n)) => both.0 = number(n)?,
            Some(("time", n)) => both.1 = number(n)?,
            _ => return Err(wrong()),
        }
    }
    Ok(both)
}
