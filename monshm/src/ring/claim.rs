//! The claim of an endpoint: one process at a time, once in a process, and from a dead claimant.
//!
//! What is done with a claimed endpoint is in `endpoint`.

use std::num::NonZeroU32;
use std::sync::atomic::Ordering;

use monshm_core::{Error, ErrorKind, Operation, Result, Slot};
use monshm_rbuf::Shared;
use monshm_rbuf::memory::Field32;

use crate::segment::Segment;

/// How many claims are tried; only a hostile peer takes an endpoint over and releases it again each time.
const CLAIM_TRIES: u32 = 8;

/// Which endpoint.
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

/// This process's own claim of a role, beside the shared word: it keeps the segment mapped and a second endpoint away.
#[derive(Debug)]
pub(super) struct LocalClaim {
    pub(super) segment: Segment,
    pub(super) role: Role,
}

/// The memory of a claimed endpoint.
pub(super) type ClaimedMemory = Shared<LocalClaim>;

impl Drop for LocalClaim {
    fn drop(&mut self) {
        // Release: pairs with the Acquire in `claim_locally`.
        self.segment.inner().endpoints[self.role as usize].store(false, Ordering::Release);
    }
}

impl Segment {
    /// Claims `role`, or takes it over from a dead claimant. If another process took it over meanwhile and has released
    /// it again, the claim is tried again.
    pub(super) fn claim_endpoint<E>(
        &self,
        role: Role,
        claim: fn(ClaimedMemory, NonZeroU32) -> Result<E, monshm_rbuf::Error>,
        take_over: fn(ClaimedMemory, NonZeroU32, NonZeroU32) -> Result<E, monshm_rbuf::Error>,
    ) -> Result<E> {
        let claimant = self.claimant();
        let mut by = claimant;
        for _ in 0..CLAIM_TRIES {
            let (memory, dead) = self.claim_locally(role)?;
            let claimed = match dead {
                None => claim(memory, claimant),
                Some(dead) => {
                    by = dead;
                    take_over(memory, dead, claimant)
                }
            };
            match claimed {
                Err(monshm_rbuf::Error::NotClaimed) => {}
                claimed => return claimed.map_err(|error| self.ring_error(role.name(), error)),
            }
        }
        Err(Error::new(Operation::Ring, self.claimed(role.name(), by.get())))
    }

    /// That `role` is claimed, and by whom.
    #[cold]
    pub(super) fn claimed(&self, role: &'static str, by: u32) -> ErrorKind {
        let region = self.inner().attachment.region();
        let pid = Slot::from_tag(by).map_or(0, |slot| region.header().recorded(slot).0);
        ErrorKind::Claimed { role, by, pid }
    }

    fn claimant(&self) -> NonZeroU32 {
        // A tag is an index plus one.
        NonZeroU32::new(self.inner().attachment.slot().tag()).unwrap_or(NonZeroU32::MIN)
    }

    /// Makes sure that this process may claim `role`, and tells whose claim it was if that claimant is dead.
    fn claim_locally(&self, role: Role) -> Result<(ClaimedMemory, Option<NonZeroU32>)> {
        let inner = self.inner();
        inner.check_usable(Operation::Ring)?;
        let claimed = |by| Error::new(Operation::Ring, self.claimed(role.name(), by));
        // Acquire: pairs with the Release in `LocalClaim::drop`: one endpoint is over before another begins.
        if inner.endpoints[role as usize].swap(true, Ordering::Acquire) {
            return Err(claimed(self.claimant().get()));
        }
        // From here on dropping the claim, on any way out, gives the role back to this process.
        let claim = LocalClaim { segment: self.clone(), role };
        // SAFETY: the claim owns a handle to the segment.
        let memory = unsafe { self.ring_memory(claim) }?;
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
