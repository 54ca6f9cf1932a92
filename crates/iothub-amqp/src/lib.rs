#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod access;
mod builder;
mod certificate;
mod commands;
mod config;
mod connection;
mod credential;
mod cursor;
mod device;
mod driver;
mod error;
mod event;
mod events;
mod feedback;
mod files;
mod held;
mod joining;
mod lag;
mod listening;
mod machine;
mod message;
mod methods;
mod network;
mod pool;
mod proxy;
mod received;
pub mod recovery;
mod report;
mod room;
mod service;
mod status;
#[doc(hidden)]
#[allow(
    clippy::exhaustive_enums,
    reason = "for the simulation in this workspace's tests; no part of the public interface"
)]
pub mod supervisor;
mod twin;
mod way;

// The public interface:
pub use crate::builder::{DeviceClientBuilder, Recover};
pub use crate::certificate::{CertificateError, ClientCertificate};
pub use crate::commands::{Command, Commands};
pub use crate::config::{
    AMQP_PORT, AMQPS_PORT, HTTPS_PORT, IDLE_TIMEOUT, MAX_DEVICES, MAX_WINDOW, OPERATION_TIMEOUT, QUEUE,
    QUEUE_BYTES, QUEUE_TIMEOUT, Transport, WINDOW, WINDOW_BYTES,
};
pub use crate::connection::{Connection, ConnectionBuilder, DeviceBuilder};
pub use crate::credential::{Credential, CredentialError, Key, TOKEN_LIFE, TokenFuture};
pub use crate::cursor::Position;
pub use crate::device::{DeviceClient, Ticket};
pub use crate::error::{
    Accepted, CloseError, Condition, ConnectError, DispatchError, EnqueueError, EventsError, Interruption,
    Lost, Phase, ProxyFailure, ReportError, SendError, SettleError, SubscribeError, TlsFailure, TwinError,
    WebSocketFailure,
};
pub use crate::event::{Event, EventValue};
pub use crate::events::{
    BUFFER, Duplicate, Ended, Events, EventsClient, EventsClientBuilder, Gap, MAX_BUFFER, PartitionState,
    Read, Reading,
};
pub use crate::feedback::{FeedbackBatch, FeedbackBatches, FeedbackRecord, FeedbackStatus};
pub use crate::files::{FileNotification, FileNotifications, UploadedFile};
pub use crate::lag::Progress;
pub use crate::machine::{Clock, SystemClock};
pub use crate::message::Message;
pub use crate::methods::{METHOD_LIMIT, MethodCall, Methods};
pub use crate::network::{ByteStream, Connecting, Network, Resolving, SystemNetwork};
pub use crate::pool::Pool;
pub use crate::proxy::{Proxies, Proxy, ProxyError};
pub use crate::received::ReceivedMessage;
pub use crate::service::{Ack, ServiceClient, ServiceClientBuilder};
pub use crate::status::{Statistics, Status};
pub use crate::supervisor::Batching;
pub use crate::supervisor::backoff::Schedule;
pub use crate::twin::{DesiredChange, DesiredChanges, Properties, Twin, TwinState};
pub use iothub_frame::{Blown, Violation};
