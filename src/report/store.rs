//! Where a run's files stand: the report, written whole or not at all, and beside it a folder with each cell's evidence.

use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::folder::RunLock;
use super::trend::Reduced;
use super::{MatrixReport, SCHEMA_VERSION};
use crate::evidence::{EVIDENCE_VERSION, Evidence};
use crate::redact::Redactor;

/// The first part of every report's file name.
pub(super) const PREFIX: &str = "ccsmoke";

/// The files of one run. Dropping it takes the run's folder back when nothing was put there.
#[derive(Debug)]
pub struct RunFiles {
    results: PathBuf,
    stem: String,
    _held: RunLock,
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
    /// The folder has no report.
    #[error("{path}: holds no matrix report (*-matrix-*.json)")]
    None {
        /// Which.
        path: String,
    },
}

pub(super) fn io_error(
    path: &Path,
    action: &'static str,
    advice: &'static str,
) -> impl FnOnce(io::Error) -> StoreError + use<> {
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
                    // A file system without locks is not worth failing for: only `results prune` asks for them.
                    let held = RunLock::try_take(&results.join(&stem)).unwrap_or_default();
                    let files = Self { results: results.to_owned(), stem, _held: held };
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

/// Writes a text beside the reports of a results folder.
///
/// # Errors
/// The file cannot be written.
pub fn write_beside(results: &Path, name: &str, text: &str, redactor: &Redactor) -> Result<PathBuf, StoreError> {
    let path = results.join(name);
    write_whole(&path, redactor.text(text).as_bytes())?;
    Ok(path)
}

impl Drop for RunFiles {
    fn drop(&mut self) {
        // It fails where there is evidence, which is meant to stay.
        drop(std::fs::remove_dir(self.results.join(&self.stem)));
    }
}

/// Writes a report that was made of stored ones, and the folders above it.
///
/// # Errors
/// The file cannot be written.
pub fn write_report(path: &Path, report: &MatrixReport) -> Result<(), StoreError> {
    // A bare file name stands in the working folder.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(io_error(folder, "cannot make the folder", WRITABLE))?;
    write_whole(path, &to_json(path, report)?)
}

/// A kind of file that tells the version of its form.
struct Form {
    /// Its name in messages.
    kind: &'static str,
    /// The field with the version.
    key: &'static str,
    /// The newest version that can be read.
    known: u32,
    /// No larger file is read.
    max_bytes: u64,
}

/// A cell takes about 10 KB of a report, so that this is some 25,000 cells.
const REPORT: Form = Form { kind: "matrix report", key: "schema_version", known: SCHEMA_VERSION, max_bytes: 256 << 20 };
const EVIDENCE: Form =
    Form { kind: "evidence file", key: "evidence_version", known: EVIDENCE_VERSION, max_bytes: 512 << 20 };

/// Reads what history needs of a report.
///
/// # Errors
/// As of [`read_report`].
pub fn read_reduced(path: &Path) -> Result<Reduced, StoreError> {
    read_versioned(path, &REPORT)
}

/// Reads a report.
///
/// # Errors
/// The file cannot be read, is not a report, or was written by a newer ccsmoke.
pub fn read_report(path: &Path) -> Result<MatrixReport, StoreError> {
    read_versioned(path, &REPORT)
}

/// Reads an attempt's evidence.
///
/// # Errors
/// The file cannot be read, is not evidence, or was written by a newer ccsmoke.
pub fn read_evidence(path: &Path) -> Result<Evidence, StoreError> {
    read_versioned(path, &EVIDENCE)
}

fn read_versioned<T: serde::de::DeserializeOwned>(path: &Path, form: &Form) -> Result<T, StoreError> {
    let bytes = read_bounded(path, form.max_bytes)?;
    parse_versioned(&bytes, form).map_err(|message| StoreError::Content { path: path.display().to_string(), message })
}

/// Reads the JSON of a file's bytes, after looking whether its version is one that is known.
///
/// # Errors
/// What is wrong, in words that go behind the file's name.
fn parse_versioned<'a, T: Deserialize<'a>>(bytes: &'a [u8], form: &Form) -> Result<T, String> {
    /// A file of any version: what it has besides is passed over.
    #[derive(Deserialize)]
    #[serde(expecting = "an object")]
    struct Versioned {
        schema_version: Option<serde_json::Value>,
        evidence_version: Option<serde_json::Value>,
    }
    let Form { kind, key, known, .. } = form;
    let versioned: Versioned = serde_json::from_slice(bytes).map_err(|e| {
        let what = if e.is_data() { "" } else { "not JSON: " };
        format!("is not a {kind}: {what}{e}")
    })?;
    let version = if *key == REPORT.key { versioned.schema_version } else { versioned.evidence_version };
    match version.map(|version| version.as_u64()) {
        Some(Some(version)) if version <= u64::from(*known) => {}
        Some(Some(version)) => {
            return Err(format!(
                "has {key} {version}, and this ccsmoke reads up to {known}: use the ccsmoke that wrote it, or a newer one"
            ));
        }
        Some(None) => return Err(format!("is not a {kind}: its {key} is not a whole number")),
        None => return Err(format!("is not a {kind}: it has no {key}")),
    }
    serde_json::from_slice(bytes).map_err(|e| format!("is not a {kind}: {e}"))
}

/// Reads a regular file that is not larger than so many bytes; of another one nothing is kept.
pub(super) fn read_bounded(path: &Path, max_bytes: u64) -> Result<Vec<u8>, StoreError> {
    let advice = "give a report (results/ccsmoke-matrix-….json), an evidence file, or the results folder";
    let unreadable = |e| io_error(path, "cannot be read", advice)(e);
    let content = |message: String| StoreError::Content { path: path.display().to_string(), message };
    // Before it is opened: opening a pipe waits for somebody who writes.
    let facts = std::fs::metadata(path).map_err(unreadable)?;
    if facts.is_dir() {
        return Err(unreadable(io::ErrorKind::IsADirectory.into()));
    }
    if !facts.is_file() {
        return Err(content("is not a regular file".to_owned()));
    }
    let mut bytes = Vec::new();
    if facts.len() <= max_bytes {
        // It may grow meanwhile.
        let file = std::fs::File::open(path).map_err(unreadable)?;
        file.take(max_bytes + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    }
    if facts.len().max(bytes.len() as u64) > max_bytes {
        return Err(content(format!(
            "is larger than {} MB; no run of ccsmoke writes such a file, and it was not read",
            max_bytes >> 20
        )));
    }
    Ok(bytes)
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
