//! Whom the tap turns away, and that nothing of what it turns away is forwarded.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::rig::*;

/// What a request is answered, with nothing forwarded; an empty text when the connection just ends.
async fn refused(rig: &Rig, request: &[u8]) -> String {
    let mut client = rig.send(request).await;
    String::from_utf8(read_all(&mut client).await.0).unwrap()
}

#[tokio::test]
async fn strangers_are_refused_with_the_errors_of_the_api_and_nothing_is_forwarded() {
    let gateway = Gateway::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let rig = Rig::before(&gateway).await;
    let good = rig.request("POST", "{}");
    let (authority, token) = (rig.authority(), rig.tap.token().unwrap().to_owned());
    let port = authority.split(':').nth(1).unwrap();
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let with = |line: &str| good.replace(&bearer, &format!("{bearer}{line}\r\n"));
    let cases = [
        (good.replace(&authority, "evil.com"), "403", "permission_error"),
        (good.replace(&authority, &format!("localhost:{port}")), "403", "permission_error"),
        (good.replace(&authority, "127.0.0.1"), "403", "permission_error"),
        (with("Origin: http://evil.com"), "403", "permission_error"),
        (with("origin: null"), "403", "permission_error"),
        (with("Sec-Fetch-Site: cross-site"), "403", "permission_error"),
        (with("sec-fetch-dest: empty"), "403", "permission_error"),
        (good.replace(&bearer, ""), "401", "authentication_error"),
        (good.replace(&token, "wrong"), "401", "authentication_error"),
        (good.replace(&token, &token[1..]), "401", "authentication_error"),
        (good.replace("Bearer", "Basic"), "401", "authentication_error"),
        (with("x-api-key: sk-somebody-else"), "401", "authentication_error"),
        (good.replace(&bearer, "").replace("POST", "PUT"), "401", "authentication_error"),
        (good.replace("POST", "GET").replace(&token, "wrong"), "401", "authentication_error"),
    ];
    for (request, status, kind) in &cases {
        let answer = refused(&rig, request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}\n{answer}");
        let body: serde_json::Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        assert_eq!((body["type"].as_str(), body["error"]["type"].as_str()), (Some("error"), Some(*kind)));
    }
    assert_eq!((gateway.connections(), gateway.requests().len()), (0, 0));
    let exchanges = rig.finish().await;
    assert_eq!(exchanges.len(), cases.len());
    assert!(exchanges.iter().all(|e| is_refused(&e.end)));
    let record = serde_json::to_string(&exchanges).unwrap();
    assert!(!record.contains("sk-somebody-else"), "a credential that is not the cell's is not recorded");
}

#[tokio::test]
async fn a_fetch_of_node_is_no_browser() {
    let gateway = Gateway::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let rig = Rig::before(&gateway).await;
    let mut client = rig.send(rig.request("POST", "").replace("\r\n\r\n", "\r\nsec-fetch-mode: cors\r\n\r\n")).await;
    assert!(read_exactly(&mut client, 38).await.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn the_answer_to_a_refused_head_request_has_no_body() {
    let gateway = Gateway::answering("").await;
    let rig = Rig::before(&gateway).await;
    let answer = refused(&rig, b"HEAD /api/hello HTTP/1.1\r\nHost: evil.com\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 403") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn whatever_two_readers_could_read_differently_is_refused_and_not_forwarded() {
    let gateway = Gateway::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let rig = Rig::before(&gateway).await;
    let (authority, token) = (rig.authority(), rig.tap.token().unwrap().to_owned());
    let known = format!("Host: {authority}\r\nAuthorization: Bearer {token}\r\n");
    let post = |lines: &str, body: &str| format!("POST /v1/messages HTTP/1.1\r\n{known}{lines}\r\n\r\n{body}");
    let line = |line: &str| format!("{line}\r\n{known}\r\n");
    let smuggled = format!("0\r\n\r\nGET /admin HTTP/1.1\r\n{known}\r\n");
    let many: String = (0..101).map(|i| format!("X-{i}: y\r\n")).collect::<Vec<_>>().concat();
    let cases = [
        // Two lengths.
        post("Content-Length: 5\r\nTransfer-Encoding: chunked", &smuggled),
        post("Transfer-Encoding: chunked\r\nContent-Length: 5", &smuggled),
        post("Content-Length: 5\r\nContent-Length: 6", "hello!"),
        post("Content-Length: 5\r\nContent-Length: 5", "hello"),
        post("Content-Length: 5, 5", "hello"),
        post("Content-Length: 5, 6", "hello!"),
        // Lengths that are none.
        post("Content-Length: +5", "hello"),
        post("Content-Length: -5", "hello"),
        post("Content-Length: 0x5", "hello"),
        post("Content-Length: 5 5", "hello"),
        post("Content-Length: 5;", "hello"),
        post("Content-Length:", "hello"),
        post("Content-Length: 99999999999999999999", "hello"),
        // Transfer codings that are not exactly chunked.
        post("Transfer-Encoding: xchunked", &smuggled),
        post("Transfer-Encoding: chunked, identity", &smuggled),
        post("Transfer-Encoding: gzip, chunked", &smuggled),
        post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", &smuggled),
        post("Transfer-Encoding: identity", &smuggled),
        post("Transfer-Encoding: \"chunked\"", &smuggled),
        post("Transfer-Encoding: \x0bchunked", &smuggled),
        post("Transfer-Encoding:", &smuggled),
        post("Transfer-Encoding : chunked", &smuggled),
        post("Transfer-Encoding: chunked\r\nExpect: 100-continue", &smuggled),
        // Chunks that are none.
        post("Transfer-Encoding: chunked", "x\r\nhello\r\n0\r\n\r\n"),
        post("Transfer-Encoding: chunked", "5;a=b\r\nhello\r\n0\r\n\r\n"),
        post("Transfer-Encoding: chunked", "5\nhello\r\n0\r\n\r\n"),
        post("Transfer-Encoding: chunked", "5\r\nhello0\r\n\r\n"),
        post("Transfer-Encoding: chunked", "-5\r\nhello\r\n0\r\n\r\n"),
        post("Transfer-Encoding: chunked", "0x5\r\nhello\r\n0\r\n\r\n"),
        post("Transfer-Encoding: chunked", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
        post("Transfer-Encoding: chunked", "0\r\nContent-Length: 5\r\n\r\n"),
        // Lines that are none.
        post("X-Folded: a\r\n b", ""),
        post("X-Folded: a\r\n\tContent-Length: 5", ""),
        post("X-Bare: a\nContent-Length: 5", "hello"),
        post("X-Bare: a\rContent-Length: 5", "hello"),
        post("X-Nul: a\0b", ""),
        post("No colon", ""),
        post(": no name", ""),
        post("X Space: a", ""),
        format!("POST /v1/messages HTTP/1.1\n{}\n", known.replace("\r\n", "\n")),
        format!("\r\n{}", post("X: y", "")),
        format!(" {}", post("X: y", "")),
        // Requests for somebody else.
        line("GET http://evil.com/ HTTP/1.1"),
        line(&format!("GET http://{authority}/v1/messages HTTP/1.1")),
        line("CONNECT evil.com:443 HTTP/1.1"),
        line(&format!("CONNECT {authority} HTTP/1.1")),
        line("OPTIONS * HTTP/1.1"),
        line("GET @evil.com HTTP/1.1"),
        line("GET evil.com/ HTTP/1.1"),
        line("GET /#a HTTP/1.1"),
        line("GET /\u{e9} HTTP/1.1"),
        line("GET  / HTTP/1.1"),
        line("GET / a HTTP/1.1"),
        line("GET / HTTP/1.0"),
        line("GET / HTTP/2.0"),
        line("GET /"),
        post("Upgrade: websocket\r\nConnection: Upgrade", ""),
        post(&format!("Host: {authority}"), ""),
        post("Host: evil.com", ""),
        format!("GET / HTTP/1.1\r\nAuthorization: Bearer {token}\r\n\r\n"),
        // Too much.
        post(many.trim_end(), ""),
        post(&format!("X-Long: {}", "x".repeat(70_000)), ""),
        format!("GET /{} HTTP/1.1\r\n{known}\r\n", "x".repeat(70_000)),
        "x".repeat(70_000),
    ];
    assert!(cases.len() >= 60);
    for case in &cases {
        let answer = refused(&rig, case.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{:?}\n{answer}", &case[..case.len().min(400)]);
        assert!(answer.contains("connection: close"));
    }
    assert_eq!((gateway.connections(), gateway.requests().len()), (0, 0));
    assert!(rig.finish().await.iter().all(|e| is_refused(&e.end)));
}

#[tokio::test]
async fn a_refusal_arrives_although_the_body_of_the_request_is_not_wanted() {
    let gateway = Gateway::answering("").await;
    let rig = Rig::before(&gateway).await;
    let request = rig.request("POST", &"x".repeat(8 << 20)).replace("Bearer", "Basic");
    for _ in 0..10 {
        assert!(refused(&rig, request.as_bytes()).await.ends_with('}'));
    }
}

#[tokio::test]
async fn a_chunked_body_larger_than_the_limit_is_refused_and_not_forwarded() {
    let gateway = Gateway::answering("").await;
    let rig = Rig::before(&gateway).await;
    let size = 65 << 20;
    let head = rig.request("POST", "").replace("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n");
    let request = format!("{head}{size:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(size));
    assert!(refused(&rig, request.as_bytes()).await.starts_with("HTTP/1.1 400 "));
    assert_eq!(gateway.connections(), 0);
}

#[tokio::test]
async fn a_client_that_sends_far_ahead_is_not_read_without_end() {
    let gateway = Gateway::silent().await;
    let rig = Rig::before(&gateway).await;
    let mut client = rig.send(rig.request("POST", "{}")).await;
    let piece = vec![b'x'; 1 << 20];
    let mut sent = 0;
    while tokio::time::timeout(Duration::from_millis(500), client.write_all(&piece)).await.is_ok() {
        sent += piece.len();
        assert!(sent < 64 << 20, "all of it was read");
    }
}

#[tokio::test]
async fn a_cell_that_asks_too_often_is_stopped() {
    let gateway = Gateway::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let rig = Rig::with(&gateway.url, |config| config.max_requests = 3).await;
    let runaway = rig.tap.runaway();
    for i in 0..3 {
        let mut client = rig.send(rig.request("POST", "{}")).await;
        assert!(read_exactly(&mut client, 38).await.starts_with(b"HTTP/1.1 200"), "{i}");
    }
    let mut runaway = std::pin::pin!(runaway);
    assert!(tokio::time::timeout(Duration::from_millis(50), runaway.as_mut()).await.is_err(), "three are allowed");
    for _ in 0..2 {
        assert!(refused(&rig, rig.request("POST", "{}").as_bytes()).await.starts_with("HTTP/1.1 403 "));
    }
    soon(runaway).await;
    assert_eq!(gateway.requests().len(), 3);
    let (exchanges, facts) = rig.tap.finish().await;
    assert_eq!(exchanges.iter().filter(|e| is_refused(&e.end)).count(), 2);
    assert!(facts.runaway && facts.max_requests == 3);
}

#[tokio::test]
async fn only_so_many_connections_are_served_at_a_time() {
    let gateway = Gateway::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let rig = Rig::before(&gateway).await;
    let mut idle = Vec::new();
    for _ in 0..64 {
        idle.push(rig.connect().await);
    }
    let mut client = rig.send(rig.request("POST", "{}")).await;
    let early = tokio::time::timeout(Duration::from_millis(200), client.read_u8()).await;
    assert!(early.is_err(), "it has to wait");
    idle.pop();
    assert!(read_exactly(&mut client, 38).await.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn the_real_credential_is_neither_in_debug_output_nor_in_the_record() {
    let gateway = Gateway::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let mut shown = String::new();
    let rig = Rig::with(&gateway.url, |config| shown = format!("{config:?}")).await;
    let mut client = rig.send(rig.request("POST", "{}")).await;
    read_exactly(&mut client, 38).await;
    assert!(String::from_utf8(gateway.requests().remove(0)).unwrap().contains(REAL), "it was sent");
    let tap = format!("{:#?}", rig.tap);
    drop(client);
    let record = format!("{:?}", rig.finish().await);
    assert!(![shown, tap, record].concat().contains(REAL));
}
