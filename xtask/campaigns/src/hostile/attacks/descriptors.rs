//! Descriptors forged field by field, flipped bit by bit, used twice, too late, and with another segment's object.

use super::header::use_all;
use crate::hostile::attack::{Attack, Cells, PEER, Played};
use crate::hostile::forge::Honest;
use crate::hostile::frame;
use crate::hostile::stage::Stage;
use crate::hostile::victim::{AT_ONCE, Victim};
use monshm::DEFAULT_TIMEOUT;
use monshm_core::{Descriptor, LockKind, MemoryKind, Name, Object};
use std::os::fd::AsFd;

pub(super) const ATTACKS: &[Attack] = &[
    Attack::new("descriptor/fields", "forges each field, with a right checksum", fields_victim, fields_attacker)
        .from(PEER),
    Attack::new("descriptor/bits", "flips each bit, cuts at each byte, appends", bits_victim, bits_attacker)
        .on(Cells::Memories)
        .from(PEER),
    Attack::new("descriptor/replayed", "sends the same descriptor twice", replayed_victim, replayed_attacker)
        .from(PEER),
    Attack::new("descriptor/stale", "sends one that 16 newer ones have replaced", stale_victim, stale_attacker)
        .from(PEER),
    Attack::new(
        "descriptor/of-another",
        "sends one segment's bytes with another's object",
        other_victim,
        other_attacker,
    )
    .from(PEER),
];

/// A forgery: what it is, how it is made, and what the victim answers. `false` where this kind of segment has none.
struct Forgery {
    name: &'static str,
    forge: fn(&mut Descriptor, &Stage) -> bool,
    answers: &'static [&'static str],
}

const fn forgery(
    name: &'static str,
    forge: fn(&mut Descriptor, &Stage) -> bool,
    answers: &'static [&'static str],
) -> Forgery {
    Forgery { name, forge, answers }
}

const FORGERIES: &[Forgery] = &[
    forgery("lock: mutex", |d, _| lock(d, LockKind::PthreadMutex), &["LockNotTrusted", "Header"]),
    forgery("lock: semaphore", |d, _| lock(d, LockKind::Semaphore), &["LockNotTrusted", "Header"]),
    forgery("lock: the other of System V", |d, _| other_sysv_lock(d), &["Header"]),
    forgery("size 0", |d, _| set(&mut d.size, 0), &["Descriptor"]),
    forgery("a page more", |d, _| add(&mut d.size, 4096), &["SizeMismatch"]),
    forgery("a page less", |d, _| add(&mut d.size, 4096u64.wrapping_neg()), &["SizeMismatch"]),
    forgery("a byte more", |d, _| add(&mut d.size, 1), &["Descriptor"]),
    forgery("the largest size", |d, _| set(&mut d.size, u64::MAX), &["Descriptor"]),
    // What the object's own header says decides.
    forgery("layout", |d, _| set(&mut d.layout, 7), &["Ok"]),
    forgery("token", |d, _| flip(&mut d.token.0[3]), &["TokenSpent"]),
    forgery("token's second word", |d, _| flip(&mut d.token.0[12]), &["TokenSpent"]),
    forgery("no token", |d, _| set(&mut d.token.0, [0; 16]), &["TokenSpent"]),
    forgery("owner: nobody", |d, _| set(&mut d.owner.uid, u32::MAX), &["WrongOwner"]),
    forgery("owner: root", |d, s| s.cast.attacker != 0 && set(&mut d.owner.uid, 0), &["WrongOwner"]),
    forgery(
        "owner: the victim",
        |d, s| s.cast.attacker != s.cast.victim && set(&mut d.owner.uid, s.cast.victim),
        &["WrongOwner"],
    ),
    forgery("owner's group", |d, _| set(&mut d.owner.gid, 12345), &["Ok"]),
    forgery("inode", |d, _| inode(d, 1), &["HandleType"]),
    forgery("another process and number", |d, _| process(d), &["Ok"]),
    forgery("another name", |d, _| name(d), &["Ok"]),
    forgery("another segment id", |d, _| shm_id(d, |id| id ^ 0x4000_0000), &["Gone"]),
    forgery("a negative segment id", |d, _| shm_id(d, |_| -1), &["Gone", "Descriptor"]),
    forgery("another set id", |d, _| sem_id(d, |id| id ^ 0x4000_0000), &["Gone"]),
    forgery("the largest set id", |d, _| sem_id(d, |_| i32::MAX), &["Gone"]),
];

fn set<T: PartialEq>(place: &mut T, value: T) -> bool {
    *place = value;
    true
}

fn add(place: &mut u64, value: u64) -> bool {
    *place = place.wrapping_add(value);
    true
}

fn flip(place: &mut u8) -> bool {
    *place ^= 0x10;
    true
}

fn lock(descriptor: &mut Descriptor, lock: LockKind) -> bool {
    descriptor.object.memory() != MemoryKind::SysvShm && set(&mut descriptor.lock, lock)
}

fn other_sysv_lock(descriptor: &mut Descriptor) -> bool {
    let other = if descriptor.lock == LockKind::Futex { LockKind::SysvSem } else { LockKind::Futex };
    descriptor.object.memory() == MemoryKind::SysvShm && set(&mut descriptor.lock, other)
}

fn inode(descriptor: &mut Descriptor, by: u64) -> bool {
    match &mut descriptor.object {
        Object::Memfd { inode, .. } | Object::Named { inode, .. } => add(inode, by),
        Object::Sysv { .. } => false,
    }
}

fn process(descriptor: &mut Descriptor) -> bool {
    let Object::Memfd { pid, fd, .. } = &mut descriptor.object else { return false };
    // The descriptor came with the bytes: nobody looks there.
    set(pid, 1) && set(fd, 0)
}

fn name(descriptor: &mut Descriptor) -> bool {
    let Object::Named { name, .. } = &mut descriptor.object else { return false };
    set(name, Name::from_random(7))
}

fn shm_id(descriptor: &mut Descriptor, edit: fn(i32) -> i32) -> bool {
    let Object::Sysv { shm_id, .. } = &mut descriptor.object else { return false };
    set(shm_id, edit(*shm_id))
}

fn sem_id(descriptor: &mut Descriptor, edit: fn(i32) -> i32) -> bool {
    let Object::Sysv { sem_id, .. } = &mut descriptor.object else { return false };
    set(sem_id, edit(*sem_id))
}

fn fields_victim(victim: &mut Victim<'_>) -> Played {
    let wire = victim.stage.wire()?;
    for forgery in FORGERIES {
        victim.scene(forgery.name);
        if victim.stage.hear()? == 0 {
            continue;
        }
        let attach = victim.stage.attach();
        let opened = victim.ask("receive", DEFAULT_TIMEOUT, forgery.answers, || attach.receive(&wire));
        if let Some(segment) = opened {
            use_all(victim, &segment, false)?;
        }
    }
    Ok(())
}

fn fields_attacker(stage: &mut Stage) -> Played {
    let wire = stage.wire()?;
    for forgery in FORGERIES {
        let mut honest = Honest::new(stage)?;
        let forged = (forgery.forge)(&mut honest.descriptor, stage);
        stage.tell(forged.into())?;
        if forged {
            let fd = honest.fd.as_ref().map(AsFd::as_fd);
            frame::send(&wire, &frame::message(&honest.bytes()), fd.as_slice())?;
            frame::receive_acknowledgement(&wire)?;
            stage.did(forgery.name);
        }
        stage.keep(honest.segment);
    }
    stage.until_the_end();
    Ok(())
}

fn bits_victim(victim: &mut Victim<'_>) -> Played {
    let wire = victim.stage.wire()?;
    let (bytes, fd) = frame::receive(&wire)?;
    drop(fd);
    let attach = victim.stage.attach();
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        victim.ask("decode", AT_ONCE, &["Descriptor"], || attach.decode(&flipped, None));
    }
    for len in 0..bytes.len() {
        victim.ask("decode", AT_ONCE, &["Descriptor"], || attach.decode(&bytes[..len], None));
    }
    let longer = [bytes.as_slice(), &[0; 8]].concat();
    victim.ask("decode", AT_ONCE, &["Descriptor"], || attach.decode(longer, None));
    for _ in 0..2000 {
        let len = victim.stage.random.below(200) as usize;
        let noise: Vec<u8> = (0..len).map(|_| victim.stage.random.next() as u8).collect();
        victim.ask("decode", AT_ONCE, &["Descriptor"], || attach.decode(noise, None));
    }
    Ok(())
}

fn bits_attacker(stage: &mut Stage) -> Played {
    let wire = stage.wire()?;
    let honest = Honest::new(stage)?;
    let fd = honest.fd.as_ref().map(AsFd::as_fd);
    frame::send(&wire, &frame::message(&honest.bytes()), fd.as_slice())?;
    stage.did("sent");
    stage.until_the_end();
    Ok(())
}

fn replayed_victim(victim: &mut Victim<'_>) -> Played {
    let wire = victim.stage.wire()?;
    let attach = victim.stage.attach();
    let first = victim.ask("receive", DEFAULT_TIMEOUT, &["Ok"], || attach.receive(&wire));
    victim.ask("receive", DEFAULT_TIMEOUT, &["TokenSpent"], || attach.receive(&wire));
    // Once more when nobody is attached by it any more.
    if let Some(segment) = first {
        use_all(victim, &segment, false)?;
    }
    victim.ask("receive", DEFAULT_TIMEOUT, &["TokenSpent"], || attach.receive(&wire));
    Ok(())
}

fn replayed_attacker(stage: &mut Stage) -> Played {
    let wire = stage.wire()?;
    let honest = Honest::new(stage)?;
    let fd = honest.fd.as_ref().map(AsFd::as_fd);
    for _ in 0..3 {
        frame::send(&wire, &frame::message(&honest.bytes()), fd.as_slice())?;
        frame::receive_acknowledgement(&wire)?;
        stage.did("sent");
    }
    stage.until_the_end();
    Ok(())
}

fn stale_victim(victim: &mut Victim<'_>) -> Played {
    let wire = victim.stage.wire()?;
    let attach = victim.stage.attach();
    victim.ask("receive", DEFAULT_TIMEOUT, &["TokenSpent"], || attach.receive(&wire));
    Ok(())
}

fn stale_attacker(stage: &mut Stage) -> Played {
    let wire = stage.wire()?;
    let honest = Honest::new(stage)?;
    for _ in 0..16 {
        honest.segment.encode()?;
    }
    let fd = honest.fd.as_ref().map(AsFd::as_fd);
    frame::send(&wire, &frame::message(&honest.bytes()), fd.as_slice())?;
    stage.did("sent");
    stage.until_the_end();
    Ok(())
}

fn other_victim(victim: &mut Victim<'_>) -> Played {
    let wire = victim.stage.wire()?;
    let attach = victim.stage.attach();
    // A System V descriptor names two objects: the memory of one, the set of the other.
    let sysv = victim.stage.cell.memory == MemoryKind::SysvShm;
    let allowed: &[&str] = if sysv { &["TokenSpent", "Ok"] } else { &["HandleType"] };
    let opened = victim.ask("receive", DEFAULT_TIMEOUT, allowed, || attach.receive(&wire));
    if let Some(segment) = opened {
        use_all(victim, &segment, true)?;
    }
    Ok(())
}

fn other_attacker(stage: &mut Stage) -> Played {
    let wire = stage.wire()?;
    let mut one = Honest::new(stage)?;
    let other = Honest::new(stage)?;
    if let (Object::Sysv { sem_id, .. }, Object::Sysv { sem_id: others, .. }) =
        (&mut one.descriptor.object, &other.descriptor.object)
    {
        *sem_id = *others;
    }
    let fd = other.fd.as_ref().map(AsFd::as_fd);
    frame::send(&wire, &frame::message(&one.bytes()), fd.as_slice())?;
    stage.did("sent");
    stage.until_the_end();
    Ok(())
}
