//! Percent escapes: one portable way to write them, and reading without allocation.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str};

/// Everything but the unreserved characters of RFC 3986 §2.3 is escaped: no parser gives these a meaning.
pub(crate) const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Room for one decoded text of at most `N` bytes.
pub(crate) struct Decoded<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Decoded<N> {
    /// Takes the escapes off once; a `%` that starts none stays. `None` if more than `N` bytes come out.
    pub(crate) fn of(text: &str) -> Option<Self> {
        Self::of_legal(text, |_| true)
    }

    /// The same, and `None` at the first byte that comes out and is not legal.
    pub(crate) fn of_legal(text: &str, legal: impl Fn(u8) -> bool) -> Option<Self> {
        let mut decoded = Self {
            bytes: [0; N],
            length: 0,
        };
        for byte in percent_decode_str(text) {
            if !legal(byte) {
                return None;
            }
            *decoded.bytes.get_mut(decoded.length)? = byte;
            decoded.length += 1;
        }
        Some(decoded)
    }

    /// Takes nothing off. `None` if there are more than `N` bytes.
    pub(crate) fn verbatim(text: &str) -> Option<Self> {
        let mut decoded = Self {
            bytes: [0; N],
            length: text.len(),
        };
        decoded
            .bytes
            .get_mut(..text.len())?
            .copy_from_slice(text.as_bytes());
        Some(decoded)
    }

    /// The decoded text, if it is UTF-8.
    pub(crate) fn as_str(&self) -> Option<&str> {
        core::str::from_utf8(self.bytes.get(..self.length)?).ok()
    }
}

/// Whether the text holds at least one escape: `%` and two hexadecimal digits.
pub(crate) fn has_escape(text: &str) -> bool {
    text.contains('%') && escapes(text).any(|whole| whole)
}

/// Whether the text holds a `%` that starts no escape.
pub(crate) fn has_stray_percent(text: &str) -> bool {
    escapes(text).any(|whole| !whole)
}

/// For each `%`, whether two hexadecimal digits are behind it.
fn escapes(text: &str) -> impl Iterator<Item = bool> + '_ {
    let bytes = text.as_bytes();
    let digit = move |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    bytes
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'%')
        .map(move |(at, _)| digit(at + 1) && digit(at + 2))
}

impl<const N: usize> PartialEq for Decoded<N> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes.get(..self.length) == other.bytes.get(..other.length)
    }
}

impl<const N: usize> Eq for Decoded<N> {}

/// Where in an escaped text its decoded byte `index` starts.
pub(crate) fn raw_offset(text: &str, index: usize) -> usize {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    let mut at = 0;
    for _ in 0..index {
        at += if bytes.get(at) == Some(&b'%') && digit(at + 1) && digit(at + 2) {
            3
        } else {
            1
        };
    }
    at
}

/// The characters that [`ESCAPED`] leaves as they are.
pub(crate) const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}
