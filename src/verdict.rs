//! What a cell is said to be: its outcome, and the class of what decided it.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::finding::Finding;
use crate::text_evidence::TokenEvidence;

/// How a cell ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The feature worked.
    Passed,
    /// The feature did not work, or cannot be trusted to have worked.
    Failed,
    /// The feature could not be tried here.
    Skipped,
}

/// The class of what decided the outcome; consumers of the report sort by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Classification {
    /// Nothing stood in the way.
    Passed,
    /// The gateway failed.
    ProductFailure,
    /// Credentials or permissions are missing.
    MissingEnv,
    /// A launch of the client outlived its timeout.
    ProbeTimeout,
    /// The cell was not set up as it should have been, so it says nothing about anybody else.
    HarnessBug,
    /// The provider behind the gateway could not be reached, or refused for its load.
    UpstreamUnavailable,
    /// Everything was in its place, and the model did not do what was asked.
    ModelFeatureFailure,
}

impl Outcome {
    /// The name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

impl Classification {
    /// The name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::ProductFailure => "product_failure",
            Self::MissingEnv => "missing_env",
            Self::ProbeTimeout => "probe_timeout",
            Self::HarnessBug => "harness_bug",
            Self::UpstreamUnavailable => "upstream_unavailable",
            Self::ModelFeatureFailure => "model_feature_failure",
        }
    }

    /// Whether this makes a run fail: it is about the product or about the harness. The other classes describe the world.
    pub fn is_regression(self) -> bool {
        matches!(self, Self::ProductFailure | Self::HarnessBug)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Classification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What the printed and logged text alone says of a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TextVerdict {
    /// How the cell ended.
    pub outcome: Outcome,
    /// The class of what decided it.
    pub classification: Classification,
    /// The name of the rule that decided.
    pub rule: String,
}

/// Token counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// Input tokens outside the cache.
    pub input_tokens: u64,
    /// Input tokens written to the cache.
    pub cache_creation_input_tokens: u64,
    /// Input tokens read from the cache.
    pub cache_read_input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
}

/// What is said of one attempt at a cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// How it ended.
    pub outcome: Outcome,
    /// The class of what decided it.
    pub classification: Classification,
    /// What is wrong, causes first.
    pub findings: Vec<Finding>,
    /// How many requests were logged.
    pub request_count: u64,
    /// What was counted in the text.
    pub token_evidence: TokenEvidence,
    /// What the text alone says.
    pub text_verdict: TextVerdict,
    /// Token counts of all answers.
    pub usage: Usage,
    /// The cost that the client reports, in US dollars.
    pub cost_usd: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn displayed_and_serialised_names_are_the_same() {
        for outcome in [Outcome::Passed, Outcome::Failed, Outcome::Skipped] {
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.to_string());
        }
        for classification in CLASSIFICATIONS {
            assert_eq!(serde_json::to_value(classification).unwrap(), classification.to_string());
        }
    }

    #[test]
    fn only_the_product_and_the_harness_make_a_run_fail() {
        let failing: Vec<_> = CLASSIFICATIONS.into_iter().filter(|c| c.is_regression()).collect();
        assert_eq!(failing, [Classification::ProductFailure, Classification::HarnessBug]);
    }

    const CLASSIFICATIONS: [Classification; 7] = [
        Classification::Passed,
        Classification::ProductFailure,
        Classification::MissingEnv,
        Classification::ProbeTimeout,
        Classification::HarnessBug,
        Classification::UpstreamUnavailable,
        Classification::ModelFeatureFailure,
    ];
}
