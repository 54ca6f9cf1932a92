//! A hub of hand-written frames for what comes to devices: cloud-to-device messages, methods, twins; for any number of
//! devices on any number of connections. What it sends and expects is the protocol as the SDKs know it, not as this
//! workspace's emulator does.

mod connection;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use connection::{Connection, Link, address_of, number_of};

use crate::frames::{
    AMQP_HEADER, NULL, SASL_HEADER, TRUE, close, fields, frame_on, performative, sasl_mechanisms,
    sasl_outcome, string, text, uint, ushort,
};
use crate::sections::entries;

/// What the hub has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Seen {
    /// A connection, by its number from 1.
    Connection(usize),
    /// A token for this audience.
    Token(String),
    /// A link was attached: the hub's address, and whether the client receives on it.
    Attach(String, bool),
    /// This link is of a device that speaks this model (`com.microsoft:model-id`); told before its attach.
    Model(String, String),
    /// A device's message: its encoded sections.
    Telemetry(String, Vec<u8>),
    /// A request or an answer on a methods or twin link: its encoded sections.
    Sent(String, Vec<u8>),
    /// What the hub had sent was settled, by this outcome's descriptor.
    Settled(u8),
    /// A session was begun or a link attached, and is not answered.
    Held,
    /// A link was detached by the client.
    Detach(String),
    /// A session was ended by the client.
    End,
    /// The connection was closed in good order.
    Close,
    /// A connection is gone, by its number.
    Gone(usize),
}

enum Order {
    Send(String, Vec<u8>),
    Detach(String, &'static str),
    End(String, &'static str),
    Cut,
    Refuse(String, &'static str),
    TokenStatus(String, Option<i32>),
    Credit(String, u32),
    Largest(String, u32),
    HoldBegins,
    HoldAttaches(String),
    AnswerHeld,
    Mute(bool),
}

/// A hub on a free port of this machine, for one test.
pub struct Cloud {
    /// Where it listens.
    pub address: SocketAddr,
    seen: mpsc::UnboundedReceiver<Seen>,
    orders: mpsc::UnboundedSender<Order>,
}

impl Cloud {
    /// Starts one that takes every token.
    ///
    /// # Panics
    /// When no port can be had.
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let (telling, seen) = mpsc::unbounded_channel();
        let (orders, queue) = mpsc::unbounded_channel();
        tokio::spawn(serve(listener, telling, queue));
        Self {
            address,
            seen,
            orders,
        }
    }

    /// Sends this message on the client's link that receives from an address with this end, as soon as there is one
    /// and it has credit.
    pub fn send(&self, address: &str, sections: Vec<u8>) {
        let _ = self.orders.send(Order::Send(address.to_owned(), sections));
    }

    /// Detaches all links of an address with this end, with this condition.
    pub fn detach(&self, address: &str, condition: &'static str) {
        let _ = self.orders.send(Order::Detach(address.to_owned(), condition));
    }

    /// Ends the sessions that have a link to an address with this end, for this reason; an empty one is none.
    pub fn end_session(&self, address: &str, condition: &'static str) {
        let _ = self.orders.send(Order::End(address.to_owned(), condition));
    }

    /// Drops all connections.
    pub fn cut(&self) {
        let _ = self.orders.send(Order::Cut);
    }

    /// From now on links of addresses with this end are refused; an empty condition takes that back.
    pub fn refuse(&self, address: &str, condition: &'static str) {
        let _ = self.orders.send(Order::Refuse(address.to_owned(), condition));
    }

    /// From now on tokens for audiences with this end get this status, or no answer at all.
    pub fn token_status(&self, audience: &str, status: Option<i32>) {
        let _ = self.orders.send(Order::TokenStatus(audience.to_owned(), status));
    }

    /// From now on links on which the client sends to addresses with this end get so much credit when they are attached, and
    /// no more.
    pub fn credit(&self, address: &str, credit: u32) {
        let _ = self.orders.send(Order::Credit(address.to_owned(), credit));
    }

    /// From now on links on which the client sends to addresses with this end take messages of so many bytes at the most.
    pub fn largest(&self, address: &str, bytes: u32) {
        let _ = self.orders.send(Order::Largest(address.to_owned(), bytes));
    }

    /// From now on no session that is begun is answered.
    pub fn hold_begins(&self) {
        let _ = self.orders.send(Order::HoldBegins);
    }

    /// From now on no attach to an address with this end is answered.
    pub fn hold_attaches(&self, address: &str) {
        let _ = self.orders.send(Order::HoldAttaches(address.to_owned()));
    }

    /// Answers what has not been answered of these, and from now on all.
    pub fn answer_held(&self) {
        let _ = self.orders.send(Order::AnswerHeld);
    }

    /// From now on telemetry gets no outcome, or gets one again.
    pub fn mute(&self, mute: bool) {
        let _ = self.orders.send(Order::Mute(mute));
    }

    /// The next thing seen.
    ///
    /// # Panics
    /// When nothing comes for long.
    pub async fn next(&mut self) -> Seen {
        let next = tokio::time::timeout(std::time::Duration::from_secs(60), self.seen.recv());
        next.await.expect("something happens").expect("the hub lives")
    }

    /// The next thing seen that this is something of.
    ///
    /// # Panics
    /// When nothing of the kind comes for long.
    pub async fn find<T>(&mut self, mut of: impl FnMut(Seen) -> Option<T>) -> T {
        loop {
            if let Some(found) = of(self.next().await) {
                return found;
            }
        }
    }

    /// What was seen and not looked at.
    pub fn rest(&mut self) -> Vec<Seen> {
        std::iter::from_fn(|| self.seen.try_recv().ok()).collect()
    }
}

struct State {
    connections: BTreeMap<usize, Connection>,
    seen: mpsc::UnboundedSender<Seen>,
    waiting: VecDeque<(String, Vec<u8>)>,
    refused: BTreeMap<String, &'static str>,
    statuses: BTreeMap<String, Option<i32>>,
    credits: BTreeMap<String, u32>,
    largest: BTreeMap<String, u32>,
    begins_held: bool,
    attaches_held: Option<String>,
    /// What is not answered: of which connection, the channel, and the frame's body.
    held: Vec<(usize, u16, Vec<u8>)>,
    mute: bool,
}

/// What is heard of a connection, in its order.
enum Heard {
    Ready(OwnedWriteHalf),
    Frame(u16, Vec<u8>),
    Gone,
}

async fn serve(
    listener: TcpListener,
    seen: mpsc::UnboundedSender<Seen>,
    mut orders: mpsc::UnboundedReceiver<Order>,
) {
    let (hearing, mut heard) = mpsc::unbounded_channel();
    let mut count = 0;
    let mut state = State {
        connections: BTreeMap::new(),
        seen,
        waiting: VecDeque::new(),
        refused: BTreeMap::new(),
        statuses: BTreeMap::new(),
        credits: BTreeMap::new(),
        largest: BTreeMap::new(),
        begins_held: false,
        attaches_held: None,
        held: Vec::new(),
        mute: false,
    };
    loop {
        tokio::select! {
            biased;
            // What follows from an order that was given before is to find it obeyed.
            order = orders.recv() => match order {
                Some(order) => state.obey(order).await,
                None => return,
            },
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { return };
                count += 1;
                let (number, hearing) = (count, hearing.clone());
                tokio::spawn(async move {
                    let Ok((read, write)) = handshake(stream).await else { return };
                    let _ = hearing.send((number, Heard::Ready(write)));
                    read_frames(read, number, hearing).await;
                });
            }
            Some((number, what)) = heard.recv() => {
                let done = match what {
                    Heard::Ready(write) => {
                        let _ = state.seen.send(Seen::Connection(number));
                        state.connections.insert(number, Connection::new(write));
                        Ok(())
                    }
                    Heard::Frame(channel, body) => state.frame(number, channel, &body).await,
                    Heard::Gone => Err(io::ErrorKind::UnexpectedEof.into()),
                };
                if done.is_err() && state.connections.remove(&number).is_some() {
                    let _ = state.seen.send(Seen::Gone(number));
                }
            }
        }
        let _ = state.send_waiting().await;
    }
}

async fn handshake(mut stream: TcpStream) -> io::Result<(OwnedReadHalf, OwnedWriteHalf)> {
    stream.set_nodelay(true)?;
    stream.read_exact(&mut [0; 8]).await?;
    stream.write_all(SASL_HEADER).await?;
    stream.write_all(&sasl_mechanisms("ANONYMOUS")).await?;
    read_frame(&mut stream).await?;
    stream.write_all(&sasl_outcome(0)).await?;
    stream.read_exact(&mut [0; 8]).await?;
    stream.write_all(AMQP_HEADER).await?;
    Ok(stream.into_split())
}

async fn read_frames(mut read: OwnedReadHalf, number: usize, hearing: mpsc::UnboundedSender<(usize, Heard)>) {
    while let Ok((channel, body)) = read_frame(&mut read).await {
        let _ = hearing.send((number, Heard::Frame(channel, body)));
    }
    let _ = hearing.send((number, Heard::Gone));
}

/// The next frame that is not empty, with its channel.
async fn read_frame(read: &mut (impl AsyncReadExt + Unpin)) -> io::Result<(u16, Vec<u8>)> {
    loop {
        let size = read.read_u32().await? as usize;
        let mut rest = vec![0; size.saturating_sub(4)];
        read.read_exact(&mut rest).await?;
        if rest.len() > 4 {
            return Ok((u16::from_be_bytes([rest[2], rest[3]]), rest.split_off(4)));
        }
    }
}

impl State {
    async fn obey(&mut self, order: Order) {
        match order {
            Order::Send(address, sections) => self.waiting.push_back((address, sections)),
            Order::Detach(end, condition) => {
                for connection in self.connections.values_mut() {
                    let (gone, kept) = connection
                        .links
                        .drain(..)
                        .partition(|link| link.address.ends_with(&end));
                    connection.links = kept;
                    let gone: Vec<Link> = gone;
                    for link in gone {
                        let _ = connection.detach(link.channel, link.handle, condition).await;
                    }
                }
            }
            Order::End(end, condition) => {
                for (of, connection) in &mut self.connections {
                    let has = |link: &&Link| link.address.ends_with(&end);
                    let ends: BTreeSet<u16> = connection
                        .links
                        .iter()
                        .filter(has)
                        .map(|link| link.channel)
                        .collect();
                    for channel in ends {
                        self.held.retain(|(number, on, _)| (number, *on) != (of, channel));
                        let _ = connection.end(channel, condition).await;
                    }
                }
            }
            Order::Cut => {
                for number in std::mem::take(&mut self.connections).into_keys() {
                    let _ = self.seen.send(Seen::Gone(number));
                }
            }
            Order::Refuse(end, "") => drop(self.refused.remove(&end)),
            Order::Refuse(end, condition) => drop(self.refused.insert(end, condition)),
            Order::TokenStatus(end, status) => drop(self.statuses.insert(end, status)),
            Order::Credit(end, credit) => drop(self.credits.insert(end, credit)),
            Order::Largest(end, bytes) => drop(self.largest.insert(end, bytes)),
            Order::HoldBegins => self.begins_held = true,
            Order::HoldAttaches(end) => self.attaches_held = Some(end),
            Order::AnswerHeld => {
                (self.begins_held, self.attaches_held) = (false, None);
                for (number, channel, body) in std::mem::take(&mut self.held) {
                    let _ = self.frame(number, channel, &body).await;
                }
            }
            Order::Mute(mute) => self.mute = mute,
        }
    }

    fn is_held(&self, code: u8, list: &[&[u8]]) -> bool {
        let attaches = self.attaches_held.as_ref();
        match code {
            0x11 => self.begins_held,
            0x12 => attaches.is_some_and(|end| address_of(list).0.ends_with(end)),
            _ => false,
        }
    }

    async fn send_waiting(&mut self) -> io::Result<()> {
        let mut kept = VecDeque::new();
        while let Some((end, sections)) = self.waiting.pop_front() {
            let found = self.connections.values_mut().find_map(|connection| {
                let at = connection.links.iter().position(|link| {
                    link.client_receives && link.credit > link.sent && link.address.ends_with(&end)
                })?;
                Some((connection, at))
            });
            match found {
                Some((connection, at)) => connection.transfer(at, &sections, false).await?,
                None => kept.push_back((end, sections)),
            }
        }
        self.waiting = kept;
        Ok(())
    }

    async fn frame(&mut self, number: usize, channel: u16, body: &[u8]) -> io::Result<()> {
        let Some((&code, rest)) = body.get(2..).and_then(<[u8]>::split_first) else {
            return Ok(());
        };
        let (list, payload) = fields(rest);
        let is_held = self.is_held(code, &list);
        let Some(connection) = self.connections.get_mut(&number) else {
            return Ok(());
        };
        let field = |at: usize| list.get(at).copied().unwrap_or(NULL);
        let seen = self.seen.clone();
        let tell = |what| {
            let _ = seen.send(what);
        };
        match code {
            0x10 => {
                // As many channels as the real hub gives.
                let open = [&string("cloud")[..], NULL, &uint(65_536), &ushort(8191)];
                connection.say(&frame_on(0, &performative(0x10, &open))).await?;
            }
            _ if is_held => {
                self.held.push((number, channel, body.to_vec()));
                tell(Seen::Held);
            }
            0x11 => {
                let begin = [
                    &ushort(channel)[..],
                    &uint(0),
                    &uint(5000),
                    &uint(5000),
                    &uint(255),
                ];
                connection
                    .say(&frame_on(channel, &performative(0x11, &begin)))
                    .await?;
            }
            0x12 => {
                // The properties of a link (AMQP 1.0 §2.7.3); told before the answer, after which a test may ask.
                if let Some(model) = entries(field(13)).get("com.microsoft:model-id") {
                    tell(Seen::Model(address_of(&list).0, text(model)));
                }
                let (address, client_receives) = connection
                    .attach(channel, &list, &self.credits, &self.largest)
                    .await?;
                let refusal = self
                    .refused
                    .iter()
                    .find(|(end, _)| address.ends_with(end.as_str()));
                if let Some((_, condition)) = refusal {
                    let handle = number_of(field(1));
                    connection
                        .links
                        .retain(|link| (link.channel, link.handle) != (channel, handle));
                    connection.detach(channel, handle, condition).await?;
                }
                tell(Seen::Attach(address, client_receives));
            }
            0x13 => {
                let handle = number_of(field(4));
                if let Some(link) = connection.link(channel, handle) {
                    link.credit = number_of(field(5)) + number_of(field(6));
                }
            }
            0x14 => {
                let (handle, delivery) = (number_of(field(0)), number_of(field(1)));
                let settled = field(4) == TRUE;
                let Some(address) = connection.link(channel, handle).map(|link| link.address.clone()) else {
                    return Ok(());
                };
                let mute = self.mute && address.ends_with("/messages/events");
                if !settled && !mute {
                    let accepted = performative(0x24, &[]);
                    let body = performative(0x15, &[TRUE, &uint(delivery), &uint(delivery), TRUE, &accepted]);
                    connection.say(&frame_on(channel, &body)).await?;
                }
                if address == "$cbs" {
                    let audience = connection.answer_token(channel, payload, &self.statuses).await?;
                    tell(Seen::Token(audience));
                } else if address.ends_with("/messages/events") {
                    tell(Seen::Telemetry(address, payload.to_vec()));
                } else {
                    tell(Seen::Sent(address, payload.to_vec()));
                }
            }
            0x15 if field(0) == TRUE => tell(Seen::Settled(field(4).get(2).copied().unwrap_or(0))),
            0x16 => {
                let handle = number_of(field(0));
                if let Some(link) = connection.link(channel, handle) {
                    tell(Seen::Detach(link.address.clone()));
                    connection
                        .links
                        .retain(|link| (link.channel, link.handle) != (channel, handle));
                    connection
                        .say(&frame_on(channel, &performative(0x16, &[&uint(handle), TRUE])))
                        .await?;
                }
            }
            0x17 => {
                connection.links.retain(|link| link.channel != channel);
                tell(Seen::End);
                if !connection.ended.remove(&channel) {
                    connection
                        .say(&frame_on(channel, &performative(0x17, &[])))
                        .await?;
                }
            }
            0x18 => {
                tell(Seen::Close);
                connection.say(&close(None)).await?;
            }
            _ => {}
        }
        Ok(())
    }
}
