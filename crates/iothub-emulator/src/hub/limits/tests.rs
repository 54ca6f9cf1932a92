//! What is expected stands in Azure docs, "IoT Hub quotas and throttling" and "Azure IoT Hub billing information".

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_700_000_000 + seconds)
}

/// How many operations of `size` pass at once, and how many more are queued, all in one moment.
fn passes(limits: &mut Limits, operation: Operation, size: usize, now: Timestamp) -> (u64, u64) {
    let (mut at_once, mut queued) = (0, 0);
    loop {
        match limits.admit(operation, [size], now) {
            Ok(Admission::Now) => at_once += 1,
            Ok(Admission::At(when)) => {
                assert!(when > now && when <= now + LONGEST_WAIT);
                queued += 1;
            }
            Err(_) => return (at_once, queued),
        }
    }
}

/// What passes in one moment is a minute's worth and ten seconds' worth behind it.
fn assert_rate(tier: Tier, units: u16, operation: Operation, per_minute: u64) {
    let mut limits = Limits::of(tier, units, at(0));
    // The smallest that there is; methods are counted by their bytes.
    let (at_once, queued) = passes(&mut limits, operation, 0, at(0));
    let what = format!("{operation:?} of {units} {tier:?}");
    assert_eq!(at_once, per_minute, "{what}");
    assert_eq!(queued, per_minute / 6, "{what}");
}

#[test]
fn each_throttle_is_the_documented_one() {
    use Operation::*;
    for (tier, units, operation, per_minute) in [
        (Tier::F1, 1, Connect, 6000),
        (Tier::S1, 1, Connect, 6000),
        (Tier::S1, 9, Connect, 108 * 60),
        (Tier::S2, 2, Connect, 240 * 60),
        (Tier::S3, 1, Connect, 360_000),
        (Tier::F1, 1, DeviceToCloud, 6000),
        (Tier::S1, 2, DeviceToCloud, 6000),
        (Tier::S1, 9, DeviceToCloud, 108 * 60),
        (Tier::S2, 1, DeviceToCloud, 120 * 60),
        (Tier::S3, 1, DeviceToCloud, 360_000),
        (Tier::S1, 1, CloudToDevice, 100),
        (Tier::S2, 3, CloudToDevice, 300),
        (Tier::S3, 1, CloudToDevice, 5000),
        // "You can make up to 40 calls per second per unit before hitting the limit of 160 KB/sec/unit."
        (Tier::S1, 1, Method, 40 * 60),
        (Tier::S2, 1, Method, 120 * 60),
        (Tier::S3, 1, Method, 6144 * 60),
        (Tier::S1, 20, TwinRead, 6000),
        (Tier::S2, 1, TwinRead, 6000),
        (Tier::S2, 20, TwinRead, 200 * 60),
        (Tier::S3, 1, TwinRead, 500 * 60),
        (Tier::S1, 20, TwinUpdate, 3000),
        (Tier::S2, 20, TwinUpdate, 100 * 60),
        (Tier::S3, 2, TwinUpdate, 500 * 60),
        // "1.67/sec/unit (100/min/unit)", of S3 "83.33/sec/unit (5,000/min/unit)".
        (Tier::F1, 1, Registry, 100),
        (Tier::S2, 3, Registry, 300),
        (Tier::S3, 1, Registry, 5000),
        (Tier::S1, 1, Job, 100),
        (Tier::S3, 1, Job, 5000),
        // "20/min/unit", of S3 "1,000/min/unit".
        (Tier::S1, 3, Query, 60),
        (Tier::S2, 1, Query, 20),
        (Tier::S3, 1, Query, 1000),
        // "0.33/sec/unit (20/min/unit)" of all.
        (Tier::S1, 1, Configuration, 20),
        (Tier::S3, 2, Configuration, 40),
    ] {
        assert_rate(tier, units, operation, per_minute);
    }
}

/// "If your payload is between 4 KB and 8 KB, each call accounts for 8 KB", and "between 156 KB and 160 KB" one call
/// a second is what there is.
#[test]
fn methods_are_throttled_by_their_bytes_in_steps_of_4_kb() {
    for (size, per_second) in [(1, 40), (4096, 40), (4097, 20), (8192, 20), (157 * 1024, 1)] {
        let mut limits = Limits::of(Tier::S1, 1, at(0));
        let (at_once, _) = passes(&mut limits, Operation::Method, size, at(0));
        assert_eq!(at_once, per_second * 60, "{size}");
    }
}

#[test]
fn throttles_do_not_share() {
    let mut limits = Limits::of(Tier::S1, 1, at(0));
    passes(&mut limits, Operation::CloudToDevice, 0, at(0));
    assert_eq!(
        limits.admit(Operation::DeviceToCloud, [0], at(0)),
        Ok(Admission::Now)
    );
}

#[test]
fn what_is_refused_says_of_which_throttle() {
    let mut limits = Limits::of(Tier::S1, 1, at(0));
    passes(&mut limits, Operation::CloudToDevice, 0, at(0));
    let Err(Excess::Throttled(row)) = limits.admit(Operation::CloudToDevice, [0], at(0)) else {
        panic!("not throttled")
    };
    assert_eq!(row.name, "cloud-to-device sends");
}

#[test]
fn a_batch_is_one_send_and_is_charged_for_each_of_its_messages() {
    let mut limits = Limits::of(Tier::F1, 1, at(0));
    for _ in 0..4 {
        assert_eq!(
            limits.admit(Operation::DeviceToCloud, [0; 2000], at(0)),
            Ok(Admission::Now)
        );
    }
    assert_eq!(
        limits.admit(Operation::DeviceToCloud, [0], at(0)),
        Err(Excess::Quota { per_day: 8000 })
    );
    let mut limits = Limits::of(Tier::S1, 1, at(0));
    for _ in 0..6000 {
        assert_eq!(
            limits.admit(Operation::DeviceToCloud, [0; 3], at(0)),
            Ok(Admission::Now)
        );
    }
    let waits = limits.admit(Operation::DeviceToCloud, [0; 3], at(0));
    assert_eq!(waits, Ok(Admission::At(at(0) + Duration::from_millis(10))));
}

#[test]
fn the_quota_is_the_documented_one_and_begins_anew_at_midnight_utc() {
    for (tier, units, per_day, size) in [
        (Tier::F1, 1, 8000, 512),
        (Tier::F1, 5, 8000, 512),
        (Tier::S1, 1, 400_000, 4096),
        (Tier::S2, 2, 12_000_000, 4096),
        (Tier::S3, 1, 300_000_000, 4096),
    ] {
        // 2023-11-14T22:13:20Z.
        let mut limits = Limits::of(tier, units, at(0));
        // Large ones, since the throttle counts operations; of a size that is a whole number of messages.
        let each = 1 << 17;
        let mut left = per_day;
        let mut now = at(-70_000);
        while left > 0 {
            let messages = each.min(left);
            let size = usize::try_from(messages).unwrap() * size;
            limits.admit(Operation::DeviceToCloud, [size], now).unwrap();
            left -= messages;
            now = now + Duration::from_millis(10);
        }
        assert_eq!(
            limits.admit(Operation::DeviceToCloud, [0], now),
            Err(Excess::Quota { per_day })
        );
        let midnight = Timestamp::from_seconds(1_700_006_400);
        let before = Timestamp::from_millis(midnight.as_millis() - 1);
        assert!(limits.admit(Operation::TwinRead, [0], before).is_err());
        // What is not charged passes.
        assert!(limits.admit(Operation::Connect, [0], before).is_ok());
        assert!(limits.admit(Operation::TwinRead, [0], midnight).is_ok());
    }
}

/// "A 6-KB message is charged as two messages."
#[test]
fn a_message_counts_by_its_size_and_an_empty_one_as_one() {
    for (tier, size, messages) in [
        (Tier::S1, 0, 1),
        (Tier::S1, 100, 1),
        (Tier::S1, 4096, 1),
        (Tier::S1, 4097, 2),
        (Tier::S1, 6 * 1024, 2),
        (Tier::F1, 512, 1),
        (Tier::F1, 513, 2),
        (Tier::F1, 4096, 8),
    ] {
        assert_eq!(tier.messages(size), messages, "{size} of {tier:?}");
    }
}

#[test]
fn what_the_throttle_refuses_is_not_charged() {
    let mut limits = Limits::of(Tier::F1, 1, at(0));
    let (at_once, queued) = passes(&mut limits, Operation::CloudToDevice, 0, at(0));
    for _ in 0..8000 {
        let _ = limits.admit(Operation::CloudToDevice, [0], at(0));
    }
    // What is left of 8,000 still passes.
    let (more, more_queued) = passes(&mut limits, Operation::DeviceToCloud, 0, at(0));
    let (then, _) = passes(&mut limits, Operation::DeviceToCloud, 0, at(60));
    assert_eq!(at_once + queued + more + more_queued + then, 8000);
}

#[test]
fn without_a_tier_everything_passes() {
    let mut limits = Limits::default();
    for _ in 0..100_000 {
        assert_eq!(
            limits.admit(Operation::CloudToDevice, [1 << 20], at(0)),
            Ok(Admission::Now)
        );
    }
}
