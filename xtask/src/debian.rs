//! A Rust toolchain of the lowest promised version, and what links for 32-bit x86: Debian's packages, unpacked beside
//! the system.
//!
//! It installs nothing and asks for no rights: apt keeps its lists and packages in a folder of the build. Where the
//! packages cannot be had, the answer says why, and the verb prints a skip.

use crate::cargo::Workspace;
use crate::run;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The target triple of 32-bit x86.
pub(crate) const I686: &str = "i686-unknown-linux-gnu";

type Failure = Box<dyn std::error::Error>;

/// The unpacked toolchain.
#[derive(Debug)]
pub(crate) struct Toolchain {
    /// Where the packages are unpacked: a root directory of its own.
    root: PathBuf,
    target: PathBuf,
    /// Such as `1.85.0`.
    pub(crate) version: String,
    gcc: String,
}

impl Toolchain {
    /// Unpacks the toolchain of the workspace's `rust-version`, unless an earlier call did. The inner answer says why
    /// the packages cannot be had.
    pub(crate) fn unpacked(workspace: &Workspace) -> Result<Result<Self, String>, Failure> {
        let package = workspace.member("monshm").ok_or("the workspace has no package `monshm`")?;
        let version = package.rust_version.as_ref().ok_or("monshm/Cargo.toml gives no rust-version")?.to_string();
        let missing = ["apt-get", "apt-cache", "dpkg", "cc"].iter().find(|program| !answers(program));
        if let Some(program) = missing {
            return Ok(Err(format!("`{program}` does not run here, which unpacks Debian's Rust {version}")));
        }
        if std::env::consts::ARCH != "x86_64" {
            return Ok(Err(format!("Debian's Rust {version} is unpacked on x86-64 alone")));
        }
        let folder = workspace.scratch("debian")?;
        let gcc = text_of(Command::new("cc").arg("-dumpversion"))?;
        let gcc = gcc.trim().split('.').next().unwrap_or_default().to_owned();
        let target = workspace.target().join("msrv");
        let toolchain = Self { root: folder.join("root"), target, version, gcc };
        let stamp = folder.join("unpacked");
        let wanted = format!("{} gcc {}\n", toolchain.version, toolchain.gcc);
        if !std::fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
            if let Err(why) = toolchain.unpack(&folder)? {
                return Ok(Err(why));
            }
            std::fs::write(&stamp, wanted)?;
        }
        toolchain.write_c_compiler()?;
        Ok(Ok(toolchain))
    }

    fn unpack(&self, folder: &Path) -> Result<Result<(), String>, Failure> {
        let apt = Apt::new(folder)?;
        let log = folder.join("apt.log");
        eprintln!("fetching Debian's Rust {} (140 MB), once for this target folder", self.version);
        // A list that is not to be had is told by the packages that are then unknown.
        run::logged(apt.command("apt-get").args(["--quiet", "update"]), &log)?;
        let offered = text_of(apt.command("apt-cache").args(["madison", "rustc-web"]))?;
        let Some(exact) = version_among(&offered, &self.version) else {
            return Ok(Err(format!("no package source of this system offers rustc-web {}", self.version)));
        };
        let short = self.version.rsplit_once('.').map_or(self.version.as_str(), |(short, _)| short);
        let std_library = format!("libstd-rust-web-{short}");
        let toolchain: Vec<String> = ["rustc-web", "cargo-web", "libstd-rust-web-dev", &std_library]
            .map(|name| format!("{name}={exact}"))
            .into();
        let gcc = &self.gcc;
        let apart = [
            format!("libstd-rust-web-dev:i386={exact}"),
            "libc6-dev-i386".to_owned(),
            "libc6-i386".to_owned(),
            format!("lib32gcc-{gcc}-dev"),
            "lib32gcc-s1".to_owned(),
        ];
        // With all that the toolchain needs and the system lacks; the 32-bit parts alone, since theirs is the system's.
        let mut with_needs = apt.command("apt-get");
        with_needs.args(["--quiet", "--yes", "--no-install-recommends", "--download-only", "install"]).args(toolchain);
        let mut alone = apt.command("apt-get");
        alone.args(["--quiet", "download"]).args(apart).current_dir(&apt.packages);
        for command in [&mut with_needs, &mut alone] {
            if !run::logged(command, &log)?.succeeded {
                return Ok(Err(format!("Debian's packages could not be fetched; {} has apt's answer", log.display())));
            }
        }
        for entry in std::fs::read_dir(&apt.packages)? {
            let package = entry?.path();
            let name = package.file_name().unwrap_or_default().to_string_lossy();
            // The C library of the running system stays the one that every program here uses.
            if !name.ends_with(".deb") || name.starts_with("libc6_") {
                continue;
            }
            let ran = run::plainly(Command::new("dpkg").arg("--extract").arg(&package).arg(&self.root))?;
            if !ran.succeeded {
                return Err(format!("dpkg could not unpack {}: is the disk full?", package.display()).into());
            }
        }
        // It is absolute in the package; the linker looks for it inside of the folder.
        let loader = self.root.join("lib/ld-linux.so.2");
        std::fs::remove_file(&loader)?;
        std::os::unix::fs::symlink("../lib32/ld-linux.so.2", loader)?;
        std::fs::remove_dir_all(&apt.packages)?;
        Ok(Ok(()))
    }

    /// `cargo ARGS…` of this toolchain, in the root of the workspace, with a target folder of its own.
    pub(crate) fn cargo<'a>(&self, workspace: &Workspace, args: impl IntoIterator<Item = &'a str>) -> Command {
        let programs = self.root.join("usr/bin");
        let mut command = Command::new(programs.join("cargo"));
        command.args(args).current_dir(workspace.root());
        for variable in ["CARGO", "RUSTUP_TOOLCHAIN", "RUSTFLAGS", "RUSTC_WRAPPER"] {
            command.env_remove(variable);
        }
        let root = self.root.display();
        let libraries = format!("{root}/usr/lib/x86_64-linux-gnu:{root}/lib/x86_64-linux-gnu");
        command
            .env("LD_LIBRARY_PATH", libraries)
            .env("RUSTC", programs.join("rustc"))
            .env("RUSTDOC", programs.join("rustdoc"))
            .env("CARGO_INCREMENTAL", "0")
            .env("CARGO_TARGET_DIR", &self.target)
            .env("CARGO_TARGET_I686_UNKNOWN_LINUX_GNU_LINKER", self.c_compiler());
        command
    }

    /// The system's C compiler, for 32-bit programs.
    pub(crate) fn c_compiler(&self) -> PathBuf {
        self.root.join("cc-i686")
    }

    /// Writes the C compiler: the system's, which looks for headers in the system and for all else where we unpacked.
    fn write_c_compiler(&self) -> std::io::Result<()> {
        let (root, version) = (self.root.display(), &self.gcc);
        let gcc = format!("{root}/usr/lib/gcc/x86_64-linux-gnu/{version}");
        let script = format!(
            "#!/bin/sh\n\
             exec cc -m32 --sysroot={root} -B{gcc}/ -L{gcc}/32 \\\n  \
             -Wl,--dynamic-linker={root}/lib32/ld-linux.so.2 -Wl,-rpath,{root}/lib32:{root}/usr/lib32 \\\n  \
             -idirafter /usr/include/x86_64-linux-gnu -idirafter /usr/include \"$@\"\n"
        );
        std::fs::write(self.c_compiler(), script)?;
        std::fs::set_permissions(self.c_compiler(), std::fs::Permissions::from_mode(0o755))
    }

    /// Where this toolchain puts the examples that it builds for a target, or for this machine, with a debug profile.
    pub(crate) fn examples(&self, target: Option<&str>) -> PathBuf {
        self.target.join(target.unwrap_or_default()).join("debug/examples")
    }
}

/// apt with lists and packages of its own, for both kinds of x86.
struct Apt {
    settings: PathBuf,
    packages: PathBuf,
}

impl Apt {
    fn new(folder: &Path) -> Result<Self, Failure> {
        let packages = folder.join("cache/archives");
        std::fs::create_dir_all(packages.join("partial"))?;
        std::fs::create_dir_all(folder.join("state/lists/partial"))?;
        let here = folder.display();
        let settings = folder.join("apt.conf");
        std::fs::write(
            &settings,
            format!(
                "APT::Architectures {{ \"amd64\"; \"i386\"; }};\n\
                 APT::Sandbox::User \"\";\n\
                 Acquire::IndexTargets::deb::DEP-11::DefaultEnabled \"false\";\n\
                 Acquire::Languages \"none\";\n\
                 Debug::NoLocking \"true\";\n\
                 Dir::Cache \"{here}/cache\";\n\
                 Dir::State \"{here}/state\";\n\
                 Dir::State::status \"/var/lib/dpkg/status\";\n"
            ),
        )?;
        Ok(Self { settings, packages })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", &self.settings).env("LC_ALL", "C");
        command
    }
}

/// The full version in `apt-cache madison`'s lines (`package | version | source`) whose upstream part is `version`.
fn version_among(offered: &str, version: &str) -> Option<String> {
    offered
        .lines()
        .filter_map(|line| line.split('|').nth(1))
        .map(str::trim)
        .find(|full| full.strip_prefix(version).is_some_and(|rest| rest.starts_with(['+', '-'])))
        .map(str::to_owned)
}

fn answers(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

fn text_of(command: &mut Command) -> Result<String, Failure> {
    let output = command
        .output()
        .map_err(|error| format!("could not start {}: {error}", command.get_program().to_string_lossy()))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::version_among;

    #[test]
    fn the_version_is_the_promised_one_and_no_later_one() {
        let offered = " rustc-web | 1.96.0+dfsg1-1 | http://a\n rustc-web | 1.85.0+dfsg3-1~deb12u3 | http://a\n";
        assert_eq!(version_among(offered, "1.85.0").as_deref(), Some("1.85.0+dfsg3-1~deb12u3"));
        assert_eq!(version_among(offered, "1.8"), None);
        assert_eq!(version_among("", "1.85.0"), None);
    }
}
