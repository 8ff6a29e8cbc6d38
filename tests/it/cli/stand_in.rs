//! A folder with a script in the place of `claude`, a results folder, and a folder for temporary files, so that everything that a
//! run makes is found again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use regex::Regex;
use serde_json::Value;

use crate::support::{self, ccsmoke, stderr, stdout};

/// The place of one run.
pub(super) struct StandIn {
    folder: tempfile::TempDir,
}

impl StandIn {
    /// With a client that answers `--version` as Claude Code does, leaves a trace when it is launched, and then does what the
    /// script says.
    pub(super) fn claude(script: &str) -> Self {
        let place = Self::empty();
        let trace = place.path("launched");
        let answer = r#"[ "$1" = --version ] && { echo "2.1.329 (Claude Code)"; exit 0; }"#;
        place.script("claude", &format!("{answer}\necho launch >> '{}'\n{script}", trace.display()));
        place
    }

    /// Without a client.
    pub(super) fn empty() -> Self {
        let folder = tempfile::Builder::new().prefix("stand-in-").tempdir().unwrap();
        fs::create_dir(folder.path().join("tmp")).unwrap();
        Self { folder }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn results(&self) -> PathBuf {
        self.path("results")
    }

    /// Writes an executable script. By another process: a descriptor that is open for writing here could be inherited by
    /// a child of another test at that moment, and then the system refuses to run the script.
    pub(super) fn script(&self, name: &str, script: &str) -> PathBuf {
        let path = self.path(name);
        let write = r#"printf '#!/bin/sh\n%s\n' "$2" > "$1" && chmod +x "$1""#;
        assert!(Command::new("sh").args(["-c", write, "sh"]).arg(&path).arg(script).status().unwrap().success());
        path
    }

    /// `ccsmoke run` with this client and one small probe.
    pub(super) fn run(&self) -> Command {
        self.run_into(&self.results())
    }

    /// The same, with its results elsewhere.
    pub(super) fn run_into(&self, results: &Path) -> Command {
        let mut command = ccsmoke();
        command.env("TMPDIR", self.path("tmp")).args(["run", "--probe", "basic_text", "--claude"]);
        command.arg(self.path("claude")).arg("--results").arg(results);
        command
    }

    /// How often the client was launched, `--version` aside.
    pub(super) fn launches(&self) -> usize {
        fs::read_to_string(self.path("launched")).map_or(0, |text| text.lines().count())
    }

    /// The one report.
    pub(super) fn report(&self) -> Value {
        support::report(&self.results())
    }

    /// The only cell's row of the one report.
    pub(super) fn row(&self) -> Value {
        let report = self.report();
        let rows = report["outcomes"].as_array().unwrap();
        assert_eq!(rows.len(), 1, "{report:#}");
        rows[0].clone()
    }

    /// The only cell's last evidence.
    pub(super) fn evidence(&self) -> PathBuf {
        self.results().join(self.row()["evidence_path"].as_str().unwrap())
    }

    /// Every file and folder below the results, and every file's content.
    pub(super) fn written(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let (mut found, mut folders) = (Vec::new(), vec![self.results()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                let content = if path.is_dir() { Vec::new() } else { fs::read(&path).unwrap() };
                folders.extend(path.is_dir().then(|| path.clone()));
                found.push((path, content));
            }
        }
        found
    }

    /// Nothing of the run is left but its results: no process, no throw-away folder, no half-written file.
    pub(super) fn assert_tidy(&self) {
        let left: Vec<PathBuf> = fs::read_dir(self.path("tmp")).unwrap().map(|e| e.unwrap().path()).collect();
        assert!(left.is_empty(), "throw-away folders are left: {left:?}");
        for (path, _) in self.written() {
            let hidden = path.file_name().unwrap().to_str().unwrap().starts_with('.');
            assert!(!hidden && path.extension().is_none_or(|e| e != "tmp"), "half-written: {}", path.display());
        }
        assert_eq!(self.survivors(), 0, "processes are left");
    }

    /// Living processes whose environment names this place; a client's throw-away folders are below it.
    pub(super) fn survivors(&self) -> usize {
        let place = self.folder.path().to_str().unwrap().as_bytes();
        let processes = fs::read_dir("/proc").unwrap().flatten().map(|e| e.path());
        processes
            .filter(|p| fs::read(p.join("environ")).is_ok_and(|env| env.windows(place.len()).any(|w| w == place)))
            .count()
    }

    /// What a person read, with this run's own paths, times and random parts replaced.
    pub(super) fn filtered(&self, text: &str) -> String {
        let text = text.replace(self.folder.path().to_str().unwrap(), "[HERE]");
        let mut text = text.replace(env!("CARGO_MANIFEST_DIR"), "[REPO]");
        for (pattern, instead) in [
            (r"-matrix-main-\d+", "-matrix-main-[TIME]"),
            (r"\d+\.\d+ s\b", "[T] s"),
            (r"after \d+ s\b", "after [T] s"),
            (r"-[0-9a-f]{12}/", "-[HASH]/"),
        ] {
            text = Regex::new(pattern).unwrap().replace_all(&text, instead).into_owned();
        }
        text
    }

    /// Runs a command that must be refused with this exit code, without a launch and without a trace of a report. Gives what
    /// was said at standard error.
    pub(super) fn refused(&self, command: &mut Command, code: i32) -> String {
        let (out, err) = ended(command, code);
        assert_eq!((out.as_str(), self.launches()), ("", 0), "{err}");
        assert!(self.written().is_empty(), "{:?}", self.written());
        self.assert_tidy();
        self.filtered(&err)
    }
}

/// Runs a command to its exit code; what it said at standard output and standard error.
pub(super) fn ended(command: &mut Command, code: i32) -> (String, String) {
    let output: Output = support::output(command);
    let (out, err) = (stdout(&output), stderr(&output));
    assert_eq!(output.status.code(), Some(code), "{out}{err}");
    assert!(!err.contains("panicked"), "{err}");
    (out, err)
}

/// Writes a file below a folder, with the folders in between.
pub(super) fn write(path: &Path, content: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}
