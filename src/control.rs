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
