//! The subject's other side: it hands over and takes, holds the lock, waits for it, moves the ring's other end, and says
//! what it saw. It waits with its own part until the fault has happened.
//!
//! Nothing fails here: it runs in the driver, which nobody traces.

use super::intercept::Progress;
use super::scene::{Place, Scene};
use super::stage::start;
use super::usage::prove;
use crate::cell::SIZE;
use crate::tracer::Stop;
use monshm::{DEFAULT_TIMEOUT, ErrorKind, Segment, rbuf};
use std::error::Error;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// How long it waits for anything.
const PATIENCE: Duration = Duration::from_secs(8);

/// How long the subject goes on waiting after its fault.
const AFTER: Duration = Duration::from_millis(3);

/// How late a wake-up may be that failed once: slices are shorter, but the machine may be busy.
const WOKEN_WITHIN: Duration = Duration::from_secs(2);

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

/// Plays the other side of `scene` to its end.
pub(crate) fn act(
    place: Place,
    scene: Scene,
    segment: Option<&Segment>,
    sockets: &[UnixStream; 2],
    progress: &Progress,
) -> Outcome {
    let first = &sockets[0];
    match (scene.name, segment) {
        ("send", _) => sockets.iter().try_for_each(take),
        ("drop", _) => {
            let segment = Segment::receive(first, SIZE, DEFAULT_TIMEOUT)?;
            meet(first, || Ok(()))?;
            wait_for_end(first);
            prove(&segment).map_err(|error| format!("after the creator's drop: {error}").into())
        }
        (_, None) => Ok(()),
        ("receive", Some(segment)) => {
            for socket in sockets {
                match segment.send(socket, DEFAULT_TIMEOUT) {
                    Ok(()) => break,
                    Err(error) => accept(&error)?,
                }
            }
            Ok(())
        }
        ("decode", Some(segment)) => {
            for mut socket in sockets {
                let bytes = segment.encode()?.bytes;
                socket.write_all(&(bytes.len() as u32).to_be_bytes())?;
                socket.write_all(&bytes)?;
            }
            Ok(())
        }
        ("detach", Some(segment)) => Ok(segment.send(first, DEFAULT_TIMEOUT)?),
        (_, Some(segment)) => {
            segment.send(first, DEFAULT_TIMEOUT)?;
            beside(place, scene, segment, first, progress)
        }
    }
}

/// Takes a segment that the subject sends, or is told that it cannot.
fn take(socket: &UnixStream) -> Outcome {
    match Segment::receive(socket, SIZE, DEFAULT_TIMEOUT) {
        Ok(segment) => prove(&segment).map_err(|error| format!("what was received: {error}").into()),
        Err(error) => accept(&error),
    }
}

/// Whether an error is what a failing subject may cause on this side.
fn accept(error: &monshm::Error) -> Outcome {
    match error.kind() {
        ErrorKind::PeerGone { .. } | ErrorKind::PeerRefused { .. } => Ok(()),
        // A subject that gave up and sends anew makes a new token, and this side may still be at the first message.
        ErrorKind::TokenSpent => Ok(()),
        _ => Err(format!("the partner of a subject that failed: {error}").into()),
    }
}

/// What is done beside a subject that is attached.
fn beside(place: Place, scene: Scene, segment: &Segment, socket: &UnixStream, progress: &Progress) -> Outcome {
    match scene.name {
        "take-over" => meet(socket, || kill_inside(place, segment)),
        "lock-contended" | "try-lock-held" | "lock-timed-out" => {
            let mut held = None;
            meet(socket, || {
                held = Some(segment.lock_timeout(PATIENCE)?);
                Ok(())
            })?;
            match scene.name {
                "lock-contended" => wait_for_fault(progress),
                _ => wait_for_end(socket),
            }
            Ok(held.map_or(Ok(()), monshm::Guard::unlock)?)
        }
        "unlock-waited" => {
            meet(socket, || Ok(()))?;
            let guard = segment.lock_timeout(PATIENCE)?;
            within(progress, "the lock came")?;
            Ok(guard.unlock()?)
        }
        "push-wait" => {
            let mut consumer = segment.consumer()?;
            meet(socket, || Ok(()))?;
            wait_for_fault(progress);
            let mut record = [0; 1000];
            for _ in 0..2 {
                consumer.pop_wait(&mut record, PATIENCE)?;
            }
            wait_for_end(socket);
            Ok(())
        }
        "push-waking" => {
            let mut consumer = segment.consumer()?;
            meet(socket, || Ok(()))?;
            consumer.pop_wait(&mut [0; 1000], PATIENCE)?;
            within(progress, "the record came")
        }
        "pop-wait" => {
            let mut producer = segment.producer()?;
            meet(socket, || Ok(()))?;
            wait_for_fault(progress);
            producer.push_wait(rbuf::record::Label::kind(1), &[7; 1000], PATIENCE)?;
            wait_for_end(socket);
            Ok(())
        }
        "push-timed-out" => {
            let _consumer = segment.consumer()?;
            meet(socket, || Ok(()))?;
            wait_for_end(socket);
            Ok(())
        }
        "pop-timed-out" => {
            let _producer = segment.producer()?;
            meet(socket, || Ok(()))?;
            wait_for_end(socket);
            Ok(())
        }
        _ => meet(socket, || Ok(())),
    }
}

/// Waits until the subject has come so far, does `work`, and lets it go on.
fn meet(mut socket: &UnixStream, work: impl FnOnce() -> Outcome) -> Outcome {
    socket.read_exact(&mut [0]).map_err(|error| format!("the subject did not come: {error}"))?;
    work()?;
    socket.write_all(b"!")?;
    Ok(())
}

/// Waits until the subject shuts its end, or ends itself.
fn wait_for_end(mut socket: &UnixStream) {
    // A time-out is the driver's business: it has a deadline for the subject.
    let _ = socket.read(&mut [0]);
}

fn wait_for_fault(progress: &Progress) {
    let begin = Instant::now();
    while !progress.is_over() && begin.elapsed() < PATIENCE / 2 {
        std::thread::sleep(Duration::from_micros(300));
    }
    std::thread::sleep(AFTER);
}

/// The subject has done its part: what came of it must be here soon.
fn within(progress: &Progress, what: &str) -> Outcome {
    match progress.over_for() {
        Some(late) if late > WOKEN_WITHIN => Err(format!("{what} {late:?} after it was given").into()),
        _ => Ok(()),
    }
}

/// Has another process die inside the lock.
fn kill_inside(place: Place, segment: &Segment) -> Outcome {
    let mut dying = start("die-inside", place)?;
    let outcome = segment
        .send(&dying.sockets[0], DEFAULT_TIMEOUT)
        .map_err(Into::into)
        .and_then(|()| meet(&dying.sockets[0], || Ok(())));
    dying.pid.kill();
    loop {
        match dying.pid.wait()? {
            Stop::Signal(_) => {}
            Stop::Killed(_) => return outcome,
            Stop::Exited(code) => {
                let mut said = String::new();
                if let Some(mut output) = dying.child.stdout.take() {
                    output.read_to_string(&mut said)?;
                }
                return Err(format!("who should die inside ended with {code}: {said}").into());
            }
        }
    }
}
