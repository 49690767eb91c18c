//! Claiming an end of the ring: one process at a time, once in a process, and from the dead.
//!
//! What is done with an end is `ring`'s and `waiting`'s.

use std::num::NonZeroU32;
use std::sync::atomic::Ordering;

use monshm_core::{Error, ErrorKind, Operation, Result, Slot};
use monshm_rbuf::Shared;
use monshm_rbuf::memory::Field32;

use crate::segment::Segment;

/// How often a claim is looked at that only a hostile peer changes each time.
const CLAIM_TRIES: u32 = 8;

/// Which end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Producer = 0,
    Consumer = 1,
}

impl Role {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        }
    }

    fn claim_word(self) -> Field32 {
        match self {
            Self::Producer => Field32::ProducerClaim,
            Self::Consumer => Field32::ConsumerClaim,
        }
    }

    pub(super) fn waiting_word(self) -> Field32 {
        match self {
            Self::Producer => Field32::ProducerWaiting,
            Self::Consumer => Field32::ConsumerWaiting,
        }
    }

    pub(super) fn other(self) -> Self {
        match self {
            Self::Producer => Self::Consumer,
            Self::Consumer => Self::Producer,
        }
    }
}

/// What an end of the ring keeps: the mapping, and the knowledge that this process has the role.
#[derive(Debug)]
pub struct End {
    pub(super) segment: Segment,
    pub(super) role: Role,
}

impl Drop for End {
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `claim`.
        self.segment.inner().ends[self.role as usize].store(false, Ordering::Release);
    }
}

impl Segment {
    /// Claims `role`, or takes it over from the dead. Who finds that somebody else took it over meanwhile and has let go
    /// of it again looks anew.
    pub(super) fn seat<E>(
        &self,
        role: Role,
        claim: fn(Shared<End>, NonZeroU32) -> Result<E, monshm_rbuf::Error>,
        take_over: fn(Shared<End>, NonZeroU32, NonZeroU32) -> Result<E, monshm_rbuf::Error>,
    ) -> Result<E> {
        let me = self.claimant();
        let mut by = me;
        for _ in 0..CLAIM_TRIES {
            let (memory, dead) = self.claim(role)?;
            let seat = match dead {
                None => claim(memory, me),
                Some(dead) => {
                    by = dead;
                    take_over(memory, dead, me)
                }
            };
            match seat {
                Err(monshm_rbuf::Error::NotClaimed) => {}
                seat => return seat.map_err(|error| self.ring_error(role.name(), error)),
            }
        }
        Err(Error::new(Operation::Ring, ErrorKind::Claimed { role: role.name(), by: by.get() }))
    }

    fn claimant(&self) -> NonZeroU32 {
        // A tag is an index plus one.
        NonZeroU32::new(self.inner().attachment.slot().tag()).unwrap_or(NonZeroU32::MIN)
    }

    /// Makes sure that this process may claim `role`, and tells whose it was if that one is dead.
    fn claim(&self, role: Role) -> Result<(Shared<End>, Option<NonZeroU32>)> {
        let inner = self.inner();
        inner.check_usable(Operation::Ring)?;
        let claimed = |by| Error::new(Operation::Ring, ErrorKind::Claimed { role: role.name(), by });
        // Acquire: pairs with the Release in `End::drop`, so that one thread's end is over before another's begins.
        if inner.ends[role as usize].swap(true, Ordering::Acquire) {
            return Err(claimed(self.claimant().get()));
        }
        // From here on dropping the memory, on any way out, gives the role back to this process.
        let memory = self.memory_of_ring(End { segment: self.clone(), role })?;
        let by = memory.word32(role.claim_word()).load(Ordering::Acquire);
        let Some(holder) = NonZeroU32::new(by) else { return Ok((memory, None)) };
        // A claim in our name that we did not make is that of a dead process whose slot came to us.
        let alive = match Slot::from_tag(by) {
            Some(slot) => slot != inner.attachment.slot() && inner.attachment.liveness().is_alive(slot),
            None => false,
        };
        if alive { Err(claimed(by)) } else { Ok((memory, Some(holder))) }
    }
}
