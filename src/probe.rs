//! Probe files: what one declarative test of one Claude Code feature asks, what the scripted provider answers, and what
//! must be seen. One TOML file is one probe; the file's name is its identity and its feature.
//!
//! Files are strict: an unknown key, a wrong type, an unknown placeholder or a contradiction is an error that names the
//! file, the line and the column (see [`FileError`]).

mod check;
mod expect;
mod script;
mod send;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::capability::Capability;
use crate::evidence::TargetKind;
use crate::file_error::FileError;

pub(crate) use check::RESERVED_ENV;
pub use expect::{Answer, ErrorExpect, Expect, FileExpect, Need, SendExpect, Thinking, ToolExpect};
pub use script::{
    Block, Cut, CutKind, Point, ServerToolUse, Silence, Split, StreamError, ThinkingBlock, ToolUseBlock, Turn,
    TurnError, TurnUsage, When, Wire,
};
pub use send::{Credential, Send};

/// The largest probe file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// One probe.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// The file's stem, which is also the feature's name in reports, e.g. `basic_text`.
    #[serde(skip)]
    pub id: String,
    /// The file as it is named in messages.
    #[serde(skip)]
    pub path: PathBuf,
    /// The file's text, for the lines that findings cite.
    #[serde(skip)]
    pub source: String,
    /// One line that says what the probe shows.
    pub title: String,
    /// The KIND part of the cell's marker, e.g. `BASIC`: capital letters and digits.
    pub kind: Spanned<String>,
    /// What of Claude Code the probe exercises.
    pub capabilities: Spanned<BTreeSet<Capability>>,
    /// The kinds of targets of which the probe says something; all of them when absent. For others it is no part of the plan.
    pub only: Option<Spanned<BTreeSet<TargetKind>>>,
    /// Whether the client is started with `--bare`.
    #[serde(default = "yes")]
    pub bare: bool,
    /// Whether the session is kept on disk; without it `--no-session-persistence` is given.
    #[serde(default)]
    pub persist: bool,
    /// Tools offered to the model; none means `--tools ""`.
    #[serde(default)]
    pub tools: Vec<String>,
    /// Arguments in front of `--tools`.
    #[serde(default)]
    pub early_args: Vec<Spanned<String>>,
    /// Arguments between `--tools` and the prompt.
    #[serde(default)]
    pub late_args: Vec<Spanned<String>>,
    /// Further environment of the client.
    #[serde(default)]
    pub env: BTreeMap<String, Spanned<String>>,
    /// Seconds after which a launch is ended; the run's default when absent.
    pub timeout_s: Option<u64>,
    /// Seconds without any output or wire activity after which a launch is ended; the run's default when absent.
    pub idle_s: Option<u64>,
    /// In which form the client shows its credential: `bearer` or `api_key`.
    #[serde(default)]
    pub credential: Option<Spanned<Credential>>,
    /// Files that the workspace holds when the client starts.
    #[serde(default)]
    pub workspace: Vec<WorkspaceFile>,
    /// Launches of the client, in order.
    #[serde(default)]
    pub launch: Vec<Launch>,
    /// Requests that ccsmoke sends itself when the launches are over, in order.
    #[serde(default)]
    pub send: Vec<Send>,
    /// What must be seen.
    pub expect: Expect,
    /// What the scripted provider answers. The first turn whose condition fits the conversation is played.
    #[serde(default)]
    pub turn: Vec<Turn>,
}

/// A file of the workspace.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkspaceFile {
    /// Relative path below the workspace.
    pub path: Spanned<String>,
    /// The content as text; placeholders are filled in.
    pub content: Option<Spanned<String>>,
    /// The content as base64, for bytes that are no text.
    pub base64: Option<Spanned<String>>,
}

/// One start of the client.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Launch {
    /// The prompt; placeholders are filled in.
    pub prompt: Option<Spanned<String>>,
    /// Instead of a prompt: messages of the user on standard input, in order.
    #[serde(default)]
    pub input: Vec<UserMessage>,
    /// Whether this launch resumes the cell's session (`--resume`) instead of opening it.
    #[serde(default)]
    pub resume: bool,
    /// Whether the session that is resumed goes on as a new one (`--fork-session`).
    #[serde(default)]
    pub fork: bool,
    /// Where the client is ended by SIGTERM, as a user does who has seen enough.
    pub end_at: Option<EndAt>,
}

/// A message of the user on standard input.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserMessage {
    /// The content blocks, in order.
    pub blocks: Vec<InputBlock>,
}

/// A content block of a user's message.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputBlock {
    /// Text; placeholders are filled in.
    Text(Spanned<String>),
    /// A PNG file of the workspace.
    Image(Spanned<String>),
}

/// A moment at which something is left before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndAt {
    /// When the first piece of text has come.
    FirstText,
}

fn yes() -> bool {
    true
}

fn one() -> u32 {
    1
}

/// What the placeholders of a probe stand for in one cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vars {
    /// `{marker}`: new for every cell, `<PREFIX>_<SCOPE>_<KIND>_<8 upper-case hex digits>`.
    pub marker: String,
    /// `{nonce}`: what only this cell's conversations hold; requests are claimed by it.
    pub nonce: String,
    /// `{workspace}`: the absolute path of the workspace.
    pub workspace: String,
    /// `{session_id}`: the id of the client's session.
    pub session_id: String,
}

impl Vars {
    /// Fills in the placeholders of `text`; what is no placeholder stays.
    pub fn fill(&self, text: &str) -> String {
        let mut out = text.to_owned();
        for (name, value) in [
            ("{marker}", &self.marker),
            ("{nonce}", &self.nonce),
            ("{workspace}", &self.workspace),
            ("{session_id}", &self.session_id),
        ] {
            if out.contains(name) {
                out = out.replace(name, value);
            }
        }
        out
    }
}

impl Probe {
    /// Parses and checks the text of a probe file. `path` names it in errors, and its stem is the probe's identity.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn parse(path: &Path, text: &str) -> Result<Self, FileError> {
        let mut probe: Self = toml::from_str(text).map_err(|e| FileError::toml(path, text, &e))?;
        probe.id = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        path.clone_into(&mut probe.path);
        text.clone_into(&mut probe.source);
        probe.check().map_err(|(span, message)| FileError::at(path, text, span, message))?;
        Ok(probe)
    }

    /// Reads and checks a probe file.
    ///
    /// # Errors
    /// The file cannot be read, is too large, or is wrong somewhere.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let text = FileError::read(path, MAX_FILE_BYTES)?;
        Self::parse(path, &text)
    }

    /// `path:line` of a place in the probe file, for findings.
    pub fn cite(&self, span: &Range<usize>) -> String {
        let (line, _) = crate::file_error::line_column(&self.source, span.start);
        format!("{}:{line}", self.path.display())
    }

    /// Whether the probe says something of a target of that kind.
    pub fn applies_to(&self, kind: TargetKind) -> bool {
        self.only.as_ref().is_none_or(|only| only.get_ref().contains(&kind))
    }

    /// Whether the scripted provider fails on purpose, so that the client asks again, asks otherwise, or gives up.
    pub fn makes_trouble(&self) -> bool {
        self.turn.iter().any(Turn::is_trouble)
    }

    /// Whether the model is to be asked nothing.
    pub fn asks_nothing(&self) -> bool {
        self.expect.requests.as_ref().is_some_and(|n| *n.get_ref() == 0)
    }

    /// Whether the text of a cell says nothing: an error response belongs to what is to be seen, or may be made of what is, or no
    /// request to the model does. By text alone each is always a failure.
    pub fn is_beyond_text(&self) -> bool {
        let refused = |send: &Send| send.expect.get_ref().status.iter().any(|status| *status >= 400);
        self.asks_nothing() || self.makes_trouble() || self.send.iter().any(refused)
    }
}
