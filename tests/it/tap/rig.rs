//! A raw client and a raw upstream with a tap between them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ccsmoke::exchange::{End, Exchange};
use ccsmoke::secret::Secret;
use ccsmoke::tap::{Access, Credentials, Tap, TapConfig, Upstream, cell_token};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What the target wants; it must never be seen but by the upstream.
pub(super) const REAL: &str = "sk-real-credential";

/// Fails instead of hanging.
pub(super) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("it should not hang")
}

/// An upstream that gives each connection to a function and keeps what it read with [`read_request`].
#[derive(Clone)]
pub(super) struct Gateway {
    pub(super) url: String,
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
    connections: Arc<AtomicUsize>,
}

impl Gateway {
    /// Serves one connection and no other.
    pub(super) async fn once<F>(serve: impl FnOnce(Gateway, TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (it, listener) = Self::bind().await;
        let gateway = it.clone();
        tokio::spawn(async move { serve(it.clone(), it.accept(&listener).await).await });
        gateway
    }

    /// Reads one request, answers nothing, and stays until the other side says more or goes.
    pub(super) async fn silent() -> Self {
        Self::once(async |gateway, mut stream| {
            gateway.read_request(&mut stream).await;
            let _ = stream.read_u8().await;
        })
        .await
    }

    async fn bind() -> (Self, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        (Self { url, requests: Arc::default(), connections: Arc::default() }, listener)
    }

    async fn accept(&self, listener: &TcpListener) -> TcpStream {
        let (stream, _) = listener.accept().await.unwrap();
        self.connections.fetch_add(1, Ordering::SeqCst);
        stream
    }

    /// Answers each request with these bytes, then keeps the connection.
    pub(super) async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        let (it, listener) = Self::bind().await;
        let gateway = it.clone();
        tokio::spawn(async move {
            loop {
                let mut stream = it.accept(&listener).await;
                let (it, answer) = (it.clone(), answer.clone());
                tokio::spawn(async move {
                    while it.read_request(&mut stream).await.is_some() {
                        stream.write_all(&answer).await.unwrap();
                    }
                });
            }
        });
        gateway
    }

    /// Reads one request whose body, if any, has a length; `None` at the end of the connection.
    pub(super) async fn read_request(&self, stream: &mut TcpStream) -> Option<Vec<u8>> {
        let request = read_message(stream).await?;
        self.requests.lock().unwrap().push(request.clone());
        Some(request)
    }

    pub(super) fn requests(&self) -> Vec<Vec<u8>> {
        self.requests.lock().unwrap().clone()
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Reads one message with a `Content-Length`, or none, or a chunked one up to its last chunk.
pub(super) async fn read_message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
    if head.contains("transfer-encoding: chunked") {
        while !bytes.ends_with(b"0\r\n\r\n") {
            bytes.push(stream.read_u8().await.ok()?);
        }
    } else if let Some((_, length)) = head.split_once("content-length:") {
        let mut body = vec![0; length.lines().next().unwrap().trim().parse().unwrap()];
        stream.read_exact(&mut body).await.ok()?;
        bytes.extend(body);
    }
    Some(bytes)
}

/// A tap with the usual token and credential.
pub(super) struct Rig {
    pub(super) tap: Tap,
}

impl Rig {
    pub(super) async fn before(gateway: &Gateway) -> Self {
        Self::with(&gateway.url, |_| {}).await
    }

    pub(super) async fn with(url: &str, change: impl FnOnce(&mut TapConfig)) -> Self {
        let upstream = Upstream::parse(url, None).unwrap();
        let credentials = Credentials { cell_token: cell_token().unwrap(), upstream: Some(Secret::new(REAL)) };
        let mut config = TapConfig::new(upstream, Access::Cell(credentials), Instant::now());
        change(&mut config);
        Self { tap: Tap::start(config).await.unwrap() }
    }

    pub(super) fn authority(&self) -> String {
        self.tap.base_url().strip_prefix("http://").unwrap().to_owned()
    }

    pub(super) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.authority()).await.unwrap()
    }

    /// A request in good order.
    pub(super) fn request(&self, method: &str, body: &str) -> String {
        let (authority, token) = (self.authority(), self.tap.token().unwrap_or("none"));
        let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
        format!(
            "{method} /v1/messages?beta=true HTTP/1.1\r\nHost: {authority}\r\nAuthorization: Bearer {token}\r\n{length}\r\n{body}"
        )
    }

    /// Sends a request on a connection of its own.
    pub(super) async fn send(&self, request: impl AsRef<[u8]>) -> TcpStream {
        let mut client = self.connect().await;
        soon(client.write_all(request.as_ref())).await.unwrap();
        client
    }

    /// The record, of which nothing may show the real credential.
    pub(super) async fn finish(self) -> Vec<Exchange> {
        let (exchanges, _) = soon(self.tap.finish()).await;
        assert!(!serde_json::to_string(&exchanges).unwrap().contains(REAL));
        exchanges
    }

    /// The only exchange.
    pub(super) async fn finish_one(self) -> Exchange {
        let mut exchanges = self.finish().await;
        assert_eq!(exchanges.len(), 1, "{exchanges:#?}");
        exchanges.remove(0)
    }
}

/// All that the client gets, and how it ends for it.
pub(super) async fn read_all(client: &mut TcpStream) -> (Vec<u8>, std::io::Result<()>) {
    let mut bytes = Vec::new();
    let end = soon(client.read_to_end(&mut bytes)).await;
    (bytes, end.map(|_| ()))
}

/// Exactly as many bytes.
pub(super) async fn read_exactly(client: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    soon(client.read_exact(&mut bytes)).await.unwrap();
    bytes
}

/// Closes with a reset.
pub(super) fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
    drop(stream);
}

pub(super) fn body(exchange: &Exchange) -> &[u8] {
    &exchange.response.as_ref().expect("a response").body.bytes
}

pub(super) fn is_broken(end: &End) -> bool {
    matches!(end, End::UpstreamBroke { .. })
}

pub(super) fn is_unanswered(end: &End) -> bool {
    matches!(end, End::NeverAnswered { .. })
}

pub(super) fn is_refused(end: &End) -> bool {
    matches!(end, End::Refused { .. })
}
