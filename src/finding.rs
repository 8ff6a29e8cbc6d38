//! A finding: one thing that is wrong with a cell, how bad it is, who did it, and where it was seen.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// The rule that found it; `ccsmoke explain CODE` tells more.
    pub code: String,
    /// How bad it is.
    pub severity: Severity,
    /// Who did it.
    pub suspect: Suspect,
    /// What was seen, in one sentence.
    pub message: String,
    /// Where it was seen: `exchange 2 event 5`, `launch 1 stdout:17`, `probes/x.toml:12`.
    pub cites: Vec<String>,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing; never fails a cell.
    Note,
    /// The feature worked only because the client healed it, or at a cost: fails the cell.
    Degraded,
    /// The feature did not work: fails the cell.
    Broken,
}

/// Who did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Suspect {
    /// The `claude` binary.
    Client,
    /// The program under test.
    Gateway,
    /// What answers behind the gateway, or the scripted provider itself.
    Provider,
    /// The model: it answered in order, but not as asked.
    Model,
    /// The machine, the network, credentials.
    Environment,
    /// ccsmoke itself, or a probe file.
    Harness,
}

impl std::fmt::Display for Severity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Note => "note",
            Self::Degraded => "degraded",
            Self::Broken => "broken",
        })
    }
}

impl std::fmt::Display for Suspect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Client => "client",
            Self::Gateway => "gateway",
            Self::Provider => "provider",
            Self::Model => "model",
            Self::Environment => "environment",
            Self::Harness => "harness",
        })
    }
}
