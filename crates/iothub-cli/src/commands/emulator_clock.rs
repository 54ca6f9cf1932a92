//! `iothub emulator clock`

use hyper::Method;
use serde_json::{Value, json};

use super::running::RunningHub;
use crate::args::Format;
use crate::args::administration::{Clock, Plain, Turn};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::io::Io;
use crate::output::json;

pub(crate) fn run(args: Clock, io: &mut Io) -> Result<Exit, Failure> {
    let (method, body, Plain { running, output }) = match args {
        Clock::Show(plain) => (Method::GET, None, plain),
        Clock::Turn(Turn { by, plain }) => {
            let by = u64::try_from(by.0.as_millis()).unwrap_or(u64::MAX);
            (Method::POST, Some(json!({ "by_ms": by })), plain)
        }
    };
    let hub = RunningHub::find(&running, io)?;
    let answer = super::runtime()?.block_on(hub.ask(method, "/admin/clock", body))?;
    io.print(&match output {
        Format::Json => json::line(&answer),
        Format::Text => shown(&answer),
    })?;
    Ok(Exit::Done)
}

fn shown(answer: &Value) -> String {
    answer["now"].as_str().unwrap_or_default().to_owned()
}
