//! A whole life of a segment in one subject: made, shared, used from both sides, waited for, let go.

use super::report::{Report, Told};
use super::scene::Place;
use super::stage;
use super::usage::prove_pair;
use crate::tracer::Pid;
use monshm::{DEFAULT_TIMEOUT, ErrorKind, PreviousHolder, Segment};
use std::error::Error;
use std::io::{Read, Write};
use std::time::{Duration, Instant};

/// How long a lock is waited for that stays held.
const SHORT: Duration = Duration::from_millis(150);

/// How long a lock is waited for that comes.
const PATIENCE: Duration = Duration::from_secs(5);

/// Lives at `place`. With a `holder`, a process that waits to be handed the segment, also waits for it while it holds
/// the lock, and takes the lock over from it once it is dead.
pub(crate) fn live(place: Place, size: usize, holder: Option<stage::Started>, report: &mut Report) {
    let made = match place.builder(size).create() {
        Ok(made) => made,
        Err(error) => return report.error = Some(Told::from(&error)),
    };
    report.selection = Some(made.selection().to_string());
    let refusals = made.selection().refusals();
    report.refusals = refusals.iter().map(|refusal| Told::from(&refusal.error)).collect();
    let used = prove_pair(&made).and_then(|()| holder.map_or(Ok(()), |holder| contend(&made, holder, report)));
    if let Err(error) = used {
        match error.downcast::<monshm::Error>() {
            Ok(error) => report.error = Some(Told::from(&*error)),
            Err(error) => report.findings.push(format!("it does not work: {error}")),
        }
    }
}

/// Waits for the lock while another process holds it, and after that has died.
fn contend(segment: &Segment, mut holder: stage::Started, report: &mut Report) -> Result<(), Box<dyn Error>> {
    let mut socket = &holder.sockets[0];
    segment.send(socket, DEFAULT_TIMEOUT)?;
    socket.read_exact(&mut [0])?;
    socket.write_all(b"!")?;
    let (begin, used) = (Instant::now(), time_used());
    match segment.lock_timeout(SHORT) {
        Err(error) if matches!(error.kind(), ErrorKind::TimedOut { .. }) => {}
        Err(error) => return Err(error.into()),
        Ok(_) => report.findings.push("a lock was given that is held".to_owned()),
    }
    let (took, used) = (begin.elapsed(), time_used().saturating_sub(used));
    if took < SHORT || took > SHORT + PATIENCE {
        report.findings.push(format!("a wait of {SHORT:?} took {took:?}"));
    }
    if used > SHORT / 2 {
        report.findings.push(format!("a wait of {took:?} kept the processor busy for {used:?}"));
    }
    Pid(holder.child.id() as libc::pid_t).kill();
    holder.child.wait()?;
    let guard = segment.lock_timeout(PATIENCE)?;
    if guard.previous_holder() != PreviousHolder::Died {
        report.findings.push("a dead holder was not told of".to_owned());
    }
    Ok(guard.unlock()?)
}

/// How long this thread has had a processor.
fn time_used() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for the write.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
