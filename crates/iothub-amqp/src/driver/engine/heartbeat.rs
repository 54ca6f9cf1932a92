//! How often the peer is told that this side lives.
//!
//! The engine sends an empty frame each time the peer's idle time-out is over, which is when the peer gives up. So it is
//! told half of it, as Microsoft's C and Node SDKs take it.

use iothub_frame::{Violation, walk};

use super::performative::{OPEN, performative};

/// Halves the idle time-out in an `open` (§2.7.1); true if the frame is one.
pub(super) fn halve_idle_time_out(frame: &mut [u8]) -> Result<bool, Violation> {
    let size = match performative(frame) {
        Some((_, OPEN, fields)) => fields.len(),
        _ => return Ok(false),
    };
    let begin = frame.len() - size;
    let fields = frame.get_mut(begin..).unwrap_or_default();
    let mut at = match fields.first() {
        Some(0xc0) => 3,
        Some(0xd0) => 9,
        _ => return Ok(true),
    };
    for _ in 0..IDLE_TIME_OUT {
        if at >= fields.len() {
            return Ok(true);
        }
        at = walk::check_value(fields, at)?;
    }
    match fields.get_mut(at..) {
        // Nothing is "never".
        Some([0x52, 0, ..] | [0x70, 0, 0, 0, 0, ..]) => {}
        Some([0x52, millis, ..]) => *millis = (*millis / 2).max(1),
        Some([0x70, a, b, c, d, ..]) => {
            let millis = u32::from_be_bytes([*a, *b, *c, *d]);
            [*a, *b, *c, *d] = (millis / 2).max(1).to_be_bytes();
        }
        _ => {} // there is none
    }
    Ok(true)
}

/// Its position among the fields.
const IDLE_TIME_OUT: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn open(idle: &[u8]) -> Vec<u8> {
        let fields = [
            &[
                0xa1, 3, b'h', b'u', b'b', 0x40, 0x70, 0, 1, 0, 0, 0x60, 0x1f, 0xff,
            ][..],
            idle,
        ]
        .concat();
        let size = u8::try_from(fields.len() + 1).unwrap();
        let body = [&[0x00, 0x53, 0x10, 0xc0, size, 5][..], &fields].concat();
        let size = u32::try_from(8 + body.len()).unwrap();
        [&size.to_be_bytes()[..], &[2, 0, 0, 0], &body].concat()
    }

    #[test]
    fn the_peer_hears_of_this_side_twice_within_its_idle_time_out() {
        for (said, heard) in [
            // What a real hub says: 240 s.
            (
                &[0x70, 0x00, 0x03, 0xa9, 0x80][..],
                &[0x70, 0x00, 0x01, 0xd4, 0xc0][..],
            ),
            (&[0x52, 100], &[0x52, 50]),
            (&[0x52, 0], &[0x52, 0]),
            (&[0x52, 1], &[0x52, 1]),
            (&[0x70, 0, 0, 0, 0], &[0x70, 0, 0, 0, 0]),
            (&[0x70, 0, 0, 0, 1], &[0x70, 0, 0, 0, 1]),
            (&[0x43], &[0x43]),
            (&[0x40], &[0x40]),
        ] {
            let mut frame = open(said);
            assert_eq!(halve_idle_time_out(&mut frame), Ok(true));
            assert_eq!(frame, open(heard));
        }
        let mut begin = [0, 0, 0, 12, 2, 0, 0, 0, 0x00, 0x53, 0x11, 0x45];
        assert_eq!(halve_idle_time_out(&mut begin), Ok(false));
    }
}
