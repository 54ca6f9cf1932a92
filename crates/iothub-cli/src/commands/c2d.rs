//! `iothub c2d …`

mod feedback;
mod send;

use serde_json::json;

use super::asking::{ask, failed};
use crate::args::Output;
use crate::args::twin::{C2d, Purge};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::io::Io;
use crate::output::{identity, rows};
use crate::plan::rest::Hub;

pub(crate) fn run(command: C2d, io: &mut Io) -> Result<Exit, Failure> {
    match command {
        C2d::Send(args) => send::run(*args, io),
        C2d::Feedback(args) => feedback::run(args, io),
        C2d::Purge(args) => purge(args, io),
    }
}

fn purge(args: Purge, io: &mut Io) -> Result<Exit, Failure> {
    let hub = Hub::of(args.rest, ("", false), io)?;
    let output = hub.output;
    ask(hub, async |registry| {
        let purged = failed(registry.purge_messages(&args.id).await)?;
        if output == Output::Text {
            let messages = if purged == 1 { "message" } else { "messages" };
            io.print(&format!("{purged} {messages} purged"))?;
        } else {
            let shown = json!({ "device": args.id.as_str(), "purged": purged });
            rows::print_one(&identity::object(shown), output, io)?;
        }
        Ok(Exit::Done)
    })
}
