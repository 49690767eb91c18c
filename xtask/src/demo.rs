//! `cargo xtask demo`: builds the product's `stream` example in release and runs it.
//!
//! What the demo does, and what its numbers mean, stands in the example (`monshm/examples/stream`). Names of backends
//! and locks are passed on as they are: the product knows which there are.

use crate::Verdict;
use crate::cargo::Workspace;
use crate::run;
use std::ffi::OsString;
use std::process::{Command, ExitCode};

/// Stream bytes between two processes through a segment, and compare the SHA-256 of both ends.
///
/// Without arguments: 1 GiB on the backend that `auto` chooses, then a small table over every backend and lock.
/// `cargo xtask demo --help` is the demo's own help, with the backends and locks that there are.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Arguments of the demo.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
    arguments: Vec<OsString>,
}

pub(crate) fn run(args: &Args) -> Verdict {
    let workspace = Workspace::find()?;
    // cargo shows on stderr what it builds; stdout is the demo's alone: `--json` prints one object and nothing else.
    let mut build = workspace.cargo(["build", "--release", "--package", "monshm", "--example", "stream"]);
    if !run::plainly(&mut build)?.succeeded {
        return Err("the demo did not build: cargo's messages above say why".into());
    }
    let program = workspace.target().join("release/examples/stream");
    let status = Command::new(&program)
        .args(&args.arguments)
        .env("MONSHM_STREAM_NAME", "cargo xtask demo")
        .status()
        .map_err(|error| format!("could not start {}: {error}", program.display()))?;
    Ok(exit_code(status))
}

/// The demo's own code, so that a script can tell bad arguments (2) from a failure (1) and an interruption (130).
fn exit_code(status: std::process::ExitStatus) -> ExitCode {
    status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}
