//! Loads as they are written: arrivals, traces, users, sessions, and requests that are written out.

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use crate::load::quantity::{Rate, Time};

/// When requests are sent.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LoadFile {
    /// Open: requests start when they are due, however slow the answers are.
    #[schemars(with = "ArrivalsFile")]
    Arrivals(Spanned<ArrivalsFile>),
    /// Open: requests start at recorded times.
    #[schemars(with = "TraceFile")]
    Trace(Spanned<TraceFile>),
    /// Closed: users who wait for each answer.
    #[schemars(with = "UsersFile")]
    Users(Spanned<UsersFile>),
    /// Closed: sessions that hold conversations.
    #[schemars(with = "SessionsFile")]
    Sessions(Spanned<SessionsFile>),
    /// Each of the scenario's requests, all at once.
    #[schemars(with = "OnceFile")]
    Once(Spanned<OnceFile>),
    /// Each of the scenario's requests, one after another: what is looked at by hand first.
    #[schemars(with = "StepsFile")]
    Steps(Spanned<StepsFile>),
}

/// Arrivals by rate.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArrivalsFile {
    /// The rate, with `for`; with stages, the rate that they start from.
    #[serde(default)]
    pub rate: Rate,
    /// How long.
    pub r#for: Option<Time>,
    /// Rates that are reached evenly, one after another.
    #[serde(default)]
    pub stages: Vec<RateStage>,
    /// Evenly, or at random as independent callers come.
    #[serde(default)]
    pub process: ProcessKind,
    /// The shape of `gamma`: 1 scatters as `poisson` does, less comes in bursts, more comes evenly.
    #[schemars(with = "Option<f64>")]
    pub shape: Option<Spanned<f64>>,
}

/// How arrivals come about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProcessKind {
    /// Evenly.
    #[default]
    Constant,
    /// At random: a Poisson process.
    Poisson,
    /// At random, with gaps of a gamma distribution of this `shape`.
    Gamma,
}

/// A rate that is reached evenly.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateStage {
    /// The rate at the end.
    pub to: Rate,
    /// How long it takes.
    pub over: Time,
}

/// Recorded times.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TraceFile {
    /// JSON lines with a `timestamp` in milliseconds, as Mooncake's traces have.
    #[schemars(with = "String")]
    pub file: Spanned<String>,
}

/// Users who wait for each answer.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UsersFile {
    /// How many, with `for`; with stages, how many they start from.
    #[serde(default)]
    pub users: u32,
    /// How long.
    pub r#for: Option<Time>,
    /// Numbers that are reached evenly, one after another.
    #[serde(default)]
    pub stages: Vec<UserStage>,
    /// A user is done after so many requests, or when the time is over.
    pub each: Option<u32>,
    /// All users are done after so many requests together, or when the time is over.
    pub total: Option<u32>,
}

/// A number of users that is reached evenly.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UserStage {
    /// How many at the end.
    pub to: u32,
    /// How long it takes.
    pub over: Time,
}

/// Sessions that hold conversations: sessions × workers of them, each several at once.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SessionsFile {
    /// Sessions of a worker.
    #[serde(default = "one")]
    pub sessions: u32,
    /// Workers.
    #[serde(default = "one")]
    pub workers: u32,
    /// Conversations that a session holds at once.
    #[serde(default = "one")]
    pub concurrency: u32,
    /// How long new conversations begin; without it every conversation is held once.
    pub r#for: Option<Time>,
}

pub(super) fn one() -> u32 {
    1
}

/// Each request so many times.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OnceFile {
    /// How many times.
    #[serde(default = "one")]
    pub times: u32,
}

/// Each request so many times, one after another.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepsFile {
    /// How many times all of them.
    #[serde(default = "one")]
    pub times: u32,
}
