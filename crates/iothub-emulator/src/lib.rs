//! A local IoT Hub in a process, for tests and for machines with no cloud account.
//!
//! Clients of Azure IoT Hub reach it over AMQP 1.0 with TLS as they reach the real one. It has a certificate
//! authority of its own, checks SAS tokens, and keeps what it is sent where a test can read it: see
//! [`Emulator::journal`]. Why a client does not get in, which the client itself is not told, is in
//! [`Emulator::activity`].
#![forbid(unsafe_code)]

mod builder;
mod clock;
mod emulator;
mod feed;
mod http;
mod hub;
mod owner;
mod random;
mod tls;
mod wire;

// The public interface:
pub use builder::{Builder, Endpoint, StartError};
pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use emulator::{Emulator, HubError};
pub use feed::{Feed, Notice, Subscription};
pub use hub::{
    Activity, AuthFailure, AuthMethod, Body, Event, Keys, LogLimits, Message, MessageId, Properties,
    RegistryError, Rights, Scope, Sender, Source, Status, Value, What,
};
pub use random::NoRandomness;
pub use tls::{CA_FILE, CA_KEY_FILE, TlsError};
