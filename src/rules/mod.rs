//! What a rule is, and what it finds. The rules themselves stand in one static table, which is walked by the judge, by
//! `ccsmoke explain` and by tests. A new rule is one entry there, one function, and its two cases in the tests.

mod both_sides;
mod client;
mod feature;
mod healed;
mod scripted;
mod side;
mod stream;
mod table;
mod wire;

use crate::case::{Call, Case};
use crate::finding::{Finding, Severity, Suspect};
use crate::verdict::Classification;
pub use table::RULES;

/// One rule.
pub struct Rule {
    /// The code in findings.
    pub code: &'static str,
    /// The defect, stated in one line.
    pub name: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is looked at.
    pub what: &'static str,
    /// Why it matters.
    pub why: &'static str,
    /// What to do about it.
    pub advice: &'static str,
    /// Finds it.
    pub check: fn(&Case<'_>) -> Vec<Found>,
}

/// What a rule found, before its code and severity are put on.
#[derive(Debug)]
pub struct Found {
    pub(crate) suspect: Suspect,
    pub(crate) message: String,
    pub(crate) cites: Vec<String>,
    /// The classification, where it does not follow from the suspect.
    pub(crate) class: Option<Classification>,
    /// The exchange where it was first seen; none for what is only known at the end, such as that something never came.
    /// What was seen earlier is the cause of what was seen later.
    pub(crate) exchange: Option<u32>,
}

impl Found {
    fn new(suspect: Suspect, message: impl Into<String>) -> Self {
        Self { suspect, message: message.into(), cites: Vec::new(), class: None, exchange: None }
    }

    fn at(mut self, call: &Call<'_>) -> Self {
        self.exchange.get_or_insert(call.exchange.id);
        self.cite(call.cite())
    }

    fn at_event(mut self, call: &Call<'_>, event: usize) -> Self {
        self.exchange.get_or_insert(call.exchange.id);
        self.cite(call.cite_event(event))
    }

    /// At the end of a launch: after what its last request brought.
    fn by(mut self, case: &Case<'_>, launch: usize) -> Self {
        self.exchange = self.exchange.or(case.last_call_by(launch).map(|c| c.exchange.id));
        self.cite(format!("launch {launch}"))
    }

    fn cite(mut self, place: impl std::fmt::Display) -> Self {
        self.cites.push(place.to_string());
        self
    }

    fn class(mut self, class: Classification) -> Self {
        self.class = Some(class);
        self
    }
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rule").field("code", &self.code).finish_non_exhaustive()
    }
}

/// A text cut to what fits into a message, on one line.
fn shorten(text: &str) -> String {
    const LONGEST: usize = 160;
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= LONGEST { line } else { line.chars().take(LONGEST).chain(['…']).collect() }
}

/// The rule with that code.
pub fn rule(code: &str) -> Option<&'static Rule> {
    RULES.iter().find(|r| r.code == code)
}

/// The code of what ccsmoke itself could not carry out.
const HARNESS_ERROR: &str = "harness-error";

/// The finding for a cell that ccsmoke itself could not carry out, so that no evidence exists.
pub fn harness_error(words: &str) -> Finding {
    Finding {
        code: HARNESS_ERROR.to_owned(),
        severity: Severity::Broken,
        suspect: Suspect::Harness,
        message: words.to_owned(),
        cites: Vec::new(),
    }
}

/// The code of a cell that was skipped for want of a credential.
const CREDENTIAL_MISSING: &str = "credential-missing";

/// The finding for a cell whose target wants variables that are not set.
pub fn credential_missing(variables: &str) -> Finding {
    Finding {
        code: CREDENTIAL_MISSING.to_owned(),
        severity: Severity::Note,
        suspect: Suspect::Environment,
        message: format!("not set: {variables}"),
        cites: Vec::new(),
    }
}

/// Whether the code stands for cells that left no evidence.
pub fn has_no_evidence(code: &str) -> bool {
    [HARNESS_ERROR, CREDENTIAL_MISSING].contains(&code)
}
