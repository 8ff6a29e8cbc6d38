//! Clients by their version: fetched through npm into the user's cache once, whole or not at all.
//!
//! ```text
//! <cache>/ccsmoke/cli/2.1.329/node_modules/.bin/claude    a complete install that answered as 2.1.329
//! <cache>/ccsmoke/cli/2.1.329.lock                        held while it is made
//! <cache>/ccsmoke/cli/.2.1.329_XXXXXX/                    being made; swept by the next holder of the lock if left over
//! ```

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use tokio::process::Command;
use tokio::sync::oneshot;

use super::command::{Bounds, End, run, shown, told};
use super::inspect::is_version;
use super::{Client, ClientError, Listener, Progress, Source, Surroundings, Unfit, inspect};

/// The version that is fetched when there is none: the newest that the built-in probes were tried with.
pub const PINNED_VERSION: &str = "2.1.329";

/// The package's name.
const PACKAGE: &str = "@anthropic-ai/claude-code";

/// Bytes of npm's output that are read; it prints a few lines.
const MOST_PRINTED: u64 = 4 * 1024 * 1024;

/// Lines of npm's output that an error shows.
const LINES_SHOWN: usize = 12;

/// Gets a client for each version asked for, in that order and each version once; names such as `latest` are resolved.
///
/// # Errors
/// See [`ClientError`]. All texts are checked before the first is acted upon.
pub async fn versions(
    asked: &[String],
    surroundings: &Surroundings<'_>,
    listener: &mut Listener<'_>,
) -> Result<Vec<Client>, ClientError> {
    let asked: Vec<Asked<'_>> = asked.iter().map(|text| Asked::parse(text)).collect::<Result<_, _>>()?;
    let mut clients: Vec<Client> = Vec::new();
    for asked in asked {
        let version = match asked {
            Asked::Version(version) => version.to_owned(),
            Asked::Tag(tag) => resolve(tag, surroundings, listener).await?,
        };
        if !clients.iter().any(|c| c.version == version) {
            clients.push(self::version(&version, surroundings, listener).await?);
        }
    }
    Ok(clients)
}

/// What a user can ask for. Neither can be taken for a path or an option of npm, nor for a range of versions.
enum Asked<'a> {
    /// A whole version.
    Version(&'a str),
    /// A name that the registry keeps for a version.
    Tag(&'a str),
}

impl<'a> Asked<'a> {
    fn parse(text: &'a str) -> Result<Self, ClientError> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        if text.chars().all(is_plain) && !text.contains("..") {
            if is_version(text) {
                return Ok(Self::Version(text));
            }
            if text.starts_with(|c: char| c.is_ascii_alphabetic()) {
                return Ok(Self::Tag(text));
            }
        }
        Err(ClientError::Version { asked: text.to_owned() })
    }
}

/// Asks the registry which version a name stands for.
async fn resolve(
    tag: &str,
    surroundings: &Surroundings<'_>,
    listener: &mut Listener<'_>,
) -> Result<String, ClientError> {
    let npm = npm(tag, surroundings)?;
    let folder = installs(surroundings)?;
    fs::create_dir_all(&folder).map_err(cache_error(&folder))?;
    listener(Progress::Resolving(tag));
    let package = format!("{PACKAGE}@{tag}");
    let mut command = Command::new(npm);
    command.args(["view", &package, "version"]);
    let told = format!("npm view {package} version");
    // Not in the working folder: what a project there tells npm must not decide which client is run.
    let printed = run_npm(command, &told, &folder, surroundings).await?;
    if let Ok(Ok(Asked::Version(version))) = std::str::from_utf8(printed.trim_ascii()).map(Asked::parse) {
        return Ok(version.to_owned());
    }
    let how = format!("should print a version and printed \"{}\"", shown(&printed));
    Err(ClientError::Npm { command: told, how, words: String::new() })
}

/// The client of a version, from the cache or else through npm.
pub(super) async fn version(
    version: &str,
    surroundings: &Surroundings<'_>,
    listener: &mut Listener<'_>,
) -> Result<Client, ClientError> {
    let slot = Slot { version, installs: installs(surroundings)? };
    if let Ok(client) = slot.inspect(&slot.folder(), Source::Cache, surroundings).await {
        return Ok(client);
    }
    let npm = npm(version, surroundings)?;
    let _lock = slot.lock(listener).await?;
    // Whoever held the lock before may have made it.
    if let Ok(client) = slot.inspect(&slot.folder(), Source::Cache, surroundings).await {
        return Ok(client);
    }
    slot.sweep();
    listener(Progress::Installing(version));
    let start = Instant::now();
    let client = slot.make(npm, surroundings).await?;
    listener(Progress::Installed { version, took: start.elapsed() });
    Ok(client)
}

/// The program of a version in the cache, if it is there.
pub(super) fn cached(version: &str, surroundings: &Surroundings<'_>) -> Option<PathBuf> {
    let folder = Slot { version, installs: installs(surroundings).ok()? }.folder();
    programs().into_iter().map(|program| folder.join(program)).find(|path| path.exists())
}

/// The folder of all installs.
fn installs(surroundings: &Surroundings<'_>) -> Result<PathBuf, ClientError> {
    let absolute = |name| surroundings.variable(name).map(Path::new).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").map(Path::to_owned);
    let cache = cache.or_else(|| absolute("HOME").map(|home| home.join(".cache"))).ok_or(ClientError::NoCache)?;
    Ok(cache.join("ccsmoke/cli"))
}

/// Makes an error of the cache from one of the system.
fn cache_error(path: &Path) -> impl FnOnce(io::Error) -> ClientError {
    let path = path.to_owned();
    move |error| ClientError::Cache { path, error }
}

/// Finds npm, which is needed for a version or a name of one.
fn npm(wanted: &str, surroundings: &Surroundings<'_>) -> Result<PathBuf, ClientError> {
    surroundings
        .program("npm")
        .ok_or_else(|| ClientError::NoNpm { version: wanted.to_owned(), searched: surroundings.searched() })
}

/// Runs npm in a folder, with the caller's environment since its configuration may be there, and hands out what it printed.
async fn run_npm(
    mut command: Command,
    told_as: &str,
    folder: &Path,
    surroundings: &Surroundings<'_>,
) -> Result<Vec<u8>, ClientError> {
    let failed = |how: String, words: String| ClientError::Npm { command: told_as.to_owned(), how, words };
    command.env_clear().envs(surroundings.environment.iter().map(|(key, value)| (key, value))).current_dir(folder);
    let bounds = Bounds { time: surroundings.limits.npm, bytes: MOST_PRINTED };
    let seen = run(&mut command, bounds).await.map_err(|e| failed(format!("cannot be run: {e}"), String::new()))?;
    let how = match seen.end {
        End::Exited(status) if status.success() => return Ok(seen.stdout),
        End::Exited(status) => format!("failed with {}", told(status)),
        End::TooLong => format!("did not finish within {} s", bounds.time.as_secs_f64()),
        End::TooMuch => format!("printed more than {} MiB", MOST_PRINTED / 1024 / 1024),
    };
    let silent = seen.stderr.trim_ascii().is_empty();
    Err(failed(how, last_lines(if silent { &seen.stdout } else { &seen.stderr })))
}

/// The last lines of an output, each on a new line and indented.
fn last_lines(output: &[u8]) -> String {
    let lines: Vec<&[u8]> = output.split(|b| *b == b'\n').filter(|line| !line.trim_ascii().is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
    last.iter().flat_map(|line| ["\n    ".to_owned(), shown(line)]).collect()
}

/// The place of one version in the cache.
struct Slot<'a> {
    version: &'a str,
    installs: PathBuf,
}

impl Slot<'_> {
    /// Where the install is, or will be.
    fn folder(&self) -> PathBuf {
        self.installs.join(self.version)
    }

    /// How the names of temporary folders begin. No version has an underscore, so none is another's beginning.
    fn temporary(&self) -> String {
        format!(".{}_", self.version)
    }

    /// Inspects the install within a folder, and names it by the path that it has, or will have, in its place.
    ///
    /// npm links the program only when install scripts may run; without them it is still in the package of its platform.
    async fn inspect(
        &self,
        root: &Path,
        source: Source,
        surroundings: &Surroundings<'_>,
    ) -> Result<Client, ClientError> {
        let mut first = None;
        for program in programs() {
            let fit = match inspect(&root.join(&program), source, surroundings).await {
                Ok(client) if client.version == self.version => {
                    return Ok(Client { path: self.folder().join(program), ..client });
                }
                Ok(client) => Unfit::OtherVersion { found: client.version, expected: self.version.to_owned() },
                Err(why) => why,
            };
            first.get_or_insert((program, fit));
        }
        let (path, why) = first.unwrap_or_else(|| (PathBuf::new(), Unfit::Missing));
        Err(ClientError::Installed { version: self.version.to_owned(), path, why })
    }

    /// Waits until this process alone may make this version. The lock ends with the file, or with the process.
    async fn lock(&self, listener: &mut Listener<'_>) -> Result<File, ClientError> {
        fs::create_dir_all(&self.installs).map_err(cache_error(&self.installs))?;
        let path = self.installs.join(format!("{}.lock", self.version));
        let open = File::options().create(true).truncate(false).write(true).open(&path);
        let file = open.map_err(cache_error(&path))?;
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => listener(Progress::Waiting(self.version)),
            Err(TryLockError::Error(error)) => return Err(ClientError::Cache { path, error }),
        }
        // A thread of its own, not one of the runtime's: the runtime's end would wait for it.
        let (done, locked) = oneshot::channel();
        let wait = move || done.send(file.lock().map(|()| file));
        std::thread::Builder::new().spawn(wait).map_err(cache_error(&path))?;
        locked.await.unwrap_or_else(|gone| Err(io::Error::other(gone))).map_err(cache_error(&path))
    }

    /// Removes what runs that were killed left over. The lock is held, so nobody works there.
    fn sweep(&self) {
        let entries = fs::read_dir(&self.installs).into_iter().flatten().flatten();
        for entry in entries.filter(|e| e.file_name().to_string_lossy().starts_with(&self.temporary())) {
            // Left-overs cost room, but nothing depends on their absence.
            let _ = fs::remove_dir_all(entry.path());
        }
    }

    /// Installs into a temporary folder, has the client answer there, and only then puts it in its place.
    async fn make(&self, npm: PathBuf, surroundings: &Surroundings<'_>) -> Result<Client, ClientError> {
        let error = || cache_error(&self.installs);
        let temporary = tempfile::Builder::new().prefix(&self.temporary()).tempdir_in(&self.installs);
        let temporary = temporary.map_err(error())?;
        let (made, replaced) = (temporary.path().join("made"), temporary.path().join("replaced"));
        fs::create_dir(&made).map_err(error())?;
        let package = format!("{PACKAGE}@{}", self.version);
        let mut command = Command::new(npm);
        command.args(["install", "--prefix"]).arg(&made);
        // The program itself is an optional dependency of the package, which a user's configuration may leave out.
        command.args(["--no-audit", "--no-fund", "--loglevel=error", "--include=optional", &package]);
        run_npm(command, &format!("npm install {package}"), &made, surroundings).await?;
        let client = self.inspect(&made, Source::Installed, surroundings).await?;
        match fs::rename(self.folder(), replaced) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(error()(e)),
            _ => {} // what was there was no working client, else it would have been taken
        }
        fs::rename(made, self.folder()).map_err(error())?;
        Ok(client)
    }
}

/// Where the program can be within an install, best first.
fn programs() -> Vec<PathBuf> {
    use std::env::consts::{ARCH, OS};
    let os = if OS == "macos" { "darwin" } else { OS };
    let arch = match ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    };
    let package = format!("node_modules/{PACKAGE}-{os}-{arch}");
    vec!["node_modules/.bin/claude".into(), format!("{package}/claude").into(), format!("{package}-musl/claude").into()]
}
