//! A hub in memory with a network that leads to it, both in virtual time: days pass in seconds, and nothing listens.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use iothub_address::{DeviceId, HubHost, HubName, Identity, ModuleId};
use iothub_amqp::{
    ByteStream, Clock, Connecting, Connection, ConnectionBuilder, DeviceClient, DeviceClientBuilder,
    EventsClient, EventsClientBuilder, Key, Network, Resolving, TOKEN_LIFE,
};
use iothub_emulator::{Body, Builder, Emulator, Fault, Keys, Timestamp};
use iothub_sas::{SharedKey, UnixTime};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::transfers::Transfers;

/// The time since a world began, and the time of day in it: both by the runtime's clock.
#[derive(Debug, Clone, Copy)]
pub struct Clockwork {
    began: Instant,
}

impl Clockwork {
    /// It begins now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            began: Instant::now(),
        }
    }

    /// Since it began.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        self.began.elapsed()
    }

    /// Seconds since 1970.
    #[must_use]
    pub fn unix(self) -> u64 {
        EPOCH + self.elapsed().as_secs()
    }
}

impl Default for Clockwork {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for Clockwork {
    fn now(&self) -> UnixTime {
        UnixTime::from_secs(self.unix())
    }
}

impl iothub_emulator::Clock for Clockwork {
    fn now(&self) -> Timestamp {
        let millis = u128::from(EPOCH) * 1000 + self.elapsed().as_millis();
        Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
    }
}

/// A hub with so many devices, `d0` and so on, and the network to it. Clones are the same.
#[derive(Clone)]
pub struct Memory {
    hub: Arc<Emulator>,
    clock: Clockwork,
    is_down: Arc<AtomicBool>,
    /// Rises with each cut of all connections.
    cut: Arc<watch::Sender<u64>>,
    attempts: Arc<Mutex<Vec<Duration>>>,
    open: Arc<AtomicUsize>,
    /// How many have come to clients.
    transfers: Arc<AtomicU64>,
}

impl Memory {
    /// Starts one.
    ///
    /// # Panics
    /// When there is no free port, although nobody comes by it.
    pub async fn start(devices: usize) -> Self {
        Self::start_with(devices, |builder| builder).await
    }

    /// Starts one with settings of its own.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub async fn start_with(devices: usize, settings: impl FnOnce(Builder) -> Builder) -> Self {
        let clock = Clockwork::new();
        let mut builder = settings(Emulator::builder().clock(clock).https_port(None));
        for device in 0..devices {
            builder = builder.device_key(id(device), key());
        }
        Self {
            hub: Arc::new(builder.start().await.expect("a free port")),
            clock,
            is_down: Arc::default(),
            cut: Arc::new(watch::Sender::new(0)),
            attempts: Arc::default(),
            open: Arc::default(),
            transfers: Arc::default(),
        }
    }

    /// The time in it.
    #[must_use]
    pub fn clock(&self) -> Clockwork {
        self.clock
    }

    /// The hub.
    #[must_use]
    pub fn hub(&self) -> &Emulator {
        &self.hub
    }

    /// A device's client, by claims-based security.
    #[must_use]
    pub fn device(&self, device: usize) -> DeviceClientBuilder {
        self.device_by_plain(device).claims_based()
    }

    /// The same, signed in by SASL PLAIN.
    #[must_use]
    pub fn device_by_plain(&self, device: usize) -> DeviceClientBuilder {
        self.device_by_tokens_of(device, TOKEN_LIFE)
    }

    /// The same, with tokens that live so long.
    #[must_use]
    pub fn device_by_tokens_of(&self, device: usize, life: Duration) -> DeviceClientBuilder {
        let credential = self.credential().life(life);
        self.client(identity(device), credential).seed(device as u64)
    }

    /// A client of a module of the first device, by claims-based security; the hub knows it from then on.
    ///
    /// # Panics
    /// When the hub has stopped, or knows it already.
    pub async fn module(&self, name: &str) -> DeviceClientBuilder {
        let module = ModuleId::parse(name).expect("an id");
        let keys = Keys::new(key(), key());
        let registered = self.hub.register_module(id(0), module.clone(), keys).await;
        registered.expect("a hub that has room for it");
        let client = self.client(Identity::Module(id(0), module), self.credential());
        client.claims_based().seed(2_000)
    }

    fn client(&self, identity: Identity, credential: Key) -> DeviceClientBuilder {
        DeviceClient::builder(host(), identity, credential)
            .hub(HubName::parse("emulator").expect("a name"))
            .plain_tcp_to_this_machine()
            .network(self.clone())
            .clock(self.clock)
    }

    /// A client of the hub's events, from a service's connection string.
    ///
    /// # Panics
    /// When the hub has stopped.
    pub async fn events(&self) -> EventsClientBuilder {
        let policy = "service".parse().expect("a policy's name");
        let string = self.hub.policy_connection_string(&policy).await;
        EventsClient::with(&string.expect("the hub has it"))
            .expect("it is a service's")
            .plain_tcp_to_this_machine()
            .network(self.clone())
            .clock(self.clock)
            .seed(1_000)
    }

    /// A connection for many devices.
    ///
    /// # Panics
    /// Never: nothing is contacted.
    pub async fn connection(&self) -> Connection {
        let connection = self.connection_builder().open().await;
        connection.expect("nothing is contacted")
    }

    /// The same, to be opened.
    #[must_use]
    pub fn connection_builder(&self) -> ConnectionBuilder {
        Connection::builder(host())
            .plain_tcp_to_this_machine()
            .network(self.clone())
            .clock(self.clock)
            .seed(1)
    }

    /// That of each device.
    #[must_use]
    pub fn credential(&self) -> Key {
        Key::new(key())
    }

    /// Lets something go wrong at the hub, now.
    ///
    /// # Panics
    /// For what cannot be.
    pub async fn inject(&self, fault: Fault) {
        self.hub.inject(fault).await.expect("a fault that can be");
    }

    /// All connections break, and none is to be had until `up`.
    pub fn down(&self) {
        self.is_down.store(true, Ordering::Relaxed);
        self.cut.send_modify(|cuts| *cuts += 1);
    }

    /// Connections are to be had again.
    pub fn up(&self) {
        self.is_down.store(false, Ordering::Relaxed);
    }

    /// When clients set out to connect, since the beginning.
    #[must_use]
    pub fn attempts(&self) -> Vec<Duration> {
        lock(&self.attempts).clone()
    }

    /// How many connections clients hold.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// How many transfers the hub has sent to all clients, since the beginning.
    #[must_use]
    pub fn transfers(&self) -> u64 {
        self.transfers.load(Ordering::Relaxed)
    }

    /// Since the beginning.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// The bodies of the messages that the hub has, in its order.
    ///
    /// # Panics
    /// For bodies that are not text.
    #[must_use]
    pub fn bodies(&self) -> Vec<String> {
        let events = self.hub.journal().snapshot();
        let text = |body: &Body| match body {
            Body::Data(bytes) => String::from_utf8(bytes.to_vec()).expect("text"),
            other => panic!("{other:?}"),
        };
        events.iter().map(|event| text(&event.message.body)).collect()
    }
}

impl Network for Memory {
    fn resolve<'a>(&'a self, _host: &'a str, port: u16) -> Resolving<'a> {
        lock(&self.attempts).push(self.clock.elapsed());
        Box::pin(async move { Ok(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))]) })
    }

    fn connect(&self, _address: SocketAddr) -> Connecting<'_> {
        Box::pin(async move {
            if self.is_down.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (ours, theirs) = duplex(PIPE);
            self.open.fetch_add(1, Ordering::Relaxed);
            let mut cut = self.cut.subscribe();
            cut.mark_unchanged();
            let cut = Box::pin(async move {
                let _ = cut.changed().await;
            });
            self.hub.serve(theirs);
            Ok(Box::new(Pipe {
                inner: Some(ours),
                cut,
                open: Arc::clone(&self.open),
                seen: Transfers::default(),
                transfers: Arc::clone(&self.transfers),
            }) as Box<dyn ByteStream>)
        })
    }
}

/// The client's end.
struct Pipe {
    /// Until the cut.
    inner: Option<DuplexStream>,
    cut: Pin<Box<dyn Future<Output = ()> + Send>>,
    open: Arc<AtomicUsize>,
    seen: Transfers,
    transfers: Arc<AtomicU64>,
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.inner.is_some() && self.cut.as_mut().poll(cx).is_ready() {
            self.inner = None;
        }
        let Some(inner) = &mut self.inner else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        };
        let before = out.filled().len();
        let read = Pin::new(inner).poll_read(cx, out);
        let known = self.seen.count();
        self.seen.see(&out.filled()[before..]);
        self.transfers
            .fetch_add(self.seen.count() - known, Ordering::Relaxed);
        read
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut self.inner {
            Some(inner) => Pin::new(inner).poll_write(cx, bytes),
            None => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Some(inner) => Pin::new(inner).poll_flush(cx),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.inner {
            Some(inner) => Pin::new(inner).poll_shutdown(cx),
            None => Poll::Ready(Ok(())),
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The identity of device `d0` and so on.
///
/// # Panics
/// Never: these are ids.
#[must_use]
pub fn identity(device: usize) -> Identity {
    Identity::Device(id(device))
}

fn id(device: usize) -> DeviceId {
    DeviceId::parse(&format!("d{device}")).expect("letters and digits are an id")
}

/// Made up.
fn key() -> SharedKey {
    SharedKey::from_bytes(&[7; 32]).expect("32 bytes are a key")
}

fn host() -> HubHost {
    HubHost::parse("localhost").expect("a host")
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// It begins in 2023.
const EPOCH: u64 = 1_700_000_000;

/// In bytes.
const PIPE: usize = 256 * 1024;
