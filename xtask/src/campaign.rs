//! The campaigns `chaos`, `hostile`, `faults` and `headers`: builds the package of each in release, and runs it.
//!
//! Their arguments and their help stand in those packages, which import the product; this crate does not.

use crate::Verdict;
use crate::cargo::Workspace;
use crate::run;
use std::ffi::OsString;
use std::process::{Command, ExitCode};

/// A campaign, by the name of its verb.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Campaign {
    Chaos,
    Hostile,
    Faults,
    Headers,
}

/// Arguments of the campaign; `--help` among them is the campaign's own help.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Arguments of the campaign, such as `--seed 7`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
    arguments: Vec<OsString>,
}

pub(crate) fn run(campaign: Campaign, args: &Args) -> Verdict {
    let package = match campaign {
        Campaign::Chaos => "monshm-chaos",
        Campaign::Hostile => "monshm-hostile",
        Campaign::Faults => "monshm-faults",
        Campaign::Headers => "monshm-headers",
    };
    let workspace = Workspace::find()?;
    let mut build = workspace.cargo(["build", "--release", "-p", package]);
    if !run::plainly(&mut build)?.succeeded {
        return Err(format!("{package} did not build: cargo's messages above say why").into());
    }
    // Run directly: under cargo, its signals and its process group would be cargo's too.
    let program = workspace.target().join("release").join(package);
    let ran = run::plainly(Command::new(program).args(&args.arguments))?;
    Ok(if ran.succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
