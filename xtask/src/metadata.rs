//! What `cargo metadata` says of the workspace and its dependencies, as far as the tasks ask.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::shell::{self, Failure};

/// The packages of the lockfile with all features of the workspace, for all platforms.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) target_directory: PathBuf,
    packages: BTreeMap<String, Package>,
    members: Vec<String>,
    /// Package id to the ids that it needs to be built or to run; dev-dependencies are not in it.
    needs: BTreeMap<String, Vec<String>>,
}

#[derive(Debug)]
pub(crate) struct Package {
    id: String,
    pub(crate) name: String,
    /// From the root of the workspace, for packages in it.
    pub(crate) manifest: PathBuf,
    pub(crate) license: Option<String>,
    pub(crate) rust_version: Option<RustVersion>,
    pub(crate) targets: Vec<Target>,
    pub(crate) dependencies: Vec<Dependency>,
}

#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) name: String,
    kinds: Vec<String>,
    /// From the root of the workspace, for packages in it.
    pub(crate) source: PathBuf,
}

/// A line of a manifest, whether or not it is used on this platform.
#[derive(Debug)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) is_dev: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RustVersion(u32, u32, u32);

impl Workspace {
    /// Asks cargo.
    pub(crate) fn load() -> Result<Self, Failure> {
        let output = shell::cargo("metadata")
            .args(["--format-version", "1", "--all-features"])
            .stderr(std::process::Stdio::inherit())
            .output()
            .map_err(Failure::because("cannot run cargo metadata"))?;
        if !output.status.success() {
            return Err(Failure::Failed(format!(
                "cargo metadata ended with {}",
                output.status
            )));
        }
        let json = serde_json::from_slice(&output.stdout).map_err(Failure::because("cargo metadata"))?;
        Self::read(&json)
            .ok_or_else(|| Failure::Failed("cargo metadata has another shape than version 1".to_owned()))
    }

    /// `None` when the value has not the shape of format version 1.
    pub(crate) fn read(json: &Value) -> Option<Self> {
        let root = PathBuf::from(json["workspace_root"].as_str()?);
        let mut packages = BTreeMap::new();
        for package in json["packages"].as_array()? {
            let package = Package::read(package, &root)?;
            packages.insert(package.id.clone(), package);
        }
        let mut needs = BTreeMap::new();
        for node in json["resolve"]["nodes"].as_array()? {
            let mut ids = Vec::new();
            for dependency in node["deps"].as_array()? {
                let kinds = dependency["dep_kinds"].as_array()?;
                if kinds.iter().any(|kind| kind["kind"] != "dev") {
                    ids.push(dependency["pkg"].as_str()?.to_owned());
                }
            }
            needs.insert(node["id"].as_str()?.to_owned(), ids);
        }
        Some(Self {
            target_directory: PathBuf::from(json["target_directory"].as_str()?),
            members: strings(&json["workspace_members"])?,
            packages,
            needs,
        })
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.members.iter().filter_map(|id| self.packages.get(id))
    }

    /// The members in `crates/`: what users get, unlike tests and tasks.
    pub(crate) fn shipped(&self) -> impl Iterator<Item = &Package> {
        self.members()
            .filter(|package| package.manifest.starts_with("crates"))
    }

    /// All that `package` needs, itself first, each with the chain of names that leads to it.
    pub(crate) fn tree<'a>(&'a self, package: &'a Package) -> Vec<(&'a Package, String)> {
        let mut seen = BTreeSet::from([package.id.as_str()]);
        let mut queue = VecDeque::from([(package, package.name.clone())]);
        let mut tree = Vec::new();
        while let Some((next, chain)) = queue.pop_front() {
            for id in self.needs.get(&next.id).into_iter().flatten() {
                if let Some(needed) = self.packages.get(id).filter(|_| seen.insert(id)) {
                    queue.push_back((needed, format!("{chain} -> {}", needed.name)));
                }
            }
            tree.push((next, chain));
        }
        tree
    }
}

impl Package {
    fn read(json: &Value, root: &Path) -> Option<Self> {
        let mut targets = Vec::new();
        for target in json["targets"].as_array()? {
            targets.push(Target {
                name: target["name"].as_str()?.to_owned(),
                kinds: strings(&target["kind"])?,
                source: within(root, target["src_path"].as_str()?),
            });
        }
        let mut dependencies = Vec::new();
        for dependency in json["dependencies"].as_array()? {
            dependencies.push(Dependency {
                name: dependency["name"].as_str()?.to_owned(),
                is_dev: dependency["kind"] == "dev",
            });
        }
        Some(Self {
            id: json["id"].as_str()?.to_owned(),
            name: json["name"].as_str()?.to_owned(),
            manifest: within(root, json["manifest_path"].as_str()?),
            license: json["license"].as_str().map(str::to_owned),
            rust_version: json["rust_version"].as_str().and_then(RustVersion::parse),
            targets,
            dependencies,
        })
    }
}

impl Target {
    /// One of cargo's kinds: `lib`, `bin`, `test`, `bench`, `example`, `custom-build`.
    pub(crate) fn is(&self, kind: &str) -> bool {
        self.kinds.iter().any(|own| own == kind)
    }
}

impl RustVersion {
    /// `1.88` or `1.88.0`, as `rust-version` takes them.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split('.').map(|number| number.parse().ok());
        let (major, minor) = (numbers.next()??, numbers.next().unwrap_or(Some(0))?);
        Some(Self(major, minor, numbers.next().unwrap_or(Some(0))?))
    }
}

impl fmt::Display for RustVersion {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(major, minor, patch) = self;
        write!(out, "{major}.{minor}")?;
        if *patch == 0 {
            Ok(())
        } else {
            write!(out, ".{patch}")
        }
    }
}

fn within(root: &Path, path: &str) -> PathBuf {
    let path = Path::new(path);
    path.strip_prefix(root).unwrap_or(path).to_owned()
}

fn strings(json: &Value) -> Option<Vec<String>> {
    json.as_array()?
        .iter()
        .map(|value| value.as_str().map(str::to_owned))
        .collect()
}
