//! The thread-only rings that ours is compared with, each by its fastest call for one message.
//!
//! Byte rings get the bytes of a message in one piece; queues of values get `[u8; N]`, and as many places as
//! the ring has room.

use super::{Load, Receiver, Sender, in_threads};

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

pub(super) fn rtrb<const N: usize>(load: Load) -> u64 {
    let (producer, consumer) = rtrb::RingBuffer::<u8>::new(load.ring_len);
    in_threads::<N>(load, producer, consumer)
}

/// Write and read of 8 bytes in one thread, ns.
pub(super) fn rtrb_alone(core: usize) -> f64 {
    let (mut producer, mut consumer) = rtrb::RingBuffer::<u8>::new(1 << 16);
    super::ours::time_alone(core, |bytes| {
        producer.push_entire_slice(bytes).expect("room");
        consumer.pop_entire_slice(bytes).expect("data");
    })
}

struct Ringbuf<T>(T);

impl<const N: usize, T: ringbuf::traits::Producer<Item = u8>> Sender<N> for Ringbuf<T> {
    #[inline(always)]
    fn send(&mut self, message: &[u8; N]) -> bool {
        self.0.vacant_len() >= N && self.0.push_slice(message) == N
    }
}

impl<const N: usize, T: ringbuf::traits::Consumer<Item = u8>> Receiver<N> for Ringbuf<T> {
    #[inline(always)]
    fn receive(&mut self, message: &mut [u8; N]) -> bool {
        self.0.occupied_len() >= N && self.0.pop_slice(message) == N
    }
}

pub(super) fn ringbuf<const N: usize>(load: Load) -> u64 {
    use ringbuf::traits::Split;
    let (producer, consumer) = ringbuf::HeapRb::<u8>::new(load.ring_len).split();
    in_threads::<N>(load, Ringbuf(producer), Ringbuf(consumer))
}

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

pub(super) fn cueue<const N: usize>(load: Load) -> u64 {
    let (writer, reader) = cueue::cueue::<u8>(load.ring_len).expect("memory");
    in_threads::<N>(load, writer, reader)
}

struct BbSender(bbqueue::prod_cons::stream::StreamProducer<std::sync::Arc<Bb>>);
struct BbReceiver(bbqueue::prod_cons::stream::StreamConsumer<std::sync::Arc<Bb>>);
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

pub(super) fn bbqueue<const N: usize>(load: Load) -> u64 {
    let storage = bbqueue::traits::storage::BoxedSlice::new(load.ring_len);
    let queue = bbqueue::ArcBBQueue::new_with_storage(storage);
    in_threads::<N>(load, BbSender(queue.stream_producer()), BbReceiver(queue.stream_consumer()))
}

impl<const N: usize> Sender<N> for crossbeam_channel::Sender<[u8; N]> {
    #[inline(always)]
    fn send(&mut self, message: &[u8; N]) -> bool {
        self.try_send(*message).is_ok()
    }
}

impl<const N: usize> Receiver<N> for crossbeam_channel::Receiver<[u8; N]> {
    #[inline(always)]
    fn receive(&mut self, message: &mut [u8; N]) -> bool {
        match self.try_recv() {
            Ok(received) => {
                *message = received;
                true
            }
            Err(_) => false,
        }
    }
}

pub(super) fn crossbeam<const N: usize>(load: Load) -> u64 {
    let (sender, receiver) = crossbeam_channel::bounded::<[u8; N]>(load.ring_len / N);
    in_threads::<N>(load, sender, receiver)
}

impl<const N: usize> Sender<N> for heapless::spsc::Producer<'_, [u8; N]> {
    #[inline(always)]
    fn send(&mut self, message: &[u8; N]) -> bool {
        self.enqueue(*message).is_ok()
    }
}

impl<const N: usize> Receiver<N> for heapless::spsc::Consumer<'_, [u8; N]> {
    #[inline(always)]
    fn receive(&mut self, message: &mut [u8; N]) -> bool {
        match self.dequeue() {
            Some(received) => {
                *message = received;
                true
            }
            None => false,
        }
    }
}

/// heapless takes its number of places as a const: the pairs of sizes that the suite uses.
pub(super) fn heapless<const N: usize>(ring_len: usize) -> Option<fn(Load) -> u64> {
    fn with<const N: usize, const PLACES: usize>(load: Load) -> u64 {
        type Queue<const N: usize, const PLACES: usize> = heapless::spsc::Queue<[u8; N], PLACES>;
        // Up to a MiB goes over the stack of the main thread, which has eight.
        let mut queue = Box::new(Queue::<N, PLACES>::new());
        let (producer, consumer) = queue.split();
        in_threads::<N>(load, producer, consumer)
    }
    Some(match ring_len / N {
        65536 => with::<N, 65536>,
        16384 => with::<N, 16384>,
        4096 => with::<N, 4096>,
        1024 => with::<N, 1024>,
        256 => with::<N, 256>,
        64 => with::<N, 64>,
        16 => with::<N, 16>,
        _ => return None,
    })
}
