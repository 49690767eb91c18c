//! `cargo xtask fuzz TARGET`: runs one fuzz target for a while, from the corpus kept beside it.
//!
//! It keeps no list of targets: one is a file `fuzz_targets/TARGET.rs` in the `fuzz/` folder of a crate.

use crate::Verdict;
use crate::cargo::Workspace;
use crate::run;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

/// Run a fuzz target (needs the nightly toolchain and cargo-fuzz); without a target, list them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The name of a file in a crate's fuzz/fuzz_targets, without `.rs`.
    target: Option<String>,
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
    let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
    let Some(wanted) = &args.target else {
        targets.iter().for_each(|target| println!("{}  ({})", target.name, target.folder.display()));
        return Ok(ExitCode::SUCCESS);
    };
    let target = targets
        .iter()
        .find(|target| target.name == *wanted)
        .ok_or_else(|| format!("there is no fuzz target `{wanted}`; there are: {}", names.join(", ")))?;
    require_tools()?;
    // The crate's folder: cargo-fuzz looks for `fuzz/` below it. Nothing found goes into the corpus of the repository:
    // the first folder given receives new inputs.
    let found = workspace.scratch("fuzz")?.join(wanted);
    std::fs::create_dir_all(&found)?;
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo", "fuzz", "run", wanted]).arg(&found);
    let corpus = target.folder.join("corpus").join(wanted);
    if corpus.is_dir() {
        command.arg(corpus);
    }
    command
        .arg("--")
        .arg(format!("-max_total_time={}", args.seconds))
        .args(&args.arguments)
        .current_dir(target.folder.parent().unwrap_or(workspace.root()))
        .env("CARGO_TARGET_DIR", workspace.target().join("fuzz"));
    // The outer cargo's choice of toolchain would win over `rustup run`.
    for variable in ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN"] {
        command.env_remove(variable);
    }
    let ran = run::plainly(&mut command)?;
    println!("fuzz {wanted} ... {} ({:.0} s)", if ran.succeeded { "ok" } else { "FAILED" }, ran.seconds);
    Ok(if ran.succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn targets(workspace: &Workspace) -> Result<Vec<Target>, Box<dyn std::error::Error>> {
    let mut targets = Vec::new();
    for package in workspace.members() {
        let Some(folder) =
            package.manifest_path.parent().map(|parent| parent.join("fuzz").into_std_path_buf())
        else {
            continue;
        };
        let Ok(entries) = std::fs::read_dir(folder.join("fuzz_targets")) else { continue };
        for entry in entries {
            let path = entry?.path();
            if let (Some("rs"), Some(name)) = (
                path.extension().and_then(|end| end.to_str()),
                path.file_stem().and_then(|stem| stem.to_str()),
            ) {
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
