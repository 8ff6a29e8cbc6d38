//! The judgement: evidence in, verdict out. Pure: no input or output, no clock, and it cannot fail.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::case::Case;
use crate::evidence::{EndedBy, Evidence};
use crate::finding::{Finding, Severity, Suspect};
use crate::probe::{Need, Probe};
use crate::rules::{Found, RULES, Rule};
use crate::tap_log::tap_log;
use crate::text_evidence::{TextFacts, TextInput, request_count};
use crate::text_rules::TextRules;
use crate::verdict::{Classification, Outcome, Usage, Verdict};

/// Judges one attempt at one cell.
///
/// The real verdict is never kinder than the text verdict on `product_failure` and `harness_bug`, except where the probe itself
/// arranges an error response or asks the model nothing: by text alone either is always a failure.
pub fn judge(rules: &TextRules, probe: &Probe, evidence: &Evidence) -> Verdict {
    let input = text_input(probe, evidence);
    let facts = TextFacts::gather(&input);
    let text_verdict = rules.judge_facts(&facts);
    let case = Case::read(probe, evidence, text_verdict.clone());

    let mut found: Vec<(&Rule, Found)> =
        RULES.iter().flat_map(|rule| (rule.check)(&case).into_iter().map(move |found| (rule, found))).collect();
    // Causes first, notes last: what was seen in an earlier exchange, then what stands earlier in the table (the sort is
    // stable). The first finding decides.
    let end = case.calls.last().map_or(u32::MAX, |c| c.exchange.id);
    found.sort_by_key(|(rule, found)| (rule.severity == Severity::Note, found.exchange.unwrap_or(end)));
    let decisive = found.first().filter(|(rule, _)| rule.severity > Severity::Note);
    let mut classification =
        decisive.map_or(Classification::Passed, |(_, found)| found.class.unwrap_or_else(|| class_of(&case, found)));
    let findings = found.into_iter().map(|(rule, found)| finding(rule.code, rule.severity, found)).collect();
    let floor = !probe.is_beyond_text() && text_verdict.classification.is_regression();
    if floor && !classification.is_regression() {
        classification = text_verdict.classification;
    }
    let outcome = match classification {
        Classification::Passed => Outcome::Passed,
        Classification::MissingEnv => Outcome::Skipped,
        _ => Outcome::Failed,
    };
    let mut token_evidence = facts.evidence.clone();
    token_evidence.feature = Some(probe.id.clone());
    Verdict {
        outcome,
        classification,
        findings,
        request_count: request_count(&input),
        token_evidence,
        text_verdict,
        usage: usage(&case),
        cost_usd: case.cost_usd(),
    }
}

fn finding(code: &str, severity: Severity, found: Found) -> Finding {
    let Found { suspect, message, cites, .. } = found;
    Finding { code: code.to_owned(), severity, suspect, message, cites }
}

/// The class that follows from the suspect. Where the provider is scripted, nothing is left to chance: what it answered
/// wrong is the harness's own mistake.
fn class_of(case: &Case<'_>, found: &Found) -> Classification {
    match found.suspect {
        Suspect::Client | Suspect::Gateway => Classification::ProductFailure,
        Suspect::Provider if case.scripted() => Classification::HarnessBug,
        Suspect::Provider | Suspect::Environment => Classification::UpstreamUnavailable,
        Suspect::Model => Classification::ModelFeatureFailure,
        Suspect::Harness => Classification::HarnessBug,
    }
}

/// What a judgement by text alone has to go by: the launches' outputs joined by a newline, the first failing exit code,
/// and the gateway's log with the tap's lines behind it.
pub fn text_input(probe: &Probe, evidence: &Evidence) -> TextInput {
    let launches = &evidence.launches;
    let joined = |text: fn(&crate::evidence::ProcessFacts) -> &str| {
        launches.iter().map(|l| text(&l.process)).collect::<Vec<_>>().join("\n")
    };
    let needs = |need: Need| probe.expect.needs.contains(&need);
    let log = own_lines(evidence);
    let gap = if log.is_empty() || log.ends_with('\n') { "" } else { "\n" };
    TextInput {
        stdout: joined(|p| &p.stdout.text),
        stderr: joined(|p| &p.stderr.text),
        log_delta: format!("{log}{gap}{}", tap_log(&evidence.exchanges)),
        marker: evidence.cell.vars.marker.clone(),
        returncode: launches.iter().map(|l| l.process.returncode).find(|code| *code != Some(0)).unwrap_or(Some(0)),
        timed_out: launches.iter().any(|l| l.process.ended_by.is_some_and(EndedBy::is_timeout)),
        requires_tool_result: needs(Need::ToolResult),
        requires_agent: needs(Need::Agent),
        requires_task: needs(Need::Task),
        requires_compact: needs(Need::Compact),
    }
}

/// What the gateway logged because of this cell. Where other cells were at it as well, a line is the cell's when it names it, or
/// tells of a refusal with a status that this cell got; of the others nobody can say whose they are.
fn own_lines(evidence: &Evidence) -> Cow<'_, str> {
    let log = &evidence.log;
    if !log.shared {
        return Cow::Borrowed(&log.delta);
    }
    let vars = &evidence.cell.vars;
    let names = [&vars.nonce, &vars.marker, &vars.session_id];
    let statuses = evidence.exchanges.iter().filter_map(|e| e.response.as_ref()).map(|r| r.status);
    let refusals: BTreeSet<String> = statuses.filter(|s| *s >= 400).map(|s| format!("\" {s}")).collect();
    let is_own = |line: &&str| {
        names.iter().any(|name| !name.is_empty() && line.contains(name.as_str()))
            || (line.contains("POST /v1/messages") && refusals.iter().any(|refusal| line.contains(refusal)))
    };
    Cow::Owned(log.delta.split_inclusive('\n').filter(is_own).collect())
}

/// Token counts of all answers, as the wire gave them.
fn usage(case: &Case<'_>) -> Usage {
    let mut sum = Usage::default();
    for (_, answer) in case.answers() {
        let count = |key: &str| {
            let of = |usage: &Option<serde_json::Value>| usage.as_ref().and_then(|u| u[key].as_u64());
            of(&answer.end_usage).max(of(&answer.start_usage)).unwrap_or(0)
        };
        sum.input_tokens += count("input_tokens");
        sum.cache_creation_input_tokens += count("cache_creation_input_tokens");
        sum.cache_read_input_tokens += count("cache_read_input_tokens");
        sum.output_tokens += count("output_tokens");
    }
    sum
}
