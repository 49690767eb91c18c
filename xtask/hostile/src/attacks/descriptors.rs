//! Descriptors forged field by field, flipped bit by bit, used twice, too late, and with another segment's object.

use super::*;
use monshm_core::{Descriptor, LockKind, MemoryKind, Name, Object};
use std::os::fd::AsFd;

attacks! {
    "descriptor/fields" (Untrusted, PEER): "forges each field, with a right checksum" => fields_victim, fields_attacker;
    "descriptor/bits" (Memories, PEER): "flips each bit, cuts at each byte, appends" => bits_victim, bits_attacker;
    "descriptor/replayed" (Untrusted, PEER): "sends the same descriptor twice" => replayed_victim, replayed_attacker;
    "descriptor/stale" (Untrusted, PEER): "sends one that 16 newer ones have replaced"
        => |victim| victim.receive(&["TokenSpent"]).map(drop), stale_attacker;
    "descriptor/of-another" (Untrusted, PEER): "sends one segment's bytes with another's object"
        => other_victim, other_attacker;
}

/// A forgery: what it is, how it is made (`false` where this kind of segment has none), and what the victim answers.
type Forgery = (&'static str, fn(&mut Descriptor, &Process) -> bool, &'static Answers);

const FORGERIES: &[Forgery] = &[
    ("lock: mutex", |d, _| lock(d, LockKind::PthreadMutex), &["LockNotTrusted", "Header"]),
    ("lock: semaphore", |d, _| lock(d, LockKind::Semaphore), &["LockNotTrusted", "Header"]),
    ("lock: the other of System V", |d, _| other_sysv_lock(d), &["Header"]),
    ("size 0", |d, _| set(&mut d.size, 0), &["Descriptor"]),
    ("a page more", |d, _| add(&mut d.size, 4096), &["SizeMismatch"]),
    ("a page less", |d, _| add(&mut d.size, 4096u64.wrapping_neg()), &["SizeMismatch"]),
    ("a byte more", |d, _| add(&mut d.size, 1), &["Descriptor"]),
    ("the largest size", |d, _| set(&mut d.size, u64::MAX), &["Descriptor"]),
    // What the object's own header says decides.
    ("layout", |d, _| set(&mut d.layout, 7), &["Ok"]),
    ("token", |d, _| flip(&mut d.token.0[3]), &["TokenSpent"]),
    ("token's second word", |d, _| flip(&mut d.token.0[12]), &["TokenSpent"]),
    ("no token", |d, _| set(&mut d.token.0, [0; 16]), &["TokenSpent"]),
    ("owner: nobody", |d, _| set(&mut d.owner.uid, u32::MAX), &["WrongOwner"]),
    ("owner: root", |d, p| p.users.attacker != 0 && set(&mut d.owner.uid, 0), &["WrongOwner"]),
    (
        "owner: the victim",
        |d, p| p.users.attacker != p.users.victim && set(&mut d.owner.uid, p.users.victim),
        &["WrongOwner"],
    ),
    ("owner's group", |d, _| set(&mut d.owner.gid, 12345), &["Ok"]),
    ("inode", |d, _| inode(d), &["HandleType"]),
    ("another process and number", |d, _| process_and_number(d), &["Ok"]),
    ("another name", |d, _| name(d), &["Ok"]),
    ("another segment id", |d, _| shm_id(d, |id| id ^ 0x4000_0000), &["Gone"]),
    ("a negative segment id", |d, _| shm_id(d, |_| -1), &["Gone", "Descriptor"]),
    ("another set id", |d, _| sem_id(d, |id| id ^ 0x4000_0000), &["Gone"]),
    ("the largest set id", |d, _| sem_id(d, |_| i32::MAX), &["Gone"]),
];

fn set<T>(field: &mut T, value: T) -> bool {
    *field = value;
    true
}

fn add(field: &mut u64, value: u64) -> bool {
    set(field, field.wrapping_add(value))
}

fn flip(field: &mut u8) -> bool {
    set(field, *field ^ 0x10)
}

fn lock(descriptor: &mut Descriptor, lock: LockKind) -> bool {
    descriptor.object.memory() != MemoryKind::SysvShm && set(&mut descriptor.lock, lock)
}

fn other_sysv_lock(descriptor: &mut Descriptor) -> bool {
    let other = if descriptor.lock == LockKind::Futex { LockKind::SysvSem } else { LockKind::Futex };
    descriptor.object.memory() == MemoryKind::SysvShm && set(&mut descriptor.lock, other)
}

fn inode(descriptor: &mut Descriptor) -> bool {
    match &mut descriptor.object {
        Object::Memfd { inode, .. } | Object::Named { inode, .. } => add(inode, 1),
        Object::Sysv { .. } => false,
    }
}

fn process_and_number(descriptor: &mut Descriptor) -> bool {
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

fn fields_victim(victim: &mut Victim<'_>) -> Done {
    for (name, _, answers) in FORGERIES {
        victim.case(*name);
        if victim.receive_number()? == 1 {
            if let Some(segment) = victim.receive(answers)? {
                use_all(victim, &segment, false)?;
            }
        }
    }
    Ok(())
}

fn fields_attacker(process: &mut Process) -> Done {
    for (_, forge, _) in FORGERIES {
        let mut honest = Honest::new(process)?;
        let forged = forge(&mut honest.descriptor, process);
        process.send_number(forged.into())?;
        if forged {
            honest.send(process)?;
        }
    }
    Ok(())
}

fn bits_victim(victim: &mut Victim<'_>) -> Done {
    let socket = victim.socket()?;
    let (bytes, _) = frame::receive(&socket)?;
    frame::send(&socket, &frame::acknowledgement(0), &[])?;
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        victim.decode(&flipped, None, &["Descriptor"]);
    }
    for len in 0..bytes.len() {
        victim.decode(&bytes[..len], None, &["Descriptor"]);
    }
    victim.decode(&[bytes.as_slice(), &[0; 8]].concat(), None, &["Descriptor"]);
    for _ in 0..2000 {
        let len = victim.random.below(200);
        let noise: Vec<u8> = (0..len).map(|_| victim.random.next() as u8).collect();
        victim.decode(&noise, None, &["Descriptor"]);
    }
    Ok(())
}

fn bits_attacker(process: &mut Process) -> Done {
    Honest::new(process)?.send(process)
}

fn replayed_victim(victim: &mut Victim<'_>) -> Done {
    let first = victim.receive(&["Ok"])?;
    victim.receive(&["TokenSpent"])?;
    // Once more when nobody is attached by it any more.
    if let Some(segment) = first {
        use_all(victim, &segment, false)?;
    }
    victim.receive(&["TokenSpent"]).map(drop)
}

fn replayed_attacker(process: &mut Process) -> Done {
    let honest = Honest::new(process)?;
    (0..3).try_for_each(|_| honest.send(process))
}

fn stale_attacker(process: &mut Process) -> Done {
    let honest = Honest::new(process)?;
    for _ in 0..16 {
        honest.segment.encode()?;
    }
    honest.send(process)
}

fn other_victim(victim: &mut Victim<'_>) -> Done {
    // A System V descriptor names two objects: the memory of one, the set of the other.
    let sysv = victim.cell.memory_kind() == MemoryKind::SysvShm;
    if let Some(segment) = victim.receive(if sysv { &["TokenSpent", "Ok"] } else { &["HandleType"] })? {
        use_all(victim, &segment, true)?;
    }
    Ok(())
}

fn other_attacker(process: &mut Process) -> Done {
    let (mut one, other) = (Honest::new(process)?, Honest::new(process)?);
    if let (Object::Sysv { sem_id, .. }, Object::Sysv { sem_id: others, .. }) =
        (&mut one.descriptor.object, &other.descriptor.object)
    {
        *sem_id = *others;
    }
    one.send_with(process, other.fd.as_ref().map(AsFd::as_fd).as_slice())
}
