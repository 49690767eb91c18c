//! A ring and its bytes in one value, for threads of a process, an interrupt, or a program without an OS.
//!
//! Nothing here is shared between processes unless the value lies in memory that is.

use core::cell::UnsafeCell;
use core::ptr::NonNull;

use crate::bounds::Bounds;
use crate::layout::{CONTROL_LEN, Control};
use crate::memory::Shared;

/// A ring with its control block and its N bytes in one value: a static, or a local that threads borrow.
///
/// N is a multiple of 8, at least 8; the ring holds at most N − 1 bytes.
///
/// # Examples
/// ```
/// # use core::num::NonZeroU32;
/// # use monshm_rbuf::{StaticRing, Ring};
/// static RING: StaticRing<64> = StaticRing::new();
/// let ring = Ring::new(RING.memory());
/// ring.append(b"abc")?;
/// assert_eq!((ring.len()?, ring.avail()?), (3, 60));
/// # Ok::<(), monshm_rbuf::Error>(())
/// ```
#[repr(C, align(128))]
#[derive(Debug)]
pub struct StaticRing<const N: usize> {
    control: Control,
    bytes: UnsafeCell<[u8; N]>,
}

// SAFETY: the control block is atomics; the bytes are reached through `Shared` only, whose copies are atomic
// or opaque to the compiler and so may run beside each other.
unsafe impl<const N: usize> Sync for StaticRing<N> {}

impl<const N: usize> StaticRing<N> {
    const BOUNDS: Bounds = match Bounds::new(CONTROL_LEN as u64, (CONTROL_LEN + N) as u64, CONTROL_LEN + N) {
        Ok(bounds) => bounds,
        Err(_) => panic!("N must be a multiple of 8, and not 0"),
    };

    /// An empty ring. A wrong N is refused when the program is compiled.
    pub const fn new() -> Self {
        StaticRing { control: Control::new(Self::BOUNDS), bytes: UnsafeCell::new([0; N]) }
    }

    /// The memory to build a [`Ring`](crate::Ring), [`Producer`](crate::Producer) or
    /// [`Consumer`](crate::Consumer) on.
    #[inline]
    pub const fn memory(&self) -> Shared<&Self> {
        // SAFETY: a reference is not null.
        let base = unsafe { NonNull::new_unchecked(core::ptr::from_ref(self).cast_mut()) };
        // SAFETY: `self` is borrowed by the result, so both parts stay valid and shared; the control block is
        // at offset 0 and N bytes follow at CONTROL_LEN (repr(C), align 128, asserted below by BOUNDS); all of
        // it is atomics or UnsafeCell, so `base` may write through.
        unsafe { Shared::new(base.cast(), base.cast(), Self::BOUNDS, self) }
    }
}

impl<const N: usize> Default for StaticRing<N> {
    fn default() -> Self {
        Self::new()
    }
}

const _: () = assert!(core::mem::offset_of!(StaticRing<8>, bytes) == CONTROL_LEN);
