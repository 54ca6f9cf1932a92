//! Configurations: what a hub sets on all devices that meet a condition.

use std::collections::BTreeMap;

use hyper::Method;
use iothub_address::DeviceId;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use crate::error::RegistryError;
use crate::if_match::IfMatch;
use crate::registry::Registry;
use crate::request::{Call, device_path, escaped};
use crate::retry::Safety;
use crate::wire;

/// A configuration (Azure docs, "Automatic device and module management").
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Configuration {
    /// Its name: 1 to 128 lower-case letters, digits and `-:+%_#*?!(),=@;$'`.
    pub id: String,
    /// Of this state of it, without quotes.
    #[serde(default, deserialize_with = "wire::or_default")]
    pub etag: String,
    /// What services know of it.
    #[serde(default, deserialize_with = "wire::or_default")]
    pub labels: Map<String, Value>,
    /// What is set: `deviceContent`, `moduleContent` or `modulesContent`.
    #[serde(default, deserialize_with = "wire::or_default")]
    pub content: Map<String, Value>,
    /// On which devices or modules, in the query language's words for a condition.
    #[serde(default, deserialize_with = "wire::or_default")]
    pub target_condition: String,
    /// Of two that set the same, the one with the higher number wins.
    #[serde(default, deserialize_with = "wire::or_default")]
    pub priority: i64,
    /// Queries, `queries`, and what came of them, `results`; of one's own.
    #[serde(default, deserialize_with = "wire::or_default")]
    pub metrics: Map<String, Value>,
    /// The same of the hub's.
    #[serde(default, deserialize_with = "wire::or_default")]
    pub system_metrics: Map<String, Value>,
    /// When it was made.
    #[serde(default, deserialize_with = "wire::moment")]
    pub created_time_utc: Option<OffsetDateTime>,
    /// When it was changed.
    #[serde(default, deserialize_with = "wire::moment")]
    pub last_updated_time_utc: Option<OffsetDateTime>,
}

/// What is wrong with queries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct QueryCheck {
    /// With the condition.
    #[serde(default)]
    pub target_condition_error: Option<String>,
    /// With metrics, by their names.
    #[serde(default, deserialize_with = "wire::or_default")]
    pub custom_metric_query_errors: BTreeMap<String, String>,
}

impl Configuration {
    /// Of this name, for no device, with nothing to set.
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            etag: String::new(),
            labels: Map::new(),
            content: Map::new(),
            target_condition: String::new(),
            priority: 0,
            metrics: Map::new(),
            system_metrics: Map::new(),
            created_time_utc: None,
            last_updated_time_utc: None,
        }
    }

    fn to_json(&self) -> Value {
        let queries = self.metrics.get("queries").cloned().unwrap_or_else(|| json!({}));
        json!({
            "id": self.id,
            "schemaVersion": "1.0",
            "labels": self.labels,
            "content": self.content,
            "targetCondition": self.target_condition,
            "priority": self.priority,
            "metrics": { "queries": queries },
        })
    }
}

impl Registry {
    /// A configuration.
    ///
    /// # Errors
    /// [`ErrorCode::ConfigurationNotFound`](crate::ErrorCode::ConfigurationNotFound), or as of every call.
    pub async fn configuration(&self, id: &str) -> Result<Configuration, RegistryError> {
        Ok(wire::read(self.ask(&Call::get(&path(id))).await?)?)
    }

    /// At most so many configurations; by default, as many as the hub gives.
    ///
    /// # Errors
    /// As of every call.
    pub async fn configurations(&self, top: Option<u16>) -> Result<Vec<Configuration>, RegistryError> {
        let call = Call::get("/configurations");
        let call = match top {
            Some(top) => call.query("top", top.to_string()),
            None => call,
        };
        Ok(wire::read(self.ask(&call).await?)?)
    }

    /// Makes a configuration.
    ///
    /// # Errors
    /// [`ErrorCode::ConfigurationAlreadyExists`](crate::ErrorCode::ConfigurationAlreadyExists), or as of every call.
    pub async fn create_configuration(
        &self,
        configuration: &Configuration,
    ) -> Result<Configuration, RegistryError> {
        self.put_configuration(configuration, None).await
    }

    /// Sets labels, condition, priority and metrics of a configuration, if it is in this state.
    ///
    /// # Errors
    /// [`ErrorCode::PreconditionFailed`](crate::ErrorCode::PreconditionFailed), or as of every call.
    pub async fn update_configuration(
        &self,
        configuration: &Configuration,
        state: &IfMatch,
    ) -> Result<Configuration, RegistryError> {
        self.put_configuration(configuration, Some(state)).await
    }

    async fn put_configuration(
        &self,
        configuration: &Configuration,
        state: Option<&IfMatch>,
    ) -> Result<Configuration, RegistryError> {
        let call = Call::new(Method::PUT, &path(&configuration.id), Safety::Write);
        let call = call.if_match(state)?.json(&configuration.to_json());
        Ok(wire::read(self.ask(&call).await?)?)
    }

    /// Removes a configuration, if it is in this state.
    ///
    /// # Errors
    /// As [`update_configuration`](Self::update_configuration).
    pub async fn delete_configuration(&self, id: &str, state: &IfMatch) -> Result<(), RegistryError> {
        let call = Call::new(Method::DELETE, &path(id), Safety::Write);
        self.run(&call.if_match(Some(state))?).await.map(drop)
    }

    /// What is wrong with a condition and with queries for metrics.
    ///
    /// # Errors
    /// As of every call.
    pub async fn check_queries(
        &self,
        target_condition: &str,
        metrics: &BTreeMap<String, String>,
    ) -> Result<QueryCheck, RegistryError> {
        let body = json!({ "targetCondition": target_condition, "customMetricQueries": metrics });
        let call = Call::new(Method::POST, "/configurations/testQueries", Safety::Read);
        Ok(wire::read(self.ask(&call.json(&body)).await?)?)
    }

    /// Sets an Edge device's manifest: `{"modulesContent":{…}}`.
    ///
    /// # Errors
    /// As of every call.
    pub async fn apply_configuration(
        &self,
        device: &DeviceId,
        content: &Map<String, Value>,
    ) -> Result<(), RegistryError> {
        let path = format!("{}/applyConfigurationContent", device_path(device));
        let call = Call::new(Method::POST, &path, Safety::Write).json(&Value::Object(content.clone()));
        self.run(&call).await.map(drop)
    }
}

fn path(id: &str) -> String {
    format!("/configurations/{}", escaped(id))
}
