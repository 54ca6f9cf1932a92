#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod admin;
mod builder;
mod client_certificate;
mod clock;
mod cloud_message;
mod emulator;
mod export;
mod fault;
mod feed;
mod given;
mod guests;
mod http;
mod hub;
mod identity_form;
mod impairment;
mod keeper;
mod method_call;
mod outbox;
mod owner;
mod page;
mod partitions;
mod query;
mod random;
mod rest;
mod rings;
mod seed;
mod service;
mod start;
mod store;
mod tls;
mod websocket;
mod wire;

// The public interface:
pub use builder::Builder;
pub use clock::{Clock, ManualClock, SystemClock, Timestamp};
pub use cloud_message::CloudMessage;
pub use emulator::{Emulator, HubError};
pub use export::Export;
pub use fault::{
    CloseReason, Fault, FaultError, FaultKind, FaultTime, InjectedFault, UnknownFault, UnknownReason,
};
pub use feed::{Feed, Notice, Subscription};
pub use hub::{
    Ack, Activity, AuthFailure, AuthMethod, Authentication, Body, CloudToDevice, ConnectionState, Event,
    ExportKeys, Fate, Feedback, Keys, LogLimits, MailboxError, Message, MessageId, MethodError,
    MethodResponse, NoThumbprint, Passed, Presence, Properties, RegistryError, Rights, Scope, Sender, Source,
    Status, Thumbprint, Thumbprints, Tier, Traffic, Twin, TwinError, Value, What,
};
pub use method_call::MethodCall;
pub use random::NoRandomness;
pub use seed::SeedError;
pub use start::{Endpoint, StartError};
pub use store::{STATE_FILE, StateError};
pub use tls::{CA_FILE, CA_KEY_FILE, TlsError};
