//! The mutation table, `mutations.txt`: each ordering and each check of the ring weakened in turn, and the test or the
//! model that notices.
//!
//! `cargo test -p monshm-rbuf --release --test mutations -- --ignored --nocapture` runs all of them in a copy of
//! the crate; `MONSHM_MUTATIONS=SEED:COUNT` before it runs a slice that the seed chooses. A killer must pass without
//! its row. Not here: texts, and rows that the compiler would refuse.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A killer that runs longer than this has noticed: the mutant does not end.
const ENDLESS: Duration = Duration::from_secs(240);

/// What must notice.
#[derive(Clone, Copy, PartialEq)]
enum Killer {
    /// A loom model.
    Loom(&'static str),
    /// A test of a file below `tests`, by file and name.
    Test(&'static str, &'static str),
    /// The same, built with all optimisations.
    Optimised(&'static str, &'static str),
    /// A unit test.
    Unit(&'static str),
}
use Killer::{Loom, Optimised, Test, Unit};

#[derive(Clone)]
struct Row {
    file: &'static str,
    from: String,
    to: String,
    killer: Killer,
}

/// The rows of `mutations.txt`, whose head says how they are written.
fn rows() -> Vec<Row> {
    let text = include_str!("mutations.txt");
    let paragraphs = text.split("\n\n").map(|paragraph| paragraph.lines().collect::<Vec<_>>());
    paragraphs.filter(|lines| !lines[0].starts_with('#')).map(|lines| row(&lines)).collect()
}

fn row(lines: &[&'static str]) -> Row {
    let [file, from, to, killer] = lines else { panic!("a row has four lines: {lines:?}") };
    let text = |line: &str, mark| {
        let text = line.strip_prefix(mark).expect(mark);
        text.strip_prefix(' ').unwrap_or_default().replace("\\n", "\n")
    };
    let killer = match *killer.split(' ').collect::<Vec<_>>() {
        ["loom", model] => Loom(model),
        ["test", file, test] => Test(file, test),
        ["optimised", file, test] => Optimised(file, test),
        ["unit", test] => Unit(test),
        _ => panic!("{killer:?} is no killer"),
    };
    Row { file, from: text(from, "-"), to: text(to, "+"), killer }
}

#[test]
fn each_row_stands_in_the_source_once() {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let rows = rows();
    for Row { file, from, to, .. } in &rows {
        let found = std::fs::read_to_string(sources.join(file)).unwrap().matches(from.as_str()).count();
        assert!(found == 1 && from != to, "{file}: {from:?} is there {found} times");
    }
    assert!(rows.len() % STEP != 0, "{STEP} is a prime: it must not divide the number of rows");
}

#[test]
#[ignore = "builds the crate once for each row; run by name"]
fn each_weakened_rule_is_noticed() {
    let copy = Copy::new();
    let rows = slice(&std::env::var("MONSHM_MUTATIONS").unwrap_or_default());
    let (mut survivors, mut passing) = (Vec::new(), Vec::new());
    for row in &rows {
        let Row { file, from, to, killer } = row;
        let source = copy.read(file);
        if !passing.contains(killer) {
            assert_eq!(copy.outcome(*killer), Outcome::Passes, "the killer of {from:?}, unmutated");
            passing.push(*killer);
        }
        copy.write(file, &source.replace(from, to));
        let outcome = copy.outcome(*killer);
        copy.write(file, &source);
        println!("{outcome:?}: {file}: {from:?} -> {to:?}");
        if outcome != Outcome::Fails {
            survivors.push(format!("{file}: {from:?} -> {to:?}: {outcome:?}"));
        }
    }
    println!("{} of {} rows noticed", rows.len() - survivors.len(), rows.len());
    assert!(survivors.is_empty(), "not noticed:\n{}", survivors.join("\n"));
}

/// The step from row to row of a slice: it shares no factor with the number of rows, or a row would come twice.
const STEP: usize = 31;

/// All rows, or as many as `SEED:COUNT` says, from a place and in steps that the seed chooses.
fn slice(choice: &str) -> Vec<Row> {
    let rows = rows();
    let Some((seed, count)) = choice.split_once(':') else { return rows };
    let (seed, count): (usize, usize) = (seed.parse().unwrap(), count.parse().unwrap());
    (0..count.min(rows.len())).map(|step| rows[(seed + STEP * step) % rows.len()].clone()).collect()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    Passes,
    Fails,
    DoesNotBuild,
}

/// A workspace of one crate: this one.
struct Copy {
    root: PathBuf,
}

impl Copy {
    fn new() -> Self {
        let own = Path::new(env!("CARGO_MANIFEST_DIR"));
        let workspace = own.parent().unwrap();
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mutations");
        copy_folder(&own.join("src"), &root.join("monshm-rbuf/src"));
        copy_folder(&own.join("tests"), &root.join("monshm-rbuf/tests"));
        std::fs::remove_file(root.join("monshm-rbuf/tests/mutations.rs")).unwrap();
        std::fs::copy(own.join("Cargo.toml"), root.join("monshm-rbuf/Cargo.toml")).unwrap();
        std::fs::copy(own.join("README.md"), root.join("monshm-rbuf/README.md")).unwrap();
        std::fs::copy(workspace.join("Cargo.lock"), root.join("Cargo.lock")).unwrap();
        let manifest = std::fs::read_to_string(workspace.join("Cargo.toml")).unwrap();
        std::fs::write(root.join("Cargo.toml"), alone(&manifest)).unwrap();
        Copy { root }
    }

    fn source(&self, file: &str) -> PathBuf {
        self.root.join("monshm-rbuf/src").join(file)
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.source(file)).unwrap()
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.source(file), text).unwrap();
    }

    fn outcome(&self, killer: Killer) -> Outcome {
        let (target, name, folder, loom) = match killer {
            Loom(name) => (vec!["--test", "loom", "--release"], name, "loom", true),
            Test(file, name) => (vec!["--test", file], name, "plain", false),
            Optimised(file, name) => (vec!["--test", file, "--release"], name, "plain", false),
            Unit(name) => (vec!["--lib"], name, "plain", false),
        };
        let run = |last: &[&str]| {
            let log = self.root.join("log");
            let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            cargo.args(["test", "-p", "monshm-rbuf", "--quiet"]).args(&target).args(last);
            cargo.current_dir(&self.root).env("CARGO_TARGET_DIR", self.root.join(folder));
            cargo.env("RUSTFLAGS", if loom { "--cfg loom" } else { "" }).env("RUST_BACKTRACE", "0");
            cargo.env("LOOM_MAX_PREEMPTIONS", "3").env("LOOM_MAX_BRANCHES", "20000");
            cargo.stdout(File::create(&log).unwrap()).stderr(Stdio::null());
            let mut child = cargo.spawn().unwrap();
            let deadline = Instant::now() + ENDLESS;
            let success = loop {
                match child.try_wait().unwrap() {
                    Some(status) => break status.success(),
                    None if Instant::now() > deadline => {
                        child.kill().unwrap();
                        child.wait().unwrap();
                        break false;
                    }
                    None => std::thread::sleep(Duration::from_millis(50)),
                }
            };
            (success, std::fs::read_to_string(log).unwrap_or_default())
        };
        if !run(&["--no-run"]).0 {
            return Outcome::DoesNotBuild;
        }
        let (success, stdout) = run(&[name]);
        assert!(!success || !stdout.contains("ok. 0 passed"), "{name} names no test");
        if success { Outcome::Passes } else { Outcome::Fails }
    }
}

/// The manifest of the workspace, with this crate as the only member and without the others as dependencies.
fn alone(manifest: &str) -> String {
    let mut inside_list = false;
    let mut lines = Vec::new();
    for line in manifest.lines() {
        if line.starts_with("members = [") || line.starts_with("default-members = [") {
            inside_list = true;
        }
        let other_crate = line.starts_with("monshm") && line.contains("path =");
        if !inside_list && !other_crate {
            lines.push(line);
        }
        if line == "]" {
            inside_list = false;
        }
        if line == "[workspace]" {
            lines.push("members = [\"monshm-rbuf\"]");
        }
    }
    lines.join("\n")
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
