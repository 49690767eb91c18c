//! The rings and channels that live in one process, each by its fastest call for one message.
//!
//! Byte rings get the bytes of a message in one piece; queues of values get `[u8; N]`, and as many places as the ring
//! has room.

mod rings;

use std::sync::mpsc;

use super::{Mode, Plan, Receiver, Sender, ThreadTransport};

pub(super) use rings::{Bbqueue, Cueue, Heapless, Ringbuf, Rtrb};

pub(super) struct Crossbeam;

/// An end of a channel that can wait.
pub(super) struct End<T>(T, Mode);

impl<const N: usize> Sender<N> for End<crossbeam_channel::Sender<[u8; N]>> {
    #[inline(always)]
    fn send(&mut self, message: &[u8; N]) -> bool {
        match self.1 {
            Mode::Polled => self.0.try_send(*message).is_ok(),
            Mode::Blocking => self.0.send(*message).is_ok(),
        }
    }
}

impl<const N: usize> Receiver<N> for End<crossbeam_channel::Receiver<[u8; N]>> {
    #[inline(always)]
    fn receive(&mut self, message: &mut [u8; N]) -> bool {
        let received = match self.1 {
            Mode::Polled => self.0.try_recv().ok(),
            Mode::Blocking => self.0.recv().ok(),
        };
        received.inspect(|received| *message = *received).is_some()
    }
}

impl<const N: usize> ThreadTransport<N> for Crossbeam {
    type Sender = End<crossbeam_channel::Sender<[u8; N]>>;
    type Receiver = End<crossbeam_channel::Receiver<[u8; N]>>;

    fn make(plan: &Plan) -> Result<(Self::Sender, Self::Receiver), String> {
        let (sender, receiver) = crossbeam_channel::bounded(plan.places(N)?);
        Ok((End(sender, plan.mode), End(receiver, plan.mode)))
    }
}

/// The standard library's bounded channel.
pub(super) struct Mpsc;

impl<const N: usize> Sender<N> for End<mpsc::SyncSender<[u8; N]>> {
    #[inline(always)]
    fn send(&mut self, message: &[u8; N]) -> bool {
        match self.1 {
            Mode::Polled => self.0.try_send(*message).is_ok(),
            Mode::Blocking => self.0.send(*message).is_ok(),
        }
    }
}

impl<const N: usize> Receiver<N> for End<mpsc::Receiver<[u8; N]>> {
    #[inline(always)]
    fn receive(&mut self, message: &mut [u8; N]) -> bool {
        let received = match self.1 {
            Mode::Polled => self.0.try_recv().ok(),
            Mode::Blocking => self.0.recv().ok(),
        };
        received.inspect(|received| *message = *received).is_some()
    }
}

impl<const N: usize> ThreadTransport<N> for Mpsc {
    type Sender = End<mpsc::SyncSender<[u8; N]>>;
    type Receiver = End<mpsc::Receiver<[u8; N]>>;

    fn make(plan: &Plan) -> Result<(Self::Sender, Self::Receiver), String> {
        let (sender, receiver) = mpsc::sync_channel(plan.places(N)?);
        Ok((End(sender, plan.mode), End(receiver, plan.mode)))
    }
}
