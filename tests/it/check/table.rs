//! The checklist: every requirement is looked at by a check or a probe, and the documentation says by which.

use std::path::Path;

use ccsmoke::check::checklist::{CHECKLIST, markdown};
use ccsmoke::check::table::CHECKS;
use ccsmoke::probes::ProbeSet;

#[test]
fn every_requirement_has_a_check_or_a_probe_that_exists() {
    let probes = ProbeSet::built_in().unwrap();
    let ids: Vec<String> = (1..=40).map(|n| format!("G{n:02}")).collect();
    assert_eq!(CHECKLIST.iter().map(|r| r.id).collect::<Vec<_>>(), ids);
    for requirement in CHECKLIST {
        let checked = CHECKS.iter().any(|check| check.rules.contains(&requirement.id));
        assert!(checked || !requirement.probes.is_empty(), "{} is looked at by nothing", requirement.id);
        for probe in requirement.probes {
            assert!(probes.get(probe).is_some(), "{} names the probe {probe}, which there is not", requirement.id);
        }
    }
    for check in CHECKS {
        for rule in check.rules {
            assert!(ids.iter().any(|id| id == rule), "{} is about {rule}, which there is not", check.id);
        }
    }
}

#[test]
fn the_documentation_holds_the_checklist_and_every_check() {
    let docs = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/check.md")).unwrap();
    assert!(docs.contains(&markdown()), "docs/check.md should hold this table:\n\n{}", markdown());
    for check in CHECKS {
        assert!(docs.contains(&format!("`{}`", check.id)), "docs/check.md does not name `{}`", check.id);
    }
}
