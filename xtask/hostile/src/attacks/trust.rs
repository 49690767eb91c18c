//! The locks that live in libc's own words: refused for a peer of another user; and, where the caller overrides that,
//! what such a peer can do. That is why the kinds are refused: it is shown, not mended.

use super::*;
use monshm::{AttachOptions, BackendKind, DEFAULT_TIMEOUT};
use std::sync::atomic::AtomicU64;

use crate::raw::LOCK_AREA;

attacks! {
    "trust/refused-at-create" (Trusted, CREATOR).by(Users::Others): "is another user, whom nobody declared trusted"
        => create_victim, create_attacker;
    "trust/refused-at-attach" (Trusted, PEER).by(Users::Others): "sends a segment with such a lock to another user"
        => attach_victim, attach_attacker;
    "trust/mutex-list" (Mutex, CREATOR).by(Users::Others).may_harm():
        "trusted against the rule: edits the mutex's list pointers" => list_victim, list_attacker;
    "trust/mutex-wild" (Mutex, CREATOR).by(Users::Others).may_harm():
        "trusted against the rule: list pointers that lead nowhere" => held_victim, wild_attacker;
    "trust/mutex-kind" (Mutex, CREATOR).by(Users::Others).may_harm(): "trusted against the rule: edits __kind"
        => held_victim, |process| process.edit(|raw| raw.word32(KIND).store(0x7f, Ordering::SeqCst));
    "trust/mutex-owner" (Mutex, CREATOR).by(Users::Others).may_harm(): "trusted against the rule: edits __owner"
        => held_victim, |process| process.edit(|raw| raw.word32(OWNER).store(0x7fff_fffe, Ordering::SeqCst));
    "trust/semaphore" (Semaphore, CREATOR).by(Users::Others).may_harm():
        "trusted against the rule: edits the sem_t that the victim sleeps on" => waiting_victim, semaphore_attacker;
}

fn create_victim(victim: &mut Victim<'_>) -> Done {
    let builder = || victim.builder().trust_peer(false);
    for refused in [builder().create(), builder().backend(BackendKind::Auto).create()] {
        if let Err(error) = &refused {
            let (text, uid) = (error.to_string(), victim.users.attacker.to_string());
            let says = (text.contains(&uid) && text.contains("not trusted")) || !error.refusals().is_empty();
            victim.check(says, "the error names the rule and the user");
        }
        victim.judge("create", &["LockNotTrusted", "NoBackend"], "Ok", refused);
    }
    Ok(())
}

/// Is another user, which is the attack.
fn create_attacker(process: &mut Process) -> Done {
    process.acted();
    Ok(())
}

fn attach_victim(victim: &mut Victim<'_>) -> Done {
    let (socket, attach) = (victim.socket()?, AttachOptions::new(SIZE));
    victim.call("receive", DEFAULT_TIMEOUT, &["LockNotTrusted"], || attach.receive(&socket));
    Ok(())
}

fn attach_attacker(process: &mut Process) -> Done {
    let socket = process.socket()?;
    let segment = process.builder().create()?;
    if segment.send(&socket, DEFAULT_TIMEOUT).is_ok() {
        process.fault("the victim took a lock that it must not share");
    }
    process.acted();
    Ok(())
}

/// Private words of the victim. Victim and attacker are forks of one process, so the attacker knows the address; in
/// earnest it would have to guess it.
static PRIVATE: [AtomicU64; 8] = [const { AtomicU64::new(0x1234) }; 8];

/// Holds while the mutex is edited, then releases: as far as it comes.
fn held_victim(victim: &mut Victim<'_>) -> Done {
    let segment = victim.join()?;
    let guard = victim.lock(&segment, SHORT, &["Clean"]);
    victim.let_attack()?;
    victim.unlock(guard, &["Ok", "Corrupt", "NotHolder", "Poisoned", "System"]);
    let any = ["Clean", "OwnerDied", "TimedOut", "Corrupt", "Poisoned", "Deadlock", "System"];
    drop(victim.lock(&segment, SHORT, &any));
    Ok(())
}

fn list_victim(victim: &mut Victim<'_>) -> Done {
    held_victim(victim)?;
    let changed = PRIVATE.iter().filter(|word| word.load(Ordering::SeqCst) != 0x1234).count();
    if changed != 0 {
        victim.note(&format!("as documented: {changed} private words were overwritten by unlock"));
    }
    Ok(())
}

/// Where glibc keeps the list pointers in a `pthread_mutex_t` of a 64-bit machine, and the other words.
const PREVIOUS: usize = LOCK_AREA + 24;
const NEXT: usize = LOCK_AREA + 32;
const KIND: usize = LOCK_AREA + 16;
const OWNER: usize = LOCK_AREA + 8;

fn list_attacker(process: &mut Process) -> Done {
    process.edit(|raw| {
        raw.store(PREVIOUS, (&raw const PRIVATE[5]).addr() as u64);
        raw.store(NEXT, (&raw const PRIVATE[2]).addr() as u64);
    })
}

fn wild_attacker(process: &mut Process) -> Done {
    process.edit(|raw| [PREVIOUS, NEXT].iter().for_each(|offset| raw.store(*offset, 0x1000)))
}

fn waiting_victim(victim: &mut Victim<'_>) -> Done {
    let segment = victim.join()?;
    victim.let_attack()?;
    for _ in 0..5 {
        let any = ["Clean", "OwnerDied", "TimedOut", "Corrupt", "Poisoned"];
        let guard = victim.lock(&segment, Duration::from_millis(30), &any);
        victim.unlock(guard, &["Ok", "Corrupt"]);
    }
    Ok(())
}

/// Where the `sem_t` stands, behind the lock's own word.
const SEMAPHORE: usize = LOCK_AREA + 8;

fn semaphore_attacker(process: &mut Process) -> Done {
    let segment = process.join()?;
    process.await_signal()?;
    let guard = segment.lock()?;
    process.signal()?;
    let raw = Raw::of(&segment)?;
    while !process.is_signalled() {
        // glibc's 64-bit sem_t: the value and who waits, then the word that says whether it is private to a process. A
        // value of 0, so that the victim sleeps.
        raw.word32(SEMAPHORE).store(0, Ordering::SeqCst);
        raw.word32(SEMAPHORE + 8).store(process.random.next() as u32, Ordering::SeqCst);
    }
    process.acted();
    std::mem::forget(guard);
    Ok(())
}
