//! `cargo xtask faults`: builds the campaign package `monshm-campaigns` in release, and runs the campaign of it in which
//! system calls fail.
//!
//! Operations, arguments and help stand in that package (`xtask/campaigns/src/faults`), which imports the product; this
//! crate does not.

use crate::Verdict;
use crate::cargo::Workspace;
use crate::run;
use std::ffi::OsString;
use std::process::{Command, ExitCode};

/// Let every system call of the library fail once; `cargo xtask faults --help` is the campaign's own help.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Arguments of the campaign, such as `--operation create` or `--sample 5`.
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
    let ran = run::plainly(Command::new(program).arg("faults").args(&args.arguments))?;
    Ok(if ran.succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
