//! Why there is no gateway, or none any more, with the last lines that it printed.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::Duration;

/// How many of a log's last lines are shown.
const LINES: usize = 40;

/// How many bytes at the end of a log are searched for them.
const TAIL_BYTES: u64 = 64 << 10;

/// How many characters of a line are shown.
const LINE_CHARS: usize = 500;

/// A gateway that cannot be tested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayFailure {
    /// Its name.
    pub gateway: String,
    /// What happened.
    pub kind: FailureKind,
    /// The last lines of its output, or of its log where it printed nothing: at most 40. They are as they were printed, so the
    /// redactor has to see them before anybody else does.
    pub last_lines: Vec<String>,
}

/// What happened to a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureKind {
    /// It could not be started: the environment is to blame.
    NotStarted {
        /// Why, in words.
        why: String,
    },
    /// Its ready path was not answered in time.
    NeverReady {
        /// The path.
        path: String,
        /// How long it was waited for.
        waited: Duration,
        /// What came of asking last, in words.
        last: String,
    },
    /// Its certificate is not to be trusted: the environment is to blame.
    Untrusted {
        /// What is wrong with it, in words.
        why: String,
    },
    /// It ended without being asked to.
    Died {
        /// The exit code, if it ended by itself.
        code: Option<i32>,
        /// The signal that ended it.
        signal: Option<i32>,
    },
    /// Another process has its port: the environment is to blame.
    SomebodyElse {
        /// The port.
        port: u16,
        /// The other process, where it is known.
        pid: Option<u32>,
    },
    /// It was up and does not answer any more.
    NotAnswering {
        /// The path.
        path: String,
        /// What came of asking, in words.
        last: String,
    },
}

impl std::error::Error for GatewayFailure {}

impl fmt::Display for GatewayFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the gateway {} {}", self.gateway, self.kind)?;
        if !self.last_lines.is_empty() {
            f.write_str("\nits last lines:")?;
        }
        self.last_lines.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted { why } => write!(f, "could not be started: {why}"),
            Self::NeverReady { path, waited, last } => {
                write!(f, "was not ready after {} s: GET {path}: {last}", waited.as_secs_f64())
            }
            Self::Untrusted { why } => write!(
                f,
                "was not tested, because its certificate is not to be trusted ({why}); name the certificate of its CA in `ca_file`, \
                 or with --ca-file"
            ),
            Self::Died { code: Some(0), .. } => {
                f.write_str("ended with exit code 0; it has to stay in the foreground for as long as it is tested")
            }
            Self::Died { code: Some(code), .. } => write!(f, "ended with exit code {code}"),
            Self::Died { signal: Some(signal), .. } => write!(f, "was ended by signal {signal}"),
            Self::Died { .. } => f.write_str("ended"),
            Self::SomebodyElse { port, pid: Some(pid) } => {
                write!(f, "was not tested, because process {pid}, which is not its own, answers at its port {port}")
            }
            Self::SomebodyElse { port, pid: None } => {
                write!(f, "was not tested, because another process has taken its port {port}")
            }
            Self::NotAnswering { path, last } => write!(f, "was up and does not answer any more: GET {path}: {last}"),
        }
    }
}

/// The last lines of the first of these files that has any.
pub(super) fn last_lines<'p>(files: impl IntoIterator<Item = &'p Path>) -> Vec<String> {
    let tails = files.into_iter().filter_map(|path| tail(path).ok());
    tails.map(|bytes| lines(&bytes)).find(|lines| !lines.is_empty()).unwrap_or_default()
}

fn tail(path: &Path) -> io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Ok(Vec::new());
    }
    let mut file = File::open(path)?;
    let start = file.metadata()?.len().saturating_sub(TAIL_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    if start > 0 {
        // The first line is cut.
        let whole = bytes.iter().position(|b| *b == b'\n').map_or(0, |end| end + 1);
        bytes.drain(..whole);
    }
    Ok(bytes)
}

fn lines(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let all: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let shown = all.iter().skip(all.len().saturating_sub(LINES));
    shown.map(|line| line.chars().take(LINE_CHARS).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_a_huge_log_are_whole_few_and_short() {
        let folder = tempfile::tempdir().unwrap();
        let (empty, full) = (folder.path().join("empty"), folder.path().join("full"));
        std::fs::write(&empty, "").unwrap();
        let mut text: String = std::iter::repeat_n("a line\n\n", 20_000).collect();
        text.push_str("the last but one\n");
        text.push_str(&"x".repeat(10_000));
        std::fs::write(&full, text).unwrap();
        let shown = last_lines([empty.as_path(), &full]);
        assert_eq!((shown.len(), shown[38].as_str()), (LINES, "the last but one"));
        assert_eq!(shown[39].len(), LINE_CHARS);
        assert_eq!(last_lines([folder.path(), &folder.path().join("none")]), Vec::<String>::new());
    }
}
