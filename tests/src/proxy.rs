//! An HTTP proxy of a few dozen lines: it opens tunnels by `CONNECT`, and writes down what it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// A proxy on a free port of this machine, for one test.
pub struct TestProxy {
    /// Where it listens.
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl TestProxy {
    /// Starts one that asks for this value of `Proxy-Authorization`, if there is one. It connects to this machine
    /// whatever host it is asked for.
    ///
    /// # Panics
    /// When no port can be had.
    pub async fn start(authorization: Option<&'static str>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let heads = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, authorization, Arc::clone(&heads)));
            }
        });
        Self { address, asked }
    }

    /// The heads of the requests so far.
    ///
    /// # Panics
    /// When a request's task has panicked.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no task panics").clone()
    }
}

async fn serve(
    mut client: TcpStream,
    authorization: Option<&str>,
    heads: Arc<Mutex<Vec<String>>>,
) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    heads.lock().ok()?.push(head.clone());
    let allowed = authorization.is_none_or(|value| {
        let mut lines = head.lines();
        lines.any(|line| line.strip_prefix("Proxy-Authorization: ") == Some(value))
    });
    if !allowed {
        let answer = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n";
        return client.write_all(answer.as_bytes()).await.ok();
    }
    let port: u16 = head.split([' ', ':']).nth(2)?.parse().ok()?;
    let Ok(mut hub) = TcpStream::connect(("127.0.0.1", port)).await else {
        return client.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await.ok();
    };
    client
        .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
        .await
        .ok()?;
    copy_bidirectional(&mut client, &mut hub).await.ok().map(drop)
}
