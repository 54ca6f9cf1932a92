//! The frame guard: what may pass from a peer to an AMQP engine.

use crate::Violation;
use crate::walk::{DESCRIBED, check_value};

/// The smallest maximum that a peer may set, and the largest SASL frame (§2.8.1, §5.3.1), in bytes.
pub const MIN_MAX_FRAME_SIZE: u32 = 512;

/// What a [`FrameGuard`] lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLimits {
    /// The largest AMQP frame, in bytes: the `max-frame-size` that this side advertises. Default 65,536.
    pub max_frame: u32,
    /// The most delivery-ids that one disposition may span. Default 65,536, well above any window in use; an
    /// engine that looks each id up spends a minute on a frame of 40 bytes that spans them all.
    pub disposition_width: u32,
}

impl Default for FrameLimits {
    fn default() -> Self {
        Self {
            max_frame: 65_536,
            disposition_width: 65_536,
        }
    }
}

/// A sans-IO state machine over the bytes that a peer sends: it holds its phase, nothing else.
///
/// It walks every performative and no payload. A transfer's payload may span frames; its message is checked by
/// [`walk::check_message`](crate::walk::check_message) once it is whole.
#[derive(Debug)]
pub struct FrameGuard {
    limits: FrameLimits,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing has come yet: a protocol header must.
    Header,
    /// Between the SASL header and the AMQP header.
    Sasl,
    /// Behind the AMQP header.
    Amqp,
}

impl FrameGuard {
    /// A guard at the beginning of a stream.
    #[must_use]
    pub const fn new(limits: FrameLimits) -> Self {
        Self {
            limits,
            phase: Phase::Header,
        }
    }

    /// How many of the bytes at the front of `unread` may pass: headers and whole frames. 0 asks for more bytes.
    ///
    /// The caller takes that many bytes off the front and comes back with the rest, at the latest when it has
    /// [`FrameLimits::max_frame`] bytes.
    ///
    /// # Errors
    /// A [`Violation`] in the frame at the front. Sound frames before an unsound one pass first, since an
    /// acknowledgement may be among them; the next call then tells. The stream is of no more use after that.
    pub fn check(&mut self, unread: &[u8]) -> Result<usize, Violation> {
        let mut passed = 0;
        loop {
            match self.check_one(&unread[passed..]) {
                Ok(0) => return Ok(passed),
                Ok(length) => passed += length,
                Err(violation) if passed == 0 => return Err(violation),
                Err(_) => return Ok(passed),
            }
        }
    }

    /// The length of the header or frame at the front, or 0 if it is not whole.
    fn check_one(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        let header_may_come = self.phase != Phase::Amqp;
        if header_may_come && starts_like(bytes, b"AMQP") {
            return Ok(self.header(bytes));
        }
        if self.phase == Phase::Header {
            return Err(not_amqp(bytes));
        }
        self.frame(bytes)
    }

    fn header(&mut self, bytes: &[u8]) -> usize {
        let Some(header) = bytes.first_chunk::<HEADER>() else {
            return 0;
        };
        // A version that is not 1.0.0 is the engine's to refuse: it answers with the one it speaks (§2.2).
        self.phase = if header[4] == SASL_PROTOCOL {
            Phase::Sasl
        } else {
            Phase::Amqp
        };
        HEADER
    }

    fn frame(&self, bytes: &[u8]) -> Result<usize, Violation> {
        let Some(size) = bytes.first_chunk::<4>().map(|size| u32::from_be_bytes(*size)) else {
            return Ok(0);
        };
        let limit = if self.phase == Phase::Sasl {
            MIN_MAX_FRAME_SIZE
        } else {
            self.limits.max_frame
        };
        if (size as usize) < HEADER {
            return Err(Violation::ShortFrame(size));
        }
        if size > limit {
            return Err(Violation::Oversize { size, limit });
        }
        let Some(frame) = bytes.get(..size as usize) else {
            return Ok(0);
        };

        let (doff, kind) = (frame[4], frame[5]);
        let body_start = usize::from(doff) * 4;
        if body_start < HEADER || body_start > frame.len() {
            return Err(Violation::DataOffset(doff));
        }
        if kind
            != if self.phase == Phase::Sasl {
                SASL_FRAME
            } else {
                AMQP_FRAME
            }
        {
            return Err(Violation::FrameType(kind));
        }
        self.performative(frame, body_start)?;
        Ok(frame.len())
    }

    fn performative(&self, frame: &[u8], start: usize) -> Result<(), Violation> {
        let Some(&constructor) = frame.get(start) else {
            return Ok(()); // an empty frame: a heartbeat (§2.4.5)
        };
        if constructor != DESCRIBED {
            return Err(Violation::NotDescribed(constructor));
        }
        let end = check_value(frame, start)?;
        let descriptor = start + 1;
        let fields = check_value(frame, descriptor)?;
        if is_disposition(&frame[descriptor..fields]) {
            return self.disposition(&frame[fields..end]);
        }
        Ok(())
    }

    /// Refuses a disposition whose `first..=last` is too wide (§2.7.6). `list` has been walked.
    fn disposition(&self, list: &[u8]) -> Result<(), Violation> {
        let mut at = match list.first() {
            Some(0xc0) => 3,    // list8: constructor, size, count
            Some(0xd0) => 9,    // list32
            _ => return Ok(()), // list0, or no list at all: the engine refuses it
        };
        let mut fields = [None; 3];
        for field in &mut fields {
            let Some(&constructor) = list.get(at) else { break };
            *field = uint(constructor, &list[at + 1..]);
            at = check_value(list, at)?;
        }
        let [_role, Some(first), last] = fields else {
            return Ok(());
        };
        let span = u64::from(last.unwrap_or(first).wrapping_sub(first)) + 1;
        let limit = self.limits.disposition_width;
        if span > u64::from(limit) {
            return Err(Violation::WideDisposition { span, limit });
        }
        Ok(())
    }
}

fn starts_like(bytes: &[u8], word: &[u8]) -> bool {
    let seen = bytes.len().min(word.len());
    bytes[..seen] == word[..seen]
}

fn not_amqp(bytes: &[u8]) -> Violation {
    let mut first = [0; HEADER];
    let seen = bytes.len().min(HEADER);
    first[..seen].copy_from_slice(&bytes[..seen]);
    Violation::NotAmqp(first)
}

/// The descriptor of a disposition in each of its four encodings: an engine takes them all.
fn is_disposition(descriptor: &[u8]) -> bool {
    const CODE: u8 = 0x15;
    const NAME: &[u8] = b"amqp:disposition:list";
    match descriptor {
        [0x53, code] => *code == CODE,
        [0x80, high @ .., code] => *code == CODE && high.iter().all(|&byte| byte == 0),
        [0xa3, _, name @ ..] | [0xb3, _, _, _, _, name @ ..] => name == NAME,
        _ => false,
    }
}

/// A uint in any of its encodings; `None` for null and for what is no uint.
fn uint(constructor: u8, body: &[u8]) -> Option<u32> {
    match constructor {
        0x43 => Some(0),
        0x52 => body.first().map(|&byte| u32::from(byte)),
        0x70 => body.first_chunk().map(|word| u32::from_be_bytes(*word)),
        _ => None,
    }
}

/// A protocol header and a frame header are both this long, in bytes.
const HEADER: usize = 8;
const SASL_PROTOCOL: u8 = 3;
const AMQP_FRAME: u8 = 0;
const SASL_FRAME: u8 = 1;
