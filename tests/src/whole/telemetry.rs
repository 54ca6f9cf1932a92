//! What an application sends: it queues, sends, and sometimes does not wait.

use futures_util::FutureExt;
use iothub_amqp::{DeviceClient, EnqueueError, Message, OPERATION_TIMEOUT, Status};
use tokio::task::JoinSet;
use tokio::time::{Duration, sleep, timeout};

use super::app::{Device, has_ended};
use super::plan::Parting;
use super::record::{Id, Means};
use crate::sim::dice::Dice;

/// Sends all messages of a round and waits for all outcomes.
pub(super) async fn send(device: &Device, client: &DeviceClient, dice: &mut Dice) {
    let plan = device.plan();
    let mut doing = JoinSet::new();
    for number in device.round * plan.messages..(device.round + 1) * plan.messages {
        if dice.coin() {
            tokio::select! {
                biased;
                () = end(client) => break,
                () = device.pause(dice, plan.messages) => {}
            }
        }
        let id = (device.number, number);
        let filler = usize::try_from(dice.below(plan.largest)).unwrap_or(0);
        let message = Message::new(format!("{} {number} {}", device.number, "x".repeat(filler)));
        let means = if plan.by_all_means {
            dice.pick(&MEANS)
        } else {
            Means::Queued
        };
        let within = match means {
            Means::Queued | Means::QueuedAndForgotten => plan.queue_timeout,
            Means::Sent | Means::SentAndDropped => OPERATION_TIMEOUT,
        };
        device.record(|record| record.sent(id, means, within));
        match means {
            Means::Queued | Means::QueuedAndForgotten => {
                if let Err(error) = queue(device, client, id, means, message, &mut doing) {
                    device.record(|record| record.never_given(id));
                    if plan.parting == Parting::Done {
                        device.wrong(format!("{error} at message {number}"));
                    }
                    break;
                }
            }
            Means::Sent => begin(device.clone(), client, id, message, None, &mut doing),
            Means::SentAndDropped => {
                let patience = Some(dice.up_to(Duration::from_secs(3)));
                begin(device.clone(), client, id, message, patience, &mut doing);
            }
        }
    }
    while doing.join_next().await.is_some() {}
    // Of those that were forgotten nobody tells, and of the newest the statistics do not know yet.
    sleep(Duration::from_secs(1)).await;
    while client.statistics().waiting > 0 && !has_ended(client) {
        sleep(Duration::from_secs(1)).await;
    }
}

/// Waits for the client's end.
async fn end(client: &DeviceClient) {
    let is_end = |status: &Status| matches!(status, Status::Ended { .. });
    // Who says it no more has ended, too.
    let _ = client.status().wait_for(is_end).await;
}

fn queue(
    device: &Device,
    client: &DeviceClient,
    id: Id,
    means: Means,
    message: Message,
    doing: &mut JoinSet<()>,
) -> Result<(), EnqueueError> {
    let ticket = client.enqueue(message)?;
    if means == Means::Queued {
        let device = device.clone();
        doing.spawn(async move {
            let result = ticket.await;
            device.note(format_args!("message {} {result:?}", id.1));
            device.record(|record| record.told(id, &result));
        });
    }
    Ok(())
}

/// A message's turn is when its future is polled first, which is here.
fn begin(
    device: Device,
    client: &DeviceClient,
    id: Id,
    message: Message,
    patience: Option<Duration>,
    doing: &mut JoinSet<()>,
) {
    let sender = client.clone();
    let mut sending = Box::pin(async move { sender.send(message).await });
    let done = (&mut sending).now_or_never();
    doing.spawn(async move {
        let result = match (done, patience) {
            (Some(result), _) => result,
            (None, None) => sending.await,
            (None, Some(patience)) => match timeout(patience, &mut sending).await {
                Ok(result) => result,
                Err(_) => return,
            },
        };
        device.note(format_args!("message {} {result:?}", id.1));
        device.record(|record| record.told(id, &result));
    });
}

/// A client keeps no more messages than it was given and has not told of, whenever it is looked at. Runs until it is
/// dropped.
pub(super) async fn look_at_queue(device: Device, client: DeviceClient) {
    loop {
        // Whatever else there was to do by then is done.
        sleep(LOOK_AGAIN).await;
        let waiting = client.statistics().waiting;
        let most = device.record(|record| record.untold(device.number));
        if waiting > most {
            device.wrong(format!("{waiting} messages wait of {most}"));
        }
    }
}

const LOOK_AGAIN: Duration = Duration::from_millis(4_999);

const MEANS: [Means; 5] = [
    Means::Queued,
    Means::Queued,
    Means::Sent,
    Means::QueuedAndForgotten,
    Means::SentAndDropped,
];
