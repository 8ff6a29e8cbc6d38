//! A suite of scenarios, checked and put together: all that a run needs to know, the same on every machine.

pub mod file;
pub mod load_file;
pub mod request;
mod resolve;
pub mod source;
mod variables;

use std::path::Path;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::arrivals::{Curve, Process};
use super::conversation::Conversation;
use super::expect::Expect;
use super::metrics::{Failure, Flaws, Metric};
use super::threshold::Threshold;
use crate::file_error::FileError;
use crate::secret::Secret;
pub use file::{Api, Connections, ConverseFile, History, Jitter, ModelChoice, Order, ReportsFile};
pub use request::{Auth, ToolFile};
pub use resolve::exclusions;
pub use source::Source;

/// The largest suite file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// A suite.
#[derive(Debug, Clone)]
pub struct Suite {
    /// Its name: the file's stem.
    pub name: String,
    /// What it shows.
    pub title: String,
    /// What everything random follows from.
    pub seed: u64,
    /// How its scenarios follow each other.
    pub order: Order,
    /// Where requests go.
    pub target: Target,
    /// The models to ask for; none until the target's list is read.
    pub models: Vec<String>,
    /// Models of that list which are not asked for.
    pub models_exclude: Vec<String>,
    /// System prompts; an empty one is none.
    pub systems: Vec<String>,
    /// Classes of prompts. The named requests of `load.once` are classes too, of one text each.
    pub classes: Vec<Class>,
    /// Flaws that fail nothing.
    pub ignore: Flaws,
    /// A gap above this is a stall.
    pub stall: Duration,
    /// Where the run stops.
    pub limits: Limits,
    /// The scenarios.
    pub scenarios: Vec<Scenario>,
    /// What a good answer keeps to.
    pub slo: Vec<(Metric, Duration)>,
    /// What has to hold.
    pub thresholds: Vec<Threshold>,
    /// Where reports are written beside the folder of results.
    pub reports: ReportsFile,
    /// What sessions replay.
    pub conversations: Vec<Conversation>,
}

/// Where requests go.
#[derive(Debug, Clone)]
pub struct Target {
    /// The base URL.
    pub url: String,
    /// The API.
    pub api: Api,
    /// Credentials, used in rotation; none sends none.
    pub tokens: Vec<Secret>,
    /// Where requests go behind the URL, when not to the API's own path.
    pub path: Option<String>,
    /// The header that shows a credential as it is, when not the API's own way.
    pub auth_header: Option<String>,
    /// Whether connections are used again.
    pub connections: Connections,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// How long things may take.
    pub timeouts: Timeouts,
}

impl Target {
    /// The path of requests, behind the base URL.
    pub fn path(&self) -> &str {
        self.path.as_deref().unwrap_or_else(|| self.api.path())
    }

    /// The headers that show a credential.
    pub fn credential(&self, token: &str) -> Vec<(&str, String)> {
        match &self.auth_header {
            Some(name) => vec![(name, token.to_owned())],
            None => self.api.credential(token),
        }
    }

    /// The headers of a question beside the load, with the first credential.
    pub fn question_headers(&self) -> Vec<(&str, String)> {
        let plain = self.api.headers().iter().map(|(name, value)| (*name, (*value).to_owned()));
        let further = self.headers.iter().map(|(name, value)| (name.as_str(), value.clone()));
        let credential = self.tokens.first().map(|token| self.credential(token.expose()));
        plain.chain(further).chain(credential.into_iter().flatten()).collect()
    }
}

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// A new connection.
    pub connect: Duration,
    /// The first piece.
    pub ttft: Duration,
    /// Silence in a stream.
    pub idle: Duration,
    /// The whole answer.
    pub whole: Duration,
}

/// A class of prompts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// Its name.
    pub name: String,
    /// Its prompts, at least one; of a request without a prompt an empty one.
    pub texts: Vec<String>,
}

/// Where a run stops.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Limits {
    /// Requests, tries again included.
    pub requests: Option<u64>,
    /// Requests at once.
    pub in_flight: Option<u32>,
    /// Tokens.
    pub tokens: Option<u64>,
    /// Dollars, with the prices of a token in and out.
    pub usd: Option<(f64, f64, f64)>,
    /// Time.
    pub time: Option<Duration>,
    /// How late the engine may be at p99.
    pub lag: Option<Duration>,
}

/// One scenario.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// When requests are sent.
    pub load: Load,
    /// When it begins, since its group did.
    pub start: Duration,
    /// What is sent, by weight.
    pub mix: Vec<Mix>,
    /// Which model is asked.
    pub model: ModelChoice,
    /// The range of temperatures.
    pub temperature: Option<(f64, f64)>,
    /// The most tokens of an answer.
    pub max_tokens: Option<u32>,
    /// Tries again.
    pub retry: Option<Retry>,
    /// How conversations are held.
    pub converse: ConverseFile,
    /// The requests of [`Load::Once`] and [`Load::Steps`].
    pub requests: Vec<Fixed>,
}

/// When requests are sent.
#[derive(Debug, Clone, PartialEq)]
pub enum Load {
    /// When they are due.
    Open(Process),
    /// By users who wait for each answer.
    Users {
        /// How many.
        curve: Curve,
        /// How many requests they send.
        requests: Requests,
    },
    /// By sessions that hold conversations.
    Sessions {
        /// Sessions of a worker.
        sessions: u32,
        /// Workers.
        workers: u32,
        /// Conversations at once.
        concurrency: u32,
        /// How long new ones begin; without it each is held once.
        lasts: Option<Duration>,
    },
    /// All at once.
    Once {
        /// How often each.
        times: u32,
    },
    /// One after another.
    Steps {
        /// How often all of them.
        times: u32,
    },
}

/// How many requests users send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requests {
    /// As many as there is time for.
    Any,
    /// Each so many.
    Each(u32),
    /// All together so many.
    Total(u32),
}

impl Load {
    /// Whether requests start when they are due, however slow answers are.
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Open(_))
    }

    /// How long requests are sent, as far as that is known.
    pub fn duration(&self) -> Duration {
        match self {
            Self::Open(process) => process.duration(),
            Self::Users { curve, .. } => curve.duration(),
            Self::Sessions { lasts, .. } => lasts.unwrap_or_default(),
            Self::Once { .. } | Self::Steps { .. } => Duration::ZERO,
        }
    }

    /// The most requests at once, where it is known.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "users are counted in u32")]
    pub fn most_at_once(&self) -> Option<u32> {
        match self {
            Self::Open(_) | Self::Once { .. } => None,
            Self::Users { curve, .. } => Some(curve.peak().ceil() as u32),
            Self::Steps { .. } => Some(1),
            Self::Sessions { sessions, workers, concurrency, .. } => {
                Some(sessions.saturating_mul(*workers).saturating_mul(*concurrency))
            }
        }
    }

    /// The kind in words.
    pub fn words(&self) -> &'static str {
        match self {
            Self::Open(_) => "open: requests start when they are due",
            Self::Users { .. } => "closed: users wait for each answer, so the tail is that of a user",
            Self::Sessions { .. } => "closed: sessions hold conversations",
            Self::Once { .. } => "once: all requests at the same time",
            Self::Steps { .. } => "steps: one request after another",
        }
    }
}

/// An entry of a mix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mix {
    /// Its weight.
    pub weight: u32,
    /// Whether answers are streamed.
    pub stream: bool,
    /// Classes of prompts by their places in the suite, at least one.
    pub classes: Vec<u16>,
    /// Which model is asked, when not that of the scenario.
    pub model: Option<ModelChoice>,
}

/// Tries again.
#[derive(Debug, Clone, PartialEq)]
pub struct Retry {
    /// After the first.
    pub max: u32,
    /// After which failures.
    pub on: Vec<Failure>,
    /// The first pause.
    pub base: Duration,
    /// Each further pause is so many times as long.
    pub factor: f64,
    /// How much of a pause is left to chance.
    pub jitter: Jitter,
    /// The longest pause.
    pub cap: Duration,
    /// Whether `retry-after` counts when it is longer.
    pub honor_retry_after: bool,
}

/// A request of [`Load::Once`] or [`Load::Steps`].
#[derive(Debug, Clone, PartialEq)]
pub struct Fixed {
    /// Its class in the suite, which has its prompts.
    pub class: u16,
    /// The path that is asked for with GET; none sends the prompt.
    pub get: Option<String>,
    /// Which credential is shown.
    pub auth: Auth,
    /// What has to come of it; none asks for a right answer.
    pub expect: Option<Expect>,
    /// The system prompt.
    pub system: Option<String>,
    /// The model.
    pub model: Option<String>,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// The most tokens of the answer.
    pub max_tokens: Option<u32>,
    /// How long the answer may take.
    pub deadline: Option<Duration>,
    /// Tools on offer.
    pub tools: Vec<ToolFile>,
}

/// What a run changes of a suite as it is written.
#[derive(Debug, Clone)]
pub struct Adjust {
    /// Rates and numbers of users times this.
    pub rate: f64,
    /// Times of the plan times this.
    pub time: f64,
    /// Another seed.
    pub seed: Option<u64>,
    /// These scenarios only; all when empty.
    pub only: Vec<String>,
}

impl Default for Adjust {
    fn default() -> Self {
        Self { rate: 1.0, time: 1.0, seed: None, only: Vec::new() }
    }
}

impl Suite {
    /// Parses and checks a suite. `path` names it in errors; `variable` looks a variable of the caller up.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn parse(
        path: &Path,
        text: &str,
        source: &Source,
        adjust: &Adjust,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, FileError> {
        let file: file::SuiteFile = toml::from_str(text).map_err(|e| FileError::toml(path, text, &e))?;
        resolve::Resolver { path, text, source, adjust, variable }.suite(file)
    }

    /// The suite of that name: a built-in one, or a file.
    ///
    /// # Errors
    /// There is none, or it is wrong.
    pub fn named(
        name: &str,
        folder: &Path,
        adjust: &Adjust,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, FileError> {
        if let Some((path, text)) = source::built_in(name) {
            return Self::parse(&path, text, &Source::BuiltIn, adjust, variable);
        }
        let path = Path::new(name);
        let here = folder.join(path);
        if !here.exists() && path.extension().is_none() {
            let known: Vec<&str> = source::built_in_names().collect();
            let message = format!("is neither a suite file nor a built-in suite; built in are {}", known.join(", "));
            return Err(FileError::whole(path, message));
        }
        // Named as the person named it.
        let text = FileError::read(&here, MAX_FILE_BYTES).map_err(|e| FileError { path: path.to_owned(), ..e })?;
        let beside = here.parent().unwrap_or(folder).to_owned();
        Self::parse(path, &text, &Source::Folder(beside), adjust, variable)
    }

    /// What tells this plan from any other, whatever it is aimed at: shards of different plans are not merged.
    pub fn fingerprint(&self) -> String {
        let plan = (
            (
                &self.name,
                self.seed,
                self.order,
                &self.models,
                &self.systems,
                &self.classes,
                self.target.api,
                &self.target.path,
            ),
            (&self.scenarios, &self.slo, &self.thresholds, &self.conversations, self.ignore, self.stall),
        );
        let digest = Sha256::digest(format!("{plan:?}"));
        digest.iter().take(12).fold(String::new(), |out, byte| out + &format!("{byte:02x}"))
    }
}
