//! Goal: whoever uses the client reads of everything that can be dropped or lost what holds then.
//! Method: the sources. What the sections say is held by `client_dropped`, `field_failures`, `sim_whole` and others.
#![allow(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

use std::fs;
use std::path::Path;

/// The documentation that stands right before this line, and whether it says nothing at all.
fn docs_before(lines: &[&str], at: usize) -> String {
    let before = lines[..at].iter().rev();
    let mut docs: Vec<_> = before
        .take_while(|line| {
            let line = line.trim_start();
            line.starts_with("///") || line.starts_with("#[")
        })
        .map(|line| line.trim())
        .collect();
    docs.reverse();
    docs.join("\n")
}

fn sources() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/iothub-amqp/src");
    let mut sources: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| (path.display().to_string(), fs::read_to_string(&path).unwrap()))
        .collect();
    sources.sort();
    assert!(sources.len() > 20);
    sources
}

#[test]
fn every_async_function_says_what_it_means_to_drop_it() {
    let mut count = 0;
    for (path, text) in sources() {
        let lines: Vec<_> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            if line.trim_start().starts_with("pub async fn") {
                count += 1;
                assert!(
                    docs_before(&lines, at).contains("# Cancel safety"),
                    "{path}:{}: {line}",
                    at + 1
                );
            }
        }
    }
    assert!(count > 20, "{count}");
}

/// What messages, commands, methods and the twin go through.
const CARRIERS: [&str; 11] = [
    "DeviceClient",
    "Connection",
    "Pool",
    "Commands",
    "Command",
    "Methods",
    "MethodCall",
    "Twin",
    "DesiredChanges",
    "Ticket",
    "SendError",
];

#[test]
fn every_type_that_carries_something_says_what_is_delivered() {
    let sources = sources();
    for name in CARRIERS {
        let docs = sources.iter().find_map(|(_, text)| {
            let lines: Vec<_> = text.lines().collect();
            let at = lines.iter().position(|line| {
                [format!("pub struct {name} {{"), format!("pub enum {name} {{")].contains(&(*line).to_owned())
            })?;
            Some(docs_before(&lines, at))
        });
        let docs = docs.unwrap_or_else(|| panic!("there is no {name}"));
        assert!(docs.contains("# Delivery"), "{name}: {docs}");
        if name != "SendError" {
            assert!(docs.contains("# Cancel safety"), "{name}: {docs}");
        }
    }
}
