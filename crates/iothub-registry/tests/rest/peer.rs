//! Goal: the client does what its README's tables say with a hub that throttles, breaks off, says too much or nothing.
//! Method: a TLS peer that answers from a script; what it was asked is counted there.

use std::time::Duration;

use iothub_address::{DeviceId, Identity};
use iothub_registry::{
    BadReply, Credential, CredentialError, Device, ErrorCode, IfMatch, Interruption, MethodCall, NotSent,
    Proxy, Registry, RegistryError, TokenFuture,
};
use iothub_sas::{SasToken, SharedKey, Signer, UnixTime};
use tokio::time::Instant;

use super::harness::{KEY, Peer, answer, localhost, proxy};

const DEVICE: &str = r#"{"deviceId":"dev"}"#;
const THROTTLED: &str =
    r#"{"Message":"ErrorCode:ThrottlingException;Too much.","ExceptionMessage":"Tracking ID:t1"}"#;

fn dev() -> DeviceId {
    "dev".parse().unwrap()
}

/// How many requests there are for each of these calls, of which the first is answered so.
async fn asked(first: Vec<u8>, call: Kind) -> (usize, Result<(), RegistryError>) {
    let good = match call {
        Kind::Method => r#"{"status":200,"payload":null}"#,
        Kind::Read | Kind::Write => DEVICE,
    };
    let peer = Peer::start(vec![first, answer("200 OK", "", good)]).await;
    let registry = peer.builder().build().await.unwrap();
    let outcome = match call {
        Kind::Read => registry.device(&dev()).await.map(drop),
        Kind::Write => registry.create_device(&Device::new(dev())).await.map(drop),
        Kind::Method => registry
            .call_method(&Identity::Device(dev()), &MethodCall::new("m"))
            .await
            .map(drop),
    };
    (peer.asked().len(), outcome)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Read,
    Write,
    Method,
}

#[tokio::test]
async fn a_throttled_call_is_made_again_after_the_time_that_the_hub_says() {
    for kind in [Kind::Read, Kind::Write, Kind::Method] {
        let begun = Instant::now();
        let (count, outcome) = asked(
            answer("429 Too Many Requests", "retry-after: 1\r\n", THROTTLED),
            kind,
        )
        .await;
        outcome.unwrap();
        assert_eq!(count, 2, "{kind:?}");
        assert!(begun.elapsed() >= Duration::from_secs(1), "{kind:?}");
    }
}

#[tokio::test]
async fn who_would_wait_beyond_the_deadline_learns_it_at_once() {
    let peer = Peer::start(vec![answer(
        "429 Too Many Requests",
        "Retry-After: 3600\r\niothub-errorcode: ThrottlingException\r\n",
        THROTTLED,
    )])
    .await;
    let registry = peer.builder().build().await.unwrap();
    let Err(RegistryError::Refused(refusal)) = registry.device(&dev()).await else {
        panic!("it was not refused")
    };
    assert_eq!(refusal.code, ErrorCode::Throttled);
    assert_eq!(refusal.retry_after, Some(Duration::from_secs(3600)));
    assert_eq!(refusal.tracking_id.as_deref(), Some("t1"));
    assert_eq!(peer.asked().len(), 1);
}

#[tokio::test]
async fn what_may_have_been_done_is_not_asked_for_again() {
    // The connection ends where an answer should be.
    for (kind, times) in [(Kind::Read, 2), (Kind::Write, 1), (Kind::Method, 1)] {
        let (count, outcome) = asked(Vec::new(), kind).await;
        assert_eq!(count, times, "{kind:?}");
        match (kind, outcome) {
            (Kind::Read, Ok(())) => {}
            (Kind::Write | Kind::Method, Err(RegistryError::Unknown(Interruption::Lost(_)))) => {}
            other => panic!("{other:?}"),
        }
    }
    for (kind, times) in [(Kind::Read, 2), (Kind::Write, 1), (Kind::Method, 1)] {
        let (count, _) = asked(answer("500 Internal Server Error", "", ""), kind).await;
        assert_eq!(count, times, "{kind:?}");
    }
    for (kind, times) in [(Kind::Read, 2), (Kind::Write, 2), (Kind::Method, 1)] {
        let (count, _) = asked(answer("503 Service Unavailable", "retry-after: 0\r\n", ""), kind).await;
        assert_eq!(count, times, "{kind:?}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_answer() {
    let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"deviceId\"".to_vec();
    let (count, outcome) = asked(cut, Kind::Write).await;
    assert_eq!(count, 1);
    assert!(matches!(outcome, Err(RegistryError::Unknown(_))), "{outcome:?}");
}

#[tokio::test]
async fn answers_that_cannot_be_read_are_told_without_their_values() {
    for (body, what) in [
        ("{", "it is no JSON by line 1, column 1"),
        ("{}", "it has no deviceId"),
        (
            r#"{"deviceId":"dev","authentication":{"symmetricKey":{"primaryKey":["S3CRET"]}}}"#,
            "a field of it has another value than a string",
        ),
    ] {
        let (_, outcome) = asked(answer("200 OK", "", body), Kind::Read).await;
        match outcome {
            Err(RegistryError::BadReply(BadReply::Form(text))) => assert_eq!(text, what),
            other => panic!("{other:?}"),
        }
    }
    let no_http = b"SSH-2.0-OpenSSH_9.6\r\n\r\n".to_vec();
    let (count, outcome) = asked(no_http, Kind::Method).await;
    assert_eq!(count, 1);
    assert!(
        matches!(outcome, Err(RegistryError::Unknown(Interruption::Lost(_)))),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_body_has_its_bound_whether_it_says_its_size_or_not() {
    let said = b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n{".to_vec();
    let mut unsaid = b"HTTP/1.1 200 OK\r\n\r\n".to_vec();
    unsaid.resize(200_000, b' ');
    for answer in [said, unsaid] {
        let peer = Peer::start(vec![answer]).await;
        let registry = peer.builder().largest_reply(100_000).build().await.unwrap();
        let outcome = registry.device(&dev()).await;
        assert_eq!(
            outcome.unwrap_err(),
            RegistryError::BadReply(BadReply::TooLarge { limit: 100_000 })
        );
    }
    let mut refusal = b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec();
    refusal.resize(1_000_000, b'x');
    let (count, outcome) = asked(refusal, Kind::Read).await;
    assert_eq!(count, 1);
    assert!(
        matches!(&outcome, Err(RegistryError::Refused(refusal)) if refusal.message.len() == 1024),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_silent_hub_ends_the_call_at_its_deadline() {
    let peer = Peer::start(Vec::new()).await;
    let after = Duration::from_millis(300);
    let registry = peer.builder().deadline(after).build().await.unwrap();
    let outcome = registry.delete_device(&dev(), &IfMatch::Any).await;
    assert_eq!(
        outcome,
        Err(RegistryError::Unknown(Interruption::TimedOut { after }))
    );
}

#[tokio::test]
async fn a_page_that_comes_twice_ends_a_query() {
    let page = || answer("200 OK", "x-ms-continuation: one\r\n", "[]");
    let peer = Peer::start(vec![page(), page()]).await;
    let registry = peer.builder().build().await.unwrap();
    let mut pages = registry.query("SELECT * FROM devices");
    assert!(pages.next().await.unwrap().is_some());
    assert_eq!(pages.next().await, Err(RegistryError::BadReply(BadReply::Circle)));
    let second = &peer.asked()[1];
    assert!(second.contains("x-ms-continuation: one\r\n"), "{second}");
}

#[tokio::test]
async fn a_request_has_the_parts_that_the_hub_wants() {
    let peer = Peer::start(vec![answer("200 OK", "", DEVICE)]).await;
    let registry = peer.builder().build().await.unwrap();
    let device = Device::new("a#b".parse().unwrap());
    registry.update_device(&device, &IfMatch::Any).await.unwrap();
    let asked = &peer.asked()[0];
    assert!(
        asked.starts_with("PUT /devices/a%23b?api-version=2021-04-12 HTTP/1.1\r\n"),
        "{asked}"
    );
    for header in [
        "if-match: \"*\"",
        "content-type: application/json; charset=utf-8",
        "authorization: SharedAccessSignature sr=localhost&sig=",
    ] {
        assert!(asked.contains(header), "{header} in {asked}");
    }
}

/// Counts what it is asked for.
struct Counting(std::sync::Arc<std::sync::atomic::AtomicU64>);

impl Credential for Counting {
    fn token<'a>(&'a self, hub: &'a iothub_address::Resource, now: UnixTime) -> TokenFuture<'a> {
        let number = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let signer = Signer::new(SharedKey::from_base64(KEY).unwrap()).policy(format!("policy{number}"));
        let token: Result<SasToken, CredentialError> =
            Ok(signer.sign(hub.as_ref(), now + Duration::from_secs(3600)));
        Box::pin(std::future::ready(token))
    }
}

#[tokio::test]
async fn a_token_is_kept_and_replaced_when_the_hub_no_longer_takes_it() {
    let no = || answer("401 Unauthorized", "", "");
    let yes = || answer("200 OK", "", DEVICE);
    let peer = Peer::start(vec![yes(), yes(), no(), yes(), no(), no()]).await;
    let count = std::sync::Arc::default();
    let registry = Registry::builder(localhost(), Counting(std::sync::Arc::clone(&count)))
        .port(peer.port)
        .root(peer.root())
        .build()
        .await
        .unwrap();
    for _ in 0..3 {
        registry.device(&dev()).await.unwrap();
    }
    let refused = registry.device(&dev()).await;
    assert!(
        matches!(&refused, Err(RegistryError::Refused(refusal)) if refusal.status == 401),
        "{refused:?}"
    );
    let policies: Vec<_> = peer
        .asked()
        .iter()
        .map(|asked| asked.split("skn=policy").nth(1).unwrap().chars().next().unwrap())
        .collect();
    assert_eq!(policies, ['0', '0', '0', '1', '1', '2']);
}

#[tokio::test]
async fn the_way_leads_through_a_proxy_that_knows_us() {
    let peer = Peer::start(vec![answer("200 OK", "", DEVICE)]).await;
    // "Aladdin" with "open sesame", of RFC 7617 §2.
    let wanted = "proxy-authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==";
    let port = proxy(wanted, peer.port).await;
    let through = |credentials: &str| {
        let proxy = Proxy::parse(&format!("http://{credentials}127.0.0.1:{port}")).unwrap();
        peer.builder().proxy(proxy).build()
    };
    let known = through("Aladdin:open%20sesame@").await.unwrap();
    known.device(&dev()).await.unwrap();
    let stranger = through("Aladdin:s3cret@").await.unwrap();
    let error = stranger.device(&dev()).await.unwrap_err();
    assert!(
        matches!(&error, RegistryError::NotSent(NotSent::ProxyUnauthorized { .. })),
        "{error:?}"
    );
    let shown = format!("{error} {error:?} {stranger:?}");
    assert!(!shown.contains("s3cret") && !shown.contains("Aladdin"), "{shown}");
}

#[tokio::test]
async fn a_hub_that_is_not_there_or_not_trusted_was_not_asked() {
    let peer = Peer::start(vec![answer("200 OK", "", DEVICE)]).await;
    let stranger = Registry::builder(localhost(), token())
        .port(peer.port)
        .build()
        .await
        .unwrap();
    let error = stranger.device(&dev()).await.unwrap_err();
    assert!(
        matches!(&error, RegistryError::NotSent(NotSent::Certificate { .. })),
        "{error:?}"
    );
    assert!(peer.asked().is_empty());
    // A port that was free a moment ago.
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let nowhere = Registry::builder(localhost(), token())
        .port(port)
        .build()
        .await
        .unwrap();
    let error = nowhere
        .call_method(&Identity::Device(dev()), &MethodCall::new("m"))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, RegistryError::NotSent(NotSent::Connect { .. })),
        "{error:?}"
    );
}

fn token() -> SasToken {
    Signer::new(SharedKey::from_base64(KEY).unwrap())
        .policy("service")
        .sign("localhost", UnixTime::from_secs(32_503_680_000))
}
