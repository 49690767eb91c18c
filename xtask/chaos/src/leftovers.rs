//! What is left when nobody is: both sides killed during hand-over and work; and that cleaning removes exactly that.
//!
//! Live pairs stand beside it all the time, and must not be touched.

use crate::Outcome;
use crate::life::must_be_none;
use crate::process::Victim;
use crate::progress::Progress;
use crate::record;
use crate::survivor::Survivor;
use crate::tally::{Fault, Judge, Role, Tally};
use harness::census::Object;
use harness::product::SIZE;
use harness::{CELLS, Cell, Census, Random, now_ns};
use monshm::Segment;
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Before this time has passed, an object may belong to a creator that is still at it.
const GRACE: Duration = Duration::from_secs(11);

/// Starts a creator and a peer of each other, and kills both at random times, until `kills` are done.
pub(crate) fn kill_both(
    cell: Cell,
    page: &Progress,
    judge: &mut Judge<'_>,
    kills: u64,
    seed: u64,
    end: Option<Instant>,
) -> Outcome {
    judge.turn_to("create-and-work");
    let mut round = 0;
    while judge.row.kills < kills && end.is_none_or(|end| Instant::now() < end) {
        let before = Census::take();
        let mut random = Random::of(seed, &[cell.index() as u64, Role::Both as u64, round]);
        let words = page.words();
        words.cell.store(cell.index() as u64, Ordering::Release);
        words.hold_ns.store(random.below(5_000), Ordering::Release);
        let (one, other) = UnixStream::pair()?;
        let creator = Victim::start_quietly("create-and-work", page, &one)?;
        let peer = Victim::start_quietly("loop-holder", page, &other)?;
        drop((one, other));
        let begin_ns = now_ns();
        let mut times = [(random.below(5_000_000), &creator), (random.below(5_000_000), &peer)];
        times.sort_by_key(|(delay_ns, _)| *delay_ns);
        for (delay_ns, victim) in times {
            std::thread::sleep(Duration::from_nanos((begin_ns + delay_ns).saturating_sub(now_ns())));
            victim.child().kill();
        }
        creator.child().end()?;
        peer.child().end()?;
        judge.row.kills += 2;
        round += 1;
        let left = Census::take().since(&before);
        if cell.memory == "memfd" {
            must_be_none(judge, &left);
        }
        judge.row.left += left.len() as u64;
    }
    Ok(())
}

/// A segment in use, with a peer that holds its lock.
struct Pair {
    survivor: Survivor,
    victim: Victim,
}

/// Cleans, beside live pairs of each kind of memory, and judges what is left of the objects that are not in `before`.
pub(crate) fn clean(page: &Progress, tally: &mut Tally, before: &Census) -> Outcome {
    let dead = Census::take().since(before);
    let mut living = Vec::new();
    for cell in CELLS.into_iter().filter(|cell| cell.is_first_of_memory() || cell.backend == "sysv") {
        let mut judge = tally.judge(cell, Role::Both, "live pair");
        let pair = pair(cell, page, &mut judge)?;
        // A segment that no peer knows of yet lives as well.
        living.push((cell, pair, Survivor::create(cell)?));
        judge.done();
    }
    std::thread::sleep(GRACE);
    let removed = remove_left()?;
    let after = Census::take();
    for (cell, pair, alone) in living {
        let mut judge = tally.judge(cell, Role::Both, "clean");
        if let Some(pair) = pair {
            pair.judge(&mut judge)?;
        }
        // By its bytes alone: the name must still be there, where it has one.
        let reached = alone.segment.encode().and_then(|encoded| Segment::decode(encoded.bytes, None, SIZE));
        if let Err(error) = reached {
            judge.fault(Fault::Other, format_args!("cleaning took a live creator's segment: {error}"));
        }
        alone.prove_usable(&mut judge, false);
        judge.done();
    }
    let kept: Vec<Object> = dead.iter().filter(|object| after.objects.contains(object)).cloned().collect();
    eprintln!("clean: {} objects of dead processes, {removed} removed, {} left", dead.len(), kept.len());
    let mut judge = tally.judge(CELLS[0], Role::Both, "clean");
    must_be_none(&mut judge, &kept);
    judge.done();
    Ok(())
}

/// Removes by the library's own means. Answers how many objects went.
fn remove_left() -> Outcome<usize> {
    Ok(monshm::clean(monshm::Cleanup::Remove)?.stale().count())
}

fn pair(cell: Cell, page: &Progress, judge: &mut Judge<'_>) -> Outcome<Option<Pair>> {
    let survivor = Survivor::create(cell)?;
    survivor.brief(page, cell, record::MIN_LEN, 1, 0);
    let victim = Victim::start("die-inside", page)?;
    let ready = survivor.hand_to(&victim, judge) && Victim::wait_until_ready(page);
    Ok(ready.then_some(Pair { survivor, victim }))
}

impl Pair {
    /// The peer still holds the lock; once it is dead, everything still works.
    fn judge(self, judge: &mut Judge<'_>) -> Outcome {
        if matches!(self.survivor.segment.try_lock(), Ok(Some(_))) {
            judge.fault(Fault::Other, "the lock of a live pair was free after cleaning");
        }
        self.victim.child().end()?;
        judge.row.kills += 1;
        self.survivor.prove_usable(judge, true);
        Ok(())
    }
}
