//! Whether bytes alone will lead a peer to our memfd: whether the kernel will let it open `/proc/PID/fd/N`.
//!
//! That is ptrace(2)'s question for reading, asked beforehand, while there is a choice of memory. It judges by what can
//! be seen from here: a peer can still change itself. It lets nobody in and keeps nobody out.

use monshm_core::backend::{Peer, Request};
use monshm_core::error::{Error, ErrorKind, Operation, Result};

use crate::sys::process::{self, Status};
use crate::sys::{self, read_text};

/// Refuses a request for a memfd that its peer could not open by bytes alone.
///
/// # Errors
/// `Unreachable` with the reason.
pub(crate) fn check(request: &Request) -> Result<()> {
    match obstacle(request) {
        Some(why) => Err(Error::new(Operation::Create, ErrorKind::Unreachable { why }).on("posix")),
        None => Ok(()),
    }
}

fn obstacle(request: &Request) -> Option<&'static str> {
    if request.peer.uid != sys::own_uid() {
        return Some("only a process of our own user can open it through /proc");
    }
    let peer = match request.process {
        Peer::NotSeen => return Some("the peer's process is not named, or lives outside our PID namespace"),
        Peer::Process(pid) if pid != std::process::id() => status(pid),
        // Any process of its user: like us, as far as a user decides that.
        Peer::Process(_) | Peer::AnyOfItsUser => None,
    };
    if peer.as_ref().is_some_and(|peer| peer.levels != own_levels()) || in_another_namespace(request.process, "pid") {
        return Some("the peer's process lives in another PID namespace");
    }
    if in_another_namespace(request.process, "user") {
        return Some("the peer's process lives in another user namespace");
    }
    let (permitted, effective) = process::own_capabilities();
    let theirs = match peer {
        Some(peer) => peer.effective,
        None if request.peer.uid == 0 => effective,
        None => 0,
    };
    if theirs & process::CAP_SYS_PTRACE != 0 {
        return None;
    }
    if !process::is_dumpable() {
        return Some("this process is not dumpable (prctl(2)): it changed its user, or wants to be closed to it");
    }
    if permitted & !theirs != 0 {
        return Some("this process has capabilities that the peer lacks, so that its /proc is closed to it");
    }
    if !process::has_one_identity(request.peer) {
        return Some("real, effective and saved ids of this process are not all the peer's user and group");
    }
    None
}

/// What `/proc` tells of a process to everybody; `None` when it tells nothing.
fn status(pid: u32) -> Option<Status> {
    Status::parse(&read_text(&format!("/proc/{pid}/status"))?)
}

/// How many PID namespaces, from that of `/proc` on, we live in.
fn own_levels() -> usize {
    read_text("/proc/thread-self/status").and_then(|text| Status::parse(&text)).map_or(1, |own| own.levels)
}

/// Whether the kernel shows that a process has another namespace than we. Where it hides that, it does not show it.
fn in_another_namespace(peer: Peer, kind: &str) -> bool {
    let Peer::Process(pid) = peer else { return false };
    let namespace = |of: &str| std::fs::read_link(format!("/proc/{of}/ns/{kind}")).ok();
    match (namespace(&pid.to_string()), namespace("thread-self")) {
        (Some(theirs), Some(ours)) => theirs != ours,
        _ => false,
    }
}
