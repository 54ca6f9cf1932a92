//! Direct methods, and what waits for a device.

use std::time::Duration;

use hyper::Method;
use iothub_address::{DeviceId, Identity};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::RegistryError;
use crate::registry::Registry;
use crate::request::{Call, device_path, path_of};
use crate::retry::Safety;
use crate::wire;

/// A call of a direct method (Azure docs, "Understand and invoke direct methods from IoT Hub").
#[derive(Debug, Clone, PartialEq)]
pub struct MethodCall {
    name: String,
    payload: Value,
    response_timeout: Option<Duration>,
    connect_timeout: Option<Duration>,
}

/// What the device answers.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct MethodResponse {
    /// Its own status, of which the hub thinks nothing; by custom those of HTTP.
    pub status: i64,
    /// Its payload.
    #[serde(default)]
    pub payload: Value,
}

impl MethodCall {
    /// Of this method, with null for a payload.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            payload: Value::Null,
            response_timeout: None,
            connect_timeout: None,
        }
    }

    /// With this payload, of at most 128 KB.
    #[must_use]
    pub fn payload(mut self, payload: Value) -> Self {
        self.payload = payload;
        self
    }

    /// How long the hub waits for the device's answer, in whole seconds, which are rounded up: 5 to 300 s. The hub's default is 30 s.
    #[must_use]
    pub const fn response_timeout(mut self, time: Duration) -> Self {
        self.response_timeout = Some(time);
        self
    }

    /// How long the hub waits for a device that is not connected, in whole seconds, which are rounded up: 0 to 300 s. The hub's default is 0.
    #[must_use]
    pub const fn connect_timeout(mut self, time: Duration) -> Self {
        self.connect_timeout = Some(time);
        self
    }

    pub(crate) fn to_json(&self) -> Value {
        let mut call = json!({ "methodName": self.name, "payload": self.payload });
        if let Some(time) = self.response_timeout {
            call["responseTimeoutInSeconds"] = seconds(time).into();
        }
        if let Some(time) = self.connect_timeout {
            call["connectTimeoutInSeconds"] = seconds(time).into();
        }
        call
    }

    /// As long as the hub may be silent.
    fn longest(&self) -> Duration {
        self.response_timeout.unwrap_or(RESPONSE_TIMEOUT) + self.connect_timeout.unwrap_or_default()
    }
}

impl Registry {
    /// Calls a direct method of a device or module, and waits for its answer: as long as the call's times, beside the deadline of
    /// every call. A device that answers with an error's status has answered: that is no error here.
    ///
    /// # Errors
    /// [`ErrorCode::DeviceNotOnline`](crate::ErrorCode::DeviceNotOnline) if it is not connected and does not come in time;
    /// [`ErrorCode::GatewayTimeout`](crate::ErrorCode::GatewayTimeout) and
    /// [`ErrorCode::DeviceConnectionClosedRemotely`](crate::ErrorCode::DeviceConnectionClosedRemotely) if it does not answer; or as of
    /// every call.
    ///
    /// # Delivery
    /// At most once: the call is made again only if it was not sent, or if the hub throttles it. After those two refusals, a status of 500 or
    /// more, and [`RegistryError::Unknown`], the device may have done what was asked.
    pub async fn call_method(
        &self,
        of: &Identity,
        call: &MethodCall,
    ) -> Result<MethodResponse, RegistryError> {
        let path = format!("{}/methods", path_of("twins", of));
        let request = Call::new(Method::POST, &path, Safety::Method)
            .json(&call.to_json())
            .more_time(call.longest());
        Ok(wire::read(self.ask(&request).await?)?)
    }

    /// Takes away all messages that wait for a device. Gives how many there were.
    ///
    /// # Errors
    /// [`ErrorCode::DeviceNotFound`](crate::ErrorCode::DeviceNotFound), or as of every call.
    pub async fn purge_messages(&self, device: &DeviceId) -> Result<u64, RegistryError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Purged {
            total_messages_purged: u64,
        }
        let path = format!("{}/commands", device_path(device));
        let call = Call::new(Method::DELETE, &path, Safety::Write);
        Ok(wire::read::<Purged>(self.ask(&call).await?)?.total_messages_purged)
    }
}

const fn seconds(time: Duration) -> u64 {
    time.as_secs() + if time.subsec_nanos() > 0 { 1 } else { 0 }
}

/// The hub's default.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);
