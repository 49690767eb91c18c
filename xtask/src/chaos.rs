//! `cargo xtask chaos`: builds the campaign package `monshm-campaigns` in release, and runs it.
//!
//! Campaigns, their arguments and their help stand in that package (`xtask/campaigns`), which imports the product; this
//! crate does not.

use crate::Verdict;
use crate::cargo::Workspace;
use crate::run;
use std::ffi::{OsStr, OsString};
use std::process::{Command, ExitCode};

/// Kill processes that share a segment, and judge what is left; `cargo xtask chaos --help` is the campaign's own help.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Arguments of the campaign, such as `--kills 1000` or `--soak 600`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
    arguments: Vec<OsString>,
}

pub(crate) fn run(args: &Args) -> Verdict {
    campaign(args.arguments.iter().map(OsString::as_os_str))
}

/// Builds the campaigns, and runs them with these arguments.
pub(crate) fn campaign<'a>(arguments: impl Iterator<Item = &'a OsStr>) -> Verdict {
    let workspace = Workspace::find()?;
    let mut build = workspace.cargo(["build", "--quiet", "--release", "-p", "monshm-campaigns"]);
    if !run::plainly(&mut build)?.succeeded {
        return Err("the campaigns did not build (see above)".into());
    }
    // Run directly: under cargo, its signals and its process group would be cargo's too.
    let program = workspace.target().join("release/monshm-campaigns");
    let ran = run::plainly(Command::new(program).args(arguments))?;
    Ok(if ran.succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
