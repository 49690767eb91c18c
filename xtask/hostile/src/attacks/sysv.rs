//! What a peer can do to System V objects, which it owns: set values, remove, close, open further, replace.

use super::*;
use monshm::{LockKind, Segment};
use monshm_core::Object;
use std::io::{self, Write};

attacks! {
    "sysv/setval-lock" (SysvSem, CREATOR): "sets the lock's semaphore while it is free, and while it is held"
        => value_victim, value_attacker;
    "sysv/setval-slots" (Sysv, CREATOR): "sets every slot's semaphore to 0, 1 and the most"
        => slots_victim, slots_attacker;
    "sysv/semop-flood" (SysvSem, CREATOR): "gives and takes the lock's semaphore without end"
        => flood_victim, flood_attacker;
    "sysv/remove-set" (Sysv, BOTH): "removes the semaphore set under use" => remove_victim, remove_set_attacker;
    "sysv/remove-segment" (Sysv, BOTH): "removes the segment under use" => keep_victim, remove_segment_attacker;
    "sysv/close" (Sysv, CREATOR): "takes all access away under use: mode 0, owner nobody"
        => close_victim, close_attacker;
    "sysv/open" (Sysv, PEER).by(Users::Others): "opens set and segment to all before the victim attaches"
        => open_victim, open_attacker;
}

/// The ids of a segment's objects: of the memory, of the set.
type Ids = (i32, i32);

/// Takes the ids from the bytes of a descriptor.
fn ids(bytes: &[u8]) -> Fallible<Ids> {
    match monshm_proto::decode(bytes)?.object {
        Object::Sysv { shm_id, sem_id } => Ok((shm_id, sem_id)),
        _ => Err("no System V segment".into()),
    }
}

/// The victim joins, and as creator sends the ids, in a descriptor.
fn join_with_ids(victim: &mut Victim<'_>) -> Fallible<Segment> {
    let segment = victim.join()?;
    if victim.creates() {
        let bytes = segment.encode()?.bytes;
        victim.other.write_all(&frame::message(&bytes))?;
    }
    Ok(segment)
}

/// The attacker joins, takes the ids, attacks once the victim signals, and signals back.
fn attack_ids(process: &mut Process, attack: impl FnOnce(Ids) -> io::Result<()>) -> Done {
    let segment = process.join()?;
    let bytes = if process.creates() { segment.encode()?.bytes } else { frame::receive(&process.other)?.0 };
    let ids = ids(&bytes)?;
    process.await_signal()?;
    attack(ids)?;
    process.acted();
    Ok(process.signal()?)
}

fn done(answer: libc::c_int) -> io::Result<()> {
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn set_value(sem_id: i32, number: i32, value: i32) -> io::Result<()> {
    // SAFETY: plain numbers.
    done(unsafe { libc::semctl(sem_id, number, libc::SETVAL, value) })
}

/// Values of the lock's semaphore: what taking a free lock answers, and what the release of a held one answers.
const VALUES: [(i32, &Answers, &Answers); 4] = [
    (0, &["TimedOut"], &["Ok"]),
    (1, &["Clean"], &["Ok"]),
    (7, &["Clean"], &["Ok"]),
    (32767, &["Clean"], &["Corrupt"]),
];

fn value_victim(victim: &mut Victim<'_>) -> Done {
    for (value, free, held) in VALUES {
        victim.case(format!("{value}"));
        let segment = join_with_ids(victim)?;
        victim.let_attack()?;
        let guard = victim.lock(&segment, SHORT, free);
        victim.unlock(guard, &["Ok", "Corrupt"]);
        drop(segment);
        let segment = join_with_ids(victim)?;
        let guard = victim.lock(&segment, SHORT, &["Clean"]);
        victim.let_attack()?;
        victim.unlock(guard, held);
        drop(victim.lock(&segment, SHORT, if held == ["Ok"] { &["Clean"] } else { &["Poisoned"] }));
    }
    Ok(())
}

fn value_attacker(process: &mut Process) -> Done {
    let mut values = VALUES.iter().flat_map(|(value, ..)| [*value; 2]);
    values.try_for_each(|value| attack_ids(process, |(_, sem_id)| set_value(sem_id, 0, value)))
}

fn slots_victim(victim: &mut Victim<'_>) -> Done {
    for _ in 0..3 {
        let segment = join_with_ids(victim)?;
        victim.let_attack()?;
        use_all(victim, &segment, true)?;
        victim.call("encode", AT_ONCE, &["Ok"], || segment.encode());
    }
    Ok(())
}

fn slots_attacker(process: &mut Process) -> Done {
    [0, 1, 32767].into_iter().try_for_each(|value| {
        attack_ids(process, |(_, sem_id)| (1..=33).try_for_each(|slot| set_value(sem_id, slot, value)))
    })
}

fn flood_victim(victim: &mut Victim<'_>) -> Done {
    let segment = join_with_ids(victim)?;
    victim.let_attack()?;
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(150) {
        let any = ["Clean", "TimedOut", "Corrupt", "Poisoned"];
        let guard = victim.lock(&segment, Duration::from_millis(5), &any);
        victim.unlock(guard, &["Ok", "Corrupt"]);
    }
    Ok(())
}

fn flood_attacker(process: &mut Process) -> Done {
    let mut set = 0;
    attack_ids(process, |(_, sem_id)| {
        set = sem_id;
        Ok(())
    })?;
    while !process.is_signalled() {
        let by = [-1, 1, 1, -1, 2, -2][process.random.below(6) as usize];
        let mut step = libc::sembuf { sem_num: 0, sem_op: by, sem_flg: libc::IPC_NOWAIT as _ };
        // SAFETY: one structure of ours. It may be refused; then the next is tried.
        unsafe { libc::semop(set, &raw mut step, 1) };
    }
    Ok(())
}

fn remove_victim(victim: &mut Victim<'_>) -> Done {
    let segment = join_with_ids(victim)?;
    let guard = victim.lock(&segment, SHORT, &["Clean"]);
    victim.let_attack()?;
    // The word needs no set; only a waiter finds that nobody can tell any more who lives.
    let word = victim.cell.lock_kind() == LockKind::Futex;
    let or_gone = |honest: &'static Answers| if word { honest } else { &["Gone"] };
    victim.unlock(guard, or_gone(&["Ok"]));
    drop(victim.lock(&segment, SHORT, or_gone(&["Clean"])));
    drop(victim.try_lock(&segment, or_gone(&["Ok"])));
    if victim.creates() {
        victim.call("encode", AT_ONCE, &["Gone"], || segment.encode());
    }
    victim.let_attack()?;
    // The attacker holds the word now.
    drop(victim.lock(&segment, SHORT, or_gone(&["Gone", "TimedOut"])));
    victim.call("copy", AT_ONCE, &["Ok"], || segment.region(4096, 64)?.copy_from(&[1; 64]));
    Ok(())
}

fn remove_set_attacker(process: &mut Process) -> Done {
    // SAFETY: plain numbers.
    attack_ids(process, |(_, sem_id)| done(unsafe { libc::semctl(sem_id, 0, libc::IPC_RMID) }))?;
    process.await_signal()?;
    let segment = process.segment()?;
    let _guard = segment.try_lock();
    process.signal()?;
    process.await_end();
    Ok(())
}

fn keep_victim(victim: &mut Victim<'_>) -> Done {
    let segment = join_with_ids(victim)?;
    victim.let_attack()?;
    use_all(victim, &segment, false)
}

fn remove_segment_attacker(process: &mut Process) -> Done {
    attack_ids(process, |(shm_id, _)| {
        // SAFETY: plain numbers; null where nothing is read. Where removal is early it is marked for it already.
        unsafe { libc::shmctl(shm_id, libc::IPC_RMID, std::ptr::null_mut()) };
        Ok(())
    })
}

/// Sets owner and mode of both objects.
fn set_access((shm_id, sem_id): Ids, uid: u32, mode: u16) -> io::Result<()> {
    // SAFETY: structures of integers and pointers, for which zero is a value; they live through the calls that fill and
    // read them.
    unsafe {
        let mut segment: libc::shmid_ds = std::mem::zeroed();
        done(libc::shmctl(shm_id, libc::IPC_STAT, &raw mut segment))?;
        (segment.shm_perm.uid, segment.shm_perm.mode) = (uid, mode as _);
        done(libc::shmctl(shm_id, libc::IPC_SET, &raw mut segment))?;
        let mut set: libc::semid_ds = std::mem::zeroed();
        done(libc::semctl(sem_id, 0, libc::IPC_STAT, &raw mut set))?;
        (set.sem_perm.uid, set.sem_perm.mode) = (uid, mode as _);
        done(libc::semctl(sem_id, 0, libc::IPC_SET, &raw mut set))
    }
}

/// Access that an owner takes away, under use.
const MODES: [u16; 3] = [0, 0o400, 0o666];

fn close_victim(victim: &mut Victim<'_>) -> Done {
    for mode in MODES {
        victim.case(format!("mode {mode:o}"));
        let segment = join_with_ids(victim)?;
        victim.let_attack()?;
        let open = victim.cell.lock_kind() == LockKind::Futex || mode == 0o666;
        drop(victim.lock(&segment, SHORT, if open { &["Clean"] } else { &["Gone"] }));
        if let Some(encoded) = victim.call("encode", AT_ONCE, &["Ok", "Gone"], || segment.encode()) {
            // What was opened, or closed to us, is attached to by no honest process.
            victim.decode(&encoded.bytes, None, &["OpenToOthers", "NoAccess"]);
        }
        victim.call("copy", AT_ONCE, &["Ok"], || segment.region(4096, 64)?.copy_from(&[1; 64]));
    }
    Ok(())
}

fn close_attacker(process: &mut Process) -> Done {
    MODES.into_iter().try_for_each(|mode| {
        let uid = if mode == 0 { 4_000_000 } else { process.users.attacker };
        attack_ids(process, |ids| set_access(ids, uid, mode))
    })
}

/// What is opened before the victim attaches: segment and set, the owner of both, or the set's mark; and the answers.
const OPENED: [(&str, &Answers); 5] = [
    ("0666", &["OpenToOthers"]),
    ("0660", &["OpenToOthers"]),
    ("0644", &["OpenToOthers"]),
    ("to a third", &["OpenToOthers", "NoAccess"]),
    ("the set's mark", &["Gone"]),
];

fn open_victim(victim: &mut Victim<'_>) -> Done {
    for (name, answers) in OPENED {
        victim.case(name);
        victim.receive(answers)?;
    }
    Ok(())
}

fn open_attacker(process: &mut Process) -> Done {
    for (name, _) in OPENED {
        let honest = Honest::new(process)?;
        let ids = ids(&honest.bytes())?;
        match name {
            "to a third" => set_access(ids, process.users.third, 0o600)?,
            "the set's mark" => set_value(ids.1, 33, 5)?,
            mode => set_access(ids, process.users.victim, u16::from_str_radix(mode, 8)?)?,
        }
        honest.send(process)?;
    }
    Ok(())
}
