//! A module has what a device has: telemetry, cloud-to-device messages, a twin and methods of its own; and inputs.

use std::sync::Arc;

use iothub_address::{Identity, ModuleId};
use iothub_emulator::{CloudMessage, Emulator, Keys, MethodCall};
use iothub_sas::{Signer, UnixTime};
use serde_amqp::Value as Wire;
use serde_json::json;

use crate::common::{DEVICE, OTHER_KEY, builder, device, key};
use crate::pairs::*;
use crate::raw::*;

/// A module of the device.
pub(crate) const PATH: &str = "myFirstDevice/modules/m";

pub(crate) fn module() -> ModuleId {
    "m".parse().unwrap()
}

fn identity() -> Identity {
    Identity::Module(device(), module())
}

/// The usual hub, and the device's module `m`.
pub(crate) async fn hub() -> Emulator {
    let keys = Keys::new(key(OTHER_KEY), key(OTHER_KEY));
    builder().module(device(), module(), keys).start().await.unwrap()
}

/// The module after `begin` on channel 0, by PLAIN.
pub(crate) async fn begun(hub: &Emulator) -> Raw {
    let mut raw = Raw::silent(hub).await;
    let resource = format!("tcontehub.azure-devices.net/devices/{PATH}");
    let token = Signer::new(key(OTHER_KEY)).sign(&resource, UnixTime::from_secs(4_000_000_000));
    assert_eq!(
        raw.plain(&format!("{PATH}@sas.tcontehub"), token.expose()).await,
        0
    );
    raw.start().await;
    raw
}

#[tokio::test]
async fn a_module_has_a_twin_of_its_own() {
    let hub = hub().await;
    hub.patch_desired(identity(), json!({"interval": 60}))
        .await
        .unwrap();
    let mut raw = begun(&hub).await;
    pair(&mut raw, &format!("/devices/{PATH}/twin"), Some("twin:m")).await;
    let operation = |name: &str, resource: &str| {
        let mut pairs = vec![(symbol("operation"), string(name))];
        if !resource.is_empty() {
            pairs.push((symbol("resource"), string(resource)));
        }
        section(0x72, &map(&pairs))
    };
    let request = |id: u32, annotations: Vec<u8>, body: &str| {
        let fields = [null(), null(), null(), null(), null(), ulong(u64::from(id))];
        let payload = [annotations, section(0x73, &list(&fields)), data(body.as_bytes())];
        transfer(id, true, false, &payload.concat())
    };
    raw.send(&request(0, operation("GET", ""), " ")).await;
    let (_, sections) = delivered(&mut raw).await;
    let whole: serde_json::Value = serde_json::from_slice(&body(&sections)).unwrap();
    assert_eq!(whole["desired"], json!({"interval": 60, "$version": 2}));
    raw.send(&request(
        1,
        operation("PATCH", "/properties/reported"),
        r#"{"a":1}"#,
    ))
    .await;
    delivered(&mut raw).await;
    let notifications = "/notifications/twin/properties/desired";
    raw.send(&request(2, operation("PUT", notifications), " ")).await;
    delivered(&mut raw).await;
    hub.patch_desired(device(), json!({"not": "for the module"}))
        .await
        .unwrap();
    hub.patch_desired(identity(), json!({"interval": null}))
        .await
        .unwrap();
    let (_, sections) = delivered(&mut raw).await;
    let change: serde_json::Value = serde_json::from_slice(&body(&sections)).unwrap();
    assert_eq!(change, json!({"interval": null, "$version": 3}));
    assert_eq!(hub.twin(identity()).await.unwrap().reported()["a"], 1);
    assert!(hub.twin(device()).await.unwrap().reported().is_empty());
}

#[tokio::test]
async fn a_module_answers_its_own_methods() {
    let hub = Arc::new(hub().await);
    let mut raw = begun(&hub).await;
    pair(
        &mut raw,
        &format!("/devices/{PATH}/methods/devicebound"),
        Some("methods:m"),
    )
    .await;
    let calling = Arc::clone(&hub);
    let waiting =
        tokio::spawn(async move { calling.call_method(identity(), MethodCall::new("restart")).await });
    let (_, sections) = delivered(&mut raw).await;
    let Wire::Uuid(id) = correlation(&sections) else {
        panic!("no uuid: {sections:?}")
    };
    let fields = [null(), null(), null(), null(), null(), uuid(&id.into_inner())];
    let status = [&[0x71][..], &7_i32.to_be_bytes()].concat();
    let payload = [
        section(0x73, &list(&fields)),
        section(0x74, &map(&[(string("IoThub-status"), status)])),
        data(b"null"),
    ];
    raw.send(&transfer(0, false, false, &payload.concat())).await;
    assert_eq!(waiting.await.unwrap().unwrap().status, 7);
    let refused = hub.call_method(device(), MethodCall::new("restart")).await;
    assert!(refused.is_err(), "the device itself is not online");
}

/// N and C# receive at the telemetry address as a source, J at the other (protocol §5.1).
#[tokio::test]
async fn a_message_for_an_input_names_it_at_either_address() {
    for path in ["messages/events", "messages/devicebound"] {
        let hub = hub().await;
        let mut raw = begun(&hub).await;
        let address = format!("/devices/{PATH}/{path}");
        let fields = attach_fields(1, "input", true, &address, "target");
        raw.send(&frame(0, ATTACH, &fields, b"")).await;
        raw.expect(ATTACH).await;
        grant(&mut raw, 1, 10).await;
        let message = CloudMessage::new("{}").property("route", "a");
        hub.send_to_input(device(), module(), "input1", message)
            .await
            .unwrap();
        hub.send_to_device(identity(), CloudMessage::new("plain"))
            .await
            .unwrap();
        let (transfer, sections) = delivered(&mut raw).await;
        assert!(matches!(transfer.field(2), Wire::Binary(tag) if tag.len() == 16));
        let input = entry(&sections, 0x72, "x-opt-input-name");
        assert_eq!(input, Some(Wire::String("input1".into())));
        assert_eq!(body(&sections), b"{}");
        let (_, sections) = delivered(&mut raw).await;
        assert_eq!(entry(&sections, 0x72, "x-opt-input-name"), None);
        let state = described(0x24, &list(&[]));
        let fields = [boolean(true), uint(0), uint(1), boolean(true), state];
        raw.send(&frame(0, DISPOSITION, &fields, b"")).await;
        let emptied = async {
            while hub.waiting_messages(identity()).await.unwrap() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), emptied)
            .await
            .unwrap();
    }
}

/// A device has no inputs, and its telemetry address is no source.
#[tokio::test]
async fn a_device_has_no_inputs() {
    let hub = hub().await;
    let mut raw = Raw::begun(&hub).await;
    let address = format!("/devices/{DEVICE}/messages/events");
    let fields = attach_fields(1, "input", true, &address, "target");
    raw.send(&frame(0, ATTACH, &fields, b"")).await;
    assert_eq!(raw.refusal().await.0, "amqp:not-found");
}
