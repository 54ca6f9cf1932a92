//! The only module that touches sockets, and the only one below which the AMQP engine is named. It decides nothing:
//! it does what the supervisor says, and tells it what came of it.

mod ahead;
pub(crate) mod command;
pub(crate) mod connection;
mod counted;
pub(crate) mod dial;
pub(crate) mod engine;
mod inlet;
mod lane;
pub(crate) mod member;
pub(crate) mod names;
pub(crate) mod owner;
mod pair;
pub(crate) mod place;
mod race;
mod reading;
pub(crate) mod route;
mod session;
pub(crate) mod tls;
pub(crate) mod tray;
mod trunk;
mod tunnel;
mod websocket;

use crate::CredentialError;
use crate::error::ConnectError;
use crate::event::Event;
use crate::received::ReceivedMessage;
use crate::supervisor::{DeliveryId, Input, Question, RequestId, SlotId, TransferId, Verdict};
use std::time::Duration;

use iothub_sas::SasToken;
use serde_json::json;
use tokio::sync::mpsc;

use engine::Outgoing;

/// Something that a task of the driver has found out.
pub(crate) enum Fact {
    /// For the supervisor; with the whole error, where making something has failed.
    Found(Input, Option<ConnectError>),
    /// For the supervisor, with what it does not need to see.
    Carrying(Input, Carried),
    /// The answer of a slot's credential.
    Token(SlotId, Result<SasToken, CredentialError>),
}

impl Fact {
    /// Whether it is of a message on its way, and nothing out of the ordinary.
    const fn is_of_a_transfer(&self) -> bool {
        matches!(
            self,
            Self::Found(Input::Handed { .. } | Input::Settled { .. }, None)
        )
    }
}

/// What came in, for the application.
pub(crate) enum Carried {
    Message(Box<ReceivedMessage>),
    Call {
        name: String,
        payload: Vec<u8>,
    },
    Answer {
        version: Option<i64>,
        body: Vec<u8>,
    },
    /// Not the application's answer was handed over, but the word that it is too large.
    TooLarge {
        size: u64,
        limit: u64,
    },
    Change(Vec<u8>),
    Events(Vec<Event>),
}

/// Where facts go. Unbounded, but not without bound: two facts for each transfer that is out and for each place that
/// something which comes in may take, two for each connection and link, one for each question.
pub(crate) type Facts = mpsc::UnboundedSender<Fact>;

/// Tells a fact; an owner that has gone needs none.
pub(crate) fn tell(facts: &Facts, input: Input) {
    let _ = facts.send(Fact::Found(input, None));
}

/// What the owner asks of a lane. It ends when there is nobody to ask any more.
pub(crate) enum LaneOrder {
    Transfer(TransferId, Outgoing),
    TakeBack(TransferId),
    Dispose(DeliveryId, Verdict, Option<MethodAnswer>),
    Ask(RequestId, Question, Option<Vec<u8>>),
    /// Let so many more come.
    Room(u32),
    /// Let nothing more come.
    Quiet,
}

/// What a method call is answered with.
pub(crate) struct MethodAnswer {
    pub(crate) status: i32,
    pub(crate) payload: Vec<u8>,
}

impl MethodAnswer {
    /// What a caller is told whose answer is larger than may be.
    pub(crate) fn too_large(size: u64, limit: u64) -> Self {
        let message = format!("the device's answer has {size} bytes, and {limit} is the most");
        Self {
            status: 500,
            payload: json!({ "message": message }).to_string().into_bytes(),
        }
    }
}

/// How long what has ended may take to say so in its own words.
pub(crate) const REASON_TIMEOUT: Duration = Duration::from_secs(1);
