//! A peer that stops for ever, by SIGSTOP, while it holds something that the victim wants.

use super::*;
use monshm::Label;
use std::alloc::Layout;

attacks! {
    "stopped/holding-lock" (Untrusted, BOTH): "takes the lock and stops for ever" => lock_victim, lock_attacker;
    "stopped/holding-lock-long" (One, CREATOR).slow(): "the same, for calls that take the lock themselves"
        => long_victim, lock_attacker;
    "stopped/producing" (Untrusted, BOTH): "claims the writing end and stops for ever"
        => producing_victim, producing_attacker;
    "stopped/consuming" (Untrusted, BOTH): "claims the reading end and stops for ever"
        => consuming_victim, consuming_attacker;
}

/// The deadlines that are tried.
const DEADLINES: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(1), Duration::from_millis(10), Duration::from_millis(100)];

/// Joins, and waits until the attacker has stopped: it signals just before.
fn join_stopped(victim: &mut Victim<'_>) -> Fallible<monshm::Segment> {
    let segment = victim.join()?;
    victim.let_attack()?;
    std::thread::sleep(Duration::from_millis(5));
    Ok(segment)
}

/// Stops for ever, with the victim waiting.
fn signal_and_stop(process: &mut Process) -> Done {
    process.acted();
    process.signal()?;
    stop();
    Ok(())
}

fn lock_victim(victim: &mut Victim<'_>) -> Done {
    let segment = join_stopped(victim)?;
    for wait in DEADLINES {
        drop(victim.lock(&segment, wait, &["TimedOut"]));
        drop(victim.try_lock(&segment, &["WouldBlock"]));
    }
    // Many threads of the victim: each meets its own deadline.
    let timeout = Duration::from_millis(100);
    let waits: Vec<(bool, Duration)> = std::thread::scope(|scope| {
        let wait = || {
            let begin = Instant::now();
            let refused = segment.lock_timeout(timeout).is_err();
            (refused, begin.elapsed())
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(wait)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or((false, Duration::MAX))).collect()
    });
    victim.check(waits.iter().all(|(refused, _)| *refused), "every thread's wait ends in a refusal");
    // Threads of a busy machine wait for it, too: a deadline missed by far is what counts here.
    victim.check(waits.iter().all(|(_, took)| *took < timeout * 4), "every thread's wait ends near its deadline");
    Ok(())
}

fn lock_attacker(process: &mut Process) -> Done {
    let segment = process.join()?;
    process.await_signal()?;
    let _guard = segment.lock()?;
    signal_and_stop(process)
}

/// `alloc` and the ring's first use take the lock themselves; the documents give them 5 s.
fn long_victim(victim: &mut Victim<'_>) -> Done {
    let segment = join_stopped(victim)?;
    victim.call("alloc", Duration::from_secs(5), &["TimedOut"], || segment.alloc(Layout::new::<u64>()));
    Ok(())
}

fn producing_victim(victim: &mut Victim<'_>) -> Done {
    let segment = join_stopped(victim)?;
    drop(victim.call("producer", AT_ONCE, &["Claimed"], || segment.producer()));
    let mut bytes = Guarded::new(64)?;
    let mut consumer = victim.consumer(&segment)?;
    victim.call("pop", AT_ONCE, &["Ok"], || consumer.pop(bytes.bytes(), Duration::from_secs(1)));
    for wait in DEADLINES {
        victim.call("pop", wait, &["TimedOut"], || consumer.pop(bytes.bytes(), wait));
        victim.call("read_partial", wait, &["TimedOut"], || consumer.read_partial(bytes.bytes(), wait));
    }
    victim.check_guards(&bytes);
    Ok(())
}

fn producing_attacker(process: &mut Process) -> Done {
    let segment = process.join()?;
    process.await_signal()?;
    let mut producer = segment.producer()?;
    producer.try_push(Label::kind(1), b"the last one").map_err(|error| error.to_string())?;
    signal_and_stop(process)
}

fn consuming_victim(victim: &mut Victim<'_>) -> Done {
    let segment = join_stopped(victim)?;
    drop(victim.call("consumer", AT_ONCE, &["Claimed"], || segment.consumer()));
    let mut producer = victim.producer(&segment)?;
    let bytes = vec![7; 4096];
    while producer.try_write_partial(&bytes).map_err(|error| error.to_string())? != 0 {}
    for wait in DEADLINES {
        victim.call("write", wait, &["TimedOut"], || producer.write(&bytes, wait));
        victim.call("write_partial", wait, &["TimedOut"], || producer.write_partial(&vec![7; 1 << 17], wait));
    }
    Ok(())
}

fn consuming_attacker(process: &mut Process) -> Done {
    let segment = process.join()?;
    process.await_signal()?;
    let _consumer = segment.consumer()?;
    signal_and_stop(process)
}
