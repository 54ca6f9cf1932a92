//! `cargo xtask tidy`: what no compiler checks, one module a kind of source.

mod acceptance;
mod code;
mod documents;
mod packages;
mod sources;

use std::fmt;
use std::path::{Path, PathBuf};

use crate::args::Args;
use crate::metadata::Workspace;
use crate::shell::{self, Failure};

pub(crate) const HELP: &str = "\
check the rules of this workspace that no compiler checks

usage: cargo xtask tidy

  packages   dependencies between our crates go down only; a crate's rust-version is not below what it depends on;
             the licence is stated; no OpenSSL and no aws-lc under any feature of a shipped crate
  sources    #![forbid(unsafe_code)] at each crate root; the AMQP engine and tokio named only where they belong; no
             ignored test, no todo!, no unimplemented!; no file over 600 lines without a reason
  documents  each crate and its modules stand in ARCHITECTURE.md, which has 200 lines at most; both licence texts are
             there; the README opens with its two commands, and shows files as they are
  acceptance each row of the protocol reference that the emulator must meet has a test that is there

Each finding is a line `FILE:LINE: what is wrong`; all are printed, and one is enough to fail.";

/// Something that breaks a rule. Line 0 is the file as a whole.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    file: PathBuf,
    line: usize,
    message: String,
}

pub(crate) fn run(args: Args) -> Result<String, Failure> {
    args.finish()?;
    let workspace = Workspace::load()?;
    let files = sources::read_all(&shell::root()).map_err(Failure::because("cannot read the sources"))?;
    let mut findings = packages::check(&workspace);
    findings.extend(sources::check(&workspace, &files));
    findings.extend(documents::check(&workspace, &files));
    findings.extend(acceptance::check(&files));
    findings.sort();
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => Ok(format!(
            "{} source files and {} packages are tidy",
            files.len(),
            workspace.members().count()
        )),
        1 => Err(Failure::Failed("1 finding".to_owned())),
        count => Err(Failure::Failed(format!("{count} findings"))),
    }
}

impl Finding {
    fn new(file: impl AsRef<Path>, line: usize, message: impl Into<String>) -> Self {
        Self {
            file: file.as_ref().to_owned(),
            line,
            message: message.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{}:{}: {}",
            self.file.display(),
            self.line.max(1),
            self.message
        )
    }
}
