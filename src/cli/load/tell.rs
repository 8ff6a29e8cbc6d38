//! What is written and shown of a load: the report with all that is made from it, the exit code, and shards merged.

use std::io::Read as _;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use jiff::Timestamp;

use super::super::{Exit, Failure, to_stdout};
use crate::load::judge::{State, Verdict};
use crate::load::plan::Shard;
use crate::load::report::{LoadReport, html, junit, markdown, merge, terminal};
use crate::load::scenario::ReportsFile;
use crate::redact::Redactor;
use crate::report::store::{StoreError, slug, write_json, write_whole};
use crate::secret::Secret;
use crate::world::World;

/// What is written of a run, and what it is held against.
#[derive(Debug, Args)]
pub(super) struct OutArgs {
    /// Compare with this report
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// The folder of reports
    #[arg(long, value_name = "DIR", default_value = "results")]
    pub(super) results: PathBuf,
    /// Write the thresholds as `JUnit` XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write a summary in Markdown
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Print the report as one line between two marks, for logs that are all there is
    #[arg(long)]
    emit_log: bool,
    /// What a threshold with too few samples makes of the run
    #[arg(long, value_enum, default_value_t = Undecided::Fail)]
    undecided: Undecided,
    /// Which exit codes are given
    #[arg(long, value_enum, default_value_t = Codes::Ccsmoke)]
    exit_codes: Codes,
}

impl OutArgs {
    /// The report to compare with.
    pub(super) fn baseline(&self) -> Result<Option<LoadReport>, Failure> {
        self.baseline.as_ref().map(|path| LoadReport::read(path)).transpose().map_err(Failure::usage)
    }

    /// What came of the command, in the exit codes that were asked for.
    pub(super) fn told_as_asked(&self, done: Result<Exit, Failure>) -> Result<Exit, Failure> {
        match (self.exit_codes, done) {
            (Codes::Ccsmoke, done) => done,
            (Codes::K6, Ok(exit)) => Ok(as_k6(exit)),
            (Codes::K6, Err(failure)) => Err(Failure { exit: as_k6(failure.exit), ..failure }),
        }
    }
}

/// The exit code that k6 has for it. Source: `errext/exitcodes/codes.go` of k6.
fn as_k6(exit: Exit) -> Exit {
    match exit {
        Exit::LoadBroken | Exit::LoadProtocol | Exit::LoadUndecided => Exit::K6Thresholds,
        Exit::Usage => Exit::K6Usage,
        Exit::Interrupted => Exit::K6Interrupted,
        Exit::LoadInvalid | Exit::Unreachable | Exit::LoadPartial => Exit::K6Aborted,
        other => other,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Undecided {
    /// Exit code 15
    Fail,
    /// Exit code 0
    Pass,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Codes {
    /// Those of this program
    Ccsmoke,
    /// Those of k6
    K6,
}

#[derive(Debug, Args)]
pub(super) struct MergeArgs {
    /// The reports of the shards; `-` reads logs with reports in them from standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    out: OutArgs,
}

/// Writes and shows a report, and says with which code to exit. A credential that was made for the target is masked like those of the
/// environment.
pub(super) fn tell(
    report: &LoadReport,
    out: &OutArgs,
    reports: &ReportsFile,
    credential: Option<&Secret>,
    world: &World,
) -> Result<Exit, Failure> {
    let own = credential.map(|secret| ("TARGET_TOKEN", secret.expose()));
    let redactor = Redactor::new(own.into_iter().chain(world.variables())).map_err(Failure::nothing)?;
    let report = &report.redacted(&redactor);
    // First what needs no disk: on a full one the figures are not lost.
    to_stdout(&terminal::render(report, world.colours()))?;
    let part = if report.shard == Shard::WHOLE {
        String::new()
    } else {
        format!("-shard-{}-of-{}", report.shard.index, report.shard.of)
    };
    let seconds = Timestamp::now().as_second();
    let stem = format!(
        "ccsmoke-load-{}{part}-{seconds}-{}",
        slug(&report.suite.name),
        &slug(&report.run_id)[..8.min(slug(&report.run_id).len())]
    );
    std::fs::create_dir_all(&out.results)
        .map_err(|e| Failure::usage(format!("{}: cannot make the results folder: {e}", out.results.display())))?;
    let json = out.results.join(format!("{stem}.json"));
    let failed = |e: StoreError| Failure::usage(e);
    write_json(&json, report).map_err(failed)?;
    let page = html::render(report);
    write_whole(&json.with_extension("html"), page.as_bytes()).map_err(failed)?;
    if let Some(path) = &reports.json {
        write_json(path, report).map_err(failed)?;
    }
    if let Some(path) = &reports.html {
        write_whole(path, page.as_bytes()).map_err(failed)?;
    }
    if let Some(path) = out.junit.as_ref().or(reports.junit.as_ref()) {
        let xml = junit::render(report).map_err(Failure::nothing)?;
        write_whole(path, xml.as_bytes()).map_err(failed)?;
    }
    if let Some(path) = out.markdown.as_ref().or(reports.markdown.as_ref()) {
        write_whole(path, markdown::render(report).as_bytes()).map_err(failed)?;
    }
    to_stdout(&format!("report {}\n", crate::report::terminal::printable(&json.display().to_string())))?;
    if out.emit_log {
        to_stdout(&format!("{LOG_BEGIN}{}{LOG_END}\n", packed(report)?))?;
    }
    Ok(exit(report, out))
}

/// What stands around a report in a log.
const LOG_BEGIN: &str = "-----BEGIN CCSMOKE LOAD REPORT-----";
const LOG_END: &str = "-----END CCSMOKE LOAD REPORT-----";

/// A report as one short line: JSON, deflated, in base64.
fn packed(report: &LoadReport) -> Result<String, Failure> {
    use base64::Engine as _;
    let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    let bytes =
        serde_json::to_writer(&mut deflate, report).map_err(std::io::Error::from).and_then(|()| deflate.finish());
    Ok(base64::engine::general_purpose::STANDARD.encode(bytes.map_err(Failure::nothing)?))
}

/// The reports in a log.
fn unpacked(log: &str) -> Result<Vec<LoadReport>, Failure> {
    use base64::Engine as _;
    let mut found = Vec::new();
    for part in log.split(LOG_BEGIN).skip(1) {
        let wrong = |e: &dyn std::fmt::Display| Failure::usage(format!("report {} of the log: {e}", found.len()));
        let packed = part.split_once(LOG_END).ok_or_else(|| wrong(&"it is cut off"))?.0;
        let bytes = base64::engine::general_purpose::STANDARD.decode(packed).map_err(|e| wrong(&e))?;
        let mut text = String::new();
        flate2::read::DeflateDecoder::new(bytes.as_slice()).read_to_string(&mut text).map_err(|e| wrong(&e))?;
        found.push(LoadReport::parse(&text).map_err(|e| wrong(&e))?);
    }
    Ok(found)
}

fn exit(report: &LoadReport, out: &OutArgs) -> Exit {
    let verdict = report.judgement.verdict;
    let undecided = report.judgement.thresholds.iter().any(|t| t.state == State::Undecided);
    debug_assert!(verdict != Verdict::Undecided || undecided);
    match verdict {
        Verdict::Held => Exit::Good,
        Verdict::Undecided if out.undecided == Undecided::Pass => Exit::Good,
        Verdict::Undecided => Exit::LoadUndecided,
        Verdict::Protocol => Exit::LoadProtocol,
        Verdict::Broken => Exit::LoadBroken,
        Verdict::Partial => Exit::LoadPartial,
        Verdict::Invalid => Exit::LoadInvalid,
        Verdict::Unreachable => Exit::Unreachable,
        Verdict::Interrupted => Exit::Interrupted,
    }
}

pub(super) fn merge_shards(args: &MergeArgs, world: &World) -> Result<Exit, Failure> {
    args.out.told_as_asked(merged(args, world))
}

fn merged(args: &MergeArgs, world: &World) -> Result<Exit, Failure> {
    let mut shards = Vec::new();
    for path in &args.files {
        if path.as_os_str() == "-" {
            let mut log = String::new();
            std::io::stdin().read_to_string(&mut log).map_err(|e| Failure::usage(format!("standard input: {e}")))?;
            let found = unpacked(&log)?;
            shards.extend(found.into_iter().enumerate().map(|(n, report)| (format!("report {n} of the log"), report)));
        } else {
            let report = LoadReport::read(path).map_err(Failure::usage)?;
            shards.push((path.display().to_string(), report));
        }
    }
    let baseline = args.out.baseline()?;
    let whole = merge::merge(shards, baseline.as_ref().map(|b| b.scenarios.as_slice())).map_err(Failure::usage)?;
    tell(&whole, &args.out, &ReportsFile::default(), None, world)
}
