//! The rules about crates: who may import whom, lints inherited, versions in the root alone.
//!
//! It looks at manifests, as cargo reads them and as they are written; never at code: cargo lets nobody import what a
//! manifest does not name.

use super::{Exceptions, Finding};
use crate::cargo::Workspace;

/// The members, and the members that each may import, tests and build scripts included. ARCHITECTURE.md has the
/// picture.
const DIRECTIONS: &[(&str, &[&str])] = &[
    ("monshm-core", &[]),
    ("monshm-rbuf", &[]),
    ("monshm-posix", &["monshm-core", "monshm-harness"]),
    ("monshm-sysv", &["monshm-core", "monshm-harness"]),
    ("monshm-proto", &["monshm-core"]),
    ("monshm", &["monshm-core", "monshm-rbuf", "monshm-posix", "monshm-sysv", "monshm-proto", "monshm-harness"]),
    ("monshm-bench", &["monshm-core", "monshm-rbuf", "monshm-posix", "monshm-sysv", "monshm-proto", "monshm"]),
    ("monshm-chaos", &["monshm", "monshm-harness"]),
    ("monshm-faults", &["monshm", "monshm-harness"]),
    ("monshm-fuzzing", &["monshm-core", "monshm-rbuf", "monshm-proto", "monshm"]),
    ("monshm-harness", &["monshm"]),
    ("monshm-headers", &["monshm-core", "monshm", "monshm-harness"]),
    ("monshm-hostile", &["monshm-core", "monshm-proto", "monshm", "monshm-harness"]),
    ("xtask", &[]),
];

pub(super) fn check(
    workspace: &Workspace,
    exceptions: &Exceptions,
) -> Result<Vec<Finding>, Box<dyn std::error::Error>> {
    let members = workspace.members();
    let mut findings = Vec::new();
    for package in &members {
        let path = package.manifest_path.as_std_path();
        let file = path.strip_prefix(workspace.root()).unwrap_or(path).to_string_lossy().into_owned();
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let manifest: toml::Table = toml::from_str(&text).map_err(|error| format!("{file}: {error}"))?;
        let imports: Vec<&str> = package
            .dependencies
            .iter()
            .map(|dependency| dependency.name.as_str())
            .filter(|name| members.iter().any(|member| member.name.as_str() == *name))
            .collect();
        let mut wrong = direction(&package.name, &imports);
        wrong.extend(lints(&manifest));
        match (versions(&manifest), exceptions.own_versions.get(&file)) {
            (own, None) => wrong.extend(own),
            (own, Some(_)) if own.is_empty() => {
                let message = "gives no version of its own: take it out of ci/tidy.toml".to_owned();
                wrong.push(("exception", "[dependencies]".to_owned(), message));
            }
            (_, Some(_)) => {}
        }
        findings.extend(wrong.into_iter().map(|(rule, word, message)| {
            let line = text.lines().position(|line| line.starts_with(&word)).map_or(0, |index| index + 1);
            Finding { file: file.clone(), line, rule, message }
        }));
    }
    Ok(findings)
}

/// A rule that is broken, the word that the line to look at begins with, and the message.
type Wrong = (&'static str, String, String);

fn direction(name: &str, imports: &[&str]) -> Vec<Wrong> {
    let Some((_, allowed)) = DIRECTIONS.iter().find(|(crate_name, _)| *crate_name == name) else {
        let message = format!("`{name}` has no line in DIRECTIONS of xtask/src/tidy/crates.rs: say whom it may import");
        return vec![("direction", "name".to_owned(), message)];
    };
    let allowed_text = if allowed.is_empty() { "no crate of the workspace".to_owned() } else { allowed.join(", ") };
    imports
        .iter()
        .filter(|import| !allowed.contains(import))
        .map(|import| {
            let message = format!("`{name}` imports `{import}`; it may import {allowed_text}");
            ("direction", (*import).to_owned(), message)
        })
        .collect()
}

fn lints(manifest: &toml::Table) -> Option<Wrong> {
    let inherited = manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool);
    (inherited != Some(true)).then(|| {
        let message = "does not inherit the workspace's lints: write `[lints]` `workspace = true`".to_owned();
        ("lints", "[lints]".to_owned(), message)
    })
}

fn versions(manifest: &toml::Table) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    let mut tables: Vec<&toml::Table> = vec![manifest];
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    tables.extend(targets.into_iter().flat_map(|table| table.values()).filter_map(toml::Value::as_table));
    for table in tables {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(dependencies) = table.get(kind).and_then(toml::Value::as_table) else { continue };
            for (name, value) in dependencies {
                if value.get("workspace").and_then(toml::Value::as_bool) != Some(true) {
                    let message = format!(
                        "`{name}` has its version here: put it into [workspace.dependencies] and write \
                         `{name} = {{ workspace = true }}`"
                    );
                    wrong.push(("versions", name.clone(), message));
                }
            }
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::{direction, lints, versions};

    #[test]
    fn a_backend_that_imports_the_other_is_told() {
        assert!(direction("monshm-posix", &["monshm-core"]).is_empty());
        let wrong = direction("monshm-posix", &["monshm-core", "monshm-sysv"]);
        assert_eq!(wrong.len(), 1);
        assert!(wrong[0].2.contains("`monshm-posix` imports `monshm-sysv`"), "{wrong:?}");
        assert_eq!(direction("xtask", &["monshm"]).len(), 1);
        assert_eq!(direction("monshm-new", &[]).len(), 1);
    }

    #[test]
    fn lints_that_are_not_inherited_are_told() {
        assert!(lints(&toml::from_str("[lints]\nworkspace = true").unwrap()).is_none());
        assert!(lints(&toml::from_str("[lints.rust]\nunsafe_code = 'allow'").unwrap()).is_some());
        assert!(lints(&toml::Table::new()).is_some());
    }

    #[test]
    fn versions_in_members_are_told_wherever_they_stand() {
        let manifest = "[dependencies]\na = { workspace = true }\nb = '1'\n\
                        [target.'cfg(unix)'.dev-dependencies]\nc = { path = '../c' }\nd.workspace = true";
        let wrong = versions(&toml::from_str(manifest).unwrap());
        let names: Vec<&str> = wrong.iter().map(|(_, name, _)| name.as_str()).collect();
        assert_eq!(names, ["b", "c"]);
    }
}
