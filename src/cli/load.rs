//! `ccsmoke load`: everything is checked before anything is sent; then the suite runs, and the report is told of. And what belongs to
//! it: merging shards, the schema of suite files, a source of answers to measure against.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;

use super::load_around::{Around, AroundArgs};
use super::{Exit, Failure, to_stdout};
use crate::config::{Config, CredentialSource, Profiles, Way};
use crate::load::answers::{AnswerSource, Fault, Manner};
use crate::load::engine::shared::{Shared, Stopped};
use crate::load::engine::{Drive, room};
use crate::load::face::stamp::now;
use crate::load::judge::{Against, State, Verdict};
use crate::load::metrics::{FLAWS, Flaw};
use crate::load::plan::Shard;
use crate::load::quantity::Time;
use crate::load::report::{Header, LoadReport, html, junit, markdown, merge, terminal};
use crate::load::run;
use crate::load::scenario::file::SuiteFile;
use crate::load::scenario::{Adjust, Api, Suite, source};
use crate::redact::Redactor;
use crate::report::store::{StoreError, slug, write_json, write_whole};
use crate::secret::Secret;
use crate::tap::Upstream;
use crate::target::base_url;
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
    /// The suite: a file, or the name of a built-in one (chat, replay, stress)
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
    /// Serve answers with known delays and faults, to measure against or to stand behind a gateway
    Answers(AnswersArgs),
}

/// Where requests go.
#[derive(Debug, Args)]
pub(super) struct AimArgs {
    /// The base URL, without /v1: loopback only, unless a target of the configuration has it with `allow_load = true`
    #[arg(long, value_name = "URL")]
    pub(super) url: Option<String>,
    /// The target of the configuration that is aimed at; it must run already
    #[arg(long, value_name = "NAME", conflicts_with = "url")]
    target: Option<String>,
    /// Take targets from this file [default: the nearest ccsmoke.toml in this folder or above]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The API that requests are written in [default: that of the suite]
    #[arg(long, value_enum)]
    api: Option<Api>,
    /// Ask for this model (repeatable) [default: those of the suite]
    #[arg(long = "model", value_name = "NAME")]
    pub(super) models: Vec<String>,
}

/// How the run goes, and what is written of it.
#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Another seed
    #[arg(long, value_name = "N")]
    pub(super) seed: Option<u64>,
    /// Threads that send [default: one for each core but one]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: Option<u16>,
    /// Send this part of the plan only: `2/4` is the third of four
    #[arg(long, value_name = "I/N", value_parser = shard, requires = "run_id")]
    shard: Option<Shard>,
    /// What belongs together has the same one
    #[arg(long, value_name = "ID")]
    run_id: Option<String>,
    /// Begin at this time (seconds since 1970), given once for all shards
    #[arg(long, value_name = "SECONDS")]
    start_at: Option<f64>,
    /// Stop after so many requests
    #[arg(long, value_name = "N")]
    max_requests: Option<u64>,
    /// Send at most so many requests at once; the rest wait, and their wait counts
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_in_flight: Option<u32>,
    /// Stop after so many tokens in and out
    #[arg(long, value_name = "N")]
    max_tokens: Option<u64>,
    /// Stop after this time
    #[arg(long, value_name = "TIME")]
    max_time: Option<Time>,
    /// Count this flaw of answers without failing them, such as `usage_sum` (repeatable)
    #[arg(long = "ignore", value_name = "FLAW", value_parser = flaw)]
    ignore: Vec<Flaw>,
    #[command(flatten)]
    around: AroundArgs,
    #[command(flatten)]
    out: OutArgs,
}

/// What is written of a run, and what it is held against.
#[derive(Debug, Args)]
pub(super) struct OutArgs {
    /// Compare with this report
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// The folder of reports
    #[arg(long, value_name = "DIR", default_value = "results")]
    results: PathBuf,
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
    fn baseline(&self) -> Result<Option<LoadReport>, Failure> {
        self.baseline.as_ref().map(|path| LoadReport::read(path)).transpose().map_err(Failure::usage)
    }
}

impl RunArgs {
    /// What came of the command, in the exit codes that were asked for.
    pub(super) fn told_as_asked(&self, done: Result<Exit, Failure>) -> Result<Exit, Failure> {
        self.out.told_as_asked(done)
    }
}

impl OutArgs {
    fn told_as_asked(&self, done: Result<Exit, Failure>) -> Result<Exit, Failure> {
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
struct MergeArgs {
    /// The reports of the shards; `-` reads logs with reports in them from standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    out: OutArgs,
}

#[derive(Debug, Args)]
struct AnswersArgs {
    /// The port; 0 takes a free one
    #[arg(long, default_value_t = 3284)]
    port: u16,
    /// Until the first piece, or the whole answer
    #[arg(long, value_name = "TIME", default_value = "50ms")]
    first: Time,
    /// Pieces of a stream
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pieces: u32,
    /// Between two pieces
    #[arg(long, value_name = "TIME", default_value = "5ms")]
    gap: Time,
    /// What goes wrong
    #[arg(long, value_enum, default_value_t = FaultName::None)]
    fault: FaultName,
    /// How often it goes wrong: every n-th request
    #[arg(long, value_name = "N", default_value_t = 1)]
    every: u64,
    /// The status of `--fault status`
    #[arg(long, value_name = "STATUS", default_value_t = 500, value_parser = clap::value_parser!(u16).range(400..=599))]
    status: u16,
    /// When a stall begins, since the source was started
    #[arg(long, value_name = "TIME", default_value = "5s")]
    stall_at: Time,
    /// How long it lasts
    #[arg(long, value_name = "TIME", default_value = "2s")]
    stall_for: Time,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FaultName {
    /// Nothing
    None,
    /// A refusal with a status
    Status,
    /// Status 200 and a body of another shape
    WrongBody,
    /// A stream that breaks off in its middle
    Cut,
    /// No answer at all
    Silence,
    /// All of a stream at once
    Lump,
    /// One stall of all answers
    Stall,
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

fn shard(text: &str) -> Result<Shard, String> {
    let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
    match parts {
        Some((index, of)) if index < of && of <= 10_000 => Ok(Shard { index, of }),
        _ => Err("a shard is written I/N with I from 0 to N - 1, such as 0/4".to_owned()),
    }
}

fn flaw(text: &str) -> Result<Flaw, String> {
    let known = || FLAWS.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(", ");
    Flaw::named(text).ok_or_else(|| format!("no flaw is called {text:?}; there are {}", known()))
}

/// Runs `ccsmoke load`.
pub(super) fn main(args: &LoadArgs, world: &World) -> Result<Exit, Failure> {
    match &args.command {
        Some(LoadCommand::Merge(merge)) => merge.out.told_as_asked(merge_shards(merge, world)),
        Some(LoadCommand::List) => list(),
        Some(LoadCommand::Schema) => {
            let schema = serde_json::to_string_pretty(&schemars::schema_for!(SuiteFile)).map_err(Failure::nothing)?;
            to_stdout(&(schema + "\n"))?;
            Ok(Exit::Good)
        }
        Some(LoadCommand::Answers(answers)) => serve_answers(answers),
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
    if suites.len() > 1 && args.run.around.is_for_one() {
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

/// Runs one suite, and gives its report.
pub(super) fn run_suite(
    mut suite: Suite,
    aim: &AimArgs,
    args: &RunArgs,
    world: &World,
) -> Result<(Exit, LoadReport), Failure> {
    let (upstream, target) = take_aim(&mut suite, aim, world)?;
    args.ignore.iter().for_each(|flaw| suite.ignore.add(*flaw));
    let limits = &mut suite.limits;
    limits.requests = args.max_requests.or(limits.requests);
    limits.in_flight = args.max_in_flight.or(limits.in_flight);
    limits.tokens = args.max_tokens.or(limits.tokens);
    limits.time = args.max_time.map(|t| t.0).or(limits.time);
    let baseline = args.out.baseline()?;
    // What cannot be written is told before anything is sent.
    std::fs::create_dir_all(&args.out.results)
        .map_err(|e| Failure::usage(format!("{}: cannot make the results folder: {e}", args.out.results.display())))?;
    let room = room(&suite).map_err(Failure::usage)?;
    let threads = args.threads.map_or_else(|| world.cores.saturating_sub(1).max(1), usize::from);
    let start_at = args.start_at.map(start).transpose()?;

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::nothing(format!("no runtime could be started: {e}")))?;
    let report = runtime.block_on(async {
        let unreachable = |why: String| Failure { exit: Exit::Unreachable, message: format!("{target}: {why}") };
        run::reach(&upstream, suite.target.timeouts.connect).await.map_err(unreachable)?;
        if suite.models.is_empty() {
            suite.models = run::models(&upstream, &suite.target, &suite.models_exclude)
                .await
                .map_err(|e| Failure::usage(format!("{target}: {e}")))?;
        }
        let suite = Arc::new(suite);
        let shared = Arc::new(Shared::new(suite.limits));
        let mut drive = Drive {
            upstream: upstream.clone(),
            workers: threads,
            shard: args.shard.unwrap_or(Shard::WHOLE),
            start_at,
            marks: None,
            records: None,
        };
        let header = Header {
            run_id: args.run_id.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string()),
            shard: drive.shard,
            target: target.clone(),
            began: Timestamp::now().to_string(),
            workers: threads,
        };
        let around = Around::begin(&args.around, &suite, &header.run_id, &mut drive, &shared, world).await?;
        let interrupt = tokio::spawn(interrupted(Arc::clone(&shared)));
        let mut dashboard = super::load_dashboard::Dashboard::new(world.stderr_is_terminal);
        let driven =
            run::run(Arc::clone(&suite), drive, room, Arc::clone(&shared), |glance| dashboard.show(&glance)).await;
        dashboard.finish();
        interrupt.abort();
        let mut driven = driven.map_err(|e| Failure::nothing(format!("the load engine could not be started: {e}")))?;
        let mut circumstances = run::circumstances(&suite, &driven, threads, &shared);
        let trouble = around.end(&shared.take_hung_up(), &mut driven.records, &mut circumstances).await;
        let against = Against { baseline: baseline.as_ref().map(|b| b.scenarios.as_slice()), shards: &[] };
        Ok::<_, Failure>((LoadReport::new(&suite, header, driven.records, circumstances, against), trouble))
    });
    let (report, trouble) = report?;
    let exit = tell(&report, &args.out, world)?;
    // The report stands all the same.
    trouble.map_or(Ok((exit, report)), Err)
}

/// The first interrupt ends the run with a report; the second ends the program.
async fn interrupted(shared: Arc<Shared>) {
    if tokio::signal::ctrl_c().await.is_ok() {
        shared.stop(Stopped::Interrupted);
    }
    if tokio::signal::ctrl_c().await.is_ok() {
        std::process::exit(Exit::Interrupted as i32);
    }
}

/// When to begin, on the host's monotonic clock.
#[expect(clippy::cast_possible_truncation, reason = "the cast saturates")]
fn start(epoch_seconds: f64) -> Result<u64, Failure> {
    let wall = Timestamp::now().as_nanosecond();
    let at = (epoch_seconds * 1e9) as i128;
    match u64::try_from(at - wall) {
        Ok(ahead) => Ok(now() + ahead),
        Err(_) => {
            Err(Failure::usage(format!("--start-at {epoch_seconds} has passed; give a time ahead for all shards")))
        }
    }
}

/// Where requests go. Nothing but this machine is loaded unless the configuration says that it may be.
fn take_aim(suite: &mut Suite, aim: &AimArgs, world: &World) -> Result<(Upstream, String), Failure> {
    if let Some(api) = aim.api {
        suite.target.api = api;
    }
    if !aim.models.is_empty() {
        suite.models.clone_from(&aim.models);
    }
    if let Some(url) = &aim.url {
        suite.target.url.clone_from(url);
    }
    let config = match &aim.config {
        Some(path) => Some(path.clone()),
        None => Config::find_upwards(&world.folder),
    };
    let profiles = Profiles::built_in().map_err(|errors| Failure::usage(super::all(&errors)))?;
    let config = config.map(|path| Config::read(&path, &profiles)).transpose().map_err(Failure::usage)?;
    let targets = config.map(|c| c.targets).unwrap_or_default();
    let mut name = suite.target.url.clone();
    if let Some(wanted) = &aim.target {
        let Some(profile) = targets.iter().find(|t| t.name == *wanted) else {
            return Err(Failure::usage(format!("no configuration names a target {wanted:?}")));
        };
        let Way::Adopt { url } = &profile.way else {
            let message = format!(
                "the target {wanted} is one that is started for a run; start it, and give its address with --url"
            );
            return Err(Failure::usage(message));
        };
        suite.target.url.clone_from(url);
        if let Some(CredentialSource::Variable(variable)) = &profile.credential {
            let token = world.variable(variable).filter(|v| !v.is_empty());
            let missing = || Failure::usage(format!("the variable {variable} of the target {wanted} is not set"));
            suite.target.tokens = vec![Secret::new(token.ok_or_else(missing)?)];
        }
        name = format!("{wanted} ({url})");
    }
    let upstream = base_url(&suite.target.url).map_err(|e| Failure::usage(format!("--url: {e}")))?;
    let allowed =
        || targets.iter().any(|t| t.allow_load && matches!(&t.way, Way::Adopt { url } if same(url, &suite.target.url)));
    if !upstream.is_loopback() && !allowed() {
        let message = format!(
            "{} is not on this machine: name it in ccsmoke.toml as a [[target]] with `url` and `allow_load = true`, \
             if you may load it",
            suite.target.url
        );
        return Err(Failure::usage(message));
    }
    Ok((upstream, name))
}

fn same(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}

/// Writes and shows a report, and says with which code to exit.
fn tell(report: &LoadReport, out: &OutArgs, world: &World) -> Result<Exit, Failure> {
    let redactor = Redactor::new(world.variables()).map_err(Failure::nothing)?;
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
    write_whole(&json.with_extension("html"), html::render(report).as_bytes()).map_err(failed)?;
    if let Some(path) = &out.junit {
        let xml = junit::render(report).map_err(Failure::nothing)?;
        write_whole(path, xml.as_bytes()).map_err(failed)?;
    }
    if let Some(path) = &out.markdown {
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

fn merge_shards(args: &MergeArgs, world: &World) -> Result<Exit, Failure> {
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
    tell(&whole, &args.out, world)
}

fn serve_answers(args: &AnswersArgs) -> Result<Exit, Failure> {
    let fault = match args.fault {
        FaultName::None => Fault::None,
        FaultName::Status => Fault::Status(args.status),
        FaultName::WrongBody => Fault::WrongBody,
        FaultName::Cut => Fault::Cut,
        FaultName::Silence => Fault::Silence,
        FaultName::Lump => Fault::Lump,
        FaultName::Stall => Fault::Stall { at: args.stall_at.0, lasts: args.stall_for.0 },
    };
    let manner = Manner { first: args.first.0, pieces: args.pieces, gap: args.gap.0, fault, every: args.every };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::nothing(format!("no runtime could be started: {e}")))?;
    runtime.block_on(async {
        let source = AnswerSource::start(args.port, manner)
            .await
            .map_err(|e| Failure::usage(format!("port {}: {e}; give another with --port", args.port)))?;
        to_stdout(&format!("answers at {}\n", source.base_url()))?;
        tokio::select! {
            served = source.serve() => served.map_err(Failure::nothing)?,
            _ = tokio::signal::ctrl_c() => {}
        }
        Ok(Exit::Good)
    })
}
