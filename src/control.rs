//! The control: the same probe with the same client and without the gateway. What fails there too is not the gateway's fault.

use crate::finding::{Severity, Suspect};
use crate::verdict::Verdict;

/// Takes the blame from the gateway for what the control shows as well: such a finding gets the control's suspect, and a cell
/// with no other failure gets the control's classification. A control that passed changes nothing.
pub fn acquit(mut verdict: Verdict, control: &Verdict) -> Verdict {
    let fails = |severity: Severity| severity > Severity::Note;
    let mut own_failures = false;
    for finding in verdict.findings.iter_mut().filter(|f| fails(f.severity)) {
        match control.findings.iter().find(|c| c.code == finding.code && fails(c.severity)) {
            Some(same) if finding.suspect == Suspect::Gateway => {
                finding.suspect = same.suspect;
                finding.message.push_str(" (so it is without the gateway)");
            }
            Some(_) => {}
            None => own_failures = true,
        }
    }
    if !own_failures && control.findings.iter().any(|f| fails(f.severity)) {
        verdict.outcome = control.outcome;
        verdict.classification = control.classification;
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Finding;
    use crate::text_evidence::TokenEvidence;
    use crate::verdict::{Classification, Outcome, TextVerdict, Usage};

    fn verdict(classification: Classification, findings: &[(&str, Severity, Suspect)]) -> Verdict {
        let outcome = if classification == Classification::Passed { Outcome::Passed } else { Outcome::Failed };
        let finding = |(code, severity, suspect): &(&str, Severity, Suspect)| Finding {
            code: (*code).to_owned(),
            severity: *severity,
            suspect: *suspect,
            message: "seen".to_owned(),
            cites: Vec::new(),
        };
        Verdict {
            outcome,
            classification,
            findings: findings.iter().map(finding).collect(),
            request_count: 0,
            token_evidence: TokenEvidence::default(),
            text_verdict: TextVerdict { outcome, classification, rule: "none".to_owned() },
            usage: Usage::default(),
            cost_usd: None,
        }
    }

    /// Who is suspected of each finding, the class, and what the first finding says.
    fn left(verdict: &Verdict) -> (Vec<Suspect>, Classification, &str) {
        let suspects = verdict.findings.iter().map(|f| f.suspect).collect();
        (suspects, verdict.classification, &verdict.findings[0].message)
    }

    #[test]
    fn what_the_control_shows_as_well_is_not_the_gateways() {
        let cell = verdict(Classification::ProductFailure, &[("answer-wrong", Severity::Broken, Suspect::Gateway)]);
        let control = verdict(Classification::HarnessBug, &[("answer-wrong", Severity::Broken, Suspect::Provider)]);
        let (suspects, class, message) =
            (vec![Suspect::Provider], Classification::HarnessBug, "seen (so it is without the gateway)");
        assert_eq!(left(&acquit(cell, &control)), (suspects, class, message));
    }

    #[test]
    fn what_only_the_gateways_cell_shows_stays_with_the_gateway_and_decides() {
        let own = ("stream-buffered", Severity::Degraded, Suspect::Gateway);
        let shared = ("answer-wrong", Severity::Broken, Suspect::Gateway);
        let cell = || verdict(Classification::ProductFailure, &[own, shared]);
        let broken = verdict(Classification::HarnessBug, &[("answer-wrong", Severity::Broken, Suspect::Provider)]);
        let (suspects, class) = (vec![Suspect::Gateway, Suspect::Provider], Classification::ProductFailure);
        assert_eq!(left(&acquit(cell(), &broken)), (suspects, class, "seen"));

        let passed = verdict(Classification::Passed, &[]);
        assert_eq!(acquit(cell(), &passed), cell());
        // A note is no failure, on either side.
        let noted = verdict(Classification::Passed, &[("answer-wrong", Severity::Note, Suspect::Provider)]);
        assert_eq!(acquit(cell(), &noted), cell());
    }

    #[test]
    fn a_control_that_fails_in_another_way_takes_no_blame_from_the_gateway() {
        let cell = || verdict(Classification::ProductFailure, &[("answer-wrong", Severity::Broken, Suspect::Gateway)]);
        let control = verdict(Classification::HarnessBug, &[("client-failed", Severity::Broken, Suspect::Client)]);
        assert_eq!(acquit(cell(), &control), cell());
    }
}
