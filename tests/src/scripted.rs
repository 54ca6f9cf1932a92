//! A hub of a few dozen lines that follows a script: it answers up to a point, then does what the test wants.
//!
//! It speaks by hand-written frames, so it is no relative of the engine that client and emulator share.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::frames::{self, AMQP_HEADER, SASL_HEADER};

/// The steps of a connection, in order. A script ends after one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Step {
    /// TCP is accepted, nothing is said.
    Accept,
    /// The SASL header was answered.
    SaslHeader,
    /// The mechanisms were offered, and the client's answer was read.
    SaslInit,
    /// The outcome was sent.
    SaslOutcome,
    /// The AMQP header was answered.
    AmqpHeader,
    /// The open was answered.
    Open,
    /// The begin was answered.
    Begin,
    /// The attach was answered; there is no credit yet.
    Attach,
    /// Credit was granted.
    Credit,
    /// A transfer was read.
    Transfer,
    /// It was accepted.
    Settled,
    /// The detach was answered.
    Detach,
    /// The end was answered.
    End,
    /// The close was answered.
    Close,
}

/// All steps, in order.
pub const STEPS: [Step; 14] = [
    Step::Accept,
    Step::SaslHeader,
    Step::SaslInit,
    Step::SaslOutcome,
    Step::AmqpHeader,
    Step::Open,
    Step::Begin,
    Step::Attach,
    Step::Credit,
    Step::Transfer,
    Step::Settled,
    Step::Detach,
    Step::End,
    Step::Close,
];

/// A listener on a free port of this machine.
///
/// # Errors
/// When no port can be had.
pub async fn listen() -> io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Takes one client over plain TCP and plays the hub up to and including `last`.
///
/// # Errors
/// When the client goes away before.
pub async fn accept_and_play(listener: &TcpListener, last: Step) -> io::Result<Peer<TcpStream>> {
    let (stream, _) = listener.accept().await?;
    let mut peer = Peer::new(stream);
    peer.play(last).await?;
    Ok(peer)
}

/// The scripted hub's side of one connection.
pub struct Peer<S> {
    stream: S,
    link_name: String,
    /// The payload-bearing part of the transfer that was read.
    transfer: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    /// Nothing was said yet.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            link_name: String::new(),
            transfer: Vec::new(),
        }
    }

    /// Plays every step up to and including `last`.
    ///
    /// # Errors
    /// When the client goes away before.
    pub async fn play(&mut self, last: Step) -> io::Result<()> {
        for step in STEPS.into_iter().take_while(|step| *step <= last) {
            self.step(step).await?;
        }
        Ok(())
    }

    /// Does one step.
    ///
    /// # Errors
    /// When the client goes away.
    pub async fn step(&mut self, step: Step) -> io::Result<()> {
        match step {
            Step::Accept => Ok(()),
            Step::SaslHeader => {
                self.read_header().await?;
                self.send(SASL_HEADER).await
            }
            Step::SaslInit => {
                self.send(&frames::sasl_mechanisms("PLAIN")).await?;
                self.read_frame().await.map(drop)
            }
            Step::SaslOutcome => self.send(&frames::sasl_outcome(0)).await,
            Step::AmqpHeader => {
                self.read_header().await?;
                self.send(AMQP_HEADER).await
            }
            Step::Open => self.answer(0x10, &frames::open()).await,
            Step::Begin => self.answer(0x11, &frames::begin()).await,
            Step::Attach => {
                let attach = self.read_performative(0x12).await?;
                self.link_name = first_string(&attach);
                let reply = frames::attach(&self.link_name);
                self.send(&reply).await
            }
            Step::Credit => self.send(&frames::flow(100)).await,
            Step::Transfer => {
                self.transfer = self.read_performative(0x14).await?;
                Ok(())
            }
            Step::Settled => self.send(&frames::accepted(0)).await,
            Step::Detach => self.answer(0x16, &frames::detach(None)).await,
            Step::End => self.answer(0x17, &frames::end()).await,
            Step::Close => self.answer(0x18, &frames::close(None)).await,
        }
    }

    /// The frame body of the last transfer.
    pub fn transfer(&self) -> &[u8] {
        &self.transfer
    }

    /// Sends these bytes as they are.
    ///
    /// # Errors
    /// When the client is gone.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Waits until the client has ended the connection, whatever it still says.
    pub async fn until_gone(&mut self) {
        let mut buffer = [0; 4096];
        while let Ok(1..) = self.stream.read(&mut buffer).await {}
    }

    /// Reads the body of the next frame that is not empty.
    ///
    /// # Errors
    /// When the client goes away.
    pub async fn read_frame(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let size = self.stream.read_u32().await? as usize;
            let mut rest = vec![0; size.checked_sub(4).ok_or(io::ErrorKind::InvalidData)?];
            self.stream.read_exact(&mut rest).await?;
            let body = rest.get(4..).unwrap_or_default();
            if !body.is_empty() {
                return Ok(body.to_vec());
            }
        }
    }

    async fn answer(&mut self, code: u8, reply: &[u8]) -> io::Result<()> {
        self.read_performative(code).await?;
        self.send(reply).await
    }

    /// Reads frames until one with this descriptor comes; a client may send flows in between.
    async fn read_performative(&mut self, code: u8) -> io::Result<Vec<u8>> {
        loop {
            let body = self.read_frame().await?;
            if body.get(..3) == Some(&[0x00, 0x53, code]) {
                return Ok(body);
            }
        }
    }

    async fn read_header(&mut self) -> io::Result<()> {
        self.stream.read_exact(&mut [0; 8]).await.map(drop)
    }
}

/// The string that is a performative's first field.
fn first_string(body: &[u8]) -> String {
    let fields = match body.get(3) {
        Some(0xc0) => &body[6..],
        _ => &body[12..],
    };
    let text = match fields[0] {
        0xa1 => &fields[2..2 + usize::from(fields[1])],
        _ => &fields[5..5 + u32::from_be_bytes([fields[1], fields[2], fields[3], fields[4]]) as usize],
    };
    String::from_utf8_lossy(text).into_owned()
}
