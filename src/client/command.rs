//! A short-lived program, run to its end within bounds of time and output.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

/// What a program may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Wall time.
    pub(super) time: Duration,
    /// Bytes on each of its two outputs.
    pub(super) bytes: u64,
}

/// How a program came to its end.
#[derive(Debug)]
pub(super) enum End {
    /// By itself.
    Exited(ExitStatus),
    /// By us, because it ran too long.
    TooLong,
    /// By us, because it printed too much.
    TooMuch,
}

/// What was seen of a program.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) end: End,
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
}

/// Why an output is no longer read.
enum Stop {
    TooMuch,
    Broken(io::Error),
}

/// The process group of a child that is not reaped yet, so its number still means this group. Killed on drop: what the
/// child started must not outlive a run that is given up.
struct Group(Option<Pid>);

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // It fails only when nobody is left in the group.
            let _ = killpg(leader, Signal::SIGKILL);
        }
    }
}

/// Runs a program without input, in a process group of its own, and reads both outputs to their end.
///
/// Where a bound is passed, or the future is dropped, the whole group is killed.
///
/// # Errors
/// It cannot be started, or its outputs cannot be read.
pub(super) async fn run(command: &mut Command, bounds: Bounds) -> io::Result<Run> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
    let mut child = command.spawn()?;
    let leader = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
    let mut group = Group(leader);
    let pipes = (child.stdout.take(), child.stderr.take());
    let (Some(out), Some(err)) = pipes else { return Err(io::Error::other("its outputs are not connected")) };
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let whole = async {
        tokio::try_join!(drain(out, bounds.bytes, &mut stdout), drain(err, bounds.bytes, &mut stderr))?;
        let status = child.wait().await.map_err(Stop::Broken)?;
        group.0 = None;
        Ok(status)
    };
    let end = match tokio::time::timeout(bounds.time, whole).await {
        Ok(Ok(status)) => End::Exited(status),
        Ok(Err(Stop::Broken(error))) => return Err(error),
        Ok(Err(Stop::TooMuch)) => End::TooMuch,
        Err(_) => End::TooLong,
    };
    if !matches!(end, End::Exited(_)) {
        drop(group);
        child.wait().await?;
    }
    Ok(Run { end, stdout, stderr })
}

/// Reads an output to its end, or until it is larger than `most` bytes.
async fn drain(pipe: impl AsyncRead + Unpin, most: u64, into: &mut Vec<u8>) -> Result<(), Stop> {
    let read = pipe.take(most + 1).read_to_end(into).await.map_err(Stop::Broken)?;
    if read as u64 > most { Err(Stop::TooMuch) } else { Ok(()) }
}

/// How an exit status is told to a person.
pub(super) fn told(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// What a program printed, safe to show: one line, control characters escaped, at most 200 characters.
pub(super) fn shown(bytes: &[u8]) -> String {
    const MOST: usize = 200;
    let mut line = String::new();
    for (length, c) in String::from_utf8_lossy(bytes).trim().chars().enumerate() {
        if length == MOST {
            line.push('…');
            break;
        }
        if matches!(c, '"' | '\'') { line.push(c) } else { line.extend(c.escape_debug()) }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn what_is_shown_of_an_output_is_one_short_line_without_control_characters() {
        assert_eq!(shown(b" it's \"me\"\x1b[31m\r\n\xff\n"), "it's \"me\"\\u{1b}[31m\\r\\n\u{fffd}");
        assert_eq!(shown("é".repeat(200).as_bytes()), "é".repeat(200));
        assert_eq!(shown("é".repeat(201).as_bytes()), "é".repeat(200) + "…");
        assert_eq!(shown("\u{202e}".as_bytes()), "\\u{202e}");
    }
}
