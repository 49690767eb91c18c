//! `monshm-chaos`: kills processes that share a segment, and lets a survivor judge what is left.
//!
//! | file | its job |
//! |------|---------|
//! | `plan`         | the command line: which cells, roles and operations, how many kills |
//! | `steps`        | kills after every instruction of an operation |
//! | `life`         | kills at every system call of a segment's life |
//! | `random_kills` | kills at random times |
//! | `leftovers`    | kills of both sides, and `clean` |
//! | `soak`         | kills for hours, and a comparison of what can grow |
//! | `victim`       | the process that is killed |
//! | `progress`     | the page by which it says how far it is |
//! | `process`, `killer` | how it is started, and killed at a chosen time |
//! | `survivor`, `stream`, `pattern`, `record` | who judges, and by what |
//! | `tally`        | counts, findings and the table |
//!
//! `cargo xtask chaos` builds and runs it. No hook in the product helps: kills come from ptrace(2) at single
//! instructions and system calls, and from SIGKILL at random.

mod killer;
mod leftovers;
mod life;
mod pattern;
mod plan;
mod process;
mod progress;
mod random_kills;
mod record;
mod soak;
mod steps;
mod stream;
mod survivor;
mod tally;
mod victim;

use std::process::ExitCode;

harness::roles! { "victim" => victim::serve }

/// What a part of the campaign answers: an error ends the part, and is a finding where the campaign goes on.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    plan::main().unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}
