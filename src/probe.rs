//! Probe files: what one declarative test of one Claude Code feature asks, what the scripted provider answers, and what
//! must be seen. One TOML file is one probe; the file's name is its identity and its feature.
//!
//! Files are strict: an unknown key, a wrong type, an unknown placeholder or a contradiction is an error that names the
//! file, the line and the column (see [`FileError`]).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::file_error::FileError;
use crate::placeholder;

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
    /// Files that the workspace holds when the client starts.
    #[serde(default)]
    pub workspace: Vec<WorkspaceFile>,
    /// Launches of the client, in order.
    #[serde(default)]
    pub launch: Vec<Launch>,
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
    /// The content; placeholders are filled in.
    pub content: Spanned<String>,
}

/// One start of the client.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Launch {
    /// The prompt; placeholders are filled in.
    pub prompt: Spanned<String>,
    /// Whether this launch resumes the cell's session (`--resume`) instead of opening it.
    #[serde(default)]
    pub resume: bool,
}

/// What must be seen.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// What the text verdict needs (`spec/matrix.md` section 5, rule 5).
    #[serde(default)]
    pub needs: BTreeSet<Need>,
    /// How many inference requests the client makes when everything goes right against the scripted provider.
    pub requests: Option<Spanned<u32>>,
    /// What the model's final answer must be.
    pub answer: Option<Spanned<Answer>>,
    /// Where thinking must come back.
    pub thinking: Option<Spanned<Thinking>>,
    /// Tool calls that must be made, succeed, and bring what is stated.
    #[serde(default)]
    pub tool: Vec<Spanned<ToolExpect>>,
    /// The sub-agent that must be launched and finish.
    pub agent: Option<Spanned<String>>,
    /// Whether the session must be compacted and the marker survive it.
    pub compact: Option<Spanned<bool>>,
    /// Whether the token counts must be what the provider counted.
    pub usage: Option<Spanned<bool>>,
}

/// What the text verdict can need.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// The marker occurs.
    Marker,
    /// A tool result occurs.
    ToolResult,
    /// A sub-agent was called and gave a result.
    Agent,
    /// A `Task` tool with `run_in_background` false occurs.
    Task,
    /// Compaction is spoken of.
    Compact,
}

/// What the model's final answer must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// It holds the marker.
    Marker,
}

/// Where signed thinking must come back in the main conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Thinking {
    /// In front of an answer's text.
    BeforeText,
    /// In front of a tool call.
    BeforeTool,
}

/// A tool call that must be seen.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolExpect {
    /// The tool's name.
    pub name: String,
    /// Text arguments, by name; a path also matches when it is given relative to the workspace.
    #[serde(default)]
    pub input: BTreeMap<String, String>,
    /// Text that the tool's result must hold; placeholders are filled in.
    pub result: String,
    /// Whether a sub-agent makes the call.
    #[serde(default)]
    pub by_agent: bool,
}

/// One answer of the scripted provider.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    /// A name for messages.
    pub name: Spanned<String>,
    /// When the turn fits; every stated condition must hold.
    #[serde(default)]
    pub when: When,
    /// The content blocks, in order.
    #[serde(default)]
    pub blocks: Vec<Block>,
    /// The stop reason; by default `tool_use` when a tool is called and `end_turn` otherwise.
    pub stop_reason: Option<String>,
    /// The token counts that are reported.
    #[serde(default)]
    pub usage: TurnUsage,
    /// Milliseconds of pause in front of every event after the first.
    #[serde(default)]
    pub pause_ms: u64,
    /// An error that is answered instead of the blocks.
    pub error: Option<TurnError>,
}

/// When a turn fits: facts of the conversation alone, never the order of arrival.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// A tool of that name is offered.
    pub offers: Option<String>,
    /// No tool of that name is offered.
    pub lacks: Option<String>,
    /// The conversation holds exactly so many tool results.
    pub tool_results: Option<u32>,
    /// The last text of a user message holds this.
    pub user_says: Option<String>,
}

/// A content block of a scripted answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Block {
    /// Thinking, sent only where the request enables it.
    Thinking(ThinkingBlock),
    /// Text, one delta a piece.
    Text(Vec<String>),
    /// A tool call.
    ToolUse(ToolUseBlock),
}

/// Scripted thinking.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThinkingBlock {
    /// The text, one delta a piece.
    pub pieces: Vec<String>,
    /// Whether a signature follows; without one the block is what the real API never sends.
    #[serde(default = "yes")]
    pub signed: bool,
}

/// A scripted tool call.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolUseBlock {
    /// The tool's name.
    pub name: String,
    /// The arguments; texts have their placeholders filled in.
    pub input: BTreeMap<String, toml::Value>,
    /// In how many fragments the arguments' JSON text is sent.
    #[serde(default = "one")]
    pub fragments: u32,
}

/// Token counts that a scripted answer reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TurnUsage {
    /// Input tokens outside the cache.
    pub input_tokens: u64,
    /// Input tokens written to the cache.
    pub cache_creation_input_tokens: u64,
    /// Input tokens read from the cache.
    pub cache_read_input_tokens: u64,
    /// Output tokens, as the final cumulative count.
    pub output_tokens: u64,
}

impl Default for TurnUsage {
    fn default() -> Self {
        Self { input_tokens: 321, cache_creation_input_tokens: 0, cache_read_input_tokens: 0, output_tokens: 42 }
    }
}

/// A scripted refusal.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TurnError {
    /// The HTTP status.
    pub status: u16,
    /// The error's type, e.g. `overloaded_error`.
    pub kind: String,
    /// The message.
    pub message: String,
    /// Further response headers, e.g. `retry-after`.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
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

/// Placeholders that are known when a cell starts.
const CELL_PLACEHOLDERS: [&str; 4] = ["marker", "nonce", "workspace", "session_id"];

/// Placeholders of scripted answers. The marker is not among them: an answer has to come from the conversation.
const TURN_PLACEHOLDERS: [&str; 4] = ["nonce", "workspace", "prompt.marker", "tool_result.marker"];

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

    fn check(&self) -> Result<(), (Range<usize>, String)> {
        let fail = |span: Range<usize>, message: &str| Err((span, message.to_owned()));
        let named = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if self.id.is_empty() || !self.id.chars().all(named) {
            return fail(0..0, "a probe's file name consists of small letters, digits and `_`");
        }
        let kind = self.kind.get_ref();
        if kind.is_empty() || !kind.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit()) {
            return fail(self.kind.span(), "`kind` consists of capital letters and digits");
        }
        if self.launch.is_empty() {
            return fail(0..0, "a probe has at least one [[launch]]");
        }
        for (i, launch) in self.launch.iter().enumerate() {
            let span = launch.prompt.span();
            if launch.prompt.get_ref().trim().is_empty() {
                return fail(span, "a prompt cannot be empty");
            }
            if launch.resume && (i == 0 || !self.persist) {
                return fail(
                    span,
                    "a launch can resume only what an earlier launch kept: `persist = true`, not the first",
                );
            }
            if !self.expect.tool.is_empty() && launch.prompt.get_ref().contains("{marker}") {
                return fail(span, "the marker must come from the tool's result, so the prompt must not contain it");
            }
            known_placeholders(&launch.prompt, &CELL_PLACEHOLDERS)?;
        }
        let prompts = || self.launch.iter().map(|l| l.prompt.get_ref());
        if !self.turn.is_empty() && !prompts().any(|p| p.contains("{nonce}")) {
            return fail(
                self.launch[0].prompt.span(),
                "a prompt has to hold {nonce}: the scripted provider finds its script by it",
            );
        }
        for arg in self.early_args.iter().chain(&self.late_args) {
            known_placeholders(arg, &CELL_PLACEHOLDERS)?;
        }
        for (name, value) in &self.env {
            known_placeholders(value, &CELL_PLACEHOLDERS)?;
            if RESERVED_ENV.contains(&name.as_str()) {
                return fail(value.span(), &format!("`{name}` is set by the harness and cannot be set by a probe"));
            }
        }
        for file in &self.workspace {
            known_placeholders(&file.content, &CELL_PLACEHOLDERS)?;
            let path = Path::new(file.path.get_ref());
            let plain = path.components().all(|c| matches!(c, std::path::Component::Normal(_)));
            if file.path.get_ref().is_empty() || !plain {
                return fail(file.path.span(), "a workspace path is relative and stays below the workspace");
            }
        }
        let mut seen = BTreeSet::new();
        for turn in &self.turn {
            if !seen.insert(turn.name.get_ref()) {
                return fail(turn.name.span(), "two turns have this name");
            }
            if turn.blocks.is_empty() == turn.error.is_none() {
                return fail(turn.name.span(), "a turn has either `blocks` or an `error`");
            }
            for text in turn.blocks.iter().flat_map(Block::texts) {
                known_placeholders(&Spanned::new(turn.name.span(), text), &TURN_PLACEHOLDERS)?;
            }
        }
        Ok(())
    }
}

/// Variables of a client that only the harness sets: they are what keeps a cell hermetic.
pub(crate) const RESERVED_ENV: [&str; 10] = [
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_API_URL",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BASE_URL",
    "CLAUDE_CODE_TMPDIR",
    "CLAUDE_CONFIG_DIR",
    "HOME",
    "IS_SANDBOX",
    "PATH",
    "TMPDIR",
];

impl Block {
    /// Every text of the block that may hold placeholders.
    fn texts(&self) -> Vec<String> {
        fn of(value: &toml::Value, out: &mut Vec<String>) {
            match value {
                toml::Value::String(s) => out.push(s.clone()),
                toml::Value::Array(items) => items.iter().for_each(|v| of(v, out)),
                toml::Value::Table(table) => table.values().for_each(|v| of(v, out)),
                _ => {}
            }
        }
        match self {
            Self::Thinking(t) => t.pieces.clone(),
            Self::Text(pieces) => pieces.clone(),
            Self::ToolUse(tool) => {
                let mut out = Vec::new();
                tool.input.values().for_each(|v| of(v, &mut out));
                out
            }
        }
    }
}

/// Refuses `{word}` that is no placeholder.
fn known_placeholders(text: &Spanned<String>, known: &[&str]) -> Result<(), (Range<usize>, String)> {
    placeholder::check(text.get_ref(), known).map_err(|message| (text.span(), message))
}
