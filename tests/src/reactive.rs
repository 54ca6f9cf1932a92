//! A hub that answers whatever comes, by hand-written frames, and asks the test only what to make of messages.
//!
//! Where `scripted` goes through one order of steps, this one lets the client choose: new links, sessions, connections.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use iothub_amqp::ByteStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::frames::{
    AMQP_HEADER, NULL, SASL_HEADER, TRUE, close, fields, frame_on, open, performative, sasl_mechanisms,
    sasl_outcome, string, symbol, text, uint, ushort,
};

/// What the hub has seen.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Seen {
    /// A connection, by its number from 1.
    Connection(usize),
    /// A session was begun.
    Begin,
    /// A link was attached; the address of the hub's end.
    Attach(String),
    /// A message for the `$cbs` node: its encoded sections.
    Token(Vec<u8>),
    /// A message for any other node.
    Telemetry(Vec<u8>),
    /// A message on a handle that is no link's to send by, or of no session.
    Stray(Vec<u8>),
    /// The connection was closed in good order.
    Close,
}

/// What the hub makes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// Accepts it; a token gets the status 200.
    Accept,
    /// Accepts it, and answers a token with this status.
    Status(i32),
    /// Says nothing, ever.
    Nothing,
    /// Detaches the link, with this condition.
    Detach(&'static str),
    /// Ends the session, with this condition.
    End(&'static str),
    /// Closes the connection, with this condition.
    Close(&'static str),
    /// Drops the connection.
    Cut,
}

type Judge = dyn Fn(&Seen, usize) -> Answer + Send + Sync;

/// A session's window that is closed, and opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Narrow {
    /// So many transfers it lets through.
    pub transfers: u32,
    /// The code of the client's performative that it opens with, just before this is answered: attach is 0x12, and opens
    /// it from the second on, detach 0x16, end 0x17.
    pub opens_with: u8,
    /// A link by its node's address, behind `from ` if the client receives by it. Its first attach is answered only when the
    /// hub has detached the links that the client sends by, and the client has answered that.
    pub displaced_by: Option<&'static str>,
}

/// A hub on a free port of this machine, for one test.
pub struct Hub {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it sees, in order.
    pub seen: mpsc::UnboundedReceiver<Seen>,
}

impl Hub {
    /// Starts one that offers this mechanism, and asks `judge` about each message; the number counts the messages of
    /// this kind, from 0, over all connections.
    ///
    /// # Panics
    /// When no port can be had.
    pub async fn start(
        mechanism: &'static str,
        judge: impl Fn(&Seen, usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::listen(mechanism, None, judge).await
    }

    /// As [`start`](Self::start), but for the first session of a connection, which is narrow.
    ///
    /// # Panics
    /// When no port can be had.
    pub async fn narrow(
        mechanism: &'static str,
        narrow: Narrow,
        judge: impl Fn(&Seen, usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::listen(mechanism, Some(narrow), judge).await
    }

    async fn listen(
        mechanism: &'static str,
        narrow: Option<Narrow>,
        judge: impl Fn(&Seen, usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let (telling, seen) = mpsc::unbounded_channel();
        let judge: Arc<Judge> = Arc::new(judge);
        tokio::spawn(async move {
            let mut counts = [0; 2];
            let mut number = 0;
            while let Ok((stream, _)) = listener.accept().await {
                number += 1;
                let _ = telling.send(Seen::Connection(number));
                let mut connection = Connection {
                    stream: Box::new(stream),
                    sessions: BTreeSet::new(),
                    links: Vec::new(),
                    narrow,
                    attached: 0,
                    withheld: None,
                    has_called: false,
                    next_delivery: 0,
                    seen: telling.clone(),
                    judge: Arc::clone(&judge),
                };
                // One client, one connection at a time.
                let _ = connection.serve(mechanism, &mut counts).await;
            }
        });
        Self { address, seen }
    }

    /// Starts one that takes the streams which come in by the sender, each on its own; the number of a message counts
    /// those of its connection. Its address is nowhere.
    #[must_use]
    pub fn in_memory(
        mechanism: &'static str,
        judge: impl Fn(&Seen, usize) -> Answer + Send + Sync + 'static,
    ) -> (Self, mpsc::UnboundedSender<Box<dyn ByteStream>>) {
        Self::behind_a_door(mechanism, None, judge)
    }

    /// As [`in_memory`](Self::in_memory), but for the first session of a connection, which is narrow.
    #[must_use]
    pub fn narrow_in_memory(
        mechanism: &'static str,
        narrow: Narrow,
        judge: impl Fn(&Seen, usize) -> Answer + Send + Sync + 'static,
    ) -> (Self, mpsc::UnboundedSender<Box<dyn ByteStream>>) {
        Self::behind_a_door(mechanism, Some(narrow), judge)
    }

    fn behind_a_door(
        mechanism: &'static str,
        narrow: Option<Narrow>,
        judge: impl Fn(&Seen, usize) -> Answer + Send + Sync + 'static,
    ) -> (Self, mpsc::UnboundedSender<Box<dyn ByteStream>>) {
        let (door, mut arrivals) = mpsc::unbounded_channel();
        let (telling, seen) = mpsc::unbounded_channel();
        let judge: Arc<Judge> = Arc::new(judge);
        tokio::spawn(async move {
            let mut number = 0;
            while let Some(stream) = arrivals.recv().await {
                number += 1;
                let _ = telling.send(Seen::Connection(number));
                let mut connection = Connection {
                    stream,
                    sessions: BTreeSet::new(),
                    links: Vec::new(),
                    narrow,
                    attached: 0,
                    withheld: None,
                    has_called: false,
                    next_delivery: 0,
                    seen: telling.clone(),
                    judge: Arc::clone(&judge),
                };
                tokio::spawn(async move { drop(connection.serve(mechanism, &mut [0; 2]).await) });
            }
        });
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        (Self { address, seen }, door)
    }

    /// The next thing seen that is not `Begin`.
    ///
    /// # Panics
    /// When nothing comes for long.
    pub async fn next(&mut self) -> Seen {
        loop {
            let next = tokio::time::timeout(std::time::Duration::from_secs(60), self.seen.recv());
            match next.await.expect("something happens").expect("the hub lives") {
                Seen::Begin => {}
                seen => return seen,
            }
        }
    }
}

struct Link {
    channel: u16,
    handle: u32,
    address: String,
}

struct Connection {
    stream: Box<dyn ByteStream>,
    sessions: BTreeSet<u16>,
    links: Vec<Link>,
    /// Until it has opened.
    narrow: Option<Narrow>,
    attached: usize,
    /// An attach that is not answered yet: its channel, and the frame's body.
    withheld: Option<(u16, Vec<u8>)>,
    has_called: bool,
    next_delivery: u32,
    seen: mpsc::UnboundedSender<Seen>,
    judge: Arc<Judge>,
}

impl Connection {
    async fn serve(&mut self, mechanism: &str, counts: &mut [usize; 2]) -> io::Result<()> {
        self.stream.read_exact(&mut [0; 8]).await?;
        self.say(SASL_HEADER).await?;
        self.say(&sasl_mechanisms(mechanism)).await?;
        self.read().await?;
        self.say(&sasl_outcome(0)).await?;
        self.stream.read_exact(&mut [0; 8]).await?;
        self.say(AMQP_HEADER).await?;
        loop {
            let (channel, body) = self.read().await?;
            let Some((&code, rest)) = body.get(2..).and_then(<[u8]>::split_first) else {
                continue;
            };
            let (list, payload) = fields(rest);
            let field = |at: usize| list.get(at).copied().unwrap_or(NULL);
            if self.opens_with(code) {
                self.narrow = None;
                let flow = [&uint(0)[..], &uint(WIDE), &uint(0), &uint(WIDE)];
                self.say(&frame_on(channel, &performative(0x13, &flow))).await?;
            }
            match code {
                0x10 => self.say(&open()).await?,
                0x11 => {
                    let _ = self.seen.send(Seen::Begin);
                    self.sessions.insert(channel);
                    let begin = [&ushort(channel)[..], &uint(0), &uint(self.window()), &uint(WIDE)];
                    self.say(&frame_on(channel, &performative(0x11, &begin))).await?;
                }
                0x12 if self.is_displacing(&list) => {
                    self.displace().await?;
                    self.withheld = Some((channel, body.clone()));
                }
                0x12 => self.attach(channel, &list).await?,
                0x13 => {
                    let handle = crate::frames::number(field(4));
                    self.call(channel, handle).await?;
                }
                0x14 => {
                    let handle = crate::frames::number(field(0));
                    let delivery = crate::frames::number(field(1));
                    if !self.transfer(channel, handle, delivery, payload, counts).await? {
                        return Ok(());
                    }
                }
                0x16 => {
                    let handle = crate::frames::number(field(0));
                    let before = self.links.len();
                    self.links
                        .retain(|link| (link.channel, link.handle) != (channel, handle));
                    if self.links.len() == before {
                        // The answer to a detach of ours.
                        if let Some((channel, body)) = self.withheld.take() {
                            let (list, _) = fields(&body[3..]);
                            self.attach(channel, &list).await?;
                        }
                        continue;
                    }
                    self.say(&frame_on(channel, &performative(0x16, &[&uint(handle), TRUE])))
                        .await?;
                }
                0x17 => {
                    if !self.sessions.remove(&channel) {
                        continue; // the answer to an end of ours
                    }
                    self.links.retain(|link| link.channel != channel);
                    self.say(&frame_on(channel, &performative(0x17, &[]))).await?;
                }
                0x18 => {
                    let _ = self.seen.send(Seen::Close);
                    self.say(&close(None)).await?;
                }
                _ => {}
            }
        }
    }

    fn opens_with(&self, code: u8) -> bool {
        let is_first = code == 0x12 && self.attached == 0;
        self.narrow
            .is_some_and(|narrow| narrow.opens_with == code && !is_first)
    }

    fn window(&self) -> u32 {
        self.narrow.map_or(WIDE, |narrow| narrow.transfers)
    }

    fn is_displacing(&self, attach: &[&[u8]]) -> bool {
        self.narrow
            .and_then(|narrow| narrow.displaced_by)
            .is_some_and(|link| described(attach) == link)
    }

    /// Detaches what the client sends by.
    async fn displace(&mut self) -> io::Result<()> {
        if let Some(narrow) = &mut self.narrow {
            narrow.displaced_by = None;
        }
        let forced = performative(0x1d, &[&symbol("amqp:link:detach-forced")]);
        let (stay, go) = std::mem::take(&mut self.links)
            .into_iter()
            .partition(|link| link.address.starts_with("from "));
        self.links = stay;
        for Link { channel, handle, .. } in go {
            let detach = performative(0x16, &[&uint(handle), TRUE, &forced]);
            self.say(&frame_on(channel, &detach)).await?;
        }
        Ok(())
    }

    async fn attach(&mut self, channel: u16, list: &[&[u8]]) -> io::Result<()> {
        let field = |at: usize| list.get(at).copied().unwrap_or(NULL);
        let (name, handle) = (field(0).to_vec(), crate::frames::number(field(1)));
        self.attached += 1;
        let client_receives = field(2) == TRUE;
        let role: &[u8] = if client_receives { &[0x42] } else { TRUE };
        let count: &[u8] = if client_receives { &[0x43] } else { NULL };
        let reply = [
            &name[..],
            &uint(handle),
            role,
            NULL,
            NULL,
            field(5),
            field(6),
            NULL,
            NULL,
            count,
        ];
        self.say(&frame_on(channel, &performative(0x12, &reply))).await?;
        if !client_receives {
            let flow = [
                &uint(0)[..],
                &uint(self.window()),
                &uint(0),
                &uint(WIDE),
                &uint(handle),
                &uint(0),
                &uint(1000),
            ];
            self.say(&frame_on(channel, &performative(0x13, &flow))).await?;
        }
        let _ = self.seen.send(Seen::Attach(address(list)));
        self.links.push(Link {
            channel,
            handle,
            // A receiver is remembered as what answers and calls are sent on.
            address: described(list),
        });
        Ok(())
    }

    /// False when the connection is to be dropped.
    async fn transfer(
        &mut self,
        channel: u16,
        handle: u32,
        delivery: u32,
        payload: &[u8],
        counts: &mut [usize; 2],
    ) -> io::Result<bool> {
        let is_token = self
            .links
            .iter()
            .any(|link| (link.channel, link.handle) == (channel, handle) && link.address == "$cbs");
        let sends = |link: &&Link| {
            (link.channel, link.handle) == (channel, handle) && !link.address.starts_with("from ")
        };
        if self.links.iter().find(sends).is_none() {
            let _ = self.seen.send(Seen::Stray(payload.to_vec()));
            return Ok(true);
        }
        let seen = if is_token {
            Seen::Token(payload.to_vec())
        } else {
            Seen::Telemetry(payload.to_vec())
        };
        let count = &mut counts[usize::from(is_token)];
        let answer = (self.judge)(&seen, *count);
        *count += 1;
        let _ = self.seen.send(seen);
        let error = |condition: &str| performative(0x1d, &[&symbol(condition), &string("as the test wants")]);
        match answer {
            Answer::Accept | Answer::Status(_) => {
                let accepted = performative(0x24, &[]);
                let body = performative(0x15, &[TRUE, &uint(delivery), &uint(delivery), TRUE, &accepted]);
                self.say(&frame_on(channel, &body)).await?;
                if is_token {
                    let status = if let Answer::Status(status) = answer {
                        status
                    } else {
                        200
                    };
                    self.answer_token(channel, payload, status).await?;
                }
            }
            Answer::Nothing => {}
            Answer::Detach(condition) => {
                self.links
                    .retain(|link| (link.channel, link.handle) != (channel, handle));
                let body = performative(0x16, &[&uint(handle), TRUE, &error(condition)]);
                self.say(&frame_on(channel, &body)).await?;
            }
            Answer::End(condition) => {
                self.sessions.remove(&channel);
                self.links.retain(|link| link.channel != channel);
                self.say(&frame_on(channel, &performative(0x17, &[&error(condition)])))
                    .await?;
            }
            Answer::Close(condition) => {
                self.say(&close(Some((condition, "as the test wants")))).await?;
            }
            Answer::Cut => return Ok(false),
        }
        Ok(true)
    }

    async fn answer_token(&mut self, channel: u16, request: &[u8], status: i32) -> io::Result<()> {
        let Some(link) = self
            .links
            .iter()
            .find(|link| link.address == "from $cbs" && link.channel == channel)
        else {
            return Ok(());
        };
        let (handle, id) = (link.handle, message_id(request));
        let mut number = vec![0x71];
        number.extend(status.to_be_bytes());
        let entries = [
            &string("status-code")[..],
            &number,
            &string("status-description"),
            &string("as asked"),
        ];
        self.send((channel, handle), &id, &entries).await
    }

    /// Calls a method by the link for them, once, as soon as its credit lets it.
    async fn call(&mut self, channel: u16, handle: u32) -> io::Result<()> {
        let is_for_calls = |link: &Link| {
            (link.channel, link.handle) == (channel, handle)
                && link.address.starts_with("from ")
                && link.address.ends_with("/methods/devicebound")
        };
        if self.has_called || !self.links.iter().any(is_for_calls) {
            return Ok(());
        }
        self.has_called = true;
        let name = [&string("IoThub-methodname")[..], &string("called")];
        self.send((channel, handle), "call 1", &name).await
    }

    /// Sends a message without a body, with this correlation-id and these application properties.
    async fn send(
        &mut self,
        (channel, handle): (u16, u32),
        correlation: &str,
        entries: &[&[u8]],
    ) -> io::Result<()> {
        // Correlation-id is the sixth of the properties (§3.2.4).
        let properties = performative(0x73, &[NULL, NULL, NULL, NULL, NULL, &string(correlation)]);
        let map = entries.concat();
        let mut application = vec![0x00, 0x53, 0x74, 0xd1];
        application.extend(u32::try_from(map.len() + 4).expect("small").to_be_bytes());
        application.extend(u32::try_from(entries.len()).expect("small").to_be_bytes());
        application.extend(map);
        let delivery = uint(self.next_delivery);
        self.next_delivery += 1;
        let body = performative(0x14, &[&uint(handle), &delivery, &[0xa0, 1, 7], NULL, NULL]);
        let message = [&body[..], &properties, &application, &[0x00, 0x53, 0x77, 0x40]].concat();
        self.say(&frame_on(channel, &message)).await
    }

    async fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// The next frame that is not empty, with its channel.
    async fn read(&mut self) -> io::Result<(u16, Vec<u8>)> {
        loop {
            let size = self.stream.read_u32().await? as usize;
            let mut rest = vec![0; size.saturating_sub(4)];
            self.stream.read_exact(&mut rest).await?;
            if rest.len() > 4 {
                return Ok((u16::from_be_bytes([rest[2], rest[3]]), rest.split_off(4)));
            }
        }
    }
}

/// The address of the hub's end of a link that the client attaches with these fields.
fn address(attach: &[&[u8]]) -> String {
    let field = |at: usize| attach.get(at).copied().unwrap_or(NULL);
    let terminus = field(if field(2) == TRUE { 5 } else { 6 });
    // The address is a terminus' first field.
    let (inner, _) = fields(terminus.get(3..).unwrap_or_default());
    text(inner.first().copied().unwrap_or(NULL))
}

/// The same, behind `from ` if the client receives by it.
fn described(attach: &[&[u8]]) -> String {
    let address = address(attach);
    match attach.get(2) {
        Some(&TRUE) => format!("from {address}"),
        _ => address,
    }
}

/// The message-id of a message whose first section is its properties.
fn message_id(message: &[u8]) -> String {
    let (properties, _) = fields(message.get(3..).unwrap_or_default());
    text(properties.first().copied().unwrap_or(NULL))
}

/// A session's window, in transfers.
const WIDE: u32 = 5000;
