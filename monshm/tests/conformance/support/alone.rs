//! Tests that need a process of their own: the test binary is started again for this one test.
//!
//! For what the tests beside it would disturb (counts of descriptors and mappings) or be disturbed by (another user id,
//! a fork, another mount namespace).

use std::io::Write;
use std::process::Command;

/// Set, in the process that a test has for itself, to the test's name.
const VARIABLE: &str = "MONSHM_TEST_ALONE";

/// Runs `body` in a process of its own, as the only test there. `test` is the name of the calling test.
pub(crate) fn alone(test: &str, body: impl FnOnce()) {
    if std::env::var(VARIABLE).is_ok_and(|name| name == test) {
        return body();
    }
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new(program);
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env(VARIABLE, test);
    let output = command.output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    // What it skipped, past the runner's capture.
    std::io::stderr().write_all(&output.stderr).unwrap();
    // A name that fits no test would pass without this.
    let ran = out.contains("test result: ok. 1 passed");
    assert!(output.status.success() && ran, "in a process of its own ({}):\n{out}", output.status);
}
