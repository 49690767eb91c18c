//! The rings among them: rtrb, ringbuf, cueue, bbqueue, heapless. None of them can wait.

use super::super::{Plan, Receiver, Sender, ThreadTransport};

pub(in super::super) struct Rtrb;

impl<const N: usize> Sender<N> for rtrb::Producer<u8> {
    #[inline(always)]
    fn send(&mut self, message: &[u8; N]) -> bool {
        self.push_entire_slice(message).is_ok()
    }
}

impl<const N: usize> Receiver<N> for rtrb::Consumer<u8> {
    #[inline(always)]
    fn receive(&mut self, message: &mut [u8; N]) -> bool {
        self.pop_entire_slice(message).is_ok()
    }
}

impl<const N: usize> ThreadTransport<N> for Rtrb {
    type Sender = rtrb::Producer<u8>;
    type Receiver = rtrb::Consumer<u8>;

    fn make(plan: &Plan) -> Result<(Self::Sender, Self::Receiver), String> {
        plan.polled_only("rtrb")?;
        plan.places(N)?;
        Ok(rtrb::RingBuffer::new(plan.ring_len))
    }
}

pub(in super::super) struct Ringbuf;

impl<const N: usize> Sender<N> for ringbuf::HeapProd<u8> {
    #[inline(always)]
    fn send(&mut self, message: &[u8; N]) -> bool {
        use ringbuf::traits::{Observer, Producer};
        self.vacant_len() >= N && self.push_slice(message) == N
    }
}

impl<const N: usize> Receiver<N> for ringbuf::HeapCons<u8> {
    #[inline(always)]
    fn receive(&mut self, message: &mut [u8; N]) -> bool {
        use ringbuf::traits::{Consumer, Observer};
        self.occupied_len() >= N && self.pop_slice(message) == N
    }
}

impl<const N: usize> ThreadTransport<N> for Ringbuf {
    type Sender = ringbuf::HeapProd<u8>;
    type Receiver = ringbuf::HeapCons<u8>;

    fn make(plan: &Plan) -> Result<(Self::Sender, Self::Receiver), String> {
        use ringbuf::traits::Split;
        plan.polled_only("ringbuf")?;
        plan.places(N)?;
        Ok(ringbuf::HeapRb::new(plan.ring_len).split())
    }
}

pub(in super::super) struct Cueue;

impl<const N: usize> Sender<N> for cueue::Writer<u8> {
    #[inline(always)]
    fn send(&mut self, message: &[u8; N]) -> bool {
        match self.write_chunk().get_mut(..N) {
            Some(room) => room.copy_from_slice(message),
            None => return false,
        }
        self.commit(N);
        true
    }
}

impl<const N: usize> Receiver<N> for cueue::Reader<u8> {
    #[inline(always)]
    fn receive(&mut self, message: &mut [u8; N]) -> bool {
        match <&[u8; N]>::try_from(self.limited_read_chunk(N as u64)) {
            Ok(data) => *message = *data,
            Err(_) => return false,
        }
        self.commit();
        true
    }
}

impl<const N: usize> ThreadTransport<N> for Cueue {
    type Sender = cueue::Writer<u8>;
    type Receiver = cueue::Reader<u8>;

    fn make(plan: &Plan) -> Result<(Self::Sender, Self::Receiver), String> {
        plan.polled_only("cueue")?;
        plan.places(N)?;
        cueue::cueue(plan.ring_len).map_err(|error| error.to_string())
    }
}

pub(in super::super) struct Bbqueue;

pub(in super::super) struct BbSender(bbqueue::prod_cons::stream::StreamProducer<std::sync::Arc<Bb>>);
pub(in super::super) struct BbReceiver(bbqueue::prod_cons::stream::StreamConsumer<std::sync::Arc<Bb>>);
type Bb = bbqueue::BBQueue<
    bbqueue::traits::storage::BoxedSlice,
    bbqueue::traits::coordination::cas::AtomicCoord,
    bbqueue::traits::notifier::polling::Polling,
>;

impl<const N: usize> Sender<N> for BbSender {
    #[inline(always)]
    fn send(&mut self, message: &[u8; N]) -> bool {
        match self.0.grant_exact(N) {
            Ok(mut grant) => {
                grant.copy_from_slice(message);
                grant.commit(N);
                true
            }
            Err(_) => false,
        }
    }
}

impl<const N: usize> Receiver<N> for BbReceiver {
    #[inline(always)]
    fn receive(&mut self, message: &mut [u8; N]) -> bool {
        match self.0.read() {
            Ok(grant) => {
                message.copy_from_slice(&grant[..N]);
                grant.release(N);
                true
            }
            Err(_) => false,
        }
    }
}

impl<const N: usize> ThreadTransport<N> for Bbqueue {
    type Sender = BbSender;
    type Receiver = BbReceiver;

    fn make(plan: &Plan) -> Result<(Self::Sender, Self::Receiver), String> {
        plan.polled_only("bbqueue's stream")?;
        // A grant is contiguous, and the last byte is never given.
        if 2 * N > plan.ring_len {
            return Err(format!("a grant of {N} B need not come free in {} B", plan.ring_len));
        }
        let storage = bbqueue::traits::storage::BoxedSlice::new(plan.ring_len);
        let queue = bbqueue::ArcBBQueue::new_with_storage(storage);
        Ok((BbSender(queue.stream_producer()), BbReceiver(queue.stream_consumer())))
    }
}

/// heapless takes its number of places as a const.
pub(in super::super) struct Heapless<const PLACES: usize>;

impl<const N: usize> Sender<N> for heapless::spsc::Producer<'_, [u8; N]> {
    #[inline(always)]
    fn send(&mut self, message: &[u8; N]) -> bool {
        self.enqueue(*message).is_ok()
    }
}

impl<const N: usize> Receiver<N> for heapless::spsc::Consumer<'_, [u8; N]> {
    #[inline(always)]
    fn receive(&mut self, message: &mut [u8; N]) -> bool {
        self.dequeue().inspect(|received| *message = *received).is_some()
    }
}

impl<const N: usize, const PLACES: usize> ThreadTransport<N> for Heapless<PLACES> {
    type Sender = heapless::spsc::Producer<'static, [u8; N]>;
    type Receiver = heapless::spsc::Consumer<'static, [u8; N]>;

    fn make(plan: &Plan) -> Result<(Self::Sender, Self::Receiver), String> {
        plan.polled_only("heapless")?;
        if plan.places(N)? < PLACES {
            return Err("one place is always empty, and there is only one".to_owned());
        }
        // Up to a MiB goes over the stack of a main thread, which has eight. The ends borrow it; the process is short.
        let queue = Box::leak(Box::new(heapless::spsc::Queue::<[u8; N], PLACES>::new()));
        Ok(queue.split())
    }
}
