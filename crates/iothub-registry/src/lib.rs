#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod bulk;
mod code;
mod configurations;
mod credential;
mod dial;
mod error;
mod exchange;
mod identities;
mod identity;
mod if_match;
mod jobs;
mod methods;
mod pages;
mod pool;
mod proxy;
mod query;
mod refusal;
mod registry;
mod reply;
mod request;
mod retry;
mod statistics;
mod tls;
mod twin;
mod wire;

// The public interface:
pub use bulk::{BulkChange, BulkError, BulkMode, BulkReport, MAX_BULK};
pub use code::ErrorCode;
pub use configurations::{Configuration, QueryCheck};
pub use credential::{Credential, CredentialError, PolicyKey, TOKEN_LIFE, TokenFuture};
pub use error::{BadReply, BuildError, Interruption, NotSent, RegistryError, Step};
pub use identity::{Authentication, ConnectionState, Device, Module, Status, SymmetricKey, Thumbprints};
pub use if_match::IfMatch;
pub use jobs::{Job, JobFilter, JobKind, JobRequest, JobStatus};
pub use methods::{MethodCall, MethodResponse};
pub use pages::{Page, Pages};
pub use proxy::{Proxy, ProxyError};
pub use refusal::Refusal;
pub use registry::{DEADLINE, HTTPS_PORT, MAX_REPLY, Registry, RegistryBuilder};
pub use statistics::DeviceCounts;
pub use twin::{Section, Twin, TwinChange};
