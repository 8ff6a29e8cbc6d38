//! Where a run's files stand: the report, written whole or not at all, and beside it a folder with each cell's evidence.

use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::Serialize;
use thiserror::Error;

use super::{MatrixReport, SCHEMA_VERSION};
use crate::evidence::{EVIDENCE_VERSION, Evidence};
use crate::redact::Redactor;

/// The first part of every report's file name.
const PREFIX: &str = "ccsmoke";

/// The files of one run. Dropping it takes the run's folder back when nothing was put there.
#[derive(Debug)]
pub struct RunFiles {
    results: PathBuf,
    stem: String,
}

/// Why a file of a run could not be written or read.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The file or folder cannot be used.
    #[error("{path}: {action}: {source}\n  {advice}")]
    Io {
        /// Which.
        path: String,
        /// What was tried.
        action: &'static str,
        /// Why it failed.
        source: io::Error,
        /// What to do.
        advice: &'static str,
    },
    /// The file is not what it should be.
    #[error("{path}: {message}")]
    Content {
        /// Which.
        path: String,
        /// What is wrong.
        message: String,
    },
}

fn io_error(path: &Path, action: &'static str, advice: &'static str) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.display().to_string();
    move |source| StoreError::Io { path, action, source, advice }
}

const WRITABLE: &str = "give a folder that can be written with --results DIR";

impl RunFiles {
    /// Takes a name of its own in the results folder: `ccsmoke-matrix-<worker>-<unix seconds>`. When another run has it
    /// already, the next free second is taken.
    ///
    /// # Errors
    /// The folder cannot be made or written.
    pub fn create(results: &Path, worker: &str, unix_seconds: i64) -> Result<Self, StoreError> {
        std::fs::create_dir_all(results).map_err(io_error(results, "cannot make the results folder", WRITABLE))?;
        let mut second = unix_seconds;
        loop {
            let stem = format!("{PREFIX}-matrix-{worker}-{second}");
            match std::fs::create_dir(results.join(&stem)) {
                Ok(()) => {
                    let files = Self { results: results.to_owned(), stem };
                    if !files.report_path().exists() {
                        return Ok(files);
                    }
                    second += 1;
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => second += 1,
                Err(e) => return Err(io_error(results, "cannot write to the results folder", WRITABLE)(e)),
            }
        }
    }

    /// The report's path.
    pub fn report_path(&self) -> PathBuf {
        self.results.join(format!("{}.json", self.stem))
    }

    /// The evidence path of an attempt, relative to the report.
    pub fn evidence_path(&self, cell: &str, attempt: usize) -> String {
        format!("{}/{}/attempt-{attempt}/evidence.json", self.stem, slug(cell))
    }

    /// Stores an attempt's evidence, which must have been redacted, with the tap's log beside it.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn store_evidence(&self, relative: &str, evidence: &Evidence, tap_log: &str) -> Result<(), StoreError> {
        let path = self.results.join(relative);
        let folder = path.parent().unwrap_or(&self.results);
        std::fs::create_dir_all(folder).map_err(io_error(folder, "cannot make the evidence folder", WRITABLE))?;
        write_whole(&folder.join("tap.log"), tap_log.as_bytes())?;
        write_whole(&path, &to_json(&path, evidence)?)
    }

    /// Writes the report.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_report(&self, report: &MatrixReport, redactor: &Redactor) -> Result<PathBuf, StoreError> {
        let path = self.report_path();
        let content =
            |e: serde_json::Error| StoreError::Content { path: path.display().to_string(), message: e.to_string() };
        let report = redactor.value(report).map_err(content)?;
        write_whole(&path, &to_json(&path, &report)?)?;
        Ok(path)
    }
}

impl Drop for RunFiles {
    fn drop(&mut self) {
        // It fails where there is evidence, which is meant to stay.
        drop(std::fs::remove_dir(self.results.join(&self.stem)));
    }
}

/// Reads a report.
///
/// # Errors
/// The file cannot be read, is not a report, or was written by a newer ccsmoke.
pub fn read_report(path: &Path) -> Result<MatrixReport, StoreError> {
    let report: MatrixReport = read_versioned(path, "schema_version", SCHEMA_VERSION, "matrix report")?;
    Ok(report)
}

/// Reads an attempt's evidence.
///
/// # Errors
/// The file cannot be read, is not evidence, or was written by a newer ccsmoke.
pub fn read_evidence(path: &Path) -> Result<Evidence, StoreError> {
    read_versioned(path, "evidence_version", EVIDENCE_VERSION, "evidence file")
}

fn read_versioned<T: serde::de::DeserializeOwned>(
    path: &Path,
    key: &str,
    known: u32,
    kind: &str,
) -> Result<T, StoreError> {
    let advice = "give a report (results/ccsmoke-matrix-….json), an evidence file, or the results folder";
    let bytes = std::fs::read(path).map_err(io_error(path, "cannot be read", advice))?;
    let content = |message: String| StoreError::Content { path: path.display().to_string(), message };
    let value: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|e| content(format!("is not a {kind}: not JSON: {e}")))?;
    match value[key].as_u64() {
        Some(version) if version <= u64::from(known) => {}
        Some(version) => {
            let message = format!(
                "has {key} {version}, and this ccsmoke reads up to {known}: use the ccsmoke that wrote it, or a newer one"
            );
            return Err(content(message));
        }
        None => return Err(content(format!("is not a {kind}: it has no {key}"))),
    }
    serde_json::from_value(value).map_err(|e| content(format!("is not a {kind}: {e}")))
}

/// JSON with sorted keys, two spaces of indent and a newline at the end.
fn to_json<T: Serialize>(path: &Path, value: &T) -> Result<Vec<u8>, StoreError> {
    let content =
        |e: serde_json::Error| StoreError::Content { path: path.display().to_string(), message: e.to_string() };
    // A `Value`'s map is sorted by key.
    let sorted = serde_json::to_value(value).map_err(content)?;
    let mut bytes = serde_json::to_vec_pretty(&sorted).map_err(content)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Writes a value as JSON, whole or not at all.
///
/// # Errors
/// The file cannot be written.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), StoreError> {
    write_whole(path, &to_json(path, value)?)
}

/// Writes a file whole or not at all: temporary file in the same folder, fsync, rename, fsync of the folder.
///
/// # Errors
/// The file cannot be written.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let write = || -> io::Result<()> {
        let folder = path.parent().ok_or_else(|| io::Error::other("has no folder"))?;
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let mut file = tempfile::Builder::new()
            .prefix(".ccsmoke-")
            .suffix(".tmp")
            .permissions(std::fs::Permissions::from_mode(0o644))
            .tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|e| e.error)?;
        std::fs::File::open(folder)?.sync_all()
    };
    write().map_err(io_error(path, "cannot be written", "free some space, or give another folder with --results DIR"))
}

/// A file name for a cell: small letters, digits, `-`, `_` and `.`, at most 100 bytes; when that loses something, a hash of
/// the name keeps two cells apart.
pub fn slug(name: &str) -> String {
    use sha2::Digest as _;
    const LONGEST: usize = 80;
    let keep = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c) { c } else { '-' };
    let plain: String = name.chars().map(keep).take(LONGEST).collect();
    if plain == name && !plain.is_empty() && !plain.starts_with('.') {
        return plain;
    }
    let hash = sha2::Sha256::digest(name.as_bytes());
    let tail = hash.iter().take(6).fold(0_u64, |sum, byte| (sum << 8) | u64::from(*byte));
    format!("{}-{tail:012x}", plain.trim_start_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_in_the_same_second_get_two_names() {
        let results = tempfile::tempdir().unwrap();
        let first = RunFiles::create(results.path(), "main", 1000).unwrap();
        let second = RunFiles::create(results.path(), "main", 1000).unwrap();
        assert_eq!(first.report_path().file_name().unwrap(), "ccsmoke-matrix-main-1000.json");
        assert_eq!(second.report_path().file_name().unwrap(), "ccsmoke-matrix-main-1001.json");
    }

    #[test]
    fn a_run_without_evidence_leaves_no_folder_and_its_report_keeps_its_name() {
        let results = tempfile::tempdir().unwrap();
        let files = RunFiles::create(results.path(), "main", 1000).unwrap();
        let report = files.report_path();
        drop(files);
        assert_eq!(std::fs::read_dir(results.path()).unwrap().count(), 0);
        std::fs::write(&report, "{}").unwrap();
        assert_ne!(RunFiles::create(results.path(), "main", 1000).unwrap().report_path(), report);
        assert_eq!(std::fs::read_dir(results.path()).unwrap().count(), 1);
    }

    #[test]
    fn evil_names_stay_below_the_folder_and_apart() {
        let names =
            ["../../etc/passwd", "..", ".", "", "/", "a/b", "A/b", "a\0b", &"x".repeat(5000), "CON", "a b", "a-b"];
        let mut slugs: Vec<String> = names.iter().map(|n| slug(n)).collect();
        for s in &slugs {
            assert!(s.len() <= 100 && !s.is_empty() && !s.starts_with('.') && !s.contains('/'), "{s:?}");
        }
        slugs.sort();
        slugs.dedup();
        assert_eq!(slugs.len(), names.len());
    }

    #[test]
    fn a_newer_report_is_refused_with_a_clear_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.json");
        std::fs::write(&path, r#"{"schema_version": 999}"#).unwrap();
        assert!(read_report(&path).unwrap_err().to_string().contains("schema_version 999"));
        std::fs::write(&path, "{}").unwrap();
        assert!(read_report(&path).unwrap_err().to_string().contains("has no schema_version"));
        std::fs::write(&path, "nonsense").unwrap();
        assert!(read_report(&path).unwrap_err().to_string().contains("not JSON"));
    }
}
