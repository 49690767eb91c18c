//! The operations of a segment's life in which calls are made to fail: what the process under test does, what its
//! counterpart does meanwhile, and what an error may say.
//!
//! How they meet, try and report stands in `tested` and `counterpart`.

use super::counterpart::{Counterpart, LONGER};
use super::target::Target;
use super::tested::{DEADLINE, LONG, Tested, marked, on_time, timed};
use super::usage::{prove, prove_pair};
use harness::product::SIZE;
use monshm::Label;
use monshm::Operation::{Allocate, Attach, Create, Decode, Encode, Lock, Receive, Remove, Ring, Send, Unlock};
use monshm::{AttachOptions, DEFAULT_TIMEOUT, Guard, PreviousHolder, Segment};
use std::alloc::Layout;
use std::cell::RefCell;
use std::error::Error;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// What a part of an operation answers.
pub(crate) type Outcome = Result<(), Box<dyn Error + std::marker::Send + Sync>>;

/// One operation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    pub(crate) side: Side,
    /// What an error of it may say that was being done.
    pub(crate) answers: &'static [monshm::Operation],
    /// What the process under test does.
    pub(crate) tested: fn(&Tested) -> Outcome,
    /// What its counterpart does.
    pub(crate) counterpart: fn(&Counterpart<'_>) -> Outcome,
}

/// Who makes the segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The process under test.
    Creator,
    /// The driver; the process under test is its peer.
    Peer,
    /// Nobody: the operation is about what others left.
    Neither,
}

type Answers = &'static [monshm::Operation];

const fn creator(
    name: &'static str,
    answers: Answers,
    tested: fn(&Tested) -> Outcome,
    counterpart: fn(&Counterpart<'_>) -> Outcome,
) -> Operation {
    Operation { name, side: Side::Creator, answers, tested, counterpart }
}

const fn peer(
    name: &'static str,
    answers: Answers,
    tested: fn(&Tested) -> Outcome,
    counterpart: fn(&Counterpart<'_>) -> Outcome,
) -> Operation {
    Operation { side: Side::Peer, ..creator(name, answers, tested, counterpart) }
}

/// What is done about objects that the dead have left.
pub(crate) const CLEAN: &str = "clean";

/// Those of every cell.
const OF_CELLS: &[Operation] = &[
    creator("create", &[Create], create, nothing),
    creator("create-for-other", &[Create], |test| create_for_other(test, false), nothing),
    creator("encode", &[Encode], encode, nothing),
    creator("send", &[Send], send, |other| other.sockets.iter().try_for_each(Counterpart::take)),
    creator("drop", &[], drop_shared, outlive_creator),
    creator("drop-alone", &[], drop_alone, nothing),
    peer("receive", &[Receive, Attach], receive, send_until_taken),
    peer("decode", &[Decode, Attach], decode, send_bytes),
    peer("detach", &[], detach, |other| other.send().map(drop)),
    peer("lock", &[Lock], lock, attached),
    peer("try-lock-held", &[Lock], try_lock_held, hold_to_the_end),
    peer("lock-contended", &[Lock], lock, hold_until_fault),
    peer("lock-timed-out", &[Lock], lock_timed_out, hold_to_the_end),
    peer("take-over", &[Lock], take_over, |other| {
        let segment = other.send()?;
        other.meet(|| other.kill_inside(segment))
    }),
    peer("unlock", &[Unlock], |test| unlock(test, Duration::ZERO), attached),
    peer("unlock-waited", &[Unlock], |test| unlock(test, MEANWHILE), wait_for_lock),
    peer("alloc", &[Allocate], alloc, attached),
    peer("ring", &[Ring], ring, attached),
    peer("append-read", &[Ring], append_read, attached),
    peer("claim", &[Ring], claim, attached),
    peer("push-wait", &[Ring], |test| push(test, LONG), pop_after_fault),
    peer("push-timed-out", &[Ring], |test| push(test, DEADLINE), claim_consumer),
    peer("push-waking", &[Ring], push_waking, pop_woken),
    peer("pop-wait", &[Ring], |test| pop(test, LONG), push_after_fault),
    peer("pop-timed-out", &[Ring], |test| pop(test, DEADLINE), claim_producer),
];

/// Those in which the choice is left to `Auto`, and the one that is about all backends.
const OF_AUTO: &[Operation] = &[
    creator("create", &[Create], create, nothing),
    creator("create-by-bytes-for-other", &[Create], |test| create_for_other(test, true), nothing),
    creator("create-for-other", &[Create], |test| create_for_other(test, false), nothing),
    Operation { side: Side::Neither, ..creator(CLEAN, &[Remove], clean, nothing) },
];

impl Operation {
    /// The operations of a target.
    pub(crate) fn all(target: Target) -> &'static [Self] {
        if target == Target::Auto { OF_AUTO } else { OF_CELLS }
    }

    /// Whether it waits, and so makes the same calls again and again.
    pub(crate) fn repeats(&self) -> bool {
        ["wait", "timed-out", "contended", "take-over"].iter().any(|part| self.name.contains(part))
    }

    /// Whether nothing but its deadline ends it.
    pub(crate) fn is_timed(&self) -> bool {
        self.name.ends_with("timed-out")
    }
}

/// How long the process under test lets its counterpart fall asleep.
const MEANWHILE: Duration = Duration::from_millis(5);

/// One record, with its label.
const LABEL: Label = Label::kind(1);
const RECORD: [u8; 1000] = [7; 1000];

fn nothing(_: &Counterpart<'_>) -> Outcome {
    Ok(())
}

/// Sends the segment, and meets the process under test.
fn attached(other: &Counterpart<'_>) -> Outcome {
    other.send()?;
    other.meet(|| Ok(()))
}

fn create(test: &Tested) -> Outcome {
    test.attempt(|_| test.target.builder(SIZE).create(), |made| test.chosen(made, prove_pair))
}

fn create_for_other(test: &Tested, by_bytes: bool) -> Outcome {
    let builder = || test.target.builder_for_other(SIZE).reachable_by_bytes(by_bytes);
    test.attempt(|_| builder().create(), |made| test.chosen(made, prove))
}

fn encode(test: &Tested) -> Outcome {
    let segment = test.target.builder(SIZE).create()?;
    let check = |encoded: &monshm::Encoded| {
        let fd = encoded.fd.as_ref().map(OwnedFd::try_clone).transpose()?;
        prove(&Segment::decode(&encoded.bytes, fd, SIZE)?)
    };
    test.attempt(|_| segment.encode(), check)
}

fn send(test: &Tested) -> Outcome {
    let segment = test.target.builder(SIZE).create()?;
    test.attempt(|socket| segment.send(socket, DEFAULT_TIMEOUT), |()| prove(&segment))
}

fn drop_shared(test: &Tested) -> Outcome {
    let segment = test.target.builder(SIZE).create()?;
    segment.send(&test.sockets[0], DEFAULT_TIMEOUT)?;
    test.meet()?;
    marked(move || drop(segment));
    Ok(())
}

fn outlive_creator(other: &Counterpart<'_>) -> Outcome {
    let segment = Segment::receive(&other.sockets[0], SIZE, DEFAULT_TIMEOUT)?;
    other.meet(|| Ok(()))?;
    other.wait_for_end();
    prove(&segment).map_err(|error| format!("after the creator's drop: {error}").into())
}

fn drop_alone(test: &Tested) -> Outcome {
    let segment = test.target.builder(SIZE).create()?;
    drop(segment.encode()?);
    marked(move || drop(segment));
    Ok(())
}

fn receive(test: &Tested) -> Outcome {
    test.attempt(|socket| Segment::receive(socket, SIZE, DEFAULT_TIMEOUT), prove)
}

fn send_until_taken(other: &Counterpart<'_>) -> Outcome {
    for socket in other.sockets {
        match other.segment()?.send(socket, DEFAULT_TIMEOUT) {
            Ok(()) => break,
            Err(error) => Counterpart::accept(&error)?,
        }
    }
    Ok(())
}

fn decode(test: &Tested) -> Outcome {
    let [first, second] = &test.sockets;
    let bytes = [bytes_from(first)?, bytes_from(second)?];
    let which = |socket| if std::ptr::eq(socket, first) { &bytes[0] } else { &bytes[1] };
    test.attempt(|socket| AttachOptions::new(SIZE).decode(which(socket), None), prove)
}

/// Descriptor bytes, behind their length.
fn bytes_from(mut socket: &std::os::unix::net::UnixStream) -> std::io::Result<Vec<u8>> {
    let mut len = [0; 4];
    socket.read_exact(&mut len)?;
    let mut bytes = vec![0; u32::from_be_bytes(len) as usize];
    socket.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn send_bytes(other: &Counterpart<'_>) -> Outcome {
    for mut socket in other.sockets {
        let bytes = other.segment()?.encode()?.bytes;
        socket.write_all(&(bytes.len() as u32).to_be_bytes())?;
        socket.write_all(&bytes)?;
    }
    Ok(())
}

fn detach(test: &Tested) -> Outcome {
    let segment = test.receive()?;
    marked(move || drop(segment));
    Ok(())
}

fn clean(test: &Tested) -> Outcome {
    let clean = || {
        let report = monshm::clean(monshm::Cleanup::Report)?;
        match report.unseen().first() {
            Some((_, error)) => Err(error.clone()),
            None => Ok(report.stale().count()),
        }
    };
    test.attempt(|_| clean(), |_| Ok(()))
}

fn lock(test: &Tested) -> Outcome {
    let segment = test.join()?;
    test.attempt(|_| segment.lock_timeout(LONG), |_| Ok(()))
}

fn take_over(test: &Tested) -> Outcome {
    let segment = test.join()?;
    let check = |guard: &Guard<'_>| match guard.previous_holder() {
        PreviousHolder::Died => Ok(()),
        PreviousHolder::Released => Err("a dead holder was not reported".into()),
    };
    test.attempt(|_| segment.lock_timeout(LONG), check)
}

fn try_lock_held(test: &Tested) -> Outcome {
    let segment = test.join()?;
    let check = |held: &bool| if *held { Ok(()) } else { Err("a lock was given that is held".into()) };
    test.attempt_once(|_| segment.try_lock().map(|guard| guard.is_none()), check, |_| Ok(()))
}

fn lock_timed_out(test: &Tested) -> Outcome {
    let segment = test.join()?;
    test.attempt_once(|_| timed(|| segment.lock_timeout(DEADLINE)), on_time, |_| Ok(()))
}

/// Holds the lock, and releases it after `meanwhile`.
fn hold(other: &Counterpart<'_>, meanwhile: impl FnOnce()) -> Outcome {
    let segment = other.send()?;
    let mut held = None;
    other.meet(|| {
        held = Some(segment.lock_timeout(LONGER)?);
        Ok(())
    })?;
    meanwhile();
    Ok(held.map_or(Ok(()), Guard::unlock)?)
}

fn hold_until_fault(other: &Counterpart<'_>) -> Outcome {
    hold(other, || other.wait_for_fault())
}

fn hold_to_the_end(other: &Counterpart<'_>) -> Outcome {
    hold(other, || other.wait_for_end())
}

fn unlock(test: &Tested, meanwhile: Duration) -> Outcome {
    let segment = test.receive()?;
    let guard = segment.lock_timeout(LONG)?;
    test.meet()?;
    std::thread::sleep(meanwhile);
    let guard = RefCell::new(Some(guard));
    test.attempt(|_| guard.borrow_mut().take().map_or(Ok(()), Guard::unlock), |()| Ok(()))
}

fn wait_for_lock(other: &Counterpart<'_>) -> Outcome {
    attached(other)?;
    let guard = other.segment()?.lock_timeout(LONGER)?;
    other.within("the lock came")?;
    Ok(guard.unlock()?)
}

fn alloc(test: &Tested) -> Outcome {
    let segment = test.join()?;
    let layout = Layout::from_size_align(64, 8)?;
    test.attempt(|_| segment.alloc(layout), |_| Ok(()))
}

fn ring(test: &Tested) -> Outcome {
    let segment = test.join()?;
    test.attempt(|_| segment.unguarded_ring().map(drop), |()| Ok(()))
}

fn append_read(test: &Tested) -> Outcome {
    let segment = test.join()?;
    let ring = segment.unguarded_ring()?;
    let guard = segment.lock_timeout(LONG)?;
    let attempted = test.attempt(|_| ring.append(&[5; 16]).map(drop), |()| Ok(()));
    ring.read(&mut [0; 16])?;
    drop(guard);
    attempted
}

fn claim(test: &Tested) -> Outcome {
    let segment = test.join()?;
    test.attempt(|_| Ok((segment.producer()?, segment.consumer()?)), |_| Ok(()))
}

/// Waits for room: for what comes, or until the deadline.
fn push(test: &Tested, timeout: Duration) -> Outcome {
    let segment = test.receive()?;
    let mut producer = segment.producer()?;
    while producer.push(LABEL, &RECORD, Duration::ZERO).is_ok() {}
    test.meet()?;
    let producer = RefCell::new(producer);
    let push = || producer.borrow_mut().push(LABEL, &RECORD, timeout);
    if timeout == DEADLINE {
        test.attempt_once(|_| timed(push), on_time, |_| Ok(()))
    } else {
        test.attempt(|_| push(), |()| Ok(()))
    }
}

fn push_waking(test: &Tested) -> Outcome {
    let segment = test.receive()?;
    let producer = RefCell::new(segment.producer()?);
    test.meet()?;
    std::thread::sleep(MEANWHILE);
    test.attempt(|_| producer.borrow_mut().push(LABEL, &RECORD, LONG), |()| Ok(()))
}

fn pop_after_fault(other: &Counterpart<'_>) -> Outcome {
    let mut consumer = other.send()?.consumer()?;
    other.meet(|| Ok(()))?;
    other.wait_for_fault();
    for _ in 0..2 {
        consumer.pop(&mut [0; 1000], LONGER)?;
    }
    other.wait_for_end();
    Ok(())
}

fn pop_woken(other: &Counterpart<'_>) -> Outcome {
    let mut consumer = other.send()?.consumer()?;
    other.meet(|| Ok(()))?;
    consumer.pop(&mut [0; 1000], LONGER)?;
    other.within("the record came")
}

fn claim_consumer(other: &Counterpart<'_>) -> Outcome {
    let _consumer = other.send()?.consumer()?;
    other.meet(|| Ok(()))?;
    other.wait_for_end();
    Ok(())
}

/// Waits for a record: for one that comes, or until the deadline.
fn pop(test: &Tested, timeout: Duration) -> Outcome {
    let segment = test.receive()?;
    let consumer = RefCell::new(segment.consumer()?);
    test.meet()?;
    let pop = || {
        let mut record = [0; RECORD.len()];
        let found = consumer.borrow_mut().pop(&mut record, timeout)?;
        Ok(found.len() == RECORD.len() && record == RECORD)
    };
    if timeout == DEADLINE {
        return test.attempt_once(|_| timed(pop), on_time, |_| Ok(()));
    }
    test.attempt(|_| pop(), |whole| if *whole { Ok(()) } else { Err("another record came".into()) })
}

fn push_after_fault(other: &Counterpart<'_>) -> Outcome {
    let mut producer = other.send()?.producer()?;
    other.meet(|| Ok(()))?;
    other.wait_for_fault();
    producer.push(LABEL, &RECORD, LONGER)?;
    other.wait_for_end();
    Ok(())
}

fn claim_producer(other: &Counterpart<'_>) -> Outcome {
    let _producer = other.send()?.producer()?;
    other.meet(|| Ok(()))?;
    other.wait_for_end();
    Ok(())
}
