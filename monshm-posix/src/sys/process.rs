//! What the kernel tells of a process: its ids, its capabilities, and whether it is dumpable.

use monshm_core::descriptor::Identity;
use rustix::process::DumpableBehavior;
use rustix::thread::CapabilitySet;

/// Lets a process open the descriptors of any other.
pub(crate) const CAP_SYS_PTRACE: u64 = CapabilitySet::SYS_PTRACE.bits();

/// Our capabilities, permitted and effective. Where the kernel does not tell: none. They are the first thread's,
/// as which `/proc/PID` shows a process; each thread has its own.
pub(crate) fn own_capabilities() -> (u64, u64) {
    let first = rustix::process::getpid();
    rustix::thread::capabilities(Some(first)).map_or((0, 0), |sets| (sets.permitted.bits(), sets.effective.bits()))
}

/// Whether the kernel opens our `/proc` to processes of our user.
pub(crate) fn is_dumpable() -> bool {
    matches!(rustix::process::dumpable_behavior(), Ok(DumpableBehavior::Dumpable))
}

/// Whether all our user ids are `peer`'s, and all our group ids its group where that is known.
pub(crate) fn has_one_identity(peer: Identity) -> bool {
    let (mut real, mut effective, mut saved) = (0, 0, 0);
    // SAFETY: three integers of ours, which the call fills.
    let found = unsafe { libc::getresuid(&raw mut real, &raw mut effective, &raw mut saved) } == 0;
    if !found || [real, effective, saved].iter().any(|uid| *uid != peer.uid) {
        return false;
    }
    // SAFETY: as above.
    let found = unsafe { libc::getresgid(&raw mut real, &raw mut effective, &raw mut saved) } == 0;
    // A peer whose group is not known is taken to have ours.
    let group = if peer.gid == u32::MAX { effective } else { peer.gid };
    found && [real, effective, saved].iter().all(|gid| *gid == group)
}

/// What `/proc/PID/status` tells everybody.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Status {
    /// In how many PID namespaces it has a number, counted from that of `/proc`.
    pub(crate) levels: usize,
    /// Its effective capabilities.
    pub(crate) effective: u64,
}

impl Status {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let field = |name| text.lines().find_map(|line: &str| line.strip_prefix(name));
        let effective = u64::from_str_radix(field("CapEff:")?.trim(), 16).ok()?;
        // Linux 4.1; a kernel without the line has no such namespaces to tell of.
        let levels = field("NSpid:").map_or(1, |numbers| numbers.split_whitespace().count());
        Some(Self { levels, effective })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_tells_namespaces_and_capabilities() {
        let text = "Name:\tx\nNSpid:\t4711\t7\nCapPrm:\t0000000000000400\nCapEff:\t0000000000080000\n";
        assert_eq!(Status::parse(text), Some(Status { levels: 2, effective: CAP_SYS_PTRACE }));
        assert_eq!(Status::parse("CapEff:\t0\n"), Some(Status { levels: 1, effective: 0 }));
        assert_eq!(Status::parse("NSpid:\t1\n"), None);
    }
}
