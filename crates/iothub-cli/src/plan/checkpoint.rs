//! The file that keeps how far events were read.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

/// The last event of each partition that was shown or passed over, for one event hub and consumer group.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Checkpoint {
    host: String,
    event_hub: String,
    consumer_group: String,
    partitions: BTreeMap<u32, i64>,
    #[serde(skip)]
    path: PathBuf,
    #[serde(skip)]
    is_new: bool,
}

impl Checkpoint {
    /// What the file holds, or that it begins.
    pub(crate) fn read(path: &Path, host: &str, event_hub: &str, group: &str) -> Result<Self, Failure> {
        let begun = Self {
            host: host.to_owned(),
            event_hub: event_hub.to_owned(),
            consumer_group: group.to_owned(),
            partitions: BTreeMap::new(),
            path: path.to_owned(),
            is_new: false,
        };
        let at = path.display();
        let text = match fs::read(path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(begun),
            Err(error) => {
                return Err(Failure::usage(format!("can't read the checkpoint {at}")).because(&error));
            }
        };
        let kept: Self = serde_json::from_slice(&text)
            .map_err(|error| Failure::usage(format!("{at} is no checkpoint")).because(&error))?;
        let same = (&kept.host, &kept.event_hub, &kept.consumer_group)
            == (&begun.host, &begun.event_hub, &begun.consumer_group);
        if !same {
            let what = format!(
                "the checkpoint {at} is of {} in {} on {}",
                kept.consumer_group, kept.event_hub, kept.host
            );
            return Err(Failure::usage(what).hint("give each hub and consumer group a file of its own"));
        }
        Ok(Self {
            partitions: kept.partitions,
            ..begun
        })
    }

    /// The last event that was seen there.
    pub(crate) fn last(&self, partition: u32) -> Option<i64> {
        self.partitions.get(&partition).copied()
    }

    pub(crate) fn saw(&mut self, partition: u32, sequence_number: i64) {
        self.partitions.insert(partition, sequence_number);
        self.is_new = true;
    }

    /// Keeps it, whole or as it was before. What was seen must be where it goes by now.
    pub(crate) fn keep(&mut self) -> Result<(), Failure> {
        if !std::mem::take(&mut self.is_new) {
            return Ok(());
        }
        self.replace().map_err(|error| {
            Failure::unexpected(format!("can't write the checkpoint {}", self.path.display())).because(&error)
        })
    }

    fn replace(&self) -> std::io::Result<()> {
        let folder = match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let mut draft = tempfile::NamedTempFile::new_in(folder)?;
        serde_json::to_writer(&mut draft, self)?;
        draft.write_all(b"\n")?;
        draft.as_file().sync_data()?;
        draft.persist(&self.path)?;
        Ok(())
    }
}
