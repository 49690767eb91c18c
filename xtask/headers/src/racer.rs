//! A thread that writes mutations to the header at full speed, and puts each back at once, while the target works.
//!
//! It judges nothing: the target's own judge does, without the comparison of bytes that others write meanwhile.

use crate::change::Change;
use crate::target::Target;
use harness::Random;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;

/// Has the target make `count` calls beside a writer.
pub(crate) fn beside(target: &mut Target, random: &mut Random, count: u64) {
    let (over, written) = (AtomicBool::new(false), AtomicU64::new(0));
    let (header, good) = (target.header(), target.image());
    let mut own = Random::of(random.next(), &[]);
    thread::scope(|scope| {
        let (over, written) = (&over, &written);
        scope.spawn(move || {
            while !over.load(Relaxed) {
                let change = Change::choose(&good, &mut own);
                change.each().for_each(|(at, value)| header.word(at).store(value, Relaxed));
                (0..own.below(64)).for_each(|_| std::hint::spin_loop());
                change.each().for_each(|(at, _)| header.word(at).store(good[at], Relaxed));
                written.fetch_add(change.count as u64, Relaxed);
            }
        });
        // Ends the writer also when a call panics, or the scope would wait for it for ever.
        let _end = Ending(over);
        (0..count).for_each(|_| target.step_beside_writer(random));
    });
    target.note_raced(written.load(Relaxed));
}

struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}
