//! Starts a program as others would: with standard input left open, in a session of its own, or at a pseudo-terminal.
//!
//! It is this very program, started again below the supervisor, which ends whatever comes of it. A session begins in a process of
//! its own, because only one that leads no process group can begin one.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use nix::pty::{Winsize, openpty};
use nix::unistd::{setsid, ttyname};

/// The first argument that makes this program the launcher; not for people.
pub const COMMAND: &str = "__start";

/// How long a terminal is read on when the program at it has ended.
const DRAIN: Duration = Duration::from_millis(500);

/// What is said when the program could not be started, as shells do.
const NOT_STARTED: u8 = 127;

/// How a program is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// Standard input is a pipe that stays open and brings nothing.
    OpenInput,
    /// In a session of its own, without a controlling terminal.
    Session,
    /// In a session of its own, at a pseudo-terminal.
    Terminal,
}

impl Manner {
    fn word(self) -> &'static str {
        match self {
            Self::OpenInput => "open-input",
            Self::Session => "session",
            Self::Terminal => "terminal",
        }
    }

    /// The arguments of this program `own` that start another one in this manner.
    pub(super) fn arguments(self, own: &std::path::Path, program: &std::path::Path, args: &[String]) -> Vec<String> {
        let texts = [COMMAND, self.word()].map(str::to_owned).into_iter();
        let paths = [own, program].map(|path| path.display().to_string());
        texts.chain(paths).chain(args.iter().cloned()).collect()
    }
}

/// Runs the launcher. `args` are the manner, this program's path, the program and its arguments.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match start(args.into_iter().collect()) {
        Ok(code) => code.into(),
        Err(e) => {
            drop(writeln!(io::stderr(), "ccsmoke: the program could not be started: {e}"));
            NOT_STARTED.into()
        }
    }
}

fn start(mut args: Vec<OsString>) -> io::Result<u8> {
    if args.len() < 3 {
        return Err(io::Error::other("no program"));
    }
    let rest = args.split_off(3);
    let [manner, own, program] = args.try_into().map_err(|_| io::Error::other("no program"))?;
    match manner.to_str() {
        Some("open-input") => {
            let mut child = Command::new(program).args(rest).stdin(Stdio::piped()).spawn()?;
            // Waiting would close it.
            let input = child.stdin.take();
            let code = ended(&mut child)?;
            drop(input);
            Ok(code)
        }
        Some("session") => ended(&mut leader(own, "lead", &program, &rest, Stdio::null()).spawn()?),
        Some("terminal") => terminal(own, &program, &rest),
        Some("lead") => {
            setsid()?;
            Err(Command::new(program).args(rest).exec())
        }
        Some("lead-terminal") => {
            setsid()?;
            // The first terminal that the leader of a session opens becomes the session's own.
            let terminal = OpenOptions::new().read(true).write(true).open(PathBuf::from(own))?;
            Err(Command::new(program).args(rest).stdin(Stdio::from(terminal)).exec())
        }
        _ => Err(io::Error::other("no such manner")),
    }
}

/// The second step: a process that leads no group yet. In the place of this program's path stands the terminal's, where there
/// is one.
fn leader(own: OsString, manner: &str, program: &OsString, args: &[OsString], input: Stdio) -> Command {
    let mut command = Command::new(&own);
    command.arg(COMMAND).arg(manner).arg(own).arg(program).args(args).stdin(input);
    command
}

fn terminal(own: OsString, program: &OsString, args: &[OsString]) -> io::Result<u8> {
    let size = Winsize { ws_row: 40, ws_col: 120, ws_xpixel: 0, ws_ypixel: 0 };
    let pair = openpty(Some(&size), None)?;
    let name = ttyname(&pair.slave)?;
    let slave = File::from(pair.slave);
    let mut command = Command::new(own);
    command.arg(COMMAND).arg("lead-terminal").arg(name).arg(program).args(args);
    command.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave);
    let mut child = command.spawn()?;
    // Its copies of the terminal's far end would keep the near end open.
    drop(command);
    let (done, is_done) = mpsc::channel::<()>();
    let mut near = File::from(pair.master);
    std::thread::spawn(move || {
        // A terminal whose far end is closed gives an error in the place of an end.
        let _ = io::copy(&mut near, &mut io::stdout());
        drop(done);
    });
    let code = ended(&mut child)?;
    // Whoever is left at the terminal keeps it open.
    let _ = is_done.recv_timeout(DRAIN);
    io::stdout().flush()?;
    Ok(code)
}

/// Awaits the end, and gives the exit code as shells tell it.
fn ended(child: &mut Child) -> io::Result<u8> {
    let status = child.wait()?;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Ok(u8::try_from(code).unwrap_or(1))
}
