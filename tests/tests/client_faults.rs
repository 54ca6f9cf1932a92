//! Goal: whatever goes wrong on the network, and whenever, a client recovers or ends with the error that the table of
//! recovery says, and no message that it accepted is lost.
//! Method: a hub of hand-written frames behind a network in memory. A cut after every byte of one full session, with the
//! clock paused; and each fault at each phase. These wait for real, since the engine spins while it closes towards a peer
//! that says nothing, and a paused clock stands still beside a spin.
#![allow(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use iothub_address::{ConnectionString, HubHost, Identity, ModuleId};
use iothub_amqp::recovery::{Recovery, classify_connect};
use iothub_amqp::{
    ByteStream, ConnectError, DeviceClient, DeviceClientBuilder, Lost, Message, Phase, Recover, Schedule,
};
use iothub_tests::faults::{FAULTS, Fault, Pipes, Place, Side};
use iothub_tests::reactive::{Answer, Hub, Seen};
use iothub_tests::tls::{TestCa, Validity};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// A made-up key: bytes 00 to 1f.
const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn device() -> DeviceClientBuilder {
    let text = format!("HostName=localhost;DeviceId=dev;SharedAccessKey={KEY}");
    DeviceClient::with(&ConnectionString::parse(&text).unwrap())
        .unwrap()
        .plain_tcp_to_this_machine()
}

/// A hub that accepts all, and the network that leads to it.
fn hub(attempts: impl IntoIterator<Item = Option<(Place, Fault)>>) -> (Hub, Pipes) {
    let (hub, door) = Hub::in_memory("ANONYMOUS", |_, _| Answer::Accept);
    (hub, Pipes::to(door, attempts))
}

/// The bodies of the messages that the hub has seen, in order.
fn bodies(hub: &mut Hub) -> Vec<u8> {
    let mut bodies = Vec::new();
    while let Ok(seen) = hub.seen.try_recv() {
        if let Seen::Telemetry(sections) = seen {
            bodies.push(*sections.last().unwrap());
        }
    }
    bodies
}

/// Of each body its first copy.
fn first_copies(bodies: &[u8]) -> Vec<u8> {
    let mut first = Vec::new();
    for body in bodies {
        if !first.contains(body) {
            first.push(*body);
        }
    }
    first
}

const MESSAGES: [u8; 3] = [b'a', b'b', b'c'];

/// A full session: sign in, attach, three messages, farewell. What connecting came to.
async fn session(pipes: &Pipes) -> Result<(), ConnectError> {
    let client = device().network(pipes.clone()).connect().await?;
    let tickets = MESSAGES.map(|body| client.enqueue(Message::new([body])).unwrap());
    for ticket in tickets {
        ticket.await.unwrap();
    }
    // A farewell that is cut short is told, and is an end all the same.
    let _ = client.close().await;
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_cut_after_any_byte_of_a_session_loses_nothing_and_keeps_the_order() {
    let (mut hub_of_all, pipes) = hub([]);
    session(&pipes).await.unwrap();
    assert_eq!(bodies(&mut hub_of_all), MESSAGES);
    let length = pipes.bytes();
    assert!(length > 2000, "{length}");

    let (mut never_made, mut recovered) = (0, 0);
    for byte in 0..length {
        let (mut hub, pipes) = hub([Some((Place::Byte(byte), Fault::Reset))]);
        let (limit, begun) = (Duration::from_secs(600), tokio::time::Instant::now());
        let ended = tokio::time::timeout(limit, session(&pipes)).await;
        match ended.unwrap_or_else(|_| panic!("cut after byte {byte}: hangs")) {
            Ok(()) => {
                let bodies = bodies(&mut hub);
                assert_eq!(first_copies(&bodies), MESSAGES, "cut after byte {byte}");
                assert!(
                    bodies.len() <= 2 * MESSAGES.len(),
                    "cut after byte {byte}: {bodies:?}"
                );
                recovered += usize::from(pipes.attempts() > 1);
                assert!(
                    begun.elapsed() < Duration::from_secs(12),
                    "cut after byte {byte}: {:?}",
                    begun.elapsed()
                );
            }
            // It ends as a first connection does: at once, with what may pass.
            Err(error) => {
                assert_eq!(
                    classify_connect(&error),
                    Recovery::Reconnect,
                    "byte {byte}: {error}"
                );
                assert_eq!(pipes.attempts(), 1, "byte {byte}");
                // A reset is heard of at once, whatever was being made.
                assert!(
                    matches!(error, ConnectError::Lost { .. }),
                    "byte {byte}: {error:?}"
                );
                never_made += 1;
            }
        }
    }
    assert!(never_made > 500 && recovered > 100, "{never_made} {recovered}");
}

/// What a phase is, on the wire.
const PHASES: [(&str, Place); 15] = [
    ("dns", Place::Resolve),
    ("tcp", Place::Connect),
    ("header", Place::Frame(Side::Client, 0, 0)),
    ("sasl", Place::Frame(Side::Client, 0x41, 0)),
    ("open", Place::Frame(Side::Client, 0x10, 0)),
    ("begin", Place::Frame(Side::Client, 0x11, 0)),
    ("cbs attach", Place::Frame(Side::Client, 0x12, 0)),
    ("put-token", Place::Frame(Side::Client, 0x14, 0)),
    ("link attach", Place::Frame(Side::Client, 0x12, 2)),
    ("flow", Place::Frame(Side::Hub, 0x13, 1)),
    ("transfer", Place::Frame(Side::Client, 0x14, 1)),
    ("disposition", Place::Frame(Side::Hub, 0x15, 1)),
    ("detach", Place::Frame(Side::Client, 0x16, 0)),
    ("end", Place::Frame(Side::Client, 0x17, 0)),
    ("close", Place::Frame(Side::Client, 0x18, 0)),
];

const STEP: Duration = Duration::from_secs(2);

/// Only where credit does not come nothing is waited for but a sign of life.
fn impatient(builder: DeviceClientBuilder, phase: &str) -> DeviceClientBuilder {
    let idle = if phase == "flow" { STEP } else { 30 * STEP };
    let schedule = Schedule::default()
        .spread(Duration::from_millis(1))
        .first(Duration::from_millis(1));
    builder
        .operation_timeout(STEP)
        .idle_timeout(idle)
        .queue_timeout(Duration::from_secs(60))
        .recovery(Recover::On(schedule))
}

/// Before the link is attached for the first time.
fn is_setup(phase: &str) -> bool {
    !["flow", "transfer", "disposition", "detach", "end", "close"].contains(&phase)
}

/// As the error names what was being made.
fn phase_of(phase: &str, silent: bool) -> Phase {
    match phase {
        // The first session is that of `$cbs`, and it is the token that is waited for.
        "begin" if silent => Phase::Token,
        "dns" => Phase::Resolve,
        "tcp" => Phase::Connect,
        "header" | "sasl" | "open" => Phase::Open,
        "begin" => Phase::Begin,
        "cbs attach" | "put-token" => Phase::Token,
        "link attach" => Phase::Attach,
        _ => unreachable!("{phase} comes after the first attachment"),
    }
}

/// What the error says was being made.
fn said_phase(error: &ConnectError) -> Option<Phase> {
    match error {
        ConnectError::Resolve { .. } => Some(Phase::Resolve),
        ConnectError::Connect { .. } => Some(Phase::Connect),
        ConnectError::TimedOut { phase, .. } | ConnectError::Lost { phase, .. } => Some(*phase),
        _ => None,
    }
}

/// On the first connection: what is being made fails with a typed error in one attempt, what was made recovers.
async fn first(phase: &'static str, place: Place, fault: Fault) {
    let (mut hub, pipes) = hub([Some((place, fault))]);
    let connected = impatient(device(), phase).network(pipes.clone()).connect().await;
    if is_setup(phase) {
        let error = connected.map(drop).unwrap_err();
        assert_eq!(
            classify_connect(&error),
            Recovery::Reconnect,
            "{phase} {fault:?}: {error}"
        );
        assert_eq!(pipes.attempts(), 1, "{phase} {fault:?}: {error}");
        let silent = matches!(fault, Fault::HalfOpen | Fault::Stall);
        assert_eq!(
            said_phase(&error),
            Some(phase_of(phase, silent)),
            "{phase} {fault:?}: {error:?}"
        );
        let timed_out = matches!(
            error,
            ConnectError::TimedOut { .. }
                | ConnectError::Lost {
                    why: Lost::Idle | Lost::Stream(iothub_amqp::Blown::Stalled),
                    ..
                }
        );
        assert_eq!(timed_out, silent, "{phase} {fault:?}: {error:?}");
        return;
    }
    let client = connected.unwrap_or_else(|error| panic!("{phase} {fault:?}: {error}"));
    let sent = client.enqueue(Message::new("a")).unwrap().await;
    assert!(sent.is_ok(), "{phase} {fault:?}: {sent:?}");
    let farewell = client.close_within(STEP).await;
    if ["detach", "end", "close"].contains(&phase) {
        assert!(farewell.is_err(), "{phase} {fault:?}");
    } else {
        assert!(pipes.attempts() > 1, "{phase} {fault:?}");
    }
    assert_eq!(first_copies(&bodies(&mut hub)), b"a", "{phase} {fault:?}");
}

/// On the second connection, after the first was cut at its first message: a third is made, and the message arrives.
async fn second(phase: &'static str, place: Place, fault: Fault) {
    let cut = (Place::Frame(Side::Client, 0x14, 1), Fault::Reset);
    let (mut hub, pipes) = hub([Some(cut), Some((place, fault))]);
    let client = impatient(device(), phase)
        .network(pipes.clone())
        .connect()
        .await
        .unwrap();
    let sent = client.enqueue(Message::new("a")).unwrap().await;
    assert!(sent.is_ok(), "{phase} {fault:?}: {sent:?}");
    assert!(pipes.attempts() > 2, "{phase} {fault:?}");
    assert_eq!(first_copies(&bodies(&mut hub)), b"a", "{phase} {fault:?}");
    let _ = client.close_within(STEP).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_at_each_phase_recovers_or_ends_with_its_error() {
    let mut cases = JoinSet::new();
    for (phase, place) in PHASES {
        for fault in FAULTS {
            cases.spawn(first(phase, place, fault));
            if !["detach", "end", "close"].contains(&phase) {
                cases.spawn(second(phase, place, fault));
            }
        }
    }
    assert_eq!(cases.len(), 15 * 4 + 12 * 4);
    let mut failed = 0;
    while let Some(case) = cases.join_next().await {
        failed += usize::from(case.is_err()); // each has said why
    }
    assert_eq!(failed, 0);
}

/// Of a hub that answers nothing from there on, until the idle time-out.
async fn silence(place: Place) -> ConnectError {
    let (_hub, pipes) = hub([Some((place, Fault::HalfOpen))]);
    device()
        .idle_timeout(Duration::from_secs(1))
        .operation_timeout(Duration::from_secs(20))
        .network(pipes)
        .connect()
        .await
        .map(drop)
        .unwrap_err()
}

#[tokio::test]
async fn an_idle_time_out_while_something_is_begun_or_attached_is_told_as_what_it_is() {
    let [begun, claims, link] = [(0x11, 0), (0x12, 0), (0x12, 2)].map(|(code, nth)| {
        // The hub's answer is what does not come.
        silence(Place::Frame(Side::Hub, code, nth))
    });
    let (begun, claims, link) = tokio::join!(begun, claims, link);
    let all = [
        (begun, Phase::Begin),
        (claims, Phase::Token),
        (link, Phase::Attach),
    ];
    for (error, expected) in all {
        assert!(
            matches!(&error, ConnectError::Lost { phase, why: Lost::Idle } if *phase == expected),
            "{expected}: {error:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_in_the_tls_handshake_ends_with_its_error() {
    for fault in FAULTS {
        let (door, mut arrivals) = mpsc::unbounded_channel();
        let pipes = Pipes::to(door, [Some((Place::Byte(100), fault))]);
        let text = format!("HostName=localhost;DeviceId=dev;SharedAccessKey={KEY}");
        let builder = DeviceClient::with(&ConnectionString::parse(&text).unwrap()).unwrap();
        let builder = builder.root_certificate(TestCa::new().root());
        let error = impatient(builder, "tls")
            .network(pipes)
            .connect()
            .await
            .unwrap_err();
        assert_eq!(
            classify_connect(&error),
            Recovery::Reconnect,
            "{fault:?}: {error}"
        );
        match fault {
            Fault::HalfOpen | Fault::Stall => assert!(
                matches!(
                    error,
                    ConnectError::TimedOut {
                        phase: Phase::Tls,
                        ..
                    }
                ),
                "{fault:?}: {error:?}"
            ),
            _ => assert!(matches!(error, ConnectError::Tls { .. }), "{fault:?}: {error:?}"),
        }
        drop(arrivals.try_recv());
    }
}

/// A hub that drops the first connection at its first message and accepts all others, behind TLS; and the network that leads
/// to it.
fn hub_behind_tls(ca: &TestCa, attempts: impl IntoIterator<Item = Option<(Place, Fault)>>) -> (Hub, Pipes) {
    let dropped = AtomicBool::new(false);
    let (hub, inner) = Hub::in_memory("ANONYMOUS", move |seen, _| match seen {
        Seen::Telemetry(_) if !dropped.swap(true, Ordering::Relaxed) => Answer::Cut,
        _ => Answer::Accept,
    });
    let acceptor = ca.acceptor("localhost", Validity::Current);
    let (door, mut arrivals) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(stream) = arrivals.recv().await {
            let (acceptor, inner) = (acceptor.clone(), inner.clone());
            tokio::spawn(async move {
                // A handshake that fails is the client's to tell.
                if let Ok(stream) = acceptor.accept(stream).await {
                    let stream: Box<dyn ByteStream> = Box::new(stream);
                    let _ = inner.send(stream);
                }
            });
        }
    });
    (hub, Pipes::to(door, attempts))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_in_the_tls_handshake_of_a_second_connection_is_recovered_from_by_a_third() {
    for fault in FAULTS {
        let ca = TestCa::new();
        let (mut hub, pipes) = hub_behind_tls(&ca, [None, Some((Place::Byte(100), fault))]);
        let text = format!("HostName=localhost;DeviceId=dev;SharedAccessKey={KEY}");
        let builder = DeviceClient::with(&ConnectionString::parse(&text).unwrap()).unwrap();
        let client = impatient(builder.root_certificate(ca.root()), "tls")
            .network(pipes.clone())
            .connect()
            .await
            .unwrap();
        let sent = client.enqueue(Message::new("a")).unwrap().await;
        assert!(sent.is_ok(), "{fault:?}: {sent:?}");
        assert_eq!(pipes.attempts(), 3, "{fault:?}");
        assert_eq!(first_copies(&bodies(&mut hub)), b"a", "{fault:?}");
        client.close().await.unwrap();
    }
}

/// The engine chops an open of more than 504 bytes into pieces that no peer understands, and says nothing.
#[tokio::test]
async fn the_longest_open_stays_below_what_the_engine_corrupts() {
    let label = "a".repeat(63);
    let host = format!("{label}.{label}.{label}.{}", "a".repeat(61));
    assert_eq!(host.len(), 253);
    let id = "d".repeat(128);
    let text = format!("HostName={host};DeviceId={id};ModuleId={id};SharedAccessKey={KEY}");
    let string = ConnectionString::parse(&text).unwrap();
    assert!(
        matches!(string.identity(), Some(Identity::Module(_, module)) if *module == ModuleId::parse(&id).unwrap())
    );
    assert_eq!(*string.host(), HubHost::parse(&host).unwrap());
    let (door, mut arrivals) = mpsc::unbounded_channel();
    let pipes = Pipes::to(door, []);
    let builder = DeviceClient::with(&string)
        .unwrap()
        .plain_tcp_to_this_machine()
        .network(pipes);
    let connecting = tokio::spawn(builder.connect());
    let mut stream = arrivals.recv().await.unwrap();
    use iothub_tests::frames;
    stream.read_exact(&mut [0; 8]).await.unwrap();
    let sasl = [frames::SASL_HEADER, &frames::sasl_mechanisms("ANONYMOUS")].concat();
    stream.write_all(&sasl).await.unwrap();
    let size = stream.read_u32().await.unwrap();
    stream.read_exact(&mut vec![0; size as usize - 4]).await.unwrap();
    stream.write_all(&frames::sasl_outcome(0)).await.unwrap();
    stream.read_exact(&mut [0; 8]).await.unwrap();
    stream.write_all(frames::AMQP_HEADER).await.unwrap();
    let size = stream.read_u32().await.unwrap() as usize;
    assert!(size <= 504, "{size}");
    let mut open = vec![0; size - 4];
    stream.read_exact(&mut open).await.unwrap();
    let (fields, rest) = frames::fields(&open[7..]);
    assert_eq!((frames::text(fields[1]).as_str(), rest), (host.as_str(), &[][..]));
    connecting.abort();
}
