//! What a victim does: attach, and then one operation between two marks, or one operation again and again.
//!
//! A victim judges nothing but the records that it reads. It says on the page of its progress what has returned; when
//! and where it dies is the survivor's business.

mod loops;

use crate::Outcome;
use crate::pattern::Pattern;
use crate::progress::{Progress, Words, phase};
use crate::record;
use harness::product::SIZE;
use harness::{CELLS, Cell, Link, trace};
use monshm::{DEFAULT_TIMEOUT, Label, Segment};
use std::alloc::Layout;
use std::error::Error;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::Duration;

/// What a victim writes into the pattern when it is inside: any number that is not the survivor's, and not 0.
const WHO: u64 = 2;

/// How long a victim waits for anything.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How many bytes a victim allocates.
pub(crate) const ALLOCATED_LEN: usize = 136;

/// The kind of every record here.
pub(crate) const LABEL: Label = Label::kind(1);

/// The victim's role: one message names the operation, and brings the page and a socket.
pub(crate) fn serve(link: &Link) -> Outcome {
    let message = link.receive()?.ok_or("no operation came")?;
    let operation = message.text;
    let [page, socket] = <[OwnedFd; 2]>::try_from(message.fds).map_err(|_| "the page or the socket is missing")?;
    let progress = Progress::map(page)?;
    let cell_index = progress.words().cell.load(Acquire) as usize;
    let cell = *CELLS.get(cell_index).ok_or("no such cell")?;
    let victim = Victim { progress, socket: UnixStream::from(socket), cell };
    if let Some((_, life)) = LIVES.iter().find(|(name, _)| *name == operation) {
        return life(&victim);
    }
    let (_, work) = WORKS.iter().find(|(name, _)| *name == operation).ok_or("there is no such operation")?;
    work(&victim, &Segment::receive(&victim.socket, SIZE, DEFAULT_TIMEOUT)?)
}

/// What a victim has at hand.
struct Victim {
    progress: Progress,
    socket: UnixStream,
    cell: Cell,
}

type Life = fn(&Victim) -> Outcome;
type Work = fn(&Victim, &Segment) -> Outcome;

/// The operations of a segment's life, by name: the victim makes, receives and drops the segment itself.
const LIVES: [(&str, Life); 8] = [
    ("create", |victim| done(victim.marked(|| victim.cell.builder().create()))),
    ("encode", |victim| {
        let segment = victim.cell.builder().create()?;
        done(victim.marked(|| segment.encode()))
    }),
    ("send", |victim| {
        let segment = victim.cell.builder().create()?;
        Ok(victim.marked(|| segment.send(&victim.socket, DEFAULT_TIMEOUT))?)
    }),
    ("drop", |victim| {
        let segment = victim.cell.builder().create()?;
        segment.send(&victim.socket, DEFAULT_TIMEOUT)?;
        victim.marked(move || drop(segment));
        Ok(())
    }),
    ("receive", |victim| done(victim.marked(|| Segment::receive(&victim.socket, SIZE, DEFAULT_TIMEOUT)))),
    ("decode", |victim| {
        let bytes = victim.progress.bytes();
        done(victim.marked(|| Segment::decode(bytes, None, SIZE)))
    }),
    ("detach", |victim| {
        let segment = Segment::receive(&victim.socket, SIZE, DEFAULT_TIMEOUT)?;
        victim.marked(move || drop(segment));
        Ok(())
    }),
    ("create-and-work", |victim| {
        victim.ready();
        let segment = victim.cell.builder().create()?;
        victim.words().pattern.store(Pattern::place(&segment)?, Release);
        segment.send(&victim.socket, DEFAULT_TIMEOUT)?;
        victim.hold(&segment)
    }),
];

/// The operations on a segment that the survivor, or another victim, made.
const WORKS: [(&str, Work); 20] = [
    ("loop-holder", Victim::hold),
    ("loop-appender", Victim::append),
    ("loop-reader", Victim::read),
    ("loop-pusher", Victim::push),
    ("loop-popper", Victim::pop),
    ("die-inside", |victim, segment| {
        let _guard = segment.lock()?;
        let pattern = victim.pattern(segment)?;
        pattern.write(pattern.enter(WHO)?)?;
        victim.stay()
    }),
    ("die-producing", |victim, segment| {
        let _producer = segment.producer()?;
        victim.stay()
    }),
    ("lock", Victim::lock),
    ("take-over", Victim::lock),
    ("wait", Victim::lock),
    ("unlock", |victim, segment| victim.unlock(segment, false)),
    ("unlock-waited", |victim, segment| victim.unlock(segment, true)),
    ("update", |victim, segment| {
        let _guard = segment.lock()?;
        let pattern = victim.pattern(segment)?;
        victim.marked(|| pattern.update(WHO))?;
        Ok(())
    }),
    ("alloc", |victim, segment| {
        let layout = Layout::from_size_align(ALLOCATED_LEN, 8)?;
        victim.marked(|| {
            let offset = segment.alloc(layout)?;
            victim.words().allocated.store(offset, Release);
            Ok::<_, monshm::Error>(())
        })?;
        Ok(())
    }),
    ("freeze", |victim, segment| {
        victim.marked(|| segment.unguarded_ring())?;
        Ok(())
    }),
    ("append", |victim, segment| {
        let ring = segment.unguarded_ring()?;
        let _guard = segment.lock()?;
        victim.once(true, |record| ring.append(record))
    }),
    ("read", |victim, segment| {
        let ring = segment.unguarded_ring()?;
        let _guard = segment.lock()?;
        victim.once(false, |record| ring.read(record))
    }),
    ("claim", |victim, segment| {
        victim.marked(|| segment.producer())?;
        Ok(())
    }),
    ("push", |victim, segment| {
        let mut producer = segment.producer()?;
        victim.once(true, |record| producer.try_push(LABEL, record))
    }),
    ("pop", |victim, segment| {
        let mut consumer = segment.consumer()?;
        victim.once(false, |record| consumer.try_pop(record).map(drop))
    }),
];

/// Drops what an operation answered, behind its second mark.
fn done<T, E: Error + 'static>(answer: Result<T, E>) -> Outcome {
    drop(answer?);
    Ok(())
}

impl Victim {
    fn words(&self) -> &Words {
        self.progress.words()
    }

    fn ready(&self) {
        self.words().phase.store(phase::READY, Release);
    }

    /// Is there, until it is killed.
    fn stay(&self) -> Outcome {
        self.ready();
        std::thread::sleep(TIMEOUT);
        Ok(())
    }

    fn pattern<'a>(&self, segment: &'a Segment) -> monshm::Result<Pattern<'a>> {
        Pattern::at(segment, self.words().pattern.load(Acquire))
    }

    /// A record's bytes, and the number of the next one.
    fn record(&self) -> (Vec<u8>, u64) {
        let words = self.words();
        let len = words.record_len.load(Acquire) as usize;
        (vec![0; len.clamp(record::MIN_LEN, record::MAX_LEN)], words.next.load(Acquire))
    }

    /// Does `operation` between two marks at which the survivor stops us.
    fn marked<T>(&self, operation: impl FnOnce() -> T) -> T {
        trace::be_traced();
        trace::mark();
        let value = operation();
        self.words().phase.store(phase::DONE, Release);
        trace::mark();
        value
    }

    /// Writes or reads one record between two marks.
    fn once<E>(&self, writes: bool, transfer: impl FnOnce(&mut [u8]) -> Result<(), E>) -> Outcome
    where
        E: Error + 'static,
    {
        let (mut record, next) = self.record();
        if writes {
            record::write(&mut record, next);
        }
        self.marked(|| {
            self.words().begun.store(next + 1, Release);
            transfer(&mut record)?;
            self.words().done.store(next + 1, Release);
            Ok::<_, E>(())
        })?;
        Ok(())
    }

    fn lock(&self, segment: &Segment) -> Outcome {
        let _guard = self.marked(|| segment.lock_timeout(TIMEOUT))?;
        Ok(())
    }

    fn unlock(&self, segment: &Segment, waited: bool) -> Outcome {
        let guard = segment.lock()?;
        self.pattern(segment)?.update(WHO)?;
        // With a waiter asleep the interesting part is the wake-up.
        if waited {
            self.ready();
            std::thread::sleep(Duration::from_millis(2));
        }
        self.marked(move || drop(guard));
        Ok(())
    }

    fn judge(&self, record: &[u8], expected: u64) {
        if record::read(record) != Ok(expected) {
            self.words().corrupted.fetch_add(1, Relaxed);
        }
    }
}
