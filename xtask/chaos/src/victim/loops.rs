//! What a victim does again and again until it is killed: hold the lock, append, read, push, pop.

use super::{LABEL, TIMEOUT, Victim, WHO};
use crate::{Outcome, record};
use monshm::{ErrorKind, Segment};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

impl Victim {
    fn pause(&self) {
        let pause_ns = self.words().pause_ns.load(Relaxed);
        if pause_ns != 0 {
            std::thread::sleep(Duration::from_nanos(pause_ns));
        }
    }

    /// Takes the lock, changes the pattern, releases it, without end.
    pub(super) fn hold(&self, segment: &Segment) -> Outcome {
        let pattern = self.pattern(segment)?;
        let hold = Duration::from_nanos(self.words().hold_ns.load(Acquire));
        self.ready();
        loop {
            let guard = segment.lock_timeout(TIMEOUT)?;
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

    /// Transfers records without end. `transfer` is given the record and what it calls when it begins; it answers
    /// whether there was room, or data.
    fn records(&self, writes: bool, mut transfer: impl FnMut(&mut [u8], &dyn Fn()) -> Outcome<bool>) -> Outcome {
        let words = self.words();
        let (mut record, mut next) = self.record();
        self.ready();
        loop {
            if writes {
                record::write(&mut record, next);
            }
            if transfer(&mut record, &|| words.begun.store(next + 1, Release))? {
                if !writes {
                    self.judge(&record, next);
                }
                next += 1;
                words.done.store(next, Release);
            } else {
                words.begun.store(next, Release);
            }
            self.pause();
        }
    }

    /// Appends records under the lock, without end.
    pub(super) fn append(&self, segment: &Segment) -> Outcome {
        let ring = segment.unguarded_ring()?;
        self.records(true, |record, begin| {
            let guard = segment.lock_timeout(TIMEOUT)?;
            begin();
            let appended = match ring.append(record) {
                Ok(()) => true,
                Err(error) if matches!(error.kind(), ErrorKind::NoRoom { .. }) => false,
                Err(error) => return Err(error.into()),
            };
            guard.unlock()?;
            Ok(appended)
        })
    }

    /// Reads records under the lock, without end.
    pub(super) fn read(&self, segment: &Segment) -> Outcome {
        let ring = segment.unguarded_ring()?;
        self.records(false, |record, begin| {
            let guard = segment.lock_timeout(TIMEOUT)?;
            begin();
            let read = match ring.read(record) {
                Ok(()) => true,
                Err(error) if matches!(error.kind(), ErrorKind::NoData { .. }) => false,
                Err(error) => return Err(error.into()),
            };
            guard.unlock()?;
            Ok(read)
        })
    }

    /// Pushes records without a lock, without end.
    pub(super) fn push(&self, segment: &Segment) -> Outcome {
        let mut producer = segment.producer()?;
        self.records(true, |record, begin| {
            begin();
            match producer.try_push(LABEL, record) {
                Ok(()) => Ok(true),
                Err(error) if matches!(error.kind(), ErrorKind::NoRoom { .. }) => Ok(false),
                Err(error) => Err(error.into()),
            }
        })
    }

    /// Pops records without a lock, without end.
    pub(super) fn pop(&self, segment: &Segment) -> Outcome {
        let mut consumer = segment.consumer()?;
        self.records(false, |record, begin| {
            begin();
            match consumer.try_pop(record) {
                Ok(Some(found)) if found.len() == record.len() => Ok(true),
                Ok(Some(found)) => Err(format!("a record of {} bytes", found.len()).into()),
                Ok(None) => Ok(false),
                Err(error) => Err(error.into()),
            }
        })
    }
}
