//! Asking a gateway whether it is up: one `GET` over HTTP/1.1, of which only the status is kept.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::tap::{Upstream, untrusted};

/// The longest head of an answer.
const LONGEST_HEAD: usize = 64 << 10;

/// Why no answer came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// Its certificate is not to be trusted, which no waiting will change; in words.
    Untrusted(String),
    /// There is no connection, or no complete HTTP answer; in words.
    Silent(String),
}

/// Asks for a path and gives the status of the answer.
pub(super) async fn ask(upstream: &Upstream, path: &str) -> Result<u16, Unanswered> {
    exchange(upstream, path).await.map_err(|e| match untrusted(&e) {
        Some(words) => Unanswered::Untrusted(words),
        None => Unanswered::Silent(e.to_string()),
    })
}

async fn exchange(upstream: &Upstream, path: &str) -> io::Result<u16> {
    let (authority, prefix) = (upstream.authority(), upstream.prefix());
    let mut link = upstream.connect().await.map_err(|e| match untrusted(&e) {
        Some(_) => e,
        None => io::Error::other(format!("no connection to {authority}: {e}")),
    })?;
    let answer = async {
        let request = format!(
            "GET {prefix}{path} HTTP/1.1\r\nhost: {authority}\r\nuser-agent: ccsmoke\r\naccept: */*\r\nconnection: close\r\n\r\n"
        );
        link.writer.write_all(request.as_bytes()).await?;
        link.writer.flush().await?;
        let mut head = Vec::new();
        while head.len() < LONGEST_HEAD {
            if link.reader.read_buf(&mut head).await? == 0 {
                return Err(io::Error::other("the connection was closed before an answer was complete"));
            }
            let mut headers = [httparse::EMPTY_HEADER; 128];
            let mut response = httparse::Response::new(&mut headers);
            let parsed = response.parse(&head).map_err(|e| io::Error::other(format!("this is not HTTP/1.1 ({e})")))?;
            if let (true, Some(status)) = (parsed.is_complete(), response.code) {
                return Ok(status);
            }
        }
        Err(io::Error::other("the head of the answer does not end"))
    };
    answer.await.map_err(|e| io::Error::other(format!("no answer: {e}")))
}
