//! `cargo xtask hostile`: attacks real victims. See `campaign` and `xtask/hostile`.

use crate::{Verdict, campaign};
use std::ffi::OsString;

/// Attack real victims with real processes, and judge how they bear it; `cargo xtask hostile --help` is its own help.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Arguments of the attacks, such as `--list`, `lock-word` or `--rounds 10`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
    arguments: Vec<OsString>,
}

pub(crate) fn run(args: &Args) -> Verdict {
    campaign::run("monshm-hostile", None, &args.arguments)
}
