//! How many transfers have passed through a stream of AMQP, counted without the engine's help.

/// What it has seen of a stream so far.
#[derive(Debug, Default)]
pub struct Transfers {
    /// The beginning of the frame that it is in, as far as it matters.
    head: Vec<u8>,
    /// How much of that frame is still to come, once it is known.
    rest: usize,
    count: u64,
}

impl Transfers {
    /// These bytes come next.
    pub fn see(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.rest > 0 {
                let skipped = self.rest.min(bytes.len());
                self.rest -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            self.head.push(bytes[0]);
            bytes = &bytes[1..];
            self.look();
        }
    }

    /// How many there were.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    fn look(&mut self) {
        let size = match self.head.first_chunk() {
            None => return,
            // A protocol header (AMQP 1.0 §2.2) has no size; it is eight bytes.
            Some(b"AMQP") => PROTOCOL_HEADER,
            Some(size) => u32::from_be_bytes(*size) as usize,
        };
        if self.head.len() < DESCRIBED.min(size) {
            return;
        }
        // The kind of frame, and the performative's descriptor behind a header without extension (§2.3.1, §2.7.5).
        self.count += u64::from(matches!(self.head[5..], [0, _, _, 0x00, 0x53, 0x14]));
        self.rest = size.saturating_sub(self.head.len());
        self.head.clear();
    }
}

const PROTOCOL_HEADER: usize = 8;

/// So many bytes of a frame say what it is.
const DESCRIBED: usize = 11;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::{AMQP_HEADER, frame, performative};

    #[test]
    fn transfers_are_counted_however_the_bytes_come() {
        let transfer = frame(0, &[performative(0x14, &[&[0x43]]), vec![0x14; 40]].concat());
        let all = [
            AMQP_HEADER,
            &frame(0, &[]),
            &transfer,
            &frame(0, &performative(0x15, &[])),
            &frame(1, &performative(0x14, &[])),
            &transfer,
        ]
        .concat();
        for piece in 1..all.len() {
            let mut transfers = Transfers::default();
            all.chunks(piece).for_each(|bytes| transfers.see(bytes));
            assert_eq!(transfers.count(), 2, "in pieces of {piece}");
        }
    }
}
