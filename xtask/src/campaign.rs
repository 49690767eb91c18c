//! Builds the campaign package `monshm-campaigns` in release, and runs one of its campaigns.
//!
//! The campaigns, their arguments and their help stand in that package (`xtask/campaigns`), which imports the product;
//! this crate does not. The verbs that use this file are `chaos`, `hostile`, `faults` and `mutate_header`.

use crate::Verdict;
use crate::cargo::Workspace;
use crate::run;
use std::ffi::OsString;
use std::process::{Command, ExitCode};

/// Runs a campaign, by its name unless it is the first one, with the arguments that the verb was given.
pub(crate) fn run(name: Option<&str>, arguments: &[OsString]) -> Verdict {
    let workspace = Workspace::find()?;
    let mut build = workspace.cargo(["build", "--quiet", "--release", "-p", "monshm-campaigns"]);
    if !run::plainly(&mut build)?.succeeded {
        return Err("the campaigns did not build (see above)".into());
    }
    // Run directly: under cargo, its signals and its process group would be cargo's too.
    let program = workspace.target().join("release/monshm-campaigns");
    let ran = run::plainly(Command::new(program).args(name).args(arguments))?;
    Ok(if ran.succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
