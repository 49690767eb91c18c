//! The two ends of the ring in its two uses, behind one pair of calls: send all of a block, receive all of a block.
//!
//! Lock-free: the library's own waiting calls. Locked: append and read under the segment's lock, with a short pause
//! where there is no room or no data. Neither knows what the bytes are.

use crate::arguments::RingUse;
use crate::talk::Talk;
use crate::{Failure, Stop};
use monshm::ring::Ring;
use monshm::{Consumer, Producer};
use monshm::{PreviousHolder, Segment};
use std::io::Write;
use std::time::{Duration, Instant};

/// Longer than any pause of a living peer on a loaded machine.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The end that the sender writes to.
#[derive(Debug)]
pub(crate) enum Inlet<'a> {
    LockFree(Box<Producer>),
    Locked(&'a Segment),
}

/// The end that the receiver reads from.
#[derive(Debug)]
pub(crate) enum Outlet<'a> {
    LockFree(Box<Consumer>),
    Locked(&'a Segment),
}

impl<'a> Inlet<'a> {
    pub(crate) fn new(segment: &'a Segment, ring: RingUse) -> Result<Self, Failure> {
        Ok(match ring {
            RingUse::LockFree => {
                let mut producer = Box::new(segment.producer()?);
                producer.set_io_timeout(TIMEOUT);
                Self::LockFree(producer)
            }
            RingUse::Locked => Self::Locked(segment),
        })
    }

    /// Sends `block` with calls of at most `piece` bytes.
    pub(crate) fn send(&mut self, block: &[u8], piece: usize, stop: &Stop, talk: &mut Talk<'_>) -> Result<(), Failure> {
        match self {
            Self::LockFree(producer) => {
                for part in block.chunks(piece) {
                    stop.check()?;
                    producer.write_all(part)?;
                }
                Ok(())
            }
            Self::Locked(segment) => under_lock(segment, block.len(), stop, talk, |ring, done| {
                let count = ring.avail()?.min(piece).min(block.len() - done);
                ring.append(&block[done..done + count])?;
                Ok(count)
            }),
        }
    }
}

impl<'a> Outlet<'a> {
    pub(crate) fn new(segment: &'a Segment, ring: RingUse) -> Result<Self, Failure> {
        Ok(match ring {
            RingUse::LockFree => Self::LockFree(Box::new(segment.consumer()?)),
            RingUse::Locked => Self::Locked(segment),
        })
    }

    /// Fills `block` with calls of at most `piece` bytes.
    pub(crate) fn receive(
        &mut self,
        block: &mut [u8],
        piece: usize,
        stop: &Stop,
        talk: &mut Talk<'_>,
    ) -> Result<(), Failure> {
        match self {
            Self::LockFree(consumer) => {
                let mut done = 0;
                while done < block.len() {
                    stop.check()?;
                    let end = block.len().min(done + piece);
                    match consumer.read_partial(&mut block[done..end], TIMEOUT)? {
                        0 => return Err("the sender has gone in the middle of a block".into()),
                        count => done += count,
                    }
                }
                Ok(())
            }
            Self::Locked(segment) => {
                let length = block.len();
                under_lock(segment, length, stop, talk, |ring, done| {
                    let count = ring.len()?.min(piece).min(length - done);
                    ring.read(&mut block[done..done + count])?;
                    Ok(count)
                })
            }
        }
    }
}

/// Calls `step` under the lock until it has moved `length` bytes; it is told how many, and answers how many more.
fn under_lock(
    segment: &Segment,
    length: usize,
    stop: &Stop,
    talk: &mut Talk<'_>,
    mut step: impl FnMut(&Ring<'_>, usize) -> monshm::Result<usize>,
) -> Result<(), Failure> {
    let mut done = 0;
    let mut idle = Idle::default();
    while done < length {
        stop.check()?;
        let guard = segment.lock_timeout(TIMEOUT)?;
        if guard.previous_holder() == PreviousHolder::Died {
            return Err("the other process died while it held the lock".into());
        }
        let moved = step(&guard.ring()?, done)?;
        guard.unlock()?;
        done += moved;
        if moved == 0 { idle.pause(talk)? } else { idle = Idle::default() }
    }
    Ok(())
}

/// How long nothing has moved.
#[derive(Debug, Default)]
struct Idle {
    rounds: u32,
    since: Option<Instant>,
}

impl Idle {
    /// Waits a little: first on the processor, then beside it, then asleep, with a look whether the other process
    /// lives: the lock alone does not tell of one that died outside of it.
    fn pause(&mut self, talk: &mut Talk<'_>) -> Result<(), Failure> {
        self.rounds = self.rounds.saturating_add(1);
        match self.rounds {
            0..32 => (0..64).for_each(|_| std::hint::spin_loop()),
            32..256 => std::thread::yield_now(),
            _ => {
                std::thread::sleep(Duration::from_micros(100));
                if self.rounds % 64 == 0 {
                    talk.check()?;
                }
                if self.since.get_or_insert_with(Instant::now).elapsed() > TIMEOUT {
                    return Err(format!("the other process has moved nothing for {} s", TIMEOUT.as_secs()).into());
                }
            }
        }
        Ok(())
    }
}
