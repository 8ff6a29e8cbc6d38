//! How the client is launched: its arguments in their fixed order, and its hermetic environment.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use serde_json::{Value, json};

use crate::evidence::MAX_COST;
use crate::probe::{Credential, InputBlock, Launch, Probe, UserMessage, Vars};

/// Variables of the caller that a client or a gateway may see; all others are kept from it. `LC_*` may pass, too.
const PASSED_ON: [&str; 3] = ["PATH", "LANG", "TZ"];

/// What of the caller's environment every process gets.
pub fn passed_on(caller: &[(OsString, OsString)]) -> Vec<(OsString, OsString)> {
    let passes = |name: &OsStr| name.to_str().is_some_and(|n| PASSED_ON.contains(&n) || n.starts_with("LC_"));
    caller.iter().filter(|(name, _)| passes(name)).cloned().collect()
}

/// The most turns of one launch where the probe names no limit: a guard against a gateway that keeps the client going.
const MAX_TURNS: &str = "6";

/// What makes a launch hermetic and quiet: no traffic but the model's, no updates, no memory of other sessions, sub-agents in
/// the foreground, few retries. Source: <https://code.claude.com/docs/en/env-vars> and measurement.
const HERMETIC: [(&str, &str); 15] = [
    ("CLAUDE_CODE_DISABLE_AUTO_MEMORY", "1"),
    ("CLAUDE_CODE_DISABLE_BACKGROUND_TASKS", "1"),
    ("CLAUDE_CODE_DISABLE_CLAUDE_MDS", "1"),
    ("CLAUDE_CODE_DISABLE_GIT_INSTRUCTIONS", "1"),
    ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
    ("CLAUDE_CODE_DISABLE_TERMINAL_TITLE", "1"),
    ("CLAUDE_CODE_MAX_RETRIES", "2"),
    ("DISABLE_AUTOUPDATER", "1"),
    ("DISABLE_ERROR_REPORTING", "1"),
    ("DISABLE_GROWTHBOOK", "1"),
    ("DISABLE_TELEMETRY", "1"),
    ("DISABLE_UPDATES", "1"),
    ("NO_COLOR", "1"),
    ("NO_PROXY", "127.0.0.1,localhost"),
    ("TERM", "dumb"),
];

/// Tools that cannot act outside the workspace: they change nothing. Only a probe that offers no others may tell a client
/// that runs as root that it is in a sandbox, because cells are not contained.
const HARMLESS_TOOLS: [&str; 4] = ["Agent", "Read", "ToolSearch", "WebSearch"];

/// The arguments of one launch. `max_cost_usd` is what it may cost, unless the probe itself says so.
pub fn arguments(probe: &Probe, launch: &Launch, vars: &Vars, model: &str, max_cost_usd: Option<f64>) -> Vec<String> {
    let mut args: Vec<String> = Vec::new();
    let mut add = |more: &[&str]| args.extend(more.iter().map(|a| (*a).to_owned()));
    if probe.bare {
        add(&["--bare"]);
    }
    if probe.persist {
        add(&[if launch.resume { "--resume" } else { "--session-id" }, &vars.session_id]);
    }
    if launch.fork {
        add(&["--fork-session"]);
    }
    add(&["--output-format", "stream-json", "--include-partial-messages", "--verbose"]);
    add(&["--permission-mode", "bypassPermissions", "--dangerously-skip-permissions", "--model", model]);
    if !probe.persist {
        add(&["--no-session-persistence"]);
    }
    let early: Vec<String> = probe.early_args.iter().map(|a| vars.fill(a.get_ref())).collect();
    let names =
        |flag: &str| early.iter().any(|a| a == flag || a.strip_prefix(flag).is_some_and(|r| r.starts_with('=')));
    let max_cost = max_cost_usd.map(|dollars| dollars.to_string());
    let guards = [("--max-turns", Some(MAX_TURNS)), ("--setting-sources", Some("")), (MAX_COST, max_cost.as_deref())];
    let guards = guards.iter().filter(|(flag, _)| !names(flag));
    let guards: Vec<&str> = guards.filter_map(|(flag, value)| Some([*flag, (*value)?])).flatten().collect();
    add(&early.iter().map(String::as_str).collect::<Vec<_>>());
    add(&guards);
    let tools = probe.tools.join(",");
    add(&["--tools", &tools]);
    if !tools.is_empty() {
        add(&["--allowedTools", &tools]);
    }
    for late in &probe.late_args {
        add(&[&vars.fill(late.get_ref())]);
    }
    match &launch.prompt {
        Some(prompt) => add(&["-p", vars.fill(prompt.get_ref()).trim()]),
        None => add(&["--input-format", "stream-json", "-p"]),
    }
    args
}

/// What a launch without a prompt gets on standard input: one message of the user a line.
pub fn input(launch: &Launch, probe: &Probe, vars: &Vars) -> String {
    let block = |block: &InputBlock| match block {
        InputBlock::Text(text) => json!({"type": "text", "text": with_filler(&vars.fill(text.get_ref()))}),
        InputBlock::Image(path) => {
            let file = probe.workspace.iter().find(|f| f.path.get_ref() == path.get_ref());
            let coded = file.and_then(|f| f.base64.as_ref()).map(|coded| coded.get_ref().split_whitespace());
            let data: String = coded.into_iter().flatten().collect();
            json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}})
        }
    };
    let line = |message: &UserMessage| {
        let content: Vec<Value> = message.blocks.iter().map(block).collect();
        format!("{}\n", json!({"type": "user", "message": {"role": "user", "content": content}}))
    };
    launch.input.iter().map(line).collect()
}

/// Placeholders that stand for words that only take up room, and how many bytes each is.
const FILLERS: [(&str, usize); 2] = [("{page}", 16 << 10), ("{filler}", 1 << 20)];

/// Fills in the placeholders for words that only take up room; they repeat and are always the same.
pub fn with_filler(text: &str) -> String {
    const WORDS: &str = "This sentence only takes up room and asks for nothing at all. ";
    let mut out = text.to_owned();
    for (placeholder, bytes) in FILLERS.iter().filter(|(placeholder, _)| text.contains(placeholder)) {
        let filler: String = WORDS.chars().cycle().take(*bytes).collect();
        out = out.replace(placeholder, &filler);
    }
    out
}

/// The folders of one cell's client.
#[derive(Debug, Clone, Copy)]
pub struct Folders<'a> {
    /// The home folder.
    pub home: &'a Path,
    /// The configuration folder.
    pub config: &'a Path,
    /// The temporary folder.
    pub temporary: &'a Path,
}

/// The environment of one launch, whole: nothing else is inherited.
pub fn environment(
    probe: &Probe,
    vars: &Vars,
    caller: &[(OsString, OsString)],
    folders: Folders<'_>,
    base_url: &str,
    token: &str,
    is_root: bool,
) -> Vec<(OsString, OsString)> {
    let mut env = passed_on(caller);
    let mut set = |name: &str, value: &OsStr| env.push((name.into(), value.into()));
    for (name, value) in HERMETIC {
        if !probe.env.contains_key(name) {
            set(name, value.as_ref());
        }
    }
    set("HOME", folders.home.as_os_str());
    set("CLAUDE_CONFIG_DIR", folders.config.as_os_str());
    set("TMPDIR", folders.temporary.as_os_str());
    set("CLAUDE_CODE_TMPDIR", folders.temporary.as_os_str());
    set("ANTHROPIC_BASE_URL", base_url.as_ref());
    set("ANTHROPIC_API_URL", format!("{base_url}/v1").as_ref());
    let by_key = probe.credential.as_ref().is_some_and(|c| *c.get_ref() == Credential::ApiKey);
    set(if by_key { "ANTHROPIC_API_KEY" } else { "ANTHROPIC_AUTH_TOKEN" }, token.as_ref());
    if is_root && is_harmless(probe) {
        set("IS_SANDBOX", "1".as_ref());
    }
    for (name, value) in &probe.env {
        set(name, vars.fill(value.get_ref()).as_ref());
    }
    env
}

/// Whether none of the probe's tools can act outside the workspace.
pub fn is_harmless(probe: &Probe) -> bool {
    probe.tools.iter().all(|t| HARMLESS_TOOLS.contains(&t.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probes::ProbeSet;

    fn vars() -> Vars {
        Vars {
            marker: "CCS_SCRIPTED_X_0A1B2C3D".into(),
            nonce: "ref-0123456789abcdef".into(),
            workspace: "/work".into(),
            session_id: "11111111-2222-4333-8444-555555555555".into(),
        }
    }

    #[test]
    fn the_arguments_of_every_launch_stand_in_the_documented_order() {
        let set = ProbeSet::built_in().unwrap();
        let all: Vec<(String, Vec<String>)> = set
            .probes
            .iter()
            .flat_map(|p| p.launch.iter().map(move |l| (p.id.clone(), arguments(p, l, &vars(), "sonnet", None))))
            .collect();
        insta::assert_json_snapshot!(all);
    }

    #[test]
    fn a_launch_may_be_bounded_in_what_it_costs() {
        let set = ProbeSet::built_in().unwrap();
        let probe = set.get("basic_text").unwrap();
        let args = arguments(probe, &probe.launch[0], &vars(), "sonnet", Some(0.25));
        assert!(args.windows(2).any(|pair| pair == [MAX_COST, "0.25"]), "{args:?}");
    }

    #[test]
    fn only_the_allowed_variables_of_the_caller_reach_the_client() {
        let set = ProbeSet::built_in().unwrap();
        let probe = set.get("basic_text").unwrap();
        let caller: Vec<(OsString, OsString)> =
            ["PATH", "LANG", "LC_ALL", "TZ", "ANTHROPIC_API_KEY", "AWS_SECRET", "HOME"]
                .iter()
                .map(|n| (OsString::from(n), OsString::from("caller's")))
                .collect();
        let here = Path::new("/cell");
        let folders = Folders { home: here, config: here, temporary: here };
        let env = environment(probe, &vars(), &caller, folders, "http://127.0.0.1:1", "token", false);
        let of_the_caller: Vec<_> =
            env.iter().filter(|(_, v)| v == "caller's").map(|(n, _)| n.to_str().unwrap()).collect();
        assert_eq!(of_the_caller, ["PATH", "LANG", "LC_ALL", "TZ"]);
        assert!(!env.iter().any(|(n, _)| n == "IS_SANDBOX" || n == "ANTHROPIC_API_KEY"));
    }

    #[test]
    fn a_root_client_is_told_that_it_is_sandboxed_only_with_harmless_tools() {
        let set = ProbeSet::built_in().unwrap();
        let mut probe = set.get("tool_use_roundtrip").unwrap().clone();
        let here = Path::new("/cell");
        let folders = Folders { home: here, config: here, temporary: here };
        let told = |probe: &Probe| {
            environment(probe, &vars(), &[], folders, "http://127.0.0.1:1", "t", true)
                .iter()
                .any(|(n, _)| n == "IS_SANDBOX")
        };
        assert!(told(&probe));
        probe.tools.push("Bash".into());
        assert!(!told(&probe));
    }
}
