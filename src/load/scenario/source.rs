//! Where a suite's files come from: built in, or a folder.

use std::path::{Path, PathBuf};

use crate::file_error::FileError;

include!(concat!(env!("OUT_DIR"), "/load_files.rs"));

/// The largest file of a suite, in bytes: recorded sessions are long.
const MAX_FILE_BYTES: u64 = 256 * 1024 * 1024;

/// Where the files beside a suite are.
#[derive(Debug, Clone)]
pub enum Source {
    /// Those of `probes/load/`, as they were built in.
    BuiltIn,
    /// A folder.
    Folder(PathBuf),
}

/// The names of the built-in suites.
pub fn built_in_names() -> impl Iterator<Item = &'static str> {
    LOAD_FILES.iter().filter_map(|(path, _)| path.strip_suffix(".toml"))
}

/// The text of a built-in suite.
pub fn built_in(name: &str) -> Option<(PathBuf, &'static str)> {
    let file = format!("{name}.toml");
    let (path, text) = LOAD_FILES.iter().find(|(path, _)| *path == file)?;
    Some((Path::new("probes/load").join(path), text))
}

impl Source {
    /// How a file is named in messages.
    pub fn path(&self, relative: &str) -> PathBuf {
        match self {
            Self::BuiltIn => Path::new("probes/load").join(relative),
            Self::Folder(folder) => folder.join(relative),
        }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn read(&self, relative: &str) -> Result<String, FileError> {
        match self {
            Self::BuiltIn => LOAD_FILES
                .iter()
                .find(|(path, _)| *path == relative)
                .map(|(_, text)| (*text).to_owned())
                .ok_or_else(|| FileError::whole(&self.path(relative), "is not among the built-in files")),
            Self::Folder(folder) => FileError::read(&folder.join(relative), MAX_FILE_BYTES),
        }
    }

    /// The files of a folder by their names, or the one file of that name.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn list(&self, relative: &str) -> Result<Vec<String>, FileError> {
        match self {
            Self::BuiltIn => {
                let folder = format!("{}/", relative.trim_end_matches('/'));
                Ok(LOAD_FILES
                    .iter()
                    .map(|(path, _)| (*path).to_owned())
                    .filter(|path| path.starts_with(&folder) || path == relative)
                    .collect())
            }
            Self::Folder(folder) => {
                let path = folder.join(relative);
                if !path.is_dir() {
                    return Ok(vec![relative.to_owned()]);
                }
                let cannot = |e: std::io::Error| FileError::whole(&path, format!("the folder cannot be read: {e}"));
                let mut names = Vec::new();
                for entry in std::fs::read_dir(&path).map_err(cannot)? {
                    let name = entry.map_err(cannot)?.file_name().to_string_lossy().into_owned();
                    let known = Path::new(&name).extension().is_some_and(|e| e == "json" || e == "jsonl");
                    if known && !name.starts_with('.') {
                        names.push(format!("{}/{name}", relative.trim_end_matches('/')));
                    }
                }
                names.sort();
                Ok(names)
            }
        }
    }
}
