//! Runs one scenario: forks its processes, each of its own user, watches them to their end, and gives the verdict.
//!
//! They are forked, not executed: an attack is written as functions, one for each role. This process has one thread and
//! never uses the product itself.

use crate::attack::{Attack, Side, Users};
use crate::process::{Process, Role, UserIds};
use crate::report::{Reported, Reporter};
use crate::victim::{GRACE, Victim};
use harness::census::{Object, list, objects};
use harness::child::{fork, signal_name};
use harness::{Cell, Child, Stop, users};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::pipe::{PipeFlags, pipe_with};
use std::fs::File;
use std::io;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// After how long a scenario is broken off.
const TIMEOUT: Duration = Duration::from_secs(40);

/// How long attacker and third may take to go once the victim has.
const EXIT_TIMEOUT: Duration = Duration::from_secs(2);

/// One attack on one kind of segment, with the victim on one side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario<'a> {
    pub(crate) attack: &'a Attack,
    pub(crate) cell: Cell,
    pub(crate) side: Side,
    pub(crate) seed: u64,
    pub(crate) inverted: bool,
}

/// What came of a scenario.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) reported: Reported,
    pub(crate) faults: Vec<String>,
    /// Whether lateness is all that was wrong.
    pub(crate) only_late: bool,
}

/// A scenario under way.
#[derive(Debug)]
pub(crate) struct Running {
    victim_uid: u32,
    pipe: File,
    children: Vec<Child>,
    /// What the victim's user had before.
    before: Vec<Object>,
}

impl Scenario<'_> {
    /// Runs it from beginning to end.
    pub(crate) fn run(&self, isolated: bool) -> io::Result<Outcome> {
        let running = self.start()?;
        self.finish(running, isolated)
    }

    /// Starts its processes.
    pub(crate) fn start(&self) -> io::Result<Running> {
        let users = self.users();
        let before = made_by(users.victim);
        let (pipe, report) = pipe()?;
        let address = format!("monshm-hostile-{}-{}", std::process::id(), users::fresh());
        let ((victims, attackers), (victims_third, thirds)) = (UnixStream::pair()?, UnixStream::pair()?);
        let mut processes = Vec::new();
        for role in [Role::Victim, Role::Attacker, Role::Third] {
            if role != Role::Third || self.attack.third.is_some() {
                let sockets = if role == Role::Victim { [&victims, &victims_third] } else { [&attackers, &thirds] };
                let sockets = [sockets[0].try_clone()?, sockets[1].try_clone()?];
                let report = Reporter(report.try_clone()?);
                processes.push(Some(Process::new(self, (role, users, &address), report, sockets)?));
            }
        }
        // A process that keeps another's end open would hide that the other is gone.
        drop((victims, attackers, victims_third, thirds, report));
        let mut children = Vec::new();
        for index in 0..processes.len() {
            children.push(fork(|| {
                let own = processes[index].take();
                processes.clear();
                own.map_or(1, |process| self.act(process))
            })?);
        }
        Ok(Running { victim_uid: users.victim, pipe, children, before })
    }

    /// Watches them to their end, and judges. With `isolated` the system's tables are our own, and are emptied.
    pub(crate) fn finish(&self, running: Running, isolated: bool) -> io::Result<Outcome> {
        let Running { victim_uid, mut pipe, children, before } = running;
        let mut reported = Reported::default();
        let end = wait(&children[0], TIMEOUT, || reported.take(&mut pipe))?;
        let begin = Instant::now();
        let mut ends = Vec::new();
        for child in &children[1..] {
            // One that was stopped will not go by itself.
            let left = if child.is_stopped() { Duration::ZERO } else { EXIT_TIMEOUT.saturating_sub(begin.elapsed()) };
            ends.push(wait(child, left, || reported.take(&mut pipe))?);
        }
        let left =
            || -> Vec<Object> { made_by(victim_uid).into_iter().filter(|object| !before.contains(object)).collect() };
        let mut still = left();
        if !still.is_empty() {
            // What the last process that detached could not remove, since it was killed or has closed it to itself.
            wait(&fork(clean)?, TIMEOUT, || Ok(()))?;
            let count = still.len();
            still = left();
            reported.answer("objects left, and removed by clean".to_owned(), (count - still.len()) as u64);
        }
        if isolated && !self.attack.slow {
            objects().iter().for_each(Object::remove);
        }
        Ok(self.verdict(reported, end, &ends, &still))
    }

    fn users(&self) -> UserIds {
        let own = users::own();
        if !users::can_change() {
            return UserIds { victim: own, attacker: own, third: own };
        }
        let victim = if self.attack.users == Users::RootVictim { own } else { users::fresh() };
        let attacker = if self.attack.users == Users::Same { victim } else { users::fresh() };
        UserIds { victim, attacker, third: users::fresh() }
    }

    /// The part of one process. Answers its exit code.
    fn act(&self, mut process: Process) -> i32 {
        let role = process.role;
        if let Err(error) = process.enter() {
            eprintln!("{role:?} of {}: {error}", self.attack.name);
            return 1;
        }
        let done = match role {
            Role::Victim => {
                let mut victim = Victim::new(&mut process, self.inverted);
                let done = (self.attack.victim)(&mut victim);
                victim.finish(done);
                return 0;
            }
            Role::Attacker => (self.attack.attacker)(&mut process),
            Role::Third => self.attack.third.map_or(Ok(()), |third| third(&mut process)),
        };
        match done {
            Ok(()) if role == Role::Attacker => process.await_end(),
            // With a victim that is gone, whatever ended it is the finding.
            Err(error) if !process.is_other_gone() => {
                process.fault(&format!("the part of the {role:?} failed: {error}"));
                return 1;
            }
            _ => {}
        }
        0
    }

    fn verdict(&self, mut reported: Reported, end: Option<Stop>, others: &[Option<Stop>], left: &[Object]) -> Outcome {
        let mut faults = reported.faults.clone();
        let at = &reported.at;
        let harm = match end {
            None | Some(Stop::Signal(_)) => Some(format!("the victim hung in {at}, for {TIMEOUT:?}")),
            Some(Stop::Exited(0)) if reported.ended => None,
            Some(Stop::Exited(code)) => Some(format!("the victim ended in {at} with code {code}")),
            Some(Stop::Killed(signal)) => Some(format!("the victim was killed by {} in {at}", signal_name(signal))),
        };
        match harm {
            Some(harm) if self.attack.may_harm && end.is_some() && !self.inverted => {
                reported.answer(format!("as documented: {harm}"), 1);
            }
            harm => faults.extend(harm),
        }
        if reported.acts == 0 {
            faults.push("the attacker did nothing".to_owned());
        }
        for end in others.iter().flatten() {
            if let Stop::Killed(signal) = end {
                faults.push(format!("an attacker was killed by {}", signal_name(*signal)));
            }
        }
        if !left.is_empty() && !self.attack.may_harm {
            faults.push(format!("left behind: {}", list(left)));
        }
        let late = reported.late > GRACE;
        let only_late = faults.is_empty() && late;
        if late {
            faults.push(format!("{} was {:.1} ms late", reported.late_at, reported.late.as_secs_f64() * 1e3));
        }
        Outcome { reported, faults, only_late }
    }
}

/// Waits for the end of a child and looks what is reported meanwhile. After `timeout` it is ended, and that is `None`.
fn wait(child: &Child, timeout: Duration, mut look: impl FnMut() -> io::Result<()>) -> io::Result<Option<Stop>> {
    let begin = Instant::now();
    let end = loop {
        look()?;
        match child.try_wait()? {
            None if begin.elapsed() > timeout => {
                child.end()?;
                break None;
            }
            None => std::thread::sleep(Duration::from_micros(500)),
            end => break end,
        }
    };
    look()?;
    Ok(end)
}

/// The objects that a user has made. Those of others that it was given are their makers' affair.
fn made_by(uid: u32) -> Vec<Object> {
    objects().into_iter().filter(|object| object.creator == uid).collect()
}

/// Removes by the library's own means what dead processes have left. Answers an exit code.
fn clean() -> i32 {
    i32::from(!monshm::clean(monshm::Cleanup::Remove).is_ok_and(|report| report.unseen().is_empty()))
}

/// A pipe whose reading end does not block.
pub(crate) fn pipe() -> io::Result<(File, File)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    fcntl_setfl(&read, OFlags::NONBLOCK)?;
    Ok((read.into(), write.into()))
}
