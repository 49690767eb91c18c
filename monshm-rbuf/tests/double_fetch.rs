//! "Copy, check, use" uses the copy that was checked, whatever the peer writes meanwhile.
//!
//! A compiler that sees where a private copy came from may fetch it again after the check; `rustc -O` does so
//! with an ordinary copy. Run with `--release` too: the mutation table does, with an ordinary copy in place of
//! ours, and this test notices. It can fail only if a second fetch took place, never by bad timing.
#![cfg(not(miri))] // the other thread's stores would be a data race of an ordinary copy, which is the point

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;

use monshm_rbuf::copy;

const WORDS: usize = 64;
const LEN: usize = 8 * WORDS;

/// Copies shared bytes, refuses them unless all are equal, and hands the copy on.
#[inline(never)]
fn copy_check_use(shared: &[AtomicU64; WORDS], out: &mut [u8; LEN]) -> bool {
    let mut private = [0; LEN];
    // SAFETY: LEN bytes of atomics, valid for reads; `private` is another array.
    unsafe { copy::read_from(shared.as_ptr().cast::<u8>(), &mut private) };
    if private.iter().any(|byte| *byte != private[0]) {
        return false;
    }
    out.copy_from_slice(&private);
    true
}

#[test]
fn what_was_checked_is_what_is_used() {
    let shared = [const { AtomicU64::new(0) }; WORDS];
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut value = 0_u8;
            while !done.load(Relaxed) {
                value = value.wrapping_add(1);
                shared.iter().for_each(|word| word.store(u64::from_ne_bytes([value; 8]), Relaxed));
                // Mostly whole, so that the check passes; sometimes in the middle of a change.
                (0..u32::from(value) * 2).for_each(|_| std::hint::spin_loop());
            }
        });
        let mut out = [0; LEN];
        let mut passed = 0;
        for _ in 0..300_000 {
            if copy_check_use(&shared, &mut out) {
                passed += 1;
                let whole = out.iter().all(|byte| *byte == out[0]);
                if !whole {
                    done.store(true, Relaxed);
                }
                assert!(whole, "the copy that was used is not the one that was checked");
            }
        }
        done.store(true, Relaxed);
        assert!(passed > 0, "no copy was whole");
    });
}
