//! See `checks::url`. Run: `cargo xtask fuzz url`.
#![no_main]

#[path = "../../crates/iothub-address/tests/common/checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|text: &str| checks::url(text));
