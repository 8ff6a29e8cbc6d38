//! Gateways with the scripted provider behind them: one that runs already and was told once where the provider is, and one that does
//! not survive an error of its provider.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use ccsmoke::secret::Secret;
use ccsmoke::tap::{Access, Credentials, Tap, TapConfig, Upstream};
use serde_json::{Value, json};

use super::asking::asking;
use super::stand_in::{StandIn, ended, write};

fn codes(row: &Value) -> Vec<&str> {
    row["findings"].as_array().unwrap().iter().map(|f| f["code"].as_str().unwrap()).collect()
}

/// A port that nobody has right now, and that no connection of another test is given.
fn free_port() -> u16 {
    let from = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    (from..32_000).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

#[test]
fn a_running_gateway_is_compared_on_both_sides_with_the_scripted_provider_behind_it() {
    let port = free_port();
    let running = tokio::runtime::Runtime::new().unwrap();
    // As a gateway is configured by hand: with a name for this machine.
    let upstream = Upstream::parse(&format!("http://localhost:{port}"), None).unwrap();
    let credentials =
        Credentials { cell_token: "gateway-key".to_owned(), upstream: Some(Secret::new("of-the-provider")) };
    let mut config = TapConfig::new(upstream, Access::Cell(credentials), Instant::now());
    config.max_requests = u32::MAX;
    let gateway = running.block_on(Tap::start(config)).unwrap();

    let place = asking(1, "exit 0");
    let run = |upstream: &str, port: u16| {
        let mut run = place.run();
        run.env("GATEWAY_KEY", "gateway-key").args(["--url", &gateway.base_url(), "--auth-token-env", "GATEWAY_KEY"]);
        run.args(["--upstream", upstream, "--upstream-port", &port.to_string(), "--fail-on", "never"]);
        run
    };
    ended(&mut run("anthropic", port), 0);
    let evidence: Value = serde_json::from_slice(&std::fs::read(place.evidence()).unwrap()).unwrap();
    assert_eq!(evidence["cell"]["target"]["kind"], "gateway");
    assert_eq!(evidence["behind"].as_array().unwrap().len(), 1);
    assert_eq!(evidence["provider"][0]["turn"], "answer");
    let row = place.row();
    assert!(!row["findings"].as_array().unwrap().iter().any(|f| f["suspect"] == "gateway"), "{row:#}");

    // A key that the user gave and that is not the gateway's.
    std::fs::remove_dir_all(place.results()).unwrap();
    ended(run("anthropic", port).env("GATEWAY_KEY", "another-key"), 3);
    let row = place.row();
    assert_eq!((codes(&row)[0], &row["classification"]), ("credential-refused", &json!("missing_env")), "{row:#}");

    std::fs::remove_dir_all(place.results()).unwrap();
    let taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
    ended(&mut run("openai", port), 0);
    let row = place.row();
    let finding = &row["findings"][0];
    assert_eq!((&finding["code"], &finding["suspect"]), (&json!("gateway-unusable"), &json!("environment")));
    assert!(
        finding["message"].as_str().unwrap().contains(&format!("127.0.0.1:{port}: Address already in use")),
        "{finding}"
    );
    drop(taken);
}

#[test]
fn the_two_sides_of_a_running_gateway_are_named_together() {
    let place = StandIn::claude("");
    let refused = |args: &[&str]| place.refused(place.run().args(["--url", "http://127.0.0.1:9"]).args(args), 2);
    let said = [
        refused(&["--upstream", "anthropic"]),
        refused(&["--upstream-port", "4001"]),
        refused(&["--upstream", "live", "--upstream-port", "4001"]),
    ];
    insta::assert_snapshot!(said.concat(), @r"
    error: --upstream: the gateway has to know where the scripted provider is; give --upstream-port PORT and have it forward to http://127.0.0.1:PORT
    error: --upstream-port: the scripted provider is behind the gateway only with --upstream anthropic or openai
    error: --upstream-port: the scripted provider is behind the gateway only with --upstream anthropic or openai
    ");
}

#[test]
#[ignore = "not a test: a gateway that does not survive an error of its provider, which ccsmoke starts"]
#[expect(clippy::disallowed_methods, reason = "it is a program of its own")]
fn fragile() {
    let Ok(port) = std::env::var("FRAGILE_PORT") else { return };
    let provider = std::env::var("FRAGILE_UPSTREAM").unwrap();
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).unwrap();
    for stream in listener.incoming() {
        let mut client = BufReader::new(stream.unwrap());
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") && client.read_line(&mut head).unwrap() > 0 {
            let line = head.lines().last().unwrap_or_default().to_ascii_lowercase();
            length = line.strip_prefix("content-length:").map_or(length, |n| n.trim().parse().unwrap());
        }
        if head.starts_with("GET") {
            client.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
            continue;
        }
        let mut body = vec![0; length];
        client.read_exact(&mut body).unwrap();
        let head = head.replace(&format!("127.0.0.1:{port}"), &provider);
        let mut upstream = TcpStream::connect(&provider).unwrap();
        upstream.write_all(&[head.into_bytes(), body].concat()).unwrap();
        let mut answer = Vec::new();
        upstream.read_to_end(&mut answer).unwrap();
        client.get_mut().write_all(&answer).unwrap();
        if answer.starts_with(b"HTTP/1.1 529") {
            drop(client);
            std::process::exit(3);
        }
    }
}

#[test]
fn cells_with_errors_run_last_one_by_one_and_a_gateway_that_does_not_survive_one_is_found_out() {
    let place = asking(1, "exit 1");
    let probes = crate::support::probes_with(&[]);
    for entry in std::fs::read_dir(probes.path()).unwrap() {
        let path = entry.unwrap().path();
        if !["rules.toml", "basic_text.toml"].contains(&path.file_name().unwrap().to_str().unwrap()) {
            std::fs::remove_file(path).unwrap();
        }
    }
    let basic = std::fs::read_to_string(probes.path().join("basic_text.toml")).unwrap();
    let error = "error = { status = 529, kind = \"overloaded_error\", message = \"Overloaded\" }";
    let failing = basic.replace("blocks = [{ text = [\"{prompt.marker}\"] }]", error);
    assert_ne!(failing, basic);
    for name in ["a_first_error", "an_other_error"] {
        std::fs::write(probes.path().join(format!("{name}.toml")), &failing).unwrap();
    }
    let exe = std::env::current_exe().unwrap();
    let profile = format!(
        "auth_token = 'any'\nstart = ['{}', 'cli::running_gateway::fragile', '--exact', '--ignored', '--nocapture']\n\
         env = {{ FRAGILE_PORT = '{{port}}', FRAGILE_UPSTREAM = '{{upstream_host}}' }}\n",
        exe.display()
    );
    write(&place.path("fragile.toml"), profile);
    let mut run = place.run();
    run.args(["--probe", "a_first_error", "--probe", "an_other_error", "--message-format", "json"]);
    run.arg("--probes").arg(probes.path()).arg("--gateway").arg(place.path("fragile.toml"));
    let (out, _) = ended(run.args(["--jobs", "4", "--fail-on", "never"]), 0);
    place.assert_tidy();
    let events: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<String> = events
        .iter()
        .filter(|e| e["cell"].is_string())
        .map(|e| format!("{} {}", e["event"].as_str().unwrap(), e["cell"].as_str().unwrap().split(' ').nth(1).unwrap()))
        .collect();
    assert_eq!(told[..2], ["cell_started basic_text", "cell_finished basic_text"]);
    for pair in told[2..].chunks(2) {
        assert_eq!(pair[0].replace("started", "finished"), pair[1], "one by one: {told:?}");
    }
    let report = place.report();
    for row in report["outcomes"].as_array().unwrap() {
        let (probe, codes) = (row["probe"].as_str().unwrap(), codes(row));
        if probe == "basic_text" {
            assert!(!codes.contains(&"gateway-unusable"), "{row:#}");
            continue;
        }
        // The second one as well: the gateway was started anew for it.
        assert_eq!((codes[0], &row["classification"]), ("gateway-unusable", &json!("product_failure")), "{row:#}");
        let finding = &row["findings"][0];
        assert_eq!(finding["suspect"], "gateway");
        assert!(finding["message"].as_str().unwrap().contains("ended with exit code 3"), "{finding}");
    }
}
