//! Tells the benchmark which compiler built it, and compiles the queues of Boost where its headers are found; else it
//! says why not, for the benchmark to repeat.
//!
//! A machine without a C++ compiler or without Boost still builds and runs everything else.

use std::process::{Command, Stdio};

const BOOST: &str = "src/transport/cpp/boost.cpp";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed={BOOST}");
    let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let output = Command::new(compiler).arg("--version").output();
    let version = output.map_or_else(|_| "rustc of unknown version".into(), |output| output.stdout);
    println!("cargo:rustc-env=MONSHM_BENCH_RUSTC={}", String::from_utf8_lossy(&version).trim());

    println!("cargo:rustc-check-cfg=cfg(has_boost)");
    match boost() {
        Ok(()) => println!("cargo:rustc-cfg=has_boost"),
        Err(why) => println!("cargo:rustc-env=MONSHM_BENCH_NO_BOOST={why}"),
    }
}

fn boost() -> Result<(), String> {
    if std::env::var_os("CARGO_FEATURE_PEERS_HEAVY").is_none() {
        return Err("built without the feature peers-heavy".into());
    }
    let mut build = cc::Build::new();
    build.cpp(true).std("c++17").opt_level(2).file(BOOST);
    let compiler = build.try_get_compiler().map_err(|error| one_line(&error.to_string()))?;
    // cc prints what a failed compilation says, as warnings: ask first, quietly.
    let mut probe: Command = compiler.to_command();
    probe.args(["-fsyntax-only", BOOST]).stdout(Stdio::null()).stderr(Stdio::piped());
    let probed = probe.output().map_err(|error| format!("no C++ compiler: {error}"))?;
    if !probed.status.success() {
        let said = String::from_utf8_lossy(&probed.stderr).into_owned();
        let fault = said.lines().find(|line| line.contains("error")).unwrap_or("it does not compile");
        return Err(format!("{} (Debian: libboost-dev)", one_line(fault)));
    }
    build.try_compile("monshm_bench_boost").map_err(|error| one_line(&error.to_string()))
}

/// A value of `cargo:rustc-env` ends at the line's end.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
