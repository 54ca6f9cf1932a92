//! What holds for any bytes whatever: shared by the corpus and the fuzz target.
#![allow(unreachable_pub, reason = "each user takes what it needs")]

use iothub_frame::walk::{check_message, check_value};
use iothub_frame::{FrameGuard, FrameLimits};

/// The guard passes the same bytes, and finds the same breach, in whatever pieces they come; the walk ends inside.
pub fn frames(bytes: &[u8]) {
    let whole = passed(bytes, bytes.len().max(1));
    assert!(whole.0 <= bytes.len());
    assert_eq!(passed(bytes, 1), whole);
    assert_eq!(passed(bytes, 7), whole);
    if let Ok(end) = check_value(bytes, 0) {
        assert!(end <= bytes.len());
    }
    let _ = check_message(bytes);
}

/// How many bytes pass when they arrive `step` at a time, and whether a breach ended it.
fn passed(bytes: &[u8], step: usize) -> (usize, bool) {
    let mut guard = FrameGuard::new(FrameLimits::default());
    let (mut at, mut end) = (0, 0);
    loop {
        match guard.check(&bytes[at..end]) {
            Err(_) => return (at, true),
            Ok(0) if end == bytes.len() => return (at, false),
            Ok(0) => end = (end + step).min(bytes.len()),
            Ok(length) => at += length,
        }
    }
}
