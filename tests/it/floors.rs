//! The floors of the house: a module imports only from floors below its own. The `use` lines are read, so that a new import in
//! the wrong direction fails here and not in a review.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The floors from the ground, with their modules.
const FLOORS: [(&str, &[&str]); 5] = [
    (
        "ask and saw",
        &[
            "capability",
            "config",
            "file_error",
            "model",
            "near",
            "placeholder",
            "probe", // ask
            "decode",
            "evidence",
            "exchange",
            "messages",
            "openai",
            "redact",
            "sse",
            "transcript",
        ],
    ),
    (
        "conclude",
        &[
            "case",
            "compare",
            "control",
            "finding",
            "judge",
            "rules",
            "tap_log",
            "text_evidence",
            "text_rules",
            "verdict",
        ],
    ),
    (
        "drive",
        &[
            "client",
            "door",
            "fault",
            "gateway",
            "launch",
            "log_delta",
            "process",
            "provider",
            "reference",
            "secret",
            "send",
            "serve",
            "tap",
            "target",
            "workspace",
        ],
    ),
    ("tell", &["report"]),
    (
        "go",
        &[
            "budget",
            "cell",
            "check",
            "cli",
            "doctor",
            "judge_text",
            "load",
            "pace",
            "probes",
            "run",
            "selftest",
            "stand",
            "world",
        ],
    ),
];

fn floor_of(module: &str) -> usize {
    let at = FLOORS.iter().position(|(_, modules)| modules.contains(&module));
    at.unwrap_or_else(|| {
        panic!("the module `{module}` stands on no floor; name it in tests/it/floors.rs and in DESIGN.md")
    })
}

fn files(folder: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

/// The source files with the module that each belongs to.
fn sources() -> BTreeMap<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    files(&root, &mut found);
    let module = |path: &Path| {
        let first = path.strip_prefix(&root).unwrap().components().next().unwrap();
        first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
    };
    found.into_iter().map(|p| (p.clone(), module(&p))).filter(|(_, m)| m != "lib" && m != "main").collect()
}

#[test]
fn no_module_imports_from_a_floor_above_its_own() {
    let mut checked = 0;
    for (path, module) in sources() {
        let text = std::fs::read_to_string(&path).unwrap();
        // Tests of a module may use whatever helps them.
        let text = text.split("#[cfg(test)]").next().unwrap();
        if path.file_name().is_some_and(|n| n == "tests.rs") {
            continue;
        }
        for line in text.lines().filter(|l| !l.trim_start().starts_with("//")) {
            for used in line.split("crate::").skip(1) {
                let used: String = used.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                checked += 1;
                assert!(
                    floor_of(&used) <= floor_of(&module),
                    "{} ({}) uses crate::{used} ({})",
                    path.display(),
                    FLOORS[floor_of(&module)].0,
                    FLOORS[floor_of(&used)].0,
                );
            }
        }
    }
    assert!(checked > 50, "only {checked} imports were found");
}

#[test]
fn every_file_says_what_it_is_for_and_stands_in_the_design() {
    let design = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("DESIGN.md")).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (path, _) in sources() {
        let text = std::fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(root).unwrap().display().to_string();
        assert!(text.starts_with("//! "), "{name} has no header");
        assert!(design.contains(&format!("`{name}`")), "{name} has no line in DESIGN.md");
    }
}
