//! Rules about source files.

use std::io;
use std::path::{Path, PathBuf};

use crate::metadata::Workspace;

use super::Finding;
use super::code::{code_only, words};

/// A source file, path from the root of the workspace.
pub(super) struct File {
    pub(super) path: PathBuf,
    pub(super) text: String,
    /// For Rust: the text without comments and literals.
    pub(super) code: String,
}

/// Where our sources are. The generated and the fetched lie elsewhere.
const FOLDERS: [&str; 4] = ["crates", "tests", "xtask", "fuzz"];

const MAX_LINES: usize = 600;

/// Files that may be longer, each with its reason. A line that is needed no more is a finding too.
const LONG_FILES: [(&str, &str); 0] = [];

/// A name that is used in crates only where it belongs: what starts with one of `names` (Rust spelling), the part of
/// the tree that the rule is about, the places in it that are free, and what the rule is for.
struct Confined {
    names: &'static [&'static str],
    within: &'static str,
    except: &'static [&'static str],
    why: &'static str,
}

const CONFINED: [Confined; 5] = [
    Confined {
        names: &["fe2o3", "serde_amqp"],
        within: "crates/iothub-amqp/src/",
        except: &[
            "crates/iothub-amqp/src/driver/engine",
            "crates/iothub-amqp/src/message",
        ],
        why: "the engine is named in driver/engine and message only, so that a swap touches these",
    },
    Confined {
        names: &["fe2o3", "serde_amqp"],
        within: "crates/iothub-emulator/src/",
        except: &["crates/iothub-emulator/src/wire/"],
        why: "the engine is named in wire/ only, so that a swap touches it alone",
    },
    Confined {
        names: &["tokio"],
        within: "crates/iothub-amqp/src/supervisor",
        except: &[],
        why: "the supervisor is sans-IO: it takes `now` and facts, and gives actions",
    },
    Confined {
        names: &["tokio"],
        within: "crates/iothub-emulator/src/hub",
        except: &[],
        why: "the hub is sans-IO: it takes `now` and commands, and gives effects",
    },
    Confined {
        names: &["tokio", "crate::hub"],
        within: "crates/iothub-emulator/src/query",
        except: &[],
        why: "queries take documents and give some, and know of no hub",
    },
];

/// Crates that have no business with the engine at all.
const ENGINE_FREE: [&str; 4] = ["iothub-address", "iothub-sas", "iothub-frame", "iothub-cli"];

pub(super) fn read_all(root: &Path) -> io::Result<Vec<File>> {
    let mut files = Vec::new();
    for folder in FOLDERS
        .iter()
        .map(|folder| root.join(folder))
        .filter(|folder| folder.is_dir())
    {
        read_folder(root, &folder, &mut files)?;
    }
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

fn read_folder(root: &Path, folder: &Path, files: &mut Vec<File>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if !matches!(&*name, "target" | "node_modules" | "__pycache__") && !name.starts_with('.') {
                read_folder(root, &path, files)?;
            }
        } else if [".rs", ".py", ".sh", ".js", ".mjs"]
            .iter()
            .any(|ending| name.ends_with(ending))
        {
            let text = std::fs::read_to_string(&path)?;
            files.push(File::new(path.strip_prefix(root).unwrap_or(&path), text));
        }
    }
    Ok(())
}

pub(super) fn check(workspace: &Workspace, files: &[File]) -> Vec<Finding> {
    let roots = workspace
        .members()
        .flat_map(|package| &package.targets)
        .filter(|target| {
            ["lib", "bin", "proc-macro", "custom-build"]
                .iter()
                .any(|kind| target.is(kind))
        });
    let mut findings: Vec<Finding> = roots
        .filter_map(|target| forbids_unsafe(&target.source, files))
        .collect();
    for file in files {
        findings.extend(too_long(file));
        if file.is_rust() {
            findings.extend(CONFINED.iter().flat_map(|rule| confined(rule, file)));
            findings.extend(engine_free(file));
            findings.extend(unfinished(file));
        }
    }
    for (path, _) in LONG_FILES {
        if !files
            .iter()
            .any(|file| file.path == Path::new(path) && file.text.lines().count() > MAX_LINES)
        {
            let message = format!("{path} is not over {MAX_LINES} lines: take it off LONG_FILES");
            findings.push(Finding::new(file!(), 0, message));
        }
    }
    findings
}

/// The attribute itself: a lint table of the manifest can be overridden by its package, and is not seen by a reader.
fn forbids_unsafe(root: &Path, files: &[File]) -> Option<Finding> {
    let file = files.iter().find(|file| file.path == root);
    let forbids = file.is_some_and(|file| {
        file.code.lines().any(|line| {
            line.trim_start().starts_with("#![forbid(") && words(line).any(|word| word == "unsafe_code")
        })
    });
    (!forbids).then(|| Finding::new(root, 0, "the crate root has no #![forbid(unsafe_code)]"))
}

fn too_long(file: &File) -> Option<Finding> {
    let lines = file.text.lines().count();
    let excused = LONG_FILES.iter().any(|(path, _)| file.path == Path::new(path));
    (lines > MAX_LINES && !excused).then(|| {
        let message =
            format!("{lines} lines: split it, or give the reason in LONG_FILES of xtask/src/tidy/sources.rs");
        Finding::new(&file.path, MAX_LINES + 1, message)
    })
}

fn confined(rule: &Confined, file: &File) -> Vec<Finding> {
    let path = file.slashed();
    if !path.starts_with(rule.within) || rule.except.iter().any(|place| path.starts_with(place)) {
        return Vec::new();
    }
    named(file, rule.names)
        .map(|(line, word)| Finding::new(&file.path, line, format!("`{word}`: {}", rule.why)))
        .collect()
}

fn engine_free(file: &File) -> Vec<Finding> {
    let path = file.slashed();
    if !ENGINE_FREE
        .iter()
        .any(|name| path.starts_with(&format!("crates/{name}/src/")))
    {
        return Vec::new();
    }
    named(file, &["fe2o3", "serde_amqp"])
        .map(|(line, word)| {
            Finding::new(
                &file.path,
                line,
                format!("`{word}`: this crate does not know the engine"),
            )
        })
        .collect()
}

/// Lines of code on which a name starts with one of `names`, once a line.
fn named<'a>(file: &'a File, names: &'a [&str]) -> impl Iterator<Item = (usize, &'a str)> {
    (1..).zip(file.code.lines()).filter_map(|(number, line)| {
        words(line)
            .find(|word| names.iter().any(|name| word.starts_with(name)))
            .map(|word| (number, word))
    })
}

fn unfinished(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in (1..).zip(file.code.lines()) {
        let dense: String = line.split_whitespace().collect();
        for (sign, message) in [
            (
                "#[ignore",
                "an ignored test shows nothing: assert what happens today, with a note",
            ),
            ("todo!", "todo! has no place in a commit"),
            ("unimplemented!", "unimplemented! has no place in a commit"),
        ] {
            if dense.contains(sign) {
                findings.push(Finding::new(&file.path, number, message));
            }
        }
        if dense.contains("cfg_attr(") && words(line).any(|word| word == "ignore") {
            findings.push(Finding::new(
                &file.path,
                number,
                "a test that is ignored at times shows nothing at those times",
            ));
        }
    }
    findings
}

impl File {
    pub(super) fn new(path: impl AsRef<Path>, text: String) -> Self {
        let path = path.as_ref().to_owned();
        let code = if path.extension().is_some_and(|ending| ending == "rs") {
            code_only(&text)
        } else {
            String::new()
        };
        Self { path, text, code }
    }

    fn is_rust(&self) -> bool {
        self.path.extension().is_some_and(|ending| ending == "rs")
    }

    /// With `/` on every platform.
    fn slashed(&self) -> String {
        self.path.to_string_lossy().replace('\\', "/")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(findings: &[Finding]) -> Vec<usize> {
        findings.iter().map(|finding| finding.line).collect()
    }

    fn confined_anywhere(path: &str, text: &str) -> Vec<usize> {
        let file = File::new(path, text.to_owned());
        let mut findings: Vec<Finding> = CONFINED.iter().flat_map(|rule| confined(rule, &file)).collect();
        findings.extend(engine_free(&file));
        lines_of(&findings)
    }

    #[test]
    fn the_engine_is_named_only_where_it_belongs() {
        let text =
            "// about fe2o3\nuse fe2o3_amqp::Connection;\nlet x = \"serde_amqp\";\nserde_amqp::to_vec(x);\n";
        for path in [
            "iothub-amqp/src/driver/owner.rs",
            "iothub-emulator/src/hub/mod.rs",
            "iothub-cli/src/plan.rs",
        ] {
            assert_eq!(
                confined_anywhere(&format!("crates/{path}"), text),
                [2, 4],
                "{path}"
            );
        }
        for path in [
            "iothub-amqp/src/driver/engine/sender.rs",
            "iothub-amqp/src/driver/engine.rs",
            "iothub-amqp/src/message.rs",
            "iothub-emulator/src/wire/nodes.rs",
            "iothub-emulator/tests/peer.rs",
        ] {
            assert_eq!(
                confined_anywhere(&format!("crates/{path}"), text),
                [0; 0],
                "{path}"
            );
        }
    }

    #[test]
    fn the_sans_io_parts_do_not_name_tokio() {
        let text = "fn f() {}\nuse tokio_rustls::TlsStream;\n";
        assert_eq!(
            confined_anywhere("crates/iothub-amqp/src/supervisor/mod.rs", text),
            [2]
        );
        assert_eq!(
            confined_anywhere("crates/iothub-amqp/src/supervisor.rs", text),
            [2]
        );
        assert_eq!(
            confined_anywhere("crates/iothub-emulator/src/hub/journal.rs", text),
            [2]
        );
        assert_eq!(
            confined_anywhere("crates/iothub-emulator/src/wire/listener.rs", text),
            [0; 0]
        );
    }

    #[test]
    fn a_crate_root_forbids_unsafe_code_in_code_and_not_in_a_comment() {
        let root = |text: &str| forbids_unsafe(Path::new("lib.rs"), &[File::new("lib.rs", text.to_owned())]);
        assert_eq!(root("//! Doc.\n\n#![forbid(unsafe_code)]\n"), None);
        assert_eq!(root("#![forbid(missing_docs, unsafe_code)]\n"), None);
        for text in [
            "",
            "// #![forbid(unsafe_code)]\n",
            "#![deny(unsafe_code)]\n",
            "#![cfg_attr(test, forbid(unsafe_code))]\n",
        ] {
            assert!(root(text).is_some(), "{text}");
        }
        assert!(forbids_unsafe(Path::new("gone.rs"), &[]).is_some());
    }

    #[test]
    fn what_is_unfinished_is_found() {
        let text = "#[ignore]\n# [ ignore = \"slow\" ]\n#[cfg_attr(miri, ignore)]\ntodo!()\nunimplemented!(\"x\")\n// todo!\n\
                    let ignore = 1;\n";
        assert_eq!(
            lines_of(&unfinished(&File::new("a.rs", text.to_owned()))),
            [1, 2, 3, 4, 5]
        );
    }

    #[test]
    fn a_file_over_the_limit_is_found() {
        let of_lines = |count| too_long(&File::new("a.py", "x\n".repeat(count)));
        assert_eq!(of_lines(MAX_LINES), None);
        assert!(of_lines(MAX_LINES + 1).is_some());
    }
}
