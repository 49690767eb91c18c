//! Runs a command to its end: with its output passed on, kept in a file, or counted as a test runner's.
//!
//! It knows no verb. A command that cannot be started is an error; one that fails is an answer.

use crate::tally::Tally;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, LineWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) succeeded: bool,
    pub(crate) seconds: f64,
    /// What its test runners counted; empty for a command that runs no tests.
    pub(crate) tally: Tally,
}

/// Runs `command` with this process's own stdin, stdout and stderr.
pub(crate) fn plainly(command: &mut Command) -> Result<Ran, Box<dyn std::error::Error>> {
    let begin = Instant::now();
    let status = command.status().map_err(|error| could_not_start(command, &error))?;
    Ok(Ran { succeeded: status.success(), seconds: begin.elapsed().as_secs_f64(), tally: Tally::default() })
}

/// Runs `command` with its stdout in the file `log`, and counts the tests that it reports there. Shown is what is out
/// of the ordinary: failures and what they print. stderr is this process's own, with cargo's progress.
pub(crate) fn counted(command: &mut Command, log: &Path) -> Result<Ran, Box<dyn std::error::Error>> {
    let begin = Instant::now();
    let mut file = LineWriter::new(File::create(log).map_err(|error| format!("{}: {error}", log.display()))?);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| could_not_start(command, &error))?;
    let mut tally = Tally::default();
    if let Some(stdout) = child.stdout.take() {
        // Tests may print bytes that are no UTF-8: a line is taken as bytes.
        for line in BufReader::new(stdout).split(b'\n') {
            let mut line = line?;
            line.push(b'\n');
            file.write_all(&line)?;
            let text = String::from_utf8_lossy(&line);
            tally.read_line(text.trim_end());
            if !is_ordinary(text.trim_end()) {
                print!("{text}");
            }
        }
    }
    file.flush()?;
    let status = child.wait()?;
    Ok(Ran { succeeded: status.success(), seconds: begin.elapsed().as_secs_f64(), tally })
}

/// What a test runner says when all is well.
fn is_ordinary(line: &str) -> bool {
    line.is_empty()
        || line.starts_with("test result: ok")
        || line.starts_with("test ") && (line.ends_with(" ... ok") || line.contains(" ... ignored"))
        || line.starts_with("running ") && (line.ends_with(" tests") || line.ends_with(" test"))
        || line.starts_with("all doctests ran in ")
}

/// `title` as the name of a file.
pub(crate) fn file_name(title: &str) -> String {
    title.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '.' }).collect()
}

/// Runs `command` with its output in the file `log`, and counts the tests that it reports there.
pub(crate) fn logged(command: &mut Command, log: &Path) -> Result<Ran, Box<dyn std::error::Error>> {
    let begin = Instant::now();
    let file = File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
    let status = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .status()
        .map_err(|error| could_not_start(command, &error))?;
    let mut tally = Tally::default();
    String::from_utf8_lossy(&std::fs::read(log)?).lines().for_each(|line| tally.read_line(line));
    Ok(Ran { succeeded: status.success(), seconds: begin.elapsed().as_secs_f64(), tally })
}

fn could_not_start(command: &Command, error: &std::io::Error) -> String {
    let program = command.get_program().to_string_lossy();
    match error.kind() {
        ErrorKind::NotFound if program.contains('/') => format!("could not start {program}: there is no such file"),
        ErrorKind::NotFound => format!("could not start {program}: install it, or add its folder to PATH"),
        _ => format!("could not start {program}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Ran, counted, is_ordinary, logged, plainly};
    use std::path::Path;
    use std::process::Command;

    const RUNNER: &str = "echo 'test a ... FAILED'; echo 'test result: FAILED. 1 passed; 1 failed; 0 ignored'; exit 1";

    #[test]
    fn a_failing_runner_is_an_answer_with_its_counts() {
        let folder = tempfile::tempdir().unwrap();
        for (run, name) in [(counted as fn(&mut Command, &Path) -> _, "counted"), (logged, "logged")] {
            let log = folder.path().join(name);
            let ran: Ran = run(Command::new("sh").args(["-c", RUNNER]), &log).unwrap();
            assert!(!ran.succeeded);
            assert_eq!(ran.tally.to_string(), "1 passed, 1 failed, 0 skipped");
            assert_eq!(std::fs::read_to_string(&log).unwrap().lines().count(), 2);
        }
    }

    #[test]
    fn only_what_is_well_is_not_shown() {
        for line in ["test a::b ... ok", "running 3 tests", "", "test result: ok. 3 passed; 0 failed; 0 ignored"] {
            assert!(is_ordinary(line), "{line}");
        }
        for line in ["test a::b ... FAILED", "thread 'a' panicked", "test result: FAILED. 1 passed; 1 failed"] {
            assert!(!is_ordinary(line), "{line}");
        }
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error_that_names_it() {
        let error = plainly(&mut Command::new("no-such-program")).unwrap_err().to_string();
        assert!(error.contains("could not start no-such-program: install it"), "{error}");
    }
}
