//! What clients of every kind may say, and what they then see (protocol §13, §12).

use iothub_emulator::{Body, CloudMessage, Emulator, Keys, MessageId, Properties, Rights, Value};
use serde_amqp::Value as Wire;

use crate::cbs::{NODE_TYPE, attach_pair, put, put_token};
use crate::common::{DEVICE, OTHER_KEY, builder, device, device_token, hub, key, tls_with, trusting};
use crate::messages::{ACCEPTED, events, outcome};
use crate::pairs::{grant, sections};
use crate::raw::*;

const COMMANDS: &str = "/devices/myFirstDevice/messages/devicebound";

/// Opens a link to send telemetry over, and sends.
async fn sends_to(raw: &mut Raw, handle: u32, address: &str) {
    raw.attach(handle, &format!("link {handle}"), address).await;
    let attach = raw.expect_past_flows(ATTACH).await;
    assert!(
        format!("{:?}", attach.field(6)).contains(&format!("{address:?}")),
        "{address} comes back as it was written: {:?}",
        attach.field(6)
    );
    let fields = [uint(handle), uint(handle), binary(b"t"), uint(0)];
    raw.send(&frame(0, TRANSFER, &fields, &data(b"x"))).await;
    let disposition = raw.expect_past_flows(DISPOSITION).await;
    assert_eq!(outcome(&disposition), (ACCEPTED, None), "{address}");
}

#[tokio::test]
async fn an_address_is_taken_with_or_without_scheme_port_and_slash_and_its_literals_in_any_case() {
    let hub = hub().await;
    let mut raw = Raw::begun(&hub).await;
    let path = format!("devices/{DEVICE}/messages/events");
    let forms = [
        path.clone(),
        format!("/{path}"),
        format!("amqps://localhost/{path}"),
        format!("amqps://tcontehub.azure-devices.net:5671/{path}"),
        format!("/Devices/{DEVICE}/MESSAGES/Events"),
    ];
    for (handle, form) in (0..).zip(&forms) {
        sends_to(&mut raw, handle, form).await;
    }
    assert_eq!(events(&hub).len(), forms.len());
    let capital = COMMANDS.replace("devicebound", "deviceBound");
    let fields = attach_fields(9, "commands", true, &capital, "here");
    raw.send(&frame(0, ATTACH, &fields, b"")).await;
    raw.expect_past_flows(ATTACH).await;
    raw.begin(1).await;
}

/// Every character that an id may have (§1.3), as C, J and N write it, as C# does, and as C# does in a token.
#[tokio::test]
async fn an_id_is_found_raw_and_escaped_once_and_twice() {
    const RAW: &str = "A-1.b+c%d_e#f*g?h!i(j)k,l=m@n$o'p";
    const ONCE: &str = "A-1.b%2Bc%25d_e%23f*g%3Fh!i(j)k%2Cl%3Dm%40n%24o%27p";
    let twice = ONCE.replace('%', "%25");
    let keys = || Keys::new(key(OTHER_KEY), key(OTHER_KEY));
    let hub = builder()
        .device(RAW.parse().unwrap(), keys())
        .policy_with(
            "device".parse().unwrap(),
            keys(),
            Rights::of_built_in("device").unwrap(),
        )
        .start()
        .await
        .unwrap();
    let mut raw = Raw::silent(&hub).await;
    let later = iothub_sas::UnixTime::from_secs(4_000_000_000);
    let signer = iothub_sas::Signer::new(key(OTHER_KEY)).policy("device");
    let token = signer.sign("tcontehub.azure-devices.net", later);
    assert_eq!(raw.plain("device@sas.root.tcontehub", token.expose()).await, 0);
    raw.start().await;
    for (handle, id) in (0..).zip([RAW, ONCE, &twice]) {
        sends_to(&mut raw, handle, &format!("/devices/{id}/messages/events")).await;
    }
    let senders: Vec<_> = events(&hub)
        .iter()
        .map(|event| event.device().as_str().to_owned())
        .collect();
    assert_eq!(senders, [RAW; 3]);
}

#[tokio::test]
async fn sessions_are_many_on_channels_up_to_8191() {
    let hub = hub().await;
    let mut raw = Raw::open(&hub).await;
    for channel in [8191, 0, 4096, 1] {
        let begin = raw.begin(channel).await;
        assert_eq!(begin.field(0), &Wire::Ushort(channel), "remote-channel");
    }
    raw.send(&attach(
        8191,
        0,
        "telemetry",
        &format!("/devices/{DEVICE}/messages/events"),
    ))
    .await;
    raw.expect(ATTACH).await;
}

/// J says 4096, and 512 is the least that anyone may say (AMQP 1.0 §2.7.1; protocol §12, row 27).
#[tokio::test]
async fn transfers_are_split_to_the_clients_max_frame_size() {
    let hub = hub().await;
    let message = vec![b'x'; 60_000];
    for most in [512_u32, 4096, 65_536] {
        hub.send_to_device(device(), CloudMessage::new(message.clone()))
            .await
            .unwrap();
        let mut raw = Raw::admitted(&hub).await;
        raw.send(AMQP).await;
        assert_eq!(raw.header().await, *AMQP);
        let open = [string("raw"), string("localhost"), uint(most)];
        raw.send(&frame(0, OPEN, &open, b"")).await;
        raw.expect(OPEN).await;
        raw.begin(0).await;
        let fields = attach_fields(0, "commands", true, COMMANDS, "here");
        raw.send(&frame(0, ATTACH, &fields, b"")).await;
        raw.expect(ATTACH).await;
        grant(&mut raw, 0, 1).await;
        let mut body = 0;
        let mut frames = 0;
        while body < message.len() {
            let wire = raw.wire_frame().await;
            assert!(wire.len() <= most as usize, "{} of {most}", wire.len());
            body += wire.iter().filter(|byte| **byte == b'x').count();
            frames += 1;
        }
        assert!(
            frames >= message.len() / most as usize,
            "{frames} frames of {most}"
        );
        hub.purge_messages(device()).await.unwrap();
    }
}

#[tokio::test]
async fn each_outcome_of_a_device_is_taken_when_it_settles_at_once() {
    for (state, left) in [(0x24, 0), (0x25, 0), (0x26, 1), (0x27, 1)] {
        let hub = hub().await;
        hub.send_to_device(device(), CloudMessage::new("x"))
            .await
            .unwrap();
        let mut raw = Raw::begun(&hub).await;
        let fields = attach_fields(0, "commands", true, COMMANDS, "here");
        raw.send(&frame(0, ATTACH, &fields, b"")).await;
        raw.expect(ATTACH).await;
        grant(&mut raw, 0, 1).await;
        raw.expect_past_flows(TRANSFER).await;
        let state = described(state, &list(&[]));
        let fields = [boolean(true), uint(0), uint(0), boolean(true), state];
        raw.send(&frame(0, DISPOSITION, &fields, b"")).await;
        // The hub has heard it when it has answered the detach behind it.
        raw.send(&frame(0, DETACH, &[uint(0), boolean(true)], b"")).await;
        raw.expect_past_flows(DETACH).await;
        assert_eq!(hub.waiting_messages(device()).await.unwrap(), left);
    }
}

/// rhea has 2,048 places for deliveries, and gives one back when it is settled (protocol §12, row 2).
#[tokio::test]
async fn more_than_2048_deliveries_are_settled_each() {
    const COUNT: u32 = 2100;
    let hub = hub().await;
    let mut raw = Raw::begun(&hub).await;
    raw.attach(0, "telemetry", &format!("/devices/{DEVICE}/messages/events"))
        .await;
    raw.expect(ATTACH).await;
    let (mut sent, mut limit, mut settled) = (0, 0, 0);
    while settled < COUNT {
        while sent < limit.min(COUNT) {
            raw.send(&transfer(sent, false, false, &data(b"x"))).await;
            sent += 1;
        }
        let next = raw.frame().await.unwrap();
        if next.code == u64::from(FLOW) {
            if let (Wire::Uint(count), Wire::Uint(credit)) = (next.field(5), next.field(6)) {
                limit = count + credit;
            }
            continue;
        }
        assert_eq!(next.field(3), &Wire::Bool(true), "settled");
        assert_eq!(outcome(&next), (ACCEPTED, None));
        let (Wire::Uint(first), last) = (next.field(1), next.field(2)) else {
            panic!("{next:?}")
        };
        settled += match last {
            Wire::Uint(last) => last - first + 1,
            _ => 1,
        };
    }
}

/// N takes what looks like a uuid for one; the other SDKs take strings (protocol §12, row 23).
#[tokio::test]
async fn a_uuid_is_a_string_to_a_device() {
    let hub = hub().await;
    let mut properties = Properties::default();
    properties.message_id = Some(MessageId::Uuid([0x11; 16]));
    properties.correlation_id = Some(MessageId::String("plain".to_owned()));
    let message = CloudMessage::new("x").properties(properties);
    hub.send_to_device(device(), message).await.unwrap();
    let mut raw = Raw::begun(&hub).await;
    let fields = attach_fields(0, "commands", true, COMMANDS, "here");
    raw.send(&frame(0, ATTACH, &fields, b"")).await;
    raw.expect(ATTACH).await;
    grant(&mut raw, 0, 1).await;
    let transfer = raw.expect_past_flows(TRANSFER).await;
    let sections = sections(&transfer.payload);
    let Some((0x73, Wire::List(fields))) = sections.iter().find(|(code, _)| *code == 0x73) else {
        panic!("no properties: {sections:?}")
    };
    let text = "11111111-1111-1111-1111-111111111111".to_owned();
    assert_eq!(fields[0], Wire::String(text));
    assert_eq!(fields[5], Wire::String("plain".to_owned()));
}

/// J waits for it before it can close (protocol §12, row 18).
#[tokio::test]
async fn a_begin_is_answered_to_a_device_that_was_refused() {
    let hub = hub().await;
    let mut raw = Raw::bare(&hub).await;
    attach_pair(&mut raw).await;
    assert_ne!(put(&mut raw, 0, NODE_TYPE, "nonsense").await.0, 200);
    raw.begin(1).await;
    raw.send(&attach(1, 0, "t", &format!("/devices/{DEVICE}/messages/events")))
        .await;
    assert_eq!(raw.refusal().await.0, "amqp:unauthorized-access");
    raw.send(&frame(1, END, &[], b"")).await;
    raw.expect_past_flows(END).await;
    raw.begin(2).await;
}

/// J gives the whole session up; the hub does not (protocol §12, rows 19 and 22).
#[tokio::test]
async fn a_refused_link_leaves_its_session_and_the_other_links() {
    let hub = hub().await;
    let mut raw = Raw::attached(&hub).await;
    raw.attach(1, "nowhere", "/nowhere").await;
    assert_eq!(raw.refusal().await.0, "amqp:not-found");
    raw.send(&transfer(0, false, false, &data(b"x"))).await;
    let disposition = raw.expect_past_flows(DISPOSITION).await;
    assert_eq!(outcome(&disposition), (ACCEPTED, None));
}

/// Protocol §13, the first conversation: C# in two sessions, with its token settled; N in one, with its token not.
#[tokio::test]
async fn the_shortest_conversation_of_node_and_csharp() {
    for (session, settled) in [(1, true), (0, false)] {
        let hub = hub().await;
        let mut raw = Raw::silent(&hub).await;
        raw.exchange_open().await;
        raw.begin(0).await;
        attach_pair(&mut raw).await;
        let message = put_token(&string("link1"), NODE_TYPE, &device_token());
        raw.send(&transfer(0, settled, false, &message)).await;
        let mut replied = false;
        let mut disposed = settled;
        while !(replied && disposed) {
            let next = raw.frame().await.unwrap();
            replied |= next.code == u64::from(TRANSFER);
            if next.code == u64::from(DISPOSITION) {
                assert!(!settled, "nobody waits for what becomes of a settled token");
                disposed = true;
            }
        }
        if session > 0 {
            raw.begin(session).await;
        }
        raw.send(&attach(
            session,
            7,
            "TelemetrySenderLink",
            &format!("amqps://localhost:5671/devices/{DEVICE}/messages/events"),
        ))
        .await;
        raw.expect_past_flows(ATTACH).await;
        raw.expect(FLOW).await;
        let fields = [uint(7), uint(1), binary(b"t"), uint(0)];
        raw.send(&frame(session, TRANSFER, &fields, &data(b"Hello World!")))
            .await;
        let disposition = raw.expect_past_flows(DISPOSITION).await;
        assert_eq!(disposition.field(0), &Wire::Bool(true), "role: receiver");
        assert_eq!(disposition.field(3), &Wire::Bool(true), "settled");
        assert_eq!(outcome(&disposition), (ACCEPTED, None));
    }
}

/// Protocol §13, the second: both termini are the address, the message is settled, and its body a string.
#[tokio::test]
async fn the_shortest_conversation_of_messenger() {
    let hub = hub().await;
    let mut raw = Raw::begun(&hub).await;
    let address = format!("devices/{DEVICE}/messages/events");
    let fields = attach_fields(0, "sender-xxx", false, &address, &address);
    raw.send(&frame(0, ATTACH, &fields, b"")).await;
    raw.expect(ATTACH).await;
    raw.expect(FLOW).await;
    let to = format!("amqps://tcontehub.azure-devices.net/{address}");
    let message = [
        section(0x73, &list(&[null(), null(), string(&to)])),
        section(0x77, &string("Hello World!")),
    ];
    raw.send(&transfer(0, true, false, &message.concat())).await;
    // No disposition: the next thing that the hub says is its own detach.
    for (said, answer) in [
        (frame(0, DETACH, &[uint(0), boolean(true)], b""), DETACH),
        (frame(0, END, &[], b""), END),
        (frame(0, CLOSE, &[], b""), CLOSE),
    ] {
        raw.send(&said).await;
        raw.expect(answer).await;
    }
    let events = events(&hub);
    assert_eq!(
        events[0].message.body,
        Body::Value(Value::String("Hello World!".to_owned()))
    );
    assert_eq!(events[0].message.properties.to, Some(to));
}

/// Whatever name a client asks for in TLS, or none; which certificates it believes is its own business.
#[tokio::test]
async fn any_server_name_is_served() {
    let hub = hub().await;
    let names = ["tcontehub.azure-devices.net", "127.0.0.1", "somewhere.example"];
    for name in names {
        let config = believing(&hub);
        let stream = tls_with(config, hub.amqps_address(), name).await.unwrap();
        let mut raw = Raw::on(stream);
        raw.exchange_open().await;
    }
}

/// Takes the hub's certificate for every name.
fn believing(hub: &Emulator) -> rustls::ClientConfig {
    let mut config = trusting(hub, rustls::ALL_VERSIONS).with_no_client_auth();
    config
        .dangerous()
        .set_certificate_verifier(std::sync::Arc::new(AnyName));
    config
}

#[derive(Debug)]
struct AnyName;

impl rustls::client::danger::ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        _: &rustls_pki_types::CertificateDer<'_>,
        _: &[rustls_pki_types::CertificateDer<'_>],
        _: &rustls_pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls_pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls_pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls_pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
