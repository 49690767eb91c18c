//! `cargo xtask faults`: lets system calls fail. See `campaign` and `xtask/campaigns/src/faults`.

use crate::{Verdict, campaign};
use std::ffi::OsString;

/// Let every system call of the library fail once; `cargo xtask faults --help` is the campaign's own help.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Arguments of the campaign, such as `--operation create` or `--sample 5`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
    arguments: Vec<OsString>,
}

pub(crate) fn run(args: &Args) -> Verdict {
    campaign::run("monshm-campaigns", Some("faults"), &args.arguments)
}
