//! Where descriptors stand, and how a pointer from C leads to one: the arena of entries, and the table of bases.
//!
//! It makes and ends descriptors; what they are used for is in the other files.
//!
//! An entry's memory is static and never given back, so looking at an entry that is free is sound. Entries are taken
//! again late: at least half of those in use stay free, and the search for the next one goes round all of them.

use std::cell::UnsafeCell;
use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use monshm_core::{Error, ErrorKind, Operation};

use super::fault::{Fault, NO_DESCRIPTOR, Outcome, get_errno, invalid, set_errno};
use super::types::MonShmDesc;
use crate::ring::{Consumer, Producer, Ring};
use crate::segment::Segment;

/// The engine of a segment's ring.
type Engine = monshm_rbuf::Ring<monshm_rbuf::Shared<&'static Segment>>;

/// The most descriptors a process can have. Linux allows about as many mappings (vm.max_map_count).
const CAPACITY: usize = 1 << 16;

/// Entries that are free beside those in use, at least: how late an entry is taken again.
const SPARE: usize = 256;

/// Values of [`Entry::state`].
///
/// | value | meaning | next, by whom |
/// |---|---|---|
/// | FREE 0 | no descriptor; only `state` may be read | BUSY, by the thread that takes it |
/// | BUSY 1 | one thread makes or ends the descriptor | LIVE or FREE, by that thread |
/// | LIVE 2 | all fields hold a descriptor | BUSY, by the thread that ends it |
mod state {
    pub(super) const FREE: u32 = 0;
    pub(super) const BUSY: u32 = 1;
    pub(super) const LIVE: u32 = 2;
}

/// Values of [`Entry::ring_state`]: none yet, one thread writes it, there for good.
mod ring_state {
    pub(super) const NONE: u32 = 0;
    pub(super) const BUSY: u32 = 1;
    pub(super) const READY: u32 = 2;
}

/// Room for one descriptor. All-zero bytes are a free entry.
///
/// *Invariant LIVE*: while `state` is LIVE, `descriptor` and `segment` are initialised and do not move, and `ring` is
/// initialised once `ring_state` is READY. They change only in [`Entry::end`], beside which CALLER lets no other call
/// run.
#[repr(C, align(256))]
pub(super) struct Entry {
    /// First: its address is the descriptor's. The C program may write here.
    descriptor: UnsafeCell<MaybeUninit<MonShmDesc>>,
    state: AtomicU32,
    ring_state: AtomicU32,
    /// The base of the mapping, 0 unless LIVE.
    base: AtomicUsize,
    segment: UnsafeCell<MaybeUninit<Segment>>,
    ring: UnsafeCell<MaybeUninit<Ring<'static>>>,
    pub(super) writer: ThreadOwned<Producer>,
    pub(super) reader: ThreadOwned<Consumer>,
}

const _: () = assert!(size_of::<Entry>() == 256 && size_of::<MonShmDesc>() <= 96);

/// the endpoint that a thread has opened.
pub(super) struct ThreadOwned<End> {
    /// The token of that thread, 0 for none. *Invariant OWNER*: `end` is touched by the thread whose token this is, and
    /// by `Entry::end`, alone.
    owner: AtomicUsize,
    end: UnsafeCell<Option<Box<End>>>,
}

struct Arena(MaybeUninit<[Entry; CAPACITY]>);

// SAFETY: the cells of an entry are written only by the thread that holds it BUSY, or as OWNER says, and read only
// under LIVE; Segment and Ring may be shared between threads, Producer and Consumer may be sent to the thread that ends
// the entry.
unsafe impl Sync for Arena {}

/// In pages that nobody touches before they are used.
static ARENA: Arena = Arena(MaybeUninit::zeroed());

/// How many entries are taken.
static TAKEN: AtomicUsize = AtomicUsize::new(0);
/// How many entries were ever taken: those from here on were never touched.
static TOUCHED: AtomicUsize = AtomicUsize::new(0);
/// Where the search for a free entry goes on.
static CURSOR: AtomicUsize = AtomicUsize::new(0);

fn arena() -> &'static [Entry; CAPACITY] {
    // SAFETY: zero bytes are valid for every field: integers, atomics, MaybeUninit, and None for an Option of a Box.
    unsafe { ARENA.0.assume_init_ref() }
}

/// The entry of the descriptor that `desc` points to, if there is one.
#[inline(always)]
pub(super) fn find(desc: *const MonShmDesc) -> Outcome<&'static Entry> {
    let from_start = desc.addr().wrapping_sub((&raw const ARENA).addr());
    if from_start < size_of::<Arena>() && from_start % size_of::<Entry>() == 0 {
        let entry = &arena()[from_start / size_of::<Entry>()];
        // Acquire: pairs with the Release in `insert`; a thread that sees LIVE sees the fields.
        if entry.state.load(Ordering::Acquire) == state::LIVE {
            return Ok(entry);
        }
    }
    invalid(NO_DESCRIPTOR)
}

/// Makes a descriptor of `segment`; `describe` fills in what C sees.
pub(super) fn insert(
    segment: Segment,
    describe: impl FnOnce(&Segment, *const Entry) -> MonShmDesc,
) -> Outcome<*mut MonShmDesc> {
    let Some(entry) = take() else {
        let kind = ErrorKind::LimitReached { what: "descriptors of one process" };
        return Err(Error::new(Operation::Create, kind).into());
    };
    let base = segment.inner().attachment.region().base().as_ptr().addr();
    // SAFETY: `take` gave us the entry BUSY, so that no other thread touches its cells.
    unsafe {
        (*entry.descriptor.get()).write(describe(&segment, entry));
        (*entry.segment.get()).write(segment);
    }
    entry.ring_state.store(ring_state::NONE, Ordering::Relaxed);
    entry.base.store(base, Ordering::Relaxed);
    // Release: pairs with the Acquire in `find` and in `bases::find`'s user.
    entry.state.store(state::LIVE, Ordering::Release);
    bases::enter(base, entry.index());
    Ok(entry.descriptor.get().cast())
}

/// Takes a free entry, or one that was never touched while there are not enough free ones.
fn take() -> Option<&'static Entry> {
    let taken = TAKEN.fetch_add(1, Ordering::Relaxed) + 1;
    let wanted = (2 * taken + SPARE).min(CAPACITY);
    let grow = |touched: usize| (touched < wanted).then_some(touched + 1);
    if let Ok(index) = TOUCHED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grow) {
        if let Some(entry) = arena()[index].occupy() {
            return Some(entry);
        }
    }
    let touched = TOUCHED.load(Ordering::Relaxed);
    for _ in 0..2 * touched {
        let index = CURSOR.fetch_add(1, Ordering::Relaxed) % touched;
        if let Some(entry) = arena()[index].occupy() {
            return Some(entry);
        }
    }
    TAKEN.fetch_sub(1, Ordering::Relaxed);
    None
}

impl Entry {
    fn occupy(&'static self) -> Option<&'static Self> {
        // Acquire: pairs with the Release of FREE in `end`; the cells are ours.
        let taken = self.state.compare_exchange(state::FREE, state::BUSY, Ordering::Acquire, Ordering::Relaxed);
        taken.is_ok().then_some(self)
    }

    fn index(&'static self) -> usize {
        (std::ptr::from_ref(self).addr() - (&raw const ARENA).addr()) / size_of::<Self>()
    }

    /// The segment.
    #[inline(always)]
    pub(super) fn segment(&'static self) -> &'static Segment {
        // SAFETY: `find` and `of_base` gave out this entry LIVE, and CALLER holds a reference, so that it stays so for
        // the call, beyond which nobody keeps the borrow but the ring of this entry, which goes first.
        unsafe { (*self.segment.get()).assume_init_ref() }
    }

    /// The count of references.
    #[inline(always)]
    pub(super) fn references(&'static self) -> &'static std::sync::atomic::AtomicI32 {
        let descriptor: *const MonShmDesc = self.descriptor.get().cast();
        // SAFETY: LIVE, as in `segment`; a reference to the one field, and not to the others, which C may write.
        unsafe { &(*descriptor).refcnt }
    }

    /// Does `work` with the segment's ring. The first use fixes the ring's bounds. `missing` is the errno value for
    /// bytes or room that are not there, also where the ring could never hold so many.
    #[inline(always)]
    pub(super) fn with_ring<T>(
        &'static self,
        missing: c_int,
        work: impl FnOnce(&Engine) -> Result<T, monshm_rbuf::Error>,
    ) -> Outcome<T> {
        // Acquire: pairs with the Release in `first_ring`.
        if self.ring_state.load(Ordering::Acquire) == ring_state::READY {
            // SAFETY: initialised, by LIVE.
            return use_ring(unsafe { (*self.ring.get()).assume_init_ref() }, missing, work);
        }
        match self.first_ring()? {
            // SAFETY: initialised, by LIVE.
            None => use_ring(unsafe { (*self.ring.get()).assume_init_ref() }, missing, work),
            Some(own) => use_ring(&own, missing, work),
        }
    }

    /// Keeps the segment's ring; where another thread is just doing so, gives one for this call alone.
    #[cold]
    fn first_ring(&'static self) -> Outcome<Option<Ring<'static>>> {
        let errno = get_errno();
        let ring = self.segment().unguarded_ring()?;
        set_errno(errno);
        let (none, busy) = (ring_state::NONE, ring_state::BUSY);
        if self.ring_state.compare_exchange(none, busy, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return Ok(Some(ring));
        }
        // SAFETY: the thread that made it BUSY writes alone, and nobody reads before READY.
        unsafe { (*self.ring.get()).write(ring) };
        // Release: pairs with the Acquire in `with_ring`.
        self.ring_state.store(ring_state::READY, Ordering::Release);
        Ok(None)
    }

    /// Ends the descriptor: closes its endpoints, releases a lock that this thread holds, detaches.
    pub(super) fn end(&'static self) -> Outcome<()> {
        // AcqRel: of two threads that end it one goes on, and sees what the others did with it.
        let (live, busy) = (state::LIVE, state::BUSY);
        if self.state.compare_exchange(live, busy, Ordering::AcqRel, Ordering::Relaxed).is_err() {
            return invalid(NO_DESCRIPTOR);
        }
        bases::remove(self.base.swap(0, Ordering::Relaxed), self.index());
        // SAFETY: BUSY is ours and CALLER lets no other call run, so the cells are ours; both were initialised, by
        // LIVE, and are not looked at again before they are written anew. The ring, which borrows the segment, has no
        // drop.
        let segment = unsafe {
            let segment = (*self.segment.get()).assume_init_read();
            drop((*self.writer.end.get()).take());
            drop((*self.reader.end.get()).take());
            *self.descriptor.get() = MaybeUninit::zeroed();
            segment
        };
        self.writer.owner.store(0, Ordering::Relaxed);
        self.reader.owner.store(0, Ordering::Relaxed);
        if segment.inner().lock.is_held_here() {
            // A peer that waits need not find out that the holder is gone. Nobody is left to receive an error.
            let _ = segment.unlock();
        }
        drop(segment);
        // Release: pairs with the Acquire in `occupy`.
        self.state.store(state::FREE, Ordering::Release);
        TAKEN.fetch_sub(1, Ordering::Relaxed);
        Ok(())
    }
}

#[inline(always)]
fn use_ring<T>(
    ring: &Ring<'static>,
    missing: c_int,
    work: impl FnOnce(&Engine) -> Result<T, monshm_rbuf::Error>,
) -> Outcome<T> {
    use monshm_rbuf::Error as Refusal;
    work(ring.usable()?).map_err(|error| match error {
        Refusal::Full { .. } | Refusal::Empty { .. } | Refusal::TooLong { .. } => Fault::Amount(missing, error),
        other => ring.failed(other).into(),
    })
}

impl<End> ThreadOwned<End> {
    /// Opens the end for the calling thread.
    pub(super) fn open(&self, claim: impl FnOnce() -> Result<End, Error>) -> Outcome<()> {
        let me = crate::lock::state::thread_token();
        // Acquire: pairs with the Release in `close`; the cell is ours.
        if self.owner.compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return Err(Fault::Plain(libc::EBUSY, "this process has opened that endpoint of the ring already"));
        }
        match claim() {
            Ok(end) => {
                // SAFETY: the owner is this thread, by OWNER.
                unsafe { *self.end.get() = Some(Box::new(end)) };
                Ok(())
            }
            Err(error) => {
                self.owner.store(0, Ordering::Release);
                Err(error.into())
            }
        }
    }

    /// Closes the end that the calling thread has opened.
    pub(super) fn close(&self) -> Outcome<()> {
        self.with(|_| Ok(()))?;
        // SAFETY: the owner is this thread, or `with` had refused.
        let end = unsafe { (*self.end.get()).take() };
        // Release: pairs with the Acquire in `open`.
        self.owner.store(0, Ordering::Release);
        drop(end);
        Ok(())
    }

    /// Does `work` with the end, if the calling thread has opened it.
    #[inline(always)]
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut End) -> Outcome<T>) -> Outcome<T> {
        if self.owner.load(Ordering::Relaxed) == crate::lock::state::thread_token() {
            // SAFETY: the owner is this thread, by OWNER; `work` cannot come back here, since no call of the interface
            // calls into the program.
            if let Some(end) = unsafe { &mut *self.end.get() } {
                return work(end);
            }
        }
        Err(Fault::Plain(
            libc::EPERM,
            "this thread has not opened that endpoint of the ring; see mon_shm_writer_open, mon_shm_reader_open",
        ))
    }
}

/// The entry of the segment whose mapping begins at `base`, if this process has it.
#[inline(always)]
pub(super) fn of_base(base: usize) -> Outcome<&'static Entry> {
    if let Some(index) = bases::find(base) {
        let entry = &arena()[index % CAPACITY];
        // The table may be a moment behind an entry that ended; the entry itself knows. Acquire: pairs with the Release
        // in `insert`.
        if entry.base.load(Ordering::Relaxed) == base && entry.state.load(Ordering::Acquire) == state::LIVE {
            return Ok(entry);
        }
    }
    of_base_by_search(base)
}

/// Looks at every entry: for an unknown address, and for a base that found no room in the table.
#[cold]
fn of_base_by_search(base: usize) -> Outcome<&'static Entry> {
    let touched = if bases::is_complete() { 0 } else { TOUCHED.load(Ordering::Relaxed) };
    let mut candidates = arena()[..touched].iter().filter(|_| base != 0);
    let found = candidates
        .find(|entry| entry.base.load(Ordering::Relaxed) == base && entry.state.load(Ordering::Acquire) == state::LIVE);
    match found {
        Some(entry) => Ok(entry),
        None => invalid(
            "this is not the ring or the base of a segment that this process has; \
             pass &desc->header->rbuf and desc->header of a live descriptor",
        ),
    }
}

/// The table from the base of a mapping to its entry in the arena: 16,384 sets of eight words, each 0 or
///
/// ```text
/// bit  63           16 15        0
///     | base / 4096   | index     |
/// ```
///
/// A set is chosen by a hash of the page. A base that finds its set full is counted instead, and then every miss is
/// followed by a search. Readers take no lock: an entry is one word.
mod bases {
    use super::{AtomicU64, AtomicUsize, MaybeUninit, Ordering};

    const SETS_LOG2: u32 = 14;
    const WAYS: usize = 8;

    struct Table(MaybeUninit<[[AtomicU64; WAYS]; 1 << SETS_LOG2]>);

    static TABLE: Table = Table(MaybeUninit::zeroed());
    /// How many live bases are not in the table.
    static LEFT_OUT: AtomicUsize = AtomicUsize::new(0);

    #[inline(always)]
    fn set(page: u64) -> &'static [AtomicU64; WAYS] {
        let hash = page.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> (64 - SETS_LOG2);
        // SAFETY: zero bytes are valid atomics.
        let table = unsafe { TABLE.0.assume_init_ref() };
        &table[hash as usize]
    }

    /// The index that is entered for `base`.
    #[inline(always)]
    pub(super) fn find(base: usize) -> Option<usize> {
        if base == 0 || base % 4096 != 0 {
            return None;
        }
        let page = base as u64 >> 12;
        // Acquire: pairs with the Release in `enter`; whoever finds the index finds the entry LIVE.
        let mut words = set(page).iter().map(|way| way.load(Ordering::Acquire));
        words.find(|word| word >> 16 == page).map(|word| (word & 0xffff) as usize)
    }

    /// Enters a base. No word for its page is there: `remove` came before the unmapping that set the address free.
    pub(super) fn enter(base: usize, index: usize) {
        let page = base as u64 >> 12;
        let word = page << 16 | index as u64;
        for way in set(page) {
            // Release: pairs with the Acquire in `find`.
            if way.compare_exchange(0, word, Ordering::Release, Ordering::Relaxed).is_ok() {
                return;
            }
        }
        LEFT_OUT.fetch_add(1, Ordering::Release);
    }

    /// Takes a base out, before its mapping goes.
    pub(super) fn remove(base: usize, index: usize) {
        let page = base as u64 >> 12;
        let word = page << 16 | index as u64;
        for way in set(page) {
            if way.compare_exchange(word, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return;
            }
        }
        LEFT_OUT.fetch_sub(1, Ordering::Relaxed);
    }

    /// Whether every live base is in the table.
    pub(super) fn is_complete() -> bool {
        // Acquire: pairs with the Release in `enter`.
        LEFT_OUT.load(Ordering::Acquire) == 0
    }
}
