//! `ccsmoke replay`: conversations and recorded sessions sent again, with the engine and the reports of `ccsmoke load`; and the export of
//! a recorded session of Claude Code as a file that can be replayed.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

use super::load::{AimArgs, EXIT_CODES, RunArgs, read, run_suite};
use super::{Exit, Failure, to_stdout};
use crate::load::conversation::{self, Script};
use crate::load::quantity::{Share, Time};
use crate::load::recorded;
use crate::load::report::{sessions, terminal};
use crate::load::scenario::{Adjust, Api, History, Load, ModelChoice, Source};
use crate::redact::Redactor;
use crate::report::store::{read_evidence, write_whole};
use crate::world::World;

/// Arguments of `ccsmoke replay`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct ReplayArgs {
    #[command(subcommand)]
    command: Option<ReplayCommand>,
    /// Conversations: files or folders of them [default: the built-in ones]
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Sessions of each worker
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    sessions: u32,
    /// Workers; sessions × workers are held at once
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    workers: u32,
    /// Conversations that each session holds at once
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=255))]
    concurrency: u32,
    /// Begin new conversations for this time (`60` are seconds) [default: each conversation once]
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    duration: Option<Time>,
    /// The most messages of the user in a conversation
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_messages: Option<u32>,
    /// How likely it is that a conversation stops after 1 to 3 messages [default: 20% with --duration, else 0%]
    #[arg(long, value_name = "SHARE")]
    stops_early: Option<Share>,
    /// What stands in the history where the model answered
    #[arg(long, value_enum, default_value_t = History::Scripted)]
    history: History,
    /// Ask for streams
    #[arg(long)]
    stream: bool,
    /// Pauses of thinking and typing times this; 0 is as fast as possible
    #[arg(long, value_name = "N", default_value_t = 1.0, value_parser = pauses)]
    think: f64,
    /// The lowest temperature that is drawn
    #[arg(long, value_name = "N", default_value_t = 0.5, value_parser = temperature)]
    temp_min: f64,
    /// The highest temperature that is drawn
    #[arg(long, value_name = "N", default_value_t = 1.0, value_parser = temperature)]
    temp_max: f64,
    /// A file of models that are not asked, one a line, `#` before a comment
    #[arg(long, value_name = "FILE")]
    model_filter: Option<PathBuf>,
    /// Tell of each session and its conversations too
    #[arg(long)]
    show_individual: bool,
    /// Write a file for each session, and one for all together, into this folder
    #[arg(long, value_name = "DIR")]
    session_reports: Option<PathBuf>,
    #[command(flatten)]
    aim: AimArgs,
    #[command(flatten)]
    run: RunArgs,
}

#[derive(Debug, Subcommand)]
enum ReplayCommand {
    /// Make a replay file of a recorded session of Claude Code: a cell's evidence.json
    #[command(after_help = EXIT_CODES)]
    Export(ExportArgs),
}

#[derive(Debug, Args)]
struct ExportArgs {
    /// The evidence of a cell
    evidence: PathBuf,
    /// The file to write [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<Time, String> {
    if text.bytes().all(|b| b.is_ascii_digit()) { format!("{text}s").parse() } else { text.parse() }
}

fn pauses(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|n| (0.0..=100.0).contains(n)).ok_or_else(|| "a number from 0 to 100".to_owned())
}

fn temperature(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|n| (0.0..=2.0).contains(n)).ok_or_else(|| "a number from 0 to 2".to_owned())
}

/// Runs `ccsmoke replay`.
pub(super) fn main(args: &ReplayArgs, world: &World) -> Result<Exit, Failure> {
    args.run.told_as_asked(run(args, world))
}

fn run(args: &ReplayArgs, world: &World) -> Result<Exit, Failure> {
    if let Some(ReplayCommand::Export(export)) = &args.command {
        return self::export(export, world);
    }
    if args.temp_min > args.temp_max {
        return Err(Failure::usage("--temp-min is above --temp-max"));
    }
    let adjust = Adjust { seed: args.run.seed, ..Adjust::default() };
    let mut suite = read("replay", &adjust, world)?;
    if !args.paths.is_empty() {
        suite.conversations = conversations(&args.paths, &world.folder)?;
    }
    if let Some(path) = &args.model_filter {
        let text = std::fs::read_to_string(path)
            .map_err(|e| Failure::usage(format!("{}: cannot be read: {e}", path.display())))?;
        suite.models_exclude = crate::load::scenario::exclusions(&text);
    }
    let recorded: Vec<&str> = suite
        .conversations
        .iter()
        .filter_map(|c| match &c.script {
            Script::Recorded(requests) => Some(requests),
            Script::Messages(_) => None,
        })
        .flatten()
        .filter_map(|r| r.body["model"].as_str())
        .collect();
    let only_recorded = suite.conversations.iter().all(|c| matches!(c.script, Script::Recorded(_)));
    if only_recorded {
        // A session of Claude Code speaks Messages, and says itself which model it asks.
        suite.target.api = Api::AnthropicMessages;
        suite.models = recorded.iter().map(|m| (*m).to_owned()).collect();
        suite.models.sort_unstable();
        suite.models.dedup();
    }
    for scenario in &mut suite.scenarios {
        scenario.load = Load::Sessions {
            sessions: args.sessions,
            workers: args.workers,
            concurrency: args.concurrency,
            lasts: args.duration.map(|t| t.0),
        };
        scenario.temperature = Some((args.temp_min, args.temp_max));
        if let [model] = args.aim.models.as_slice() {
            scenario.model = ModelChoice::Only(model.clone());
        }
        let converse = &mut scenario.converse;
        converse.history = args.history;
        converse.stream = args.stream;
        converse.max_messages = args.max_messages;
        converse.stops_early =
            args.stops_early.unwrap_or(if args.duration.is_some() { Share(0.2) } else { Share(0.0) });
        converse.think.scale = args.think;
    }
    if let Some(folder) = &args.session_reports {
        // What cannot be written is told before anything is sent.
        std::fs::create_dir_all(folder)
            .map_err(|e| Failure::usage(format!("{}: cannot make the folder: {e}", folder.display())))?;
    }
    let (exit, report) = run_suite(suite, &args.aim, &args.run, world)?;
    if args.show_individual {
        to_stdout(&terminal::individual(&report))?;
    }
    if let Some(folder) = &args.session_reports {
        sessions::write(folder, &report).map_err(Failure::usage)?;
    }
    Ok(exit)
}

fn conversations(paths: &[PathBuf], folder: &Path) -> Result<Vec<conversation::Conversation>, Failure> {
    let mut all = Vec::new();
    for path in paths {
        let source = Source::Folder(folder.to_owned());
        let name = path.to_string_lossy();
        for file in source.list(&name).map_err(Failure::usage)? {
            let text = source.read(&file).map_err(Failure::usage)?;
            all.extend(conversation::parse(Path::new(&file), &text).map_err(Failure::usage)?);
        }
    }
    if all.is_empty() {
        return Err(Failure::usage("these folders hold no conversation (*.json, *.jsonl)"));
    }
    Ok(all)
}

fn export(args: &ExportArgs, world: &World) -> Result<Exit, Failure> {
    let evidence = read_evidence(&args.evidence).map_err(Failure::usage)?;
    let requests = recorded::requests(&evidence.exchanges);
    if requests.is_empty() {
        return Err(Failure::nothing(format!("{}: records no request of the client", args.evidence.display())));
    }
    let id = format!("{}-{}", evidence.cell.probe, evidence.cell.cli_version);
    let text = conversation::recorded_file(&id, requests);
    let redactor = Redactor::new(world.variables()).map_err(Failure::nothing)?;
    let text = redactor.text(&text);
    match &args.output {
        Some(path) => write_whole(path, text.as_bytes()).map_err(Failure::usage)?,
        None => to_stdout(&text)?,
    }
    Ok(Exit::Good)
}
