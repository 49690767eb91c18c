//! `cargo xtask bench`: builds and runs the benchmark package `monshm-bench` in release.
//!
//! The benchmarks, their arguments and their help stand in that package (`xtask/bench`), whose dependencies, the peers
//! that monshm is measured against, stay out of a normal build.

use crate::Verdict;
use crate::cargo::Workspace;
use crate::run;
use std::ffi::OsString;
use std::process::ExitCode;

/// Measure monshm beside its peers; `cargo xtask bench --help` is the benchmark's own help.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Arguments of the benchmark, such as `ring` or `--quick`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
    arguments: Vec<OsString>,
}

pub(crate) fn run(args: &Args) -> Verdict {
    let workspace = Workspace::find()?;
    let manifest = workspace.root().join("xtask/bench/Cargo.toml");
    let mut command = workspace.cargo(["run", "--quiet", "--release", "--manifest-path"]);
    command.arg(manifest).arg("--").args(&args.arguments);
    // An incremental build does not inline small functions from one crate into another, and is slower by a fifth.
    command.env("CARGO_INCREMENTAL", "0");
    let ran = run::plainly(&mut command)?;
    Ok(if ran.succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
