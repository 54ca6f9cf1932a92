//! Direct methods: a service calls, the device gives back what it was given.

use std::collections::BTreeMap;
use std::time::Duration;

use iothub_amqp::{DeviceClient, OPERATION_TIMEOUT};
use iothub_emulator::MethodCall;
use tokio::time::sleep;

use super::app::{Device, SUBSCRIBING, has_ended};
use crate::sim::dice::Dice;

/// Answers until the service has called often enough.
pub(super) async fn answer(device: Device, client: DeviceClient, seed: u64) {
    let mut methods = loop {
        match device.within(SUBSCRIBING, "listening", client.methods()).await {
            Ok(methods) => break methods,
            Err(error) if has_ended(&client) => {
                return device.wrong(format!("no methods: {error}"));
            }
            Err(_) => sleep(Duration::from_secs(5)).await,
        }
    };
    let mut came = BTreeMap::<Vec<u8>, u64>::new();
    let mut calling = Box::pin(call(&device, seed));
    let answered = loop {
        tokio::select! {
            biased;
            answered = &mut calling => break answered,
            call = methods.next() => {
                let Some(call) = call else {
                    let why = methods.ended();
                    return device.wrong(format!("it gets no calls any more: {why:?}"));
                };
                let payload = call.payload().to_vec();
                *came.entry(payload.clone()).or_default() += 1;
                let saying = call.respond(200, payload);
                let said = device.within(OPERATION_TIMEOUT, "responding", saying).await;
                device.note(format_args!("answers a call: {said:?}"));
            }
        }
    };
    for (payload, times) in &came {
        if *times > 1 {
            device.wrong(format!("call {payload:?} came {times} times"));
        }
    }
    for payload in &answered {
        if !came.contains_key(payload) {
            device.wrong(format!("nobody has answered call {payload:?}"));
        }
    }
    device.record(|record| record.answered += answered.len() as u64);
}

/// Which calls were answered.
async fn call(device: &Device, seed: u64) -> Vec<Vec<u8>> {
    let mut dice = Dice::new(seed);
    let mut answered = Vec::new();
    for number in 0..device.plan().calls {
        device.pause(&mut dice, device.plan().calls).await;
        let payload = number.to_string();
        let call = MethodCall::new("give back")
            .payload(payload.clone())
            .connect_timeout(Duration::from_secs(60));
        let result = device.shared.hub.call_method(device.identity(), call).await;
        device.note(format_args!("call {number}: {result:?}"));
        if let Ok(response) = result {
            if (response.status, &response.payload[..]) != (200, payload.as_bytes()) {
                device.wrong(format!("call {number} is answered with {response:?}"));
            }
            answered.push(payload.into_bytes());
        }
    }
    answered
}
