//! What the client is told of a delivery whose outcome it has not settled.

use bytes::{BufMut, BytesMut};

use super::outgoing::{FALSE, TRUE};
use super::performative::{self, Kind};
use super::translate::put_frame;

/// What becomes of a delivery whose outcome the client has not settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Settlement {
    Accepted,
    Rejected,
    Released,
    Modified,
    /// `rejected`, because.
    Refused {
        condition: &'static str,
        description: String,
    },
}

/// A settlement for which nothing is there.
pub(super) fn gone() -> Settlement {
    Settlement::Refused {
        condition: "amqp:not-found",
        description: "The delivery has been settled, or its lock was lost.".to_owned(),
    }
}

/// A disposition (§2.7.6) of the sender, settled.
pub(super) fn put_settlement(
    out: &mut BytesMut,
    channel: u16,
    first: u32,
    last: u32,
    settlement: &Settlement,
) {
    let mut state = BytesMut::new();
    match settlement {
        Settlement::Accepted => state.put_slice(&[0x00, 0x53, 0x24, 0x45]),
        Settlement::Rejected => state.put_slice(&[0x00, 0x53, 0x25, 0x45]),
        Settlement::Released => state.put_slice(&[0x00, 0x53, 0x26, 0x45]),
        Settlement::Modified => state.put_slice(&[0x00, 0x53, 0x27, 0x45]),
        Settlement::Refused {
            condition,
            description,
        } => {
            let mut error = BytesMut::new();
            error.put_slice(&[0xa3, u8::try_from(condition.len()).unwrap_or(0)]);
            error.put_slice(condition.as_bytes());
            error.put_u8(0xb1);
            error.put_u32(u32::try_from(description.len()).unwrap_or(0));
            error.put_slice(description.as_bytes());
            error.put_u8(0x40);
            let size = u32::try_from(error.len()).unwrap_or(0);
            state.put_slice(&[0x00, 0x53, 0x25, 0xd0]);
            state.put_u32(size + 4 + 12);
            state.put_u32(1);
            state.put_slice(&[0x00, 0x53, 0x1d, 0xd0]);
            state.put_u32(size + 4);
            state.put_u32(3);
            state.put_slice(&error);
        }
    }
    let uint = |number: u32| [&[0x70][..], &number.to_be_bytes()].concat();
    let (first, last) = (uint(first), uint(last));
    let mut body = BytesMut::new();
    performative::put(
        &mut body,
        Kind::Disposition,
        &[FALSE, &first, &last, TRUE, &state, FALSE],
    );
    put_frame(out, channel, &body, None);
}

/// Whether a delivery-state is an outcome (§3.4): accepted, rejected, released, modified.
pub(super) fn is_terminal(state: &[u8]) -> bool {
    match state {
        [0x00, 0x53, code, ..] => (0x24..=0x27).contains(code),
        [0x00, 0x80, high @ .., _] if high.len() >= 7 && high[..7].iter().all(|byte| *byte == 0) => {
            (0x24..=0x27).contains(&state[9])
        }
        [0x00, 0xa3, length, name @ ..] => {
            let name = name.get(..usize::from(*length)).unwrap_or_default();
            OUTCOMES.iter().any(|outcome| outcome.as_bytes() == name)
        }
        _ => false,
    }
}

const OUTCOMES: [&str; 4] = [
    "amqp:accepted:list",
    "amqp:rejected:list",
    "amqp:released:list",
    "amqp:modified:list",
];
