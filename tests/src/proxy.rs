//! An HTTP proxy of a few dozen lines: it opens tunnels by `CONNECT`, and writes down what it was asked.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A proxy on a free port of this machine, for one test.
pub struct TestProxy {
    /// Where it listens.
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
    ways: watch::Sender<Ways>,
}

/// Who is let through.
#[derive(Clone, Copy, Default)]
struct Ways {
    /// Rises with each cut of all tunnels.
    cuts: u64,
    /// How many bytes may still come to clients before the next cut, if there is to be one.
    left: Option<usize>,
    are_closed: bool,
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
        let ways = watch::Sender::new(Ways::default());
        let (heads, tunnels) = (Arc::clone(&asked), ways.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let mut state = tunnels.subscribe();
                let now = *state.borrow_and_update();
                if now.are_closed {
                    continue;
                }
                let served = serve(client, authorization, Arc::clone(&heads), tunnels.clone());
                tokio::spawn(async move {
                    tokio::select! {
                        _ = served => {}
                        _ = state.wait_for(|then| then.cuts > now.cuts) => {}
                    }
                });
            }
        });
        Self { address, asked, ways }
    }

    /// Cuts all tunnels when so many bytes more have come to clients, wherever in a frame that is.
    pub fn cut_after(&self, bytes: usize) {
        self.ways.send_modify(|ways| ways.left = Some(bytes));
    }

    /// Waits until tunnels were cut so often.
    ///
    /// # Panics
    /// Never: the proxy is there.
    pub async fn until_cut(&self, times: u64) {
        let mut ways = self.ways.subscribe();
        let cut = ways.wait_for(|ways| ways.cuts >= times).await;
        drop(cut.expect("who waits has the sender"));
    }

    /// Cuts all tunnels, and lets nobody in until [`up`](Self::up).
    pub fn down(&self) {
        self.ways.send_modify(|ways| {
            ways.cuts += 1;
            ways.are_closed = true;
        });
    }

    /// Lets everybody in.
    pub fn up(&self) {
        self.ways.send_modify(|ways| ways.are_closed = false);
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
    ways: watch::Sender<Ways>,
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
    let (mut from_client, to_client) = client.split();
    let (from_hub, mut to_hub) = hub.split();
    let up = async {
        copy(&mut from_client, &mut to_hub).await?;
        to_hub.shutdown().await
    };
    tokio::try_join!(up, carry(from_hub, to_client, ways))
        .ok()
        .map(drop)
}

/// Brings to the client what the hub says, as far as it is let through.
async fn carry(
    mut hub: ReadHalf<'_>,
    mut client: WriteHalf<'_>,
    ways: watch::Sender<Ways>,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = hub.read(&mut buffer).await?;
        if read == 0 {
            return client.shutdown().await;
        }
        let mut allowed = read;
        ways.send_if_modified(|ways| {
            if let Some(left) = &mut ways.left {
                allowed = read.min(*left);
                *left -= allowed;
            }
            false
        });
        client.write_all(&buffer[..allowed]).await?;
        if allowed < read {
            ways.send_modify(|ways| {
                ways.left = None;
                ways.cuts += 1;
            });
        }
    }
}
