//! The seam to the AMQP engine, fe2o3-amqp: the only modules that name it, and where its errors become ours.

mod begins;
mod claims;
mod conditions;
mod connection;
pub(crate) mod events;
mod farewells;
mod heartbeat;
pub(crate) mod incoming;
mod inward;
mod links;
mod manifest;
mod outward;
mod performative;
mod receiver;
mod rumour;
mod sender;
mod words;

pub(crate) use claims::{Claims, Gone, Put};
pub(crate) use conditions::End;
pub(crate) use connection::{Channel, Line, Login, Opening, Sasl, open};
pub(crate) use links::{LinkPlan, REPLY_TO, Reading};
pub(crate) use receiver::{Inlet, Key};
pub(crate) use sender::{Delivery, Encoded, HandError, Link, Outgoing};
