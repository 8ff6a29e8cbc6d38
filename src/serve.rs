//! An HTTP server of our own: connections are taken as they come, all of them end with it, and the pieces of an answer leave one by one.

use std::error::Error;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body, Incoming};
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Sleep;

/// How connections are spoken on: idle ones stay open, because closing one while the other side uses it again would look like that
/// side's fault.
pub(crate) fn http() -> http1::Builder {
    let mut http = http1::Builder::new();
    http.header_read_timeout(None);
    http
}

/// Serves until it is dropped; then every connection ends with it.
pub(crate) async fn serve<S, B>(listener: TcpListener, http: http1::Builder, service: S)
where
    S: Service<Request<Incoming>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<Box<dyn Error + Send + Sync>>,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    accept(listener, |stream| {
        let (http, service) = (http.clone(), service.clone());
        async move {
            // A broken connection is the other side's affair, or was asked for.
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        }
    })
    .await;
}

/// Takes connections until it is dropped; then all of them end with it.
pub(crate) async fn accept<F>(listener: TcpListener, connection: impl Fn(TcpStream) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                // Every piece leaves at once; without this small writes wait for each other. Failing only costs time.
                let _ = stream.set_nodelay(true);
                connections.spawn(connection(stream));
            } else {
                // Out of file descriptors, most likely: one is free again when a connection has ended.
                connections.join_next().await;
                tokio::task::yield_now().await;
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// What stands between one piece of a body and the next.
pub(crate) enum Wait {
    /// Nothing.
    Nothing,
    /// The connection has to write out what it has.
    Flush,
    /// Some time.
    Pause(Pin<Box<Sleep>>),
}

impl Wait {
    /// So much time, which begins now.
    pub(crate) fn pause(time: Duration) -> Self {
        Self::Pause(Box::pin(tokio::time::sleep(time)))
    }

    /// Whether the next piece may go; when it may, nothing stands there any more.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Nothing => {}
            Self::Pause(sleep) => ready!(sleep.as_mut().poll(cx)),
            // The connection gathers what is ready and writes it when nothing is: say so once after every piece.
            Self::Flush => {
                *self = Self::Nothing;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        *self = Self::Nothing;
        Poll::Ready(())
    }
}
