//! The relay of one client connection over one upstream connection of its own.
//!
//! What the upstream sends goes to the client byte for byte as it comes, whether it can be read or not, and the way in which
//! its connection ends is mirrored: an orderly close as a close, a reset as a reset. So the client sees what it would see
//! without us, and nothing that a gateway broke is healed or completed here.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::access::{Access, Refusal, Status};
use super::framing::{BodyDecoder, Framing};
use super::record::{Record, Recorder};
use super::request::{RequestHead, head_end};
use super::response::{ResponseDecoder, Seen, excess};
use super::upstream::{Link, Upstream};
use crate::exchange::End;

/// How much is read at once, in bytes.
const READ: usize = 64 << 10;

/// How much a client may send ahead of what is being forwarded before it is no longer read, in bytes.
const MAX_AHEAD: usize = 256 << 10;

/// The largest chunked request body, in bytes. It is held whole before it is forwarded, so that one that turns out to be
/// malformed was never forwarded.
const MAX_CHUNKED: usize = 64 << 20;

/// How long a client may take to notice that its connection was closed.
const LINGER: Duration = Duration::from_secs(2);

/// What all connections of a tap share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) upstream: Upstream,
    pub(super) access: Access,
    pub(super) recorder: Arc<Recorder>,
    /// The tap's own `ip:port`.
    pub(super) authority: String,
    pub(super) max_requests: u32,
    /// How many requests were let in.
    pub(super) requests: AtomicU32,
    /// Bytes relayed, in both directions.
    pub(super) activity: watch::Sender<u64>,
    pub(super) first_request: CancellationToken,
    pub(super) runaway: CancellationToken,
}

impl Shared {
    /// Counts a request that was let in, as long as the cell may send more.
    fn count<T>(&self, admitted: T) -> Result<T, Refusal> {
        if self.requests.fetch_add(1, Ordering::Relaxed) < self.max_requests {
            return Ok(admitted);
        }
        self.runaway.cancel();
        let reason = format!("more than the {} requests that the cell may send", self.max_requests);
        Err(Refusal::new(Status::Forbidden, reason))
    }

    fn relayed(&self, bytes: usize) {
        self.activity.send_modify(|total| *total += bytes as u64);
    }
}

/// How a client connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// The client is gone.
    Gone,
    /// It is closed in good order.
    Close,
    /// It is reset, so that the client cannot take it for an orderly end.
    Reset,
}

/// Serves one client connection to its end.
pub(super) async fn serve(client: TcpStream, shared: Arc<Shared>) {
    // Small pieces must not wait for each other. A socket that refuses this is dead and shows it on the first read.
    let _ = client.set_nodelay(true);
    let (reader, writer) = client.into_split();
    let inbound = Inbound { reader, ahead: BytesMut::new() };
    let mut connection = Connection { inbound, writer, upstream: None, shared, last: None };
    let fate = loop {
        if let Err(fate) = connection.relay_one().await {
            break fate;
        }
    };
    connection.end(fate).await;
}

/// The client's sending side.
struct Inbound {
    reader: OwnedReadHalf,
    /// What was read and not used yet.
    ahead: BytesMut,
}

impl Inbound {
    /// Reads more; `Err` when the connection is over, however it ended.
    async fn read(&mut self) -> Result<(), Fate> {
        self.ahead.reserve(READ);
        match self.reader.read_buf(&mut self.ahead).await {
            Ok(0) | Err(_) => Err(Fate::Gone),
            Ok(_) => Ok(()),
        }
    }

    /// Waits until the client has left. A client that closes only its sending side counts as gone: the real one never does
    /// that, and the two cannot be told apart.
    async fn left(&mut self) {
        while self.ahead.len() < MAX_AHEAD {
            if self.read().await.is_err() {
                return;
            }
        }
        // It sends far ahead and is not read any more. That it has left will show when it is written to.
        std::future::pending::<()>().await;
    }
}

/// A client connection and the upstream connection that mirrors it.
struct Connection {
    inbound: Inbound,
    writer: OwnedWriteHalf,
    upstream: Option<Link>,
    shared: Arc<Shared>,
    /// The exchange before, for bytes that come after its end.
    last: Option<Record>,
}

impl Connection {
    /// Relays the next request and its response. `Ok` when the connection goes on after it.
    async fn relay_one(&mut self) -> Result<(), Fate> {
        let head = self.next_head().await?;
        let shared = Arc::clone(&self.shared);
        let record = shared.recorder.open(&head.method, &head.target, shared.access.recordable(&head.headers));
        let admitted = shared.access.admit(&head, &shared.authority).and_then(|swap| shared.count(swap));
        let swap = match admitted {
            Ok(swap) => swap,
            Err(refusal) => return Err(self.refuse(&record, &head.method, &refusal).await),
        };
        let mut body = BodyDecoder::new(head.framing);
        let mut start = head.forwarded(&shared.upstream, swap);
        if let Framing::Chunked(_) = head.framing {
            match self.chunked_body(&mut body, &record).await? {
                Ok(raw) => start.extend_from_slice(&raw),
                Err(refusal) => return Err(self.refuse(&record, &head.method, &refusal).await),
            }
        }
        let link = match self.upstream.take() {
            Some(link) => link,
            None => match self.connect(&record).await {
                Ok(link) => link,
                Err(fate) => {
                    // What had come of the body was not sent, but it is what the client said.
                    let mut unsent = Vec::new();
                    let _ = body.feed(&self.inbound.ahead, &mut unsent);
                    record.request_body(&unsent);
                    return Err(fate);
                }
            },
        };
        let link = self.upstream.insert(link);
        shared.first_request.cancel();
        self.last = Some(record.clone());
        let exchange = Relay { shared: &shared, record: &record, sent: CancellationToken::new() };
        let upload = exchange.upload(&mut self.inbound, &mut *link.writer, &start, body);
        let download = exchange.download(&mut *link.reader, &mut self.writer, ResponseDecoder::new(&head.method));
        tokio::select! {
            // What the upstream has already said comes before the news that the client has left.
            biased;
            done = download => done,
            () = upload => {
                record.end(End::ClientLeft);
                Err(Fate::Gone)
            }
        }
    }

    /// Waits for the head of the next request, with an eye on the upstream connection in the meantime.
    async fn next_head(&mut self) -> Result<RequestHead, Fate> {
        loop {
            let parsed = match head_end(&self.inbound.ahead) {
                Ok(Some(end)) => Some(RequestHead::parse(&self.inbound.ahead.split_to(end))),
                Ok(None) => None,
                Err(reason) => Some(Err(reason)),
            };
            match parsed {
                Some(Ok(head)) => return Ok(head),
                Some(Err(reason)) => {
                    // What cannot be read is not recorded as if it had been: the reason has to do.
                    let record = self.shared.recorder.open("", "", Vec::new());
                    return Err(self.refuse(&record, "", &Refusal::new(Status::Malformed, reason)).await);
                }
                None => {}
            }
            let Some(link) = &mut self.upstream else {
                self.inbound.read().await?;
                continue;
            };
            let mut unasked = vec![0; READ];
            tokio::select! {
                read = self.inbound.read() => read?,
                read = link.reader.read(&mut unasked) => return Err(match read {
                    Ok(0) => Fate::Close,
                    Ok(n) => {
                        if let Some(last) = &self.last {
                            last.response(self.shared.recorder.now_us(), Seen::Broken(excess(&unasked[..n])));
                        }
                        // The client gets them, too, and then the end: nobody could tell whose bytes would follow.
                        match self.writer.write_all(&unasked[..n]).await {
                            Ok(()) => Fate::Close,
                            Err(_) => Fate::Gone,
                        }
                    }
                    Err(_) => Fate::Reset,
                }),
            }
        }
    }

    /// Reads a chunked body to its end; the inner `Err` refuses it.
    async fn chunked_body(
        &mut self,
        decoder: &mut BodyDecoder,
        record: &Record,
    ) -> Result<Result<Vec<u8>, Refusal>, Fate> {
        let mut raw = Vec::new();
        loop {
            let mut body = Vec::new();
            let used = match decoder.feed(&self.inbound.ahead, &mut body) {
                Ok(used) => used,
                Err(reason) => return Ok(Err(Refusal::new(Status::Malformed, reason))),
            };
            record.request_body(&body);
            raw.extend_from_slice(&self.inbound.ahead.split_to(used));
            if decoder.is_done() {
                return Ok(Ok(raw));
            }
            if raw.len() > MAX_CHUNKED {
                let reason = format!("a chunked body larger than {MAX_CHUNKED} bytes");
                return Ok(Err(Refusal::new(Status::Malformed, reason)));
            }
            if let Err(fate) = self.inbound.read().await {
                record.end(End::ClientLeft);
                return Err(fate);
            }
        }
    }

    async fn connect(&mut self, record: &Record) -> Result<Link, Fate> {
        let connected = tokio::select! {
            connected = self.shared.upstream.connect() => connected,
            () = self.inbound.left() => {
                record.end(End::ClientLeft);
                return Err(Fate::Gone);
            }
        };
        connected.map_err(|e| {
            record.end(End::NeverAnswered {
                error: format!("cannot connect to {}: {e}", self.shared.upstream.authority()),
            });
            Fate::Reset
        })
    }

    async fn refuse(&mut self, record: &Record, method: &str, refusal: &Refusal) -> Fate {
        record.end(End::Refused { reason: refusal.reason.clone() });
        match self.writer.write_all(&refusal.answer(method)).await {
            Ok(()) => Fate::Close,
            Err(_) => Fate::Gone,
        }
    }

    async fn end(self, fate: Fate) {
        let Self { mut inbound, mut writer, upstream, .. } = self;
        drop(upstream);
        match fate {
            Fate::Gone => {}
            Fate::Close => {
                // A socket that is closed with unread bytes is reset, and what was written may be lost on the way.
                let drain = async {
                    writer.shutdown().await?;
                    let mut sink = vec![0; READ];
                    while inbound.reader.read(&mut sink).await? > 0 {}
                    io::Result::Ok(())
                };
                let _ = tokio::time::timeout(LINGER, drain).await;
            }
            Fate::Reset => {
                let _ = writer.as_ref().set_zero_linger();
                // Dropped, it would first send the orderly end that this is not.
                writer.forget();
            }
        }
    }
}

/// One request and its response on their way.
struct Relay<'a> {
    shared: &'a Shared,
    record: &'a Record,
    /// Cancelled when the whole request was sent.
    sent: CancellationToken,
}

impl Relay<'_> {
    /// Sends the request upstream as it comes, then watches the client. Returns when the client has left.
    async fn upload(
        &self,
        inbound: &mut Inbound,
        upstream: &mut (dyn AsyncWrite + Send + Unpin),
        start: &[u8],
        mut decoder: BodyDecoder,
    ) {
        let mut open = self.send(upstream, start).await;
        while !decoder.is_done() {
            if inbound.ahead.is_empty() && inbound.read().await.is_err() {
                return;
            }
            let mut body = Vec::new();
            // Only bodies of a known length come here, and their framing cannot be broken.
            let used = decoder.feed(&inbound.ahead, &mut body).unwrap_or(inbound.ahead.len());
            self.record.request_body(&body);
            // An upstream that does not want the rest may still answer; that is for the other direction to see.
            open = open && self.send(upstream, &inbound.ahead[..used]).await;
            inbound.ahead.advance(used);
        }
        self.sent.cancel();
        inbound.left().await;
    }

    async fn send(&self, upstream: &mut (dyn AsyncWrite + Send + Unpin), bytes: &[u8]) -> bool {
        let sent = async {
            upstream.write_all(bytes).await?;
            upstream.flush().await
        };
        let sent = sent.await.is_ok();
        self.shared.relayed(bytes.len());
        sent
    }

    /// Passes the response on as it comes. `Ok` when it is complete and the request was sent to its end.
    async fn download(
        &self,
        upstream: &mut (dyn AsyncRead + Send + Unpin),
        client: &mut OwnedWriteHalf,
        mut decoder: ResponseDecoder,
    ) -> Result<(), Fate> {
        let mut buffer = vec![0; READ];
        loop {
            let read = tokio::select! {
                biased;
                () = self.sent.cancelled(), if decoder.is_done() => return Ok(()),
                read = upstream.read(&mut buffer) => read,
            };
            let now = self.shared.recorder.now_us();
            let (bytes, seen, fate) = match read {
                Ok(0) => (&[][..], Vec::from_iter(decoder.closed()), Err(Fate::Close)),
                Ok(n) => (&buffer[..n], decoder.feed(&buffer[..n]), Ok(())),
                Err(e) => {
                    (&[][..], Vec::from_iter(decoder.cut(&format!("the connection broke ({e})"))), Err(Fate::Reset))
                }
            };
            for seen in seen {
                self.record.response(now, seen);
            }
            fate?;
            if client.write_all(bytes).await.is_err() {
                self.record.end(End::ClientLeft);
                return Err(Fate::Gone);
            }
            self.shared.relayed(bytes.len());
        }
    }
}
