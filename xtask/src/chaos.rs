//! `cargo xtask chaos`: kills processes that share a segment. See `campaign` and `xtask/campaigns`.

use crate::{Verdict, campaign};
use std::ffi::OsString;

/// Kill processes that share a segment, and judge what is left; `cargo xtask chaos --help` is the campaign's own help.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Arguments of the campaign, such as `--kills 1000` or `--soak 600`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
    arguments: Vec<OsString>,
}

pub(crate) fn run(args: &Args) -> Verdict {
    campaign::run("monshm-campaigns", None, &args.arguments)
}
