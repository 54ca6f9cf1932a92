//! Frames by hand, from AMQP 1.0 §2.3 and §2.7.

use super::*;

fn frame(channel: u16, body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(body.len() + 8).unwrap();
    [&size.to_be_bytes()[..], &[2, 0], &channel.to_be_bytes(), body].concat()
}

const BEGIN: &[u8] = &[0x00, 0x53, 0x11, 0xc0, 5, 4, 0x40, 0x43, 0x43, 0x43];
const END: &[u8] = &[0x00, 0x53, 0x17, 0x45];

fn attach(handle: u8) -> Vec<u8> {
    vec![0x00, 0x53, 0x12, 0xc0, 7, 3, 0xa1, 1, b'n', 0x52, handle, 0x42]
}

fn detach(handle: u8) -> Vec<u8> {
    vec![0x00, 0x53, 0x16, 0xc0, 3, 1, 0x52, handle]
}

fn flow(handle: u8) -> Vec<u8> {
    vec![0x00, 0x53, 0x13, 0xc0, 7, 5, 0x40, 0x43, 0x43, 0x43, 0x52, handle]
}

fn transfer(handle: u8, payload: &[u8]) -> Vec<u8> {
    [&[0x00, 0x53, 0x14, 0xc0, 3, 1, 0x52, handle], payload].concat()
}

fn inward(inward: &mut Inward, frames: &[Vec<u8>]) -> Result<(Weight, Vec<u8>), Overstep> {
    let mut out = BytesMut::new();
    inward.unread().put_slice(&frames.concat());
    let weight = inward.translate(&mut out)?;
    Ok((weight, out.to_vec()))
}

const fn came(came: usize) -> Weight {
    Weight { came, gone: 0 }
}

/// With a link on channel 0, handle 0.
fn attached() -> Inward {
    let mut fresh = Inward::default();
    inward(&mut fresh, &[frame(0, BEGIN), frame(0, &attach(0))]).unwrap();
    fresh
}

#[test]
fn a_transfers_payload_is_put_into_a_data_section() {
    let expected = frame(0, &transfer(0, &[0x00, 0x53, 0x75, 0xb0, 0, 0, 0, 3, 1, 2, 3]));
    assert_eq!(
        inward(&mut attached(), &[frame(0, &transfer(0, &[1, 2, 3]))]),
        Ok((came(3 + FRAME_WEIGHT), expected))
    );
    let empty = frame(0, &transfer(0, &[0x00, 0x53, 0x75, 0xb0, 0, 0, 0, 0]));
    assert_eq!(
        inward(&mut attached(), &[frame(0, &transfer(0, &[]))]),
        Ok((came(FRAME_WEIGHT), empty))
    );
}

/// The descriptor may be written as a long number or by name.
#[test]
fn a_transfer_is_known_in_each_spelling() {
    for descriptor in [
        &[0x80, 0, 0, 0, 0, 0, 0, 0, 0x14][..],
        b"\xa3\x12amqp:transfer:list",
    ] {
        let body = [&[0x00], descriptor, &[0xc0, 2, 1, 0x43, 9, 9]].concat();
        let (weight, out) = inward(&mut attached(), &[frame(0, &body)]).unwrap();
        assert_eq!(weight, came(2 + FRAME_WEIGHT));
        assert!(out.ends_with(&[0x00, 0x53, 0x75, 0xb0, 0, 0, 0, 2, 9, 9]));
    }
}

#[test]
fn other_frames_pass_as_they_are_and_lose_an_extended_header() {
    let heartbeat = frame(0, &[]);
    assert_eq!(
        inward(&mut attached(), std::slice::from_ref(&heartbeat)),
        Ok((came(0), heartbeat))
    );
    let mut long = frame(0, &[&[9, 9, 9, 9][..], &flow(0)].concat());
    long[4] = 3;
    assert_eq!(
        inward(&mut attached(), &[long]),
        Ok((came(0), frame(0, &flow(0))))
    );
}

#[test]
fn bytes_in_any_pieces_give_the_same_frames() {
    let frames = [
        frame(0, &flow(0)),
        frame(0, &transfer(0, &[7; 100])),
        frame(0, &detach(0)),
    ]
    .concat();
    let (_, whole) = inward(&mut attached(), std::slice::from_ref(&frames)).unwrap();
    let mut piecewise = attached();
    let mut out = BytesMut::new();
    for byte in &frames {
        piecewise.unread().put_u8(*byte);
        piecewise.translate(&mut out).unwrap();
    }
    assert_eq!(out, whole);
}

/// A transfer with `more` and `aborted` as given, of 10 payload bytes.
fn piece(more: bool, aborted: bool) -> Vec<u8> {
    let flag = |set: bool| if set { 0x41 } else { 0x42 };
    let fields = [
        0x43,
        0x40,
        0x40,
        0x40,
        0x40,
        flag(more),
        0x40,
        0x40,
        0x40,
        flag(aborted),
    ];
    let payload = if aborted { &[][..] } else { &[7; 10] };
    frame(
        0,
        &[&[0x00, 0x53, 0x14, 0xc0, 11, 10], &fields[..], payload].concat(),
    )
}

#[test]
fn the_weight_of_a_delivery_that_is_broken_off_is_given_back() {
    let full = 10 + FRAME_WEIGHT;
    for (ending, extra) in [
        (piece(false, true), FRAME_WEIGHT),
        (frame(0, &detach(0)), 0),
        (frame(0, END), 0),
        (frame(0, &[0x00, 0x53, 0x18, 0x45]), 0),
    ] {
        let frames = [
            piece(true, false),
            piece(false, false),
            piece(true, false),
            piece(true, false),
            ending,
        ];
        let (weight, _) = inward(&mut attached(), &frames).unwrap();
        assert_eq!(
            weight,
            Weight {
                came: 4 * full + extra,
                gone: 2 * full + extra
            }
        );
    }
}

#[test]
fn close_is_held_until_it_is_released_and_nothing_passes_before_it() {
    let close = frame(0, &[0x00, 0x53, 0x18, 0x45]);
    let mut held = attached();
    let (_, out) = inward(&mut held, &[frame(0, &flow(0)), close.clone(), frame(0, &[])]).unwrap();
    assert_eq!(out, frame(0, &flow(0)));
    assert!(held.holds_close());
    let mut out = BytesMut::new();
    held.release_close(&mut out);
    assert_eq!(out, close);
    assert!(!held.holds_close());
}

#[test]
fn a_frame_for_what_is_not_there_ends_the_connection() {
    let cases = [
        (vec![frame(0, &flow(1))], Overstep::UnattachedHandle),
        (vec![frame(0, &transfer(1, &[]))], Overstep::UnattachedHandle),
        (vec![frame(1, &transfer(0, &[]))], Overstep::UnattachedHandle),
        (
            vec![frame(0, &detach(0)), frame(0, &transfer(0, &[]))],
            Overstep::UnattachedHandle,
        ),
        (
            vec![frame(0, END), frame(0, BEGIN), frame(0, &flow(0))],
            Overstep::UnattachedHandle,
        ),
        (
            vec![frame(0, &[0x00, 0x53, 0x14, 0x45])],
            Overstep::UnattachedHandle,
        ),
        (vec![frame(0, &attach(0))], Overstep::HandleInUse),
        (vec![frame(0, BEGIN)], Overstep::ChannelInUse),
    ];
    for (frames, expected) in cases {
        assert_eq!(inward(&mut attached(), &frames), Err(expected), "{frames:02x?}");
    }
}

#[test]
fn sessions_and_links_are_bounded_and_given_back() {
    let mut fresh = Inward::default();
    for _ in 0..3 {
        let channels = 0..u16::try_from(MAX_SESSIONS).unwrap();
        for channel in channels.clone() {
            inward(&mut fresh, &[frame(channel, BEGIN), frame(channel, &attach(0))]).unwrap();
        }
        assert_eq!(fresh.links, MAX_SESSIONS);
        for channel in channels {
            inward(&mut fresh, &[frame(channel, END)]).unwrap();
        }
        assert_eq!(fresh.links, 0);
    }
}

/// One name in each direction (§2.6.1); a second one in the same direction stays one.
#[test]
fn a_links_name_says_its_role() {
    let attach = |role: u8| {
        let fields = [0xa1, 1, b'n', 0x43, role];
        frame(0, &[&[0x00, 0x53, 0x12, 0xc0, 6, 3], &fields[..]].concat())
    };
    for (role, letter) in [(0x42, b's'), (0x41, b'r')] {
        let mut begun = Inward::default();
        let (_, out) = inward(&mut begun, &[frame(0, BEGIN), attach(role)]).unwrap();
        let named = [
            0x00, 0x53, 0x12, 0xc0, 26, 11, 0xb1, 0, 0, 0, 2, b'n', letter, 0x43, role,
        ];
        // 11 bytes; the descriptor, the list and three fields; up to the weight all is null.
        let weight = [&[0x40; 7][..], &[0x80], &(11_u64 + 5 * 80).to_be_bytes()].concat();
        assert_eq!(
            out,
            [frame(0, BEGIN), frame(0, &[&named[..], &weight].concat())].concat()
        );
    }
}

/// In few bytes: a list of nulls in the session's properties, and in a transfer's state.
#[test]
fn what_grows_in_memory_is_weighed() {
    let nulls = |count: u16| {
        let size = u32::from(count) + 4;
        let head = [&[0xd0][..], &size.to_be_bytes(), &u32::from(count).to_be_bytes()].concat();
        [head, vec![0x40; count.into()]].concat()
    };
    let list = |code: u8, fields: &[Vec<u8>]| {
        let body = fields.concat();
        let size = u32::try_from(body.len() + 4).unwrap();
        let count = u32::try_from(fields.len()).unwrap();
        let head = [
            &[0x00, 0x53, code, 0xd0][..],
            &size.to_be_bytes(),
            &count.to_be_bytes(),
        ]
        .concat();
        [head, body].concat()
    };
    let begin = |count| {
        list(
            0x11,
            &[vec![0x40], vec![0x43], vec![0x43], vec![0x43], nulls(count)],
        )
    };
    assert!(inward(&mut Inward::default(), &[frame(0, &begin(3000))]).is_ok());
    assert_eq!(
        inward(&mut Inward::default(), &[frame(0, &begin(3300))]),
        Err(Overstep::Performative)
    );
    let transfer = list(0x14, &[vec![0x43], nulls(30)]);
    assert_eq!(
        inward(&mut attached(), &[frame(0, &transfer)]),
        Err(Overstep::Performative)
    );

    // Each is allowed, but not all together; what has ended does not count.
    let begins = |channels: std::ops::Range<u16>| channels.map(|channel| frame(channel, &begin(3000)));
    let mut full = Inward::default();
    for round in 0..3 {
        let frames: Vec<_> = begins(0..130).collect();
        assert!(inward(&mut full, &frames).is_ok(), "{round}");
        let ends: Vec<_> = (0..130).map(|channel| frame(channel, END)).collect();
        assert!(inward(&mut full, &ends).is_ok());
    }
    let frames: Vec<_> = begins(0..140).collect();
    assert_eq!(inward(&mut full, &frames), Err(Overstep::Kept));
}

#[test]
fn a_session_that_we_end_is_over_at_once_and_its_channel_free_after_the_peers_end() {
    let mut begun = attached();
    let mut out = BytesMut::new();
    inward(&mut begun, &[piece(true, false)]).unwrap();
    assert_eq!(begun.end(0, &mut out), 10 + FRAME_WEIGHT);
    assert_eq!(out.to_vec(), frame(0, &[0x00, 0x53, 0x17, 0xc0, 1, 0]));
    assert_eq!((begun.links, begun.kept), (0, 0));
    // It is told once.
    assert_eq!(begun.end(0, &mut out), 0);
    let late = [
        frame(0, &transfer(0, b"late")),
        frame(0, &attach(1)),
        frame(0, END),
    ];
    assert_eq!(inward(&mut begun, &late), Ok((came(0), Vec::new())));
    assert_eq!(
        inward(&mut begun, &[frame(0, BEGIN)]),
        Ok((came(0), frame(0, BEGIN)))
    );
}

#[test]
fn an_attach_without_a_name_is_left_to_the_engine() {
    for name in [&[0x40][..], &[0xa3, 1, b'n'], &[0x43]] {
        let fields = [name, &[0x43, 0x42]].concat();
        let size = u8::try_from(fields.len() + 1).unwrap();
        let attach = frame(0, &[&[0x00, 0x53, 0x12, 0xc0, size, 3], &fields[..]].concat());
        let mut begun = Inward::default();
        let (_, out) = inward(&mut begun, &[frame(0, BEGIN), attach.clone()]).unwrap();
        assert_eq!(out, [frame(0, BEGIN), attach].concat());
    }
}

/// An `open` of five fields, of which the last is the idle time-out (§2.7.1).
fn open(idle: &[u8]) -> Vec<u8> {
    let fields = [
        &[0xa1, 1, b'c', 0x40, 0x70, 0, 1, 0, 0, 0x60, 0x1f, 0xff][..],
        idle,
    ]
    .concat();
    let size = u8::try_from(fields.len() + 1).unwrap();
    frame(0, &[&[0x00, 0x53, 0x10, 0xc0, size, 5][..], &fields].concat())
}

#[test]
fn the_engine_hears_of_half_the_idle_time_out() {
    for (said, heard) in [
        // What the C# SDK says: 120 s.
        (
            &[0x70, 0x00, 0x01, 0xd4, 0xc0][..],
            &[0x70, 0x00, 0x00, 0xea, 0x60][..],
        ),
        (&[0x52, 100], &[0x70, 0, 0, 0, 50]),
        (&[0x52, 1], &[0x70, 0, 0, 0, 1]),
        (&[0x43], &[0x43]),
        (&[0x40], &[0x40]),
    ] {
        assert_eq!(
            inward(&mut Inward::default(), &[open(said)]),
            Ok((came(0), open(heard)))
        );
    }
}
