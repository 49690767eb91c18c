//! Attach slots as semaphores of one set: how it is made, which slot is taken, who removes it.
//!
//! The kernel lowers what a process raised with `SEM_UNDO` when that process ends, however it ends; so a slot's
//! semaphore is true liveness, without pids. All changes of more than one semaphore are one `semop`: all or nothing.
//! How the lock uses semaphore 0 is `lock::semaphore`'s.

use std::fmt;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use libc::{IPC_NOWAIT, SEM_UNDO};
use monshm_core::{Error, ErrorKind, Identity, Liveness, Operation, Result, SLOT_COUNT, Slot};
use rustix::io::Errno;

use crate::sys::{self, SemOp, SemStatus};
use crate::{access, identity, key};

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

/// How often a set is made anew that was removed before anybody knew of it.
const CREATIONS: u32 = 4;

const _: () = assert!(SET_MARK <= 32_767);

/// A semaphore set, by its identity. Dropping it does nothing.
///
/// Once it was found to be removed, or its id to be another set's, it answers that for good, whatever has the id then.
pub(crate) struct Slots {
    id: i32,
    /// With which key it was made, and by whom: what the id alone does not tell, see [`crate::identity`].
    key: i32,
    creator_uid: u32,
    /// The errno by which it was found to be gone, 0 before.
    gone: AtomicI32,
}

/// The semaphore that stands for `slot`.
const fn number(slot: Slot) -> u16 {
    slot.tag() as u16
}

/// Whether `errno` says that the set does not exist any more.
pub(crate) fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::IDRM | Errno::INVAL)
}

impl Slots {
    /// Makes a set with the lock free and the creator's slot taken, which `peer` can reach.
    ///
    /// Until the slot is taken nothing shows that the creator lives, so a `clean` may remove the set of one that was
    /// stopped for long. Nobody knows of that set yet, and another one is made.
    pub(crate) fn create(peer: Identity, us: u32) -> Result<Self> {
        let mut outcome = Self::create_once(peer, us);
        for _ in 1..CREATIONS {
            match &outcome {
                Err(error) if matches!(error.kind(), ErrorKind::Gone { .. }) => outcome = Self::create_once(peer, us),
                _ => break,
            }
        }
        outcome
    }

    fn create_once(peer: Identity, us: u32) -> Result<Self> {
        let (id, key) = key::with_fresh(|key| sys::sem_create(key, COUNT)).map_err(|errno| not_made(errno, false))?;
        identity::note(id, key);
        let set = Self::new(id, key, us);
        set.prepare(peer, us).map_err(|error| {
            let _ = set.remove();
            error.on(set.to_string())
        })?;
        Ok(set)
    }

    fn prepare(&self, peer: Identity, us: u32) -> Result<()> {
        let mut values = [0; COUNT as usize];
        values[LOCK as usize] = 1;
        values[MARK as usize] = SET_MARK;
        let not_made = |errno| not_made(errno, true);
        sys::sem_set_all(self.id, &values).map_err(not_made)?;
        access::give(self.id, peer, us, sys::sem_give)?;
        // Last: from here on the set counts as used, and is removed by the process that finds that nobody is left.
        sys::sem_op(self.id, SemOp::new(number(Slot::CREATOR), 1, IPC_NOWAIT | SEM_UNDO)).map_err(not_made)
    }

    /// The set that a descriptor names, if it is one of ours and let nobody in but `owner` and us. Changes nothing.
    pub(crate) fn attach(id: i32, owner: Identity) -> Result<Self> {
        let named = |error: Error| error.on(name(id));
        let status = sys::sem_status(id).map_err(|errno| named(access::refused(errno, "semctl IPC_STAT")))?;
        let error = |kind| named(Error::new(Operation::Attach, kind));
        access::check(&status.permissions, owner).map_err(error)?;
        identity::note(id, status.key);
        let set = Self::new(id, status.key, status.permissions.creator_uid);
        let marked = status.count == u64::from(COUNT)
            && set.mark().map_err(|errno| named(access::refused(errno, "semctl GETVAL")))? == SET_MARK.into();
        if !marked {
            return Err(error(ErrorKind::Gone { what: "another program's semaphore set has this id" }));
        }
        Ok(set)
    }

    /// The set with this identity. Whether it exists is not known yet.
    pub(crate) fn new(id: i32, key: i32, creator_uid: u32) -> Self {
        Self { id, key, creator_uid, gone: AtomicI32::new(0) }
    }

    /// The id, as a descriptor names it.
    pub(crate) fn id(&self) -> i32 {
        self.id
    }

    /// What the kernel tells of the set. EIDRM, now and for good, if it is another one that has the id.
    ///
    /// # Errors
    /// Also EACCES, where the set is closed to us and the system does not tell of such.
    pub(crate) fn status(&self) -> Result<SemStatus, Errno> {
        self.is_known_gone()?;
        let status = self.noted(match sys::sem_status(self.id) {
            // A system that does not know the second question keeps the answer of the first.
            Err(closed @ Errno::ACCESS) => sys::sem_status_of_any(self.id).map_err(|errno| match errno {
                Errno::IDRM => errno,
                _ => closed,
            }),
            answer => answer,
        })?;
        if (status.key, status.permissions.creator_uid) == (self.key, self.creator_uid) {
            return Ok(status);
        }
        self.noted(Err(Errno::IDRM))
    }

    /// Whether it was found to be gone before; asks nothing.
    #[inline]
    pub(crate) fn is_known_gone(&self) -> Result<(), Errno> {
        // Relaxed, here and below: a note of this process to itself, which orders nothing.
        match self.gone.load(Ordering::Relaxed) {
            0 => Ok(()),
            errno => Err(Errno::from_raw_os_error(errno)),
        }
    }

    /// Keeps in mind that the set does not exist any more, if that is the answer.
    #[inline]
    fn noted<T>(&self, answer: Result<T, Errno>) -> Result<T, Errno> {
        answer.inspect_err(|errno| {
            if is_gone(*errno) {
                self.gone.store(errno.raw_os_error(), Ordering::Relaxed);
            }
        })
    }

    /// Whether the set can still be ours, as far as this process knows without asking.
    #[inline]
    fn check(&self) -> Result<(), Errno> {
        if identity::is_newest(self.id, self.key) { self.is_known_gone() } else { self.check_anew() }
    }

    #[cold]
    fn check_anew(&self) -> Result<(), Errno> {
        self.status()?;
        identity::note(self.id, self.key);
        Ok(())
    }

    /// One operation that does not wait: `IPC_NOWAIT` is among its flags.
    #[inline]
    pub(crate) fn operate(&self, operation: SemOp) -> Result<(), Errno> {
        self.check()?;
        self.noted(sys::sem_op(self.id, operation))
    }

    /// One operation that waits at most for `timeout`; EAGAIN when that has passed.
    pub(crate) fn operate_within(&self, operation: SemOp, timeout: Duration) -> Result<(), Errno> {
        self.status()?;
        self.noted(sys::sem_op_timeout(self.id, operation, timeout))
    }

    /// The value of one semaphore.
    pub(crate) fn value(&self, number: u16) -> Result<u32, Errno> {
        self.check()?;
        self.noted(sys::sem_value(self.id, number))
    }

    /// `IPC_RMID`, of this set and no other.
    ///
    /// # Errors
    /// EINVAL and EIDRM: another one that left at the same time was faster.
    pub(crate) fn remove(&self) -> Result<(), Errno> {
        match self.status() {
            // EACCES: nothing can be asked here. Its creator may remove it all the same.
            Ok(_) | Err(Errno::ACCESS) => self.noted(sys::sem_remove(self.id)),
            Err(errno) => Err(errno),
        }
    }

    /// What a failed operation of a lock on the set means.
    #[cold]
    pub(crate) fn fault(&self, operation: Operation, errno: Errno) -> Error {
        let kind = match errno {
            _ if is_gone(errno) => ErrorKind::Gone { what: "its semaphore set was removed" },
            Errno::ACCESS | Errno::PERM => ErrorKind::Gone { what: "its semaphore set was closed to us" },
            Errno::RANGE => ErrorKind::Corrupt { what: "a semaphore holds what no honest process sets" },
            Errno::NOSPC | Errno::NOMEM => undo_limit(),
            _ => ErrorKind::System { what: "semop" },
        };
        Error::new(operation, kind).on(self.to_string()).with_os_error(errno.raw_os_error())
    }

    /// The value of the mark.
    pub(crate) fn mark(&self) -> Result<u32, Errno> {
        let mark = self.value(MARK)?;
        self.status().map(|_| mark)
    }

    /// Whether a process that lives has `slot`.
    pub(crate) fn is_taken(&self, slot: Slot) -> Result<bool, Errno> {
        let value = self.value(number(slot))?;
        // Afterwards: a set that is still ours was ours when it answered.
        self.status().map(|_| value != 0)
    }

    /// Takes the first free slot of a peer, if the creator lives.
    pub(crate) fn claim_peer(&self) -> Result<Slot> {
        let refused = |errno, what| access::refused(errno, what).on(self.to_string());
        let error = |kind| Error::new(Operation::Attach, kind).on(self.to_string());
        for slot in Slot::peers() {
            let semaphore = number(slot);
            let claim = [SemOp::new(semaphore, 0, IPC_NOWAIT), SemOp::new(semaphore, 1, IPC_NOWAIT | SEM_UNDO)];
            match self.status().and_then(|_| self.noted(sys::sem_ops(self.id, &claim))) {
                Ok(()) => {}
                Err(Errno::AGAIN) => continue,
                Err(errno @ (Errno::NOSPC | Errno::NOMEM)) => {
                    return Err(error(undo_limit()).with_os_error(errno.raw_os_error()));
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
    pub(crate) fn leave(&self, slot: Slot, holds_lock: bool) {
        let give_back = SemOp::new(number(slot), -1, IPC_NOWAIT | SEM_UNDO);
        let unlock = SemOp::new(LOCK, 1, IPC_NOWAIT | SEM_UNDO);
        let operations: &[SemOp] = if holds_lock { &[unlock, give_back] } else { &[give_back] };
        let status = self.status();
        if status.is_err_and(is_gone) {
            // Removed, and another set may have the id. Our undo values went with ours.
            return;
        }
        // Together, so that nobody sees a lock that is held by a free slot. An error says that a hostile peer removed
        // or changed the set; then there is nothing left that could be put right.
        let _ = self.noted(sys::sem_ops(self.id, operations));
        if slot == Slot::CREATOR
            && status.is_ok_and(|status| status.count == u64::from(COUNT))
            && self.has_another_mark()
        {
            // A hostile peer has overwritten the mark: nobody can attach any more, and `clean` would not know the set.
            let _ = self.remove();
        }
        self.remove_if_left();
    }

    fn has_another_mark(&self) -> bool {
        self.mark().is_ok_and(|mark| mark != SET_MARK.into())
    }

    /// Removes the set if nobody is left in it. To be called when the creator's slot was taken once.
    ///
    /// A process that enters now finds no creator and leaves again, see [`Slots::claim_peer`]: a set that is empty
    /// stays useless.
    pub(crate) fn remove_if_left(&self) {
        match self.is_stale() {
            Ok(false) => {}
            Ok(true) => drop(self.remove()),
            // A hostile peer closed the set to us. As its creator we may still remove it, and it is of no use now.
            Err(Errno::ACCESS) => drop(self.remove()),
            Err(_) => {}
        }
    }

    /// Whether no slot is taken by a process that exists.
    ///
    /// A slot is free when its semaphore is 0. It is also free when its semaphore was last changed by a process that is
    /// no more: a hostile peer can raise slots for good, and the set would else stay for ever. An honest slot is last
    /// changed by the process that took it; one whose pid cannot be seen from here counts as existing.
    pub(crate) fn is_stale(&self) -> Result<bool, Errno> {
        for semaphore in 1..=SLOT_COUNT as u16 {
            if self.holder(semaphore)?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The process that gave the set its first values, if it exists and can be seen from here.
    #[cfg(target_os = "linux")]
    pub(crate) fn maker(&self) -> Result<Option<u32>, Errno> {
        let pid = self.noted(sys::sem_last_pid(self.id, MARK))?;
        Ok(u32::try_from(pid).ok().filter(|_| pid > 0 && sys::process_exists(pid)))
    }

    /// The pids of the processes that have slots; 0 for one that cannot be seen from here.
    #[cfg(target_os = "linux")]
    pub(crate) fn holders(&self) -> Result<Vec<u32>, Errno> {
        let holders = (1..=SLOT_COUNT as u16).filter_map(|semaphore| self.holder(semaphore).transpose());
        let mut pids: Vec<u32> =
            holders.map(|pid| pid.map(|pid| u32::try_from(pid).unwrap_or(0))).collect::<Result<_, _>>()?;
        // A process with two handles is one; those that cannot be seen may be several.
        pids.sort_unstable();
        pids.dedup_by(|one, other| one == other && *one != 0);
        Ok(pids)
    }

    /// The pid of the process that has the slot of this semaphore; see [`Slots::is_stale`].
    fn holder(&self, semaphore: u16) -> Result<Option<i32>, Errno> {
        if self.value(semaphore)? == 0 {
            return Ok(None);
        }
        let pid = sys::sem_last_pid(self.id, semaphore)?;
        Ok(sys::process_exists(pid).then_some(pid))
    }

    /// Removes each set in which nobody but this process has a slot, since it ends: it may end without a drop of its
    /// handles, and the kernel, which gives the slots back, removes no set. One that others have is removed by the last
    /// of them. A forked child that ends has no slot.
    pub(crate) fn remove_at_exit() {
        for (id, key) in identity::noted() {
            let Ok(status) = sys::sem_status(id) else { continue };
            let set = Self::new(id, key, status.permissions.creator_uid);
            let holders = set.status().and_then(|_| {
                (1..=SLOT_COUNT as u16).filter_map(|semaphore| set.holder(semaphore).transpose()).collect()
            });
            let ours = |holders: Vec<i32>| !holders.is_empty() && holders.iter().all(|pid| *pid == sys::own_pid());
            if holders.is_ok_and(ours) {
                let _ = set.remove();
            }
        }
    }

    /// Removes the set `id` if it was left by everybody: the creator died before this process could attach.
    pub(crate) fn remove_abandoned(id: i32, owner: Identity) {
        if let Ok(set) = Self::attach(id, owner) {
            // Before its first use the set is under creation, and its slots are free for another reason.
            if set.status().is_ok_and(|status| status.used) {
                set.remove_if_left();
            }
        }
    }
}

/// What messages call a set.
fn name(id: i32) -> String {
    format!("sysv semaphores {id}")
}

impl Liveness for Slots {
    fn is_alive(&self, slot: Slot) -> bool {
        self.is_taken(slot).unwrap_or(true)
    }
}

impl fmt::Display for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&name(self.id))
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slots({})", self.id)
    }
}

/// What it means when the kernel has no room for another process that uses `SEM_UNDO`.
fn undo_limit() -> ErrorKind {
    ErrorKind::LimitReached { what: "System V undo structures (SEMMNU)" }
}

/// What a refused `semget`, or another call of a creator for a set that was `made`, means.
fn not_made(errno: Errno, made: bool) -> Error {
    let kind = match errno {
        Errno::IDRM | Errno::INVAL if made => ErrorKind::Gone { what: "the new semaphore set was removed" },
        Errno::NOSPC => ErrorKind::LimitReached { what: "System V semaphores (SEMMNI, SEMMNS)" },
        Errno::INVAL => ErrorKind::LimitReached { what: "semaphores in one set (SEMMSL)" },
        Errno::NOMEM => undo_limit(),
        Errno::EXIST => ErrorKind::LimitReached { what: "System V keys" },
        Errno::NOSYS => ErrorKind::Unsupported { what: "System V semaphores" },
        _ => ErrorKind::System { what: "semget, semctl or semop" },
    };
    Error::new(Operation::Create, kind).on("sysv").with_os_error(errno.raw_os_error())
}
