//! Goal: nothing unsound passes the guard, and nothing sound is refused.
//! Method: frames written by hand from the AMQP 1.0 text, and every truncation of the sound ones.
#![allow(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use iothub_frame::walk::{MAX_DEPTH, check_message, check_value};
use iothub_frame::{FrameGuard, FrameLimits, Violation};
use proptest::prelude::*;

const AMQP: &[u8] = b"AMQP\x00\x01\x00\x00";
const SASL: &[u8] = b"AMQP\x03\x01\x00\x00";

fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(body.len() + 8).unwrap().to_be_bytes().to_vec();
    frame.extend([2, kind, 0, 0]);
    frame.extend(body);
    frame
}

/// What the guard says of a stream that is in the AMQP phase.
fn amqp(bytes: &[u8]) -> Result<usize, Violation> {
    let mut guard = FrameGuard::new(FrameLimits::default());
    assert_eq!(guard.check(AMQP), Ok(8));
    guard.check(bytes)
}

/// A disposition: role receiver, first, last, settled.
fn disposition(first: u32, last: Option<u32>) -> Vec<u8> {
    let mut fields = vec![0x41, 0x70];
    fields.extend(first.to_be_bytes());
    match last {
        Some(last) => {
            fields.push(0x70);
            fields.extend(last.to_be_bytes());
        }
        None => fields.push(0x40),
    }
    fields.push(0x41);
    let mut body = vec![0x00, 0x53, 0x15, 0xc0, u8::try_from(fields.len()).unwrap() + 1, 4];
    body.extend(fields);
    frame(0, &body)
}

#[test]
fn headers_and_whole_frames_pass_and_the_rest_waits() {
    let mut guard = FrameGuard::new(FrameLimits::default());
    let mut stream = SASL.to_vec();
    stream.extend(frame(1, &[0x00, 0x53, 0x44, 0xc0, 0x03, 0x01, 0x50, 0x00])); // sasl-outcome ok
    stream.extend(AMQP);
    stream.extend(frame(0, &[])); // heartbeat
    let whole = stream.len();
    stream.extend(&frame(0, &[0x00, 0x53, 0x18, 0x45])[..11]); // close, cut short
    assert_eq!(guard.check(&stream), Ok(whole));
    assert_eq!(guard.check(&stream[whole..]), Ok(0));
}

#[test]
fn sound_frames_before_an_unsound_one_pass_first() {
    let mut guard = FrameGuard::new(FrameLimits::default());
    let stream = [AMQP, &disposition(1, None), &[0, 0, 0, 5]].concat();
    let sound = stream.len() - 4;
    assert_eq!(guard.check(&stream), Ok(sound));
    assert_eq!(guard.check(&stream[sound..]), Err(Violation::ShortFrame(5)));
}

#[test]
fn another_protocol_is_named_by_its_first_bytes() {
    let mut guard = FrameGuard::new(FrameLimits::default());
    let violation = guard.check(b"HTTP/1.1 400 Bad Request\r\n").unwrap_err();
    assert_eq!(violation, Violation::NotAmqp(*b"HTTP/1.1"));
    assert!(violation.to_string().contains("HTTP/1.1"));
    // One byte is enough to tell: a peer that waits for an answer sends no more.
    assert!(FrameGuard::new(FrameLimits::default()).check(b"H").is_err());
    assert_eq!(FrameGuard::new(FrameLimits::default()).check(b"AMQ"), Ok(0));
}

#[test]
fn sizes_below_a_frame_header_are_refused() {
    for size in 0..8_u32 {
        assert_eq!(amqp(&size.to_be_bytes()), Err(Violation::ShortFrame(size)));
    }
}

#[test]
fn sizes_over_the_limit_are_refused_before_a_byte_of_the_body_is_awaited() {
    for size in [65_537, 0x7fff_ffff, u32::MAX] {
        assert_eq!(
            amqp(&size.to_be_bytes()),
            Err(Violation::Oversize { size, limit: 65_536 })
        );
    }
    let mut guard = FrameGuard::new(FrameLimits::default());
    assert_eq!(guard.check(SASL), Ok(8));
    assert_eq!(
        guard.check(&513_u32.to_be_bytes()),
        Err(Violation::Oversize {
            size: 513,
            limit: 512
        })
    );
}

#[test]
fn a_data_offset_must_lie_inside_its_frame() {
    for doff in [0, 1, 4] {
        let mut bytes = frame(0, &[0, 0, 0, 0]);
        bytes[4] = doff;
        assert_eq!(amqp(&bytes), Err(Violation::DataOffset(doff)));
    }
    let mut extended = frame(0, &[0xff, 0xff, 0xff, 0xff]); // an extended header is legal
    extended[4] = 3;
    assert_eq!(amqp(&extended), Ok(12));
}

#[test]
fn a_frame_type_belongs_to_its_phase() {
    assert_eq!(amqp(&frame(1, &[])), Err(Violation::FrameType(1)));
    assert_eq!(amqp(&frame(7, &[])), Err(Violation::FrameType(7)));
    let mut guard = FrameGuard::new(FrameLimits::default());
    assert_eq!(guard.check(SASL), Ok(8));
    assert_eq!(guard.check(&frame(0, &[])), Err(Violation::FrameType(0)));
}

#[test]
fn a_body_that_is_no_described_value_is_refused() {
    assert_eq!(amqp(&frame(0, &[0x45])), Err(Violation::NotDescribed(0x45)));
}

#[test]
fn the_nested_attach_that_overflows_a_recursive_decoder_is_refused() {
    // list32 in list32 …: 9 bytes a level, 54 kB at 6,000 levels.
    let mut body = vec![0x45];
    for _ in 0..6_000 {
        let mut outer = vec![0xd0];
        outer.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        outer.extend(1_u32.to_be_bytes());
        outer.append(&mut body);
        body = outer;
    }
    body.splice(0..0, [0x00, 0x53, 0x12]);
    assert_eq!(amqp(&frame(0, &body)), Err(Violation::Depth));
    assert_eq!(check_message(&body), Err(Violation::Depth));
}

#[test]
fn described_values_inside_descriptors_are_refused_at_the_same_depth() {
    assert_eq!(amqp(&frame(0, &[0x00; 4_500])), Err(Violation::Depth));
    assert_eq!(check_message(&[0x00; 4_500]), Err(Violation::Depth));
}

#[test]
fn nesting_up_to_the_bound_passes() {
    let nested = |levels: usize| {
        let mut value = vec![0x45];
        for _ in 0..levels {
            let mut outer = vec![0xc0, u8::try_from(value.len() + 1).unwrap(), 1];
            outer.append(&mut value);
            value = outer;
        }
        value
    };
    // The innermost list0 takes no level: it holds nothing.
    assert_eq!(check_value(&nested(MAX_DEPTH), 0), Ok(MAX_DEPTH * 3 + 1));
    assert_eq!(check_value(&nested(MAX_DEPTH + 1), 0), Err(Violation::Depth));
}

#[test]
fn lengths_that_lie_are_refused() {
    for body in [
        &[0x00, 0x53, 0x10, 0xd0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1][..], // list of 4 GiB
        &[0x00, 0x53, 0x10, 0xb1, 0xff, 0xff, 0xff, 0xff],                 // string of 4 GiB
        &[0x00, 0x53, 0x10, 0xc0, 0x04, 0x01, 0xa1, 0x05, b'x'],           // a string past its list
        &[0x00, 0x53, 0x10, 0xc0, 0x04, 0x01, 0x41, 0x41, 0x41],           // items that do not fill it
        &[0x00, 0x53, 0x10, 0xc0, 0x00],                                   // no room for the count
    ] {
        assert_eq!(amqp(&frame(0, body)), Err(Violation::Length), "{body:02x?}");
    }
}

#[test]
fn counts_above_what_the_bytes_can_hold_are_refused() {
    let list = [0x00, 0x53, 0x10, 0xd0, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0x40];
    assert_eq!(amqp(&frame(0, &list)), Err(Violation::Count(u32::MAX)));
    // An array of nulls takes no bytes an element, so nothing but the count speaks of its size.
    let array = [0x00, 0x53, 0x10, 0xf0, 0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0x40];
    assert_eq!(amqp(&frame(0, &array)), Err(Violation::Count(u32::MAX)));
}

#[test]
fn arrays_of_every_kind_of_element_pass() {
    for array in [
        &[0xe0, 0x07, 0x02, 0xa3, 0x02, b'a', b'b', 0x01, b'c'][..], // symbols: size counts from the count on
        &[0xe0, 0x0a, 0x02, 0x70, 0, 0, 0, 1, 0, 0, 0, 2],           // uints
        &[0xe0, 0x02, 0x00, 0x40],                                   // none
        &[0xe0, 0x01, 0x00],                                         // none, without a constructor
        &[0xe0, 0x07, 0x02, 0xc0, 0x01, 0x00, 0x02, 0x01, 0x41],     // lists
        &[0xe0, 0x07, 0x02, 0x00, 0x53, 0x24, 0x50, 0x01, 0x02],     // described ubytes
    ] {
        assert_eq!(check_value(array, 0), Ok(array.len()), "{array:02x?}");
        for end in 0..array.len() {
            assert!(
                check_value(&array[..end], 0).is_err(),
                "{array:02x?} cut at {end}"
            );
        }
    }
    assert_eq!(
        check_value(&[0xe0, 0x04, 0x02, 0x10, 0x00, 0x00], 0),
        Err(Violation::Constructor(0x10))
    );
}

#[test]
fn dispositions_wider_than_any_window_are_refused() {
    let refused = |first, last| match amqp(&disposition(first, Some(last))) {
        Err(Violation::WideDisposition { span, limit: 65_536 }) => span,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(0, u32::MAX), 1 << 32);
    assert_eq!(refused(5, 4), 1 << 32); // serial numbers: the whole circle
    assert_eq!(refused(0, 65_536), 65_537);
    for (first, last) in [(0, Some(65_535)), (7, None), (u32::MAX, Some(3))] {
        assert!(amqp(&disposition(first, last)).is_ok(), "{first}..={last:?}");
    }
}

#[test]
fn a_wide_disposition_is_seen_in_each_of_its_encodings() {
    let fields = [0x41, 0x43, 0x70, 0xff, 0xff, 0xff, 0xff]; // role, first 0 as uint0, last
    let name = b"amqp:disposition:list";
    let mut symbol32 = vec![0xb3, 0, 0, 0, 21];
    symbol32.extend(name);
    let mut symbol8 = vec![0xa3, 21];
    symbol8.extend(name);
    for descriptor in [
        &[0x53, 0x15][..],
        &[0x80, 0, 0, 0, 0, 0, 0, 0, 0x15],
        &symbol8,
        &symbol32,
    ] {
        for list in [&[0xc0, 8, 3][..], &[0xd0, 0, 0, 0, 11, 0, 0, 0, 3]] {
            let body = [&[0x00], descriptor, list, &fields].concat();
            let said = amqp(&frame(0, &body));
            assert!(
                matches!(said, Err(Violation::WideDisposition { .. })),
                "{body:02x?}: {said:?}"
            );
        }
    }
}

#[test]
fn a_payload_is_not_walked_but_a_message_is() {
    let transfer = [0x00, 0x53, 0x14, 0xc0, 0x02, 0x01, 0x43];
    let payload = [0xff; 64];
    assert_eq!(
        amqp(&frame(0, &[&transfer[..], &payload].concat())),
        Ok(8 + 7 + 64)
    );
    assert_eq!(check_message(&payload), Err(Violation::NotDescribed(0xff)));
    assert_eq!(check_message(&[0x00, 0x53, 0x75, 0xa0, 0x02, b'h', b'i']), Ok(()));
    assert_eq!(
        check_message(&[0x00, 0x53, 0x75, 0xa0, 0x03, b'h', b'i']),
        Err(Violation::Length)
    );
    assert_eq!(check_message(&[]), Ok(()));
}

proptest! {
    #[test]
    fn no_bytes_make_the_guard_panic_or_pass_more_than_there_is(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        for header in [AMQP, SASL] {
            let mut guard = FrameGuard::new(FrameLimits::default());
            guard.check(header).unwrap();
            if let Ok(passed) = guard.check(&bytes) {
                prop_assert!(passed <= bytes.len());
            }
        }
        let _ = check_message(&bytes);
    }

    #[test]
    fn a_sound_frame_with_any_bytes_changed_never_panics(at in 0_usize..40, byte in any::<u8>()) {
        let mut bytes = disposition(1, Some(9));
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(passed) = amqp(&bytes) {
            prop_assert!(passed <= bytes.len());
        }
    }
}
