//! Rules about manifests and the dependency graph.

use std::path::Path;

use crate::metadata::{Package, Workspace};
use crate::shell;

use super::Finding;

/// What each crate may depend on, of ours: down only, and client and emulator share nothing but the frame guard, so
/// that one finds the other's mistakes.
const ARROWS: [(&str, &[&str]); 7] = [
    (
        "iothub-cli",
        &[
            "iothub-address",
            "iothub-sas",
            "iothub-amqp",
            "iothub-registry",
            "iothub-emulator",
        ],
    ),
    ("iothub-amqp", &["iothub-address", "iothub-sas", "iothub-frame"]),
    (
        "iothub-emulator",
        &["iothub-address", "iothub-sas", "iothub-frame"],
    ),
    ("iothub-registry", &["iothub-address", "iothub-sas"]),
    ("iothub-address", &[]),
    ("iothub-sas", &[]),
    ("iothub-frame", &[]),
];

/// TLS is rustls on ring, which builds with a plain C compiler everywhere. These do not, or link a system's OpenSSL.
const BANNED: [&str; 4] = ["openssl-sys", "native-tls", "aws-lc-rs", "aws-lc-sys"];

const LICENSE: &str = "MIT OR Apache-2.0";

pub(super) fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in workspace.shipped() {
        let manifest = Manifest::of(package);
        findings.extend(arrows(workspace, package, &manifest));
        findings.extend(banned(workspace, package, &manifest));
    }
    for package in workspace.members() {
        let manifest = Manifest::of(package);
        findings.extend(rust_version(workspace, package, &manifest));
        if package.license.as_deref() != Some(LICENSE) {
            findings.push(manifest.finding("license", format!("the licence is not \"{LICENSE}\"")));
        }
    }
    findings
}

fn arrows(workspace: &Workspace, package: &Package, manifest: &Manifest<'_>) -> Vec<Finding> {
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == package.name) else {
        let message = format!(
            "{} has no line in ARROWS of xtask/src/tidy/packages.rs",
            package.name
        );
        return vec![manifest.finding("name", message)];
    };
    let ours = |name: &str| workspace.members().any(|member| member.name == name);
    package
        .dependencies
        .iter()
        .filter(|dependency| !dependency.is_dev && ours(&dependency.name))
        .filter(|dependency| !allowed.contains(&dependency.name.as_str()))
        .map(|dependency| {
            let message = format!("{} must not depend on {}", package.name, dependency.name);
            manifest.finding(&dependency.name, message)
        })
        .collect()
}

fn banned(workspace: &Workspace, package: &Package, manifest: &Manifest<'_>) -> Vec<Finding> {
    workspace
        .tree(package)
        .into_iter()
        .filter(|(needed, _)| BANNED.contains(&needed.name.as_str()))
        .map(|(_, chain)| {
            let first = chain.split(" -> ").nth(1).unwrap_or(&package.name);
            manifest.finding(first, format!("must not be in the tree: {chain}"))
        })
        .collect()
}

/// A user's compiler of the stated version must build the whole tree.
fn rust_version(workspace: &Workspace, package: &Package, manifest: &Manifest<'_>) -> Option<Finding> {
    let Some(stated) = package.rust_version else {
        return Some(manifest.finding("rust-version", "no rust-version is stated".to_owned()));
    };
    let demands = workspace.tree(package).into_iter();
    let (demanded, chain) = demands
        .filter_map(|(needed, chain)| needed.rust_version.map(|version| (version, chain)))
        .max()?;
    (demanded > stated).then(|| {
        manifest.finding(
            "rust-version",
            format!("rust-version is {stated}, and {demanded} is demanded by {chain}"),
        )
    })
}

/// A Cargo.toml as text, to say on which line a fact stands.
struct Manifest<'a> {
    path: &'a Path,
    text: String,
}

impl<'a> Manifest<'a> {
    fn of(package: &'a Package) -> Self {
        let path = package.manifest.as_path();
        Self {
            path,
            text: std::fs::read_to_string(shell::root().join(path)).unwrap_or_default(),
        }
    }

    /// On the line of `key`, or on no line in particular.
    fn finding(&self, key: &str, message: String) -> Finding {
        let is_of_key = |line: &str| {
            line.trim_start()
                .strip_prefix(key)
                .is_some_and(|rest| rest.starts_with([' ', '.', '=']))
        };
        let line = self.text.lines().position(is_of_key).map_or(0, |at| at + 1);
        Finding::new(self.path, line, message)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A package as `cargo metadata` describes it; `needs` are its dependencies, `dev:` ones marked.
    fn package(name: &str, rust_version: &str, needs: &[&str]) -> Value {
        let dependencies: Vec<Value> = needs
            .iter()
            .map(|need| match need.strip_prefix("dev:") {
                Some(need) => json!({"name": need, "kind": "dev"}),
                None => json!({"name": need, "kind": null}),
            })
            .collect();
        json!({
            "id": name, "name": name, "manifest_path": format!("/w/crates/{name}/Cargo.toml"),
            "license": LICENSE, "rust_version": rust_version, "targets": [], "dependencies": dependencies,
        })
    }

    /// Those whose name starts with `iothub` are members.
    fn workspace(packages: &[Value]) -> Workspace {
        let nodes: Vec<Value> = packages
            .iter()
            .map(|package| {
                let dependencies = package["dependencies"].as_array().unwrap().iter();
                let deps: Vec<Value> = dependencies
                    .map(|need| json!({"pkg": need["name"], "dep_kinds": [{"kind": need["kind"]}]}))
                    .collect();
                json!({"id": package["id"], "deps": deps})
            })
            .collect();
        let members: Vec<&Value> = packages
            .iter()
            .map(|package| &package["id"])
            .filter(|id| id.as_str().unwrap().starts_with("iothub"))
            .collect();
        let json = json!({
            "workspace_root": "/w", "target_directory": "/w/target", "workspace_members": members,
            "packages": packages, "resolve": {"nodes": nodes},
        });
        Workspace::read(&json).unwrap()
    }

    fn messages(packages: &[Value]) -> Vec<String> {
        check(&workspace(packages))
            .into_iter()
            .map(|finding| finding.message)
            .collect()
    }

    #[test]
    fn arrows_go_down_only() {
        let leaf = package("iothub-frame", "1.88", &[]);
        let client = package("iothub-amqp", "1.88", &["iothub-frame"]);
        let apart = package("iothub-emulator", "1.88", &["iothub-frame", "dev:iothub-amqp"]);
        assert_eq!(messages(&[leaf.clone(), client.clone(), apart]), [""; 0]);
        let shared = package("iothub-emulator", "1.88", &["iothub-frame", "iothub-amqp"]);
        assert_eq!(
            messages(&[leaf, client.clone(), shared]),
            ["iothub-emulator must not depend on iothub-amqp"]
        );
        let up = package("iothub-frame", "1.88", &["iothub-amqp"]);
        assert_eq!(
            messages(&[up, client]),
            ["iothub-frame must not depend on iothub-amqp"]
        );
    }

    #[test]
    fn a_crate_that_the_arrows_do_not_know_is_a_finding() {
        assert!(messages(&[package("iothub-new", "1.88", &[])])[0].contains("has no line in ARROWS"));
    }

    #[test]
    fn a_banned_crate_is_found_at_the_end_of_a_chain_but_not_behind_a_dev_dependency() {
        let tree = |kind: &str| {
            [
                package("iothub-sas", "1.88", &[&format!("{kind}tls")]),
                package("tls", "1.60", &["openssl-sys"]),
                package("openssl-sys", "1.60", &[]),
            ]
        };
        assert_eq!(
            messages(&tree("")),
            ["must not be in the tree: iothub-sas -> tls -> openssl-sys"]
        );
        assert_eq!(messages(&tree("dev:")), [""; 0]);
    }

    #[test]
    fn rust_version_covers_the_tree() {
        let tree = |stated| {
            [
                package("iothub-sas", stated, &["a"]),
                package("a", "1.61", &["b"]),
                package("b", "1.88.1", &[]),
            ]
        };
        assert_eq!(messages(&tree("1.88.1")), [""; 0]);
        assert_eq!(messages(&tree("1.90")), [""; 0]);
        assert_eq!(
            messages(&tree("1.88")),
            ["rust-version is 1.88, and 1.88.1 is demanded by iothub-sas -> a -> b"]
        );
        assert_eq!(messages(&tree("")), ["no rust-version is stated"]);
    }

    #[test]
    fn the_licence_is_stated() {
        let mut bare = package("iothub-sas", "1.88", &[]);
        bare["license"] = Value::Null;
        assert_eq!(messages(&[bare]), ["the licence is not \"MIT OR Apache-2.0\""]);
    }

    #[test]
    fn a_finding_stands_on_the_line_of_its_key() {
        let text =
            "[package]\nname = \"x\"\n[dependencies]\niothub-sas-more = \"1\"\niothub-sas.workspace = true\n";
        let manifest = Manifest {
            path: Path::new("Cargo.toml"),
            text: text.to_owned(),
        };
        assert_eq!(manifest.finding("iothub-sas", String::new()).line, 5);
        assert_eq!(manifest.finding("name", String::new()).line, 2);
        assert_eq!(manifest.finding("license", String::new()).line, 0);
    }
}
