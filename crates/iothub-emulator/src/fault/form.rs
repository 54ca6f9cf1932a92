//! A fault as JSON.

use std::time::Duration;

use iothub_address::{AddressError, DeviceId, Identity, ModuleId};
use serde::{Deserialize, Serialize};

use super::{CloseReason, Fault, FaultKind, UnknownFault, UnknownReason};

/// What is left out has its default.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Form {
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    module: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    condition: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    late_ms: Option<u64>,
}

/// Why a form is no fault's.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoFault {
    #[error("kind: {0}")]
    Kind(UnknownFault),
    #[error("device: {0}")]
    Device(AddressError),
    #[error("module: {0}")]
    Module(AddressError),
    #[error("module: it needs a device")]
    NoDevice,
    #[error("reason: {0}")]
    Reason(UnknownReason),
    #[error("status: only RefusePutToken has one")]
    Status,
    #[error("late_ms: only DelaySettlement has it")]
    Late,
}

impl TryFrom<Form> for Fault {
    type Error = NoFault;

    fn try_from(form: Form) -> Result<Self, NoFault> {
        let kind = match (
            form.kind.parse().map_err(NoFault::Kind)?,
            form.status,
            form.late_ms,
        ) {
            (FaultKind::RefusePutToken { .. }, Some(status), None) => FaultKind::RefusePutToken { status },
            (FaultKind::DelaySettlement { .. }, None, Some(late)) => FaultKind::DelaySettlement {
                by: Duration::from_millis(late),
            },
            (kind, None, None) => kind,
            (FaultKind::DelaySettlement { .. }, _, _) | (_, Some(_), None) => return Err(NoFault::Status),
            _ => return Err(NoFault::Late),
        };
        let mut fault = Self::new(kind);
        fault.whom = whom(form.device, form.module)?;
        if let Some(reason) = form.reason {
            fault.reason = reason.parse().map_err(NoFault::Reason)?;
        }
        fault.delay = Duration::from_millis(form.delay_ms.unwrap_or(0));
        fault.duration = form.duration_ms.map(Duration::from_millis);
        fault.condition = form.condition;
        Ok(fault)
    }
}

fn whom(device: Option<String>, module: Option<String>) -> Result<Option<Identity>, NoFault> {
    let device = device.map(|id| DeviceId::parse(&id)).transpose();
    let module = module.map(|id| ModuleId::parse(&id)).transpose();
    match (device.map_err(NoFault::Device)?, module.map_err(NoFault::Module)?) {
        (Some(device), Some(module)) => Ok(Some(Identity::Module(device, module))),
        (Some(device), None) => Ok(Some(Identity::Device(device))),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(NoFault::NoDevice),
    }
}

impl From<Fault> for Form {
    fn from(fault: Fault) -> Self {
        let (device, module) = match fault.whom {
            None => (None, None),
            Some(Identity::Device(device)) => (Some(device), None),
            Some(Identity::Module(device, module)) => (Some(device), Some(module)),
        };
        let (status, late) = match fault.kind {
            FaultKind::RefusePutToken { status } => (Some(status), None),
            FaultKind::DelaySettlement { by } => (None, Some(by)),
            _ => (None, None),
        };
        Self {
            kind: fault.kind.name().to_owned(),
            device: device.map(|id| id.to_string()),
            module: module.map(|id| id.to_string()),
            reason: (fault.reason != CloseReason::default()).then(|| fault.reason.name().to_owned()),
            delay_ms: (!fault.delay.is_zero()).then(|| millis(fault.delay)),
            duration_ms: fault.duration.map(millis),
            condition: fault.condition,
            status,
            late_ms: late.map(millis),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Fault, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn every_part_of_a_fault_has_its_place() {
        let device = || DeviceId::parse("d").unwrap();
        let second = Duration::from_secs(1);
        for (text, fault) in [
            (r#"{"kind":"KillTcp"}"#, Fault::new(FaultKind::KillTcp)),
            (
                r#"{"kind":"KillAmqpD2CLink","device":"d","reason":"byebye","delay_ms":1000,"duration_ms":2000}"#,
                Fault::new(FaultKind::KillAmqpD2cLink)
                    .of(device())
                    .reason(CloseReason::Byebye)
                    .delay(second)
                    .duration(2 * second),
            ),
            (
                r#"{"kind":"InvokeAuthError","device":"d","module":"m","condition":"amqp:not-found"}"#,
                Fault::new(FaultKind::InvokeAuthError)
                    .of(Identity::Module(device(), ModuleId::parse("m").unwrap()))
                    .condition("amqp:not-found"),
            ),
            (
                r#"{"kind":"RefusePutToken","status":404}"#,
                Fault::new(FaultKind::RefusePutToken { status: 404 }),
            ),
            (
                r#"{"kind":"DelaySettlement","late_ms":1000}"#,
                Fault::new(FaultKind::DelaySettlement { by: second }),
            ),
        ] {
            assert_eq!(read(text).unwrap(), fault);
            assert_eq!(serde_json::to_string(&fault).unwrap(), text);
        }
    }

    #[test]
    fn every_kind_goes_there_and_back() {
        for kind in FaultKind::ALL {
            let text = serde_json::to_string(&Fault::new(kind)).unwrap();
            assert_eq!(read(&text).unwrap(), Fault::new(kind), "{text}");
            let short = format!(r#"{{"kind":"{}"}}"#, kind.name().to_lowercase());
            assert_eq!(read(&short).unwrap(), Fault::new(kind));
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, words) in [
            ("{}", "missing field `kind`"),
            (r#"{"kind":"KillAll"}"#, "kind: no fault has that name"),
            (r#"{"kind":"KillTcp","delay":1}"#, "unknown field `delay`"),
            (r#"{"kind":"KillTcp","delay_ms":-1}"#, "-1"),
            (r#"{"kind":"KillTcp","device":"a/b"}"#, "device: "),
            (r#"{"kind":"KillTcp","module":"m"}"#, "module: it needs a device"),
            (
                r#"{"kind":"KillTcp","reason":"bye"}"#,
                "reason: a close reason is",
            ),
            (
                r#"{"kind":"KillTcp","status":500}"#,
                "status: only RefusePutToken",
            ),
            (
                r#"{"kind":"KillTcp","late_ms":5}"#,
                "late_ms: only DelaySettlement",
            ),
            (r#"{"kind":"RefusePutToken","late_ms":5}"#, "late_ms: only"),
            (r#"{"kind":"DelaySettlement","status":500}"#, "status: only"),
        ] {
            let said = read(text).unwrap_err();
            assert!(said.contains(words), "{text}: {said}");
        }
    }
}
