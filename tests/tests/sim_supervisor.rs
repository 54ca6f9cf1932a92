//! Goal: whatever the network and the hub do, no message is lost or invented, and the client comes to rest.
//! Method: the supervisor in a seeded world of faults in virtual time, watched by one checker; see `iothub_tests::sim`.
//! `cargo xtask sim` runs more seeds, or one.

use iothub_tests::sim::{Watchdog, replay, run};

/// Without the environment's word: enough for a change that breaks something to be seen.
const SEEDS: u64 = 400;

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().expect("a number of seeds, or a seed"))
}

#[test]
fn no_message_is_lost_or_invented() {
    let seeds = match number("SIM_SEED") {
        Some(seed) => seed..=seed,
        None => {
            let first = number("SIM_FIRST").unwrap_or(1);
            first..=first - 1 + number("SIM_SEEDS").unwrap_or(SEEDS)
        }
    };
    let watchdog = Watchdog::start(replay);
    let (mut worlds, mut messages, mut at_hub, mut duplicates, mut attempts) = (0, 0, 0, 0, 0);
    for seed in seeds {
        watchdog.begin(seed);
        let tally = run(seed);
        worlds += 1;
        messages += tally.messages;
        at_hub += tally.at_hub;
        duplicates += tally.duplicates;
        attempts += tally.attempts;
    }
    println!(
        "{worlds} worlds: {messages} messages, {at_hub} at the hub, {duplicates} duplicates, {attempts} connections"
    );
    // A world in which nothing happens would keep every promise.
    assert!(worlds < 100 || (at_hub > 10 * worlds && duplicates > worlds / 10 && attempts > 2 * worlds));
}
