//! Goal: whoever uses the client reads of everything that can be dropped or lost what holds then, and finds the test for it.
//! Method: the sources. What the sections say is held by tests that are named here, item by item.
#![allow(clippy::unwrap_used, reason = "a test that fails here fails as it should")]

#[path = "client_docs/backed.rs"]
mod backed;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use self::backed::{BACKED, WHOLE};

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
    let mut sources: Vec<_> = files(&folder)
        .into_iter()
        .map(|path| (path.display().to_string(), fs::read_to_string(&path).unwrap()))
        .collect();
    sources.sort();
    assert!(sources.len() > 20);
    sources
}

/// Those of the stream that the client re-exports something of.
fn frame_sources() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/iothub-frame/src");
    let read = |path: PathBuf| (path.display().to_string(), fs::read_to_string(&path).unwrap());
    let mut sources: Vec<_> = files(&folder).into_iter().map(read).collect();
    sources.sort();
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

/// The types, and the functions with the type that they are of, whose docs have one of these headings.
fn headed(headings: &[&str]) -> BTreeSet<String> {
    let mut items = BTreeSet::new();
    for (_, text) in [sources(), frame_sources()].concat() {
        let lines: Vec<_> = text.lines().collect();
        let mut of = String::new();
        for (at, line) in lines.iter().enumerate() {
            let mut words = line
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .filter(|word| !word.is_empty());
            let (first, second) = (words.next(), words.next());
            let item = match (first, second, words.next()) {
                (Some("impl"), Some(name), _) => {
                    of = name.to_owned();
                    continue;
                }
                (Some("pub"), Some("struct" | "enum"), Some(name)) => name.to_owned(),
                (Some("pub"), Some("trait"), Some(name)) => {
                    of = name.to_owned();
                    of.clone()
                }
                (Some("pub"), Some("fn"), Some(name)) | (Some("fn"), Some(name), _) => {
                    format!("{of}::{name}")
                }
                (Some("pub"), Some("async"), Some("fn")) => {
                    format!("{of}::{}", words.next().unwrap_or_default())
                }
                _ => continue,
            };
            let docs = docs_before(&lines, at);
            if headings.iter().any(|heading| docs.contains(heading)) {
                items.insert(item);
            }
        }
    }
    items
}

#[test]
fn what_the_docs_say_of_delivery_and_cancellation_is_held_by_tests_that_exist() {
    let backed: BTreeSet<_> = BACKED.iter().map(|(item, _)| (*item).to_owned()).collect();
    assert_eq!(backed, headed(&["# Delivery", "# Cancel safety"]));
    let tests = tests();
    for (item, names) in BACKED {
        assert!(!names.is_empty(), "{item}");
        for name in names {
            assert!(tests.contains(*name), "{item}: there is no test {name}");
        }
    }
}

/// What the engine does that a client has to be kept from, by the symptom, and the tests that show it is.
const ENGINE: [(&str, &[&str]); 16] = [
    (
        "a pending send never resolves when the connection dies",
        &[
            "a_message_that_flew_when_the_connection_was_cut_is_sent_again_before_newer_ones",
            "a_hub_that_goes_away_is_a_lost_connection_and_a_message_on_its_way_is_unknown",
        ],
    ),
    (
        "nor may an attach or a begin",
        &["an_attach_that_the_engine_forgets_ends_with_its_connection_and_not_by_its_time_out"],
    ),
    (
        "a blocked write freezes reads and timers",
        &[
            "a_hub_that_stops_reading_freezes_no_deadline",
            "the_peer_stops_reading",
            "a_peer_that_stops_reading_blocks_no_write_and_no_read_and_ends_after_the_stall_time",
        ],
    ),
    (
        "one write a frame",
        &["frames_that_wait_for_the_writer_leave_together"],
    ),
    (
        "a closed session window buffers without bound",
        &["a_session_window_of_0_lets_nothing_pile_up_and_nothing_be_lost"],
    ),
    (
        "an open of over 504 bytes is corrupted",
        &["the_longest_open_stays_below_what_the_engine_corrupts"],
    ),
    (
        "a SASL frame of over 512 bytes is an I/O error",
        &[
            "a_token_too_long_for_a_sasl_frame_is_refused_before_anything_is_dialled",
            "the_longest_token_that_is_let_through_goes_through_the_engine",
        ],
    ),
    (
        "a frame shorter than its header panics",
        &[
            "sizes_below_a_frame_header_are_refused",
            "every_hostile_sequence_ends_the_connection_with_a_typed_error_before_open_and_after",
            "hostile_bytes_during_sasl_are_caught_too",
        ],
    ),
    (
        "nested values overflow the stack",
        &[
            "the_nested_attach_that_overflows_a_recursive_decoder_is_refused",
            "a_message_that_would_overflow_a_decoder_s_stack_is_stopped_however_it_is_cut",
        ],
    ),
    (
        "a message without end is gathered without bound",
        &["a_message_that_never_ends_is_stopped_at_a_bound"],
    ),
    (
        "a disposition of any width is walked id by id",
        &[
            "dispositions_wider_than_any_window_are_refused",
            "a_wide_disposition_is_seen_in_each_of_its_encodings",
        ],
    ),
    (
        "it spins in end and close towards a silent peer",
        &[
            "a_hub_that_falls_silent_times_out_in_the_phase_it_fell_silent_in",
            "each_fault_at_each_phase_recovers_or_ends_with_its_error",
        ],
    ),
    (
        "an idle time-out is kept to the last moment",
        &["the_peer_hears_of_this_side_twice_within_its_idle_time_out"],
    ),
    (
        "a silent peer is an error without a reason",
        &[
            "a_connection_that_is_gone_without_a_word_is_found_out_by_silence",
            "an_idle_time_out_while_something_is_begun_or_attached_is_told_as_what_it_is",
        ],
    ),
    (
        "a refused attach looks like one that was taken",
        &["a_link_that_is_refused_after_it_was_attached_tells_why_and_nothing_was_sent"],
    ),
    (
        "a link's name and node are taken until its detach is answered",
        &[
            "a_session_begun_anew_attaches_nothing_beside_the_links_of_the_one_before",
            WHOLE,
        ],
    ),
];

#[test]
fn each_way_in_which_the_engine_bites_has_its_tests() {
    let tests = tests();
    for (bite, names) in ENGINE {
        for name in names {
            assert!(tests.contains(*name), "{bite}: there is no test {name}");
        }
    }
}

/// The names of all tests of the client and of the stream that it stands on.
fn tests() -> BTreeSet<String> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let crates = [
        "iothub-amqp/src",
        "iothub-amqp/tests",
        "iothub-frame/src",
        "iothub-frame/tests",
    ];
    let crates = crates.map(|folder| here.join("../crates").join(folder));
    let folders = [&[here.join("tests")][..], &crates].concat();
    let mut tests = BTreeSet::new();
    for path in folders.iter().flat_map(|folder| files(folder)) {
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        let lines: Vec<_> = text.lines().map(str::trim).collect();
        for pair in lines.windows(2) {
            let is_test = pair[0].starts_with("#[test]") || pair[0].starts_with("#[tokio::test");
            let name = pair[1].trim_start_matches("async ").strip_prefix("fn ");
            if let Some((name, _)) = name.filter(|_| is_test).and_then(|rest| rest.split_once('(')) {
                tests.insert(name.to_owned());
            }
        }
    }
    tests
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// The names that `lib.rs` re-exports, and those of its public modules: but for what its documentation hides.
fn public_names() -> BTreeSet<String> {
    let source = |name: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/iothub-amqp/src");
        fs::read_to_string(folder.join(name)).unwrap()
    };
    let face = source("lib.rs");
    let mut names = BTreeSet::new();
    for uses in face.split("\npub use ").skip(1) {
        let (path, _) = uses.split_once(';').unwrap();
        let list = path.rsplit_once("::").map_or(path, |(_, last)| last);
        let list = path.split_once('{').map_or(list, |(_, list)| list);
        assert!(!list.contains('*'), "a glob hides what is public: {path}");
        let words = list.split(|c: char| !c.is_alphanumeric() && c != '_');
        names.extend(words.filter(|word| !word.is_empty()).map(str::to_owned));
    }
    let lines: Vec<_> = face.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        let Some(module) = line.strip_prefix("pub mod ") else {
            continue;
        };
        // Attributes may have lines of their own: back to the item before.
        let hidden = lines[..at].iter().rev();
        let mut hidden = hidden.take_while(|line| !line.ends_with(';'));
        if hidden.any(|line| *line == "#[doc(hidden)]") {
            continue;
        }
        let text = source(&module.replace(';', ".rs"));
        names.extend(
            text.lines()
                .filter_map(|line| declared(line).map(|(_, name)| name.to_owned())),
        );
    }
    names
}

/// What a line declares in public, and its name.
fn declared(line: &str) -> Option<(&str, &str)> {
    let (kind, rest) = line.strip_prefix("pub ")?.split_once(' ')?;
    let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()?;
    ["struct", "enum", "trait", "type", "const", "fn"]
        .contains(&kind)
        .then_some((kind, name))
}

#[test]
fn every_public_type_says_what_is_delivered_and_what_dropping_it_means() {
    let sources = [sources(), frame_sources()].concat();
    let mut types = 0;
    for name in public_names() {
        let mut found = 0;
        for (path, text) in &sources {
            let lines: Vec<_> = text.lines().collect();
            for (at, line) in lines.iter().enumerate() {
                let Some((kind, _)) = declared(line).filter(|(_, declared)| *declared == name) else {
                    continue;
                };
                found += 1;
                if !["struct", "enum", "trait"].contains(&kind) {
                    continue;
                }
                types += 1;
                let docs = docs_before(&lines, at);
                for heading in ["# Delivery", "# Cancel safety"] {
                    assert!(docs.contains(heading), "{path}: {name} has no {heading}");
                }
            }
        }
        assert!(found > 0, "{name} is declared nowhere");
    }
    assert!(types > 70, "{types}");
}
