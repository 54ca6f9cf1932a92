//! Numbers that no two things of a hub share: lock tokens, correlation ids.

use std::fmt::Write as _;

/// Makes 16 bytes that are different each time, and different from another hub's, and a uuid of version 4 (RFC 9562,
/// section 5.4): the Node SDK sends an id back as a uuid only if it is one of the classic versions.
#[derive(Debug)]
pub(crate) struct Unique {
    seed: u64,
    count: u64,
}

impl Unique {
    /// `seed` is random.
    pub(crate) const fn new(seed: u64) -> Self {
        Self { seed, count: 0 }
    }

    pub(crate) fn next(&mut self) -> [u8; 16] {
        self.count += 1;
        let mut bytes = [0; 16];
        // One half is as unlike as numbers in a row can be made, the other is unique by itself.
        bytes[..8].copy_from_slice(&mixed(self.seed ^ mixed(self.count)).to_be_bytes());
        bytes[8..].copy_from_slice(&(mixed(self.seed) ^ self.count).to_be_bytes());
        // The version is in either of two places: in the order of the text, and in that of a .NET `Guid` in memory.
        bytes[6] = 0x40 | bytes[6] & 0x0f;
        bytes[7] = 0x40 | bytes[7] & 0x0f;
        bytes[8] = 0x80 | bytes[8] & 0x3f;
        bytes
    }
}

/// The last step of SplitMix64, a bijection.
const fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// The text of a uuid whose bytes are in the order of the text.
pub(crate) fn uuid_text(bytes: &[u8; 16]) -> String {
    let mut text = String::with_capacity(36);
    for (place, byte) in bytes.iter().enumerate() {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The text of a .NET `Guid` with these bytes in memory: its first three groups are numbers, lowest byte first.
pub(crate) fn guid_text(bytes: &[u8; 16]) -> String {
    let mut ordered = *bytes;
    ordered[..4].reverse();
    ordered[4..6].reverse();
    ordered[6..8].reverse();
    uuid_text(&ordered)
}

/// The bytes of a text that [`guid_text`] has written.
pub(crate) fn guid_bytes(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.split('-').collect();
    if digits.len() != 32 || !digits.is_ascii() {
        return None;
    }
    let mut bytes = [0; 16];
    for (byte, at) in bytes.iter_mut().zip((0..32).step_by(2)) {
        *byte = u8::from_str_radix(&digits[at..at + 2], 16).ok()?;
    }
    bytes[..4].reverse();
    bytes[4..6].reverse();
    bytes[6..8].reverse();
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_all_different() {
        let (mut one, mut other) = (Unique::new(1), Unique::new(2));
        let mut seen: Vec<_> = (0..1000).flat_map(|_| [one.next(), other.next()]).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 2000);
    }

    /// RFC 9562, sections 4.1 and 4.2: in the text the version begins the third group, and the variant the fourth.
    #[test]
    fn they_are_uuids_of_version_4_in_either_order() {
        let mut unique = Unique::new(7);
        for bytes in (0..1000).map(|_| unique.next()) {
            for text in [uuid_text(&bytes), guid_text(&bytes)] {
                assert_eq!(&text[14..15], "4", "{text}");
                assert!("89ab".contains(&text[19..20]), "{text}");
            }
        }
    }

    /// From the .NET documentation of `Guid.ToByteArray`: 35918bc9-196d-40ea-9779-889d79b753f0 is the array
    /// C9 8B 91 35 6D 19 EA 40 97 79 88 9D 79 B7 53 F0.
    #[test]
    fn a_guid_is_written_as_dot_net_does() {
        let bytes = [
            0xc9, 0x8b, 0x91, 0x35, 0x6d, 0x19, 0xea, 0x40, 0x97, 0x79, 0x88, 0x9d, 0x79, 0xb7, 0x53, 0xf0,
        ];
        assert_eq!(guid_text(&bytes), "35918bc9-196d-40ea-9779-889d79b753f0");
        assert_eq!(uuid_text(&bytes), "c98b9135-6d19-ea40-9779-889d79b753f0");
        assert_eq!(guid_bytes("35918bc9-196d-40ea-9779-889d79b753f0"), Some(bytes));
        for none in [
            "",
            "35918bc9-196d-40ea-9779-889d79b753f",
            "35918bc9-196d-40ea-9779-889d79b753é",
            "zz918bc9-196d-40ea-9779-889d79b753f0",
        ] {
            assert_eq!(guid_bytes(none), None, "{none}");
        }
    }
}
