//! One request to a gateway, and the record of what came back.
//!
//! Each request goes through a tap of its own: the tap speaks TLS, keeps bytes, header case and arrival times, and shows the
//! target's credential in the place of a token, so that no credential is in any record.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::exchange::{End, Exchange};
use crate::secret::Secret;
use crate::tap::{Access, Credentials, Limits, Tap, TapConfig, Upstream, cell_token};

/// The most of a response that is read, in bytes; what goes on after it does not end by itself.
const MOST_READ: usize = 8 << 20;

/// How a request shows who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    /// The target's credential as `Authorization: Bearer`.
    Bearer,
    /// The target's credential as `x-api-key`.
    ApiKey,
    /// A credential that nobody gave out, as both.
    Wrong,
    /// Nothing.
    Nothing,
}

/// When to go away before the answer is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    /// Never.
    Never,
    /// After the first bytes of the body.
    AtFirstByte,
    /// After so long, however much has come.
    After(Duration),
}

/// A request.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    pub(super) method: &'static str,
    /// Path and query.
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
    pub(super) shown: Shown,
    pub(super) leave: Leave,
    /// When to give up.
    pub(super) deadline: Duration,
}

/// Why reading stopped before the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stopped {
    /// The deadline was over.
    Deadline(Duration),
    /// There was no end in sight.
    TooMuch,
    /// As it was wanted.
    Left,
}

/// What came of a request.
#[derive(Debug, Clone)]
pub(super) struct Came {
    pub(super) exchange: Exchange,
    pub(super) stopped: Option<Stopped>,
}

/// A credential that nobody gave out.
pub(super) const WRONG_KEY: &str = "ccsmoke-wrong-key";

/// Sends a request and reads what comes back. All times count from `began`.
///
/// # Errors
/// No tap could be started, in words: that is nobody's fault but this machine's.
pub(super) async fn call(
    upstream: &Upstream,
    credential: Option<&Secret>,
    ask: &Ask,
    began: Instant,
) -> Result<Came, String> {
    let ours = |e: &dyn std::fmt::Display| format!("ccsmoke could not send its request: {e}");
    let token = cell_token().map_err(|e| ours(&e))?;
    let access = match ask.shown {
        Shown::Bearer | Shown::ApiKey => {
            Access::Cell(Credentials { cell_token: token.clone(), upstream: credential.cloned() })
        }
        Shown::Wrong | Shown::Nothing => Access::Anyone,
    };
    let config = TapConfig {
        limits: Limits { request_body: 64 << 20, response_body: 2 * MOST_READ, total: 96 << 20 },
        ..TapConfig::new(upstream.clone(), access, began)
    };
    let tap = Tap::start(config).await.map_err(|e| ours(&e))?;
    let stopped = match tokio::time::timeout(ask.deadline, exchange(&tap, &token, ask)).await {
        Ok(stopped) => stopped,
        Err(_) => Some(Stopped::Deadline(ask.deadline)),
    };
    let mut exchanges = tap.finish().await.0;
    if exchanges.is_empty() {
        return Err(ours(&"it was not recorded"));
    }
    Ok(Came { exchange: exchanges.swap_remove(0), stopped })
}

/// Sends the request and reads the answer. What goes wrong is in the tap's record, so that it need not be told of here.
async fn exchange(tap: &Tap, token: &str, ask: &Ask) -> Option<Stopped> {
    let authority = tap.base_url().trim_start_matches("http://").to_owned();
    let stream = TcpStream::connect(&authority).await.ok()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    // The connection lives as long as this function: whoever leaves closes it.
    let reading = async {
        let response = sender.send_request(request(&authority, token, ask)?).await.ok()?;
        let mut body = response.into_body();
        let mut read = 0;
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.ok()?.into_data() else { continue };
            read += data.len();
            if ask.leave == Leave::AtFirstByte && read > 0 {
                return Some(Stopped::Left);
            }
            if read > MOST_READ {
                return Some(Stopped::TooMuch);
            }
        }
        None
    };
    let leaving = async {
        match ask.leave {
            Leave::After(time) => tokio::time::sleep(time).await,
            Leave::Never | Leave::AtFirstByte => std::future::pending().await,
        }
    };
    tokio::pin!(reading);
    let mut connection = std::pin::pin!(connection);
    let mut closed = false;
    tokio::select! {
        stopped = async {
            loop {
                tokio::select! {
                    biased;
                    stopped = &mut reading => return stopped,
                    // When it has closed, what was read before can still be taken.
                    _ = &mut connection, if !closed => closed = true,
                }
            }
        } => stopped,
        () = leaving => Some(Stopped::Left),
    }
}

fn request(authority: &str, token: &str, ask: &Ask) -> Option<hyper::Request<Full<Bytes>>> {
    let mut request = hyper::Request::builder().method(ask.method).uri(ask.target.as_str()).header("host", authority);
    for (name, value) in &ask.headers {
        request = request.header(name, value);
    }
    request = match ask.shown {
        Shown::Bearer => request.header("authorization", format!("Bearer {token}")),
        Shown::ApiKey => request.header("x-api-key", token),
        Shown::Wrong => request.header("authorization", format!("Bearer {WRONG_KEY}")).header("x-api-key", WRONG_KEY),
        Shown::Nothing => request,
    };
    request.body(Full::new(ask.body.clone())).ok()
}

impl Came {
    /// The status of the response.
    pub(super) fn status(&self) -> Option<u16> {
        self.exchange.response.as_ref().map(|response| response.status)
    }

    /// Whether the answer came to its own end.
    pub(super) fn is_whole(&self) -> bool {
        self.stopped.is_none() && self.exchange.end == End::Complete
    }
}
