//! What the steps of a verb found, and the page that the verb ends with: a row a step, each reason of skips once, the
//! failures, and one closing line for all.
//!
//! It runs nothing but what it is handed, and judges nothing but exit codes and counts.

use crate::Verdict;
use crate::cargo::Workspace;
use crate::run::{self, Ran};
use crate::skips::{self, Skip, SkipLog};
use crate::tally::Tally;
use comfy_table::{CellAlignment, Table, presets};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Instant;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// The steps of one verb so far.
#[derive(Debug)]
pub(crate) struct Report {
    logs: PathBuf,
    steps: Vec<Step>,
    tally: Tally,
    skips: Vec<Skip>,
}

#[derive(Debug)]
struct Step {
    what: String,
    tally: Tally,
    begin: Instant,
    seconds: f64,
}

impl Report {
    /// A report whose logs lie in a folder named for the verb.
    pub(crate) fn new(workspace: &Workspace, verb: &str) -> Outcome<Self> {
        let logs = workspace.scratch(verb)?;
        Ok(Self { logs, steps: Vec::new(), tally: Tally::default(), skips: Vec::new() })
    }

    /// Says what begins now. What is counted from here on belongs to it.
    pub(crate) fn begin(&mut self, what: &str) {
        self.end_step();
        println!("\n== {what}");
        self.steps.push(Step { what: what.to_owned(), tally: Tally::default(), begin: Instant::now(), seconds: 0.0 });
    }

    fn end_step(&mut self) {
        if let Some(step) = self.steps.last_mut() {
            step.seconds = step.begin.elapsed().as_secs_f64();
            self.tally += step.tally.clone();
        }
    }

    fn count(&mut self, tally: Tally) {
        if let Some(step) = self.steps.last_mut() {
            step.tally += tally;
        }
    }

    /// Runs tests; answers how many ran. Their whole output goes into a log; shown is what is out of the ordinary. A
    /// command that failed without a failed test (it did not build, or a test program died) is one failure more.
    pub(crate) fn tests(&mut self, command: &mut Command, what: &str) -> Outcome<usize> {
        let name = run::file_name(what);
        let skip_log = SkipLog::new(&self.logs, &name)?;
        skip_log.announce_to(command);
        let log = self.logs.join(format!("{name}.log"));
        let mut ran = run::counted(command, &log)?;
        let skips = skip_log.read()?;
        ran.tally.passed_by_skipping(skips::tests_in(&skips));
        self.skips.extend(skips);
        let count = ran.tally.ran() + ran.tally.skipped;
        if !ran.succeeded && ran.tally.failed == 0 {
            let log = log.display();
            ran.tally.fail(&format!("{what}: it did not build, or a test program died; see above, and {log}"));
        }
        self.count(ran.tally);
        Ok(count)
    }

    /// Runs a command whose exit code is its whole answer, and counts it as one test.
    pub(crate) fn command(&mut self, command: &mut Command, what: &str) -> Outcome<bool> {
        let Ran { succeeded, seconds, .. } = run::plainly(command)?;
        println!("{what} ... {} ({seconds:.1} s)", if succeeded { "ok" } else { "FAILED" });
        self.outcome(succeeded, what);
        Ok(succeeded)
    }

    /// Counts one test that the verb itself made.
    pub(crate) fn outcome(&mut self, succeeded: bool, what: &str) {
        let mut tally = Tally::default();
        if succeeded {
            tally.passed = 1;
        } else {
            tally.fail(what);
        }
        self.count(tally);
    }

    /// Counts one test that cannot run here.
    pub(crate) fn skip(&mut self, test: &str, reason: &str) {
        self.count(Tally { skipped: 1, ..Tally::default() });
        self.skips.push(Skip { test: test.to_owned(), reason: reason.to_owned() });
    }

    /// Prints the page, and answers the exit code.
    pub(crate) fn close(mut self) -> Verdict {
        self.end_step();
        let mut table = Table::new();
        table.load_preset(presets::ASCII_MARKDOWN).set_header(["step", "passed", "failed", "skipped", "s"]);
        for step in &self.steps {
            let tally = &step.tally;
            let counts = [tally.passed, tally.failed, tally.skipped].map(|count| count.to_string());
            let [passed, failed, skipped] = counts;
            table.add_row([step.what.clone(), passed, failed, skipped, format!("{:.0}", step.seconds)]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        println!("\n{table}\n");
        for (reason, tests) in skips::by_reason(&self.skips) {
            println!("skipped, {reason}: {}", skips::in_short(&tests));
        }
        for failure in &self.tally.failures {
            println!("failed: {failure}");
        }
        if self.tally.failed > 0 {
            println!("the whole output of the tests: {}", self.logs.display());
        }
        println!("{}", self.tally);
        Ok(if self.tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

#[cfg(test)]
mod tests {
    use super::Report;
    use crate::cargo::Workspace;
    use std::process::{Command, ExitCode};

    #[test]
    fn steps_add_up_and_a_runner_that_dies_is_a_failure() {
        let mut report = Report::new(&Workspace::find().unwrap(), "report-tests").unwrap();
        report.begin("one");
        let line = "echo 'test result: ok. 2 passed; 0 failed; 1 ignored'";
        let count = report.tests(Command::new("sh").args(["-c", line]), "sound tests").unwrap();
        assert_eq!(count, 3);
        report.begin("two");
        assert!(!report.command(&mut Command::new("false"), "false").unwrap());
        report.tests(Command::new("sh").args(["-c", "kill -9 $$"]), "a runner that dies").unwrap();
        report.skip("a_test", "not here");
        report.end_step();
        let last = report.steps.pop().unwrap();
        assert_eq!(last.tally.to_string(), "0 passed, 2 failed, 1 skipped");
        assert_eq!(report.tally.to_string(), "2 passed, 2 failed, 2 skipped");
        assert_eq!(report.close().unwrap(), ExitCode::FAILURE);
    }
}
