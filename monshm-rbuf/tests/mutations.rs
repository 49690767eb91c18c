//! The mutation table: each ordering and each check of the ring weakened in turn, and the test or the model
//! that notices.
//!
//! `cargo test -p monshm-rbuf --release --test mutations -- --ignored --nocapture` runs all of them in a copy of
//! the crate; `MONSHM_MUTATIONS=SEED:COUNT` before it runs a slice that the seed chooses. Each row must be
//! found in the source exactly once, and its killer must pass without it. Not here: mutations of what the
//! rules do not hang on (pace, texts), and rows that the compiler would refuse.

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

/// File, what stands there, what is put in its place, what must notice.
type Row = (&'static str, &'static str, &'static str, Killer);

const ROWS: &[Row] = &[
    // Orderings.
    ("producer.rs", "store64(Field64::Tail, tail, Release)", "store64(Field64::Tail, tail, Relaxed)", Loom("wrap")),
    ("producer.rs", "load64(Field64::Head, Acquire)", "load64(Field64::Head, Relaxed)", Loom("wrap")),
    ("consumer.rs", "store64(Field64::Head, head, Release)", "store64(Field64::Head, head, Relaxed)", Loom("wrap")),
    (
        "consumer.rs",
        "are seen.\n        let tail = self.seat.memory.load64(Field64::Tail, Acquire)",
        "are seen.\n        let tail = self.seat.memory.load64(Field64::Tail, Relaxed)",
        Loom("wrap"),
    ),
    (
        "consumer.rs",
        "as in `refresh`.\n        let tail = self.seat.memory.load64(Field64::Tail, Acquire)",
        "as in `refresh`.\n        let tail = self.seat.memory.load64(Field64::Tail, Relaxed)",
        Loom("wrap"),
    ),
    (
        "ring.rs",
        "store64(Field64::Tail, after, Release)",
        "store64(Field64::Tail, after, core::sync::atomic::Ordering::Relaxed)",
        Loom("locked_use_beside"),
    ),
    (
        "ring.rs",
        "store64(Field64::Head, head, Release)",
        "store64(Field64::Head, head, core::sync::atomic::Ordering::Relaxed)",
        Loom("a_lock_free_producer_beside"),
    ),
    (
        "ring.rs",
        "load64(Field64::Head, Acquire)",
        "load64(Field64::Head, core::sync::atomic::Ordering::Relaxed)",
        Loom("locked_use_beside"),
    ),
    (
        "ring.rs",
        "load64(Field64::Tail, Acquire)",
        "load64(Field64::Tail, core::sync::atomic::Ordering::Relaxed)",
        Loom("a_lock_free_producer_beside"),
    ),
    (
        "ring.rs",
        "load32(role, Acquire)",
        "load32(role, core::sync::atomic::Ordering::Relaxed)",
        Loom("locked_use_follows"),
    ),
    ("seat.rs", "claimant.get(), Acquire)", "claimant.get(), Relaxed)", Loom("a_claim_is_exclusive")),
    ("seat.rs", "self.claimant.get(), 0, Release)", "self.claimant.get(), 0, Relaxed)", Loom("a_claim_is_exclusive")),
    ("seat.rs", "store32(R::CLOSED, 1, Release)", "store32(R::CLOSED, 1, Relaxed)", Loom("close_and_abandon")),
    (
        "seat.rs",
        "load32(<R::Peer as Role>::CLOSED, Acquire)",
        "load32(<R::Peer as Role>::CLOSED, Relaxed)",
        Loom("close_and_abandon"),
    ),
    (
        "seat.rs",
        "look at the ring\n        // that follows here sees what that side published before its fence.\n        self.memory.fence();",
        "",
        Loom("no_wake_up"),
    ),
    ("seat.rs", "// Pairs with the fence in `begin_wait`.\n        self.memory.wake_fence();", "", Loom("no_wake_up")),
    // The order of things.
    ("seat.rs", "        self.close();\n", "", Loom("close_and_abandon")),
    (
        "seat.rs",
        "        if self.memory.load32(R::CLAIM, Relaxed) != self.claimant.get() {\n            return;\n        }\n",
        "",
        Loom("one_successor"),
    ),
    ("seat.rs", "self.memory.store32(<R::Peer as Role>::WAITING, 0, Relaxed);", "", Loom("no_wake_up")),
    ("seat.rs", "memory.store32(R::CLOSED, 0, Relaxed);", "", Test("model", "bytes_agree")),
    ("batch.rs", "        self.publish();\n        refusal", "        refusal", Loom("batches")),
    (
        "producer.rs",
        "        self.seat.memory.store64(Field64::DroppedRecords, self.drops.0, Relaxed);\n",
        "",
        Loom("drop_counting"),
    ),
    ("producer.rs", "                self.count_drop(src.len());\n", "", Loom("drop_counting")),
    // The copy that the compiler cannot see through.
    (
        "copy.rs",
        "arch::read(src, dst.as_mut_ptr(), dst.len())",
        "core::ptr::copy_nonoverlapping(src, dst.as_mut_ptr(), dst.len())",
        Optimised("double_fetch", "what_was_checked"),
    ),
    // Checks of the producer.
    ("producer.rs", "!bounds.contains(head)", "false", Test("hostile", "an_index_out_of_range")),
    ("producer.rs", "!bounds.contains(tail)", "false", Test("hostile", "an_index_out_of_range")),
    ("producer.rs", "used < bounds.distance(from, tail)", "false", Test("hostile", "a_head_inside")),
    (
        "producer.rs",
        "bounds.size() - 1 - used < self.cursor.left()",
        "false",
        Test("hostile", "an_index_that_goes_back"),
    ),
    (
        "producer.rs",
        "self.poison = Some(what);\n        self.cursor.end();",
        "self.cursor.end();",
        Test("hostile", "an_index_that_goes_back"),
    ),
    (
        "producer.rs",
        "self.poison = Some(what);\n        self.cursor.end();",
        "self.poison = Some(what);",
        Test("hostile", "an_index_that_goes_back"),
    ),
    ("producer.rs", "        self.make_room(len, from)?;\n", "", Test("model", "bytes_agree")),
    ("producer.rs", "need > free", "false", Test("model", "bytes_agree")),
    ("producer.rs", "&& self.poison.is_none()", "", Test("hostile", "an_index_that_goes_back")),
    ("producer.rs", "!self.cursor.allows(line + 8)", "false", Loom("the_line_that_is_fetched")),
    ("producer.rs", "allows(line + 8)", "allows(line)", Loom("the_line_that_is_fetched")),
    ("producer.rs", "(from ^ tail) >= LINE", "false", Unit("a_write_touches")),
    ("producer.rs", "if lines > FETCHED_AT_ONCE", "if false", Unit("a_write_touches")),
    (
        "producer.rs",
        "self.cursor.set_goal(bounds.before(head))",
        "self.cursor.set_goal(head)",
        Test("model", "bytes_agree"),
    ),
    ("push.rs", "at & 7 != 0", "false", Test("hostile", "bytes_and_records")),
    ("push.rs", "Some(after) if at & 7 == 0", "Some(after)", Test("hostile", "bytes_and_records")),
    ("push.rs", "self.cursor.goal() & 7 != 7", "false", Test("hostile", "misaligned_indices")),
    ("push.rs", ".is_some_and(|extent| extent <= self.longest)", ".is_some()", Test("hostile", "the_longest_record")),
    ("push.rs", "if extent <= until_end {", "if true {", Test("hostile", "the_longest_record")),
    (
        "push.rs",
        "self.make_room(place.padding + extent, from);",
        "self.make_room(extent, from);",
        Test("model", "records_agree"),
    ),
    (
        "push.rs",
        "unsafe { self.seat.memory.store_header(self.cursor.at(), Header::padding(padding).word) };",
        "",
        Loom("padding_at_the_wrap"),
    ),
    // Checks of the consumer.
    ("consumer.rs", "!bounds.contains(tail)", "false", Test("hostile", "an_index_out_of_range")),
    ("consumer.rs", "!bounds.contains(head)", "false", Test("hostile", "an_index_out_of_range")),
    ("consumer.rs", "bounds.distance(from, tail) < known", "false", Test("hostile", "an_index_that_goes_back")),
    (
        "consumer.rs",
        "bounds.distance(from, self.cursor.at()) + self.cursor.left()",
        "bounds.distance(from, self.cursor.at())",
        Test("hostile", "an_index_that_goes_back"),
    ),
    (
        "consumer.rs",
        "bounds.distance(from, self.cursor.at()) + self.cursor.left()",
        "self.cursor.left()",
        Test("hostile", "a_tail_inside_what_a_batch"),
    ),
    ("consumer.rs", "if from > self.cursor.at() {", "if false {", Test("hostile", "a_tail_inside_what_a_batch")),
    ("consumer.rs", "&& self.poison.is_none()", "", Test("hostile", "an_index_that_goes_back")),
    (
        "consumer.rs",
        "self.poison = Some(what);\n        self.cursor.end();",
        "self.cursor.end();",
        Test("hostile", "an_index_that_goes_back"),
    ),
    (
        "consumer.rs",
        "self.poison = Some(what);\n        self.cursor.end();",
        "self.poison = Some(what);",
        Test("hostile", "an_index_that_goes_back"),
    ),
    ("consumer.rs", "if need > self.cursor.left() {", "if false {", Test("model", "bytes_agree")),
    (
        "consumer.rs",
        "Extended::Not if self.cursor.has_in_one_piece(len)",
        "Extended::Not",
        Test("model", "bytes_agree"),
    ),
    (
        "pop.rs",
        "        if head & 7 != 0 {\n            return Err(Error::Unaligned);\n        }\n",
        "",
        Test("hostile", "bytes_and_records"),
    ),
    (
        "pop.rs",
        "        if self.cursor.at() & 7 != 0 {\n            return Glance::Unclear;\n        }\n",
        "",
        Test("hostile", "bytes_and_records"),
    ),
    (
        "record.rs",
        "(self.word as u32).wrapping_sub(RECORD as u32) as usize",
        "self.payload_len()",
        Unit("words_that_no_producer"),
    ),
    ("push.rs", " && !matches!(room, Err(Error::Corrupt(_)))", "", Test("hostile", "an_index_out_of_range")),
    (
        "pop.rs",
        "        if self.cursor.goal() & 7 != 0 {\n            return Err(self.poison(Corruption::TailMisaligned));\n        }\n",
        "",
        Test("hostile", "misaligned_indices"),
    ),
    (
        "pop.rs",
        "            if self.cursor.goal() & 7 != 0 {\n                return Glance::Unclear;\n            }\n",
        "",
        Test("hostile", "misaligned_indices"),
    ),
    (
        "pop.rs",
        "Err(_) => return Err(self.poison(Corruption::HeaderInvalid)),",
        "Err(_) => Header::padding(8),",
        Test("hostile", "a_header_that_lies"),
    ),
    ("pop.rs", "extent > until_end", "false", Test("hostile", "a_record_over_the_wrap")),
    ("pop.rs", "extent > self.cursor.left()", "false", Test("hostile", "a_header_that_lies")),
    ("pop.rs", "header.is_padding() && extent != until_end", "false", Test("hostile", "a_header_that_lies")),
    (
        "pop.rs",
        "                self.release_all();\n                Err(Error::Empty",
        "                Err(Error::Empty",
        Test("hostile", "padding_is_passed"),
    ),
    ("pop.rs", "checksum(header, sequence, payload) != sum", "false", Test("hostile", "a_checked_record_that_changes")),
    (
        "pop.rs",
        "self.sequence.is_some_and(|expected| expected != sequence)",
        "false",
        Test("hostile", "a_checked_record_that_is_missing"),
    ),
    ("pop.rs", "!header.is_first() && ", "", Test("hostile", "a_checked_record_that_is_missing")),
    (
        "pop.rs",
        "        if self.consumer.not_poisoned().is_err() {\n            return;\n        }\n",
        "",
        Test("hostile", "a_checked_record_that_changes"),
    ),
    ("pop.rs", "        self.not_poisoned()?;\n", "", Test("hostile", "a_checked_record_that_changes")),
    ("record.rs", "most.min(PAYLOAD_MAX)", "most", Unit("words_that_no_producer")),
    ("record.rs", "if !plain ||", "if", Unit("words_that_no_producer")),
    ("record.rs", "!first_is_checked ||", "", Unit("words_that_no_producer")),
    // Checks of locked use, grants, bounds.
    ("ring.rs", "!self.bounds.contains(head)", "false", Test("hostile", "an_index_out_of_range")),
    ("ring.rs", "!self.bounds.contains(tail)", "false", Test("hostile", "an_index_out_of_range")),
    ("ring.rs", "self.refuse_claimed(Field32::ProducerClaim)?;", "", Test("hostile", "a_claimed_role")),
    ("ring.rs", "self.refuse_claimed(Field32::ConsumerClaim)?;", "", Test("hostile", "a_claimed_role")),
    ("ring.rs", "src.len() > available", "false", Test("model", "locked_use")),
    ("ring.rs", "need > available", "false", Test("model", "locked_use")),
    ("grant.rs", "Some(end) if end <= available => Ok(()),", "Some(_) => Ok(()),", Test("model", "bytes_agree")),
    ("cursor.rs", "if after < self.stop {", "if true {", Unit("what_lies_ahead")),
    ("cursor.rs", "self.at + count < self.bounds.end()", "true", Unit("a_goal_is_extended")),
    ("cursor.rs", "if goal >= self.limit {", "if false {", Unit("a_goal_is_extended")),
    ("cursor.rs", "} else if goal + 1 == self.stop {", "} else if true {", Unit("a_goal_is_extended")),
    ("cursor.rs", ".min(self.bounds.end())", "", Unit("a_goal_is_extended")),
    ("cursor.rs", "if self.wrapped { 0 } else { self.reach }", "self.reach", Unit("a_reach_holds")),
    ("cursor.rs", "self.wrapped = goal < self.at", "self.wrapped = goal <= self.at", Unit("what_lies_ahead")),
    ("cursor.rs", "(self.bounds.end(), 0)", "(self.bounds.end() + 1, 0)", Unit("what_lies_ahead")),
    (
        "cursor.rs",
        "        (self.stop, self.limit, self.goal, self.wrapped) = (0, 0, self.at, true);\n",
        "",
        Unit("a_cursor_that_has_ended"),
    ),
    ("position.rs", "if position == self.begin {", "if false {", Unit("distance_and_advance")),
    ("position.rs", "begin & 127 != 0", "false", Unit("each_rule_of_bounds")),
    ("position.rs", "end & 7 != 0", "false", Unit("each_rule_of_bounds")),
    ("position.rs", "if begin >= end {", "if false {", Unit("each_rule_of_bounds")),
    ("position.rs", "end > segment_len as u64 ||", "", Unit("each_rule_of_bounds")),
    ("position.rs", "|| end > isize::MAX as u64", "", Unit("each_rule_of_bounds")),
    ("position.rs", "position >= self.begin &&", "", Unit("distance_and_advance")),
    ("position.rs", "&& position < self.end", "", Unit("distance_and_advance")),
    ("position.rs", "if count < until_end {", "if count <= until_end {", Unit("distance_and_advance")),
];

#[test]
#[ignore = "builds the crate once for each row; run by name"]
fn each_weakened_rule_is_noticed() {
    let copy = Copy::new();
    let rows = slice(&std::env::var("MONSHM_MUTATIONS").unwrap_or_default());
    let (mut survivors, mut passing) = (Vec::new(), Vec::new());
    for row in &rows {
        let (file, from, to, killer) = row;
        let source = copy.read(file);
        let found = source.matches(from).count();
        if found != 1 {
            survivors.push(format!("{file}: {from:?} stands there {found} times"));
            continue;
        }
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

/// All rows, or as many as `SEED:COUNT` says, from a place and in steps that the seed chooses.
fn slice(choice: &str) -> Vec<Row> {
    let Some((seed, count)) = choice.split_once(':') else { return ROWS.to_vec() };
    let (seed, count): (usize, usize) = (seed.parse().unwrap(), count.parse().unwrap());
    // 31 shares no factor with the number of rows, or a row would come twice.
    (0..count.min(ROWS.len())).map(|step| ROWS[(seed + 31 * step) % ROWS.len()]).collect()
}

const _: () = assert!(ROWS.len() % 31 != 0, "31 is a prime: it must not divide the number of rows");

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
