//! `iothub module …`

use iothub_registry::Module as Identity;

use super::asking::{ask, confirm, failed, state};
use super::registry::{authentication, proof_reader};
use crate::args::Output;
use crate::args::registry::{Module, ModuleCreate, ModuleDelete, ModuleShow, Show};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::io::Io;
use crate::output::{identity, rows};
use crate::plan::rest::Hub;

pub(crate) fn run(command: Module, io: &mut Io) -> Result<Exit, Failure> {
    match command {
        Module::Create(args) => create(args, io),
        Module::Show(args) => show(args, io),
        Module::List(args) => list(args, io),
        Module::Delete(args) => delete(args, io),
    }
}

fn create(args: ModuleCreate, io: &mut Io) -> Result<Exit, Failure> {
    let ModuleShow { id, module, rest } = args.named;
    let hub = Hub::of(rest, proof_reader(&args.proof), io)?;
    let mut module = Identity::new(id, module);
    module.authentication = authentication(args.proof, io)?;
    let (host, port, output) = (hub.host.clone(), hub.port, hub.output);
    ask(hub, async |registry| {
        let made = failed(registry.create_module(&module).await)?;
        let mut shown = identity::module(&made);
        let string = identity::connection_string(&host, port, &made.identity(), &made.authentication);
        shown.insert("connection_string".to_owned(), string.into());
        rows::print_one(&shown, output, io)?;
        Ok(Exit::Done)
    })
}

fn show(args: ModuleShow, io: &mut Io) -> Result<Exit, Failure> {
    let hub = Hub::of(args.rest, ("", false), io)?;
    let output = hub.output;
    ask(hub, async |registry| {
        let module = failed(registry.module(&args.id, &args.module).await)?;
        rows::print_one(&identity::module(&module), output, io)?;
        Ok(Exit::Done)
    })
}

fn list(args: Show, io: &mut Io) -> Result<Exit, Failure> {
    let hub = Hub::of(args.rest, ("", false), io)?;
    let output = hub.output;
    ask(hub, async |registry| {
        let modules = failed(registry.modules(&args.id).await)?;
        let shown: Vec<_> = modules.iter().map(identity::module).collect();
        if shown.is_empty() && output == Output::Text {
            io.note(&format!("device {} has no modules", args.id));
        }
        rows::print(&identity::MODULE_COLUMNS, &shown, output, io)?;
        Ok(Exit::Done)
    })
}

fn delete(args: ModuleDelete, io: &mut Io) -> Result<Exit, Failure> {
    let ModuleShow { id, module, rest } = args.named;
    let hub = Hub::of(rest, ("", false), io)?;
    confirm(&args.deletion, &format!("module {module} of device {id}"), io)?;
    ask(hub, async |registry| {
        let state = state(args.deletion.if_match.as_deref());
        failed(registry.delete_module(&id, &module, &state).await)?;
        io.note(&format!("module {module} of device {id} is deleted"));
        Ok(Exit::Done)
    })
}
