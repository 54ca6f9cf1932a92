//! A link over which a client asks or answers, a message at a time: twin requests, method responses.

use fe2o3_amqp::Receiver;
use tokio::sync::mpsc;

use super::link::{self, End, EndSession};
use super::session::Shared;
use super::{MAX_REQUEST_SIZE, decode};
use crate::hub::LinkId;
use crate::owner::{HubStopped, LinkOrder};

/// Takes messages to the hub until the link or the hub ends, or the hub orders it to end. Each is settled when the
/// hub has it; what comes of it goes over the other link of the pair.
pub(super) async fn take(
    mut receiver: Receiver,
    id: LinkId,
    shared: &Shared,
    mut orders: mpsc::Receiver<LinkOrder>,
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
        let bytes = link::join(message.body);
        let refused = if bytes.len() > MAX_REQUEST_SIZE {
            let text = format!(
                "The message is {} bytes long; {MAX_REQUEST_SIZE} are allowed.",
                bytes.len()
            );
            Some(link::error("amqp:link:message-size-exceeded", text))
        } else {
            match decode::message(&bytes) {
                Ok(message) => match shared.client.pair_message(id, message).await {
                    Ok(Ok(())) => None,
                    Ok(Err(refusal)) => break End::Ours(link::refused(&refusal)),
                    Err(HubStopped) => break End::Theirs,
                },
                Err(malformed) => Some(link::error("amqp:decode-error", malformed.to_string())),
            }
        };
        shared.intake.taken(weight);
        let settled = match refused {
            None => receiver.accept_all(vec![info]).await,
            Some(error) => receiver.reject(info, error).await,
        };
        if settled.is_err() {
            break End::Theirs;
        }
    };
    end.perform(receiver).await
}
