//! The attacks, a file for each family, and the list of them all.
//!
//! What every family needs is imported here, once.

mod allocator;
mod descriptors;
mod handover;
mod header;
mod lock_word;
mod object;
mod records;
mod ring;
mod stopped;
mod strangers;
mod sysv;
mod trust;
mod wakeups;

use crate::attack::{Attack, Done, Fallible, Users, attacks};
use crate::forge::Honest;
use crate::frame;
use crate::guarded::Guarded;
use crate::process::{Process, connect, read_number, stop};
use crate::raw::Raw;
use crate::usage::{allocate, use_all, use_locked_ring, use_lost};
use crate::victim::{AT_ONCE, Answers, Victim};
use harness::now_ns;
use harness::product::SIZE;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long a lock is waited for that may not come.
const SHORT: Duration = Duration::from_millis(40);

/// Every attack, family by family.
pub(crate) fn all() -> Vec<Attack> {
    [
        trust::ATTACKS,
        lock_word::ATTACKS,
        wakeups::ATTACKS,
        stopped::ATTACKS,
        header::ATTACKS,
        allocator::ATTACKS,
        ring::ATTACKS,
        records::ATTACKS,
        descriptors::ATTACKS,
        object::ATTACKS,
        handover::ATTACKS,
        strangers::ATTACKS,
        sysv::ATTACKS,
    ]
    .concat()
}
