//! Goal: a token is renewed within its life, at its share, spread evenly, the same for the same seed.
//! Method: many throws of seeded dice.

use core::time::Duration;

use iothub_sas::{Renewal, UnixTime};
use proptest::prelude::*;

const ISSUED: UnixTime = UnixTime::from_secs(1_700_000_000);

fn after(seconds: u64) -> UnixTime {
    ISSUED + Duration::from_secs(seconds)
}

#[test]
fn by_default_an_hour_is_renewed_between_75_and_85_percent() {
    let mut renewal = Renewal::seeded(1);
    let mut seen = [0; 361];
    for _ in 0..36_100 {
        let at = renewal.pick(ISSUED, after(3600));
        seen[at.saturating_duration_since(after(2700)).as_secs() as usize] += u32::from(at >= after(2700));
    }
    // 100 throws a second on average: each second of the range is hit, both ends too, none far more than others.
    assert!(seen.iter().all(|&hits| (50..200).contains(&hits)), "{seen:?}");
}

#[test]
fn without_jitter_the_time_is_exact() {
    let at = |percent| {
        Renewal::seeded(1)
            .percent(percent)
            .jitter_percent(0)
            .pick(ISSUED, after(3600))
    };
    assert_eq!(at(80), after(2880));
    assert_eq!(at(0), ISSUED);
    assert_eq!(at(100), after(3600));
    assert_eq!(at(255), after(3600));
}

#[test]
fn the_same_seed_gives_the_same_times() {
    let times = |seed| {
        let mut renewal = Renewal::seeded(seed);
        (0..10)
            .map(|_| renewal.pick(ISSUED, after(3600)))
            .collect::<Vec<_>>()
    };
    assert_eq!(times(1), times(1));
    assert_ne!(times(1), times(2));
    assert!(
        times(1).iter().any(|&time| time != times(1)[0]),
        "each throw is new"
    );
}

#[test]
fn a_token_that_never_lived_is_renewed_at_once() {
    assert_eq!(Renewal::seeded(1).pick(ISSUED, ISSUED), ISSUED);
    assert_eq!(Renewal::seeded(1).pick(ISSUED, UnixTime::EPOCH), ISSUED);
}

proptest! {
    #[test]
    fn a_renewal_is_never_outside_of_the_tokens_life(
        seed: u64, issued: u64, expires: u64, percent: u8, jitter: u8,
    ) {
        let (issued, expires) = (UnixTime::from_secs(issued), UnixTime::from_secs(expires));
        let at = Renewal::seeded(seed).percent(percent).jitter_percent(jitter).pick(issued, expires);
        prop_assert!(issued <= at && at <= expires.max(issued));
    }
}
