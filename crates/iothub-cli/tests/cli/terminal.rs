//! Goal: on a terminal a hub shows what people want to see, and stops by Ctrl-C.
//! Method: a pseudo-terminal, of util-linux.
#![cfg(target_os = "linux")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::harness::iothub;

/// `emulator run` in a pseudo-terminal that util-linux's `script` makes, until its hub is ready; then a device sends and reports. Gives all
/// that the terminal showed, once Ctrl-C was typed there.
fn on_a_terminal(more: &str) -> String {
    let state = tempfile::tempdir().unwrap();
    let directory = state.path().to_str().unwrap();
    let ports = "--amqps-port 0 --https-port 0";
    let program = env!("CARGO_BIN_EXE_iothub");
    // A shell that stays around it has words of its own for Ctrl-C, and which shell it is depends on the surroundings.
    let run = format!("exec {program} emulator run {ports} --state-dir {directory} {more}");
    let mut terminal = Command::new("script")
        .args(["--quiet", "--return", "--command", &run, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut shown = String::new();
    let mut output = BufReader::new(terminal.stdout.take().unwrap());
    while !shown.contains("Ctrl-C stops it") {
        assert_ne!(output.read_line(&mut shown).unwrap(), 0, "{shown}");
    }
    let ready = std::fs::read_to_string(state.path().join("emulator.json")).unwrap();
    let ready: Value = serde_json::from_str(&ready).unwrap();
    let string = ready["devices"]["myFirstDevice"].as_str().unwrap();
    for command in [
        ["device", "send", "Hello World!"].as_slice(),
        &["device", "twin", "report", "{\"a\":1}"],
    ] {
        iothub(command.iter().copied())
            .env("IOTHUB_CA_FILE", ready["ca"].as_str().unwrap())
            .env("IOTHUB_DEVICE_CONNECTION_STRING", string)
            .run()
            .expect_code(0);
    }
    let mut keyboard = terminal.stdin.take().unwrap();
    keyboard.write_all(b"\x03").unwrap();
    while output.read_line(&mut shown).unwrap() > 0 {}
    assert_eq!(terminal.wait().unwrap().code(), Some(0), "{shown}");
    shown
}

#[test]
fn on_a_terminal_it_shows_who_comes_and_goes_and_what_flows_and_when_quiet_nothing() {
    let shown = on_a_terminal("");
    let order = [
        "It receives:",
        " is myFirstDevice\r\n",
        "  Hello World!\r\n",
        " is gone: ",
        " myFirstDevice reports properties, version 2\r\n",
        " is gone: ",
    ];
    let mut rest = shown.as_str();
    for word in order {
        let at = rest
            .find(word)
            .unwrap_or_else(|| panic!("no {word:?} in {shown:?}"));
        rest = &rest[at + word.len()..];
    }
    let quiet = on_a_terminal("-q");
    let behind = quiet.split("Ctrl-C stops it.").nth(1).unwrap();
    // What the terminal itself shows of the key.
    assert_eq!(behind.replace("^C", "").trim(), "", "{quiet:?}");
}
