//! All identities and twins of a hub, as text.

use std::fmt::{self, Write as _};
use std::path::Path;

use serde_json::Value;
use zeroize::Zeroizing;

use crate::hub::{ExportKeys, Registry, export};
use crate::store::{self, StateError};

/// All identities and twins of a hub in the service's own form of export: a JSON object a line, devices before their
/// modules (Azure docs, "Import and export IoT Hub device identities in bulk").
///
/// It holds keys, unless they were [left out](ExportKeys::Excluded).
pub struct Export(Zeroizing<String>);

impl Export {
    pub(crate) fn of(lines: &[Value]) -> Self {
        let mut text = Zeroizing::new(String::new());
        for line in lines {
            // A text takes all that is written to it.
            let _ = writeln!(text, "{line}");
        }
        Self(text)
    }

    /// What is in a state directory that no hub uses. It waits for the disk.
    ///
    /// # Errors
    /// [`StateError`]: [`InUse`](StateError::InUse) while a hub runs on it, which [`Emulator::export`] asks.
    ///
    /// [`Emulator::export`]: crate::Emulator::export
    pub fn of_state_dir(directory: impl AsRef<Path>, keys: ExportKeys) -> Result<Self, StateError> {
        let kept = store::read_kept(directory.as_ref())?;
        let mut registry = Registry::default();
        for (identity, entry) in kept.identities {
            registry.restore(identity, entry);
        }
        let twins = kept.twins.into_iter().collect();
        Ok(Self::of(&export(&registry, &twins, keys)))
    }

    /// The lines, each with its end.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Export")
            .field("lines", &self.0.lines().count())
            .finish_non_exhaustive()
    }
}
