//! `cargo xtask hostile`: builds the campaign package `monshm-campaigns` in release, and runs its attacks.
//!
//! Attacks, their arguments and their help stand in that package (`xtask/campaigns/src/hostile`), which imports the
//! product; this crate does not.

use crate::Verdict;
use crate::cargo::Workspace;
use crate::run;
use std::ffi::OsString;
use std::process::{Command, ExitCode};

/// Attack real victims with real processes, and judge how they bear it; `cargo xtask hostile --help` is its own help.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Arguments of the attacks, such as `--list`, `lock-word` or `--rounds 10`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
    arguments: Vec<OsString>,
}

pub(crate) fn run(args: &Args) -> Verdict {
    let workspace = Workspace::find()?;
    let mut build = workspace.cargo(["build", "--quiet", "--release", "-p", "monshm-campaigns"]);
    if !run::plainly(&mut build)?.succeeded {
        return Err("the campaigns did not build (see above)".into());
    }
    // Run directly: under cargo, its signals and its process group would be cargo's too.
    let program = workspace.target().join("release/monshm-campaigns");
    let ran = run::plainly(Command::new(program).arg("hostile").args(&args.arguments))?;
    Ok(if ran.succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
