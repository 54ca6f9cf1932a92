//! Faults that a device asks for by the properties of a message, as Microsoft's own tests do.

use std::time::Duration;

use crate::fault::{CloseReason, Fault, FaultKind};
use crate::hub::Value;

/// The fault that a message's properties ask for, if they do.
///
/// The real hub's behaviour at values that it does not know is not known. A message that asks for a fault which
/// cannot be is refused here, so that a test does not wait for what never comes.
pub(crate) fn asked_for(properties: &[(String, Value)]) -> Option<Result<Fault, NotAFault>> {
    let value = |name: &'static str| {
        properties
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| (name, value))
    };
    let kind = value(TYPE)?;
    let read = || {
        let mut fault = Fault::new(kind_of(kind)?);
        if let Some(reason) = value(CLOSE_REASON) {
            let known: Result<CloseReason, _> = text(reason)?.parse();
            fault = fault.reason(known.map_err(|_| NotAFault(reason.0))?);
        }
        if let Some(delay) = value(DELAY) {
            fault = fault.delay(seconds(delay)?);
        }
        if let Some(duration) = value(DURATION) {
            fault = fault.duration(seconds(duration)?);
        }
        Ok(fault)
    };
    Some(read())
}

/// The property whose value is none of those that the hub knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotAFault(pub(crate) &'static str);

type Property<'a> = (&'static str, &'a Value);

fn kind_of(property: Property<'_>) -> Result<FaultKind, NotAFault> {
    let kind: Result<FaultKind, _> = text(property)?.parse();
    kind.ok()
        .filter(|kind| kind.is_the_real_hubs())
        .ok_or(NotAFault(property.0))
}

fn text((name, value): Property<'_>) -> Result<&str, NotAFault> {
    match value {
        Value::String(text) | Value::Symbol(text) => Ok(text),
        _ => Err(NotAFault(name)),
    }
}

/// Whole seconds, at most a day. SDKs write them as strings; a number is as clear.
fn seconds(property: Property<'_>) -> Result<Duration, NotAFault> {
    let seconds = match *property.1 {
        Value::Int(seconds) => u64::try_from(seconds).ok(),
        Value::Long(seconds) => u64::try_from(seconds).ok(),
        Value::Uint(seconds) => Some(seconds.into()),
        Value::Ulong(seconds) => Some(seconds),
        _ => text(property)?.parse().ok(),
    };
    seconds
        .filter(|seconds| *seconds <= DAY_SECONDS)
        .map(Duration::from_secs)
        .ok_or(NotAFault(property.0))
}

const TYPE: &str = "AzIoTHub_FaultOperationType";
const CLOSE_REASON: &str = "AzIoTHub_FaultOperationCloseReason";
const DELAY: &str = "AzIoTHub_FaultOperationDelayInSecs";
const DURATION: &str = "AzIoTHub_FaultOperationDurationInSecs";
const DAY_SECONDS: u64 = 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(pairs: &[(&str, &str)]) -> Vec<(String, Value)> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Value::String((*value).to_owned())))
            .collect()
    }

    /// As the C# SDK's tests write them.
    #[test]
    fn a_message_asks_for_a_fault_by_four_strings() {
        let properties = properties(&[
            ("mood", "curious"),
            ("AzIoTHub_FaultOperationType", "KillTcp"),
            ("AzIoTHub_FaultOperationCloseReason", "boom"),
            ("AzIoTHub_FaultOperationDelayInSecs", "5"),
            ("AzIoTHub_FaultOperationDurationInSecs", "10"),
        ]);
        let expected = Fault::new(FaultKind::KillTcp)
            .delay(Duration::from_secs(5))
            .duration(Duration::from_secs(10));
        assert_eq!(asked_for(&properties), Some(Ok(expected)));
    }

    #[test]
    fn a_type_alone_is_enough_and_nothing_without_it() {
        let asked = asked_for(&properties(&[(
            "AzIoTHub_FaultOperationType",
            "InvokeThrottling",
        )]));
        assert_eq!(asked, Some(Ok(Fault::new(FaultKind::InvokeThrottling))));
        let asked = asked_for(&properties(&[("AzIoTHub_FaultOperationDelayInSecs", "5")]));
        assert_eq!(asked, None);
        let name = "AzIoTHub_FaultOperationDelayInSecs".to_owned();
        let mut numbers = properties(&[("AzIoTHub_FaultOperationType", "KillTcp")]);
        numbers.push((name, Value::Int(7)));
        let fault = asked_for(&numbers).unwrap().unwrap();
        assert_eq!(fault.delay, Duration::from_secs(7));
    }

    #[test]
    fn a_value_that_is_none_is_named_by_its_property() {
        for (name, value) in [
            (TYPE, "KillUdp"),
            (TYPE, ""),
            // Ours, not the real hub's.
            (TYPE, "StopReading"),
            (CLOSE_REASON, "bang"),
            (DELAY, "-1"),
            (DELAY, "soon"),
            (DELAY, "86401"),
            (DURATION, "1.5"),
            (DURATION, "99999999999999999999"),
        ] {
            let mut pairs = vec![(name, value)];
            if name != TYPE {
                pairs.push((TYPE, "KillTcp"));
            }
            assert_eq!(
                asked_for(&properties(&pairs)),
                Some(Err(NotAFault(name))),
                "{value}"
            );
        }
        let binary = [(TYPE.to_owned(), Value::Boolean(true))];
        assert_eq!(asked_for(&binary), Some(Err(NotAFault(TYPE))));
    }
}
