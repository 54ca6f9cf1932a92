//! A call of a direct method, as a service makes it.

use std::time::Duration;

use bytes::Bytes;

use crate::hub::Call;

/// A call of a direct method.
///
/// # Limits
/// The payload has at most 128 KB.
///
/// # Examples
/// ```
/// use std::time::Duration;
///
/// use iothub_emulator::MethodCall;
///
/// let call = MethodCall::new("reboot").payload(r#"{"delay": 5}"#).connect_timeout(Duration::from_secs(10));
/// ```
#[derive(Clone, Debug)]
#[must_use = "it is made by `Emulator::call_method`"]
pub struct MethodCall(Call);

impl MethodCall {
    /// A call of this method with the payload `null`.
    pub fn new(method: impl Into<String>) -> Self {
        Self(Call {
            method: method.into(),
            payload: Bytes::from_static(b"null"),
            response_timeout: DEFAULT_RESPONSE_TIMEOUT,
            connect_timeout: Duration::ZERO,
        })
    }

    /// What the device gets with it: JSON text. Default `null`.
    pub fn payload(mut self, json: impl Into<Bytes>) -> Self {
        self.0.payload = json.into();
        self
    }

    /// How long the device may take to answer, 5 to 300 s. Default 30 s.
    pub fn response_timeout(mut self, time: Duration) -> Self {
        self.0.response_timeout = time.clamp(MIN_RESPONSE_TIMEOUT, MAX_TIMEOUT);
        self
    }

    /// How long to wait for a device that is not online, at most 300 s. Default 0: not at all.
    pub fn connect_timeout(mut self, time: Duration) -> Self {
        self.0.connect_timeout = time.min(MAX_TIMEOUT);
        self
    }

    pub(crate) fn into_call(self) -> Call {
        self.0
    }
}

// Azure docs, "Understand and invoke direct methods from IoT Hub".
const DEFAULT_RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);
const MIN_RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_TIMEOUT: Duration = Duration::from_secs(300);
