//! See `checks::connection_string`. Run: `cargo xtask fuzz connection_string`.
#![no_main]

#[path = "../../crates/iothub-address/tests/common/checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|text: &str| checks::connection_string(text));
