//! `ccsmoke report`: stored reports shown, held against each other, followed over time, and put together. Nothing is launched.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use super::judge::exit_for;
use super::{Exit, FailOn, Failure, to_stderr, to_stdout};
use crate::report::diff::{self, Diff};
use crate::report::folder;
use crate::report::html::{self, Beside};
use crate::report::merge::merge;
use crate::report::store::{StoreError, read_report, write_report};
use crate::report::terminal::{self, Detail, printable};
use crate::report::trend;
use crate::report::{MatrixReport, github, junit, markdown, schema};
use crate::world::World;

/// Arguments of `ccsmoke report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show a report: the matrix, the causes, and what is wrong with each failed cell
    Show(ShowArgs),
    /// Say what changed from one report to another; exits with 1 when a cell is newly broken or missing
    Diff(DiffArgs),
    /// Show the history of every cell over many reports
    Trend(TrendArgs),
    /// Put the reports of a run's shards together
    Merge(MergeArgs),
    /// Print the JSON Schema of the report
    Schema,
}

/// The word that stands for the newest report of the results folder.
const LATEST: &str = "latest";

#[derive(Debug, Args)]
struct ResultsFolder {
    /// The folder in which `latest` is looked for
    #[arg(long = "results", value_name = "DIR", default_value = "results")]
    folder: PathBuf,
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// A report, a folder (its newest report), or latest
    #[arg(value_name = "REPORT", default_value = LATEST)]
    report: PathBuf,
    #[command(flatten)]
    results: ResultsFolder,
    /// Show every failed cell, its attempts, and the end of what was printed and logged
    #[arg(long)]
    full: bool,
    /// The form of what is printed
    #[arg(long, value_enum, default_value_t = ShowFormat::Text)]
    format: ShowFormat,
    /// What makes the exit code 1
    #[arg(long, value_enum, default_value_t = FailOn::Never)]
    fail_on: FailOn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ShowFormat {
    /// Text for a terminal
    Text,
    /// The report itself
    Json,
    /// For a job's summary page, such as `$GITHUB_STEP_SUMMARY`
    Markdown,
    /// One page for a browser, which needs nothing else
    Html,
    /// JUnit XML: a suite for each target, a case for each cell
    Junit,
    /// Annotations for GitHub Actions, one for each cause
    Github,
}

#[derive(Debug, Args)]
struct DiffArgs {
    /// The report that was: a file, a folder (its newest), or latest
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The report that is, likewise
    #[arg(value_name = "NEW", default_value = LATEST)]
    new: PathBuf,
    #[command(flatten)]
    results: ResultsFolder,
    /// The form of what is printed
    #[arg(long, value_enum, default_value_t = DiffFormat::Text)]
    format: DiffFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DiffFormat {
    /// Text for a terminal
    Text,
    /// One JSON value
    Json,
    /// For a job's summary page
    Markdown,
}

#[derive(Debug, Args)]
struct TrendArgs {
    /// Folders with reports, and reports
    #[arg(value_name = "DIR", default_value = "results")]
    paths: Vec<PathBuf>,
    /// How many of the last nights to show of each cell; a terminal shows as many as fit
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u16).range(1..))]
    last: u16,
    /// The form of what is printed
    #[arg(long, value_enum, default_value_t = TrendFormat::Text)]
    format: TrendFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TrendFormat {
    /// Text for a terminal
    Text,
    /// One JSON value
    Json,
    /// One page with plots for a browser
    Html,
}

#[derive(Debug, Args)]
struct MergeArgs {
    /// The reports of all shards, or folders with them
    #[arg(value_name = "REPORT", required = true)]
    reports: Vec<PathBuf>,
    /// Where to write the whole report [default: results/ccsmoke-matrix-merged-TIME.json]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// What makes the exit code 1
    #[arg(long, value_enum, default_value_t = FailOn::Never)]
    fail_on: FailOn,
}

/// Runs `ccsmoke report`.
pub(super) fn main(args: &ReportArgs, world: &World) -> Result<Exit, Failure> {
    match &args.command {
        Command::Show(args) => show(args, world),
        Command::Diff(args) => compare(args, world),
        Command::Trend(args) => history(args, world),
        Command::Merge(args) => merged(args, world),
        Command::Schema => to_stdout(&schema::document()).map(|()| Exit::Good),
    }
}

/// The failure that a store's error is: an empty folder has nothing to show, everything else cannot be used as asked.
pub(super) fn store_failure(e: StoreError) -> Failure {
    match e {
        StoreError::None { .. } => Failure::nothing(e),
        _ => Failure::usage(e),
    }
}

/// The report that is meant: a file, the newest of a folder, or of the results folder for `latest`.
pub(super) fn find(asked: &Path, results: &Path) -> Result<PathBuf, Failure> {
    let folder = match asked {
        word if word == Path::new(LATEST) && !word.exists() => results,
        folder if folder.is_dir() => folder,
        file => return Ok(file.to_owned()),
    };
    folder::newest(folder).map_err(store_failure)
}

fn read(asked: &Path, results: &ResultsFolder) -> Result<(PathBuf, MatrixReport), Failure> {
    let path = find(asked, &results.folder)?;
    let report = read_report(&path).map_err(store_failure)?;
    Ok((path, report))
}

fn show(args: &ShowArgs, world: &World) -> Result<Exit, Failure> {
    let (path, report) = read(&args.report, &args.results)?;
    let detail = if args.full { Detail::Full } else { Detail::Brief };
    let text = match args.format {
        ShowFormat::Text => terminal::render(&report, &path.to_string_lossy(), world.screen(), detail),
        ShowFormat::Json => json(&report)?,
        ShowFormat::Markdown => markdown::render(&report),
        ShowFormat::Html => html::page(&report, &Beside::report(&path)),
        ShowFormat::Junit => junit::render(&report).map_err(Failure::usage)?,
        ShowFormat::Github => github::render(&report),
    };
    to_stdout(&text)?;
    if args.fail_on == FailOn::Never {
        return Ok(Exit::Good);
    }
    Ok(exit_for(report.outcomes.iter().map(|row| (row.outcome, row.classification)), args.fail_on))
}

/// JSON as reports are written, with sorted keys.
fn json<T: serde::Serialize>(value: &T) -> Result<String, Failure> {
    let value = serde_json::to_value(value).map_err(Failure::usage)?;
    Ok(format!("{value:#}\n"))
}

fn compare(args: &DiffArgs, world: &World) -> Result<Exit, Failure> {
    let (_, old) = read(&args.old, &args.results)?;
    let (path, new) = read(&args.new, &args.results)?;
    let diff = Diff::of(&old, &new);
    to_stdout(&match args.format {
        DiffFormat::Text => diff::terminal::render(&diff, &path.to_string_lossy(), world.screen()),
        DiffFormat::Json => json(&diff)?,
        DiffFormat::Markdown => diff::markdown::render(&diff),
    })?;
    Ok(if diff.fails() { Exit::Regression } else { Exit::Good })
}

/// All reports that the paths name: files, and what stands in folders.
fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(folder::reports(path).map_err(store_failure)?.into_iter().map(|report| report.path));
        } else {
            files.push(path.clone());
        }
    }
    if files.is_empty() {
        let names = paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
        return Err(store_failure(StoreError::None { path: names }));
    }
    Ok(files)
}

fn history(args: &TrendArgs, world: &World) -> Result<Exit, Failure> {
    let trend = trend::read::read(&files(&args.paths)?, world.cores);
    let text = match args.format {
        TrendFormat::Text => trend::terminal::render(&trend, usize::from(args.last), world.screen()),
        TrendFormat::Json => json(&trend)?,
        TrendFormat::Html => html::trend::page(&trend),
    };
    to_stdout(&text)?;
    if args.format != TrendFormat::Text {
        for file in &trend.skipped {
            to_stderr(&format!("left out: {}\n", printable(&file.why)));
        }
    }
    Ok(if trend.nights.is_empty() { Exit::Nothing } else { Exit::Good })
}

fn merged(args: &MergeArgs, world: &World) -> Result<Exit, Failure> {
    let mut shards = Vec::new();
    let mut folders = Vec::new();
    for path in files(&args.reports)? {
        shards.push((path.display().to_string(), read_report(&path).map_err(store_failure)?));
        folders.push(path);
    }
    let began = shards.iter().map(|(_, report)| report.started_at.as_str()).min().unwrap_or_default();
    let time = began.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_second);
    let default = || Path::new("results").join(format!("ccsmoke-matrix-merged-{time}.json"));
    let output = args.output.clone().unwrap_or_else(default);
    let home = output.parent().unwrap_or(Path::new("")).to_owned();
    for ((_, report), path) in shards.iter_mut().zip(&folders) {
        report.rebase(&way(world, &home, path.parent().unwrap_or(Path::new(""))));
    }
    let report = merge(shards).map_err(Failure::usage)?;
    write_report(&output, &report).map_err(store_failure)?;
    to_stdout(&format!("{}\n", printable(&output.to_string_lossy())))?;
    if args.fail_on == FailOn::Never {
        return Ok(Exit::Good);
    }
    Ok(exit_for(report.outcomes.iter().map(|row| (row.outcome, row.classification)), args.fail_on))
}

/// The relative path from one folder to another, both as the working folder sees them; no links are followed.
pub(super) fn way(world: &World, from: &Path, to: &Path) -> PathBuf {
    use std::path::Component;
    let parts = |path: &Path| {
        let mut parts: Vec<std::ffi::OsString> = Vec::new();
        for component in world.folder.join(path).components() {
            match component {
                Component::Normal(name) => parts.push(name.to_owned()),
                Component::ParentDir => drop(parts.pop()),
                Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
            }
        }
        parts
    };
    let (from, to) = (parts(from), parts(to));
    let shared = from.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n(std::ffi::OsString::from(".."), from.len() - shared);
    up.chain(to.into_iter().skip(shared)).collect()
}
