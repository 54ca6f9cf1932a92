//! AMQP on the wire: listener, TLS, SASL, and the engine's connections, sessions and links. It translates; what is
//! allowed is the hub's to say.
//!
//! A connection is: one task that owns the stream's fuse and the engine's handle; a task for each session; a task
//! for each link. The engine adds one for the connection and one a session. Each ends when the fuse is blown.

mod cbs;
mod commands;
mod connection;
mod decode;
mod encode;
mod heartbeat;
mod link;
mod listener;
mod management;
mod outbox;
mod outgoing;
mod outward;
mod performative;
mod reading;
mod replies;
mod requests;
mod sasl;
mod session;
mod settlement;
mod socket;
mod stream;
mod taking;
mod translate;
mod undelivered;

use std::time::Duration;

pub(crate) use connection::{Context, Transport, certificate_of};
pub(crate) use listener::serve;
pub(crate) use socket::{Ender, Socket};

/// A protocol header and a frame header are both this long, in bytes.
const AMQP_HEADER_LEN: usize = 8;
/// Protocol id 0, version 1.0.0.
const AMQP_HEADER: [u8; AMQP_HEADER_LEN] = *b"AMQP\x00\x01\x00\x00";

// What the real hub says in `open` and `begin`, as traces of it show.
const MAX_FRAME_SIZE: u32 = 65_536;
const CHANNEL_MAX: u16 = 8191;
const IDLE_TIME_OUT_MS: u32 = 240_000;
const FIRST_OUTGOING_ID: u32 = 1;
const INCOMING_WINDOW: u32 = 5000;
const OUTGOING_WINDOW: u32 = u32::MAX;
const HANDLE_MAX: u32 = 262_143;

/// The largest message on a telemetry link, in bytes: above it the link is detached (`max-message-size`).
const MAX_MESSAGE_SIZE: u64 = 1024 * 1024;
/// The largest message, or batch of messages, that the hub takes, in bytes: above it the message is rejected
/// (Azure docs, "IoT Hub quotas and throttling": 256 KB).
const MAX_TELEMETRY_SIZE: usize = 256 * 1024;
/// What the real hub says on a link that it redirects, as traces show.
const MAX_REDIRECTED_SIZE: u64 = 262_144;

/// The largest twin request or method response, in bytes: the 128 KB that a response's payload may have, and room for
/// what stands before it.
const MAX_REQUEST_SIZE: usize = 160 * 1024;

/// The most connections at once, of all ports together; one more is closed as it comes.
pub(crate) const MAX_CONNECTIONS: usize = 10_000;
/// The most sessions on one connection. The real hub's `channel-max` would allow 8,192.
const MAX_SESSIONS: usize = 1024;
/// The most links on one connection, of all its sessions.
const MAX_LINKS: usize = 4096;
/// The most that a performative may weigh in the engine's memory, in bytes: some 3,000 values. SDKs' have less than 100.
const MAX_PERFORMATIVE: usize = 256 * 1024;
/// The same of a transfer, beside its payload: its fields, and a delivery-tag of 32 bytes (§2.8.7).
const MAX_TRANSFER_PERFORMATIVE: usize = 2 * 1024;
/// The most that the sessions and links of one connection may weigh together, by their `begin` and `attach`, in bytes.
const MAX_KEPT: usize = 32 * 1024 * 1024;
/// How many telemetry messages a client may send over a busy link before the hub asks for more. What the real hub grants is
/// not known.
const TELEMETRY_CREDIT: u32 = 1000;
/// The most deliveries that a link takes in one go, and so the most that one command to the hub holds.
const MAX_TAKEN: usize = 1024;
/// A link takes no more in one go once it has this much, in bytes.
const MAX_TAKEN_BYTES: usize = 1024 * 1024;
/// The most that one connection's messages and attaches may weigh, in bytes, which the hub has not got yet; above it
/// the connection is not read.
const MAX_UNREAD: usize = 16 * 1024 * 1024;
/// How long a connection is left unread before it is given up.
const UNREAD_TIMEOUT: Duration = Duration::from_secs(30);
/// The most answers of one connection's `$cbs`, or of one session's `$management`, that wait for a link to be sent over;
/// one more ends the link of the requests. More than a connection may hold tokens, so a client that puts them all at once
/// is heard.
const MAX_REPLIES: usize = 1024;
/// The most deliveries over one link that the client has not settled; the link sends no more until it does. More
/// than all that a mailbox can have out at once.
const MAX_UNSETTLED: usize = 1024;
/// The most settled deliveries of a link that the engine has and the stream has not.
const MAX_HANDED: usize = 256;
/// The most that the deliveries of one connection may weigh, in bytes, that wait for the client's credit or for it to
/// settle them; one more ends its link, or waits if it is an event. The messages of 250 mailboxes with one of 64 KB each.
const MAX_UNDELIVERED: usize = 16 * 1024 * 1024;
/// What a delivery weighs beside its bytes.
const DELIVERY_WEIGHT: usize = 512;
/// The most bytes of ours that wait for the stream to take them, or while a fault lets a connection send nothing; the
/// engine waits then, and the client is read no further.
const MAX_UNSAID: usize = 1024 * 1024;
/// How much is read at once, in bytes.
const READ_CHUNK: usize = 16 * 1024;

/// How long a client may take from its first packet to `open`: TLS, SASL and all.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a client may take to answer our `detach`, `end` or `close`.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a session or connection that we end goes on, so that what was said before arrives before: the engine
/// lets an end overtake it, and a reset does so by its nature.
const LAST_WORDS: Duration = Duration::from_millis(20);
/// How long the engine's task may take to end once its stream has.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(1);
