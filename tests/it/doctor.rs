//! `ccsmoke doctor`: wrong clients get different, correct diagnoses, and nothing of them is left.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::{ccsmoke, output, stderr, stdout};

/// A `claude` that is this shell script, in a folder of its own.
fn script(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    beside(&folder, "claude", text);
    folder
}

/// One more program in that folder.
fn beside(folder: &tempfile::TempDir, name: &str, text: &str) {
    let path = folder.path().join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// The doctor with no environment of the caller's own.
fn doctor(path: &Path) -> Command {
    let mut command = ccsmoke();
    let nowhere = tempfile::tempdir().unwrap();
    command.env_clear().env("PATH", format!("{}:/usr/bin:/bin", path.display())).env("HOME", nowhere.path());
    command.args(["doctor", "--timeout", "3", "--format", "json"]);
    command
}

/// The report with the exit code.
fn said(command: &mut Command) -> (Value, i32) {
    let out = output(command);
    let report = serde_json::from_str(&stdout(&out)).unwrap_or_else(|e| panic!("{e}: {}", stderr(&out)));
    (report, out.status.code().unwrap())
}

fn problems(report: &Value) -> String {
    let problems = report["problems"].as_array().unwrap();
    let line = |p: &Value| format!("{} → {}", p["what"].as_str().unwrap(), p["to_do"].as_str().unwrap());
    problems.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn outcome<'a>(report: &'a Value, id: &str) -> &'a str {
    let ways = report["ways"].as_array().unwrap();
    ways.iter().find(|way| way["id"] == id).map_or("", |way| way["outcome"].as_str().unwrap())
}

/// A client that behaves: it asks for nothing, and answers with what the prompt wants, whatever it is.
const GOOD: &str = r#"[ "$1" = --version ] && { echo "2.1.329 (Claude Code)"; exit 0; }
for last; do :; done
echo "$last""#;

#[test]
fn a_machine_without_a_client_is_told_how_to_get_one() {
    let empty = tempfile::tempdir().unwrap();
    let (report, code) = said(&mut doctor(empty.path()));
    assert_eq!((code, &report["works"]), (1, &Value::Bool(false)));
    assert!(problems(&report).contains("there is no `claude`"), "{}", problems(&report));
}

#[test]
fn a_client_that_hangs_is_named_and_nothing_of_it_is_left() {
    let folder = script("exec sleep 987654");
    let (report, code) = said(&mut doctor(folder.path()));
    assert_eq!((code, outcome(&report, "version"), outcome(&report, "pipes")), (1, "hangs", "skipped"));
    assert!(problems(&report).contains("it hangs whatever it is asked"), "{}", problems(&report));
    let left = Command::new("ps").args(["-eo", "args"]).output().unwrap();
    assert!(!stdout(&left).contains("sleep 987654"));
}

#[test]
fn another_program_of_that_name_is_told_by_what_it_prints() {
    let folder = script("echo hello from something else");
    let (report, code) = said(&mut doctor(folder.path()));
    assert_eq!(code, 1);
    assert!(problems(&report).contains("it printed \"hello from something else\""), "{}", problems(&report));
}

#[test]
fn a_client_that_needs_a_terminal_works_at_a_real_one_only() {
    let folder =
        script(&format!("[ -t 0 ] || {{ echo 'stdin is not a terminal' >&2; exit 1; }}\ntty > /dev/tty\n{GOOD}"));
    let (report, code) = said(&mut doctor(folder.path()));
    assert_eq!((code, outcome(&report, "pipes"), outcome(&report, "terminal")), (1, "fails", "works"), "{report:#}");
    assert!(problems(&report).contains("needs a terminal"), "{}", problems(&report));
}

#[test]
fn a_client_that_reads_its_input_to_the_end_hangs_only_where_that_stays_open() {
    let folder = script(&format!("[ \"$1\" = --version ] || {{ [ -t 0 ] || cat > /dev/null; }}\n{GOOD}"));
    let (report, code) = said(&mut doctor(folder.path()));
    assert_eq!((code, outcome(&report, "pipes"), outcome(&report, "open-input")), (0, "works", "hangs"), "{report:#}");
    assert!(problems(&report).contains("close standard input"), "{}", problems(&report));
}

#[test]
fn a_session_without_a_terminal_is_one() {
    let folder = script(&format!(
        "( : < /dev/tty ) 2>/dev/null && tty=yes || tty=no\n[ $(ps -o sid= -p $$) -eq $$ ] && own=yes || own=no\n[ \"$1\" = --version ] || echo \"own $own tty $tty\" >&2\n{GOOD}"
    ));
    let (report, _) = said(&mut doctor(folder.path()));
    let printed = |id: &str| {
        let ways = report["ways"].as_array().unwrap();
        ways.iter().find(|way| way["id"] == id).unwrap()["printed"].as_str().unwrap().to_owned()
    };
    assert!(printed("session").contains("own yes tty no"), "{}", printed("session"));
    assert!(printed("terminal").contains("own yes tty yes"), "{}", printed("terminal"));
}

#[test]
fn a_prefix_is_put_in_front_with_the_environment_that_the_client_needs() {
    let folder = script(&format!("[ \"$1\" = --version ] || [ -n \"$ANTHROPIC_BASE_URL\" ] || exit 3\n{GOOD}"));
    let (report, code) = said(doctor(folder.path()).args(["--via", "env INSIDE=1"]));
    assert_eq!((code, outcome(&report, "via"), outcome(&report, "via-terminal")), (0, "works", "works"), "{report:#}");
}

#[test]
fn what_breaks_a_client_in_the_environment_is_named_and_no_value_is_shown() {
    let folder = script(GOOD);
    let mut command = doctor(folder.path());
    command.env("ANTHROPIC_BASE_URL", "http://hidden.test/v1").env("ANTHROPIC_MODEL", "hidden-model");
    command.env("HTTPS_PROXY", "http://hidden.test:3128").env("CLAUDE_CODE_USE_BEDROCK", "1");
    let settings = tempfile::tempdir().unwrap();
    let text = r#"{"env": {"ANTHROPIC_BASE_URL": "http://hidden.test"}}"#;
    std::fs::write(settings.path().join("settings.json"), text).unwrap();
    command.env("CLAUDE_CONFIG_DIR", settings.path());
    let (report, code) = said(&mut command);
    assert_eq!(code, 0, "what is set for others does not reach the examined client: {report:#}");
    let told = problems(&report);
    for words in
        ["no credential", "/v1", "ANTHROPIC_MODEL", "NO_PROXY", "BEDROCK", "settings.json sets ANTHROPIC_BASE_URL"]
    {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(!report.to_string().contains("hidden"), "{report:#}");
    let (report, _) =
        said(doctor(folder.path()).env("ANTHROPIC_API_KEY", "sk-hidden-1").env("ANTHROPIC_AUTH_TOKEN", "sk-hidden-2"));
    assert!(problems(&report).contains("both set"), "{}", problems(&report));
}

/// What a way says of itself.
fn way<'a>(report: &'a Value, id: &str) -> &'a Value {
    report["ways"].as_array().unwrap().iter().find(|way| way["id"] == id).unwrap()
}

#[test]
fn a_prefix_with_an_environment_or_a_session_of_its_own_leads_to_a_client_that_works() {
    let text = format!(
        "[ \"$1\" = --version ] || [ -n \"$ANTHROPIC_BASE_URL\" ] || exit 3\n[ -z \"$OUTSIDE\" ] || exit 4\n{GOOD}"
    );
    let folder = script(&text);
    for (via, outcomes) in
        [("env -i PATH=/usr/bin:/bin", "works"), ("setsid --wait", "fails"), ("setsid --wait env -u OUTSIDE", "works")]
    {
        let (report, _) = said(doctor(folder.path()).env("OUTSIDE", "1").args(["--via", via]));
        let seen = ["via-version", "via", "via-terminal"].map(|id| outcome(&report, id));
        assert_eq!(seen, [outcomes; 3], "{via}: {report:#}");
    }
}

/// Does as `docker exec` does: a terminal inside only with `-t`, which is refused where there is none outside.
const DOCKER: &str = r#"[ "$1" = exec ] || exit 125
shift
case "$1" in
    -it) shift; [ -t 0 ] || { echo "the input device is not a TTY" >&2; exit 1; }; shift; exec "$@";;
    *) shift; "$@" < /dev/null 2>&1 | cat;;
esac"#;

#[test]
fn a_container_is_asked_for_a_terminal_exactly_where_there_is_one() {
    let folder = script(&format!("[ -t 1 ] || {{ echo 'stdin is not a terminal' >&2; exit 1; }}\n{GOOD}"));
    beside(&folder, "docker", DOCKER);
    for via in ["docker exec box", "docker exec -it box"] {
        let (report, _) = said(doctor(folder.path()).args(["--via", via]));
        assert_eq!(
            (outcome(&report, "via"), outcome(&report, "via-terminal")),
            ("fails", "works"),
            "{via}: {report:#}"
        );
        let reason = way(&report, "via")["reason"].as_str().unwrap();
        assert!(reason.contains("it wants a terminal: stdin is not a terminal"), "{via}: {reason}");
    }
    let folder = script(GOOD);
    beside(&folder, "docker", DOCKER);
    let (report, code) = said(doctor(folder.path()).args(["--via", "docker exec -t box"]));
    let seen = ["via-version", "via", "via-terminal"].map(|id| outcome(&report, id));
    assert_eq!((code, seen), (0, ["works"; 3]), "{report:#}");
}

#[test]
fn a_client_that_is_only_behind_the_prefix_is_started_there() {
    let empty = tempfile::tempdir().unwrap();
    let inside = script(GOOD);
    let via = format!("env PATH={}:/usr/bin:/bin", inside.path().display());
    let (report, _) = said(doctor(empty.path()).args(["--via", &via]));
    assert_eq!(outcome(&report, "via"), "works", "{report:#}");
    assert!(problems(&report).contains("outside of --via"), "{}", problems(&report));

    let (report, _) = said(doctor(empty.path()).args(["--via", "env PATH=/nowhere"]));
    let reason = way(&report, "via")["reason"].as_str().unwrap();
    assert!(reason.contains("the program was not found there"), "{reason}");
}

#[test]
fn a_client_is_examined_against_a_target_and_told_of_as_text() {
    let folder = script(GOOD);
    let config = folder.path().join("ccsmoke.toml");
    let own = env!("CARGO_BIN_EXE_ccsmoke");
    let target = |name: &str, program: &str| {
        format!(
            "[[target]]\nname = \"{name}\"\nupstream = \"anthropic\"\nstart = [\"{program}\", \"gateway\", \"--port\", \"{{port}}\", \"--upstream\", \"{{upstream}}\"]\nready = \"/_ccsmoke/ready\"\n"
        )
    };
    std::fs::write(&config, target("mine", own) + &target("gone", "/nowhere/gateway")).unwrap();
    let against = |name: &str| {
        let mut command = ccsmoke();
        command.env("PATH", format!("{}:/usr/bin:/bin", folder.path().display()));
        output(command.args(["doctor", "--timeout", "5", "--config"]).arg(&config).args(["--target", name]))
    };
    let out = against("mine");
    let text = stdout(&out);
    assert_eq!(out.status.code(), Some(0), "{text}{}", stderr(&out));
    for words in [
        "version 2.1.329, tested",
        "against  mine",
        "-p over pipes, standard input closed     ✓ works",
        "the client works",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    let out = against("gone");
    assert!(out.status.code() == Some(3) && stderr(&out).contains("/nowhere/gateway"), "{}", stderr(&out));
    let out = against("other");
    assert!(out.status.code() == Some(2) && stderr(&out).contains("there is no target \"other\""), "{}", stderr(&out));
}
