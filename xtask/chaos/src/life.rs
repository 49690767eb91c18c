//! Kills at every system call of a segment's life: create, encode, send, the creator's drop; receive, decode, the
//! peer's drop. Before each call and after it.
//!
//! Where a process that knows of the objects outlives the victim, nothing may be left once it has released them. Where
//! none does, what is left is counted, and is for `clean` (see `leftovers`).

use crate::Outcome;
use crate::pattern::Pattern;
use crate::process::Victim;
use crate::progress::Progress;
use crate::record;
use crate::survivor::Survivor;
use crate::tally::{Fault, Judge};
use harness::Cell;
use harness::census::{self, Census, Object};
use harness::product::SIZE;
use harness::trace::Stride;
use monshm::{DEFAULT_TIMEOUT, ErrorKind, Segment};
use std::sync::atomic::Ordering;
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
    page: &Progress,
    judge: &mut Judge<'_>,
    kills: u64,
    end: Option<Instant>,
) -> Outcome {
    let aim = judge.row.kills + kills;
    let is_over = |judge: &Judge<'_>| judge.row.kills >= aim || end.is_some_and(|end| Instant::now() >= end);
    while !is_over(judge) {
        for operation in OPERATIONS {
            judge.turn_to(operation);
            let mut point = 0;
            // A victim whose operation returned before the point made fewer strides.
            while !is_over(judge) && kill_at(cell, operation, page, judge, point)? == point && point < LIMIT {
                point += 1;
            }
        }
    }
    Ok(())
}

/// One victim, killed at the stop number `point` of its operation. Answers how many stops it came to.
pub(crate) fn kill_at(cell: Cell, operation: &str, page: &Progress, judge: &mut Judge<'_>, point: u64) -> Outcome<u64> {
    judge.point = Some(point);
    judge.row.kills += 1;
    let before = Census::take();
    let made = if AS_CREATOR.contains(&operation) {
        kill_creator(cell, operation, page, judge, point, &before)?
    } else {
        kill_peer(cell, operation, page, judge, point)?
    };
    let after = Census::take();
    let ([_, fds, mappings], [_, fds_before, mappings_before]) = (after.counts(), before.counts());
    if (fds, mappings) != (fds_before, mappings_before) {
        let detail =
            format_args!("{fds} file descriptors and {mappings} mappings, before {fds_before} and {mappings_before}");
        judge.fault(Fault::Leaked, detail);
    }
    if AS_PEER.contains(&operation) {
        must_be_none(judge, &after.since(&before));
    }
    Ok(made)
}

fn kill_creator(
    cell: Cell,
    operation: &str,
    page: &Progress,
    judge: &mut Judge<'_>,
    point: u64,
    before: &Census,
) -> Outcome<u64> {
    page.words().cell.store(cell.index() as u64, Ordering::Release);
    let victim = Victim::start(operation, page)?;
    let received = matches!(operation, "send" | "drop");
    let (made, received) = scope(|scope| {
        let socket = victim.socket();
        let receiver =
            received.then(|| scope.spawn(move || socket.map(|socket| Segment::receive(socket, SIZE, DEFAULT_TIMEOUT))));
        let made = kill_at_call(&victim, page, point);
        Ok::<_, Box<dyn std::error::Error>>((made?, receiver.map(|receiver| receiver.join())))
    })?;
    // Whether somebody was left who knew of the objects.
    let known = match received {
        None => false,
        Some(outcome) => known(outcome.map_err(|_| "the receiver panicked")??, judge),
    };
    let left = Census::take().since(before);
    if known || cell.memory == "memfd" {
        must_be_none(judge, &left);
    } else {
        judge.row.left += left.len() as u64;
    }
    Ok(made)
}

/// Follows a victim to its call number `point`, and ends it there, or where something else went wrong.
fn kill_at_call(victim: &Victim, page: &Progress, point: u64) -> Outcome<u64> {
    let made = victim.come_to_mark().and_then(|()| victim.follow(page, Stride::Call, point));
    victim.child().end()?;
    made
}

/// Uses and drops the segment that a dead creator sent. Answers whether we knew of the objects.
fn known(received: monshm::Result<Segment>, judge: &mut Judge<'_>) -> bool {
    match received {
        Ok(segment) => {
            match Pattern::place(&segment) {
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

fn kill_peer(cell: Cell, operation: &str, page: &Progress, judge: &mut Judge<'_>, point: u64) -> Outcome<u64> {
    let survivor = Survivor::create(cell)?;
    survivor.brief(page, cell, record::MIN_LEN, 1, 0);
    if operation == "decode" {
        page.set_bytes(&survivor.segment.encode()?.bytes);
    }
    let victim = Victim::start(operation, page)?;
    let segment = &survivor.segment;
    let made = scope(|scope| {
        let socket = victim.socket();
        let sender = (operation != "decode")
            .then(|| scope.spawn(move || socket.map(|socket| segment.send(socket, DEFAULT_TIMEOUT))));
        let made = kill_at_call(&victim, page, point);
        if let Some(sent) = sender.map(|sender| sender.join()) {
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

/// Counts objects that are left where none may be.
pub(crate) fn must_be_none(judge: &mut Judge<'_>, left: &[Object]) {
    if !left.is_empty() {
        judge.fault(Fault::Leaked, format_args!("left behind: {}", census::list(left)));
    }
}
