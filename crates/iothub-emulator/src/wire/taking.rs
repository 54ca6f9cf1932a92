//! How messages are taken one at a time from a client that sends something else than telemetry.

use bytes::Bytes;
use fe2o3_amqp::Receiver;
use fe2o3_amqp_types::definitions::Error;
use tokio::sync::mpsc;

use super::link::{self, End, EndSession};
use super::session::Shared;
use super::{MAX_MESSAGE_SIZE, decode};
use crate::hub::Message;
use crate::owner::LinkOrder;

/// What is done with a message that could be decoded.
pub(super) trait Take {
    /// The largest that it takes, in bytes.
    const MOST: usize = MAX_MESSAGE_SIZE as usize;

    /// Why the message is rejected, if it is; or how the link ends with it, which then has no outcome.
    fn take(&mut self, message: Message) -> impl Future<Output = Result<Option<Error>, End>> + Send;
}

/// Gives each message over until the link or the hub ends, or the hub orders it to end. Each is settled when that is done.
pub(super) async fn each(
    mut receiver: Receiver,
    shared: &Shared,
    mut orders: mpsc::Receiver<LinkOrder>,
    mut taker: impl Take,
) -> Option<EndSession> {
    let end = loop {
        let received = tokio::select! {
            biased;
            order = orders.recv() => break link::ordered(order),
            received = receiver.recv::<link::Raw>() => received,
        };
        let delivery = match received {
            Ok(delivery) => delivery,
            Err(error) => break link::ending(&error),
        };
        let (info, message) = delivery.into_parts();
        let weight = link::weight(&message.body);
        let taken = take_one(&link::join(message.body), &mut taker).await;
        shared.intake.taken(weight);
        let settled = match taken {
            Ok(None) => receiver.accept_all(vec![info]).await,
            Ok(Some(error)) => receiver.reject(info, error).await,
            Err(end) => break end,
        };
        if settled.is_err() {
            break End::Theirs;
        }
    };
    end.perform(receiver).await
}

async fn take_one<T: Take>(bytes: &Bytes, taker: &mut T) -> Result<Option<Error>, End> {
    if bytes.len() > T::MOST {
        let text = format!(
            "The message is {} bytes long; {} are allowed.",
            bytes.len(),
            T::MOST
        );
        return Ok(Some(link::error("amqp:link:message-size-exceeded", text)));
    }
    match decode::message(bytes) {
        Ok(message) => taker.take(message).await,
        Err(malformed) => Ok(Some(link::error("amqp:decode-error", malformed.to_string()))),
    }
}
