//! Runs one play: forks its processes, each of its own user, watches them to their end, and gives the verdict.
//!
//! Forked, not executed: a play is written as functions, one for each part. This process has one thread and never uses
//! the product itself.

use super::attack::{Attack, Ending, Played, Side, Users};
use super::report::{Reporter, Told};
use super::stage::{Part, Setting, Stage};
use super::users::{self, Cast};
use super::victim::{GRACE, Victim};
use super::wipe;
use crate::cell::Cell;
use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

/// After how long a play is broken off.
const CURTAIN: Duration = Duration::from_secs(40);

/// How long attacker and third may take to go once the victim has.
const EXIT: Duration = Duration::from_secs(2);

/// One attack on one kind of segment, from one side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Play<'a> {
    pub(crate) attack: &'a Attack,
    pub(crate) cell: Cell,
    pub(crate) side: Side,
    pub(crate) seed: u64,
    pub(crate) contrary: bool,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Exited(i32),
    Killed(i32),
}

/// What came of a play.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    pub(crate) told: Told,
    pub(crate) faults: Vec<String>,
    /// Whether lateness is all that was wrong.
    pub(crate) only_late: bool,
}

/// A play under way.
#[derive(Debug)]
pub(crate) struct Running {
    cast: Cast,
    pipe: File,
    children: Vec<libc::pid_t>,
    /// What the victim's user had before.
    before: Vec<String>,
}

impl Play<'_> {
    /// Plays it.
    pub(crate) fn run(&self, isolated: bool) -> io::Result<Outcome> {
        let running = self.start()?;
        self.finish(running, isolated)
    }

    /// Starts its processes.
    pub(crate) fn start(&self) -> io::Result<Running> {
        let cast = self.cast();
        let before = wipe::objects_of(cast.victim);
        let (pipe, report) = pipe()?;
        let place = format!("monshm-hostile-{}-{}", std::process::id(), users::fresh());
        let (victims, attackers) = UnixStream::pair()?;
        let (victims_third, thirds) = UnixStream::pair()?;
        let setting = |part, other: &UnixStream, third: &UnixStream| {
            let (cell, side, seed) = (self.cell, self.side, self.seed);
            let (other, third, place) = (other.try_clone()?, third.try_clone()?, place.clone());
            let report = Reporter(report.try_clone()?);
            Ok::<_, io::Error>(Setting { part, cell, side, cast, seed, report, other, third, place })
        };
        let victim = setting(Part::Victim, &victims, &victims_third)?;
        let attacker = setting(Part::Attacker, &attackers, &thirds)?;
        let third = setting(Part::Third, &attackers, &thirds)?;
        // A process that keeps another's end open would hide that the other is gone.
        let mut all = Some((victims, attackers, victims_third, thirds));
        let mut parts = [Some(victim), Some(attacker), Some(third)];
        let mut children = Vec::new();
        for part in [Part::Victim, Part::Attacker, Part::Third] {
            if part == Part::Third && self.attack.third.is_none() {
                continue;
            }
            let child = fork(|| {
                all = None;
                let setting = parts[part as usize].take();
                parts = [None, None, None];
                self.act(setting)
            })?;
            children.push(child);
        }
        drop((all, parts, report));
        Ok(Running { cast, pipe, children, before })
    }

    /// Watches them to their end, and judges. With `isolated` the system's tables are our own, and are emptied.
    pub(crate) fn finish(&self, running: Running, isolated: bool) -> io::Result<Outcome> {
        let Running { cast, mut pipe, children, before } = running;
        let mut told = Told::default();
        let end = watch(children[0], &mut pipe, &mut told)?;
        let mut ends = Vec::new();
        let begin = Instant::now();
        for child in &children[1..] {
            ends.push(reap(*child, begin)?);
            told.take(&mut pipe)?;
        }
        told.take(&mut pipe)?;
        let since = |objects: Vec<String>| -> Vec<String> {
            objects.into_iter().filter(|object| !before.contains(object)).collect()
        };
        let mut left = since(wipe::objects_of(cast.victim));
        if !left.is_empty() {
            // What the last process that detached could not remove, since it was killed or has closed it to itself.
            let cleaned = fork(wipe::clean)?;
            while look(cleaned)?.is_none() {
                std::thread::sleep(Duration::from_millis(1));
            }
            let still = since(wipe::objects_of(cast.victim));
            *told.answers.entry("objects left, and removed by clean".to_owned()).or_default() +=
                (left.len() - still.len()) as u64;
            left = still;
        }
        if isolated && !self.attack.slow {
            wipe::everything();
        }
        Ok(self.verdict(told, end, &ends, &left))
    }

    fn cast(&self) -> Cast {
        let own = users::ours();
        if !users::can_be_others() {
            return Cast { victim: own, attacker: own, third: own };
        }
        let victim = if self.attack.users == Users::RootVictim { own } else { users::fresh() };
        let same = self.attack.users == Users::Same;
        let attacker = if same { victim } else { users::fresh() };
        Cast { victim, attacker, third: users::fresh() }
    }

    /// One process's part. Answers its exit code.
    fn act(&self, setting: Option<Setting>) -> i32 {
        let Some(setting) = setting else { return 1 };
        let part = setting.part;
        let uid = match part {
            Part::Victim => setting.cast.victim,
            Part::Attacker => setting.cast.attacker,
            Part::Third => setting.cast.third,
        };
        let stage = users::become_user(uid).and_then(|()| Stage::new(setting));
        let mut stage = match stage {
            Ok(stage) => stage,
            Err(error) => {
                eprintln!("{part:?} of {}: {error}", self.attack.name);
                return 1;
            }
        };
        let played = match part {
            Part::Victim => {
                let mut victim = Victim::new(&mut stage, self.contrary);
                let played = (self.attack.victim)(&mut victim);
                if let Err(error) = &played {
                    victim.fault(format!("the victim's part ended with: {error}"));
                }
                victim.finish();
                Ok(())
            }
            Part::Attacker => (self.attack.attacker)(&mut stage),
            Part::Third => self.attack.third.map_or(Ok(()), |third| third(&mut stage)),
        };
        self.close(&mut stage, played)
    }

    fn close(&self, stage: &mut Stage, played: Played) -> i32 {
        match played {
            Ok(()) => 0,
            // The victim is gone: whatever ended it is the finding.
            Err(_) if stage.is_over() => 0,
            Err(error) => {
                stage.report.fault(&format!("the play of the {:?} failed: {error}", stage.part));
                1
            }
        }
    }

    fn verdict(&self, told: Told, end: Option<End>, others: &[Option<End>], left: &[String]) -> Outcome {
        let mut faults = told.faults.clone();
        let harmed = match end {
            None => Some(format!("the victim hung in {}, for {CURTAIN:?}", told.at)),
            Some(End::Exited(0)) if told.ended => None,
            Some(End::Exited(code)) => Some(format!("the victim ended in {} with code {code}", told.at)),
            Some(End::Killed(signal)) => {
                Some(format!("the victim was killed by {} in {}", signal_name(signal), told.at))
            }
        };
        let mut told = told;
        match harmed {
            Some(harm) if self.attack.ending == Ending::MayBeHarmed && end.is_some() && !self.contrary => {
                *told.answers.entry(format!("as documented: {harm}")).or_default() += 1;
            }
            Some(harm) => faults.push(harm),
            None => {}
        }
        if told.deeds == 0 {
            faults.push("the attacker did nothing".to_owned());
        }
        for end in others.iter().flatten() {
            if let End::Killed(signal) = end {
                faults.push(format!("an attacker was killed by {}", signal_name(*signal)));
            }
        }
        if !left.is_empty() && self.attack.ending == Ending::Survives {
            faults.push(format!("left behind: {}", left.join(", ")));
        }
        let only_late = faults.is_empty() && told.late > GRACE;
        if told.late > GRACE {
            faults.push(format!("{} was {:.1} ms late", told.late_at, told.late.as_secs_f64() * 1e3));
        }
        Outcome { told, faults, only_late }
    }
}

/// Watches the victim. `None` when it had to be ended.
fn watch(pid: libc::pid_t, pipe: &mut File, told: &mut Told) -> io::Result<Option<End>> {
    let begin = Instant::now();
    loop {
        told.take(pipe)?;
        if let Some(end) = look(pid)? {
            told.take(pipe)?;
            return Ok(Some(end));
        }
        if begin.elapsed() > CURTAIN {
            kill(pid);
            while look(pid)?.is_none() {
                std::thread::sleep(Duration::from_millis(1));
            }
            return Ok(None);
        }
        std::thread::sleep(Duration::from_micros(500));
    }
}

/// Waits for a process that should go by itself, and ends it otherwise. `None` when we ended it.
fn reap(pid: libc::pid_t, begin: Instant) -> io::Result<Option<End>> {
    while begin.elapsed() < EXIT {
        if let Some(end) = look(pid)? {
            return Ok(Some(end));
        }
        if is_stopped(pid) {
            break;
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    kill(pid);
    while look(pid)?.is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(None)
}

/// Whether a process has ended, and how.
fn look(pid: libc::pid_t) -> io::Result<Option<End>> {
    let mut status = 0;
    // SAFETY: status is ours, for the length of the call.
    match unsafe { libc::waitpid(pid, &raw mut status, libc::WNOHANG) } {
        0 => Ok(None),
        -1 => Err(io::Error::last_os_error()),
        _ if libc::WIFSIGNALED(status) => Ok(Some(End::Killed(libc::WTERMSIG(status)))),
        _ => Ok(Some(End::Exited(libc::WEXITSTATUS(status)))),
    }
}

/// Whether a process was stopped by a signal: it will not go by itself.
fn is_stopped(pid: libc::pid_t) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    text.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'))
}

fn kill(pid: libc::pid_t) {
    // SAFETY: a child of ours that was not waited for: the number is not another's.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

/// Forks a process that does `part`, ends with its code, and does not outlive this one.
pub(crate) fn fork(part: impl FnOnce() -> i32) -> io::Result<libc::pid_t> {
    // SAFETY: this process has one thread, so that the child may do all that it may.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // SAFETY: plain numbers.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            // Becoming another user clears that; the theatre's watch ends who is left.
            let code = std::panic::catch_unwind(AssertUnwindSafe(part)).unwrap_or(101);
            // SAFETY: ends this process at once; what its parent left to do at exit is the parent's.
            unsafe { libc::_exit(code) }
        }
        pid => Ok(pid),
    }
}

/// A pipe whose reading end does not block.
pub(crate) fn pipe() -> io::Result<(File, File)> {
    let mut fds = [0; 2];
    // SAFETY: room for two numbers.
    if unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both were just opened and are nobody else's.
    let (read, write) = unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) };
    // SAFETY: plain numbers.
    if unsafe { libc::fcntl(fds[0], libc::F_SETFL, libc::O_NONBLOCK) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((read.into(), write.into()))
}

fn signal_name(signal: i32) -> String {
    match signal {
        libc::SIGSEGV => "SIGSEGV".to_owned(),
        libc::SIGBUS => "SIGBUS".to_owned(),
        libc::SIGABRT => "SIGABRT".to_owned(),
        libc::SIGKILL => "SIGKILL".to_owned(),
        libc::SIGPIPE => "SIGPIPE".to_owned(),
        other => format!("signal {other}"),
    }
}
