//! What a line of the service's form of export makes of the registry and the twins (Azure docs, "Import and export IoT
//! Hub device identities in bulk").

use std::sync::Arc;

use iothub_address::Identity;
use serde_json::{Map, Value};

use super::Hub;
use super::record::Part;
use super::registry::{Authentication, Details, RegistryError, Status};
use super::twin::{Twin, TwinError, Which, difference};
use crate::clock::Timestamp;

/// One line, taken apart. What it does not hold is `None`.
#[derive(Debug)]
pub(crate) struct Import {
    pub(crate) identity: Identity,
    pub(crate) mode: ImportMode,
    pub(crate) etag: Option<Arc<str>>,
    pub(crate) status: Status,
    pub(crate) details: Details,
    pub(crate) twin_etag: Option<String>,
    pub(crate) tags: Option<Map<String, Value>>,
    pub(crate) desired: Option<SectionGiven>,
    pub(crate) reported: Option<SectionGiven>,
}

/// Desired or reported properties as a line has them.
#[derive(Debug, Default)]
pub(crate) struct SectionGiven {
    pub(crate) values: Map<String, Value>,
    pub(crate) metadata: Option<Map<String, Value>>,
    pub(crate) version: Option<u64>,
}

/// What is to be done with a line, by the service's own words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum ImportMode {
    #[default]
    CreateOrUpdate,
    Create,
    Update,
    UpdateIfMatchETag,
    CreateOrUpdateIfMatchETag,
    Delete,
    DeleteIfMatchETag,
    UpdateTwin,
    UpdateTwinIfMatchETag,
}

impl ImportMode {
    /// Each with its word.
    pub(crate) const ALL: [(Self, &'static str); 9] = [
        (Self::Create, "create"),
        (Self::Update, "update"),
        (Self::CreateOrUpdate, "createOrUpdate"),
        (Self::UpdateIfMatchETag, "updateIfMatchETag"),
        (Self::CreateOrUpdateIfMatchETag, "createOrUpdateIfMatchETag"),
        (Self::Delete, "delete"),
        (Self::DeleteIfMatchETag, "deleteIfMatchETag"),
        (Self::UpdateTwin, "updateTwin"),
        (Self::UpdateTwinIfMatchETag, "updateTwinIfMatchETag"),
    ];

    const fn looks_at_etag(self) -> bool {
        matches!(
            self,
            Self::UpdateIfMatchETag
                | Self::CreateOrUpdateIfMatchETag
                | Self::DeleteIfMatchETag
                | Self::UpdateTwinIfMatchETag
        )
    }
}

/// Why the hub would not take a line.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum ImportError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Of the field that is named.
    #[error("{1}")]
    Twin(&'static str, TwinError),
    /// The hub's is another, or the line has none.
    #[error("the hub has {0}")]
    Etag(Arc<str>),
    /// The hub's is another, or the line has none.
    #[error("the hub has {0}")]
    TwinEtag(String),
}

impl Hub {
    /// Does what a line says. `authentication` is what the identity has after it.
    pub(crate) fn import(
        &mut self,
        import: Import,
        authentication: Authentication,
        now: Timestamp,
    ) -> Result<(), ImportError> {
        use ImportMode as Mode;
        let identity = import.identity.clone();
        let there = self.registry.get(&identity).cloned();
        let (mode, not_found) = (import.mode, RegistryError::NotFound(identity.clone()));
        match (&there, mode) {
            (Some(_), Mode::Create) => return Err(RegistryError::Exists(identity).into()),
            (None, Mode::Create | Mode::CreateOrUpdate | Mode::CreateOrUpdateIfMatchETag) => {}
            (None, _) => return Err(not_found.into()),
            _ => {}
        }
        if let Some(there) = &there
            && mode.looks_at_etag()
            && mode != Mode::UpdateTwinIfMatchETag
            && import.etag.as_ref() != Some(&there.etag)
        {
            return Err(ImportError::Etag(Arc::clone(&there.etag)));
        }
        match mode {
            Mode::Delete | Mode::DeleteIfMatchETag => return Ok(self.remove(&identity, now)?),
            Mode::UpdateTwin | Mode::UpdateTwinIfMatchETag => {}
            _ => {
                let is_new = there.is_none();
                let mut entry = there.unwrap_or_else(|| self.registry.entry(authentication.clone()));
                entry.authentication = authentication;
                entry.set_status(import.status, now);
                entry.details = import.details.clone();
                // A match is one with what was there.
                entry.etag = match (&import.etag, mode.looks_at_etag() && !is_new) {
                    (Some(given), false) => Arc::clone(given),
                    _ => self.registry.etag(),
                };
                if is_new {
                    self.registry.insert(&identity, entry)?;
                } else {
                    self.registry.replace(&identity, entry)?;
                    self.send_disabled_away(now);
                }
                self.changes.touch(|| Part::Identity(identity.clone()));
                self.twin_is_stale(&identity);
            }
        }
        self.import_twin(import, now)
    }

    fn import_twin(&mut self, import: Import, now: Timestamp) -> Result<(), ImportError> {
        let identity = import.identity;
        let mut twin = self.twins.get(&identity).cloned().unwrap_or_else(Twin::new);
        if import.mode.looks_at_etag()
            && let Some(given) = &import.twin_etag
            && *given != twin.etag()
        {
            return Err(ImportError::TwinEtag(twin.etag()));
        }
        let before = twin.clone();
        if let Some(tags) = import.tags {
            twin.set_tags(tags)
                .map_err(|error| ImportError::Twin("tags", error))?;
        }
        let sections = [
            (Which::Desired, "properties.desired", import.desired),
            (Which::Reported, "properties.reported", import.reported),
        ];
        for (which, field, given) in sections {
            if let Some(given) = given {
                twin.set_section(which, given, now)
                    .map_err(|error| ImportError::Twin(field, error))?;
            }
        }
        let etag = import.twin_etag.as_deref().and_then(Twin::etag_number);
        match etag {
            Some(given) if !import.mode.looks_at_etag() => twin.etag = given,
            _ if twin != before => twin.etag += 1,
            _ => {}
        }
        if twin != before {
            let changes = twin.desired.version.saturating_add(twin.reported.version);
            twin.version = changes.saturating_sub(1).max(before.version + 1);
            self.put_twin(&identity, twin.clone());
            if twin.desired != before.desired {
                let patch = difference(before.desired(), twin.desired());
                self.tell_desired(&identity, patch, twin.desired_version(), now);
            }
        }
        Ok(())
    }
}
