//! Makes the hub say everything but messages: what it says of itself, of links, of what it was sent, and at the end.

use super::watch::{Sent, Watch};
use crate::certificates::Credential;
use crate::common::{DEVICE, builder, device_token, hub, tls_with};
use crate::raw::*;

pub(crate) async fn all(watch: &mut Watch) {
    door(watch).await;
    telemetry(watch).await;
    refusals(watch).await;
    endings(watch).await;
    pairs(watch).await;
}

/// SASL's frames and both headers, with and without a certificate, let in and not.
async fn door(watch: &mut Watch) {
    let credential = Credential::self_signed("anything");
    let hub = builder()
        .device("x509".parse().unwrap(), credential.thumbprints())
        .start()
        .await
        .unwrap();
    let user = format!("{DEVICE}@sas.tcontehub");
    for (place, token) in [
        ("sasl-outcome let in", device_token()),
        ("sasl-outcome refused", "nonsense".to_owned()),
    ] {
        let mut raw = Raw::silent(&hub).await;
        raw.send(SASL).await;
        assert_eq!(raw.header().await, *SASL);
        watch.take(&mut raw, "sasl-mechanisms", &[]).await;
        let response = [b"\0", user.as_bytes(), b"\0", token.as_bytes()].concat();
        raw.send(&sasl_frame(0x41, &[symbol("PLAIN"), binary(&response), null()]))
            .await;
        watch.take(&mut raw, place, &[]).await;
    }
    let config = credential.config(&hub, rustls::ALL_VERSIONS);
    let mut raw = Raw::on(tls_with(config, hub.amqps_address(), "localhost").await.unwrap());
    raw.send(SASL).await;
    assert_eq!(raw.header().await, *SASL);
    watch
        .take(&mut raw, "sasl-mechanisms to a certificate", &[])
        .await;
}

/// Let in by PLAIN, and `open` and `begin` on channel 0 seen.
pub(crate) async fn opened(watch: &mut Watch, hub: &iothub_emulator::Emulator) -> Raw {
    let mut raw = Raw::admitted(hub).await;
    raw.send(AMQP).await;
    assert_eq!(raw.header().await, *AMQP);
    raw.send(&frame(0, OPEN, &[string("raw"), string("localhost")], b""))
        .await;
    watch.take(&mut raw, "open", &[]).await;
    raw.send(&begin(0)).await;
    // Ours is channel 0 (§2.7.2: remote-channel).
    watch
        .take(&mut raw, "begin", &[("remote-channel", vec![0x60, 0, 0])])
        .await;
    raw
}

/// Attaches with these fields and sees the answer, which has of them what is the client's to say.
pub(crate) async fn attach(watch: &mut Watch, raw: &mut Raw, place: &'static str, fields: &[Vec<u8>]) {
    raw.send(&frame(0, ATTACH, fields, b"")).await;
    let sent: Sent<'_> = &[
        ("name", fields[0].clone()),
        ("snd-settle-mode", fields[3].clone()),
        ("rcv-settle-mode", fields[4].clone()),
        ("source", fields[5].clone()),
        ("target", fields[6].clone()),
    ];
    watch.take_past_flows(raw, place, sent).await;
}

async fn telemetry(watch: &mut Watch) {
    let hub = hub().await;
    let mut raw = opened(watch, &hub).await;
    let address = format!("/devices/{DEVICE}/messages/events");
    let mut fields = attach_fields(0, "telemetry", false, "here", &address);
    fields[3] = vec![0x50, 0];
    fields[4] = vec![0x50, 0];
    attach(watch, &mut raw, "attach telemetry", &fields).await;
    watch.take(&mut raw, "flow telemetry", &[]).await;
    raw.send(&transfer(0, false, false, &data(b"x"))).await;
    watch
        .take_past_flows(&mut raw, "disposition accepted", &[("first", uint(0))])
        .await;
    // Over 256 KB.
    let large = data(&vec![b'x'; 300_000]);
    let pieces: Vec<_> = large.chunks(60_000).collect();
    for (at, piece) in pieces.iter().enumerate() {
        raw.send(&transfer(1, false, at + 1 < pieces.len(), piece)).await;
    }
    watch
        .take_past_flows(&mut raw, "disposition rejected", &[("first", uint(1))])
        .await;
    raw.send(&frame(0, DETACH, &[uint(0), boolean(true)], b"")).await;
    watch.take_past_flows(&mut raw, "detach answer", &[]).await;
    raw.send(&frame(0, END, &[], b"")).await;
    watch.take(&mut raw, "end answer", &[]).await;
    raw.send(&frame(0, CLOSE, &[], b"")).await;
    watch.take(&mut raw, "close answer", &[]).await;
}

async fn refusals(watch: &mut Watch) {
    let hub = hub().await;
    let mut raw = opened(watch, &hub).await;
    let fields = attach_fields(0, "nowhere", false, "here", "/nowhere");
    attach(watch, &mut raw, "attach refused", &fields).await;
    watch.take_past_flows(&mut raw, "detach with an error", &[]).await;
}

/// What the hub ends: a session by a fault, and a connection whose device has come on another.
async fn endings(watch: &mut Watch) {
    use iothub_emulator::{Fault, FaultKind};
    let hub = hub().await;
    let mut raw = opened(watch, &hub).await;
    raw.attach(0, "telemetry", &format!("/devices/{DEVICE}/messages/events"))
        .await;
    raw.expect(ATTACH).await;
    hub.inject(Fault::new(FaultKind::KillAmqpSession)).await.unwrap();
    watch.take_past_flows(&mut raw, "end with an error", &[]).await;
    let mut older = Raw::attached(&hub).await;
    let _newer = Raw::attached(&hub).await;
    watch
        .take_past_flows(&mut older, "close with an error", &[])
        .await;
}

/// The attaches of all links that are halves of pairs.
async fn pairs(watch: &mut Watch) {
    let hub = hub().await;
    let mut raw = opened(watch, &hub).await;
    let (twin, methods) = (
        format!("/devices/{DEVICE}/twin"),
        format!("/devices/{DEVICE}/methods/devicebound"),
    );
    let links = [
        ("attach twin requests", false, &twin),
        ("attach twin answers", true, &twin),
        ("attach method answers", false, &methods),
        ("attach method calls", true, &methods),
    ];
    for (handle, (place, receives, address)) in (0..).zip(links) {
        let (source, target) = if receives {
            (address.as_str(), "here")
        } else {
            ("here", address.as_str())
        };
        let mut fields = attach_fields(handle, place, receives, source, target);
        // As N and C# ask for their twin links.
        fields[3] = vec![0x50, 1];
        fields[4] = vec![0x50, 0];
        attach(watch, &mut raw, place, &fields).await;
    }
}
