//! The command line, and the order of runs: the calls of an operation are seen once, and then it runs again for each
//! call and errno.

use super::calls::{Plausible, errno_name};
use super::intercept::{Call, Injection};
use super::judge::{Outcome, judge, judge_untouched};
use super::limits;
use super::operations::{CLEAN, Operation};
use super::row::{self, Row};
use super::run::{Seen, run as run_once};
use super::target::Target;
use clap::Parser;
use harness::cell::Filter;
use harness::census::{Object, list};
use harness::verdict::Verdict;
use harness::{Census, Process, Random, users};
use std::error::Error;
use std::fmt::Display;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Before this time has passed, an object may belong to a creator that is still at it.
const GRACE: Duration = Duration::from_millis(11_100);

/// How often a run is made again in which the call did not come.
const TRIES: u32 = 3;

/// How many calls of one sort an operation that waits is followed through: what comes later repeats them.
const REPEATS: u64 = 3;

/// Let every system call of every operation fail once with each plausible errno, and judge what comes of it.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask faults", bin_name = "cargo xtask faults")]
struct Args {
    #[command(flatten)]
    targets: Filter,
    /// Only this operation, such as create, lock-contended or limits.
    #[arg(long, value_name = "OPERATION")]
    operation: Option<String>,
    /// Only this resource limit, such as "full shm"; of the operation limits.
    #[arg(long, value_name = "NAME")]
    case: Option<String>,
    /// Only calls whose name begins so, such as fcntl or "shmctl RMID".
    #[arg(long, value_name = "NAME")]
    syscall: Option<String>,
    /// Only this errno, such as ENOSPC.
    #[arg(long, value_name = "ERRNO")]
    errno: Option<String>,
    /// Only the call of its sort with this number, from 0.
    #[arg(long, value_name = "N")]
    occurrence: Option<u64>,
    /// At most so many failures of each operation and target, chosen by the seed.
    #[arg(long, value_name = "N")]
    sample: Option<usize>,
    /// What the choice follows from.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Print the calls and what each would be made to answer; let nothing fail.
    #[arg(long)]
    list: bool,
    /// Print the counts as JSON instead of tables.
    #[arg(long)]
    json: bool,
}

/// Runs what the command line asks for.
pub(crate) fn run() -> Result<ExitCode, Box<dyn Error>> {
    let args = Args::parse();
    if let Err(error) = users::isolate() {
        return Err(format!("this needs an IPC and a mount namespace of its own: {error}").into());
    }
    let verdict = Verdict::new("faults");
    let mut plan = Plan { args, verdict, rows: Vec::new(), abandoned: None };
    plan.run()?;
    if plan.args.list {
        return Ok(ExitCode::SUCCESS);
    }
    Ok(plan.verdict.print(plan.args.json, &row::tables(&plan.rows), &plan.rows))
}

/// A run of the campaign.
struct Plan {
    args: Args,
    verdict: Verdict,
    rows: Vec<Row>,
    /// When objects were left behind for the operation `clean`.
    abandoned: Option<Instant>,
}

impl Plan {
    fn run(&mut self) -> Result<(), Box<dyn Error>> {
        let before = Census::take();
        let targets: Vec<Target> = Target::all().filter(|target| target.is_wanted(&self.args.targets)).collect();
        if targets.contains(&Target::Auto) && self.wants_operation(CLEAN) {
            self.abandon()?;
        }
        for target in targets {
            for operation in Operation::all(target) {
                if self.wants_operation(operation.name) {
                    self.operation(target, operation)?;
                }
            }
            let calls_only = self.args.syscall.is_some() || self.args.errno.is_some() || self.args.list;
            if !calls_only && self.wants_operation(limits::OPERATION) {
                self.limits(target)?;
            }
        }
        self.clean(&before)
    }

    fn wants_operation(&self, name: &str) -> bool {
        self.args.operation.as_deref().is_none_or(|operation| operation == name)
    }

    /// One operation on one target: once untouched, and once for each failure.
    fn operation(&mut self, target: Target, operation: &Operation) -> Result<(), Box<dyn Error>> {
        if let Some(since) = self.abandoned.filter(|_| operation.name == CLEAN) {
            std::thread::sleep(GRACE.saturating_sub(since.elapsed()));
        }
        let mut row = Row::new(target, operation.name);
        let untouched = run_once(target, operation, None)?;
        let calls = &untouched.followed.calls;
        if self.args.list {
            list_calls(target, operation, calls);
            return Ok(());
        }
        row.calls = calls.len();
        let findings = judge_untouched(&untouched);
        if !findings.is_empty() {
            row.findings += 1;
            self.find(format!("{target} {}", operation.name), &findings, again(target, operation.name, ""));
        }
        for injection in &self.injections(target, operation, calls) {
            self.inject(target, operation, injection, &mut row)?;
        }
        if row.missed != 0 {
            let missed = row.missed;
            self.verdict.skip(format!("{target} {}: {missed} failures of calls that did not come", operation.name));
        }
        self.rows.push(row);
        Ok(())
    }

    /// One failure.
    fn inject(
        &mut self,
        target: Target,
        operation: &Operation,
        injection: &Injection,
        row: &mut Row,
    ) -> Result<(), Box<dyn Error>> {
        let mut seen = run_once(target, operation, Some(injection))?;
        for _ in 1..TRIES {
            if seen.followed.hit || !ended_well(&seen) {
                break;
            }
            seen = run_once(target, operation, Some(injection))?;
        }
        if !seen.followed.hit && ended_well(&seen) {
            row.missed += 1;
            return Ok(());
        }
        let outcome = judge(target, operation, injection, &seen);
        row.count(&outcome);
        let (call, errno) = (injection.call.name(), errno_name(injection.errno));
        let occurrence = injection.occurrence;
        let for_good = if injection.for_good { " for good" } else { "" };
        let what = format!("{target} {}: {call} {occurrence} answers {errno}{for_good}", operation.name);
        let call = format!(" --syscall \"{call}\" --errno {errno} --occurrence {occurrence}");
        self.count(what, &outcome, again(target, operation.name, &call));
        Ok(())
    }

    /// Every case of resource limits on one target.
    fn limits(&mut self, target: Target) -> Result<(), Box<dyn Error>> {
        let mut row = Row::new(target, limits::OPERATION);
        for case in limits::cases(self.args.case.clone()) {
            let outcome = limits::run(target, case)?;
            row.count(&outcome);
            let call = format!(" --case \"{}\"", case.name);
            self.count(format!("{target} {}", case.name), &outcome, again(target, limits::OPERATION, &call));
        }
        self.rows.push(row);
        Ok(())
    }

    fn count(&mut self, what: String, outcome: &Outcome, again: String) {
        match outcome {
            Outcome::Wrong(findings) => self.find(what, findings, again),
            Outcome::Recovered | Outcome::Refused => self.verdict.count(true),
        }
    }

    fn find(&mut self, what: impl Display, findings: &[String], again: String) {
        self.verdict.count(false);
        findings.iter().for_each(|finding| self.verdict.find(format!("{what}: {finding}"), &again));
    }

    /// Every failure of the calls that were seen, as far as it is asked for.
    fn injections(&mut self, target: Target, operation: &Operation, calls: &[Call]) -> Vec<Injection> {
        let mut all = Vec::new();
        for (index, call) in calls.iter().enumerate() {
            let occurrence = calls[..index].iter().filter(|other| other.is_like(call)).count() as u64;
            let errnos = match call.plausible(target.has_lock_of_libc()) {
                Plausible::Errnos(errnos) => errnos,
                Plausible::Nothing(reason) => {
                    if reason.starts_with("not in") {
                        self.verdict.skip(format!("{target} {}: {} is {reason}", operation.name, call.name()));
                    }
                    continue;
                }
            };
            let waits = operation.repeats() && occurrence >= REPEATS;
            for errno in errnos.iter().filter(|_| !waits) {
                let once = Injection { call: *call, occurrence, errno: *errno, for_good: false };
                all.push(once);
                // libc leaves it to the kernel to see that the time is up, which it does before it looks for signals.
                let timed = call.is_wait() && operation.is_timed() && !target.has_lock_of_libc();
                let signals = *errno == libc::EINTR && timed;
                let missing = matches!(*errno, libc::ENOSYS | libc::EPERM) && call.may_be_missing();
                if occurrence == 0 && (signals || missing) {
                    all.push(Injection { for_good: true, ..once });
                }
            }
        }
        all.retain(|injection| self.wants(injection));
        if let Some(most) = self.args.sample {
            let mut random = Random::of(self.args.seed, &[target.index() as u64, all.len() as u64]);
            while all.len() > most {
                all.swap_remove(random.below(all.len() as u64) as usize);
            }
        }
        all
    }

    fn wants(&self, injection: &Injection) -> bool {
        let args = &self.args;
        args.syscall.as_deref().is_none_or(|name| injection.call.name().starts_with(name))
            && args.errno.as_deref().is_none_or(|name| errno_name(injection.errno) == name)
            && args.occurrence.is_none_or(|number| number == injection.occurrence)
    }

    /// Has creators end without a release, so that `clean` finds something, once it is old.
    fn abandon(&mut self) -> Result<(), Box<dyn Error>> {
        for target in Target::all() {
            if matches!(target, Target::Cell(cell) if cell.lock == "futex") {
                let creator = Process::start("abandon")?;
                creator.say(target.index())?;
                creator.child().wait_for_end()?;
            }
        }
        self.abandoned = Some(Instant::now());
        Ok(())
    }

    /// Removes what is left by the library's own means, and says what stays.
    fn clean(&mut self, before: &Census) -> Result<(), Box<dyn Error>> {
        let left: Vec<Object> = Census::take().since(before);
        if left.is_empty() || self.args.list {
            return Ok(());
        }
        std::thread::sleep(GRACE);
        let removed = monshm::clean(monshm::Cleanup::Remove)?.stale().count();
        let kept = Census::take().since(before);
        self.verdict.notes.push(format!(
            "{} objects were left by calls that were refused and by creators that ended; clean removed {removed}",
            left.len()
        ));
        if !kept.is_empty() {
            let finding = format!("it leaves {} objects of the dead: {}", kept.len(), list(&kept));
            self.find("clean", &[finding], String::new());
        }
        Ok(())
    }
}

fn ended_well(seen: &Seen) -> bool {
    judge_untouched(seen).is_empty()
}

/// The arguments that show a run again.
fn again(target: Target, operation: &str, call: &str) -> String {
    format!("{} --operation {operation}{call}", target.arguments())
}

fn list_calls(target: Target, operation: &Operation, calls: &[Call]) {
    println!("{target} {}: {} calls", operation.name, calls.len());
    for call in calls {
        let plausible = match call.plausible(target.has_lock_of_libc()) {
            Plausible::Errnos(errnos) => errnos.iter().map(|errno| errno_name(*errno)).collect::<Vec<_>>().join(" "),
            Plausible::Nothing(reason) => format!("– {reason}"),
        };
        println!("    {:<20} {plausible}", call.name());
    }
}
