//! `iothub registry import` and `export`

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;

use futures_util::{StreamExt, TryStreamExt, stream};
use iothub_address::Identity;
use iothub_registry::{BulkChange, BulkMode, MAX_BULK, Registry, RegistryError};
use serde_json::{Map, Value, json};
use tempfile::NamedTempFile;

use super::asking::{ask, failed};
use crate::args::registry::{Export, Import, Mode};
use crate::args::{Input, Output};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::io::Io;
use crate::output::progress::Progress;
use crate::output::{identity, rows};
use crate::plan::rest::Hub;

pub(super) fn import(args: Import, io: &mut Io) -> Result<Exit, Failure> {
    let hub = Hub::of(args.rest, ("FILE '-'", args.file == Input::Stdin), io)?;
    let changes = read(&args.file, mode(args.mode), io)?;
    let output = hub.output;
    ask(hub, async |registry| {
        let progress = Progress::counting("identities", u64::try_from(changes.len()).ok(), io);
        let mut errors = Vec::new();
        let mut ended = Ok(());
        let mut asked = 0;
        for part in changes.chunks(MAX_BULK) {
            match registry.bulk(part).await {
                Ok(report) => errors.extend(report.errors),
                Err(error) => {
                    ended = Err(error);
                    break;
                }
            }
            asked += part.len();
            part.iter().for_each(|_| progress.step());
        }
        progress.clear();
        for error in &errors {
            let module = error.module_id.as_ref().map(|module| format!("/{module}"));
            let name = format!("{}{}", error.device_id, module.unwrap_or_default());
            io.note(&format!("warning: {name}: {}: {}", error.code, error.message));
        }
        let done = asked - errors.len();
        if output == Output::Text {
            io.print(&format!("{done} done, {} refused", errors.len()))?;
        } else {
            let shown = json!({ "done": done, "refused": errors.len(), "not_asked": changes.len() - asked });
            rows::print_one(&identity::object(shown), output, io)?;
        }
        failed(ended)?;
        Ok(if errors.is_empty() {
            Exit::Done
        } else {
            Exit::Partial
        })
    })
}

/// All lines, before anything is changed: what can't be read is told first, with its line.
fn read(input: &Input, mode: BulkMode, io: &mut Io) -> Result<Vec<BulkChange>, Failure> {
    let unreadable = |error: &std::io::Error| Failure::usage(format!("can't read {input}")).because(error);
    let reader: Box<dyn Read> = match input {
        Input::Stdin => io.take_stdin(),
        Input::File(path) => Box::new(File::open(path).map_err(|error| unreadable(&error))?),
    };
    let mut changes = Vec::new();
    for (at, line) in BufReader::new(reader).lines().enumerate() {
        let line = line.map_err(|error| unreadable(&error))?;
        if line.trim().is_empty() {
            continue;
        }
        // As export jobs and seeds have it; it is what --mode says here.
        let line = line.replace(r#""importMode":"createOrUpdate","#, "");
        let change = BulkChange::from_json(&line, mode);
        changes.push(change.map_err(|error| {
            Failure::usage(format!("line {} of {input} is no identity", at + 1)).because(&error)
        })?);
    }
    Ok(changes)
}

pub(super) fn export(args: Export, io: &mut Io) -> Result<Exit, Failure> {
    let hub = Hub::of(args.rest, ("", false), io)?;
    let mut sink = Sink::open(&args.file, io)?;
    ask(hub, async |registry| {
        let total = failed(registry.device_counts().await)?.total;
        let progress = Progress::counting("identities", Some(total), io);
        let mut count = 0_usize;
        for query in ["SELECT * FROM devices", "SELECT * FROM devices.modules"] {
            let mut pages = registry.query(query);
            while let Some(page) = failed(pages.next().await)? {
                let changes = stream::iter(page.rows)
                    .map(|twin| identity_of(&registry, twin))
                    .buffered(AT_ONCE);
                let changes: Vec<_> = failed(changes.try_collect().await)?;
                for change in changes.into_iter().flatten() {
                    sink.write(&change.expose_json())?;
                    count += 1;
                    progress.step();
                }
            }
        }
        progress.clear();
        sink.finish()?;
        io.note(&format!("{count} identities exported, with their keys"));
        Ok(Exit::Done)
    })
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
                let file = file.map_err(|error| unwritable(path, &error))?;
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

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::unexpected(format!("can't write {}", path.display())).because(error)
}

const fn mode(mode: Mode) -> BulkMode {
    match mode {
        Mode::Create => BulkMode::Create,
        Mode::Update => BulkMode::Update,
        Mode::Delete => BulkMode::Delete,
        Mode::UpdateTwin => BulkMode::UpdateTwin,
    }
}

/// How many identities are asked for at once.
const AT_ONCE: usize = 8;
