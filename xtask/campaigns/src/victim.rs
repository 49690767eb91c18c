//! What a victim does: attach, and then one operation between two marks, or one operation again and again.
//!
//! A victim judges nothing but the records that it reads. It says in the ledger what has returned; when and where it
//! dies is the driver's business.

use crate::cell::{CELLS, Cell, SIZE};
use crate::ledger::{Ledger, phase};
use crate::pattern::Pattern;
use crate::record;
use crate::tracer;
use monshm::ring::{Consumer, Producer};
use monshm::{DEFAULT_TIMEOUT, ErrorKind, Segment, rbuf};
use std::alloc::Layout;
use std::error::Error;
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// What a victim has to say about itself when it is inside the lock: any number that is not 0.
const WHO: u64 = 2;

/// How long a victim waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How many bytes a victim allocates.
pub(crate) const ALLOCATED_LEN: usize = 136;

type Outcome = Result<(), Box<dyn Error>>;

/// Runs a victim to its end, which is seldom its own.
pub(crate) fn main(operation: &str, ledger_fd: i32) -> ExitCode {
    match run(operation, ledger_fd) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("victim `{operation}`: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(operation: &str, ledger_fd: i32) -> Outcome {
    let ledger = Ledger::inherited(ledger_fd)?;
    // SAFETY: the driver gave us a socket as descriptor 0, which nothing else here uses.
    let socket = UnixStream::from(unsafe { OwnedFd::from_raw_fd(0) });
    let cell_index = ledger.words().cell.load(Ordering::Acquire) as usize;
    let cell = *CELLS.get(cell_index).ok_or("no such cell")?;
    let victim = Victim { ledger: &ledger, socket: &socket, cell };
    match operation {
        "create" | "encode" | "send" | "drop" | "receive" | "decode" | "detach" | "create-and-work" => {
            victim.life(operation)
        }
        _ => {
            let segment = Segment::receive(&socket, SIZE, DEFAULT_TIMEOUT)?;
            victim.work(operation, &segment)
        }
    }
}

/// What a victim has at hand.
struct Victim<'a> {
    ledger: &'a Ledger,
    socket: &'a UnixStream,
    cell: Cell,
}

impl Victim<'_> {
    /// The operations of a segment's life, each between two marks.
    fn life(&self, operation: &str) -> Outcome {
        match operation {
            "create" => drop(self.marked(|| self.cell.builder().create())?),
            "encode" => {
                let segment = self.cell.builder().create()?;
                drop(self.marked(|| segment.encode())?);
            }
            "send" => {
                let segment = self.cell.builder().create()?;
                self.marked(|| segment.send(self.socket, DEFAULT_TIMEOUT))?;
            }
            "drop" => {
                let segment = self.cell.builder().create()?;
                segment.send(self.socket, DEFAULT_TIMEOUT)?;
                self.marked(move || drop(segment));
            }
            "receive" => drop(self.marked(|| Segment::receive(self.socket, SIZE, DEFAULT_TIMEOUT))?),
            "decode" => {
                let bytes = self.ledger.bytes();
                drop(self.marked(|| Segment::decode(bytes, None, SIZE))?);
            }
            "create-and-work" => {
                self.ledger.words().phase.store(phase::READY, Ordering::Release);
                let segment = self.cell.builder().create()?;
                self.ledger.words().pattern.store(Pattern::place(&segment)?, Ordering::Release);
                segment.send(self.socket, DEFAULT_TIMEOUT)?;
                self.hold(&segment)?;
            }
            _ => {
                let segment = Segment::receive(self.socket, SIZE, DEFAULT_TIMEOUT)?;
                self.marked(move || drop(segment));
            }
        }
        Ok(())
    }

    /// The operations on a segment that the driver made.
    fn work(&self, operation: &str, segment: &Segment) -> Outcome {
        let words = self.ledger.words();
        let pattern = Pattern::at(segment, words.pattern.load(Ordering::Acquire))?;
        match operation {
            "loop-holder" => self.hold(segment),
            "loop-appender" => self.append(segment),
            "loop-reader" => self.read(segment),
            "loop-pusher" => self.push(&mut segment.producer()?),
            "loop-popper" => self.pop(&mut segment.consumer()?),
            "die-inside" => {
                let _guard = segment.lock()?;
                let generation = pattern.enter(WHO)?;
                pattern.write(generation)?;
                words.phase.store(phase::READY, Ordering::Release);
                std::thread::sleep(PATIENCE);
                Ok(())
            }
            "die-producing" => {
                let _producer = segment.producer()?;
                words.phase.store(phase::READY, Ordering::Release);
                std::thread::sleep(PATIENCE);
                Ok(())
            }
            "lock" | "take-over" | "wait" => {
                let _guard = self.marked(|| segment.lock_timeout(PATIENCE))?;
                Ok(())
            }
            "unlock" | "unlock-waited" => {
                let guard = segment.lock()?;
                let generation = pattern.enter(WHO)?;
                pattern.write(generation)?;
                pattern.leave(WHO, generation)?;
                // With a waiter asleep the interesting part is the wake-up.
                if operation == "unlock-waited" {
                    words.phase.store(phase::READY, Ordering::Release);
                    std::thread::sleep(Duration::from_millis(2));
                }
                self.marked(move || drop(guard));
                Ok(())
            }
            "update" => {
                let _guard = segment.lock()?;
                self.marked(|| {
                    let generation = pattern.enter(WHO)?;
                    pattern.write(generation)?;
                    pattern.leave(WHO, generation)
                })?;
                Ok(())
            }
            "alloc" => {
                let layout = Layout::from_size_align(ALLOCATED_LEN, 8)?;
                self.marked(|| {
                    let offset = segment.alloc(layout)?;
                    words.allocated.store(offset, Ordering::Release);
                    Ok::<_, monshm::Error>(())
                })?;
                Ok(())
            }
            "freeze" => {
                let _ring = self.marked(|| segment.ring())?;
                Ok(())
            }
            "append" => {
                let ring = segment.ring()?;
                let (mut record, next) = self.record();
                record::write(&mut record, next);
                let _guard = segment.lock()?;
                self.marked(|| {
                    words.begun.store(next + 1, Ordering::Release);
                    ring.append(&record)?;
                    words.done.store(next + 1, Ordering::Release);
                    Ok::<_, monshm::Error>(())
                })?;
                Ok(())
            }
            "read" => {
                let ring = segment.ring()?;
                let (mut record, next) = self.record();
                let _guard = segment.lock()?;
                self.marked(|| {
                    words.begun.store(next + 1, Ordering::Release);
                    ring.read(&mut record)?;
                    words.done.store(next + 1, Ordering::Release);
                    Ok::<_, monshm::Error>(())
                })?;
                Ok(())
            }
            "claim" => {
                let _producer = self.marked(|| segment.producer())?;
                Ok(())
            }
            "push" => {
                let mut producer = segment.producer()?;
                let (mut record, next) = self.record();
                record::write(&mut record, next);
                self.marked(|| {
                    words.begun.store(next + 1, Ordering::Release);
                    producer.push(rbuf::record::Label::kind(1), &record)?;
                    words.done.store(next + 1, Ordering::Release);
                    Ok::<_, rbuf::Error>(())
                })?;
                Ok(())
            }
            "pop" => {
                let mut consumer = segment.consumer()?;
                let (mut record, next) = self.record();
                self.marked(|| {
                    words.begun.store(next + 1, Ordering::Release);
                    consumer.pop(&mut record)?;
                    words.done.store(next + 1, Ordering::Release);
                    Ok::<_, rbuf::Error>(())
                })?;
                Ok(())
            }
            other => Err(format!("there is no operation `{other}`").into()),
        }
    }

    /// Does `operation` between two marks at which the driver stops us.
    fn marked<T>(&self, operation: impl FnOnce() -> T) -> T {
        tracer::be_traced();
        tracer::mark();
        let value = operation();
        self.ledger.words().phase.store(phase::DONE, Ordering::Release);
        tracer::mark();
        value
    }

    fn record(&self) -> (Vec<u8>, u64) {
        let words = self.ledger.words();
        let len = words.record_len.load(Ordering::Acquire) as usize;
        (vec![0; len.clamp(record::MIN_LEN, record::MAX_LEN)], words.next.load(Ordering::Acquire))
    }

    fn ready(&self) {
        self.ledger.words().phase.store(phase::READY, Ordering::Release);
    }

    fn pause(&self) {
        let pause_ns = self.ledger.words().pause_ns.load(Ordering::Relaxed);
        if pause_ns != 0 {
            std::thread::sleep(Duration::from_nanos(pause_ns));
        }
    }

    /// Takes the lock, changes the pattern, lets go, without end.
    fn hold(&self, segment: &Segment) -> Outcome {
        let words = self.ledger.words();
        let pattern = Pattern::at(segment, words.pattern.load(Ordering::Acquire))?;
        let hold = Duration::from_nanos(words.hold_ns.load(Ordering::Acquire));
        self.ready();
        loop {
            let guard = segment.lock_timeout(PATIENCE)?;
            let generation = pattern.enter(WHO)?;
            if !hold.is_zero() {
                let begin = Instant::now();
                while begin.elapsed() < hold {
                    std::hint::spin_loop();
                }
            }
            pattern.write(generation)?;
            if !pattern.leave(WHO, generation)? {
                return Err("somebody else was inside".into());
            }
            guard.unlock()?;
            self.pause();
        }
    }

    /// Appends records under the lock, without end.
    fn append(&self, segment: &Segment) -> Outcome {
        let words = self.ledger.words();
        let ring = segment.ring()?;
        let (mut record, mut next) = self.record();
        self.ready();
        loop {
            record::write(&mut record, next);
            let guard = segment.lock_timeout(PATIENCE)?;
            words.begun.store(next + 1, Ordering::Release);
            match ring.append(&record) {
                Ok(()) => {
                    next += 1;
                    words.done.store(next, Ordering::Release);
                }
                Err(error) if matches!(error.kind(), ErrorKind::NoRoom { .. }) => {
                    words.begun.store(next, Ordering::Release);
                }
                Err(error) => return Err(error.into()),
            }
            guard.unlock()?;
            self.pause();
        }
    }

    /// Reads records under the lock, without end.
    fn read(&self, segment: &Segment) -> Outcome {
        let words = self.ledger.words();
        let ring = segment.ring()?;
        let (mut record, mut next) = self.record();
        self.ready();
        loop {
            let guard = segment.lock_timeout(PATIENCE)?;
            words.begun.store(next + 1, Ordering::Release);
            match ring.read(&mut record) {
                Ok(()) => {
                    self.judge(&record, next);
                    next += 1;
                    words.done.store(next, Ordering::Release);
                }
                Err(error) if matches!(error.kind(), ErrorKind::NoData { .. }) => {
                    words.begun.store(next, Ordering::Release);
                }
                Err(error) => return Err(error.into()),
            }
            guard.unlock()?;
            self.pause();
        }
    }

    /// Pushes records without a lock, without end.
    fn push(&self, producer: &mut Producer) -> Outcome {
        let words = self.ledger.words();
        let (mut record, mut next) = self.record();
        self.ready();
        loop {
            record::write(&mut record, next);
            words.begun.store(next + 1, Ordering::Release);
            match producer.push(rbuf::record::Label::kind(1), &record) {
                Ok(()) => {
                    next += 1;
                    words.done.store(next, Ordering::Release);
                }
                Err(rbuf::Error::Full { .. }) => words.begun.store(next, Ordering::Release),
                Err(error) => return Err(error.into()),
            }
            self.pause();
        }
    }

    /// Pops records without a lock, without end.
    fn pop(&self, consumer: &mut Consumer) -> Outcome {
        let words = self.ledger.words();
        let (mut record, mut next) = self.record();
        self.ready();
        loop {
            words.begun.store(next + 1, Ordering::Release);
            match consumer.pop(&mut record) {
                Ok(found) if found.len() == record.len() => {
                    self.judge(&record, next);
                    next += 1;
                    words.done.store(next, Ordering::Release);
                }
                Ok(found) => return Err(format!("a record of {} bytes", found.len()).into()),
                Err(rbuf::Error::Empty { .. }) => words.begun.store(next, Ordering::Release),
                Err(error) => return Err(error.into()),
            }
            self.pause();
        }
    }

    fn judge(&self, record: &[u8], expected: u64) {
        if record::read(record) != Ok(expected) {
            self.ledger.words().corrupted.fetch_add(1, Ordering::Relaxed);
        }
    }
}
