//! Goal: what a hub with a state directory has acknowledged survives kill -9, and what a device has completed does not
//! come back.
//! Method: the hub in a process of its own, killed at random moments under load of telemetry, messages for devices,
//! registrations and changes of twins; see `iothub_tests::kill`. `cargo xtask kill` kills it more often.

use iothub_tests::kill::{Plan, run};

/// Without the environment's word: enough for a promise that is always broken to be seen.
const KILLS: u64 = 5;

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().expect("a number of kills, or a seed"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_was_acknowledged_is_gone_after_a_kill() {
    let seed = number("KILL_SEED").unwrap_or(1);
    let plan = Plan {
        library: env!("CARGO_BIN_EXE_kept-hub").into(),
        command: std::env::var_os("KILL_IOTHUB").map(Into::into),
        times: number("KILL_TIMES").unwrap_or(KILLS),
        seed,
    };
    println!(
        "replay: KILL_SEED={seed} KILL_TIMES={} (the load is not replayed, the moments are)",
        plan.times
    );
    let tally = run(&plan).await;
    let (kills, of_command, before_ready) = tally.kills;
    let (messages, deliveries) = tally.messages;
    println!(
        "{kills} kills ({of_command} of `iothub emulator run`, {before_ready} before the hub was ready): {} events, \
         {messages} messages delivered {deliveries} times, {} identities, {} changes of twins, nothing lost",
        tally.events, tally.identities, tally.patches
    );
    // A hub that takes nothing would keep every promise.
    assert!(tally.events > 0 && messages > 0 && deliveries > 0 && tally.identities > 0 && tally.patches > 0);
}
