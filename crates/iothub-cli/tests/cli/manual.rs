//! Goal: completions and the manual say what the command line takes, and the pages in the repository are today's.
//! Method: shells read what is written for them; the pages are compared with those that this program writes.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use super::harness::iothub;

const PAGES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/man");

fn pages(directory: &Path) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read_to_string(entry.path()).unwrap())
        })
        .collect()
}

#[test]
fn the_pages_of_the_manual_are_those_of_this_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let fresh = folder.path().join("made/by it");
    let ran = iothub(["man"]).arg(&fresh).run().expect_code(0);
    assert_eq!(ran.stdout, "");
    let (fresh, kept) = (pages(&fresh), pages(Path::new(PAGES)));
    let stale: Vec<_> = fresh
        .iter()
        .filter(|(name, text)| kept.get(*name) != Some(*text))
        .map(|(name, _)| name)
        .chain(kept.keys().filter(|name| !fresh.contains_key(*name)))
        .collect();
    let cure = "rm docs/man/* && cargo run -p iothub-cli -- man docs/man";
    assert!(stale.is_empty(), "stale: {stale:?}: {cure}");
    assert!(fresh["iothub-device-send.1"].contains("jsonl"));
    assert!(
        fresh.contains_key("iothub-emulator-fault-inject.1"),
        "{:?}",
        fresh.keys()
    );
}

/// Bash takes the script, and completes by it as a person would see it.
#[cfg(target_os = "linux")]
#[test]
fn bash_completes_commands_and_flags() {
    let script = iothub(["completions", "bash"]).run().expect_code(0).stdout;
    let complete = |words: &[&str]| {
        let list: Vec<_> = words.iter().map(|word| format!("'{word}'")).collect();
        let (last, before) = (words.len() - 1, words.len().saturating_sub(2));
        let ask = format!(
            "{script}\nCOMP_WORDS=({}); COMP_CWORD={last}; _iothub iothub '{}' '{}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
            list.join(" "),
            words[last],
            words[before],
        );
        let mut bash = Command::new("bash")
            .args(["--norc", "--noprofile", "-s"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        bash.stdin.take().unwrap().write_all(ask.as_bytes()).unwrap();
        let done = bash.wait_with_output().unwrap();
        assert!(done.status.success());
        String::from_utf8(done.stdout).unwrap()
    };
    assert_eq!(complete(&["iothub", "dev"]), "device\n");
    assert_eq!(complete(&["iothub", "device", "send", "--jso"]), "--jsonl\n");
    assert_eq!(
        complete(&["iothub", "device", "send", "--transport", "w"]),
        "ws\n"
    );
}

#[test]
fn there_are_completions_for_each_shell_and_no_other() {
    for (shell, word) in [
        ("bash", "complete -F _iothub"),
        ("zsh", "#compdef iothub"),
        ("fish", "complete -c iothub"),
        ("powershell", "Register-ArgumentCompleter"),
        ("elvish", "edit:completion:arg-completer[iothub]"),
    ] {
        let ran = iothub(["completions", shell]).run().expect_code(0);
        assert!(ran.stdout.contains(word), "{shell}");
    }
    let ran = iothub(["completions", "csh"]).run().expect_code(2);
    assert!(ran.stderr.contains("possible values: bash"), "{ran:?}");
}

#[test]
fn alone_it_says_what_five_things_most_people_want() {
    let ran = iothub([]).run().expect_code(2);
    let commands: Vec<_> = ran
        .stderr
        .lines()
        .filter(|line| line.starts_with("  iothub "))
        .collect();
    assert_eq!(commands.len(), 5, "{ran:?}");
}
