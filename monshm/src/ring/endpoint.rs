//! What both endpoints do around each call of the engine: refuse a handle that cannot be used, translate errors, wake
//! the other side, and close when they are dropped.
//!
//! How an endpoint waits is in `wait`.

use std::mem::ManuallyDrop;
use std::num::NonZeroU32;
use std::sync::atomic::AtomicU32;

use monshm_core::{Error, Operation, Result, Slot};

use super::claim::{ClaimedMemory, LocalClaim, Role};
use crate::sys;

/// What the two engines have in common.
pub(super) trait Engine {
    fn memory(&self) -> &ClaimedMemory;
    fn close(&mut self);
    fn begin_wait(&self);
    fn end_wait(&self);
    fn take_peer_wait(&self) -> bool;
    fn peer_closed(&self) -> bool;
    fn peer(&self) -> Option<NonZeroU32>;
}

macro_rules! engine {
    ($($engine:ident)+) => {$(
        impl Engine for monshm_rbuf::$engine<ClaimedMemory> {
            #[inline(always)]
            fn memory(&self) -> &ClaimedMemory {
                self.memory()
            }
            fn close(&mut self) {
                self.close();
            }
            fn begin_wait(&self) {
                self.begin_wait();
            }
            fn end_wait(&self) {
                self.end_wait();
            }
            #[inline(always)]
            fn take_peer_wait(&self) -> bool {
                self.take_peer_wait()
            }
            fn peer_closed(&self) -> bool {
                self.is_closed()
            }
            fn peer(&self) -> Option<NonZeroU32> {
                self.peer()
            }
        }
    )+};
}

engine!(Producer Consumer);

/// A claimed endpoint. Dropping it closes it and wakes the other side; in a forked child, which holds a copy of its
/// parent's endpoint, dropping it does nothing.
#[derive(Debug)]
pub(super) struct Endpoint<E: Engine>(ManuallyDrop<E>);

impl<E: Engine> Endpoint<E> {
    pub(super) fn new(engine: E) -> Self {
        Self(ManuallyDrop::new(engine))
    }

    #[inline(always)]
    pub(super) fn engine(&self) -> &E {
        &self.0
    }

    /// The engine, if the handle may be used.
    ///
    /// # Errors
    /// `MemoryLost`, `Poisoned`, `Forked`.
    #[inline(always)]
    pub(super) fn usable(&mut self) -> Result<&mut E> {
        self.claim().segment.inner().check_usable(Operation::Ring)?;
        Ok(&mut self.0)
    }

    /// One call of the engine, which publishes or releases when it succeeds.
    #[inline(always)]
    pub(super) fn call<T>(&mut self, work: impl FnOnce(&mut E) -> Result<T, monshm_rbuf::Error>) -> Result<T> {
        let outcome = work(self.usable()?);
        match outcome {
            Ok(value) => {
                wake_peer(self.engine());
                Ok(value)
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    /// One try of the engine, which publishes or releases when it gives a value.
    #[inline(always)]
    pub(super) fn attempt<T>(
        &mut self,
        work: impl FnOnce(&mut E) -> Result<Option<T>, monshm_rbuf::Error>,
    ) -> Result<Option<T>> {
        let outcome = self.inspect(work)?;
        if outcome.is_some() {
            wake_peer(self.engine());
        }
        Ok(outcome)
    }

    /// One call of the engine that changes nothing for the other side.
    #[inline(always)]
    pub(super) fn inspect<T>(&mut self, work: impl FnOnce(&mut E) -> Result<T, monshm_rbuf::Error>) -> Result<T> {
        let outcome = work(self.usable()?);
        outcome.map_err(|error| self.failed(error))
    }

    #[inline(always)]
    pub(super) fn claim(&self) -> &LocalClaim {
        self.0.memory().keep()
    }

    #[cold]
    pub(super) fn failed(&self, error: monshm_rbuf::Error) -> Error {
        self.claim().segment.ring_error(self.claim().role.name(), error)
    }

    /// The word on which the endpoint of `role` sleeps.
    pub(super) fn waiting_word(&self, role: Role) -> &AtomicU32 {
        self.0.memory().word32(role.waiting_word())
    }

    /// Whether the other side has closed, or its process has died.
    pub(super) fn is_peer_gone(&self) -> bool {
        let slot = self.0.peer().and_then(|tag| Slot::from_tag(tag.get()));
        let liveness = || self.claim().segment.inner().attachment.liveness();
        self.0.peer_closed() || slot.is_some_and(|slot| !liveness().is_alive(slot))
    }
}

impl<E: Engine> Drop for Endpoint<E> {
    fn drop(&mut self) {
        if is_forked(self.engine()) {
            return;
        }
        self.0.close();
        wake_peer(self.engine());
        // SAFETY: dropped once, here; nothing uses it afterwards.
        unsafe { ManuallyDrop::drop(&mut self.0) };
    }
}

/// Whether this process is a forked child of the one that claimed the endpoint.
pub(super) fn is_forked(engine: &impl Engine) -> bool {
    engine.memory().keep().segment.inner().health.is_forked()
}

/// Wakes the other side if it sleeps, after a publication, a release or a close.
#[inline(always)]
pub(super) fn wake_peer(engine: &impl Engine) {
    if engine.take_peer_wait() {
        send_wake(engine);
    }
}

#[cold]
fn send_wake(engine: &impl Engine) {
    let memory = engine.memory();
    sys::futex_wake(memory.word32(memory.keep().role.other().waiting_word()));
}
