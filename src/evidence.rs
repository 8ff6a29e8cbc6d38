//! The facts of one cell as plain data: what was asked, what the client's processes did, what crossed the wire, what the
//! scripted provider answered, and what the gateway logged. Facts only; nothing here judges.

use serde::{Deserialize, Serialize};

use crate::exchange::Exchange;
use crate::probe::{TurnUsage, Vars};

/// The format of stored evidence; raised when an older reader would misread it.
pub const EVIDENCE_VERSION: u32 = 1;

/// Everything that one attempt at one cell left behind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// [`EVIDENCE_VERSION`] of the writer.
    pub evidence_version: u32,
    /// Which cell this is.
    pub cell: CellFacts,
    /// The client's launches, in order.
    pub launches: Vec<LaunchFacts>,
    /// The requests that ccsmoke sent itself, in order; they came behind all launches.
    #[serde(default)]
    pub sends: Vec<SendFacts>,
    /// What the client tap recorded, in order of arrival.
    pub exchanges: Vec<Exchange>,
    /// What the tap itself did.
    pub tap: TapFacts,
    /// What the provider tap recorded of the requests that carried this cell's nonce, in order of arrival and on the same
    /// clock as [`Evidence::exchanges`]; `None` where there is no provider tap.
    #[serde(default)]
    pub behind: Option<Vec<Exchange>>,
    /// What was seen of the gateway's process.
    #[serde(default)]
    pub gateway: Option<GatewayFacts>,
    /// The scripted provider's own account of the requests that carried this cell's nonce, in order of arrival; `None`
    /// when another provider answered.
    pub provider: Option<Vec<ProviderRecord>>,
    /// What was logged meanwhile.
    pub log: LogFacts,
    /// The workspace's files as they were after the last launch.
    pub workspace: Vec<FileFact>,
    /// Files of the client's configuration that the probe asks for.
    #[serde(default)]
    pub config: Vec<ConfigFile>,
}

impl Evidence {
    /// How the gateway failed, if it did.
    pub fn gateway_failure(&self) -> Option<&GatewayFailure> {
        self.gateway.as_ref()?.failure.as_ref()
    }
}

/// Which cell it is and what its placeholders stood for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellFacts {
    /// The probe's identity.
    pub probe: String,
    /// What stood at the other end.
    pub target: TargetFacts,
    /// The model as the client was asked for it.
    pub model: String,
    /// `provider/model`.
    pub full_model: String,
    /// The client's version, e.g. `2.1.329`.
    pub cli_version: String,
    /// What the placeholders stood for.
    pub vars: Vars,
}

/// What stood at the other end of the client tap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetFacts {
    /// The target's name.
    pub name: String,
    /// Who answered there.
    pub kind: TargetKind,
    /// What the gateway is allowed to change, in the words of its profile.
    #[serde(default)]
    pub rewrites: Vec<String>,
    /// Whether its credential came from a variable of the environment, which may hold a wrong one.
    #[serde(default)]
    pub credential_is_given: bool,
}

/// What was seen of a gateway's process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayFacts {
    /// The version that it tells.
    pub version: Option<String>,
    /// Why it could not be used, or how it failed while the cell ran; in words.
    pub failure: Option<GatewayFailure>,
}

impl GatewayFacts {
    /// How it failed, in words; empty when it did not.
    pub fn words(&self) -> &str {
        self.failure.as_ref().map_or("", |failure| &failure.words)
    }
}

/// How a gateway failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayFailure {
    /// What happened, in words.
    pub words: String,
    /// Whether the gateway itself did it; otherwise it could not even be started.
    pub by_itself: bool,
    /// The last lines of its log.
    pub last_lines: Vec<String>,
}

/// Who answered at the other end of the client tap; it decides to whom a broken stream can be laid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TargetKind {
    /// The scripted provider itself: no gateway between.
    Embedded,
    /// A gateway with the Anthropic face of the scripted provider behind it.
    Gateway,
    /// A gateway with the OpenAI face of the scripted provider behind it.
    Translator,
    /// A gateway, or a provider's own API, with something behind it that we did not see.
    Live,
}

/// The client's argument that bounds what its session may cost, in US dollars. It looks after every turn, so that it goes beyond
/// the bound by what one turn costs.
pub const MAX_COST: &str = "--max-budget-usd";

/// One request that ccsmoke sent itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendFacts {
    /// Its name in the probe.
    pub name: String,
    /// The exchange that it is; `None` when it never came to one.
    pub exchange: Option<u32>,
    /// Whether ccsmoke left before the end, as the probe asks.
    pub left: bool,
    /// Why it could not be sent or its answer not be read, in words.
    pub error: Option<String>,
}

/// A file of the client's configuration after the last launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigFile {
    /// The path below the configuration folder.
    pub path: String,
    /// What it held; `None` when it could not be read.
    pub text: Option<String>,
}

/// What one launch of the client was and did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LaunchFacts {
    /// The arguments after the program's name.
    pub args: Vec<String>,
    /// When it began, in microseconds since the recording began.
    pub started_us: u64,
    /// How long it took, in microseconds.
    pub duration_us: u64,
    /// How the process ended and what it cost.
    pub process: ProcessFacts,
}

impl LaunchFacts {
    /// The value that follows an argument.
    pub fn argument(&self, flag: &str) -> Option<&str> {
        let at = self.args.iter().position(|arg| arg == flag)?;
        self.args.get(at + 1).map(String::as_str)
    }
}

/// How one supervised process ended, what it printed, and what it left behind.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ProcessFacts {
    /// The exit code; `None` when a signal ended it, it was killed for a deadline, or it never started.
    pub returncode: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Why the harness ended it, if it did.
    pub ended_by: Option<EndedBy>,
    /// Why it could not be started, if it could not.
    pub spawn_error: Option<String>,
    /// Standard output with invalid UTF-8 replaced: the head and the tail when it was capped.
    pub stdout: Captured,
    /// Standard error, likewise.
    pub stderr: Captured,
    /// Processes that it had started and that still lived when it had ended; they were killed.
    pub leftovers: u32,
    /// Whether a leftover kept standard output or error open after the process had ended.
    pub held_pipes: bool,
    /// CPU time of the process and all it started that could be waited for, user and system, in microseconds.
    pub cpu_us: u64,
    /// Largest resident set of one of these processes, in KiB.
    pub max_rss_kib: u64,
}

/// Why the harness ended a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// It outlived its deadline.
    Deadline,
    /// Neither output nor wire activity for too long.
    Idle,
    /// It lived on for too long after its last `result` line.
    Lingering,
    /// It printed more than the limit.
    OutputLimit,
    /// It sent more requests than the cell may.
    Runaway,
    /// The run was interrupted.
    Interrupt,
    /// The probe ends it there.
    Probe,
}

impl EndedBy {
    /// Whether this is a time-out in the sense of the text evidence.
    pub fn is_timeout(self) -> bool {
        matches!(self, Self::Deadline | Self::Idle | Self::Lingering)
    }
}

/// Captured output.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Captured {
    /// What was kept.
    pub text: String,
    /// How many bytes were printed and not kept, exactly.
    pub dropped_bytes: u64,
    /// How many byte sequences were not UTF-8 and were replaced.
    pub replaced: u64,
}

/// What the tap itself did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TapFacts {
    /// The most requests that the cell was allowed.
    pub max_requests: u32,
    /// Whether the cell passed that number and was stopped.
    pub runaway: bool,
}

/// The API that the scripted provider was asked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Face {
    /// Anthropic Messages.
    #[default]
    Anthropic,
    /// OpenAI Chat Completions.
    OpenaiChat,
    /// OpenAI Responses.
    OpenaiResponses,
}

/// The scripted provider's account of one request.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, by its name in stored evidence")]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderRecord {
    /// The API that it was asked by.
    #[serde(default)]
    pub face: Face,
    /// The name of the turn that was played; `None` when it refused or nothing fitted.
    pub turn: Option<String>,
    /// The status answered.
    pub status: u16,
    /// The words of the refusal, when the request broke a rule of the API.
    pub refusal: Option<String>,
    /// Whether the answer was streamed.
    pub streamed: bool,
    /// Whether the answer held thinking.
    pub thinking: bool,
    /// The token counts that were answered.
    pub usage: Option<TurnUsage>,
    /// The content blocks that were answered, as the Messages API returns them whole, whichever API it was asked by: they say
    /// what the script meant. Only thinking answered by Anthropic Messages is signed.
    pub blocks: Vec<serde_json::Value>,
    /// The stop reason that was answered.
    pub stop_reason: Option<String>,
    /// What the request held that the provider does not know, e.g. `field:speed`, `beta:x-2099`, `block:foo`, `item:foo`.
    pub unknown: Vec<String>,
    /// Whether the answer was sent to its end; `false` when the other side went away.
    pub delivered: bool,
    /// Whether the other side was seen to go away before the end. An answer that is neither delivered nor abandoned was still
    /// being sent when the cell ended.
    #[serde(default)]
    pub abandoned: bool,
}

/// What was logged while the cell ran.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LogFacts {
    /// The log file, as named in the report.
    pub path: Option<String>,
    /// What was appended.
    pub delta: String,
    /// What happened to the file meanwhile, e.g. that it was rotated or truncated.
    pub notes: Vec<String>,
    /// Whether other cells were at the gateway meanwhile, so that lines of theirs stand in it.
    #[serde(default)]
    pub shared: bool,
}

/// One file of the workspace after the last launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFact {
    /// The path relative to the workspace.
    pub path: String,
    /// What the probe had put there; bytes as base64.
    pub expected: String,
    /// Whether it still holds exactly that.
    pub intact: bool,
}
