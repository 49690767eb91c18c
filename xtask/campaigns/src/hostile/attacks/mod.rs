//! The attacks, a file for each family, and the list of them all.

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

use super::attack::Attack;

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
