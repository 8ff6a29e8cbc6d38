//! Sessions of conversations in figures: each by itself, and all together.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::LoadReport;
use crate::load::metrics::Failure;
use crate::load::metrics::record::{ConversationRecord, ScenarioRecord, SessionRecord, Spoken};
use crate::report::store::{StoreError, slug, write_json};

/// One session, or all of a scenario together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SessionFigures {
    /// The scenario.
    pub scenario: String,
    /// Its number; none for all together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<u32>,
    /// How many sessions these are.
    pub sessions: usize,
    /// What belongs together has the same one.
    pub run_id: String,
    /// Where requests went.
    pub target: String,
    /// When it began, RFC 3339.
    pub began: String,
    /// When its last conversation ended, RFC 3339.
    pub ended: String,
    /// Between the two, in seconds.
    pub duration_s: f64,
    /// Conversations tried.
    pub tried: u64,
    /// Conversations that came to their end.
    pub ok: u64,
    /// Conversations that a failure ended.
    pub failed: u64,
    /// Conversations tried a minute.
    pub per_minute: f64,
    /// The sums of its conversations.
    #[serde(flatten)]
    pub said: SaidFigures,
    /// How often each model was asked.
    pub models: BTreeMap<String, u64>,
    /// Conversations ended by each kind of failure.
    pub errors: BTreeMap<Failure, u64>,
    /// Its first 200 conversations one by one; none for all together.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conversations: Vec<ConversationFigures>,
}

/// One conversation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ConversationFigures {
    /// Its id.
    pub id: String,
    /// The model that was asked.
    pub model: String,
    /// The temperature that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    /// Its figures.
    #[serde(flatten)]
    pub said: SaidFigures,
    /// The latency of each answer in milliseconds, in order.
    pub latencies_ms: Vec<f64>,
    /// What ended it early.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What was said, in figures.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SaidFigures {
    /// Messages of the user that were sent and answered.
    pub messages: u64,
    /// Tokens of requests.
    pub tokens_in: u64,
    /// Tokens of answers.
    pub tokens_out: u64,
    /// Both.
    pub tokens: u64,
    /// Tokens of answers a second: of all latencies for a conversation, of the duration for sessions.
    pub tokens_per_s: f64,
    /// All latencies together, in milliseconds.
    pub latency_total_ms: f64,
    /// Their mean.
    pub latency_mean_ms: f64,
    /// The shortest.
    pub latency_min_ms: f64,
    /// The longest.
    pub latency_max_ms: f64,
    /// Time slept between answers and messages, in seconds.
    pub slept_s: f64,
}

#[expect(clippy::cast_precision_loss, reason = "microseconds and counts are short of 2^52")]
fn float(n: u64) -> f64 {
    n as f64
}

fn said(sums: &Spoken, over_us: u64) -> SaidFigures {
    let millis = |micros: u64| float(micros) / 1e3;
    SaidFigures {
        messages: sums.messages,
        tokens_in: sums.tokens_in,
        tokens_out: sums.tokens_out,
        tokens: sums.tokens_in + sums.tokens_out,
        tokens_per_s: float(sums.tokens_out) * 1e6 / float(over_us.max(1)),
        latency_total_ms: millis(sums.latency_us),
        latency_mean_ms: millis(sums.latency_us) / float(sums.messages.max(1)),
        latency_min_ms: millis(sums.shortest_us),
        latency_max_ms: millis(sums.longest_us),
        slept_s: float(sums.slept_us) / 1e6,
    }
}

fn conversation(record: &ConversationRecord) -> ConversationFigures {
    ConversationFigures {
        id: record.id.clone(),
        model: record.model.clone(),
        temperature: record.temperature,
        said: said(&record.sums, record.sums.latency_us),
        latencies_ms: record.latencies_us.iter().map(|micros| float(*micros) / 1e3).collect(),
        error: record.error.clone(),
    }
}

/// When something was, so many microseconds after the run began; empty where the run does not say when it did.
fn moment(began: &str, micros: u64) -> String {
    let at = began.parse::<Timestamp>().ok().and_then(|at| at.checked_add(Duration::from_micros(micros)).ok());
    at.map(|at| at.to_string()).unwrap_or_default()
}

fn figures(
    report: &LoadReport,
    record: &ScenarioRecord,
    number: Option<u32>,
    session: &SessionRecord,
) -> SessionFigures {
    // Scenarios with sessions follow each other.
    let before = report.scenarios.iter().take_while(|other| other.name != record.name).map(|other| other.took_us);
    let before: u64 = before.sum();
    let lasted = session.ended_us.saturating_sub(session.began_us);
    SessionFigures {
        scenario: record.name.clone(),
        session: number,
        sessions: if number.is_some() { 1 } else { record.sessions.len() },
        run_id: report.run_id.clone(),
        target: report.target.clone(),
        began: moment(&report.began, before + session.began_us),
        ended: moment(&report.began, before + session.ended_us),
        duration_s: float(lasted) / 1e6,
        tried: session.tried,
        ok: session.ok,
        failed: session.failed,
        per_minute: float(session.tried) * 60e6 / float(lasted.max(1)),
        said: said(&session.sums, lasted),
        models: session.models.clone(),
        errors: session.errors.clone(),
        conversations: session.conversations.iter().map(conversation).collect(),
    }
}

/// Each session of a scenario.
pub fn each(report: &LoadReport, record: &ScenarioRecord) -> Vec<SessionFigures> {
    record.sessions.iter().map(|(number, session)| figures(report, record, Some(*number), session)).collect()
}

/// All sessions of a scenario together; none where it has none.
pub fn together(report: &LoadReport, record: &ScenarioRecord) -> Option<SessionFigures> {
    let mut all =
        SessionRecord { began_us: record.sessions.values().map(|s| s.began_us).min()?, ..SessionRecord::default() };
    for session in record.sessions.values() {
        all.ended_us = all.ended_us.max(session.ended_us);
        all.tried += session.tried;
        all.ok += session.ok;
        all.failed += session.failed;
        all.sums.add(&session.sums);
        for (model, n) in &session.models {
            *all.models.entry(model.clone()).or_default() += n;
        }
        for (failure, n) in &session.errors {
            *all.errors.entry(*failure).or_default() += n;
        }
    }
    Some(figures(report, record, None, &all))
}

/// Writes a file for each session of a report, and one for all of a scenario together; how many there are.
///
/// # Errors
/// A file cannot be written.
pub fn write(folder: &Path, report: &LoadReport) -> Result<usize, StoreError> {
    let mut written = 0;
    for record in &report.scenarios {
        let name = slug(&record.name);
        for session in each(report, record) {
            let number = session.session.unwrap_or_default();
            write_json(&folder.join(format!("{name}-session-{number:04}.json")), &session)?;
            written += 1;
        }
        if let Some(all) = together(report, record) {
            write_json(&folder.join(format!("{name}-all.json")), &all)?;
            written += 1;
        }
    }
    Ok(written)
}
