//! What of a person's environment would reach the client, and what of it is known to break things. Values are never shown.

use std::path::PathBuf;

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

/// Variables that hold a credential for a gateway.
const CREDENTIALS: [&str; 2] = ["ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY"];

/// What an administrator settles for everybody.
const MANAGED: &str = "/etc/claude-code/managed-settings.json";

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
    let credentials: Vec<&str> = CREDENTIALS.into_iter().filter(|name| set(name).is_some()).collect();
    let base_url = set("ANTHROPIC_BASE_URL");
    if credentials.len() > 1 {
        found.push(Problem::new(
            "ANTHROPIC_AUTH_TOKEN and ANTHROPIC_API_KEY are both set: the client warns, and which one it shows depends on its version",
            "unset one of them: ANTHROPIC_AUTH_TOKEN is sent as `Authorization: Bearer`, ANTHROPIC_API_KEY as `x-api-key`",
        ));
    }
    let settings = settings_files(world);
    let in_settings = |file: &Settings| file.json.as_ref().is_some_and(has_credential);
    if base_url.is_some() && credentials.is_empty() && !settings.iter().any(in_settings) {
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
    found.extend(settings.iter().filter_map(of_settings));
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

/// A settings file that there is.
struct Settings {
    path: PathBuf,
    /// What it says; `None` when it is not JSON.
    json: Option<Value>,
}

/// The settings files that the client would read.
fn settings_files(world: &World) -> Vec<Settings> {
    let home = world.variable("HOME").map(PathBuf::from);
    let config = world.variable("CLAUDE_CONFIG_DIR").map(PathBuf::from).or(home.map(|home| home.join(".claude")));
    let mut files: Vec<PathBuf> = vec![PathBuf::from(MANAGED)];
    for folder in config.into_iter().chain([world.folder.join(".claude")]) {
        files.extend(["settings.json", "settings.local.json"].map(|name| folder.join(name)));
    }
    files.sort();
    files.dedup();
    files.into_iter().filter_map(read_settings).collect()
}

fn read_settings(path: PathBuf) -> Option<Settings> {
    let facts = std::fs::metadata(&path).ok()?;
    if !facts.is_file() || facts.len() > MOST_SETTINGS {
        return None;
    }
    let json = serde_json::from_str(&std::fs::read_to_string(&path).ok()?).ok();
    Some(Settings { path, json })
}

/// Whether settings give the client a credential.
fn has_credential(settings: &Value) -> bool {
    !settings["apiKeyHelper"].is_null() || CREDENTIALS.iter().any(|name| !settings["env"][name].is_null())
}

/// What a settings file says of where the client goes.
fn of_settings(file: &Settings) -> Option<Problem> {
    let shown = file.path.display();
    let Some(settings) = &file.json else {
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Names with values.
    type Variables<'a> = &'a [(&'a str, &'a str)];

    /// A world with these variables and no settings but those of its folder.
    fn world(folder: &Path, variables: Variables<'_>) -> World {
        let home = [("HOME", folder.to_str().unwrap())];
        World {
            environment: home.iter().chain(variables).map(|(name, value)| (name.into(), value.into())).collect(),
            folder: folder.join("project"),
            program: "/bin/true".into(),
            stdout_is_terminal: false,
            stderr_is_terminal: false,
            stdout_columns: None,
            cores: 1,
            available_kib: None,
            is_root: false,
        }
    }

    fn told(world: &World) -> Vec<String> {
        // This machine may have settings of its own.
        let ours = |what: &String| !what.starts_with(MANAGED);
        problems(world).into_iter().map(|problem| problem.what).filter(ours).collect()
    }

    #[test]
    fn each_thing_that_breaks_a_client_is_named_alone_and_its_mended_sibling_is_not() {
        const URL: (&str, &str) = ("ANTHROPIC_BASE_URL", "https://gateway.test");
        const TOKEN: (&str, &str) = ("ANTHROPIC_AUTH_TOKEN", "t");
        let folder = tempfile::tempdir().unwrap();
        let cases: &[(Variables<'_>, &str, Variables<'_>)] = &[
            (&[URL], "no credential", &[URL, TOKEN]),
            (&[TOKEN, ("ANTHROPIC_API_KEY", "k")], "both set", &[TOKEN, ("ANTHROPIC_API_KEY", "")]),
            (
                &[("ANTHROPIC_BASE_URL", "https://g.test/v1/"), TOKEN],
                "holds /v1",
                &[("ANTHROPIC_BASE_URL", "https://g.test/v12"), TOKEN],
            ),
            (&[("ANTHROPIC_BASE_URL", "gateway.test"), TOKEN], "no http or https URL", &[URL, TOKEN]),
            (&[("CLAUDE_CODE_USE_BEDROCK", "1")], "that cloud", &[("CLAUDE_CODE_USE_BEDROCK", "")]),
            (&[("CLAUDE_CODE_USE_VERTEX", "1")], "that cloud", &[]),
            (&[("ANTHROPIC_MODEL", "m")], "replaces the default model", &[("ANTHROPIC_SMALL_FAST_MODEL", "m")]),
            (
                &[("http_proxy", "http://p.test")],
                "HTTP_PROXY is set",
                &[("http_proxy", "http://p.test"), ("NO_PROXY", "x, 127.0.0.1")],
            ),
            (
                &[("HTTPS_PROXY", "http://p.test"), ("no_proxy", "localhost")],
                "HTTPS_PROXY is set",
                &[("HTTPS_PROXY", "http://p.test"), ("no_proxy", "*")],
            ),
            (&[("ALL_PROXY", "socks5://p.test")], "ALL_PROXY is set", &[("NO_PROXY", "x")]),
        ];
        for (broken, words, mended) in cases {
            let found = told(&world(folder.path(), broken));
            assert!(found.len() == 1 && found[0].contains(words), "{broken:?}: {found:?}");
            assert_eq!(told(&world(folder.path(), mended)), [] as [String; 0], "{mended:?}");
        }
    }

    #[test]
    fn root_is_named_unless_it_is_in_a_sandbox() {
        let folder = tempfile::tempdir().unwrap();
        let root = |variables: &[(&str, &str)]| World { is_root: true, ..world(folder.path(), variables) };
        assert!(told(&root(&[]))[0].contains("this is root, outside a sandbox"));
        assert_eq!(told(&root(&[("IS_SANDBOX", "1")])), [] as [String; 0]);
    }

    #[test]
    fn settings_that_send_the_client_elsewhere_are_named_wherever_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let url = ("ANTHROPIC_BASE_URL", "https://gateway.test");
        for place in [".claude/settings.json", "project/.claude/settings.json", "project/.claude/settings.local.json"] {
            let file = folder.path().join(place);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            for (text, words) in [
                (r#"{"env": {"ANTHROPIC_BASE_URL": "http://x.test"}}"#, "sets ANTHROPIC_BASE_URL"),
                (r#"{"env": {"CLAUDE_CODE_USE_VERTEX": "1"}}"#, "sets CLAUDE_CODE_USE_VERTEX"),
                ("{", "is not JSON"),
            ] {
                std::fs::write(&file, text).unwrap();
                let found = told(&world(folder.path(), &[]));
                assert!(found.len() == 1 && found[0].contains(words) && found[0].contains(place), "{text}: {found:?}");
            }
            std::fs::write(&file, r#"{"apiKeyHelper": "/bin/key"}"#).unwrap();
            assert_eq!(told(&world(folder.path(), &[url])), [] as [String; 0], "a helper gives the credential");
            std::fs::remove_file(&file).unwrap();
        }
    }

    #[test]
    fn variables_are_listed_by_name_and_no_value_is() {
        let folder = tempfile::tempdir().unwrap();
        let listed = variables(&world(
            folder.path(),
            &[("NO_PROXY", ""), ("ANTHROPIC_API_KEY", "sk-hidden"), ("CLAUDE_CONFIG_DIR", "/hidden"), ("PATH", "/bin")],
        ));
        let listed: Vec<String> = listed.iter().map(|v| format!("{} {}", v.name, v.value)).collect();
        assert_eq!(listed, ["ANTHROPIC_API_KEY <9 characters>", "CLAUDE_CONFIG_DIR <7 characters>", "NO_PROXY empty"]);
    }
}
