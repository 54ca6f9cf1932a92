//! Goal: whatever the peer does, the client ends with the right typed error, in time, and the process lives.
//! Method: a scripted hub on plain TCP to loopback that answers up to a point and then misbehaves, refuses, falls silent
//! or goes away. Real time, since the engine spins where a paused clock would never move; the limits are short.
#![allow(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use iothub_address::{DeviceId, HubHost, HubName, Identity};
use iothub_amqp::{
    Blown, CloseError, ConnectError, DeviceClient, Interruption, Lost, Message, Phase, Recover, SendError,
    Violation,
};
use iothub_sas::{SharedKey, Signer, UnixTime};
use iothub_tests::frames;
use iothub_tests::scripted::{Peer, Step, accept_and_play, listen};
use tokio::net::{TcpListener, TcpStream};

/// For what is about time-outs.
const LIMIT: Duration = Duration::from_millis(400);
/// For what is not: nothing waits for it, on a machine under load either.
const AMPLE: Duration = Duration::from_secs(10);
/// Long enough for a machine under load, short enough to tell a hang.
const PATIENCE: Duration = Duration::from_secs(20);

fn token_for(resource: &str) -> iothub_sas::SasToken {
    let key = SharedKey::from_bytes(&[7; 32]).unwrap();
    Signer::new(key).sign(resource, UnixTime::from_secs(2_000_000_000))
}

async fn connect(hub: SocketAddr, limit: Duration) -> Result<DeviceClient, ConnectError> {
    let identity = Identity::Device(DeviceId::parse("dev").unwrap());
    let token = token_for("hub.azure-devices.net/devices/dev");
    DeviceClient::builder(HubHost::parse("127.0.0.1").unwrap(), identity, token)
        .hub(HubName::parse("hub").unwrap())
        .port(hub.port())
        .plain_tcp_to_this_machine()
        .operation_timeout(limit)
        // What each thing that a peer does comes to; what is made of it then is `client_recovery.rs`.
        .recovery(Recover::Never)
        .connect()
        .await
}

#[derive(Debug)]
enum Ended {
    Connect(ConnectError),
    Send(SendError),
    Close(CloseError),
    Well,
}

/// Connects, sends one message and closes, while the hub does `play` with the connection.
async fn run<F>(play: impl FnOnce(TcpListener) -> F) -> Ended
where
    F: Future<Output = ()> + Send + 'static,
{
    run_within(AMPLE, play).await
}

/// The same, with this time for each operation.
async fn run_within<F>(limit: Duration, play: impl FnOnce(TcpListener) -> F) -> Ended
where
    F: Future<Output = ()> + Send + 'static,
{
    let (listener, address) = listen().await.unwrap();
    let hub = tokio::spawn(play(listener));
    let client = async {
        let client = match connect(address, limit).await {
            Ok(client) => client,
            Err(error) => return Ended::Connect(error),
        };
        if let Err(error) = client.send(Message::new("Hello World!")).await {
            return Ended::Send(error);
        }
        match client.close().await {
            Ok(()) => Ended::Well,
            Err(error) => Ended::Close(error),
        }
    };
    let ended = tokio::time::timeout(PATIENCE, client)
        .await
        .expect("the client ends");
    hub.abort();
    ended
}

/// Plays up to `last`, says `last_words`, and holds the connection open.
async fn play_and_hold(listener: TcpListener, last: Step, last_words: Vec<u8>) {
    let mut peer = accept_and_play(&listener, last).await.unwrap();
    let _ = peer.send(&last_words).await; // the client may have left at the first byte
    hold(peer).await;
}

async fn hold(peer: Peer<TcpStream>) {
    let _open = peer;
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_does_everything_right_is_left_well() {
    let ended = run(async |listener| {
        let mut peer = accept_and_play(&listener, Step::Close).await.unwrap();
        peer.until_gone().await;
    })
    .await;
    assert!(matches!(ended, Ended::Well), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_goes_out_as_the_standard_has_it() {
    let (listener, address) = listen().await.unwrap();
    let hub = tokio::spawn(async move {
        let mut peer = accept_and_play(&listener, Step::Settled).await.unwrap();
        let transfer = peer.transfer().to_vec();
        peer.until_gone().await;
        transfer
    });
    let client = connect(address, LIMIT).await.unwrap();
    let message = Message::new("Hello World!")
        .message_id("m-1")
        .content_type("text/plain")
        .property("k", "v");
    client.send(message).await.unwrap();
    drop(client);
    let transfer = hub.await.unwrap();
    // AMQP 1.0 §3.2: properties (0x73) with message-id and, as the seventh field, content-type as a symbol;
    // application-properties (0x74) with one pair; data (0x75).
    let sections: &[&[u8]] = &[
        b"\x00\x53\x73\xc0\x17\x07\xa1\x03m-1\x40\x40\x40\x40\x40\xa3\x0atext/plain",
        b"\x00\x53\x74\xc1\x07\x02\xa1\x01k\xa1\x01v",
        b"\x00\x53\x75\xa0\x0cHello World!",
    ];
    let expected = sections.concat();
    assert!(transfer.ends_with(&expected), "{}", transfer.escape_ascii());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_falls_silent_times_out_in_the_phase_it_fell_silent_in() {
    let phases = [
        (Step::Accept, Phase::Open),
        (Step::SaslHeader, Phase::Open),
        (Step::SaslInit, Phase::Open),
        (Step::SaslOutcome, Phase::Open),
        (Step::AmqpHeader, Phase::Open),
        (Step::Open, Phase::Begin),
        (Step::Begin, Phase::Attach),
        (Step::Attach, Phase::Credit),
        (Step::Credit, Phase::Settle),
        (Step::Transfer, Phase::Settle),
        (Step::Settled, Phase::Close),
        (Step::Detach, Phase::Close),
        (Step::End, Phase::Close),
    ];
    for (last, expected) in phases {
        let begun = Instant::now();
        let ended = run_within(LIMIT, move |listener| play_and_hold(listener, last, Vec::new())).await;
        let (phase, after) = match &ended {
            Ended::Connect(ConnectError::TimedOut { phase, after }) => (*phase, *after),
            Ended::Send(SendError::NotSent(Interruption::TimedOut { phase, after })) => {
                assert_eq!(expected, Phase::Credit, "{ended:?}");
                (*phase, *after)
            }
            Ended::Send(SendError::Unknown(Interruption::TimedOut { phase, after })) => {
                assert_eq!(expected, Phase::Settle, "{ended:?}");
                (*phase, *after)
            }
            Ended::Close(CloseError::TimedOut { after }) => (Phase::Close, *after),
            other => panic!("after {last:?}: {other:?}"),
        };
        assert_eq!((phase, after), (expected, LIMIT), "after {last:?}");
        assert!(
            begun.elapsed() < LIMIT + PATIENCE / 4,
            "after {last:?}: {:?}",
            begun.elapsed()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_goes_away_is_a_lost_connection_and_a_message_on_its_way_is_unknown() {
    for last in [
        Step::Accept,
        Step::SaslInit,
        Step::AmqpHeader,
        Step::Open,
        Step::Begin,
    ] {
        let ended = run(async move |listener| drop(accept_and_play(&listener, last).await)).await;
        assert!(
            matches!(ended, Ended::Connect(ConnectError::Lost { .. })),
            "after {last:?}: {ended:?}"
        );
    }
    let ended = run(async |listener| drop(accept_and_play(&listener, Step::Attach).await)).await;
    assert!(matches!(ended, Ended::Send(SendError::NotSent(_))), "{ended:?}");
    let ended = run(async |listener| drop(accept_and_play(&listener, Step::Transfer).await)).await;
    assert!(
        matches!(ended, Ended::Send(SendError::Unknown(Interruption::Lost(_)))),
        "{ended:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_hostile_sequence_ends_the_connection_with_a_typed_error_before_open_and_after() {
    for (what, bytes) in frames::hostile() {
        let sent = bytes.clone();
        let ended = run(move |listener| play_and_hold(listener, Step::AmqpHeader, sent)).await;
        assert!(
            matches!(ended, Ended::Connect(ConnectError::PeerMisbehaved(_))),
            "{what}, before open: {ended:?}"
        );

        let ended = run(move |listener| play_and_hold(listener, Step::Transfer, bytes)).await;
        let Ended::Send(SendError::Unknown(Interruption::Lost(Lost::Stream(Blown::Misbehaved(_))))) = ended
        else {
            panic!("{what}, after open: {ended:?}");
        };
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_bytes_during_sasl_are_caught_too() {
    for size in [0_u32, 4, 5, 6, 7, 513, u32::MAX] {
        let bytes = [&size.to_be_bytes()[..], &[2, 1, 0, 0]].concat();
        let ended = run(move |listener| play_and_hold(listener, Step::SaslHeader, bytes)).await;
        let Ended::Connect(ConnectError::PeerMisbehaved(violation)) = ended else {
            panic!("{size}: {ended:?}")
        };
        assert!(matches!(
            violation,
            Violation::ShortFrame(_) | Violation::Oversize { limit: 512, .. }
        ));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_speaks_another_protocol_is_told_by_its_first_bytes() {
    let greeting = b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec();
    let ended = run(move |listener| play_and_hold(listener, Step::Accept, greeting)).await;
    let Ended::Connect(ConnectError::PeerMisbehaved(Violation::NotAmqp(first))) = ended else {
        panic!("{ended:?}")
    };
    assert_eq!(&first, b"HTTP/1.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_of_another_amqp_or_without_plain_is_named() {
    let rabbit = b"AMQP\x00\x00\x09\x01".to_vec(); // what a broker of AMQP 0-9-1 answers
    let ended = run(move |listener| play_and_hold(listener, Step::Accept, rabbit)).await;
    let Ended::Connect(ConnectError::WrongHeader(header)) = ended else {
        panic!("{ended:?}")
    };
    assert!(header.ends_with(&[0, 9, 1]), "{header:?}");

    let external = frames::sasl_mechanisms("EXTERNAL");
    let ended = run(move |listener| play_and_hold(listener, Step::SaslHeader, external)).await;
    assert!(
        matches!(ended, Ended::Connect(ConnectError::PlainNotOffered)),
        "{ended:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_credentials_carry_the_code_of_the_outcome() {
    for code in 1..=4 {
        let ended = run(async move |listener| {
            let mut peer = accept_and_play(&listener, Step::SaslInit).await.unwrap();
            peer.send(&frames::sasl_outcome(code)).await.unwrap();
        })
        .await;
        assert!(
            matches!(ended, Ended::Connect(ConnectError::Refused { code: said }) if said == code),
            "{ended:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_outcomes_are_told_apart_and_the_words_of_the_hub_arrive() {
    let rejected = frames::rejected(0, "amqp:link:message-size-exceeded", "too large");
    let ended = run(move |listener| play_and_hold(listener, Step::Transfer, rejected)).await;
    let Ended::Send(SendError::Rejected(condition)) = ended else {
        panic!("{ended:?}")
    };
    assert_eq!(
        condition.to_string(),
        "amqp:link:message-size-exceeded: too large"
    );

    let ended = run(|listener| play_and_hold(listener, Step::Transfer, frames::released(0))).await;
    assert!(matches!(ended, Ended::Send(SendError::Released)), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_is_refused_after_it_was_attached_tells_why_and_nothing_was_sent() {
    let refusal = frames::detach(Some(("amqp:not-found", "no such device")));
    let ended = run(move |listener| play_and_hold(listener, Step::Attach, refusal)).await;
    let Ended::Send(SendError::NotSent(Interruption::Refused(condition))) = ended else {
        panic!("{ended:?}")
    };
    assert_eq!(condition.name, "amqp:not-found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_goes_while_a_message_flies_leaves_it_unknown() {
    let detach = frames::detach(Some(("amqp:link:detach-forced", "busy")));
    let ended = run(move |listener| play_and_hold(listener, Step::Transfer, detach)).await;
    let Ended::Send(SendError::Unknown(Interruption::Refused(condition))) = ended else {
        panic!("{ended:?}")
    };
    assert_eq!(condition.name, "amqp:link:detach-forced");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_the_hub_closes_tells_why() {
    let close = frames::close(Some(("amqp:connection:forced", "maintenance")));
    let ended = run(move |listener| play_and_hold(listener, Step::Transfer, close)).await;
    let Ended::Send(SendError::Unknown(Interruption::Refused(condition))) = ended else {
        panic!("{ended:?}")
    };
    assert_eq!(condition.name, "amqp:connection:forced");

    let full = [
        frames::open(),
        frames::close(Some(("amqp:connection:forced", "full"))),
    ]
    .concat();
    let ended = run(move |listener| play_and_hold(listener, Step::AmqpHeader, full)).await;
    let Ended::Connect(ConnectError::RefusedWith { condition, .. }) = ended else {
        panic!("{ended:?}")
    };
    assert_eq!(condition.name, "amqp:connection:forced");
}

/// What crosses the detach of a link the engine answers with the session's end, and a peer may find fault with that in turn.
#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_the_answer_to_an_end_of_this_side_s_is_no_verdict() {
    let crossing = [&frames::uint(9), &frames::uint(0), &vec![0xa0, 1, 0]];
    let transfer = frames::performative(0x14, &crossing.map(Vec::as_slice));
    let transfer = frames::frame(0, &[&transfer[..], b"\x00\x53\x75\xa0\x02hi"].concat());
    let error = frames::performative(0x1d, &[&frames::symbol("amqp:illegal-state")]);
    let refusal = frames::frame(0, &frames::performative(0x17, &[&error]));
    let ended = run(async move |listener| {
        let mut peer = accept_and_play(&listener, Step::Transfer).await.unwrap();
        peer.send(&transfer).await.unwrap();
        while !peer.read_frame().await.unwrap().starts_with(b"\x00\x53\x17") {}
        peer.send(&refusal).await.unwrap();
        hold(peer).await;
    })
    .await;
    assert!(
        matches!(ended, Ended::Send(SendError::Unknown(Interruption::Closed))),
        "{ended:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_stops_reading_freezes_no_deadline() {
    let (listener, address) = listen().await.unwrap();
    let hub =
        tokio::spawn(async move { hold(accept_and_play(&listener, Step::Credit).await.unwrap()).await });
    let client = connect(address, LIMIT).await.unwrap();
    let sends = (0..40).map(|_| client.send(Message::new(vec![0; 200_000])));
    let all = futures_util::future::join_all(sends);
    let outcomes = tokio::time::timeout(PATIENCE, all)
        .await
        .expect("every send ends");
    for outcome in outcomes {
        assert!(
            matches!(outcome, Err(SendError::Unknown(_) | SendError::NotSent(_))),
            "{outcome:?}"
        );
    }
    hub.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_end_every_call_says_why_at_once() {
    let (listener, address) = listen().await.unwrap();
    let hub = tokio::spawn(async move { drop(accept_and_play(&listener, Step::Transfer).await) });
    let client = connect(address, AMPLE).await.unwrap();
    client.send(Message::new("one")).await.unwrap_err();
    hub.await.unwrap();
    let begun = Instant::now();
    let error = client.send(Message::new("two")).await.unwrap_err();
    assert!(
        matches!(error, SendError::NotSent(Interruption::Lost(_))),
        "{error:?}"
    );
    assert!(matches!(client.close().await, Err(CloseError::Ended(_))));
    assert!(begun.elapsed() < LIMIT);
}

#[tokio::test]
async fn a_token_too_long_for_a_sasl_frame_is_refused_before_anything_is_dialled() {
    let connect_with = async |id: &str| {
        let identity = Identity::Device(DeviceId::parse(id).unwrap());
        let token = token_for(&format!("hub.azure-devices.net/devices/{id}"));
        let builder = DeviceClient::builder(HubHost::parse("hub.invalid").unwrap(), identity, token);
        builder.connect().await.unwrap_err()
    };
    let error = connect_with(&"#".repeat(128)).await;
    let ConnectError::TokenTooLong { size, limit: 512 } = error else {
        panic!("{error:?}")
    };
    assert!(size > 512);
    assert!(error.to_string().contains("CBS"), "{error}");
    // One that fits gets as far as the resolver: names under .invalid never resolve (RFC 6761).
    let error = connect_with("short").await;
    assert!(matches!(error, ConnectError::Resolve { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_token_that_is_let_through_goes_through_the_engine() {
    // The largest device id whose frame is within the limit: the check must neither let an engine error happen nor
    // refuse what the engine could send.
    for length in (1..=128).rev() {
        let id = "#".repeat(length);
        let identity = Identity::Device(DeviceId::parse(&id).unwrap());
        let token = token_for(&format!("127.0.0.1/devices/{id}"));
        let (listener, address) = listen().await.unwrap();
        let builder = DeviceClient::builder(HubHost::parse("127.0.0.1").unwrap(), identity, token)
            .hub(HubName::parse("hub").unwrap())
            .port(address.port())
            .plain_tcp_to_this_machine()
            .operation_timeout(LIMIT);
        let hub = tokio::spawn(async move {
            let mut peer = accept_and_play(&listener, Step::SaslHeader).await?;
            peer.send(&frames::sasl_mechanisms("PLAIN")).await?;
            let init = peer.read_frame().await?;
            peer.send(&frames::sasl_outcome(2)).await?;
            std::io::Result::Ok(init.len() + 8)
        });
        match builder.connect().await.unwrap_err() {
            ConnectError::TokenTooLong { .. } => hub.abort(),
            ConnectError::Refused { code: 2 } => {
                let frame = hub.await.unwrap().unwrap();
                assert!(
                    (505..=512).contains(&frame),
                    "{frame} bytes at {length} characters"
                );
                return;
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("no id is short enough");
}
