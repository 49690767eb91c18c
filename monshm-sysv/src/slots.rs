//! Attach slots as semaphores of one set: how it is made, which slot is taken, who removes it.
//!
//! The kernel lowers what a process raised with `SEM_UNDO` when that process ends, however it ends; so a slot's
//! semaphore is true liveness, without pids. All changes of more than one semaphore are one `semop`: all or nothing.
//! How the lock uses semaphore 0 is `lock::semaphore`'s.

use std::fmt;

use libc::{IPC_NOWAIT, SEM_UNDO};
use monshm_core::{Error, ErrorKind, Identity, Liveness, Operation, Result, SLOT_COUNT, Slot};

use crate::sys::{self, Errno, SemOp};
use crate::{access, key};

/// The value of the last semaphore of an initialised set: "mS" below the limit of 32,767.
///
/// `semget` and `SETALL` are two steps. `SETALL` sets everything at once, so a process that finds the mark finds all
/// of it.
pub const SET_MARK: u16 = 0x6d53;

/// The lock's semaphore.
pub(crate) const LOCK: u16 = 0;

const MARK: u16 = SLOT_COUNT as u16 + 1;

/// How many semaphores a set has: the lock, one for each slot, the mark.
pub(crate) const COUNT: u16 = MARK + 1;

const _: () = assert!(SET_MARK <= 32_767);

/// A semaphore set, by its id. Dropping it does nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slots(i32);

/// The semaphore that stands for `slot`.
const fn number(slot: Slot) -> u16 {
    slot.tag() as u16
}

/// Whether `errno` says that the set does not exist any more.
pub(crate) fn is_gone(errno: Errno) -> bool {
    matches!(errno.0, libc::EIDRM | libc::EINVAL)
}

impl Slots {
    /// Makes a set with the lock free and the creator's slot taken, which `peer` can reach.
    pub(crate) fn create(peer: Identity, us: u32) -> Result<Self> {
        let id = key::with_fresh(|key| sys::sem_create(key, COUNT)).map_err(not_made)?;
        let set = Self(id);
        set.prepare(peer, us).map_err(|error| {
            let _ = sys::sem_remove(id);
            error.on(set.to_string())
        })?;
        Ok(set)
    }

    fn prepare(self, peer: Identity, us: u32) -> Result<()> {
        let mut values = [0; COUNT as usize];
        values[LOCK as usize] = 1;
        values[MARK as usize] = SET_MARK;
        sys::sem_set_all(self.0, &values).map_err(not_made)?;
        access::give(self.0, peer, us, sys::sem_give)?;
        // Last: from here on the set counts as used, and is removed by the process that finds that nobody is left.
        sys::sem_op(self.0, SemOp::new(number(Slot::CREATOR), 1, IPC_NOWAIT | SEM_UNDO)).map_err(not_made)
    }

    /// The set that a descriptor names, if it is one of ours and let nobody in but `owner` and us. Changes nothing.
    pub(crate) fn attach(id: i32, owner: Identity) -> Result<Self> {
        let set = Self(id);
        let named = |error: Error| error.on(set.to_string());
        let status = sys::sem_status(id).map_err(|errno| named(access::refused(errno, "semctl IPC_STAT")))?;
        let error = |kind| named(Error::new(Operation::Attach, kind));
        access::check(&status.permissions, owner).map_err(error)?;
        let marked = status.count == u64::from(COUNT)
            && set.mark().map_err(|errno| named(access::refused(errno, "semctl GETVAL")))? == SET_MARK.into();
        if !marked {
            return Err(error(ErrorKind::Gone { what: "another program's semaphore set has this id" }));
        }
        Ok(set)
    }

    /// The set with this id, unchecked.
    #[cfg(target_os = "linux")]
    pub(crate) fn from_id(id: i32) -> Self {
        Self(id)
    }

    /// The id, as `semop` takes it.
    #[inline]
    pub(crate) fn id(self) -> i32 {
        self.0
    }

    /// The value of the mark.
    pub(crate) fn mark(self) -> Result<u32, Errno> {
        sys::sem_value(self.0, MARK)
    }

    /// Whether a process that lives has `slot`.
    pub(crate) fn is_taken(self, slot: Slot) -> Result<bool, Errno> {
        sys::sem_value(self.0, number(slot)).map(|value| value != 0)
    }

    /// Takes the first free slot of a peer, if the creator lives.
    pub(crate) fn claim_peer(self) -> Result<Slot> {
        let refused = |errno, what| access::refused(errno, what).on(self.to_string());
        let error = |kind| Error::new(Operation::Attach, kind).on(self.to_string());
        for slot in Slot::peers() {
            let semaphore = number(slot);
            let claim = [SemOp::new(semaphore, 0, IPC_NOWAIT), SemOp::new(semaphore, 1, IPC_NOWAIT | SEM_UNDO)];
            match sys::sem_ops(self.0, &claim) {
                Ok(()) => {}
                Err(Errno(libc::EAGAIN)) => continue,
                Err(Errno(errno @ (libc::ENOSPC | libc::ENOMEM))) => {
                    return Err(error(undo_limit()).with_os_error(errno));
                }
                Err(errno) => return Err(refused(errno, "semop")),
            }
            // After the claim: a creator that left before it has either seen our slot and left the set to us, or has
            // removed the set, and then the claim failed.
            match self.is_taken(Slot::CREATOR) {
                Ok(true) => return Ok(slot),
                Ok(false) => {
                    self.leave(slot, false);
                    return Err(error(ErrorKind::Gone { what: "its creator has detached or died" }));
                }
                Err(errno) => {
                    self.leave(slot, false);
                    return Err(refused(errno, "semctl GETVAL"));
                }
            }
        }
        Err(error(ErrorKind::SlotsTaken))
    }

    /// Gives `slot` back, and with it the lock if `holds_lock`; removes the set if nobody is left.
    pub(crate) fn leave(self, slot: Slot, holds_lock: bool) {
        let give_back = SemOp::new(number(slot), -1, IPC_NOWAIT | SEM_UNDO);
        let unlock = SemOp::new(LOCK, 1, IPC_NOWAIT | SEM_UNDO);
        // Together, so that nobody sees a lock that is held by a free slot. An error says that a hostile peer removed
        // or changed the set; then there is nothing left that could be put right.
        let _ = if holds_lock { sys::sem_ops(self.0, &[unlock, give_back]) } else { sys::sem_op(self.0, give_back) };
        if slot == Slot::CREATOR && self.lost_its_mark() {
            // A hostile peer has wiped the mark out: nobody can attach any more, and `clean` would not know the set.
            let _ = sys::sem_remove(self.0);
        }
        self.remove_if_left();
    }

    /// Whether this is still the set that this user made, with another mark.
    fn lost_its_mark(self) -> bool {
        let ours = |status: sys::SemStatus| {
            status.count == u64::from(COUNT) && status.permissions.creator_uid == sys::own_uid()
        };
        self.mark().is_ok_and(|mark| mark != SET_MARK.into()) && sys::sem_status(self.0).is_ok_and(ours)
    }

    /// Removes the set if nobody is left in it. To be called when the creator's slot was taken once.
    ///
    /// Who enters now finds no creator and leaves again, see [`Slots::claim_peer`]: a set that is empty stays useless.
    pub(crate) fn remove_if_left(self) {
        // EINVAL and EIDRM of the removal: another one that left at the same time was faster.
        match self.is_stale() {
            Ok(false) => {}
            Ok(true) => drop(sys::sem_remove(self.0)),
            // A hostile peer closed the set to us. As its creator we may still remove it, and it is of no use now.
            Err(Errno(libc::EACCES)) => drop(sys::sem_remove(self.0)),
            Err(_) => {}
        }
    }

    /// Whether no slot is taken by a process that exists.
    ///
    /// A slot is free when its semaphore is 0. It is also free when its semaphore was last changed by a process that is
    /// no more: a hostile peer can raise slots for good, and the set would else stay for ever. An honest slot is last
    /// changed by the process that took it; one whose pid cannot be seen from here counts as existing.
    pub(crate) fn is_stale(self) -> Result<bool, Errno> {
        for semaphore in 1..=SLOT_COUNT as u16 {
            if self.holder(semaphore)?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The pids of the processes that have slots; 0 for one that cannot be seen from here.
    #[cfg(target_os = "linux")]
    pub(crate) fn holders(self) -> Result<Vec<u32>, Errno> {
        let holders = (1..=SLOT_COUNT as u16).filter_map(|semaphore| self.holder(semaphore).transpose());
        holders.map(|pid| pid.map(|pid| u32::try_from(pid).unwrap_or(0))).collect()
    }

    /// The pid of the process that has the slot of this semaphore; see [`Slots::is_left`].
    fn holder(self, semaphore: u16) -> Result<Option<i32>, Errno> {
        if sys::sem_value(self.0, semaphore)? == 0 {
            return Ok(None);
        }
        let pid = sys::sem_last_pid(self.0, semaphore)?;
        Ok(sys::process_exists(pid).then_some(pid))
    }

    /// Removes the set `id` if it was left by everybody: the creator died before this process could attach.
    pub(crate) fn remove_abandoned(id: i32, owner: Identity) {
        if let Ok(set) = Self::attach(id, owner) {
            // Before its first use the set is under creation, and its slots are free for another reason.
            if sys::sem_status(id).is_ok_and(|status| status.used) {
                set.remove_if_left();
            }
        }
    }
}

impl Liveness for Slots {
    fn is_alive(&self, slot: Slot) -> bool {
        self.is_taken(slot).unwrap_or(true)
    }
}

impl fmt::Display for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sysv semaphores {}", self.0)
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slots({})", self.0)
    }
}

/// What it means when the kernel has no room for another process that uses `SEM_UNDO`.
pub(crate) fn undo_limit() -> ErrorKind {
    ErrorKind::LimitReached { what: "System V undo structures (SEMMNU)" }
}

/// What a refused `semget` or `SETALL` of a creator means.
fn not_made(Errno(errno): Errno) -> Error {
    let kind = match errno {
        libc::ENOSPC => ErrorKind::LimitReached { what: "System V semaphores (SEMMNI, SEMMNS)" },
        libc::EINVAL => ErrorKind::LimitReached { what: "semaphores in one set (SEMMSL)" },
        libc::ENOMEM => undo_limit(),
        libc::EEXIST => ErrorKind::LimitReached { what: "System V keys" },
        libc::ENOSYS => ErrorKind::Unsupported { what: "System V semaphores" },
        libc::EIDRM => ErrorKind::Gone { what: "the new semaphore set was removed" },
        _ => ErrorKind::System { what: "semget, semctl or semop" },
    };
    Error::new(Operation::Create, kind).on("sysv").with_os_error(errno)
}
