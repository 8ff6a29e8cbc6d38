//! What goes right: bytes pass unchanged and at once, and the record says what passed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ccsmoke::exchange::{End, header};
use ccsmoke::tap::{Access, Limits, Upstream};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::rig::*;
use crate::support::tls;

const ODD: &[u8] = b"HTTP/1.1 200 Fine  by me\r\ncOnTeNt-TyPe:text/event-stream\r\nX-a:   1 \r\nX-A: 2\r\n\
    tRANSFER-eNCODING: chunked\r\n\r\n5;ext=\"x\"\r\nhello\r\n0001\r\n!\r\nA\r\n0123456789\r\n0\r\nX-Sum: 9\r\n\r\n";

#[tokio::test]
async fn a_response_passes_byte_for_byte_and_its_body_is_recorded_decoded() {
    let gateway = Gateway::answering(ODD).await;
    let rig = Rig::before(&gateway).await;
    let mut client = rig.send(rig.request("POST", "{}")).await;
    assert_eq!(read_exactly(&mut client, ODD.len()).await, ODD);
    drop(client);
    let exchange = rig.finish_one().await;
    assert_eq!(exchange.end, End::Complete);
    assert_eq!(body(&exchange), b"hello!0123456789");
    let response = exchange.response.unwrap();
    let names: Vec<_> = response.headers.iter().map(|h| h.name.as_str()).collect();
    assert_eq!(names, ["cOnTeNt-TyPe", "X-a", "X-A", "tRANSFER-eNCODING"]);
    assert!(response.is_event_stream());
    assert_eq!(response.arrivals.iter().map(|a| a.len).sum::<u64>(), 16);
    assert!(exchange.request.head_us <= exchange.request.body_us && response.head_us <= exchange.ended_us);
}

#[tokio::test]
async fn a_request_keeps_order_and_case_and_gets_host_prefix_and_credentials() {
    let gateway = Gateway::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let rig = Rig::with(&format!("{}/base/", gateway.url), |_| {}).await;
    let (authority, token) = (rig.authority(), rig.tap.token().unwrap().to_owned());
    let request = format!(
        "POST /v1/messages?beta=true HTTP/1.1\r\nx-FIRST:a\r\nHost: {authority}\r\nX-API-Key: {token}\r\n\
         aUTHORIZATION: bearer {token}\r\nConnection: keep-alive\r\nContent-Length: 4\r\n\r\nbody"
    );
    let mut client = rig.send(&request).await;
    read_exactly(&mut client, 38).await;
    let upstream = gateway.url.strip_prefix("http://").unwrap();
    let expected = request
        .replace("POST /v1", "POST /base/v1")
        .replace(&authority, upstream)
        .replace(&format!("X-API-Key: {token}"), &format!("X-API-Key: {REAL}"))
        .replace(&format!("bearer {token}"), &format!("Bearer {REAL}"));
    assert_eq!(String::from_utf8(gateway.requests().remove(0)).unwrap(), expected);
    drop(client);
    let exchange = rig.finish_one().await;
    assert_eq!(exchange.request.target, "/v1/messages?beta=true");
    assert_eq!(header(&exchange.request.headers, "x-api-key"), Some(token.as_str()));
    assert_eq!(exchange.request.body.bytes, b"body");
}

#[tokio::test]
async fn without_a_target_credential_the_token_is_removed() {
    let gateway = Gateway::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let rig = Rig::with(&gateway.url, |config| {
        if let Access::Cell(credentials) = &mut config.access {
            credentials.upstream = None;
        }
    })
    .await;
    let mut client = rig.send(rig.request("POST", "{}")).await;
    read_exactly(&mut client, 38).await;
    let request = String::from_utf8(gateway.requests().remove(0)).unwrap();
    assert!(!request.to_lowercase().contains("authorization"), "{request}");
}

#[tokio::test]
async fn the_start_up_request_without_credential_is_forwarded_without_one() {
    let gateway = Gateway::answering("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n").await;
    let rig = Rig::before(&gateway).await;
    let request = format!("HEAD /api/hello HTTP/1.1\r\nHost: {}\r\n\r\n", rig.authority());
    let mut client = rig.send(request).await;
    read_exactly(&mut client, 39).await;
    assert!(!String::from_utf8(gateway.requests().remove(0)).unwrap().contains(REAL));
    drop(client);
    let exchange = rig.finish_one().await;
    assert_eq!((exchange.end, exchange.response.unwrap().status), (End::Complete, 200));
}

#[tokio::test]
async fn another_role_lets_anyone_in_and_leaves_credentials_alone() {
    let gateway = Gateway::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let rig = Rig::with(&gateway.url, |config| config.access = Access::Anyone).await;
    assert_eq!(rig.tap.token(), None);
    let mut client = rig.send(rig.request("POST", "{}")).await;
    read_exactly(&mut client, 38).await;
    let request = String::from_utf8(gateway.requests().remove(0)).unwrap();
    assert!(request.contains("Authorization: Bearer none\r\n"), "{request}");
}

#[tokio::test]
async fn each_piece_reaches_the_client_while_the_upstream_holds_the_rest() {
    let (go, mut gone) = tokio::sync::mpsc::channel::<()>(1);
    let gateway = Gateway::once(async move |gateway, mut stream| {
        gateway.read_request(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
        // The next piece is sent only when the client has the one before: held back, nothing would ever move.
        while gone.recv().await.is_some() {
            stream.write_all(b"9\r\ndata: x\n\n\r\n").await.unwrap();
        }
        stream.write_all(b"0\r\n\r\n").await.unwrap();
    })
    .await;
    let rig = Rig::before(&gateway).await;
    let mut activity = rig.tap.activity();
    let mut client = rig.send(rig.request("POST", "{}")).await;
    read_exactly(&mut client, 47).await;
    for _ in 0..10 {
        activity.mark_unchanged();
        go.send(()).await.unwrap();
        assert_eq!(read_exactly(&mut client, 14).await, b"9\r\ndata: x\n\n\r\n");
        soon(activity.changed()).await.unwrap();
    }
    drop(go);
    assert_eq!(read_exactly(&mut client, 5).await, b"0\r\n\r\n");
    drop(client);
    let exchange = rig.finish_one().await;
    assert_eq!(exchange.end, End::Complete);
    let arrivals = exchange.response.unwrap().arrivals;
    assert_eq!(arrivals.len(), 10);
    assert!(arrivals.is_sorted_by_key(|a| a.at_us));
}

#[tokio::test]
async fn responses_without_a_body_end_with_their_head() {
    let cases = [
        ("POST", "HTTP/1.1 204 No Content\r\n\r\n", 204),
        ("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", 304),
        ("HEAD", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200),
        ("POST", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 Done\r\n\r\n", 204),
    ];
    for (method, answer, status) in cases {
        let gateway = Gateway::answering(answer).await;
        let rig = Rig::before(&gateway).await;
        let mut client = rig.connect().await;
        for _ in 0..2 {
            client.write_all(rig.request(method, "").as_bytes()).await.unwrap();
            assert_eq!(read_exactly(&mut client, answer.len()).await, answer.as_bytes());
        }
        assert_eq!(gateway.connections(), 1);
        drop(client);
        let exchanges = rig.finish().await;
        assert_eq!(exchanges.len(), 2);
        for exchange in exchanges {
            assert_eq!((exchange.end, exchange.response.unwrap().status), (End::Complete, status));
        }
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_turn_over_one_connection() {
    let gateway = Gateway::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let rig = Rig::before(&gateway).await;
    let mut client = rig.send(rig.request("POST", "first") + &rig.request("POST", "second")).await;
    read_exactly(&mut client, 80).await;
    assert_eq!(gateway.connections(), 1);
    drop(client);
    let exchanges = rig.finish().await;
    let bodies: Vec<_> = exchanges.iter().map(|e| (e.id, e.request.body.text())).collect();
    assert_eq!(bodies, [(0, "first".into()), (1, "second".into())]);
}

#[tokio::test]
async fn a_chunked_request_is_forwarded_as_it_came() {
    let gateway = Gateway::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let rig = Rig::before(&gateway).await;
    let head = rig.request("POST", "").replace("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n");
    let mut client = rig.send(head).await;
    for piece in ["3\r", "\nab", "c\r\n01\r\nd\r\n", "0\r\n", "\r\n"] {
        client.write_all(piece.as_bytes()).await.unwrap();
        client.flush().await.unwrap();
    }
    read_exactly(&mut client, 38).await;
    assert!(gateway.requests()[0].ends_with(b"\r\n\r\n3\r\nabc\r\n01\r\nd\r\n0\r\n\r\n"));
    drop(client);
    assert_eq!(rig.finish_one().await.request.body.bytes, b"abcd");
}

#[tokio::test]
async fn a_response_that_ends_with_its_connection_is_complete_and_ends_so_for_the_client() {
    for head in ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.0 200 OK\r\nServer: old\r\n\r\n"] {
        let gateway = Gateway::once(async move |gateway, mut stream| {
            gateway.read_request(&mut stream).await;
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(b"to the end").await.unwrap();
        })
        .await;
        let rig = Rig::before(&gateway).await;
        let mut client = rig.send(rig.request("POST", "{}")).await;
        let (bytes, end) = read_all(&mut client).await;
        end.unwrap();
        assert_eq!(bytes, format!("{head}to the end").as_bytes());
        let exchange = rig.finish_one().await;
        assert_eq!(exchange.end, End::Complete);
        assert_eq!(body(&exchange), b"to the end");
    }
}

#[tokio::test]
async fn compressed_bodies_and_redirects_pass_untouched() {
    let gzip = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x4b\x04\x00\x43\xbe\xb7\xe8\x01\x00\x00\x00";
    let mut answer = format!(
        "HTTP/1.1 307 Elsewhere\r\nLocation: http://127.0.0.1:1/\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
        gzip.len()
    )
    .into_bytes();
    answer.extend_from_slice(gzip);
    let gateway = Gateway::answering(answer.clone()).await;
    let rig = Rig::before(&gateway).await;
    let mut client = rig.send(rig.request("POST", "{}")).await;
    assert_eq!(read_exactly(&mut client, answer.len()).await, answer);
    drop(client);
    assert_eq!(body(&rig.finish_one().await), gzip);
}

#[tokio::test]
async fn a_large_request_passes_while_only_its_start_is_kept() {
    let gateway = Gateway::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let rig = Rig::with(&gateway.url, |config| config.limits = Limits { request_body: 100, ..Limits::default() }).await;
    let body = "x".repeat(3 << 20);
    let mut client = rig.send(rig.request("POST", &body)).await;
    read_exactly(&mut client, 38).await;
    assert!(gateway.requests()[0].ends_with(body.as_bytes()));
    drop(client);
    let kept = rig.finish_one().await.request.body;
    assert_eq!((kept.bytes.len(), kept.dropped), (100, (3 << 20) - 100));
}

#[tokio::test]
async fn a_huge_response_to_a_slow_client_is_neither_gathered_nor_cut() {
    const TOTAL: usize = 64 << 20;
    const CAP: usize = 1 << 20;
    let written = Arc::new(AtomicUsize::new(0));
    let counter = written.clone();
    let gateway = Gateway::once(async move |gateway, mut stream| {
        gateway.read_request(&mut stream).await;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {TOTAL}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let piece = vec![b'z'; 64 << 10];
        for _ in 0..TOTAL / piece.len() {
            stream.write_all(&piece).await.unwrap();
            counter.fetch_add(piece.len(), Ordering::SeqCst);
        }
    })
    .await;
    let rig =
        Rig::with(&gateway.url, |config| config.limits = Limits { response_body: CAP, ..Limits::default() }).await;
    let mut client = rig.send(rig.request("POST", "{}")).await;
    // While the client does not read, the upstream has to stop: only the sockets' buffers lie between them.
    let mut before = usize::MAX;
    while before != written.load(Ordering::SeqCst) {
        before = written.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(before < TOTAL / 2, "{before} bytes were gathered");
    let mut received = 0;
    let mut buffer = vec![0; 1 << 20];
    while received < TOTAL {
        received += soon(client.read(&mut buffer)).await.unwrap();
    }
    drop(client);
    let exchange = rig.finish_one().await;
    assert_eq!(exchange.end, End::Complete);
    let kept = exchange.response.unwrap().body;
    assert_eq!((kept.bytes.len(), kept.dropped), (CAP, (TOTAL - CAP) as u64));
    assert!(kept.bytes.capacity() <= 2 * CAP);
}

#[tokio::test]
async fn the_first_request_is_announced_and_the_activity_counts_bytes() {
    let gateway = Gateway::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let rig = Rig::before(&gateway).await;
    let first = rig.tap.first_request();
    let mut first = std::pin::pin!(first);
    let early = tokio::time::timeout(Duration::from_millis(50), first.as_mut()).await;
    assert!(early.is_err(), "no request yet");
    let request = rig.request("POST", "{}");
    let mut client = rig.send(&request).await;
    soon(first).await;
    read_exactly(&mut client, 38).await;
    soon(rig.tap.first_request()).await;
    let mut activity = rig.tap.activity();
    soon(activity.wait_for(|&bytes| bytes > 38)).await.unwrap();
}

#[tokio::test]
async fn an_https_upstream_is_reached_when_its_ca_is_trusted_and_not_otherwise() {
    let (acceptor, ca_pem) = tls();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let seen = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(mut tls) = acceptor.accept(stream).await else { continue };
            assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n{}") {
                request.push(tls.read_u8().await.unwrap());
            }
            // Close-delimited and in good order: with the announcement that TLS asks for.
            tls.write_all(b"HTTP/1.1 200 OK\r\n\r\nsecret").await.unwrap();
            tls.shutdown().await.unwrap();
            return String::from_utf8(request).unwrap();
        }
    });

    let distrustful = Rig::with(&url, |_| {}).await;
    let mut client = distrustful.send(distrustful.request("POST", "{}")).await;
    assert!(read_all(&mut client).await.0.is_empty());
    let exchange = distrustful.finish_one().await;
    let End::NeverAnswered { error } = &exchange.end else { panic!("{:?}", exchange.end) };
    assert!(error.contains("certificate"), "{error}");

    let rig = Rig::with(&url, |config| config.upstream = Upstream::parse(&url, Some(ca_pem.as_bytes())).unwrap()).await;
    let mut client = rig.send(rig.request("POST", "{}")).await;
    let (bytes, end) = read_all(&mut client).await;
    end.unwrap();
    assert_eq!(bytes, b"HTTP/1.1 200 OK\r\n\r\nsecret");
    let request = soon(seen).await.unwrap();
    assert!(request.contains(REAL) && request.contains("Host: localhost:"), "{request}");
    assert_eq!(rig.finish_one().await.end, End::Complete);
}

#[tokio::test]
async fn two_cells_side_by_side_do_not_mix() {
    let gateway = Gateway::answering("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let started = Instant::now();
    let rigs = [
        Rig::with(&gateway.url, |c| c.started = started).await,
        Rig::with(&gateway.url, |c| c.started = started).await,
    ];
    for (i, rig) in rigs.iter().enumerate() {
        let mut client = rig.send(rig.request("POST", &format!("cell {i}"))).await;
        read_exactly(&mut client, 38).await;
    }
    for (i, rig) in rigs.into_iter().enumerate() {
        assert_eq!(rig.finish_one().await.request.body.text(), format!("cell {i}"));
    }
}
