//! The seam to the AMQP engine, fe2o3-amqp: the only modules that name it, and where its errors become ours.

mod claims;
mod conditions;
mod connection;
mod inward;
mod sender;

pub(crate) use claims::Claims;
pub(crate) use conditions::End;
pub(crate) use connection::{Channel, Line, Login, Opening, Sasl, open};
pub(crate) use sender::{Encoded, HandError, Link, Outgoing};
