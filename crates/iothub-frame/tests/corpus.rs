//! Every input that the fuzzer kept, replayed. A missing corpus (in a published package) is none.

#[path = "common/checks.rs"]
mod checks;

use std::fs;
use std::path::Path;

#[test]
fn what_was_kept_for_frames_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/frame");
    for file in fs::read_dir(folder).into_iter().flatten().flatten() {
        if let Ok(bytes) = fs::read(file.path()) {
            checks::frames(&bytes);
        }
    }
}
