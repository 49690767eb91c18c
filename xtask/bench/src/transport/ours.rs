//! monshm between two processes, as its users have it: a sealed memfd, handed over a socket, with a ring of exactly the
//! length that the plan says. Bytes, batches of them, records, and the locked ring.
//!
//! Polled uses are the calls that never wait; blocking ones try again for some tens of microseconds before they sleep.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use monshm::ring::{ReadBatch, WriteBatch};
use monshm::{Consumer, DEFAULT_TIMEOUT, ErrorKind, Label, Producer, Segment};

use super::{Mode, Plan, Receiver, Sender, Side, Transport};

/// Longer than a pair of sides may take: a wait that reaches it is a fault.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The socket that the segment is handed over.
struct Link {
    ends: (UnixStream, UnixStream),
    ring_len: usize,
}

impl Link {
    /// Header and reserved common data before the ring, bytes: one page.
    const BEFORE_RING: usize = 4096;
    const COMMON_DATA: usize = 2048;

    fn new(plan: &Plan) -> Result<Self, String> {
        let ends = UnixStream::pair().map_err(|error| error.to_string())?;
        Ok(Self { ends, ring_len: plan.ring_len })
    }

    /// The first side creates, the second attaches; each waits for the other here.
    fn open(&self, side: Side) -> Result<Segment, String> {
        let size = Self::BEFORE_RING + self.ring_len;
        let opened = match side {
            Side::First => Segment::builder(size)
                .common_data(Self::COMMON_DATA)
                .create()
                .and_then(|segment| segment.send(&self.ends.0, DEFAULT_TIMEOUT).map(|()| segment)),
            Side::Second => Segment::receive(&self.ends.1, size, DEFAULT_TIMEOUT),
        };
        let segment = opened.map_err(|error| error.to_string())?;
        let guard = segment.lock().map_err(|error| error.to_string())?;
        let ring_len = guard.ring().map(|ring| ring.end() - ring.begin()).map_err(|error| error.to_string())?;
        drop(guard);
        assert_eq!(ring_len as usize, self.ring_len, "a ring of another length");
        Ok(segment)
    }

    fn producer(&self, side: Side) -> Result<Producer, String> {
        self.open(side)?.producer().map_err(|error| error.to_string())
    }

    fn consumer(&self, side: Side) -> Result<Consumer, String> {
        self.open(side)?.consumer().map_err(|error| error.to_string())
    }
}

/// A message must leave room for one byte, and a record for its header too.
fn fits(message_len: usize, overhead: usize, plan: &Plan) -> Result<(), String> {
    if message_len + overhead > plan.ring_len {
        return Err(format!("{message_len} B and {overhead} B of its own are more than {} B", plan.ring_len));
    }
    Ok(())
}

/// Whether it went through; false when it would have had to wait.
#[inline(always)]
fn now(outcome: monshm::Result<()>) -> bool {
    match outcome {
        Ok(()) => true,
        Err(error) if matches!(error.kind(), ErrorKind::NoRoom { .. } | ErrorKind::NoData { .. }) => false,
        Err(error) => panic!("{error}"),
    }
}

/// An end of the ring, and how it waits.
pub(super) struct Endpoint<T> {
    end: T,
    mode: Mode,
}

/// Bytes, one call a message.
pub(super) struct Bytes(Link, Mode);

impl<const N: usize> Transport<N> for Bytes {
    type Sender = Endpoint<Producer>;
    type Receiver = Endpoint<Consumer>;

    fn make(plan: &Plan) -> Result<Self, String> {
        fits(N, 1, plan)?;
        Link::new(plan).map(|link| Self(link, plan.mode))
    }

    fn sender(self, side: Side) -> Result<Endpoint<Producer>, String> {
        Ok(Endpoint { end: self.0.producer(side)?, mode: self.1 })
    }

    fn receiver(self, side: Side) -> Result<Endpoint<Consumer>, String> {
        Ok(Endpoint { end: self.0.consumer(side)?, mode: self.1 })
    }
}

impl<const N: usize> Sender<N> for Endpoint<Producer> {
    #[inline(always)]
    fn send(&mut self, message: &[u8; N]) -> bool {
        match self.mode {
            Mode::Polled => now(self.end.try_write(message)),
            Mode::Blocking => {
                self.end.write(message, TIMEOUT).expect("room comes");
                true
            }
        }
    }
}

impl<const N: usize> Receiver<N> for Endpoint<Consumer> {
    #[inline(always)]
    fn receive(&mut self, message: &mut [u8; N]) -> bool {
        match self.mode {
            // The other side writes whole messages: a part of one is never there.
            Mode::Polled => self.end.try_read_partial(message).expect("an honest ring") == N,
            Mode::Blocking => {
                let mut done = 0;
                while done < N {
                    match self.end.read_partial(&mut message[done..], TIMEOUT).expect("data comes") {
                        0 => panic!("the producer has closed"),
                        read => done += read,
                    }
                }
                true
            }
        }
    }
}

/// Records: the engine keeps messages apart.
pub(super) struct Records(Link, Mode);

pub(super) struct RecordEnd<T>(Endpoint<T>);

impl<const N: usize> Transport<N> for Records {
    type Sender = RecordEnd<Producer>;
    type Receiver = RecordEnd<Consumer>;

    fn make(plan: &Plan) -> Result<Self, String> {
        // As `record_limit` of the engine: header and payload twice, so that a record fits wherever the wrap is.
        fits(2 * N, 16, plan)?;
        Link::new(plan).map(|link| Self(link, plan.mode))
    }

    fn sender(self, side: Side) -> Result<RecordEnd<Producer>, String> {
        Ok(RecordEnd(Endpoint { end: self.0.producer(side)?, mode: self.1 }))
    }

    fn receiver(self, side: Side) -> Result<RecordEnd<Consumer>, String> {
        Ok(RecordEnd(Endpoint { end: self.0.consumer(side)?, mode: self.1 }))
    }
}

impl<const N: usize> Sender<N> for RecordEnd<Producer> {
    #[inline(always)]
    fn send(&mut self, message: &[u8; N]) -> bool {
        match self.0.mode {
            Mode::Polled => now(self.0.end.try_push(Label::kind(1), message)),
            Mode::Blocking => {
                self.0.end.push(Label::kind(1), message, TIMEOUT).expect("room comes");
                true
            }
        }
    }
}

impl<const N: usize> Receiver<N> for RecordEnd<Consumer> {
    #[inline(always)]
    fn receive(&mut self, message: &mut [u8; N]) -> bool {
        let record = match self.0.mode {
            Mode::Polled => match self.0.end.try_pop(message).expect("an honest ring") {
                Some(record) => record,
                None => return false,
            },
            Mode::Blocking => self.0.end.pop(message, TIMEOUT).expect("a record comes"),
        };
        assert_eq!(record.len(), N, "a record of another length");
        true
    }
}

/// Publishes and releases 64 messages at a time, inside one long batch.
pub(super) struct Batches(Link);

pub(super) struct Batch<T> {
    batch: T,
    pending: u32,
}

impl<T> Batch<T> {
    const STEP: u32 = 64;

    fn new(batch: T) -> Self {
        Self { batch, pending: 0 }
    }

    #[inline(always)]
    fn step(&mut self) -> bool {
        self.pending = (self.pending + 1) % Self::STEP;
        self.pending == 0
    }
}

/// A batch borrows its end, which is leaked here: it lasts until the process ends, which is soon.
fn leak<T>(end: T) -> &'static mut T {
    Box::leak(Box::new(end))
}

impl<const N: usize> Transport<N> for Batches {
    type Sender = Batch<WriteBatch<'static>>;
    type Receiver = Batch<ReadBatch<'static>>;

    fn make(plan: &Plan) -> Result<Self, String> {
        plan.polled_only("a batch")?;
        fits(N * Batch::<()>::STEP as usize, 1, plan)?;
        Link::new(plan).map(Self)
    }

    fn sender(self, side: Side) -> Result<Self::Sender, String> {
        Ok(Batch::new(leak(self.0.producer(side)?).batch().map_err(|error| error.to_string())?))
    }

    fn receiver(self, side: Side) -> Result<Self::Receiver, String> {
        Ok(Batch::new(leak(self.0.consumer(side)?).batch().map_err(|error| error.to_string())?))
    }
}

impl<const N: usize> Sender<N> for Batch<WriteBatch<'static>> {
    #[inline(always)]
    fn send(&mut self, message: &[u8; N]) -> bool {
        let sent = now(self.batch.try_write(message));
        if sent && self.step() {
            self.batch.publish().expect("an honest ring");
        }
        sent
    }

    fn flush(&mut self) {
        self.batch.publish().expect("an honest ring");
    }
}

impl<const N: usize> Receiver<N> for Batch<ReadBatch<'static>> {
    #[inline(always)]
    fn receive(&mut self, message: &mut [u8; N]) -> bool {
        let received = now(self.batch.try_read(message));
        if received && self.step() {
            self.batch.release().expect("an honest ring");
        }
        received
    }
}

/// The ring under the segment's lock, as in the reference: locked for each message.
pub(super) struct Locked(Link);

impl<const N: usize> Transport<N> for Locked {
    type Sender = Segment;
    type Receiver = Segment;

    fn make(plan: &Plan) -> Result<Self, String> {
        plan.polled_only("the locked ring")?;
        fits(N, 1, plan)?;
        Link::new(plan).map(Self)
    }

    fn sender(self, side: Side) -> Result<Segment, String> {
        self.0.open(side)
    }

    fn receiver(self, side: Side) -> Result<Segment, String> {
        self.0.open(side)
    }
}

impl<const N: usize> Sender<N> for Segment {
    #[inline(always)]
    fn send(&mut self, message: &[u8; N]) -> bool {
        let guard = self.lock().expect("the lock");
        now(guard.ring().and_then(|ring| ring.append(message)))
    }
}

impl<const N: usize> Receiver<N> for Segment {
    #[inline(always)]
    fn receive(&mut self, message: &mut [u8; N]) -> bool {
        let guard = self.lock().expect("the lock");
        now(guard.ring().and_then(|ring| ring.read(message)))
    }
}
