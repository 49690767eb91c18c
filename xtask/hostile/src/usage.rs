//! Everything that a segment can do, done once by the victim: lock, allocator, locked ring, both ends.
//!
//! What each call may answer depends on whether the segment was attacked, or was not, or has lost its memory.

use crate::attack::Done;
use crate::guarded::Guarded;
use crate::raw::HEADER_LEN;
use crate::victim::{AT_ONCE, Answers, Victim};
use monshm::Label;
use monshm::Segment;
use std::alloc::Layout;
use std::time::Duration;

/// For calls of the ring's ends.
const WAIT: Duration = Duration::from_millis(2);

/// Allocates, and checks that the room lies behind the header and inside the segment. Answers where.
pub(crate) fn allocate(victim: &mut Victim<'_>, segment: &Segment, layout: Layout, allowed: &Answers) -> Option<u64> {
    let offset = victim.call("alloc", AT_ONCE, allowed, || segment.alloc(layout))?;
    let end = offset.saturating_add(layout.size() as u64);
    let inside = offset >= HEADER_LEN as u64 && end <= segment.size() as u64 && offset % layout.align() as u64 == 0;
    victim.check(inside, "allocated room lies inside the segment");
    Some(offset)
}

/// Uses lock, allocator, locked ring and both ends. Where `disturbed` is false every call must do its work.
pub(crate) fn use_all(victim: &mut Victim<'_>, segment: &Segment, disturbed: bool) -> Done {
    let or = |all: &'static [&'static str]| if disturbed { all } else { &all[..1] };
    let layout = Layout::from_size_align(64, 64)?;
    allocate(victim, segment, layout, or(&["Ok", "NoRoom", "Corrupt", "Poisoned"]));
    if let Some(guard) = victim.lock(segment, Duration::from_millis(40), or(&["Clean", "Poisoned"])) {
        use_locked_ring(victim, segment, disturbed)?;
        victim.unlock(Some(guard), &["Ok"]);
    }
    let mut bytes = Guarded::new(300)?;
    let claims = or(&["Ok", "Claimed", "Corrupt", "Poisoned", "MixedRing"]);
    let moves = or(&["Ok", "Closed", "TimedOut", "Corrupt", "Poisoned", "MixedRing"]);
    // What the locked use left is not of whole records.
    let records = ["Ok", "NoRoom", "Closed", "TimedOut", "Corrupt", "Poisoned", "MixedRing"];
    if let Some(mut producer) = victim.call("producer", AT_ONCE, claims, || segment.producer()) {
        victim.call("write", WAIT, moves, || producer.write(&bytes.bytes()[..80], WAIT));
    }
    if let Some(mut consumer) = victim.call("consumer", AT_ONCE, claims, || segment.consumer()) {
        victim.call("read_partial", WAIT, moves, || consumer.read_partial(bytes.bytes(), WAIT));
        if disturbed {
            victim.call("pop", WAIT, &records, || consumer.pop(bytes.bytes(), WAIT));
        }
    }
    if disturbed {
        if let Some(mut producer) = victim.call("producer", AT_ONCE, claims, || segment.producer()) {
            let record = &bytes.bytes()[..33];
            victim.call("push", WAIT, &records, || producer.push(Label::kind(1), record, WAIT));
        }
    }
    victim.check_guards(&bytes);
    Ok(())
}

/// Uses the ring under the lock, which the caller holds.
pub(crate) fn use_locked_ring(victim: &mut Victim<'_>, segment: &Segment, disturbed: bool) -> Done {
    let or = |all: &'static [&'static str]| if disturbed { all } else { &all[..1] };
    let broken = or(&["Ok", "Corrupt", "Poisoned"]);
    // A claim that is edited in looks like a lock-free end in use.
    let Some(ring) = victim.call("ring", AT_ONCE, broken, || segment.unguarded_ring()) else { return Ok(()) };
    let mut bytes = Guarded::new(200)?;
    let puts = or(&["Ok", "NoRoom", "Claimed", "Corrupt", "Poisoned"]);
    let takes = or(&["Ok", "NoData", "Claimed", "Corrupt", "Poisoned"]);
    victim.call("append", AT_ONCE, puts, || ring.append(bytes.bytes()));
    if let Some(len) = victim.call("len", AT_ONCE, broken, || ring.len()) {
        victim.check(len <= ring.capacity(), "the ring holds no more than its capacity");
    }
    victim.call("read", AT_ONCE, takes, || ring.read(bytes.bytes()));
    victim.call("skip", AT_ONCE, takes, || ring.skip(0));
    victim.check_guards(&bytes);
    Ok(())
}

/// Uses everything where any call may find that the memory is gone.
pub(crate) fn use_lost(victim: &mut Victim<'_>, segment: &Segment) -> Done {
    let any =
        ["Ok", "NoRoom", "NoData", "Claimed", "Closed", "TimedOut", "MixedRing", "Corrupt", "Poisoned", "MemoryLost"];
    let locks = ["Clean", "OwnerDied", "TimedOut", "Corrupt", "Poisoned", "MemoryLost"];
    let guard = victim.lock(segment, WAIT, &locks);
    victim.unlock(guard, &["Ok", "Corrupt", "MemoryLost"]);
    let mut bytes = Guarded::new(400)?;
    victim.call("alloc", AT_ONCE, &any, || segment.alloc(Layout::new::<u64>()));
    victim.call("append", AT_ONCE, &any, || segment.unguarded_ring()?.append(bytes.bytes()));
    victim.call("read", AT_ONCE, &any, || segment.unguarded_ring()?.read(bytes.bytes()));
    victim.call("write", WAIT, &any, || segment.producer()?.write(bytes.bytes(), WAIT));
    victim.call("read_partial", WAIT, &any, || segment.consumer()?.read_partial(bytes.bytes(), WAIT));
    let end = segment.size() as u64;
    let last = ["Ok", "Poisoned", "MemoryLost"];
    victim.call("copy", AT_ONCE, &last, || segment.region(end - 400, 400)?.copy_to(bytes.bytes()));
    victim.check_guards(&bytes);
    Ok(())
}
