//! The allocator's words edited while the victim allocates: backwards, forwards, beyond the ring, and all the time.

use crate::cell::SIZE;
use crate::hostile::attack::{Attack, Played};
use crate::hostile::raw::{BEGIN, CDATA_END, HEADER_LEN, RING_FROZEN, Raw};
use crate::hostile::stage::Stage;
use crate::hostile::victim::{AT_ONCE, Victim};
use monshm::Segment;
use std::alloc::Layout;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

pub(super) const ATTACKS: &[Attack] = &[
    Attack::new("allocator/edited", "sets cdata_end back, forth and beyond the ring", edited_victim, edited_attacker),
    Attack::new(
        "allocator/racing",
        "edits its words all the time while the victim allocates",
        racing_victim,
        racing_attacker,
    ),
    Attack::new(
        "allocator/filled",
        "takes all memory up to the segment's size, and tries to grow it",
        filled_victim,
        filled_attacker,
    ),
];

/// New values of `cdata_end`, and what an allocation then answers.
const ENDS: [(u64, &[&str]); 10] = [
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

fn edited_victim(victim: &mut Victim<'_>) -> Played {
    for used in [false, true] {
        for (end, answers) in ENDS {
            let segment = victim.stage.join()?;
            if used {
                segment.ring()?;
            }
            victim.stage.cue()?;
            victim.stage.await_cue()?;
            allocate(victim, &segment, 100, answers);
            let then: &[&str] = if answers == ["Corrupt"] { &["Poisoned"] } else { &["Ok", "NoRoom"] };
            allocate(victim, &segment, 8, then);
            victim.check(end != 0 || answers == ["Corrupt"], "an end of 0 is corrupt");
        }
    }
    Ok(())
}

fn edited_attacker(stage: &mut Stage) -> Played {
    for _ in [false, true] {
        for (end, _) in ENDS {
            let segment = stage.join()?;
            stage.await_cue()?;
            Raw::of(&segment)?.put(CDATA_END, end);
            stage.did("cdata_end");
            stage.cue()?;
        }
    }
    stage.until_the_end();
    Ok(())
}

/// Allocates, and checks that the room lies behind the header and inside the segment, and can be written to.
fn allocate(victim: &mut Victim<'_>, segment: &Segment, len: usize, allowed: &[&str]) -> bool {
    let Ok(layout) = Layout::from_size_align(len, 8) else { return false };
    let Some(offset) = victim.ask("alloc", AT_ONCE, allowed, || segment.alloc(layout)) else { return false };
    let inside = offset >= HEADER_LEN as u64 && offset.saturating_add(len as u64) <= segment.size() as u64;
    victim.check(inside, "allocated room lies inside the segment");
    victim.ask("copy", AT_ONCE, &["Ok"], || segment.region(offset, len)?.copy_from(&vec![7; len]));
    true
}

fn racing_victim(victim: &mut Victim<'_>) -> Played {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(200) {
        let segment = victim.stage.join()?;
        victim.stage.tell(1)?;
        for _ in 0..200 {
            let any = ["Ok", "NoRoom", "Corrupt"];
            if !allocate(victim, &segment, 24, &any) && segment.region(0, 1).is_err() {
                break;
            }
        }
        victim.stage.tell(0)?;
    }
    victim.stage.tell(2)?;
    Ok(())
}

fn racing_attacker(stage: &mut Stage) -> Played {
    loop {
        let Ok(segment) = stage.join() else { return Ok(()) };
        stage.hear()?;
        let raw = Raw::of(&segment)?;
        while !stage.is_called() {
            for _ in 0..500 {
                let number = stage.random.next();
                // Mostly near what can be, else every call would be refused at its first check.
                let near = HEADER_LEN as u64 + number % (SIZE as u64 - HEADER_LEN as u64);
                raw.put(CDATA_END, if number >> 60 == 0 { number } else { near });
                raw.put(BEGIN, near & !127);
                raw.word32(RING_FROZEN).store((number >> 40) as u32 & 1, Ordering::SeqCst);
            }
        }
        stage.did("raced");
        stage.hear()?;
    }
}

fn filled_victim(victim: &mut Victim<'_>) -> Played {
    let segment = victim.stage.join()?;
    let shmem = segment.size();
    victim.stage.cue()?;
    victim.stage.await_cue()?;
    victim.check(segment.size() == shmem, "the segment has the size that it was made with");
    allocate(victim, &segment, 4096, &["NoRoom"]);
    let guard = victim.lock(&segment, Duration::from_millis(40), &["Clean"]);
    let ring = segment.ring()?;
    victim.ask("append", AT_ONCE, &["NoRoom"], || ring.append(&[1; 64]));
    victim.ask("skip", AT_ONCE, &["Ok"], || ring.skip(64));
    victim.ask("append", AT_ONCE, &["Ok"], || ring.append(&[1; 64]));
    drop(guard);
    Ok(())
}

fn filled_attacker(stage: &mut Stage) -> Played {
    let segment = stage.join()?;
    stage.await_cue()?;
    while segment.alloc(Layout::new::<[u8; 64]>()).is_ok() {}
    {
        let _guard = segment.lock()?;
        let ring = segment.ring()?;
        while segment.alloc(Layout::new::<u8>()).is_ok() {}
        ring.append(&vec![0xaa; ring.avail()?])?;
    }
    // Beyond the segment's size: only objects of its own could be made larger.
    let raw = Raw::of(&segment)?;
    for offset in (super::super::raw::HEADER_LEN..raw.len()).step_by(4096) {
        raw.put(offset & !7, 0xaaaa_aaaa);
    }
    stage.did("filled");
    stage.cue()?;
    stage.until_the_end();
    Ok(())
}
