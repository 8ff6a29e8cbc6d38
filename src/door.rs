//! A second way to a server of ours, which can be shut: whoever connects is refused then, as if nothing listened there.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use crate::serve::accept;

/// How many connections may wait to be taken.
const BACKLOG: u32 = 128;

/// A port that leads to another one while it is open. It closes when it is dropped.
#[derive(Debug)]
pub struct Door {
    address: SocketAddr,
    /// Where it leads: host and port.
    to: String,
    /// Keeps the port while it is shut: bound, but not listening.
    _held: TcpSocket,
    /// Takes connections while it is open.
    open: Mutex<Option<JoinHandle<()>>>,
}

impl Door {
    /// Opens a port on 127.0.0.1 that leads there; 0 takes a free one.
    ///
    /// # Errors
    /// The port cannot be had.
    pub async fn new(port: u16, to: &str) -> io::Result<Self> {
        let held = bound(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        let door = Self { address: held.local_addr()?, to: to.to_owned(), _held: held, open: Mutex::default() };
        door.open().await?;
        Ok(door)
    }

    /// Where it is, e.g. `http://127.0.0.1:40123`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Refuses connections from now on, and breaks those that there are.
    pub async fn shut(&self) {
        if let Some(open) = self.open.lock().await.take() {
            open.abort();
            // The port listens until the task is gone; that it was ended is what it says.
            let _ = open.await;
        }
    }

    /// Lets connections in again.
    ///
    /// # Errors
    /// The port is no longer to be had.
    pub async fn open(&self) -> io::Result<()> {
        let mut open = self.open.lock().await;
        if open.is_none() {
            let listener = bound(self.address)?.listen(BACKLOG)?;
            *open = Some(tokio::spawn(lead(listener, self.to.clone())));
        }
        Ok(())
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Some(open) = self.open.get_mut().take() {
            open.abort();
        }
    }
}

/// A socket at that address, which it can share with others as long as none of them listens.
fn bound(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

async fn lead(listener: TcpListener, to: String) {
    accept(listener, move |mut near| {
        let to = to.clone();
        async move {
            if let Ok(mut far) = TcpStream::connect(to).await {
                let _ = far.set_nodelay(true);
                // Either side may leave at any time.
                let _ = copy_bidirectional(&mut near, &mut far).await;
            }
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    async fn greeted(address: SocketAddr) -> io::Result<String> {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"hello").await?;
        stream.shutdown().await?;
        let mut said = String::new();
        stream.read_to_string(&mut said).await?;
        Ok(said)
    }

    #[tokio::test]
    async fn a_door_lets_in_refuses_and_lets_in_again_at_one_address() {
        let echo = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = echo.local_addr().unwrap().to_string();
        tokio::spawn(accept(echo, |mut stream| async move {
            let (mut reader, mut writer) = stream.split();
            tokio::io::copy(&mut reader, &mut writer).await.unwrap();
        }));
        let door = Door::new(0, &to).await.unwrap();
        for _ in 0..3 {
            assert_eq!(greeted(door.address).await.unwrap(), "hello");
            door.shut().await;
            assert_eq!(greeted(door.address).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
            door.open().await.unwrap();
        }
    }

    #[tokio::test]
    async fn connections_break_when_the_door_is_shut() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door = Door::new(0, &silent.local_addr().unwrap().to_string()).await.unwrap();
        let mut stream = TcpStream::connect(door.address).await.unwrap();
        let _far = silent.accept().await.unwrap();
        door.shut().await;
        let mut byte = [0];
        assert!(matches!(stream.read(&mut byte).await, Ok(0) | Err(_)));
    }
}
