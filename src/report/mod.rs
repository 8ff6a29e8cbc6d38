//! The matrix report: the one JSON value that every other output is made from.
//!
//! Its form is published as `docs/matrix-report.schema.json`: fields stay as they are; more may be added, and readers ignore what
//! they do not know.

pub mod cause;
pub mod detection;
pub mod diff;
pub mod explain;
pub mod folder;
pub mod github;
pub mod grid;
pub mod html;
pub mod junit;
pub mod markdown;
pub mod merge;
pub mod plan;
pub mod schema;
pub mod store;
pub mod terminal;
pub mod text;
pub mod trend;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::plan::PlanFacts;
use crate::capability::Capability;
use crate::finding::Finding;
use crate::text_evidence::TokenEvidence;
use crate::verdict::{Classification, Outcome, TextVerdict, Usage};

/// The version of the report's form.
///
/// It is raised when a reader of an older one would misread a newer one: when a field goes, gets another name, type or meaning,
/// or an enumeration gets another value. An added field does not raise it; readers ignore what they do not know. Every ccsmoke
/// reads the versions up to its own and refuses newer ones.
pub const SCHEMA_VERSION: u32 = 1;

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MatrixReport {
    /// The version of ccsmoke that wrote it.
    pub ccsmoke_version: String,
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: u32,
    /// When the run began, `YYYY-MM-DDTHH:MM:SSZ`.
    pub started_at: String,
    /// How long it took, in seconds.
    pub duration_s: f64,
    /// CPU time of the clients, in seconds.
    pub client_cpu_s: f64,
    /// CPU time of ccsmoke itself while the cells ran, in seconds.
    pub harness_cpu_s: f64,
    /// Which worker ran it.
    pub worker_id: String,
    /// The target's name.
    pub target: String,
    /// The full names of all models, sorted, each once.
    pub models: Vec<String>,
    /// The clients that were launched.
    pub cli: Vec<CliFacts>,
    /// The machine.
    pub host: HostFacts,
    /// Whether the run was interrupted, so that cells are missing.
    pub interrupted: bool,
    /// Why the run stopped before every cell had run, where its budget was spent; in words.
    #[serde(default)]
    pub stopped: Option<String>,
    /// Cells that were planned and not run, as `model feature cli_version`.
    pub not_run: Vec<String>,
    /// One row for each cell, in the order of the plan.
    pub outcomes: Vec<OutcomeRow>,
    /// What the run set out to do; absent in reports that were written before it was recorded.
    #[serde(default)]
    pub plan: Option<PlanFacts>,
}

/// A client, without its path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CliFacts {
    /// The version it prints.
    pub version: String,
    /// SHA-256 of its program, in hex.
    pub sha256: String,
}

/// The machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostFacts {
    /// The operating system, e.g. `linux`.
    pub os: String,
    /// The architecture, e.g. `x86_64`.
    pub arch: String,
    /// How many cores a process may use.
    pub cores: usize,
}

impl HostFacts {
    /// The machine that this program was built for, with so many cores.
    pub fn here(cores: usize) -> Self {
        Self { os: std::env::consts::OS.to_owned(), arch: std::env::consts::ARCH.to_owned(), cores }
    }
}

/// What became of one cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OutcomeRow {
    /// The target's name.
    #[serde(default)]
    pub target: String,
    /// The version that the gateway tells.
    #[serde(default)]
    pub gateway_version: Option<String>,
    /// The model as the client was asked for it.
    pub model: String,
    /// `provider/model`.
    pub full_model: String,
    /// Where the model's name came from.
    pub source: String,
    /// The probe's feature.
    pub feature: String,
    /// The probe's identity.
    pub probe: String,
    /// What of Claude Code the probe exercises.
    #[serde(default)]
    pub capabilities: Vec<Capability>,
    /// The client's version.
    pub cli_version: String,
    /// How the cell ended.
    pub outcome: Outcome,
    /// The class of what decided it.
    pub classification: Classification,
    /// What the text alone says.
    pub text_verdict: TextVerdict,
    /// What is wrong, causes first.
    pub findings: Vec<Finding>,
    /// How long the launches took together, in seconds with three decimals.
    pub duration_s: f64,
    /// The first exit code that is not 0, else 0; `null` when a launch did not end by itself.
    pub cli_returncode: Option<i32>,
    /// What was counted in the text.
    pub token_evidence: TokenEvidence,
    /// How many requests were logged.
    pub request_count: u64,
    /// Token counts of all answers.
    pub usage: Usage,
    /// The cost that the client reports, in US dollars.
    pub cost_usd: Option<f64>,
    /// Every attempt, the last one being the one that the row tells of.
    pub attempts: Vec<Attempt>,
    /// The log whose delta was read.
    pub log_path: Option<String>,
    /// The evidence, relative to the report.
    pub evidence_path: String,
    /// The evidence of the control that was held against a failed cell, relative to the report.
    #[serde(default)]
    pub control_path: Option<String>,
    /// The end of standard output.
    pub stdout_excerpt: String,
    /// The end of standard error.
    pub stderr_excerpt: String,
    /// The end of the log delta.
    pub log_excerpt: String,
}

/// One attempt at a cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Attempt {
    /// How it ended.
    pub outcome: Outcome,
    /// The class of what decided it.
    pub classification: Classification,
    /// How long its launches took together, in seconds with three decimals.
    pub duration_s: f64,
    /// Its evidence, relative to the report.
    pub evidence_path: String,
}

impl MatrixReport {
    /// The rows that make a run fail, as `<full_model> <feature>: <classification>`.
    pub fn regressions(&self) -> impl Iterator<Item = String> {
        let failed = self.outcomes.iter().filter(|row| row.classification.is_regression());
        failed.map(|row| format!("{} {}: {}", row.full_model, row.feature, row.classification))
    }
}

impl OutcomeRow {
    /// The name of the cell, as in [`PlanFacts::cells`] and [`MatrixReport::not_run`].
    pub fn name(&self) -> String {
        cell_name(&self.target, &self.full_model, &self.feature, &self.cli_version)
    }
}

/// `model feature cli_version`, with the target in front where the model's name does not tell it: by this people and files name
/// a cell.
pub fn cell_name(target: &str, full_model: &str, feature: &str, cli_version: &str) -> String {
    format!("{} {feature} {cli_version}", place_name(target, full_model))
}

/// The model's full name, with the target in front where it does not tell it.
pub fn place_name(target: &str, full_model: &str) -> String {
    let told = target.is_empty() || full_model.split('/').next() == Some(target);
    if told { full_model.to_owned() } else { format!("{target} {full_model}") }
}

/// How many characters of a text an excerpt holds.
const EXCERPT_CHARS: usize = 2400;

/// The last characters of a text.
pub fn excerpt(text: &str) -> String {
    let start = text.char_indices().rev().nth(EXCERPT_CHARS - 1).map_or(0, |(i, _)| i);
    text[start..].to_owned()
}

/// Seconds with three decimals.
pub fn seconds(micros: u64) -> f64 {
    // Far below 2^53 milliseconds, so nothing is lost.
    #[expect(clippy::cast_precision_loss, reason = "a duration in milliseconds fits")]
    let millis = ((micros + 500) / 1000) as f64;
    millis / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_the_end_of_the_text_in_characters() {
        assert_eq!(excerpt("short"), "short");
        let long = format!("x{}", "ü".repeat(EXCERPT_CHARS));
        assert_eq!(excerpt(&long), "ü".repeat(EXCERPT_CHARS));
    }

    #[test]
    fn durations_have_three_decimals() {
        assert_eq!(serde_json::to_string(&seconds(1_234_567)).unwrap(), "1.235");
        assert_eq!(serde_json::to_string(&seconds(0)).unwrap(), "0.0");
    }
}
