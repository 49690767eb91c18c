//! Which semaphore set an id names: the kernel gives the id of a removed set to a later one.
//!
//! Four million sets made and removed bring an id round, and a peer may remove a set that it owns. What stays with a
//! set for life, whatever its owner sets, is its key and its creator. A key has 16 random bits, and no peer chooses
//! those of a set that it did not make: so id, key and creator together are the identity of a set.
//!
//! Two checks use it. [`is_newest`] costs two loads and no system call, and is exact for the sets of this process: it
//! stands before every operation, also of the lock. [`crate::sys::sem_status`] asks the kernel, for sets of all
//! processes: before each removal and each change of slots, after each question who lives, and for each slice of a
//! wait. Between such an answer and the operation lies one system call; the kernel has no operation that does both.

use std::sync::atomic::{AtomicU64, Ordering};

/// The kernel's indices of sets are below this number: an id is such an index, and a sequence number above it.
const INDICES: usize = 1 << 15;

/// For each index the id and the key of the set that this process made or attached last. Static and without a lock,
/// since a forked child goes on using it.
static NEWEST: [AtomicU64; INDICES] = [const { AtomicU64::new(0) }; INDICES];

#[inline]
fn entry(id: i32) -> &'static AtomicU64 {
    &NEWEST[id as usize % INDICES]
}

#[inline]
const fn stamp(id: i32, key: i32) -> u64 {
    (id as u32 as u64) << 32 | key as u32 as u64
}

/// Notes that `id` is the id of the set with `key` now. To be called before the set can be used.
pub(crate) fn note(id: i32, key: i32) {
    // Relaxed, here and below: the system call that follows orders it for whoever uses the set afterwards.
    entry(id).store(stamp(id, key), Ordering::Relaxed);
}

/// Whether this process knows of no other set that has `id` now. Where it answers no, the kernel is to be asked: a
/// thread in another IPC namespace may have another set of this id.
#[inline]
pub(crate) fn is_newest(id: i32, key: i32) -> bool {
    let newest = entry(id).load(Ordering::Relaxed);
    // Another id says nothing: where the kernel has more indices than we, two sets share an entry.
    newest == stamp(id, key) || newest >> 32 != stamp(id, 0) >> 32
}

/// Id and key of each set that this process noted, where no later one took its entry.
pub(crate) fn noted() -> impl Iterator<Item = (i32, i32)> {
    let stamps = NEWEST.iter().map(|entry| entry.load(Ordering::Relaxed)).filter(|stamp| *stamp != 0);
    stamps.map(|stamp| ((stamp >> 32) as i32, stamp as i32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_set_of_the_same_id_ends_the_earlier_one() {
        let (id, other) = (7, 7 + INDICES as i32);
        note(id, 1);
        assert!(is_newest(id, 1) && !is_newest(id, 2));
        note(id, 2);
        assert!(is_newest(id, 2) && !is_newest(id, 1));
        note(other, 3);
        assert!(is_newest(id, 1) && is_newest(other, 3), "another id of the same entry says nothing");
    }
}
