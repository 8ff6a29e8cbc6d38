//! The detection matrix: which known defects of gateways were found, as what, and where something was found that is no defect.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// What a selftest showed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DetectionReport {
    /// The version of ccsmoke.
    pub ccsmoke_version: String,
    /// The versions of the client.
    pub cli: Vec<String>,
    /// How long it took, in seconds, all runs together.
    pub duration_s: f64,
    /// How many earlier runs it was put together from; 0 for one that was run for it.
    pub again: usize,
    /// Whether it was ended early.
    pub interrupted: bool,
    /// One entry a fault.
    pub faults: Vec<FaultRow>,
    /// One entry a variation; the correct gateway is one of them.
    pub variations: Vec<VariationRow>,
}

/// What became of a fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultRow {
    /// The fault.
    pub id: String,
    /// Whether it stands in the catalogue of defects that real gateways had; else it is a variant or a sibling of one.
    pub catalogued: bool,
    /// The letter of its family.
    pub family: char,
    /// The defect.
    pub title: String,
    /// Whether it was found.
    pub result: Detected,
    /// The first expected finding, or the deciding one where none was expected.
    pub code: Option<String>,
    /// Who that finding suspects.
    pub suspect: Option<String>,
    /// What it says.
    pub message: Option<String>,
    /// The probes that ran.
    pub probes: Vec<String>,
    /// All codes that were found beside notes.
    pub all_codes: Vec<String>,
    /// The evidence of the cell meant.
    pub evidence: Option<String>,
}

/// Whether a fault was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Detected {
    /// With an expected finding that suspects the gateway.
    Found,
    /// No expected finding.
    Missed,
    /// A failed cell accuses somebody else.
    WrongSuspect,
    /// There is no probe that could show it.
    NoProbe,
    /// The selftest was ended before.
    NotRun,
}

impl Detected {
    /// Its name, as people read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Missed => "missed",
            Self::WrongSuspect => "wrong suspect",
            Self::NoProbe => "no probe",
            Self::NotRun => "not run",
        }
    }
}

/// What became of a variation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VariationRow {
    /// The variation.
    pub id: String,
    /// What is different.
    pub title: String,
    /// How many cells ran.
    pub cells: usize,
    /// The cells that failed.
    pub false_alarms: Vec<FalseAlarm>,
}

/// A cell that failed without a defect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FalseAlarm {
    /// The probe.
    pub probe: String,
    /// The deciding finding.
    pub code: String,
    /// Who it suspects.
    pub suspect: String,
    /// What it says.
    pub message: String,
    /// The evidence.
    pub evidence: String,
}

impl DetectionReport {
    /// Whether every fault was found and nothing else.
    pub fn is_good(&self) -> bool {
        self.faults.iter().all(|f| f.result == Detected::Found) && self.false_alarms() == 0
    }

    /// How many cells failed without a defect.
    pub fn false_alarms(&self) -> usize {
        self.variations.iter().map(|v| v.false_alarms.len()).sum()
    }

    /// How many cells without a defect ran.
    pub fn clean_cells(&self) -> usize {
        self.variations.iter().map(|v| v.cells).sum()
    }

    /// The last line.
    pub fn summary(&self) -> String {
        let mut counts: BTreeMap<Detected, usize> = BTreeMap::new();
        for fault in &self.faults {
            *counts.entry(fault.result).or_default() += 1;
        }
        let found = counts.remove(&Detected::Found).unwrap_or(0);
        let catalogued: Vec<&FaultRow> = self.faults.iter().filter(|fault| fault.catalogued).collect();
        let of_them = catalogued.iter().filter(|fault| fault.result == Detected::Found).count();
        let mut text = format!(
            "{found} of {} faults found, {of_them} of {} of the catalogue",
            self.faults.len(),
            catalogued.len()
        );
        for (result, count) in counts {
            let _ = write!(text, ", {count} {}", result.as_str());
        }
        let (alarms, cells) = (self.false_alarms(), self.clean_cells());
        let _ = write!(text, "; {alarms} false alarms in {cells} cells without a defect; {:.0} s", self.duration_s);
        if self.again > 0 {
            let runs = if self.again == 1 { "run" } else { "runs" };
            let _ = write!(text, ", judged again from {} {runs}", self.again);
        }
        text
    }

    /// The matrix for a terminal.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let widest = self.faults.iter().map(|f| f.id.len()).max().unwrap_or(0);
        for fault in &self.faults {
            let code = fault.code.as_deref().unwrap_or("-");
            let (result, probes) = (fault.result.as_str(), fault.probes.join(", "));
            let _ = writeln!(out, "{}  {:<widest$}  {result:<13}  {code:<28}  {probes}", fault.family, fault.id);
            if fault.result != Detected::Found {
                if let Some(message) = &fault.message {
                    let suspect = fault.suspect.as_deref().unwrap_or("nobody");
                    let _ = writeln!(out, "     {suspect}: {message}");
                }
                if let Some(evidence) = &fault.evidence {
                    let _ = writeln!(out, "     {evidence}");
                }
            }
        }
        for variation in &self.variations {
            let alarms = variation.false_alarms.len();
            let _ = writeln!(out, "-  {:<widest$}  {} cells, {alarms} false alarms", variation.id, variation.cells);
            for alarm in &variation.false_alarms {
                let _ = writeln!(out, "     {}: {} ({}): {}", alarm.probe, alarm.code, alarm.suspect, alarm.message);
                let _ = writeln!(out, "     {}", alarm.evidence);
            }
        }
        let _ = writeln!(out, "{}", self.summary());
        out
    }

    /// The matrix as Markdown.
    pub fn markdown(&self) -> String {
        let mut out = String::from("# Detection matrix\n\n");
        let _ =
            writeln!(out, "ccsmoke {}, client {}: {}.\n", self.ccsmoke_version, self.cli.join(", "), self.summary());
        out += "| family | fault | result | finding | probe |\n|---|---|---|---|---|\n";
        for fault in &self.faults {
            let code = fault.code.as_deref().map_or_else(String::new, |code| format!("`{code}`"));
            let (result, probes) = (fault.result.as_str(), fault.probes.join(", "));
            let _ =
                writeln!(out, "| {} | `{}`: {} | {result} | {code} | {probes} |", fault.family, fault.id, fault.title);
        }
        out += "\n| variation | cells | false alarms |\n|---|---|---|\n";
        for variation in &self.variations {
            let (cells, alarms) = (variation.cells, variation.false_alarms.len());
            let _ = writeln!(out, "| `{}`: {} | {cells} | {alarms} |", variation.id, variation.title);
        }
        out
    }
}
