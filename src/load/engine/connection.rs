//! Connections: hyper's HTTP/1.1 client driven by the very task that waits for the answer, so that nothing is handed between tasks.
//! The time of an arrival is taken where the bytes are read.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as _, Frame, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};
use tokio_rustls::client::TlsStream;

use crate::load::face::stamp::now;
use crate::tap::{DialError, Dialled, Upstream};

/// When bytes last arrived, in nanoseconds of the host's monotonic clock, and how often they did.
#[derive(Debug, Default)]
pub(super) struct Arrival {
    at: Cell<u64>,
    reads: Cell<u32>,
}

impl Arrival {
    pub(super) fn at(&self) -> u64 {
        self.at.get()
    }

    pub(super) fn reads(&self) -> u32 {
        self.reads.get()
    }
}

/// A stream of bytes that notes when it was read.
struct Stamped {
    io: Io,
    arrival: Rc<Arrival>,
}

enum Io {
    Plain(TokioIo<TcpStream>),
    Tls(TokioIo<Box<TlsStream<TcpStream>>>),
}

impl Read for Stamped {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let read = match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_read(cx, buf),
            Io::Tls(io) => Pin::new(io).poll_read(cx, buf),
        };
        if read.is_ready() {
            self.arrival.at.set(now());
            self.arrival.reads.set(self.arrival.reads.get().wrapping_add(1));
        }
        read
    }
}

impl Write for Stamped {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_write(cx, buf),
            Io::Tls(io) => Pin::new(io).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_flush(cx),
            Io::Tls(io) => Pin::new(io).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_shutdown(cx),
            Io::Tls(io) => Pin::new(io).poll_shutdown(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Io::Plain(io) => io.is_write_vectored(),
            Io::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.io {
            Io::Plain(io) => Pin::new(io).poll_write_vectored(cx, bufs),
            Io::Tls(io) => Pin::new(io).poll_write_vectored(cx, bufs),
        }
    }
}

/// An open connection. It carries one request at a time.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: Pin<Box<http1::Connection<Stamped, Full<Bytes>>>>,
    closed: bool,
    deadline: Deadline,
    pub(super) arrival: Rc<Arrival>,
}

/// What may take only so long. The moment may move, also from one request to the next; the timer is armed again only when it has
/// to be.
struct Deadline {
    at: Instant,
    sleep: Pin<Box<Sleep>>,
}

impl Deadline {
    fn new(at: Instant) -> Self {
        Self { at, sleep: Box::pin(tokio::time::sleep_until(at)) }
    }

    fn move_to(&mut self, at: Instant) {
        self.at = at;
        // A timer that is early is armed again when it goes off: most never do.
        if at < self.sleep.deadline() {
            self.sleep.as_mut().reset(at);
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.sleep.as_mut().poll(cx).is_ready() {
            if self.at <= self.sleep.deadline() {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(self.at);
        }
        Poll::Pending
    }
}

impl Connection {
    /// Opens a connection.
    pub(super) async fn open(upstream: &Upstream) -> Result<Self, DialError> {
        let io = match upstream.dial().await? {
            Dialled::Plain(tcp) => Io::Plain(TokioIo::new(tcp)),
            Dialled::Tls(tls) => Io::Tls(TokioIo::new(tls)),
        };
        let arrival = Rc::new(Arrival::default());
        let stamped = Stamped { io, arrival: Rc::clone(&arrival) };
        let handshake = http1::Builder::new().writev(false).handshake(stamped).await;
        let (sender, driver) = handshake.map_err(|e| DialError::Connect(io::Error::other(e)))?;
        let deadline = Deadline::new(Instant::now());
        Ok(Self { sender, driver: Box::pin(driver), closed: false, deadline, arrival })
    }

    /// Until when whatever is waited for next has to come.
    pub(super) fn wait_until(&mut self, at: Instant) {
        self.deadline.move_to(at);
    }

    /// Does what the connection has to do; true once it is over.
    fn drive(&mut self, cx: &mut Context<'_>) -> bool {
        // Why it ended is told to whoever waits for the answer.
        self.closed = self.closed || self.driver.as_mut().poll(cx).is_ready();
        self.closed
    }

    /// Whether a request can be sent: nobody closed it while it was idle.
    pub(super) async fn is_fresh(&mut self) -> bool {
        poll_fn(|cx| Poll::Ready(!self.drive(cx))).await && self.sender.is_ready()
    }

    /// Sends a request; `None` when time ran out.
    pub(super) async fn send(&mut self, request: Request<Full<Bytes>>) -> Option<hyper::Result<Response<Incoming>>> {
        let mut answer = std::pin::pin!(self.sender.send_request(request));
        let (driver, closed, deadline) = (&mut self.driver, &mut self.closed, &mut self.deadline);
        poll_fn(|cx| {
            // The request lies with the driver, which writes it, and reads what has come.
            *closed = *closed || driver.as_mut().poll(cx).is_ready();
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(Some(answer));
            }
            deadline.poll(cx).map(|()| None)
        })
        .await
    }

    /// The next part of a body; `Err(())` when time ran out.
    pub(super) async fn frame(&mut self, body: &mut Incoming) -> Result<Option<hyper::Result<Frame<Bytes>>>, ()> {
        poll_fn(|cx| {
            if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) {
                return Poll::Ready(Ok(frame));
            }
            self.drive(cx);
            if let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) {
                return Poll::Ready(Ok(frame));
            }
            self.deadline.poll(cx).map(|()| Err(()))
        })
        .await
    }
}
