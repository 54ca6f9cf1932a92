//! The devices, modules and policies that the command line names.

use iothub_address::{DeviceId, Identity, ModuleId, PolicyName, Secret};
use iothub_emulator::{Authentication, Builder, Emulator, HubError, Thumbprint, Thumbprints};
use iothub_sas::SharedKey;

use crate::args::emulator::{DEFAULT_DEVICE, Run};
use crate::failure::{Failure, chain};

/// Whom the hub knows from the start.
pub(super) struct Registry {
    devices: Vec<(DeviceId, Option<SharedKey>)>,
    certified: Vec<(Identity, Authentication)>,
    modules: Vec<(DeviceId, ModuleId, Option<SharedKey>)>,
    policies: Vec<(PolicyName, SharedKey)>,
}

impl Registry {
    /// Takes the flags apart.
    pub(super) fn of(args: &Run) -> Result<Self, Failure> {
        Ok(Self {
            devices: read_each("--device", &args.device, device)?,
            certified: args
                .x509_device
                .iter()
                .map(|text| certified(text))
                .collect::<Result<_, _>>()?,
            modules: read_each("--module", &args.module, module)?,
            policies: read_each("--policy", &args.policy, policy)?,
        })
    }

    pub(super) fn add_to(&self, mut builder: Builder) -> Builder {
        for (id, key) in &self.devices {
            builder = match key {
                Some(key) => builder.device_key(id.clone(), key.clone()),
                None => builder.device(id.clone(), None),
            };
        }
        // Devices before modules: each module needs its device.
        let is_module = |identity: &Identity| matches!(identity, Identity::Module(..));
        let (modules, devices): (Vec<_>, Vec<_>) = self
            .certified
            .iter()
            .partition(|(identity, _)| is_module(identity));
        for (identity, authentication) in devices.into_iter().chain(modules) {
            builder = match identity {
                Identity::Device(device) => builder.device(device.clone(), authentication.clone()),
                Identity::Module(device, module) => {
                    builder.module(device.clone(), module.clone(), authentication.clone())
                }
            };
        }
        for (device, module, key) in &self.modules {
            builder = match key {
                Some(key) => builder.module_key(device.clone(), module.clone(), key.clone()),
                None => builder.module(device.clone(), module.clone(), None),
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

/// `ID` or `ID=BASE64KEY`.
fn device(place: &str, text: &str) -> Result<(DeviceId, Option<SharedKey>), Failure> {
    let (id, key) = keyed(place, text)?;
    let id = DeviceId::parse(id).map_err(|error| Failure::usage(place).because(&error))?;
    Ok((id, key))
}

/// `DEVICE/MODULE` or `DEVICE/MODULE=BASE64KEY`. A device's id may hold `=`, and a key `/`: so that no key is taken for a
/// part of the one id and the other, it may not do so here.
fn module(place: &str, text: &str) -> Result<(DeviceId, ModuleId, Option<SharedKey>), Failure> {
    let form = || Failure::usage(format!("{place}: write DEVICE/MODULE or DEVICE/MODULE=BASE64KEY"));
    let (device, rest) = text.split_once('/').ok_or_else(form)?;
    if device.contains('=') {
        return Err(form());
    }
    let bad = |error| Failure::usage(place).because(&error);
    let device = DeviceId::parse(device).map_err(bad)?;
    let (module, key) = keyed(place, rest)?;
    Ok((device, ModuleId::parse(module).map_err(bad)?, key))
}

/// `ID`, which a certificate's authority vouches for, or `ID=THUMBPRINT` or `ID=THUMBPRINT,THUMBPRINT`; an id is `DEVICE` or
/// `DEVICE/MODULE`.
fn certified(text: &str) -> Result<(Identity, Authentication), Failure> {
    let place = "--x509-device";
    let (id, authentication) = match text.rsplit_once('=') {
        None => (text, Authentication::CertificateAuthority),
        Some((id, thumbprints)) => {
            let read = |text: &str| {
                Thumbprint::parse(text)
                    .map_err(|error| Failure::usage(format!("{place} {text}")).because(&error))
            };
            let thumbprints = match thumbprints.split_once(',') {
                None => Thumbprints::new(read(thumbprints)?, None),
                Some((primary, secondary)) => Thumbprints::new(read(primary)?, Some(read(secondary)?)),
            };
            (id, thumbprints.into())
        }
    };
    let bad = |error| Failure::usage(format!("{place} {text}")).because(&error);
    let identity = match id.split_once('/') {
        None => Identity::Device(DeviceId::parse(id).map_err(bad)?),
        Some((device, module)) => Identity::Module(
            DeviceId::parse(device).map_err(bad)?,
            ModuleId::parse(module).map_err(bad)?,
        ),
    };
    Ok((identity, authentication))
}

/// An id, and the key behind it if there is one. An id may hold `=` and so does base64, at its end: the key is the longest end behind a `=`
/// that is one. So an id that holds `=` is only taken with its key, and a mistyped key is never taken for a part of
/// the id.
fn keyed<'a>(place: &str, text: &'a str) -> Result<(&'a str, Option<SharedKey>), Failure> {
    let mut splits = text
        .match_indices('=')
        .map(|(at, _)| (&text[..at], &text[at + 1..]));
    let keyed = splits
        .clone()
        .find_map(|(id, key)| Some((id, SharedKey::from_base64(key).ok()?)));
    match (keyed, splits.next()) {
        (Some((id, key)), _) => Ok((id, Some(key))),
        (None, None) => Ok((text, None)),
        (None, Some((_, key))) => {
            let failure = Failure::usage(format!("{place}: no key behind the '='"));
            Err(match SharedKey::from_base64(key) {
                Err(error) => failure.because(&error),
                Ok(_) => failure,
            })
        }
    }
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
            assert!(error.starts_with("--device: no key behind the '='"), "{error}");
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
        let error = read_each("--device", &values, device).err().unwrap().to_string();
        assert!(error.starts_with("--device number 2: "), "{error}");
    }

    #[test]
    fn a_module_stands_behind_its_device() {
        let read = |text: &str| {
            let (device, module, key) = module("--module", text).ok()?;
            Some((device.to_string(), module.to_string(), key.is_some()))
        };
        let some = |key| Some(("d".to_owned(), "m".to_owned(), key));
        assert_eq!(read("d/m"), some(false));
        assert_eq!(read(&format!("d/m={KEY}")), some(true));
        // A key of 16 bytes with a '/' in it.
        assert_eq!(read("d/m=AAAA/AAAAAAAAAAAAAAAAA=="), some(true));
        for text in ["d", "", "/", "d/", "/m", "d/m=", "d/m=c2hvcnQ=", "d/m/n"] {
            assert_eq!(read(text), None, "{text}");
        }
        let error = module("--module", "d=AAAA/AAAAAAAAAAAAAAAAA==")
            .err()
            .unwrap()
            .to_string();
        assert!(!error.contains("AAAA"), "{error}");
        assert!(error.contains("DEVICE/MODULE=BASE64KEY"), "{error}");
    }

    #[test]
    fn a_certified_device_has_thumbprints_or_an_authority() {
        let read = |text: &str| certified(text).map_err(|failure| failure.to_string());
        let one = "0123456789ABCDEF0123456789abcdef01234567";
        let other = "01:".repeat(31) + "01";
        let thumbprint = |text| Thumbprint::parse(text).unwrap();
        for (text, second) in [
            (format!("a=b={one}"), None),
            (format!("a=b={one},{other}"), Some(thumbprint(&other))),
        ] {
            let (identity, authentication) = read(&text).unwrap();
            assert_eq!(identity.to_string(), "a=b");
            let Authentication::SelfSigned(thumbprints) = authentication else {
                panic!("{authentication:?}")
            };
            assert_eq!(thumbprints, Thumbprints::new(thumbprint(one), second));
        }
        for (text, whom) in [("dev", "dev"), ("dev/m", "dev/modules/m")] {
            let (identity, authentication) = read(text).unwrap();
            assert_eq!(identity.to_string(), whom);
            assert!(matches!(authentication, Authentication::CertificateAuthority));
        }
        for (text, words) in [
            ("dev=", "40 hexadecimal digits"),
            ("dev=12", "40 hexadecimal digits"),
            ("a b", "--x509-device a b"),
            ("a/b/c", "'/'"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        assert!(read(&format!("dev={one},{one},{one}")).is_err());
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
