//! The task runner: `cargo xtask VERB`. This file names the verbs; each verb is a file of its own.
//!
//! It imports no product crate: a verb runs cargo, and the programs that cargo built, and judges what they print.

use campaign::Campaign;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

mod bench;
mod campaign;
mod capi;
mod cargo;
mod debian;
mod demo;
mod fuzz;
mod i686;
mod matrix;
mod msrv;
mod report;
mod run;
mod skips;
mod tally;
mod test;
mod test_matrix;
mod tidy;

/// What a verb answers: whether all that it looked at was right, or why it could not look.
type Verdict = Result<ExitCode, Box<dyn std::error::Error>>;

/// The tasks of the monshm workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", arg_required_else_help = true)]
struct CommandLine {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Test(test::Args),
    TestMatrix(test_matrix::Args),
    Msrv(msrv::Args),
    I686(i686::Args),
    Tidy(tidy::Args),
    Demo(demo::Args),
    Fuzz(fuzz::Args),
    Bench(bench::Args),
    Capi(capi::Args),
    /// Kill processes that share a segment, and judge what is left.
    Chaos(campaign::Args),
    /// Attack real victims with processes of other users, and judge how they bear it.
    Hostile(campaign::Args),
    /// Let every system call of the library fail once with each plausible errno, and judge what comes of it.
    Faults(campaign::Args),
    /// Change words of a live segment's header, 10^8 times if told to, and judge every call that reads them.
    Headers(campaign::Args),
}

fn main() -> ExitCode {
    let verdict = match CommandLine::parse().verb {
        Verb::Test(args) => test::run(&args),
        Verb::TestMatrix(args) => test_matrix::run(&args),
        Verb::Msrv(args) => msrv::run(&args),
        Verb::I686(args) => i686::run(&args),
        Verb::Tidy(args) => tidy::run(&args),
        Verb::Demo(args) => demo::run(&args),
        Verb::Fuzz(args) => fuzz::run(&args),
        Verb::Bench(args) => bench::run(&args),
        Verb::Capi(args) => capi::run(&args),
        Verb::Chaos(args) => campaign::run(Campaign::Chaos, &args),
        Verb::Hostile(args) => campaign::run(Campaign::Hostile, &args),
        Verb::Faults(args) => campaign::run(Campaign::Faults, &args),
        Verb::Headers(args) => campaign::run(Campaign::Headers, &args),
    };
    verdict.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use super::CommandLine;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed_and_every_verb_has_help() {
        let command = CommandLine::command();
        command.clone().debug_assert();
        for verb in command.get_subcommands() {
            let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(!about.is_empty(), "`{}` says nothing about itself", verb.get_name());
        }
    }
}
