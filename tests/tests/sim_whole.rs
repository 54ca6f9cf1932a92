//! Goal: whatever the network and the hub do, no message is lost or invented, and nothing is left of a client.
//! Method: client, engines and hub in seeded worlds of bad connections in virtual time, watched by one checker; see
//! `iothub_tests::whole`. `cargo xtask sim` runs more seeds, or one, and seeds the runtime too.

use std::panic;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use iothub_tests::sim::Watchdog;
use iothub_tests::whole::{self, Known, REPLAYS, Tally};

/// Without the environment's word: enough for a change that breaks something to be seen.
const SEEDS: u64 = 20;

/// As many runtimes of one thread side by side.
const THREADS: usize = 2;

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().expect("a number of seeds, or a seed"))
}

#[test]
fn no_message_is_lost_or_invented_and_nothing_is_left() {
    let seed = number("SIM_SEED");
    assert!(
        seed.is_none() || REPLAYS,
        "without a seeded runtime no world is seen again"
    );
    let (first, last) = match seed {
        Some(seed) => (seed, seed),
        None => {
            let first = number("SIM_FIRST").unwrap_or(1);
            (first, first - 1 + number("SIM_SEEDS").unwrap_or(SEEDS))
        }
    };
    let next = AtomicU64::new(first);
    let failed = Mutex::new(Vec::new());
    let work = || {
        let watchdog = Watchdog::start(whole::replay);
        let mut all = Tally::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > last {
                return all;
            }
            watchdog.begin(seed);
            // One that fails says so itself, and the others may fail otherwise.
            match panic::catch_unwind(|| whole::run(seed)) {
                Ok(tally) => all.add(&tally),
                Err(_) => failed.lock().expect("no one panics with it").push(seed),
            }
        }
    };
    let mut all = Tally::default();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
        for thread in threads {
            all.add(&thread.join().expect("the worlds are caught"));
        }
    });
    let worlds = last + 1 - first;
    println!("{worlds} worlds: {all:?}");
    let mut failed = failed.into_inner().expect("no one panics with it");
    failed.sort_unstable();
    assert!(
        failed.is_empty(),
        "{} worlds fail, of the seeds {failed:?}",
        failed.len()
    );
    // A world in which nothing happens would keep every promise.
    assert!(worlds < 20 || (all.at_hub > worlds && all.cuts > worlds / 10 && all.attempts > worlds));
}

#[test]
fn a_session_begun_anew_attaches_nothing_beside_the_links_of_the_one_before() {
    whole::run_known(Known::LinksTaken);
}

#[test]
fn a_connection_that_says_farewell_is_gone_before_the_next_is_made() {
    whole::run_known(Known::Gone);
}
