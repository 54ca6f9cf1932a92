//! One file per command.

mod address;
mod asking;
mod c2d;
mod context;
mod device_listen;
mod device_methods;
mod device_run;
mod device_send;
mod device_twin;
mod doctor;
mod emulator_ca;
mod emulator_clock;
mod emulator_env;
mod emulator_export;
mod emulator_fault;
mod emulator_run;
mod events;
mod live;
mod manual;
mod method;
mod module;
mod ready;
mod registry;
mod registry_export;
mod registry_import;
mod registry_keys;
mod reply;
mod running;
mod runtime_folder;
mod sas;
mod twin;

use crate::args::Command;
use crate::args::address::Address;
use crate::args::device::Device;
use crate::args::emulator::Emulator;
use crate::args::sas::Sas;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::io::Io;

/// Runs one command. What was only partly done, or came to a bad answer, is a value; what failed is an error.
pub(crate) fn run(command: Command, io: &mut Io) -> Result<Exit, Failure> {
    match command {
        Command::Device(Device::Send(args)) => device_send::run(args, io),
        Command::Device(Device::Listen(args)) => device_listen::run(args, io),
        Command::Device(Device::Twin(args)) => device_twin::run(args, io),
        Command::Device(Device::Methods(args)) => device_methods::run(args, io),
        Command::Device(Device::Run(args)) => device_run::run(args, io),
        Command::Address(Address::Build(args)) => address::build(args, io),
        Command::Address(Address::Parse(args)) => address::parse(args, io),
        Command::Address(Address::Explain(args)) => address::explain(args, io),
        Command::Address(Address::Convert(args)) => address::convert(args, io),
        Command::Registry(args) => registry::run(args, io),
        Command::Module(args) => module::run(args, io),
        Command::Twin(args) => twin::run(args, io),
        Command::Method(args) => method::run(args, io),
        Command::C2d(args) => c2d::run(args, io),
        Command::Events(command) => events::run(command, io),
        Command::Doctor(args) => doctor::run(args, io),
        Command::Completions(args) => manual::completions(&args, io),
        Command::Man(args) => manual::man(&args, io),
        Command::Context(command) => context::run(command, io),
        Command::Sas(Sas::Sign(args)) => sas::sign(args, io),
        Command::Sas(Sas::Decode(args)) => sas::decode(args, io),
        Command::Sas(Sas::Verify(args)) => sas::verify(args, io),
        Command::Emulator(Emulator::Run(args)) => emulator_run::run(args, io),
        Command::Emulator(Emulator::Env(args)) => emulator_env::run(args, io),
        Command::Emulator(Emulator::Ca(args)) => emulator_ca::run(args, io),
        Command::Emulator(Emulator::Fault(args)) => emulator_fault::run(args, io),
        Command::Emulator(Emulator::Clock(args)) => emulator_clock::run(args, io),
        Command::Emulator(Emulator::Export(args)) => emulator_export::run(args, io),
    }
}

/// The runtime of the commands that speak to others.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .map_err(|error| Failure::unexpected("can't start").because(&error))
}

/// One for the client and one for the hub, when both are here.
const WORKERS: usize = 2;
