//! The supervisor: a small process between ccsmoke and one client. It is the reaper of everything that the client starts, also
//! in sessions and groups of their own, so that all of it can be found and ended.
//!
//! Its standard input is the control channel. Commands are single bytes; reports are JSON lines. When the channel closes,
//! because ccsmoke ended in whatever way, everything is ended.

use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode, Stdio};

use nix::errno::Errno;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

/// The hidden first argument that makes ccsmoke a supervisor.
pub const COMMAND: &str = "__supervise";

/// The command to end the client with a request: SIGTERM to its group.
pub(super) const TERMINATE: &[u8] = b"t";

/// The command to end everything by force.
pub(super) const KILL: &[u8] = b"k";

/// What the supervisor reports, in this order.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Report {
    /// The client runs.
    Started {
        /// Its process id, which is that of its group as well.
        pid: i32,
    },
    /// It could not be started.
    NotStarted {
        /// Why, in words.
        error: String,
    },
    /// It ended.
    Exited {
        /// The exit code, if it ended by itself.
        code: Option<i32>,
        /// The signal that ended it.
        signal: Option<i32>,
        /// How many processes that it had started still lived; they are being ended.
        leftovers: u32,
        /// Whether one of them held standard output or error.
        held_pipes: bool,
    },
    /// Nothing is left.
    Gone {
        /// CPU time of everything that was reaped, in microseconds.
        cpu_us: u64,
        /// Largest resident set of one process, in KiB.
        max_rss_kib: u64,
    },
}

/// Runs the supervisor. `args` are the file that the program reads as standard input, the program, and its arguments.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    // A supervisor that cannot do its work has nobody to tell but its owner, who sees the channel close.
    match supervise(args.into_iter().collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn supervise(mut args: Vec<OsString>) -> io::Result<()> {
    if args.len() < 2 {
        return Err(io::Error::other("no program"));
    }
    let input = args.remove(0);
    let program = args.remove(0);
    close_inherited();
    become_reaper()?;
    let control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut reports = control.try_clone()?;
    let mut report = move |report: &Report| -> io::Result<()> {
        let mut line = serde_json::to_vec(report)?;
        line.push(b'\n');
        reports.write_all(&line)
    };
    let pipes = [1, 2].map(|fd| std::fs::read_link(format!("/proc/self/fd/{fd}")).ok());
    let client = std::fs::File::open(&input)
        .and_then(|input| Command::new(&program).args(args).stdin(Stdio::from(input)).process_group(0).spawn());
    let client = match client {
        Ok(child) => Pid::from_raw(i32::try_from(child.id()).map_err(io::Error::other)?),
        Err(e) => {
            let error = format!("{} could not be started: {e}", program.display());
            return report(&Report::NotStarted { error });
        }
    };
    // Only the client and its children hold the pipes now, so that their end can be seen.
    let nowhere: OwnedFd = std::fs::OpenOptions::new().write(true).open("/dev/null")?.into();
    nix::unistd::dup2_stdout(&nowhere)?;
    nix::unistd::dup2_stderr(&nowhere)?;

    let obeying = control.try_clone()?;
    std::thread::spawn(move || obey(obeying, client));
    report(&Report::Started { pid: client.as_raw() })?;
    let (code, signal) = wait_for(client)?;
    let alive = descendants();
    let held_pipes = alive.iter().any(|pid| holds_one_of(*pid, &pipes));
    let leftovers = u32::try_from(alive.len()).unwrap_or(u32::MAX);
    // An owner that is gone does not hear this; everything has to be ended all the same.
    drop(report(&Report::Exited { code, signal, leftovers, held_pipes }));
    end_everything(client);
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = |t: nix::sys::time::TimeVal| u64::try_from(t.tv_sec() * 1_000_000 + t.tv_usec()).unwrap_or(0);
    let cpu_us = micros(usage.user_time()) + micros(usage.system_time());
    report(&Report::Gone { cpu_us, max_rss_kib: u64::try_from(usage.max_rss()).unwrap_or(0) })
}

/// Closes every descriptor but the first three: whatever ccsmoke's own caller left open is not for a client to have.
fn close_inherited() {
    let open: Vec<i32> = std::fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2)
        .collect();
    for fd in open {
        // The listing's own descriptor is among them and already closed.
        let _ = nix::unistd::close(fd);
    }
}

/// Carries out commands until the channel closes, which is a command itself.
fn obey(mut control: UnixStream, client: Pid) {
    let mut command = [0];
    loop {
        match control.read(&mut command) {
            Ok(1) if command == TERMINATE => {
                let _ = killpg(client, Signal::SIGTERM);
            }
            Ok(1) if command == KILL => kill_pass(client),
            Ok(1) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Ok(_) | Err(_) => return kill_pass(client),
        }
    }
}

/// Reaps until the client has ended.
fn wait_for(client: Pid) -> io::Result<(Option<i32>, Option<i32>)> {
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, code)) if pid == client => return Ok((Some(code), None)),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == client => return Ok((None, Some(signal as i32))),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// Ends and reaps until nothing is left. Every process below is, once its parents are gone, a child of this one, so that
/// waiting for a child is waiting for progress.
fn end_everything(client: Pid) {
    loop {
        kill_pass(client);
        match waitpid(None, None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return,
        }
        // All that have ended by now, so that a swarm of short-lived ones cannot put the next pass off.
        while waitpid(None, Some(WaitPidFlag::WNOHANG)).is_ok_and(|status| status != WaitStatus::StillAlive) {}
    }
}

/// Stops all descendants until no new ones appear, so that none can start another one meanwhile, then kills them.
fn kill_pass(client: Pid) {
    let mut stopped: Vec<Pid> = Vec::new();
    loop {
        let fresh: Vec<Pid> = descendants().into_iter().filter(|pid| !stopped.contains(pid)).collect();
        if fresh.is_empty() {
            break;
        }
        for pid in &fresh {
            // A process that ended meanwhile is what is wanted.
            let _ = kill(*pid, Signal::SIGSTOP);
        }
        stopped.extend(fresh);
    }
    for pid in &stopped {
        let _ = kill(*pid, Signal::SIGKILL);
    }
    if stopped.is_empty() {
        // Where there is no /proc, the group is all that can be reached.
        let _ = killpg(client, Signal::SIGKILL);
    }
}

/// All living processes below this one.
fn descendants() -> Vec<Pid> {
    descendants_of(std::process::id())
}

/// All living processes below another one; none where there is no `/proc`.
pub(crate) fn descendants_of(root: u32) -> Vec<Pid> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut pids: Vec<u32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    // The youngest first: a parent that ends between two looks hands its child over, and the child must not be missed.
    pids.sort_unstable_by(|a, b| b.cmp(a));
    let parent = |pid: u32| parent_of_living(&std::fs::read(format!("/proc/{pid}/stat")).ok()?);
    let parents: Vec<(u32, u32)> = pids.into_iter().filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut family = vec![root];
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        family.extend(parents.iter().filter(|(_, p)| *p == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    family.into_iter().skip(1).filter_map(|pid| i32::try_from(pid).ok()).map(Pid::from_raw).collect()
}

/// The parent in `/proc/PID/stat`, unless the process has ended. The name in brackets may hold anything, brackets and spaces
/// included. Source: `proc_pid_stat(5)`.
fn parent_of_living(stat: &[u8]) -> Option<u32> {
    let behind_name = stat.iter().rposition(|b| *b == b')')? + 1;
    let rest = std::str::from_utf8(&stat[behind_name..]).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    (!matches!(state, "Z" | "X" | "x")).then_some(parent)
}

fn holds_one_of(pid: Pid, pipes: &[Option<std::path::PathBuf>; 2]) -> bool {
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    entries
        .filter_map(|e| std::fs::read_link(e.path()).ok())
        .any(|link| pipes.iter().flatten().any(|pipe| *pipe == link))
}

#[cfg(target_os = "linux")]
fn become_reaper() -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "the same signature everywhere")]
fn become_reaper() -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_found_behind_a_name_full_of_brackets() {
        assert_eq!(parent_of_living(b"12 (a) R 99 (b)) S 7 12 12 0"), Some(7));
        assert_eq!(parent_of_living(b"12 (gone) Z 7 12 12 0"), None);
        assert_eq!(parent_of_living(b"nonsense"), None);
    }
}
