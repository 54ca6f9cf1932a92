//! A link over which a service sends to devices, a message at a time.

use fe2o3_amqp::Receiver;
use tokio::sync::mpsc;

use super::decode;
use super::link::{self, End, EndSession};
use super::session::Shared;
use crate::hub::Verdict;
use crate::owner::{HubStopped, LinkOrder};

/// Takes messages to the hub until the link or the hub ends, or the hub orders it to end. Each is settled when the hub has
/// put it into its mailbox, or has said why not.
pub(super) async fn take(
    mut receiver: Receiver,
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
        let rejected = match decode::message(&link::join(message.body)) {
            Ok(message) => match shared.client.send_to_device(message).await {
                Ok(Ok(Verdict::AllBut(rejected))) => {
                    rejected.first().map(|(_, refusal)| link::refused(refusal))
                }
                // Only of telemetry.
                Ok(Ok(Verdict::Withheld)) => None,
                Ok(Err(refusal)) => break End::Ours(link::refused(&refusal)),
                Err(HubStopped) => break End::Theirs,
            },
            Err(malformed) => Some(link::error("amqp:decode-error", malformed.to_string())),
        };
        shared.intake.taken(weight);
        let settled = match rejected {
            None => receiver.accept_all(vec![info]).await,
            Some(error) => receiver.reject(info, error).await,
        };
        if settled.is_err() {
            break End::Theirs;
        }
    };
    end.perform(receiver).await
}
