//! ipc-channel: bytes without serialisation, over the seqpacket socket pair that the crate makes.
//!
//! Its sender has no call that does not wait, and its buffer is the system's default, whatever the plan says.

use ipc_channel::TryRecvError;
use ipc_channel::ipc::{self, IpcBytesReceiver, IpcBytesSender};

use super::{Mode, Plan, Receiver, Sender, Side, Transport};

pub(super) struct Channel {
    sender: IpcBytesSender,
    receiver: IpcBytesReceiver,
    mode: Mode,
}

pub(super) struct Reader {
    receiver: IpcBytesReceiver,
    mode: Mode,
}

impl<const N: usize> Transport<N> for Channel {
    type Sender = IpcBytesSender;
    type Receiver = Reader;

    fn make(plan: &Plan) -> Result<Self, String> {
        let (sender, receiver) = ipc::bytes_channel().map_err(|error| error.to_string())?;
        Ok(Self { sender, receiver, mode: plan.mode })
    }

    fn sender(self, _: Side) -> Result<IpcBytesSender, String> {
        Ok(self.sender)
    }

    fn receiver(self, _: Side) -> Result<Reader, String> {
        Ok(Reader { receiver: self.receiver, mode: self.mode })
    }
}

impl<const N: usize> Sender<N> for IpcBytesSender {
    #[inline(always)]
    fn send(&mut self, message: &[u8; N]) -> bool {
        IpcBytesSender::send(self, message).expect("no fault");
        true
    }
}

impl<const N: usize> Receiver<N> for Reader {
    #[inline(always)]
    fn receive(&mut self, message: &mut [u8; N]) -> bool {
        let received = match self.mode {
            Mode::Blocking => self.receiver.recv().expect("no fault"),
            Mode::Polled => match self.receiver.try_recv() {
                Ok(received) => received,
                Err(TryRecvError::Empty) => return false,
                Err(error) => panic!("{error}"),
            },
        };
        message.copy_from_slice(&received);
        true
    }
}
