//! The reference gateway over real sockets: every byte passes, nothing is held back, and a client that leaves is noticed.

use std::time::Duration;

use ccsmoke::fault::{Applied, Change, variation};
use ccsmoke::provider::{Keys, Provider, ProviderConfig};
use ccsmoke::reference::{Alteration, Behind, Config, READY_PATH, ReferenceGateway};
use ccsmoke::tap::Upstream;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Fails instead of hanging.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it should not hang")
}

async fn gateway(upstream: &str, behind: Behind, changes: &'static [Change]) -> (ReferenceGateway, String) {
    let alteration = (!changes.is_empty()).then(|| Arc::new(Applied(changes)) as Arc<dyn Alteration>);
    let upstream = Upstream::parse(upstream, None).unwrap();
    let gateway = ReferenceGateway::start(Config { port: 0, upstream, behind, alteration }).await.unwrap();
    let address = gateway.base_url().trim_start_matches("http://").to_owned();
    (gateway, address)
}

/// Reads until the text is there.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut all = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&all).contains(end) {
        let count = soon(stream.read(&mut buffer)).await.unwrap();
        assert!(count > 0, "the connection ended before {end:?}: {}", String::from_utf8_lossy(&all));
        all.extend_from_slice(&buffer[..count]);
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// Sends a request and reads all of the answer.
async fn ask(address: &str, target: &str, body: &Value) -> String {
    let body = body.to_string();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST {target} HTTP/1.1\r\nHost: x\r\nx-api-key: k\r\nanthropic-version: 2023-06-01\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).await.unwrap();
    let mut all = Vec::new();
    soon(stream.read_to_end(&mut all)).await.unwrap();
    String::from_utf8(all).unwrap()
}

#[tokio::test]
async fn request_and_answer_pass_byte_by_byte_while_they_are_still_being_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (_gateway, address) =
        gateway(&format!("http://{}", listener.local_addr().unwrap()), Behind::Anthropic, &[]).await;
    let mut client = TcpStream::connect(address).await.unwrap();
    client
        .write_all(b"POST /v1/Messages?b=1&a=%20 HTTP/1.1\r\nHost: x\r\nX-Odd-CASE: 1\r\nConnection: x-hop\r\nX-Hop: 1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        .await
        .unwrap();
    let (mut upstream, _) = soon(listener.accept()).await.unwrap();
    let seen = read_until(&mut upstream, "abc").await;
    assert!(seen.starts_with("POST /v1/Messages?b=1&a=%20 HTTP/1.1\r\n"), "{seen}");
    assert!(seen.contains("X-Odd-CASE: 1") && !seen.to_lowercase().contains("x-hop"), "{seen}");
    client.write_all(b"2\r\n\xff\n\r\n0\r\n\r\n").await.unwrap();
    read_until(&mut upstream, "0\r\n\r\n").await;
    upstream
        .write_all(b"HTTP/1.1 418 Teapot\r\nX-Back: 1\r\nContent-Encoding: br\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n\x00\x01\xfe\xff\r\n")
        .await
        .unwrap();
    let back = read_until(&mut client, "\u{0}\u{1}").await;
    assert!(back.starts_with("HTTP/1.1 418 "), "{back}");
    assert!(back.contains("X-Back: 1") && back.contains("Content-Encoding: br"), "{back}");
    upstream.write_all(b"3\r\nend\r\n0\r\n\r\n").await.unwrap();
    read_until(&mut client, "end").await;
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_request_to_the_provider() {
    for changes in [&[][..], variation("slow").unwrap().changes] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (_gateway, address) = gateway(&url, Behind::Anthropic, changes).await;
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}").await.unwrap();
        let (mut upstream, _) = soon(listener.accept()).await.unwrap();
        read_until(&mut upstream, "{}").await;
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n8\r\n: alive\n\r\n";
        upstream.write_all(head).await.unwrap();
        read_until(&mut client, "alive").await;
        drop(client);
        let mut rest = Vec::new();
        soon(upstream.read_to_end(&mut rest)).await.ok();
    }
}

#[tokio::test]
async fn a_provider_that_breaks_off_is_not_healed_and_one_that_is_not_there_is_told_of() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (_gateway, address) = gateway(&url, Behind::Anthropic, &[]).await;
    let asking = tokio::spawn(async move { ask(&address, "/v1/messages", &json!({})).await });
    let (mut upstream, _) = soon(listener.accept()).await.unwrap();
    read_until(&mut upstream, "{}").await;
    upstream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n").await.unwrap();
    drop(upstream);
    let answer = soon(asking).await.unwrap();
    assert!(answer.contains("abc") && !answer.ends_with("0\r\n\r\n"), "{answer}");

    drop(listener);
    let (_gateway, address) = gateway(&url, Behind::Anthropic, &[]).await;
    let answer = ask(&address, "/v1/messages", &json!({})).await;
    assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("\"type\":\"api_error\""), "{answer}");
    assert!(ask(&address, READY_PATH, &json!({})).await.starts_with("HTTP/1.1 200"));
}

async fn provider() -> Provider {
    Provider::start(ProviderConfig { keys: Keys::Any, ..ProviderConfig::default() }).await.unwrap()
}

#[tokio::test]
async fn a_translation_answers_in_the_form_of_messages() {
    let provider = provider().await;
    let (_gateway, address) = gateway(&provider.base_url(), Behind::Openai, &[]).await;
    let body = |stream: bool| json!({"model": "m", "max_tokens": 10, "stream": stream, "messages": [{"role": "user", "content": "hi"}]});
    let whole = ask(&address, "/v1/messages", &body(false)).await;
    assert!(whole.contains("\"type\":\"message\"") && whole.contains("\"stop_reason\":\"end_turn\""), "{whole}");
    let stream = ask(&address, "/v1/messages", &body(true)).await;
    for event in
        ["message_start", "content_block_start", "text_delta", "content_block_stop", "message_delta", "message_stop"]
    {
        assert!(stream.contains(event), "{event}: {stream}");
    }
    let refused = ask(&address, "/v1/messages", &json!({"model": "m", "messages": []})).await;
    assert!(refused.starts_with("HTTP/1.1 400") && refused.contains("\"type\":\"error\""), "{refused}");
    let count = ask(&address, "/v1/messages/count_tokens", &body(false)).await;
    assert!(count.contains("\"input_tokens\":"), "{count}");
}

#[tokio::test]
async fn a_compressed_answer_and_an_old_version_of_http_are_well_formed() {
    let provider = provider().await;
    let body = json!({"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]});
    let (_gateway, address) =
        gateway(&provider.base_url(), Behind::Anthropic, variation("http-1.0").unwrap().changes).await;
    let answer = ask(&address, "/v1/messages", &body).await;
    assert!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    assert!(answer.contains("\"type\":\"message\""), "{answer}");
    let changes = variation("http-1.0-upstream").unwrap().changes;
    let (_gateway, address) = gateway(&provider.base_url(), Behind::Anthropic, changes).await;
    let answer = ask(&address, "/v1/messages", &body).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"type\":\"message\""), "{answer}");
}
