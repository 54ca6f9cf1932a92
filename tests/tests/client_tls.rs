//! Goal: the client trusts exactly the roots it was given and the name it dialled, and says what is wrong otherwise.
//! Method: a scripted hub behind TLS, with certificates of a CA that the test makes.
#![allow(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use std::time::Duration;

use iothub_address::{DeviceId, HubHost, HubName, Identity};
use iothub_amqp::recovery::{Recovery, classify_connect};
use iothub_amqp::{
    ClientCertificate, ConnectError, DeviceClient, DeviceClientBuilder, Message, Phase, TlsFailure, Transport,
};
use iothub_sas::{SharedKey, Signer, UnixTime};
use iothub_tests::scripted::{Peer, Step, listen};
use iothub_tests::tls::{TestCa, TlsVersion, Validity};
use rustls_pki_types::CertificateDer;
use tokio::io::AsyncWriteExt;

fn client(host: &str, port: u16, root: Option<CertificateDer<'static>>) -> DeviceClientBuilder {
    let identity = Identity::Device(DeviceId::parse("dev").unwrap());
    let key = SharedKey::from_bytes(&[7; 32]).unwrap();
    let token = Signer::new(key).sign(
        "hub.azure-devices.net/devices/dev",
        UnixTime::from_secs(2_000_000_000),
    );
    let builder = DeviceClient::builder(HubHost::parse(host).unwrap(), identity, token)
        .hub(HubName::parse("hub").unwrap())
        .port(port)
        .operation_timeout(Duration::from_secs(10));
    match root {
        Some(root) => builder.root_certificate(root),
        None => builder,
    }
}

/// What a client says of a server with this certificate.
async fn failure(host: &str, name: &str, validity: Validity, trusted: bool) -> TlsFailure {
    let (listener, address) = listen().await.unwrap();
    let ca = TestCa::new();
    let acceptor = ca.acceptor(name, validity);
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        acceptor.accept(stream).await.map(drop)
    });
    let error = client(host, address.port(), trusted.then(|| ca.root()))
        .connect()
        .await
        .unwrap_err();
    assert!(
        server.await.unwrap().is_err(),
        "the handshake fails on both sides"
    );
    match error {
        ConnectError::Tls { endpoint, why } => {
            assert!(endpoint.ends_with(&address.port().to_string()), "{endpoint}");
            why
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_trusted_certificate_of_the_right_name_carries_a_message() {
    for (host, name) in [("localhost", "localhost"), ("127.0.0.1", "127.0.0.1")] {
        let (listener, address) = listen().await.unwrap();
        let ca = TestCa::new();
        let acceptor = ca.acceptor(name, Validity::Current);
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut peer = Peer::new(acceptor.accept(stream).await.unwrap());
            peer.play(Step::Close).await.unwrap();
        });
        let client = client(host, address.port(), Some(ca.root()))
            .connect()
            .await
            .unwrap();
        client.send(Message::new("Hello World!")).await.unwrap();
        client.close().await.unwrap();
        server.await.unwrap();
    }
}

#[tokio::test]
async fn an_issuer_that_is_not_trusted_is_named() {
    let why = failure("localhost", "localhost", Validity::Current, false).await;
    assert_eq!(why, TlsFailure::UnknownIssuer);
}

#[tokio::test]
async fn a_certificate_for_another_name_is_named() {
    let why = failure("localhost", "other.example", Validity::Current, true).await;
    assert_eq!(why, TlsFailure::NameMismatch);
    let why = failure("127.0.0.1", "localhost", Validity::Current, true).await;
    assert_eq!(why, TlsFailure::NameMismatch);
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_named() {
    let why = failure("localhost", "localhost", Validity::Past, true).await;
    assert_eq!(why, TlsFailure::NotNow);
}

#[tokio::test]
async fn a_server_without_tls_is_named() {
    let (listener, address) = listen().await.unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream
            .write_all(b"220 mail.example ESMTP ready to take your message\r\n")
            .await
            .unwrap();
        stream
    });
    let error = client("localhost", address.port(), None)
        .connect()
        .await
        .unwrap_err();
    let ConnectError::Tls { why, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(why, TlsFailure::NotTls);
    drop(server.await);
}

#[tokio::test]
async fn a_server_that_hangs_up_or_says_nothing_during_the_handshake_is_named() {
    let (listener, address) = listen().await.unwrap();
    let server = tokio::spawn(async move { drop(listener.accept().await.unwrap()) });
    let error = client("localhost", address.port(), None)
        .connect()
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            ConnectError::Tls {
                why: TlsFailure::Ended(_),
                ..
            }
        ),
        "{error:?}"
    );
    server.await.unwrap();

    let (listener, address) = listen().await.unwrap();
    let limit = Duration::from_millis(300);
    let error = client("localhost", address.port(), None)
        .operation_timeout(limit)
        .connect()
        .await
        .unwrap_err();
    assert!(
        matches!(error, ConnectError::TimedOut { phase: Phase::Tls, after } if after == limit),
        "{error:?}"
    );
    drop(listener);
}

/// RFC 8446 §4.4.2.4 has a server abort with an alert about the certificate, and §2 has the client done by then.
#[tokio::test]
async fn a_client_certificate_that_the_server_refuses_is_named_whenever_the_server_says_so() {
    let (servers, clients, strangers) = (TestCa::new(), TestCa::new(), TestCa::new());
    for version in [TlsVersion::V12, TlsVersion::V13] {
        for transport in [Transport::Amqp, Transport::WebSocket] {
            for shown in [Some(strangers.certificate_pem("dev")), None] {
                let (listener, address) = listen().await.unwrap();
                let acceptor = servers.acceptor_for_clients_of("localhost", &clients, version);
                let server = tokio::spawn(async move {
                    let (stream, _) = listener.accept().await.unwrap();
                    assert!(acceptor.accept(stream).await.is_err());
                });
                let builder = match shown {
                    Some((certificate, key)) => DeviceClient::by_certificate(
                        HubHost::parse("localhost").unwrap(),
                        Identity::Device(DeviceId::parse("dev").unwrap()),
                        ClientCertificate::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap(),
                    )
                    .hub(HubName::parse("hub").unwrap())
                    .port(address.port())
                    .root_certificate(servers.root()),
                    None => client("localhost", address.port(), Some(servers.root())),
                };
                let error = builder
                    .transport(transport)
                    .connect()
                    .await
                    .map(drop)
                    .unwrap_err();
                assert!(
                    matches!(
                        &error,
                        ConnectError::Tls {
                            why: TlsFailure::ClientCertificate(_),
                            ..
                        }
                    ),
                    "{version:?} {transport:?}: {error:?}"
                );
                assert_eq!(classify_connect(&error), Recovery::GiveUp);
                server.await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_root_that_is_no_certificate_is_refused_before_anything_is_dialled() {
    let junk = CertificateDer::from(vec![1, 2, 3]);
    let error = client("hub.invalid", 5671, Some(junk))
        .connect()
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectError::BadRoot(_)), "{error:?}");
}
