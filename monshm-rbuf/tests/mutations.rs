//! The mutation table: each ordering and each check of the ring weakened in turn, and the test or the model
//! that notices.
//!
//! `cargo test -p monshm-rbuf --release --test mutations -- --ignored --nocapture` runs all of them in a copy of
//! the crate; `MONSHM_MUTATIONS=SEED:COUNT` before it runs a slice that the seed chooses. Each row must be
//! found in the source exactly once, and its killer must pass without it. Not here: texts, and rows that the compiler
//! would refuse.

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

/// File, what is there, what is put in its place, what must notice.
type Row = (&'static str, &'static str, &'static str, Killer);

const ROWS: &[Row] = &[
    // Orderings.
    ("producer.rs", "store64(Field64::Tail, tail, Release)", "store64(Field64::Tail, tail, Relaxed)", Loom("wrap")),
    ("producer.rs", "load64(Field64::Head, Acquire)", "load64(Field64::Head, Relaxed)", Loom("wrap")),
    ("consumer.rs", "store64(Field64::Head, head, Release)", "store64(Field64::Head, head, Relaxed)", Loom("wrap")),
    (
        "consumer.rs",
        "are seen.\n        let tail = self.claim.memory.load64(Field64::Tail, Acquire)",
        "are seen.\n        let tail = self.claim.memory.load64(Field64::Tail, Relaxed)",
        Loom("wrap"),
    ),
    (
        "consumer.rs",
        "as in `reload_tail`.\n        let tail = self.claim.memory.load64(Field64::Tail, Acquire)",
        "as in `reload_tail`.\n        let tail = self.claim.memory.load64(Field64::Tail, Relaxed)",
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
    ("claim.rs", "claimant.get(), Acquire)", "claimant.get(), Relaxed)", Loom("a_claim_is_exclusive")),
    ("claim.rs", "self.claimant.get(), 0, Release)", "self.claimant.get(), 0, Relaxed)", Loom("a_claim_is_exclusive")),
    ("claim.rs", "store32(R::CLOSED, 1, Release)", "store32(R::CLOSED, 1, Relaxed)", Loom("close_and_abandon")),
    (
        "claim.rs",
        "load32(<R::Peer as Role>::CLOSED, Acquire)",
        "load32(<R::Peer as Role>::CLOSED, Relaxed)",
        Loom("close_and_abandon"),
    ),
    ("claim.rs", "        self.memory.fence();\n", "", Loom("no_wake_up")),
    (
        "claim.rs",
        "// Pairs with the fence in `begin_wait`.\n        self.memory.light_fence();",
        "",
        Loom("no_wake_up"),
    ),
    // The order of things.
    ("claim.rs", "        self.close();\n", "", Loom("close_and_abandon")),
    (
        "claim.rs",
        "        if self.memory.load32(R::CLAIM, Relaxed) != self.claimant.get() {\n            return;\n        }\n",
        "",
        Loom("one_successor"),
    ),
    ("claim.rs", "self.memory.store32(<R::Peer as Role>::WAITING, 0, Relaxed);", "", Loom("no_wake_up")),
    ("claim.rs", "memory.store32(R::CLOSED, 0, Relaxed);", "", Test("model", "bytes_agree")),
    ("batch.rs", "        self.publish();\n        refusal", "        refusal", Loom("batches")),
    (
        "producer.rs",
        "        self.claim.memory.store64(Field64::DroppedRecords, self.drops.0, Relaxed);\n",
        "",
        Loom("drop_counting"),
    ),
    ("producer.rs", "                self.count_drop(src.len());\n", "", Loom("drop_counting")),
    // The copy that the compiler cannot see through.
    (
        "arch/copy/mod.rs",
        "cpu::read(src, dst.as_mut_ptr(), dst.len())",
        "core::ptr::copy_nonoverlapping(src, dst.as_mut_ptr(), dst.len())",
        Optimised("double_fetch", "what_was_checked"),
    ),
    // Checks of the producer.
    ("producer.rs", "!bounds.contains(head)", "false", Test("hostile", "an_index_out_of_range")),
    ("producer.rs", "!bounds.contains(tail)", "false", Test("hostile", "an_index_out_of_range")),
    ("producer.rs", "used < bounds.distance(published, tail)", "false", Test("hostile", "a_head_inside")),
    (
        "producer.rs",
        "bounds.size() - 1 - used < self.cursor.remaining()",
        "false",
        Test("hostile", "an_index_that_goes_back"),
    ),
    (
        "producer.rs",
        "self.poison = Some(what);\n        self.cursor.exhaust();",
        "self.cursor.exhaust();",
        Test("hostile", "an_index_that_goes_back"),
    ),
    (
        "producer.rs",
        "self.poison = Some(what);\n        self.cursor.exhaust();",
        "self.poison = Some(what);",
        Test("hostile", "an_index_that_goes_back"),
    ),
    ("producer.rs", "        self.ensure_writable(len, published)?;\n", "", Test("model", "bytes_agree")),
    ("producer.rs", "need > free", "false", Test("model", "bytes_agree")),
    ("producer.rs", "&& self.poison.is_none()", "", Test("hostile", "an_index_that_goes_back")),
    ("producer.rs", "!self.cursor.is_contiguous_to(line + 8)", "false", Loom("the_line_that_is_prefetched")),
    ("producer.rs", "is_contiguous_to(line + 8)", "is_contiguous_to(line)", Loom("the_line_that_is_prefetched")),
    ("producer.rs", "(published ^ tail) >= LINE", "false", Unit("a_write_touches")),
    ("producer.rs", "if lines > PREFETCHED_AT_ONCE", "if false", Unit("a_write_touches")),
    (
        "producer.rs",
        "self.cursor.set_limit(bounds.before(head))",
        "self.cursor.set_limit(head)",
        Test("model", "bytes_agree"),
    ),
    ("record/write.rs", "at & 7 != 0", "false", Test("hostile", "bytes_and_records")),
    ("record/write.rs", "Some(after) if at & 7 == 0", "Some(after)", Test("hostile", "bytes_and_records")),
    ("record/write.rs", "self.cursor.limit() & 7 != 7", "false", Test("hostile", "misaligned_indices")),
    (
        "record/write.rs",
        ".is_some_and(|extent| extent <= self.longest)",
        ".is_some()",
        Test("hostile", "the_longest_record"),
    ),
    ("record/write.rs", "if extent <= until_end {", "if true {", Test("hostile", "the_longest_record")),
    (
        "record/write.rs",
        "self.ensure_writable(place.padding + extent, published);",
        "self.ensure_writable(extent, published);",
        Test("model", "records_agree"),
    ),
    (
        "record/write.rs",
        "unsafe { self.claim.memory.store_word(self.tail(), Header::padding(padding).word) };",
        "",
        Loom("padding_at_the_wrap"),
    ),
    // Checks of the consumer.
    ("consumer.rs", "!bounds.contains(tail)", "false", Test("hostile", "an_index_out_of_range")),
    ("consumer.rs", "!bounds.contains(head)", "false", Test("hostile", "an_index_out_of_range")),
    ("consumer.rs", "bounds.distance(released, tail) < known", "false", Test("hostile", "an_index_that_goes_back")),
    (
        "consumer.rs",
        "bounds.distance(released, self.head()) + self.cursor.remaining()",
        "bounds.distance(released, self.head())",
        Test("hostile", "an_index_that_goes_back"),
    ),
    (
        "consumer.rs",
        "bounds.distance(released, self.head()) + self.cursor.remaining()",
        "self.cursor.remaining()",
        Test("hostile", "a_tail_inside_what_a_batch"),
    ),
    ("consumer.rs", "if released > self.head() {", "if false {", Test("hostile", "a_tail_inside_what_a_batch")),
    ("consumer.rs", "&& self.poison.is_none()", "", Test("hostile", "an_index_that_goes_back")),
    (
        "consumer.rs",
        "self.poison = Some(what);\n        self.cursor.exhaust();",
        "self.cursor.exhaust();",
        Test("hostile", "an_index_that_goes_back"),
    ),
    (
        "consumer.rs",
        "self.poison = Some(what);\n        self.cursor.exhaust();",
        "self.poison = Some(what);",
        Test("hostile", "an_index_that_goes_back"),
    ),
    ("consumer.rs", "if need > self.cursor.remaining() {", "if false {", Test("model", "bytes_agree")),
    (
        "consumer.rs",
        "Polled::Nothing if self.cursor.ends_before_wrap(len)",
        "Polled::Nothing",
        Test("model", "bytes_agree"),
    ),
    (
        "record/read.rs",
        "        if head & 7 != 0 {\n            return Err(Error::Unaligned);\n        }\n",
        "",
        Test("hostile", "bytes_and_records"),
    ),
    (
        "record/read.rs",
        "        if self.head() & 7 != 0 {\n            return Polled::Unclear;\n        }\n",
        "",
        Test("hostile", "bytes_and_records"),
    ),
    (
        "record/header.rs",
        "(self.word as u32).wrapping_sub(RECORD as u32) as usize",
        "self.payload_len()",
        Unit("words_that_no_producer"),
    ),
    ("record/write.rs", " && !matches!(room, Err(Error::Corrupt(_)))", "", Test("hostile", "an_index_out_of_range")),
    (
        "record/read.rs",
        "if self.cached_tail() & 7 != 0 {\n            return Err",
        "if false {\n            return Err",
        Test("hostile", "misaligned_indices"),
    ),
    (
        "record/read.rs",
        "            if self.cached_tail() & 7 != 0 {\n                return Polled::Unclear;\n            }\n",
        "",
        Test("hostile", "misaligned_indices"),
    ),
    (
        "record/read.rs",
        "Err(_) => return Err(self.poison(Corruption::HeaderInvalid)),",
        "Err(_) => Header::padding(8),",
        Test("hostile", "a_header_that_lies"),
    ),
    ("record/read.rs", "extent > until_end", "false", Test("hostile", "a_record_over_the_wrap")),
    ("record/read.rs", "extent > self.cursor.remaining()", "false", Test("hostile", "a_header_that_lies")),
    ("record/read.rs", "header.is_padding() && extent != until_end", "false", Test("hostile", "a_header_that_lies")),
    (
        "record/read.rs",
        "                self.release();\n                Err(Error::Empty",
        "                Err(Error::Empty",
        Test("hostile", "padding_is_passed"),
    ),
    (
        "record/read.rs",
        "checksum(header, sequence, payload) != sum",
        "false",
        Test("hostile", "a_checked_record_that_changes"),
    ),
    (
        "record/read.rs",
        "self.sequence.is_some_and(|expected| expected != sequence)",
        "false",
        Test("hostile", "a_checked_record_that_is_missing"),
    ),
    ("record/read.rs", "!header.is_first() && ", "", Test("hostile", "a_checked_record_that_is_missing")),
    (
        "record/read.rs",
        "        if self.consumer.check_poison().is_err() {\n            return;\n        }\n",
        "",
        Test("hostile", "a_checked_record_that_changes"),
    ),
    ("record/read.rs", "        self.check_poison()?;\n", "", Test("hostile", "a_checked_record_that_changes")),
    ("record/header.rs", "most.min(PAYLOAD_MAX)", "most", Unit("words_that_no_producer")),
    ("record/header.rs", "if !plain ||", "if", Unit("words_that_no_producer")),
    ("record/header.rs", "!first_is_checked ||", "", Unit("words_that_no_producer")),
    // Checks of locked use, grants, bounds.
    ("ring.rs", "!self.bounds.contains(head)", "false", Test("hostile", "an_index_out_of_range")),
    ("ring.rs", "!self.bounds.contains(tail)", "false", Test("hostile", "an_index_out_of_range")),
    ("ring.rs", "self.refuse_claimed(Field32::ProducerClaim)?;", "", Test("hostile", "a_claimed_role")),
    ("ring.rs", "self.refuse_claimed(Field32::ConsumerClaim)?;", "", Test("hostile", "a_claimed_role")),
    ("ring.rs", "src.len() > available", "false", Test("model", "locked_use")),
    ("ring.rs", "need > available", "false", Test("model", "locked_use")),
    ("grant.rs", "Some(end) if end <= available => Ok(()),", "Some(_) => Ok(()),", Test("model", "bytes_agree")),
    ("cursor.rs", "if after < self.contiguous_end {", "if true {", Unit("contiguous_bytes_are")),
    ("cursor.rs", "self.position + count < self.bounds.end()", "true", Unit("a_limit_is_extended")),
    ("cursor.rs", "if limit >= self.extend_end {", "if false {", Unit("a_limit_is_extended")),
    ("cursor.rs", "} else if limit + 1 == self.contiguous_end {", "} else if true {", Unit("a_limit_is_extended")),
    ("cursor.rs", ".min(self.bounds.end())", "", Unit("a_limit_is_extended")),
    ("cursor.rs", "if self.wrapped { 0 } else { self.horizon }", "self.horizon", Unit("a_horizon_holds")),
    (
        "cursor.rs",
        "self.wrapped = limit < self.position",
        "self.wrapped = limit <= self.position",
        Unit("contiguous_bytes_are"),
    ),
    ("cursor.rs", "(self.bounds.end(), 0)", "(self.bounds.end() + 1, 0)", Unit("contiguous_bytes_are")),
    (
        "cursor.rs",
        "(self.contiguous_end, self.extend_end, self.wrapped_limit, self.wrapped) = (0, 0, self.position, true);",
        "",
        Unit("an_exhausted_cursor"),
    ),
    ("bounds.rs", "if position == self.begin {", "if false {", Unit("distance_and_advance")),
    ("bounds.rs", "begin & 127 != 0", "false", Unit("each_rule_of_bounds")),
    ("bounds.rs", "end & 7 != 0", "false", Unit("each_rule_of_bounds")),
    ("bounds.rs", "if begin >= end {", "if false {", Unit("each_rule_of_bounds")),
    ("bounds.rs", "end > segment_len as u64 ||", "", Unit("each_rule_of_bounds")),
    ("bounds.rs", "|| end > isize::MAX as u64", "", Unit("each_rule_of_bounds")),
    ("bounds.rs", "position >= self.begin &&", "", Unit("distance_and_advance")),
    ("bounds.rs", "&& position < self.end", "", Unit("distance_and_advance")),
    ("bounds.rs", "if count < until_end {", "if count <= until_end {", Unit("distance_and_advance")),
    // The policy: where it is asked.
    (
        "consumer.rs",
        "        if self.policy.is_flush_due(head) {\n            self.flush();\n        }\n",
        "",
        Loom("what_was_read_is_flushed"),
    ),
    (
        "consumer.rs",
        "if self.policy.is_flush_due(head) {",
        "self.claim.memory.store64(Field64::Head, head, Release);\n        if self.policy.is_flush_due(head) {",
        Loom("what_was_read_is_flushed"),
    ),
    (
        "consumer.rs",
        "for _ in 0..self.policy.take_spins() {",
        "for _ in 0..0 {",
        Test("policy", "a_stream_is_learnt_from"),
    ),
    ("consumer.rs", "if gained > 0 {", "if false {", Test("policy", "a_stream_is_learnt_from")),
    (
        "consumer.rs",
        "        self.cursor.set_horizon(self.policy.horizon());\n",
        "",
        Test("policy", "a_stream_is_learnt_from"),
    ),
    (
        "policy/mod.rs",
        "self.gained > self.message.min(SHORT)",
        "self.gained > self.message",
        Unit("streams_are_flushed"),
    ),
    ("memory/shared.rs", "range.end.min(self.bounds.end())", "range.end", Test("hostile", "hints_outside")),
    ("memory/shared.rs", "range.start.max(self.bounds.begin())", "range.start", Test("hostile", "hints_outside")),
    // What it learns.
    ("policy/tuner.rs", " || !affected {", " {", Unit("no_trial_begins")),
    (
        "policy/tuner.rs",
        "if cost > self.baseline.cost().saturating_mul(2) {",
        "if false {",
        Unit("a_trial_that_takes_twice"),
    ),
    ("policy/tuner.rs", ".max(self.config.grace_bytes)", "", Unit("a_trial_that_takes_twice")),
    (
        "policy/tuner.rs",
        "if self.samples > 1 { self.longest }",
        "if false { self.longest }",
        Unit("an_interruption_is_not"),
    ),
    ("policy/tuner.rs", "saturating_mul(9)", "saturating_mul(10)", Unit("equal_settings")),
    ("policy/tuner.rs", "self.cool_down.saturating_mul(4)", "self.cool_down", Unit("equal_settings")),
    ("policy/tuner.rs", "if self.phase != Phase::Adopted {", "if true {", Unit("a_setting_that_pays")),
    ("policy/tuner.rs", "self.cool_down = self.config.cool_down.0;", "", Unit("a_setting_that_pays")),
    ("policy/tuner.rs", "        self.began = None;\n", "", Unit("what_goes_by_during")),
    ("policy/tuner.rs", "self.begin(Phase::WarmUp, now);", "self.begin(Phase::Adopted, now);", Unit("equal_settings")),
    ("policy/backoff.rs", "if self.spins > 0 && gained <= message {", "if false {", Unit("a_trial_ends_with")),
    (
        "policy/backoff.rs",
        "self.tuner.baseline_bytes() >= self.target_batch_bytes / 4 * POLLS_OF_BASELINE",
        "false",
        Unit("traffic_that_a_delay"),
    ),
    ("policy/backoff.rs", ".min(LONGEST)", "", Unit("the_delay_finds")),
    ("policy/backoff.rs", "self.spins = (self.spins / 2).max(1);", "", Unit("the_delay_finds")),
    ("policy/adaptive.rs", "if self.flush.is_on_trial() {", "if false {", Unit("one_thing_is_tried")),
    ("policy/adaptive.rs", "if self.backoff.is_trying() {", "if false {", Unit("one_thing_is_tried")),
    ("policy/adaptive.rs", "core::mem::take(&mut self.spins_due)", "self.spins_due", Unit("a_poll_that_found_nothing")),
    (
        "policy/adaptive.rs",
        "{ GRAIN } else { GRAIN_OF_SINGLES }",
        "{ GRAIN } else { GRAIN }",
        Unit("single_messages_teach"),
    ),
    ("policy/adaptive.rs", "!found.is_stream() || ", "", Unit("streams_are_flushed")),
    ("policy/adaptive.rs", "            self.flushed = line_of(head);\n", "", Unit("streams_are_flushed")),
    (
        "policy/adaptive.rs",
        "Some(bounds) if to < from",
        "Some(bounds) if to < from && false",
        Unit("streams_are_flushed"),
    ),
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
            survivors.push(format!("{file}: {from:?} is there {found} times"));
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
