//! The selftest: faults and variations of the reference gateway as targets of an ordinary run, and what the run's rows say of
//! how well ccsmoke finds the first and passes over the second.

use std::collections::BTreeSet;
use std::mem::{Discriminant, discriminant};
use std::path::Path;
use std::sync::Arc;

use crate::config::{Profile, Profiles};
use crate::evidence::TargetKind;
use crate::fault::{Change, FAULTS, Family, Fault, VARIATIONS, Variation};
use crate::file_error::FileError;
use crate::finding::{Finding, Severity, Suspect};
use crate::probe::Probe;
use crate::reference::{Behind, READY_PATH};
use crate::report::OutcomeRow;
use crate::report::detection::{Detected, FalseAlarm, FaultRow, VariationRow};
use crate::verdict::Outcome;

/// What a translation cannot keep, declared by the profile of every translating gateway.
const TRANSLATION: &str = "clean-translation";

/// Variations of the quick selftest.
const QUICK_VARIATIONS: [&str; 5] = ["clean", "clean-translation", "byte-by-byte", "unknown-events", "gzip"];

/// Probes of the quick selftest's variations.
const QUICK_PROBES: [&str; 2] = ["basic_text", "interleaved_thinking_tool"];

/// One gateway of a selftest.
#[derive(Debug, Clone, Copy)]
pub enum Subject {
    /// One that has a defect.
    Fault(&'static Fault),
    /// One that differs, with a number where there are several of its kind.
    Variation(&'static Variation, usize),
}

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// These faults; none for all.
    pub faults: Vec<String>,
    /// These variations; none for all.
    pub variations: Vec<String>,
    /// The faults of this family only.
    pub family: Option<char>,
    /// A subset that takes less than two minutes.
    pub quick: bool,
    /// At least so many cells without a defect.
    pub clean_cells: usize,
}

/// One gateway with the probes that are run through it.
#[derive(Debug, Clone)]
pub struct Trial {
    /// The gateway.
    pub subject: Subject,
    /// The probes; none where no probe could show the fault.
    pub probes: Vec<Arc<Probe>>,
}

impl Subject {
    /// Its name as a target.
    pub fn name(&self) -> String {
        match self {
            Self::Fault(fault) => fault.id.replace('/', "."),
            Self::Variation(variation, 0) => variation.id.to_owned(),
            Self::Variation(variation, n) => format!("{}-{n}", variation.id),
        }
    }

    /// The profile of a target that is this very program, as a person would write it.
    ///
    /// # Errors
    /// The path of the program cannot stand in a profile.
    pub fn profile(&self, program: &Path, profiles: &Profiles) -> Result<Profile, FileError> {
        let (option, id, behind, rewrites) = match self {
            Self::Fault(fault) => ("--fault", fault.id, fault.behind, rewrites(fault.behind)),
            Self::Variation(variation, _) => ("--variation", variation.id, variation.behind, variation.rewrites),
        };
        let behind = match behind {
            Behind::Anthropic => "anthropic",
            Behind::Openai => "openai",
        };
        let start =
            [&*program.to_string_lossy(), "gateway", option, id, "--port", "{port}", "--upstream", "{upstream}"];
        let list = |items: &[&str]| toml::Value::from(items.iter().map(|i| (*i).to_owned()).collect::<Vec<_>>());
        let text = format!(
            "name = {}\nupstream = \"{behind}\"\nstart = {}\nready = \"{READY_PATH}\"\nauth_token = \"{{master_key}}\"\nrewrites = {}\n",
            toml::Value::from(self.name()),
            list(&start),
            list(rewrites),
        );
        Profile::parse(Path::new("selftest"), &text, profiles)
    }
}

fn rewrites(behind: Behind) -> &'static [&'static str] {
    let translation = || VARIATIONS.iter().find(|v| v.id == TRANSLATION).map_or(&[][..], |v| v.rewrites);
    if behind == Behind::Openai { translation() } else { &[] }
}

/// Which gateways are tried with which probes.
///
/// # Errors
/// A name is unknown; in words.
pub fn trials(selection: &Selection, probes: &[Arc<Probe>]) -> Result<Vec<Trial>, String> {
    let everything = selection.faults.is_empty() && selection.variations.is_empty() && selection.family.is_none();
    let mut trials = Vec::new();
    if everything || !selection.faults.is_empty() || selection.family.is_some() {
        for fault in chosen_faults(selection, probes)? {
            trials.push(Trial { subject: Subject::Fault(fault), probes: showing(fault, probes) });
        }
    }
    if everything || !selection.variations.is_empty() {
        trials.extend(clean(selection, probes)?);
    }
    Ok(trials)
}

fn chosen_faults(selection: &Selection, probes: &[Arc<Probe>]) -> Result<Vec<&'static Fault>, String> {
    if let Some(id) = selection.faults.iter().find(|id| crate::fault::fault(id).is_none()) {
        return Err(crate::fault::unknown("fault", id));
    }
    if let Some(letter) = selection.family
        && !Family::ALL.iter().any(|f| f.letter() == letter)
    {
        return Err(format!("--family {letter}: there is none of that letter; there are A to L"));
    }
    let mut kinds: BTreeSet<Family> = BTreeSet::new();
    let mut ways: Vec<Discriminant<Change>> = Vec::new();
    let wanted = |fault: &&&Fault| {
        (selection.faults.is_empty() || selection.faults.iter().any(|id| id == fault.id))
            && selection.family.is_none_or(|letter| fault.family.letter() == letter)
    };
    let mut quick = |fault: &&'static Fault| {
        if !selection.quick {
            return true;
        }
        let way = fault.changes.first().map(discriminant);
        let new_way = way.is_some_and(|way| !ways.contains(&way));
        // A fault stands for its family and for the way in which it is made.
        let first = !showing(fault, probes).is_empty() && (kinds.insert(fault.family) || new_way);
        if first {
            ways.extend(way);
        }
        first
    };
    Ok(FAULTS.iter().filter(wanted).copied().filter(|f| quick(f)).collect())
}

/// The probe that shows a fault: the best of those that there are, or else the first that exercises what it breaks.
fn showing(fault: &Fault, probes: &[Arc<Probe>]) -> Vec<Arc<Probe>> {
    let named = fault.probes.iter().find_map(|name| probes.iter().find(|p| p.id == *name));
    let other = || probes.iter().find(|p| exercises(p, fault));
    named.or_else(other).into_iter().cloned().collect()
}

/// Whether a probe exercises something that a fault breaks.
fn exercises(probe: &Probe, fault: &Fault) -> bool {
    probe.capabilities.get_ref().iter().any(|capability| fault.breaks.contains(capability))
}

fn clean(selection: &Selection, probes: &[Arc<Probe>]) -> Result<Vec<Trial>, String> {
    if let Some(id) = selection.variations.iter().find(|id| crate::fault::variation(id).is_none()) {
        return Err(crate::fault::unknown("variation", id));
    }
    let wanted = |v: &&Variation| {
        let named = selection.variations.is_empty() || selection.variations.iter().any(|id| id == v.id);
        named && (!selection.quick || !selection.variations.is_empty() || QUICK_VARIATIONS.contains(&v.id))
    };
    let few = |p: &&Arc<Probe>| !selection.quick || QUICK_PROBES.contains(&p.id.as_str());
    let probes: Vec<Arc<Probe>> = probes.iter().filter(few).cloned().collect();
    let trial = |variation: &'static Variation, n| {
        let kind = match variation.behind {
            Behind::Anthropic => TargetKind::Gateway,
            Behind::Openai => TargetKind::Translator,
        };
        let meant = |p: &&Arc<Probe>| p.applies_to(kind);
        Trial { subject: Subject::Variation(variation, n), probes: probes.iter().filter(meant).cloned().collect() }
    };
    let mut trials: Vec<Trial> = VARIATIONS.iter().filter(wanted).map(|v| trial(v, 0)).collect();
    let mut n = 0;
    while !probes.is_empty() && trials.len() * probes.len() < selection.clean_cells {
        n += 1;
        trials.push(trial(&VARIATIONS[0], n));
    }
    Ok(trials)
}

/// What became of a fault, by the rows of its cells.
pub fn judge_fault(fault: &Fault, trial: &Trial, rows: &[&OutcomeRow]) -> FaultRow {
    let serious = |row: &&OutcomeRow| row.findings.iter().filter(|f| f.severity != Severity::Note).cloned().collect();
    let found: Vec<(&&OutcomeRow, Vec<Finding>)> = rows.iter().map(|row| (row, serious(row))).collect();
    let by_its_probe =
        |row: &OutcomeRow| trial.probes.iter().any(|probe| probe.id == row.probe && exercises(probe, fault));
    let failed = || found.iter().filter(|(row, _)| row.outcome == Outcome::Failed);
    let expected = failed().filter(|(row, _)| by_its_probe(row)).find_map(|(row, findings)| {
        let hit = |f: &&Finding| fault.codes.contains(&f.code.as_str()) && f.suspect == Suspect::Gateway;
        Some((**row, findings.iter().find(hit)?))
    });
    let accuses_another =
        failed().find_map(|(row, fs)| fs.first().filter(|f| f.suspect != Suspect::Gateway).map(|f| (**row, f)));
    let deciding = failed().find_map(|(row, findings)| findings.first().map(|f| (**row, f)));
    let (result, told) = match (accuses_another, expected) {
        _ if trial.probes.is_empty() => (Detected::NoProbe, None),
        _ if rows.is_empty() => (Detected::NotRun, None),
        (Some(wrong), _) => (Detected::WrongSuspect, Some(wrong)),
        (None, Some(hit)) => (Detected::Found, Some(hit)),
        (None, None) => (Detected::Missed, deciding),
    };
    let mut all_codes: Vec<String> = Vec::new();
    for finding in found.iter().flat_map(|(_, findings)| findings) {
        if !all_codes.contains(&finding.code) {
            all_codes.push(finding.code.clone());
        }
    }
    FaultRow {
        id: fault.id.to_owned(),
        catalogued: crate::fault::catalogue().any(|id| id == fault.id),
        family: fault.family.letter(),
        title: fault.title.to_owned(),
        result,
        code: told.map(|(_, f)| f.code.clone()),
        suspect: told.map(|(_, f)| f.suspect.to_string()),
        message: told.map(|(_, f)| f.message.clone()),
        probes: trial.probes.iter().map(|p| p.id.clone()).collect(),
        all_codes,
        evidence: told.map(|(row, _)| row).or(rows.first().copied()).map(|row| row.evidence_path.clone()),
    }
}

/// What became of a variation, by the rows of its cells.
pub fn judge_variation(variation: &Variation, rows: &[&OutcomeRow]) -> VariationRow {
    let alarm = |row: &&&OutcomeRow| {
        let deciding = row.findings.iter().find(|f| f.severity != Severity::Note);
        FalseAlarm {
            probe: row.probe.clone(),
            code: deciding.map_or_else(|| row.classification.to_string(), |f| f.code.clone()),
            suspect: deciding.map_or_else(String::new, |f| f.suspect.to_string()),
            message: deciding.map_or_else(String::new, |f| f.message.clone()),
            evidence: row.evidence_path.clone(),
        }
    };
    VariationRow {
        id: variation.id.to_owned(),
        title: variation.title.to_owned(),
        cells: rows.len(),
        false_alarms: rows.iter().filter(|r| r.outcome == Outcome::Failed).map(|r| alarm(&r)).collect(),
    }
}
