//! One connection, from its first byte to its last.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use fe2o3_amqp::acceptor::{ConnectionAcceptor, ListenerConnectionHandle, SessionAcceptor};
use fe2o3_amqp_types::definitions;
use iothub_frame::{Blown, FrameLimits, Fuse, Guarded, Limits};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::outgoing::Outgoing;
use super::replies::Replies;
use super::session::Shared;
use super::socket::{Ender, Socket};
use super::stream::{Fault, Intake, Translated};
use super::translate::ENGINE_FRAME_SIZE;
use super::undelivered::Undelivered;
use super::{
    AMQP_HEADER, AMQP_HEADER_LEN, ANSWER_TIMEOUT, CHANNEL_MAX, ENGINE_TIMEOUT, FIRST_OUTGOING_ID, HANDLE_MAX,
    HANDSHAKE_TIMEOUT, IDLE_TIME_OUT_MS, INCOMING_WINDOW, LAST_WORDS, MAX_FRAME_SIZE, OUTGOING_WINDOW, link,
    sasl, session,
};
use crate::hub::{Claim, ClientCertificate, Cut};
use crate::impairment::Impairment;
use crate::owner::{Client, ConnectionOrder, HubHandle, HubStopped};
use crate::partitions::Partitions;

/// What all connections share.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) hub: HubHandle,
    pub(crate) container_id: String,
    pub(crate) partitions: Partitions,
    pub(crate) stopping: watch::Receiver<bool>,
}

/// How bytes come.
#[derive(Clone)]
pub(crate) enum Transport {
    /// As they are: on loopback only.
    Plain,
    Tls(Arc<ServerConfig>),
}

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
enum Ending {
    #[error("the client took too long to open")]
    Slow,
    #[error("TLS failed: {0}")]
    Tls(io::Error),
    #[error("the client speaks no AMQP 1.0")]
    NotAmqp,
    #[error("the credentials were refused")]
    Refused,
    #[error("the connection broke before it was open: {0}")]
    Unopened(String),
    #[error("{0}")]
    Stream(Blown),
    #[error("{0}")]
    Fault(Fault),
    #[error("the client closed")]
    Closed,
    #[error("closed by the hub: {0}")]
    Ordered(String),
    #[error("broken off by the hub")]
    BrokenOff,
    #[error("the hub stopped")]
    Stopped,
}

impl From<HubStopped> for Ending {
    fn from(HubStopped: HubStopped) -> Self {
        Self::Stopped
    }
}

impl Context {
    /// Serves a connection to its end.
    pub(crate) async fn serve_amqp(self, stream: TcpStream, peer: SocketAddr, transport: Transport) {
        let impairment = Impairment::default();
        let Ok((client, orders)) = self.hub.connect(peer, impairment.clone()).await else {
            return;
        };
        let (stream, ender) = Socket::new(stream);
        let rim = Rim { ender, impairment };
        let context = self.clone();
        let opening = async {
            let rim = rim.clone();
            match transport {
                Transport::Plain => context.open(stream, None, &client, rim).await,
                Transport::Tls(config) => {
                    let accepting = TlsAcceptor::from(config).accept(stream);
                    let stream = accepting.await.map_err(Ending::Tls)?;
                    let certificate = certificate_of(&stream);
                    context.open(stream, certificate, &client, rim).await
                }
            }
        };
        let served = self.serve(Box::pin(opening), &client, orders, rim.clone()).await;
        client.gone(served.to_string()).await;
    }

    /// Serves a connection on a stream that something else has made of one, to its end; `ender` is that of the socket
    /// under it.
    pub(crate) async fn serve_stream<S>(
        self,
        stream: S,
        peer: SocketAddr,
        certificate: Option<ClientCertificate>,
        ender: Ender,
    ) where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let impairment = Impairment::default();
        let Ok((client, orders)) = self.hub.connect(peer, impairment.clone()).await else {
            return;
        };
        let rim = Rim { ender, impairment };
        let context = self.clone();
        let opening = Box::pin(context.open(stream, certificate, &client, rim.clone()));
        let served = self.serve(opening, &client, orders, rim).await;
        client.gone(served.to_string()).await;
    }

    async fn serve(
        self,
        opening: impl Future<Output = Result<Open, Ending>> + Send,
        client: &Client,
        mut orders: oneshot::Receiver<ConnectionOrder>,
        rim: Rim,
    ) -> Ending {
        let mut stopping = self.stopping.clone();
        let mut opening = pin!(timeout(HANDSHAKE_TIMEOUT, opening));
        let mut early = None;
        let opened = loop {
            tokio::select! {
                biased;
                _ = stopping.wait_for(|stopping| *stopping) => return Ending::Stopped,
                Ok(order) = &mut orders, if early.is_none() => match order {
                    ConnectionOrder::Blow(cut) => {
                        rim.break_off(cut);
                        return Ending::BrokenOff;
                    }
                    // There must be a connection before it can be closed.
                    close @ ConnectionOrder::Close(_) => early = Some(close),
                },
                opened = &mut opening => break opened,
            }
        };
        let order = async {
            match early {
                Some(order) => order,
                None => match orders.await {
                    Ok(order) => order,
                    // The hub has stopped, and says so elsewhere.
                    Err(_) => std::future::pending().await,
                },
            }
        };
        match opened {
            Ok(Ok(open)) => open.run(client, order, &mut stopping).await,
            Ok(Err(ending)) => ending,
            Err(_) => Ending::Slow,
        }
    }

    /// Protocol headers, SASL if the client begins with it, `open`.
    async fn open<S>(
        &self,
        mut stream: S,
        certificate: Option<ClientCertificate>,
        client: &Client,
        rim: Rim,
    ) -> Result<Open, Ending>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut header = [0; AMQP_HEADER_LEN];
        if let Err(error) = stream.read_exact(&mut header).await {
            // TLS and WebSocket want a last word, also with a client that has said none.
            let _ = timeout(ANSWER_TIMEOUT, stream.shutdown()).await;
            return Err(unopened(error));
        }
        if header != AMQP_HEADER && header != sasl::SASL_HEADER {
            // §2.2: who is asked for what it does not speak answers with what it does, and closes.
            let answer = if header[4] == sasl::SASL_HEADER[4] {
                sasl::SASL_HEADER
            } else {
                AMQP_HEADER
            };
            let _ = stream.write_all(&answer).await;
            part(stream).await;
            return Err(Ending::NotAmqp);
        }

        let (mut guarded, fuse) = Guarded::with_prefix(stream, &header, LIMITS);
        let fuse = FuseGuard(fuse);
        guarded
            .read_exact(&mut header)
            .await
            .map_err(|error| fuse.why(error))?;
        if header == sasl::SASL_HEADER {
            let claim = sasl::ask(&mut guarded, certificate.is_some())
                .await
                .map_err(|error| fuse.why(error))?;
            let admitted = client.authenticate(claim, certificate).await?.is_ok();
            sasl::answer(&mut guarded, admitted)
                .await
                .map_err(|error| fuse.why(error))?;
            if !admitted {
                part(guarded).await;
                return Err(Ending::Refused);
            }
            guarded
                .read_exact(&mut header)
                .await
                .map_err(|error| fuse.why(error))?;
            if header != AMQP_HEADER {
                let _ = guarded.write_all(&AMQP_HEADER).await;
                part(guarded).await;
                return Err(Ending::NotAmqp);
            }
        } else if client.authenticate(Claim::Nothing, certificate).await?.is_err() {
            return Err(Ending::Refused);
        }

        let (intake, outgoing) = (Intake::default(), Outgoing::default());
        let stream = Translated::new(
            guarded,
            self.container_id.clone(),
            intake.clone(),
            outgoing.clone(),
            rim.impairment.clone(),
        );
        let acceptor = ConnectionAcceptor::builder()
            .container_id(self.container_id.clone())
            .max_frame_size(ENGINE_FRAME_SIZE)
            .channel_max(CHANNEL_MAX)
            .idle_time_out(IDLE_TIME_OUT_MS)
            .build();
        let opened = Box::pin(acceptor.accept(stream)).await;
        let handle = opened.map_err(|error| fuse.why(io::Error::other(error)))?;
        Ok(Open {
            partitions: self.partitions.clone(),
            handle,
            fuse,
            intake,
            outgoing,
            rim,
        })
    }
}

/// What the client showed in the handshake.
pub(crate) fn certificate_of<S>(stream: &TlsStream<S>) -> Option<ClientCertificate> {
    ClientCertificate::read(stream.get_ref().1.peer_certificates()?)
}

/// A connection after `open`.
struct Open {
    partitions: Partitions,
    handle: ListenerConnectionHandle,
    fuse: FuseGuard,
    intake: Intake,
    outgoing: Outgoing,
    rim: Rim,
}

/// What can be done to a connection from outside of AMQP.
#[derive(Clone)]
struct Rim {
    ender: Ender,
    impairment: Impairment,
}

impl Rim {
    /// Says how the socket is to end; who calls it sees to it that it does.
    fn break_off(&self, cut: Cut) {
        match cut {
            Cut::Finish => self.impairment.finish(),
            Cut::Abrupt => {}
            Cut::Reset => self.ender.reset(),
        }
    }
}

/// Who ends a connection, and how.
enum Closing {
    /// The client, or what is below.
    Theirs,
    /// We do.
    Ours(Option<definitions::Error>),
    /// We do, by ending the stream under it.
    Below,
}

impl Open {
    async fn run(
        mut self,
        client: &Client,
        order: impl Future<Output = ConnectionOrder> + Send,
        stopping: &mut watch::Receiver<bool>,
    ) -> Ending {
        let mut sessions = JoinSet::new();
        let shared = Shared {
            client: client.clone(),
            intake: self.intake.clone(),
            outgoing: self.outgoing.clone(),
            replies: Replies::default(),
            undelivered: Undelivered::default(),
            partitions: self.partitions,
            management: Replies::default(),
        };
        let order = async {
            let order = order.await;
            sleep(LAST_WORDS).await;
            order
        };
        let (ending, closing) = tokio::select! {
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => {
                (Ending::Stopped, Closing::Ours(Some(shutting_down())))
            }
            order = order => match order {
                ConnectionOrder::Close(Some(refusal)) => {
                    let error = link::refused(&refusal);
                    (Ending::Ordered(refusal.message), Closing::Ours(Some(error)))
                }
                ConnectionOrder::Close(None) => (Ending::Ordered("a fault".to_owned()), Closing::Ours(None)),
                ConnectionOrder::Blow(cut) => {
                    self.rim.break_off(cut);
                    if cut != Cut::Finish {
                        self.fuse.0.blow(Blown::Stopped);
                    }
                    (Ending::BrokenOff, Closing::Below)
                }
            },
            () = accept_sessions(&mut self.handle, &mut sessions, &shared) => (Ending::Closed, Closing::Theirs),
        };
        let below = matches!(closing, Closing::Below);
        let outcome = match closing {
            Closing::Ours(Some(error)) => timeout(ANSWER_TIMEOUT, self.handle.close_with_error(error))
                .await
                .is_ok(),
            Closing::Ours(None) => timeout(ANSWER_TIMEOUT, self.handle.close()).await.is_ok(),
            Closing::Theirs | Closing::Below => timeout(ENGINE_TIMEOUT, self.handle.on_close()).await.is_ok(),
        };
        if below {
            // The stream's own end is to be written too.
            let _ = timeout(ANSWER_TIMEOUT, self.fuse.0.drained()).await;
        }
        let why = self.fuse.0.why();
        // From here on nothing that the engine waits for can come. A `close` that waits for a silent client's
        // answer would otherwise keep the engine busy for ever.
        self.fuse.0.blow(Blown::Stopped);
        if !outcome {
            let _ = timeout(ENGINE_TIMEOUT, self.handle.on_close()).await;
        }
        drop(self.handle);
        while sessions.join_next().await.is_some() {}
        match (ending, self.intake.fault(), why) {
            (Ending::Closed, Some(fault), _) => Ending::Fault(fault),
            (Ending::Closed, None, Some(why)) if why != Blown::PeerClosed => Ending::Stream(why),
            (ending, ..) => ending,
        }
    }
}

/// Takes sessions until the connection is over.
async fn accept_sessions(handle: &mut ListenerConnectionHandle, sessions: &mut JoinSet<()>, shared: &Shared) {
    let acceptor = SessionAcceptor::builder()
        .next_outgoing_id(FIRST_OUTGOING_ID)
        .incoming_window(INCOMING_WINDOW)
        .outgoing_window(OUTGOING_WINDOW)
        .handle_max(HANDLE_MAX)
        .build();
    loop {
        let incoming = tokio::select! {
            Some(_) = sessions.join_next() => continue,
            incoming = handle.next_incoming_session() => incoming,
        };
        let Some(incoming) = incoming else { return };
        let channel = incoming.channel;
        match Box::pin(acceptor.accept_incoming_session(incoming, handle)).await {
            Ok(session) => {
                sessions.spawn(session::serve(session, channel, shared.clone()));
            }
            Err(error) => {
                tracing::debug!(connection = shared.client.connection(), "no session: {error}");
                return;
            }
        }
    }
}

/// Blows the fuse when the connection is given up, wherever that is.
struct FuseGuard(Fuse);

impl FuseGuard {
    /// What really ended the stream: an engine or a codec that sits on it only sees that something did.
    fn why(&self, seen: io::Error) -> Ending {
        match self.0.why() {
            Some(why) => Ending::Stream(why),
            None => unopened(seen),
        }
    }
}

impl Drop for FuseGuard {
    fn drop(&mut self) {
        self.0.blow(Blown::Stopped);
    }
}

/// Lets our last words go out, and takes what the client still says: a socket that is closed with something unread
/// is reset, and then the client may never see them.
async fn part<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let _ = timeout(ANSWER_TIMEOUT, async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
        // A WebSocket that both sides have closed lets the stream below end in good order too.
        stream.shutdown().await
    })
    .await;
}

fn unopened(error: impl ToString) -> Ending {
    Ending::Unopened(error.to_string())
}

fn shutting_down() -> definitions::Error {
    link::error("amqp:connection:forced", "The hub is shutting down.".to_owned())
}

const LIMITS: Limits = Limits {
    frames: FrameLimits {
        max_frame: MAX_FRAME_SIZE,
        disposition_width: DISPOSITION_WIDTH,
    },
    out_high: OUT_HIGH,
    stall: STALL,
};
/// No client has more deliveries in flight; the engine looks each of a disposition's ids up, so this bounds what one
/// frame can make it do.
const DISPOSITION_WIDTH: u32 = 8192;
/// The most bytes that may wait to be written; the engine stops there.
const OUT_HIGH: usize = 16 * 1024 * 1024;
/// How long a client may take no byte while some wait.
const STALL: std::time::Duration = std::time::Duration::from_secs(30);
