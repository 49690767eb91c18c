//! The production memory: words and bytes behind two pointers.
//!
//! It maps nothing and owns no mapping; [`Shared`] can carry a value that owns it. It holds no rule of the ring.

use core::mem::MaybeUninit;
use core::ops::Range;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, compiler_fence, fence};

use crate::arch::{copy, hints};
use crate::bounds::Bounds;
use crate::layout::{CONTROL_LEN, Control};
use crate::memory::{Field32, Field64, Hints, Memory};

/// A ring in memory that other processes may write at any time.
///
/// `K` keeps the memory valid: an `Arc` of the mapping, a `&'static` array, `()` where the caller does it otherwise.
/// It is never looked at. Copies are handles to the same ring.
///
/// **Invariant (valid):** while the value lives, `control` points to a control block and
/// `[base + bounds.begin, base + bounds.end)` to the ring's bytes, readable and writable, not part of any
/// Rust reference other than one to atomics or `UnsafeCell`s.
#[derive(Clone, Copy, Debug)]
pub struct Shared<K = ()> {
    control: NonNull<Control>,
    base: NonNull<u8>,
    bounds: Bounds,
    /// Set once the memory was truncated; `None` where that cannot be.
    truncation: Option<&'static AtomicBool>,
    /// Whether a side that is about to sleep executes the heavy side of the asymmetric fence.
    membarrier_assumed: bool,
    keep: K,
}

// SAFETY: the pointers lead to atomics and to bytes that are accessed by opaque or atomic copies only, from
// any thread; `keep` is the only field with thread rules of its own, and the bound carries them.
unsafe impl<K: Send> Send for Shared<K> {}
// SAFETY: as for Send; `&Shared` gives nothing that `Shared` does not give, and `&K` only by Debug and Clone.
unsafe impl<K: Sync> Sync for Shared<K> {}

impl<K> Shared<K> {
    /// Describes a ring: its control block, the base of the segment that offsets count from, and its bounds.
    ///
    /// Nothing is read or written. A creator calls [`format`](Self::format) before it shares the segment.
    ///
    /// # Examples
    /// ```
    /// use core::ptr::NonNull;
    /// use monshm_rbuf::layout::CONTROL_LEN;
    /// use monshm_rbuf::{Bounds, Ring, Shared};
    /// #[repr(align(128))]
    /// struct Segment([u8; CONTROL_LEN + 64]);
    ///
    /// let segment = Box::leak(Box::new(Segment([0; CONTROL_LEN + 64])));
    /// let base = NonNull::from(segment).cast::<u8>();
    /// let bounds = Bounds::new(CONTROL_LEN as u64, CONTROL_LEN as u64 + 64, size_of::<Segment>())?;
    /// // SAFETY: block and bytes are leaked, aligned to 128, and reached through this value alone.
    /// let memory = unsafe { Shared::new(base.cast(), base, bounds, ()) };
    /// memory.format();
    /// assert!(Ring::new(memory).is_empty()?);
    /// # Ok::<(), monshm_rbuf::Error>(())
    /// ```
    ///
    /// # Safety
    /// As long as the value or a copy of it lives (which is at least as long as `keep` does, if `keep` owns
    /// the mapping):
    /// * `control` is valid for reads and writes of [`CONTROL_LEN`] bytes and aligned to 128;
    /// * `base + bounds.begin()` to `base + bounds.end()` is valid for reads and writes, part of the same
    ///   mapping as `base`, and `base` is aligned to 8;
    /// * neither is covered by a `&mut`, nor by a `&` to anything but atomics and `UnsafeCell`s.
    ///
    /// Other processes may write any byte at any time.
    pub const unsafe fn new(control: NonNull<Control>, base: NonNull<u8>, bounds: Bounds, keep: K) -> Self {
        Shared { control, base, bounds, truncation: None, membarrier_assumed: false, keep }
    }

    /// Makes each call check `mark` after it used the memory. A set mark says that the memory was truncated: another
    /// process cut the file behind it, and the process that noticed set the mark, then put zeros in its place. Calls
    /// then answer [`Corruption::MemoryLost`](crate::Corruption::MemoryLost). Without a mark nothing is checked.
    #[must_use]
    pub fn with_truncation_mark(mut self, mark: Option<&'static AtomicBool>) -> Self {
        self.truncation = mark;
        self
    }

    /// Promises that a side that is about to sleep on the ring executes the heavy side of an asymmetric fence, after
    /// [`begin_wait`](crate::Consumer::begin_wait) and before its last poll, and that it reaches every thread of this
    /// process: membarrier(2) on Linux. Then `take_peer_wait` needs no fence of its own, which costs more than all the
    /// rest of a write. A wrong promise can lose a wake-up.
    #[must_use]
    pub const fn assume_membarrier(mut self, reaches_us: bool) -> Self {
        self.membarrier_assumed = reaches_us;
        self
    }

    /// Writes the control block of a fresh, empty ring: `head == tail == begin`, nobody claims a side.
    ///
    /// For the creator, before another process can see the segment: what stood there is overwritten.
    pub fn format(&self) {
        let block = MaybeUninit::new(Control::new(self.bounds));
        // SAFETY: `block` is a whole, initialised Control without padding of its own: CONTROL_LEN bytes of
        // integers (asserted in `layout`); the slice lives as long as `block`.
        let bytes = unsafe { core::slice::from_raw_parts(block.as_ptr().cast::<u8>(), CONTROL_LEN) };
        // SAFETY: the control block is writable for CONTROL_LEN bytes, by invariant (valid).
        unsafe { copy::write_to(self.control.as_ptr().cast::<u8>(), bytes) };
    }

    /// What keeps the memory valid.
    pub const fn keep(&self) -> &K {
        &self.keep
    }

    /// A 32-bit word of the control block, for a wait on its address.
    ///
    /// The peer may change it at any time.
    #[inline(always)]
    pub fn word32(&self, field: Field32) -> &AtomicU32 {
        let control = self.control();
        match field {
            Field32::ProducerClaim => &control.producer_claim,
            Field32::ConsumerClaim => &control.consumer_claim,
            Field32::ProducerClosed => &control.producer_closed,
            Field32::ConsumerClosed => &control.consumer_closed,
            Field32::ProducerWaiting => &control.producer_waiting,
            Field32::ConsumerWaiting => &control.consumer_waiting,
        }
    }

    #[inline(always)]
    fn word64(&self, field: Field64) -> &AtomicU64 {
        let control = self.control();
        match field {
            Field64::Head => &control.head,
            Field64::Tail => &control.tail,
            Field64::DroppedRecords => &control.dropped_records,
            Field64::DroppedBytes => &control.dropped_bytes,
        }
    }

    #[inline(always)]
    fn control(&self) -> &Control {
        // SAFETY: valid, aligned and initialised (integers) by invariant (valid); Control is atomics only, so
        // writes by others through other pointers are allowed while the reference lives.
        unsafe { self.control.as_ref() }
    }

    /// The one place where an offset becomes a pointer.
    ///
    /// # Safety
    /// `[offset, offset + len)` lies inside the bounds, for the `len` that the caller will access.
    #[inline(always)]
    unsafe fn address(&self, offset: u64) -> *mut u8 {
        debug_assert!(offset >= self.bounds.begin() && offset <= self.bounds.end());
        // SAFETY: base and base + offset are part of one mapping by invariant (valid); offset ≤ isize::MAX by
        // the invariant of Bounds.
        unsafe { self.base.as_ptr().add(offset as usize) }
    }
}

impl<K> Hints for Shared<K> {
    #[inline(always)]
    fn prefetch(&self, offset: u64) {
        hints::prefetch(self.base.as_ptr().wrapping_add(offset as usize));
    }

    #[inline(always)]
    fn flush(&self, range: Range<u64>) {
        let (start, end) = (range.start.max(self.bounds.begin()), range.end.min(self.bounds.end()));
        if start < end {
            // SAFETY: [start, end) was cut to the bounds, hence readable by invariant (valid).
            unsafe { hints::flush(self.address(start), (end - start) as usize) };
        }
    }

    #[inline(always)]
    fn clock(&self) -> Option<u64> {
        hints::clock()
    }
}

// SAFETY: `bounds` is a private field that never changes; the memory is valid by invariant (valid), which the
// caller of `new` vouches for; each access below goes to the named word or the named range and nowhere else.
unsafe impl<K> Memory for Shared<K> {
    #[inline(always)]
    fn bounds(&self) -> Bounds {
        self.bounds
    }

    #[inline(always)]
    fn load64(&self, field: Field64, order: Ordering) -> u64 {
        self.word64(field).load(order)
    }

    #[inline(always)]
    fn store64(&self, field: Field64, value: u64, order: Ordering) {
        self.word64(field).store(value, order);
    }

    #[inline(always)]
    fn load32(&self, field: Field32, order: Ordering) -> u32 {
        self.word32(field).load(order)
    }

    #[inline(always)]
    fn store32(&self, field: Field32, value: u32, order: Ordering) {
        self.word32(field).store(value, order);
    }

    #[inline(always)]
    fn compare_exchange32(&self, field: Field32, current: u32, new: u32, order: Ordering) -> Result<u32, u32> {
        self.word32(field).compare_exchange(current, new, order, Ordering::Relaxed)
    }

    #[inline(always)]
    fn fence(&self) {
        fence(Ordering::SeqCst);
    }

    #[inline(always)]
    fn is_truncated(&self) -> bool {
        self.truncation.is_some_and(|mark| {
            // Keeps the load behind the copies that it judges; pairs with the store of the mark before the memory is
            // replaced.
            fence(Ordering::Acquire);
            mark.load(Ordering::Relaxed)
        })
    }

    #[inline(always)]
    fn light_fence(&self) {
        if self.membarrier_assumed {
            compiler_fence(Ordering::SeqCst);
        } else {
            fence(Ordering::SeqCst);
        }
    }

    #[inline(always)]
    unsafe fn copy_in(&self, offset: u64, src: &[u8]) {
        // SAFETY: the range is inside the bounds by the caller, hence writable by invariant (valid).
        unsafe { copy::write_to(self.address(offset), src) };
    }

    #[inline(always)]
    unsafe fn copy_out(&self, offset: u64, dst: &mut [u8]) {
        // SAFETY: the range is inside the bounds by the caller, hence readable by invariant (valid).
        unsafe { copy::read_from(self.address(offset), dst) };
    }

    #[inline(always)]
    unsafe fn store_word(&self, offset: u64, value: u64) {
        // SAFETY: 8 bytes inside the bounds by the caller; aligned to 8, since base and offset are.
        let word = unsafe { AtomicU64::from_ptr(self.address(offset).cast::<u64>()) };
        // Relaxed: the Release store of tail that follows publishes it; a free word nobody reads.
        word.store(value, Ordering::Relaxed);
    }

    #[inline(always)]
    unsafe fn load_word(&self, offset: u64) -> u64 {
        // SAFETY: 8 bytes inside the bounds by the caller; aligned to 8, since base and offset are.
        let word = unsafe { AtomicU64::from_ptr(self.address(offset).cast::<u64>()) };
        // Relaxed: the Acquire load of tail that went before ordered it.
        word.load(Ordering::Relaxed)
    }
}
