//! Tells the benchmark which compiler built it.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let compiler = std::env::var("RUSTC").unwrap_or_else(|_| "rustc".into());
    let output = std::process::Command::new(compiler).arg("--version").output();
    let version = output.map_or_else(|_| "rustc of unknown version".into(), |output| output.stdout);
    println!("cargo:rustc-env=MONSHM_BENCH_RUSTC={}", String::from_utf8_lossy(&version).trim());
}
