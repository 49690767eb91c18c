//! Lock and unlock in one thread with nobody else, nanoseconds.

use std::cell::UnsafeCell;

use super::Lock;
use super::kinds::Ours;
use super::raw::Raw;
use crate::machine::{self, Pages};
use crate::rounds::Case;

/// Pairs of calls in one round.
pub(super) const FAST: u32 = 2_000_000;
/// Pairs of system calls in one round.
pub(super) const SLOW: u32 = 200_000;

/// Nanoseconds of one call of `pair`, which locks and unlocks.
fn time(pairs: u32, mut pair: impl FnMut()) -> f64 {
    for _ in 0..pairs / 10 {
        pair();
    }
    let began = machine::now_ns();
    for _ in 0..pairs {
        pair();
    }
    (machine::now_ns() - began) as f64 / f64::from(pairs)
}

/// A segment of its own each round, so that each is on new pages.
pub(super) fn ours(kind: Ours, pairs: u32) -> Case<'static> {
    Case::fallible(kind.name(), move || {
        let segment = kind.create()?;
        Ok(time(pairs, || drop(segment.lock().expect("nobody else holds it"))))
    })
}

pub(super) fn raw<L: Raw + 'static>(
    name: &str,
    pairs: u32,
    make: impl Fn(&Pages) -> Result<L, String> + 'static,
) -> Case<'static> {
    Case::fallible(name, move || {
        let pages = Pages::new(4096);
        let mut lock = make(&pages)?;
        Ok(time(pairs, || lock.with(|| ())))
    })
}

pub(super) fn threads<L: 'static>(name: &str, lock: L) -> Case<'static>
where
    for<'a> &'a L: Lock,
{
    let lock = UnsafeCell::new(lock);
    Case::new(name, move || {
        // SAFETY: this closure alone has the cell; the optimiser is kept from seeing that the lock has no other user.
        let lock = unsafe { &*std::hint::black_box(lock.get()) };
        time(FAST, || {
            let mut lock = std::hint::black_box(lock);
            lock.with(|| ());
        })
    })
}
