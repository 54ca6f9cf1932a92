//! What is wrong with a connection for as long as a fault lasts.

use crate::fault::FaultKind;

/// What is wrong with a connection's stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Impairments(u8);

impl Impairments {
    /// Nothing that the client sends is read.
    pub(crate) const UNREAD: Self = Self(1);
    /// Nothing is sent.
    pub(crate) const SILENT: Self = Self(1 << 1);
    /// No link gets credit.
    pub(crate) const NO_CREDIT: Self = Self(1 << 2);
    /// No session gets a window.
    pub(crate) const NO_WINDOW: Self = Self(1 << 3);

    /// What a fault of this kind impairs.
    pub(super) const fn of(kind: FaultKind) -> Self {
        match kind {
            FaultKind::StopReading => Self::UNREAD,
            FaultKind::StopWriting => Self::SILENT,
            FaultKind::WithholdCredit => Self::NO_CREDIT,
            FaultKind::CloseWindow => Self::NO_WINDOW,
            _ => Self(0),
        }
    }

    pub(crate) const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    pub(crate) const fn bits(self) -> u8 {
        self.0
    }

    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
