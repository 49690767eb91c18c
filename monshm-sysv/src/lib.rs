//! The System V backend of monshm: `shmget` for the memory, one `semget` set for the lock and the slots.
//!
//! What System V gives: no file, no mount, no size of `/dev/shm`; access for exactly two users by `IPC_SET`; a lock
//! whose state is in the kernel. What it lacks: the kernel does not remove a semaphore set whose users have died.
//! The last process out removes it, and [`Backend::scan`](monshm_core::Backend::scan) finds what two SIGKILLs leave.
//!
//! | file | its job |
//! |------|---------|
//! | `attachment` | the backend's entry points; what an attachment and its locks share, and its end |
//! | `segment`  | makes, checks and maps the memory |
//! | `reserve`  | limits, and memory that is there when it is written |
//! | `key`      | keys by which what is left behind can be found |
//! | `access`   | who may reach an object, given and checked |
//! | `liveness` | the semaphore set: attach slots, and the question who lives |
//! | `lock/`    | semaphore with a dirty word, futex word |
//! | `fork`     | that a forked child is noticed |
//! | `scan`     | lists the objects, and removes those that killed processes left |
//! | `sys`      | every call to the operating system |
//!
//! # The semaphore set
//!
//! | semaphore | value |
//! |-----------|-------|
//! | 0         | the lock: 1 free, 0 held; taken and given with `SEM_UNDO` |
//! | 1 … 32    | one for each attach slot: 1 while its process lives, raised with `SEM_UNDO`; 0 else |
//! | 33        | the mark: [`SET_MARK`] once the set is initialised, 0 before |
//!
//! # What it does not do
//! It does not decide who may be a peer, write the segment's header or check its token: the facade does. It does not
//! survive a `fork(2)`: in a child, dropping only unmaps. An `execve(2)` unmaps, but slot and lock stay with the
//! process until it ends, since the kernel keeps `SEM_UNDO` across it.
//!
//! Linux for now. Another Unix differs where `cfg` stands, and in `sys`: `getrandom`, `semtimedop`, futex(2) and the
//! populating `madvise` are Linux's.
//!
//! # What a hostile peer can do
//! It owns the objects as much as we do: it can remove the set, close it to us, or set any semaphore. Then locks
//! answer `Gone`, `Corrupt` or `TimedOut`, or exclusion breaks; calls keep their deadlines and nothing is leaked here.

mod access;
mod attachment;
mod fork;
mod key;
mod liveness;
mod lock;
mod reserve;
mod scan;
mod segment;
mod sys;
mod turn;

pub use key::KEY_PREFIX;
pub use liveness::SET_MARK;

/// The System V backend, as the facade's table names it.
#[derive(Debug, Clone, Copy)]
pub struct Sysv;
