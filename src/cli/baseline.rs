//! `ccsmoke run --baseline`: a run held against a report that is known, so that what was broken before fails nobody.

use std::path::{Path, PathBuf};

use clap::Args;

use super::report::{store_failure, way};
use super::{Exit, FailOn, Failure, Format, to_stdout};
use crate::report::MatrixReport;
use crate::report::diff::{self, Diff};
use crate::report::store::{read_report, write_report};
use crate::verdict::Outcome;
use crate::world::World;

/// Arguments of `ccsmoke run` about the report that is known.
#[derive(Debug, Args)]
pub struct BaselineArgs {
    /// Hold the run against this report: the exit code is 1 when a cell is newly broken or missing, whatever was broken before
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Write this run's report to the baseline's file, whatever changed, unless it is not whole; the file need not be there
    #[arg(long, requires = "baseline")]
    update_baseline: bool,
}

impl BaselineArgs {
    /// Whether a run is held against a report.
    pub(super) fn is_given(&self) -> bool {
        self.baseline.is_some()
    }

    /// Reads the known report, before anything is launched. One that is to be written may be absent.
    pub(super) fn read(&self) -> Result<Option<MatrixReport>, Failure> {
        match &self.baseline {
            Some(path) if self.update_baseline && !path.exists() => Ok(None),
            Some(path) => read_report(path).map(Some).map_err(store_failure),
            None => Ok(None),
        }
    }

    /// Holds the report of a run, as it was stored at `path`, against the known one, and gives the exit code that the changes
    /// deserve. They are printed for people.
    pub(super) fn compare(
        &self,
        known: Option<&MatrixReport>,
        path: &Path,
        (format, fail_on): (Format, FailOn),
        world: &World,
    ) -> Result<Exit, Failure> {
        let mut report = read_report(path).map_err(store_failure)?;
        let diff = known.map(|known| Diff::of(known, &report));
        if let Some(diff) = diff.as_ref().filter(|_| format == Format::Human) {
            to_stdout(&format!("\n{}", diff::terminal::render(diff, &path.to_string_lossy(), world.screen())))?;
        }
        if report.outcomes.iter().all(|row| row.outcome == Outcome::Skipped) {
            return Ok(Exit::Nothing);
        }
        if self.update_baseline && report.stopped.is_some() {
            return Ok(Exit::Stopped);
        }
        if let Some(baseline) = self.baseline.as_ref().filter(|_| self.update_baseline) {
            let folder = |path: &Path| path.parent().unwrap_or(Path::new("")).to_owned();
            report.rebase(&way(world, &folder(baseline), &folder(path)));
            write_report(baseline, &report).map_err(store_failure)?;
            return Ok(Exit::Good);
        }
        let fails = fail_on != FailOn::Never && diff.is_some_and(|diff| diff.fails());
        Ok(if fails { Exit::Regression } else { Exit::Good })
    }
}
