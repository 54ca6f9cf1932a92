//! Claims-based security as the SDKs use it, frame by frame. Sources: what the Node, C#, C and Java SDKs and uamqp
//! send and insist on, AMQP 1.0 parts 2 and 3, traces of the real hub.

use iothub_emulator::What;
use iothub_sas::{Signer, UnixTime};
use serde_amqp::Value as Wire;

use crate::common::{DEVICE, KEY, builder, device_token, hub, key};
use crate::messages::{ACCEPTED, REJECTED, events, outcome};
use crate::raw::*;

pub(crate) const NODE_TYPE: &str = "servicebus.windows.net:sastoken";
pub(crate) const CSHARP_TYPE: &str = "azure-devices.net:sastoken";
const WRONG_SIGNATURE: &str = "The specified SAS token has an invalid signature. It does not match either the primary or secondary key.";

const REQUESTS: u32 = 0;
pub(crate) const REPLIES: u32 = 1;
pub(crate) const TELEMETRY: u32 = 2;

/// A request for put-token as its message.
pub(crate) fn put_token(id: &[u8], kind: &str, token: &str) -> Vec<u8> {
    request(
        id,
        &[("operation", "put-token"), ("type", kind), ("name", "any")],
        &string(token),
    )
}

fn request(id: &[u8], properties: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let pairs: Vec<_> = properties
        .iter()
        .map(|(name, value)| (string(name), string(value)))
        .collect();
    [
        section(0x73, &list(&[id.to_vec()])),
        section(0x74, &map(&pairs)),
        section(0x77, body),
    ]
    .concat()
}

fn attach_requests(channel: u16) -> Vec<u8> {
    let fields = attach_fields(REQUESTS, "cbs-sender", false, "anything", "$cbs");
    frame(channel, ATTACH, &fields, b"")
}

fn attach_replies(channel: u16) -> Vec<u8> {
    let fields = attach_fields(REPLIES, "cbs-receiver", true, "$cbs", "reply-to");
    frame(channel, ATTACH, &fields, b"")
}

fn credit(channel: u16, handle: u32, credit: u32) -> Vec<u8> {
    let session = [uint(0), uint(5000), uint(0), uint(5000)];
    let link = [uint(handle), uint(0), uint(credit)];
    frame(channel, FLOW, &[&session[..], &link[..]].concat(), b"")
}

/// Both links on channel 0, with credit both ways.
pub(crate) async fn attach_pair(raw: &mut Raw) {
    raw.send(&attach_requests(0)).await;
    raw.expect(ATTACH).await;
    raw.expect(FLOW).await;
    raw.send(&attach_replies(0)).await;
    raw.expect(ATTACH).await;
    raw.send(&credit(0, REPLIES, 2000)).await;
}

#[derive(Debug, PartialEq)]
struct Reply {
    correlation_id: Wire,
    status: i32,
    description: String,
}

/// The sections of a reply, by hand: correlation-id is the sixth property.
fn reply_of(transfer: &Frame) -> Reply {
    let mut rest = &transfer.payload[..];
    let mut reply = Reply {
        correlation_id: Wire::Null,
        status: 0,
        description: String::new(),
    };
    while !rest.is_empty() {
        let end = iothub_frame::walk::check_value(rest, 0).unwrap();
        let (section, behind) = rest.split_at(end);
        rest = behind;
        let Wire::Described(described) = serde_amqp::from_slice(section).unwrap() else {
            panic!("{section:02x?}")
        };
        match (section[2], described.value) {
            (0x73, Wire::List(fields)) => {
                reply.correlation_id = fields.get(5).cloned().unwrap_or(Wire::Null);
            }
            (0x74, Wire::Map(pairs)) => {
                assert_eq!(pairs.len(), 2);
                for (name, value) in pairs {
                    match (name, value) {
                        (Wire::String(name), Wire::Int(code)) if name == "status-code" => reply.status = code,
                        (Wire::String(name), Wire::String(text)) if name == "status-description" => {
                            reply.description = text;
                        }
                        other => panic!("{other:?}"),
                    }
                }
            }
            (0x77, Wire::Null) => {}
            other => panic!("{other:?}"),
        }
    }
    reply
}

/// Puts a token, unsettled, and gives the reply.
pub(crate) async fn put(raw: &mut Raw, number: u32, kind: &str, token: &str) -> (i32, String) {
    ask(raw, number, &put_token(&ulong(number.into()), kind, token)).await
}

async fn ask(raw: &mut Raw, number: u32, message: &[u8]) -> (i32, String) {
    raw.send(&transfer(number, false, false, message)).await;
    let disposition = raw.expect_past_flows(DISPOSITION).await;
    assert_eq!(outcome(&disposition), (ACCEPTED, None));
    assert_eq!(disposition.field(3), &Wire::Bool(true), "settled");
    let reply = reply_of(&raw.expect_past_flows(TRANSFER).await);
    (reply.status, reply.description)
}

pub(crate) fn sign(key_text: &str, resource: &str, expires: u64) -> String {
    Signer::new(key(key_text))
        .sign(resource, UnixTime::from_secs(expires))
        .expose()
        .to_owned()
}

pub(crate) const OURS: &str = "tcontehub.azure-devices.net/devices/myFirstDevice";
pub(crate) const LATER: u64 = 4_000_000_000;

pub(crate) async fn attach_telemetry(raw: &mut Raw) {
    let address = format!("/devices/{DEVICE}/messages/events");
    raw.attach(TELEMETRY, "telemetry", &address).await;
    raw.expect(ATTACH).await;
    raw.expect(FLOW).await;
}

#[tokio::test]
async fn the_reply_has_the_message_id_in_its_own_type() {
    let id = [0x11; 16];
    let ids = [
        (string("id 1"), Wire::String("id 1".into())),
        (ulong(7), Wire::Ulong(7)),
        (uuid(&id), Wire::Uuid(id.into())),
        (binary(b"id"), Wire::Binary(b"id".to_vec().into())),
        (null(), Wire::Null),
    ];
    let hub = hub().await;
    let mut raw = Raw::bare(&hub).await;
    attach_pair(&mut raw).await;
    for (number, (written, expected)) in (0..).zip(ids) {
        let message = put_token(&written, NODE_TYPE, &device_token());
        raw.send(&transfer(number, false, false, &message)).await;
        raw.expect(DISPOSITION).await;
        let transfer = raw.expect(TRANSFER).await;
        assert_eq!(transfer.field(0), &Wire::Uint(REPLIES), "the handle that we gave");
        let expected = Reply {
            correlation_id: expected,
            status: 200,
            description: "OK".to_owned(),
        };
        assert_eq!(reply_of(&transfer), expected);
        // A counter of four bytes, little-endian.
        assert_eq!(
            transfer.field(2),
            &Wire::Binary(number.to_le_bytes().to_vec().into())
        );
    }
}

#[tokio::test]
async fn each_type_that_is_sas_is_taken_and_telemetry_may_follow() {
    for kind in [NODE_TYPE, CSHARP_TYPE] {
        let hub = hub().await;
        let mut raw = Raw::bare(&hub).await;
        attach_pair(&mut raw).await;
        let reply = put(&mut raw, 0, kind, &device_token()).await;
        assert_eq!(reply, (200, "OK".to_owned()));
        attach_telemetry(&mut raw).await;
        raw.send(&telemetry(1)).await;
        raw.expect(DISPOSITION).await;
        assert_eq!(events(&hub).len(), 1);
    }
}

pub(crate) fn telemetry(id: u32) -> Vec<u8> {
    let fields = [
        uint(TELEMETRY),
        uint(id),
        binary(&id.to_be_bytes()),
        uint(0),
        boolean(false),
    ];
    frame(0, TRANSFER, &fields, &data(b"x"))
}

/// Java and uamqp come by these, with a response or without.
/// In the token's audience, in the request's own name for it, and in the link's address.
#[tokio::test]
async fn each_name_of_the_hub_is_taken_with_and_without_a_port() {
    let named = builder().extra_names(["hub.example".parse().unwrap()]);
    let hub = named.start().await.unwrap();
    for host in [
        "tcontehub.azure-devices.net",
        "localhost",
        "localhost:5671",
        "127.0.0.1",
        "127.0.0.1:15671",
        "[::1]",
        "[::1]:443",
        "hub.example",
        "HUB.Example:5671",
    ] {
        let mut raw = Raw::bare(&hub).await;
        attach_pair(&mut raw).await;
        let token = sign(KEY, &format!("{host}/devices/{DEVICE}"), LATER);
        assert_eq!(put(&mut raw, 0, NODE_TYPE, &token).await.0, 200, "{host}");
        raw.attach(
            TELEMETRY,
            "telemetry",
            &format!("amqps://{host}/devices/{DEVICE}/messages/events"),
        )
        .await;
        raw.expect_past_flows(ATTACH).await;
        raw.expect(FLOW).await;
    }
    let mut raw = Raw::bare(&hub).await;
    attach_pair(&mut raw).await;
    let token = sign(KEY, &format!("other.example/devices/{DEVICE}"), LATER);
    assert_eq!(put(&mut raw, 0, NODE_TYPE, &token).await.0, 401);
}

#[tokio::test]
async fn the_mechanisms_without_credentials_let_in_with_any_response() {
    let hub = hub().await;
    for mechanism in ["ANONYMOUS", "MSSBCBS"] {
        for response in [null(), binary(b""), binary(b"trace@example.com")] {
            let mut raw = Raw::silent(&hub).await;
            assert_eq!(raw.sasl(mechanism, response).await, 0);
            raw.exchange_open().await;
            raw.begin(0).await;
            let address = format!("/devices/{DEVICE}/messages/events");
            raw.attach(TELEMETRY, "too early", &address).await;
            assert_eq!(raw.refusal().await.0, "amqp:unauthorized-access");
            attach_pair(&mut raw).await;
            let reply = put(&mut raw, 0, NODE_TYPE, &device_token()).await;
            assert_eq!(reply.0, 200);
            raw.send(&frame(0, DETACH, &[uint(TELEMETRY), boolean(true)], b""))
                .await;
            attach_telemetry(&mut raw).await;
        }
    }
}

/// §3.2 of the real hub's traces, without EXTERNAL.
#[tokio::test]
async fn the_mechanisms_are_offered_in_the_real_hubs_order() {
    let hub = hub().await;
    let mut raw = Raw::silent(&hub).await;
    raw.send(SASL).await;
    raw.header().await;
    let offered = raw.sasl_frame().await;
    let names = format!("{:?}", offered.field(0));
    let place = |name: &str| names.find(name).unwrap_or_else(|| panic!("no {name} in {names}"));
    assert!(place("MSSBCBS") < place("ANONYMOUS") && place("ANONYMOUS") < place("PLAIN"));
    assert!(!names.contains("EXTERNAL"));
}

/// As the C# SDK sends it: no disposition, only the reply.
#[tokio::test]
async fn a_settled_request_is_answered_without_a_disposition() {
    let hub = hub().await;
    let mut raw = Raw::bare(&hub).await;
    attach_pair(&mut raw).await;
    let message = put_token(&string("link1"), CSHARP_TYPE, &device_token());
    raw.send(&transfer(0, true, false, &message)).await;
    assert_eq!(reply_of(&raw.expect(TRANSFER).await).status, 200);
}

/// As uamqp does it.
#[tokio::test]
async fn requests_before_the_reply_link_are_answered_when_it_comes() {
    let hub = hub().await;
    let mut raw = Raw::bare(&hub).await;
    raw.send(&attach_requests(0)).await;
    raw.expect(ATTACH).await;
    raw.expect(FLOW).await;
    for number in 0..3 {
        let message = put_token(&ulong(number.into()), NODE_TYPE, &device_token());
        raw.send(&transfer(number, false, false, &message)).await;
        raw.expect(DISPOSITION).await;
    }
    raw.send(&attach_replies(0)).await;
    raw.expect(ATTACH).await;
    raw.send(&credit(0, REPLIES, 10)).await;
    for number in 0..3 {
        let reply = reply_of(&raw.expect(TRANSFER).await);
        assert_eq!((reply.correlation_id, reply.status), (Wire::Ulong(number), 200));
    }
}

/// More than are kept, with nowhere to send them. The link of the requests ends, the connection lives.
#[tokio::test]
async fn answers_that_nobody_fetches_are_bounded() {
    let hub = hub().await;
    let mut raw = Raw::bare(&hub).await;
    raw.send(&attach_requests(0)).await;
    raw.expect(ATTACH).await;
    let mut credit = 0;
    let mut sent = 0;
    let detach = loop {
        if credit > sent {
            raw.send(&transfer(sent, true, false, &put_token(&null(), "x", "")))
                .await;
            sent += 1;
            continue;
        }
        let frame = raw.frame().await.unwrap();
        if frame.code == u64::from(DETACH) {
            break frame;
        }
        if let (Wire::Uint(count), Wire::Uint(granted)) = (frame.field(5), frame.field(6)) {
            credit = count + granted;
        }
    };
    assert_eq!(detach.error(2).0, "amqp:resource-limit-exceeded");
    assert!((1025..2048).contains(&sent), "{sent}");
    raw.begin(1).await;
}

#[tokio::test]
async fn the_pair_is_attached_in_any_order_by_either_terminus_in_any_session() {
    let hub = hub().await;
    // Source and target of the link of the requests, then of the other.
    let shapes = [
        [("$cbs", "$cbs"), ("$cbs", "$cbs")],
        [("$cbs", "elsewhere"), ("elsewhere", "$cbs")],
        [("elsewhere", "$cbs"), ("$cbs", "elsewhere")],
    ];
    for [requests, replies] in shapes {
        let requests = attach_fields(REQUESTS, "any name", false, requests.0, requests.1);
        let replies = attach_fields(REPLIES, "any other", true, replies.0, replies.1);
        for (requests_on, replies_on) in [(0, 0), (0, 1), (1, 0)] {
            let mut raw = Raw::bare(&hub).await;
            raw.begin(1).await;
            raw.send(&frame(replies_on, ATTACH, &replies, b"")).await;
            raw.expect(ATTACH).await;
            raw.send(&credit(replies_on, REPLIES, 10)).await;
            raw.send(&frame(requests_on, ATTACH, &requests, b"")).await;
            raw.expect(ATTACH).await;
            raw.expect(FLOW).await;
            let message = put_token(&string("1"), NODE_TYPE, &device_token());
            let mut sent = transfer(0, true, false, &message);
            sent[6..8].copy_from_slice(&requests_on.to_be_bytes());
            raw.send(&sent).await;
            assert_eq!(reply_of(&raw.expect(TRANSFER).await).status, 200);
        }
    }
}

/// As at Event Hubs.
#[tokio::test]
async fn a_second_pair_is_refused() {
    let hub = hub().await;
    let mut raw = Raw::bare(&hub).await;
    attach_pair(&mut raw).await;
    for role in [false, true] {
        let handle = 5 + u32::from(role);
        let fields = attach_fields(handle, "second", role, "$cbs", "$cbs");
        raw.send(&frame(0, ATTACH, &fields, b"")).await;
        let (condition, description) = raw.refusal().await;
        assert_eq!(condition, "amqp:not-allowed");
        assert!(
            description.contains("$cbs node has already been opened."),
            "{description}"
        );
    }
    let reply = put(&mut raw, 0, NODE_TYPE, &device_token()).await;
    assert_eq!(reply.0, 200, "the first one goes on");
}

#[tokio::test]
async fn a_token_that_does_not_hold_is_refused_in_the_real_hubs_words() {
    let hub = hub().await;
    let mut raw = Raw::bare(&hub).await;
    attach_pair(&mut raw).await;
    let stranger = "//////////////////////////////////////////8=";
    let nobody = "tcontehub.azure-devices.net/devices/nobody";
    let wrong = || (401, WRONG_SIGNATURE.to_owned());
    let cases = [
        (sign(stranger, OURS, LATER), wrong()),
        (
            sign(KEY, "other.azure-devices.net/devices/myFirstDevice", LATER),
            wrong(),
        ),
        (sign(KEY, "tcontehub.azure-devices.net", LATER), wrong()),
        (
            sign(KEY, OURS, 1_463_330_495),
            (401, "The specified SAS token is expired".to_owned()),
        ),
        (
            sign(KEY, nobody, LATER),
            (
                404,
                "Device nobody at IoTHub tcontehub not registered.".to_owned(),
            ),
        ),
    ];
    for (number, (token, expected)) in (0..).zip(cases) {
        assert_eq!(put(&mut raw, number, NODE_TYPE, &token).await, expected);
    }
    let address = format!("/devices/{DEVICE}/messages/events");
    raw.attach(TELEMETRY, "telemetry", &address).await;
    assert_eq!(raw.refusal().await.0, "amqp:unauthorized-access");
    let refused = |what: &What| matches!(what, What::Refused(_));
    let activity = hub.activity().snapshot();
    assert_eq!(activity.iter().filter(|entry| refused(&entry.what)).count(), 5);
}

#[tokio::test]
async fn a_request_that_is_none_is_answered_400_with_words() {
    let hub = hub().await;
    let mut raw = Raw::bare(&hub).await;
    attach_pair(&mut raw).await;
    let token = device_token();
    let whole = [("operation", "put-token"), ("type", NODE_TYPE), ("name", "n")];
    let cases = [
        (
            request(&ulong(1), &whole[1..], &string(&token)),
            "has no operation",
        ),
        (
            request(
                &ulong(1),
                &[("operation", "delete-token"), whole[1]],
                &string(&token),
            ),
            "has an operation that is not put-token",
        ),
        (request(&ulong(1), &whole[..1], &string(&token)), "has no type"),
        (
            put_token(&ulong(1), "jwt", &token),
            "no token type that the hub takes",
        ),
        (request(&ulong(1), &whole, &uint(1)), "has no string for its body"),
        (
            put_token(&ulong(1), NODE_TYPE, "SharedAccessSignature nonsense"),
            "no SAS token",
        ),
    ];
    for (number, (message, words)) in (0..).zip(cases) {
        let (status, description) = ask(&mut raw, number, &message).await;
        assert_eq!(status, 400, "{words}");
        assert!(description.contains(words), "{description}");
    }
}

/// Bytes that are no message have no id to answer to.
#[tokio::test]
async fn what_is_no_message_is_rejected_and_the_link_goes_on() {
    let hub = hub().await;
    let mut raw = Raw::bare(&hub).await;
    attach_pair(&mut raw).await;
    raw.send(&transfer(0, false, false, b"\x00\x53\x77")).await;
    let rejected = outcome(&raw.expect(DISPOSITION).await);
    assert_eq!(rejected, (REJECTED, Some("amqp:decode-error".to_owned())));
    assert_eq!(put(&mut raw, 1, NODE_TYPE, &device_token()).await.0, 200);
}

#[tokio::test]
async fn detach_of_both_links_is_answered() {
    let hub = hub().await;
    let mut raw = Raw::bare(&hub).await;
    attach_pair(&mut raw).await;
    for handle in [REPLIES, REQUESTS] {
        raw.send(&frame(0, DETACH, &[uint(handle), boolean(true)], b""))
            .await;
        assert_eq!(raw.expect_past_flows(DETACH).await.field(0), &Wire::Uint(handle));
    }
    raw.send(&frame(0, CLOSE, &[], b"")).await;
    raw.expect(CLOSE).await;
    assert!(raw.frame().await.is_none());
}
