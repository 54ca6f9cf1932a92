//! Files of identities and twins that a hub begins with.

use std::path::{Path, PathBuf};
use std::{fs, io};

use zeroize::Zeroizing;

use crate::clock::Timestamp;
use crate::hub::{Hub, ImportError, RegistryError};
use crate::identity_form::{self, Bad};
use crate::random::NoRandomness;

/// Why a file of identities can't be used. Nothing of it is taken then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SeedError {
    /// The system would not read it.
    #[error("cannot read {}", .file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A line of it is not what a hub exports, or does not fit the hub that is there.
    #[error("{}, line {line}: {}{what}", .file.display(), prefix(.field))]
    Line {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The field, such as `authentication.symmetricKey.primaryKey`; empty for the line as a whole.
        field: String,
        /// What is wrong with it.
        what: String,
    },
    /// There is no randomness to make keys of.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

fn prefix(field: &str) -> String {
    match field {
        "" => String::new(),
        field => format!("{field}: "),
    }
}

/// Does with the hub what each line of the file says.
pub(crate) fn sow(hub: &mut Hub, file: &Path, now: Timestamp) -> Result<(), SeedError> {
    let text = fs::read_to_string(file).map_err(|source| SeedError::Io {
        file: file.to_owned(),
        source,
    })?;
    let text = Zeroizing::new(text);
    let lines = text.strip_prefix('\u{feff}').unwrap_or(&text).lines();
    for (number, line) in (1..).zip(lines) {
        if line.trim().is_empty() {
            continue;
        }
        let at = |bad: Bad| SeedError::Line {
            file: file.to_owned(),
            line: number,
            field: bad.field,
            what: bad.what,
        };
        let (import, shown) = identity_form::read_line(line).map_err(at)?;
        let there = hub.authentication(&import.identity);
        let authentication = shown.over(there)?;
        hub.import(import, authentication, now)
            .map_err(|error| at(Bad::from(error)))?;
    }
    Ok(())
}

impl From<ImportError> for Bad {
    fn from(error: ImportError) -> Self {
        let field = match &error {
            ImportError::Registry(RegistryError::TooManyModules(_)) => "moduleId",
            ImportError::Registry(_) => "id",
            ImportError::Twin(field, _) => field,
            ImportError::Etag(_) => "eTag",
            ImportError::TwinEtag(_) => "twinETag",
        };
        Self {
            field: field.to_owned(),
            what: error.to_string(),
        }
    }
}
