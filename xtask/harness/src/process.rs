//! Starts this binary again in a role, talks to it over a link, and ends it.
//!
//! ```no_run
//! fn echo(link: &harness::Link) -> harness::process::Outcome {
//!     while let Some(message) = link.receive()? {
//!         link.say(message.text)?;
//!     }
//!     Ok(())
//! }
//! harness::roles! { "echo" => echo }
//!
//! let echo = harness::Process::start("echo").unwrap();
//! assert_eq!(echo.ask("hello").unwrap(), "hello");
//! ```
//!
//! A process in a role never comes to `main`: in a test binary that would be the test runner.

use crate::child::Child;
use crate::link::Link;
use std::error::Error;
use std::io;
use std::net::Shutdown;
use std::ops::Deref;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{ChildStderr, Command, Stdio};
use std::time::Duration;

/// Set in the environment of a process that has a role.
const VARIABLE: &str = "MONSHM_ROLE";

/// How long an answer may take. Nothing is measured by it: a process that takes so long hangs.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// How long a process may take to end once its link is closed.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// What a role answers: an error is printed, and makes the process fail.
pub type Outcome = Result<(), Box<dyn Error>>;

/// What a process does in its role, with its end of the link.
pub type Role = fn(&Link) -> Outcome;

/// A process with a role, and our end of the link to it. Dropping it closes the link, which tells the process to end,
/// and kills it when it does not.
#[derive(Debug)]
pub struct Process {
    child: Child,
    link: Link,
    /// What it writes to its error output, when that was asked for by [`start_with`](Self::start_with).
    pub stderr: Option<ChildStderr>,
}

impl Process {
    /// Starts this binary in a role that its [`roles!`](crate::roles) name.
    pub fn start(role: &str) -> io::Result<Self> {
        Self::start_with(role, |_| {})
    }

    /// The same; `set` may change environment and outputs.
    pub fn start_with(role: &str, set: impl FnOnce(&mut Command)) -> io::Result<Self> {
        let (ours, theirs) = Link::pair()?;
        ours.0.set_read_timeout(Some(TIMEOUT))?;
        let mut command = Command::new("/proc/self/exe");
        command.env(VARIABLE, role).stdin(Stdio::from(OwnedFd::from(theirs.0))).stdout(Stdio::null());
        set(&mut command);
        let mut child = command.spawn()?;
        // It is waited for by its number: of ptrace stops `std::process::Child` knows nothing.
        let pid = i32::try_from(child.id()).map_err(|_| io::ErrorKind::InvalidData)?;
        Ok(Self { child: Child::of(pid)?, link: ours, stderr: child.stderr.take() })
    }

    /// The process itself.
    pub fn child(&self) -> &Child {
        &self.child
    }

    /// Our end of the link.
    pub fn link(&self) -> &Link {
        &self.link
    }

    /// Closes the link, so that the process ends, and waits for that. Answers whether it did.
    pub fn finish(&self) -> bool {
        // It may be closed already.
        let _ = self.link.0.shutdown(Shutdown::Write);
        self.child.end_within(END_TIMEOUT).is_ok_and(|end| end.is_some())
    }
}

impl Deref for Process {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.link
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // What does not end is killed by the drop of the child.
        self.finish();
    }
}

/// Names the roles in which this binary can be started, and the function that each of them is. Once for each binary.
#[macro_export]
macro_rules! roles {
    ($($name:literal => $role:path),+ $(,)?) => {
        const _: () = {
            extern "C" fn enter() {
                $crate::process::enter(&[$(($name, $role)),+]);
            }
            // Run by the loader before `main`, with one thread.
            #[used]
            #[unsafe(link_section = ".init_array")]
            static ENTRY: extern "C" fn() = enter;
        };
    };
}

/// What [`roles!`](crate::roles) calls: does not come back in a process that has a role.
pub fn enter(roles: &[(&str, Role)]) {
    let Some(name) = std::env::var_os(VARIABLE) else { return };
    // SAFETY: as the start-up code of every Rust program does: a write to a closed socket is an error, not a death.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
    // What this process starts in turn has no role, unless it says so.
    // SAFETY: before `main` there is one thread, which reads no environment meanwhile.
    unsafe { std::env::remove_var(VARIABLE) };
    let code = std::panic::catch_unwind(|| match roles.iter().find(|(role, _)| *role == name) {
        Some((_, role)) => {
            // SAFETY: descriptor 0 is the socket of `start_with`, and nothing else here owns it.
            let link = Link(UnixStream::from(unsafe { OwnedFd::from_raw_fd(0) }));
            role(&link).map_or_else(|error| failed(&name.to_string_lossy(), &*error), |()| 0)
        }
        None => failed(&name.to_string_lossy(), "this binary has no such role"),
    });
    // What panicked has been printed.
    std::process::exit(code.unwrap_or(101));
}

fn failed(role: &str, error: impl std::fmt::Display) -> i32 {
    eprintln!("in the role `{role}`: {error}");
    1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stop;

    fn echo(link: &Link) -> Outcome {
        while let Some(message) = link.receive()? {
            match message.text.as_str() {
                "fail" => return Err("as told".into()),
                "hang" => std::thread::sleep(TIMEOUT),
                text => link.say(text)?,
            }
        }
        Ok(())
    }

    crate::roles! { "echo" => echo }

    #[test]
    fn a_process_in_a_role_answers_and_ends_with_its_link() {
        let process = Process::start("echo").unwrap();
        assert_eq!(process.ask("one").unwrap(), "one");
        assert!(process.finish());
        assert_eq!(process.child().wait_for_end().unwrap(), Stop::Exited(0));
    }

    #[test]
    fn an_error_of_a_role_and_an_unknown_role_make_the_process_fail() {
        let quietly = |role| {
            let set = |command: &mut Command| _ = command.stderr(Stdio::null());
            Process::start_with(role, set).unwrap()
        };
        let process = quietly("echo");
        process.say("fail").unwrap();
        assert_eq!(process.child().wait_for_end().unwrap(), Stop::Exited(1));
        assert_eq!(process.hear().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(quietly("dance").child().wait_for_end().unwrap(), Stop::Exited(1));
    }

    #[test]
    fn a_process_that_hangs_is_killed() {
        let process = Process::start("echo").unwrap();
        process.say("hang").unwrap();
        process.child().until_asleep(TIMEOUT);
        assert_eq!(process.child().end().unwrap(), Stop::Killed(libc::SIGKILL));
    }
}
