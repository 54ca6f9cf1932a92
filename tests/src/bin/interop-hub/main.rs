//! An emulator that does what it is told: the hub's end of a case of `tests/interop`, which is written in Python.
//!
//! The first line of standard input says how to start, as [`setup::Setup`]; each other line is an [`order::Order`]. Every
//! line is one JSON object, and is answered by one line of standard output: what was asked for, or
//! `{"error": "why not"}`. The end of standard input stops the hub.

#![forbid(unsafe_code)]

mod order;
mod setup;
mod shown;

use std::io::Write as _;

use iothub_emulator::Emulator;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::order::Desk;
use crate::setup::Setup;

/// What is said when a line cannot be done; the case reads it as text.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let setup: Setup = read(
        &lines
            .next_line()
            .await?
            .ok_or("the first line says how to start")?,
    )?;
    let hub = setup.builder()?.start().await?;
    say(&ready(&hub))?;
    let mut desk = Desk::at(hub);
    while let Some(line) = lines.next_line().await? {
        let answer = match read(&line) {
            Ok(order) => desk.obey(order).await,
            Err(error) => Err(error),
        };
        say(&answer.unwrap_or_else(|error| json!({"error": error.to_string()})))?;
    }
    desk.close().await;
    Ok(())
}

fn ready(hub: &Emulator) -> Value {
    json!({
        "ready": true,
        "amqps_port": hub.amqps_address().port(),
        "https_port": hub.https_address().map(|address| address.port()),
        "ca": hub.root_certificate_pem(),
    })
}

fn read<T: DeserializeOwned>(line: &str) -> Result<T, Failure> {
    Ok(serde_json::from_str(line)?)
}

fn say(answer: &Value) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{answer}")?;
    out.flush()
}
