//! A client with a pair of links, frame by frame: it sends over handle 0 and receives over handle 1. And what all
//! pairs have in common.

use serde_amqp::Value as Wire;

use crate::common::hub;
use crate::raw::*;

const TWIN: &str = "/devices/myFirstDevice/twin";

/// The sections of a message by their descriptors.
pub(crate) fn sections(payload: &[u8]) -> Vec<(u64, Wire)> {
    let mut sections = Vec::new();
    let mut at = 0;
    while at < payload.len() {
        let end = iothub_frame::walk::check_value(payload, at).unwrap();
        let Wire::Described(section) = serde_amqp::from_slice(&payload[at..end]).unwrap() else {
            panic!("no section")
        };
        let serde_amqp::descriptor::Descriptor::Code(code) = section.descriptor else {
            panic!("no code")
        };
        sections.push((code, section.value));
        at = end;
    }
    sections
}

/// Attaches one link of a pair that `text` ties. The client sends over it, or receives when `receives`.
pub(crate) async fn attach_half(
    raw: &mut Raw,
    handle: u32,
    receives: bool,
    address: &str,
    text: Option<&str>,
) {
    let name = format!("link {handle}");
    let (source, target) = if receives { (address, "t") } else { ("s", address) };
    let mut fields = attach_fields(handle, &name, receives, source, target);
    fields.extend([null(), null(), null()]);
    fields.push(match text {
        Some(text) => map(&[(symbol("com.microsoft:channel-correlation-id"), string(text))]),
        None => null(),
    });
    raw.send(&frame(0, ATTACH, &fields, b"")).await;
}

/// A device with both links of a pair open, and credit to send and for 100 deliveries.
pub(crate) async fn pair(raw: &mut Raw, address: &str, text: Option<&str>) {
    attach_half(raw, 0, false, address, text).await;
    raw.expect(ATTACH).await;
    raw.expect(FLOW).await;
    attach_half(raw, 1, true, address, text).await;
    raw.expect(ATTACH).await;
    grant(raw, 1, 100).await;
}

/// Credit for a link that the client receives over.
pub(crate) async fn grant(raw: &mut Raw, handle: u32, credit: u32) {
    let fields = [
        uint(0),
        uint(5000),
        uint(0),
        uint(5000),
        uint(handle),
        uint(0),
        uint(credit),
    ];
    raw.send(&frame(0, FLOW, &fields, b"")).await;
}

/// The next delivery: its frame, and its sections by their descriptors.
pub(crate) async fn delivered(raw: &mut Raw) -> (Frame, Vec<(u64, Wire)>) {
    loop {
        let next = raw.frame().await.expect("the hub ended the connection");
        if next.code == u64::from(TRANSFER) {
            let found = sections(&next.payload);
            return (next, found);
        }
        assert!(
            [FLOW, DISPOSITION].map(u64::from).contains(&next.code),
            "{next:?}"
        );
    }
}

/// A value of a section that is a map.
pub(crate) fn entry(sections: &[(u64, Wire)], code: u64, key: &str) -> Option<Wire> {
    let (_, Wire::Map(pairs)) = sections.iter().find(|(known, _)| *known == code)? else {
        panic!("no map")
    };
    pairs
        .iter()
        .find(|(known, _)| match known {
            Wire::Symbol(known) => known.as_str() == key,
            Wire::String(known) => known == key,
            _ => false,
        })
        .map(|(_, value)| value.clone())
}

/// The bytes of the data section.
pub(crate) fn body(sections: &[(u64, Wire)]) -> Vec<u8> {
    match sections.last() {
        Some((0x75, Wire::Binary(bytes))) => bytes.to_vec(),
        other => panic!("{other:?}"),
    }
}

/// The correlation-id.
pub(crate) fn correlation(sections: &[(u64, Wire)]) -> Wire {
    match sections.iter().find(|(code, _)| *code == 0x73) {
        Some((_, Wire::List(fields))) => fields.get(5).cloned().unwrap_or(Wire::Null),
        _ => Wire::Null,
    }
}

#[tokio::test]
async fn a_second_link_for_the_same_half_of_a_pair_is_a_conflict_and_another_pair_is_none() {
    let hub = hub().await;
    let mut raw = Raw::begun(&hub).await;
    pair(&mut raw, TWIN, Some("twin:1")).await;
    for receives in [false, true] {
        attach_half(&mut raw, 2, receives, TWIN, Some("twin:1")).await;
        let (condition, description) = raw.refusal().await;
        assert_eq!(condition, "com.microsoft:link-creation-conflict");
        assert!(description.contains("409002"), "{description}");
        raw.send(&frame(0, DETACH, &[uint(2), boolean(true)], b"")).await;
    }
    // Protocol §12, row 16: the text is opaque, and pairs are told apart by the kind of their address too.
    let methods = "/devices/myFirstDevice/methods/devicebound";
    for (handle, address, text) in [
        (3, TWIN, Some("1")),
        (4, TWIN, None),
        (5, methods, Some("twin:1")),
    ] {
        attach_half(&mut raw, handle, true, address, text).await;
        raw.expect(ATTACH).await;
    }
}

#[tokio::test]
async fn one_pair_comes_after_another() {
    let hub = hub().await;
    let mut raw = Raw::begun(&hub).await;
    for _ in 0..3 {
        pair(&mut raw, TWIN, Some("same")).await;
        for handle in [0, 1] {
            raw.send(&frame(0, DETACH, &[uint(handle), boolean(true)], b""))
                .await;
            raw.expect_past_flows(DETACH).await;
        }
    }
}

#[tokio::test]
async fn the_pairs_of_others_are_theirs() {
    let hub = hub().await;
    hub.register_device("other".parse().unwrap(), None).await.unwrap();
    let mut raw = Raw::begun(&hub).await;
    for (handle, address) in [
        (0, "/devices/other/twin"),
        (1, "/devices/other/methods/devicebound"),
    ] {
        for receives in [false, true] {
            attach_half(&mut raw, handle, receives, address, None).await;
            assert_eq!(raw.refusal().await.0, "amqp:unauthorized-access");
            raw.send(&frame(0, DETACH, &[uint(handle), boolean(true)], b""))
                .await;
        }
    }
}

/// Proton's blocking client has one name in both directions (protocol §15, row 7).
#[tokio::test]
async fn both_links_of_a_pair_may_have_one_name() {
    let hub = hub().await;
    let mut raw = Raw::begun(&hub).await;
    for (handle, receives) in [(0, false), (1, true)] {
        let fields = attach_fields(handle, "the name", receives, TWIN, TWIN);
        raw.send(&frame(0, ATTACH, &fields, b"")).await;
        assert_eq!(
            raw.expect_past_flows(ATTACH).await.field(0),
            &Wire::String("the name".into())
        );
    }
}
