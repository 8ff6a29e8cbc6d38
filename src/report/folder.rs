//! A folder of results: which reports stand in it, which is the newest.

use std::path::{Path, PathBuf};

use super::store::{StoreError, io_error};

/// What stands between the program's name and the worker's in every report's file name.
const INFIX: &str = "-matrix-";

/// A report by its name; it has not been read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReportFile {
    /// The time in its name, in Unix seconds; 0 when there is none.
    pub time: i64,
    /// Its path.
    pub path: PathBuf,
}

impl ReportFile {
    /// Whether a path has a report's name, `…-matrix-….json`.
    fn named(path: PathBuf) -> Option<Self> {
        let stem = path.file_name()?.to_str()?.strip_suffix(".json")?;
        if !stem.contains(INFIX) {
            return None;
        }
        Some(Self { time: time_of(stem).unwrap_or(0), path })
    }
}

/// The time at the end of a name.
fn time_of(stem: &str) -> Option<i64> {
    stem.rsplit('-').next()?.parse().ok()
}

const READABLE: &str = "give a report (results/ccsmoke-matrix-….json) or a folder that holds some";

/// The reports that stand in a folder, oldest first; folders in it are not looked into.
///
/// # Errors
/// The folder cannot be read.
pub fn reports(folder: &Path) -> Result<Vec<ReportFile>, StoreError> {
    let unreadable = |e| io_error(folder, "cannot be read", READABLE)(e);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        found.extend(ReportFile::named(entry.map_err(unreadable)?.path()));
    }
    found.sort();
    Ok(found)
}

/// The newest report of a folder.
///
/// # Errors
/// The folder cannot be read, or holds no report.
pub fn newest(folder: &Path) -> Result<PathBuf, StoreError> {
    let none = || StoreError::None { path: folder.display().to_string() };
    reports(folder)?.pop().map(|report| report.path).ok_or_else(none)
}
