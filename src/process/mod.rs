//! One owner for each child: a process is started through a supervisor, drained, timed, ended with all that it started,
//! and told of as facts.
//!
//! Tools that the client runs are in sessions of their own, so ending its process group leaves them alive. The supervisor
//! (see [`supervisor`]) is the reaper of everything below it; it ends all of it when it is told to, when the client has ended,
//! and when its control channel closes, which also happens when ccsmoke itself is killed.

mod capture;
mod link;
mod service;
pub mod supervisor;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::evidence::{Captured, EndedBy, ProcessFacts};
use capture::Capture;
use link::Link;
pub use service::{End, Service};
use supervisor::Report;

/// What is to be started, and within which limits.
#[derive(Debug, Clone)]
pub struct ProcessSpec {
    /// This very program, which is started again as the supervisor.
    pub supervisor: PathBuf,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its environment, whole.
    pub environment: Vec<(OsString, OsString)>,
    /// Its working folder.
    pub folder: PathBuf,
    /// The file that it reads as standard input; without one, nothing.
    pub input: Option<PathBuf>,
    /// Its limits.
    pub limits: ProcessLimits,
}

/// The limits of one process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessLimits {
    /// From the start to the end.
    pub total: Duration,
    /// Without output and without wire activity.
    pub idle: Duration,
    /// Between the request to end and the end by force.
    pub grace: Duration,
    /// After the last `result` line.
    pub linger: Duration,
    /// How many bytes of each stream are kept, head and tail together.
    pub kept_bytes: usize,
    /// How many bytes of each stream are read before the process is ended.
    pub most_bytes: u64,
}

impl Default for ProcessLimits {
    fn default() -> Self {
        Self {
            total: Duration::from_secs(45),
            idle: Duration::from_secs(30),
            grace: Duration::from_secs(3),
            linger: Duration::from_secs(10),
            kept_bytes: 64 << 20,
            most_bytes: 1 << 30,
        }
    }
}

/// How long the pipes may stay open after everything has ended.
const DRAIN: Duration = Duration::from_secs(1);

/// When something last happened: output of the process, or bytes on the wire.
#[derive(Debug, Clone)]
pub struct Activity {
    base: Instant,
    last_us: Arc<AtomicU64>,
}

impl Default for Activity {
    fn default() -> Self {
        Self { base: Instant::now(), last_us: Arc::default() }
    }
}

impl Activity {
    /// Something happened.
    pub fn touch(&self) {
        let now = u64::try_from(self.base.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.last_us.fetch_max(now, Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.base + Duration::from_micros(self.last_us.load(Ordering::Relaxed))
    }
}

/// How others have a say in a process.
#[derive(Debug, Clone, Default)]
pub struct Controls {
    /// Touched by whoever sees that the process is at work.
    pub activity: Activity,
    /// Ends the process because the run was interrupted.
    pub interrupt: CancellationToken,
    /// Ends the process because its cell sent too many requests.
    pub runaway: CancellationToken,
    /// Ends the process when its standard output has held this text.
    pub until: Option<&'static str>,
}

/// Runs a process to its end. Dropping the future ends the process and everything it started.
pub async fn run(spec: &ProcessSpec, controls: &Controls) -> ProcessFacts {
    match Supervised::start(spec, controls) {
        Ok(supervised) => supervised.until_the_end(spec.limits, controls).await,
        Err(e) => failed(format!("the supervisor {} could not be started: {e}", spec.supervisor.display())),
    }
}

fn failed(words: String) -> ProcessFacts {
    ProcessFacts { spawn_error: Some(words), ..ProcessFacts::default() }
}

/// What a reader of standard output tells the owner.
#[derive(Debug, Clone, Copy, Default)]
struct Seen {
    /// Set by a `result` line, taken back by any later line: a further turn has begun.
    result_at: Option<Instant>,
    /// More was printed than may be.
    too_much: bool,
    /// The text was printed until which the process may live.
    enough: bool,
}

/// A supervised process whose outputs are kept.
struct Supervised {
    link: Link,
    stdout: JoinHandle<Captured>,
    stderr: JoinHandle<Captured>,
    seen: watch::Receiver<Seen>,
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.stdout.abort();
        self.stderr.abort();
    }
}

impl Supervised {
    fn start(spec: &ProcessSpec, controls: &Controls) -> io::Result<Self> {
        let mut link = Link::start(spec, Stdio::piped(), Stdio::piped())?;
        controls.activity.touch();
        let (tell, seen) = watch::channel(Seen::default());
        let (stdout, stderr) = link.pipes()?;
        let limits = spec.limits;
        Ok(Self {
            link,
            stdout: tokio::spawn(drain(
                stdout,
                limits,
                controls.activity.clone(),
                tell.clone(),
                Watch::Results { until: controls.until },
            )),
            stderr: tokio::spawn(drain(stderr, limits, controls.activity.clone(), tell, Watch::Nothing)),
            seen,
        })
    }

    async fn until_the_end(mut self, limits: ProcessLimits, controls: &Controls) -> ProcessFacts {
        let mut facts = ProcessFacts::default();
        let deadline = Instant::now() + limits.total;
        let mut force_at: Option<Instant> = None;
        let mut group: Option<i32> = None;
        let mut pipes_are_open = true;
        loop {
            let seen = *self.seen.borrow_and_update();
            let idle_at = controls.activity.last() + limits.idle;
            let linger_at = seen.result_at.map(|at| at + limits.linger);
            let ending = facts.ended_by.is_some();
            let why = tokio::select! {
                biased;
                report = self.link.report() => match report {
                    Some(Report::Started { pid }) => {
                        group = Some(pid);
                        continue;
                    }
                    Some(Report::NotStarted { error }) => return failed(error),
                    Some(Report::Exited { code, signal, leftovers, held_pipes }) => {
                        facts.returncode = code.filter(|_| !ending);
                        facts.signal = signal.filter(|_| !ending);
                        facts.leftovers = leftovers;
                        facts.held_pipes = held_pipes;
                        break;
                    }
                    Some(Report::Gone { .. }) | None => {
                        // Somebody ended the supervisor. What the client's own group holds can still be ended.
                        if let Some(group) = group {
                            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
                        }
                        facts.spawn_error = Some("the supervisor ended without a word about its client".to_owned());
                        break;
                    }
                },
                () = controls.interrupt.cancelled(), if !ending => EndedBy::Interrupt,
                () = controls.runaway.cancelled(), if !ending => EndedBy::Runaway,
                () = std::future::ready(()), if seen.too_much && !ending => EndedBy::OutputLimit,
                () = std::future::ready(()), if seen.enough && !ending => EndedBy::Probe,
                () = tokio::time::sleep_until(deadline), if !ending => EndedBy::Deadline,
                () = at(linger_at), if !ending => EndedBy::Lingering,
                () = tokio::time::sleep_until(idle_at), if !ending => {
                    // Something may have happened while the clock ran.
                    if Instant::now() < controls.activity.last() + limits.idle { continue }
                    EndedBy::Idle
                },
                () = at(force_at) => {
                    force_at = None;
                    self.link.command(supervisor::KILL).await;
                    continue;
                }
                changed = self.seen.changed(), if pipes_are_open => {
                    // Both readers are gone when both pipes are closed; the reports still come.
                    pipes_are_open = changed.is_ok();
                    continue;
                }
            };
            facts.ended_by = Some(why);
            self.link.command(supervisor::TERMINATE).await;
            force_at = Some(Instant::now() + limits.grace);
        }
        let usage = self.link.until_gone().await;
        (facts.cpu_us, facts.max_rss_kib) = (usage.cpu_us, usage.max_rss_kib);
        self.collect(&mut facts).await;
        facts
    }

    /// Takes what the pipes brought. A pipe that someone still holds open is given up.
    async fn collect(&mut self, facts: &mut ProcessFacts) {
        for (reader, captured) in [(&mut self.stdout, &mut facts.stdout), (&mut self.stderr, &mut facts.stderr)] {
            match tokio::time::timeout(DRAIN, &mut *reader).await {
                Ok(Ok(text)) => *captured = text,
                Ok(Err(_)) | Err(_) => facts.held_pipes = true,
            }
        }
    }
}

/// Ends at a time, or never.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// What a reader looks for in what it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Watch {
    /// Lines that are results, and the text until which the process may live.
    Results { until: Option<&'static str> },
    /// Nothing.
    Nothing,
}

/// Reads a pipe to its end, keeps what the limits allow, and tells what the owner has to know.
async fn drain(
    mut pipe: impl AsyncRead + Unpin,
    limits: ProcessLimits,
    activity: Activity,
    tell: watch::Sender<Seen>,
    look_for: Watch,
) -> Captured {
    let mut capture = Capture::new(limits.kept_bytes);
    let mut lines = capture::ResultLines::default();
    let mut buffer = vec![0; 64 << 10];
    let mut recent = Vec::new();
    loop {
        let n = match pipe.read(&mut buffer).await {
            Ok(0) | Err(_) => return capture.finish(),
            Ok(n) => n,
        };
        activity.touch();
        capture.push(&buffer[..n]);
        if capture.total() > limits.most_bytes {
            tell.send_if_modified(|seen| !std::mem::replace(&mut seen.too_much, true));
        }
        let Watch::Results { until } = look_for else { continue };
        if let Some(is_result) = lines.push(&buffer[..n]) {
            tell.send_modify(|seen| seen.result_at = is_result.then(Instant::now));
        }
        if let Some(until) = until {
            recent.extend_from_slice(&buffer[..n]);
            if recent.windows(until.len()).any(|window| window == until.as_bytes()) {
                tell.send_if_modified(|seen| !std::mem::replace(&mut seen.enough, true));
            }
            // What may be the text's beginning is kept for the next piece.
            recent.drain(..recent.len().saturating_sub(until.len()));
        }
    }
}
