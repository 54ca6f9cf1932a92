//! Looks into a frame without decoding it.

use iothub_frame::{Violation, walk};

/// How many bytes a frame or protocol header takes that begins here, once its own head is there.
pub(super) fn frame_size(bytes: &[u8]) -> Option<usize> {
    match *bytes.first_chunk::<8>()? {
        [b'A', b'M', b'Q', b'P', ..] => Some(8),
        [a, b, c, d, ..] => Some(u32::from_be_bytes([a, b, c, d]) as usize),
    }
}

/// The channel of a frame, its performative's code, and its fields, with what stands behind them; `None` for what is not of
/// AMQP's own frames.
///
/// A descriptor has four encodings (§1.3, §2.7), and the engine takes them all: one that was not seen here would not be checked.
pub(super) fn performative(frame: &[u8]) -> Option<(u16, u8, &[u8])> {
    let [_, _, _, _, offset, AMQP, high, low, ..] = *frame else {
        return None;
    };
    let body = frame.get(usize::from(offset) * 4..)?;
    let (code, fields) = match body {
        [0x00, 0x53, code, fields @ ..] | [0x00, 0x80, 0, 0, 0, 0, 0, 0, 0, code, fields @ ..] => {
            (*code, fields)
        }
        [0x00, 0xa3, size, rest @ ..] => named(rest, u32::from(*size))?,
        [0x00, 0xb3, a, b, c, d, rest @ ..] => named(rest, u32::from_be_bytes([*a, *b, *c, *d]))?,
        _ => return None,
    };
    Some((u16::from_be_bytes([high, low]), code, fields))
}

/// The code for the symbol of this size that `bytes` begin with, and what stands behind it.
fn named(bytes: &[u8], size: u32) -> Option<(u8, &[u8])> {
    let (name, fields) = bytes.split_at_checked(usize::try_from(size).ok()?)?;
    let place = NAMES.iter().position(|known| known.as_bytes() == name)?;
    Some((OPEN + u8::try_from(place).ok()?, fields))
}

/// The first fields of a list.
pub(super) fn first_fields<const N: usize>(list: &[u8]) -> Result<[&[u8]; N], Violation> {
    let mut at = match list.first() {
        Some(0xc0) => 3,
        _ => 9,
    };
    let mut fields = [&list[..0]; N];
    for field in &mut fields {
        let next = walk::check_value(list, at)?;
        *field = list.get(at..next).unwrap_or_default();
        at = next;
    }
    Ok(fields)
}

pub(super) fn uint(value: &[u8]) -> u32 {
    match *value {
        [0x52, small] => u32::from(small),
        [0x70, a, b, c, d] => u32::from_be_bytes([a, b, c, d]),
        _ => 0,
    }
}

const AMQP: u8 = 0;
pub(super) const OPEN: u8 = 0x10;
pub(super) const BEGIN: u8 = 0x11;
pub(super) const ATTACH: u8 = 0x12;
pub(super) const FLOW: u8 = 0x13;
pub(super) const TRANSFER: u8 = 0x14;
pub(super) const DISPOSITION: u8 = 0x15;
pub(super) const DETACH: u8 = 0x16;
pub(super) const END: u8 = 0x17;
pub(super) const CLOSE: u8 = 0x18;

/// From `open` on, by code.
const NAMES: [&str; 9] = [
    "amqp:open:list",
    "amqp:begin:list",
    "amqp:attach:list",
    "amqp:flow:list",
    "amqp:transfer:list",
    "amqp:disposition:list",
    "amqp:detach:list",
    "amqp:end:list",
    "amqp:close:list",
];

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame on channel 258 with this descriptor and an empty list.
    fn frame(descriptor: &[u8]) -> Vec<u8> {
        let body = [&[0x00], descriptor, &[0x45]].concat();
        let size = u32::try_from(8 + body.len()).unwrap();
        [&size.to_be_bytes()[..], &[2, 0, 1, 2], &body].concat()
    }

    #[test]
    fn a_performative_is_known_in_each_encoding_of_its_descriptor() {
        // §2.7.5 and §2.7.9.
        for (code, name) in [(TRANSFER, "amqp:transfer:list"), (CLOSE, "amqp:close:list")] {
            let name = name.as_bytes();
            let size = u8::try_from(name.len()).unwrap();
            let encodings = [
                vec![0x53, code],
                vec![0x80, 0, 0, 0, 0, 0, 0, 0, code],
                [&[0xa3, size], name].concat(),
                [&[0xb3, 0, 0, 0, size], name].concat(),
            ];
            for descriptor in encodings {
                assert_eq!(
                    performative(&frame(&descriptor)),
                    Some((258, code, &[0x45][..])),
                    "{descriptor:02x?}"
                );
            }
        }
        for unknown in [
            &[0xa3, 3, b'a', b'b', b'c'][..],
            &[0xa3, 200, b'a'],
            &[0xb3, 0xff, 0xff, 0xff, 0xff, 1],
        ] {
            assert_eq!(performative(&frame(unknown)), None);
        }
    }
}
