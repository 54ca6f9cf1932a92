//! What the tests of this crate share: a hub with a device, tokens, and streams that trust it.

use std::net::SocketAddr;
use std::sync::Arc;

use iothub_address::DeviceId;
use iothub_emulator::{Builder, Emulator, Keys};
use iothub_sas::{SharedKey, Signer, UnixTime};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(crate) const DEVICE: &str = "myFirstDevice";
pub(crate) const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
pub(crate) const OTHER_KEY: &str = "cG9saWN5LWtleS0wMTIzNDU2Nzg5YWJjZGVmLVhZWiE=";

pub(crate) fn key(text: &str) -> SharedKey {
    SharedKey::from_base64(text).unwrap()
}

pub(crate) fn device() -> DeviceId {
    DEVICE.parse().unwrap()
}

/// Hub `tcontehub` with the device `myFirstDevice`.
pub(crate) fn builder() -> Builder {
    Emulator::builder()
        .hub("tcontehub".parse().unwrap())
        .device(device(), Keys::new(key(KEY), key(OTHER_KEY)))
}

pub(crate) async fn hub() -> Emulator {
    builder().start().await.unwrap()
}

/// A token for `resource` that holds for an hour of real time.
pub(crate) fn token(resource: &str) -> String {
    let expires = UnixTime::from(std::time::SystemTime::now()) + std::time::Duration::from_secs(3600);
    Signer::new(key(KEY)).sign(resource, expires).expose().to_owned()
}

pub(crate) fn device_token() -> String {
    token(&format!("tcontehub.azure-devices.net/devices/{DEVICE}"))
}

/// A stream to the AMQPS port, its certificate verified for `name`.
pub(crate) async fn tls_as(hub: &Emulator, name: &'static str) -> std::io::Result<TlsStream<TcpStream>> {
    tls_to(hub.amqps_address(), hub, name).await
}

pub(crate) async fn tls_to(
    address: SocketAddr,
    hub: &Emulator,
    name: &'static str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let config = trusting(hub, rustls::ALL_VERSIONS).with_no_client_auth();
    tls_with(config, address, name).await
}

/// A configuration that trusts the hub, but for what the client shows for itself.
pub(crate) fn trusting(
    hub: &Emulator,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> rustls::ConfigBuilder<rustls::ClientConfig, rustls::client::WantsClientCert> {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from(hub.root_certificate_der().to_vec()))
        .unwrap();
    rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
}

pub(crate) async fn tls_with(
    config: rustls::ClientConfig,
    address: SocketAddr,
    name: &'static str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let tcp = TcpStream::connect(address).await?;
    tcp.set_nodelay(true)?;
    TlsConnector::from(Arc::new(config))
        .connect(ServerName::try_from(name).unwrap(), tcp)
        .await
}

pub(crate) async fn tls(hub: &Emulator) -> TlsStream<TcpStream> {
    tls_as(hub, "localhost").await.unwrap()
}
