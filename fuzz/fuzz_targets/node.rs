//! See `checks::node`. Run: `cargo xtask fuzz node`.
#![no_main]

#[path = "../../crates/iothub-address/tests/common/checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|text: &str| checks::node(text));
