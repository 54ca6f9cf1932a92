//! `iothub registry export`

use std::cell::Cell;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::Path;

use futures_util::{StreamExt, TryStreamExt, stream};
use iothub_address::Identity;
use iothub_registry::{BulkChange, BulkMode, Registry, RegistryError};
use serde_json::{Map, Value};
use tempfile::NamedTempFile;

use super::asking::{ask, failed};
use crate::args::Input;
use crate::args::registry::Export;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::io::Io;
use crate::output::progress::Progress;
use crate::plan::rest::Hub;

pub(super) fn export(args: Export, io: &mut Io) -> Result<Exit, Failure> {
    let hub = Hub::of(args.rest, ("", false), io)?;
    let mut sink = Sink::open(&args.file, io)?;
    let count = Cell::new(0_u64);
    let done = ask(hub, async |registry| {
        let total = failed(registry.device_counts().await)?.total;
        let progress = Progress::counting("identities", Some(total), io);
        for query in ["SELECT * FROM devices", "SELECT * FROM devices.modules"] {
            let mut pages = registry.query(query);
            while let Some(page) = failed(pages.next().await)? {
                let changes = stream::iter(page.rows)
                    .map(|twin| identity_of(&registry, twin))
                    .buffered(AT_ONCE);
                let changes: Vec<_> = failed(changes.try_collect().await)?;
                for change in changes.into_iter().flatten() {
                    sink.write(&change.expose_json())?;
                    count.set(count.get() + 1);
                    progress.step();
                }
            }
        }
        progress.clear();
        Ok(Exit::Done)
    });
    let count = count.get();
    let identities = if count == 1 { "identity" } else { "identities" };
    let is_interrupted = matches!(&done, Err(failure) if failure.exit() == Exit::Interrupted);
    match &args.file {
        _ if done.is_ok() => {
            sink.finish()?;
            io.note(&format!("{count} {identities} exported, with their keys"));
        }
        Input::Stdin if is_interrupted => io.note(&format!("{count} {identities} exported until then")),
        // One that looked whole would be taken for a backup.
        Input::File(path) if is_interrupted => {
            io.note(&format!(
                "{count} {identities} read until then, and {} not written",
                path.display()
            ));
        }
        _ => {}
    }
    done
}

/// One that was deleted meanwhile is not there any more, and no error.
async fn identity_of(registry: &Registry, twin: Value) -> Result<Option<BulkChange>, RegistryError> {
    let text = |name: &str| twin[name].as_str().filter(|text| !text.is_empty());
    let unreadable = || RegistryError::Unfit("the hub names an identity that can't be read");
    let device = text("deviceId").unwrap_or_default().parse();
    let device = device.map_err(|_| unreadable())?;
    let found = match text("moduleId") {
        None => registry.device(&device).await.map(|known| {
            let mut change = BulkChange::new(BulkMode::Create, Identity::Device(known.device_id));
            change.etag = Some(known.etag);
            change.status = known.status;
            change.status_reason = known.status_reason;
            change.authentication = known.authentication;
            change.iot_edge = known.iot_edge;
            change.device_scope = known.device_scope;
            change
        }),
        Some(module) => {
            let module = module.parse().map_err(|_| unreadable())?;
            registry.module(&device, &module).await.map(|known| {
                let mut change = BulkChange::new(BulkMode::Create, known.identity());
                change.etag = Some(known.etag);
                change.authentication = known.authentication;
                change.managed_by = known.managed_by;
                change
            })
        }
    };
    let mut change = match found {
        Err(RegistryError::Refused(refusal)) if refusal.status == 404 => return Ok(None),
        found => found?,
    };
    change.twin_etag = text("etag").map(str::to_owned);
    change.tags = section(&twin["tags"]);
    change.desired = section(&twin["properties"]["desired"]);
    change.reported = section(&twin["properties"]["reported"]);
    Ok(Some(change))
}

/// Without what the hub says of it.
fn section(value: &Value) -> Option<Map<String, Value>> {
    let mut section = value.as_object()?.clone();
    section.shift_remove("$metadata");
    section.shift_remove("$version");
    Some(section)
}

/// Where an export goes: a file appears when it is whole.
enum Sink {
    Stdout(Box<dyn Write + Send>),
    File(BufWriter<NamedTempFile>, std::path::PathBuf),
}

impl Sink {
    fn open(input: &Input, io: &mut Io) -> Result<Self, Failure> {
        match input {
            Input::Stdin => Ok(Self::Stdout(io.take_stdout())),
            Input::File(path) => {
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                // Its owner alone may read it: it holds keys.
                let file = NamedTempFile::new_in(folder.unwrap_or_else(|| Path::new(".")));
                let file = file.map_err(|error| unmakable(path, &error))?;
                Ok(Self::File(BufWriter::new(file), path.clone()))
            }
        }
    }

    fn write(&mut self, line: &str) -> Result<(), Failure> {
        match self {
            Self::Stdout(stdout) => crate::io::print_to(&mut **stdout, line),
            Self::File(file, path) => writeln!(file, "{line}").map_err(|error| unwritable(path, &error)),
        }
    }

    fn finish(self) -> Result<(), Failure> {
        let Self::File(file, path) = self else {
            return Ok(());
        };
        let file = file
            .into_inner()
            .map_err(|error| unwritable(&path, error.error()))?;
        file.as_file()
            .sync_all()
            .map_err(|error| unwritable(&path, &error))?;
        file.persist(&path)
            .map(drop)
            .map_err(|error| unwritable(&path, &error.error))
    }
}

/// Where no file can be made, another place is to be named.
fn unmakable(path: &Path, error: &std::io::Error) -> Failure {
    let what = format!("can't make {}", path.display());
    let failure = match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::PermissionDenied => Failure::usage(what),
        _ => Failure::unexpected(what),
    };
    // Of the file that would have become it nobody has heard.
    let why = error.to_string();
    failure.and(why.split(" at path ").next().unwrap_or_default())
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::unexpected(format!("can't write {}", path.display())).because(error)
}

/// How many identities are asked for at once.
const AT_ONCE: usize = 8;
