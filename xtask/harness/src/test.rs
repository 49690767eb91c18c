//! For tests: one that needs a process of its own, and one that leaves something out.
//!
//! The name of a test is that of the function in which a closure or an item stands: nobody has to write it twice.

use crate::Stop;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::panic::AssertUnwindSafe;
use std::process::{Command, Stdio};

/// Set, in the process that a test has for itself, to the test's name and the case.
const VARIABLE: &str = "MONSHM_TEST_ALONE";

/// What such a process ends with when `body` came to its end: the test runner ends otherwise when no test has the name.
const CAME_TO_ITS_END: i32 = 77;

/// Runs `body`, a closure of the calling test, in a process of its own, as the only test there. For what the tests
/// beside it would disturb (counts of descriptors and mappings) or be disturbed by (another user id, a signal handler).
///
/// # Panics
/// When `body` does.
pub fn alone<F: FnOnce()>(body: F) {
    if let Some(end) = alone_as("", body) {
        assert_eq!(end, Stop::Exited(0), "in a process of its own");
    }
}

/// The same for one of several cases of a test. Answers how the process ended: `Exited(0)` when `body` came to its end.
/// `None` in the process of another case, which goes on to its own.
///
/// # Panics
/// When the process does not start.
pub fn alone_as<F: FnOnce()>(case: &str, body: F) -> Option<Stop> {
    let test = name_in(std::any::type_name::<F>());
    let ours = format!("{test} {case}");
    match std::env::var(VARIABLE) {
        Ok(name) if name == ours => {
            let code = std::panic::catch_unwind(AssertUnwindSafe(body)).map_or(101, |()| CAME_TO_ITS_END);
            // SAFETY: ends the process at once: the body may have left it so that not even the test runner works.
            unsafe { libc::_exit(code) }
        }
        Ok(name) if name.starts_with(&format!("{test} ")) => return None,
        _ => {}
    }
    let mut command = Command::new("/proc/self/exe");
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(VARIABLE, ours);
    // What it skips and complains of is seen past the runner's capture.
    let output = command.stderr(Stdio::inherit()).output().expect("this binary starts again");
    match (output.status.signal(), output.status.code()) {
        (Some(signal), _) => Some(Stop::Killed(signal)),
        (None, Some(CAME_TO_ITS_END)) => Some(Stop::Exited(0)),
        (None, code) => {
            println!("{}", String::from_utf8_lossy(&output.stdout));
            Some(Stop::Exited(code.filter(|code| *code != 0).unwrap_or(1)))
        }
    }
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
        alone(|| assert_eq!(std::env::var(VARIABLE).unwrap(), format!("{} ", this_test!())));
        assert!(std::env::var(VARIABLE).is_err());
    }

    #[test]
    #[should_panic(expected = "in a process of its own")]
    fn a_test_alone_fails_as_itself() {
        alone(|| std::process::exit(3));
    }

    #[test]
    fn each_case_of_a_test_ends_in_its_own_way() {
        let ends = [("returns", Stop::Exited(0)), ("exits", Stop::Exited(3)), ("aborts", Stop::Killed(libc::SIGABRT))];
        for (case, due) in ends {
            let Some(end) = alone_as(case, || match case {
                "exits" => std::process::exit(3),
                "aborts" => std::process::abort(),
                _ => {}
            }) else {
                continue;
            };
            assert_eq!(end, due, "{case}");
        }
    }
}
