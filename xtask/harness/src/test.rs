//! For tests: one that needs a process of its own, and one that leaves something out.
//!
//! The name of a test is that of the function in which a closure or an item stands: nobody has to write it twice.

use std::io::Write;
use std::process::Command;

/// Set, in the process that a test has for itself, to the test's name.
const VARIABLE: &str = "MONSHM_TEST_ALONE";

/// Runs `body`, a closure of the calling test, in a process of its own, as the only test there. For what the tests
/// beside it would disturb (counts of descriptors and mappings) or be disturbed by (another user id, a signal handler).
///
/// # Panics
/// When `body` does.
pub fn alone<F: FnOnce()>(body: F) {
    let test = name_in(std::any::type_name::<F>());
    if std::env::var(VARIABLE).is_ok_and(|name| name == test) {
        return body();
    }
    let mut command = Command::new("/proc/self/exe");
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(VARIABLE, test);
    let output = command.output().expect("this binary starts again");
    let out = String::from_utf8_lossy(&output.stdout);
    // What it skipped, past the runner's capture.
    let _ = std::io::stderr().write_all(&output.stderr);
    // A name that fits no test would pass without this.
    let ran = out.contains("test result: ok. 1 passed");
    assert!(output.status.success() && ran, "in a process of its own ({}):\n{out}", output.status);
}

/// The name of the test in which a function has this type.
pub fn name_of<F>(_: F) -> &'static str {
    name_in(std::any::type_name::<F>())
}

fn name_in(full: &'static str) -> &'static str {
    let end = full.find("::{{closure}}").or_else(|| full.rfind("::")).unwrap_or(full.len());
    let test = &full[..end];
    test.split_once("::").map_or(test, |(_, test)| test)
}

/// Says that a test leaves something out, where people and the task runner see it.
pub fn skipped(test: &str, reason: &str) {
    let line = format!("SKIP {test} {reason}\n");
    // Not by the macro, whose output the test runner keeps to itself when a test passes.
    let _ = std::io::stderr().write_all(line.as_bytes());
    if let Some(path) = std::env::var_os("MONSHM_SKIP_LOG") {
        let log = std::fs::OpenOptions::new().append(true).create(true).open(path);
        log.and_then(|mut log| log.write_all(line.as_bytes())).expect("the skip is logged");
    }
}

/// The name of the test that it is used in.
#[macro_export]
macro_rules! this_test {
    () => {{
        fn here() {}
        $crate::test::name_of(here)
    }};
}

/// Prints that this test leaves something out, and returns from it.
#[macro_export]
macro_rules! skip {
    ($reason:expr) => {{
        $crate::test::skipped($crate::this_test!(), $reason);
        return;
    }};
}

/// Skips the test that it is used in where processes of other users cannot be started.
#[macro_export]
macro_rules! needs_other_users {
    () => {
        if !$crate::users::can_change() {
            $crate::skip!($crate::users::NOT_ROOT);
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_knows_its_name() {
        assert_eq!(this_test!(), "test::tests::a_test_knows_its_name");
    }

    #[test]
    fn a_test_alone_has_a_process_of_its_own() {
        let here = std::env::var(VARIABLE).is_err();
        let mut ran = false;
        alone(|| ran = true);
        assert_ne!(ran, here);
    }

    #[test]
    #[should_panic(expected = "in a process of its own")]
    fn a_test_alone_fails_as_itself() {
        alone(|| panic!("as told"));
    }
}
