//! Goal: the failures that trackers of other clients are full of do not happen here, or end as they should.
//! Method: client, engines and hub in one process on a network in memory, in virtual time; the hub goes wrong on purpose.
//!
//! Those that need a hub which says what no sound one says are in `client_recovery`, `client_bad_peers` and `client_cbs`.
#![allow(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use std::time::Duration;

use futures_util::future::join_all;
use iothub_amqp::{
    Blown, DeviceClient, Interruption, Lost, Message, SendError, Status, TOKEN_LIFE, Ticket, WINDOW,
};
use iothub_emulator::{Fault, FaultKind};
use iothub_tests::memory::{Memory, identity};
use tokio::time::{sleep, timeout};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// Longer than whatever a test waits for.
async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(48 * HOUR, future).await.unwrap()
}

/// A client of a hub that goes wrong once the device is known, so that its token is taken before.
async fn connected_under(memory: &Memory, kind: FaultKind, duration: Duration) -> DeviceClient {
    let client = memory.device(0).connect().await.unwrap();
    memory.inject(Fault::new(kind).duration(duration)).await;
    // What links and sessions have from before they keep: the link is to come anew.
    let link = Fault::new(FaultKind::KillAmqpSession).condition("amqp:internal-error");
    let mut status = client.status();
    status.mark_unchanged();
    memory.inject(link).await;
    within(status.changed()).await.unwrap();
    within(status.wait_for(|status| matches!(status, Status::Connected { .. })))
        .await
        .unwrap();
    client
}

#[tokio::test(start_paused = true)]
async fn a_day_with_tokens_of_an_hour_costs_no_send_and_no_connection_and_at_most_31_tokens() {
    let memory = Memory::start(1).await;
    let client = memory.device(0).connect().await.unwrap();
    for minute in 0..24 * 60 {
        client.send(Message::new(minute.to_string())).await.unwrap();
        sleep(MINUTE).await;
    }
    let statistics = client.statistics();
    assert_eq!((statistics.accepted, statistics.resent), (24 * 60, 0));
    assert_eq!((statistics.attempts, statistics.links), (1, 1), "{statistics:?}");
    // 24 h by 80 % ± 5 % of an hour each, and the first.
    assert!((28..=31).contains(&statistics.tokens_put), "{statistics:?}");
    assert_eq!(memory.bodies().len(), 24 * 60);
    client.close().await.unwrap();
    assert_eq!(memory.open(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_a_renewed_token_never_comes() {
    let memory = Memory::start(1).await;
    let client = memory.device(0).connect().await.unwrap();
    memory
        .inject(Fault::new(FaultKind::SwallowPutToken).duration(HOUR))
        .await;
    for minute in 0..3 * 60 {
        client
            .enqueue(Message::new(minute.to_string()))
            .map(drop)
            .unwrap();
        sleep(MINUTE).await;
    }
    client.send(Message::new("last")).await.unwrap();
    let statistics = client.statistics();
    assert_eq!(statistics.unknown + statistics.not_sent + statistics.rejected, 0);
    // A renewal comes after 45 to 51 minutes; that it is not answered is found out before the token in use has ended.
    let again = memory.attempts()[1];
    assert!(again <= 52 * MINUTE, "{again:?}");
    let mut bodies = memory.bodies();
    bodies.dedup();
    let expected: Vec<_> = (0..3 * 60)
        .map(|minute| minute.to_string())
        .chain(["last".to_owned()])
        .collect();
    assert_eq!(bodies, expected);
    client.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_token_expires_while_offline() {
    let memory = Memory::start(1).await;
    let client = memory.device(0).connect().await.unwrap();
    memory.down();
    let ticket = client.enqueue(Message::new("kept")).unwrap();
    sleep(2 * TOKEN_LIFE).await;
    memory.up();
    within(ticket).await.unwrap();
    let statistics = client.statistics();
    // The first token, and the one that replaces it; none that had ended was shown.
    assert_eq!(statistics.tokens_put, 2, "{statistics:?}");
    // Full jitter from 1 s to 60 s: two hours hold some two hundred attempts, and six a minute are never passed.
    assert!((100..=720).contains(&statistics.attempts), "{statistics:?}");
    assert_eq!(memory.bodies(), ["kept"]);
    client.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn put_token_is_refused_with_401_404_and_500_when_it_is_renewed() {
    for (status, name) in [
        (401, Some("amqp:unauthorized-access")),
        (404, Some("amqp:not-found")),
        (500, None),
    ] {
        let memory = Memory::start(2).await;
        let connection = memory.connection().await;
        let device = |device| {
            let credential = iothub_amqp::Key::new(iothub_sas::SharedKey::from_bytes(&[7; 32]).unwrap());
            connection.device(identity(device), credential).connect()
        };
        let (refused, other) = (device(0).await.unwrap(), device(1).await.unwrap());
        let fault = Fault::new(FaultKind::RefusePutToken { status }).of(identity(0));
        // Renewals come after 45 to 51 minutes; the token that they replace holds until then and longer.
        memory.inject(fault.duration(52 * MINUTE)).await;
        sleep(51 * MINUTE + MINUTE / 2).await;
        let sent = refused.send(Message::new("a")).await;
        match name {
            Some(name) => {
                let Err(SendError::NotSent(Interruption::Refused(condition))) = sent else {
                    panic!("{status}: {sent:?}");
                };
                assert_eq!(condition.name, name);
            }
            // A fault of the hub's passes: the token is put again in its place.
            None => {
                sent.unwrap();
                sleep(20 * MINUTE).await;
                refused.send(Message::new("a")).await.unwrap();
                let statistics = refused.statistics();
                assert_eq!((statistics.attempts, statistics.links), (1, 1));
                assert_eq!(statistics.tokens_put, 2);
            }
        }
        other.send(Message::new("b")).await.unwrap();
        assert_eq!(other.statistics().attempts, 1, "{status}");
        drop(refused);
        connection.close().await.unwrap();
    }
}

/// The engine buffers without bound what a closed window does not let out; the client gives it no more than its own.
#[tokio::test(start_paused = true)]
async fn a_session_window_of_0_lets_nothing_pile_up_and_nothing_be_lost() {
    let memory = Memory::start(1).await;
    let client = connected_under(&memory, FaultKind::CloseWindow, 10 * MINUTE).await;
    let tickets: Vec<Ticket> = (0..2000)
        .map(|number| client.enqueue(Message::new(number.to_string())).unwrap())
        .collect();
    let links = client.statistics().links;
    sleep(Duration::from_secs(20)).await;
    let statistics = client.statistics();
    assert_eq!((statistics.accepted, statistics.links), (0, links));
    assert!(statistics.transfers <= WINDOW as u64, "{statistics:?}");
    for outcome in within(join_all(tickets)).await {
        outcome.unwrap();
    }
    assert!(memory.elapsed() > 10 * MINUTE);
    let mut seen = std::collections::BTreeSet::new();
    let first: Vec<_> = memory
        .bodies()
        .into_iter()
        .filter(|body| seen.insert(body.clone()))
        .collect();
    assert_eq!(
        first,
        (0..2000).map(|number| number.to_string()).collect::<Vec<_>>()
    );
    client.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn credit_does_not_come_for_an_hour_and_then_all_goes() {
    let memory = Memory::start(1).await;
    let client = connected_under(&memory, FaultKind::WithholdCredit, HOUR).await;
    let error = client.send(Message::new("hasty")).await.unwrap_err();
    assert!(
        matches!(error, SendError::NotSent(Interruption::TimedOut { .. })),
        "{error:?}"
    );
    let tickets: Vec<Ticket> = (0..300)
        .map(|number| client.enqueue(Message::new(number.to_string())).unwrap())
        .collect();
    for outcome in within(join_all(tickets)).await {
        outcome.unwrap();
    }
    assert_eq!(
        memory.bodies(),
        (0..300).map(|number| number.to_string()).collect::<Vec<_>>()
    );
    client.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_peer_stops_reading() {
    let memory = Memory::start(1).await;
    let client = memory.device(0).connect().await.unwrap();
    memory
        .inject(Fault::new(FaultKind::StopReading).duration(3 * MINUTE))
        .await;
    let mut status = client.status();
    status.mark_unchanged();
    let tickets: Vec<Ticket> = (0..100)
        .map(|_| client.enqueue(Message::new(vec![b'x'; 10_000])).unwrap())
        .collect();
    let begun = memory.elapsed();
    within(status.changed()).await.unwrap();
    // The pipe takes a quarter of a MiB, and then no byte; nothing is waited for longer than the operation time-out.
    assert!(memory.elapsed() - begun <= Duration::from_secs(31));
    let Status::Recovering { why, .. } = status.borrow().clone() else {
        panic!("{:?}", status.borrow());
    };
    assert_eq!(why, Interruption::Lost(Lost::Stream(Blown::Stalled)));
    for outcome in within(join_all(tickets)).await {
        outcome.unwrap();
    }
    client.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn two_clients_share_an_id_and_are_told_so_within_a_minute() {
    let memory = Memory::start(1).await;
    let first = memory.device(0).connect().await.unwrap();
    let second = memory.device(0).seed(77).connect().await.unwrap();
    one_is_told(&memory, first, second).await;
}

/// Whoever signs in by the connection itself loses that to the other, and not a link.
#[tokio::test(start_paused = true)]
async fn two_clients_share_an_id_by_plain_and_are_told_so_within_a_minute() {
    let memory = Memory::start(1).await;
    let first = memory.device_by_plain(0).connect().await.unwrap();
    let second = memory.device_by_plain(0).seed(77).connect().await.unwrap();
    one_is_told(&memory, first, second).await;
}

/// Of two clients of one identity, which would take the link from each other for ever.
async fn one_is_told(memory: &Memory, first: DeviceClient, second: DeviceClient) {
    let ended = async |client: &DeviceClient| {
        let mut status = client.status();
        let ending = status.wait_for(|status| matches!(status, Status::Ended { .. }));
        let ended = timeout(10 * MINUTE, ending).await.unwrap().unwrap().clone();
        let Status::Ended { why } = ended else {
            unreachable!()
        };
        why
    };
    let (first_commands, second_commands) = (first.commands().await, second.commands().await);
    let loser = tokio::select! {
        why = ended(&first) => why,
        why = ended(&second) => why,
    };
    assert_eq!(loser, Interruption::Stolen);
    assert!(memory.elapsed() < 2 * MINUTE, "{:?}", memory.elapsed());
    // Each theft costs one attempt at the most.
    assert!(memory.attempts().len() <= 2 + 2 * 6, "{:?}", memory.attempts());
    drop((first_commands, second_commands));
    drop((first, second));
    sleep(MINUTE).await;
    assert_eq!(memory.open(), 0);
}

/// A thousand clients lose their hub, which takes nobody in for `outage`: when they tried to come back since then, and how
/// long it was until each of them had a message accepted.
async fn restart(outage: Duration) -> (Vec<Duration>, Duration) {
    let memory = Memory::start(CLIENTS).await;
    let mut clients = Vec::new();
    for device in 0..CLIENTS {
        clients.push(memory.device(device).connect().await.unwrap());
    }
    // Long enough to be well.
    sleep(MINUTE + MINUTE / 6).await;
    let restart = memory.elapsed();
    memory.down();
    let sends = clients.iter().enumerate().map(|(device, client)| {
        let ticket = client.enqueue(Message::new(device.to_string())).unwrap();
        async move { within(ticket).await.unwrap() }
    });
    let hub_is_back = async {
        sleep(outage).await;
        memory.up();
    };
    tokio::join!(hub_is_back, join_all(sends));
    let back = memory.elapsed() - restart;
    assert_eq!(memory.bodies().len(), CLIENTS);
    let attempts = memory.attempts().into_iter();
    let since = attempts.filter_map(|at| at.checked_sub(restart)).collect();
    (since, back)
}

/// The most attempts within any second.
fn peak(attempts: &[Duration]) -> usize {
    let within_a_second = |from: &Duration| {
        let until = *from + Duration::from_secs(1);
        attempts.iter().filter(|at| (*from..until).contains(*at)).count()
    };
    attempts.iter().map(within_a_second).max().unwrap_or(0)
}

#[tokio::test(start_paused = true)]
async fn a_thousand_clients_come_back_to_a_hub_that_restarts_without_a_rush() {
    let (attempts, back) = restart(Duration::ZERO).await;
    assert!(back <= 3 * MINUTE, "{back:?}");
    let peak = peak(&attempts);
    assert!(peak <= CLIENTS * 15 / 100, "{peak} attempts within a second");
}

/// While nobody listens, the schedule itself makes more attempts than the bound: each client's first comes at an even chance
/// within 10 s, a tenth of all in each second, and the second to fifth follow it by 0.5, 1, 2 and 4 s on the average, so that
/// by the tenth second nearly five such tenths fall together. Counted over 200,000 clients by the schedule's words alone, the
/// busiest second has 48.9 % of them, and in no second of the last fifteen are there more than 13 %. Only six attempts a
/// minute that are kept ten seconds apart would hold 15 %, and then the steps of 1 to 8 s would mean nothing. What the hub that
/// is back has to bear is what the bound is for.
#[tokio::test(start_paused = true)]
async fn a_thousand_clients_come_back_to_a_hub_that_refuses_them_for_half_a_minute() {
    let outage = MINUTE / 2;
    let (attempts, back) = restart(outage).await;
    assert!(back <= 3 * MINUTE, "{back:?}");
    let (refused, taken): (Vec<_>, Vec<_>) = attempts.into_iter().partition(|at| *at < outage);
    let (refused, taken) = (peak(&refused), peak(&taken));
    assert!(
        (CLIENTS * 40 / 100..=CLIENTS * 55 / 100).contains(&refused),
        "{refused} attempts within a second"
    );
    assert!(taken <= CLIENTS * 15 / 100, "{taken} attempts within a second");
}

const CLIENTS: usize = 1000;

#[tokio::test(start_paused = true)]
async fn a_link_that_idles_for_hours_still_sends() {
    let memory = Memory::start(1).await;
    let client = memory.device(0).connect().await.unwrap();
    for hours in [1, 5, 12] {
        sleep(hours * HOUR).await;
        client.send(Message::new("after a while")).await.unwrap();
    }
    let statistics = client.statistics();
    assert_eq!((statistics.attempts, statistics.links), (1, 1));
    client.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_gone_without_a_word_is_found_out_by_silence() {
    let memory = Memory::start(1).await;
    let client = memory.device(0).connect().await.unwrap();
    let mut status = client.status();
    status.mark_unchanged();
    let begun = memory.elapsed();
    memory
        .inject(Fault::new(FaultKind::StopWriting).duration(HOUR))
        .await;
    within(status.changed()).await.unwrap();
    let Status::Recovering { why, .. } = status.borrow().clone() else {
        panic!("{:?}", status.borrow());
    };
    assert_eq!(why, Interruption::Lost(Lost::Idle));
    assert!(memory.elapsed() - begun <= iothub_amqp::IDLE_TIMEOUT + Duration::from_secs(1));
}
