//! `iothub registry …`, but for keys and whole registries

use iothub_address::{Identity, Secret};
use iothub_registry::{Authentication, Device, IfMatch, Status, SymmetricKey, Thumbprints};
use serde_json::{Map, Value};

use super::asking::{ask, confirm, failed, state};
use super::{
    registry_keys, {registry_export, registry_import},
};
use crate::args::registry::{self as args, Create, Delete, List, Proof, Query, Registry, Show, Update};
use crate::args::{Input, Output};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::io::Io;
use crate::output::{human, identity, json, rows};
use crate::plan::rest::Hub;
use crate::plan::secrets;

pub(crate) fn run(command: Registry, io: &mut Io) -> Result<Exit, Failure> {
    match command {
        Registry::Create(args) => create(args, io),
        Registry::Show(args) => show(args, io),
        Registry::Delete(args) => delete(args, io),
        Registry::Update(args) => update(args, io),
        Registry::List(args) => list(args, io),
        Registry::Query(args) => query(args, io),
        Registry::Keys(args) => registry_keys::run(args, io),
        Registry::Import(args) => registry_import::import(args, io),
        Registry::Export(args) => registry_export::export(args, io),
    }
}

fn create(args: Create, io: &mut Io) -> Result<Exit, Failure> {
    let hub = Hub::of(args.rest, proof_reader(&args.proof), io)?;
    let mut device = Device::new(args.id);
    device.authentication = authentication(args.proof, io)?;
    device.iot_edge = args.edge;
    device.status = status(args.status);
    let (host, port, output) = (hub.host.clone(), hub.port, hub.output);
    ask(hub, async |registry| {
        let made = failed(registry.create_device(&device).await)?;
        let mut shown = identity::device(&made);
        let whose = Identity::Device(made.device_id.clone());
        let string = identity::connection_string(&host, port, &whose, &made.authentication);
        shown.insert("connection_string".to_owned(), string.into());
        rows::print_one(&shown, output, io)?;
        Ok(Exit::Done)
    })
}

fn show(args: Show, io: &mut Io) -> Result<Exit, Failure> {
    let hub = Hub::of(args.rest, ("", false), io)?;
    let output = hub.output;
    ask(hub, async |registry| {
        let device = failed(registry.device(&args.id).await)?;
        rows::print_one(&identity::device(&device), output, io)?;
        Ok(Exit::Done)
    })
}

fn delete(args: Delete, io: &mut Io) -> Result<Exit, Failure> {
    let hub = Hub::of(args.rest, ("", false), io)?;
    confirm(&args.deletion, &format!("device {}", args.id), io)?;
    ask(hub, async |registry| {
        let state = state(args.deletion.if_match.as_deref());
        failed(registry.delete_device(&args.id, &state).await)?;
        io.note(&format!("device {} is deleted", args.id));
        Ok(Exit::Done)
    })
}

fn update(args: Update, io: &mut Io) -> Result<Exit, Failure> {
    if args.status.is_none() && args.reason.is_none() && args.thumbprint.is_empty() {
        return Err(Failure::usage("nothing is to change").hint("give --status, --reason or --thumbprint"));
    }
    let hub = Hub::of(args.rest, ("", false), io)?;
    let output = hub.output;
    ask(hub, async |registry| {
        let mut device = failed(registry.device(&args.id).await)?;
        if let Some(word) = args.status {
            device.status = status(word);
        }
        if let Some(reason) = args.reason {
            device.status_reason = Some(reason).filter(|reason| !reason.is_empty());
        }
        if !args.thumbprint.is_empty() {
            device.authentication = thumbprints(args.thumbprint);
        }
        // What another changes meanwhile is not overwritten.
        let state = IfMatch::etag(args.if_match.as_deref().unwrap_or(&device.etag));
        let changed = failed(registry.update_device(&device, &state).await)?;
        rows::print_one(&identity::device(&changed), output, io)?;
        Ok(Exit::Done)
    })
}

fn list(args: List, io: &mut Io) -> Result<Exit, Failure> {
    let hub = Hub::of(args.rest, ("", false), io)?;
    let output = hub.output;
    ask(hub, async |registry| {
        let devices = failed(registry.devices(args.top).await)?;
        let shown: Vec<_> = devices.iter().map(identity::device).collect();
        if shown.is_empty() && output == Output::Text {
            io.note("there are no devices");
        }
        rows::print(&identity::DEVICE_COLUMNS, &shown, output, io)?;
        if args.top.is_none() && devices.len() == MOST {
            io.note("warning: there may be more than 1000 devices: 'iothub registry query' gives all");
        }
        Ok(Exit::Done)
    })
}

/// Page by page: as JSON the rows as the hub has them; else a table of each page under the names of the first row, or for
/// people, of rows that have deep values, such as whole twins, each by itself.
fn query(args: Query, io: &mut Io) -> Result<Exit, Failure> {
    let hub = Hub::of(args.rest, ("", false), io)?;
    let output = hub.output;
    ask(hub, async |registry| {
        let mut pages = registry.query(&args.text);
        let mut columns: Option<Vec<String>> = None;
        let mut count = 0;
        while let Some(page) = failed(pages.next().await)? {
            count += page.rows.len();
            if output == Output::Json {
                for row in &page.rows {
                    io.print(&json::line(row))?;
                }
                continue;
            }
            if output == Output::Text && columns.is_none() && page.rows.iter().any(is_deep) {
                for row in &page.rows {
                    io.print(&human::pretty(row))?;
                }
                continue;
            }
            let objects: Vec<_> = page.rows.into_iter().map(as_object).collect();
            let is_first = columns.is_none();
            let Some(first) = objects.first() else { continue };
            let columns = columns.get_or_insert_with(|| first.keys().cloned().collect());
            let names: Vec<_> = columns.iter().map(String::as_str).collect();
            match output {
                // One line of names is enough for all pages.
                Output::Csv if !is_first => rows::print_csv_rows(&names, &objects, io)?,
                _ => rows::print_named(&names, &objects, output, io)?,
            }
        }
        if count == 0 && output == Output::Text {
            io.note("there are no rows");
        }
        Ok(Exit::Done)
    })
}

/// No cell can show what has parts that have parts.
fn is_deep(row: &Value) -> bool {
    fn parts(value: &Value) -> Vec<&Value> {
        match value {
            Value::Object(object) => object.values().collect(),
            Value::Array(items) => items.iter().collect(),
            _ => Vec::new(),
        }
    }
    let cells = parts(row).into_iter().flat_map(parts);
    cells.flat_map(parts).next().is_some()
}

fn as_object(row: Value) -> Map<String, Value> {
    match row {
        Value::Object(object) => object,
        other => Map::from_iter([("value".to_owned(), other)]),
    }
}

/// Which of its flags reads standard input.
pub(super) fn proof_reader(proof: &Proof) -> (&'static str, bool) {
    ("--key-file", proof.key_file == Some(Input::Stdin))
}

pub(super) fn authentication(proof: Proof, io: &mut Io) -> Result<Authentication, Failure> {
    if let Some(input) = proof.key_file {
        let text = secrets::read(&input, io)?;
        let mut lines = text.expose().lines().map(str::trim);
        let primary = lines.next().unwrap_or_default();
        let secondary = lines.next().filter(|line| !line.is_empty());
        let checked = |text: &str| {
            iothub_sas::SharedKey::from_base64(text)
                .map(|_| Secret::new(text))
                .map_err(|error| Failure::usage(format!("a key in {input}")).because(&error))
        };
        let primary = checked(primary)?;
        let secondary = match secondary {
            Some(text) => checked(text)?,
            None => registry_keys::fresh()?,
        };
        return Ok(Authentication::Sas(SymmetricKey::new(primary, secondary)));
    }
    if proof.ca_signed {
        return Ok(Authentication::CertificateAuthority);
    }
    if proof.thumbprint.is_empty() {
        return Ok(Authentication::Unsaid);
    }
    Ok(thumbprints(proof.thumbprint))
}

fn thumbprints(given: Vec<String>) -> Authentication {
    let mut given = given.into_iter();
    let primary = given.next().unwrap_or_default();
    Authentication::SelfSigned(Thumbprints::new(primary, given.next()))
}

const fn status(word: args::Status) -> Status {
    match word {
        args::Status::Enabled => Status::Enabled,
        args::Status::Disabled => Status::Disabled,
    }
}

/// The most that the hub lists.
const MOST: usize = 1000;
