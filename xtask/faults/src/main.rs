//! `cargo xtask faults`: every system call of every operation fails once with each plausible errno, on each backend,
//! memory and lock; and whole lives of a segment are led under resource limits.
//!
//! | file | its job |
//! |------|---------|
//! | `plan`        | the order of runs: an operation's calls are seen once, then it runs for each call and errno |
//! | `operations`  | the operations, and what both processes do in them |
//! | `calls`       | the calls, and what each may plausibly answer |
//! | `intercept`   | sees the calls of the process under test, and lets one fail |
//! | `tested`      | the process under test, in which a call fails |
//! | `counterpart` | its other side |
//! | `run`         | one run of both |
//! | `judge`       | what a run is worth |
//! | `limits`, `arrange`, `life` | the resource limits, how they are made, what is done under them |
//! | `target`, `row` | where an operation is tried; what is printed |
//!
//! # To add a fault
//!
//! * A call or an errno: its line in the `TABLE` of `calls`.
//! * An operation: its row in `operations`, with what the process under test does between its marks, such as
//!   `peer("claim", &[Ring], claim, attached)` and `fn claim(test: &Tested) -> Outcome { let segment = test.join()?;
//!   test.attempt(|_| Ok((segment.producer()?, segment.consumer()?)), |_| Ok(())) }`.
//! * A resource limit: its row in `limits`, such as `case("memlock 0", Nothing, || limit(Resource::Memlock, 0))`.
//!
//! See the new row alone by `--operation claim --list`, then without `--list`.

/// The numbers of calls and the registers are those of one kind of machine.
#[cfg(all(target_arch = "x86_64", target_pointer_width = "64"))]
#[path = ""]
mod campaign {
    mod arrange;
    mod calls;
    mod counterpart;
    mod intercept;
    mod judge;
    mod life;
    mod limits;
    mod operations;
    mod plan;
    mod report;
    mod row;
    mod run;
    mod target;
    mod tested;
    mod usage;

    pub(crate) use plan::run;

    harness::roles! {
        "tested" => tested::role,
        "die-inside" => tested::die_inside,
        "abandon" => tested::abandon,
        "limits" => limits::role,
    }
}

#[cfg(not(all(target_arch = "x86_64", target_pointer_width = "64")))]
mod campaign {
    pub(crate) fn run() -> Result<std::process::ExitCode, Box<dyn std::error::Error>> {
        Err("this campaign knows the calls and the registers of x86-64 only".into())
    }
}

use std::process::ExitCode;

fn main() -> ExitCode {
    campaign::run().unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}
