//! `cargo xtask fuzz TARGET`: runs one fuzz target, or all, for a while, from the corpus kept beside it.
//!
//! It keeps no list of targets: one is a file `fuzz_targets/TARGET.rs` in the `fuzz/` folder of a crate.

use crate::Verdict;
use crate::cargo::Workspace;
use crate::run;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// An input that takes longer is a finding: a call that does not end. Generous, since a machine may be busy.
const SECONDS_PER_INPUT: u64 = 60;

/// The longest input, in bytes: some hundred calls.
const LEN_MAX: u64 = 700;

/// Run fuzz targets under the address sanitizer (needs the nightly toolchain and cargo-fuzz); without a target, list
/// them.
///
/// Fails on a finding, and prints the command that shows it again. Without nightly, `cargo xtask test --only fuzz`
/// replays the corpora and mutations of them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The name of a file in a crate's fuzz/fuzz_targets, without `.rs`.
    #[arg(conflicts_with = "all")]
    target: Option<String>,
    /// Every target, one after the other.
    #[arg(long)]
    all: bool,
    /// Run this file alone, once: what was found.
    #[arg(long, value_name = "FILE", requires = "target")]
    input: Option<PathBuf>,
    /// How long to fuzz, in seconds.
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Arguments for the fuzzer itself (libFuzzer), such as -max_len=4096.
    #[arg(last = true, value_name = "ARGUMENT")]
    arguments: Vec<String>,
}

/// A target and the `fuzz/` folder that it belongs to.
#[derive(Debug)]
struct Target {
    name: String,
    folder: PathBuf,
}

pub(crate) fn run(args: &Args) -> Verdict {
    let workspace = Workspace::find()?;
    let targets = targets(&workspace)?;
    let wanted: Vec<&Target> = match &args.target {
        Some(name) => targets.iter().filter(|target| target.name == *name).collect(),
        None if args.all => targets.iter().collect(),
        None => {
            targets.iter().for_each(|target| println!("{}  ({})", target.name, target.folder.display()));
            return Ok(ExitCode::SUCCESS);
        }
    };
    if wanted.is_empty() {
        let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
        let asked = args.target.as_deref().unwrap_or("--all");
        return Err(format!("there is no fuzz target `{asked}`; there are: {}", names.join(", ")).into());
    }
    require_tools()?;
    if let (Some(file), [target]) = (&args.input, wanted.as_slice()) {
        let file = std::path::absolute(file)?;
        let ran = run::plainly(cargo_fuzz(&workspace, target).arg(file))?;
        return Ok(if ran.succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    let mut failed = false;
    for target in wanted {
        failed |= !fuzz(&workspace, target, args)?;
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Fuzzes one target; whether nothing was found.
fn fuzz(workspace: &Workspace, target: &Target, args: &Args) -> Result<bool, Box<dyn std::error::Error>> {
    let name = target.name.as_str();
    // Nothing found goes into the corpus of the repository: the first folder given receives new inputs.
    let inputs = workspace.scratch("fuzz")?.join(name);
    let findings = inputs.with_extension("findings");
    for folder in [&inputs, &findings] {
        std::fs::create_dir_all(folder)?;
    }
    let before = files(&findings)?;
    let mut command = cargo_fuzz(workspace, target);
    command.arg(&inputs);
    let corpus = target.folder.join("corpus").join(name);
    if corpus.is_dir() {
        command.arg(corpus);
    }
    command
        .arg("--")
        .arg(format!("-max_total_time={}", args.seconds))
        .arg(format!("-timeout={SECONDS_PER_INPUT}"))
        .arg(format!("-max_len={LEN_MAX}"))
        .arg(format!("-artifact_prefix={}/", findings.display()))
        .args(&args.arguments);
    let ran = run::plainly(&mut command)?;
    println!("fuzz {name} ... {} ({:.0} s)", if ran.succeeded { "ok" } else { "FAILED" }, ran.seconds);
    for finding in files(&findings)?.iter().filter(|file| !before.contains(file)) {
        println!("to see it again: cargo xtask fuzz {name} --input {}", finding.display());
    }
    Ok(ran.succeeded)
}

/// `cargo fuzz run TARGET`, in the crate's folder: cargo-fuzz looks for `fuzz/` below it.
fn cargo_fuzz(workspace: &Workspace, target: &Target) -> Command {
    let mut command = Command::new("rustup");
    command
        .args(["run", "nightly", "cargo", "fuzz", "run", &target.name])
        .current_dir(target.folder.parent().unwrap_or(workspace.root()))
        .env("CARGO_TARGET_DIR", workspace.target().join("fuzz"));
    // The outer cargo's choice of toolchain would win over `rustup run`.
    for variable in ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN"] {
        command.env_remove(variable);
    }
    command
}

fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
}

fn targets(workspace: &Workspace) -> Result<Vec<Target>, Box<dyn std::error::Error>> {
    let mut targets = Vec::new();
    for package in workspace.members() {
        let Some(folder) = package.manifest_path.parent().map(|parent| parent.join("fuzz").into_std_path_buf()) else {
            continue;
        };
        let Ok(entries) = std::fs::read_dir(folder.join("fuzz_targets")) else { continue };
        for entry in entries {
            let path = entry?.path();
            if let (Some("rs"), Some(name)) =
                (path.extension().and_then(|end| end.to_str()), path.file_stem().and_then(|stem| stem.to_str()))
            {
                targets.push(Target { name: name.to_owned(), folder: folder.clone() });
            }
        }
    }
    targets.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(targets)
}

fn require_tools() -> Result<(), String> {
    let answers = |program: &str, arguments: &[&str]| {
        Command::new(program)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    if !answers("rustup", &["run", "nightly", "rustc", "--version"]) {
        return Err("fuzzing needs the nightly toolchain: rustup toolchain install nightly".to_owned());
    }
    if !answers("cargo", &["fuzz", "--version"]) {
        return Err("fuzzing needs cargo-fuzz: cargo install cargo-fuzz".to_owned());
    }
    Ok(())
}
