//! Messages from the cloud: the hub has some, and the device completes each.

use std::time::Duration;

use iothub_amqp::{DeviceClient, OPERATION_TIMEOUT};
use iothub_emulator::CloudMessage;
use tokio::time::{sleep, timeout};

use super::app::{Device, SUBSCRIBING, has_ended};
use crate::sim::dice::Dice;

/// Takes them until none is left at the hub.
pub(super) async fn take(device: Device, client: DeviceClient, seed: u64) {
    let mut dice = Dice::new(seed);
    let mut commands = loop {
        match device.within(SUBSCRIBING, "listening", client.commands()).await {
            Ok(commands) => break commands,
            Err(error) if has_ended(&client) => {
                return device.wrong(format!("no commands: {error}"));
            }
            Err(_) => sleep(Duration::from_secs(5)).await,
        }
    };
    let hub = &device.shared.hub;
    for number in 0..device.plan().commands {
        let message = CloudMessage::new(format!("command {number}"));
        if let Err(error) = hub.send_to_device(device.identity(), message).await {
            device.wrong(format!("the hub does not take a command: {error}"));
        }
    }
    loop {
        let waiting = hub.waiting_messages(device.identity()).await;
        if waiting.is_ok_and(|waiting| waiting == 0) {
            return;
        }
        // The word on a message may be lost with its connection; then the message comes again, after its lock's time.
        match timeout(Duration::from_secs(1), commands.next()).await {
            Ok(Some(command)) if dice.permille(200) => drop(command),
            Ok(Some(command)) => {
                let completing = command.complete();
                let completed = device.within(OPERATION_TIMEOUT, "completing", completing).await;
                device.note(format_args!("command {completed:?}"));
                device.record(|record| record.completed += u64::from(completed.is_ok()));
            }
            Ok(None) => {
                let why = commands.ended();
                return device.wrong(format!("it gets no commands any more: {why:?}"));
            }
            Err(_) => {}
        }
    }
}
