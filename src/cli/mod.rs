//! The command line: what can be typed, and what the exit codes mean.

pub mod baseline;
mod cells;
pub mod check;
pub mod doctor;
pub mod gateway;
pub mod init;
pub mod judge;
pub mod limits;
pub mod load;
mod load_dashboard;
pub mod progress;
pub mod reach;
pub mod replay;
pub mod report;
pub mod results;
pub mod run;
mod runtime;
pub mod selftest;

use std::borrow::Cow;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::capability::Capability;
use crate::file_error::FileError;
use crate::probes::ProbeSet;
use crate::redact::Redactor;
use crate::report::{explain, terminal};
use crate::world::World;

/// What ccsmoke's exit codes mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Everything was done, and nothing that `--fail-on` names was found.
    Good = 0,
    /// Something that `--fail-on` names was found, or a cell is newly broken or missing.
    Regression = 1,
    /// The command line, a file, a folder or a port cannot be used as asked.
    Usage = 2,
    /// Nothing could be judged, or nothing ran.
    Nothing = 3,
    /// The run's budget was spent before every cell had run; the report holds what was done.
    Stopped = 4,
    /// A threshold of a load was missed.
    LoadBroken = 10,
    /// Answers to a load came with status 200 and are wrong.
    LoadProtocol = 11,
    /// ccsmoke itself was the limit of a load, or its plan was not sent.
    LoadInvalid = 12,
    /// The target of a load could not be reached.
    Unreachable = 13,
    /// Shards of a load are missing.
    LoadPartial = 14,
    /// Nothing of a load broke, and a threshold had too few samples.
    LoadUndecided = 15,
    /// What k6 says when a threshold was missed.
    K6Thresholds = 99,
    /// What k6 says when its options or files cannot be used.
    K6Usage = 104,
    /// What k6 says when somebody ended a run.
    K6Interrupted = 105,
    /// What k6 says when a run was aborted.
    K6Aborted = 107,
    /// The run was interrupted; the report holds what was done.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

const EXIT_CODES: &str = "Exit codes:
  0    everything was done, and nothing that --fail-on names was found
  1    what --fail-on names was found (by default product_failure or harness_bug)
  2    the command line, a file, a folder or a port cannot be used as asked
  3    nothing could be judged, or nothing ran
  4    the run's budget was spent before every cell had run; the report holds what was done
  130  the run was interrupted; the report holds what was done";

/// Runs the real Claude Code CLI through an LLM gateway, records the wire, and says what broke and who broke it.
#[derive(Debug, Parser)]
#[command(name = "ccsmoke", version, after_help = EXIT_CODES, max_term_width = 120)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the probes and write a matrix report
    #[command(after_help = EXIT_CODES)]
    Run(Box<run::RunArgs>),
    /// Check a gateway over HTTP, without the client
    #[command(after_help = check::EXIT_CODES)]
    Check(Box<check::CheckArgs>),
    /// Examine the client: does it run at all, here, in each way
    #[command(after_help = doctor::EXIT_CODES)]
    Doctor(doctor::DoctorArgs),
    /// Write a commented ccsmoke.toml to start from
    Init(init::InitArgs),
    /// List the probes, after checking their files
    Probes(ProbesArgs),
    /// Judge stored results again, or captured text
    #[command(after_help = EXIT_CODES)]
    Judge(judge::JudgeArgs),
    /// Show, compare, follow and merge stored reports
    Report(report::ReportArgs),
    /// Remove what is old from the results folder
    Results(results::ResultsArgs),
    /// Say what a finding's code means
    Explain(ExplainArgs),
    /// Serve a gateway of our own: a correct one, or one with a known defect
    Gateway(gateway::GatewayArgs),
    /// Show that every known defect of a gateway is found, and that what is merely different is not
    #[command(after_help = selftest::EXIT_CODES)]
    Selftest(Box<selftest::SelftestArgs>),
    /// Drive a declared load at a gateway or provider and judge it by thresholds
    #[command(after_help = load::EXIT_CODES)]
    Load(Box<load::LoadArgs>),
    /// Replay conversations against a gateway or provider
    #[command(after_help = load::EXIT_CODES)]
    Replay(Box<replay::ReplayArgs>),
}

#[derive(Debug, Args)]
struct ProbesArgs {
    #[command(flatten)]
    folder: ProbesFolder,
    /// How to list them
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Debug, Args)]
struct ExplainArgs {
    /// The code; without one, all are listed
    code: Option<String>,
}

/// Where the probes are.
#[derive(Debug, Clone, Args)]
pub struct ProbesFolder {
    /// Take the probe files of this folder [default: ./probes when it has a rules.toml, else the built-in ones]
    #[arg(long = "probes", value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// For whom output is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text for people
    Human,
    /// One JSON value a line for programs
    Json,
}

/// What makes a command fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// A regression: `product_failure` or `harness_bug`
    Regression,
    /// Any failed cell
    Any,
    /// Nothing
    Never,
}

/// A message for the person at standard error, and the exit code that goes with it.
#[derive(Debug)]
pub struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    fn usage(message: impl std::fmt::Display) -> Self {
        Self { exit: Exit::Usage, message: message.to_string() }
    }

    fn nothing(message: impl std::fmt::Display) -> Self {
        Self { exit: Exit::Nothing, message: message.to_string() }
    }
}

impl ProbesFolder {
    /// Reads the probes and the rules.
    fn read(&self, world: &World) -> Result<ProbeSet, Failure> {
        let here = world.folder.join("probes");
        let read = match &self.folder {
            Some(folder) => ProbeSet::read(folder),
            // Named as a person in that folder would name it.
            None if here.join("rules.toml").is_file() => ProbeSet::read(Path::new("probes")),
            None => ProbeSet::built_in(),
        };
        read.map_err(|errors| Failure::usage(all(&errors)))
    }

    /// Reads them where at least one probe is needed.
    fn read_some(&self, world: &World) -> Result<ProbeSet, Failure> {
        let set = self.read(world)?;
        if set.probes.is_empty() {
            let folder = self.folder.as_deref().unwrap_or(Path::new("probes"));
            return Err(Failure::nothing(format!("{}: holds no probe file (NAME.toml)", folder.display())));
        }
        Ok(set)
    }
}

fn all(errors: &[FileError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n\n")
}

/// Runs the command line.
pub fn main(world: &World) -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // Help and version are good; anything else is clap's own message, which names the argument and the way out.
            let exit = if e.use_stderr() { Exit::Usage } else { Exit::Good };
            drop(e.print());
            return exit.into();
        }
    };
    let done = match cli.command {
        Command::Run(args) => run::main(&args, world),
        Command::Check(args) => check::main(&args, world),
        Command::Doctor(args) => doctor::main(&args, world),
        Command::Init(args) => init::main(&args, world),
        Command::Probes(args) => probes(&args, world),
        Command::Judge(args) => judge::main(&args, world),
        Command::Report(args) => report::main(&args, world),
        Command::Results(args) => results::main(&args),
        Command::Explain(args) => explain_code(&args),
        Command::Gateway(args) => gateway::main(&args),
        Command::Selftest(args) => selftest::main(&args, world),
        Command::Load(args) => load::main(&args, world),
        Command::Replay(args) => replay::main(&args, world),
    };
    match done {
        Ok(exit) => exit.into(),
        Err(failure) => {
            // What failed may have been told a secret, as npm is told one by its configuration.
            let redactor = Redactor::new(world.variables()).ok();
            let message = redactor.as_ref().map_or(Cow::Borrowed("(hidden)"), |r| r.text(&failure.message));
            let lines: Vec<String> = message.lines().map(terminal::printable).collect();
            to_stderr(&format!("error: {}\n", lines.join("\n")));
            failure.exit.into()
        }
    }
}

/// Writes to standard output. A reader that went away, as `head` does, is no error of ours.
fn to_stdout(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    written(stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()))
}

/// What a failure to write to standard output means.
fn written(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::usage(format!("standard output cannot be written: {e}")))
        }
        _ => Ok(()),
    }
}

fn to_stderr(text: &str) {
    drop(std::io::stderr().lock().write_all(text.as_bytes()));
}

fn probes(args: &ProbesArgs, world: &World) -> Result<Exit, Failure> {
    let set = args.folder.read_some(world)?;
    let widest = set.probes.iter().map(|p| p.id.len()).max().unwrap_or(0);
    let mut out = String::new();
    for probe in &set.probes {
        match args.format {
            Format::Human => {
                let exercises =
                    probe.capabilities.get_ref().iter().map(Capability::name).collect::<Vec<_>>().join(", ");
                out.push_str(&terminal::printable(&format!("{:<widest$}  {} ({exercises})", probe.id, probe.title)));
                out.push('\n');
            }
            Format::Json => {
                let line = serde_json::json!({
                    "probe": probe.id, "title": probe.title, "path": probe.path, "tools": probe.tools,
                    "launches": probe.launch.len(), "sends": probe.send.len(), "needs": probe.expect.needs,
                    "capabilities": probe.capabilities.get_ref(), "only": probe.only.as_ref().map(toml::Spanned::get_ref),
                });
                out.push_str(&line.to_string());
                out.push('\n');
            }
        }
    }
    to_stdout(&out)?;
    Ok(Exit::Good)
}

fn explain_code(args: &ExplainArgs) -> Result<Exit, Failure> {
    let Some(code) = &args.code else {
        to_stdout(&explain::list())?;
        return Ok(Exit::Good);
    };
    if let Some(rule) = crate::rules::rule(code) {
        to_stdout(&explain::explain(rule))?;
        return Ok(Exit::Good);
    }
    let near = explain::similar(code);
    let hint = if near.is_empty() { String::new() } else { format!("did you mean {}? ", near.join(" or ")) };
    Err(Failure::usage(format!("no finding has the code {code:?}; {hint}`ccsmoke explain` lists all")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }
}
