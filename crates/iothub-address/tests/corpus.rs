//! Every text that the fuzzer kept, replayed. A missing corpus (in a published package) is none.

#[path = "common/checks.rs"]
mod checks;

use std::fs;
use std::path::Path;

fn replay(target: &str, check: fn(&str)) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/corpus")
        .join(target);
    let files = fs::read_dir(&folder).into_iter().flatten().flatten();
    for file in files {
        let bytes =
            fs::read(file.path()).unwrap_or_else(|error| panic!("{}: {error}", file.path().display()));
        if let Ok(text) = str::from_utf8(&bytes) {
            check(text);
        }
    }
}

#[test]
fn what_was_kept_for_addresses_holds() {
    replay("url", checks::url);
}

#[test]
fn what_was_kept_for_connection_strings_holds() {
    replay("connection_string", checks::connection_string);
}

#[test]
fn what_was_kept_for_nodes_holds() {
    replay("node", checks::node);
}
