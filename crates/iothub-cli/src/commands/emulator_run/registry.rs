//! The devices and policies that the command line names.

use iothub_address::{DeviceId, PolicyName, Secret};
use iothub_emulator::{Builder, Keys};
use iothub_sas::SharedKey;

use crate::args::emulator::DEFAULT_DEVICE;
use crate::failure::Failure;
use crate::plan::secrets::random_key;

/// Whom the hub knows from the start.
pub(super) struct Registry {
    devices: Vec<(DeviceId, Keys)>,
    policies: Vec<(PolicyName, SharedKey)>,
}

impl Registry {
    /// Takes the flags apart. Without a device there is the default one.
    pub(super) fn of(devices: &[Secret], policies: &[Secret]) -> Result<Self, Failure> {
        let mut devices = read_each("--device", devices, device)?;
        if devices.is_empty() {
            devices.push(device("--device", DEFAULT_DEVICE)?);
        }
        let policies = read_each("--policy", policies, policy)?;
        Ok(Self { devices, policies })
    }

    pub(super) fn add_to(&self, mut builder: Builder) -> Builder {
        for (id, keys) in &self.devices {
            builder = builder.device(id.clone(), keys.clone());
        }
        for (name, key) in &self.policies {
            builder = builder.policy(name.clone(), key.clone());
        }
        builder
    }

    pub(super) fn devices(&self) -> impl Iterator<Item = &DeviceId> {
        self.devices.iter().map(|(id, _)| id)
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
fn device(place: &str, text: &str) -> Result<(DeviceId, Keys), Failure> {
    let mut splits = text
        .match_indices('=')
        .map(|(at, _)| (&text[..at], &text[at + 1..]));
    let keyed = splits
        .clone()
        .find_map(|(id, key)| Some((id, SharedKey::from_base64(key).ok()?)));
    let (id, key) = match (keyed, splits.next()) {
        (Some((id, key)), _) => (id, key),
        (None, None) => (text, random_key()?),
        (None, Some((_, key))) => {
            let failure = Failure::usage(format!("{place}: no key behind the '='"));
            return Err(match SharedKey::from_base64(key) {
                Err(error) => failure.because(&error),
                Ok(_) => failure,
            });
        }
    };
    let id = DeviceId::parse(id).map_err(|error| Failure::usage(place).because(&error))?;
    Ok((id, Keys::new(key, random_key()?)))
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
            Ok((id, keys)) => Ok((id.to_string(), keys.primary().to_base64().expose().to_owned())),
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
    fn an_id_alone_gets_a_new_key() {
        let (one, other) = (read("dev").unwrap(), read("dev").unwrap());
        assert_eq!(one.0, "dev");
        assert_ne!(one.1, other.1);
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
