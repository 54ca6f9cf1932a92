//! Applications that part from their clients in the middle of things.

use iothub_amqp::{DeviceClient, OPERATION_TIMEOUT};
use tokio::time::{Duration, sleep};

use super::app::{Device, has_ended};
use super::plan::Parting;
use super::telemetry;
use crate::sim::dice::Dice;

/// Sends, and closes the client or drops it at some time before the horizon.
pub(super) async fn before_all_is_done(
    device: &Device,
    client: DeviceClient,
    parting: Parting,
    dice: &mut Dice,
) {
    let (sender, sending, mut its_dice) = (device.clone(), client.clone(), Dice::new(dice.throw()));
    let mut sending = tokio::spawn(async move { telemetry::send(&sender, &sending, &mut its_dice).await });
    device.pause(dice, device.plan().rounds).await;
    let told = client.clone();
    if parting == Parting::Dropped {
        drop((client, told));
        sending.abort();
        let _ = sending.await;
        device.record(|record| record.forget(device.number));
        // What it had begun goes on for as long as a farewell may take.
        sleep(OPERATION_TIMEOUT + Duration::from_secs(5)).await;
    } else {
        let closing = client.close();
        let closed = device.within(OPERATION_TIMEOUT, "closing", closing).await;
        device.note(format_args!("closed early: {closed:?}"));
        if !has_ended(&told) {
            device.wrong("it was closed, and has not ended");
        }
        // Whoever waits for an outcome has it now.
        if tokio::time::timeout(Duration::from_secs(5), &mut sending)
            .await
            .is_err()
        {
            device.wrong("its client is closed, and something waits");
            sending.abort();
        }
        device.record(|record| record.client_done(device.number, told.statistics()));
    }
}
