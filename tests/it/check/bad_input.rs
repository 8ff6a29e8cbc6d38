//! What is no gateway: a clear line each, soon, and the right exit code.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{ccsmoke, output, stderr, stdout, tls};

/// Answers every connection with this, over and over when it is endless, from a thread that ends with the test's process.
fn answering(answer: &'static [u8], endless: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut stream = stream;
                let mut buffer = [0; 4096];
                let _ = stream.read(&mut buffer);
                let _ = stream.write_all(answer);
                while endless && stream.write_all(&[b'x'; 4096]).is_ok() {}
            });
        }
    });
    address
}

/// What is said of a URL, with the exit code.
fn said(url: &str) -> (String, i32) {
    said_with(url, &[])
}

fn said_with(url: &str, further: &[&str]) -> (String, i32) {
    let begun = Instant::now();
    let mut command = ccsmoke();
    command.args(["check", url, "--only", "reach,plain", "--timeout", "2", "--format", "json"]).args(further);
    let out = output(&mut command);
    assert!(begun.elapsed() < Duration::from_secs(60));
    let code = out.status.code().unwrap();
    let Ok(report) = serde_json::from_slice::<Value>(&out.stdout) else { return (stderr(&out), code) };
    let failed = report["checks"].as_array().unwrap().iter().find(|row| row["verdict"] == "failed").unwrap();
    (failed["message"].as_str().unwrap().to_owned(), code)
}

#[test]
fn what_is_no_gateway_is_told_of_in_a_clear_line() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let html = answering(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 31\r\n\r\n<html><title>Welcome</title> hi\n",
        false,
    );
    let moved = answering(b"HTTP/1.1 301 Moved\r\nlocation: https://x.test/\r\ncontent-length: 0\r\n\r\n", false);
    let endless = answering(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{", true);
    let banner = answering(b"SSH-2.0-OpenSSH_9.2\r\n", false);
    let endless_head = answering(b"HTTP/1.1 200 OK\r\nx: ", true);
    let other_json = answering(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 16\r\n\r\n{\"hello\":\"you\"}",
        false,
    );
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent_at = silent.local_addr().unwrap();
    let cases = [
        (format!("http://{closed}"), "cannot connect", 3),
        (format!("https://{html}"), "cannot connect", 3),
        ("http://no-such-host.invalid".to_owned(), "cannot connect", 3),
        (format!("http://{html}"), "an HTML page (\"Welcome\")", 1),
        (format!("http://{moved}"), "a redirect to https://x.test/", 1),
        (format!("http://{endless}"), "the answer does not end", 1),
        (format!("http://{banner}"), "HTTP", 3),
        (format!("http://{endless_head}"), "head", 3),
        (format!("http://{other_json}"), "hello", 1),
        (format!("http://{silent_at}"), "no answer within 2 s", 3),
        ("ftp://127.0.0.1:4000".to_owned(), "neither http nor https", 2),
        ("http://me:secret@127.0.0.1:4000".to_owned(), "a user name or password", 2),
        ("127.0.0.1:4000".to_owned(), "is not a base URL", 2),
        (format!("http://{html}/v1"), "leave it out", 2),
    ];
    for (url, words, code) in cases {
        let (message, exit) = said(&url);
        assert!(message.contains(words) && exit == code, "{url}: exit {exit}: {message}");
        assert!(!message.contains("secret") && !message.trim().contains('\n'), "{url}: {message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_trusted_is_told_of_and_trusted_when_it_is_given() {
    let (acceptor, ca) = tls();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                // A client that does not trust the certificate leaves here.
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut buffer = [0; 4096];
                let _ = stream.read(&mut buffer).await;
                let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
                let _ = stream.shutdown().await;
            });
        }
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), ca).unwrap();
    let path = file.path().to_str().unwrap().to_owned();
    let (untrusted, trusted) =
        tokio::task::spawn_blocking(move || (said(&url), said_with(&url, &["--ca-file", &path]))).await.unwrap();
    assert!(untrusted.0.contains("certificate") && untrusted.1 == 3, "{untrusted:?}");
    assert!(trusted.0.contains("status 404") && trusted.1 == 1, "{trusted:?}");
}

#[test]
fn a_gateway_that_is_not_there_or_does_not_start_is_told_of_in_a_clear_line() {
    let folder = tempfile::tempdir().unwrap();
    let profile = folder.path().join("broken.toml");
    let text =
        "upstream = \"anthropic\"\nstart = [\"sh\", \"-c\", \"echo no such model map >&2; exit 3\"]\nready = \"/\"\n";
    std::fs::write(&profile, text).unwrap();
    for (gateway, words, code) in [
        ("no-such-profile", "no built-in profile of that name", 2),
        (profile.to_str().unwrap(), "no such model map", 3),
    ] {
        let out = output(ccsmoke().args(["check", "--gateway", gateway]));
        assert!(out.status.code() == Some(code) && stderr(&out).contains(words), "{gateway}: {}", stderr(&out));
    }
}

#[test]
fn a_choice_that_leaves_nothing_or_names_nothing_is_refused() {
    for (args, words) in [
        (["--only", "nonsense"], "there is no check \"nonsense\""),
        (["--skip", "plane"], "there is no check \"plane\""),
    ] {
        let out = output(ccsmoke().args(["check", "http://127.0.0.1:1"]).args(args));
        assert!(out.status.code() == Some(2) && stderr(&out).contains(words), "{}", stderr(&out));
    }
    let out = output(ccsmoke().args(["check", "http://127.0.0.1:1", "--only", "slash", "--level", "must"]));
    assert_eq!(out.status.code(), Some(2));
}

#[test]
fn a_report_is_told_in_every_format() {
    let check = |format: &str| {
        let out = output(ccsmoke().args([
            "check",
            "--target",
            "scripted",
            "--only",
            "plain,betas,health",
            "--format",
            format,
        ]));
        assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
        stdout(&out)
    };
    let report: Value = serde_json::from_str(&check("json")).unwrap();
    assert_eq!(report["checks"].as_array().unwrap().len(), 3);
    assert!(check("text").contains("2 passed, 0 failed, 1 not applicable, 0 undecided"));
    assert!(check("markdown").contains("| `plain` | must | G01 G23 | passed |"));
    let junit = check("junit");
    assert!(junit.contains("tests=\"3\"") && junit.contains("<skipped"), "{junit}");
}
