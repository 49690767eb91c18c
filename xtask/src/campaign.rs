//! Builds a campaign's package in release, and runs it.
//!
//! The campaigns, their arguments and their help stand in packages of their own beside this crate, which import the
//! product; this crate does not. The verbs that use this file are `chaos`, `hostile`, `faults` and `mutate_header`.

use crate::Verdict;
use crate::cargo::Workspace;
use crate::run;
use std::ffi::OsString;
use std::process::{Command, ExitCode};

/// Runs the campaign of `package`, by its name where the package has several, with the arguments that the verb was given.
pub(crate) fn run(package: &str, name: Option<&str>, arguments: &[OsString]) -> Verdict {
    let workspace = Workspace::find()?;
    let mut build = workspace.cargo(["build", "--quiet", "--release", "-p", package]);
    if !run::plainly(&mut build)?.succeeded {
        return Err(format!("{package} did not build (see above)").into());
    }
    // Run directly: under cargo, its signals and its process group would be cargo's too.
    let program = workspace.target().join("release").join(package);
    let ran = run::plainly(Command::new(program).args(name).args(arguments))?;
    Ok(if ran.succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
