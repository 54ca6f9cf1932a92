//! The twin of a device or module: a JSON document of tags, desired and reported properties, and how it is changed.
//!
//! A change is a JSON merge patch (RFC 7396) within the hub's limits (Azure docs, "Understand and use device twins in
//! IoT Hub"), taken whole or not at all.

use base64::Engine as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::import::SectionGiven;
use crate::clock::Timestamp;

/// A twin.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Twin {
    pub(crate) tags: Map<String, Value>,
    pub(crate) desired: Section,
    pub(crate) reported: Section,
    pub(crate) version: u64,
    pub(crate) etag: u64,
}

/// The desired or the reported properties.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Section {
    pub(crate) values: Map<String, Value>,
    /// For the section and each key in it: when it was changed last, and in which version.
    pub(crate) metadata: Map<String, Value>,
    pub(crate) version: u64,
}

/// One of the two kinds of properties.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Which {
    Desired,
    Reported,
}

/// Why a twin was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TwinError {
    /// It is no JSON object, or one that no twin can hold; the text says what and where.
    #[error("{0}")]
    Invalid(String),
    /// The section would be larger than it may be, counted as the hub does.
    #[error("the {section} would have {size} bytes; {most} are allowed")]
    TooLarge {
        /// `tags`, `desired properties` or `reported properties`.
        section: &'static str,
        /// How large it would be, in bytes.
        size: usize,
        /// How large it may be, in bytes.
        most: usize,
    },
    /// It has another version or ETag by now than the one that the change was meant for.
    #[error("the twin has been changed by another")]
    Precondition,
}

impl Twin {
    pub(crate) fn new() -> Self {
        Self {
            tags: Map::new(),
            desired: Section {
                version: 1,
                ..Section::default()
            },
            reported: Section {
                version: 1,
                ..Section::default()
            },
            version: 1,
            etag: 1,
        }
    }

    /// Merges `patch` into the reported properties; gives their new version. `expected` is the version that they
    /// must have before.
    pub(crate) fn report(
        &mut self,
        patch: &Value,
        expected: Option<u64>,
        now: Timestamp,
    ) -> Result<u64, TwinError> {
        if expected.is_some_and(|expected| expected != self.reported.version) {
            return Err(TwinError::Precondition);
        }
        self.reported = self.reported.patched(patch, REPORTED, Stamp::Time(now))?;
        self.version += 1;
        Ok(self.reported.version)
    }

    /// Merges into the tags and the desired properties what is given; `expected` is the ETag that the twin must have
    /// before.
    pub(crate) fn patch(
        &mut self,
        tags: Option<&Value>,
        desired: Option<&Value>,
        expected: Option<&str>,
        now: Timestamp,
    ) -> Result<(), TwinError> {
        if expected.is_some_and(|expected| expected != "*" && expected != self.etag()) {
            return Err(TwinError::Precondition);
        }
        let mut changed = self.clone();
        if let Some(patch) = tags {
            let patch = checked(patch, TAGS)?;
            merge(&mut changed.tags, &mut Map::new(), patch, &Stamp::Time(now));
            check_size(&changed.tags, TAGS)?;
        }
        if let Some(patch) = desired {
            let stamp = Stamp::Version(now, self.desired.version + 1);
            changed.desired = self.desired.patched(patch, DESIRED, stamp)?;
        }
        changed.version += 1;
        changed.etag += 1;
        *self = changed;
        Ok(())
    }

    /// Puts other tags and desired properties in the place of those that are there, where they are given; `expected` as
    /// with [`patch`](Self::patch). Gives the merge patch that makes the new desired properties of the old ones.
    pub(crate) fn replace(
        &mut self,
        tags: Option<Map<String, Value>>,
        desired: Option<Map<String, Value>>,
        expected: Option<&str>,
        now: Timestamp,
    ) -> Result<Option<Map<String, Value>>, TwinError> {
        if expected.is_some_and(|expected| expected != "*" && expected != self.etag()) {
            return Err(TwinError::Precondition);
        }
        let mut changed = self.clone();
        if let Some(tags) = tags {
            changed.set_tags(tags)?;
        }
        let replaces = desired.is_some();
        if let Some(values) = desired {
            let given = SectionGiven {
                values,
                version: Some(self.desired.version + 1),
                metadata: None,
            };
            changed.set_section(Which::Desired, given, now)?;
        }
        changed.version += 1;
        changed.etag += 1;
        let patch = replaces.then(|| difference(&self.desired.values, &changed.desired.values));
        *self = changed;
        Ok(patch)
    }

    /// Puts other tags in the place of those that are there.
    pub(crate) fn set_tags(&mut self, tags: Map<String, Value>) -> Result<(), TwinError> {
        let tags = Value::Object(tags);
        let mut values = Map::new();
        // It says nothing of when.
        let stamp = Stamp::Time(Timestamp::default());
        merge(&mut values, &mut Map::new(), checked(&tags, TAGS)?, &stamp);
        check_size(&values, TAGS)?;
        self.tags = values;
        Ok(())
    }

    /// Puts other properties in the place of those that are there. Without metadata they get new ones, unless they are
    /// the same.
    pub(crate) fn set_section(
        &mut self,
        which: Which,
        given: SectionGiven,
        now: Timestamp,
    ) -> Result<(), TwinError> {
        let (section, limits) = match which {
            Which::Desired => (&mut self.desired, DESIRED),
            Which::Reported => (&mut self.reported, REPORTED),
        };
        let all = Value::Object(given.values);
        let all = checked(&all, limits)?;
        let differs = *all != section.values;
        let version = given
            .version
            .unwrap_or_else(|| section.version + u64::from(differs));
        let stamp = match which {
            Which::Desired => Stamp::Version(now, version),
            Which::Reported => Stamp::Time(now),
        };
        let (mut values, mut metadata) = (Map::new(), Map::new());
        merge(&mut values, &mut metadata, all, &stamp);
        check_size(&values, limits)?;
        let metadata = match given.metadata {
            Some(given) => given,
            None if differs => metadata,
            None => std::mem::take(&mut section.metadata),
        };
        *section = Section {
            values,
            metadata,
            version,
        };
        Ok(())
    }

    /// The number in the text of an ETag, if it is one of a twin.
    pub(crate) fn etag_number(text: &str) -> Option<u64> {
        let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
        bytes.try_into().ok().map(u64::from_be_bytes)
    }

    /// The tags.
    pub const fn tags(&self) -> &Map<String, Value> {
        &self.tags
    }

    /// The desired properties, which a service sets.
    pub const fn desired(&self) -> &Map<String, Value> {
        &self.desired.values
    }

    /// The version of the desired properties, `$version`.
    pub const fn desired_version(&self) -> u64 {
        self.desired.version
    }

    /// The reported properties, which the device sets.
    pub const fn reported(&self) -> &Map<String, Value> {
        &self.reported.values
    }

    /// The version of the reported properties, `$version`.
    pub const fn reported_version(&self) -> u64 {
        self.reported.version
    }

    /// The version of the twin: any change raises it.
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// The ETag: a change of tags or desired properties makes another.
    pub fn etag(&self) -> String {
        etag_text(self.etag)
    }

    /// As a service sees it: `tags`, `properties` with `$metadata` and `$version`, `version`, `etag`.
    pub fn to_json(&self) -> Value {
        json!({
            "etag": self.etag(),
            "version": self.version,
            "tags": self.tags,
            "properties": {
                "desired": self.desired.with_metadata(),
                "reported": self.reported.with_metadata(),
            },
        })
    }

    /// About how much memory it takes, in bytes.
    pub(crate) fn weight(&self) -> usize {
        let sections = [&self.tags, &self.desired.values, &self.reported.values];
        // The metadata take more than the values: some 60 bytes a key.
        sections.map(object_size).iter().sum::<usize>() * 4
    }

    /// As the device sees it: no tags, no metadata.
    pub(crate) fn to_device_json(&self) -> Value {
        json!({
            "desired": self.desired.with_version(),
            "reported": self.reported.with_version(),
        })
    }
}

impl Section {
    fn patched(&self, patch: &Value, limits: Limits, stamp: Stamp) -> Result<Self, TwinError> {
        let patch = checked(patch, limits)?;
        let mut changed = self.clone();
        merge(&mut changed.values, &mut changed.metadata, patch, &stamp);
        check_size(&changed.values, limits)?;
        changed.version += 1;
        Ok(changed)
    }

    fn with_version(&self) -> Value {
        let mut all = self.values.clone();
        all.insert("$version".to_owned(), self.version.into());
        Value::Object(all)
    }

    pub(super) fn with_metadata(&self) -> Value {
        let mut all = self.values.clone();
        all.insert("$metadata".to_owned(), Value::Object(self.metadata.clone()));
        all.insert("$version".to_owned(), self.version.into());
        Value::Object(all)
    }
}

/// A number as an ETag.
pub(super) fn etag_text(number: u64) -> String {
    base64::engine::general_purpose::STANDARD.encode(number.to_be_bytes())
}

/// What the metadata say of a change.
enum Stamp {
    Time(Timestamp),
    Version(Timestamp, u64),
}

impl Stamp {
    fn put(&self, metadata: &mut Map<String, Value>) {
        let (Self::Time(time) | Self::Version(time, _)) = self;
        metadata.insert("$lastUpdated".to_owned(), time.as_service_time().into());
        if let Self::Version(_, version) = self {
            metadata.insert("$lastUpdatedVersion".to_owned(), (*version).into());
        }
    }
}

/// RFC 7396, with the metadata alongside.
fn merge(
    values: &mut Map<String, Value>,
    metadata: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    stamp: &Stamp,
) {
    stamp.put(metadata);
    for (key, change) in patch {
        if change.is_null() {
            values.shift_remove(key);
            metadata.shift_remove(key);
            continue;
        }
        let known = metadata.entry(key.as_str()).or_insert_with(|| json!({}));
        if !known.is_object() {
            *known = json!({});
        }
        let Value::Object(known) = known else { continue };
        let Value::Object(inner) = change else {
            known.clear();
            stamp.put(known);
            values.insert(key.clone(), change.clone());
            continue;
        };
        let value = values.entry(key.as_str()).or_insert_with(|| json!({}));
        if !value.is_object() {
            known.clear();
            *value = json!({});
        }
        if let Value::Object(value) = value {
            merge(value, known, inner, stamp);
        }
    }
}

/// The merge patch that makes `after` of `before`.
pub(crate) fn difference(before: &Map<String, Value>, after: &Map<String, Value>) -> Map<String, Value> {
    let mut patch = Map::new();
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        patch.insert(key.clone(), Value::Null);
    }
    for (key, value) in after {
        match (before.get(key), value) {
            (Some(old), new) if old == new => {}
            (Some(Value::Object(old)), Value::Object(new)) => {
                patch.insert(key.clone(), Value::Object(difference(old, new)));
            }
            (_, new) => {
                patch.insert(key.clone(), new.clone());
            }
        }
    }
    patch
}

/// The patch as an object, if all of it may stand in a twin.
fn checked(patch: &Value, limits: Limits) -> Result<&Map<String, Value>, TwinError> {
    let Value::Object(patch) = patch else {
        return Err(TwinError::Invalid(format!(
            "the {} are no JSON object",
            limits.section
        )));
    };
    check_object(patch, 0)?;
    Ok(patch)
}

fn check_object(object: &Map<String, Value>, depth: usize) -> Result<(), TwinError> {
    if depth > MAX_DEPTH {
        return Err(TwinError::Invalid(format!(
            "objects nest deeper than {MAX_DEPTH} levels"
        )));
    }
    for (key, value) in object {
        if key.len() > MAX_KEY {
            return Err(TwinError::Invalid(format!(
                "a key is longer than {MAX_KEY} bytes"
            )));
        }
        if key.is_empty() || key.contains(|letter: char| letter.is_control() || ".$ ".contains(letter)) {
            let key = key.escape_debug();
            let text = format!("the key \"{key}\" is empty or has a control character, '.', '$' or a space");
            return Err(TwinError::Invalid(text));
        }
        check_value(key, value, depth + 1)?;
    }
    Ok(())
}

fn check_value(key: &str, value: &Value, depth: usize) -> Result<(), TwinError> {
    match value {
        Value::String(text) if text.len() > MAX_STRING => {
            let text = format!("the text of \"{key}\" is longer than {MAX_STRING} bytes");
            Err(TwinError::Invalid(text))
        }
        Value::Number(number) if !fits(number) => {
            let text = format!("the number of \"{key}\" is not within \u{b1}{MAX_INTEGER}");
            Err(TwinError::Invalid(text))
        }
        Value::Object(object) => check_object(object, depth),
        Value::Array(items) if depth > MAX_DEPTH && !items.is_empty() => Err(TwinError::Invalid(format!(
            "values nest deeper than {MAX_DEPTH} levels"
        ))),
        Value::Array(items) => items
            .iter()
            .try_for_each(|item| check_value(key, item, depth + 1)),
        _ => Ok(()),
    }
}

/// Integers only: a number with a fraction may be any.
fn fits(number: &serde_json::Number) -> bool {
    match (number.as_i64(), number.as_u64()) {
        (Some(integer), _) => integer.unsigned_abs() <= MAX_INTEGER,
        (None, Some(integer)) => integer <= MAX_INTEGER,
        (None, None) => true,
    }
}

fn check_size(values: &Map<String, Value>, limits: Limits) -> Result<(), TwinError> {
    let size = object_size(values);
    if size > limits.most {
        return Err(TwinError::TooLarge {
            section: limits.section,
            size,
            most: limits.most,
        });
    }
    Ok(())
}

/// As the hub counts: characters of keys and texts but control characters, 8 for a number, 4 for a boolean.
fn object_size(object: &Map<String, Value>) -> usize {
    object
        .iter()
        .map(|(key, value)| text_size(key) + value_size(value))
        .sum()
}

fn value_size(value: &Value) -> usize {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 4,
        Value::Number(_) => 8,
        Value::String(text) => text_size(text),
        Value::Array(items) => items.iter().map(value_size).sum(),
        Value::Object(object) => object_size(object),
    }
}

fn text_size(text: &str) -> usize {
    text.chars().filter(|letter| !letter.is_control()).count()
}

/// What a section is called and how large it may be, in bytes.
#[derive(Clone, Copy)]
struct Limits {
    section: &'static str,
    most: usize,
}

const TAGS: Limits = Limits {
    section: "tags",
    most: 8 * 1024,
};
const DESIRED: Limits = Limits {
    section: "desired properties",
    most: 32 * 1024,
};
const REPORTED: Limits = Limits {
    section: "reported properties",
    most: 32 * 1024,
};
/// How deep objects may nest below their section.
const MAX_DEPTH: usize = 10;
/// The longest key, in bytes.
const MAX_KEY: usize = 1024;
/// The longest text, in bytes.
const MAX_STRING: usize = 4096;
/// The largest integer, and with a minus the smallest.
const MAX_INTEGER: u64 = 4_503_599_627_370_496;

#[cfg(test)]
#[path = "twin_tests.rs"]
mod tests;
