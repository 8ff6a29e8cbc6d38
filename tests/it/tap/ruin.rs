//! What goes wrong on either side: it reaches the other side as what it is, and the record says who it was.

use ccsmoke::exchange::End;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::rig::*;

const STREAM: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n\
    1e\r\nevent: ping\ndata: {\"a\":\"\u{2603}\"}\n\r\n3\r\n\n: \r\n0\r\n\r\n";

/// The body bytes that a prefix of [`STREAM`] holds.
fn decoded(prefix: &[u8]) -> Vec<u8> {
    let head = STREAM.find("\r\n\r\n").unwrap() + 4;
    let data = |from: usize, len: usize| prefix.get(from..).map_or(&[][..], |rest| &rest[..rest.len().min(len)]);
    [data(head + 4, 0x1e), data(head + 4 + 0x1e + 2 + 3, 3)].concat()
}

/// Cuts [`STREAM`] at every byte, when the client has what came before.
async fn cut_at_every_byte(cut: fn(TcpStream), check: fn(usize, &std::io::Result<()>)) {
    for length in 0..STREAM.len() {
        let (arrived, mut client_has_it) = mpsc::channel::<()>(1);
        let gateway = Gateway::once(async move |gateway, mut stream| {
            gateway.read_request(&mut stream).await;
            stream.write_all(&STREAM.as_bytes()[..length]).await.unwrap();
            client_has_it.recv().await;
            cut(stream);
        })
        .await;
        let rig = Rig::before(&gateway).await;
        let mut client = rig.send(rig.request("POST", "{}")).await;
        soon(rig.tap.first_request()).await;
        assert_eq!(read_exactly(&mut client, length).await, &STREAM.as_bytes()[..length]);
        arrived.send(()).await.unwrap();
        let (more, end) = read_all(&mut client).await;
        assert!(more.is_empty(), "{length}: nothing is added");
        check(length, &end);
        drop(client);
        let exchange = rig.finish_one().await;
        if length < STREAM.find("\r\n\r\n").unwrap() + 4 {
            assert!(is_unanswered(&exchange.end) && exchange.response.is_none(), "{length}: {:?}", exchange.end);
        } else {
            assert!(is_broken(&exchange.end), "{length}: {:?}", exchange.end);
            assert_eq!(body(&exchange), decoded(&STREAM.as_bytes()[..length]), "{length}");
        }
    }
}

#[tokio::test]
async fn a_response_closed_early_at_any_byte_is_broken_and_reaches_the_client_as_it_is() {
    cut_at_every_byte(drop, |length, end| assert!(end.is_ok(), "{length}: {end:?}")).await;
}

#[tokio::test]
async fn a_response_reset_at_any_byte_is_broken_and_reaches_the_client_as_a_reset() {
    cut_at_every_byte(reset, |length, end| assert!(end.is_err(), "{length}")).await;
}

#[tokio::test]
async fn a_reset_of_a_response_that_ends_with_its_connection_does_not_look_like_its_end() {
    let (go, mut gone) = mpsc::channel::<()>(1);
    let gateway = Gateway::once(async move |gateway, mut stream| {
        gateway.read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhalf").await.unwrap();
        gone.recv().await;
        reset(stream);
    })
    .await;
    let rig = Rig::before(&gateway).await;
    let mut client = rig.send(rig.request("POST", "{}")).await;
    read_exactly(&mut client, 23).await;
    go.send(()).await.unwrap();
    assert!(read_all(&mut client).await.1.is_err());
    let exchange = rig.finish_one().await;
    assert!(is_broken(&exchange.end), "{:?}", exchange.end);
    assert_eq!(body(&exchange), b"half");
}

#[tokio::test]
async fn broken_framing_and_garbage_pass_unchanged_and_are_noticed() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let cases = [
        (format!("{chunked}2\r\nok\r\nzz\r\nand more"), "broken chunked"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok and more".to_owned(), "9 bytes after the end"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok".to_owned(), "differing"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok".to_owned(), "7 short"),
        ("<html>Bad gateway".to_owned(), "not an HTTP/1 response"),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n\0\0".to_owned(), "switched protocols"),
        (format!("HTTP/1.1 200 OK\r\nA: {}", "b".repeat(70_000)), "larger than"),
    ];
    for (answer, expected) in cases {
        let sent = answer.clone();
        let gateway = Gateway::once(async move |gateway, mut stream| {
            gateway.read_request(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
        })
        .await;
        let rig = Rig::before(&gateway).await;
        let mut client = rig.send(rig.request("POST", "{}")).await;
        assert_eq!(read_all(&mut client).await.0, sent.as_bytes());
        let exchange = rig.finish_one().await;
        let (End::UpstreamBroke { error } | End::NeverAnswered { error }) = &exchange.end else {
            panic!("{:?}", exchange.end)
        };
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn bytes_that_nobody_asked_for_spoil_the_response_before_them() {
    let (go, mut gone) = mpsc::channel::<()>(1);
    let gateway = Gateway::once(async move |gateway, mut stream| {
        gateway.read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
        gone.recv().await;
        stream.write_all(b"late").await.unwrap();
        let _ = stream.read_u8().await;
    })
    .await;
    let rig = Rig::before(&gateway).await;
    let mut client = rig.send(rig.request("POST", "{}")).await;
    read_exactly(&mut client, 40).await;
    go.send(()).await.unwrap();
    assert_eq!(read_all(&mut client).await.0, b"late");
    drop(client);
    let exchange = rig.finish_one().await;
    assert!(is_broken(&exchange.end), "{:?}", exchange.end);
}

#[tokio::test]
async fn an_upstream_that_cannot_be_reached_is_a_break_and_not_an_answer_of_ours() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let rig = Rig::with(&url, |_| {}).await;
    let mut client = rig.send(rig.request("POST", "{}")).await;
    let (bytes, end) = read_all(&mut client).await;
    assert!(bytes.is_empty() && end.is_err());
    let exchange = rig.finish_one().await;
    assert!(is_unanswered(&exchange.end), "{:?}", exchange.end);
    assert!(exchange.response.is_none());
}

#[tokio::test]
async fn a_client_that_leaves_takes_the_upstream_connection_with_it() {
    for answer in ["", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart"] {
        let (left, mut seen) = mpsc::channel::<()>(1);
        let gateway = Gateway::once(async move |gateway, mut stream| {
            gateway.read_request(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
            while stream.read_u8().await.is_ok() {}
            let _ = left.send(()).await;
        })
        .await;
        let rig = Rig::before(&gateway).await;
        let mut client = rig.send(rig.request("POST", "{}")).await;
        soon(rig.tap.first_request()).await;
        read_exactly(&mut client, answer.len()).await;
        drop(client);
        soon(seen.recv()).await.expect("the upstream sees the end");
        let exchange = rig.finish_one().await;
        assert_eq!(exchange.end, End::ClientLeft);
        assert_eq!(exchange.response.map(|r| r.body.bytes), (!answer.is_empty()).then(|| b"part".to_vec()));
    }
}

#[tokio::test]
async fn a_silent_upstream_is_recorded_as_one_that_never_answered() {
    let gateway = Gateway::silent().await;
    let rig = Rig::before(&gateway).await;
    let mut client = rig.send(rig.request("POST", "{}")).await;
    soon(rig.tap.first_request()).await;
    let exchange = rig.finish_one().await;
    assert!(is_unanswered(&exchange.end), "{:?}", exchange.end);
    assert!(read_all(&mut client).await.0.is_empty());
}

#[tokio::test]
async fn an_answer_before_the_request_is_complete_passes_and_so_does_the_close_after_it() {
    let answer = "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig";
    let gateway = Gateway::once(async move |_, mut stream| {
        stream.write_all(answer.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        while stream.read_u8().await.is_ok() {}
    })
    .await;
    let rig = Rig::before(&gateway).await;
    let request = rig.request("POST", &"x".repeat(100_000));
    let mut client = rig.send(&request[..request.len() - 50_000]).await;
    let (bytes, end) = read_all(&mut client).await;
    end.unwrap();
    assert_eq!(bytes, answer.as_bytes());
    drop(client);
    let exchange = rig.finish_one().await;
    assert_eq!(exchange.end, End::Complete);
    assert_eq!(exchange.request.body.bytes.len(), 50_000);
}

#[tokio::test]
async fn dropping_the_tap_ends_every_connection_and_frees_its_port() {
    let (left, mut seen) = mpsc::channel::<()>(1);
    let gateway = Gateway::once(async move |gateway, mut stream| {
        gateway.read_request(&mut stream).await;
        let _ = stream.read_u8().await;
        let _ = left.send(()).await;
    })
    .await;
    let rig = Rig::before(&gateway).await;
    let authority = rig.authority();
    let mut client = rig.send(rig.request("POST", "{}")).await;
    soon(rig.tap.first_request()).await;
    drop(rig);
    assert!(read_all(&mut client).await.0.is_empty());
    soon(seen.recv()).await.expect("the upstream sees the end");
    assert!(tokio::net::TcpStream::connect(authority).await.is_err());
}

#[tokio::test]
async fn after_an_early_answer_the_rest_of_the_request_is_still_its_body() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let gateway = Gateway::once(async move |gateway, mut stream| {
        stream.write_all(answer.as_bytes()).await.unwrap();
        gateway.read_request(&mut stream).await;
        gateway.read_request(&mut stream).await;
        stream.write_all(answer.as_bytes()).await.unwrap();
        let _ = stream.read_u8().await;
    })
    .await;
    let rig = Rig::before(&gateway).await;
    let (first, second) = (rig.request("POST", "GET /not-a-request HTTP/1.1\r\n\r\n"), rig.request("POST", "second"));
    let (before, rest) = first.split_at(first.len() - 30);
    let mut client = rig.send(before).await;
    read_exactly(&mut client, answer.len()).await;
    client.write_all(rest.as_bytes()).await.unwrap();
    client.write_all(second.as_bytes()).await.unwrap();
    read_exactly(&mut client, answer.len()).await;
    drop(client);
    let exchanges = rig.finish().await;
    let bodies: Vec<_> = exchanges.iter().map(|e| e.request.body.text().into_owned()).collect();
    assert_eq!(bodies, ["GET /not-a-request HTTP/1.1\r\n\r\n", "second"]);
    assert!(exchanges.iter().all(|e| e.end == End::Complete));
}

#[tokio::test]
async fn a_client_that_leaves_while_the_upstream_is_being_connected_ends_the_attempt() {
    // It accepts, but never says a word of TLS.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let rig = Rig::with(&url, |_| {}).await;
    let client = rig.send(rig.request("POST", "{}")).await;
    let (mut upstream, _) = soon(listener.accept()).await.unwrap();
    drop(client);
    let mut hello = Vec::new();
    let _ = soon(upstream.read_to_end(&mut hello)).await;
    assert_eq!(rig.finish_one().await.end, End::ClientLeft);
}

#[tokio::test]
async fn a_request_that_came_just_before_the_end_is_in_the_record() {
    let gateway = Gateway::answering("").await;
    let rig = Rig::before(&gateway).await;
    drop(rig.send(rig.request("POST", "last words")).await);
    let exchange = rig.finish_one().await;
    assert_eq!((exchange.request.body.text().into_owned(), exchange.end), ("last words".to_owned(), End::ClientLeft));
}
