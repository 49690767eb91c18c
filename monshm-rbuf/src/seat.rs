//! What producer and consumer have in common: the exclusive claim of a role, its release, the closed flag and
//! the waiting flag.
//!
//! It does not decide who is dead (the layer above does and calls `take_over`), and it never sleeps.
//!
//! ```text
//! claim word   0                  free
//!              claimant           held; changed to 0 by its holder, to another claimant by take_over
//! closed word  0                  open, or never claimed
//!              anything else      the role ends; set before the claim is released, reset by the next claim
//! ```

use core::num::NonZeroU32;
use core::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::error::Error;
use crate::memory::{Field32, Memory};

/// A role's words, and those of the role on the other side.
pub(crate) trait Role {
    const CLAIM: Field32;
    const CLOSED: Field32;
    const WAITING: Field32;
    type Peer: Role;
}

#[derive(Debug)]
pub(crate) struct AsProducer;
#[derive(Debug)]
pub(crate) struct AsConsumer;

impl Role for AsProducer {
    const CLAIM: Field32 = Field32::ProducerClaim;
    const CLOSED: Field32 = Field32::ProducerClosed;
    const WAITING: Field32 = Field32::ProducerWaiting;
    type Peer = AsConsumer;
}

impl Role for AsConsumer {
    const CLAIM: Field32 = Field32::ConsumerClaim;
    const CLOSED: Field32 = Field32::ConsumerClosed;
    const WAITING: Field32 = Field32::ConsumerWaiting;
    type Peer = AsProducer;
}

/// A claimed role on a memory; released when dropped.
#[derive(Debug)]
pub(crate) struct Seat<M: Memory, R: Role> {
    pub(crate) memory: M,
    claimant: NonZeroU32,
    role: core::marker::PhantomData<R>,
}

impl<M: Memory, R: Role> Seat<M, R> {
    /// Claims a free role.
    pub(crate) fn claim(memory: M, claimant: NonZeroU32) -> Result<Self, Error> {
        Self::replace(memory, 0, claimant)
    }

    /// Claims a role that `dead` holds.
    pub(crate) fn take_over(memory: M, dead: NonZeroU32, claimant: NonZeroU32) -> Result<Self, Error> {
        Self::replace(memory, dead.get(), claimant)
    }

    fn replace(memory: M, from: u32, claimant: NonZeroU32) -> Result<Self, Error> {
        // Acquire pairs with the Release in `drop`: what the last holder stored is seen. In a take-over the
        // dead released nothing; the notice of its death, which the layer above has received, orders that.
        match memory.compare_exchange32(R::CLAIM, from, claimant.get(), Acquire) {
            Ok(_) => {
                // Relaxed: no other data hangs on a role being open.
                memory.store32(R::CLOSED, 0, Relaxed);
                Ok(Seat { memory, claimant, role: core::marker::PhantomData })
            }
            Err(found) => Err(match NonZeroU32::new(found) {
                Some(by) => Error::Claimed { by },
                None => Error::NotClaimed,
            }),
        }
    }

    pub(crate) fn claimant(&self) -> NonZeroU32 {
        self.claimant
    }

    /// Tells the other side that this role ends.
    pub(crate) fn close(&self) {
        // Release pairs with the Acquire in `peer_closed`: who sees the role closed sees all its stores of
        // its index.
        self.memory.store32(R::CLOSED, 1, Release);
    }

    pub(crate) fn peer_closed(&self) -> bool {
        // Acquire pairs with the Release in `close`.
        self.memory.load32(<R::Peer as Role>::CLOSED, Acquire) != 0
    }

    pub(crate) fn peer(&self) -> Option<NonZeroU32> {
        // Relaxed: a hint, to be asked of the layer above.
        NonZeroU32::new(self.memory.load32(<R::Peer as Role>::CLAIM, Relaxed))
    }

    /// Announces that this side is about to sleep; its caller looks at the ring once more, then sleeps.
    pub(crate) fn begin_wait(&self) {
        self.memory.store32(R::WAITING, 1, Relaxed);
        // Pairs with the fence in `take_peer_wait`: either that side sees the flag, or the look at the ring
        // that follows here sees what that side published before its fence.
        self.memory.fence();
    }

    pub(crate) fn end_wait(&self) {
        // Relaxed: a flag that stays up a little longer costs the peer one wake-up too many.
        self.memory.store32(R::WAITING, 0, Relaxed);
    }

    /// Whether the peer must be woken, after a publication; lowers its flag.
    pub(crate) fn take_peer_wait(&self) -> bool {
        // Pairs with the fence in `begin_wait`.
        self.memory.wake_fence();
        if self.memory.load32(<R::Peer as Role>::WAITING, Relaxed) == 0 {
            return false;
        }
        self.memory.store32(<R::Peer as Role>::WAITING, 0, Relaxed);
        true
    }
}

impl<M: Memory, R: Role> Drop for Seat<M, R> {
    /// Closes and releases the role, unless another claimant took it over.
    fn drop(&mut self) {
        if self.memory.load32(R::CLAIM, Relaxed) != self.claimant.get() {
            return;
        }
        self.close();
        // Release pairs with the Acquire of the next claim, and of locked use. A failure means that the role was taken over
        // since: then it is not ours to release.
        let _ = self.memory.compare_exchange32(R::CLAIM, self.claimant.get(), 0, Release);
    }
}
