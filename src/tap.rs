//! The tap: a recording reverse proxy between two sides that must not notice it.
//!
//! It is a transparent relay of HTTP/1.1 and not an HTTP library in the middle, because a recorder must neither heal nor
//! hide what a gateway does. Requests are parsed strictly and forwarded with only `Host`, the target's path prefix and the
//! credentials changed; responses pass byte for byte while a decoder beside them fills the record. Nothing is pooled,
//! redirected, retried or decompressed: each client connection has an upstream connection of its own.

mod access;
mod framing;
mod record;
mod relay;
mod request;
mod response;
mod upstream;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use access::{Access, Credentials, cell_token};
pub use record::Limits;
pub(crate) use upstream::{DialError, Dialled, untrusted};
pub use upstream::{Upstream, UpstreamError};

use crate::evidence::TapFacts;
use crate::exchange::{Exchange, Request};
use record::Recorder;
use relay::Shared;

/// The most requests that a cell may send when nothing else is said.
pub const MAX_REQUESTS: u32 = 25;

/// The most connections at a time; further ones wait.
const MAX_CONNECTIONS: usize = 64;

/// How long connections may take, when the tap is finished, to notice what had already happened to them.
const FINISH: Duration = Duration::from_millis(100);

/// What a tap is to do.
#[derive(Debug, Clone)]
pub struct TapConfig {
    /// Where to forward to.
    pub upstream: Upstream,
    /// The tap's role: who may use it.
    pub access: Access,
    /// The most requests that are forwarded; one more makes the cell a runaway.
    pub max_requests: u32,
    /// How much is kept of what crosses the wire.
    pub limits: Limits,
    /// When the recording began: all times in the record count from here.
    pub started: Instant,
    /// The port to listen on; 0 takes a free one.
    pub port: u16,
}

impl TapConfig {
    /// A tap with the usual limits.
    pub fn new(upstream: Upstream, access: Access, started: Instant) -> Self {
        Self { upstream, access, max_requests: MAX_REQUESTS, limits: Limits::default(), started, port: 0 }
    }
}

/// A running tap. Dropping it ends its connections at once.
#[derive(Debug)]
pub struct Tap {
    shared: Arc<Shared>,
    stop: CancellationToken,
    /// Holds the accepting task, which holds those of the connections: all end when this is dropped.
    accepting: JoinSet<()>,
}

impl Tap {
    /// Starts a tap on 127.0.0.1.
    ///
    /// # Errors
    /// The port cannot be had, or a credential holds characters that cannot stand in a header.
    pub async fn start(config: TapConfig) -> io::Result<Self> {
        config.access.check()?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, config.port));
        let listener =
            TcpListener::bind(address).await.map_err(|e| io::Error::new(e.kind(), format!("{address}: {e}")))?;
        let shared = Arc::new(Shared {
            upstream: config.upstream,
            access: config.access,
            recorder: Arc::new(Recorder::new(config.started, config.limits)),
            authority: listener.local_addr()?.to_string(),
            max_requests: config.max_requests,
            requests: AtomicU32::new(0),
            activity: watch::Sender::new(0),
            first_request: CancellationToken::new(),
            runaway: CancellationToken::new(),
        });
        let stop = CancellationToken::new();
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, Arc::clone(&shared), stop.clone()));
        Ok(Self { shared, stop, accepting })
    }

    /// The base URL for the side nearer to the client, e.g. `http://127.0.0.1:40123`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.shared.authority)
    }

    /// Where it listens, e.g. `127.0.0.1:40123`.
    pub fn authority(&self) -> &str {
        &self.shared.authority
    }

    /// The token that the client has to show, if this tap asks for one.
    pub fn token(&self) -> Option<&str> {
        match &self.shared.access {
            Access::Cell(credentials) => Some(&credentials.cell_token),
            Access::Anyone => None,
        }
    }

    /// How many bytes were relayed so far, both ways together; changes with each piece that is relayed.
    pub fn activity(&self) -> watch::Receiver<u64> {
        self.shared.activity.subscribe()
    }

    /// Resolves when the first request is forwarded, at once when one was.
    pub fn first_request(&self) -> impl Future<Output = ()> + Send + use<> {
        self.shared.first_request.clone().cancelled_owned()
    }

    /// Resolves when the cell sent more requests than it may; the tap refuses them, and somebody should end the cell.
    pub fn runaway(&self) -> impl Future<Output = ()> + Send + use<> {
        self.shared.runaway.clone().cancelled_owned()
    }

    /// Takes out of the record the exchanges whose request is wanted, in order of arrival, while the tap goes on. Their ids
    /// count within the record as it was; their times count from [`TapConfig::started`].
    pub fn claim(&self, wanted: impl Fn(&Request) -> bool) -> Vec<Exchange> {
        self.shared.recorder.claim(wanted)
    }

    /// Stops accepting, ends what is still open, and gives the exchanges in order of arrival.
    ///
    /// Call it when the client has ended: connections get a moment to notice that, and an exchange that is still open after
    /// it is recorded as never answered when no response head had come, and else as one whose client left.
    pub async fn finish(mut self) -> (Vec<Exchange>, TapFacts) {
        self.stop.cancel();
        while self.accepting.join_next().await.is_some() {}
        let facts = TapFacts { max_requests: self.shared.max_requests, runaway: self.shared.runaway.is_cancelled() };
        (self.shared.recorder.take(), facts)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((client, _)) => {
                    connections.spawn(relay::serve(client, Arc::clone(&shared)));
                }
                // Out of file descriptors, for example. No event tells when that is over.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
        }
    }
    for client in waiting(listener) {
        connections.spawn(relay::serve(client, Arc::clone(&shared)));
    }
    let _ = tokio::time::timeout(FINISH, async { while connections.join_next().await.is_some() {} }).await;
    connections.shutdown().await;
}

/// The connections that were made before the listener closes and not accepted yet: they may hold a client's last request.
fn waiting(listener: TcpListener) -> Vec<TcpStream> {
    let Ok(listener) = listener.into_std() else { return Vec::new() };
    let accepted = std::iter::from_fn(|| listener.accept().ok()).take(MAX_CONNECTIONS);
    accepted
        .filter_map(|(client, _)| {
            client.set_nonblocking(true).ok()?;
            TcpStream::from_std(client).ok()
        })
        .collect()
}
