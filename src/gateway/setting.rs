//! What a gateway process is given: throw-away folders, placeholders filled in, files, an environment of its own.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tempfile::TempDir;

use super::Surroundings;
use crate::config::{Log, Profile, Start, Way};
use crate::launch::passed_on;
use crate::placeholder;
use crate::process::{ProcessLimits, ProcessSpec};
use crate::secret::Secret;

/// How long its program may take to tell its version; five seconds are known.
const VERSION: Duration = Duration::from_secs(20);

/// The throw-away folders of one gateway process, and what the placeholders of its profile stand for.
#[derive(Debug)]
pub(super) struct Setting<'a> {
    profile: &'a Profile,
    surroundings: &'a Surroundings<'a>,
    /// Where relative paths of the profile start.
    base: PathBuf,
    /// Keeps the folders until the last holder drops it.
    pub(super) root: Arc<TempDir>,
    home: PathBuf,
    temporary: PathBuf,
    /// What the process prints.
    pub(super) output: PathBuf,
    pub(super) master_key: Secret,
    pub(super) port: Option<u16>,
    pub(super) model: Option<&'a str>,
    pub(super) upstream: Option<&'a str>,
    log: Option<PathBuf>,
}

impl<'a> Setting<'a> {
    /// Makes the folders, readable by this user alone.
    ///
    /// # Errors
    /// The folders cannot be made, or there is no randomness.
    pub(super) fn create(profile: &'a Profile, surroundings: &'a Surroundings<'a>) -> io::Result<Self> {
        let root = tempfile::Builder::new().prefix("ccsmoke-gateway-").tempdir()?;
        let real = root.path().canonicalize()?;
        let [home, temporary] = ["home", "tmp"].map(|name| real.join(name));
        for folder in [&home, &temporary] {
            fs::DirBuilder::new().mode(0o700).create(folder)?;
        }
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|e| io::Error::other(format!("no randomness from the system: {e}")))?;
        // LiteLLM takes no master key that begins otherwise.
        let master_key = Secret::new(format!("sk-ccsmoke-{:032x}", u128::from_ne_bytes(random)));
        Ok(Self {
            profile,
            surroundings,
            base: surroundings.folder.join(&profile.folder),
            output: real.join("output.log"),
            root: Arc::new(root),
            home,
            temporary,
            master_key,
            port: None,
            model: None,
            upstream: None,
            log: None,
        })
    }

    /// The log that cells are judged by, as the profile names it. From here on `{log}` has a value.
    ///
    /// # Errors
    /// A placeholder in its path has no value; in words.
    pub(super) fn settle_log(&mut self) -> Result<Option<PathBuf>, String> {
        self.log = match &self.profile.log {
            None => None,
            Some(Log::Output) => return Ok(Some(self.output.clone())),
            Some(Log::File(path)) => Some(self.base.join(self.fill(path)?)),
        };
        Ok(self.log.clone())
    }

    fn value(&self, word: &str) -> Option<String> {
        match word {
            "port" => self.port.map(|port| port.to_string()),
            "upstream" => self.upstream.map(str::to_owned),
            "upstream_openai" => self.upstream.map(|base| format!("{base}/v1")),
            "upstream_host" => self.upstream.map(|base| base.rsplit('/').next().unwrap_or(base).to_owned()),
            "model" => self.model.map(str::to_owned),
            "log" => self.log.as_ref().map(|path| path.display().to_string()),
            "home" => Some(self.home.display().to_string()),
            "master_key" => Some(self.master_key.expose().to_owned()),
            "cache" => self.surroundings.cache().map(|path| path.display().to_string()),
            _ => None,
        }
    }

    /// Fills in the placeholders of a text of the profile, whose words were checked.
    ///
    /// # Errors
    /// One of them has no value here; in words.
    pub(super) fn fill(&self, text: &str) -> Result<String, String> {
        if let Some(word) = placeholder::words(text).find(|word| self.value(word).is_none()) {
            let why = match word {
                "cache" => "there is no cache folder; set HOME or XDG_CACHE_HOME to an absolute path",
                "model" => "it is started for all models",
                word if word.starts_with("upstream") => "no scripted provider is behind it",
                _ => "it is not started here",
            };
            return Err(format!("{{{word}}} has no value: {why}"));
        }
        Ok(placeholder::fill(text, |word| self.value(word)))
    }

    /// The search path: the profile's folders, then the caller's.
    fn search_path(&self) -> Result<OsString, String> {
        let mut folders = Vec::new();
        for folder in &self.profile.search {
            folders.push(self.base.join(self.fill(folder)?));
        }
        if let Some(path) = self.surroundings.variable("PATH") {
            folders.extend(std::env::split_paths(path));
        }
        std::env::join_paths(folders).map_err(|e| format!("`search`: {e}"))
    }

    /// The program and its arguments. The program is looked up before anything is started, so that it can be said where.
    ///
    /// # Errors
    /// There is no such program, or a placeholder has no value; in words.
    pub(super) fn command(&self, argv: &[String]) -> Result<(PathBuf, Vec<String>), String> {
        let mut filled = argv.iter().map(|text| self.fill(text)).collect::<Result<Vec<_>, _>>()?.into_iter();
        let name = filled.next().unwrap_or_default();
        let path = self.search_path()?;
        let program = which::which_in(&name, Some(&path), &self.base).map_err(|_| {
            let searched = path.to_string_lossy();
            let place = if name.contains('/') { self.base.display().to_string().into() } else { searched };
            format!("there is no program {name:?} in {place}; install it, or name its folder in `search`")
        })?;
        Ok((program, filled.collect()))
    }

    /// The whole environment: what every process gets, the throw-away folders, what is required, what the profile names.
    ///
    /// # Errors
    /// A placeholder has no value; in words.
    pub(super) fn environment(
        &self,
        own: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) -> Result<Vec<(OsString, OsString)>, String> {
        let mut all = passed_on(self.surroundings.environment);
        let mut set = |name: &str, value: &OsStr| {
            all.retain(|(known, _)| known != name);
            all.push((name.into(), value.into()));
        };
        set("PATH", &self.search_path()?);
        set("HOME", self.home.as_os_str());
        set("TMPDIR", self.temporary.as_os_str());
        for name in &self.profile.requires_env {
            if let Some(value) = self.surroundings.variable(name) {
                set(name, value);
            }
        }
        for (name, value) in own {
            set(name, self.fill(value)?.as_ref());
        }
        Ok(all)
    }

    /// The working folder.
    ///
    /// # Errors
    /// It is no folder, or a placeholder has no value; in words.
    pub(super) fn folder(&self, start: &Start) -> Result<PathBuf, String> {
        let Some(dir) = &start.dir else { return Ok(self.home.clone()) };
        let folder = self.base.join(self.fill(dir)?);
        if folder.is_dir() { Ok(folder) } else { Err(format!("`dir`: {} is no folder", folder.display())) }
    }

    /// A credential of the caller's.
    pub(super) fn variable(&self, name: &str) -> Option<Secret> {
        self.surroundings.variable(name)?.to_str().map(Secret::new)
    }

    /// How the version is asked for; `None` where it is not, or its program is not there.
    pub(super) fn version(&self) -> Option<ProcessSpec> {
        // Of the variables those hold that mean something outside a start.
        let own = match &self.profile.way {
            Way::Start(start) => start.env.iter().filter(|(_, value)| self.fill(value).is_ok()).collect(),
            Way::Adopt { .. } => Vec::new(),
        };
        let (program, args) = self.command(&self.profile.version).ok()?;
        Some(ProcessSpec {
            supervisor: self.surroundings.supervisor.to_owned(),
            program,
            args,
            environment: self.environment(own).ok()?,
            folder: self.home.clone(),
            input: None,
            limits: ProcessLimits { total: VERSION, idle: VERSION, kept_bytes: 64 << 10, ..ProcessLimits::default() },
        })
    }

    /// Writes the profile's files, readable by this user alone: they may hold keys.
    ///
    /// # Errors
    /// A file cannot be written, or a placeholder has no value; in words.
    pub(super) fn write_files(&self, start: &Start) -> Result<(), String> {
        for (path, content) in &start.files {
            let path = self.home.join(self.fill(path)?);
            let content = self.fill(content)?;
            let write = || {
                if let Some(folder) = path.parent() {
                    fs::create_dir_all(folder)?;
                }
                let mut file =
                    fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
                file.write_all(content.as_bytes())
            };
            write().map_err(|e: io::Error| format!("{} cannot be written: {e}", path.display()))?;
        }
        Ok(())
    }
}
