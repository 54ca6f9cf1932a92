//! The only module that touches sockets, and the only one below which the AMQP engine is named.

pub(crate) mod dial;
pub(crate) mod engine;
pub(crate) mod owner;
pub(crate) mod tls;
