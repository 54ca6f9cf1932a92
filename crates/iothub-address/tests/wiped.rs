//! Goal: tokens, keys and passwords are wiped before their memory is given back.
//! Method: run the program in `wiped/`, whose allocator looks at each block that is freed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;

#[test]
fn no_secret_is_left_in_freed_memory() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wiped/Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--manifest-path"])
        .arg(manifest)
        .env(
            "CARGO_TARGET_DIR",
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("wiped"),
        )
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
