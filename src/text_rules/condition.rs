//! The language of the rules: what a condition can ask of a cell's text, and which conditions make no sense.

use serde::Deserialize;
use toml::Spanned;

use super::Mistake;
use super::pattern::Patterns;
use crate::probe::Need;
use crate::text_evidence::{TextFacts, TokenEvidence};

/// What can be asked of a cell's text.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Condition {
    /// The log delta shows a pattern.
    Log(Spanned<Patterns>),
    /// The combined text shows a pattern.
    Combined(Spanned<Patterns>),
    /// The combined text in lower case shows a pattern.
    Lower(Spanned<Patterns>),
    /// How the client exited.
    Exit(Exit),
    /// This key of the evidence is true or above zero.
    Seen(EvidenceKey),
    /// This key of the evidence is false or zero.
    Unseen(EvidenceKey),
    /// The probe has this need.
    Needed(Need),
    /// Every need that the probe has is met.
    EveryNeedMet,
    /// All of these hold.
    All(Spanned<Vec<Condition>>),
    /// One of these holds, or several.
    Any(Spanned<Vec<Condition>>),
    /// None of these holds.
    None(Spanned<Vec<Condition>>),
}

/// How the client exited.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Exit {
    Zero,
    /// With another code, or with none.
    NotZero,
}

/// A key of [`TokenEvidence`].
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum EvidenceKey {
    AgentCatalogPresent,
    AgentResultCount,
    AgentToolCount,
    CompactBoundary,
    CompactMetadata,
    #[serde(rename = "http_422")]
    Http422,
    #[serde(rename = "http_500")]
    Http500,
    MarkerPresent,
    RunInBackgroundFalse,
    TaskToolCount,
    ThinkingDeltaCount,
    TimedOut,
    ToolResultCount,
    ToolUseCount,
}

/// What meets each need of a probe; all of the conditions have to hold.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Needs {
    marker: Spanned<Vec<Condition>>,
    tool_result: Spanned<Vec<Condition>>,
    agent: Spanned<Vec<Condition>>,
    task: Spanned<Vec<Condition>>,
    compact: Spanned<Vec<Condition>>,
}

impl Needs {
    fn each(&self) -> [(Need, &Spanned<Vec<Condition>>); 5] {
        [
            (Need::Marker, &self.marker),
            (Need::ToolResult, &self.tool_result),
            (Need::Agent, &self.agent),
            (Need::Task, &self.task),
            (Need::Compact, &self.compact),
        ]
    }

    /// Refuses needs that nothing or only themselves could meet.
    pub(super) fn check(&self) -> Result<(), Mistake> {
        for (_, conditions) in self.each() {
            check_list(conditions)?;
            if conditions.get_ref().iter().any(Condition::asks_for_needs) {
                return Err((conditions.span(), "a need cannot be met by every need being met".to_owned()));
            }
        }
        Ok(())
    }

    fn all_met(&self, facts: &TextFacts<'_>) -> bool {
        let mut needed = self.each().into_iter().filter(|(need, _)| facts.input.needs(*need));
        needed.all(|(_, conditions)| conditions.get_ref().iter().all(|condition| condition.holds(facts, self)))
    }
}

impl Condition {
    /// Whether it holds for this cell, whose needs are met as `needs` states.
    pub(super) fn holds(&self, facts: &TextFacts<'_>, needs: &Needs) -> bool {
        let holds = |condition: &Self| condition.holds(facts, needs);
        match self {
            Self::Log(patterns) => patterns.get_ref().found_in(&facts.input.log_delta),
            Self::Combined(patterns) => patterns.get_ref().found_in(&facts.combined),
            Self::Lower(patterns) => patterns.get_ref().found_in(facts.lower()),
            Self::Exit(Exit::Zero) => facts.input.returncode == Some(0),
            Self::Exit(Exit::NotZero) => facts.input.returncode != Some(0),
            Self::Seen(key) => key.seen_in(&facts.evidence),
            Self::Unseen(key) => !key.seen_in(&facts.evidence),
            Self::Needed(need) => facts.input.needs(*need),
            Self::EveryNeedMet => needs.all_met(facts),
            Self::All(conditions) => conditions.get_ref().iter().all(holds),
            Self::Any(conditions) => conditions.get_ref().iter().any(holds),
            Self::None(conditions) => !conditions.get_ref().iter().any(holds),
        }
    }

    /// Refuses what always or never holds.
    pub(super) fn check(&self) -> Result<(), Mistake> {
        match self {
            Self::Log(patterns) | Self::Combined(patterns) => Patterns::check(patterns),
            Self::Lower(patterns) => Patterns::check(patterns).and_then(|()| patterns.get_ref().check_lower_case()),
            Self::All(inner) | Self::Any(inner) | Self::None(inner) => check_list(inner),
            Self::Exit(_) | Self::Seen(_) | Self::Unseen(_) | Self::Needed(_) | Self::EveryNeedMet => Ok(()),
        }
    }

    /// Whether this, or a condition within it, asks for the needs.
    fn asks_for_needs(&self) -> bool {
        match self {
            Self::EveryNeedMet => true,
            Self::All(inner) | Self::Any(inner) | Self::None(inner) => inner.get_ref().iter().any(Self::asks_for_needs),
            _ => false,
        }
    }
}

impl EvidenceKey {
    fn seen_in(self, evidence: &TokenEvidence) -> bool {
        match self {
            Self::AgentCatalogPresent => evidence.agent_catalog_present,
            Self::AgentResultCount => evidence.agent_result_count > 0,
            Self::AgentToolCount => evidence.agent_tool_count > 0,
            Self::CompactBoundary => evidence.compact_boundary,
            Self::CompactMetadata => evidence.compact_metadata,
            Self::Http422 => evidence.http_422,
            Self::Http500 => evidence.http_500,
            Self::MarkerPresent => evidence.marker_present,
            Self::RunInBackgroundFalse => evidence.run_in_background_false,
            Self::TaskToolCount => evidence.task_tool_count > 0,
            Self::ThinkingDeltaCount => evidence.thinking_delta_count > 0,
            Self::TimedOut => evidence.timed_out,
            Self::ToolResultCount => evidence.tool_result_count > 0,
            Self::ToolUseCount => evidence.tool_use_count > 0,
        }
    }
}

fn check_list(conditions: &Spanned<Vec<Condition>>) -> Result<(), Mistake> {
    if conditions.get_ref().is_empty() {
        let message = "an empty list of conditions asks nothing; state one or leave it out";
        return Err((conditions.span(), message.to_owned()));
    }
    conditions.get_ref().iter().try_for_each(Condition::check)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_evidence_can_be_asked_for() {
        let nothing = serde_json::to_value(TokenEvidence::default()).unwrap();
        for key in nothing.as_object().unwrap().keys() {
            let name: EvidenceKey = serde_json::from_value(key.as_str().into()).unwrap();
            assert!(!name.seen_in(&TokenEvidence::default()), "{key}");
            let mut shown = nothing.clone();
            shown[key] = if nothing[key].is_boolean() { true.into() } else { 2.into() };
            assert!(name.seen_in(&serde_json::from_value(shown).unwrap()), "{key}");
        }
    }
}
