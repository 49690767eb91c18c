//! What producer and consumer have in common: the exclusive claim of a role, its release, the closed flag and the
//! waiting flag.
//!
//! It does not decide who is dead (the layer above does, and calls `take_over`), and it never sleeps.
//!
//! ```text
//! claim word   0                  free
//!              claimant           held; changed to 0 by its holder, to another claimant by take_over
//! closed word  0                  open, or never claimed
//!              anything else      the role ends; set before the claim is released, reset by the next claim
//! ```

use core::marker::PhantomData;
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
pub(crate) struct ProducerRole;
#[derive(Debug)]
pub(crate) struct ConsumerRole;

impl Role for ProducerRole {
    const CLAIM: Field32 = Field32::ProducerClaim;
    const CLOSED: Field32 = Field32::ProducerClosed;
    const WAITING: Field32 = Field32::ProducerWaiting;
    type Peer = ConsumerRole;
}

impl Role for ConsumerRole {
    const CLAIM: Field32 = Field32::ConsumerClaim;
    const CLOSED: Field32 = Field32::ConsumerClosed;
    const WAITING: Field32 = Field32::ConsumerWaiting;
    type Peer = ProducerRole;
}

/// A claimed role on a memory; released when dropped.
#[derive(Debug)]
pub(crate) struct Claim<M: Memory, R: Role> {
    pub(crate) memory: M,
    pub(crate) claimant: NonZeroU32,
    role: PhantomData<R>,
}

impl<M: Memory, R: Role> Claim<M, R> {
    /// Claims a free role.
    pub(crate) fn new(memory: M, claimant: NonZeroU32) -> Result<Self, Error> {
        Self::replace(memory, 0, claimant)
    }

    /// Claims a role that `dead` holds.
    pub(crate) fn take_over(memory: M, dead: NonZeroU32, claimant: NonZeroU32) -> Result<Self, Error> {
        Self::replace(memory, dead.get(), claimant)
    }

    fn replace(memory: M, holder: u32, claimant: NonZeroU32) -> Result<Self, Error> {
        // Acquire pairs with the Release in `drop`: what the last holder stored is seen. In a take-over the dead
        // released nothing; the notice of its death, which the layer above has received, orders that.
        match memory.compare_exchange32(R::CLAIM, holder, claimant.get(), Acquire) {
            Ok(_) => {
                // Relaxed: no other data depends on a role being open.
                memory.store32(R::CLOSED, 0, Relaxed);
                Ok(Claim { memory, claimant, role: PhantomData })
            }
            Err(found) => Err(match NonZeroU32::new(found) {
                Some(by) => Error::Claimed { by },
                None => Error::NotClaimed,
            }),
        }
    }

    pub(crate) fn close(&self) {
        // Release pairs with the Acquire in `is_peer_closed`: a peer that sees the role closed sees all its stores of
        // its index.
        self.memory.store32(R::CLOSED, 1, Release);
    }

    pub(crate) fn is_peer_closed(&self) -> bool {
        // Acquire pairs with the Release in `close`.
        self.memory.load32(<R::Peer as Role>::CLOSED, Acquire) != 0
    }

    pub(crate) fn peer(&self) -> Option<NonZeroU32> {
        // Relaxed: a hint, to be asked of the layer above.
        NonZeroU32::new(self.memory.load32(<R::Peer as Role>::CLAIM, Relaxed))
    }

    pub(crate) fn begin_wait(&self) {
        self.memory.store32(R::WAITING, 1, Relaxed);
        // Pairs with the fence in `take_peer_wait`: either that side sees the flag, or the poll that follows here sees
        // what that side published before its fence.
        self.memory.fence();
    }

    pub(crate) fn end_wait(&self) {
        // Relaxed: a flag that stays set a little longer costs the peer one wake-up too many.
        self.memory.store32(R::WAITING, 0, Relaxed);
    }

    pub(crate) fn take_peer_wait(&self) -> bool {
        // Pairs with the fence in `begin_wait`.
        self.memory.light_fence();
        if self.memory.load32(<R::Peer as Role>::WAITING, Relaxed) == 0 {
            return false;
        }
        self.memory.store32(<R::Peer as Role>::WAITING, 0, Relaxed);
        true
    }
}

impl<M: Memory, R: Role> Drop for Claim<M, R> {
    /// Closes and releases the role, unless another claimant took it over.
    fn drop(&mut self) {
        if self.memory.load32(R::CLAIM, Relaxed) != self.claimant.get() {
            return;
        }
        self.close();
        // Release pairs with the Acquire of the next claim, and of locked use. A failure means that the role was
        // taken over since: then it is not ours to release.
        let _ = self.memory.compare_exchange32(R::CLAIM, self.claimant.get(), 0, Release);
    }
}

/// The methods that both endpoints have, each by its claim.
macro_rules! endpoint {
    ($endpoint:ident $(, $policy:ident: $bound:ident)?) => {
        impl<M: Memory $(, $policy: $bound)?> $endpoint<M $(, $policy)?> {
            /// The most bytes that the ring can hold: its size less 1.
            pub fn capacity(&self) -> usize {
                self.cursor.bounds().capacity()
            }

            /// Who claimed the role: this handle.
            pub fn claimant(&self) -> NonZeroU32 {
                self.claim.claimant
            }

            /// Who claims the other role now, as the shared word says. The peer may change it at any time.
            pub fn peer(&self) -> Option<NonZeroU32> {
                self.claim.peer()
            }

            /// Tells the other side that this one ends. Dropping the handle does the same.
            ///
            /// # Examples
            /// ```
            /// # let memory = monshm_rbuf::StaticRing::<64>::new();
            /// # let (memory, me) = (memory.memory(), core::num::NonZeroU32::MIN);
            /// # let mut producer = monshm_rbuf::Producer::claim(memory, me)?;
            /// # let consumer = monshm_rbuf::Consumer::claim(memory, me)?;
            /// producer.close();
            /// assert!(consumer.is_closed() && !consumer.is_abandoned());
            /// drop(producer);
            /// assert!(consumer.is_abandoned());
            /// # Ok::<(), monshm_rbuf::Error>(())
            /// ```
            pub fn close(&mut self) {
                self.claim.close();
            }

            /// Whether the other side has ended: closed or dropped its handle.
            ///
            /// A consumer that sees this can read all that was written before: ask first, then read until
            /// [`Error::Empty`].
            pub fn is_closed(&self) -> bool {
                self.claim.is_peer_closed()
            }

            /// Whether the other side has ended and nobody holds its role.
            ///
            /// A side that was killed still holds it: ask the layer above whether [`peer`](Self::peer) lives.
            pub fn is_abandoned(&self) -> bool {
                self.is_closed() && self.peer().is_none()
            }

            /// Announces that this side is about to sleep until the other one moves.
            ///
            /// Then try once more, and sleep only if that fails too: what the other side does unseen by that try will
            /// find the announcement.
            ///
            /// # Examples
            /// ```
            /// # let memory = monshm_rbuf::StaticRing::<64>::new();
            /// # let (memory, me) = (memory.memory(), core::num::NonZeroU32::MIN);
            /// # let mut producer = monshm_rbuf::Producer::claim(memory, me)?;
            /// # let mut consumer = monshm_rbuf::Consumer::claim(memory, me)?;
            /// consumer.begin_wait();
            /// assert!(consumer.read(&mut [0; 4]).is_err(), "nothing yet: sleep here");
            /// producer.write(b"data")?;
            /// assert!(producer.take_peer_wait(), "wake the consumer here");
            /// consumer.end_wait();
            /// consumer.read(&mut [0; 4])?;
            /// # Ok::<(), monshm_rbuf::Error>(())
            /// ```
            pub fn begin_wait(&self) {
                self.claim.begin_wait();
            }

            /// Takes the announcement back, after the sleep or instead of it; see [`begin_wait`](Self::begin_wait).
            pub fn end_wait(&self) {
                self.claim.end_wait();
            }

            /// After a publication or a release: whether the other side has announced a sleep, and must be woken.
            /// Clears the announcement; see [`begin_wait`](Self::begin_wait).
            ///
            /// Costs a full fence, unless the memory says
            /// [`assume_membarrier`](crate::Shared::assume_membarrier). A caller whose peer never sleeps need not ask.
            pub fn take_peer_wait(&self) -> bool {
                self.claim.take_peer_wait()
            }

            /// The memory it was claimed on.
            pub fn memory(&self) -> &M {
                &self.claim.memory
            }
        }
    };
}
pub(crate) use endpoint;
