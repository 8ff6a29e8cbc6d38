//! The throw-away folders of one cell: workspace, home, configuration, temporary files.
//!
//! The client works there on behalf of a gateway that is hostile by assumption, so what it left is read without following
//! links, without waiting on pipes, and only to be compared.

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use nix::fcntl::OFlag;
use tempfile::TempDir;

use crate::evidence::{ConfigFile, FileFact};
use crate::launch::Folders;
use crate::probe::{Probe, Vars, WorkspaceFile};

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
            fs::write(path, content(file, vars).1)?;
        }
        Ok(())
    }

    /// Compares the probe's files with what they were.
    pub fn compare(&self, probe: &Probe, vars: &Vars) -> Vec<FileFact> {
        let fact = |file: &WorkspaceFile| {
            let (expected, bytes) = content(file, vars);
            let path = file.path.get_ref().clone();
            let intact = holds(&self.work.join(&path), &bytes).unwrap_or(false);
            FileFact { path, expected, intact }
        };
        probe.workspace.iter().map(fact).collect()
    }

    /// Writes what a launch gets on standard input, and gives the file's path.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn input(&self, lines: &str) -> io::Result<PathBuf> {
        let path = self.temporary.join("input.jsonl");
        fs::write(&path, lines)?;
        Ok(path)
    }

    /// The files of the client's configuration that the probe asks for.
    pub fn config_files(&self, probe: &Probe) -> Vec<ConfigFile> {
        let read = |path: &String| {
            let text = read_regular(&self.config.join(path), MAX_CONFIG_BYTES);
            ConfigFile { path: path.clone(), text: text.ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned()) }
        };
        probe.expect.file.iter().map(|file| read(&file.get_ref().path)).collect()
    }
}

/// How much of a file of the client's configuration is kept, in bytes.
const MAX_CONFIG_BYTES: u64 = 64 * 1024;

/// The content of a probe's file: as it is told in evidence, and its bytes.
fn content(file: &WorkspaceFile, vars: &Vars) -> (String, Vec<u8>) {
    if let Some(coded) = &file.base64 {
        let coded: String = coded.get_ref().split_whitespace().collect();
        // The probe was checked when it was read.
        let bytes = BASE64.decode(&coded).unwrap_or_default();
        return (coded, bytes);
    }
    let text = file.content.as_ref().map(|text| vars.fill(text.get_ref())).unwrap_or_default();
    (text.clone(), text.into_bytes())
}

/// Whether a regular file, which is not reached through a link of its own, holds exactly these bytes.
fn holds(path: &Path, expected: &[u8]) -> io::Result<bool> {
    Ok(read_regular(path, expected.len() as u64 + 1)? == expected)
}

/// The beginning of a regular file that is not reached through a link of its own.
fn read_regular(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = fs::OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes::ProbeSet;

    #[test]
    fn nobody_else_looks_into_the_folders_and_they_go_with_the_cell() {
        use std::os::unix::fs::PermissionsExt as _;
        let workspace = Workspace::create().unwrap();
        let folders =
            [workspace.work.clone(), workspace.home.clone(), workspace.config.clone(), workspace.temporary.clone()];
        for folder in &folders {
            assert_eq!(fs::metadata(folder).unwrap().permissions().mode() & 0o777, 0o700, "{}", folder.display());
        }
        drop(workspace);
        assert!(folders.iter().all(|folder| !folder.exists()));
    }

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
