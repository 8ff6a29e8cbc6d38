//! A program that runs for as long as it is needed: no deadlines, its output goes to a file, and its end can be awaited.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::unix::pipe::Receiver;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::link::Link;
use super::supervisor::{self, Report};
use super::{DRAIN, ProcessSpec, at};

/// A running program. Dropping it ends the program with everything that it started.
#[derive(Debug)]
pub struct Service {
    supervisor: u32,
    wanted: watch::Sender<Wanted>,
    end: watch::Receiver<Option<End>>,
}

/// How a service ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// The exit code, if it ended by itself or obeyed.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether it was asked to end.
    pub asked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Running,
    Stopped,
}

impl Service {
    /// Starts a program. Its two outputs are one pipe, so that their lines stay in order; they are appended to the file `log`
    /// up to `limits.most_bytes`, and read on without being kept from there. Of the limits, `grace` holds, too. `keep` is
    /// dropped when nothing of the program is left: a folder that it works in, say.
    ///
    /// # Errors
    /// The program or its supervisor cannot be started, or the log cannot be written; in words.
    pub async fn start(spec: &ProcessSpec, log: &Path, keep: impl Send + 'static) -> Result<Self, String> {
        let no_log = |e: io::Error| format!("{} cannot be written: {e}", log.display());
        let file = File::options().create(true).append(true).open(log).await.map_err(no_log)?;
        let (mut link, output) = launch(spec)
            .map_err(|e| format!("the supervisor {} could not be started: {e}", spec.supervisor.display()))?;
        let copy = tokio::spawn(copy(output, file, spec.limits.most_bytes));
        let supervisor = link.supervisor();
        let (Some(Report::Started { .. }), Some(supervisor)) =
            (link.report().await.map(started).transpose()?, supervisor)
        else {
            copy.abort();
            return Err("the supervisor ended without a word about its program".to_owned());
        };
        let (wanted, wish) = watch::channel(Wanted::Running);
        let (tell, end) = watch::channel(None);
        let grace = spec.limits.grace;
        tokio::spawn(async move {
            let how = run(link, wish, grace, copy).await;
            drop(keep);
            tell.send_replace(Some(how));
        });
        Ok(Self { supervisor, wanted, end })
    }

    /// The process id of the supervisor: all processes of the service are below it.
    pub fn supervisor(&self) -> u32 {
        self.supervisor
    }

    /// Awaits the end, with nothing of the program left and all of its output in the log.
    pub fn ended(&self) -> impl Future<Output = End> + Send + use<> {
        let mut end = self.end.clone();
        async move {
            let gone = End { code: None, signal: None, asked: true };
            // The sender goes away without an end only with the whole runtime.
            end.wait_for(Option::is_some).await.ok().and_then(|end| *end).unwrap_or(gone)
        }
    }

    /// How it ended, if it has.
    pub fn end(&self) -> Option<End> {
        *self.end.borrow()
    }

    /// Ends the program at once and waits until nothing of it is left.
    pub async fn kill(self) -> End {
        let ended = self.ended();
        drop(self);
        ended.await
    }

    /// Asks the program to end, uses force after the grace time, and waits until nothing of it is left.
    pub async fn stop(self) -> End {
        self.wanted.send_replace(Wanted::Stopped);
        self.ended().await
    }
}

fn started(report: Report) -> Result<Report, String> {
    match report {
        Report::NotStarted { error } => Err(error),
        other => Ok(other),
    }
}

fn launch(spec: &ProcessSpec) -> io::Result<(Link, Receiver)> {
    let (output, stdout) = io::pipe()?;
    let stderr = stdout.try_clone()?;
    let output = Receiver::from_owned_fd(OwnedFd::from(output))?;
    Ok((Link::start(spec, Stdio::from(stdout), Stdio::from(stderr))?, output))
}

/// Follows a service to its end.
async fn run(mut link: Link, mut wish: watch::Receiver<Wanted>, grace: Duration, mut copy: JoinHandle<()>) -> End {
    let mut end = End { code: None, signal: None, asked: false };
    let mut force_at: Option<Instant> = None;
    loop {
        tokio::select! {
            biased;
            report = link.report() => match report {
                Some(Report::Exited { code, signal, .. }) => {
                    (end.code, end.signal) = (code, signal);
                    break;
                }
                Some(_) => {}
                None => break,
            },
            changed = wish.changed(), if !end.asked => {
                end.asked = true;
                if changed.is_ok() {
                    link.command(supervisor::TERMINATE).await;
                    force_at = Some(Instant::now() + grace);
                } else {
                    // The handle was dropped: nobody waits, so nothing is gained by grace.
                    link.command(supervisor::KILL).await;
                }
            }
            () = at(force_at) => {
                force_at = None;
                link.command(supervisor::KILL).await;
            }
        }
    }
    link.until_gone().await;
    if tokio::time::timeout(DRAIN, &mut copy).await.is_err() {
        copy.abort();
    }
    end
}

/// Appends what is printed to the log, up to a number of bytes. A service must never wait for us, so it is read on from there,
/// and also when the log cannot be written.
async fn copy(mut output: Receiver, mut log: File, most_bytes: u64) {
    let mut buffer = vec![0; 64 << 10];
    let mut room = most_bytes;
    let mut full = false;
    while let Ok(n @ 1..) = output.read(&mut buffer).await {
        if full {
            continue;
        }
        let fits = usize::try_from(room).unwrap_or(n).min(n);
        room -= fits as u64;
        let mut written = log.write_all(&buffer[..fits]).await;
        if fits < n {
            full = true;
            let words = format!("\nccsmoke: what is printed after {most_bytes} bytes is not kept\n");
            written = written.and(log.write_all(words.as_bytes()).await);
        }
        // Only then the file holds it, which others read.
        full |= written.is_err() || log.flush().await.is_err();
    }
}
