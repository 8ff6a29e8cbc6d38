//! A folder of results: which reports stand in it, which is the newest, and what goes when room
//! is made.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nix::fcntl::{Flock, FlockArg};

use super::store::{PREFIX, StoreError, io_error};

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

/// What is kept of old runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Those that began at most so many seconds ago.
    Seconds(i64),
    /// So many.
    Newest(usize),
}

impl FromStr for Keep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words = || "30d, 12h, or a number of reports, from 1 on".to_owned();
        let times = |number: &str, unit: i64| {
            let number: i64 = number.parse().ok().filter(|n| *n > 0).ok_or_else(words)?;
            number.checked_mul(unit).map(Self::Seconds).ok_or_else(words)
        };
        match (text.strip_suffix('d'), text.strip_suffix('h')) {
            (Some(days), _) => times(days, 24 * 60 * 60),
            (_, Some(hours)) => times(hours, 60 * 60),
            _ => text.parse().ok().filter(|n| *n > 0).map(Self::Newest).ok_or_else(words),
        }
    }
}

/// The runs that are not to be kept, by the stem of their files, oldest first; the newest report always stays. What a run left
/// that was ended before it wrote its report is as old as its name says.
///
/// # Errors
/// The folder cannot be read.
pub fn beyond(folder: &Path, keep: Keep, now: i64) -> Result<Vec<String>, StoreError> {
    let unreadable = |e| io_error(folder, "cannot be read", READABLE)(e);
    // By time, so that the oldest come first; true where there is a report.
    let mut runs: BTreeMap<(i64, String), bool> = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let stem = name.strip_suffix(".json").unwrap_or(&name);
        // Nothing but what a run names is touched.
        let time = time_of(stem).filter(|_| stem.starts_with(PREFIX) && stem.contains(INFIX));
        if let Some(time) = time.filter(|_| is_folder != (stem.len() < name.len())) {
            *runs.entry((time, stem.to_owned())).or_default() |= !is_folder;
        }
    }
    let reports: Vec<i64> = runs.iter().filter(|(_, report)| **report).map(|((time, _), _)| *time).collect();
    let newest = reports.last().copied().unwrap_or(i64::MIN);
    let oldest_kept = match keep {
        Keep::Seconds(seconds) => now.saturating_sub(seconds),
        Keep::Newest(n) => reports.iter().rev().nth(n - 1).copied().unwrap_or(i64::MIN),
    };
    let mut left = reports.len();
    let old = runs.into_iter().filter(|((time, _), report)| {
        let goes = match keep {
            Keep::Newest(n) if *report => left > n,
            _ => *time < oldest_kept,
        };
        // The newest one stays whatever its age, and so does what may belong to a run that began after it.
        let goes = goes && (*time < newest || (*report && left > 1));
        left -= usize::from(goes && *report);
        goes
    });
    Ok(old.map(|((_, stem), _)| stem).collect())
}

/// Removes a run's report, then its evidence; false when a run is still writing there. What another one removes meanwhile is
/// gone as well.
///
/// # Errors
/// A file cannot be removed.
pub fn remove(folder: &Path, stem: &str) -> Result<bool, StoreError> {
    let evidence = folder.join(stem);
    let Ok(_held) = RunLock::try_take(&evidence) else { return Ok(false) };
    let report = folder.join(format!("{stem}.json"));
    // The report first: what is left when this is interrupted is evidence without a report, which goes the next time.
    for (path, removed) in [(&report, std::fs::remove_file(&report)), (&evidence, std::fs::remove_dir_all(&evidence))] {
        match removed {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(
                    io_error(path, "cannot be removed", "remove it by hand, or give --results another folder")(e),
                );
            }
            _ => {}
        }
    }
    Ok(true)
}

/// Held by a run on the folder of its evidence for as long as it lives, so that nobody clears it away meanwhile. The system
/// takes it back from a process that was killed.
#[derive(Debug, Default)]
pub(super) struct RunLock {
    _lock: Option<Flock<File>>,
}

impl RunLock {
    /// Takes it, unless somebody holds it. A folder that is not there needs none.
    pub(super) fn try_take(folder: &Path) -> io::Result<Self> {
        let file = match File::open(folder) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Self { _lock: None }),
            Err(e) => return Err(e),
        };
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| io::Error::from(errno))?;
        Ok(Self { _lock: Some(lock) })
    }
}
