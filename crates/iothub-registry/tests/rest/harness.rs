//! A hub of the emulator's, and a peer that answers from a script.

use std::sync::{Arc, Mutex};

use iothub_address::{ConnectionString, HubHost, PolicyName};
use iothub_emulator::{Emulator, Keys, Rights};
use iothub_registry::{Registry, RegistryBuilder};
use iothub_sas::SharedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// The key of bytes 00..1f.
pub(crate) const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

pub(crate) async fn hub() -> (Emulator, Registry) {
    let owner: PolicyName = "iothubowner".parse().unwrap();
    let keys = Keys::new(
        SharedKey::from_base64(KEY).unwrap(),
        SharedKey::from_base64(KEY).unwrap(),
    );
    let hub = Emulator::builder()
        .policy_with(owner.clone(), keys, Rights::ALL)
        .start()
        .await
        .unwrap();
    let registry = of(&hub, &owner).await.build().await.unwrap();
    (hub, registry)
}

pub(crate) async fn of(hub: &Emulator, policy: &PolicyName) -> RegistryBuilder {
    let string = hub.policy_connection_string(policy).await.unwrap();
    Registry::from_connection_string(&string)
        .unwrap()
        .port(hub.https_address().unwrap().port())
        .root(CertificateDer::from(hub.root_certificate_der().to_vec()))
}

/// A server that answers each request with the next piece of its script, and closes the connection behind it if the piece
/// does not say how long it is.
pub(crate) struct Peer {
    pub(crate) port: u16,
    root: CertificateDer<'static>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Peer {
    pub(crate) async fn start(script: Vec<Vec<u8>>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let root = made.cert.der().clone();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![root.clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let script = Arc::new(Mutex::new(script.into_iter()));
        let heads = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                tokio::spawn(serve(
                    tcp,
                    acceptor.clone(),
                    Arc::clone(&script),
                    Arc::clone(&heads),
                ));
            }
        });
        Self { port, root, asked }
    }

    pub(crate) fn builder(&self) -> RegistryBuilder {
        let text = format!("HostName=localhost;SharedAccessKeyName=service;SharedAccessKey={KEY}");
        Registry::from_connection_string(&ConnectionString::parse(&text).unwrap())
            .unwrap()
            .port(self.port)
            .root(self.root.clone())
    }

    pub(crate) fn root(&self) -> CertificateDer<'static> {
        self.root.clone()
    }

    /// The heads and bodies of what it was asked.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(
    tcp: TcpStream,
    acceptor: TlsAcceptor,
    script: Arc<Mutex<std::vec::IntoIter<Vec<u8>>>>,
    asked: Arc<Mutex<Vec<String>>>,
) -> Option<()> {
    let mut stream = acceptor.accept(tcp).await.ok()?;
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.ok()?);
        }
        let text = String::from_utf8(head).unwrap();
        let length = text.lines().find_map(|line| {
            line.to_ascii_lowercase()
                .strip_prefix("content-length: ")?
                .parse()
                .ok()
        });
        let mut body = vec![0; length.unwrap_or(0)];
        stream.read_exact(&mut body).await.ok()?;
        asked
            .lock()
            .unwrap()
            .push(text + std::str::from_utf8(&body).unwrap());
        let answer = script.lock().unwrap().next();
        match answer {
            // Nothing more is said, and the connection stays.
            None => std::future::pending().await,
            Some(answer) => {
                stream.write_all(&answer).await.ok()?;
                if !answer.windows(15).any(|part| part == b"content-length:") {
                    return stream.shutdown().await.ok();
                }
            }
        }
    }
}

pub(crate) fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A proxy that wants this line, and leads to `to` whatever it is asked for.
pub(crate) async fn proxy(wanted: &'static str, to: u16) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(client.read_u8().await.ok()?);
                }
                let head = String::from_utf8(head).unwrap();
                let is_let_in = head.lines().any(|line| line.eq_ignore_ascii_case(wanted));
                if !head.starts_with("CONNECT localhost:") || !is_let_in {
                    let no = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
                    return client.write_all(no).await.ok();
                }
                let mut hub = TcpStream::connect(("127.0.0.1", to)).await.ok()?;
                client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.ok()?;
                tokio::io::copy_bidirectional(&mut client, &mut hub)
                    .await
                    .ok()
                    .map(drop)
            });
        }
    });
    port
}

pub(crate) fn localhost() -> HubHost {
    HubHost::parse("localhost").unwrap()
}
