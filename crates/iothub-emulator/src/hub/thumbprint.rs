//! Thumbprints of certificates: how the registry knows a certificate that no authority stands behind.

use std::fmt;
use std::str::FromStr;

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The thumbprint of a certificate: the hash of its DER form, by SHA-1 (40 hexadecimal digits) or SHA-256 (64).
///
/// It is read in either case, also with the colons that OpenSSL puts between the bytes or the spaces of Windows'
/// certificate viewer, and written in capitals without, as the portal does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Thumbprint(Hash);

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Hash {
    Sha1([u8; 20]),
    Sha256([u8; 32]),
}

/// The text is no thumbprint: not 40 or 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a thumbprint is 40 hexadecimal digits (SHA-1) or 64 (SHA-256), and this is not")]
#[non_exhaustive]
pub struct NoThumbprint;

impl Thumbprint {
    /// The SHA-1 thumbprint of a certificate in DER.
    pub fn sha1(certificate: &[u8]) -> Self {
        Self(Hash::Sha1(Sha1::digest(certificate).into()))
    }

    /// The SHA-256 thumbprint of a certificate in DER.
    pub fn sha256(certificate: &[u8]) -> Self {
        Self(Hash::Sha256(Sha256::digest(certificate).into()))
    }

    /// Reads hexadecimal digits.
    ///
    /// # Errors
    /// [`NoThumbprint`] if there are not 40 or 64 of them, or is anything else but colons and spaces.
    pub fn parse(text: &str) -> Result<Self, NoThumbprint> {
        let digits = text
            .bytes()
            .filter(|byte| !matches!(byte, b':' | b' '))
            .map(|byte| {
                let digit = char::from(byte).to_digit(16).ok_or(NoThumbprint)?;
                u8::try_from(digit).map_err(|_| NoThumbprint)
            })
            // One more than the longest has is enough to see that there are too many.
            .take(65)
            .collect::<Result<Vec<u8>, NoThumbprint>>()?;
        let bytes: Vec<u8> = digits
            .chunks(2)
            .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
            .collect();
        match digits.len() {
            40 => bytes.try_into().map(Hash::Sha1).map_err(|_| NoThumbprint),
            64 => bytes.try_into().map(Hash::Sha256).map_err(|_| NoThumbprint),
            _ => Err(NoThumbprint),
        }
        .map(Self)
    }
}

impl FromStr for Thumbprint {
    type Err = NoThumbprint;

    fn from_str(text: &str) -> Result<Self, NoThumbprint> {
        Self::parse(text)
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes: &[u8] = match &self.0 {
            Hash::Sha1(bytes) => bytes,
            Hash::Sha256(bytes) => bytes,
        };
        bytes.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Thumbprint({self})")
    }
}

/// The thumbprints of an identity's certificates. Either is good; two let an owner change one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thumbprints {
    primary: Thumbprint,
    secondary: Option<Thumbprint>,
}

impl Thumbprints {
    /// A primary and perhaps a secondary one.
    pub fn new(primary: Thumbprint, secondary: impl Into<Option<Thumbprint>>) -> Self {
        Self {
            primary,
            secondary: secondary.into(),
        }
    }

    /// The primary one.
    pub const fn primary(&self) -> &Thumbprint {
        &self.primary
    }

    /// The secondary one.
    pub const fn secondary(&self) -> Option<&Thumbprint> {
        self.secondary.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the three bytes `abc`: FIPS 180-4's own examples.
    const SHA1: &str = "A9993E364706816ABA3E25717850C26C9CD0D89D";
    const SHA256: &str = "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD";

    #[test]
    fn a_thumbprint_is_the_hash_of_the_whole_certificate() {
        assert_eq!(Thumbprint::sha1(b"abc").to_string(), SHA1);
        assert_eq!(Thumbprint::sha256(b"abc").to_string(), SHA256);
    }

    #[test]
    fn it_is_read_as_openssl_and_windows_write_it() {
        let of_openssl = "a9:99:3e:36:47:06:81:6a:ba:3e:25:71:78:50:c2:6c:9c:d0:d8:9d";
        let of_windows = "a9 99 3e 36 47 06 81 6a ba 3e 25 71 78 50 c2 6c 9c d0 d8 9d";
        for text in [SHA1, &SHA1.to_lowercase(), of_openssl, of_windows] {
            assert_eq!(Thumbprint::parse(text), Ok(Thumbprint::sha1(b"abc")), "{text}");
        }
        assert_eq!(SHA256.parse(), Ok(Thumbprint::sha256(b"abc")));
    }

    #[test]
    fn what_is_no_thumbprint_is_refused() {
        let long = "A".repeat(1_000_000);
        for text in [
            "",
            "A9",
            &SHA1[1..],
            &SHA256[1..],
            &format!("{SHA256}0"),
            &format!("{}g", &SHA1[1..]),
            &long,
        ] {
            assert_eq!(
                Thumbprint::parse(text),
                Err(NoThumbprint),
                "{} characters",
                text.len()
            );
        }
    }
}
