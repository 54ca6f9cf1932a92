//! Devices with X.509 certificates in place of keys. Sources: Azure docs ("Authenticate identities with X.509
//! certificates"), the SDKs (Node, C#, Java and C send no SASL with a certificate, and put no token).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use iothub_emulator::{
    AuthFailure, AuthMethod, Authentication, Builder, Emulator, ManualClock, Notice, Scope, Status,
    Thumbprint, Thumbprints, Timestamp, What,
};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;

use crate::common::*;
use crate::raw::*;

/// A certificate and its key.
pub(crate) struct Credential {
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let now = OffsetDateTime::from(SystemTime::now());
    params.not_before = now - Duration::from_secs(3600);
    params.not_after = now + Duration::from_secs(3600);
    params
}

impl Credential {
    fn of(params: CertificateParams) -> Self {
        let key = KeyPair::generate().unwrap();
        let chain = vec![params.self_signed(&key).unwrap().into()];
        Self { chain, key }
    }

    pub(crate) fn self_signed(common_name: &str) -> Self {
        Self::of(params(common_name))
    }

    fn sha1(&self) -> Thumbprint {
        Thumbprint::sha1(&self.chain[0])
    }

    fn sha256(&self) -> Thumbprint {
        Thumbprint::sha256(&self.chain[0])
    }

    pub(crate) fn thumbprints(&self) -> Thumbprints {
        Thumbprints::new(self.sha256(), None)
    }

    pub(crate) fn config(
        &self,
        hub: &Emulator,
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> rustls::ClientConfig {
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        trusting(hub, versions)
            .with_client_auth_cert(self.chain.clone(), key)
            .unwrap()
    }

    async fn connect(&self, hub: &Emulator, versions: &[&'static rustls::SupportedProtocolVersion]) -> Raw {
        let config = self.config(hub, versions);
        Raw::on(tls_with(config, hub.amqps_address(), "localhost").await.unwrap())
    }

    /// Nothing was said yet.
    async fn silent(&self, hub: &Emulator) -> Raw {
        self.connect(hub, rustls::ALL_VERSIONS).await
    }

    /// After `open` and `begin`, without SASL.
    pub(crate) async fn bare(&self, hub: &Emulator) -> Raw {
        let mut raw = self.silent(hub).await;
        raw.start().await;
        raw
    }
}

/// An authority, and the file that it is given to a hub by.
struct Authority {
    params: CertificateParams,
    key: KeyPair,
    file: tempfile::NamedTempFile,
}

impl Authority {
    fn new() -> Self {
        let mut params = params("made-up authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { params, key, file }
    }

    fn sign(&self, params: &CertificateParams) -> Credential {
        let key = KeyPair::generate().unwrap();
        let issuer = Issuer::from_params(&self.params, &self.key);
        let chain = vec![params.signed_by(&key, &issuer).unwrap().into()];
        Credential { chain, key }
    }

    fn hub(&self) -> Builder {
        builder()
            .device_authority(self.file.path())
            .device("signed".parse().unwrap(), Authentication::CertificateAuthority)
            .module(
                "signed".parse().unwrap(),
                "m".parse().unwrap(),
                Authentication::CertificateAuthority,
            )
    }
}

/// Opens a telemetry link and sends one message.
pub(crate) async fn send(raw: &mut Raw, identity: &str) {
    raw.attach(0, "telemetry", &format!("/devices/{identity}/messages/events"))
        .await;
    raw.expect(ATTACH).await;
    raw.expect(FLOW).await;
    raw.send(&transfer(0, false, false, &data(b"x"))).await;
    raw.expect(DISPOSITION).await;
}

/// The attach is refused, with the condition that all SDKs read as "not authorised".
async fn refused(raw: &mut Raw, identity: &str) {
    raw.attach(0, "telemetry", &format!("/devices/{identity}/messages/events"))
        .await;
    let (condition, text) = raw.refusal().await;
    assert_eq!(condition, "amqp:unauthorized-access");
    assert!(text.contains("401002"), "{text}");
    raw.send(&frame(0, DETACH, &[uint(0), boolean(true)], b"")).await;
}

/// Why the hub did not let the first refused client in, by its own account.
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
async fn a_device_sends_by_the_thumbprint_of_its_certificate_with_no_sasl_and_no_token() {
    let (one, other) = (
        Credential::self_signed("any name"),
        Credential::self_signed("any name"),
    );
    let hub = builder()
        .device("sha1".parse().unwrap(), Thumbprints::new(one.sha1(), None))
        .device("sha256".parse().unwrap(), Thumbprints::new(one.sha256(), None))
        .device(
            "both".parse().unwrap(),
            Thumbprints::new(one.sha1(), other.sha256()),
        )
        .module(
            "both".parse().unwrap(),
            "m".parse().unwrap(),
            Thumbprints::new(other.sha1(), None),
        )
        .start()
        .await
        .unwrap();
    for (credential, identity) in [
        (&one, "sha1"),
        (&one, "sha256"),
        (&one, "both"),
        (&other, "both"),
        (&other, "both/modules/m"),
    ] {
        for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
            let mut raw = credential.connect(&hub, versions).await;
            raw.start().await;
            send(&mut raw, identity).await;
        }
    }
    let events = hub.journal().snapshot();
    assert_eq!(events.len(), 10);
    assert_eq!(
        events[0].sender.auth_method,
        AuthMethod::Certificate(Scope::Device)
    );
    assert_eq!(
        events[9].sender.auth_method,
        AuthMethod::Certificate(Scope::Module)
    );
    assert_eq!(
        events[0].sender.auth_method.to_string(),
        r#"{"scope":"device","type":"x509Certificate","issuer":"external","acceptingIpFilterRule":null}"#
    );
    hub.stop().await;
}

#[tokio::test]
async fn devices_and_modules_send_by_an_authority_and_their_common_name() {
    let authority = Authority::new();
    let hub = authority.hub().start().await.unwrap();
    for (common_name, identity) in [("signed", "signed"), ("signed/m", "signed/modules/m")] {
        let credential = authority.sign(&params(common_name));
        send(&mut credential.bare(&hub).await, identity).await;
        let mut raw = credential.silent(&hub).await;
        assert_eq!(raw.sasl("EXTERNAL", binary(b"")).await, 0, "{common_name}");
        raw.start().await;
        send(&mut raw, identity).await;
    }
    assert_eq!(hub.journal().snapshot().len(), 4);
    hub.stop().await;
}

/// §15 row 17 of the hub's wire reference: Proton picks EXTERNAL wherever it is offered, a password given or not.
#[tokio::test]
async fn external_is_offered_only_to_a_client_that_showed_a_certificate() {
    let hub = hub().await;
    let without = Raw::silent(&hub).await.mechanisms().await;
    assert_eq!(without, ["MSSBCBS", "ANONYMOUS", "PLAIN"]);
    let with = Credential::self_signed("any")
        .silent(&hub)
        .await
        .mechanisms()
        .await;
    assert_eq!(with, ["EXTERNAL", "MSSBCBS", "ANONYMOUS", "PLAIN"]);
    hub.stop().await;
}

#[tokio::test]
async fn a_certificate_goes_with_external_and_with_anonymous() {
    let credential = Credential::self_signed("any");
    let hub = builder()
        .device("d".parse().unwrap(), credential.thumbprints())
        .start()
        .await
        .unwrap();
    for mechanism in ["EXTERNAL", "ANONYMOUS", "MSSBCBS"] {
        let mut raw = credential.silent(&hub).await;
        assert_eq!(raw.sasl(mechanism, binary(b"")).await, 0, "{mechanism}");
        raw.start().await;
        send(&mut raw, "d").await;
    }
    hub.stop().await;
}

/// A certificate does not stand in the way of a token.
#[tokio::test]
async fn a_device_with_a_key_signs_in_by_it_whatever_certificate_it_shows() {
    let hub = hub().await;
    let credential = Credential::self_signed("any");
    let mut raw = credential.silent(&hub).await;
    let user = format!("{DEVICE}@sas.tcontehub");
    assert_eq!(raw.plain(&user, &device_token()).await, 0);
    raw.start().await;
    send(&mut raw, DEVICE).await;
    // But by the certificate alone it is nobody.
    refused(&mut credential.bare(&hub).await, DEVICE).await;
    assert_eq!(
        reason(&hub).await,
        AuthFailure::NotByCertificate(DEVICE.parse().unwrap())
    );
    hub.stop().await;
}

#[tokio::test]
async fn a_certificate_that_is_nobodys_is_refused_by_external_with_code_2() {
    let hub = hub().await;
    let credential = Credential::self_signed("any");
    let mut raw = credential.silent(&hub).await;
    assert_eq!(raw.sasl("EXTERNAL", binary(b"")).await, 2);
    assert!(raw.drain().await.is_empty());
    assert_eq!(
        reason(&hub).await,
        AuthFailure::UnknownCertificate(credential.sha256())
    );
    hub.stop().await;
}

/// Each at its link: without SASL nobody has said before who it is.
#[tokio::test]
async fn a_certificate_is_good_for_nobody_else() {
    let authority = Authority::new();
    let own = Credential::self_signed("by-thumbprint");
    let known = Thumbprints::new(own.sha256(), None);
    let hub = || {
        authority
            .hub()
            .device("by-thumbprint".parse().unwrap(), known)
            .device("closed".parse().unwrap(), Authentication::None)
    };
    let other = |identity: &str| AuthFailure::OtherCertificate(identity.parse().unwrap());
    let impostor = Authority::new();
    for (credential, identity, why) in [
        (
            Credential::self_signed("by-thumbprint"),
            "by-thumbprint",
            other("by-thumbprint"),
        ),
        (
            authority.sign(&params("by-thumbprint")),
            "by-thumbprint",
            other("by-thumbprint"),
        ),
        (authority.sign(&params("SIGNED")), "signed", other("signed")),
        (
            authority.sign(&params("signed")),
            "signed/modules/m",
            other("signed/modules/m"),
        ),
        (authority.sign(&params("signed/m")), "signed", other("signed")),
        (
            authority.sign(&params("nobody")),
            "nobody",
            AuthFailure::NotRegistered("nobody".parse().unwrap()),
        ),
        (
            authority.sign(&params("closed")),
            "closed",
            AuthFailure::NotByCertificate("closed".parse().unwrap()),
        ),
    ] {
        let hub = hub().start().await.unwrap();
        refused(&mut credential.bare(&hub).await, identity).await;
        assert_eq!(reason(&hub).await, why);
        hub.stop().await;
    }
    for untrusted in [
        Credential::self_signed("signed"),
        impostor.sign(&params("signed")),
    ] {
        let hub = hub().start().await.unwrap();
        refused(&mut untrusted.bare(&hub).await, "signed").await;
        assert!(matches!(reason(&hub).await, AuthFailure::Untrusted(_)));
        let mut raw = untrusted.silent(&hub).await;
        assert_eq!(raw.sasl("EXTERNAL", binary(b"")).await, 2);
        hub.stop().await;
    }
}

/// The time is the hub's, not the machine's.
#[tokio::test]
async fn a_certificate_holds_from_its_first_second_to_its_last() {
    let from = 1_700_000_000;
    let mut short = params("signed");
    short.not_before = OffsetDateTime::from_unix_timestamp(from).unwrap();
    short.not_after = OffsetDateTime::from_unix_timestamp(from + 100).unwrap();
    let mut authority = Authority::new();
    authority.params.not_before = OffsetDateTime::from_unix_timestamp(from - 100).unwrap();
    let pem = authority.params.self_signed(&authority.key).unwrap().pem();
    std::fs::write(authority.file.path(), pem).unwrap();
    let by_authority = authority.sign(&short);
    let by_thumbprint = Credential::of(short);
    let clock = ManualClock::new(Timestamp::from_seconds(from));
    let hub = || {
        let known = Thumbprints::new(by_thumbprint.sha1(), None);
        let device = "by-thumbprint".parse().unwrap();
        authority.hub().device(device, known).clock(clock.clone())
    };
    for (credential, identity) in [(&by_authority, "signed"), (&by_thumbprint, "by-thumbprint")] {
        for (at, why) in [
            (from - 1, Some(AuthFailure::CertificateNotYet { seconds: 1 })),
            (from, None),
            (from + 100, None),
            (from + 101, Some(AuthFailure::CertificateExpired { seconds: 1 })),
        ] {
            clock.set(Timestamp::from_seconds(at));
            let hub = hub().start().await.unwrap();
            let mut external = credential.silent(&hub).await;
            let code = external.sasl("EXTERNAL", binary(b"")).await;
            assert_eq!(code, if why.is_some() { 2 } else { 0 }, "{identity} at {at}");
            let mut bare = credential.bare(&hub).await;
            if let Some(why) = why {
                refused(&mut bare, identity).await;
                assert_eq!(reason(&hub).await, why, "{identity}");
            } else {
                send(&mut bare, identity).await;
            }
            drop((external, bare));
            hub.stop().await;
        }
    }
}

/// Who shows a certificate must have its key, though no authority is asked about it.
#[tokio::test]
async fn a_certificate_without_its_key_ends_the_handshake() {
    #[derive(Debug)]
    struct Stolen(Arc<CertifiedKey>);
    impl rustls::client::ResolvesClientCert for Stolen {
        fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
            Some(Arc::clone(&self.0))
        }
        fn has_certs(&self) -> bool {
            true
        }
    }
    let (own, thief) = (Credential::self_signed("any"), Credential::self_signed("any"));
    let hub = builder()
        .device("d".parse().unwrap(), Thumbprints::new(own.sha256(), None))
        .start()
        .await
        .unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(thief.key.serialize_der()));
    let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
    for versions in [&[&rustls::version::TLS12], &[&rustls::version::TLS13]] {
        let stolen = Stolen(Arc::new(CertifiedKey::new(own.chain.clone(), Arc::clone(&key))));
        let config = trusting(&hub, versions).with_client_cert_resolver(Arc::new(stolen));
        // With TLS 1.3 the client is done before the server has looked.
        if let Ok(stream) = tls_with(config, hub.amqps_address(), "localhost").await {
            let mut raw = Raw::on(stream);
            raw.send_anyway(AMQP).await;
            assert!(raw.drain().await.is_empty());
        }
    }
    let heard = hub.activity().snapshot();
    let let_in = |what: &What| matches!(what, What::ShowedCertificate { .. } | What::Anonymous);
    assert!(!heard.iter().any(|entry| let_in(&entry.what)), "{heard:?}");
    hub.stop().await;
}

#[tokio::test]
async fn a_device_with_a_certificate_is_sent_away_when_it_is_disabled_or_removed() {
    let credential = Credential::self_signed("any");
    let known = credential.thumbprints();
    let hub = builder()
        .device("d".parse().unwrap(), known)
        .start()
        .await
        .unwrap();
    let mut raw = credential.bare(&hub).await;
    send(&mut raw, "d").await;
    hub.set_status(&"d".parse().unwrap(), Status::Disabled)
        .await
        .unwrap();
    let detach = raw.expect_past_flows(DETACH).await;
    assert_eq!(detach.error(2).0, "amqp:unauthorized-access");
    refused(&mut credential.bare(&hub).await, "d").await;
    assert_eq!(reason(&hub).await, AuthFailure::Disabled("d".parse().unwrap()));
    hub.set_status(&"d".parse().unwrap(), Status::Enabled)
        .await
        .unwrap();
    let mut raw = credential.bare(&hub).await;
    send(&mut raw, "d").await;
    hub.remove(&"d".parse().unwrap()).await.unwrap();
    let detach = raw.expect_past_flows(DETACH).await;
    assert_eq!(detach.error(2).0, "amqp:not-found");
    let mut raw = credential.silent(&hub).await;
    assert_eq!(raw.sasl("EXTERNAL", binary(b"")).await, 2);
    hub.stop().await;
}

#[tokio::test]
async fn a_file_that_holds_no_authority_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty.pem");
    std::fs::write(&empty, "nothing here").unwrap();
    for file in [empty, dir.path().join("missing.pem")] {
        let error = builder().device_authority(&file).start().await.err().unwrap();
        let text = std::error::Error::source(&error).unwrap().to_string();
        assert!(text.contains(&file.display().to_string()), "{text}");
    }
}
