//! The records that survivor and victims pass through the ring, and the judgement whether each came exactly once.
//!
//! Both uses of the ring: under the lock, and lock-free. The survivor is always the other side of the victim.

use crate::progress::Progress;
use crate::record;
use crate::survivor::Survivor;
use crate::tally::{Fault, Judge};
use crate::victim::LABEL;
use monshm::{Consumer, ErrorKind, Producer, Result};
use std::sync::atomic::Ordering;

/// The survivor's side.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Number of the next record that the survivor writes or expects.
    pub(crate) next: u64,
    pub(crate) record_len: usize,
    /// Whether the next record may be the one behind the one that is due.
    may_skip: bool,
    /// The survivor's lock-free end, where it has one.
    pub(crate) consumer: Option<Consumer>,
    pub(crate) producer: Option<Producer>,
}

impl Stream {
    /// A stream from record 1 on.
    pub(crate) fn new(record_len: usize) -> Self {
        Self { next: 1, record_len, may_skip: false, consumer: None, producer: None }
    }

    /// Takes out what is there, under the lock or as the consumer, and judges each record.
    pub(crate) fn drain(&mut self, survivor: &Survivor, judge: &mut Judge<'_>) -> Result<()> {
        let mut buffer = vec![0; record::MAX_LEN];
        if let Some(consumer) = &mut self.consumer {
            loop {
                match consumer.try_pop(&mut buffer) {
                    Ok(Some(found)) => {
                        let len = found.len().min(buffer.len());
                        judge_record(&buffer[..len], self.record_len, &mut self.next, &mut self.may_skip, judge);
                    }
                    Ok(None) => return Ok(()),
                    Err(error) => {
                        judge.fault(Fault::Corrupted, error);
                        return Ok(());
                    }
                }
            }
        }
        let ring = survivor.segment.unguarded_ring()?;
        let record = &mut buffer[..self.record_len];
        loop {
            match ring.read(record) {
                Ok(()) => judge_record(record, self.record_len, &mut self.next, &mut self.may_skip, judge),
                Err(error) if matches!(error.kind(), ErrorKind::NoData { .. }) => break,
                Err(error) => return Err(error),
            }
        }
        let rest = ring.len()?;
        if rest != 0 {
            judge.fault(Fault::Corrupted, format_args!("{rest} bytes in the ring that are no record"));
            ring.skip(rest)?;
        }
        Ok(())
    }

    /// Judges a dead writer's records, all of which have been drained.
    pub(crate) fn judge_writer(&mut self, page: &Progress, judge: &mut Judge<'_>) {
        let (begun, done) = begun_and_done(page);
        if self.next < done {
            judge.fault(Fault::Lost, format_args!("{} appends returned, {} records came", done - 1, self.next - 1));
        } else if self.next > begun {
            let detail = format_args!("{} appends were begun, {} records came", begun - 1, self.next - 1);
            judge.fault(Fault::Duplicated, detail);
        }
    }

    /// Writes one record for a reader; answers whether there was room.
    pub(crate) fn feed(&mut self, survivor: &Survivor) -> Result<bool> {
        let mut record = vec![0; self.record_len];
        record::write(&mut record, self.next);
        let room = match &mut self.producer {
            Some(producer) => match producer.try_push(LABEL, &record) {
                Ok(()) => true,
                Err(error) if matches!(error.kind(), ErrorKind::NoRoom { .. }) => false,
                Err(_) => return survivor.segment.unguarded_ring().map(|_| false),
            },
            None => match survivor.segment.unguarded_ring()?.append(&record) {
                Ok(()) => true,
                Err(error) if matches!(error.kind(), ErrorKind::NoRoom { .. }) => false,
                Err(error) => return Err(error),
            },
        };
        self.next += u64::from(room);
        Ok(room)
    }

    /// Judges what a dead reader left in the ring: it must begin where the reader stopped and end where we did.
    pub(crate) fn judge_reader(&mut self, survivor: &Survivor, page: &Progress, judge: &mut Judge<'_>) -> Result<()> {
        let (begun, done) = begun_and_done(page);
        let written = std::mem::replace(&mut self.next, done);
        // A read that was begun may have taken effect without having returned.
        self.may_skip = begun > done;
        if self.producer.is_some() {
            self.consumer = Some(survivor.segment.consumer()?);
        }
        let drained = self.drain(survivor, judge);
        self.consumer = None;
        drained?;
        let end = self.next + u64::from(self.may_skip && self.next + 1 == written);
        if end != written {
            judge.fault(Fault::Lost, format_args!("record {} is the last that is left, not {}", end - 1, written - 1));
        }
        self.next = written;
        self.may_skip = false;
        let damaged = page.words().corrupted.load(Ordering::Acquire);
        if damaged != 0 {
            judge.fault(Fault::Corrupted, format_args!("{damaged} records, as the reader found them"));
        }
        Ok(())
    }
}

/// Numbers behind the last record begun and behind the last that returned.
fn begun_and_done(page: &Progress) -> (u64, u64) {
    let words = page.words();
    (words.begun.load(Ordering::Acquire), words.done.load(Ordering::Acquire))
}

fn judge_record(record: &[u8], len: usize, next: &mut u64, may_skip: &mut bool, judge: &mut Judge<'_>) {
    let number = match record::read(record) {
        Ok(number) if record.len() == len => number,
        found => {
            judge.fault(Fault::Corrupted, format_args!("a record of {} bytes: {found:?}", record.len()));
            *next += 1;
            return;
        }
    };
    if number < *next {
        judge.fault(Fault::Duplicated, format_args!("record {number} came when {next} was due"));
    } else if number > *next && !(*may_skip && number == *next + 1) {
        judge.fault(Fault::Lost, format_args!("record {number} came when {next} was due"));
    }
    *may_skip = false;
    *next = number + 1;
}
