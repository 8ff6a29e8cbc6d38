//! Rules about the client's processes: started, configured as asked, ended in time, left nothing behind.

use crate::case::Case;
use crate::evidence::{EndedBy, LaunchFacts};
use crate::finding::Suspect;
use crate::transcript::Line;
use crate::verdict::Classification;

use super::Found;

/// The launches with their numbers, from 1.
fn launches<'a>(case: &Case<'a>) -> impl Iterator<Item = (usize, &'a LaunchFacts)> {
    case.evidence.launches.iter().enumerate().map(|(i, l)| (i + 1, l))
}

pub(super) fn not_started(case: &Case<'_>) -> Vec<Found> {
    let failed = |(n, l): (usize, &LaunchFacts)| {
        let words = l.process.spawn_error.as_ref()?;
        Some(Found::new(Suspect::Environment, words).by(case, n).class(Classification::HarnessBug))
    };
    launches(case).filter_map(failed).collect()
}

pub(super) fn config_not_applied(case: &Case<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for line in case.transcript.system("init") {
        // The wire calls the sub-agent tool `Agent`; the init line calls it `Task`.
        let shown: Vec<&str> =
            line.value["tools"].as_array().into_iter().flatten().filter_map(|t| t.as_str()).collect();
        let has = |tool: &str| shown.contains(&tool) || (tool == "Agent" && shown.contains(&"Task"));
        for tool in case.probe.tools.iter().filter(|t| !has(t)) {
            let message = format!("asked for the tool {tool}, the client started with {shown:?}");
            found.push(not_as_asked(case, line, message));
        }
        let mode = line.value["permissionMode"].as_str().unwrap_or("bypassPermissions");
        if mode != "bypassPermissions" {
            let message = format!("asked for permission mode bypassPermissions, the client started with {mode}");
            found.push(not_as_asked(case, line, message));
        }
    }
    found
}

/// It was so before the launch's first request, and what follows was not the cell's test.
fn not_as_asked(case: &Case<'_>, line: &Line, message: String) -> Found {
    let first = case.calls.iter().find(|c| c.launch == line.place.launch);
    let found = Found::new(Suspect::Client, message).cite(line.place).class(Classification::HarnessBug);
    Found { exchange: first.map(|c| c.exchange.id), ..found }
}

pub(super) fn timeout(case: &Case<'_>) -> Vec<Found> {
    let mut found = Vec::new();
    for (n, launch) in launches(case) {
        let limit = match launch.process.ended_by {
            Some(EndedBy::Deadline) => "its deadline",
            Some(EndedBy::Idle) => "the idle deadline",
            Some(EndedBy::Lingering) => "the time after its last result",
            _ => continue,
        };
        let waiting = case.calls.iter().find(|c| c.launch == n && case.was_waiting(c));
        let seconds = launch.duration_us / 1_000_000;
        let (suspect, doing) = match waiting {
            Some(call) => (case.far(), format!("waiting for {}", call.cite())),
            None if case.calls.iter().any(|c| c.launch == n) => {
                (Suspect::Client, "not waiting for any answer".to_owned())
            }
            None => (Suspect::Client, "and had not sent any request".to_owned()),
        };
        let message = format!("launch {n} outlived {limit} and was ended after {seconds} s, {doing}");
        let finding = Found::new(suspect, message).class(Classification::ProbeTimeout);
        found.push(match waiting {
            Some(call) => finding.at(call),
            None => finding.by(case, n),
        });
    }
    found
}

pub(super) fn output_limit(case: &Case<'_>) -> Vec<Found> {
    launches(case)
        .filter(|(_, l)| l.process.ended_by == Some(EndedBy::OutputLimit))
        .map(|(n, l)| {
            let dropped = l.process.stdout.dropped_bytes + l.process.stderr.dropped_bytes;
            let message = format!("launch {n} was ended for its output; {dropped} bytes of it were not kept");
            Found::new(Suspect::Client, message).by(case, n)
        })
        .collect()
}

pub(super) fn killed(case: &Case<'_>) -> Vec<Found> {
    launches(case)
        .filter(|(_, l)| l.process.ended_by.is_none())
        .filter_map(|(n, l)| Some((n, l.process.signal?)))
        .map(|(n, signal)| {
            let message = format!("launch {n} was ended by signal {signal}, which ccsmoke did not send");
            Found::new(Suspect::Environment, message).by(case, n).class(Classification::UpstreamUnavailable)
        })
        .collect()
}

pub(super) fn exit_code(case: &Case<'_>) -> Vec<Found> {
    launches(case)
        .filter_map(|(n, l)| Some((n, l, l.process.returncode.filter(|code| *code != 0)?)))
        // With an error that is due the last launch ends with 1.
        .filter(|(n, _, code)| case.probe.expect.error.is_none() || *n < case.probe.launch.len() || *code != 1)
        .map(|(n, l, code)| {
            let words = l.process.stderr.text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
            let message = format!("launch {n} ended with exit code {code}: {}", super::shorten(words));
            // An exit code after failed requests is their echo; on its own it is the client's.
            let echo = case.calls.iter().any(|c| c.launch == n && c.answer().is_none_or(|a| !a.faults.is_empty()));
            Found::new(if echo { case.far() } else { Suspect::Client }, message).by(case, n)
        })
        .collect()
}

pub(super) fn workspace_altered(case: &Case<'_>) -> Vec<Found> {
    let altered = case.evidence.workspace.iter().filter(|f| !f.intact);
    altered
        .map(|f| Found::new(Suspect::Client, format!("{} no longer holds what the probe put there", f.path)))
        .collect()
}

pub(super) fn leftovers(case: &Case<'_>) -> Vec<Found> {
    launches(case)
        .filter(|(_, l)| l.process.leftovers > 0)
        .map(|(n, l)| {
            let message = format!("launch {n} left {} processes behind", l.process.leftovers);
            Found::new(Suspect::Client, message).by(case, n)
        })
        .collect()
}

pub(super) fn output_unreadable(case: &Case<'_>) -> Vec<Found> {
    let Some(first) = case.transcript.not_json.first() else { return Vec::new() };
    let count = case.transcript.not_json.len();
    vec![Found::new(Suspect::Client, format!("{count} lines of standard output are not JSON objects")).cite(first)]
}
