//! Goal: the crate needs no std.
//! Method: build `no_std/`, which has its own panic handler and allocator, so that linking std in fails with two of each.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};

fn build(arguments: &[&str]) -> Output {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/no_std/Cargo.toml");
    Command::new(env!("CARGO"))
        .args(["build", "--manifest-path"])
        .arg(manifest)
        .args(arguments)
        .env(
            "CARGO_TARGET_DIR",
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("no_std"),
        )
        .output()
        .unwrap()
}

#[test]
fn it_builds_where_there_is_no_std() {
    let output = build(&[]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
