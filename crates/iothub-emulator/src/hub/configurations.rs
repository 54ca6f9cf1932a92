//! Configurations: desired properties for all devices or modules of a condition (Azure docs, "Automatic device and module
//! management using IoT Hub").
//!
//! The real hub looks every few minutes at whom a configuration is for. Here it is looked at in the turn in which something
//! changes. What is applied to whom is set once for each state of a configuration, so that what somebody else writes over it
//! stays until the configuration changes, or another one comes or goes. Of two that set the same, the one of the higher
//! priority wins, and of two of one priority the newer. When one goes, what it has set stays, but for what another one sets
//! that is for the same device.

use std::collections::{BTreeMap, BTreeSet};

use iothub_address::{Identity, ModuleId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Hub;
use super::agenda::Due;
use super::identities::{IfMatch, Made};
use super::record::Part;
use super::twin::difference;
use crate::clock::Timestamp;
use crate::query::{self, Collection, Pager, QueryError, Target, holds};

/// A configuration.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Configuration {
    pub(crate) form: ConfigurationForm,
    pub(crate) target: Target,
    pub(crate) etag: u64,
    pub(crate) created: Timestamp,
    pub(crate) updated: Timestamp,
    /// By the text of their identities, the state of the configuration that each has.
    pub(crate) applied: BTreeMap<String, u64>,
}

/// What a back end writes of a configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConfigurationForm {
    pub(crate) schema_version: String,
    pub(crate) labels: Map<String, Value>,
    pub(crate) content: Content,
    /// Whom it is for, as it was given.
    pub(crate) condition: String,
    pub(crate) priority: i64,
    /// Queries whose rows are counted, by name.
    pub(crate) metrics: BTreeMap<String, String>,
}

/// What is set, by the path in the twin: `properties.desired`, or some name below it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Content {
    pub(crate) device: Option<Map<String, Value>>,
    pub(crate) module: Option<Map<String, Value>>,
    /// Of Edge devices, by module.
    pub(crate) modules: Option<BTreeMap<String, Map<String, Value>>>,
}

/// Why a configuration was not made or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConfigurationError {
    #[error("there is a configuration {0}")]
    Exists(String),
    #[error("there is no configuration {0}")]
    NotFound(String),
    #[error("configuration {0} has been changed by another")]
    Precondition(String),
    #[error("the content of configuration {0} can't be changed")]
    Content(String),
    #[error("the hub has {MAX_CONFIGURATIONS} configurations, and no more may be")]
    TooMany,
}

/// All configurations.
#[derive(Debug, Default)]
pub(crate) struct Configurations {
    by_id: BTreeMap<String, Configuration>,
    /// Whose twins have changed since they were last looked at.
    stale: BTreeSet<Identity>,
}

impl Configuration {
    /// In the form of a twin's.
    pub(crate) fn etag(&self) -> String {
        super::twin::etag_text(self.etag)
    }
}

impl Hub {
    pub(crate) fn configuration(&self, id: &str) -> Result<&Configuration, ConfigurationError> {
        let found = self.configurations.by_id.get(id);
        found.ok_or_else(|| ConfigurationError::NotFound(id.to_owned()))
    }

    pub(crate) fn configurations(&self) -> impl Iterator<Item = (&str, &Configuration)> {
        let all = self.configurations.by_id.iter();
        all.map(|(id, configuration)| (id.as_str(), configuration))
    }

    /// Makes a configuration, or with `if_match` changes all of it but its content.
    pub(crate) fn put_configuration(
        &mut self,
        id: &str,
        form: ConfigurationForm,
        target: Target,
        if_match: Option<&IfMatch>,
        now: Timestamp,
    ) -> Result<Made, ConfigurationError> {
        let owned = || id.to_owned();
        let there = self.configurations.by_id.get_mut(id);
        let made = match (there, if_match) {
            (Some(_), None) => return Err(ConfigurationError::Exists(owned())),
            (None, Some(_)) => return Err(ConfigurationError::NotFound(owned())),
            (Some(there), Some(wanted)) if !wanted.holds(&there.etag()) => {
                return Err(ConfigurationError::Precondition(owned()));
            }
            (Some(there), Some(_)) => {
                if there.form.content != form.content {
                    return Err(ConfigurationError::Content(owned()));
                }
                there.form = form;
                there.target = target;
                there.etag += 1;
                there.updated = now;
                Made::Updated
            }
            (None, None) => {
                if self.configurations.by_id.len() >= MAX_CONFIGURATIONS {
                    return Err(ConfigurationError::TooMany);
                }
                let configuration = Configuration {
                    form,
                    target,
                    etag: 1,
                    created: now,
                    updated: now,
                    applied: BTreeMap::new(),
                };
                self.configurations.by_id.insert(owned(), configuration);
                Made::Created
            }
        };
        self.changes.touch(|| Part::Configuration(owned()));
        self.all_are_stale();
        Ok(made)
    }

    pub(crate) fn delete_configuration(
        &mut self,
        id: &str,
        if_match: Option<&IfMatch>,
    ) -> Result<(), ConfigurationError> {
        let there = self.configuration(id)?;
        if if_match.is_some_and(|wanted| !wanted.holds(&there.etag())) {
            return Err(ConfigurationError::Precondition(id.to_owned()));
        }
        let removed = self.configurations.by_id.remove(id);
        // What others set comes back to those who had it.
        for identity in removed.iter().flat_map(|removed| removed.applied.keys()) {
            for other in self.configurations.by_id.values_mut() {
                other.applied.remove(identity);
            }
        }
        self.changes.touch(|| Part::Configuration(id.to_owned()));
        self.all_are_stale();
        Ok(())
    }

    pub(super) fn restore_configuration(&mut self, id: String, configuration: Configuration) {
        self.configurations.by_id.insert(id, configuration);
    }

    /// Something of a device or module has changed that conditions look at.
    pub(super) fn twin_is_stale(&mut self, identity: &Identity) {
        if !self.configurations.by_id.is_empty() {
            self.configurations.stale.insert(identity.clone());
            // In the same turn, behind whatever changes it.
            self.agenda.set(Due::Configurations, Some(Timestamp::default()));
        }
    }

    fn all_are_stale(&mut self) {
        let all = self.registry.entries().map(|(identity, _)| identity);
        self.configurations.stale.extend(all);
        self.agenda.set(Due::Configurations, Some(Timestamp::default()));
    }

    /// Applies to those whose twins have changed what is for them.
    pub(crate) fn configure(&mut self, now: Timestamp) {
        for identity in std::mem::take(&mut self.configurations.stale) {
            self.configure_one(&identity, now);
        }
        // What was applied just now changed twins, and that changes nothing of whom configurations are for that could be
        // settled in one turn.
        self.configurations.stale.clear();
    }

    fn configure_one(&mut self, identity: &Identity, now: Timestamp) {
        let Ok(known) = self.known(identity) else {
            return self.forget_applied(identity);
        };
        let document = self.twin_document(&known);
        let collection = match identity.module() {
            Some(_) => Collection::Modules,
            None => Collection::Devices,
        };
        let is_for = |configuration: &Configuration| {
            let condition = configuration.target.condition.as_ref();
            // Without a condition it is for nobody; `*` is one that always holds.
            !configuration.form.condition.trim().is_empty()
                && configuration.target.from == collection
                && condition.is_none_or(|condition| holds(condition, &document))
        };
        let mut matching: Vec<(&str, &Configuration)> = self
            .configurations()
            .filter(|(_, configuration)| is_for(configuration))
            .collect();
        matching.sort_by_key(|(_, one)| (one.form.priority, one.created, one.etag));
        let text = identity.to_string();
        let states: BTreeMap<String, u64> = matching
            .iter()
            .map(|(id, one)| ((*id).to_owned(), one.etag))
            .collect();
        let had: BTreeMap<String, u64> = self
            .configurations()
            .filter_map(|(id, one)| Some((id.to_owned(), *one.applied.get(&text)?)))
            .collect();
        if states == had {
            return;
        }
        let mut own = Map::new();
        for (_, configuration) in &matching {
            let content = &configuration.form.content;
            let set = match collection {
                Collection::Modules => &content.module,
                _ => &content.device,
            };
            set.iter().for_each(|set| overlay(&mut own, set));
        }
        // Of manifests for Edge devices only that of the highest priority counts.
        let manifest = matching
            .iter()
            .rev()
            .find_map(|(_, one)| one.form.content.modules.clone());
        self.set_desired(identity, own, now);
        if let Some(manifest) = manifest.filter(|_| known.entry.details.iot_edge) {
            self.set_modules(identity, &manifest, now);
        }
        for (id, configuration) in &mut self.configurations.by_id {
            let before = configuration.applied.clone();
            match states.get(id) {
                Some(state) => drop(configuration.applied.insert(text.clone(), *state)),
                None => drop(configuration.applied.remove(&text)),
            }
            if configuration.applied != before {
                self.changes.touch(|| Part::Configuration(id.clone()));
            }
        }
    }

    fn forget_applied(&mut self, identity: &Identity) {
        let text = identity.to_string();
        for (id, configuration) in &mut self.configurations.by_id {
            if configuration.applied.remove(&text).is_some() {
                self.changes.touch(|| Part::Configuration(id.clone()));
            }
        }
    }

    /// Sets desired properties of a device, or of its modules that are registered. Gives the first that a twin can't hold.
    pub(crate) fn apply_content(
        &mut self,
        device: &Identity,
        content: &Content,
        now: Timestamp,
    ) -> Result<(), super::TwinError> {
        let mut own = Map::new();
        content.device.iter().for_each(|set| overlay(&mut own, set));
        self.try_set_desired(device, own, now)?;
        for (module, set) in content.modules.iter().flatten() {
            if let Ok(module) = ModuleId::parse(module) {
                let mut own = Map::new();
                overlay(&mut own, set);
                let module = Identity::Module(device.device().clone(), module);
                self.try_set_desired(&module, own, now)?;
            }
        }
        Ok(())
    }

    fn set_modules(
        &mut self,
        device: &Identity,
        manifest: &BTreeMap<String, Map<String, Value>>,
        now: Timestamp,
    ) {
        for (module, set) in manifest {
            if let Ok(module) = ModuleId::parse(module) {
                let mut own = Map::new();
                overlay(&mut own, set);
                self.set_desired(&Identity::Module(device.device().clone(), module), own, now);
            }
        }
    }

    fn set_desired(&mut self, identity: &Identity, set: Map<String, Value>, now: Timestamp) {
        // A twin that can't hold it stays as it is: the condition's metrics show who has not got it.
        if let Err(error) = self.try_set_desired(identity, set, now) {
            tracing::warn!(%identity, "a configuration can't be applied: {error}");
        }
    }

    fn try_set_desired(
        &mut self,
        identity: &Identity,
        set: Map<String, Value>,
        now: Timestamp,
    ) -> Result<(), super::TwinError> {
        let Ok(twin) = self.twin(identity) else {
            return Ok(());
        };
        let mut after = twin.desired().clone();
        merge_into(&mut after, &set);
        let patch = difference(twin.desired(), &after);
        if patch.is_empty() {
            return Ok(());
        }
        let patched = self.patch_twin(identity, None, Some(&Value::Object(patch)), None, now);
        patched.map_or(Ok(()), |outcome| outcome.map(drop))
    }

    /// The state of each configuration that an identity has, as its twin says it.
    pub(super) fn applied_to(&self, identity: &Identity) -> Map<String, Value> {
        let text = identity.to_string();
        let applied = self
            .configurations()
            .filter(|(_, one)| one.applied.contains_key(&text));
        applied
            .map(|(id, _)| (id.to_owned(), json!({"status": "Applied"})))
            .collect()
    }

    /// `Configuration`, with its metrics counted.
    pub(crate) fn configuration_document(&self, id: &str, configuration: &Configuration) -> Value {
        let form = &configuration.form;
        let from = match configuration.target.from {
            Collection::Modules => "devices.modules",
            _ => "devices",
        };
        let condition = form.condition.trim();
        let targeted = match condition {
            "" => format!("SELECT deviceId FROM {from} WHERE false"),
            "*" => format!("SELECT deviceId FROM {from}"),
            whole if configuration.target.from == Collection::Modules => format!("SELECT deviceId {whole}"),
            condition => format!("SELECT deviceId FROM {from} WHERE {condition}"),
        };
        let applied = format!("SELECT deviceId FROM {from} WHERE configurations.[[{id}]].status = 'Applied'");
        let system = BTreeMap::from([
            ("targetedCount".to_owned(), targeted),
            ("appliedCount".to_owned(), applied),
        ]);
        json!({
            "id": id,
            "schemaVersion": form.schema_version,
            "labels": form.labels,
            "content": form.content.to_json(),
            "targetCondition": form.condition,
            "createdTimeUtc": configuration.created.as_service_time(),
            "lastUpdatedTimeUtc": configuration.updated.as_service_time(),
            "priority": form.priority,
            "systemMetrics": {"results": self.count_rows(&system), "queries": system},
            "metrics": {"results": self.count_rows(&form.metrics), "queries": form.metrics},
            "etag": configuration.etag(),
        })
    }

    /// How many rows each query has.
    fn count_rows(&self, queries: &BTreeMap<String, String>) -> Map<String, Value> {
        let counts = queries.iter().filter_map(|(name, text)| {
            let query = query::parse(text).ok()?;
            let (mut count, mut from) = (0, None);
            loop {
                let pager = Pager::new(&query, text, from, usize::MAX)?;
                let page = self.query(&query, &pager);
                count += page.rows.len();
                from = page.next;
                if from.is_none() {
                    return Some((name.clone(), count.into()));
                }
            }
        });
        counts.collect()
    }
}

/// Whether what is set may be: paths lead to desired properties.
pub(crate) fn check_paths(set: &Map<String, Value>) -> Result<(), String> {
    for (path, value) in set {
        let Some(names) = names_of(path) else {
            return Err(format!(
                "the path {path:?} does not begin with properties.desired"
            ));
        };
        if names.is_empty() && !value.is_object() {
            return Err(format!("what {path:?} is set to is no JSON object"));
        }
        if names.iter().any(|name| name.is_empty()) {
            return Err(format!("the path {path:?} has an empty name"));
        }
    }
    Ok(())
}

/// A configuration's condition.
pub(crate) fn target_of(condition: &str) -> Result<Target, QueryError> {
    query::parse_condition(condition)
}

/// The names behind `properties.desired`.
fn names_of(path: &str) -> Option<Vec<&str>> {
    let rest = path.strip_prefix("properties.desired")?;
    match rest.strip_prefix('.') {
        Some(names) => Some(names.split('.').collect()),
        None => rest.is_empty().then(Vec::new),
    }
}

/// Puts what is set at paths over what others have set.
fn overlay(own: &mut Map<String, Value>, set: &Map<String, Value>) {
    for (path, value) in set {
        let Some(names) = names_of(path) else { continue };
        let Some((last, above)) = names.split_last() else {
            if let Value::Object(all) = value {
                own.extend(all.clone());
            }
            continue;
        };
        let mut place = &mut *own;
        for name in above {
            let inner = place.entry(*name).or_insert_with(|| json!({}));
            if !inner.is_object() {
                *inner = json!({});
            }
            let Value::Object(inner) = inner else { return };
            place = inner;
        }
        place.insert((*last).to_owned(), value.clone());
    }
}

/// RFC 7396 without its deletions: what is set takes the place of what is there, objects name by name.
fn merge_into(values: &mut Map<String, Value>, set: &Map<String, Value>) {
    for (name, value) in set {
        match (values.get_mut(name), value) {
            (Some(Value::Object(there)), Value::Object(inner)) => merge_into(there, inner),
            (_, value) => drop(values.insert(name.clone(), value.clone())),
        }
    }
}

impl Content {
    fn to_json(&self) -> Value {
        let mut content = Map::new();
        if let Some(set) = &self.device {
            content.insert("deviceContent".to_owned(), Value::Object(set.clone()));
        }
        if let Some(set) = &self.module {
            content.insert("moduleContent".to_owned(), Value::Object(set.clone()));
        }
        if let Some(modules) = &self.modules {
            content.insert("modulesContent".to_owned(), json!(modules));
        }
        Value::Object(content)
    }
}

/// The most configurations (Azure docs, "IoT Hub quotas and throttling": 100).
const MAX_CONFIGURATIONS: usize = 100;
