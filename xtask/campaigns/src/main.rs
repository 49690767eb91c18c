//! `monshm-campaigns`: lets system calls of processes that share a segment fail. `cargo xtask faults` builds and runs it.

mod cell;
mod census;
#[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
mod faults;
mod random {
    pub(crate) use harness::Random;
}
mod tracer;

use std::process::ExitCode;

#[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(faults::SUBJECT) {
        return faults::subject(arguments);
    }
    faults::main().unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

#[cfg(not(all(target_arch = "x86_64", target_pointer_width = "64")))]
fn main() -> ExitCode {
    eprintln!("error: this needs the system calls of x86-64");
    ExitCode::FAILURE
}
