//! A whole life of a segment in one process: made, shared, used from both sides, waited for, released.

use super::operations::Outcome;
use super::report::{Failure, Report};
use super::target::Target;
use super::tested::{DEADLINE, LONG};
use super::usage::prove_pair;
use harness::Process;
use monshm::{DEFAULT_TIMEOUT, ErrorKind, PreviousHolder, Segment};
use std::time::{Duration, Instant};

/// Lives on `target`. With a `holder`, a process that waits to be handed the segment, it also waits for the lock while
/// that one holds it, and takes it over once that one is dead.
pub(crate) fn live(target: Target, size: usize, holder: Option<Process>, report: &mut Report) {
    let made = match target.builder(size).create() {
        Ok(made) => made,
        Err(error) => return report.error = Some(Failure::from(&error)),
    };
    report.chose(&made);
    let used = prove_pair(&made).and_then(|()| holder.map_or(Ok(()), |holder| contend(&made, &holder, report)));
    if let Err(error) = used {
        match error.downcast::<monshm::Error>() {
            Ok(error) => report.error = Some(Failure::from(&*error)),
            Err(error) => report.findings.push(format!("it does not work: {error}")),
        }
    }
}

/// Waits for the lock while another process holds it, and after that has died.
fn contend(segment: &Segment, holder: &Process, report: &mut Report) -> Outcome {
    segment.send(&holder.link().0, DEFAULT_TIMEOUT)?;
    holder.hear()?;
    let (begin, used) = (Instant::now(), time_used());
    match segment.lock_timeout(DEADLINE) {
        Err(error) if matches!(error.kind(), ErrorKind::TimedOut { .. }) => {}
        Err(error) => return Err(error.into()),
        Ok(_) => report.findings.push("a lock was given that is held".to_owned()),
    }
    let (took, used) = (begin.elapsed(), time_used().saturating_sub(used));
    if took < DEADLINE || took > DEADLINE + LONG {
        report.findings.push(format!("a wait of {DEADLINE:?} took {took:?}"));
    }
    if used > DEADLINE / 2 {
        report.findings.push(format!("a wait of {took:?} kept the processor busy for {used:?}"));
    }
    holder.child().end()?;
    let guard = segment.lock_timeout(LONG)?;
    if guard.previous_holder() != PreviousHolder::Died {
        report.findings.push("a dead holder was not reported".to_owned());
    }
    Ok(guard.unlock()?)
}

/// How long this thread has had a processor.
fn time_used() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
