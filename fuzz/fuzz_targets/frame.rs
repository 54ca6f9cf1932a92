//! See `checks::frames`. Run: `cargo xtask fuzz frame`.
#![no_main]

#[path = "../../crates/iothub-frame/tests/common/checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| checks::frames(bytes));
