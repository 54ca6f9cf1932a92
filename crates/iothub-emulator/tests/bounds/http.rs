//! Many, slow and large: over HTTP, as behind the TLS of the HTTPS port.

use std::time::Duration;

use iothub_emulator::Emulator;
use iothub_sas::{SharedKey, Signer, UnixTime};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::{MIB, STRANGER, assert_served, measure, witness};

/// As many as there may be at all; one of them is the witness.
const PORTS: usize = 10_000;
/// What all bodies hold together.
const BODIES: u64 = 64 * MIB;
/// What else a client of these costs: the two directions of its stream, which are in memory too, and HTTP's own buffers.
const CLIENT: u64 = 384 * 1024;

fn stream(hub: &Emulator) -> DuplexStream {
    let (theirs, ours) = tokio::io::duplex(64 * 1024);
    hub.serve_http(ours);
    theirs
}

/// The head of a request that may be made.
async fn head(hub: &Emulator, line: &str, rest: &str) -> String {
    let policy = "iothubowner".parse().unwrap();
    let string = hub.policy_connection_string(&policy).await.unwrap().expose();
    let (_, key) = string.split_once("SharedAccessKey=").unwrap();
    let expires = UnixTime::from(std::time::SystemTime::now()) + Duration::from_secs(3600);
    let signer = Signer::new(SharedKey::from_base64(key).unwrap()).policy("iothubowner");
    let token = signer.sign("localhost", expires).expose().to_owned();
    format!(
        "{line}?api-version=2021-04-12 HTTP/1.1\r\nHost: localhost\r\nAuthorization: {token}\r\n{rest}\r\n"
    )
}

async fn status(stream: &mut DuplexStream) -> String {
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    answer.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn ten_thousand_who_never_end_their_heads_cost_little_and_have_a_deadline() {
    let bytes = measure(|hub| async move {
        let mut witness = witness(&hub).await;
        let beginnings = [
            String::new(),
            "GET /devi".to_owned(),
            format!(
                "PUT /devices/d HTTP/1.1\r\nHost: localhost\r\nX: {}",
                "x".repeat(2000)
            ),
        ];
        let mut strangers = Vec::with_capacity(PORTS);
        for beginning in beginnings.iter().cycle().take(PORTS - 1) {
            let mut stranger = stream(&hub);
            stranger.write_all(beginning.as_bytes()).await.unwrap();
            strangers.push(stranger);
        }
        assert_served(&mut witness, 0).await;
        // One more is turned away at the door.
        assert_eq!(stream(&hub).read(&mut [0; 8]).await.unwrap(), 0);
        // The deadline of a head.
        tokio::time::sleep(Duration::from_secs(16)).await;
        assert_served(&mut witness, 1).await;
        for mut stranger in strangers {
            status(&mut stranger).await;
        }
        let mut late = stream(&hub);
        let head = head(&hub, "GET /devices", "Connection: close\r\n").await;
        late.write_all(head.as_bytes()).await.unwrap();
        assert_eq!(status(&mut late).await, "HTTP/1.1 200 OK");
    });
    let each = bytes / u64::try_from(PORTS).unwrap();
    println!("{each} bytes a stranger");
    assert!(each < STRANGER, "{each} bytes a stranger");
}

#[test]
fn a_body_that_does_not_come_is_given_up() {
    measure(|hub| async move {
        let mut slow = stream(&hub);
        let head = head(&hub, "PUT /devices/d", "Content-Length: 100\r\n").await;
        slow.write_all(format!("{head}{{").as_bytes()).await.unwrap();
        let before = tokio::time::Instant::now();
        assert_eq!(status(&mut slow).await, "HTTP/1.1 408 Request Timeout");
        let waited = before.elapsed();
        assert!(
            waited >= Duration::from_secs(15) && waited < Duration::from_secs(16),
            "{waited:?}"
        );
    });
}

#[test]
fn all_bodies_together_hold_no_more_than_is_stated() {
    let bytes = measure(|hub| async move {
        let head = head(&hub, "POST /devices", "Content-Length: 1048576\r\n").await;
        let mut witness = witness(&hub).await;
        let clients: Vec<_> = (0..200)
            .map(|_| {
                let (mut client, head) = (stream(&hub), head.clone());
                tokio::spawn(async move {
                    client.write_all(head.as_bytes()).await.unwrap();
                    // All but the last byte.
                    let piece = [b' '; 4096];
                    for _ in 0..255 {
                        if client.write_all(&piece).await.is_err() {
                            break;
                        }
                    }
                    status(&mut client).await
                })
            })
            .collect();
        let mut told = std::collections::BTreeMap::new();
        for client in clients {
            *told.entry(client.await.unwrap()).or_insert(0) += 1;
        }
        assert_served(&mut witness, 0).await;
        // As many as there is room for wait for the byte that never comes.
        let given_up = told.remove("HTTP/1.1 408 Request Timeout").unwrap();
        assert!((60..=64).contains(&given_up), "{given_up} {told:?}");
        assert_eq!(
            told.remove("HTTP/1.1 503 Service Unavailable"),
            Some(200 - given_up),
            "{told:?}"
        );
    });
    println!("{} MiB", bytes / MIB);
    assert!(bytes < BODIES + 200 * CLIENT, "{bytes} bytes");
}
