//! What a consumer may do beyond the plain ring to be faster: spin before it polls, flush what it has read, delay its
//! loads. A policy changes the time that calls take, and no outcome.
//!
//! [`Plain`] does none of it, and costs nothing: its answers are constants. [`Adaptive`] finds out by trial what pays.
//! The trait is sealed: the engine's safety does not rest on a policy, but its questions are not settled for others.

mod adaptive;
mod backoff;
mod tuner;

use core::fmt::Debug;
use core::ops::Range;

use crate::bounds::Bounds;

pub use adaptive::Adaptive;

/// The longest message, bytes, that had better stay in the caches when it comes alone; and what a message is taken for
/// whose length is not known beforehand.
pub(crate) const SHORT: u64 = 511;

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Plain {}
    impl Sealed for super::Adaptive {}
}

/// What a poll found.
#[derive(Clone, Copy, Debug)]
pub struct Burst {
    /// Bytes that were published since the poll before.
    pub(crate) gained: u64,
    /// Bytes of one message, as far as the caller knows.
    pub(crate) message: u64,
}

impl Burst {
    /// Whether it is more than one short message: a stream, and no exchange of single messages.
    #[inline(always)]
    pub(crate) fn is_stream(self) -> bool {
        self.gained > self.message.min(SHORT)
    }
}

/// What the consumer asks at the points where the plain ring would just go on.
///
/// All positions are of the consumer's own ring. Sealed: [`Plain`] and [`Adaptive`] are the policies.
pub trait Policy: sealed::Sealed + Debug {
    /// Whether the loads of data that a poll has found pass through a dependency chain of some cycles, so that a CPU
    /// which mispredicts the poll does not fetch the line that the producer is about to write.
    const DELAYS_LOADS: bool = false;

    /// The consumer starts on a ring, with nothing but `[head, tail)` to read.
    fn start(&mut self, _bounds: Bounds, _head: u64, _tail: u64) {}

    /// Spin-loop hints to take before the poll that comes now. Once: the poll after that one follows at once.
    fn take_spins(&mut self) -> u32 {
        0
    }

    /// A poll in full found data up to `tail`. Polls in line may have found some before.
    fn polled(&mut self, _head: u64, _tail: u64, _found: Burst, _clock: impl FnOnce() -> Option<u64>) {}

    /// Bytes that polls in line may find before one in full is due.
    fn horizon(&self) -> u64 {
        u64::MAX
    }

    /// A poll in line found data; `head` is the first byte that was not read.
    fn found(&mut self, _head: u64, _found: Burst) {}

    /// Whether lines before `head`, which are about to be released, are to be flushed first.
    fn is_flush_due(&self, _head: u64) -> bool {
        false
    }

    /// The lines to flush: from the last flush on, over the end of the ring if need be.
    fn take_flush(&mut self, _head: u64) -> [Range<u64>; 2] {
        [0..0, 0..0]
    }
}

/// The plain ring: polls at once, flushes nothing, reads no clock.
///
/// For a consumer that must not spin or read the CPU's clock, and to see what [`Adaptive`] brings.
///
/// # Examples
/// ```
/// # use core::num::NonZeroU32;
/// use monshm_rbuf::{Consumer, Plain, Producer, StaticRing};
/// let ring = StaticRing::<64>::new();
/// let mut producer = Producer::claim(ring.memory(), NonZeroU32::MIN)?;
/// let mut consumer = Consumer::claim_with(ring.memory(), NonZeroU32::MIN, Plain)?;
/// producer.write(b"data")?;
/// consumer.read(&mut [0; 4])?;
/// # Ok::<(), monshm_rbuf::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

impl Policy for Plain {}
