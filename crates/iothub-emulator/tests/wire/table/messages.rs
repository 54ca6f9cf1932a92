//! Makes the hub send messages of each kind: answers of `$cbs`, cloud-to-device messages, method calls, answers of the
//! twin and changes of desired properties.

use std::sync::Arc;

use iothub_emulator::{Ack, CloudMessage, MethodCall, Timestamp};
use serde_json::json;

use super::scenes::{attach, opened};
use super::watch::{Watch, frame as next_frame};
use crate::cbs::{LATER, NODE_TYPE, OURS, put_token, sign};
use crate::common::{DEVICE, device, device_token, hub};
use crate::pairs::{grant, pair};
use crate::raw::*;

/// Nobody's key.
const OTHER: &str = "//////////////////////////////////////////8=";

pub(crate) async fn all(watch: &mut Watch) {
    cbs(watch).await;
    cloud_to_device(watch).await;
    module_input(watch).await;
    method(watch).await;
    twin(watch).await;
}

async fn cbs(watch: &mut Watch) {
    let hub = hub().await;
    let mut raw = Raw::silent(&hub).await;
    raw.start().await;
    let fields = attach_fields(0, "cbs", false, "$cbs", "$cbs");
    attach(watch, &mut raw, "attach $cbs requests", &fields).await;
    watch.take(&mut raw, "flow $cbs requests", &[]).await;
    let fields = attach_fields(1, "cbs", true, "$cbs", "$cbs");
    attach(watch, &mut raw, "attach $cbs answers", &fields).await;
    grant(&mut raw, 1, 50).await;
    // §4.1: N's string, J's uuid, the ulong of uamqp; and one that is refused.
    let ids = [string("0f9c"), uuid(&[7; 16]), ulong(3), string("bad")];
    let token = device_token();
    let wrong = sign(OTHER, OURS, LATER);
    for (number, id) in (0..).zip(ids) {
        let refused = number == 3;
        let token = if refused { &wrong } else { &token };
        raw.send(&transfer(number, false, false, &put_token(&id, NODE_TYPE, token)))
            .await;
        let (mut answered, mut settled) = (false, false);
        while !(answered && settled) {
            let frame = next_frame(&mut raw, 0).await;
            match frame.code {
                0x13 => {}
                0x15 => {
                    settled = true;
                    watch.see("disposition accepted", &frame, &[("first", uint(number))]);
                }
                _ => {
                    answered = true;
                    watch.see("transfer of $cbs", &frame, &[]);
                    let place = if refused { "$cbs refuses" } else { "$cbs takes" };
                    watch.message(&frame.payload, place, &[("correlation-id", id.clone())]);
                }
            }
        }
    }
}

async fn cloud_to_device(watch: &mut Watch) {
    let hub = hub().await;
    let message = CloudMessage::new("body")
        .id("message 1")
        .correlation_id("correlation 1")
        .content_type("application/json")
        .content_encoding("utf-8")
        .expires(Timestamp::from_seconds(4_000_000_000))
        .property("own", "value")
        .ack(Ack::Full);
    hub.send_to_device(device(), message.clone()).await.unwrap();
    hub.send_to_device(device(), message).await.unwrap();
    let mut raw = opened(watch, &hub).await;
    let address = format!("/devices/{DEVICE}/messages/devicebound");
    let mut fields = attach_fields(0, "commands", true, &address, "here");
    // As C# receives: it settles after the hub has.
    fields[3] = vec![0x50, 0];
    fields[4] = vec![0x50, 1];
    attach(watch, &mut raw, "attach cloud-to-device", &fields).await;
    grant(&mut raw, 0, 1).await;
    let sent = [
        ("message-id", string("message 1")),
        ("correlation-id", string("correlation 1")),
        ("to", string(&address)),
        ("content-type", symbol("application/json")),
        ("content-encoding", symbol("utf-8")),
        ("property own", string("value")),
        ("data", binary(b"body")),
    ];
    for (outcome, place) in [
        (0x24, "disposition of accepted"),
        (0x25, "disposition of rejected"),
    ] {
        let frame = watch
            .take_past_flows(&mut raw, "transfer cloud-to-device", &[])
            .await;
        watch.message(&frame.payload, "cloud-to-device", &sent);
        let id = frame.number(1);
        let state = described(outcome, &list(&[]));
        raw.send(&frame_of_disposition(id, state)).await;
        watch
            .take_past_flows(&mut raw, place, &[("first", uint(id))])
            .await;
        // It is settled already: told a second time, it is not there any more.
        if outcome == 0x25 {
            let state = described(0x24, &list(&[]));
            raw.send(&frame_of_disposition(id, state)).await;
            watch
                .take_past_flows(&mut raw, "disposition of a lost lock", &[("first", uint(id))])
                .await;
        }
        grant_more(&mut raw, id + 1, 1, false).await;
    }
    // The credit that nothing is there for goes back (AMQP 2.6.7).
    grant_more(&mut raw, 2, 5, true).await;
    watch.take(&mut raw, "flow drained", &[]).await;
}

fn frame_of_disposition(id: u32, state: Vec<u8>) -> Vec<u8> {
    let fields = [boolean(true), uint(id), null(), boolean(false), state];
    frame(0, DISPOSITION, &fields, b"")
}

async fn grant_more(raw: &mut Raw, seen: u32, credit: u32, drain: bool) {
    let fields = [
        uint(0),
        uint(5000),
        uint(0),
        uint(5000),
        uint(0),
        uint(seen),
        uint(credit),
        null(),
        boolean(drain),
    ];
    raw.send(&frame(0, FLOW, &fields, b"")).await;
}

async fn module_input(watch: &mut Watch) {
    let hub = crate::modules::hub().await;
    let message = CloudMessage::new("body");
    hub.send_to_input(device(), crate::modules::module(), "input1", message)
        .await
        .unwrap();
    let mut raw = crate::modules::begun(&hub).await;
    let path = crate::modules::PATH;
    let address = format!("/devices/{path}/messages/events");
    let fields = attach_fields(0, "input", true, &address, "here");
    attach(watch, &mut raw, "attach input", &fields).await;
    grant(&mut raw, 0, 1).await;
    let frame = watch
        .take_past_flows(&mut raw, "transfer cloud-to-device", &[])
        .await;
    let sent = [
        ("to", string(&format!("/devices/{path}/messages/devicebound"))),
        ("data", binary(b"body")),
    ];
    watch.message(&frame.payload, "module input", &sent);
}

async fn method(watch: &mut Watch) {
    let hub = Arc::new(hub().await);
    let mut raw = Raw::begun(&hub).await;
    pair(
        &mut raw,
        &format!("/devices/{DEVICE}/methods/devicebound"),
        Some("methods:x"),
    )
    .await;
    let calling = Arc::clone(&hub);
    let call = MethodCall::new("reboot").payload(r#"{"delay":5}"#);
    let _waiting = tokio::spawn(async move { calling.call_method(device(), call).await });
    let frame = watch
        .take_past_flows(&mut raw, "transfer of a method call", &[])
        .await;
    watch.message(
        &frame.payload,
        "method call",
        &[
            ("property IoThub-methodname", string("reboot")),
            ("data", binary(br#"{"delay":5}"#)),
        ],
    );
}

async fn twin(watch: &mut Watch) {
    let hub = hub().await;
    hub.patch_desired(device(), json!({"interval": 60}))
        .await
        .unwrap();
    let mut raw = Raw::begun(&hub).await;
    pair(&mut raw, &format!("/devices/{DEVICE}/twin"), Some("twin:x")).await;
    // N, J (a uuid, and a version), CS (no body), and what no twin has.
    let reported = "/properties/reported";
    let notifications = "/notifications/twin/properties/desired";
    let requests = [
        ("twin read", "GET", "", string("a"), " "),
        ("twin reported", "PATCH", reported, uuid(&[9; 16]), r#"{"a":1}"#),
        ("twin subscribed", "PUT", notifications, string("Put1"), ""),
        ("twin refused", "POST", reported, string("b"), "{}"),
    ];
    for (number, (place, operation, resource, id, body)) in (0..).zip(requests) {
        let mut annotations = vec![(symbol("operation"), string(operation))];
        if !resource.is_empty() {
            annotations.push((symbol("resource"), string(resource)));
        }
        let properties = [null(), null(), null(), null(), null(), id.clone()];
        let mut payload = vec![
            section(0x72, &map(&annotations)),
            section(0x73, &list(&properties)),
        ];
        if !body.is_empty() {
            payload.push(data(body.as_bytes()));
        }
        raw.send(&transfer(number, true, false, &payload.concat())).await;
        let frame = watch.take_past_flows(&mut raw, "transfer of a twin", &[]).await;
        watch.message(&frame.payload, place, &[("correlation-id", id)]);
    }
    hub.patch_desired(device(), json!({"interval": 61}))
        .await
        .unwrap();
    let frame = watch.take_past_flows(&mut raw, "transfer of a twin", &[]).await;
    watch.message(&frame.payload, "twin desired", &[]);
}
