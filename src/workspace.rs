//! The throw-away folders of one cell: workspace, home, configuration, temporary files.
//!
//! The client works there on behalf of a gateway that is hostile by assumption, so what it left is read without following
//! links, without waiting on pipes, and only to be compared.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use tempfile::TempDir;

use crate::evidence::FileFact;
use crate::launch::Folders;
use crate::probe::{Probe, Vars};

/// The folders of one cell; dropping it removes them.
#[derive(Debug)]
pub struct Workspace {
    /// Keeps the folder until the drop.
    _root: TempDir,
    work: PathBuf,
    home: PathBuf,
    config: PathBuf,
    temporary: PathBuf,
}

impl Workspace {
    /// Makes the folders, readable by this user alone.
    ///
    /// # Errors
    /// The temporary folder cannot be written.
    pub fn create() -> io::Result<Self> {
        let root = tempfile::Builder::new().prefix("ccsmoke-").tempdir()?;
        // The client names files by their real path, so links in front of the folder are resolved.
        let real = root.path().canonicalize()?;
        let [work, home, config, temporary] = ["work", "home", "config", "tmp"].map(|name| real.join(name));
        for folder in [&work, &home, &config, &temporary] {
            fs::DirBuilder::new().mode(0o700).create(folder)?;
        }
        Ok(Self { _root: root, work, home, config, temporary })
    }

    /// Where the client works.
    pub fn folder(&self) -> &Path {
        &self.work
    }

    /// The client's other folders.
    pub fn folders(&self) -> Folders<'_> {
        Folders { home: &self.home, config: &self.config, temporary: &self.temporary }
    }

    /// Puts the probe's files into the workspace.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn fill(&self, probe: &Probe, vars: &Vars) -> io::Result<()> {
        for file in &probe.workspace {
            let path = self.work.join(file.path.get_ref());
            if let Some(folder) = path.parent() {
                fs::create_dir_all(folder)?;
            }
            fs::write(path, vars.fill(file.content.get_ref()))?;
        }
        Ok(())
    }

    /// Compares the probe's files with what they were.
    pub fn compare(&self, probe: &Probe, vars: &Vars) -> Vec<FileFact> {
        let fact = |file: &crate::probe::WorkspaceFile| {
            let expected = vars.fill(file.content.get_ref());
            let path = file.path.get_ref().clone();
            let intact = holds(&self.work.join(&path), expected.as_bytes()).unwrap_or(false);
            FileFact { path, expected, intact }
        };
        probe.workspace.iter().map(fact).collect()
    }
}

/// Whether a regular file, which is not reached through a link of its own, holds exactly these bytes.
fn holds(path: &Path, expected: &[u8]) -> io::Result<bool> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = fs::OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    if !file.metadata()?.is_file() {
        return Ok(false);
    }
    let mut bytes = Vec::new();
    file.take(expected.len() as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes == expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes::ProbeSet;

    #[test]
    fn a_link_a_pipe_and_a_changed_file_are_not_intact_and_nothing_hangs() {
        let workspace = Workspace::create().unwrap();
        let set = ProbeSet::built_in().unwrap();
        let probe = set.get("tool_use_roundtrip").unwrap();
        let vars = Vars { marker: "M".into(), nonce: "n".into(), workspace: "w".into(), session_id: "s".into() };
        workspace.fill(probe, &vars).unwrap();
        let intact = || workspace.compare(probe, &vars)[0].intact;
        assert!(intact());
        let path = workspace.folder().join("note.txt");
        fs::rename(&path, workspace.folder().join("other")).unwrap();
        assert!(!intact());
        std::os::unix::fs::symlink(workspace.folder().join("other"), &path).unwrap();
        assert!(!intact());
        fs::remove_file(&path).unwrap();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(!intact());
        fs::remove_file(&path).unwrap();
        fs::write(&path, "M\nand more").unwrap();
        assert!(!intact());
    }
}
