//! The ways in which the client is started: each differs from the plain one in one thing.

use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::launcher::Manner;
use super::{Examination, Problem, via};
use crate::evidence::{EndedBy, ProcessFacts};
use crate::exchange::{End, Exchange};
use crate::launch::{arguments, environment};
use crate::probe::{Probe, Vars};
use crate::process::{self, Activity, Controls, ProcessLimits, ProcessSpec};
use crate::provider::{Conversation, nonce};
use crate::report::terminal::printable;
use crate::tap::{Access, Credentials, Tap, TapConfig, cell_token};
use crate::workspace::Workspace;

/// The way that has to work: `-p` over pipes, with standard input closed.
pub(super) const PLAIN: &str = "pipes";

/// The way that shows that a program wants a terminal.
pub(super) const TERMINAL_VERSION: &str = "version-terminal";

/// How many characters of what was printed are shown.
const SHOWN: usize = 300;

/// The most requests of one start.
const REQUESTS: u32 = 10;

/// One way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    id: &'static str,
    title: &'static str,
    /// Only the version is asked for.
    version: bool,
    manner: Option<Manner>,
    /// Through the prefix that the user gave.
    pub(super) via: bool,
}

/// All ways, in the order in which they are tried.
pub(super) const WAYS: &[Way] = &[
    Way { id: "version", title: "--version, over pipes", version: true, manner: None, via: false },
    Way {
        id: TERMINAL_VERSION,
        title: "--version, at a terminal",
        version: true,
        manner: Some(Manner::Terminal),
        via: false,
    },
    Way { id: PLAIN, title: "-p over pipes, standard input closed", version: false, manner: None, via: false },
    Way {
        id: "open-input",
        title: "-p over pipes, standard input left open",
        version: false,
        manner: Some(Manner::OpenInput),
        via: false,
    },
    Way {
        id: "terminal",
        title: "-p at a pseudo-terminal",
        version: false,
        manner: Some(Manner::Terminal),
        via: false,
    },
    Way {
        id: "session",
        title: "-p in a session without a terminal",
        version: false,
        manner: Some(Manner::Session),
        via: false,
    },
    Way { id: "via-version", title: "--version through --via", version: true, manner: None, via: true },
    Way { id: "via", title: "-p through --via, over pipes", version: false, manner: None, via: true },
    Way {
        id: "via-terminal",
        title: "-p through --via, at a pseudo-terminal",
        version: false,
        manner: Some(Manner::Terminal),
        via: true,
    },
];

/// What came of one way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WayRow {
    /// The way's name.
    pub id: String,
    /// What is special about it.
    pub title: String,
    /// What came of it.
    pub outcome: Outcome,
    /// Seconds that it took.
    pub took_s: f64,
    /// The exit code, where it ended by itself.
    pub returncode: Option<i32>,
    /// How many requests the client made.
    pub requests: usize,
    /// What is known and probable of the reason.
    pub reason: Option<String>,
    /// What to do.
    pub to_do: Option<String>,
    /// The end of what it printed.
    pub printed: String,
}

/// What came of a way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// What was asked for came back.
    Works,
    /// It ended without it.
    Fails,
    /// It did not end.
    Hangs,
    /// It was not tried, because what came before makes it pointless.
    Skipped,
}

impl Way {
    pub(super) fn skipped(&self) -> WayRow {
        WayRow {
            id: self.id.to_owned(),
            title: self.title.to_owned(),
            outcome: Outcome::Skipped,
            took_s: 0.0,
            returncode: None,
            requests: 0,
            reason: None,
            to_do: None,
            printed: String::new(),
        }
    }
}

/// Starts of one client.
pub(super) struct Launching<'a> {
    pub(super) examination: &'a Examination<'a>,
    pub(super) program: &'a Path,
    pub(super) probe: &'a Probe,
}

/// What was seen of one start.
struct SeenOf {
    process: ProcessFacts,
    exchanges: Vec<Exchange>,
    took: Duration,
    /// Whether what was asked for was printed.
    answered: bool,
}

impl Launching<'_> {
    /// Starts the client in that way and says what came of it. Where the plain way works, the one thing that is different here is
    /// the probable reason.
    pub(super) async fn start(&self, way: &Way, plain_works: bool) -> Result<WayRow, String> {
        let seen = self.launch(way).await?;
        let outcome = match (&seen.process, seen.answered) {
            (process, true) if process.returncode == Some(0) => Outcome::Works,
            (process, _) if process.ended_by.is_some_and(EndedBy::is_timeout) => Outcome::Hangs,
            _ => Outcome::Fails,
        };
        let (reason, to_do) = match outcome {
            Outcome::Works | Outcome::Skipped => (None, None),
            Outcome::Fails | Outcome::Hangs => {
                let (reason, to_do) = diagnosis(way, outcome, &seen, plain_works, self.examination.timeout);
                (Some(reason), Some(to_do))
            }
        };
        Ok(WayRow {
            outcome,
            took_s: (seen.took.as_secs_f64() * 100.0).round() / 100.0,
            returncode: seen.process.returncode,
            requests: seen.exchanges.len(),
            reason: reason.map(|text| self.examination.redactor.text(&text).into_owned()),
            to_do: to_do.map(str::to_owned),
            printed: self.examination.redactor.text(&printed(&seen.process)).into_owned(),
            ..way.skipped()
        })
    }

    async fn launch(&self, way: &Way) -> Result<SeenOf, String> {
        let entry = &self.examination.entry;
        let words = |e: std::io::Error| e.to_string();
        let workspace = Workspace::create().map_err(words)?;
        let nonce = nonce().map_err(words)?;
        let vars = Vars {
            marker: format!("CCS_DOCTOR_TEXT_{}", nonce.chars().rev().take(8).collect::<String>().to_ascii_uppercase()),
            nonce,
            workspace: workspace.folder().display().to_string(),
            session_id: uuid::Uuid::new_v4().to_string(),
        };
        if let Some(provider) = &entry.provider {
            provider.register(Conversation { vars: vars.clone(), turns: self.probe.turn.clone() });
        }
        let token = cell_token().map_err(words)?;
        let credentials = Credentials { cell_token: token.clone(), upstream: entry.credential.clone() };
        let mut config = TapConfig::new(entry.upstream.clone(), Access::Cell(credentials), Instant::now());
        config.max_requests = REQUESTS;
        let tap = Tap::start(config).await.map_err(words)?;
        let spec = self.spec(way, &vars, &workspace, &tap.base_url(), &token);
        let activity = Activity::default();
        let controls = Controls { activity, interrupt: self.examination.cancel.clone(), ..Controls::default() };
        let clock = Instant::now();
        let process = process::run(&spec, &controls).await;
        let took = clock.elapsed();
        let (exchanges, _) = tap.finish().await;
        let exchanges = exchanges.into_iter().filter(|e| e.request.method != "HEAD").collect();
        let wanted = if way.version { "Claude Code" } else { &vars.marker };
        let answered = process.stdout.text.contains(wanted);
        Ok(SeenOf { process, exchanges, took, answered })
    }

    fn spec(&self, way: &Way, vars: &Vars, workspace: &Workspace, base_url: &str, token: &str) -> ProcessSpec {
        let Examination { world, timeout, .. } = self.examination;
        let folders = workspace.folders();
        let hermetic = environment(self.probe, vars, &world.environment, folders, base_url, token, world.is_root);
        let (program, args) = self.command(way, vars, &hermetic);
        let (program, args) = match way.manner {
            Some(manner) => (world.program.clone(), manner.arguments(&world.program, &program, &args)),
            None => (program, args),
        };
        // A prefix such as docker needs what its own user has; the client behind it gets its environment by words.
        let environment = if way.via { world.environment.clone() } else { hermetic };
        ProcessSpec {
            supervisor: world.program.clone(),
            program,
            args,
            environment,
            input: None,
            folder: workspace.folder().to_owned(),
            limits: ProcessLimits { total: *timeout, idle: *timeout, kept_bytes: 1 << 20, ..ProcessLimits::default() },
        }
    }

    /// The program with its arguments.
    fn command(&self, way: &Way, vars: &Vars, hermetic: &[(OsString, OsString)]) -> (std::path::PathBuf, Vec<String>) {
        let asked: Vec<String> = if way.version {
            vec!["--version".to_owned()]
        } else {
            let whole = self
                .probe
                .launch
                .first()
                .map(|launch| arguments(self.probe, launch, vars, &self.examination.model, None));
            let prompt = whole.and_then(|mut args| args.pop()).unwrap_or_default();
            let model = self.examination.model.as_str();
            let plain =
                ["--bare", "--no-session-persistence", "--setting-sources", "", "--tools", "", "--model", model, "-p"];
            plain.into_iter().map(str::to_owned).chain([prompt]).collect()
        };
        let own = || self.program.to_owned();
        if !way.via {
            return (own(), asked);
        }
        let mut args = via::words(&self.examination.via, way.manner == Some(Manner::Terminal));
        if args.is_empty() {
            return (own(), asked);
        }
        let first = args.remove(0);
        args.push("env".to_owned());
        let carried = |name: &str| {
            name.starts_with("ANTHROPIC_") || name.starts_with("CLAUDE_CODE_") && !name.ends_with("TMPDIR")
        };
        args.extend(hermetic.iter().filter_map(|(name, value)| {
            let (name, value) = (name.to_str()?, value.to_str()?);
            carried(name).then(|| format!("{name}={value}"))
        }));
        args.push(self.program.display().to_string());
        args.extend(asked);
        (first.into(), args)
    }
}

/// Why it did not work, as far as it can be known, and what to do.
fn diagnosis(
    way: &Way,
    outcome: Outcome,
    seen: &SeenOf,
    plain_works: bool,
    timeout: Duration,
) -> (String, &'static str) {
    let process = &seen.process;
    if let Some(words) = &process.spawn_error {
        return (words.clone(), "look at the path, and at the interpreter in the first line of a script");
    }
    let said = format!("{}{}", process.stdout.text, process.stderr.text);
    let holds = |words: &[&str]| words.iter().any(|word| said.to_ascii_lowercase().contains(word));
    if holds(&[
        "stdin is not a terminal",
        "not a tty",
        "raw mode is not supported",
        "must be a terminal",
        "requires a terminal",
    ]) {
        return (
            format!("it wants a terminal: {}", last_line(&said)),
            "start it at one (`docker exec -t`, `script -qec … /dev/null`)",
        );
    }
    if holds(&["cannot be used with root", "root/sudo privileges"]) {
        return ("it refuses to run as root".to_owned(), "run as another user, or set IS_SANDBOX=1 within a container");
    }
    if outcome == Outcome::Hangs {
        return hanging(way, seen, plain_works, timeout);
    }
    let last = last_line(&said);
    let ended = match (process.returncode, process.signal) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "no end of its own".to_owned(),
    };
    if process.returncode == Some(127) && way.via {
        return (format!("the program was not found there: {last}"), "give the client's path inside with --claude");
    }
    if let Some(failed) = seen.exchanges.iter().rev().find_map(failure) {
        let words = format!("{ended}: the request failed: {failed}");
        return (words, "the client works, what answers does not: `ccsmoke check` examines it");
    }
    if process.returncode == Some(0) {
        let words = format!("it ended well, but printed something else: {last}");
        return (words, "is this Claude Code, or a wrapper that swallows or changes its output?");
    }
    let asked = if way.version || !seen.exchanges.is_empty() { "" } else { ", without a request" };
    (format!("{ended}{asked}: {last}"), "the last line that it printed says more; run it by hand in the same way")
}

/// Why something that did not end probably hung.
fn hanging(way: &Way, seen: &SeenOf, plain_works: bool, timeout: Duration) -> (String, &'static str) {
    let after = format!("no end within {} s", timeout.as_secs());
    let last = last_line(&format!("{}{}", seen.process.stdout.text, seen.process.stderr.text));
    let said = if last.is_empty() { "and printed nothing".to_owned() } else { format!("last it printed {last:?}") };
    let waits = seen.exchanges.iter().any(|e| e.end != End::Complete);
    match (seen.exchanges.is_empty(), seen.answered) {
        (_, true) => (
            format!("{after}, though the answer was there: something that it started, or an exit hook, keeps it"),
            "look for MCP servers, hooks and background tasks of the settings",
        ),
        (false, _) if waits => {
            (format!("{after}: its request was not answered to the end"), "`ccsmoke check` examines what answers")
        }
        (false, _) => (format!("{after}: its request was answered, {said}"), "run it by hand with --debug"),
        (true, _) if way.version => (
            format!("{after} at --version, which asks nobody: the program itself hangs, {said}"),
            "it may be a wrapper that waits for input, a lock or the network: look at it with `strace -f`",
        ),
        (true, _) if plain_works && way.manner == Some(Manner::OpenInput) => (
            format!("{after}, without a request, {said}: it reads standard input to its end first"),
            "close standard input: `claude -p … < /dev/null`, `stdin=subprocess.DEVNULL`, `stdio: ['ignore', …]`",
        ),
        (true, _) if plain_works && way.manner == Some(Manner::Terminal) => (
            format!(
                "{after}, without a request, {said}: it probably waits for somebody at the terminal (trust, login, theme)"
            ),
            "start it by hand once and answer, or start it over pipes with -p",
        ),
        (true, _) => (
            format!("{after}, without a request, {said}: it waits for something before it asks the model"),
            "look for a wrapper, a lock, hooks or MCP servers; run it by hand with --debug",
        ),
    }
}

/// What was wrong with an exchange.
fn failure(exchange: &Exchange) -> Option<String> {
    match (&exchange.response, &exchange.end) {
        (None, End::NeverAnswered { error }) => Some(error.clone()),
        (None, End::Refused { reason }) => Some(reason.clone()),
        (Some(response), _) if response.status >= 400 => Some(format!(
            "status {}: {}",
            response.status,
            response.body.text().chars().take(SHOWN).collect::<String>()
        )),
        _ => None,
    }
}

/// The last line with letters, without the escape sequences of a terminal.
fn last_line(text: &str) -> String {
    let plain = console::strip_ansi_codes(text);
    let line = plain.lines().rev().map(str::trim).find(|line| line.chars().any(char::is_alphanumeric));
    printable(&line.unwrap_or_default().chars().take(SHOWN).collect::<String>())
}

/// The end of what was printed, for a person.
fn printed(process: &ProcessFacts) -> String {
    let all = format!("{}{}", process.stdout.text, process.stderr.text);
    let plain = console::strip_ansi_codes(&all).trim().to_owned();
    let from = plain.char_indices().rev().nth(SHOWN - 1).map_or(0, |(at, _)| at);
    printable(&plain[from..].replace('\n', " "))
}

/// What the ways say together. `alone` when nothing else was found before.
pub(super) fn problems(ways: &[WayRow], alone: bool) -> Vec<Problem> {
    let outcome = |id: &str| ways.iter().find(|row| row.id == id).map(|row| row.outcome);
    let mut found = Vec::new();
    let bad = |row: &&WayRow| matches!(row.outcome, Outcome::Fails | Outcome::Hangs);
    let all_p_fail = ways.iter().filter(|row| !row.id.contains("version")).all(|row| bad(&row));
    if all_p_fail && alone {
        // The same in every way: one problem, not many.
        let plain = ways.iter().find(|row| row.id == PLAIN).into_iter().chain(ways.iter().filter(bad)).next();
        found.extend(plain.map(|row| of(row, "in every way: ")));
        return found;
    }
    if outcome("terminal") == Some(Outcome::Works) && matches!(outcome(PLAIN), Some(Outcome::Fails | Outcome::Hangs)) {
        found.push(Problem::new(
            "it works at a terminal and not over pipes: it needs a terminal",
            "give it one (`script -qec '…' /dev/null`, `docker exec -t`), or find out what asks for it",
        ));
    }
    if alone {
        found.extend(ways.iter().filter(bad).map(|row| of(row, "")));
    }
    found
}

fn of(row: &WayRow, prefix: &str) -> Problem {
    let verb = if row.outcome == Outcome::Hangs { "hangs" } else { "fails" };
    let what = format!("{prefix}{} {verb}: {}", row.title, row.reason.as_deref().unwrap_or_default());
    Problem::new(what, row.to_do.clone().unwrap_or_default())
}
