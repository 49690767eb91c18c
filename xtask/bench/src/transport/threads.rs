//! The rings and channels that live in one process, each by its fastest call for one message.
//!
//! Byte rings get the bytes of a message in one piece; queues of values get `[u8; N]`, and as many places as the ring
//! has room.

mod rings;

use std::sync::mpsc;

use super::{Mode, Plan, Receiver, Sender, ThreadTransport};

pub(super) use rings::{Bbqueue, Cueue, Heapless, Ringbuf, Rtrb};

/// One side of a channel that can wait.
pub(super) struct Channel<T>(T, Mode);

/// crossbeam-channel and std give their ends the same methods under different types.
macro_rules! channel {
    ($transport:ident, $sender:ty, $receiver:ty, $make:path) => {
        pub(super) struct $transport;

        impl<const N: usize> Sender<N> for Channel<$sender> {
            #[inline(always)]
            fn send(&mut self, message: &[u8; N]) -> bool {
                match self.1 {
                    Mode::Polled => self.0.try_send(*message).is_ok(),
                    Mode::Blocking => self.0.send(*message).is_ok(),
                }
            }
        }

        impl<const N: usize> Receiver<N> for Channel<$receiver> {
            #[inline(always)]
            fn receive(&mut self, message: &mut [u8; N]) -> bool {
                let received = match self.1 {
                    Mode::Polled => self.0.try_recv().ok(),
                    Mode::Blocking => self.0.recv().ok(),
                };
                received.inspect(|received| *message = *received).is_some()
            }
        }

        impl<const N: usize> ThreadTransport<N> for $transport {
            type Sender = Channel<$sender>;
            type Receiver = Channel<$receiver>;

            fn make(plan: &Plan) -> Result<(Self::Sender, Self::Receiver), String> {
                let (sender, receiver) = $make(plan.places(N)?);
                Ok((Channel(sender, plan.mode), Channel(receiver, plan.mode)))
            }
        }
    };
}

channel!(
    Crossbeam,
    crossbeam_channel::Sender<[u8; N]>,
    crossbeam_channel::Receiver<[u8; N]>,
    crossbeam_channel::bounded
);
channel!(Mpsc, mpsc::SyncSender<[u8; N]>, mpsc::Receiver<[u8; N]>, mpsc::sync_channel);
