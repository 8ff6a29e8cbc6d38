//! `ccsmoke judge`: stored evidence judged again with the rules of today, or captured text judged by text alone. Nothing is
//! launched.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::report::find;
use super::{Exit, FailOn, Failure, Format, ProbesFolder, to_stdout, written};
use crate::control::acquit;
use crate::judge::judge;
use crate::judge_text::{JudgeTextError, judge_lines};
use crate::probes::ProbeSet;
use crate::report::MatrixReport;
use crate::report::store::{read_evidence, read_report};
use crate::report::terminal::{self, Detail, Screen};
use crate::rules;
use crate::verdict::{Classification, Outcome};
use crate::world::World;

/// Arguments of `ccsmoke judge`.
#[derive(Debug, Args)]
pub struct JudgeArgs {
    /// A matrix report, an evidence.json, a results folder (its newest report), or latest
    #[arg(value_name = "RESULTS", required_unless_present = "text", conflicts_with = "text")]
    results: Option<PathBuf>,
    /// Judge captured text instead: a file with one JSON object a line (`stdout`, `stderr`, `log_delta`,
    /// `marker`, `returncode`, `timed_out`, `requires_*`), or - for standard input; prints one JSON line each
    #[arg(long, value_name = "CASES.jsonl")]
    text: Option<PathBuf>,
    #[command(flatten)]
    probes: ProbesFolder,
    /// What makes the exit code 1
    #[arg(long, value_enum, default_value_t = FailOn::Regression)]
    fail_on: FailOn,
    /// How to print the verdicts
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// Runs `ccsmoke judge`.
pub(super) fn main(args: &JudgeArgs, world: &World) -> Result<Exit, Failure> {
    let set = args.probes.read(world)?;
    match (&args.text, &args.results) {
        (Some(cases), _) => text(&set, cases),
        (None, Some(results)) => again(args, &set, results, world.screen()),
        (None, None) => Err(Failure::usage("name the results to judge, or --text FILE")),
    }
}

fn text(set: &ProbeSet, cases: &Path) -> Result<Exit, Failure> {
    let output = BufWriter::new(std::io::stdout().lock());
    let judged = if cases == Path::new("-") {
        judge_lines(&set.rules, "standard input", std::io::stdin().lock(), output)
    } else {
        let name = cases.display().to_string();
        let file = File::open(cases).map_err(|e| Failure::usage(format!("{name}: cannot be read: {e}")))?;
        judge_lines(&set.rules, &name, BufReader::new(file), output)
    };
    match judged {
        Ok(0) => Err(Failure::nothing("there was no case to judge")),
        Ok(_) => Ok(Exit::Good),
        Err(JudgeTextError::Write(e)) => written(Err(e)).map(|()| Exit::Good),
        Err(e) => Err(Failure::usage(e)),
    }
}

fn again(args: &JudgeArgs, set: &ProbeSet, results: &Path, screen: Screen) -> Result<Exit, Failure> {
    if results.file_name().is_some_and(|n| n == "evidence.json") {
        return one(args, set, results);
    }
    let path = find(results, Path::new("results"))?;
    let (report, changed) = judged_again(set, &path)?;
    match args.format {
        Format::Json => {
            for row in &report.outcomes {
                to_stdout(&format!("{}\n", json!(row)))?;
            }
        }
        Format::Human => {
            to_stdout(&terminal::render(&report, &path.to_string_lossy(), screen, Detail::Brief))?;
            for line in &changed {
                to_stdout(&format!("judged otherwise than stored: {}\n", terminal::printable(line)))?;
            }
        }
    }
    Ok(exit_for(report.outcomes.iter().map(|row| (row.outcome, row.classification)), args.fail_on))
}

/// A stored report with the verdicts of today, and in words which of its cells are judged otherwise than before.
pub(super) fn judged_again(set: &ProbeSet, path: &Path) -> Result<(MatrixReport, Vec<String>), Failure> {
    let mut report = read_report(path).map_err(Failure::usage)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut changed = Vec::new();
    for row in &mut report.outcomes {
        let probe = set.get(&row.probe).ok_or_else(|| {
            Failure::usage(format!(
                "the report speaks of a probe {:?}, which is not among these; see --probes",
                row.probe
            ))
        })?;
        // A cell that could not be carried out left no evidence: its verdict stands.
        let evidence_path = folder.join(&row.evidence_path);
        if !evidence_path.exists() && row.findings.iter().any(|f| rules::has_no_evidence(&f.code)) {
            continue;
        }
        if !evidence_path.exists() {
            return Err(Failure::usage(format!(
                "{}: the evidence of {} {} is not there; keep the folder of evidence beside its report",
                evidence_path.display(),
                row.full_model,
                row.feature
            )));
        }
        let evidence = read_evidence(&evidence_path).map_err(Failure::usage)?;
        let mut verdict = judge(&set.rules, probe, &evidence);
        if let Some(path) = &row.control_path {
            let control = read_evidence(&folder.join(path)).map_err(Failure::usage)?;
            verdict = acquit(verdict, &judge(&set.rules, probe, &control));
        }
        if verdict.classification != row.classification {
            changed.push(format!(
                "{} {}: {} → {}",
                row.full_model, row.feature, row.classification, verdict.classification
            ));
        }
        row.outcome = verdict.outcome;
        row.classification = verdict.classification;
        row.text_verdict = verdict.text_verdict;
        row.findings = verdict.findings;
        row.token_evidence = verdict.token_evidence;
        row.request_count = verdict.request_count;
        row.usage = verdict.usage;
        row.cost_usd = verdict.cost_usd;
    }
    Ok((report, changed))
}

fn one(args: &JudgeArgs, set: &ProbeSet, path: &Path) -> Result<Exit, Failure> {
    let evidence = read_evidence(path).map_err(Failure::usage)?;
    let name = &evidence.cell.probe;
    let probe = set.get(name).ok_or_else(|| {
        Failure::usage(format!("the evidence is of a probe {name:?}, which is not among these; see --probes"))
    })?;
    let verdict = judge(&set.rules, probe, &evidence);
    let line = json!({
        "probe": name, "full_model": evidence.cell.full_model, "outcome": verdict.outcome,
        "classification": verdict.classification, "findings": verdict.findings, "text_verdict": verdict.text_verdict,
        "token_evidence": verdict.token_evidence, "request_count": verdict.request_count, "usage": verdict.usage,
    });
    to_stdout(&match args.format {
        Format::Json => format!("{line}\n"),
        Format::Human => format!("{line:#}\n"),
    })?;
    Ok(exit_for([(verdict.outcome, verdict.classification)], args.fail_on))
}

/// The exit code that the verdicts deserve.
pub(super) fn exit_for(verdicts: impl IntoIterator<Item = (Outcome, Classification)>, fail_on: FailOn) -> Exit {
    let (mut judged, mut failed) = (false, false);
    for (outcome, classification) in verdicts {
        judged |= outcome != Outcome::Skipped;
        failed |= match fail_on {
            FailOn::Never => false,
            FailOn::Any => outcome == Outcome::Failed,
            FailOn::Regression => classification.is_regression(),
        };
    }
    match (failed, judged) {
        (true, _) => Exit::Regression,
        (false, true) => Exit::Good,
        (false, false) => Exit::Nothing,
    }
}
