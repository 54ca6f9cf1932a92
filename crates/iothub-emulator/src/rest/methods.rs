//! Direct methods: a request is held open until the device has answered, or will not.

use std::time::Duration;

use iothub_address::Identity;
use serde_json::{Map, Value, json};

use super::asked::Asked;
use super::code::Code;
use super::refusal::{Refusal, Shape};
use super::reply::Reply;
use crate::hub::{Call, MethodError, MethodResponse};

pub(super) async fn call(asked: &Asked<'_>, identity: Identity) -> Result<Reply, Refusal> {
    let call = call_in(&asked.object()?)?;
    let response = answered(asked, identity, call).await?;
    let body = json!({ "status": response.status, "payload": payload_of(&response)? });
    Ok(Reply::json(&body))
}

/// The device's answer.
pub(super) async fn answered(
    asked: &Asked<'_>,
    identity: Identity,
    call: Call,
) -> Result<MethodResponse, Refusal> {
    let (connect, response) = (call.connect_timeout, call.response_timeout);
    let outcome = asked.hub.call_method(identity, call).await?;
    outcome.map_err(|error| {
        let waited = match &error {
            MethodError::NotOnline(_) => connect,
            MethodError::Gone(_) | MethodError::Timeout(_) => response,
            _ => return error.into(),
        };
        let message = match &error {
            MethodError::NotOnline(_) => "Timed out waiting for device to connect.",
            MethodError::Gone(_) => "The device went before it answered.",
            _ => "Timed out waiting for the response from device.",
        };
        let refusal = Refusal::from(error);
        let info = json!({ "timeout": span(waited) });
        Refusal::new(refusal.code, message).shaped(Shape::Numbered { info: Box::new(info) })
    })
}

/// The JSON that the device sent; nothing is null.
pub(super) fn payload_of(response: &MethodResponse) -> Result<Value, Refusal> {
    if response.payload.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_slice(&response.payload)
        .map_err(|_| Refusal::new(Code::BadDeviceResponse, "The device's response is no JSON."))
}

/// `{methodName, payload, responseTimeoutInSeconds, connectTimeoutInSeconds}`.
pub(super) fn call_in(object: &Map<String, Value>) -> Result<Call, Refusal> {
    let name = match object.get("methodName") {
        Some(Value::String(name)) if !name.is_empty() => name.clone(),
        _ => return Err(Refusal::invalid("methodName is missing, or no text.")),
    };
    if name.chars().count() > MAX_NAME {
        return Err(Refusal::invalid(format!(
            "methodName has more than {MAX_NAME} characters."
        )));
    }
    let payload = object.get("payload").unwrap_or(&Value::Null);
    let seconds = |field: &str| match object.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_u64()
            .map(Some)
            .ok_or_else(|| Refusal::invalid(format!("{field} is no whole number of seconds."))),
    };
    let response = seconds("responseTimeoutInSeconds")?;
    let connect = seconds("connectTimeoutInSeconds")?;
    timed(name, payload, response, connect)
}

/// Times in seconds; `None` is the default.
pub(super) fn timed(
    method: String,
    payload: &Value,
    response: Option<u64>,
    connect: Option<u64>,
) -> Result<Call, Refusal> {
    let response = match response {
        None => DEFAULT_RESPONSE,
        Some(seconds @ MIN_RESPONSE..=MAX_TIME) => seconds,
        Some(_) => {
            return Err(Refusal::invalid(format!(
                "responseTimeoutInSeconds is {MIN_RESPONSE} to {MAX_TIME}."
            )));
        }
    };
    let connect = match connect {
        None => 0,
        Some(seconds @ 0..=MAX_TIME) => seconds,
        Some(_) => {
            return Err(Refusal::invalid(format!(
                "connectTimeoutInSeconds is {MAX_TIME} at most."
            )));
        }
    };
    Ok(Call {
        method,
        payload: payload.to_string().into(),
        response_timeout: Duration::from_secs(response),
        connect_timeout: Duration::from_secs(connect),
    })
}

/// As .NET writes a span of time.
fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

// Azure docs, "Understand and invoke direct methods from IoT Hub".
const DEFAULT_RESPONSE: u64 = 30;
const MIN_RESPONSE: u64 = 5;
const MAX_TIME: u64 = 300;
/// The longest name of a method, in characters.
const MAX_NAME: usize = 100;
