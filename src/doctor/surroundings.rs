//! What of a person's environment would reach the client, and what of it is known to break things. Values are never shown.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::world::World;

/// A variable that would reach the client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Variable {
    /// Its name.
    pub name: String,
    /// What may be said of its value.
    pub value: String,
}

/// Something that is wrong, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub to_do: String,
}

impl Problem {
    pub(super) fn new(what: impl Into<String>, to_do: impl Into<String>) -> Self {
        Self { what: what.into(), to_do: to_do.into() }
    }
}

/// What begins the names of variables that the client reads.
const PREFIXES: [&str; 2] = ["ANTHROPIC_", "CLAUDE_"];

/// Further ones, in any case.
const PROXIES: [&str; 4] = ["http_proxy", "https_proxy", "all_proxy", "no_proxy"];

/// Those about certificates and the runtime.
const OTHERS: [&str; 5] =
    ["NODE_EXTRA_CA_CERTS", "NODE_OPTIONS", "NODE_TLS_REJECT_UNAUTHORIZED", "IS_SANDBOX", "SSL_CERT_FILE"];

/// Variables that make the client talk another protocol, to another place.
const ELSEWHERE: [&str; 3] = ["CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX", "CLAUDE_CODE_USE_FOUNDRY"];

/// The largest settings file that is read, in bytes.
const MOST_SETTINGS: u64 = 1 << 20;

/// The variables that would reach the client, by name.
pub(super) fn variables(world: &World) -> Vec<Variable> {
    let matters = |name: &str| {
        PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            || PROXIES.contains(&name.to_ascii_lowercase().as_str())
            || OTHERS.contains(&name)
    };
    let mut found: Vec<Variable> = world
        .environment
        .iter()
        .filter_map(|(name, value)| {
            let name = name.to_str().filter(|name| matters(name))?.to_owned();
            let value = match value.to_str() {
                Some("") => "empty".to_owned(),
                Some(text) => format!("<{} characters>", text.chars().count()),
                None => "<not UTF-8>".to_owned(),
            };
            Some(Variable { name, value })
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// What of it is known to break things.
pub(super) fn problems(world: &World) -> Vec<Problem> {
    let set = |name: &str| world.variable(name).filter(|value| !value.is_empty());
    let mut found = Vec::new();
    let credentials: Vec<&str> =
        ["ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY"].into_iter().filter(|name| set(name).is_some()).collect();
    let base_url = set("ANTHROPIC_BASE_URL");
    if credentials.len() > 1 {
        found.push(Problem::new(
            "ANTHROPIC_AUTH_TOKEN and ANTHROPIC_API_KEY are both set: the client warns, and which one it shows depends on its version",
            "unset one of them: ANTHROPIC_AUTH_TOKEN is sent as `Authorization: Bearer`, ANTHROPIC_API_KEY as `x-api-key`",
        ));
    }
    if base_url.is_some() && credentials.is_empty() {
        found.push(Problem::new(
            "ANTHROPIC_BASE_URL is set, but no credential: a saved claude.ai login would be sent to that gateway, or the client asks for one",
            "set ANTHROPIC_AUTH_TOKEN, or an `apiKeyHelper` in the settings",
        ));
    }
    if base_url.is_some_and(|url| url.trim_end_matches('/').ends_with("/v1") || url.contains("/v1/messages")) {
        found.push(Problem::new(
            "ANTHROPIC_BASE_URL holds /v1: the client appends /v1/messages itself, so that every request is a 404",
            "leave /v1 out",
        ));
    }
    if base_url.is_some_and(|url| !url.starts_with("http://") && !url.starts_with("https://")) {
        found.push(Problem::new("ANTHROPIC_BASE_URL is no http or https URL", "write it like https://host:port"));
    }
    for name in ELSEWHERE.iter().filter(|name| set(name).is_some()) {
        found.push(Problem::new(
            format!("{name} is set: the client talks to that cloud and not to ANTHROPIC_BASE_URL"),
            format!("unset {name} to use a gateway that speaks Anthropic Messages"),
        ));
    }
    if set("ANTHROPIC_MODEL").is_some() {
        found.push(Problem::new(
            "ANTHROPIC_MODEL is set: it replaces the default model in every session",
            "unset it, or make sure that the gateway routes that name",
        ));
    }
    found.extend(proxy(world));
    if world.is_root && set("IS_SANDBOX").is_none() {
        found.push(Problem::new(
            "this is root, outside a sandbox: the client refuses --dangerously-skip-permissions",
            "run as another user, or within a container with IS_SANDBOX=1",
        ));
    }
    found.extend(settings(world));
    found
}

/// A proxy that would swallow requests to this machine.
fn proxy(world: &World) -> Option<Problem> {
    let get = |name: &str| {
        [name.to_owned(), name.to_ascii_uppercase()]
            .iter()
            .find_map(|name| world.variable(name).filter(|value| !value.is_empty()))
    };
    let proxies = ["http_proxy", "https_proxy", "all_proxy"];
    let name = proxies.into_iter().find(|name| get(name).is_some())?;
    let spared = get("no_proxy").is_some_and(|list| {
        let spared = |entry: &str| matches!(entry.trim(), "*" | "127.0.0.1" | "127.0.0.0/8");
        list.split(',').any(spared)
    });
    (!spared).then(|| {
        Problem::new(
            format!(
                "{} is set and NO_PROXY does not name 127.0.0.1: a proxy would swallow requests to this machine",
                name.to_ascii_uppercase()
            ),
            "set NO_PROXY=127.0.0.1,localhost",
        )
    })
}

/// Settings files that say where the client goes.
fn settings(world: &World) -> Vec<Problem> {
    let home = world.variable("HOME").map(PathBuf::from);
    let config = world.variable("CLAUDE_CONFIG_DIR").map(PathBuf::from).or(home.map(|home| home.join(".claude")));
    let mut files: Vec<PathBuf> = vec![PathBuf::from("/etc/claude-code/managed-settings.json")];
    for folder in config.into_iter().chain([world.folder.join(".claude")]) {
        files.extend(["settings.json", "settings.local.json"].map(|name| folder.join(name)));
    }
    files.sort();
    files.dedup();
    files.iter().filter_map(|file| of_settings(file)).collect()
}

fn of_settings(file: &Path) -> Option<Problem> {
    let size = std::fs::metadata(file).ok()?;
    if !size.is_file() || size.len() > MOST_SETTINGS {
        return None;
    }
    let text = std::fs::read_to_string(file).ok()?;
    let shown = file.display();
    let Ok(settings) = serde_json::from_str::<Value>(&text) else {
        return Some(Problem::new(
            format!("{shown} is not JSON: the client ignores it, or refuses to start"),
            "mend it",
        ));
    };
    let names: Vec<&str> = settings["env"]
        .as_object()
        .into_iter()
        .flat_map(|env| env.keys())
        .map(String::as_str)
        .filter(|name| PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
        .collect();
    if names.contains(&"ANTHROPIC_BASE_URL") {
        return Some(Problem::new(
            format!("{shown} sets ANTHROPIC_BASE_URL: it replaces what the environment says"),
            "remove it there, or start the client with --setting-sources \"\"",
        ));
    }
    (!names.is_empty()).then(|| {
        Problem::new(
            format!("{shown} sets {}: these replace what the environment says", names.join(", ")),
            "remove them there if the gateway is configured by the environment",
        )
    })
}
