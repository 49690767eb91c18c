//! `cargo xtask capi`: builds libmonshm.so and libmonshm.a, and installs them with the header and a pkg-config file.
//!
//! The tests of what was installed are in `capi/suite.rs`. What the library holds is the product's to know: this runs
//! cargo and copies files.

mod suite;

pub(crate) use suite::test;

use crate::Verdict;
use crate::cargo::Workspace;
use crate::report::Report;
use crate::run;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Build the C interface, libmonshm.so and libmonshm.a, and install it with its header and pkg-config file.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to install: DIR/lib, DIR/lib/pkgconfig, DIR/include/monitor [default: target/capi].
    #[arg(long, value_name = "DIR")]
    prefix: Option<PathBuf>,
    /// Then test it: the C suite plain, static, under AddressSanitizer and valgrind; C++; exported names; examples.
    #[arg(long)]
    test: bool,
}

/// What a static program must link besides libmonshm.a, as rustc tells for Linux (`--print native-static-libs`).
const PRIVATE_LIBRARIES: &str = "-lgcc_s -lutil -lrt -lpthread -lm -ldl -lc";

type Answer<T> = Result<T, Box<dyn std::error::Error>>;

pub(crate) fn run(args: &Args) -> Verdict {
    let workspace = Workspace::find()?;
    let prefix = match &args.prefix {
        Some(prefix) => std::path::absolute(prefix)?,
        None => workspace.target().join("capi"),
    };
    install(&workspace, &prefix)?;
    println!("installed: {}", prefix.display());
    if args.test {
        let mut report = Report::new(&workspace, "capi")?;
        report.begin("the C interface");
        suite::run(&workspace, &prefix, &mut report)?;
        return report.close();
    }
    Ok(ExitCode::SUCCESS)
}

/// Version and soname of the shared library.
struct Version {
    /// `MAJOR.MINOR.PATCH`.
    full: String,
    /// What changes with an incompatible release: the major version, or `0.MINOR` before 1.0.
    binary: String,
}

impl Version {
    fn of(workspace: &Workspace) -> Answer<Self> {
        let package = workspace.member("monshm").ok_or("the workspace has no package monshm")?;
        let version = &package.version;
        let binary = match version.major {
            0 => format!("0.{}", version.minor),
            major => major.to_string(),
        };
        Ok(Self { full: version.to_string(), binary })
    }

    fn soname(&self) -> String {
        format!("libmonshm.so.{}", self.binary)
    }
}

/// Builds in a folder of its own, since other crate types of the same crate would take each other's place.
fn install(workspace: &Workspace, prefix: &Path) -> Answer<()> {
    let version = Version::of(workspace)?;
    let built = workspace.target().join("capi-build");
    let mut build = workspace.cargo(["rustc", "--release", "--package", "monshm", "--lib"]);
    build.args(["--features", "capi", "--crate-type", "cdylib,staticlib", "--"]);
    build.arg(format!("-Clink-arg=-Wl,-soname,{}", version.soname())).env("CARGO_TARGET_DIR", &built);
    // Signal and fork handlers of the library stay in force after a dlclose(3), so their code must.
    build.arg("-Clink-arg=-Wl,-z,nodelete");
    if !run::plainly(&mut build)?.succeeded {
        return Err("the C interface did not build: cargo's messages above say why".into());
    }

    let (library, include) = (prefix.join("lib"), prefix.join("include/monitor"));
    for folder in [&library.join("pkgconfig"), &include] {
        std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let shared = format!("libmonshm.so.{}", version.full);
    copy(&built.join("release/libmonshm.so"), &library.join(&shared))?;
    copy(&built.join("release/libmonshm.a"), &library.join("libmonshm.a"))?;
    copy(&workspace.root().join("monshm/include/monitor/monitor.h"), &include.join("monitor.h"))?;
    link(&shared, &library.join(version.soname()))?;
    link(&version.soname(), &library.join("libmonshm.so"))?;
    let config = library.join("pkgconfig/monshm.pc");
    std::fs::write(&config, pkg_config(&version)).map_err(|error| format!("{}: {error}", config.display()))?;
    Ok(())
}

/// The folders are named from where the file lies, so that an installation can be moved.
fn pkg_config(version: &Version) -> String {
    format!(
        "prefix=${{pcfiledir}}/../..\n\
         libdir=${{prefix}}/lib\n\
         includedir=${{prefix}}/include\n\
         \n\
         Name: monshm\n\
         Description: Shared memory between processes that do not trust each other\n\
         Version: {}\n\
         Libs: -L${{libdir}} -lmonshm\n\
         Libs.private: {PRIVATE_LIBRARIES}\n\
         Cflags: -I${{includedir}}\n",
        version.full
    )
}

/// Puts a new file in the place of the old one: a program that has the old one mapped keeps it.
fn copy(from: &Path, to: &Path) -> Answer<()> {
    remove(to)?;
    std::fs::copy(from, to).map_err(|error| format!("{} to {}: {error}", from.display(), to.display()))?;
    Ok(())
}

fn link(target: &str, at: &Path) -> Answer<()> {
    remove(at)?;
    symlink(target, at).map_err(|error| format!("{}: {error}", at.display()))?;
    Ok(())
}

fn remove(path: &Path) -> Answer<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("{}: {error}", path.display()).into())
        }
        _ => Ok(()),
    }
}
