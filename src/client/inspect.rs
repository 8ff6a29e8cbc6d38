//! What a program says of itself: a client is what answers `--version` like one.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use nix::unistd::{AccessFlags, access};
use sha2::{Digest as _, Sha256};
use tokio::process::Command;

use super::command::{Bounds, End, run, shown, told};
use super::{Client, Source, Surroundings};

/// Bytes of an answer to `--version` that are read.
const MOST_PRINTED: u64 = 64 * 1024;

/// Bytes that are hashed at a time.
const PIECE: usize = 1024 * 1024;

/// Why a path leads to no client. The text continues a sentence that begins with the path.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// Nothing has that name.
    #[error("is not there")]
    Missing,
    /// A link to nothing.
    #[error("is a link to {}, which is not there", _0.display())]
    DanglingLink(PathBuf),
    /// A folder.
    #[error("is a folder, not a program")]
    Folder,
    /// A pipe, a device or the like.
    #[error("is not a regular file")]
    NotAFile,
    /// This user may not execute it.
    #[error("is not executable (`chmod +x` makes it so)")]
    NotExecutable,
    /// The system refuses to say what it is, or to hand out its bytes.
    #[error("cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// The system refuses to run it, or a script's interpreter is not there.
    #[error("cannot be run: {0}")]
    NotStarted(#[source] io::Error),
    /// It did not end.
    #[error("did not finish `--version` within {seconds} s{printed}")]
    Hung {
        /// The limit.
        seconds: f64,
        /// What it printed by then.
        printed: Printed,
    },
    /// It printed and printed.
    #[error("printed more than {} KiB for `--version`", MOST_PRINTED / 1024)]
    Endless,
    /// It ended in failure.
    #[error("failed at `--version` with {how}{printed}")]
    Failed {
        /// The exit code or signal.
        how: String,
        /// What it printed.
        printed: Printed,
    },
    /// It succeeded without a word.
    #[error("printed nothing for `--version`, so it is not Claude Code")]
    Silent,
    /// It said something else.
    #[error("is not Claude Code: `--version` should print a line like \"2.1.329 (Claude Code)\"{printed}")]
    NotClaudeCode {
        /// What it printed.
        printed: Printed,
    },
    /// It is Claude Code, but not the version that belongs there.
    #[error("is Claude Code {found}, not {expected}")]
    OtherVersion {
        /// The version it printed.
        found: String,
        /// The version that was to be there.
        expected: String,
    },
}

/// What a program printed, made safe to show; nothing when it printed nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Printed(String);

impl Printed {
    /// Standard output, or where that is empty standard error.
    fn of(stdout: &[u8], stderr: &[u8]) -> Self {
        let out = shown(stdout);
        Self(if out.is_empty() { shown(stderr) } else { out })
    }
}

impl fmt::Display for Printed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "; it printed \"{}\"", self.0) }
    }
}

/// Asks the program at an absolute path for its version and hashes its bytes.
///
/// It is run with `PATH` alone, in an empty home folder that is removed afterwards.
///
/// # Errors
/// It is not there, cannot be run, or does not answer as Claude Code does.
pub async fn inspect(path: &Path, source: Source, surroundings: &Surroundings<'_>) -> Result<Client, Unfit> {
    check_file(path)?;
    let version = ask_version(path, surroundings).await?;
    let file = path.to_owned();
    let hashed = tokio::task::spawn_blocking(move || hash(&file)).await;
    let sha256 = hashed.map_err(|e| Unfit::Unreadable(e.into()))?.map_err(Unfit::Unreadable)?;
    Ok(Client { path: path.to_owned(), version, sha256, source })
}

/// Tells the ways in which a path is no program apart; the system would call most of them "permission denied".
fn check_file(path: &Path) -> Result<(), Unfit> {
    let facts = fs::metadata(path).map_err(|error| match (error.kind(), fs::read_link(path)) {
        (io::ErrorKind::NotFound, Ok(to)) => Unfit::DanglingLink(to),
        (io::ErrorKind::NotFound, Err(_)) => Unfit::Missing,
        _ => Unfit::Unreadable(error),
    })?;
    if facts.is_dir() {
        return Err(Unfit::Folder);
    }
    if !facts.is_file() {
        return Err(Unfit::NotAFile);
    }
    access(path, AccessFlags::X_OK).map_err(|_| Unfit::NotExecutable)
}

/// Runs `--version`.
async fn ask_version(path: &Path, surroundings: &Surroundings<'_>) -> Result<String, Unfit> {
    let home = tempfile::Builder::new().prefix("ccsmoke-version-").tempdir().map_err(Unfit::NotStarted)?;
    let mut command = Command::new(path);
    command.arg("--version").env_clear().env("HOME", home.path()).current_dir(home.path());
    if let Some(search_path) = surroundings.variable("PATH") {
        command.env("PATH", search_path);
    }
    let bounds = Bounds { time: surroundings.limits.version, bytes: MOST_PRINTED };
    let seen = run(&mut command, bounds).await.map_err(Unfit::NotStarted)?;
    let printed = Printed::of(&seen.stdout, &seen.stderr);
    match seen.end {
        End::TooLong => Err(Unfit::Hung { seconds: bounds.time.as_secs_f64(), printed }),
        End::TooMuch => Err(Unfit::Endless),
        End::Exited(status) if !status.success() => Err(Unfit::Failed { how: told(status), printed }),
        End::Exited(_) if seen.stdout.is_empty() && seen.stderr.is_empty() => Err(Unfit::Silent),
        End::Exited(_) => version_in(&seen.stdout).map(str::to_owned).ok_or(Unfit::NotClaudeCode { printed }),
    }
}

/// The version in an answer that is exactly one line such as `2.1.329 (Claude Code)`.
fn version_in(answer: &[u8]) -> Option<&str> {
    let answer = std::str::from_utf8(answer).ok()?;
    let line = answer.strip_suffix('\n').unwrap_or(answer);
    line.strip_suffix(" (Claude Code)").filter(|v| is_version(v))
}

/// Whether a text is a whole version: three numbers, and perhaps letters, digits, dots and dashes after them.
pub(super) fn is_version(text: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let mut parts = text.splitn(3, '.');
    let (Some(major), Some(minor), Some(rest)) = (parts.next(), parts.next(), parts.next()) else { return false };
    is_number(major)
        && is_number(minor)
        && rest.starts_with(|c: char| c.is_ascii_digit())
        && rest.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
}

/// The SHA-256 of a file's bytes, read in pieces because a client has hundreds of megabytes.
fn hash(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut piece = vec![0; PIECE];
    let mut hash = Sha256::new();
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(format!("{:x}", Bytes::copy_from_slice(&hash.finalize()))),
            Ok(length) => hash.update(&piece[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::Regex;

    use super::*;

    #[test]
    fn only_one_line_of_the_exact_form_holds_a_version() {
        for (answer, version) in [
            ("2.1.329 (Claude Code)\n", "2.1.329"),
            ("2.1.329 (Claude Code)", "2.1.329"),
            ("10.0.0-beta.1 (Claude Code)\n", "10.0.0-beta.1"),
        ] {
            assert_eq!(version_in(answer.as_bytes()), Some(version));
        }
        for answer in [
            "",
            "\n",
            "2.1.329",
            "2.1 (Claude Code)",
            "2.1. (Claude Code)",
            ".1.3 (Claude Code)",
            "v2.1.329 (Claude Code)",
            "2.1.x (Claude Code)",
            "٢.1.3 (Claude Code)",
            "2.1.3/../x (Claude Code)",
            "2.1.329 (Claude Code)\n\n",
            "2.1.329 (Claude Code)\r\n",
            " 2.1.329 (Claude Code)",
            "2.1.329  (Claude Code)",
            "2.1.329 (claude code)",
            "warning\n2.1.329 (Claude Code)",
            "2.1.329 (Claude Code)\nmore",
        ] {
            assert_eq!(version_in(answer.as_bytes()), None, "{answer:?}");
        }
        assert_eq!(version_in(b"2.1.\xff (Claude Code)"), None);
    }

    proptest! {
        #[test]
        fn a_version_is_what_its_pattern_says(text in "[0-9.]{0,6}(\\PC|[-.a-z0-9\n]){0,6}( \\(Claude Code\\)\n?)?") {
            let pattern = Regex::new(r"\A([0-9]+\.[0-9]+\.[0-9]+[-.A-Za-z0-9]*) \(Claude Code\)\n?\z").unwrap();
            let expected = pattern.captures(&text).map(|found| found.get(1).unwrap().as_str());
            prop_assert_eq!(version_in(text.as_bytes()), expected);
        }
    }

    #[test]
    fn a_file_larger_than_one_piece_is_hashed_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, vec![b'a'; PIECE + 1]).unwrap();
        let whole = format!("{:x}", Bytes::copy_from_slice(&Sha256::digest(fs::read(&path).unwrap())));
        assert_eq!(hash(&path).unwrap(), whole);
    }
}
