//! How the hub meets a client: protocol headers, TLS names, SASL, `open`. Sources: AMQP 1.0 part 2 §2.2 and part 5,
//! RFC 4616, Azure docs ("Control access to IoT Hub by using shared access signatures").

use std::time::Duration;

use iothub_address::{DeviceId, ModuleId};
use iothub_emulator::{
    AuthFailure, Authentication, Emulator, Keys, Notice, StartError, Thumbprint, Thumbprints, What,
};
use iothub_sas::{Signer, UnixTime};
use serde_amqp::Value as Wire;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::common::*;
use crate::raw::*;

/// Why the hub let nobody in, by its own account.
async fn reason(hub: &Emulator) -> AuthFailure {
    let mut activity = hub.activity().subscribe_from_start();
    loop {
        let Some(Notice::Entry(entry)) = activity.next().await else {
            panic!("nobody was refused")
        };
        if let What::Refused(why) = &entry.what {
            return why.clone();
        }
    }
}

#[tokio::test]
async fn the_certificate_is_good_for_each_name_of_the_hub() {
    let hub = builder()
        .extra_names(["hub.example".parse().unwrap()])
        .start()
        .await
        .unwrap();
    for name in [
        "localhost",
        "127.0.0.1",
        "::1",
        "tcontehub.azure-devices.net",
        "hub.example",
    ] {
        tls_as(&hub, name).await.unwrap();
    }
    let refused = tls_as(&hub, "otherhub.azure-devices.net").await.unwrap_err();
    assert!(refused.to_string().contains("not valid for name"), "{refused}");
}

#[tokio::test]
async fn a_device_gets_in_by_each_name_of_the_hub() {
    let hub = builder()
        .extra_names(["hub.example".parse().unwrap()])
        .start()
        .await
        .unwrap();
    let port = hub.amqps_address().port();
    for (label, host) in [
        ("tcontehub", "tcontehub.azure-devices.net".to_owned()),
        ("TCONTEHUB", "TContehub.azure-devices.net".to_owned()),
        ("localhost", "localhost".to_owned()),
        ("localhost", format!("localhost:{port}")),
        ("127", "127.0.0.1".to_owned()),
        ("localhost", format!("[::1]:{port}")),
        ("hub", "hub.example".to_owned()),
        ("localhost", "tcontehub.azure-devices.net".to_owned()),
    ] {
        let mut raw = Raw::silent(&hub).await;
        let token = token(&format!("{host}/devices/{DEVICE}"));
        assert_eq!(
            raw.plain(&format!("{DEVICE}@sas.{label}"), &token).await,
            0,
            "{label} {host}"
        );
    }
}

/// They all look alike to the client: code 2, then the end.
#[tokio::test]
async fn whoever_has_no_valid_token_is_refused_with_code_2() {
    let ours = "tcontehub.azure-devices.net/devices/myFirstDevice";
    let later = UnixTime::from_secs(4_000_000_000);
    let token = |key_text, resource, expires| {
        Signer::new(key(key_text))
            .sign(resource, expires)
            .expose()
            .to_owned()
    };
    let stranger = "//////////////////////////////////////////8=";
    let cases = [
        (
            format!("{DEVICE}@sas.tcontehub"),
            token(stranger, ours, later),
            AuthFailure::Signature,
        ),
        (
            "nobody@sas.tcontehub".to_owned(),
            token(KEY, "tcontehub.azure-devices.net/devices/nobody", later),
            AuthFailure::NotRegistered("nobody".parse().unwrap()),
        ),
        (
            format!("{DEVICE}@sas.tcontehub"),
            token(KEY, "tcontehub.azure-devices.net/devices/another", later),
            AuthFailure::OutOfScope(DEVICE.to_owned()),
        ),
        (
            format!("{DEVICE}@sas.otherhub"),
            token(KEY, ours, later),
            AuthFailure::OtherHub("otherhub".parse().unwrap()),
        ),
        (
            format!("{DEVICE}@sas.tcontehub.azure-devices.net"),
            token(KEY, ours, later),
            AuthFailure::User,
        ),
        (DEVICE.to_owned(), token(KEY, ours, later), AuthFailure::User),
        (
            format!("{DEVICE}@sas.tcontehub"),
            "SharedAccessSignature nonsense".to_owned(),
            AuthFailure::Token,
        ),
        (String::new(), String::new(), AuthFailure::User),
    ];
    for (user, token, why) in cases {
        let hub = hub().await;
        let mut raw = Raw::silent(&hub).await;
        assert_eq!(raw.plain(&user, &token).await, 2, "{user}");
        assert!(raw.drain().await.is_empty());
        assert_eq!(reason(&hub).await, why);
        hub.stop().await;
    }
}

#[tokio::test]
async fn a_token_that_has_expired_is_refused_with_code_2() {
    let hub = hub().await;
    let mut raw = Raw::silent(&hub).await;
    let resource = format!("localhost/devices/{DEVICE}");
    let token = Signer::new(key(KEY)).sign(resource, UnixTime::from_secs(1_463_330_495));
    assert_eq!(
        raw.plain(&format!("{DEVICE}@sas.tcontehub"), token.expose())
            .await,
        2
    );
    assert!(matches!(reason(&hub).await, AuthFailure::Expired { .. }));
}

#[tokio::test]
async fn a_mechanism_that_was_not_offered_is_refused_with_code_2() {
    let hub = hub().await;
    // TPM is for provisioning only.
    for mechanism in ["EXTERNAL", "TPM", "SCRAM-SHA-256", "PLAIN "] {
        let mut raw = Raw::silent(&hub).await;
        raw.send(SASL).await;
        raw.header().await;
        raw.send(&sasl_frame(0x41, &[symbol(mechanism), binary(b"\0a\0b")]))
            .await;
        let rest = raw.drain().await;
        // The mechanisms, then the outcome with code 2.
        assert!(rest.ends_with(&[0x50, 2]), "{rest:02x?}");
    }
    assert_eq!(reason(&hub).await, AuthFailure::Mechanism);
}

/// 512 bytes is what a SASL frame may have (§5.3.1).
#[tokio::test]
async fn a_sasl_frame_over_512_bytes_ends_the_connection() {
    let hub = hub().await;
    let mut raw = Raw::silent(&hub).await;
    raw.send(SASL).await;
    raw.header().await;
    raw.send_anyway(&sasl_frame(0x41, &[symbol("PLAIN"), binary(&[b'x'; 600])]))
        .await;
    let rest = raw.drain().await;
    assert!(
        !rest.windows(3).any(|bytes| bytes == [0x00, 0x53, 0x44]),
        "an outcome: {rest:02x?}"
    );
}

#[tokio::test]
async fn who_speaks_no_amqp_is_told_what_we_speak() {
    let hub = hub().await;
    for (said, answer) in [
        (b"GET / HT", AMQP),
        (b"AMQP\x00\x00\x09\x01", AMQP), // AMQP 0-9-1
        (b"AMQP\x00\x01\x00\x01", AMQP),
        (b"AMQP\x02\x01\x00\x00", AMQP), // TLS inside TLS
        (b"AMQP\x03\x02\x00\x00", SASL),
    ] {
        let mut raw = Raw::silent(&hub).await;
        raw.send(said).await;
        assert_eq!(raw.drain().await, answer, "{said:?}");
    }
}

#[tokio::test]
async fn after_sasl_only_an_amqp_header_may_follow() {
    let hub = hub().await;
    let mut raw = Raw::admitted(&hub).await;
    raw.send(SASL).await;
    assert_eq!(raw.drain().await, AMQP);
}

/// The fields of the real hub's `open`, all ten of them, and the values of its `begin`, as traces of it show.
#[tokio::test]
async fn open_and_begin_say_what_the_real_hub_says() {
    let hub = hub().await;
    let mut raw = Raw::admitted(&hub).await;
    let open = raw.exchange_open().await;
    let Wire::String(container) = open.field(0) else {
        panic!("no container-id in {open:?}")
    };
    let id = container.strip_prefix("DeviceGateway_").unwrap();
    assert!(
        id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{id}"
    );
    assert_eq!(open.fields.len(), 10);
    assert_eq!(open.field(1), &Wire::String("localhost".into()));
    assert_eq!(open.field(2), &Wire::Uint(65_536));
    assert_eq!(open.field(3), &Wire::Ushort(8191));
    assert_eq!(open.field(4), &Wire::Uint(240_000));
    let begin = raw.begin(9).await;
    assert_eq!(begin.field(0), &Wire::Ushort(9), "remote-channel");
    assert_eq!(begin.field(1), &Wire::Uint(1), "next-outgoing-id");
    assert_eq!(begin.field(2), &Wire::Uint(5000), "incoming-window");
    assert_eq!(begin.field(3), &Wire::Uint(u32::MAX), "outgoing-window");
    assert_eq!(begin.field(4), &Wire::Uint(262_143), "handle-max");
}

#[tokio::test]
async fn without_sasl_the_connection_opens_and_no_link_is_authorised() {
    let hub = hub().await;
    let mut raw = Raw::silent(&hub).await;
    raw.exchange_open().await;
    raw.begin(0).await;
    raw.attach(0, "link", &format!("/devices/{DEVICE}/messages/events"))
        .await;
    assert_eq!(raw.refusal().await.0, "amqp:unauthorized-access");
}

#[tokio::test]
async fn a_largest_frame_is_taken_and_one_byte_more_is_not() {
    let hub = hub().await;
    let overhead = transfer(0, false, false, &data(b"")).len();
    let mut raw = Raw::attached(&hub).await;
    let largest = transfer(0, false, false, &data(&vec![1; 65_536 - overhead]));
    assert_eq!(largest.len(), 65_536);
    raw.send(&largest).await;
    raw.expect(DISPOSITION).await;
    raw.send_anyway(&transfer(1, false, false, &data(&vec![1; 65_537 - overhead])))
        .await;
    raw.drain().await;
    assert_eq!(hub.journal().snapshot().len(), 1);
}

/// A client may send all it has to say in one go (§2.4.1), as SDKs do.
#[tokio::test]
async fn pipelined_frames_from_open_to_attach_are_served() {
    let hub = hub().await;
    let mut raw = Raw::admitted(&hub).await;
    let open = frame(0, OPEN, &[string("raw"), string("localhost")], b"");
    let attach = attach(0, 0, "link", &format!("/devices/{DEVICE}/messages/events"));
    raw.send(&[AMQP, &open[..], &begin(0), &attach].concat()).await;
    assert_eq!(raw.header().await, *AMQP);
    for code in [OPEN, BEGIN, ATTACH, FLOW] {
        raw.expect(code).await;
    }
}

#[tokio::test]
async fn plain_amqp_is_there_when_asked_for_and_on_loopback_only() {
    let hub = builder()
        .listen("0.0.0.0".parse().unwrap())
        .amqp_port(0)
        .start()
        .await
        .unwrap();
    let address = hub.amqp_address().unwrap();
    assert!(address.ip().is_loopback());
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(SASL).await.unwrap();
    let mut header = [0; 8];
    stream.read_exact(&mut header).await.unwrap();
    assert_eq!(header, *SASL);
}

/// In virtual time: nothing else is going on while the hub waits.
#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_is_given_up() {
    let hub = hub().await;
    let mut silent = TcpStream::connect(hub.amqps_address()).await.unwrap();
    let before = tokio::time::Instant::now();
    let mut rest = Vec::new();
    let _ = silent.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
    assert_eq!(before.elapsed().as_secs(), 15);
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let hub = hub().await;
    let taken = hub.amqps_address().port();
    let error = builder().amqps_port(taken).start().await.unwrap_err();
    let StartError::Listen {
        endpoint,
        address,
        source,
    } = &error
    else {
        panic!("{error}")
    };
    assert_eq!(
        error.to_string(),
        format!("cannot listen on 127.0.0.1:{taken} for AMQPS")
    );
    assert_eq!(*endpoint, iothub_emulator::Endpoint::Amqps);
    assert_eq!(address.port(), taken);
    assert_eq!(source.kind(), std::io::ErrorKind::AddrInUse);
}

#[tokio::test]
async fn connection_strings_name_host_port_and_identity() {
    let hub = builder()
        .policy("service".parse().unwrap(), key(OTHER_KEY))
        .start()
        .await
        .unwrap();
    let port = hub.amqps_address().port();
    let device = hub.connection_string(&device().into()).await.unwrap();
    assert_eq!(
        device.expose(),
        format!("HostName=localhost:{port};DeviceId=myFirstDevice;SharedAccessKey={KEY}")
    );
    let service = hub
        .policy_connection_string(&"service".parse().unwrap())
        .await
        .unwrap();
    assert_eq!(
        service.expose(),
        format!("HostName=localhost:{port};SharedAccessKeyName=service;SharedAccessKey={OTHER_KEY}")
    );
}

#[tokio::test]
async fn registration_refuses_what_is_there_and_what_is_not() {
    let hub = hub().await;
    let error = hub.register_device(device(), None).await.unwrap_err();
    assert_eq!(error.to_string(), "myFirstDevice is registered already");
    let orphan = hub
        .register_module("nobody".parse().unwrap(), "m".parse().unwrap(), None)
        .await
        .unwrap_err();
    assert_eq!(orphan.to_string(), "nobody is not registered");
    hub.register_module(device(), "m".parse().unwrap(), Keys::new(key(KEY), key(KEY)))
        .await
        .unwrap();
    let mut raw = Raw::silent(&hub).await;
    let token = token(&format!("localhost/devices/{DEVICE}/modules/m"));
    assert_eq!(
        raw.plain(&format!("{DEVICE}/modules/m@sas.localhost"), &token)
            .await,
        0
    );
}

/// Each type of authentication, for devices and modules, from the start and later, and the string to connect with.
#[tokio::test]
async fn every_type_of_authentication_can_be_registered() {
    let thumbprint = Thumbprint::sha256(b"stands for a certificate");
    let name = |text: &str| text.parse::<DeviceId>().unwrap();
    let module = || "m".parse::<ModuleId>().unwrap();
    let hub = builder()
        .device(name("self-signed"), Thumbprints::new(thumbprint, None))
        .module(
            name("self-signed"),
            module(),
            Authentication::CertificateAuthority,
        )
        .start()
        .await
        .unwrap();
    let none = Authentication::None;
    hub.register_device(name("closed"), none).await.unwrap();
    let primary_and_secondary = Thumbprints::new(thumbprint, Thumbprint::sha1(b"another"));
    hub.register_module(name("closed"), module(), primary_and_secondary)
        .await
        .unwrap();
    let port = hub.amqps_address().port();
    for (identity, string) in [
        ("self-signed", Some("DeviceId=self-signed;x509=true")),
        (
            "self-signed/modules/m",
            Some("DeviceId=self-signed;ModuleId=m;x509=true"),
        ),
        ("closed", None),
        ("closed/modules/m", Some("DeviceId=closed;ModuleId=m;x509=true")),
    ] {
        match (hub.connection_string(&identity.parse().unwrap()).await, string) {
            (Ok(made), Some(string)) => {
                assert_eq!(made.expose(), format!("HostName=localhost:{port};{string}"));
            }
            (made, expected) => assert_eq!((made.is_err(), expected), (true, None), "{identity}"),
        }
    }
}

/// Two hubs in one process know nothing of each other.
#[tokio::test]
async fn many_hubs_live_in_one_process() {
    let hubs = futures_util::future::join_all((0..5).map(|_| hub())).await;
    for hub in &hubs {
        let mut raw = Raw::attached(hub).await;
        raw.send(&transfer(0, false, false, &data(b"x"))).await;
        raw.expect(DISPOSITION).await;
    }
    for hub in hubs {
        assert_eq!(hub.journal().snapshot().len(), 1);
        hub.stop().await;
    }
}

/// The runtime counts its tasks. A client that answers nothing is among the connected.
#[tokio::test]
async fn after_stop_no_task_is_left() {
    let metrics = tokio::runtime::Handle::current().metrics();
    let before = metrics.num_alive_tasks();
    let hub = hub().await;
    let address = hub.amqps_address();
    let journal = hub.journal();
    let mut silent_tcp = TcpStream::connect(address).await.unwrap();
    let mut deaf = Raw::attached(&hub).await;
    deaf.send(&transfer(0, false, false, &data(b"x"))).await;
    deaf.expect(DISPOSITION).await;
    let stopped = tokio::time::timeout(Duration::from_secs(10), hub.stop()).await;
    assert!(stopped.is_ok(), "it does not stop");
    let close = deaf.expect(CLOSE).await;
    assert_eq!(close.error(0).0, "amqp:connection:forced");
    let mut rest = Vec::new();
    let _ = silent_tcp.read_to_end(&mut rest).await;
    // The writer task below a connection ends in its own time, at once: its fuse is blown.
    while metrics.num_alive_tasks() > before {
        tokio::task::yield_now().await;
    }
    assert!(TcpStream::connect(address).await.is_err());
    assert_eq!(journal.snapshot().len(), 1, "what was taken can still be read");
}
