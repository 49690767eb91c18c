//! Kills at every system call of a segment's life: create, encode, send, the creator's drop; receive, decode, the
//! peer's drop. Before each call and after it.
//!
//! Where somebody who knows of the objects outlives the victim, nothing may be left once that one has let go. Where
//! nobody does, what is left is counted, and is for `clean` (see `leftovers`).

use crate::cell::{Cell, SIZE};
use crate::census::Census;
use crate::judge::Judge;
use crate::ledger::Ledger;
use crate::spawn::Victim;
use crate::steps::{come_to_mark, follow};
use crate::survivor::Survivor;
use crate::tally::Fault;
use crate::tracer::Stride;
use monshm::{DEFAULT_TIMEOUT, ErrorKind, Segment};
use std::error::Error;
use std::thread::scope;
use std::time::Instant;

/// What a victim does as the creator, the survivor being its peer or nobody.
const AS_CREATOR: [&str; 4] = ["create", "encode", "send", "drop"];

/// What a victim does as the peer of the survivor.
const AS_PEER: [&str; 3] = ["receive", "decode", "detach"];

/// All of them.
pub(crate) const OPERATIONS: [&str; 7] = ["create", "encode", "send", "drop", "receive", "decode", "detach"];

/// More system calls than any of the operations makes.
const LIMIT: u64 = 1_000;

/// Kills at every call of every operation, again and again until `kills` are done.
pub(crate) fn campaign(
    cell: Cell,
    ledger: &Ledger,
    judge: &mut Judge<'_>,
    kills: u64,
    end: Option<Instant>,
) -> Result<(), Box<dyn Error>> {
    let aim = judge.row.kills + kills;
    let is_over = |judge: &Judge<'_>| judge.row.kills >= aim || end.is_some_and(|end| Instant::now() >= end);
    while !is_over(judge) {
        for operation in OPERATIONS {
            judge.turn_to(operation);
            let mut point = 0;
            // A victim whose operation returned before the point made fewer strides.
            while !is_over(judge) && kill_at(cell, operation, ledger, judge, point)? == point && point < LIMIT {
                point += 1;
            }
        }
    }
    Ok(())
}

/// One victim, killed at the stop number `point` of its operation. Answers how many stops it came to.
pub(crate) fn kill_at(
    cell: Cell,
    operation: &str,
    ledger: &Ledger,
    judge: &mut Judge<'_>,
    point: u64,
) -> Result<u64, Box<dyn Error>> {
    judge.point = point;
    judge.row.kills += 1;
    let before = Census::take();
    let made = if AS_CREATOR.contains(&operation) {
        kill_creator(cell, operation, ledger, judge, point, &before)?
    } else {
        kill_peer(cell, operation, ledger, judge, point)?
    };
    let after = Census::take();
    if (after.fds, after.mappings) != (before.fds, before.mappings) {
        let found = format!(
            "{} file descriptors and {} mappings, before {} and {}",
            after.fds, after.mappings, before.fds, before.mappings
        );
        judge.fault(Fault::Leaked, found);
    }
    if AS_PEER.contains(&operation) {
        must_be_none(judge, &after.since(&before));
    }
    Ok(made)
}

fn kill_creator(
    cell: Cell,
    operation: &str,
    ledger: &Ledger,
    judge: &mut Judge<'_>,
    point: u64,
    before: &Census,
) -> Result<u64, Box<dyn Error>> {
    let words = ledger.words();
    words.cell.store(cell.index() as u64, std::sync::atomic::Ordering::Release);
    let mut victim = Victim::start(operation, ledger)?;
    let received = matches!(operation, "send" | "drop");
    let (made, received) = scope(|scope| {
        let socket = victim.socket();
        let receiver =
            received.then(|| scope.spawn(move || socket.map(|socket| Segment::receive(socket, SIZE, DEFAULT_TIMEOUT))));
        let made = come_to_mark(&victim).and_then(|()| follow(&victim, ledger, Stride::Call, point));
        victim.pid.kill();
        let reaped = victim.reap();
        let received = receiver.map(|receiver| receiver.join());
        reaped?;
        Ok::<_, Box<dyn Error>>((made?, received))
    })?;
    // Whether somebody was left who knew of the objects.
    let known = match received {
        None => false,
        Some(outcome) => known(outcome.map_err(|_| "the receiver panicked")??, judge),
    };
    let left = Census::take().since(before);
    if known || cell.memory == monshm::MemoryKind::Memfd {
        must_be_none(judge, &left);
    } else {
        judge.row.left += left.len() as u64;
    }
    Ok(made)
}

/// Uses and drops the segment that a dead creator sent. Answers whether we knew of the objects.
fn known(received: monshm::Result<Segment>, judge: &mut Judge<'_>) -> bool {
    match received {
        Ok(segment) => {
            match crate::pattern::Pattern::place(&segment) {
                Ok(pattern) => Survivor::of(segment, pattern).prove_usable(judge, false),
                Err(error) => judge.fault(Fault::Other, format_args!("after the creator's death: {error}")),
            }
            true
        }
        Err(error) if matches!(error.kind(), ErrorKind::PeerGone { .. }) => false,
        // We came too late, but had the descriptor: then it is on us to remove what it names.
        Err(error) if matches!(error.kind(), ErrorKind::Gone { .. }) => true,
        Err(error) => {
            judge.fault(Fault::Other, format_args!("receiving from a dead creator: {error}"));
            false
        }
    }
}

fn kill_peer(
    cell: Cell,
    operation: &str,
    ledger: &Ledger,
    judge: &mut Judge<'_>,
    point: u64,
) -> Result<u64, Box<dyn Error>> {
    let survivor = Survivor::create(cell)?;
    survivor.brief(ledger, cell, crate::record::MIN_LEN, 1, 0);
    if operation == "decode" {
        ledger.set_bytes(&survivor.segment.encode()?.bytes);
    }
    let mut victim = Victim::start(operation, ledger)?;
    let segment = &survivor.segment;
    let made = scope(|scope| {
        let socket = victim.socket();
        let sender = (operation != "decode")
            .then(|| scope.spawn(move || socket.map(|socket| segment.send(socket, DEFAULT_TIMEOUT))));
        let made = come_to_mark(&victim).and_then(|()| follow(&victim, ledger, Stride::Call, point));
        victim.pid.kill();
        let reaped = victim.reap();
        let sent = sender.map(|sender| sender.join());
        reaped?;
        if let Some(sent) = sent {
            if let Err(error) = sent.map_err(|_| "the sender panicked")?? {
                if !matches!(error.kind(), ErrorKind::PeerGone { .. }) {
                    judge.fault(Fault::Other, format_args!("sending to a dead peer: {error}"));
                }
            }
        }
        made
    })?;
    survivor.prove_usable(judge, true);
    Ok(made)
}

fn must_be_none(judge: &mut Judge<'_>, left: &[String]) {
    if !left.is_empty() {
        judge.fault(Fault::Leaked, format_args!("left behind: {}", left.join(", ")));
    }
}
