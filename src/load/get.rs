//! One question beside the load to a program that listens, with its answer whole.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::HOST;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;

use crate::tap::{DialError, Dialled, Upstream};

/// The largest answer that is read, in bytes.
const MAX_BYTES: usize = 64 << 20;

/// The body of what is at a path behind the base URL.
///
/// # Errors
/// In words: nobody answers in time, or not with a status of success.
pub(super) async fn get(
    upstream: &Upstream,
    path: &str,
    headers: &[(&str, String)],
    timeout: Duration,
) -> Result<Bytes, String> {
    question(upstream, Method::GET, path, headers, Bytes::new(), timeout).await
}

/// The body of what comes of a request.
///
/// # Errors
/// In words: nobody answers in time, or not with a status of success.
pub(super) async fn question(
    upstream: &Upstream,
    method: Method,
    path: &str,
    headers: &[(&str, String)],
    body: Bytes,
    timeout: Duration,
) -> Result<Bytes, String> {
    let uri = format!("{}{path}", upstream.prefix());
    let mut request = Request::builder().method(method).uri(uri).header(HOST, upstream.authority());
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let request = request.body(Full::new(body)).map_err(|e| e.to_string())?;
    let answer = async {
        match upstream.dial().await {
            Ok(Dialled::Plain(tcp)) => ask(TokioIo::new(tcp), request).await,
            Ok(Dialled::Tls(tls)) => ask(TokioIo::new(tls), request).await,
            Err(DialError::Connect(e) | DialError::Tls(e)) => Err(format!("no connection: {e}")),
        }
    };
    tokio::time::timeout(timeout, answer).await.unwrap_or_else(|_| Err(format!("no answer within {timeout:?}")))
}

async fn ask<T>(io: T, request: Request<Full<Bytes>>) -> Result<Bytes, String>
where
    T: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.map_err(|e| e.to_string())?;
    let answer = async move {
        let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_BYTES).collect().await.map_err(|e| e.to_string())?.to_bytes();
        if status.is_success() {
            Ok(body)
        } else {
            Err(format!("status {status}: {}", super::face::error_words(&body)))
        }
    };
    // The connection ends with the answer; why is told by the answer.
    let (answer, _) = tokio::join!(answer, connection);
    answer
}
