//! Runs one benchmark suite: `monshm-bench SUITE [OPTIONS]`.
//!
//! A flat match, one file per suite. How rounds are interleaved and told is in `rounds`; nothing here
//! measures.

mod lock;
mod machine;
mod ring;
mod rounds;
mod setup;

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let suite = arguments.next();
    let options = match rounds::Options::parse(arguments) {
        Ok(options) => options,
        Err(unknown) => return usage(&format!("unknown option {unknown}")),
    };
    match suite.as_deref() {
        Some("lock") => lock::run(&options),
        Some("ring") => ring::run(&options),
        Some("setup") => setup::run(&options),
        Some(other) => return usage(&format!("unknown suite {other}")),
        None => return usage("no suite"),
    }
    ExitCode::SUCCESS
}

fn usage(fault: &str) -> ExitCode {
    eprintln!("monshm-bench: {fault}");
    eprintln!("usage: monshm-bench lock|ring|setup [--rounds N] [--seed N] [--only TEXT] [--cores A,B]");
    ExitCode::from(2)
}
