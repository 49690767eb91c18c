//! Counts what test runners report: reads the closing lines of `cargo test`, adds them up, and prints one line for all.
//!
//! It starts nothing and judges nothing but the counts.

use std::fmt;
use std::ops::AddAssign;

/// Tests counted over any number of runs.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
    /// The names of the failed tests, as their runner printed them.
    pub(crate) failures: Vec<String>,
}

impl Tally {
    /// Takes one line of a runner's output into account.
    ///
    /// What counts is libtest's closing line, `test result: ok. 5 passed; 0 failed; 1 ignored; …`: an ignored test is a
    /// skipped one. Lines such as `test a::b ... FAILED` give the names.
    pub(crate) fn read_line(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED")) {
            self.failures.push(name.to_owned());
        }
        let Some(rest) = line.strip_prefix("test result: ") else { return };
        let Some((_, counts)) = rest.split_once(". ") else { return };
        for part in counts.split(';') {
            let mut words = part.split_whitespace();
            let Some(count) = words.next().and_then(|word| word.parse::<usize>().ok()) else { continue };
            match words.next() {
                Some("passed") => self.passed += count,
                Some("failed") => self.failed += count,
                Some("ignored") => self.skipped += count,
                _ => {}
            }
        }
    }

    /// Moves `count` tests from passed to skipped: libtest knows no skipped test, so one that skips itself passes.
    pub(crate) fn passed_by_skipping(&mut self, count: usize) {
        let moved = count.min(self.passed);
        self.passed -= moved;
        self.skipped += moved;
    }

    /// Counts one failure that no runner's closing line speaks of: a build, or a runner that died.
    pub(crate) fn fail(&mut self, what: &str) {
        self.failed += 1;
        self.failures.push(what.to_owned());
    }

    /// The same counts, with `title` before each name.
    pub(crate) fn below(mut self, title: &str) -> Self {
        for failure in &mut self.failures {
            *failure = format!("{title}: {failure}");
        }
        self
    }

    /// How many tests have run, passed or failed.
    pub(crate) fn ran(&self) -> usize {
        self.passed + self.failed
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.failures.extend(other.failures);
    }
}

/// The closing line: `N passed, M failed, K skipped`.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;

    fn read(text: &str) -> Tally {
        let mut tally = Tally::default();
        text.lines().for_each(|line| tally.read_line(line));
        tally
    }

    #[test]
    fn closing_lines_are_added_up() {
        let tally = read(
            "running 3 tests\n\
             test a ... ok\n\
             test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 9 filtered out; finished in 0.01s\n\
             test b::c ... FAILED\n\
             test result: FAILED. 4 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 1.50s\n",
        );
        assert_eq!(tally.to_string(), "7 passed, 1 failed, 2 skipped");
        assert_eq!(tally.failures, ["b::c"]);
    }

    #[test]
    fn what_a_test_prints_is_no_closing_line() {
        assert_eq!(read("test result: unknown\nok. 3 passed; 0 failed\n"), Tally::default());
    }

    #[test]
    fn a_test_that_skipped_itself_is_not_counted_as_passed() {
        let mut tally = read("test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
        tally.passed_by_skipping(1);
        assert_eq!(tally.to_string(), "1 passed, 0 failed, 1 skipped");
        tally.passed_by_skipping(5);
        assert_eq!(tally.to_string(), "0 passed, 0 failed, 2 skipped");
    }
}
