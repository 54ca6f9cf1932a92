//! The automation of the workspace.
fn main() {}
