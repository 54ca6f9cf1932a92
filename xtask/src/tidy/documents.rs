//! Rules about ARCHITECTURE.md, README.md and the licence texts.

use crate::metadata::{Package, Workspace};
use crate::readme::{copies, runnable};
use crate::shell;

use super::Finding;
use super::code::words;
use super::sources::File;

const ARCHITECTURE: &str = "ARCHITECTURE.md";
const ARCHITECTURE_MAX_LINES: usize = 200;

/// The README opens with these, and `.ci/run` counts on it: the second runs the tests.
const FIRST_COMMANDS: [&str; 2] = [
    r#"cargo run --release -p iothub-cli -- device send --local "Hello World!""#,
    "cargo xtask test",
];

/// Each licence text with a sentence of it.
const LICENSES: [(&str, &str); 2] = [
    ("LICENSE-MIT", "Permission is hereby granted, free of charge"),
    (
        "LICENSE-APACHE",
        "TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION",
    ),
];

pub(super) fn check(workspace: &Workspace, files: &[File]) -> Vec<Finding> {
    let read = |name: &str| std::fs::read_to_string(shell::root().join(name)).unwrap_or_default();
    let mut findings = architecture(&read(ARCHITECTURE), workspace, files);
    findings.extend(readme(&read("README.md")));
    findings.extend(copied(&read("README.md"), &read));
    for (name, sentence) in LICENSES {
        findings.extend(license(name, sentence, &read(name)));
    }
    findings
}

fn architecture(text: &str, workspace: &Workspace, files: &[File]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let count = text.lines().count();
    if count > ARCHITECTURE_MAX_LINES {
        let message =
            format!("{count} lines; {ARCHITECTURE_MAX_LINES} is the limit of what a newcomer reads");
        findings.push(Finding::new(ARCHITECTURE, ARCHITECTURE_MAX_LINES + 1, message));
    }
    let names: Vec<&str> = workspace.shipped().map(|package| package.name.as_str()).collect();
    for package in workspace.shipped() {
        let part = part_about(&package.name, &names, text);
        if part.is_empty() {
            let message = format!("no line of {ARCHITECTURE} begins with {}", package.name);
            findings.push(Finding::new(&package.manifest, 0, message));
            continue;
        }
        let Some(root) = crate_root(package, files) else {
            continue;
        };
        for (line, module) in modules(&root.code) {
            if !names_module(&part, module) {
                let message = format!(
                    "what {ARCHITECTURE} says of {} does not name `{module}`",
                    package.name
                );
                findings.push(Finding::new(&root.path, line, message));
            }
        }
    }
    findings
}

/// The lines about one crate: from each line that begins with its name (as a heading, a list item, a row of a table or
/// in a code map) to the next that begins with another crate's, or to the next heading.
fn part_about(name: &str, names: &[&str], text: &str) -> String {
    let mut part = String::new();
    let mut inside = false;
    for line in text.lines() {
        let bare = line.trim_start_matches(|each: char| " \t#*-|`".contains(each));
        let bare = bare.strip_prefix("crates/").unwrap_or(bare);
        let first: &str = bare
            .split(|each: char| !(each.is_alphanumeric() || each == '-'))
            .next()
            .unwrap_or_default();
        if names.contains(&first) {
            inside = first == name;
        } else if line.starts_with('#') {
            inside = false;
        }
        if inside {
            part.push_str(line);
            part.push('\n');
        }
    }
    part
}

/// As a word of its own that is written like code: `` `x` ``, `x.rs`, `x/`, `x::`; words of prose do not count.
fn names_module(part: &str, module: &str) -> bool {
    part.match_indices(module).any(|(at, _)| {
        let (before, behind) = (&part[..at], &part[at + module.len()..]);
        let apart = !before.ends_with(|each: char| each.is_alphanumeric() || each == '_');
        let in_ticks = before.ends_with('`') && behind.starts_with('`');
        apart
            && (in_ticks
                || [".rs", "/", "::", "{"]
                    .iter()
                    .any(|mark| behind.starts_with(mark)))
    })
}

fn crate_root<'a>(package: &Package, files: &'a [File]) -> Option<&'a File> {
    let library = package.targets.iter().find(|target| target.is("lib"));
    let target = library.or_else(|| package.targets.iter().find(|target| target.is("bin")))?;
    files.iter().find(|file| file.path == target.source)
}

/// The `mod x;` of a crate root with their lines, test modules aside.
fn modules(code: &str) -> Vec<(usize, &str)> {
    let mut modules = Vec::new();
    let mut only_in_tests = false;
    for (number, line) in (1..).zip(code.lines()) {
        let line = line.trim();
        if line.starts_with("#[cfg(test)]") {
            only_in_tests = true;
        }
        let mut of_line = words(line).skip_while(|word| matches!(*word, "pub" | "crate" | "super"));
        if let (Some("mod"), Some(name)) = (of_line.next(), of_line.next())
            && line.ends_with(';')
            && !only_in_tests
        {
            modules.push((number, name));
        }
        if !line.is_empty() && !line.starts_with("#[") {
            only_in_tests = false;
        }
    }
    modules
}

fn readme(text: &str) -> Option<Finding> {
    let blocks = runnable(text);
    let mut commands = blocks
        .iter()
        .flat_map(|block| block.commands.lines())
        .map(str::trim);
    let opens = FIRST_COMMANDS
        .iter()
        .all(|wanted| commands.next() == Some(*wanted));
    let line = blocks.first().map_or(0, |block| block.line);
    (!opens).then(|| {
        Finding::new(
            "README.md",
            line,
            format!("its first commands are not {FIRST_COMMANDS:?}"),
        )
    })
}

/// What a reader copies is what is run.
fn copied(text: &str, read: &dyn Fn(&str) -> String) -> Vec<Finding> {
    let copies = copies(text);
    copies
        .into_iter()
        .filter(|copy| copy.text != read(&copy.path))
        .map(|copy| {
            Finding::new(
                "README.md",
                copy.line,
                format!("this is not what {} holds", copy.path),
            )
        })
        .collect()
}

fn license(name: &str, sentence: &str, text: &str) -> Option<Finding> {
    (!text.contains(sentence)).then(|| Finding::new(name, 0, format!("the text does not say \"{sentence}\"")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEXT: &str = "\
# Architecture
An error is a value.
## `iothub-sas`
Keys (`key`) and tokens (token.rs).
## Something else
`stray` stands here.
- **iothub-frame**: `guard`.
";

    fn workspace() -> Workspace {
        let package = |name: &str| {
            json!({
                "id": name, "name": name, "manifest_path": format!("/w/crates/{name}/Cargo.toml"),
                "license": null, "rust_version": null, "dependencies": [],
                "targets": [{"name": name, "kind": ["lib"], "src_path": format!("/w/crates/{name}/src/lib.rs")}],
            })
        };
        let names = ["iothub-sas", "iothub-frame"];
        let json = json!({
            "workspace_root": "/w", "target_directory": "/w/target", "workspace_members": names,
            "packages": names.map(package), "resolve": {"nodes": []},
        });
        Workspace::read(&json).unwrap()
    }

    fn findings(text: &str, sas_root: &str) -> Vec<String> {
        let files = [
            File::new("crates/iothub-sas/src/lib.rs", sas_root.to_owned()),
            File::new("crates/iothub-frame/src/lib.rs", "mod guard;".to_owned()),
        ];
        architecture(text, &workspace(), &files)
            .into_iter()
            .map(|finding| finding.message)
            .collect()
    }

    #[test]
    fn each_module_stands_in_the_part_about_its_crate() {
        assert_eq!(
            findings(
                TEXT,
                "mod key;\npub mod token;\n#[cfg(test)]\nmod tests;\nmod inline {}\n"
            ),
            [""; 0]
        );
        // In the part about another crate, in none, and as a word of prose.
        for module in ["guard", "stray", "error", "tokens"] {
            let message = format!("what ARCHITECTURE.md says of iothub-sas does not name `{module}`");
            assert_eq!(findings(TEXT, &format!("mod key;\nmod {module};")), [message]);
        }
    }

    #[test]
    fn each_crate_stands_in_the_architecture() {
        let without = TEXT.replace("## `iothub-sas`", "## Tokens");
        assert_eq!(
            findings(&without, ""),
            ["no line of ARCHITECTURE.md begins with iothub-sas"]
        );
    }

    #[test]
    fn the_architecture_is_short() {
        let long = format!("{TEXT}{}", "more\n".repeat(ARCHITECTURE_MAX_LINES));
        assert!(findings(&long, "")[0].contains("is the limit"));
    }

    #[test]
    fn the_readme_opens_with_its_two_commands() {
        let [send, test] = FIRST_COMMANDS;
        assert_eq!(
            readme(&format!("# T\n```sh\n{send}\n{test}\n```\n```sh\nls\n```\n")),
            None
        );
        assert_eq!(readme(&format!("```sh\n{send}\n```\n```sh\n{test}\n```\n")), None);
        assert!(readme(&format!("```sh\n{test}\n{send}\n```\n")).is_some());
        assert!(readme(&format!("```sh\nls\n{send}\n{test}\n```\n")).is_some());
        assert!(readme(&format!("```console\n{send}\n{test}\n```\n")).is_some());
        assert!(readme("").is_some());
    }

    #[test]
    fn a_copy_of_a_file_is_the_file() {
        let read = |path: &str| match path {
            "a/b.js" => "let x;\n".to_owned(),
            _ => String::new(),
        };
        assert_eq!(copied("```js a/b.js\nlet x;\n```\n", &read), []);
        for text in ["```js a/b.js\nlet y;\n```\n", "```js a/c.js\nlet x;\n```\n"] {
            let findings = copied(text, &read);
            assert_eq!((findings.len(), findings[0].line), (1, 2), "{findings:?}");
        }
    }

    #[test]
    fn a_licence_text_is_the_text() {
        let (name, sentence) = LICENSES[0];
        assert_eq!(license(name, sentence, &format!("MIT\n{sentence}, to")), None);
        assert!(license(name, sentence, "MIT").is_some());
    }
}
