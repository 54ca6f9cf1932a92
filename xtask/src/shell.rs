//! Calling other programs from the root of the workspace, and saying what failed.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Why a task did not succeed; the variant chooses the exit code, 2 or 1.
#[derive(Debug)]
pub(crate) enum Failure {
    Usage(String),
    Failed(String),
}

impl Failure {
    /// For `map_err` on what the system refuses: `Failure::because("cannot read README.md")`.
    pub(crate) fn because<E: Display>(what: impl Display) -> impl FnOnce(E) -> Self {
        move |error| Self::Failed(format!("{what}: {error}"))
    }
}

/// The root of the workspace. Cargo says where this package is when it runs it; without, it is where it was built.
pub(crate) fn root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package.parent().map(Path::to_owned).unwrap_or(package)
}

/// A program that runs at the root of the workspace. Relative paths in it count from there.
pub(crate) fn program(name: impl AsRef<Path>) -> Command {
    let mut command = Command::new(name.as_ref());
    command.current_dir(root());
    // Cargo tells a program that it runs about its package. A cargo below must not hear it: ring's build script asks
    // to be run again when CARGO_PKG_* change, so each change between `cargo` and `cargo xtask` would build it anew.
    for (variable, _) in std::env::vars_os() {
        let name = variable.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&variable);
        }
    }
    command
}

/// The cargo that runs this program, on the lockfile as it is committed (but for `cargo fmt`, which resolves nothing).
pub(crate) fn cargo(subcommand: &str) -> Command {
    let mut command =
        program(std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from));
    command.arg(subcommand);
    if subcommand != "fmt" {
        command.arg("--locked");
    }
    command
}

/// Says what it runs, runs it, and fails as it fails.
pub(crate) fn run(command: &mut Command) -> Result<(), Failure> {
    let line = announce(command);
    let status = command
        .status()
        .map_err(Failure::because(format!("cannot run `{line}`")))?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::Failed(format!("`{line}` ended with {status}")))
    }
}

/// Prints the command as one would type it, and returns that line.
pub(crate) fn announce(command: &Command) -> String {
    let name = Path::new(command.get_program())
        .file_name()
        .unwrap_or_else(|| command.get_program());
    let words = std::iter::once(name)
        .chain(command.get_args())
        .map(|word| word.to_string_lossy());
    let line = words.collect::<Vec<_>>().join(" ");
    println!("$ {line}");
    line
}
