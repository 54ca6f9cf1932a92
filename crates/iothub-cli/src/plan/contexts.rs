//! The file that keeps contexts.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::num::NonZeroU16;
use std::path::PathBuf;

use iothub_address::{ConnectionString, ConnectionStringKind, Secret};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::args::route::Carrier;
use crate::failure::Failure;
use crate::io::Io;

/// All contexts, and which one is in use.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    current: Option<String>,
    contexts: BTreeMap<String, Context>,
}

/// Credentials, and how to reach the hub.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    #[serde(default, with = "kept", skip_serializing_if = "Option::is_none")]
    pub(crate) service: Option<Secret>,
    #[serde(default, with = "kept", skip_serializing_if = "Option::is_none")]
    pub(crate) device: Option<Secret>,
    #[serde(default, with = "kept", skip_serializing_if = "Option::is_none")]
    pub(crate) events: Option<Secret>,
    /// Certificates in PEM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) transport: Option<Carrier>,
    #[serde(default, with = "kept", skip_serializing_if = "Option::is_none")]
    pub(crate) proxy: Option<Secret>,
    /// Where the hub has HTTPS, if not at 443.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) https_port: Option<NonZeroU16>,
}

/// What a connection string is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Device,
    Service,
    Events,
}

impl Role {
    /// Of a connection string, or none if nothing here takes it.
    pub(crate) fn of(string: &ConnectionString) -> Option<Self> {
        Some(match string.kind() {
            ConnectionStringKind::Device | ConnectionStringKind::Module => Self::Device,
            ConnectionStringKind::Service => Self::Service,
            ConnectionStringKind::EventHub => Self::Events,
            _ => return None,
        })
    }

    pub(crate) const ALL: [Self; 3] = [Self::Service, Self::Device, Self::Events];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Service => "service",
            Self::Events => "events",
        }
    }

    /// The variable of the environment that it is looked for in.
    pub(crate) const fn variable(self) -> &'static str {
        match self {
            Self::Device => "IOTHUB_DEVICE_CONNECTION_STRING",
            Self::Service => "IOTHUB_SERVICE_CONNECTION_STRING",
            Self::Events => "IOTHUB_EVENTS_CONNECTION_STRING",
        }
    }
}

impl Context {
    pub(crate) const fn string(&self, role: Role) -> Option<&Secret> {
        match role {
            Role::Device => self.device.as_ref(),
            Role::Service => self.service.as_ref(),
            Role::Events => self.events.as_ref(),
        }
    }

    pub(crate) fn set(&mut self, role: Role, string: Secret) {
        let place = match role {
            Role::Device => &mut self.device,
            Role::Service => &mut self.service,
            Role::Events => &mut self.events,
        };
        *place = Some(string);
    }
}

impl Contexts {
    /// Those that are kept; none if there is no file yet.
    pub(crate) fn read(io: &Io) -> Result<Self, Failure> {
        let Some(path) = path(io) else {
            return Ok(Self::default());
        };
        let unreadable = |error: &io::Error| {
            Failure::usage(format!("can't read the contexts in {}", path.display())).because(error)
        };
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(unreadable(&error)),
        };
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = file
                .metadata()
                .map_err(|error| unreadable(&error))?
                .permissions()
                .mode();
            if mode & 0o077 != 0 {
                let what = format!("others may read or change the contexts in {}", path.display());
                return Err(Failure::usage(what).hint(format!("chmod 600 {}", path.display())));
            }
        }
        let mut text = Zeroizing::new(Vec::with_capacity(LARGEST + 1));
        (&mut file)
            .take(LARGEST as u64 + 1)
            .read_to_end(&mut text)
            .map_err(|error| unreadable(&error))?;
        if text.len() > LARGEST {
            return Err(Failure::usage(format!(
                "{} has more than {LARGEST} bytes: this is no file of contexts",
                path.display()
            )));
        }
        serde_json::from_slice(&text).map_err(|error| {
            // The parser's own words may repeat what stands there.
            let what = format!(
                "the contexts in {} can't be read at line {}, column {}",
                path.display(),
                error.line(),
                error.column()
            );
            Failure::usage(what).hint("remove the file and add them again")
        })
    }

    /// Keeps them, whole or as they were before.
    pub(crate) fn write(&self, io: &Io) -> Result<PathBuf, Failure> {
        let path = path(io).ok_or_else(|| {
            Failure::usage("there is no place to keep contexts").hint("set HOME or XDG_CONFIG_HOME")
        })?;
        self.replace(&path).map_err(|error| {
            Failure::unexpected(format!("can't keep contexts in {}", path.display())).because(&error)
        })?;
        Ok(path)
    }

    fn replace(&self, path: &std::path::Path) -> io::Result<()> {
        let folder = path.parent().unwrap_or(path);
        super::private::create_folder(folder)?;
        let text = Zeroizing::new(serde_json::to_vec_pretty(self)?);
        // Which its maker alone may read, from the beginning.
        let mut draft = tempfile::NamedTempFile::new_in(folder)?;
        draft.write_all(&text)?;
        draft.write_all(b"\n")?;
        draft.as_file().sync_all()?;
        draft.persist(path)?;
        Ok(())
    }

    pub(crate) fn current(&self) -> Option<&str> {
        self.current.as_deref()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Context)> {
        self.contexts
            .iter()
            .map(|(name, context)| (name.as_str(), context))
    }

    /// # Errors
    /// There is none of that name.
    pub(crate) fn get(&self, name: &str) -> Result<&Context, Failure> {
        self.contexts.get(name).ok_or_else(|| self.unknown(name))
    }

    /// Keeps a context; the first is used at once. Gives whether it is the one in use.
    pub(crate) fn add(&mut self, name: &str, context: Context) -> bool {
        self.contexts.insert(name.to_owned(), context);
        self.current.get_or_insert_with(|| name.to_owned()) == name
    }

    pub(crate) fn switch_to(&mut self, name: &str) -> Result<(), Failure> {
        self.get(name)?;
        self.current = Some(name.to_owned());
        Ok(())
    }

    pub(crate) fn remove(&mut self, name: &str) -> Result<(), Failure> {
        if self.contexts.remove(name).is_none() {
            return Err(self.unknown(name));
        }
        if self.current() == Some(name) {
            self.current = None;
        }
        Ok(())
    }

    fn unknown(&self, name: &str) -> Failure {
        let failure = Failure::usage(format!("there is no context {name:?}"));
        let names: Vec<_> = self.contexts.keys().map(String::as_str).collect();
        if names.is_empty() {
            failure.hint("make one with 'iothub context add'")
        } else {
            failure.hint(format!("known by name: {}", names.join(", ")))
        }
    }
}

/// Where contexts are kept: the folder for settings of the user, by the platform's custom.
fn path(io: &Io) -> Option<PathBuf> {
    let absolute = |name: &str| {
        io.variable(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let folder = if cfg!(windows) {
        absolute("APPDATA")?
    } else {
        absolute("XDG_CONFIG_HOME").or_else(|| Some(absolute("HOME")?.join(".config")))?
    };
    Some(folder.join("iothub").join("contexts.json"))
}

/// Secrets as they stand in the file.
mod kept {
    use super::{Deserialize, Deserializer, Secret, Serializer};

    #[allow(clippy::ref_option, reason = "serde hands over a reference")]
    pub(super) fn serialize<S: Serializer>(secret: &Option<Secret>, to: S) -> Result<S::Ok, S::Error> {
        match secret {
            Some(secret) => to.serialize_str(secret.expose()),
            None => to.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Secret>, D::Error> {
        Ok(Option::<String>::deserialize(from)?.map(Secret::new))
    }
}

/// More than anyone's contexts have.
const LARGEST: usize = 1 << 20;
