//! See `checks::token`. Run: `cargo xtask fuzz token`.
#![no_main]

#[path = "../../crates/iothub-sas/tests/common/checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|text: &str| checks::token(text));
