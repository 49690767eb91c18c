//! The allocator's words edited while the victim allocates: backwards, forwards, beyond the ring, and all the time.

use super::*;
use crate::raw::{BEGIN, CDATA_END, HEADER_LEN, RING_FROZEN};
use monshm::Segment;
use std::alloc::Layout;

attacks! {
    "allocator/edited" (Untrusted, BOTH): "sets cdata_end back, forth and beyond the ring"
        => edited_victim, edited_attacker;
    "allocator/racing" (Untrusted, BOTH): "edits its words all the time while the victim allocates"
        => racing_victim, racing_attacker;
    "allocator/filled" (Untrusted, BOTH): "takes all memory up to the segment's size, and tries to grow it"
        => filled_victim, filled_attacker;
}

/// New values of `cdata_end`, and what an allocation then answers.
const ENDS: [(u64, &Answers); 10] = [
    (0, &["Corrupt"]),
    (1, &["Corrupt"]),
    (HEADER_LEN as u64 - 1, &["Corrupt"]),
    (HEADER_LEN as u64, &["Ok"]),
    (HEADER_LEN as u64 + 8, &["Ok"]),
    (SIZE as u64 - 128, &["NoRoom"]),
    (SIZE as u64 - 127, &["Corrupt"]),
    (SIZE as u64, &["Corrupt"]),
    (u64::MAX, &["Corrupt"]),
    (1 << 63, &["Corrupt"]),
];

fn edited_victim(victim: &mut Victim<'_>) -> Done {
    for used in [false, true] {
        for (_, answers) in ENDS {
            let segment = victim.join()?;
            if used {
                segment.unguarded_ring()?;
            }
            victim.let_attack()?;
            fill(victim, &segment, 100, answers);
            fill(victim, &segment, 8, if answers == ["Corrupt"] { &["Poisoned"] } else { &["Ok", "NoRoom"] });
        }
    }
    Ok(())
}

fn edited_attacker(process: &mut Process) -> Done {
    let mut ends = ENDS.iter().chain(&ENDS);
    ends.try_for_each(|(end, _)| process.edit(|raw| raw.store(CDATA_END, *end)))
}

/// Allocates, and writes to what came.
fn fill(victim: &mut Victim<'_>, segment: &Segment, len: usize, allowed: &Answers) -> bool {
    let Ok(layout) = Layout::from_size_align(len, 8) else { return false };
    let Some(offset) = allocate(victim, segment, layout, allowed) else { return false };
    victim.call("copy", AT_ONCE, &["Ok"], || segment.region(offset, len)?.copy_from(&vec![7; len]));
    true
}

fn racing_victim(victim: &mut Victim<'_>) -> Done {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(200) {
        let segment = victim.join()?;
        victim.let_attack()?;
        for _ in 0..200 {
            if !fill(victim, &segment, 24, &["Ok", "NoRoom", "Corrupt"]) && segment.region(0, 1).is_err() {
                break;
            }
        }
        victim.signal()?;
    }
    Ok(())
}

fn racing_attacker(process: &mut Process) -> Done {
    let edit = |raw: &Raw, number: u64, _| {
        // Mostly near what can be, else every call would be refused at its first check.
        let near = HEADER_LEN as u64 + number % (SIZE as u64 - HEADER_LEN as u64);
        raw.store(CDATA_END, if number >> 60 == 0 { number } else { near });
        raw.store(BEGIN, near & !127);
        raw.word32(RING_FROZEN).store((number >> 40) as u32 & 1, Ordering::SeqCst);
    };
    process.race(|_| {}, edit)
}

fn filled_victim(victim: &mut Victim<'_>) -> Done {
    let segment = victim.join()?;
    let size = segment.size();
    victim.let_attack()?;
    victim.check(segment.size() == size, "the segment has the size that it was made with");
    fill(victim, &segment, 4096, &["NoRoom"]);
    let guard = victim.lock(&segment, SHORT, &["Clean"]);
    let ring = segment.unguarded_ring()?;
    victim.call("append", AT_ONCE, &["NoRoom"], || ring.append(&[1; 64]));
    victim.call("skip", AT_ONCE, &["Ok"], || ring.skip(64));
    victim.call("append", AT_ONCE, &["Ok"], || ring.append(&[1; 64]));
    drop(guard);
    Ok(())
}

fn filled_attacker(process: &mut Process) -> Done {
    let segment = process.join()?;
    process.await_signal()?;
    while segment.alloc(Layout::new::<[u8; 64]>()).is_ok() {}
    {
        let _guard = segment.lock()?;
        let ring = segment.unguarded_ring()?;
        while segment.alloc(Layout::new::<u8>()).is_ok() {}
        ring.append(&vec![0xaa; ring.avail()?])?;
    }
    // Beyond the segment's size: only objects of its own could be made larger.
    let raw = Raw::of(&segment)?;
    (HEADER_LEN..raw.len()).step_by(4096).for_each(|offset| raw.store(offset & !7, 0xaaaa_aaaa));
    process.acted();
    Ok(process.signal()?)
}
