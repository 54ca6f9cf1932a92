//! The harness that the tests across crates share.
