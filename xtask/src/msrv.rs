//! `cargo xtask msrv`: the product crates with the lowest version of Rust that they promise.
//!
//! The compiler is the real one, unpacked by `debian`; clippy's `incompatible_msrv` knows only the standard library.

use crate::Verdict;
use crate::cargo::{PRODUCT, Workspace};
use crate::debian::Toolchain;
use crate::report::Report;

/// Build the product crates with the lowest promised version of Rust, and run their unit tests.
///
/// The version is `rust-version` of the root's Cargo.toml. Its compiler comes from Debian's packages, which are fetched
/// once and unpacked into the target folder; nothing is installed. Where they cannot be had, it says so and skips.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_args: &Args) -> Verdict {
    let workspace = Workspace::find()?;
    let mut report = Report::new(&workspace, "msrv")?;
    report.begin("the product crates with the lowest version of Rust");
    match Toolchain::unpacked(&workspace)? {
        Err(why) => report.skip("msrv", &why),
        Ok(toolchain) => {
            let packages = PRODUCT.iter().flat_map(|name| ["--package", name]);
            let mut check = toolchain.cargo(&workspace, ["check", "--locked"]);
            report.command(check.args(packages.clone()), "default features")?;
            let mut tests = toolchain.cargo(&workspace, ["test", "--locked", "--no-fail-fast", "--all-features"]);
            tests.args(packages).args(["--lib", "--bins"]);
            if report.tests(&mut tests, &format!("all features, Rust {}", toolchain.version))? == 0 {
                report.outcome(false, "no unit test ran");
            }
        }
    }
    report.close()
}
