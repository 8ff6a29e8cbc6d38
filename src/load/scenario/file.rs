//! Scenario files as they are written: every key with its type. `ccsmoke load schema` prints the JSON Schema of these types.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::load_file::{LoadFile, one};
use super::request::RequestFile;
use crate::load::metrics::Flaw;
use crate::load::quantity::{Share, Time};

/// A suite of scenarios against one target, with the thresholds that it has to hold.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "A ccsmoke load suite")]
pub struct SuiteFile {
    /// One line that says what the suite shows.
    pub title: String,
    /// What everything random follows from.
    #[serde(default)]
    pub seed: u64,
    /// Whether scenarios run one after another or all at once.
    #[serde(default)]
    pub order: Order,
    /// Where requests go.
    pub target: TargetFile,
    /// What requests are made of.
    #[serde(default)]
    pub data: DataFile,
    /// What is not held against an answer.
    #[serde(default)]
    pub checks: ChecksFile,
    /// Where the run stops.
    #[serde(default)]
    pub limits: LimitsFile,
    /// Where reports are written beside the folder of results; the command line replaces these.
    #[serde(default)]
    pub reports: ReportsFile,
    /// The scenarios.
    #[schemars(with = "Vec<ScenarioFile>")]
    pub scenario: Vec<Spanned<ScenarioFile>>,
    /// What a good answer keeps to, by metric (`ttft`, `tpot`, `e2e`): goodput counts those that do.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Time>")]
    pub slo: BTreeMap<Spanned<String>, Time>,
    /// What has to hold, by metric: `"e2e{stream=true}" = ["p95 < 2s, abort_after=30s"]`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Vec<String>>")]
    pub thresholds: BTreeMap<Spanned<String>, Vec<Spanned<String>>>,
}

/// How the scenarios of a suite follow each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// One after another.
    #[default]
    Sequence,
    /// All at once.
    Parallel,
}

/// Where requests go.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TargetFile {
    /// The base URL, without `/v1`; `--url` or `--target` replace it. `${VARIABLE:-default}` is filled in.
    #[schemars(with = "String")]
    pub url: Spanned<String>,
    /// The API that requests are written in.
    pub api: Api,
    /// Where requests go behind the URL, when not to the API's own path. `raw` needs it.
    #[schemars(with = "Option<String>")]
    pub path: Option<Spanned<String>>,
    /// Credentials, used in rotation. Real ones belong into a variable: `${VARIABLE:-default}` is filled in, and commas in it tell
    /// several.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub tokens: Vec<Spanned<String>>,
    /// The header that shows a credential as it is, when not the API's own way.
    #[schemars(with = "Option<String>")]
    pub auth_header: Option<Spanned<String>>,
    /// Whether connections are used again.
    #[serde(default)]
    pub connections: Connections,
    /// Further headers. `${VARIABLE:-default}` is filled in.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub headers: BTreeMap<String, Spanned<String>>,
    /// How long a new connection may take.
    #[serde(default = "connect_timeout")]
    pub connect_timeout: Time,
    /// How long the first piece of an answer may take.
    #[serde(default = "ttft_timeout")]
    pub ttft_timeout: Time,
    /// How long a stream may be silent.
    #[serde(default = "idle_timeout")]
    pub idle_timeout: Time,
    /// How long a whole answer may take.
    #[serde(default = "timeout")]
    pub timeout: Time,
}

fn connect_timeout() -> Time {
    Time(std::time::Duration::from_secs(5))
}

fn ttft_timeout() -> Time {
    Time(std::time::Duration::from_secs(30))
}

fn idle_timeout() -> Time {
    Time(std::time::Duration::from_secs(30))
}

fn timeout() -> Time {
    Time(std::time::Duration::from_secs(120))
}

/// Whether connections are used again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Connections {
    /// As long as the target keeps them open.
    #[default]
    Auto,
    /// Each request has one of its own.
    New,
}

/// The API that requests are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Api {
    /// `OpenAI`'s `/v1/chat/completions`.
    OpenaiChat,
    /// Anthropic's `/v1/messages`.
    AnthropicMessages,
    /// `OpenAI`'s `/v1/responses`.
    OpenaiResponses,
    /// Prompts as they are, posted to a path; of an answer the status is looked at.
    Raw,
}

/// What requests are made of.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DataFile {
    /// The models to ask for; none takes those that the target lists.
    #[serde(default)]
    pub models: Vec<String>,
    /// A file of models not to ask for, one a line, `#` before a comment.
    #[schemars(with = "Option<String>")]
    pub models_exclude: Option<Spanned<String>>,
    /// System prompts, of which one is drawn; an empty text is none.
    #[serde(default)]
    pub system: Vec<String>,
    /// Classes of prompts, such as `short`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, PromptsFile>")]
    pub prompts: BTreeMap<String, Spanned<PromptsFile>>,
    /// Conversations: a file, or a folder of such files.
    #[schemars(with = "Option<String>")]
    pub conversations: Option<Spanned<String>>,
}

/// A class of prompts.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PromptsFile {
    /// The prompts.
    #[serde(default)]
    pub texts: Vec<String>,
    /// A file with one prompt a line.
    #[schemars(with = "Option<String>")]
    pub file: Option<Spanned<String>>,
}

/// What is not held against an answer.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChecksFile {
    /// Flaws that are counted and fail nothing.
    #[serde(default)]
    pub ignore: Vec<Flaw>,
    /// A gap in a stream above this is a stall.
    pub stall: Option<Time>,
}

/// Where reports are written, from the working folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportsFile {
    /// The report itself.
    pub json: Option<PathBuf>,
    /// The page.
    pub html: Option<PathBuf>,
    /// The thresholds as `JUnit` XML.
    pub junit: Option<PathBuf>,
    /// A summary in Markdown.
    pub markdown: Option<PathBuf>,
}

/// Where the run stops.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitsFile {
    /// Requests, tries again included.
    pub requests: Option<u64>,
    /// Requests at once; the rest wait in the plan, and their wait counts.
    pub in_flight: Option<u32>,
    /// Tokens in and out.
    pub tokens: Option<u64>,
    /// Dollars, with the prices below.
    pub usd: Option<f64>,
    /// Dollars for a million tokens of requests.
    pub usd_per_million_in: Option<f64>,
    /// Dollars for a million tokens of answers.
    pub usd_per_million_out: Option<f64>,
    /// Time.
    pub time: Option<Time>,
    /// How late the engine may be (p99) before the run is invalid, instead of what follows from the load.
    pub lag: Option<Time>,
}

/// One scenario.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScenarioFile {
    /// Its name.
    #[schemars(with = "String")]
    pub name: Spanned<String>,
    /// When requests are sent.
    pub load: LoadFile,
    /// When the scenario begins, where scenarios run in parallel.
    #[schemars(with = "Option<Time>")]
    pub start: Option<Spanned<Time>>,
    /// What is sent, by weight.
    #[serde(default)]
    pub mix: Vec<MixFile>,
    /// Which model is asked.
    #[serde(default)]
    pub model: ModelChoice,
    /// The temperature, or the range that it is drawn from.
    pub temperature: Option<Range>,
    /// The most tokens of an answer. Anthropic's API asks for it: 1024 when absent.
    pub max_tokens: Option<u32>,
    /// Whether and when failed requests are tried again.
    pub retry: Option<RetryFile>,
    /// How conversations are held, in sessions.
    #[serde(default)]
    pub converse: ConverseFile,
    /// The requests of `load.once` and `load.steps`.
    #[serde(default)]
    #[schemars(with = "Vec<RequestFile>")]
    pub request: Vec<Spanned<RequestFile>>,
}

/// An entry of a mix.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MixFile {
    /// Its weight among the others.
    #[serde(default = "one")]
    pub weight: u32,
    /// Whether answers are streamed.
    #[serde(default)]
    pub stream: bool,
    /// Classes of prompts; all when empty.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub prompt: Vec<Spanned<String>>,
    /// Which model is asked, when not that of the scenario.
    pub model: Option<ModelChoice>,
}

/// Which model is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelChoice {
    /// One at random.
    #[default]
    Random,
    /// One after another.
    Each,
    /// This one.
    Only(String),
}

/// A range of numbers, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Range {
    /// The lowest.
    pub min: f64,
    /// The highest.
    pub max: f64,
}

/// Whether and when failed requests are tried again.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetryFile {
    /// Tries after the first.
    pub max: u32,
    /// Kinds of failure that are tried again.
    #[serde(default = "retry_on")]
    #[schemars(with = "Vec<String>")]
    pub on: Vec<Spanned<String>>,
    /// The first pause.
    #[serde(default = "base")]
    pub base: Time,
    /// Each further pause is so many times as long as the one before.
    #[serde(default = "factor")]
    #[schemars(with = "f64")]
    pub factor: Spanned<f64>,
    /// How much of a pause is left to chance.
    #[serde(default)]
    pub jitter: Jitter,
    /// The longest pause.
    #[serde(default = "cap")]
    pub cap: Time,
    /// Whether `retry-after` counts when it is longer.
    #[serde(default = "yes")]
    pub honor_retry_after: bool,
}

fn retry_on() -> Vec<Spanned<String>> {
    ["rate_limited", "overloaded", "server", "connect"].map(|kind| Spanned::new(0..0, kind.to_owned())).into()
}

fn base() -> Time {
    Time(std::time::Duration::from_millis(200))
}

fn factor() -> Spanned<f64> {
    Spanned::new(0..0, 2.0)
}

fn cap() -> Time {
    Time(std::time::Duration::from_secs(5))
}

fn yes() -> bool {
    true
}

/// How much of a pause is left to chance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Jitter {
    /// It is drawn between none and all of it.
    #[default]
    Full,
    /// Nothing.
    None,
}

/// How conversations are held.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConverseFile {
    /// What stands in the history where the model answered.
    #[serde(default)]
    pub history: History,
    /// Whether answers are streamed.
    #[serde(default)]
    pub stream: bool,
    /// The most messages of the user in a conversation.
    pub max_messages: Option<u32>,
    /// How likely it is that a conversation stops early.
    #[serde(default)]
    pub stops_early: Share,
    /// After at most so many messages it then stops; 3 when absent.
    pub stops_within: Option<u32>,
    /// How long a person thinks and types.
    #[serde(default)]
    pub think: Think,
}

/// What stands in the history where the model answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum History {
    /// What the script says.
    #[default]
    Scripted,
    /// What the model said.
    Live,
}

/// How long a person thinks and types: in proportion to the next message, within bounds.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Think {
    /// For each character of the next message.
    pub per_char: Time,
    /// At least.
    pub min: Time,
    /// At most.
    pub max: Time,
    /// All of it times this; 0 is as fast as possible.
    pub scale: f64,
}

impl Default for Think {
    fn default() -> Self {
        let millis = |n| Time(std::time::Duration::from_millis(n));
        Self { per_char: millis(40), min: millis(200), max: millis(8000), scale: 1.0 }
    }
}
