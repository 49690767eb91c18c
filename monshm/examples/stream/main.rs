//! Streams bytes between two real processes through a segment, and compares the SHA-256 of both ends.
//!
//! ```text
//! sender                                         receiver (this program, started again)
//!   listens on a Unix socket   ←── connects ───
//!   creates the segment for that peer
//!   Segment::send              ─── segment ───→  Segment::receive
//!   for each block:  fills it, hashes it
//!                              ─── "block n" ──→
//!                              ←── "ready" ────
//!     the clock runs   { bytes ═══ the ring ══→  into its own memory
//!                              ←── "done" ─────
//!                                                hashes it
//!                              ─── "end" ──────→
//!   compares the two sums      ←── SHA-256 ────
//! ```
//!
//! What the speed means: bytes copied out of the sender's private memory, through the ring, into the receiver's private
//! memory. The clock runs from just before the first byte of a block is written until the receiver's word that it has
//! the last; so one wake-up over the socket is in each block's time, and no generating, no reading of files and no
//! hashing, which would hide the ring: SHA-256 is slower than it. The total time, with all of that, is told beside it.
//!
//! The socket is in Linux's abstract namespace: no name is left in a file system, however the processes end. An
//! interruption (Ctrl-C, SIGTERM) ends both sides in order, so that no kernel object stays either.
//!
//! Run it with `cargo xtask demo`, or `cargo run --release --package monshm --example stream`.

use clap::{CommandFactory, FromArgMatches};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

mod arguments;
mod data;
mod pipe;
mod receiver;
mod report;
mod sender;
mod table;
mod talk;

use arguments::Arguments;

/// What went wrong, in words for whoever started the program.
type Failure = Box<dyn std::error::Error>;

/// The exit code of a shell's job that SIGINT ended.
const INTERRUPTED: u8 = 130;

/// Set by SIGINT and SIGTERM; looked at between two pieces.
#[derive(Debug, Clone)]
struct Stop(Arc<AtomicBool>);

impl Stop {
    fn on_signals() -> std::io::Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register(signal, Arc::clone(&flag))?;
        }
        Ok(Self(flag))
    }

    /// Whether to stop. Relaxed: it guards no data.
    fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn check(&self) -> Result<(), Failure> {
        if self.is_asked() { Err("interrupted".into()) } else { Ok(()) }
    }
}

fn main() -> ExitCode {
    let arguments = parse();
    let outcome = Stop::on_signals().map_err(Failure::from).and_then(|stop| {
        let outcome = run(&arguments, &stop);
        if stop.is_asked() { Ok(ExitCode::from(INTERRUPTED)) } else { outcome }
    });
    outcome.unwrap_or_else(|failure| {
        eprintln!("error: {failure}");
        ExitCode::FAILURE
    })
}

/// Reads the command line, under the name by which the user started us.
fn parse() -> Arguments {
    let mut command = Arguments::command();
    if let Ok(name) = std::env::var("MONSHM_STREAM_NAME") {
        command = command.bin_name(name);
    }
    let matches = command.get_matches();
    Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

fn run(arguments: &Arguments, stop: &Stop) -> Result<ExitCode, Failure> {
    if let Some(address) = &arguments.receive_from {
        receiver::run(address, arguments, stop)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut all_equal = true;
    if !arguments.table {
        let report = sender::run(&arguments.plan(), !arguments.json, stop)?;
        if arguments.json {
            println!("{}", report.to_json());
        } else {
            println!("{report}");
        }
        all_equal = report.is_equal();
    }
    if arguments.table || arguments.is_bare() {
        all_equal &= table::run(stop)?;
    }
    Ok(if all_equal { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
