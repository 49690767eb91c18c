//! A peer that stops for ever, by SIGSTOP, while it holds something that the victim wants.

use crate::hostile::attack::{Attack, CREATOR, Played};
use crate::hostile::stage::Stage;
use crate::hostile::victim::{AT_ONCE, Victim};
use monshm::rbuf::Label;
use std::alloc::Layout;
use std::time::{Duration, Instant};

pub(super) const ATTACKS: &[Attack] = &[
    Attack::new("stopped/holding-lock", "takes the lock and stops for ever", lock_victim, lock_attacker),
    Attack::new(
        "stopped/holding-lock-long",
        "the same, for calls that take the lock themselves",
        long_victim,
        lock_attacker,
    )
    .slow()
    .from(CREATOR),
    Attack::new("stopped/producing", "claims the writing end and stops for ever", producing_victim, producing_attacker),
    Attack::new("stopped/consuming", "claims the reading end and stops for ever", consuming_victim, consuming_attacker),
];

/// The deadlines that are tried.
const DEADLINES_MS: [u64; 4] = [0, 1, 10, 100];

fn stop() {
    // SAFETY: plain number. Nobody continues us; the theatre ends who is stopped.
    unsafe { libc::raise(libc::SIGSTOP) };
}

/// Waits until the attacker has stopped: it gave its cue just before.
fn settle() {
    std::thread::sleep(Duration::from_millis(5));
}

fn lock_victim(victim: &mut Victim<'_>) -> Played {
    let segment = victim.stage.join()?;
    victim.stage.cue()?;
    victim.stage.await_cue()?;
    settle();
    for ms in DEADLINES_MS {
        drop(victim.lock(&segment, Duration::from_millis(ms), &["TimedOut"]));
        drop(victim.try_lock(&segment, &["WouldBlock"]));
    }
    // Many threads of the victim: each meets its own deadline.
    let patience = Duration::from_millis(100);
    let worst = std::thread::scope(|scope| {
        let wait = || {
            let begin = Instant::now();
            let refused = segment.lock_timeout(patience).is_err();
            (refused, begin.elapsed())
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(wait)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or((false, Duration::MAX))).collect::<Vec<_>>()
    });
    victim.check(worst.iter().all(|(refused, _)| *refused), "every thread's wait ends in a refusal");
    let longest = worst.iter().map(|(_, took)| *took).max().unwrap_or_default();
    // Threads of a busy machine wait for it, too: a deadline missed by far is what counts here.
    victim.check(longest < patience * 4, "every thread's wait ends near its deadline");
    Ok(())
}

fn lock_attacker(stage: &mut Stage) -> Played {
    let segment = stage.join()?;
    stage.await_cue()?;
    let guard = segment.lock()?;
    stage.did("holds");
    stage.cue()?;
    stop();
    drop(guard);
    Ok(())
}

/// `alloc` and the ring's first use take the lock themselves; the documents give them 5 s.
fn long_victim(victim: &mut Victim<'_>) -> Played {
    let segment = victim.stage.join()?;
    victim.stage.cue()?;
    victim.stage.await_cue()?;
    settle();
    let own = Duration::from_secs(5);
    victim.ask("alloc", own, &["TimedOut"], || segment.alloc(Layout::new::<u64>()));
    Ok(())
}

fn producing_victim(victim: &mut Victim<'_>) -> Played {
    let segment = victim.stage.join()?;
    victim.stage.cue()?;
    victim.stage.await_cue()?;
    settle();
    drop(victim.ask("producer", AT_ONCE, &["Claimed"], || segment.producer()));
    let mut bytes = victim.buffer(64)?;
    let Some(mut consumer) = victim.ask("consumer", AT_ONCE, &["Ok"], || segment.consumer()) else {
        return Ok(());
    };
    victim.ask("pop_wait", AT_ONCE, &["Ok"], || consumer.pop_wait(bytes.bytes(), Duration::from_secs(1)));
    for ms in DEADLINES_MS {
        let wait = Duration::from_millis(ms);
        victim.ask("pop_wait", wait, &["TimedOut"], || consumer.pop_wait(bytes.bytes(), wait));
        victim.ask("read_wait", wait, &["TimedOut"], || consumer.read_wait(bytes.bytes(), wait));
    }
    victim.is_whole(&bytes);
    Ok(())
}

fn producing_attacker(stage: &mut Stage) -> Played {
    let segment = stage.join()?;
    stage.await_cue()?;
    let mut producer = segment.producer()?;
    producer.push(Label::kind(1), b"the last one").map_err(|error| error.to_string())?;
    stage.did("claims");
    stage.cue()?;
    stop();
    Ok(())
}

fn consuming_victim(victim: &mut Victim<'_>) -> Played {
    let segment = victim.stage.join()?;
    victim.stage.cue()?;
    victim.stage.await_cue()?;
    settle();
    drop(victim.ask("consumer", AT_ONCE, &["Claimed"], || segment.consumer()));
    let Some(mut producer) = victim.ask("producer", AT_ONCE, &["Ok"], || segment.producer()) else {
        return Ok(());
    };
    let bytes = vec![7; 4096];
    while producer.write(&bytes).is_ok() {}
    for ms in DEADLINES_MS {
        let wait = Duration::from_millis(ms);
        victim.ask("write_wait", wait, &["TimedOut"], || producer.write_wait(&bytes, wait));
        victim.ask("write_all", wait, &["TimedOut"], || producer.write_all(&vec![7; 1 << 17], wait));
    }
    Ok(())
}

fn consuming_attacker(stage: &mut Stage) -> Played {
    let segment = stage.join()?;
    stage.await_cue()?;
    let consumer = segment.consumer()?;
    stage.did("claims");
    stage.cue()?;
    stop();
    drop(consumer);
    Ok(())
}
