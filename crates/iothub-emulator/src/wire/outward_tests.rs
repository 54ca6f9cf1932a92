//! Frames by hand, from AMQP 1.0 §2.3 and §2.7.

use super::*;
use crate::wire::AMQP_HEADER;

fn frame(channel: u16, body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(body.len() + 8).unwrap();
    [&size.to_be_bytes()[..], &[2, 0], &channel.to_be_bytes(), body].concat()
}

const END: &[u8] = &[0x00, 0x53, 0x17, 0x45];

/// What becomes of a frame with this body behind the protocol header.
fn outward(body: &[u8], max_frame: u32) -> Vec<u8> {
    let mut outward = Outward::new("id".to_owned(), Outgoing::default());
    let mut out = BytesMut::new();
    outward.translate(
        &[&AMQP_HEADER[..], &frame(7, body)].concat(),
        max_frame,
        Impairments::default(),
        &mut out,
    );
    out[AMQP_HEADER.len()..].to_vec()
}

/// What is behind descriptor, size and count stays as it is, and then come nulls, or what clients want instead.
#[test]
fn short_lists_are_written_in_full() {
    let cases: [(u8, &[u8], &[u8]); 6] = [
        // begin: remote-channel, next-outgoing-id, windows; handle-max, capabilities, properties
        (
            0x11,
            &[0xc0, 5, 4, 0x40, 0x43, 0x43, 0x43],
            &[
                0xc0, 13, 8, 0x40, 0x43, 0x43, 0x43, 0x70, 0, 3, 0xff, 0xff, 0x40, 0x40, 0x40,
            ],
        ),
        // attach of our sender: name, handle, role
        (
            0x12,
            &[0xc0, 7, 3, 0xa1, 2, b'n', b'r', 0x43, 0x42],
            &[
                0xc0, 23, 14, 0xa1, 1, b'n', 0x43, 0x42, 0x40, 0x40, 0x00, 0x53, 0x28, 0x45, 0x00, 0x53,
                0x29, 0x45, 0x40, 0x40, 0x43, 0x40, 0x40, 0x40, 0x40,
            ],
        ),
        (
            0x13,
            &[0xc0, 5, 4, 0x43, 0x43, 0x43, 0x43],
            &[
                0xc0, 12, 11, 0x43, 0x43, 0x43, 0x43, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40,
            ],
        ),
        // transfer: handle, delivery-id, delivery-tag
        (
            0x14,
            &[0xc0, 9, 3, 0x43, 0x43, 0xa0, 4, 0, 0, 1, 2],
            &[
                0xc0, 17, 11, 0x43, 0x43, 0xa0, 4, 2, 1, 0, 0, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40, 0x40,
            ],
        ),
        (
            0x15,
            &[0xc0, 3, 2, 0x41, 0x43],
            &[0xc0, 7, 6, 0x41, 0x43, 0x40, 0x40, 0x40, 0x40],
        ),
        (0x16, &[0xc0, 2, 1, 0x43], &[0xc0, 4, 3, 0x43, 0x40, 0x40]),
    ];
    for (code, short, full) in cases {
        let described = |list: &[u8]| [&[0x00, 0x53, code], list].concat();
        assert_eq!(
            outward(&described(short), u32::MAX),
            frame(7, &described(full)),
            "{code:02x}"
        );
        assert_eq!(
            outward(&described(full), u32::MAX).len(),
            described(full).len() + 8 - usize::from(code == 0x12),
            "{code:02x} in full stays so"
        );
    }
}

#[test]
fn a_receivers_attach_gets_no_initial_delivery_count() {
    let attach = [0x00, 0x53, 0x12, 0xc0, 7, 3, 0xa1, 2, b'n', b's', 0x43, 0x41];
    let out = outward(&attach, u32::MAX);
    assert!(out.ends_with(&[0x40; 7]), "{out:02x?}");
}

#[test]
fn a_payload_stays_behind_its_transfer() {
    let transfer = [
        0x00, 0x53, 0x14, 0xc0, 2, 1, 0x43, 0x00, 0x53, 0x75, 0xa0, 1, b'x',
    ];
    let out = outward(&transfer, u32::MAX);
    assert!(
        out.ends_with(&[0x40, 0x00, 0x53, 0x75, 0xa0, 1, b'x']),
        "{out:02x?}"
    );
    assert_eq!(out.len(), 8 + transfer.len() + 10);
}

/// §2.7.1: no frame may be larger than the peer's limit.
#[test]
fn a_frame_does_not_grow_over_the_peers_limit() {
    let transfer = [&[0x00, 0x53, 0x14, 0xc0, 2, 1, 0x43][..], &[0; 497]].concat();
    assert_eq!(outward(&transfer, 512), frame(7, &transfer));
    assert_ne!(outward(&transfer, 600), frame(7, &transfer));
}

/// A list with more than 255 bytes has its size and count in four bytes each.
#[test]
fn a_long_list_is_written_long() {
    let name = [&[0xb1, 0, 0, 1, 1][..], &[b'n'; 256], b"s"].concat();
    let mut attach = vec![0x00, 0x53, 0x12, 0xd0];
    attach.extend_from_slice(&u32::try_from(4 + name.len() + 2).unwrap().to_be_bytes());
    attach.extend_from_slice(&[0, 0, 0, 3]);
    attach.extend_from_slice(&name);
    attach.extend_from_slice(&[0x43, 0x41]);
    let out = outward(&attach, u32::MAX);
    assert_eq!(out[11..12], [0xd0]);
    assert_eq!(out[12..16], u32::try_from(out.len() - 16).unwrap().to_be_bytes());
    assert_eq!(out[16..20], [0, 0, 0, 14]);
    assert_eq!(out[20..25], [0xb1, 0, 0, 1, 0]);
}

#[test]
fn the_engines_open_becomes_ours_whatever_the_pieces() {
    let engines = frame(0, &[0x00, 0x53, 0x10, 0xc0, 4, 1, 0xa1, 1, b'x']);
    let written = [&AMQP_HEADER[..], &engines, &frame(0, END)].concat();
    let expected = [
        &AMQP_HEADER[..],
        &frame(
            0,
            &[
                &[0x00, 0x53, 0x10, 0xc0, 34, 10, 0xa1, 2, b'i', b'd', 0xa1, 9][..],
                b"localhost",
                &[
                    0x70, 0, 1, 0, 0, 0x60, 0x1f, 0xff, 0x70, 0, 3, 0xa9, 0x80, 0x40, 0x40, 0x40, 0x40, 0x40,
                ],
            ]
            .concat(),
        ),
        &frame(0, END),
    ]
    .concat();
    for size in [1, 5, 100] {
        let mut outward = Outward::new("id".to_owned(), Outgoing::default());
        let mut out = BytesMut::new();
        written
            .chunks(size)
            .for_each(|piece| outward.translate(piece, u32::MAX, Impairments::default(), &mut out));
        assert_eq!(out, expected, "in pieces of {size}");
    }
}
