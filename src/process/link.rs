//! The link between an owner and the supervisor of its process. Dropping it closes the control channel, upon which the
//! supervisor ends everything below it.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

use super::ProcessSpec;
use super::supervisor::{COMMAND, Report};

/// How long the supervisor may take to end everything by force before it is itself ended.
const FORCE: Duration = Duration::from_secs(5);

/// A running supervisor.
pub(super) struct Link {
    child: Child,
    reports: Lines<BufReader<OwnedReadHalf>>,
    commands: OwnedWriteHalf,
}

/// What a process and everything that it started used.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Usage {
    pub(super) cpu_us: u64,
    pub(super) max_rss_kib: u64,
}

impl Link {
    /// Starts a supervisor, which starts the program.
    pub(super) fn start(spec: &ProcessSpec, stdout: Stdio, stderr: Stdio) -> io::Result<Self> {
        let (ours, theirs) = StdUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        // The supervisor must outlive the handle: it ends by itself once the channel closes, and takes all others with it.
        let child = Command::new(&spec.supervisor)
            .arg(COMMAND)
            .arg(spec.input.as_deref().unwrap_or(Path::new("/dev/null")))
            .arg(&spec.program)
            .args(&spec.args)
            .env_clear()
            .envs(spec.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&spec.folder)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(stdout)
            .stderr(stderr)
            .process_group(0)
            .spawn()?;
        let (read, commands) = UnixStream::from_std(ours)?.into_split();
        Ok(Self { child, reports: BufReader::new(read).lines(), commands })
    }

    /// The supervisor's process id, until it is gone.
    pub(super) fn supervisor(&self) -> Option<u32> {
        self.child.id()
    }

    /// The outputs, where they are pipes.
    pub(super) fn pipes(&mut self) -> io::Result<(ChildStdout, ChildStderr)> {
        let pipes = self.child.stdout.take().zip(self.child.stderr.take());
        pipes.ok_or_else(|| io::Error::other("the pipes are missing"))
    }

    /// The next report; `None` when the supervisor is gone. May be given up and awaited again.
    pub(super) async fn report(&mut self) -> Option<Report> {
        let line = self.reports.next_line().await.ok().flatten()?;
        serde_json::from_str(&line).ok()
    }

    /// Gives the supervisor a command. One that is gone needs none.
    pub(super) async fn command(&mut self, command: &[u8]) {
        drop(self.commands.write_all(command).await);
    }

    /// Waits until nothing is left; a supervisor that cannot bring that about is ended itself.
    pub(super) async fn until_gone(&mut self) -> Usage {
        let gone = async {
            while let Some(report) = self.report().await {
                if let Report::Gone { cpu_us, max_rss_kib } = report {
                    return Usage { cpu_us, max_rss_kib };
                }
            }
            Usage::default()
        };
        let usage = if let Ok(usage) = tokio::time::timeout(FORCE, gone).await {
            usage
        } else {
            // Nobody is left to be told if this fails.
            drop(self.child.start_kill());
            Usage::default()
        };
        drop(tokio::time::timeout(FORCE, self.child.wait()).await);
        usage
    }
}
