//! A child process by its number: wait, deadline, kill, reap; and fork(2).
//!
//! What it does is `process`'s or the caller's; how it is stopped on its way is `trace`'s.

use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, waitpid};
use std::io;
use std::os::fd::OwnedFd;
use std::panic::AssertUnwindSafe;
use std::sync::OnceLock;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// How a wait for a child ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It was stopped by a signal of this number; SIGTRAP for steps and marks of `trace`.
    Signal(i32),
    /// It ended with this code.
    Exited(i32),
    /// A signal of this number ended it.
    Killed(i32),
}

/// A child of this process. Dropping it kills and reaps it.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    /// How it ended, once it was reaped: from then on the number may be another's.
    end: OnceLock<Stop>,
}

impl Child {
    /// Takes over a child by its number; nobody else may wait for it.
    ///
    /// # Errors
    /// `InvalidInput` for a number that is no process's.
    pub fn of(pid: i32) -> io::Result<Self> {
        let pid = Pid::from_raw(pid).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self { pid, end: OnceLock::new() })
    }

    /// Its number.
    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    /// A descriptor of the process, which another thread may signal and wait on.
    ///
    /// # Errors
    /// What pidfd_open(2) answers.
    pub fn pidfd(&self) -> io::Result<OwnedFd> {
        Ok(pidfd_open(self.pid, PidfdFlags::empty())?)
    }

    /// Waits for its next stop or its end.
    pub fn wait(&self) -> io::Result<Stop> {
        Ok(self.poll(WaitOptions::empty())?.unwrap_or(Stop::Exited(-1)))
    }

    /// Whether it has stopped or ended, without a wait.
    pub fn try_wait(&self) -> io::Result<Option<Stop>> {
        self.poll(WaitOptions::NOHANG)
    }

    /// Waits for its end, past any stop.
    pub fn wait_for_end(&self) -> io::Result<Stop> {
        loop {
            match self.wait()? {
                Stop::Signal(_) => {}
                end => return Ok(end),
            }
        }
    }

    /// Waits for its end, but no longer than `timeout`.
    pub fn end_within(&self, timeout: Duration) -> io::Result<Option<Stop>> {
        let begin = Instant::now();
        loop {
            match self.try_wait()? {
                Some(end @ (Stop::Exited(_) | Stop::Killed(_))) => return Ok(Some(end)),
                _ if begin.elapsed() > timeout => return Ok(None),
                _ => std::thread::sleep(Duration::from_micros(500)),
            }
        }
    }

    /// Sends it SIGKILL, unless it was reaped.
    pub fn kill(&self) {
        if self.end.get().is_none() {
            // A child that was not reaped has its number; that it may have ended by itself is not an error.
            let _ = kill_process(self.pid, Signal::KILL);
        }
    }

    /// Kills it and reaps it. Answers how it ended, which may have been before.
    pub fn end(&self) -> io::Result<Stop> {
        self.kill();
        self.wait_for_end()
    }

    /// Whether it was stopped by a signal: it will not go on by itself.
    pub fn is_stopped(&self) -> bool {
        self.state() == Some('T')
    }

    /// Waits until it sleeps in the kernel: until a call that waits has begun to.
    pub fn until_asleep(&self, timeout: Duration) {
        let begin = Instant::now();
        let mut seen = 0;
        // Some times in a row: it may have slept for something else on its way.
        while seen < 3 && begin.elapsed() < timeout {
            seen = if self.state().is_none_or(|state| state == 'S') { seen + 1 } else { 0 };
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    /// The letter of its state in `/proc`; `None` when it is gone.
    fn state(&self) -> Option<char> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).ok()?;
        text.rsplit_once(") ")?.1.chars().next()
    }

    fn poll(&self, options: WaitOptions) -> io::Result<Option<Stop>> {
        if let Some(end) = self.end.get() {
            return Ok(Some(*end));
        }
        let Some((_, status)) = rustix::io::retry_on_intr(|| waitpid(Some(self.pid), options))? else {
            return Ok(None);
        };
        let stop = match (status.stopping_signal(), status.terminating_signal()) {
            (Some(signal), _) => return Ok(Some(Stop::Signal(signal))),
            (None, Some(signal)) => Stop::Killed(signal),
            (None, None) => Stop::Exited(status.exit_status().unwrap_or(-1)),
        };
        Ok(Some(*self.end.get_or_init(|| stop)))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Nobody could act on a failure here.
        let _ = self.end();
    }
}

/// Forks a process that does `part`, ends with its code, and does not outlive this one. A panic is code 101.
///
/// For a process with one thread, or a `part` that does only what a forked child of several may.
pub fn fork(part: impl FnOnce() -> i32) -> io::Result<Child> {
    // SAFETY: the child has one thread, does `part`, and leaves by `_exit`; what it may call there is the caller's
    // promise above.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // Becoming another user clears this; then the deadline of the parent ends the child.
            let _ = rustix::process::set_parent_process_death_signal(Some(Signal::KILL));
            let code = std::panic::catch_unwind(AssertUnwindSafe(part)).unwrap_or(101);
            // SAFETY: ends this process at once; what its parent left to do at exit is the parent's.
            unsafe { libc::_exit(code) }
        }
        pid => Child::of(pid),
    }
}

/// Does `body`, and kills `child` when that takes longer than `timeout`. Answers also whether it did.
pub fn within<T>(child: &Child, timeout: Duration, body: impl FnOnce() -> T) -> (T, bool) {
    let (over, is_over) = channel::<()>();
    std::thread::scope(|scope| {
        let watchdog = scope.spawn(move || {
            let late = is_over.recv_timeout(timeout) == Err(RecvTimeoutError::Timeout);
            if late {
                child.kill();
            }
            late
        });
        let value = body();
        drop(over);
        (value, watchdog.join().unwrap_or(false))
    })
}

/// A signal's name, as far as a test meets it.
pub fn signal_name(signal: i32) -> String {
    const NAMES: [(i32, &str); 6] = [
        (libc::SIGSEGV, "SIGSEGV"),
        (libc::SIGBUS, "SIGBUS"),
        (libc::SIGABRT, "SIGABRT"),
        (libc::SIGKILL, "SIGKILL"),
        (libc::SIGPIPE, "SIGPIPE"),
        (libc::SIGSYS, "SIGSYS"),
    ];
    let known = NAMES.iter().find(|(number, _)| *number == signal);
    known.map_or_else(|| format!("signal {signal}"), |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper() -> Child {
        fork(|| {
            loop {
                std::thread::sleep(Duration::from_secs(60));
            }
        })
        .unwrap()
    }

    #[test]
    fn a_code_and_a_panic_and_a_kill_are_told_apart() {
        assert_eq!(fork(|| 7).unwrap().wait_for_end().unwrap(), Stop::Exited(7));
        let child = sleeper();
        assert_eq!(child.try_wait().unwrap(), None);
        assert_eq!(child.end().unwrap(), Stop::Killed(libc::SIGKILL));
        // What is known is not asked for again: the number may be another's.
        assert_eq!(child.end().unwrap(), Stop::Killed(libc::SIGKILL));
    }

    #[test]
    fn a_deadline_ends_who_does_not_end() {
        let child = sleeper();
        assert_eq!(child.end_within(Duration::from_millis(20)).unwrap(), None);
        child.until_asleep(Duration::from_secs(10));
        let (end, late) = within(&child, Duration::from_millis(20), || child.wait_for_end().unwrap());
        assert_eq!((end, late), (Stop::Killed(libc::SIGKILL), true));
        let (end, late) = within(&child, Duration::from_secs(60), || child.wait_for_end().unwrap());
        assert_eq!((end, late), (Stop::Killed(libc::SIGKILL), false));
    }

    #[test]
    fn a_dropped_child_is_gone() {
        let child = sleeper();
        let path = format!("/proc/{}", child.pid());
        assert!(std::path::Path::new(&path).exists());
        drop(child);
        assert!(!std::path::Path::new(&path).exists());
    }
}
