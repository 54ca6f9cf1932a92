#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod connection_string;
mod error;
mod escape;
mod host;
mod identity;
mod name;
mod node;
mod resource;
mod secret;
mod url;
mod user;

// The public interface:
pub use connection_string::{ConnectionString, ConnectionStringBuilder, ConnectionStringKind};
pub use error::{AddressError, ErrorKind, Part};
pub use host::HubHost;
pub use identity::Identity;
pub use name::{
    ConsumerGroup, DeviceId, EventHubName, HubName, IdScope, ModuleId, PolicyName, RegistrationId,
};
pub use node::Node;
pub use resource::Resource;
pub use secret::Secret;
pub use url::{AmqpUrl, AmqpUrlRef, Piece, Reading, Scheme};
pub use url::{Difference, ExplainedPart, Explanation, Oddity, OddityKind, OtherReading, Parser};
pub use user::{Principal, User};
