//! Goal: a device reaches its hub by each way, signs in by each kind of credential over it, and is told what stands in
//! the way. Method: the client against the emulator over loopback; a proxy of a few dozen lines.
#![allow(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use std::net::SocketAddr;
use std::time::Duration;

use iothub_address::{ConnectionString, DeviceId, HubHost, Identity, Secret};
use iothub_amqp::{
    Accepted, ClientCertificate, Condition, ConnectError, Connecting, DeviceClient, DeviceClientBuilder,
    Interruption, Message, Network, Proxies, Proxy, ProxyFailure, Resolving, SendError, SystemNetwork,
    Transport, WebSocketFailure,
};
use iothub_emulator::{Emulator, Keys, Thumbprint, Thumbprints};
use iothub_sas::SharedKey;
use iothub_tests::proxy::TestProxy;
use rcgen::{CertificateParams, KeyPair};

/// A made-up key.
fn key() -> SharedKey {
    SharedKey::from_bytes(&[1; 32]).unwrap()
}

fn identity(id: &str) -> Identity {
    Identity::Device(DeviceId::parse(id).unwrap())
}

/// Device `keyed` has a key, device `certified` the certificate that is given back.
async fn hub() -> (Emulator, ClientCertificate) {
    let key_pair = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["certified".to_owned()])
        .unwrap()
        .self_signed(&key_pair)
        .unwrap();
    let thumbprints = Thumbprints::new(Thumbprint::sha256(certificate.der()), None);
    let hub = Emulator::builder()
        .amqps_port(0)
        .https_port(0)
        .device(DeviceId::parse("keyed").unwrap(), Keys::new(key(), key()))
        .device(
            DeviceId::parse("certified").unwrap(),
            iothub_emulator::Authentication::from(thumbprints),
        )
        .start()
        .await
        .unwrap();
    let own = ClientCertificate::from_pem(certificate.pem().as_bytes(), key_pair.serialize_pem().as_bytes());
    (hub, own.unwrap())
}

fn port(hub: &Emulator, transport: Transport) -> u16 {
    match transport {
        Transport::WebSocket => hub.https_address().unwrap().port(),
        _ => hub.amqps_address().port(),
    }
}

fn keyed(hub: &Emulator, transport: Transport) -> DeviceClientBuilder {
    let string = ConnectionString::builder(HubHost::parse("localhost").unwrap())
        .identity(identity("keyed"))
        .key(Secret::new(key().to_base64().expose()))
        .build()
        .unwrap();
    towards(hub, transport, DeviceClient::with(&string).unwrap())
}

fn certified(hub: &Emulator, transport: Transport, certificate: ClientCertificate) -> DeviceClientBuilder {
    let host = HubHost::parse("localhost").unwrap();
    let builder = DeviceClient::by_certificate(host, identity("certified"), certificate);
    towards(hub, transport, builder)
}

fn towards(hub: &Emulator, transport: Transport, builder: DeviceClientBuilder) -> DeviceClientBuilder {
    builder
        .port(port(hub, transport))
        .transport(transport)
        .root_certificate(hub.root_certificate_der().to_vec().into())
        .operation_timeout(Duration::from_secs(20))
}

async fn send_some(builder: DeviceClientBuilder) {
    let client = builder.connect().await.unwrap();
    for number in 0..10 {
        let _: Accepted = client.send(Message::new(number.to_string())).await.unwrap();
    }
    // Larger than a piece, a TLS record and a WebSocket message of ours.
    client.send(Message::new(vec![7; 200_000])).await.unwrap();
    client.close().await.unwrap();
}

const TRANSPORTS: [Transport; 2] = [Transport::Amqp, Transport::WebSocket];

#[tokio::test]
async fn a_device_sends_over_each_transport_by_token_and_by_certificate() {
    let (hub, certificate) = hub().await;
    for transport in TRANSPORTS {
        send_some(keyed(&hub, transport)).await;
        send_some(certified(&hub, transport, certificate.clone())).await;
    }
    let events = hub.journal().snapshot();
    assert_eq!(events.len(), 4 * 11);
    let by = |id: &str| {
        events
            .iter()
            .filter(|event| event.device().as_str() == id)
            .count()
    };
    assert_eq!((by("keyed"), by("certified")), (22, 22));
    hub.stop().await;
}

#[tokio::test]
async fn another_device_s_certificate_is_refused() {
    let (hub, certificate) = hub().await;
    let host = HubHost::parse("localhost").unwrap();
    let builder = DeviceClient::by_certificate(host, identity("keyed"), certificate);
    let refused = |condition: &Condition| assert_eq!(condition.name, "amqp:unauthorized-access");
    // A hub accepts the link first, and refuses it a moment later.
    match towards(&hub, Transport::Amqp, builder).connect().await {
        Err(ConnectError::RefusedWith { condition, .. }) => refused(&condition),
        Err(other) => panic!("{other:?}"),
        Ok(client) => match client.send(Message::new("a")).await.unwrap_err() {
            SendError::NotSent(Interruption::Refused(condition)) => refused(&condition),
            SendError::Unknown(Interruption::Refused(condition)) => refused(&condition),
            other => panic!("{other:?}"),
        },
    }
    assert_eq!(hub.journal().snapshot().len(), 0);
    hub.stop().await;
}

#[tokio::test]
async fn both_transports_go_through_a_proxy_that_asks_for_credentials() {
    let (hub, _) = hub().await;
    // RFC 7617 §2.
    let proxy = TestProxy::start(Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")).await;
    let with = |credentials: &str| {
        let text = format!("http://{credentials}127.0.0.1:{}", proxy.address.port());
        Proxies::all(Proxy::parse(&text).unwrap())
    };
    for transport in TRANSPORTS {
        send_some(keyed(&hub, transport).proxies(with("Aladdin:open%20sesame@"))).await;
    }
    for (head, transport) in proxy.asked().iter().zip(TRANSPORTS) {
        let place = format!("localhost:{}", port(&hub, transport));
        let first = format!("CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n");
        assert!(head.starts_with(&first), "{head}");
    }
    for credentials in ["", "Aladdin:other@"] {
        let error = keyed(&hub, Transport::Amqp)
            .proxies(with(credentials))
            .connect()
            .await;
        let error = error.unwrap_err();
        let unauthorized = |why: &ProxyFailure| *why == ProxyFailure::Unauthorized;
        assert!(
            matches!(&error, ConnectError::Proxy { why, .. } if unauthorized(why)),
            "{error:?}"
        );
        assert!(!format!("{error} {error:?}").contains("Aladdin"), "{error:?}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn a_proxy_that_does_not_reach_the_hub_says_so() {
    let (hub, _) = hub().await;
    let proxy = TestProxy::start(None).await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let through = Proxies::all(Proxy::parse(&proxy.address.to_string()).unwrap());
    let error = keyed(&hub, Transport::Amqp)
        .port(closed.port())
        .proxies(through)
        .connect()
        .await
        .unwrap_err();
    let bad_gateway = |why: &ProxyFailure| *why == ProxyFailure::Refused { status: 502 };
    assert!(
        matches!(&error, ConnectError::Proxy { why, .. } if bad_gateway(why)),
        "{error:?}"
    );
    hub.stop().await;
}

/// The emulator's HTTPS port answers no WebSocket on AMQP's, and AMQP none on HTTPS's.
#[tokio::test]
async fn the_wrong_port_for_a_transport_is_told() {
    let (hub, _) = hub().await;
    let wrong = keyed(&hub, Transport::WebSocket).port(port(&hub, Transport::Amqp));
    let error = wrong.connect().await.unwrap_err();
    let no_websocket = |why: &WebSocketFailure| !matches!(why, WebSocketFailure::SubProtocol);
    assert!(
        matches!(&error, ConnectError::WebSocket { why, .. } if no_websocket(why)),
        "{error:?}"
    );
    hub.stop().await;
}

/// Knows one name, and where it is.
struct Hosts(&'static str, SocketAddr);

impl Network for Hosts {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a> {
        assert_eq!((host, port), (self.0, 8883));
        Box::pin(async { Ok(vec![self.1]) })
    }

    fn connect(&self, address: SocketAddr) -> Connecting<'_> {
        SystemNetwork.connect(address)
    }
}

#[tokio::test]
async fn a_gateway_is_dialled_and_verified_in_the_hubs_place_and_tokens_are_for_the_hub() {
    let gateway = HubHost::parse("gateway.example").unwrap();
    let hub = Emulator::builder()
        .amqps_port(0)
        .https_port(None)
        .extra_names([gateway])
        .device(DeviceId::parse("keyed").unwrap(), Keys::new(key(), key()))
        .start()
        .await
        .unwrap();
    let host = format!("{}.azure-devices.net", hub.hub());
    let string = ConnectionString::builder(HubHost::parse(&host).unwrap())
        .identity(identity("keyed"))
        .key(Secret::new(key().to_base64().expose()))
        .gateway(HubHost::parse("gateway.example").unwrap(), 8883)
        .build()
        .unwrap();
    let builder = DeviceClient::with(&string)
        .unwrap()
        .network(Hosts("gateway.example", hub.amqps_address()))
        .root_certificate(hub.root_certificate_der().to_vec().into());
    send_some(builder).await;
    hub.stop().await;
}
