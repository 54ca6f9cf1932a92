//! `iothub context …`

use std::num::NonZeroU16;

use iothub_address::{ConnectionString, Secret};
use iothub_amqp::Proxy;
use serde::Serialize;

use crate::args::context::{Add, Context as Command, List, Named, Show};
use crate::args::{Input, Output};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::io::Io;
use crate::output::{json, table};
use crate::plan::contexts::{Context, Contexts, Role};
use crate::plan::settings::{self, CA_VARIABLE, CONTEXT_VARIABLE, NamedBy, Origin, Settings};
use crate::plan::{roots, secrets};

pub(crate) fn run(command: Command, io: &mut Io) -> Result<Exit, Failure> {
    match command {
        Command::Add(args) => add(args, io),
        Command::Use(Named { name }) => change(
            |contexts| contexts.switch_to(&name),
            &format!("context {name} is in use"),
            io,
        ),
        Command::List(args) => list(&args, io),
        Command::Show(args) => show(args, io),
        Command::Remove(Named { name }) => change(
            |contexts| contexts.remove(&name),
            &format!("context {name} is forgotten"),
            io,
        ),
    }
    .map(|()| Exit::Done)
}

fn change(
    change: impl FnOnce(&mut Contexts) -> Result<(), Failure>,
    done: &str,
    io: &mut Io,
) -> Result<(), Failure> {
    let mut contexts = Contexts::read(io)?;
    change(&mut contexts)?;
    contexts.write(io)?;
    io.note(done);
    Ok(())
}

fn add(args: Add, io: &mut Io) -> Result<(), Failure> {
    let mut contexts = Contexts::read(io)?;
    let Add {
        name,
        connection_string_file,
        ca,
        transport,
        proxy,
        https_port,
    } = args;
    let of_environment = connection_string_file.is_empty()
        && ca.is_none()
        && transport.is_none()
        && proxy.is_none()
        && https_port.is_none();
    let context = if of_environment {
        of_the_environment(io)?
    } else {
        let mut context = Context {
            transport,
            proxy,
            https_port,
            ..Context::default()
        };
        let readers: Vec<_> = connection_string_file
            .iter()
            .map(|input| ("--connection-string-file", input == &Input::Stdin))
            .chain([("--ca", ca == Some(Input::Stdin))])
            .collect();
        secrets::stdin_once(&readers)?;
        for input in connection_string_file {
            let text = secrets::read(&input, io)?;
            keep(&mut context, text, &Origin::File(input))?;
        }
        if let Some(input) = ca {
            context.ca = Some(ca_text(&secrets::read_bytes(&input, io)?, &input.to_string())?);
        }
        context
    };
    if let Some(proxy) = context.proxy.as_ref().filter(|proxy| proxy.expose() != "none") {
        Proxy::parse(proxy.expose()).map_err(|error| Failure::usage("--proxy").because(&error))?;
    }
    let in_use = contexts.add(&name, context);
    let path = contexts.write(io)?;
    let use_it = if in_use {
        "it is in use".to_owned()
    } else {
        format!("'iothub context use {name}' makes it the one in use")
    };
    io.note(&format!("context {name} is kept in {}: {use_it}", path.display()));
    Ok(())
}

/// All that the environment gives.
fn of_the_environment(io: &mut Io) -> Result<Context, Failure> {
    let mut context = Context::default();
    let mut found = false;
    for role in Role::ALL {
        let variable = role.variable();
        let Some(text) = secrets::from_environment(variable, io)? else {
            continue;
        };
        keep(&mut context, text, &Origin::Environment(variable.to_owned()))?;
        found = true;
    }
    if !found {
        return Err(Failure::usage("nothing to keep").hint(
            "give --connection-string-file FILE, or set what 'iothub emulator env' prints, such as \
             IOTHUB_SERVICE_CONNECTION_STRING",
        ));
    }
    if let Some(path) = io.variable(CA_VARIABLE) {
        let pem = secrets::read_bytes(&Input::File(path.into()), io)?;
        context.ca = Some(ca_text(&pem, CA_VARIABLE)?);
    }
    context.https_port = settings::https_port_of_environment(io)?.map(|found| found.value);
    Ok(context)
}

fn keep(context: &mut Context, text: Secret, origin: &Origin) -> Result<(), Failure> {
    let string = ConnectionString::parse(text.expose())
        .map_err(|error| Failure::usage(format!("the connection string in {origin}")).because(&error))?;
    let Some(role) = Role::of(&string) else {
        return Err(Failure::usage(format!(
            "the connection string in {origin} is a provisioning service's, which no command takes"
        )));
    };
    if context.string(role).is_some() {
        let what = format!(
            "the connection string in {origin} is the second for {}",
            role.name()
        );
        return Err(Failure::usage(what).hint("a context has one of each kind: make two contexts"));
    }
    context.set(role, text);
    Ok(())
}

fn ca_text(pem: &[u8], place: &str) -> Result<String, Failure> {
    roots::parse(pem, place)?;
    let text = std::str::from_utf8(pem).map_err(|_| Failure::usage(format!("{place} is not UTF-8 text")))?;
    Ok(text.to_owned())
}

/// A context without its secrets.
#[derive(Serialize)]
struct Row<'a> {
    name: &'a str,
    in_use: bool,
    service: Option<String>,
    device: Option<String>,
    events: Option<String>,
    ca: bool,
    transport: Option<&'static str>,
    proxy: Option<String>,
    https_port: Option<NonZeroU16>,
}

impl<'a> Row<'a> {
    fn of(name: &'a str, context: &Context, in_use: bool) -> Self {
        let shown = |role| context.string(role).map(redacted);
        Self {
            name,
            in_use,
            service: shown(Role::Service),
            device: shown(Role::Device),
            events: shown(Role::Events),
            ca: context.ca.is_some(),
            transport: context.transport.map(settings::carrier_name),
            proxy: context.proxy.as_ref().map(redacted_proxy),
            https_port: context.https_port,
        }
    }

    fn cells(&self, output: Output) -> Vec<String> {
        let yes = |is: bool| match output {
            Output::Text => if is { "yes" } else { "" }.to_owned(),
            _ => is.to_string(),
        };
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        vec![
            self.name.to_owned(),
            yes(self.in_use),
            text(&self.service),
            text(&self.device),
            text(&self.events),
            yes(self.ca),
            self.transport.unwrap_or_default().to_owned(),
            text(&self.proxy),
            self.https_port.map(|port| port.to_string()).unwrap_or_default(),
        ]
    }
}

fn list(args: &List, io: &mut Io) -> Result<(), Failure> {
    let contexts = Contexts::read(io)?;
    let current = contexts.current();
    let rows: Vec<_> = contexts
        .iter()
        .map(|(name, context)| Row::of(name, context, current == Some(name)))
        .collect();
    if args.output == Output::Json {
        return rows.iter().try_for_each(|row| io.print(&json::line(row)));
    }
    let cells: Vec<_> = rows.iter().map(|row| row.cells(args.output)).collect();
    if args.output == Output::Text && cells.is_empty() {
        io.note("there are no contexts: make one with 'iothub context add'");
        return Ok(());
    }
    rows_out(&LIST_COLUMNS, &cells, args.output, io)
}

/// A value that a command would use, and where it comes from.
#[derive(Serialize)]
struct Used {
    name: &'static str,
    value: String,
    from: String,
}

fn show(args: Show, io: &mut Io) -> Result<(), Failure> {
    let is_given = args.given.connection_string_file.is_some()
        || args.given.connection_string_env.is_some()
        || args.given.connection_string.is_some();
    let mut settings = Settings::new(args.given, io)?;
    let mut used = Vec::new();
    if let Some((name, by)) = settings.context() {
        let from = match by {
            NamedBy::Flag => "--context".to_owned(),
            NamedBy::Environment => format!("the environment variable {CONTEXT_VARIABLE}"),
            NamedBy::Use => "iothub context use".to_owned(),
        };
        let value = name.to_owned();
        used.push(Used {
            name: "context",
            value,
            from,
        });
    }
    for found in settings.connection_strings(is_given, io)? {
        let (role, found) = found;
        used.push(Used {
            name: role.name(),
            value: redacted(&found.value),
            from: found.origin.to_string(),
        });
    }
    if let Some(found) = settings.ca(None, io)? {
        let count = roots::parse(&found.value, &found.origin.to_string())?.len();
        let value = format!("{count} certificate{}", if count == 1 { "" } else { "s" });
        let from = found.origin.to_string();
        used.push(Used {
            name: "ca",
            value,
            from,
        });
    }
    if let Some(found) = settings.transport(None) {
        let value = settings::carrier_name(found.value).to_owned();
        let from = found.origin.to_string();
        used.push(Used {
            name: "transport",
            value,
            from,
        });
    }
    if let Some(found) = settings.proxy(None) {
        let (value, from) = (redacted_proxy(&found.value), found.origin.to_string());
        used.push(Used {
            name: "proxy",
            value,
            from,
        });
    }
    if let Some(found) = settings.https_port(None, io)? {
        let (value, from) = (found.value.to_string(), found.origin.to_string());
        used.push(Used {
            name: "https-port",
            value,
            from,
        });
    }
    if args.output == Output::Json {
        return used.iter().try_for_each(|used| io.print(&json::line(used)));
    }
    if used.is_empty() && args.output == Output::Text {
        io.note("no credential, no context: 'iothub context add' keeps one");
        return Ok(());
    }
    let cells: Vec<_> = used
        .into_iter()
        .map(|used| vec![used.name.to_owned(), used.value, used.from])
        .collect();
    rows_out(&["name", "value", "from"], &cells, args.output, io)
}

fn rows_out(columns: &[&str], rows: &[Vec<String>], output: Output, io: &mut Io) -> Result<(), Failure> {
    if output == Output::Text {
        return io.print(&table::text(columns, rows));
    }
    io.print(&table::csv(columns.iter().copied()))?;
    rows.iter()
        .try_for_each(|row| io.print(&table::csv(row.iter().map(String::as_str))))
}

/// What was read once can't be shown if it can't be read any more: a file may have been changed by hand.
fn redacted(string: &Secret) -> String {
    match ConnectionString::parse(string.expose()) {
        Ok(string) => string.to_string(),
        Err(error) => format!("can't be read: {error}"),
    }
}

fn redacted_proxy(proxy: &Secret) -> String {
    match Proxy::parse(proxy.expose()) {
        _ if proxy.expose() == "none" => "none".to_owned(),
        Ok(proxy) => proxy.to_string(),
        Err(error) => format!("can't be read: {error}"),
    }
}

const LIST_COLUMNS: [&str; 9] = [
    "name",
    "in_use",
    "service",
    "device",
    "events",
    "ca",
    "transport",
    "proxy",
    "https_port",
];
