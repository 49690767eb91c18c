//! `cargo xtask test`: everything that must pass, and one closing line that speaks for all of it.
//!
//! It builds no matrix of tests (`test-matrix` does) and measures nothing.

use crate::Verdict;
use crate::cargo::Workspace;
use crate::matrix::Matrix;
use crate::run;
use crate::skips::{self, Skip, SkipLog};
use crate::tally::Tally;
use clap::ValueEnum;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// Run every test: the workspace with its doctests, the loom models, each feature set's build, the fuzz corpora, the
/// no_std program, the C interface.
///
/// Ends with `N passed, M failed, K skipped`, the sum over all runners (a build without tests of its own counts as one),
/// and exits non-zero when anything failed. What tests skipped is listed before that line, with the reasons.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Run these steps alone (comma-separated, or given several times).
    #[arg(long, value_name = "STEP", value_delimiter = ',')]
    only: Vec<Step>,
    /// How many times loom may preempt a thread in one execution; more finds more and takes longer.
    #[arg(long, value_name = "N", default_value_t = 3)]
    loom_preemptions: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    /// `cargo test` with all features: unit tests, integration tests, examples built, doctests.
    Workspace,
    /// `tests/loom.rs` of each crate that has one, with `--cfg loom`.
    Loom,
    /// `cargo check` of each feature set of ci/matrix.toml.
    Features,
    /// The fuzz targets on stable: each corpus, and seeded mutations of it.
    Fuzz,
    /// The program in ci/no-std: built, linked without libstd, and run.
    NoStd,
    /// `cargo xtask capi --test`: the C interface, installed and tested from C, C++ and Python.
    Capi,
}

/// What the steps found so far.
#[derive(Debug, Default)]
struct Found {
    tally: Tally,
    skips: Vec<Skip>,
}

pub(crate) fn run(args: &Args) -> Verdict {
    let workspace = Workspace::find()?;
    let steps = if args.only.is_empty() { Step::value_variants() } else { args.only.as_slice() };
    let mut found = Found::default();
    for step in steps {
        match step {
            Step::Workspace => test_workspace(&workspace, &mut found)?,
            Step::Loom => test_loom(&workspace, args.loom_preemptions, &mut found)?,
            Step::Features => check_features(&workspace, &mut found)?,
            Step::Fuzz => replay_fuzz(&workspace, &mut found)?,
            Step::NoStd => run_no_std(&workspace, &mut found)?,
            Step::Capi => test_capi(&workspace, &mut found)?,
        }
    }
    Ok(close(&found))
}

fn test_workspace(workspace: &Workspace, found: &mut Found) -> Result<(), Box<dyn std::error::Error>> {
    announce("the workspace: cargo test --all-features");
    let mut command = workspace.cargo(["test", "--all-features", "--no-fail-fast"]);
    for package in workspace.default_members() {
        command.args(["--package", &package.name]);
    }
    let log = SkipLog::new(&workspace.scratch("test")?, "workspace")?;
    log.announce_to(&mut command);
    count_tests(&mut command, "cargo test", found)?;
    take_skips(&log, found)
}

/// loom explores every interleaving, so its models want optimised code, with the checks of a debug build; and because
/// `--cfg loom` reaches every crate, a target folder of their own.
fn test_loom(workspace: &Workspace, preemptions: u32, found: &mut Found) -> Result<(), Box<dyn std::error::Error>> {
    for package in workspace.default_members() {
        if !package.targets.iter().any(|target| target.is_test() && target.name == "loom") {
            continue;
        }
        announce(&format!("the loom models of {}, at most {preemptions} preemptions", package.name));
        let mut flags = std::env::var("RUSTFLAGS").unwrap_or_default();
        flags.push_str(" --cfg loom");
        let mut command = workspace.cargo(["test", "--test", "loom", "--package", &package.name]);
        command
            .env("RUSTFLAGS", flags.trim())
            .env("CARGO_TARGET_DIR", workspace.target().join("loom"))
            .env("CARGO_PROFILE_TEST_OPT_LEVEL", "3")
            .env("LOOM_MAX_PREEMPTIONS", preemptions.to_string());
        let ran = count_tests(&mut command, &format!("loom models of {}", package.name), found)?;
        if ran == 0 {
            found.tally.fail(&format!("loom models of {}: none ran", package.name));
        }
    }
    Ok(())
}

fn check_features(workspace: &Workspace, found: &mut Found) -> Result<(), Box<dyn std::error::Error>> {
    announce("the feature sets of ci/matrix.toml: cargo check");
    for set in Matrix::read(workspace)?.feature_sets {
        let mut command = workspace.cargo(["check", "--quiet"]);
        command.args(set.arguments());
        let ran = run::plainly(&mut command)?;
        println!("check {} ... {} ({:.1} s)", set.name, if ran.succeeded { "ok" } else { "FAILED" }, ran.seconds);
        count_build(ran.succeeded, &format!("check of {}", set.name), found);
    }
    Ok(())
}

/// The bodies of the fuzz targets, in a package that is no default member.
fn replay_fuzz(workspace: &Workspace, found: &mut Found) -> Result<(), Box<dyn std::error::Error>> {
    announce("the fuzz targets on stable: their corpora, and mutations of them");
    let mut command = workspace.cargo(["test", "--package", "monshm-fuzzing"]);
    count_tests(&mut command, "the fuzz targets on stable", found)?;
    Ok(())
}

/// A package outside the workspace: its profiles abort on panic, and no feature that another package turns on reaches it.
fn run_no_std(workspace: &Workspace, found: &mut Found) -> Result<(), Box<dyn std::error::Error>> {
    announce("ci/no-std: a program without libstd and without an allocator");
    let manifest: PathBuf = workspace.root().join("ci/no-std/Cargo.toml");
    let mut command = workspace.cargo(["run", "--quiet", "--release", "--locked", "--manifest-path"]);
    command.arg(&manifest).env("CARGO_TARGET_DIR", workspace.target().join("no-std"));
    let ran = run::plainly(&mut command)?;
    println!("run ci/no-std ... {} ({:.1} s)", if ran.succeeded { "ok" } else { "FAILED" }, ran.seconds);
    count_build(ran.succeeded, "the program in ci/no-std", found);
    Ok(())
}

fn test_capi(workspace: &Workspace, found: &mut Found) -> Result<(), Box<dyn std::error::Error>> {
    announce("the C interface: cargo xtask capi --test");
    let (tally, skips) = crate::capi::test(workspace)?;
    found.tally += tally;
    found.skips.extend(skips);
    Ok(())
}

/// Runs a test command; answers how many tests ran. A command that failed without a failed test (it did not build, or a
/// test program died) is one failure more.
fn count_tests(command: &mut Command, what: &str, found: &mut Found) -> Result<usize, Box<dyn std::error::Error>> {
    let mut ran = run::counted(command, &mut std::io::stdout().lock())?;
    let count = ran.tally.ran();
    if !ran.succeeded && ran.tally.failed == 0 {
        ran.tally.fail(&format!("{what}: it did not build, or a test program died (see above)"));
    }
    found.tally += ran.tally;
    Ok(count)
}

fn count_build(succeeded: bool, what: &str, found: &mut Found) {
    if succeeded {
        found.tally.passed += 1;
    } else {
        found.tally.fail(what);
    }
}

fn take_skips(log: &SkipLog, found: &mut Found) -> Result<(), Box<dyn std::error::Error>> {
    let skips = log.read()?;
    found.tally.passed_by_skipping(skips::tests_in(&skips));
    found.skips.extend(skips);
    Ok(())
}

fn announce(what: &str) {
    println!("\n== {what}");
}

fn close(found: &Found) -> ExitCode {
    println!();
    for (reason, tests) in skips::by_reason(&found.skips) {
        println!("skipped, {reason}: {}", tests.join(", "));
    }
    for failure in &found.tally.failures {
        println!("failed: {failure}");
    }
    println!("{}", found.tally);
    if found.tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
