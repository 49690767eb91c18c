//! `monshm-campaigns`: kills processes that share a segment, and lets a survivor judge what is left; with `hostile`,
//! attacks them instead.
//!
//! `cargo xtask chaos` and `cargo xtask hostile` build and run it. Started with `--victim` it is one of the processes that
//! are killed. No hook in the product helps: kills come from ptrace(2) at single instructions and system calls, and from
//! SIGKILL at random.
//! `cargo xtask faults` lets their system calls fail (`faults/`).
//! `cargo xtask mutate-header` runs its campaign without kills.

mod cell;
mod census;
mod executioner;
#[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
mod faults;
mod judge;
mod ledger;
mod leftovers;
mod life;
mod mutation;
mod pattern;
mod plan;
mod random;
mod record;
mod soak;
mod spawn;
mod steps;
mod storm;
mod stream;
mod survivor;
mod tally;
mod tracer;
mod victim;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let done = match arguments.next().as_deref() {
        Some(spawn::VICTIM) => {
            let operation = arguments.next().unwrap_or_default();
            let ledger = arguments.next().and_then(|fd| fd.parse().ok()).unwrap_or(-1);
            return victim::main(&operation, ledger);
        }
        #[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
        Some(faults::SUBJECT) => return faults::subject(arguments),
        #[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
        Some(faults::VERB) => faults::main(),
        Some("mutate-header") => mutation::main(arguments),
        _ => plan::main(),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
