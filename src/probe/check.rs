//! What the types of a probe file do not say: contradictions, placeholders that nobody fills in, and what would make a cell
//! pass or fail for the wrong reason. Every mistake has its place in the file.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Component, Path};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value;
use toml::Spanned;

use super::{Block, Credential, InputBlock, Launch, Probe, Send, Turn, WorkspaceFile};
use crate::placeholder;

/// What is wrong, and where in the file.
type Mistake = (Range<usize>, String);

/// Placeholders that are known when a cell starts.
const CELL_PLACEHOLDERS: [&str; 4] = ["marker", "nonce", "workspace", "session_id"];

/// Placeholders of what is sent without the limits of an argument: `{page}` is 16 KiB of text, `{filler}` a mebibyte.
const INPUT_PLACEHOLDERS: [&str; 6] = ["marker", "nonce", "workspace", "session_id", "page", "filler"];

/// Placeholders of requests that ccsmoke sends itself: `{model}` is the model's id as the client sends it.
const SEND_PLACEHOLDERS: [&str; 6] = ["marker", "nonce", "session_id", "model", "page", "filler"];

/// Placeholders of scripted answers. The marker is not among them: an answer has to come from the conversation.
const TURN_PLACEHOLDERS: [&str; 4] = ["nonce", "workspace", "prompt.marker", "tool_result.marker"];

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

fn wrong<T>(span: Range<usize>, message: impl Into<String>) -> Result<T, Mistake> {
    Err((span, message.into()))
}

/// Refuses `{word}` that is no placeholder.
fn known_placeholders(text: &Spanned<String>, known: &[&str]) -> Result<(), Mistake> {
    placeholder::check(text.get_ref(), known).map_err(|message| (text.span(), message))
}

/// JSON text, with a mistake in it shown where the text begins.
fn json(text: &str, span: Range<usize>) -> Result<Value, Mistake> {
    serde_json::from_str(text).or_else(|e| wrong(span, format!("this is not JSON: {e}")))
}

impl Probe {
    pub(super) fn check(&self) -> Result<(), Mistake> {
        let named = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if self.id.is_empty() || !self.id.chars().all(named) {
            return wrong(0..0, "a probe's file name consists of small letters, digits and `_`");
        }
        let kind = self.kind.get_ref();
        if kind.is_empty() || !kind.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit()) {
            return wrong(self.kind.span(), "`kind` consists of capital letters and digits");
        }
        if self.capabilities.get_ref().is_empty() {
            return wrong(self.capabilities.span(), "a probe exercises at least one capability");
        }
        if let Some(only) = self.only.as_ref().filter(|only| only.get_ref().is_empty()) {
            return wrong(only.span(), "a probe says something of at least one kind of target");
        }
        if self.launch.is_empty() && self.send.is_empty() {
            return wrong(0..0, "a probe has at least one [[launch]] or [[send]]");
        }
        let of_the_client = |c: &Spanned<Credential>| matches!(c.get_ref(), Credential::Bearer | Credential::ApiKey);
        if let Some(credential) = self.credential.as_ref().filter(|c| !of_the_client(c)) {
            return wrong(credential.span(), "a client has `bearer` or `api_key`; a [[send]] can have the others");
        }
        for (i, launch) in self.launch.iter().enumerate() {
            self.check_launch(i, launch)?;
        }
        self.check_nonce()?;
        for arg in self.early_args.iter().chain(&self.late_args) {
            known_placeholders(arg, &CELL_PLACEHOLDERS)?;
        }
        for (name, value) in &self.env {
            known_placeholders(value, &CELL_PLACEHOLDERS)?;
            if RESERVED_ENV.contains(&name.as_str()) {
                return wrong(value.span(), format!("`{name}` is set by the harness and cannot be set by a probe"));
            }
        }
        for file in &self.workspace {
            check_file(file)?;
        }
        for send in &self.send {
            check_send(send)?;
        }
        self.check_turns()
    }

    fn check_launch(&self, i: usize, launch: &Launch) -> Result<(), Mistake> {
        let texts: Vec<&Spanned<String>> = launch.texts().collect();
        let span = launch.span();
        if launch.prompt.is_some() != launch.input.is_empty() {
            return wrong(span, "a launch has either a `prompt` or `input`");
        }
        if texts.iter().all(|t| t.get_ref().trim().is_empty()) {
            return wrong(span, "a prompt cannot be empty");
        }
        if (launch.resume || launch.fork) && (i == 0 || !self.persist) {
            let message = "a launch can resume only what an earlier launch kept: `persist = true`, not the first";
            return wrong(span, message);
        }
        if launch.fork && !launch.resume {
            return wrong(span, "only a launch that resumes can fork: `resume = true`");
        }
        for text in texts {
            if !self.expect.tool.is_empty() && text.get_ref().contains("{marker}") {
                let message = "the marker must come from the tool's result, so the prompt must not contain it";
                return wrong(text.span(), message);
            }
            let known: &[&str] = if launch.prompt.is_some() { &CELL_PLACEHOLDERS } else { &INPUT_PLACEHOLDERS };
            known_placeholders(text, known)?;
        }
        for image in launch.input.iter().flat_map(|m| &m.blocks) {
            let InputBlock::Image(path) = image else { continue };
            if !self.workspace.iter().any(|f| f.path.get_ref() == path.get_ref() && f.base64.is_some()) {
                return wrong(path.span(), "an image is a file of the workspace, given as `base64`");
            }
        }
        Ok(())
    }

    /// The provider finds its script by the nonce, so something that the client sends has to hold it.
    fn check_nonce(&self) -> Result<(), Mistake> {
        let holds = |text: &Spanned<String>| text.get_ref().contains("{nonce}");
        let by_launch = || self.launch.iter().flat_map(Launch::texts).chain(&self.early_args).any(holds);
        let by_send = || self.send.iter().filter_map(|s| s.body.as_ref()).any(holds);
        if self.turn.is_empty() || by_launch() || by_send() {
            return Ok(());
        }
        let span = self.launch.first().map_or(0..0, Launch::span);
        wrong(span, "a prompt has to hold {nonce}: the scripted provider finds its script by it")
    }

    fn check_turns(&self) -> Result<(), Mistake> {
        let mut seen = BTreeSet::new();
        for turn in &self.turn {
            let span = || turn.name.span();
            if !seen.insert(turn.name.get_ref()) {
                return wrong(span(), "two turns have this name");
            }
            if turn.blocks.is_empty() == turn.error.is_none() {
                return wrong(span(), "a turn has either `blocks` or an `error`");
            }
            if turn.times == Some(0) {
                return wrong(span(), "a turn is played at least once: leave it out, or `times` away");
            }
            if turn.wire.cut.is_some() && turn.wire.error.is_some() {
                return wrong(span(), "a stream ends with a `cut` or with an `error`, not with both");
            }
            check_blocks(turn)?;
        }
        Ok(())
    }
}

impl Launch {
    /// Every text that the user says.
    pub(super) fn texts(&self) -> impl Iterator<Item = &Spanned<String>> {
        let said = self.input.iter().flat_map(|m| &m.blocks).filter_map(|block| match block {
            InputBlock::Text(text) => Some(text),
            InputBlock::Image(_) => None,
        });
        self.prompt.iter().chain(said)
    }

    /// Where the launch stands in the file.
    fn span(&self) -> Range<usize> {
        self.texts().next().map_or(0..0, Spanned::span)
    }
}

fn check_file(file: &WorkspaceFile) -> Result<(), Mistake> {
    let path = Path::new(file.path.get_ref());
    let plain = path.components().all(|c| matches!(c, Component::Normal(_)));
    if file.path.get_ref().is_empty() || !plain {
        return wrong(file.path.span(), "a workspace path is relative and stays below the workspace");
    }
    match (&file.content, &file.base64) {
        (Some(content), None) => known_placeholders(content, &CELL_PLACEHOLDERS),
        (None, Some(coded)) => match BASE64.decode(coded.get_ref().split_whitespace().collect::<String>()) {
            Ok(_) => Ok(()),
            Err(e) => wrong(coded.span(), format!("this is not base64: {e}")),
        },
        _ => wrong(file.path.span(), "a file has either `content` or `base64`"),
    }
}

fn check_send(send: &Send) -> Result<(), Mistake> {
    known_placeholders(&send.path, &SEND_PLACEHOLDERS)?;
    if !send.path.get_ref().starts_with('/') || send.path.get_ref().contains(char::is_whitespace) {
        return wrong(send.path.span(), "a path begins with `/` and holds no white space");
    }
    for (name, value) in &send.headers {
        known_placeholders(value, &SEND_PLACEHOLDERS)?;
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        if !is_name || value.get_ref().contains(['\r', '\n']) {
            return wrong(value.span(), "a header has a name of letters, digits and `-`, and a value on one line");
        }
    }
    if let Some(body) = &send.body {
        known_placeholders(body, &SEND_PLACEHOLDERS)?;
        json(body.get_ref(), body.span())?;
    }
    if send.expect.get_ref().status.is_empty() {
        return wrong(send.expect.span(), "`status` names at least one status");
    }
    Ok(())
}

fn check_blocks(turn: &Turn) -> Result<(), Mistake> {
    for block in &turn.blocks {
        for text in texts(block) {
            known_placeholders(&Spanned::new(turn.name.span(), text), &TURN_PLACEHOLDERS)?;
        }
        if let Block::Verbatim(text) = block
            && !json(text, turn.name.span())?["type"].is_string()
        {
            return wrong(turn.name.span(), "a verbatim block is a JSON object with a `type`");
        }
    }
    Ok(())
}

/// Every text of a block that may hold placeholders.
fn texts(block: &Block) -> Vec<String> {
    fn of(value: &toml::Value, out: &mut Vec<String>) {
        match value {
            toml::Value::String(s) => out.push(s.clone()),
            toml::Value::Array(items) => items.iter().for_each(|v| of(v, out)),
            toml::Value::Table(table) => table.values().for_each(|v| of(v, out)),
            _ => {}
        }
    }
    match block {
        Block::Thinking(t) => t.pieces.clone(),
        Block::Text(pieces) => pieces.clone(),
        Block::RedactedThinking(text) | Block::Verbatim(text) => vec![text.clone()],
        Block::ToolUse(tool) => {
            let mut out = Vec::new();
            tool.input.values().for_each(|v| of(v, &mut out));
            out
        }
    }
}
