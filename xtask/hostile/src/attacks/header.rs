//! The header's words edited: each of them, to 0, to 1, to all ones, off by one, and swapped with its neighbour.
//!
//! Before the victim attaches, while nothing is in use, and while everything is.

use super::*;
use crate::raw::{FIELDS, Field, HEADER_LEN};
use monshm::DEFAULT_TIMEOUT;
use std::alloc::Layout;

attacks! {
    "header/before-attach" (Untrusted, PEER): "edits each word before the victim attaches"
        => early_victim, early_attacker;
    "header/unused" (Untrusted, BOTH): "edits each word of a segment whose ring was not used"
        => |victim| late_victim(victim, false), late_attacker;
    "header/in-use" (Untrusted, BOTH): "edits each word while ring and allocator are in use"
        => |victim| late_victim(victim, true), late_attacker;
    "header/zeroed" (Untrusted, BOTH): "overwrites the whole header with zeros, ones and noise"
        => whole_victim, whole_attacker;
}

/// What a word is edited to.
const EDITS: u64 = 7;

/// Each word by its index in [`FIELDS`], with the number of each edit.
fn edits() -> impl Iterator<Item = (usize, u64)> {
    (0..FIELDS.len()).flat_map(|index| (0..EDITS).map(move |number| (index, number)))
}

/// Edits a word; to `otherwise` where the edit would leave it as it is.
fn edit(raw: &Raw, index: usize, number: u64, otherwise: u64) {
    let field = FIELDS[index];
    let old = raw.load_field(field);
    let neighbour = raw.load_field(FIELDS[(index + 1) % FIELDS.len()]);
    let most = if field.width == 4 { u32::MAX.into() } else { u64::MAX };
    let new = [0, 1, u64::MAX, old.wrapping_add(1), old.wrapping_sub(1), old ^ 128, neighbour][number as usize] & most;
    raw.store_field(field, if new == old { otherwise } else { new });
}

/// Words that are checked when a process attaches, and never read again.
fn is_checked_at_attach(field: Field) -> bool {
    ["magic", "version", "layout", "size", "cdata_begin", "ring_floor", "end"].contains(&field.name)
}

/// Words that are read again once the segment is in use, so that an edit can have an answer.
fn is_read_later(field: Field) -> bool {
    let others = ["attached", "consumer_waiting", "producer_waiting", "dropped_records"];
    !is_checked_at_attach(field) && !others.contains(&field.name)
}

fn early_victim(victim: &mut Victim<'_>) -> Done {
    for (index, number) in edits() {
        let field = FIELDS[index];
        victim.case(format!("{} {number}", field.name));
        // `ring_floor` may be any that leaves room: a creator may reserve what it likes.
        let allowed: &Answers = match field.name {
            "ring_floor" => &["Header", "Ok"],
            _ if is_checked_at_attach(field) => &["Header"],
            _ => &["Ok"],
        };
        if let Some(segment) = victim.receive(allowed)? {
            use_all(victim, &segment, true)?;
        }
        victim.signal()?;
    }
    Ok(())
}

fn early_attacker(process: &mut Process) -> Done {
    let socket = process.socket()?;
    for (index, number) in edits() {
        let segment = process.builder().create()?;
        edit(&Raw::of(&segment)?, index, number, 0xdead_beef);
        process.acted();
        // Whether it was refused is the victim's to judge.
        let _ = segment.send(&socket, DEFAULT_TIMEOUT);
        process.await_signal()?;
    }
    Ok(())
}

fn late_victim(victim: &mut Victim<'_>, used: bool) -> Done {
    for (index, number) in edits() {
        victim.case(format!("{} {number}", FIELDS[index].name));
        let segment = victim.join()?;
        if used {
            segment.alloc(Layout::new::<u64>())?;
            segment.unguarded_ring()?.append(b"before the attack")?;
        }
        victim.let_attack()?;
        use_all(victim, &segment, is_read_later(FIELDS[index]))?;
    }
    Ok(())
}

fn late_attacker(process: &mut Process) -> Done {
    edits().try_for_each(|(index, number)| process.edit(|raw| edit(raw, index, number, 2)))
}

/// How often the whole header is overwritten.
const WHOLE: u64 = 12;

fn whole_victim(victim: &mut Victim<'_>) -> Done {
    for number in 0..WHOLE {
        let segment = victim.join()?;
        if number % 2 == 0 {
            segment.unguarded_ring()?.append(b"before the attack")?;
        }
        victim.let_attack()?;
        let any = ["Clean", "OwnerDied", "TimedOut", "Corrupt", "Poisoned"];
        if let Some(guard) = victim.lock(&segment, Duration::from_millis(30), &any) {
            use_locked_ring(victim, &segment, true)?;
            victim.unlock(Some(guard), &["Ok", "Corrupt"]);
        }
        let any = ["Ok", "WouldBlock", "Corrupt", "Poisoned"];
        if let Some(guard) = victim.try_lock(&segment, &any) {
            let any = ["Ok", "NoRoom", "Corrupt", "Poisoned"];
            victim.call("alloc", AT_ONCE, &any, || segment.alloc(Layout::new::<u64>()));
            drop(guard);
        }
    }
    Ok(())
}

fn whole_attacker(process: &mut Process) -> Done {
    for number in 0..WHOLE {
        let mut random = process.random.clone();
        let mut word = move || match number % 4 {
            0 | 1 => 0,
            2 => u64::MAX,
            _ => random.next(),
        };
        process.edit(|raw| (0..HEADER_LEN).step_by(8).for_each(|offset| raw.store(offset, word())))?;
        process.random.next();
    }
    Ok(())
}
