//! What a peer can do to System V objects, which it owns: set values, remove, close, open further, replace.

use super::header::use_all;
use crate::hostile::attack::{Attack, BOTH, CREATOR, Cells, PEER, Played, Users};
use crate::hostile::forge::Honest;
use crate::hostile::frame;
use crate::hostile::stage::Stage;
use crate::hostile::victim::{AT_ONCE, Victim};
use monshm::{DEFAULT_TIMEOUT, LockKind, Segment};
use monshm_core::Object;
use std::io;
use std::io::Write;
use std::time::{Duration, Instant};

pub(super) const ATTACKS: &[Attack] = &[
    Attack::new(
        "sysv/setval-lock",
        "sets the lock's semaphore while it is free, and while it is held",
        value_victim,
        value_attacker,
    )
    .on(Cells::SysvSem)
    .from(CREATOR),
    Attack::new("sysv/setval-slots", "sets every slot's semaphore to 0, 1 and the most", slots_victim, slots_attacker)
        .on(Cells::Sysv)
        .from(CREATOR),
    Attack::new("sysv/semop-flood", "gives and takes the lock's semaphore without end", flood_victim, flood_attacker)
        .on(Cells::SysvSem)
        .from(CREATOR),
    Attack::new("sysv/remove-set", "removes the semaphore set under use", remove_victim, remove_set_attacker)
        .on(Cells::Sysv)
        .from(BOTH),
    Attack::new("sysv/remove-segment", "removes the segment under use", keep_victim, remove_segment_attacker)
        .on(Cells::Sysv)
        .from(BOTH),
    Attack::new("sysv/close", "takes all access away under use: mode 0, owner nobody", close_victim, close_attacker)
        .on(Cells::Sysv)
        .from(CREATOR),
    Attack::new("sysv/open", "opens set and segment to all before the victim attaches", open_victim, open_attacker)
        .on(Cells::Sysv)
        .from(PEER)
        .by(Users::Others),
];

const SHORT: Duration = Duration::from_millis(40);

/// The ids of a segment's objects, from the bytes of a descriptor.
fn ids(bytes: &[u8]) -> Result<(i32, i32), Box<dyn std::error::Error>> {
    match monshm_proto::decode(bytes)?.object {
        Object::Sysv { shm_id, sem_id } => Ok((shm_id, sem_id)),
        _ => Err("no System V segment".into()),
    }
}

/// The victim as creator: makes a segment, hands it over, and tells the ids by a descriptor.
fn told(victim: &mut Victim<'_>) -> Result<Segment, Box<dyn std::error::Error>> {
    let segment = victim.stage.join()?;
    if victim.stage.creates() {
        let bytes = segment.encode()?.bytes;
        victim.stage.other.write_all(&frame::message(&bytes))?;
    }
    Ok(segment)
}

/// The attacker's side of [`told`].
fn hear_ids(stage: &mut Stage) -> Result<(Segment, i32, i32), Box<dyn std::error::Error>> {
    let segment = stage.join()?;
    let bytes = if stage.creates() { segment.encode()?.bytes } else { frame::receive(&stage.other)?.0 };
    let (shm_id, sem_id) = ids(&bytes)?;
    Ok((segment, shm_id, sem_id))
}

fn done(answer: libc::c_int) -> io::Result<()> {
    if answer == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn set_value(sem_id: i32, number: i32, value: i32) -> io::Result<()> {
    // SAFETY: plain numbers.
    done(unsafe { libc::semctl(sem_id, number, libc::SETVAL, value) })
}

/// Values of the lock's semaphore: what taking a free lock answers, and what letting go of a held one answers.
const VALUES: [(i32, &[&str], &[&str]); 4] = [
    (0, &["TimedOut"], &["Ok"]),
    (1, &["Clean"], &["Ok"]),
    (7, &["Clean"], &["Ok"]),
    (32767, &["Clean"], &["Corrupt"]),
];

fn value_victim(victim: &mut Victim<'_>) -> Played {
    for (value, free, held) in VALUES {
        victim.scene(format!("{value}"));
        let segment = told(victim)?;
        victim.stage.cue()?;
        victim.stage.await_cue()?;
        if let Some(guard) = victim.lock(&segment, SHORT, free) {
            victim.ask("unlock", AT_ONCE, &["Ok", "Corrupt"], || guard.unlock());
        }
        drop(segment);
        let segment = told(victim)?;
        let guard = victim.lock(&segment, SHORT, &["Clean"]);
        victim.stage.cue()?;
        victim.stage.await_cue()?;
        if let Some(guard) = guard {
            victim.ask("unlock", AT_ONCE, held, || guard.unlock());
        }
        let then: &[&str] = if held == ["Ok"] { &["Clean"] } else { &["Poisoned"] };
        drop(victim.lock(&segment, SHORT, then));
    }
    Ok(())
}

fn value_attacker(stage: &mut Stage) -> Played {
    for (value, _, _) in VALUES {
        for _ in [false, true] {
            let (segment, _, sem_id) = hear_ids(stage)?;
            stage.await_cue()?;
            set_value(sem_id, 0, value)?;
            stage.did("SETVAL");
            stage.cue()?;
            stage.keep(segment);
        }
    }
    stage.until_the_end();
    Ok(())
}

fn slots_victim(victim: &mut Victim<'_>) -> Played {
    for _ in 0..3 {
        let segment = told(victim)?;
        victim.stage.cue()?;
        victim.stage.await_cue()?;
        use_all(victim, &segment, true)?;
        victim.ask("encode", AT_ONCE, &["Ok"], || segment.encode());
    }
    Ok(())
}

fn slots_attacker(stage: &mut Stage) -> Played {
    for value in [0, 1, 32767] {
        let (segment, _, sem_id) = hear_ids(stage)?;
        stage.await_cue()?;
        for slot in 1..=33 {
            set_value(sem_id, slot, value)?;
        }
        stage.did("SETVAL");
        stage.cue()?;
        stage.keep(segment);
    }
    stage.until_the_end();
    Ok(())
}

fn flood_victim(victim: &mut Victim<'_>) -> Played {
    let segment = told(victim)?;
    victim.stage.cue()?;
    victim.stage.await_cue()?;
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_millis(150) {
        let any = ["Clean", "TimedOut", "Corrupt", "Poisoned"];
        if let Some(guard) = victim.lock(&segment, Duration::from_millis(5), &any) {
            victim.ask("unlock", AT_ONCE, &["Ok", "Corrupt"], || guard.unlock());
        }
    }
    Ok(())
}

fn flood_attacker(stage: &mut Stage) -> Played {
    let (segment, _, sem_id) = hear_ids(stage)?;
    stage.await_cue()?;
    stage.cue()?;
    while !stage.is_called() {
        let number = stage.random.next();
        let by = [-1, 1, 1, -1, 2, -2][number as usize % 6];
        let mut step = libc::sembuf { sem_num: 0, sem_op: by, sem_flg: libc::IPC_NOWAIT as _ };
        // SAFETY: one structure of ours. It may be refused; then the next is tried.
        unsafe { libc::semop(sem_id, &raw mut step, 1) };
    }
    stage.did("flooded");
    drop(segment);
    Ok(())
}

fn remove_victim(victim: &mut Victim<'_>) -> Played {
    let segment = told(victim)?;
    let guard = victim.lock(&segment, SHORT, &["Clean"]);
    victim.stage.cue()?;
    victim.stage.await_cue()?;
    // The word needs no set; only who has to wait finds that nobody can tell any more who lives.
    let word = victim.stage.cell.lock == LockKind::Futex;
    if let Some(guard) = guard {
        victim.ask("unlock", AT_ONCE, if word { &["Ok"] } else { &["Gone"] }, || guard.unlock());
    }
    drop(victim.lock(&segment, SHORT, if word { &["Clean"] } else { &["Gone"] }));
    drop(victim.try_lock(&segment, if word { &["Ok"] } else { &["Gone"] }));
    if victim.stage.creates() {
        victim.ask("encode", AT_ONCE, &["Gone"], || segment.encode());
    }
    victim.stage.cue()?;
    victim.stage.await_cue()?;
    // The attacker holds the word now.
    let held: &[&str] = if word { &["Gone", "TimedOut"] } else { &["Gone"] };
    drop(victim.lock(&segment, SHORT, held));
    victim.ask("copy", AT_ONCE, &["Ok"], || segment.region(4096, 64)?.copy_from(&[1; 64]));
    Ok(())
}

fn remove_set_attacker(stage: &mut Stage) -> Played {
    let (segment, _, sem_id) = hear_ids(stage)?;
    stage.await_cue()?;
    // SAFETY: plain numbers.
    done(unsafe { libc::semctl(sem_id, 0, libc::IPC_RMID) })?;
    stage.did("IPC_RMID");
    stage.cue()?;
    stage.await_cue()?;
    let guard = segment.try_lock();
    stage.cue()?;
    stage.until_the_end();
    drop(guard);
    Ok(())
}

fn keep_victim(victim: &mut Victim<'_>) -> Played {
    let segment = told(victim)?;
    victim.stage.cue()?;
    victim.stage.await_cue()?;
    use_all(victim, &segment, false)
}

fn remove_segment_attacker(stage: &mut Stage) -> Played {
    let (segment, shm_id, _) = hear_ids(stage)?;
    stage.await_cue()?;
    // SAFETY: plain numbers; null where nothing is read. It is marked for removal already, where that is done early.
    unsafe { libc::shmctl(shm_id, libc::IPC_RMID, std::ptr::null_mut()) };
    stage.did("IPC_RMID");
    drop(segment);
    stage.cue()?;
    stage.until_the_end();
    Ok(())
}

/// Sets owner and mode of both objects.
fn set_access(shm_id: i32, sem_id: i32, uid: u32, mode: u16) -> io::Result<()> {
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

fn close_victim(victim: &mut Victim<'_>) -> Played {
    for mode in MODES {
        victim.scene(format!("mode {mode:o}"));
        let segment = told(victim)?;
        victim.stage.cue()?;
        victim.stage.await_cue()?;
        let word = victim.stage.cell.lock == LockKind::Futex;
        let open = word || mode == 0o666;
        drop(victim.lock(&segment, SHORT, if open { &["Clean"] } else { &["Gone"] }));
        let any = ["Ok", "Gone"];
        let encoded = victim.ask("encode", AT_ONCE, &any, || segment.encode());
        if let Some(encoded) = encoded {
            // What was opened, or closed to us, is attached to by no honest process.
            let attach = victim.stage.attach();
            let refused = ["OpenToOthers", "NoAccess"];
            victim.ask("decode", AT_ONCE, &refused, || attach.decode(&encoded.bytes, None));
        }
        victim.ask("copy", AT_ONCE, &["Ok"], || segment.region(4096, 64)?.copy_from(&[1; 64]));
    }
    Ok(())
}

fn close_attacker(stage: &mut Stage) -> Played {
    for mode in MODES {
        let (segment, shm_id, sem_id) = hear_ids(stage)?;
        stage.await_cue()?;
        let uid = if mode == 0 { 4_000_000 } else { stage.cast.attacker };
        set_access(shm_id, sem_id, uid, mode)?;
        stage.did("IPC_SET");
        stage.cue()?;
        stage.keep(segment);
    }
    stage.until_the_end();
    Ok(())
}

/// What is opened before the victim attaches: of the segment, of the set, or the owner of both.
const OPENED: [&str; 5] = ["0666", "0660", "0644", "to a third", "the set's mark"];

fn open_victim(victim: &mut Victim<'_>) -> Played {
    let wire = victim.stage.wire()?;
    for name in OPENED {
        victim.scene(name);
        let attach = victim.stage.attach();
        let allowed: &[&str] = match name {
            "to a third" => &["OpenToOthers", "NoAccess"],
            "the set's mark" => &["Gone"],
            _ => &["OpenToOthers"],
        };
        victim.ask("receive", DEFAULT_TIMEOUT, allowed, || attach.receive(&wire));
    }
    Ok(())
}

fn open_attacker(stage: &mut Stage) -> Played {
    let wire = stage.wire()?;
    let victim = stage.cast.victim;
    for name in OPENED {
        let honest = Honest::new(stage)?;
        let (shm_id, sem_id) = ids(&honest.bytes())?;
        match name {
            "0666" => set_access(shm_id, sem_id, victim, 0o666)?,
            "0660" => set_access(shm_id, sem_id, victim, 0o660)?,
            "0644" => set_access(shm_id, sem_id, victim, 0o644)?,
            "to a third" => set_access(shm_id, sem_id, stage.cast.third, 0o600)?,
            _ => set_value(sem_id, 33, 5)?,
        }
        stage.did(name);
        frame::send(&wire, &frame::message(&honest.bytes()), &[])?;
        frame::receive_acknowledgement(&wire)?;
    }
    stage.until_the_end();
    Ok(())
}
