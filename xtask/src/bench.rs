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
    let mut command = workspace.cargo(["run", "--release", "--manifest-path"]);
    command.arg(manifest);
    if is_quick_check(&args.arguments) {
        command.arg("--no-default-features");
    }
    command.arg("--").args(&args.arguments);
    let ran = run::plainly(&mut command)?;
    Ok(if ran.succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Whether only floors are asked for, which name no peer of the feature `peers-heavy`: the build then takes a minute
/// less.
fn is_quick_check(arguments: &[OsString]) -> bool {
    ["--quick", "--check"].iter().all(|wanted| arguments.iter().any(|argument| argument == wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heavy_peers_stay_out_of_a_quick_check_alone() {
        let asks = |line: &str| is_quick_check(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert!(asks("--quick --check"));
        assert!(asks("ring --check --quick"));
        assert!(!asks("ring --quick"));
        assert!(!asks("all --check"));
    }
}
