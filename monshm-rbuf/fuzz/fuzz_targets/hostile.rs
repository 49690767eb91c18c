//! Drives both ends of a ring whose control words and data come from the input, and are rewritten by it between
//! calls.
//!
//! The ring is one heap block, so that the sanitizer sees an access beside it: the block in front, the bytes
//! up to its last one. What it must not find: a crash, an endless call, a handle that recovers.
#![no_main]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::num::NonZeroU32;
use std::ptr::NonNull;

use libfuzzer_sys::fuzz_target;
use monshm_rbuf::layout::CONTROL_LEN;
use monshm_rbuf::{Bounds, Consumer, Error, Label, Producer, Ring, Shared};

/// The rest of the input, taken from the front; zeros behind its end.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn word(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }
}

/// One heap block: control block, ring.
struct Block {
    base: NonNull<u8>,
    layout: Layout,
    bounds: Bounds,
}

impl Block {
    fn new(ring_len: usize) -> Self {
        let layout = Layout::from_size_align(CONTROL_LEN + ring_len, 128).unwrap();
        // SAFETY: the size is not 0.
        let base = NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap();
        let bounds = Bounds::new(CONTROL_LEN as u64, layout.size() as u64, layout.size()).unwrap();
        Block { base, layout, bounds }
    }

    fn memory(&self) -> Shared {
        // SAFETY: the block lives until `drop`, behind every handle; nothing else refers to it.
        unsafe { Shared::new(self.base.cast(), self.base, self.bounds, ()) }
    }

    /// Overwrites something: an index near the ring, any word, or a run of bytes.
    fn tamper(&self, input: &mut Input<'_>) {
        let size = self.layout.size();
        let write = |at: usize, bytes: &[u8]| {
            let len = bytes.len().min(size - at);
            // SAFETY: [at, at + len) is inside the block.
            unsafe { monshm_rbuf::copy::write_to(self.base.as_ptr().add(at), &bytes[..len]) };
        };
        match input.byte() % 8 {
            0 => write(128, &(CONTROL_LEN as u64 + u64::from(input.byte())).to_ne_bytes()),
            1 => write(256, &(CONTROL_LEN as u64 + u64::from(input.byte())).to_ne_bytes()),
            2 => {
                let at = usize::from(input.byte()) * 8 % size;
                write(at, &input.word().to_ne_bytes());
            }
            3 => {
                // A plausible header somewhere in the data.
                let at = CONTROL_LEN + usize::from(input.byte()) * 8 % (size - CONTROL_LEN);
                let word = u64::from(input.byte() & 0xF) << 28 | u64::from(input.byte());
                write(at, &word.to_ne_bytes());
            }
            _ => {}
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.base.as_ptr(), self.layout) };
    }
}

/// A handle that was poisoned answers the same from then on.
fn note<T>(outcome: Result<T, Error>, poison: &mut Option<Error>) {
    match (outcome, *poison) {
        (Err(now @ Error::Corrupt(_)), Some(before)) => assert_eq!(now, before),
        (Err(now @ Error::Corrupt(_)), None) => *poison = Some(now),
        _ => {}
    }
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let block = Block::new(8 * (1 + usize::from(input.byte() % 32)));
    let memory = block.memory();
    memory.format();
    if input.byte() % 2 == 1 {
        (0..4).for_each(|_| block.tamper(&mut input));
    }
    let me = NonZeroU32::MIN;
    let locked = Ring::new(memory);
    let (source, mut buffer) = ([0xA5; 300], [0; 300]);
    let (Ok(mut producer), Ok(mut consumer)) = (Producer::claim(memory, me), Consumer::claim(memory, me))
    else {
        // Nobody may claim this ring: the locked calls must refuse it or stand it.
        let _ = (locked.append(&source[..9]), locked.read(&mut buffer[..5]), locked.skip(3), locked.len());
        return;
    };
    let (mut wrong, mut poison) = (None, None);
    while !input.0.is_empty() {
        block.tamper(&mut input);
        let (what, len) = (input.byte() % 15, usize::from(input.byte()));
        let label = Label { kind: len as u8, flags: what, tag: 3 };
        match what {
            0 => note(producer.write(&source[..len]), &mut wrong),
            1 => note(producer.write_some(&source[..len]), &mut wrong),
            2 => note(producer.write_or_drop(&source[..len]), &mut wrong),
            3 => note(producer.push(label, &source[..len]), &mut wrong),
            4 => note(producer.push_checked(label, &source[..len]), &mut wrong),
            5 => {
                let grant = producer.reserve_record(label, len);
                note(
                    grant.and_then(|mut grant| {
                        grant.write_at(len / 2, &source[..len / 2]).and(grant.commit(len / 3))
                    }),
                    &mut wrong,
                );
            }
            6 => {
                let mut batch = producer.batch();
                note(batch.write(&source[..len / 8]), &mut wrong);
                note(batch.push(label, &source[..len / 8]), &mut wrong);
            }
            7 => note(
                producer
                    .reserve(len)
                    .and_then(|mut grant| grant.write_at(0, &source[..len]).and(grant.commit(len))),
                &mut wrong,
            ),
            8 => note(consumer.read(&mut buffer[..len]), &mut poison),
            9 => note(consumer.read_some(&mut buffer[..len]), &mut poison),
            10 => note(consumer.skip(len), &mut poison),
            11 => note(consumer.pop(&mut buffer[..len]), &mut poison),
            12 => {
                let mut count = 0;
                note(consumer.for_each(len % 5, &mut buffer, |_, _| count += 1), &mut poison);
                assert!(count <= len % 5);
            }
            13 => note(
                consumer
                    .peek_record()
                    .and_then(|mut grant| grant.read(&mut buffer).map(|()| grant.release())),
                &mut poison,
            ),
            _ => {
                let released = consumer.peek().and_then(|grant| {
                    let all = grant.len();
                    grant.read_at(0, &mut buffer[..all])?;
                    grant.release(all / 2)
                });
                note(released, &mut poison);
            }
        }
        let _ = (locked.len(), locked.avail(), locked.head(), locked.tail());
    }
});
