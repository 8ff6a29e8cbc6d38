//! A small gateway for tests: it passes requests on without the headers that it does not know, tries again what failed with 500,
//! counts, and tells the provider late that a client has hung up.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How it behaves.
#[derive(Debug, Default)]
pub(crate) struct Gateway {
    /// The provider's address.
    pub(crate) provider: String,
    /// How often it tries again.
    pub(crate) retries: u32,
    /// How long it takes to tell the provider that a client has hung up.
    pub(crate) slow_to_hang_up: Duration,
    /// How many requests it counts that there were not.
    pub(crate) miscounts: u64,
    /// Requests that it answered.
    pub(crate) requests: AtomicU64,
}

impl Gateway {
    /// Starts it, and gives its base URL. It serves until the tests are over.
    pub(crate) fn start(self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let gateway = Arc::new(self);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let gateway = Arc::clone(&gateway);
                // A broken connection is the client's affair.
                std::thread::spawn(move || drop(gateway.serve(&client)));
            }
        });
        url
    }

    fn serve(&self, client: &TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(client.try_clone()?);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if reader.read_until(b'\n', &mut head)? == 0 {
                return Ok(());
            }
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        if head.starts_with("get") {
            let body =
                format!("# counters\nrequests_total {}\n", self.requests.load(Ordering::SeqCst) + self.miscounts);
            return write!(
                &*client,
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        reader.read_exact(&mut body)?;
        self.requests.fetch_add(1, Ordering::SeqCst);
        let path = head.split(' ').nth(1).unwrap().to_owned();
        for attempt in 0..=self.retries {
            let mut provider = TcpStream::connect(self.provider.strip_prefix("http://").unwrap())?;
            let known = "content-type: application/json\r\nconnection: close\r\nhost: provider";
            write!(provider, "POST {path} HTTP/1.1\r\n{known}\r\ncontent-length: {}\r\n\r\n", body.len())?;
            provider.write_all(&body)?;
            let (left, mut far, wait) = (client.try_clone()?, provider.try_clone()?, self.slow_to_hang_up);
            std::thread::spawn(move || {
                // Nothing more comes of a client that waits for its answer.
                if matches!((&left).read(&mut [0]), Ok(0) | Err(_)) {
                    let (_keep, never) = std::sync::mpsc::channel::<()>();
                    let _ = never.recv_timeout(wait);
                    drop(far.flush());
                    drop(far.shutdown(Shutdown::Both));
                }
            });
            let mut first = [0; 64];
            let n = provider.read(&mut first)?;
            if first[..n].starts_with(b"HTTP/1.1 500") && attempt < self.retries {
                continue;
            }
            (&*client).write_all(&first[..n])?;
            std::io::copy(&mut provider, &mut &*client)?;
            return client.shutdown(Shutdown::Both);
        }
        Ok(())
    }
}
