//! Load and replay through the command, against a source of answers whose delays and faults are known.

mod asking;
mod bad_input;
mod behind;
mod dashboard;
mod faults;
mod gateways;
mod measuring;
mod proxy;
mod recording;
mod replaying;
mod reports;
mod sharding;
mod steps;
mod suites;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use ccsmoke::load::answers::{AnswerSource, Fault, Manner};
use ccsmoke::load::report::LoadReport;
use tokio::runtime::Runtime;

use crate::support::ccsmoke;

/// A source of answers that lives as long as this.
pub(crate) struct Source {
    _runtime: Runtime,
    source: AnswerSource,
}

impl Source {
    pub(crate) fn start(manner: Manner) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let source = runtime.block_on(AnswerSource::start(0, manner)).unwrap();
        Self { _runtime: runtime, source }
    }

    /// Quick answers, of which each n-th has this fault.
    pub(crate) fn with(fault: Fault, every: u64) -> Self {
        Self::start(Manner { fault, every, ..quick() })
    }

    pub(crate) fn url(&self) -> String {
        self.source.base_url()
    }
}

/// Answers that come at once, in eight pieces.
pub(crate) fn quick() -> Manner {
    let millis = Duration::from_millis;
    Manner { first: millis(2), pieces: 8, gap: millis(1), fault: Fault::None, every: 1 }
}

/// A suite in a folder of its own. `body` follows its target and prompts; a busy machine makes the engine late, which is not what these
/// tests are about.
pub(crate) struct Suite {
    pub(crate) folder: tempfile::TempDir,
}

impl Suite {
    pub(crate) fn new(body: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "title = \"A test\"\nseed = 7\n{body}\n[target]\nurl = \"http://127.0.0.1:9\"\napi = \"openai_chat\"\ntokens = [\"a\", \"b\"]\n\
             ttft_timeout = \"1s\"\nidle_timeout = \"1s\"\ntimeout = \"3s\"\n\
             [data]\nmodels = [\"one\", \"two\"]\nprompts.short.texts = [\"Hello?\"]\nprompts.long.texts = [\"Hello at length?\"]\n\
             [limits]\nlag = \"30s\"\n"
        );
        std::fs::write(folder.path().join("suite.toml"), text).unwrap();
        Self { folder }
    }

    /// So many requests a second for a time, half of them streams.
    pub(crate) fn arrivals(rate: u32, lasts: &str, thresholds: &str) -> Self {
        Self::new(&format!(
            "scenario = [{{ name = \"s\", load = {{ arrivals = {{ rate = \"{rate}/s\", for = \"{lasts}\" }} }}, \
             mix = [{{ stream = true }}, {{ stream = false }}] }}]\nthresholds = {{ {thresholds} }}\n"
        ))
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("suite.toml")
    }

    /// Has this in the place of that.
    pub(crate) fn change(&self, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.path()).unwrap();
        assert!(text.contains(from), "{from}");
        std::fs::write(self.path(), text.replace(from, to)).unwrap();
    }

    pub(crate) fn results(&self) -> PathBuf {
        self.folder.path().join("results")
    }

    /// The command that runs it at this address.
    pub(crate) fn command(&self, url: &str) -> Command {
        let mut command = ccsmoke();
        command.args(["load", "--threads", "1", "--url", url, "--results"]).arg(self.results()).arg(self.path());
        command
    }

    /// Runs it, and gives the exit code, the report, and what was printed.
    pub(crate) fn run(&self, url: &str) -> (i32, LoadReport, String) {
        let output = self.command(url).output().unwrap();
        let printed = shown(&output);
        (output.status.code().unwrap(), report(&self.results()), printed)
    }
}

pub(crate) fn shown(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The one report in a folder.
pub(crate) fn report(results: &Path) -> LoadReport {
    let mut all = reports(results);
    assert_eq!(all.len(), 1, "{all:?}");
    LoadReport::read(&all.remove(0)).unwrap()
}

pub(crate) fn reports(results: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(results).into_iter().flatten();
    let mut paths: Vec<PathBuf> =
        entries.map(|e| e.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "json")).collect();
    paths.sort();
    paths
}
