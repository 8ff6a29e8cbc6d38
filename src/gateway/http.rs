//! Asking a gateway whether it is up: one `GET` over HTTP/1.1, of which only the status is kept.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use url::{Host, Url};

/// The longest head of an answer.
const LONGEST_HEAD: usize = 64 << 10;

/// Where a gateway listens.
#[derive(Debug, Clone)]
pub(super) struct Address {
    host: Host,
    port: u16,
    tls: bool,
    authority: String,
    prefix: String,
}

/// What came of asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// The status of a complete answer.
    Status(u16),
    /// A connection over which nothing was asked, because the gateway wants TLS. What it answers is seen by the cells.
    Connected,
}

impl Address {
    /// Reads a base URL, which was checked with its profile.
    pub(super) fn parse(base_url: &str) -> Option<Self> {
        let url = Url::parse(base_url).ok()?;
        let host = url.host()?.to_owned();
        let authority = url.port().map_or_else(|| host.to_string(), |port| format!("{host}:{port}"));
        let prefix = url.path().trim_end_matches('/').to_owned();
        Some(Self { host, port: url.port_or_known_default()?, tls: url.scheme() == "https", authority, prefix })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Asks for a path.
    ///
    /// # Errors
    /// There is no connection, or no complete HTTP answer; in words.
    pub(super) async fn ask(&self, path: &str) -> Result<Answer, String> {
        let stream = match &self.host {
            Host::Domain(name) => TcpStream::connect((name.as_str(), self.port)).await,
            Host::Ipv4(ip) => TcpStream::connect((*ip, self.port)).await,
            Host::Ipv6(ip) => TcpStream::connect((*ip, self.port)).await,
        };
        let stream = stream.map_err(|e| format!("no connection to {}: {e}", self.authority))?;
        if self.tls {
            return Ok(Answer::Connected);
        }
        self.exchange(stream, path).await.map_err(|e| format!("no answer: {e}"))
    }

    async fn exchange(&self, mut stream: TcpStream, path: &str) -> io::Result<Answer> {
        let request = format!(
            "GET {}{path} HTTP/1.1\r\nhost: {}\r\nuser-agent: ccsmoke\r\naccept: */*\r\nconnection: close\r\n\r\n",
            self.prefix, self.authority
        );
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        while head.len() < LONGEST_HEAD {
            if stream.read_buf(&mut head).await? == 0 {
                return Err(io::Error::other("the connection was closed before an answer was complete"));
            }
            let mut headers = [httparse::EMPTY_HEADER; 128];
            let mut response = httparse::Response::new(&mut headers);
            let parsed = response.parse(&head).map_err(|e| io::Error::other(format!("this is not HTTP/1.1 ({e})")))?;
            if let (true, Some(status)) = (parsed.is_complete(), response.code) {
                return Ok(Answer::Status(status));
            }
        }
        Err(io::Error::other("the head of the answer does not end"))
    }
}
