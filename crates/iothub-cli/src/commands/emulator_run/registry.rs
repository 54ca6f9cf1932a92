//! The devices and policies that the command line names.

use iothub_address::{DeviceId, PolicyName, Secret};
use iothub_emulator::{Builder, Emulator, HubError};
use iothub_sas::SharedKey;

use crate::args::emulator::DEFAULT_DEVICE;
use crate::failure::{Failure, chain};

/// Whom the hub knows from the start.
pub(super) struct Registry {
    devices: Vec<(DeviceId, Option<SharedKey>)>,
    policies: Vec<(PolicyName, SharedKey)>,
}

impl Registry {
    /// Takes the flags apart.
    pub(super) fn of(devices: &[Secret], policies: &[Secret]) -> Result<Self, Failure> {
        let devices = read_each("--device", devices, device)?;
        let policies = read_each("--policy", policies, policy)?;
        Ok(Self { devices, policies })
    }

    pub(super) fn add_to(&self, mut builder: Builder) -> Builder {
        for (id, key) in &self.devices {
            builder = match key {
                Some(key) => builder.device_key(id.clone(), key.clone()),
                None => builder.device(id.clone(), None),
            };
        }
        for (name, key) in &self.policies {
            builder = builder.policy(name.clone(), key.clone());
        }
        builder
    }

    /// A hub that has no device, and was given none, gets the default one.
    pub(super) async fn add_default(&self, hub: &Emulator) -> Result<(), Failure> {
        let failed = |error: HubError| Failure::unexpected("the hub's devices").because(&error);
        if self.devices.is_empty() && hub.devices().await.map_err(failed)?.is_empty() {
            let id = DeviceId::parse(DEFAULT_DEVICE).map_err(|error| Failure::unexpected(chain(&error)))?;
            hub.register_device(id, None).await.map_err(failed)?;
        }
        Ok(())
    }
}

/// Reads each value of a flag. Which one is wrong is told by its number: any part of it may be a secret.
fn read_each<T>(
    flag: &str,
    values: &[Secret],
    read: fn(&str, &str) -> Result<T, Failure>,
) -> Result<Vec<T>, Failure> {
    let place = |number: usize| match values.len() {
        1 => flag.to_owned(),
        _ => format!("{flag} number {number}"),
    };
    (1..)
        .zip(values)
        .map(|(number, value)| read(&place(number), value.expose()))
        .collect()
}

/// `ID` or `ID=BASE64KEY`. An id may hold `=` and so does base64, at its end: the key is the longest end behind a `=`
/// that is one. So an id that holds `=` is only taken with its key, and a mistyped key is never taken for a part of
/// the id.
fn device(place: &str, text: &str) -> Result<(DeviceId, Option<SharedKey>), Failure> {
    let mut splits = text
        .match_indices('=')
        .map(|(at, _)| (&text[..at], &text[at + 1..]));
    let keyed = splits
        .clone()
        .find_map(|(id, key)| Some((id, SharedKey::from_base64(key).ok()?)));
    let (id, key) = match (keyed, splits.next()) {
        (Some((id, key)), _) => (id, Some(key)),
        (None, None) => (text, None),
        (None, Some((_, key))) => {
            let failure = Failure::usage(format!("{place}: no key behind the '='"));
            return Err(match SharedKey::from_base64(key) {
                Err(error) => failure.because(&error),
                Ok(_) => failure,
            });
        }
    };
    let id = DeviceId::parse(id).map_err(|error| Failure::usage(place).because(&error))?;
    Ok((id, key))
}

/// `NAME=BASE64KEY`; a policy's name holds no `=`.
fn policy(place: &str, text: &str) -> Result<(PolicyName, SharedKey), Failure> {
    let (name, key) = text
        .split_once('=')
        .ok_or_else(|| Failure::usage(format!("{place}: write NAME=BASE64KEY")))?;
    let name = PolicyName::parse(name).map_err(|error| Failure::usage(place).because(&error))?;
    let key = SharedKey::from_base64(key).map_err(|error| Failure::usage(place).because(&error))?;
    Ok((name, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn read(text: &str) -> Result<(String, String), String> {
        match device("--device", text) {
            Ok((id, key)) => {
                let key = key.map_or_else(String::new, |key| key.to_base64().expose().to_owned());
                Ok((id.to_string(), key))
            }
            Err(failure) => Err(failure.to_string()),
        }
    }

    #[test]
    fn a_key_follows_the_id() {
        assert_eq!(read(&format!("dev={KEY}")), Ok(("dev".into(), KEY.into())));
        // 64 bytes end in two '=', 48 in none.
        for key in [format!("{}==", "A".repeat(86)), "A".repeat(64)] {
            assert_eq!(read(&format!("dev={key}")), Ok(("dev".into(), key)));
        }
    }

    #[test]
    fn an_id_may_hold_the_sign_if_its_key_follows() {
        assert_eq!(read(&format!("a=b={KEY}")), Ok(("a=b".into(), KEY.into())));
        assert_eq!(read(&format!("a=={KEY}")), Ok(("a=".into(), KEY.into())));
    }

    #[test]
    fn an_id_alone_leaves_its_keys_to_the_hub() {
        assert_eq!(read("dev"), Ok(("dev".into(), String::new())));
    }

    #[test]
    fn a_wrong_key_is_an_error_that_repeats_nothing() {
        for text in ["dev=c2hvcnQ=", "dev=not/base64", "dev=b", "=devb", KEY] {
            let error = read(text).unwrap_err();
            assert!(
                error.starts_with("error: --device: no key behind the '='"),
                "{error}"
            );
            for part in ["dev=", "c2hv", "not/", "devb", "AAEC"] {
                assert!(!error.contains(part), "{error}");
            }
        }
        assert!(read("dev/1").unwrap_err().contains("'/'"));
        assert!(read("").is_err());
    }

    #[test]
    fn a_wrong_value_is_told_by_its_number() {
        let values = ["dev", "a/b"].map(Secret::new);
        let error = Registry::of(&values, &[]).err().unwrap().to_string();
        assert!(error.starts_with("error: --device number 2: "), "{error}");
    }

    #[test]
    fn a_policy_has_a_name_and_a_key() {
        let (name, key) = policy("--policy", &format!("service={KEY}")).unwrap();
        assert_eq!((name.as_str(), key.to_base64().expose()), ("service", KEY));
        for text in ["service", "=x", "service=x", "service="] {
            assert!(policy("--policy", text).is_err(), "{text}");
        }
    }
}
