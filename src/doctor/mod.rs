//! `ccsmoke doctor`: is there a `claude`, does it run at all, here, in this way; and if not, why it probably does not.

pub mod launcher;
mod surroundings;
mod tell;
mod via;
mod way;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

pub use surroundings::{Problem, Variable};
pub use tell::text;
pub use way::{Outcome, WayRow};

use crate::client::{self, PINNED_VERSION, Source, Surroundings, Unfit};
use crate::probes::ProbeSet;
use crate::redact::Redactor;
use crate::stand::Entry;
use crate::world::World;
use way::{Launching, WAYS};

/// The format of the report; raised when an older reader would misread it.
pub const SCHEMA_VERSION: u32 = 1;

/// Versions of the client that the probes were tried with.
const TESTED: [&str; 3] = ["2.1.120", "2.1.220", PINNED_VERSION];

/// What the doctor says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DoctorReport {
    /// The version of ccsmoke.
    pub ccsmoke_version: String,
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: u32,
    /// Against what the client was started.
    pub target: String,
    /// The client.
    pub client: ClientFacts,
    /// The ways in which it was started.
    pub ways: Vec<WayRow>,
    /// Variables of the caller that would reach a client, by name, with what may be said of their values.
    pub variables: Vec<Variable>,
    /// What is wrong, the gravest first.
    pub problems: Vec<Problem>,
    /// Whether a text answer came back in the plain way: `-p` over pipes.
    pub works: bool,
    /// Whether the examination was interrupted.
    pub interrupted: bool,
}

/// The client that was found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ClientFacts {
    /// Its path; `None` when there is none.
    pub path: Option<String>,
    /// Where it was found: `given`, `PATH` or `cache`.
    pub found: Option<String>,
    /// The version that it tells.
    pub version: Option<String>,
    /// Whether the probes were tried with that version.
    pub tested: bool,
}

/// What is examined, and against what.
pub struct Examination<'a> {
    /// The world.
    pub world: &'a World,
    /// The client's path, where one was given.
    pub given: Option<&'a Path>,
    /// The words that are put in front of the client's command; empty for none.
    pub via: Vec<String>,
    /// What answers.
    pub entry: Arc<Entry>,
    /// What it is called.
    pub target: String,
    /// The model that is asked for.
    pub model: String,
    /// How long each way may take.
    pub timeout: Duration,
    /// Masks what is shown.
    pub redactor: &'a Redactor,
    /// Ends it.
    pub cancel: CancellationToken,
}

impl Examination<'_> {
    /// Examines the client.
    ///
    /// # Errors
    /// ccsmoke could not do its own part, in words.
    pub async fn run(&self) -> Result<DoctorReport, String> {
        let limits =
            client::Limits { version: self.timeout.min(client::Limits::default().version), ..Default::default() };
        let surroundings = Surroundings { environment: &self.world.environment, folder: &self.world.folder, limits };
        let mut problems = Vec::new();
        let mut facts = ClientFacts::default();
        let mut ways = Vec::new();
        match client::locate(self.given, &surroundings) {
            None => problems.push(nowhere(&surroundings, self.via.is_empty())),
            Some((path, source)) => {
                facts.path = Some(path.display().to_string());
                facts.found = Some(found_in(source).to_owned());
                let unfit = match client::inspect(&path, source, &surroundings).await {
                    Ok(client) => {
                        facts.tested = TESTED.contains(&client.version.as_str());
                        facts.version = Some(client.version);
                        None
                    }
                    Err(unfit) => Some(unfit),
                };
                ways = self.ways(&path, true, unfit.as_ref()).await?;
                problems.extend(unfit.iter().map(|unfit| wrong_client(&path, unfit, &ways)));
            }
        }
        if facts.path.is_none() && !self.via.is_empty() {
            ways = self.ways(Path::new("claude"), false, None).await?;
        }
        problems.extend(way::problems(&ways, problems.is_empty()));
        problems.extend(surroundings::problems(self.world));
        if facts.version.is_some() && !facts.tested {
            problems.push(Problem::new(
                format!("the probes were not tried with this version, but with {}", TESTED.join(", ")),
                format!("if something looks odd, compare with `ccsmoke run --cli {PINNED_VERSION}`"),
            ));
        }
        Ok(DoctorReport {
            ccsmoke_version: env!("CARGO_PKG_VERSION").to_owned(),
            schema_version: SCHEMA_VERSION,
            target: self.target.clone(),
            client: facts,
            works: ways.iter().any(|row| row.id == way::PLAIN && row.outcome == Outcome::Works),
            ways,
            variables: surroundings::variables(self.world),
            problems,
            interrupted: self.cancel.is_cancelled(),
        })
    }

    /// Starts the client in each way that makes sense. `here` says that it is on this machine, and not only behind `--via`.
    async fn ways(&self, path: &Path, here: bool, unfit: Option<&Unfit>) -> Result<Vec<WayRow>, String> {
        let set = ProbeSet::built_in().map_err(|errors| {
            errors.first().map_or_else(|| "the built-in probes are broken".to_owned(), ToString::to_string)
        })?;
        let probe = set.get("basic_text").ok_or("there is no built-in probe basic_text")?;
        let launching = Launching { examination: self, program: path, probe };
        let mut rows = Vec::new();
        let mut pointless = unfit.is_some_and(|unfit| !may_want_a_terminal(unfit));
        for way in WAYS {
            if self.cancel.is_cancelled() {
                break;
            }
            if way.via && self.via.is_empty() || !way.via && !here {
                continue;
            }
            let row = if pointless && !way.via {
                way.skipped()
            } else {
                let plain_works = rows.iter().any(|row: &WayRow| row.id == way::PLAIN && row.outcome == Outcome::Works);
                launching.start(way, plain_works).await?
            };
            // What hangs at --version with a terminal and without hangs whatever it is asked.
            let stuck = matches!(unfit, Some(Unfit::Hung { .. }));
            pointless |= stuck && row.id == way::TERMINAL_VERSION && row.outcome != Outcome::Works;
            rows.push(row);
        }
        Ok(rows)
    }
}

/// Whether a program that failed at `--version` may do better at a terminal.
fn may_want_a_terminal(unfit: &Unfit) -> bool {
    matches!(unfit, Unfit::Hung { .. } | Unfit::Failed { .. } | Unfit::Silent)
}

fn found_in(source: Source) -> &'static str {
    match source {
        Source::Given => "given",
        Source::Path => "PATH",
        Source::Cache | Source::Installed => "cache",
    }
}

fn nowhere(surroundings: &Surroundings<'_>, alone: bool) -> Problem {
    let searched = surroundings.environment.iter().find(|(name, _)| name == "PATH");
    let searched = searched.map_or_else(String::new, |(_, path)| path.to_string_lossy().into_owned());
    let how = if alone { "" } else { " outside of --via" };
    Problem::new(
        format!("there is no `claude`{how}: none on PATH ({searched}), and none in ccsmoke's cache"),
        "install it (`npm install -g @anthropic-ai/claude-code`) and put its folder on PATH, give --claude PATH, or let \
         `ccsmoke run` fetch one",
    )
}

fn wrong_client(path: &Path, unfit: &Unfit, ways: &[WayRow]) -> Problem {
    let path = PathBuf::from(path);
    let at_a_terminal = ways.iter().any(|row| row.id == way::TERMINAL_VERSION && row.outcome == Outcome::Works);
    let what = format!("{} {unfit}", path.display());
    if at_a_terminal {
        return Problem::new(
            format!("{what}; at a terminal it answers, so it needs one"),
            "find out what in it asks for a terminal (a wrapper script? a login?), or run it under one: `script -qec 'claude …' /dev/null`",
        );
    }
    let to_do = match unfit {
        Unfit::Hung { .. } => {
            "it hangs whatever it is asked: run it with `strace -f` or look at the wrapper script; `type -a claude` shows others"
        }
        Unfit::NotClaudeCode { .. } | Unfit::Silent | Unfit::Endless => {
            "another program has that name: `type -a claude` shows all, --claude PATH names the right one"
        }
        _ => "repair or reinstall it (`npm install -g @anthropic-ai/claude-code`), or give --claude PATH",
    };
    Problem::new(what, to_do)
}
