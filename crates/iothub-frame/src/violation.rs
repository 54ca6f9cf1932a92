//! What a peer can do wrong, as a closed list.

use core::fmt;

/// A breach of AMQP 1.0's framing or of this crate's bounds, found before anything was decoded.
///
/// The connection cannot go on after one: the next frame's beginning may already be lost.
///
/// # Delivery
/// Nothing of what breaks the rules was passed on, nor anything behind it; sound frames before it were.
///
/// # Cancel safety
/// A breach that was found stays found: dropping the read that met it does not open the stream again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Violation {
    /// The stream does not begin with an AMQP protocol header (§2.2). Usually another protocol on that port; the
    /// eight bytes tell which.
    NotAmqp([u8; 8]),
    /// A frame whose size field is below the eight bytes of a frame header (§2.3.1).
    ShortFrame(u32),
    /// A frame larger than the maximum that this side advertised, or than 512 bytes during SASL (§2.3.1, §5.3.1).
    Oversize {
        /// What the size field says, in bytes.
        size: u32,
        /// The largest size that may pass, in bytes.
        limit: u32,
    },
    /// A data offset below 2, or past the frame's end (§2.3.1).
    DataOffset(u8),
    /// A frame type that does not belong in this phase: 0 is AMQP, 1 is SASL.
    FrameType(u8),
    /// A frame body or message section that is not a described value.
    NotDescribed(u8),
    /// A constructor that no encoding category of §1.2 covers.
    Constructor(u8),
    /// A value that runs past the end of what holds it, or a compound that its items do not fill.
    Length,
    /// A count of more items than the bytes of the compound can hold.
    Count(u32),
    /// Values nested deeper than the bound.
    Depth,
    /// A disposition over more deliveries than may be unsettled.
    WideDisposition {
        /// How many delivery-ids it spans.
        span: u64,
        /// The widest that may pass.
        limit: u32,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAmqp(bytes) => {
                write!(
                    f,
                    "the peer does not speak AMQP 1.0: it began with \"{}\"",
                    bytes.escape_ascii()
                )
            }
            Self::ShortFrame(size) => write!(f, "frame of {size} bytes, shorter than a frame header"),
            Self::Oversize { size, limit } => write!(f, "frame of {size} bytes, over the limit of {limit}"),
            Self::DataOffset(doff) => write!(f, "data offset {doff} is not inside its frame"),
            Self::FrameType(kind) => write!(f, "frame type {kind} in the wrong phase"),
            Self::NotDescribed(code) => write!(f, "constructor 0x{code:02x} where a described value belongs"),
            Self::Constructor(code) => write!(f, "unknown constructor 0x{code:02x}"),
            Self::Length => f.write_str("a value's length does not fit what holds it"),
            Self::Count(count) => write!(f, "a count of {count} items in fewer bytes"),
            Self::Depth => f.write_str("values nested too deeply"),
            Self::WideDisposition { span, limit } => {
                write!(
                    f,
                    "a disposition over {span} deliveries, over the limit of {limit}"
                )
            }
        }
    }
}

impl core::error::Error for Violation {}
