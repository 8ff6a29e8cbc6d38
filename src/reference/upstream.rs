//! The side towards the provider: one connection for each request, which ends with it.

use std::io;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

use super::flow::Connection;
use crate::tap::Upstream;

/// The body of a request: as it comes from the client, or whole.
pub(super) type Outbound = Either<Incoming, Full<Bytes>>;

/// Sends a request, whose target is the client's, and waits for the head of its answer. The names of its headers keep their
/// case, or are put into title case.
///
/// # Errors
/// The provider cannot be reached, or gave no answer.
pub(super) async fn send(
    upstream: &Upstream,
    mut request: Request<Outbound>,
    title_case: bool,
) -> io::Result<(Response<Incoming>, Connection)> {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    let target = format!("{}{target}", upstream.prefix());
    *request.uri_mut() = target.parse().map_err(io::Error::other)?;
    let authority = HeaderValue::from_str(upstream.authority()).map_err(io::Error::other)?;
    request.headers_mut().insert(HOST, authority);
    let link = upstream.connect().await?;
    let io = TokioIo::new(tokio::io::join(link.reader, link.writer));
    let handshake =
        http1::Builder::new().preserve_header_case(!title_case).title_case_headers(title_case).handshake(io).await;
    let (mut sender, connection) = handshake.map_err(io::Error::other)?;
    let connection = Connection(tokio::spawn(connection).abort_handle());
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    Ok((response, connection))
}
