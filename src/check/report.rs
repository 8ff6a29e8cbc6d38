//! What a check run says: the one JSON value that every other output is made from.

use serde::{Deserialize, Serialize};

use super::{Face, Level, Verdict};

/// The format of the report; raised when an older reader would misread it.
pub const SCHEMA_VERSION: u32 = 1;

/// The report of one run of checks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckReport {
    /// The version of ccsmoke.
    pub ccsmoke_version: String,
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: u32,
    /// The gateway: its name, or its base URL.
    pub target: String,
    /// The version that the gateway tells.
    pub gateway_version: Option<String>,
    /// Whether the scripted provider stood behind the gateway, so that both sides were compared.
    pub both_sides: bool,
    /// The model that was asked for.
    pub model: String,
    /// Seconds for everything.
    pub duration_s: f64,
    /// Whether the run was interrupted; rows are missing then.
    pub interrupted: bool,
    /// One row a check, in the order of the table.
    pub checks: Vec<Row>,
}

/// What one check came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The check's name.
    pub id: String,
    /// What it shows, in a few words.
    pub title: String,
    /// The API that it concerns.
    pub face: Face,
    /// How much it weighs.
    pub level: Level,
    /// The requirements that it is about: ids of the checklist, such as `G16`.
    pub rules: Vec<String>,
    /// What was expected.
    pub expected: String,
    /// What it came to.
    pub verdict: Verdict,
    /// What was found, in words.
    pub message: String,
    /// What to do; only where it failed.
    pub advice: Option<String>,
    /// What was sent and what came back, in order.
    pub seen: Vec<Seen>,
    /// Seconds that it took.
    pub duration_s: f64,
}

/// One request with what came back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// Method and target.
    pub request: String,
    /// What made the request special, such as a header or the beginning of the body.
    pub sent: String,
    /// The status of the response.
    pub status: Option<u16>,
    /// The response's headers, `name: value`.
    pub headers: Vec<String>,
    /// The first bytes of the response's body.
    pub body: String,
    /// How many bytes the body had.
    pub body_bytes: u64,
    /// How it ended, where that was not as it should.
    pub ended: Option<String>,
    /// Milliseconds from the request to the first byte of the body.
    pub first_byte_ms: Option<u64>,
    /// Milliseconds from the request to the end.
    pub took_ms: u64,
    /// How many pieces the body came in.
    pub arrivals: usize,
    /// How many requests of the gateway to its provider belonged to it; `None` where that cannot be known.
    pub forwarded: Option<usize>,
}

impl CheckReport {
    /// How many rows came to that.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.checks.iter().filter(|row| row.verdict == verdict).count()
    }

    /// Whether something was judged: at least one check passed or failed.
    pub fn judged(&self) -> bool {
        // A gateway that could not be reached was not judged.
        self.checks
            .iter()
            .any(|row| matches!(row.verdict, Verdict::Passed | Verdict::Failed) && row.id != super::table::REACH)
            || self.checks.iter().any(|row| row.id == super::table::REACH && row.verdict == Verdict::Passed)
    }
}
