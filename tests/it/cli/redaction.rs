//! Secrets, from the caller's environment to everything that a run writes and prints: they occur nowhere, and what is left is
//! still evidence.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use ccsmoke::evidence::Evidence;
use ccsmoke::exchange::{Body, Header};
use ccsmoke::redact::Redactor;
use ccsmoke::report::store::RunFiles;
use serde_json::{Value, json};

use super::stand_in::{StandIn, ended, write};
use crate::support::ccsmoke;
use crate::support::reports::{report, row};

/// What must not be seen anywhere, by the variable that holds it.
const SECRETS: [(&str, &str); 5] = [
    ("MY_API_KEY", "hunter2-and-more"),
    ("X_TOKEN", "to\"k\\en ünder wraps"),
    ("SLACK_WEBHOOK", "https://hooks.example/T00/B00/xyz"),
    ("BASIC_AUTH", "me:swordfish"),
    ("my_secret_file", "/home/me/.hidden"),
];

/// What looks like a credential and is in no variable.
const LOOKS_SECRET: &str = "sk-ant-api03-0123456789abcdefghij";

/// All secrets in one line of text.
fn confession() -> String {
    let values: Vec<&str> = SECRETS.iter().map(|(_, value)| *value).chain([LOOKS_SECRET]).collect();
    format!("so it is true: {}", values.join(" and "))
}

fn with_secrets(command: &mut Command) -> &mut Command {
    command.envs(SECRETS).env("AUTH_MODE", "true")
}

/// Fails when a secret occurs, as it is or as JSON writes it, once or twice over.
fn assert_clean(place: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for (name, value) in SECRETS.into_iter().chain([("what looks like a credential", LOOKS_SECRET)]) {
        let once = json!(value).to_string();
        let twice = json!(once[1..once.len() - 1]).to_string();
        for form in [value, &once[1..once.len() - 1], &twice[1..twice.len() - 1]] {
            assert!(!text.contains(form), "{name} in {place}: {text}");
        }
    }
}

#[test]
fn both_sides_of_a_gateway_are_masked_alike_and_credentials_in_headers_whole() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/evidence/basic_text.json");
    let mut evidence: Evidence = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let exchange = &mut evidence.exchanges[0];
    exchange.request.body = Body::whole(r#"{"stream":true,"note":"it is true"}"#);
    let response = exchange.response.as_mut().unwrap();
    response.body = Body::whole(b"\xff hunter2-and-more".to_vec());
    let header = |name: &str, value: &str| Header { name: name.into(), value: value.into() };
    response.headers.push(header("Set-Cookie", "session=a1"));
    for (name, value) in [("Authorization", "Basic a2"), ("X-Api-Key", "a3"), ("cookie", "a4"), ("x-note", "stays")] {
        exchange.request.headers.push(header(name, value));
    }
    // Behind a gateway stands what the gateway was configured with, in whatever form its provider wants.
    evidence.behind = Some(vec![exchange.clone()]);
    let redactor = Redactor::new([("AUTH_MODE", "true"), ("MY_API_KEY", "hunter2-and-more")]).unwrap();
    let masked = redactor.evidence(evidence).unwrap();
    for exchange in masked.exchanges[..1].iter().chain(masked.behind.iter().flatten()) {
        assert_eq!(exchange.request.body.text(), r#"{"note":"it is <redacted:AUTH_MODE>","stream":true}"#);
        let response = exchange.response.as_ref().unwrap();
        assert_eq!(response.body.bytes, b"\xff <redacted:MY_API_KEY>");
        let headers = exchange.request.headers.iter().chain(&response.headers);
        let values: Vec<&str> = headers.map(|h| h.value.as_str()).collect();
        for secret in ["a1", "a2", "a3", "a4"] {
            assert!(!values.iter().any(|value| value.contains(secret)), "{secret} in {values:?}");
        }
        assert!(values.contains(&"stays") && values.contains(&"<redacted:authorization>"), "{values:?}");
    }
}

#[test]
fn a_report_is_masked_when_it_is_written_whatever_it_was_made_of() {
    let results = tempfile::tempdir().unwrap();
    let files = RunFiles::create(results.path(), "main", 1000).unwrap();
    let mut report = report("2026-01-01T03:17:00Z", vec![row("gateway", "a/b", "thinking")]);
    report.target = "hunter2-and-more".to_owned();
    report.outcomes[0].stderr_excerpt = confession();
    let redactor = Redactor::new(SECRETS).unwrap();
    let path = files.write_report(&report, &redactor).unwrap();
    let written = std::fs::read(path).unwrap();
    assert_clean("the report", &written);
    assert!(String::from_utf8_lossy(&written).contains("<redacted:MY_API_KEY>"));
}

/// A client that says what stands in `say.out` and `say.err`, after it has sent what stands in `say.body` to the model, and that
/// dumps its environment.
fn talkative(text: &str) -> StandIn {
    let place = StandIn::empty();
    let here = place.path("");
    let here = here.display();
    let send = r#"host=${ANTHROPIC_BASE_URL#http://}
exec 3<>"/dev/tcp/${host%:*}/${host##*:}"
{ printf "POST /v1/messages?beta=true HTTP/1.1\r\nHost: $host\r\nAuthorization: Bearer $ANTHROPIC_AUTH_TOKEN\r\n"
  printf "X-Note: hunter2-and-more\r\nContent-Type: application/json\r\nConnection: close\r\n"
  printf "Content-Length: %d\r\n\r\n" $(wc -c < say.body); cat say.body; } >&3
cat <&3 > answer"#;
    write(&place.path("send"), send);
    let answer = r#"[ "$1" = --version ] && { echo "2.1.329 (Claude Code)"; exit 0; }"#;
    let script = format!(
        "{answer}\ntr '\\0' '\\n' < /proc/$$/environ > {here}/environment\ncd {here}\n[ -e answer ] || bash ./send\ncat say.out\ncat say.err >&2\nexit 1"
    );
    place.script("claude", &script);
    let line = json!({ "type": "result", "is_error": true, "result": text, "nested": { text: [text] } });
    write(&place.path("say.out"), format!("{text}\n{line}\n{}\n", json!({ "again": line.to_string() })));
    write(&place.path("say.err"), format!("{text}\n{line}\n"));
    write(&place.path("say.body"), json!({ "model": "m", "stream": true, "note": text }).to_string());
    place
}

/// Every file that was written and both outputs are free of secrets.
fn assert_all_clean(place: &StandIn, (out, err): &(String, String)) {
    assert_clean("standard output", out.as_bytes());
    assert_clean("standard error", err.as_bytes());
    let written = place.written();
    assert!(written.len() >= 5, "a report, and an evidence with its log in two folders: {written:?}");
    for (path, content) in written {
        assert_clean(path.to_str().unwrap(), path.to_str().unwrap().as_bytes());
        assert_clean(path.to_str().unwrap(), &content);
    }
}

#[test]
fn no_secret_of_the_environment_is_written_or_printed() {
    for format in ["human", "json"] {
        let place = talkative(&confession());
        let told = ended(with_secrets(&mut place.run()).args(["--message-format", format]), 1);
        assert_all_clean(&place, &told);
        place.assert_tidy();

        // It is still evidence: what was JSON is JSON, and truth is no secret outside of texts.
        let evidence: Value = serde_json::from_slice(&std::fs::read(place.evidence()).unwrap()).unwrap();
        let printed = evidence["launches"][0]["process"]["stdout"]["text"].as_str().unwrap();
        let lines: Vec<&str> = printed.lines().collect();
        assert!(lines[0].starts_with("so it is <redacted:AUTH_MODE>: <redacted:MY_API_KEY> and <redacted:X_TOKEN>"));
        let result: Value = serde_json::from_str(lines[1]).unwrap();
        assert_eq!((&result["is_error"], &result["result"]), (&json!(true), &json!(lines[0])));
        let request: Value =
            serde_json::from_str(evidence["exchanges"][0]["request"]["body"]["text"].as_str().unwrap()).unwrap();
        assert_eq!((&request["stream"], &request["note"]), (&json!(true), &json!(lines[0])));

        // And it is judged as it was when it was fresh.
        let row = place.row();
        let (again, _) = ended(ccsmoke().arg("judge").arg(place.evidence()).args(["--format", "json"]), 1);
        let again: Value = serde_json::from_str(&again).unwrap();
        for key in ["outcome", "classification", "text_verdict", "token_evidence", "request_count", "usage"] {
            assert_eq!(again[key], row[key], "{key}");
        }
        let codes = |v: &Value| v["findings"].as_array().unwrap().iter().map(|f| f["code"].clone()).collect::<Vec<_>>();
        assert_eq!(codes(&again), codes(&row));
    }
}

#[test]
fn the_client_sees_nothing_of_the_callers_environment_but_what_is_allowed() {
    let place = talkative("nothing to hide");
    let mut run = place.run();
    with_secrets(&mut run).envs([
        ("LC_ALL", "C.UTF-8"),
        ("TZ", "UTC"),
        ("LANG", "C"),
        ("ANTHROPIC_API_KEY", "sk-mine"),
    ]);
    ended(run.envs([("LD_LIBRARY_PATH", "/nowhere"), ("HTTPS_PROXY", "http://127.0.0.1:9")]), 1);
    let environment = std::fs::read_to_string(place.path("environment")).unwrap();
    assert_clean("the client's environment", environment.as_bytes());
    let variables: Vec<(&str, &str)> = environment.lines().filter_map(|line| line.split_once('=')).collect();
    let mut names: Vec<&str> = variables.iter().map(|(name, _)| *name).filter(|n| *n != "IS_SANDBOX").collect();
    names.sort_unstable();
    insta::assert_snapshot!(names.join("\n"), @r#"
    ANTHROPIC_API_URL
    ANTHROPIC_AUTH_TOKEN
    ANTHROPIC_BASE_URL
    CLAUDE_CODE_DISABLE_AUTO_MEMORY
    CLAUDE_CODE_DISABLE_BACKGROUND_TASKS
    CLAUDE_CODE_DISABLE_CLAUDE_MDS
    CLAUDE_CODE_DISABLE_GIT_INSTRUCTIONS
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC
    CLAUDE_CODE_DISABLE_TERMINAL_TITLE
    CLAUDE_CODE_MAX_RETRIES
    CLAUDE_CODE_TMPDIR
    CLAUDE_CONFIG_DIR
    DISABLE_AUTOUPDATER
    DISABLE_ERROR_REPORTING
    DISABLE_GROWTHBOOK
    DISABLE_TELEMETRY
    DISABLE_UPDATES
    HOME
    LANG
    LC_ALL
    NO_COLOR
    NO_PROXY
    PATH
    TERM
    TMPDIR
    TZ
    "#);
    let value = |name: &str| variables.iter().find(|(n, _)| *n == name).unwrap().1;
    assert_eq!((value("LC_ALL"), value("TZ"), value("LANG")), ("C.UTF-8", "UTC", "C"));
    for name in ["HOME", "CLAUDE_CONFIG_DIR", "TMPDIR"] {
        let folder = Path::new(value(name));
        assert!(folder.starts_with(place.path("tmp")), "{name} is {}", folder.display());
        assert!(!folder.exists(), "{name} is gone with its cell");
    }
    place.assert_tidy();
}

/// Reads until the bytes end as they must.
fn read_until(stream: &mut std::net::TcpStream, request: &mut Vec<u8>, end: &[u8]) {
    let mut buffer = [0; 4096];
    while !request.ends_with(end) {
        let n = stream.read(&mut buffer).unwrap();
        assert!(n > 0, "the request ended early");
        request.extend_from_slice(&buffer[..n]);
    }
}

/// Says that it is there when it is asked, answers one `POST` with everything that it was told, and gives its head.
fn echoing_gateway() -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let served = std::thread::spawn(move || {
        loop {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = vec![0; 4];
            stream.read_exact(&mut request).unwrap();
            if request.starts_with(b"GET") {
                read_until(&mut stream, &mut request, b"\r\n\r\n");
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").unwrap();
                continue;
            }
            // The body is JSON and ends with its only line's brace.
            read_until(&mut stream, &mut request, b"}");
            let request = String::from_utf8(request).unwrap();
            let head = request.split("\r\n\r\n").next().unwrap().to_owned();
            let body = json!({ "type": "error", "error": { "type": "api_error", "message": head } }).to_string();
            let answer = format!(
                "HTTP/1.1 400 Oops\r\nX-Echo: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                head.lines().last().unwrap(),
                body.len()
            );
            stream.write_all(answer.as_bytes()).unwrap();
            return head;
        }
    });
    (url, served)
}

#[test]
fn the_credential_of_a_gateway_reaches_the_gateway_alone_whatever_its_variable_is_called() {
    let place = talkative("nothing to hide");
    let (url, served) = echoing_gateway();
    let args = ["--url", &url, "--auth-token-env", "GATEWAY_PASS", "--target", "echo"];
    let (out, err) = ended(place.run().args(args).env("GATEWAY_PASS", "open-sesame"), 1);
    assert!(served.join().unwrap().contains("Bearer open-sesame"), "the gateway gets it");
    let answer = std::fs::read_to_string(place.path("answer")).unwrap();
    assert!(answer.contains("api_error"), "{answer:?}");
    let mut seen = place.written();
    seen.push((place.path("standard output"), out.into_bytes()));
    seen.push((place.path("standard error"), err.into_bytes()));
    seen.push((place.path("environment"), std::fs::read(place.path("environment")).unwrap()));
    for (path, content) in seen {
        let text = String::from_utf8_lossy(&content);
        assert!(!text.contains("open-sesame"), "{}: {text}", path.display());
    }
}
