//! What was appended to a log file between the start and the end of a cell.
//!
//! The file is read by offset, so the cost of a cell does not depend on how large the log already is. The handle opened at
//! the start stays open: after a rotation by renaming, or a removal, the old file is still read to its end. A log that is
//! truncated, replaced or removed meanwhile loses nothing that can still be read, and each such thing becomes a note. Only
//! regular files are read and nothing here blocks: what stands at the path at the end may be a FIFO or a link that the
//! gateway put there.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use nix::fcntl::OFlag;
use tokio::time::Instant;

use crate::evidence::LogFacts;
use pattern::Pattern;
pub use pattern::newest;

mod pattern;

/// The most of a delta that is kept, in bytes: half of it from the start, half from the end.
pub const KEPT: u64 = 16 << 20;

/// How often a log is looked at while waiting for it to become quiet. A file gives no event when it grows (inotify would,
/// but not on network and overlay file systems, where container logs live), so this is the one place that polls.
const POLL: Duration = Duration::from_millis(20);

/// How many bytes before the offset are remembered, to tell a file that was truncated and has grown again.
const REMEMBERED: u64 = 256;

/// The most directory entries looked at for rotated files.
const MAX_ENTRIES: usize = 10_000;

/// How long to wait for lines that a gateway writes late.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// The log is taken as complete when nothing changed for this long.
    pub quiet: Duration,
    /// The wait is over after this long in any case.
    pub at_most: Duration,
}

/// Where a log stood when a cell began.
#[derive(Debug)]
pub struct LogMark(Arc<Mark>);

#[derive(Debug)]
struct Mark {
    path: PathBuf,
    /// Where the log's name changes: files of such a name that appear are the log from there on.
    pattern: Option<Pattern>,
    start: Start,
    /// The files that already stood beside the log under names of the kind that a rotation gives.
    beside: HashSet<Identity>,
}

#[derive(Debug)]
enum Start {
    Missing,
    Unreadable(String),
    Open(Opened),
}

/// The log as it was at the start.
#[derive(Debug)]
struct Opened {
    file: File,
    identity: Identity,
    /// The path was a symbolic link already, as its owner made it; then the link is followed at the end, too.
    through_link: bool,
    /// The length at the start: what follows is the delta.
    offset: u64,
    /// The bytes before the offset.
    before: Vec<u8>,
}

/// Which file it is, whatever its name. The time of birth tells apart two files that had the same inode in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Identity {
    device: u64,
    inode: u64,
    born: Option<SystemTime>,
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino(), born: metadata.created().ok() }
    }
}

/// A range of one file that belongs to the delta.
struct Piece {
    file: File,
    from: u64,
    to: u64,
}

impl Piece {
    fn new(file: File, from: u64) -> io::Result<Self> {
        let to = file.metadata()?.len().max(from);
        Ok(Self { file, from, to })
    }

    fn len(&self) -> u64 {
        self.to - self.from
    }
}

impl LogMark {
    /// Marks where the log stands now. A log that is missing or unreadable is no error: the delta will say so.
    ///
    /// A cell gets exactly the bytes appended after this moment. When the log ends within a line now, the rest of that
    /// line is in the delta and a note says that the delta's first line began earlier.
    ///
    /// A `*` in the file's name makes the path a pattern: the log is the newest file of such a name, and those that appear
    /// later go on where it ends.
    pub fn take(path: &Path) -> Self {
        let pattern = Pattern::of(path);
        let path = newest(path);
        let path = path.as_path();
        let through_link = std::fs::symlink_metadata(path).is_ok_and(|m| m.is_symlink());
        let start = match open(path, through_link).and_then(|file| Opened::new(file, through_link)) {
            Ok(opened) => Start::Open(opened),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Start::Missing,
            Err(e) => Start::Unreadable(e.to_string()),
        };
        let known = rotated_names(path).into_iter().chain(pattern.iter().flat_map(Pattern::files));
        let beside = known.map(|(_, metadata)| Identity::of(&metadata)).collect();
        Self(Arc::new(Mark { path: path.to_owned(), pattern, start, beside }))
    }

    /// What was appended since, after waiting for late lines. Never fails: what went wrong is in the notes.
    pub async fn delta(&self, wait: Wait) -> LogFacts {
        let restless = self.settle(wait).await;
        let mark = Arc::clone(&self.0);
        let mut facts = tokio::task::spawn_blocking(move || mark.read()).await.unwrap_or_else(|e| LogFacts {
            notes: vec![format!("the log could not be read: {e}")],
            ..LogFacts::default()
        });
        if restless {
            let waited = wait.at_most.as_secs_f64();
            facts.notes.push(format!("the log was still being written after {waited} s: later lines are not here"));
        }
        facts.path = Some(self.0.path.display().to_string());
        facts
    }

    /// Waits until the log is quiet; returns whether it still was not when the time was over.
    async fn settle(&self, wait: Wait) -> bool {
        let deadline = Instant::now() + wait.at_most;
        let mut grew = false;
        let mut quiet_since = Instant::now();
        let mut seen = self.0.stamp().await;
        loop {
            let now = Instant::now();
            if now >= quiet_since + wait.quiet {
                return false;
            }
            if now >= deadline {
                return grew;
            }
            tokio::time::sleep_until((now + POLL).min(deadline).min(quiet_since + wait.quiet)).await;
            let stamp = self.0.stamp().await;
            if stamp != seen {
                seen = stamp;
                quiet_since = Instant::now();
                grew = true;
            }
        }
    }
}

impl Mark {
    /// Changes whenever something was written to the old file or to what stands at the path now.
    async fn stamp(&self) -> (Option<u64>, Option<(Identity, u64)>, Vec<(Identity, u64)>) {
        let old = if let Start::Open(opened) = &self.start { opened.file.metadata().ok() } else { None };
        let now = tokio::fs::metadata(&self.path).await.ok();
        let state = |m: &Metadata| (Identity::of(m), m.len());
        let successors = self.successors().iter().map(|(_, m)| state(m)).collect();
        (old.map(|m| m.len()), now.as_ref().map(state), successors)
    }

    /// The files that have appeared since under a name of the pattern, in the order in which they appeared.
    fn successors(&self) -> Vec<(PathBuf, Metadata)> {
        let Some(pattern) = &self.pattern else { return Vec::new() };
        let mut appeared = pattern.files();
        appeared.retain(|(path, m)| *path != self.path && !self.beside.contains(&Identity::of(m)));
        appeared.sort_by_cached_key(|(path, m)| (m.created().or_else(|_| m.modified()).ok(), path.clone()));
        appeared
    }

    fn read(&self) -> LogFacts {
        let mut notes = Vec::new();
        let mut pieces = self.pieces(&mut notes).unwrap_or_else(|e| {
            notes.push(format!("the log could not be read: {e}"));
            Vec::new()
        });
        for (path, _) in self.successors() {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            match open(&path, false).and_then(|file| Piece::new(file, 0)) {
                Ok(piece) => {
                    notes.push(format!("the log went on in {name}, which was read whole"));
                    pieces.push(piece);
                }
                Err(e) => notes.push(format!("the log went on in {name}, which could not be read: {e}")),
            }
        }
        let delta = assemble(&pieces, KEPT, &mut notes);
        LogFacts { delta, notes, ..LogFacts::default() }
    }

    /// The ranges that make up the delta, in the order in which they were written.
    fn pieces(&self, notes: &mut Vec<String>) -> io::Result<Vec<Piece>> {
        // The path first and the old file after it: a rotation between the two then loses nothing.
        let through_link = matches!(&self.start, Start::Open(o) if o.through_link);
        let now = match open(&self.path, through_link) {
            Ok(file) => Some(file),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => {
                notes.push(format!("what stands at the log's path now was not read: {e}"));
                None
            }
        };
        let old = match &self.start {
            Start::Missing => {
                if now.is_some() {
                    notes.push("the log did not exist when the cell began and was read whole".to_owned());
                }
                return now.map(|file| Piece::new(file, 0)).into_iter().collect();
            }
            Start::Unreadable(why) => {
                notes.push(format!("the log could not be read when the cell began, so there is no delta: {why}"));
                return Ok(Vec::new());
            }
            Start::Open(old) => old,
        };
        let now = now.map(|file| Ok::<_, io::Error>((Identity::of(&file.metadata()?), file))).transpose()?;
        let replacement = match now {
            Some((identity, _)) if identity == old.identity => None,
            Some((identity, file)) => {
                notes
                    .push("the log was rotated or replaced: the old file was read to its end, then the new one".into());
                Some((identity, file))
            }
            None => {
                notes.push("the log's file is gone from its path: what was written to it before was read".to_owned());
                None
            }
        };
        let truncated = !old.is_unbroken(&old.file)?;
        if truncated {
            notes
                .push("the log was truncated: it was read from its start, and lines written before may be lost".into());
        }
        let known = |identity| identity == old.identity || replacement.as_ref().is_some_and(|r| r.0 == identity);
        let (copies, between) = self.rotated_since(old, known, truncated, replacement.is_some(), notes)?;
        let mut pieces = copies;
        pieces.push(Piece::new(old.file.try_clone()?, if truncated { 0 } else { old.offset })?);
        pieces.extend(between);
        pieces.extend(replacement.map(|(_, file)| Piece::new(file, 0)).transpose()?);
        if old.ends_within_line() && !truncated {
            notes.push("the log ended within a line when the cell began: the first line here began before".to_owned());
        }
        Ok(pieces)
    }

    /// What appeared beside the log since the start: copies that hold what a truncation removed, and files that were the
    /// log for a while between two rotations.
    fn rotated_since(
        &self,
        old: &Opened,
        known: impl Fn(Identity) -> bool,
        truncated: bool,
        replaced: bool,
        notes: &mut Vec<String>,
    ) -> io::Result<(Vec<Piece>, Vec<Piece>)> {
        let mut appeared = rotated_names(&self.path);
        appeared.retain(|(path, _)| {
            !self.pattern.as_ref().is_some_and(|p| p.matches(path.file_name().unwrap_or_default()))
        });
        appeared.retain(|(_, m)| !known(Identity::of(m)) && !self.beside.contains(&Identity::of(m)));
        appeared.sort_by_cached_key(|(path, m)| (m.created().or_else(|_| m.modified()).ok(), path.clone()));
        let (mut copies, mut between) = (Vec::new(), Vec::new());
        for (path, _) in appeared {
            let is_packed = path.extension().is_some_and(|e| ["gz", "xz", "zst", "bz2", "lz4"].iter().any(|p| e == *p));
            let Ok(file) = open(&path, false) else { continue };
            let is_copy = !old.before.is_empty() && old.is_unbroken(&file)?;
            match (is_packed, is_copy) {
                (false, true) if truncated => copies.push(Piece::new(file, old.offset)?),
                (false, false) if truncated || replaced => between.push(Piece::new(file, 0)?),
                _ => {
                    let name = path.file_name().unwrap_or_default().to_string_lossy();
                    notes.push(format!("{name} appeared beside the log and was not read"));
                }
            }
        }
        Ok((copies, between))
    }
}

impl Opened {
    fn new(file: File, through_link: bool) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let offset = metadata.len();
        let before = read_range(&file, offset.saturating_sub(REMEMBERED), offset)?;
        Ok(Self { identity: Identity::of(&metadata), file, through_link, offset, before })
    }

    /// Whether a file still holds what stood before the offset, so that its delta begins there.
    fn is_unbroken(&self, file: &File) -> io::Result<bool> {
        let from = self.offset - self.before.len() as u64;
        Ok(file.metadata()?.len() >= self.offset && read_range(file, from, self.offset)? == self.before)
    }

    fn ends_within_line(&self) -> bool {
        self.before.last().is_some_and(|&b| b != b'\n')
    }
}

/// Opens a regular file for reading without ever blocking.
fn open(path: &Path, through_link: bool) -> io::Result<File> {
    let link = if through_link { OFlag::empty() } else { OFlag::O_NOFOLLOW };
    let flags = OFlag::O_NONBLOCK | OFlag::O_CLOEXEC | OFlag::O_NOCTTY | link;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path).map_err(|e| {
        if e.raw_os_error() == Some(nix::errno::Errno::ELOOP as i32) {
            io::Error::other("a symbolic link, which it was not when the cell began")
        } else {
            e
        }
    })?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok(file)
}

/// The regular files beside the log with names of the kind that a rotation gives: `gw.log.1`, `gw.log-20260101`,
/// `gw.2026-01-01.log`.
fn rotated_names(path: &Path) -> Vec<(PathBuf, Metadata)> {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let stem = [path.file_stem().unwrap_or_default().as_encoded_bytes(), b"."].concat();
    let extension = path.extension().map(OsStr::as_encoded_bytes);
    let is_rotated = |other: &OsStr| {
        let other_name = other.as_encoded_bytes();
        let dated = Path::new(other).extension().map(OsStr::as_encoded_bytes) == extension;
        other_name != name
            && (other_name.starts_with(name) || extension.is_some() && dated && other_name.starts_with(&stem))
    };
    files_beside(path, is_rotated)
}

/// The regular files in a path's folder whose names are wanted. An unreadable folder has none.
fn files_beside(path: &Path, wanted: impl Fn(&OsStr) -> bool) -> Vec<(PathBuf, Metadata)> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let entries = entries.take(MAX_ENTRIES).flatten().filter(|entry| wanted(&entry.file_name()));
    // Metadata of the entry itself: a link is not followed.
    entries.filter_map(|e| Some((e.path(), e.metadata().ok()?))).filter(|(_, m)| m.is_file()).collect()
}

/// The bytes of a range, fewer when the file ends before.
fn read_range(file: &File, from: u64, to: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(to - from).map_err(io::Error::other)?];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], from + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// Puts the pieces together as text: whole, or their first and last lines when they are larger than `kept`.
fn assemble(pieces: &[Piece], kept: u64, notes: &mut Vec<String>) -> String {
    let total: u64 = pieces.iter().map(Piece::len).sum();
    let bytes = if total <= kept {
        read_across(pieces, 0, total, notes)
    } else {
        let mut head = read_across(pieces, 0, kept / 2, notes);
        let mut tail = read_across(pieces, total - kept / 2, total, notes);
        // Cut at line ends, so that no line is made of the halves of two.
        head.truncate(head.iter().rposition(|&b| b == b'\n').map_or(head.len(), |i| i + 1));
        tail.drain(..tail.iter().position(|&b| b == b'\n').map_or(0, |i| i + 1));
        let dropped = total - (head.len() + tail.len()) as u64;
        notes.push(format!("the delta has {total} bytes; {dropped} of them, in the middle, were not kept"));
        append(&mut head, &tail);
        head
    };
    if bytes.last().is_some_and(|&b| b != b'\n') {
        notes.push("the last line has no end".to_owned());
    }
    let replaced = bytes.utf8_chunks().filter(|c| !c.invalid().is_empty()).count();
    if replaced > 0 {
        notes.push(format!("{replaced} byte sequences were not UTF-8 and were replaced"));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Reads a range of the pieces' concatenation.
fn read_across(pieces: &[Piece], from: u64, to: u64, notes: &mut Vec<String>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut start = 0;
    for piece in pieces {
        let end = start + piece.len();
        let (first, last) = (from.clamp(start, end), to.clamp(start, end));
        if first < last {
            match read_range(&piece.file, piece.from + first - start, piece.from + last - start) {
                Ok(read) => {
                    let missing = last - first - read.len() as u64;
                    if missing > 0 {
                        notes.push(format!("the log was truncated while it was read: {missing} bytes are lost"));
                    }
                    append(&mut bytes, &read);
                }
                Err(e) => notes.push(format!("{} bytes of the log could not be read: {e}", last - first)),
            }
        }
        start = end;
    }
    bytes
}

/// Appends what stands in another place of the log, so that two torn lines do not become one.
fn append(bytes: &mut Vec<u8>, more: &[u8]) {
    if bytes.last().is_some_and(|&b| b != b'\n') && !more.is_empty() {
        bytes.push(b'\n');
    }
    bytes.extend_from_slice(more);
}

#[cfg(test)]
mod tests;
