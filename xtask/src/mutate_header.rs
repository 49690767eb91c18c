//! `cargo xtask mutate-header`: changes the header of a live segment. See `campaign` and `xtask/campaigns/src/mutation.rs`.

use crate::{Verdict, campaign};
use std::ffi::OsString;

/// Change words of a live segment's header, 10^8 times if told to, and judge each call of a victim; `--help` is the
/// campaign's own help.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Arguments of the campaign, such as `--count 100000000`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
    arguments: Vec<OsString>,
}

pub(crate) fn run(args: &Args) -> Verdict {
    campaign::run("monshm-campaigns", Some("mutate-header"), &args.arguments)
}
