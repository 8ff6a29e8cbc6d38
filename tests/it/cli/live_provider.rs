//! A provider that is not ours, played by a second scripted one over TLS: the key is in ccsmoke's environment and nowhere else,
//! and what the provider refuses for its load is not laid to anybody.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ccsmoke::probe::Vars;
use ccsmoke::probes::ProbeSet;
use ccsmoke::provider::{Conversation, Provider, ProviderConfig};
use ccsmoke::secret::Secret;
use ccsmoke::tap::{Access, Credentials, Tap, TapConfig, Upstream};
use regex::Regex;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::asking::asking;
use super::stand_in::{StandIn, ended, write};
use crate::support::tls;

/// A provider that plays the part of `basic_text` to whoever shows its key.
struct Live {
    url: String,
    key: String,
    ca: String,
    /// The nonces that it was asked with.
    nonces: Arc<Mutex<Vec<String>>>,
    _running: tokio::runtime::Runtime,
}

impl Live {
    fn start() -> Self {
        let running = tokio::runtime::Runtime::new().unwrap();
        let (acceptor, ca) = tls();
        let nonces = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&nonces);
        let (url, key) = running.block_on(async {
            let provider = Arc::new(Provider::start(ProviderConfig::default()).await.unwrap());
            let key = provider.api_key().to_owned();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
            tokio::spawn(async move {
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    let (acceptor, provider, seen) = (acceptor.clone(), Arc::clone(&provider), Arc::clone(&seen));
                    tokio::spawn(async move {
                        let Ok(tls) = acceptor.accept(stream).await else { return };
                        play(BufReader::new(tls), &provider, &seen).await;
                    });
                }
            });
            (url, key)
        });
        Self { url, key, ca, nonces, _running: running }
    }

    /// The file with the certificate of its CA.
    fn ca_file(&self, place: &StandIn) -> PathBuf {
        let path = place.path("ca.pem");
        write(&path, &self.ca);
        path
    }

    /// The key was shown, and it is neither in what the client had nor in anything that was written or said.
    fn assert_key_is_kept(&self, place: &StandIn, said: &(String, String)) {
        assert_eq!(self.nonces.lock().unwrap().len(), 1);
        let answer = std::fs::read_to_string(place.path("answer")).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("message_stop"), "{answer}");
        let seen = ["answer", "environment"].map(|name| (place.path(name), std::fs::read(place.path(name)).unwrap()));
        let said = [&said.0, &said.1].map(|text| (PathBuf::from("output"), text.clone().into_bytes()));
        for (path, content) in place.written().into_iter().chain(seen).chain(said) {
            assert!(!String::from_utf8_lossy(&content).contains(&self.key), "the key is in {}", path.display());
        }
    }
}

/// One connection: the conversation of its request is learned, as a model that can do anything would.
async fn play(
    mut client: BufReader<tokio_rustls::server::TlsStream<TcpStream>>,
    provider: &Provider,
    seen: &Mutex<Vec<String>>,
) {
    let mut request = Vec::new();
    let mut length = 0;
    while !request.ends_with(b"\r\n\r\n") {
        let start = request.len();
        if client.read_until(b'\n', &mut request).await.unwrap_or(0) == 0 {
            return;
        }
        let line = String::from_utf8_lossy(&request[start..]).to_ascii_lowercase();
        length = line.strip_prefix("content-length:").map_or(length, |n| n.trim().parse().unwrap());
    }
    let mut body = vec![0; length];
    client.read_exact(&mut body).await.unwrap();
    let text = String::from_utf8_lossy(&body);
    if let Some(nonce) = Regex::new("ref-[0-9a-f]{16}").unwrap().find(&text) {
        seen.lock().unwrap().push(nonce.as_str().to_owned());
        let empty = String::new;
        let vars = Vars { marker: empty(), nonce: nonce.as_str().to_owned(), workspace: empty(), session_id: empty() };
        let turns = ProbeSet::built_in().unwrap().get("basic_text").unwrap().turn.clone();
        provider.register(Conversation { vars, turns });
    }
    let mut inner = TcpStream::connect(provider.base_url().trim_start_matches("http://")).await.unwrap();
    inner.write_all(&[request, body].concat()).await.unwrap();
    drop(tokio::io::copy_bidirectional(&mut client, &mut inner).await);
}

#[test]
#[ignore = "not a test: a gateway in front of a live provider, which ccsmoke starts"]
#[expect(clippy::disallowed_methods, reason = "it is a program of its own")]
fn relay() {
    let Ok(port) = std::env::var("RELAY_PORT") else { return };
    let variable = |name: &str| std::env::var(name).unwrap();
    let ca = std::fs::read(variable("LIVE_CA")).unwrap();
    let upstream = Upstream::parse(&variable("LIVE_URL"), Some(&ca)).unwrap();
    let credentials =
        Credentials { cell_token: variable("RELAY_KEY"), upstream: Some(Secret::new(variable("LIVE_API_KEY"))) };
    let mut config = TapConfig::new(upstream, Access::Cell(credentials), Instant::now());
    config.port = port.parse().unwrap();
    config.max_requests = u32::MAX;
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let _tap = Tap::start(config).await.unwrap();
        std::future::pending::<()>().await;
    });
}

fn suspects(row: &Value) -> Vec<(&str, &str)> {
    let findings = row["findings"].as_array().unwrap().iter();
    findings.map(|f| (f["code"].as_str().unwrap(), f["suspect"].as_str().unwrap())).collect()
}

/// `ccsmoke run` against the provider itself.
fn direct(place: &StandIn, live: &Live) -> Command {
    let mut run = place.run();
    run.env("LIVE_API_KEY", &live.key).args(["--url", &live.url, "--auth-token-env", "LIVE_API_KEY"]);
    run.args(["--fail-on", "never"]);
    run
}

#[test]
fn a_live_provider_is_tested_over_tls_and_its_key_is_seen_nowhere() {
    let (live, place) = (Live::start(), asking(1, "exit 0"));
    let said = ended(direct(&place, &live).arg("--ca-file").arg(live.ca_file(&place)), 0);
    live.assert_key_is_kept(&place, &said);
    assert!(!suspects(&place.row()).iter().any(|(_, suspect)| *suspect == "gateway"), "{:#}", place.row());
    let evidence: Value = serde_json::from_slice(&std::fs::read(place.evidence()).unwrap()).unwrap();
    assert_eq!((&evidence["cell"]["target"]["kind"], &evidence["behind"]), (&json!("live"), &Value::Null));
}

#[test]
#[cfg(feature = "live")]
fn the_real_client_passes_over_tls() {
    let (live, place) = (Live::start(), StandIn::empty());
    let mut run = crate::support::ccsmoke();
    run.args(["run", "--probe", "basic_text", "--url", &live.url, "--auth-token-env", "LIVE_API_KEY", "--ca-file"]);
    run.arg(live.ca_file(&place)).env("LIVE_API_KEY", &live.key).arg("--results").arg(place.results());
    ended(run.args(["--max-cost", "1", "--max-run-cost", "2", "--max-run-requests", "9"]), 0);
    let row = place.row();
    assert_eq!((&row["classification"], suspects(&row)), (&json!("passed"), Vec::new()), "{row:#}");
    for (path, content) in place.written() {
        assert!(!String::from_utf8_lossy(&content).contains(&live.key), "the key is in {}", path.display());
    }
}

#[test]
fn a_gateway_in_front_of_a_live_provider_gets_the_key_and_nobody_else_does() {
    let (live, place) = (Live::start(), asking(1, "exit 0"));
    let exe = std::env::current_exe().unwrap();
    let profile = format!(
        "upstream = 'live'\nauth_token = '{{master_key}}'\nrequires_env = ['LIVE_API_KEY']\n\
         start = ['{}', 'cli::live_provider::relay', '--exact', '--ignored', '--nocapture']\n\
         env = {{ RELAY_PORT = '{{port}}', RELAY_KEY = '{{master_key}}', LIVE_URL = '{}', LIVE_CA = '{}' }}\n",
        exe.display(),
        live.url,
        live.ca_file(&place).display(),
    );
    write(&place.path("relay.toml"), profile);
    let run = |key: &str| {
        let mut run = place.run();
        run.env("LIVE_API_KEY", key).arg("--gateway").arg(place.path("relay.toml")).args(["--fail-on", "never"]);
        run
    };
    let said = ended(&mut run(&live.key), 0);
    live.assert_key_is_kept(&place, &said);
    assert!(!suspects(&place.row()).iter().any(|(_, suspect)| *suspect == "gateway"), "{:#}", place.row());

    std::fs::remove_dir_all(place.results()).unwrap();
    let launches = place.launches();
    ended(&mut run(""), 3);
    assert_eq!((&place.row()["classification"], place.launches()), (&json!("missing_env"), launches));
    std::fs::remove_dir_all(place.results()).unwrap();
    ended(&mut run("sk-of-somebody-else"), 3);
    assert_eq!(place.row()["classification"], "missing_env", "{:#}", place.row());
}

#[test]
fn a_certificate_that_is_not_trusted_is_the_environments_fault_and_the_way_out_is_named() {
    let (live, place) = (Live::start(), asking(1, "exit 0"));
    let (out, _) = ended(&mut direct(&place, &live), 0);
    let row = place.row();
    assert_eq!(suspects(&row)[0], ("gateway-unusable", "environment"));
    assert_eq!(place.launches(), 0);
    assert!(out.contains("its certificate is not to be trusted (invalid peer certificate: UnknownIssuer"), "{out}");
    assert!(out.contains("--ca-file"), "{out}");

    for (content, words) in [(None, "No such file"), (Some("no PEM"), "no PEM certificate")] {
        std::fs::remove_dir_all(place.results()).ok();
        let path = place.path("other.pem");
        content.map_or_else(|| drop(std::fs::remove_file(&path)), |content| write(&path, content));
        let said = place.refused(direct(&place, &live).arg("--ca-file").arg(&path), 2);
        assert!(said.contains("--ca-file [HERE]/other.pem: ") && said.contains(words), "{said}");
    }
}

/// A provider that refuses everything with this status, but for the question whether it is there.
fn busy(status: &'static str) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            use std::io::{BufRead as _, Read as _, Write as _};
            let mut stream = std::io::BufReader::new(stream.unwrap());
            let (mut head, mut length) = (String::new(), 0);
            while !head.ends_with("\r\n\r\n") && stream.read_line(&mut head).unwrap() > 0 {
                let line = head.lines().last().unwrap_or_default().to_ascii_lowercase();
                length = line.strip_prefix("content-length:").map_or(length, |n| n.trim().parse().unwrap());
            }
            drop(stream.read_exact(&mut vec![0; length]));
            let error = json!({"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}});
            let (status, body) =
                if head.starts_with("GET") { ("200 OK", String::new()) } else { (status, error.to_string()) };
            let head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n");
            let answer = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
            drop(stream.get_mut().write_all(answer.as_bytes()));
        }
    });
    url
}

#[test]
fn a_provider_that_is_too_busy_is_asked_again_within_the_budget_and_every_attempt_is_kept() {
    for status in ["429 Too Many Requests", "500 Internal Server Error", "503 Service Unavailable", "529 Overloaded"] {
        let place = asking(1, "exit 1");
        let url = busy(status);
        let run = |more: &[&str]| {
            let mut run = place.run();
            run.args(["--url", &url, "--retries", "1"]).args(more);
            run
        };
        ended(&mut run(&[]), 0);
        let row = place.row();
        assert_eq!(
            (&row["classification"], suspects(&row)[0].1),
            (&json!("upstream_unavailable"), "provider"),
            "{row:#}"
        );
        let attempts = row["attempts"].as_array().unwrap();
        assert_eq!((attempts.len(), place.launches()), (2, 3), "one launch is the control");
        for attempt in attempts {
            assert_eq!(attempt["classification"], "upstream_unavailable");
            assert!(place.results().join(attempt["evidence_path"].as_str().unwrap()).is_file());
        }
        // A second attempt that does not fit into the budget is not made, and the first stands.
        std::fs::remove_dir_all(place.results()).unwrap();
        ended(&mut run(&["--max-run-requests", "1"]), 4);
        let report = place.report();
        assert_eq!(report["stopped"], "1 of 1 requests were sent, and the next cell needs 1");
        assert_eq!(place.row()["attempts"].as_array().unwrap().len(), 1);
        assert_eq!(report["not_run"], json!([]));
    }
}

#[test]
fn cells_start_no_faster_than_the_provider_takes_requests() {
    let place = asking(1, "exit 1");
    let target = format!("name = 'slow'\nurl = '{}'\nmax_requests_per_minute = 60\n", busy("429 Too Many Requests"));
    write(&place.path("slow.toml"), target);
    let models = ["--model", "a", "--model", "b", "--model", "c", "--jobs", "3"];
    let began = Instant::now();
    ended(place.run().arg("--gateway").arg(Path::new(&place.path("slow.toml"))).args(models), 0);
    assert!(began.elapsed() >= Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(place.launches(), 4, "one launch is the control");
}
