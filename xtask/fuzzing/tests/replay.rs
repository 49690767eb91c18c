//! Each fuzz target on stable: every file of its corpus, and mutations of them that a seed chooses.
//!
//! `MONSHM_FUZZ_SEED` and `MONSHM_FUZZ_COUNT` choose others, and more. It finds little that libFuzzer would not; it
//! keeps what was found from coming back where there is no nightly toolchain. A failure prints the input as a byte
//! string.
//!
//! One test runs all targets, one after the other: some count file descriptors, which another thread would disturb.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use monshm_fuzzing::{TARGETS, Target};

/// Mutations of each target, unless the environment says otherwise.
const COUNT: u64 = 1500;

/// The longest input.
const LEN_MAX: usize = 600;

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

fn number(variable: &str, otherwise: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")),
        Err(_) => otherwise,
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The files of a folder, in the order of their names.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn corpus(target: &Target) -> Vec<Vec<u8>> {
    let folder = root().join(target.krate).join("fuzz/corpus").join(target.name);
    files(&folder).iter().map(|file| std::fs::read(file).unwrap()).collect()
}

/// Another input, made from two of the corpus.
fn mutate(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = corpus[random.below(corpus.len())].clone();
    for _ in 0..1 + random.below(4) {
        let (at, len) = (random.below(input.len() + 1), random.below(24));
        let end = (at + len).min(input.len());
        match random.below(6) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = random.next() as u8,
            2 => drop(input.splice(at..at, (0..len).map(|_| random.next() as u8)).count()),
            3 => drop(input.drain(at..end)),
            4 => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ => input.extend_from_within(at..end),
        }
    }
    input.truncate(LEN_MAX);
    input
}

fn feed(target: &Target, input: &[u8]) {
    if catch_unwind(AssertUnwindSafe(|| (target.body)(input))).is_err() {
        panic!("the input that breaks {}: b\"{}\"", target.name, input.escape_ascii());
    }
}

#[test]
fn corpora_and_mutations_of_them() {
    let (seed, count) = (number("MONSHM_FUZZ_SEED", 1), number("MONSHM_FUZZ_COUNT", COUNT));
    for (number, target) in TARGETS.iter().enumerate() {
        let corpus = corpus(target);
        assert!(!corpus.is_empty(), "{} has no corpus", target.name);
        corpus.iter().for_each(|input| feed(target, input));
        let mut random = Random(seed ^ (number as u64) << 56);
        (0..count).for_each(|_| feed(target, &mutate(&corpus, &mut random)));
        println!("{}: {} files and {count} mutations of them, seed {seed}", target.name, corpus.len());
    }
}

#[test]
fn the_table_names_the_targets_that_there_are() {
    let mut found = Vec::new();
    for krate in files(&root()) {
        if krate.join("fuzz/fuzz_targets").is_dir() {
            let name = krate.file_name().unwrap().to_string_lossy().into_owned();
            let targets = files(&krate.join("fuzz/fuzz_targets"));
            found.extend(
                targets.iter().map(|file| (file.file_stem().unwrap().to_string_lossy().into_owned(), name.clone())),
            );
        }
    }
    found.sort();
    let told: Vec<_> = TARGETS.iter().map(|target| (target.name.to_owned(), target.krate.to_owned())).collect();
    assert_eq!(told, found, "TARGETS in xtask/fuzzing/src/lib.rs, and the files fuzz/fuzz_targets/*.rs");
}
