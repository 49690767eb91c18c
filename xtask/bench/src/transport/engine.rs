//! The ring's engine alone, `monshm-rbuf`, between two processes over pages that both have: with the adaptive policy
//! and with the plain one, so that what the policy brings can be seen. Nothing of the facade, and no waiting.

use std::marker::PhantomData;
use std::num::NonZeroU32;

use monshm_rbuf::layout::CONTROL_LEN;
use monshm_rbuf::{Bounds, Consumer, Error, Policy, Producer, Shared};

use super::{Plan, Receiver, Sender, Side, Transport};
use crate::machine::Pages;

const ME: NonZeroU32 = NonZeroU32::MIN;

/// Pages with a control block and an empty ring behind it.
pub(crate) struct Ring(Pages, Bounds);

impl Ring {
    pub(crate) fn new(ring_len: usize) -> Self {
        let end = CONTROL_LEN + ring_len;
        let bounds = Bounds::new(CONTROL_LEN as u64, end as u64, end).expect("bounds");
        let ring = Self(Pages::new(end), bounds);
        ring.memory().format();
        ring
    }

    /// The caller keeps the ring for as long as it uses this.
    pub(crate) fn memory(&self) -> Shared {
        // SAFETY: the pages hold the block and the ring, aligned to a page, and are accessed in this way alone; callers
        // keep them mapped while a handle lives.
        unsafe { Shared::new(self.0.base.cast(), self.0.base, self.1, ()) }
    }

    pub(crate) fn producer(&self) -> Producer<Shared> {
        Producer::claim(self.memory(), ME).expect("free")
    }

    pub(crate) fn consumer<P: Policy + Default>(&self) -> Consumer<Shared, P> {
        Consumer::claim_with(self.memory(), ME, P::default()).expect("free")
    }
}

/// Bytes, one call a message, with a policy.
pub(super) struct Engine<P>(Ring, PhantomData<P>);

/// An endpoint, and the pages that it is on, dropped after it.
pub(super) struct Endpoint<T>(T, #[expect(dead_code, reason = "keeps the pages")] Ring);

impl<const N: usize, P: Policy + Default> Transport<N> for Engine<P> {
    type Sender = Endpoint<Producer<Shared>>;
    type Receiver = Endpoint<Consumer<Shared, P>>;

    fn make(plan: &Plan) -> Result<Self, String> {
        plan.polled_only("the engine")?;
        if N >= plan.ring_len {
            return Err(format!("{N} B and one byte are more than {} B", plan.ring_len));
        }
        Ok(Self(Ring::new(plan.ring_len), PhantomData))
    }

    fn sender(self, _: Side) -> Result<Self::Sender, String> {
        Ok(Endpoint(self.0.producer(), self.0))
    }

    fn receiver(self, _: Side) -> Result<Self::Receiver, String> {
        Ok(Endpoint(self.0.consumer(), self.0))
    }
}

/// Whether it went through; false when there is nothing, or no room.
#[inline(always)]
pub(super) fn went_through(outcome: Result<(), Error>) -> bool {
    match outcome {
        Ok(()) => true,
        Err(Error::Full { .. } | Error::Empty { .. }) => false,
        Err(error) => panic!("{error}"),
    }
}

impl<const N: usize> Sender<N> for Endpoint<Producer<Shared>> {
    #[inline(always)]
    fn send(&mut self, message: &[u8; N]) -> bool {
        went_through(self.0.write(message))
    }
}

impl<const N: usize, P: Policy> Receiver<N> for Endpoint<Consumer<Shared, P>> {
    #[inline(always)]
    fn receive(&mut self, message: &mut [u8; N]) -> bool {
        went_through(self.0.read(message))
    }
}
