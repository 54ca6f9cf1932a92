//! See `checks::connection`. Run: `cargo xtask fuzz connection`.
#![no_main]

#[path = "../../crates/iothub-emulator/tests/common/checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::connection(bytes));
