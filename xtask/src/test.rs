//! `cargo xtask test`: everything that must pass, and one closing line that speaks for all of it.
//!
//! It builds no matrix of tests (`test-matrix` does) and measures nothing.

use crate::Verdict;
use crate::cargo::Workspace;
use crate::matrix::Matrix;
use crate::report::Report;
use clap::ValueEnum;

/// Run every test: the workspace with its doctests, the loom models, each feature set's build, the fuzz corpora, the
/// no_std program, the C interface.
///
/// Ends with a page: a row a step, what was skipped and why, the failures, and `N passed, M failed, K skipped`, the sum
/// over all runners (a build without tests of its own counts as one). The tests' whole output is kept under
/// target/xtask/test. Exits non-zero when anything failed.
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
    /// `cargo clippy` of each feature set of ci/matrix.toml.
    Features,
    /// The fuzz targets on stable: each corpus, and seeded mutations of it.
    Fuzz,
    /// The program in ci/no-std: built, linked without libstd, and run.
    NoStd,
    /// `cargo xtask capi --test`: the C interface, installed and tested from C, C++ and Python.
    Capi,
}

pub(crate) fn run(args: &Args) -> Verdict {
    let workspace = Workspace::find()?;
    let steps = if args.only.is_empty() { Step::value_variants() } else { args.only.as_slice() };
    let mut report = Report::new(&workspace, "test")?;
    for step in steps {
        match step {
            Step::Workspace => test_workspace(&workspace, &mut report)?,
            Step::Loom => test_loom(&workspace, args.loom_preemptions, &mut report)?,
            Step::Features => check_features(&workspace, &mut report)?,
            Step::Fuzz => replay_fuzz(&workspace, &mut report)?,
            Step::NoStd => run_no_std(&workspace, &mut report)?,
            Step::Capi => test_capi(&workspace, &mut report)?,
        }
    }
    report.close()
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn test_workspace(workspace: &Workspace, report: &mut Report) -> Outcome {
    report.begin("the workspace: cargo test --all-features");
    let mut command = workspace.cargo(["test", "--all-features", "--no-fail-fast"]);
    for package in workspace.default_members() {
        command.args(["--package", &package.name]);
    }
    report.tests(&mut command, "cargo test")?;
    Ok(())
}

/// loom explores every interleaving, so its models want optimised code, with the checks of a debug build; and because
/// `--cfg loom` reaches every crate, a target folder of their own.
fn test_loom(workspace: &Workspace, preemptions: u32, report: &mut Report) -> Outcome {
    for package in workspace.default_members() {
        if !package.targets.iter().any(|target| target.is_test() && target.name == "loom") {
            continue;
        }
        let what = format!("loom models of {}", package.name);
        report.begin(&format!("{what}, at most {preemptions} preemptions"));
        let mut flags = std::env::var("RUSTFLAGS").unwrap_or_default();
        flags.push_str(" --cfg loom");
        let mut command = workspace.cargo(["test", "--test", "loom", "--package", &package.name]);
        command
            .env("RUSTFLAGS", flags.trim())
            .env("CARGO_TARGET_DIR", workspace.target().join("loom"))
            .env("CARGO_PROFILE_TEST_OPT_LEVEL", "3")
            .env("LOOM_MAX_PREEMPTIONS", preemptions.to_string());
        if report.tests(&mut command, &what)? == 0 {
            report.outcome(false, &format!("{what}: none ran"));
        }
    }
    Ok(())
}

/// With each feature alone, code that is there for another one shows as dead.
fn check_features(workspace: &Workspace, report: &mut Report) -> Outcome {
    report.begin("the feature sets of ci/matrix.toml: cargo clippy");
    for set in Matrix::read(workspace)?.feature_sets {
        let mut command = workspace.cargo(["clippy"]);
        command.args(set.arguments()).args(["--", "--deny", "warnings"]);
        report.command(&mut command, &format!("clippy of {}", set.name))?;
    }
    Ok(())
}

/// The bodies of the fuzz targets, in a package that is no default member.
fn replay_fuzz(workspace: &Workspace, report: &mut Report) -> Outcome {
    report.begin("the fuzz targets on stable: their corpora, and mutations of them");
    report.tests(&mut workspace.cargo(["test", "--package", "monshm-fuzzing"]), "the fuzz targets on stable")?;
    Ok(())
}

/// A package outside the workspace: its profiles abort on panic, and no feature that another package turns on reaches
/// it.
fn run_no_std(workspace: &Workspace, report: &mut Report) -> Outcome {
    report.begin("ci/no-std: a program without libstd and without an allocator");
    let mut command = workspace.cargo(["run", "--release", "--locked", "--manifest-path"]);
    command.arg(workspace.root().join("ci/no-std/Cargo.toml"));
    command.env("CARGO_TARGET_DIR", workspace.target().join("no-std"));
    report.command(&mut command, "the program in ci/no-std")?;
    Ok(())
}

fn test_capi(workspace: &Workspace, report: &mut Report) -> Outcome {
    report.begin("the C interface: cargo xtask capi --test");
    crate::capi::test(workspace, report)
}
