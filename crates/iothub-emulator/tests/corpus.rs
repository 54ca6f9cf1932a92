//! Every input that the fuzzer kept, replayed. A missing corpus (in a published package) is none.

#[path = "common/checks.rs"]
mod checks;

use std::fs;
use std::path::Path;

#[test]
fn what_was_kept_for_connections_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/connection");
    for file in fs::read_dir(folder).into_iter().flatten().flatten() {
        let bytes =
            fs::read(file.path()).unwrap_or_else(|error| panic!("{}: {error}", file.path().display()));
        println!("{}", file.path().display());
        checks::connection(&bytes);
    }
}
