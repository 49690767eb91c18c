//! Reads `ci/matrix.toml`: the feature sets, the cells (backend × memory object × lock), and which cell exists under
//! which feature set.
//!
//! It runs nothing: `test_matrix` runs the cells, `test` builds the feature sets.

use crate::cargo::{Workspace, features_turned_on};
use serde::Deserialize;

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Matrix {
    /// One for each block of the conformance tests.
    #[serde(rename = "cell")]
    pub(crate) cells: Vec<Cell>,
    /// What is built, in this order.
    #[serde(rename = "features")]
    pub(crate) feature_sets: Vec<FeatureSet>,
}

/// One block of the conformance tests.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cell {
    /// The test module: every test of the cell is named `module::…`.
    pub(crate) module: String,
    pub(crate) backend: String,
    pub(crate) memory: String,
    pub(crate) lock: String,
    /// The features that compile the block: one of these sets, each as `one+other`.
    pub(crate) needs: Vec<String>,
}

/// A package and the features that it is built with.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct FeatureSet {
    /// What the table calls it.
    pub(crate) name: String,
    pub(crate) package: String,
    /// Whether the package's default features are on.
    #[serde(default)]
    pub(crate) default_features: bool,
    #[serde(default)]
    pub(crate) features: Vec<String>,
    /// The test target with the blocks, each of which is a row. All other tests of the package are one row more.
    pub(crate) cells_in: Option<String>,
    /// Whether `--quick` keeps it.
    #[serde(default)]
    pub(crate) quick: bool,
}

impl Matrix {
    /// Reads and checks the file: every package, feature and name in it must exist, and be there once.
    pub(crate) fn read(workspace: &Workspace) -> Result<Self, Box<dyn std::error::Error>> {
        let path = workspace.root().join("ci/matrix.toml");
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let matrix: Self = toml::from_str(&text).map_err(|error| format!("ci/matrix.toml: {error}"))?;
        matrix.check(workspace)?;
        Ok(matrix)
    }

    fn check(&self, workspace: &Workspace) -> Result<(), String> {
        for (index, set) in self.feature_sets.iter().enumerate() {
            let package = workspace.member(&set.package).ok_or_else(|| {
                format!("ci/matrix.toml: `{}` is no package of the workspace: correct `package`", set.package)
            })?;
            if let Some(unknown) = set.features.iter().find(|name| !package.features.contains_key(*name)) {
                return Err(format!(
                    "ci/matrix.toml: {} has no feature `{unknown}`: correct `features` of `{}`",
                    set.package, set.name
                ));
            }
            if self.feature_sets[..index].iter().any(|other| other.name == set.name) {
                return Err(format!("ci/matrix.toml: two feature sets are called `{}`: rename one", set.name));
            }
        }
        for (index, cell) in self.cells.iter().enumerate() {
            if self.cells[..index].iter().any(|other| other.module == cell.module) {
                return Err(format!("ci/matrix.toml: two cells have the module `{}`: take one out", cell.module));
            }
        }
        Ok(())
    }

    /// The cells that `set` compiles: those whose needs are among the features that it turns on.
    pub(crate) fn cells_of(&self, set: &FeatureSet, workspace: &Workspace) -> Vec<&Cell> {
        let (Some(_), Some(package)) = (&set.cells_in, workspace.member(&set.package)) else {
            return Vec::new();
        };
        let on = features_turned_on(package, &set.features, set.default_features);
        let is_on = |alternative: &String| alternative.split('+').all(|need| on.iter().any(|name| name == need));
        self.cells.iter().filter(|cell| cell.needs.iter().any(is_on)).collect()
    }
}

impl FeatureSet {
    /// The set as cargo's arguments: the package and its features.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let mut arguments = vec!["--package".to_owned(), self.package.clone()];
        if !self.default_features {
            arguments.push("--no-default-features".to_owned());
        }
        if !self.features.is_empty() {
            arguments.push("--features".to_owned());
            arguments.push(self.features.join(","));
        }
        arguments
    }
}
