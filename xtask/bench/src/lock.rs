//! The suite of the locks: each kind with nobody else, then contended by two pinned processes, beside the raw calls.
//!
//! Thread-only locks are contended by two threads, and ours once more beside them.

mod alone;
mod contended;
mod kinds;
mod raw;

use crate::model::Better;
use crate::options::Options;
use crate::rounds::{Case, Group, Plan};

use alone::{FAST, SLOW};
use kinds::Ours;

/// A lock as one side holds it; the other side has a handle of its own.
trait Lock {
    /// Takes the lock, does `work`, lets go.
    fn with(&mut self, work: impl FnOnce());
}

pub(crate) fn plan(options: &Options) -> Plan {
    Plan { suite: "lock", groups: vec![word(), pthread(), semop(), files(), processes(options), threads(options)] }
}

/// What `contended` measures, in one table for all kinds.
fn contended(title: &str, against: &'static [&'static str], cases: Vec<Case<'static>>) -> Group<'static> {
    let (title, better) = (title.to_owned(), Better::Higher);
    Group { title, unit: "M/s", better, against, chart: None, cases }
}

/// Lock and unlock with nobody else.
fn uncontended(title: &str, against: &'static [&'static str], cases: Vec<Case<'static>>) -> Group<'static> {
    let (title, better) = (format!("lock and unlock alone: {title}"), Better::Lower);
    Group { title, unit: "ns", better, against, chart: None, cases }
}

fn word() -> Group<'static> {
    let ours = Ours::all().into_iter().filter(|kind| kind.is_user_space());
    let mut cases: Vec<Case<'static>> = ours.map(|kind| alone::ours(kind, FAST)).collect();
    cases.extend([
        alone::raw("raw futex", FAST, raw::Futex::new),
        alone::raw("libc robust mutex", FAST, |pages| raw::Pthread::new(pages, true)),
        alone::raw("libc plain mutex", FAST, |pages| raw::Pthread::new(pages, false)),
        alone::raw("libc sem_t", FAST, raw::Semaphore::new),
        alone::threads("parking_lot (threads)", parking_lot::Mutex::new(())),
        alone::threads("std (threads)", std::sync::Mutex::new(())),
    ]);
    uncontended("words in user space", &["libc robust", "raw futex"], cases)
}

fn pthread() -> Group<'static> {
    let ours = Ours::all().into_iter().filter(|kind| kind.is_pthread());
    let mut cases: Vec<Case<'static>> = ours.map(|kind| alone::ours(kind, FAST)).collect();
    cases.push(alone::raw("libc robust mutex", FAST, |pages| raw::Pthread::new(pages, true)));
    uncontended("pthread mutex beside the raw call", &["libc"], cases)
}

fn semop() -> Group<'static> {
    let ours = Ours::all().into_iter().filter(|kind| !kind.is_user_space());
    let mut cases: Vec<Case<'static>> = ours.map(|kind| alone::ours(kind, SLOW)).collect();
    cases.extend([
        alone::raw("semop, SEM_UNDO", SLOW, |_| raw::Semop::new(libc::SEM_UNDO)),
        alone::raw("plain semop", SLOW, |_| raw::Semop::new(0)),
    ]);
    uncontended("SysV semaphore beside the raw call", &["semop"], cases)
}

/// Beside the default lock on the same memory: what a program would use that knows no better.
fn files() -> Group<'static> {
    let cases = vec![
        alone::ours(Ours::DEFAULT, FAST),
        alone::raw("flock", SLOW, |_| raw::File::new(raw::FileLock::Flock)),
        alone::raw("fcntl OFD lock", SLOW, |_| raw::File::new(raw::FileLock::Ofd)),
    ];
    uncontended("file locks", &["flock"], cases)
}

fn processes(options: &Options) -> Group<'static> {
    let mut cases: Vec<Case<'static>> = Ours::all().into_iter().map(|kind| contended::ours(kind, options)).collect();
    cases.extend([
        contended::raw("raw futex", options, raw::Futex::new),
        contended::raw("libc robust mutex", options, |pages| raw::Pthread::new(pages, true)),
        contended::raw("libc plain mutex", options, |pages| raw::Pthread::new(pages, false)),
        contended::raw("libc sem_t", options, raw::Semaphore::new),
        contended::raw("semop, SEM_UNDO", options, |_| raw::Semop::new(libc::SEM_UNDO)),
        contended::raw("plain semop", options, |_| raw::Semop::new(0)),
        contended::raw("flock", options, |_| raw::File::new(raw::FileLock::Flock)),
        contended::raw("fcntl OFD lock", options, |_| raw::File::new(raw::FileLock::Ofd)),
    ]);
    contended("lock contended by 2 processes", &["libc robust", "raw futex"], cases)
}

fn threads(options: &Options) -> Group<'static> {
    let cases = vec![
        contended::our_threads(Ours::DEFAULT, options),
        contended::threads("parking_lot", options, || parking_lot::Mutex::new(())),
        contended::threads("std", options, || std::sync::Mutex::new(())),
    ];
    contended("lock contended by 2 threads", &["std"], cases)
}
