//! shmem-ipc: a ring of messages in a memfd, with eventfds to wait on. Made before the fork; each process opens its end
//! over the inherited descriptors.
//!
//! The crate signals its eventfds by itself when the ring was empty or full, in a polled use too: that is its call.

use std::fs::File;

use shmem_ipc::sharedring;

use super::{Mode, Plan, Receiver, Sender, Side, Transport};

pub(super) struct SharedRing {
    places: usize,
    memory: File,
    empty: File,
    full: File,
    mode: Mode,
}

pub(super) struct Endpoint<T> {
    ring: T,
    mode: Mode,
}

impl<const N: usize> Transport<N> for SharedRing {
    type Sender = Endpoint<sharedring::Sender<[u8; N]>>;
    type Receiver = Endpoint<sharedring::Receiver<[u8; N]>>;

    fn make(plan: &Plan) -> Result<Self, String> {
        let places = plan.places(N)?;
        let text = |error: &dyn std::fmt::Display| format!("shmem-ipc: {error}");
        let made = sharedring::Sender::<[u8; N]>::new(places).map_err(|error| text(&error))?;
        let copy = |file: &File| file.try_clone().map_err(|error| text(&error));
        Ok(Self {
            places,
            memory: copy(made.memfd().as_file())?,
            empty: copy(made.empty_signal())?,
            full: copy(made.full_signal())?,
            mode: plan.mode,
        })
    }

    fn sender(self, _: Side) -> Result<Self::Sender, String> {
        let ring = sharedring::Sender::open(self.places, self.memory, self.empty, self.full)
            .map_err(|error| error.to_string())?;
        Ok(Endpoint { ring, mode: self.mode })
    }

    fn receiver(self, _: Side) -> Result<Self::Receiver, String> {
        let ring = sharedring::Receiver::open(self.places, self.memory, self.empty, self.full)
            .map_err(|error| error.to_string())?;
        Ok(Endpoint { ring, mode: self.mode })
    }
}

impl<const N: usize> Sender<N> for Endpoint<sharedring::Sender<[u8; N]>> {
    #[inline(always)]
    fn send(&mut self, message: &[u8; N]) -> bool {
        if self.mode == Mode::Blocking {
            self.ring.block_until_writable().expect("no fault");
        }
        let mut sent = false;
        let place = |to: *mut [u8; N], _| {
            // SAFETY: the crate gives room for at least one message.
            unsafe { to.copy_from_nonoverlapping(message, 1) };
            sent = true;
            1
        };
        self.ring.send_raw(place).expect("no fault");
        sent
    }
}

impl<const N: usize> Receiver<N> for Endpoint<sharedring::Receiver<[u8; N]>> {
    #[inline(always)]
    fn receive(&mut self, message: &mut [u8; N]) -> bool {
        if self.mode == Mode::Blocking {
            self.ring.block_until_readable().expect("no fault");
        }
        let mut received = false;
        let take = |from: *const [u8; N], _| {
            // SAFETY: the crate gives at least one message.
            unsafe { from.copy_to_nonoverlapping(message, 1) };
            received = true;
            1
        };
        self.ring.receive_raw(take).expect("no fault");
        received
    }
}
