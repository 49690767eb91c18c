//! The header's words edited: each of them, to 0, to 1, to all ones, off by one, and swapped with its neighbour.
//!
//! Before the victim attaches, while nothing is in use, and while everything is.

use crate::hostile::attack::{Attack, PEER, Played};
use crate::hostile::raw::{FIELDS, Field, HEADER_LEN, Raw};
use crate::hostile::stage::Stage;
use crate::hostile::victim::{AT_ONCE, Victim};
use monshm::rbuf::Label;
use monshm::{DEFAULT_TIMEOUT, Segment};
use std::alloc::Layout;
use std::time::Duration;

pub(super) const ATTACKS: &[Attack] = &[
    Attack::new("header/before-attach", "edits each word before the victim attaches", early_victim, early_attacker)
        .from(PEER),
    Attack::new("header/unused", "edits each word of a segment whose ring was not used", unused_victim, late_attacker),
    Attack::new("header/in-use", "edits each word while ring and allocator are in use", used_victim, late_attacker),
    Attack::new(
        "header/zeroed",
        "overwrites the whole header with zeros, ones and noise",
        whole_victim,
        whole_attacker,
    ),
];

/// What a word is edited to.
const EDITS: u64 = 7;

/// The word's new value; `None` where it is the old one.
fn edit(raw: &Raw, place: usize, number: u64) -> Option<u64> {
    let field = FIELDS[place];
    let old = raw.get(field);
    let neighbour = raw.get(FIELDS[(place + 1) % FIELDS.len()]);
    let most = if field.width == 4 { u32::MAX.into() } else { u64::MAX };
    let new = [0, 1, u64::MAX, old.wrapping_add(1), old.wrapping_sub(1), old ^ 128, neighbour][number as usize] & most;
    (new != old).then_some(new)
}

/// Words that are checked when a process attaches, and never read again.
fn is_checked_at_attach(field: Field) -> bool {
    ["magic", "version", "layout", "size", "cdata_begin", "ring_floor", "end"].contains(&field.name)
}

/// Words that somebody reads again once the segment is in use, so that an edit can have an answer.
fn is_read_later(field: Field) -> bool {
    let names = [
        "cdata_end",
        "ring_frozen",
        "begin",
        "head",
        "tail",
        "consumer_claim",
        "producer_claim",
        "consumer_closed",
        "producer_closed",
    ];
    names.contains(&field.name)
}

fn early_victim(victim: &mut Victim<'_>) -> Played {
    let wire = victim.stage.wire()?;
    for field in FIELDS {
        for number in 0..EDITS {
            victim.scene(format!("{} {number}", field.name));
            victim.stage.await_cue()?;
            let attach = victim.stage.attach();
            // `ring_floor` may be any that leaves room: a creator may reserve what it likes.
            let allowed: &[&str] = match field.name {
                "ring_floor" => &["Header", "Ok"],
                _ if is_checked_at_attach(field) => &["Header"],
                _ => &["Ok"],
            };
            let found = victim.ask("receive", DEFAULT_TIMEOUT, allowed, || attach.receive(&wire));
            victim.stage.tell(found.is_some().into())?;
            if let Some(segment) = found {
                use_all(victim, &segment, true)?;
            }
        }
    }
    Ok(())
}

fn early_attacker(stage: &mut Stage) -> Played {
    let wire = stage.wire()?;
    for (place, field) in FIELDS.into_iter().enumerate() {
        for number in 0..EDITS {
            let segment = stage.builder().create()?;
            let raw = Raw::of(&segment)?;
            let new = edit(&raw, place, number).unwrap_or(0xdead_beef);
            raw.set(field, new);
            stage.did(field.name);
            stage.cue()?;
            // Whether it was refused is the victim's to judge.
            let _ = segment.send(&wire, DEFAULT_TIMEOUT);
            stage.hear()?;
        }
    }
    Ok(())
}

fn unused_victim(victim: &mut Victim<'_>) -> Played {
    late_victim(victim, false)
}

fn used_victim(victim: &mut Victim<'_>) -> Played {
    late_victim(victim, true)
}

fn late_victim(victim: &mut Victim<'_>, used: bool) -> Played {
    for field in FIELDS {
        for number in 0..EDITS {
            victim.scene(format!("{} {number}", field.name));
            let segment = victim.stage.join()?;
            if used {
                segment.alloc(Layout::new::<u64>())?;
                segment.ring()?.append(b"before the attack")?;
            }
            victim.stage.cue()?;
            victim.stage.await_cue()?;
            use_all(victim, &segment, is_read_later(field))?;
        }
    }
    Ok(())
}

fn late_attacker(stage: &mut Stage) -> Played {
    for (place, field) in FIELDS.into_iter().enumerate() {
        for number in 0..EDITS {
            let segment = stage.join()?;
            stage.await_cue()?;
            let raw = Raw::of(&segment)?;
            let new = edit(&raw, place, number).unwrap_or(2);
            raw.set(field, new);
            stage.did(field.name);
            stage.cue()?;
        }
    }
    stage.until_the_end();
    Ok(())
}

/// Uses lock, allocator, locked ring and both ends. Where `disturbed` is false every call must do its work.
pub(super) fn use_all(victim: &mut Victim<'_>, segment: &Segment, disturbed: bool) -> Played {
    const WAIT: Duration = Duration::from_millis(2);
    let or = |all: &'static [&'static str]| if disturbed { all } else { &all[..1] };
    let allocated = victim.ask("alloc", AT_ONCE, or(&["Ok", "NoRoom", "Corrupt", "Poisoned"]), || {
        segment.alloc(Layout::from_size_align(64, 64).unwrap_or(Layout::new::<u64>()))
    });
    if let Some(offset) = allocated {
        let inside = offset >= HEADER_LEN as u64 && offset + 64 <= segment.size() as u64 && offset % 64 == 0;
        victim.check(inside, "allocated room lies inside the segment");
    }
    if let Some(guard) = victim.lock(segment, Duration::from_millis(40), or(&["Clean", "Poisoned"])) {
        use_locked_ring(victim, segment, disturbed)?;
        victim.ask("unlock", AT_ONCE, &["Ok"], || guard.unlock());
    }
    let mut bytes = victim.buffer(300)?;
    let claims = or(&["Ok", "Claimed", "Corrupt", "Poisoned", "MixedRing"]);
    let moves = or(&["Ok", "Closed", "TimedOut", "Corrupt", "Poisoned", "MixedRing"]);
    // What the locked use left is not of whole records.
    if let Some(mut producer) = victim.ask("producer", AT_ONCE, claims, || segment.producer()) {
        victim.ask("write_wait", WAIT, moves, || producer.write_wait(&bytes.bytes()[..80], WAIT));
    }
    if let Some(mut consumer) = victim.ask("consumer", AT_ONCE, claims, || segment.consumer()) {
        victim.ask("read_wait", WAIT, moves, || consumer.read_wait(bytes.bytes(), WAIT));
        if disturbed {
            let any = ["Ok", "NoRoom", "Closed", "TimedOut", "Corrupt", "Poisoned", "MixedRing"];
            victim.ask("pop_wait", WAIT, &any, || consumer.pop_wait(bytes.bytes(), WAIT));
        }
    }
    if disturbed {
        if let Some(mut producer) = victim.ask("producer", AT_ONCE, claims, || segment.producer()) {
            let any = ["Ok", "NoRoom", "Closed", "TimedOut", "Corrupt", "Poisoned", "MixedRing"];
            victim.ask("push_wait", WAIT, &any, || producer.push_wait(Label::kind(1), &bytes.bytes()[..33], WAIT));
        }
    }
    victim.is_whole(&bytes);
    Ok(())
}

fn use_locked_ring(victim: &mut Victim<'_>, segment: &Segment, disturbed: bool) -> Played {
    let or = |all: &'static [&'static str]| if disturbed { all } else { &all[..1] };
    let broken = or(&["Ok", "Corrupt", "Poisoned"]);
    // A claim that is edited in looks like a lock-free end in use.
    let Some(ring) = victim.ask("ring", AT_ONCE, broken, || segment.ring()) else { return Ok(()) };
    let mut bytes = victim.buffer(200)?;
    victim
        .ask("append", AT_ONCE, or(&["Ok", "NoRoom", "Claimed", "Corrupt", "Poisoned"]), || ring.append(bytes.bytes()));
    if let Some(len) = victim.ask("len", AT_ONCE, broken, || ring.len()) {
        victim.check(len <= ring.capacity(), "the ring holds no more than its capacity");
    }
    victim.ask("read", AT_ONCE, or(&["Ok", "NoData", "Claimed", "Corrupt", "Poisoned"]), || ring.read(bytes.bytes()));
    victim.ask("skip", AT_ONCE, or(&["Ok", "NoData", "Claimed", "Corrupt", "Poisoned"]), || ring.skip(0));
    victim.is_whole(&bytes);
    Ok(())
}

/// How often the whole header is overwritten.
const WHOLE: u64 = 12;

fn whole_victim(victim: &mut Victim<'_>) -> Played {
    for number in 0..WHOLE {
        let segment = victim.stage.join()?;
        if number % 2 == 0 {
            segment.ring()?.append(b"before the attack")?;
        }
        victim.stage.cue()?;
        victim.stage.await_cue()?;
        let any = ["Clean", "OwnerDied", "TimedOut", "Corrupt", "Poisoned"];
        if let Some(guard) = victim.lock(&segment, Duration::from_millis(30), &any) {
            use_locked_ring(victim, &segment, true)?;
            victim.ask("unlock", AT_ONCE, &["Ok", "Corrupt"], || guard.unlock());
        }
        let any = ["Ok", "WouldBlock", "Corrupt", "Poisoned"];
        if let Some(guard) = victim.try_lock(&segment, &any) {
            let any = ["Ok", "NoRoom", "Corrupt", "Poisoned"];
            victim.ask("alloc", AT_ONCE, &any, || segment.alloc(Layout::new::<u64>()));
            drop(guard);
        }
    }
    Ok(())
}

fn whole_attacker(stage: &mut Stage) -> Played {
    for number in 0..WHOLE {
        let segment = stage.join()?;
        stage.await_cue()?;
        let raw = Raw::of(&segment)?;
        for offset in (0..HEADER_LEN).step_by(8) {
            let word = match number % 4 {
                0 | 1 => 0,
                2 => u64::MAX,
                _ => stage.random.next(),
            };
            raw.put(offset, word);
        }
        stage.did("whole header");
        stage.cue()?;
    }
    stage.until_the_end();
    Ok(())
}
