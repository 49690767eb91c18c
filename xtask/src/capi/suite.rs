//! Tests of an installed C interface, as a C programmer would meet it: compiled with the system's compiler against the
//! installed header, linked with the installed library.
//!
//! What the functions must do is in `monshm/tests/c`; here is how the suite is built and run, and what else is looked
//! at: exported names, soname, C++, examples.

use super::{Answer, PRIVATE_LIBRARIES, Version, install};
use crate::cargo::Workspace;
use crate::report::Report;
use crate::run;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How much longer the suite's deadlines are under valgrind.
const VALGRIND_SLOWNESS: &str = "20";

const C_FLAGS: [&str; 7] = ["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-g"];
const CXX_FLAGS: [&str; 6] = ["-std=c++17", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-g"];

/// Installs into `target/capi` and tests that; for `cargo xtask test`.
pub(crate) fn test(workspace: &Workspace, report: &mut Report) -> Answer<()> {
    let prefix = workspace.target().join("capi");
    install(workspace, &prefix)?;
    run(workspace, &prefix, report)
}

/// Tests what is installed at `prefix`.
pub(super) fn run(workspace: &Workspace, prefix: &Path, report: &mut Report) -> Answer<()> {
    let (library, include) = (prefix.join("lib"), prefix.join("include"));
    let scratch = workspace.scratch("capi")?;
    Suite { workspace, library, include, scratch, report }.run_all()
}

struct Suite<'a> {
    workspace: &'a Workspace,
    library: PathBuf,
    include: PathBuf,
    /// Where programs are built.
    scratch: PathBuf,
    report: &'a mut Report,
}

impl Suite<'_> {
    fn run_all(&mut self) -> Answer<()> {
        self.look_at_names()?;
        self.look_at_pkg_config()?;
        self.run_cxx()?;
        self.run_unloading()?;
        self.run_suite("plain", &[], &[], &[])?;
        self.run_static()?;
        self.run_sanitized()?;
        self.run_under_valgrind()?;
        self.run_examples()
    }

    /// The library exports what the header declares, and nothing else, and says its soname.
    fn look_at_names(&mut self) -> Answer<()> {
        let library = self.library.join("libmonshm.so");
        let header = std::fs::read_to_string(self.include.join("monitor/monitor.h"))?;
        let mut declared: Vec<&str> = header.lines().filter_map(declared_function).collect();
        declared.sort_unstable();
        let Some(listing) = output(Command::new("nm").args(["-D", "--defined-only"]).arg(&library))? else {
            return self.skip("names", "there is no nm here");
        };
        let mut exported: Vec<&str> = listing.lines().filter_map(|line| line.split(' ').nth(2)).collect();
        exported.sort_unstable();
        let good = !declared.is_empty() && declared == exported;
        if !good {
            println!("declared: {declared:?}\nexported: {exported:?}");
        }
        self.count("exported_names_are_those_of_the_header", good);

        let soname = Version::of(self.workspace)?.soname();
        let dynamic = output(Command::new("objdump").arg("-p").arg(&library))?;
        let said = dynamic.as_deref().is_some_and(|text| {
            text.lines().any(|line| line.trim_start().starts_with("SONAME") && line.ends_with(&soname))
        });
        if dynamic.is_none() {
            return self.skip("soname", "there is no objdump here");
        }
        self.count("the_library_says_its_soname", said);
        Ok(())
    }

    fn look_at_pkg_config(&mut self) -> Answer<()> {
        let mut command = Command::new("pkg-config");
        command.args(["--cflags", "--libs", "monshm"]).env("PKG_CONFIG_PATH", self.library.join("pkgconfig"));
        let Some(flags) = output(&mut command)? else {
            return self.skip("pkg_config", "there is no pkg-config here");
        };
        let program = self.scratch.join("by-pkg-config");
        let mut compile = compiler("CC", "cc");
        compile.args(C_FLAGS).arg(self.example("c/consumer.c")).arg("-o").arg(&program);
        compile.args(flags.split_whitespace());
        let built = run::plainly(&mut compile)?.succeeded;
        self.count("pkg_config_tells_all_that_a_program_needs", built);
        Ok(())
    }

    fn run_cxx(&mut self) -> Answer<()> {
        let program = self.scratch.join("cxx");
        let mut compile = compiler("CXX", "c++");
        compile.args(CXX_FLAGS).arg(self.tests().join("cxx.cpp")).arg("-o").arg(&program);
        let built = run::plainly(self.linked(&mut compile))?.succeeded;
        let ran = built && run::plainly(&mut Command::new(&program))?.succeeded;
        self.count("a_cxx17_program_compiles_and_runs", ran);
        Ok(())
    }

    /// A program that loads the library at run time and unloads it again.
    fn run_unloading(&mut self) -> Answer<()> {
        let program = self.scratch.join("unload");
        let mut compile = compiler("CC", "cc");
        compile.args(C_FLAGS).arg(self.tests().join("unload/unload.c")).arg("-o").arg(&program);
        compile.arg("-I").arg(&self.include).args(["-pthread", "-ldl"]);
        let built = run::plainly(&mut compile)?.succeeded;
        let ran = built && run::plainly(Command::new(&program).arg(self.library.join("libmonshm.so")))?.succeeded;
        self.count("a_signal_after_the_library_was_unloaded_finds_its_handler", ran);
        Ok(())
    }

    /// The suite against the static library; a part of it, since the code is the same.
    fn run_static(&mut self) -> Answer<()> {
        let mut link: Vec<OsString> = vec![self.library.join("libmonshm.a").into()];
        link.extend(PRIVATE_LIBRARIES.split(' ').map(OsString::from));
        self.run_suite("static", &[], &link, &["descriptor::", "wire::"])
    }

    fn run_sanitized(&mut self) -> Answer<()> {
        let flags = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"];
        let probe = self.scratch.join("probe.c");
        std::fs::write(&probe, "int main(void) { return 0; }\n")?;
        let mut compile = compiler("CC", "cc");
        compile.args(flags).arg(&probe).arg("-o").arg(self.scratch.join("probe")).stderr(Stdio::null());
        if !run::plainly(&mut compile)?.succeeded {
            return self.skip("address_sanitizer", "the C compiler has no AddressSanitizer");
        }
        self.run_suite("address-sanitizer", &flags, &[], &[])
    }

    fn run_under_valgrind(&mut self) -> Answer<()> {
        if output(Command::new("valgrind").arg("--version"))?.is_none() {
            return self.skip("valgrind", "there is no valgrind here");
        }
        let Some(program) = self.build_suite("valgrind", &[], &[])? else { return Ok(()) };
        let mut command = Command::new("valgrind");
        command.args(["--quiet", "--error-exitcode=99", "--leak-check=full", "--child-silent-after-fork=no"]);
        command.args(["--errors-for-leak-kinds=definite,indirect,possible"]);
        command.args(["--show-leak-kinds=definite,indirect,possible"]);
        command.arg(concat!("--suppressions=", env!("CARGO_MANIFEST_DIR"), "/../ci/valgrind.supp"));
        command.arg(program).env("MONSHM_SLOWNESS", VALGRIND_SLOWNESS);
        self.count_suite("valgrind", &mut command)
    }

    fn run_suite(&mut self, name: &str, flags: &[&str], link: &[OsString], tests: &[&str]) -> Answer<()> {
        let Some(program) = self.build_suite(name, flags, link)? else { return Ok(()) };
        self.count_suite(name, Command::new(program).args(tests))
    }

    /// Builds the suite; a build that fails is a failed test. `link` stands for the shared library where it is empty.
    fn build_suite(&mut self, name: &str, flags: &[&str], link: &[OsString]) -> Answer<Option<PathBuf>> {
        let program = self.scratch.join(format!("suite-{name}"));
        let mut sources: Vec<PathBuf> =
            std::fs::read_dir(self.tests())?.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
        sources.retain(|path| path.extension().is_some_and(|extension| extension == "c"));
        sources.sort();
        let mut compile = compiler("CC", "cc");
        compile.args(C_FLAGS).args(flags).args(sources).arg("-o").arg(&program).arg("-pthread");
        if link.is_empty() {
            self.linked(&mut compile);
        } else {
            compile.arg("-I").arg(&self.include).args(link);
        }
        let built = run::plainly(&mut compile)?.succeeded;
        self.count(&format!("suite_builds::{name}"), built);
        Ok(built.then_some(program))
    }

    fn count_suite(&mut self, name: &str, command: &mut Command) -> Answer<()> {
        println!("the C suite, {name}");
        if self.report.tests(command, &format!("the C suite, {name}"))? == 0 {
            self.report.outcome(false, &format!("the C suite, {name}: no test ran"));
        }
        Ok(())
    }

    /// The examples do what their text says: producer and consumer in C, and the consumer in Python.
    fn run_examples(&mut self) -> Answer<()> {
        const COUNT: u64 = 20_000;
        let expected = format!("{COUNT} samples, sum {:.1}\n", (COUNT * (COUNT + 1)) as f64 / 4.0);
        for name in ["producer", "consumer"] {
            let mut compile = compiler("CC", "cc");
            compile.args(C_FLAGS).arg(self.example(&format!("c/{name}.c")));
            compile.arg("-o").arg(self.scratch.join(name));
            if !run::plainly(self.linked(&mut compile))?.succeeded {
                self.count("the_c_examples_compile", false);
                return Ok(());
            }
        }
        let consumer = Command::new(self.scratch.join("consumer"));
        let said = self.piped(COUNT, consumer)?;
        self.count("the_c_examples_stream", said == expected);

        if output(Command::new("python3").arg("--version"))?.is_none() {
            return self.skip("python_example", "there is no python3 here");
        }
        let mut consumer = Command::new("python3");
        consumer.arg(self.example("python/consumer.py")).arg(self.library.join("libmonshm.so"));
        let said = self.piped(COUNT, consumer)?;
        self.count("the_python_example_reads_what_c_writes", said == expected);
        Ok(())
    }

    /// What `consumer` prints, its stdin being the producer's stdout.
    fn piped(&self, count: u64, mut consumer: Command) -> Answer<String> {
        let mut producer =
            Command::new(self.scratch.join("producer")).arg(count.to_string()).stdout(Stdio::piped()).spawn()?;
        let descriptor = producer.stdout.take().ok_or("the producer has no stdout")?;
        let output = consumer.stdin(descriptor).stderr(Stdio::inherit()).output()?;
        let ended_well = producer.wait()?.success() && output.status.success();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        print!("{said}");
        Ok(if ended_well { said } else { format!("{said}, and then failed") })
    }

    /// Adds what a program needs of the installation, whose library it will find there when it runs.
    fn linked<'c>(&self, compile: &'c mut Command) -> &'c mut Command {
        let mut run_path = OsString::from("-Wl,-rpath,");
        run_path.push(&self.library);
        compile.arg("-I").arg(&self.include).arg("-L").arg(&self.library).arg("-lmonshm").arg(run_path)
    }

    fn tests(&self) -> PathBuf {
        self.workspace.root().join("monshm/tests/c")
    }

    fn example(&self, path: &str) -> PathBuf {
        self.workspace.root().join("monshm/examples").join(path)
    }

    fn count(&mut self, name: &str, good: bool) {
        self.report.outcome(good, &format!("capi::{name}"));
    }

    fn skip(&mut self, name: &str, reason: &str) -> Answer<()> {
        self.report.skip(&format!("capi::{name}"), reason);
        Ok(())
    }
}

/// The compiler that the environment names, or the system's.
fn compiler(variable: &str, default: &str) -> Command {
    Command::new(std::env::var_os(variable).unwrap_or_else(|| default.into()))
}

/// What a tool prints; `None` when there is no such tool.
fn output(command: &mut Command) -> Answer<Option<String>> {
    match command.stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => Ok(Some(String::from_utf8(output.stdout)?)),
        Ok(output) => {
            let program = command.get_program().to_string_lossy().into_owned();
            Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr)).into())
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The function that a line of the header declares: declarations begin a line with their type.
fn declared_function(line: &str) -> Option<&str> {
    let declares = line.starts_with(|first: char| first.is_ascii_lowercase()) && !line.starts_with("typedef");
    let (before, _) = line.split_once('(').filter(|_| declares)?;
    before.rsplit([' ', '*']).next().filter(|name| name.starts_with("mon_") || name.starts_with("buf_"))
}

#[cfg(test)]
mod tests {
    use super::declared_function;

    #[test]
    fn declarations_are_told_from_other_lines() {
        assert_eq!(declared_function("int mon_shm_lock(mon_shm_desc *desc);"), Some("mon_shm_lock"));
        assert_eq!(declared_function("void *mon_shm_addr(mon_shm_desc *desc, size_t o);"), Some("mon_shm_addr"));
        assert_eq!(declared_function(" * As mon_shm_lock(desc) does."), None);
        assert_eq!(declared_function("\tvoid\t\t\t(*destroy)(mon_shm_desc *desc);"), None);
        assert_eq!(declared_function("#define MON_SHM_ADDR(desc, field)\tmon_shm_addr((desc))"), None);
    }
}
