//! `cargo xtask i686`: the tests of the product crates as 32-bit programs, and segments shared by 32- and 64-bit
//! processes.
//!
//! Compiler and libraries are those of `debian`. The programs run natively: an x86-64 kernel runs both kinds.

use crate::Verdict;
use crate::cargo::{PRODUCT, Workspace};
use crate::debian::{I686, Toolchain};
use crate::report::Report;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a segment of each backend is shared as, in both directions: arguments of the demo.
const SHARED_BY_BOTH: [&[&str]; 5] = [
    &["--memory", "memfd"],
    &["--memory", "memfd", "--lock", "futex"],
    &["--memory", "shm_open", "--lock", "futex"],
    &["--backend", "sysv", "--lock", "sysv-sem"],
    &["--backend", "sysv", "--lock", "futex"],
];

/// Locks whose words are libc's: their size differs, so that the other side must refuse them.
const REFUSED: [&[&str]; 2] = [&["--lock", "pthread-mutex"], &["--lock", "semaphore"]];

/// Build and run the product's tests as 32-bit programs, and let 32-bit and 64-bit processes share segments.
///
/// Needs x86-64. Compiler and 32-bit libraries come from Debian's packages, which are fetched once and unpacked into
/// the target folder; nothing is installed. Where they cannot be had, it says so and skips.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only the segments shared by 32-bit and 64-bit processes.
    #[arg(long)]
    shared: bool,
}

pub(crate) fn run(args: &Args) -> Verdict {
    let workspace = Workspace::find()?;
    let mut report = Report::new(&workspace, "i686")?;
    report.begin("32-bit programs");
    match Toolchain::unpacked(&workspace)? {
        Err(why) => report.skip("i686", &why),
        Ok(toolchain) => {
            if !args.shared {
                test_natively(&workspace, &toolchain, &mut report)?;
            }
            share(&workspace, &toolchain, &mut report)?;
        }
    }
    report.close()
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn test_natively(workspace: &Workspace, toolchain: &Toolchain, report: &mut Report) -> Outcome {
    let mut command = toolchain.cargo(workspace, ["test", "--locked", "--no-fail-fast", "--all-features"]);
    command.args(PRODUCT.iter().flat_map(|name| ["--package", name]));
    command.args(["--target", I686, "--lib", "--bins", "--tests"]).env("CC", toolchain.c_compiler());
    if report.tests(&mut command, "tests of the product crates, 32-bit")? == 0 {
        report.outcome(false, "no 32-bit test ran");
    }
    Ok(())
}

/// Runs the demo with a sender of one kind and a receiver of the other.
fn share(workspace: &Workspace, toolchain: &Toolchain, report: &mut Report) -> Outcome {
    report.begin("segments shared by 32-bit and 64-bit processes");
    // The profile of the tests, so that what they have built is used.
    for target in [Some(I686), None] {
        let mut build = toolchain.cargo(workspace, ["build", "--locked", "--profile", "test", "--package", "monshm"]);
        build.args(["--example", "stream"]).args(target.iter().flat_map(|triple| ["--target", triple]));
        if !report.command(&mut build, &format!("build of the demo, {}", target.unwrap_or("64-bit")))? {
            return Ok(());
        }
    }
    let demo = |target| toolchain.examples(target).join("stream");
    let (narrow, wide) = (demo(Some(I686)), demo(None));
    for (sender, receiver, name) in [(&wide, &narrow, "64-bit to 32-bit"), (&narrow, &wide, "32-bit to 64-bit")] {
        for arguments in SHARED_BY_BOTH {
            let what = format!("{name}: {}", arguments.join(" "));
            report.command(stream(sender, receiver, arguments).args(["--bytes", "8MiB"]), &what)?;
        }
        for arguments in REFUSED {
            refuses(sender, receiver, arguments, &format!("{name}: {}, refused", arguments.join(" ")), report)?;
        }
    }
    Ok(())
}

fn stream(sender: &PathBuf, receiver: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(sender);
    command.arg("--json").arg("--receiver").arg(receiver).args(arguments);
    command
}

/// The receiving side says why, in one line, and neither side hangs or dies.
fn refuses(sender: &PathBuf, receiver: &Path, arguments: &[&str], what: &str, report: &mut Report) -> Outcome {
    let output = stream(sender, receiver, arguments).args(["--bytes", "64KiB"]).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let refused = output.status.code() == Some(1) && said.contains("receiver: ");
    if !refused {
        println!("{what}: {}, and said: {said}", output.status);
    }
    report.outcome(refused, what);
    Ok(())
}
