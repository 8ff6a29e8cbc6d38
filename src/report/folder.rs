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

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with these files, and these folders with evidence in them.
    fn results(files: &[&str], folders: &[&str]) -> tempfile::TempDir {
        let results = tempfile::tempdir().unwrap();
        for file in files {
            std::fs::write(results.path().join(file), "").unwrap();
        }
        for folder in folders {
            std::fs::create_dir_all(results.path().join(folder).join("cell")).unwrap();
        }
        results
    }

    fn keep(text: &str) -> Keep {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_kept_is_days_hours_or_a_number() {
        assert_eq!(
            [keep("30d"), keep("12h"), keep("7")],
            [Keep::Seconds(2_592_000), Keep::Seconds(43_200), Keep::Newest(7)]
        );
        for text in ["", "0", "0d", "-1", "-1d", "d", "30 d", "1w", "99999999999999999999d", "9223372036854775807d"] {
            assert!(text.parse::<Keep>().unwrap_err().contains("30d"), "{text:?}");
        }
    }

    #[test]
    fn the_newest_stay_and_what_is_not_ours_is_left_alone() {
        let ours = ["ccsmoke-matrix-a-100.json", "ccsmoke-matrix-z-90.json", "ccsmoke-matrix-a-200.json"];
        let others = [
            "README.md",
            "notes-50.json",
            "ccsmoke-matrix-a-10.txt",
            "ccsmoke-matrix-a-b.json",
            "other-matrix-a-1.json",
        ];
        let folders =
            ["ccsmoke-matrix-a-100", "ccsmoke-matrix-z-90", "sample", "ccsmoke-matrix-a-95", "ccsmoke-matrix-a-300"];
        let results = results(&[&ours[..], &others[..]].concat(), &folders);
        let old = |text: &str, now| beyond(results.path(), keep(text), now).unwrap();
        assert_eq!(old("3", 0), Vec::<String>::new());
        assert_eq!(old("2", 0), ["ccsmoke-matrix-z-90", "ccsmoke-matrix-a-95"], "with what a killed run left before");
        assert_eq!(old("1", 0), ["ccsmoke-matrix-z-90", "ccsmoke-matrix-a-95", "ccsmoke-matrix-a-100"]);
        assert_eq!(old("1h", 3695), ["ccsmoke-matrix-z-90"]);
        assert_eq!(old("1h", 1_000_000).len(), 3, "the newest report stays however old it is");
        for stem in old("1", 0) {
            assert!(remove(results.path(), &stem).unwrap());
        }
        assert_eq!(newest(results.path()).unwrap().file_name().unwrap(), "ccsmoke-matrix-a-200.json");
        let mut left: Vec<_> = std::fs::read_dir(results.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        let mut expected: Vec<&str> =
            [&others[..], &["ccsmoke-matrix-a-200.json", "ccsmoke-matrix-a-300", "sample"]].concat();
        expected.sort_unstable();
        assert_eq!(left, expected);
    }

    #[test]
    fn what_a_run_is_writing_stays_until_it_ends() {
        let results = results(&["ccsmoke-matrix-a-200.json"], &["ccsmoke-matrix-a-100"]);
        let running = RunLock::try_take(&results.path().join("ccsmoke-matrix-a-100")).unwrap();
        assert_eq!(beyond(results.path(), Keep::Newest(1), 0).unwrap(), ["ccsmoke-matrix-a-100"]);
        assert!(!remove(results.path(), "ccsmoke-matrix-a-100").unwrap());
        assert!(results.path().join("ccsmoke-matrix-a-100/cell").exists());
        drop(running);
        assert!(remove(results.path(), "ccsmoke-matrix-a-100").unwrap());
        assert!(remove(results.path(), "ccsmoke-matrix-a-100").unwrap(), "what is gone is gone");
    }

    #[test]
    fn links_are_not_followed_when_room_is_made() {
        let elsewhere = results(&["precious"], &[]);
        let results = results(&["ccsmoke-matrix-a-1.json", "ccsmoke-matrix-a-200.json"], &["ccsmoke-matrix-a-1"]);
        std::os::unix::fs::symlink(elsewhere.path(), results.path().join("ccsmoke-matrix-a-1/link")).unwrap();
        assert!(remove(results.path(), "ccsmoke-matrix-a-1").unwrap());
        assert!(elsewhere.path().join("precious").exists());
    }
}
