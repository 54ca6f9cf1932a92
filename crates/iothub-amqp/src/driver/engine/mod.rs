//! The seam to the AMQP engine, fe2o3-amqp: the only modules that name it, and where its errors become ours.

mod conditions;
mod connection;
mod sender;

pub(crate) use connection::{Life, Login, Opening, Wire, open};
pub(crate) use sender::{Encoded, HandError, Link};
