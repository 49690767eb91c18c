//! The locks that live in libc's own words: refused for a peer of another user; and, where the caller overrides that,
//! what such a peer can do. That is why the kinds are refused: it is shown, not mended.

use crate::hostile::attack::{Attack, CREATOR, Cells, PEER, Played, Users};
use crate::hostile::raw::{LOCK_AREA, Raw};
use crate::hostile::stage::Stage;
use crate::hostile::victim::{AT_ONCE, Victim};
use monshm::{AttachOptions, DEFAULT_TIMEOUT};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub(super) const ATTACKS: &[Attack] = &[
    Attack::new(
        "trust/refused-at-create",
        "is another user, whom nobody declared trusted",
        create_victim,
        create_attacker,
    )
    .on(Cells::Trusted)
    .from(CREATOR)
    .by(Users::Others),
    Attack::new(
        "trust/refused-at-attach",
        "sends a segment with such a lock to another user",
        attach_victim,
        attach_attacker,
    )
    .on(Cells::Trusted)
    .from(PEER)
    .by(Users::Others),
    Attack::new(
        "trust/mutex-list",
        "trusted against the rule: edits the mutex's list pointers",
        list_victim,
        list_attacker,
    )
    .on(Cells::Mutex)
    .from(CREATOR)
    .by(Users::Others)
    .may_harm(),
    Attack::new(
        "trust/mutex-wild",
        "trusted against the rule: list pointers that lead nowhere",
        held_victim,
        wild_attacker,
    )
    .on(Cells::Mutex)
    .from(CREATOR)
    .by(Users::Others)
    .may_harm(),
    Attack::new("trust/mutex-kind", "trusted against the rule: edits __kind", held_victim, kind_attacker)
        .on(Cells::Mutex)
        .from(CREATOR)
        .by(Users::Others)
        .may_harm(),
    Attack::new("trust/mutex-owner", "trusted against the rule: edits __owner", held_victim, owner_attacker)
        .on(Cells::Mutex)
        .from(CREATOR)
        .by(Users::Others)
        .may_harm(),
    Attack::new(
        "trust/semaphore",
        "trusted against the rule: edits the sem_t that the victim sleeps on",
        waiting_victim,
        semaphore_attacker,
    )
    .on(Cells::Semaphore)
    .from(CREATOR)
    .by(Users::Others)
    .may_harm(),
];

fn create_victim(victim: &mut Victim<'_>) -> Played {
    for backend_chosen in [true, false] {
        let builder = victim.stage.builder().trust_peer(false);
        let builder = if backend_chosen { builder } else { builder.backend(monshm::BackendKind::Auto) };
        let refused = builder.create();
        if let Err(error) = &refused {
            let (text, uid) = (error.to_string(), victim.stage.cast.attacker.to_string());
            let says = (text.contains(&uid) && text.contains("not trusted")) || !error.refusals().is_empty();
            victim.check(says, "the error names the rule and the user");
        }
        victim.judge("create", &["LockNotTrusted", "NoBackend"], "Ok", refused);
    }
    Ok(())
}

fn create_attacker(stage: &mut Stage) -> Played {
    stage.did("is another user");
    stage.until_the_end();
    Ok(())
}

fn attach_victim(victim: &mut Victim<'_>) -> Played {
    let wire = victim.stage.wire()?;
    let attach = AttachOptions::new(crate::cell::SIZE);
    victim.ask("receive", DEFAULT_TIMEOUT, &["LockNotTrusted"], || attach.receive(&wire));
    Ok(())
}

fn attach_attacker(stage: &mut Stage) -> Played {
    let wire = stage.wire()?;
    let segment = stage.builder().create()?;
    let refused = segment.send(&wire, DEFAULT_TIMEOUT);
    if refused.is_ok() {
        stage.report.fault("the victim took a lock that it must not share");
    }
    stage.did("sent");
    Ok(())
}

/// Private words of the victim. Victim and attacker are forks of one process, so the attacker knows the address; in
/// earnest it would have to guess it.
static PRIVATE: [AtomicU64; 8] = [const { AtomicU64::new(0x1234) }; 8];

/// Holds while the mutex is edited, then lets go: as far as it comes.
fn held_victim(victim: &mut Victim<'_>) -> Played {
    let segment = victim.stage.join()?;
    let guard = victim.lock(&segment, Duration::from_millis(40), &["Clean"]);
    victim.stage.cue()?;
    victim.stage.await_cue()?;
    let any = ["Ok", "Corrupt", "NotHolder", "Poisoned", "System"];
    if let Some(guard) = guard {
        victim.ask("unlock", AT_ONCE, &any, || guard.unlock());
    }
    let any = ["Clean", "OwnerDied", "TimedOut", "Corrupt", "Poisoned", "Deadlock", "System"];
    drop(victim.lock(&segment, Duration::from_millis(40), &any));
    Ok(())
}

fn list_victim(victim: &mut Victim<'_>) -> Played {
    held_victim(victim)?;
    let changed = PRIVATE.iter().filter(|word| word.load(Ordering::SeqCst) != 0x1234).count();
    if changed != 0 {
        victim.note(&format!("as documented: {changed} private words were overwritten by unlock"));
    }
    Ok(())
}

/// Edits words of the lock area, once the victim holds.
fn edit(stage: &mut Stage, edit: impl Fn(&Raw)) -> Played {
    let segment = stage.join()?;
    stage.await_cue()?;
    edit(&Raw::of(&segment)?);
    stage.did("edited");
    stage.cue()?;
    stage.keep(segment);
    stage.until_the_end();
    Ok(())
}

/// Where glibc keeps the list pointers in a `pthread_mutex_t` of a 64-bit machine, and the other words.
const PREVIOUS: usize = LOCK_AREA + 24;
const NEXT: usize = LOCK_AREA + 32;
const KIND: usize = LOCK_AREA + 16;
const OWNER: usize = LOCK_AREA + 8;

fn list_attacker(stage: &mut Stage) -> Played {
    edit(stage, |raw| {
        raw.put(PREVIOUS, (&raw const PRIVATE[5]).addr() as u64);
        raw.put(NEXT, (&raw const PRIVATE[2]).addr() as u64);
    })
}

fn wild_attacker(stage: &mut Stage) -> Played {
    edit(stage, |raw| {
        raw.put(PREVIOUS, 0x1000);
        raw.put(NEXT, 0x1000);
    })
}

fn kind_attacker(stage: &mut Stage) -> Played {
    edit(stage, |raw| raw.word32(KIND).store(0x7f, Ordering::SeqCst))
}

fn owner_attacker(stage: &mut Stage) -> Played {
    edit(stage, |raw| raw.word32(OWNER).store(0x7fff_fffe, Ordering::SeqCst))
}

fn waiting_victim(victim: &mut Victim<'_>) -> Played {
    let segment = victim.stage.join()?;
    victim.stage.cue()?;
    victim.stage.await_cue()?;
    for _ in 0..5 {
        let any = ["Clean", "OwnerDied", "TimedOut", "Corrupt", "Poisoned"];
        if let Some(guard) = victim.lock(&segment, Duration::from_millis(30), &any) {
            victim.ask("unlock", AT_ONCE, &["Ok", "Corrupt"], || guard.unlock());
        }
    }
    Ok(())
}

/// Where the `sem_t` stands, behind the lock's own word.
const SEMAPHORE: usize = LOCK_AREA + 8;

fn semaphore_attacker(stage: &mut Stage) -> Played {
    let segment = stage.join()?;
    stage.await_cue()?;
    let guard = segment.lock()?;
    stage.cue()?;
    let raw = Raw::of(&segment)?;
    while !stage.is_called() && !stage.is_over() {
        // glibc's 64-bit sem_t: the value and who waits, then the word that says whether it is private to a process. A
        // value of 0, so that the victim sleeps.
        raw.word32(SEMAPHORE).store(0, Ordering::SeqCst);
        raw.word32(SEMAPHORE + 8).store(stage.random.next() as u32, Ordering::SeqCst);
    }
    stage.did("edited");
    std::mem::forget(guard);
    Ok(())
}
