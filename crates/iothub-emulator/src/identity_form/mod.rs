//! Identities in JSON: the service's form of export (`ExportImportDevice`, as Microsoft's SDKs call it), which files and
//! bulk requests hold, and the REST API's `Device` and `Module`. What a hub of another age has beside the fields that are
//! known here is passed over.

mod fields;

use std::fmt::Display;
use std::sync::Arc;

use iothub_address::{DeviceId, Identity, ModuleId};
use iothub_sas::SharedKey;
use serde_json::{Map, Value};

pub(crate) use self::fields::{Bad, Fields, one_of, unquoted};
use crate::given::Shown;
use crate::hub::{
    Authentication, Details, Given, Import, ImportMode, Keys, SectionGiven, Status, Thumbprint, Thumbprints,
    Twin,
};

/// What a line wants, and how its identity proves who it is.
pub(crate) fn read_line(line: &str) -> Result<(Import, Shown), Bad> {
    let line: Value = serde_json::from_str(line).map_err(|error| Bad {
        field: String::new(),
        // Its column says where; its line is always the first.
        what: format!("no JSON object on one line, by column {}", error.column()),
    })?;
    let Value::Object(line) = &line else {
        return Err(Bad {
            field: String::new(),
            what: "no JSON object".to_owned(),
        });
    };
    read(line)
}

/// As [`read_line`], of what has been parsed.
pub(crate) fn read(object: &Map<String, Value>) -> Result<(Import, Shown), Bad> {
    let fields = Fields::of(object);
    let import = Import {
        identity: identity(&fields)?,
        mode: mode(&fields)?,
        etag: fields.text("eTag")?.map(|text| unquoted(text).into()),
        status: status(&fields)?,
        details: details(&fields)?,
        twin_etag: twin_etag(&fields)?,
        tags: fields.object("tags")?.cloned(),
        desired: section(&fields, "properties.desired", "desired")?,
        reported: section(&fields, "properties.reported", "reported")?,
    };
    Ok((import, shown(&fields)?))
}

/// The REST API's `Device` or `Module` without its name.
pub(crate) fn read_known(object: &Map<String, Value>) -> Result<(Given, Shown), Bad> {
    let fields = Fields::of(object);
    let given = Given {
        status: status(&fields)?,
        details: details(&fields)?,
    };
    Ok((given, shown(&fields)?))
}

fn identity(fields: &Fields<'_>) -> Result<Identity, Bad> {
    let id = fields
        .text("id")?
        .ok_or_else(|| fields.bad("id", "it is missing"))?;
    let id = DeviceId::parse(id).map_err(|error| fields.bad("id", error))?;
    Ok(match fields.text("moduleId")? {
        None => Identity::Device(id),
        Some(module) => {
            let module = ModuleId::parse(module).map_err(|error| fields.bad("moduleId", error))?;
            Identity::Module(id, module)
        }
    })
}

fn mode(fields: &Fields<'_>) -> Result<ImportMode, Bad> {
    let Some(word) = fields.text("importMode")? else {
        return Ok(ImportMode::default());
    };
    one_of(word, &ImportMode::ALL).map_err(|what| fields.bad("importMode", what))
}

fn status(fields: &Fields<'_>) -> Result<Status, Bad> {
    let known = [(Status::Enabled, "enabled"), (Status::Disabled, "disabled")];
    match fields.text("status")? {
        None => Ok(Status::Enabled),
        Some(word) => one_of(word, &known).map_err(|what| fields.bad("status", what)),
    }
}

fn details(fields: &Fields<'_>) -> Result<Details, Bad> {
    let reason = fields.text("statusReason")?;
    if reason.is_some_and(|reason| reason.chars().count() > MAX_REASON) {
        return Err(fields.bad("statusReason", "it has more than 128 characters"));
    }
    let iot_edge = match fields.inner("capabilities", "capabilities")? {
        None => false,
        Some(capabilities) => capabilities.boolean("iotEdge")?.unwrap_or(false),
    };
    Ok(Details {
        status_reason: reason.map(Arc::from),
        iot_edge,
        device_scope: fields.text("deviceScope")?.map(Arc::from),
        parent_scopes: fields.texts("parentScopes")?,
        managed_by: fields.text("managedBy")?.map(Arc::from),
    })
}

fn twin_etag(fields: &Fields<'_>) -> Result<Option<String>, Bad> {
    let Some(text) = fields.text("twinETag")? else {
        return Ok(None);
    };
    let text = unquoted(text);
    match Twin::etag_number(text) {
        Some(_) => Ok(Some(text.to_owned())),
        None => Err(fields.bad("twinETag", "no ETag of a twin: those are 8 bytes in base64")),
    }
}

fn section(fields: &Fields<'_>, path: &'static str, name: &str) -> Result<Option<SectionGiven>, Bad> {
    let Some(properties) = fields.inner("properties", "properties")? else {
        return Ok(None);
    };
    let Some(given) = properties.inner(name, path)? else {
        return Ok(None);
    };
    let mut values = given.object.clone();
    // Those of the section itself are no properties.
    values.shift_remove("$metadata");
    values.shift_remove("$version");
    Ok(Some(SectionGiven {
        values,
        metadata: given.object("$metadata")?.cloned(),
        version: given.number("$version")?,
    }))
}

fn shown(fields: &Fields<'_>) -> Result<Shown, Bad> {
    let Some(given) = fields.inner("authentication", "authentication")? else {
        return Ok(Shown::Nothing);
    };
    let keys = Pair::of(&given, "authentication.symmetricKey", "symmetricKey", "Key")?;
    let mut thumbprints = Pair::of(
        &given,
        "authentication.x509Thumbprint",
        "x509Thumbprint",
        "Thumbprint",
    )?;
    if thumbprints.primary.is_none() {
        // As Java's SDK writes it.
        thumbprints = Pair::of(&given, "authentication.thumbprint", "thumbprint", "Thumbprint")?;
    }
    let kind = match given.text("type")? {
        Some(word) => one_of(word, &KINDS).map_err(|what| given.bad("type", what))?,
        None if thumbprints.primary.is_some() => Kind::SelfSigned,
        None => Kind::Sas,
    };
    Ok(match kind {
        Kind::Sas => match keys.both(SharedKey::from_base64)? {
            (Some(primary), Some(secondary)) => Shown::All(Keys::new(primary, secondary).into()),
            (Some(primary), None) => Shown::Primary(primary),
            (None, None) => Shown::Keys,
            (None, Some(_)) => return Err(keys.bad_primary("it is missing beside a secondary one")),
        },
        Kind::SelfSigned => match thumbprints.both(Thumbprint::parse)? {
            (Some(primary), secondary) => Shown::All(Thumbprints::new(primary, secondary).into()),
            (None, _) => return Err(thumbprints.bad_primary("it is missing")),
        },
        Kind::CertificateAuthority => Shown::All(Authentication::CertificateAuthority),
        Kind::None => Shown::All(Authentication::None),
    })
}

#[derive(Clone, Copy)]
enum Kind {
    Sas,
    SelfSigned,
    CertificateAuthority,
    None,
}

const KINDS: [(Kind, &str); 4] = [
    (Kind::Sas, "sas"),
    (Kind::SelfSigned, "selfSigned"),
    (Kind::CertificateAuthority, "certificateAuthority"),
    (Kind::None, "none"),
];

/// A primary and a secondary text.
struct Pair<'a> {
    path: &'static str,
    suffix: &'static str,
    primary: Option<&'a str>,
    secondary: Option<&'a str>,
}

impl<'a> Pair<'a> {
    fn of(fields: &Fields<'a>, path: &'static str, name: &str, suffix: &'static str) -> Result<Self, Bad> {
        let (mut primary, mut secondary) = (None, None);
        if let Some(inner) = fields.inner(name, path)? {
            // Microsoft's Node SDK writes an empty key for one that the hub is to make.
            let some = |text: &&str| !text.is_empty();
            primary = inner.text(&format!("primary{suffix}"))?.filter(some);
            secondary = inner.text(&format!("secondary{suffix}"))?.filter(some);
        }
        Ok(Self {
            path,
            suffix,
            primary,
            secondary,
        })
    }

    fn both<T, E: Display>(
        &self,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Result<(Option<T>, Option<T>), Bad> {
        let one = |which: &str, text: Option<&str>| {
            let read = text.map(&read).transpose();
            read.map_err(|error| self.bad(which, error))
        };
        Ok((one("primary", self.primary)?, one("secondary", self.secondary)?))
    }

    fn bad_primary(&self, what: &str) -> Bad {
        self.bad("primary", what)
    }

    fn bad(&self, which: &str, what: impl Display) -> Bad {
        Bad {
            field: format!("{}.{which}{}", self.path, self.suffix),
            what: what.to_string(),
        }
    }
}

/// The longest reason, in characters (Azure docs, "Understand the identity registry": 128).
const MAX_REASON: usize = 128;
