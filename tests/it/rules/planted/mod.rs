//! Defects, each planted into evidence of a cell that went right: who is suspected, and what is said of the cell.

mod answers;
mod arranged;
mod cell;
mod transport;

use std::collections::BTreeSet;

use ccsmoke::evidence::Evidence;
use ccsmoke::finding::{Severity, Suspect};
use ccsmoke::rules::{RULES, rule};
use ccsmoke::verdict::{Classification, Outcome};

use serde_json::json;

use super::edit::{
    Event, PROBES, asked_before, clean, events, judge, keep, live, refuse, request, response, stream, written,
};

use Classification::{HarnessBug, ModelFeatureFailure, ProductFailure};
use Suspect::{Client, Gateway, Model, Provider};

/// The codes without a check: they stand for cells without evidence.
const WITHOUT_CHECK: [&str; 2] = ["harness-error", "credential-missing"];

/// Whether the code is of the comparison of both sides, whose cases stand in `compare/cases.rs`.
fn compared(code: &str) -> bool {
    crate::compare::CODES.contains(code)
}

/// A defect in a cell.
struct Planted {
    words: &'static str,
    code: &'static str,
    probe: &'static str,
    plant: fn(&mut Evidence),
    /// Suspect and class without a gateway.
    scripted: (Suspect, Classification),
    /// Suspect and class behind a gateway.
    live: (Suspect, Classification),
    /// Whether the finding stands first and decides; otherwise it is a note, or the echo of another one.
    decides: bool,
}

impl Planted {
    /// The finding does not decide.
    fn beside(self) -> Self {
        Self { decides: false, ..self }
    }

    /// Another suspect without a gateway.
    fn scripted(self, suspect: Suspect) -> Self {
        Self { scripted: (suspect, HarnessBug), ..self }
    }

    /// Without a gateway the provider is who lets the client wait; the class stays.
    fn waiting_on_provider(self) -> Self {
        Self { scripted: (Provider, self.live.1), ..self }
    }
}

type Plant = fn(&mut Evidence);

/// A defect whose suspect does not depend on what stands at the other end.
fn by(
    suspect: Suspect,
    class: Classification,
    code: &'static str,
    probe: &'static str,
    words: &'static str,
    plant: Plant,
) -> Planted {
    Planted { words, code, probe, plant, scripted: (suspect, class), live: (suspect, class), decides: true }
}

/// A defect of the wire: the gateway's, or without one the script's.
fn wire(code: &'static str, probe: &'static str, words: &'static str, plant: Plant) -> Planted {
    let planted = by(Gateway, ProductFailure, code, probe, words, plant);
    Planted { scripted: (Provider, HarnessBug), ..planted }
}

/// A well-formed answer that is not what was asked for: the model's, or the script's.
fn model(code: &'static str, probe: &'static str, words: &'static str, plant: Plant) -> Planted {
    let planted = by(Model, ModelFeatureFailure, code, probe, words, plant);
    Planted { scripted: (Provider, HarnessBug), ..planted }
}

fn client(code: &'static str, probe: &'static str, words: &'static str, plant: Plant) -> Planted {
    by(Client, ProductFailure, code, probe, words, plant)
}

const TEXT: &str = "basic_text";
const THINK: &str = "thinking";
const TOOL: &str = "tool_use_roundtrip";
const INTER: &str = "interleaved_thinking_tool";
const AGENT: &str = "subagent_task";
const COMPACT: &str = "compact_command";

fn all() -> Vec<Planted> {
    [cell::all(), answers::all(), transport::all(), arranged::all()].into_iter().flatten().collect()
}

#[test]
fn every_rule_finds_a_planted_defect_and_names_the_right_suspect() {
    let mut wrong = Vec::new();
    for planted in all() {
        for (kind, (suspect, class)) in [("scripted", planted.scripted), ("live", planted.live)] {
            let mut evidence = clean(planted.probe);
            (planted.plant)(&mut evidence);
            if kind == "live" {
                evidence = live(evidence);
            }
            let verdict = judge(&evidence);
            let place = verdict.findings.iter().position(|f| f.code == planted.code);
            let right = place.is_some_and(|at| {
                let decides = at == 0 && verdict.classification == class;
                verdict.findings[at].suspect == suspect && (!planted.decides || decides)
            });
            let passes = rule(planted.code).unwrap().severity == Severity::Note && verdict.findings.len() == 1;
            if !right || passes != (verdict.outcome == Outcome::Passed) {
                let found: Vec<_> = verdict.findings.iter().map(|f| (&f.code, f.suspect, &f.message)).collect();
                wrong.push(format!(
                    "{} ({}, {}): {:?} with {found:#?}",
                    planted.code, planted.words, kind, verdict.classification
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} cases:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn one_request_more_is_a_defect_only_where_every_request_is_scripted() {
    let mut evidence = clean(TEXT);
    asked_before(&mut evidence, 0);
    request(&mut evidence, 0, |r| r["max_tokens"] = 64.into());
    let codes = |e: &Evidence| judge(e).findings.into_iter().map(|f| f.code).collect::<Vec<_>>();
    assert_eq!(codes(&evidence), ["request-retried"]);
    assert_eq!(codes(&live(evidence)), Vec::<String>::new());
}

#[test]
fn every_rule_has_a_planted_defect() {
    let planted: BTreeSet<_> = all().iter().map(|p| p.code).collect();
    let missing: Vec<_> = RULES
        .iter()
        .map(|r| r.code)
        .filter(|c| !WITHOUT_CHECK.contains(c) && !planted.contains(c) && !compared(c))
        .filter(|c| !super::scripted::codes().any(|code| code == *c))
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}

#[test]
fn every_rule_is_silent_where_nothing_is_wrong() {
    for probe in PROBES {
        for evidence in [clean(probe), live(clean(probe))] {
            let verdict = judge(&evidence);
            assert_eq!(verdict.findings, [], "{probe}");
            assert_eq!((verdict.outcome, verdict.classification), (Outcome::Passed, Classification::Passed));
        }
    }
}

#[test]
fn rewriting_a_stream_changes_nothing_by_itself() {
    for probe in PROBES {
        for i in 0..clean(probe).exchanges.len() {
            let mut evidence = clean(probe);
            stream(&mut evidence, i, |_| ());
            assert_eq!(written(&events(&evidence.exchanges[i])), response(&mut evidence, i).body.text());
            assert_eq!(judge(&evidence).findings, [], "{probe} {i}");
        }
    }
}

#[test]
fn a_refusal_in_a_log_that_others_share_accuses_only_the_cell_that_got_it() {
    const LINE: &str = "127.0.0.1 - - \"POST /v1/messages?beta=true HTTP/1.1\" 413 178\n";
    let text = |e: &Evidence| judge(e).text_verdict.classification;
    let mut evidence = clean(TEXT);
    evidence.log.delta = LINE.to_owned();
    assert_eq!(text(&evidence), ProductFailure, "its own log");
    evidence.log.shared = true;
    assert_eq!(text(&evidence), Classification::Passed, "somebody else's request");
    refuse(&mut evidence, 0, 413, "too large");
    assert_eq!(text(&evidence), ProductFailure, "its own request");
}

#[test]
fn a_call_in_a_broken_answer_that_the_client_does_not_run_is_laid_to_who_broke_it() {
    let mut evidence = live(clean(TOOL));
    let suspect =
        |e: &Evidence| judge(e).findings.into_iter().find(|f| f.code == "tool-result-missing").unwrap().suspect;
    keep(&mut evidence, 1);
    assert_eq!(suspect(&evidence), Suspect::Client);
    stream(&mut evidence, 0, |events| {
        let within = events.iter().position(|e| e.brings("input_json_delta")).unwrap();
        let mut text = events[within].data.clone();
        text["delta"] = json!({"type": "text_delta", "text": "x"});
        events.insert(within, Event::new(text));
    });
    assert_eq!(suspect(&evidence), Suspect::Gateway);
}
