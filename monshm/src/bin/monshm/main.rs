//! `monshm`: what is shared on this machine, and the removal of what killed processes left behind.
//!
//! It reads the command line and chooses the exit code; finding and judging is the library's work, printing `print`'s.

mod print;

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use monshm::{Cleanup, Error, Report};

/// See and clean the shared memory of monshm on this machine.
///
/// Of other users' objects an unprivileged user sees little, and removes nothing.
#[derive(Debug, Parser)]
#[command(name = "monshm", version, after_help = EXIT_CODES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done: what was to be removed is removed, or there was nothing
  1  something could not be looked at, judged or removed, and is listed; or the report could not be written
  2  the command line is wrong";

#[derive(Debug, Subcommand)]
enum Command {
    /// Remove what belongs to nobody alive, and say what was left alone and why.
    ///
    /// Two killed processes can leave a name in /dev/shm, a System V segment, or a semaphore set. Each goes if it has
    /// monshm's form, no living process holds a slot in it, and it is ten seconds old. It may run at any time.
    #[command(after_help = EXIT_CODES)]
    Clean {
        /// Remove nothing; say what would be removed.
        #[arg(long, short = 'n')]
        dry_run: bool,
        #[command(flatten)]
        output: Output,
    },
    /// List what is there, in use or not, and who has it.
    #[command(after_help = EXIT_CODES)]
    List {
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Args)]
struct Output {
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let (outcome, output) = match Arguments::parse().command {
        Command::Clean { dry_run, output } => {
            (monshm::clean(if dry_run { Cleanup::Report } else { Cleanup::Remove }), output)
        }
        Command::List { output } => (monshm::list(), output),
    };
    finish(outcome, &output)
}

fn finish(outcome: Result<Report, Error>, output: &Output) -> ExitCode {
    let report = match outcome {
        Ok(report) => report,
        Err(error) => {
            eprintln!("monshm: {error}");
            return ExitCode::FAILURE;
        }
    };
    let text = if output.json { print::json(&report) } else { print::table(&report) };
    let mut stdout = std::io::stdout();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // A reader that has gone (`monshm list | head`) wanted no more.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            eprintln!("monshm: the report could not be written: {error}");
            return ExitCode::FAILURE;
        }
        _ => {}
    }
    let whole = report.unseen().is_empty() && report.failed().next().is_none() && report.unanswered() == 0;
    if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
