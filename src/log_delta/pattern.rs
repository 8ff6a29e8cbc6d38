//! A log whose name changes: a `*` in its file name stands for any characters, and the newest file of such a name is the log.

use std::ffi::OsStr;
use std::fs::Metadata;
use std::path::{Path, PathBuf};

use super::files_beside;

/// The path of a log with a `*` in its file name.
#[derive(Debug)]
pub(super) struct Pattern {
    path: PathBuf,
    /// What stands between the `*`s: at least two parts, of which the first begins and the last ends the name.
    parts: Vec<Vec<u8>>,
}

impl Pattern {
    /// The pattern, if the file's name is one.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.as_encoded_bytes();
        let parts: Vec<_> = name.split(|b| *b == b'*').map(<[u8]>::to_vec).collect();
        (parts.len() > 1).then(|| Self { path: path.to_owned(), parts })
    }

    /// Whether a file of this name is meant.
    pub(super) fn matches(&self, name: &OsStr) -> bool {
        let name = name.as_encoded_bytes();
        let [first, between @ .., last] = &self.parts[..] else { return false };
        let Some(mut rest) = name.strip_prefix(&first[..]).and_then(|rest| rest.strip_suffix(&last[..])) else {
            return false;
        };
        // Each part at its first place leaves most to those behind it.
        between.iter().filter(|part| !part.is_empty()).all(|part| {
            let at = rest.windows(part.len()).position(|window| window == part);
            at.is_some_and(|at| {
                rest = &rest[at + part.len()..];
                true
            })
        })
    }

    /// The regular files that are meant, the one written last at the end.
    pub(super) fn files(&self) -> Vec<(PathBuf, Metadata)> {
        let mut files = files_beside(&self.path, |name| self.matches(name));
        files.sort_by_cached_key(|(path, metadata)| (metadata.modified().ok(), path.clone()));
        files
    }
}

/// The file that a log's path means now: of a pattern the newest match, where there is one.
pub fn newest(path: &Path) -> PathBuf {
    let newest = Pattern::of(path).and_then(|pattern| pattern.files().pop());
    newest.map_or_else(|| path.to_owned(), |(path, _)| path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters_and_for_none() {
        let means = |pattern: &str, name: &str| Pattern::of(Path::new(pattern)).unwrap().matches(OsStr::new(name));
        for (pattern, name) in
            [("l/ccr-*.log", "ccr-2026.log"), ("*.log", ".log"), ("*", "x"), ("a*b*c", "a-b-b-c"), ("a**c", "ac")]
        {
            assert!(means(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("ccr-*.log", "ccr-1.log.gz"), ("ccr-*.log", "ccr.log"), ("a*a", "a"), ("a*b*c", "acb"), ("a*b*bc", "abc")]
        {
            assert!(!means(pattern, name), "{pattern} {name}");
        }
        assert!(Pattern::of(Path::new("folder-*/gw.log")).is_none());
    }
}
