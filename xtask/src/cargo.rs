//! The workspace as cargo knows it, and the cargo commands that the verbs start.
//!
//! It runs nothing itself (`run` does). All verbs build into the one target folder that cargo names, so that a profile
//! is built once; builds that need other flags for every crate (loom) take a folder inside it.

use cargo_metadata::{Metadata, MetadataCommand, Package};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The crates that are published.
pub(crate) const PRODUCT: [&str; 6] =
    ["monshm-core", "monshm-rbuf", "monshm-posix", "monshm-sysv", "monshm-proto", "monshm"];

/// The workspace that the current directory belongs to.
#[derive(Debug)]
pub(crate) struct Workspace {
    metadata: Metadata,
}

impl Workspace {
    /// Asks `cargo metadata`, without looking at dependencies from elsewhere.
    pub(crate) fn find() -> Result<Self, Box<dyn std::error::Error>> {
        let ask = |command: &mut MetadataCommand| {
            command.no_deps().exec().map_err(|error| format!("cargo metadata: {error}"))
        };
        let mut here = MetadataCommand::new();
        // cargo sets the variable to the folder of the package that it runs: xtask's own.
        if let Some(folder) = std::env::var_os("CARGO_MANIFEST_DIR") {
            here.current_dir(PathBuf::from(folder));
        }
        let root = ask(&mut here)?.workspace_root;
        // Once more from the root: in a member's folder that member alone is the default.
        let metadata = ask(MetadataCommand::new().current_dir(root))?;
        Ok(Self { metadata })
    }

    /// The folder of the root `Cargo.toml`.
    pub(crate) fn root(&self) -> &Path {
        self.metadata.workspace_root.as_std_path()
    }

    /// The folder that everything is built into.
    pub(crate) fn target(&self) -> &Path {
        self.metadata.target_directory.as_std_path()
    }

    /// A folder for what a verb writes beside the builds: logs and skip lists. Made when it is not there.
    pub(crate) fn scratch(&self, verb: &str) -> Result<PathBuf, Box<dyn std::error::Error>> {
        let folder = self.target().join("xtask").join(verb);
        std::fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(folder)
    }

    /// Every member.
    pub(crate) fn members(&self) -> Vec<&Package> {
        self.metadata.workspace_packages()
    }

    /// The members that a bare `cargo test` takes: all but those kept out of `default-members` for what they pull in.
    pub(crate) fn default_members(&self) -> Vec<&Package> {
        self.metadata.workspace_default_packages()
    }

    /// The member with this name.
    pub(crate) fn member(&self, name: &str) -> Option<&Package> {
        self.members().into_iter().find(|package| package.name.as_str() == name)
    }

    /// `cargo ARGS…` in the root of the workspace.
    pub(crate) fn cargo<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(program);
        command.args(args).current_dir(self.root());
        command
    }
}

/// The features that `package` has when `wanted` are asked for, with all that they turn on in the package itself.
pub(crate) fn features_turned_on(package: &Package, wanted: &[String], with_default: bool) -> Vec<String> {
    let mut on: Vec<String> = Vec::new();
    let mut open: Vec<String> = wanted.to_vec();
    if with_default {
        open.push("default".to_owned());
    }
    while let Some(name) = open.pop() {
        if on.contains(&name) {
            continue;
        }
        if let Some(implied) = package.features.get(&name) {
            open.extend(implied.iter().cloned());
            on.push(name);
        }
    }
    on
}

#[cfg(test)]
mod tests {
    use super::Workspace;

    #[test]
    fn all_crates_are_default_members_wherever_it_is_asked_from() {
        // Tests run in the folder of their package.
        let workspace = Workspace::find().unwrap();
        let names: Vec<&str> = workspace.default_members().iter().map(|package| package.name.as_str()).collect();
        assert!(names.contains(&"monshm") && names.contains(&"xtask"), "{names:?}");
    }
}
