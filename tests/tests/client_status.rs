//! Goal: what a client says it will do is what it does, and when.
//! Method: a hub in memory and in virtual time, which knows when it was asked for a connection and when it had a message.
#![allow(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use std::time::Duration;

use iothub_amqp::{DeviceClient, Message, Status};
use iothub_emulator::{Fault, FaultKind};
use iothub_tests::memory::Memory;
use tokio::time::{Instant, sleep_until, timeout};

/// A timer's grain.
const GRAIN: Duration = Duration::from_millis(1);

/// The next time that it gives, which is still to come.
async fn next_time(client: &DeviceClient, of: fn(&Status) -> Option<std::time::Instant>) -> Instant {
    let mut status = client.status();
    let to_come = |status: &Status| of(status).is_some_and(|at| at > Instant::now().into_std());
    let next = timeout(Duration::from_secs(3600), status.wait_for(to_come)).await;
    let next = next.unwrap().unwrap();
    Instant::from_std(of(&next).unwrap())
}

#[tokio::test(start_paused = true)]
async fn the_next_attempt_comes_when_the_status_says_and_none_before() {
    let of = |status: &Status| match status {
        Status::Recovering { next_attempt, .. } => Some(*next_attempt),
        _ => None,
    };
    for seed in 0..10 {
        let memory = Memory::start(1).await;
        let began = Instant::now() - memory.elapsed();
        let client = memory.device(0).seed(seed).connect().await.unwrap();
        memory.down();
        // More than the six that a minute may have.
        for number in 1..10 {
            let next = next_time(&client, of).await;
            assert_eq!(memory.attempts().len(), number);
            sleep_until(next - GRAIN).await;
            assert_eq!(memory.attempts().len(), number, "seed {seed}: before its time");
            sleep_until(next + GRAIN * 2).await;
            let attempts = memory.attempts();
            assert_eq!(attempts.len(), number + 1, "seed {seed}: when its time has come");
            let came = began + *attempts.last().unwrap();
            assert!(
                came >= next && came <= next + GRAIN,
                "seed {seed}: {:?}",
                came - next
            );
        }
        memory.up();
        client.enqueue(Message::new("x")).unwrap().await.unwrap();
        client.close().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn messages_go_on_when_the_status_says_that_throttling_ends() {
    let of = |status: &Status| match status {
        Status::Throttled { until, .. } => Some(*until),
        _ => None,
    };
    for seed in 0..10 {
        let memory = Memory::start(1).await;
        let client = memory.device(0).seed(seed).connect().await.unwrap();
        // Over long before the client tries again: what it waits for is its own time.
        let throttling = Fault::new(FaultKind::InvokeThrottling).duration(GRAIN * 5);
        memory.inject(throttling).await;
        let waiting = client.enqueue(Message::new("first")).unwrap();
        let until = next_time(&client, of).await;
        assert!(until - Instant::now() > GRAIN * 10);
        let behind = client.enqueue(Message::new("second")).unwrap();
        sleep_until(until - GRAIN).await;
        assert!(memory.bodies().is_empty(), "seed {seed}: before its time");
        sleep_until(until + GRAIN * 2).await;
        assert_eq!(memory.bodies(), ["first", "second"], "seed {seed}");
        waiting.await.unwrap();
        behind.await.unwrap();
        client.close().await.unwrap();
    }
}
