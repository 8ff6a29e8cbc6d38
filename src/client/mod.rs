//! The client: which `claude` is launched, where it comes from, and what exactly it is.
//!
//! A client is given as a path, found on `PATH`, or fetched through npm into the user's cache; in every case it has told
//! its version itself and its bytes are named by their hash before a cell is run with it.

mod command;
mod find;
mod inspect;
mod install;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use find::{find, locate};
pub use inspect::{Unfit, inspect};
pub use install::{PINNED_VERSION, versions};

/// A `claude` program that answered for itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// Its absolute path, links kept: a version manager's link decides by its own name what to start.
    pub path: PathBuf,
    /// The version it printed, such as `2.1.329`.
    pub version: String,
    /// The SHA-256 of the file behind the links, in lower-case hexadecimal.
    pub sha256: String,
    /// Where it came from.
    pub source: Source,
}

/// Where a client came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The path that the user gave.
    Given,
    /// The search path.
    Path,
    /// An earlier install in the cache.
    Cache,
    /// An install of this run.
    Installed,
}

/// What the search for a client has to know of the world.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// The environment: `PATH`, `XDG_CACHE_HOME`, `HOME`, and all of it for npm, whose configuration may be there.
    pub environment: &'a [(OsString, OsString)],
    /// The working folder, absolute; relative paths start there.
    pub folder: &'a Path,
    /// How long programs may take.
    pub limits: Limits,
}

/// How long the programs that are run on the way to a client may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `claude --version`; a quarter of a second is usual.
    pub version: Duration,
    /// One call of npm; an install of ten seconds is usual.
    pub npm: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { version: Duration::from_secs(10), npm: Duration::from_secs(600) }
    }
}

impl Surroundings<'_> {
    /// A variable that is set and not empty.
    fn variable(&self, name: &str) -> Option<&OsStr> {
        let (_, value) = self.environment.iter().find(|(key, _)| key == name)?;
        Some(value.as_os_str()).filter(|v| !v.is_empty())
    }

    /// The search path as it is shown to a person.
    fn searched(&self) -> String {
        self.variable("PATH").map_or_else(|| "which is empty".to_owned(), |p| p.to_string_lossy().into_owned())
    }

    /// The first executable file of this name on the search path.
    fn program(&self, name: &str) -> Option<PathBuf> {
        which::which_in(name, self.variable("PATH"), self.folder).ok()
    }
}

/// A step that takes noticeable time, told before or after it as its text says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// The registry is asked what a name such as `latest` stands for.
    Resolving(&'a str),
    /// Another process installs this version; its end is awaited.
    Waiting(&'a str),
    /// The install of this version begins.
    Installing(&'a str),
    /// The install of this version is complete.
    Installed {
        /// The version.
        version: &'a str,
        /// How long the install took.
        took: Duration,
    },
}

impl fmt::Display for Progress<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolving(name) => write!(f, "asking npm which version of Claude Code is \"{name}\""),
            Self::Waiting(version) => write!(f, "waiting for another process that installs Claude Code {version}"),
            Self::Installing(version) => {
                write!(f, "installing Claude Code {version} through npm (about 10 s and 370 MB, once)")
            }
            Self::Installed { version, took } => {
                write!(f, "installed Claude Code {version} in {:.1} s", took.as_secs_f64())
            }
        }
    }
}

/// Hears of every [`Progress`].
pub type Listener<'l> = dyn FnMut(Progress<'_>) + Send + 'l;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The path that the user gave leads to no client.
    #[error(
        "--claude: {} {why}; give the path of a working `claude`, or leave --claude out to use the one on PATH",
        path.display()
    )]
    Given {
        /// The path, made absolute.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        why: Unfit,
    },
    /// What the user asked for can be no version.
    #[error("{asked:?} is no version of Claude Code; give a whole one such as {PINNED_VERSION}, or `latest`")]
    Version {
        /// What was asked for.
        asked: String,
    },
    /// The `claude` on the search path is none.
    #[error(
        "{}, the first `claude` on PATH, {why}; repair it, put a working one before it, or give --claude PATH",
        path.display()
    )]
    OnPath {
        /// The path found.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        why: Unfit,
    },
    /// Nothing to run and nothing to fetch it with.
    #[error(
        "Claude Code {version} has to be fetched, but there is no npm on PATH ({searched}); either install Claude Code and put \
         `claude` on PATH or give --claude PATH, or install Node.js with npm so that ccsmoke can fetch it"
    )]
    NoNpm {
        /// The version wanted.
        version: String,
        /// The search path.
        searched: String,
    },
    /// There is no place for an install.
    #[error(
        "there is no cache folder to install Claude Code into: set HOME or XDG_CACHE_HOME to an absolute path, or give \
         --claude PATH"
    )]
    NoCache,
    /// The place for installs cannot be used.
    #[error("{}: {error}; make it usable, set XDG_CACHE_HOME to another folder, or give --claude PATH", path.display())]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        #[source]
        error: io::Error,
    },
    /// npm did not do what it was run for.
    #[error(
        "`{command}` {how}{words}\ncheck that this version exists and that npm reaches its registry (`npm ping`), or \
         install Claude Code yourself and put `claude` on PATH or give --claude PATH"
    )]
    Npm {
        /// The command line, for a person.
        command: String,
        /// How it ended.
        how: String,
        /// Its last lines, each on a line of its own and indented; empty when it said nothing.
        words: String,
    },
    /// npm succeeded, and what it installed is not that client.
    #[error(
        "npm installed Claude Code {version}, but its {} {why}; try another version, or install Claude Code yourself and put \
         `claude` on PATH or give --claude PATH",
        path.display()
    )]
    Installed {
        /// The version asked for.
        version: String,
        /// The program within the install.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        why: Unfit,
    },
}

impl ClientError {
    /// Whether what the user wrote is wrong, and not the machine: the difference between a usage and a set-up error.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::Given { .. } | Self::Version { .. })
    }
}
