//! Makes the hub send what services get: the redirect, events, answers of the management node, feedback.

use std::time::Duration;

use iothub_emulator::Keys;

use super::scenes::attach;
use super::watch::{Watch, frame as next_frame};
use crate::common::{DEVICE, KEY, device, key, token};
use crate::events::{Asked, PARTITION, hub_of_one_partition, receiver};
use crate::pairs::grant;
use crate::raw::*;
use crate::services::{FEEDBACK, command, service};

pub(crate) async fn all(watch: &mut Watch) {
    let hub = hub_of_one_partition().await;
    redirect(watch, &hub).await;
    module_event(watch, &hub).await;
    management(watch, &hub).await;
    feedback(watch, &hub).await;
}

async fn redirect(watch: &mut Watch, hub: &iothub_emulator::Emulator) {
    let mut raw = service(hub).await;
    let address = "/messages/events/ConsumerGroups/$Default/Partitions/0";
    let fields = attach_fields(0, "reader", true, address, "here");
    attach(watch, &mut raw, "attach redirected", &fields).await;
    let port = hub.amqps_address().port();
    let to = format!("amqps://localhost:{port}/tcontehub/ConsumerGroups/$Default/Partitions/0");
    let sent = [("error.info address", string(&to))];
    watch
        .take_past_flows(&mut raw, "detach with a redirect", &sent)
        .await;
}

/// An event of a module, with all that may stand beside it.
async fn module_event(watch: &mut Watch, hub: &iothub_emulator::Emulator) {
    hub.register_module(device(), "m".parse().unwrap(), Keys::new(key(KEY), key(KEY)))
        .await
        .unwrap();
    let mut module = Raw::silent(hub).await;
    let path = format!("{DEVICE}/modules/m");
    let proof = token(&format!("tcontehub.azure-devices.net/devices/{path}"));
    assert_eq!(module.plain(&format!("{path}@sas.tcontehub"), &proof).await, 0);
    module.exchange_open().await;
    module.begin(0).await;
    module
        .attach(0, "telemetry", &format!("/devices/{path}/messages/events"))
        .await;
    module.expect(ATTACH).await;
    module.expect(FLOW).await;
    let (id, kind) = (string("message 1"), symbol("application/json"));
    let nulls = || vec![null(); 5];
    let message = [
        section(0x72, &map(&[(symbol("x-opt-partition-key"), string("key"))])),
        section(
            0x73,
            &list(&[vec![id.clone()], nulls(), vec![kind.clone()]].concat()),
        ),
        section(0x74, &map(&[(string("own"), string("value"))])),
        data(b"body"),
    ]
    .concat();
    module.send(&transfer(0, false, false, &message)).await;
    module.expect_past_flows(DISPOSITION).await;

    let mut raw = service(hub).await;
    let asked = Asked {
        metric: true,
        ..Asked::default()
    };
    attach(watch, &mut raw, "attach events", &receiver(0, PARTITION, &asked)).await;
    grant(&mut raw, 0, 1).await;
    let frame = watch.take_past_flows(&mut raw, "transfer of an event", &[]).await;
    let sent = [
        ("annotation x-opt-partition-key", string("key")),
        ("message-id", id),
        ("content-type", kind),
        ("property own", string("value")),
        ("data", binary(b"body")),
    ];
    watch.message(&frame.payload, "event", &sent);
}

async fn management(watch: &mut Watch, hub: &iothub_emulator::Emulator) {
    let mut raw = service(hub).await;
    let fields = attach_fields(0, "requests", false, "$management", "$management");
    attach(watch, &mut raw, "attach management requests", &fields).await;
    let fields = attach_fields(1, "answers", true, "$management", "$management");
    attach(watch, &mut raw, "attach management answers", &fields).await;
    grant(&mut raw, 1, 10).await;
    for (number, kind, place) in [
        (0, "com.microsoft:eventhub", "management of the hub"),
        (1, "com.microsoft:partition", "management of a partition"),
    ] {
        let properties = [
            ("operation", "READ"),
            ("type", kind),
            ("name", "tcontehub"),
            ("partition", "0"),
        ]
        .map(|(name, value)| (string(name), string(value)));
        let id = ulong(u64::from(number) + 7);
        let message = [
            section(0x73, &list(std::slice::from_ref(&id))),
            section(0x74, &map(&properties)),
            section(0x77, &null()),
        ]
        .concat();
        raw.send(&transfer(number, true, false, &message)).await;
        let frame = loop {
            let frame = next_frame(&mut raw, 0).await;
            if frame.code == u64::from(TRANSFER) {
                break frame;
            }
        };
        watch.see("transfer of management", &frame, &[]);
        watch.message(&frame.payload, place, &[("correlation-id", id)]);
    }
}

async fn feedback(watch: &mut Watch, hub: &iothub_emulator::Emulator) {
    let mut raw = service(hub).await;
    let fields = attach_fields(0, "commands", false, "here", "/messages/devicebound");
    attach(watch, &mut raw, "attach service commands", &fields).await;
    let to = format!("/devices/{DEVICE}/messages/devicebound");
    raw.send(&transfer(0, false, false, &command(&to, "m", "full", b"hi")))
        .await;
    watch
        .take_past_flows(&mut raw, "disposition accepted", &[("first", uint(0))])
        .await;
    hub.purge_messages(device()).await.unwrap();
    let mut raw = service(hub).await;
    let mut fields = attach_fields(0, "feedback", true, FEEDBACK, "here");
    fields[4] = vec![0x50, 1];
    attach(watch, &mut raw, "attach feedback", &fields).await;
    let files = "/messages/serviceBound/filenotifications";
    let fields = attach_fields(1, "files", true, files, "here");
    attach(watch, &mut raw, "attach file notifications", &fields).await;
    grant(&mut raw, 0, 1).await;
    hub.turn_clock(Duration::from_secs(15)).await.unwrap();
    let frame = watch.take_past_flows(&mut raw, "transfer of feedback", &[]).await;
    watch.message(&frame.payload, "feedback", &[]);
    let id = frame.number(1);
    let state = described(0x24, &list(&[]));
    let fields = [boolean(true), uint(id), null(), boolean(false), state];
    raw.send(&crate::raw::frame(0, DISPOSITION, &fields, b"")).await;
    watch
        .take_past_flows(&mut raw, "disposition of accepted", &[("first", uint(id))])
        .await;
}
