//! What is left when nobody is: both sides killed during hand-over and work; and that cleaning removes exactly that.
//!
//! Live pairs stand beside it all the time, and must not be touched.

use crate::cell::{CELLS, Cell, Role, SIZE};
use crate::census::Census;
use crate::executioner::now_ns;
use crate::judge::Judge;
use crate::ledger::Ledger;
use crate::random::Random;
use crate::record;
use crate::spawn::Victim;
use crate::survivor::Survivor;
use crate::tally::{Fault, Tally};
use monshm::{MemoryKind, Segment};
use std::error::Error;
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Before this time has passed, an object may belong to a creator that is still at it.
const GRACE: Duration = Duration::from_secs(11);

/// Starts a creator and a peer of each other, and kills both at random times, until `kills` are done.
pub(crate) fn kill_both(
    cell: Cell,
    ledger: &Ledger,
    judge: &mut Judge<'_>,
    kills: u64,
    seed: u64,
    end: Option<Instant>,
) -> Result<(), Box<dyn Error>> {
    judge.turn_to("create-and-work");
    while judge.row.kills < kills && end.is_none_or(|end| Instant::now() < end) {
        let before = Census::take();
        let mut random = Random::of(seed, &[cell.index() as u64, Role::Both as u64, judge.point]);
        let words = ledger.words();
        words.cell.store(cell.index() as u64, Ordering::Release);
        words.hold_ns.store(random.below(5_000), Ordering::Release);
        let (one, other) = UnixStream::pair()?;
        let mut creator = Victim::start_quietly("create-and-work", ledger, one)?;
        let mut peer = Victim::start_quietly("loop-holder", ledger, other)?;
        let begin_ns = now_ns();
        let mut times = [(random.below(5_000_000), creator.pid), (random.below(5_000_000), peer.pid)];
        times.sort_by_key(|(delay_ns, _)| *delay_ns);
        for (delay_ns, pid) in times {
            std::thread::sleep(Duration::from_nanos((begin_ns + delay_ns).saturating_sub(now_ns())));
            pid.kill();
        }
        creator.reap()?;
        peer.reap()?;
        judge.row.kills += 2;
        judge.point += 1;
        let left = Census::take().since(&before);
        if cell.memory == MemoryKind::Memfd && !left.is_empty() {
            judge.fault(Fault::Leaked, format_args!("left behind: {}", left.join(", ")));
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
pub(crate) fn clean(ledger: &Ledger, tally: &mut Tally, before: &Census, seed: u64) -> Result<(), Box<dyn Error>> {
    let dead = Census::take().since(before);
    let cells = CELLS.iter().filter(|cell| cell.lock == CELLS[0].lock || cell.memory == MemoryKind::SysvShm);
    let mut pairs = Vec::new();
    for cell in cells {
        let mut judge = Judge::new(tally, *cell, Role::Both, seed, "live pair");
        let pair = pair(*cell, ledger, &mut judge)?;
        // A segment that nobody was told of yet lives as well.
        let alone = Survivor::create(*cell)?;
        pairs.push((*cell, pair, alone));
        judge.done();
    }
    std::thread::sleep(GRACE);
    let removed = remove_left()?;
    let left = Census::take();
    for (cell, pair, alone) in pairs {
        let mut judge = Judge::new(tally, cell, Role::Both, seed, "clean");
        if let Some(pair) = pair {
            pair.judge(&mut judge)?;
        }
        // By its bytes alone: the name must still be there, where it has one.
        let reached = alone.segment.encode().and_then(|encoded| Segment::decode(encoded.bytes, None, SIZE));
        if let Err(error) = reached {
            judge.fault(Fault::Other, format_args!("cleaning took a live creator's segment: {error}"));
        }
        alone.prove_usable(&mut judge, false);
        if cell == CELLS[0] {
            let kept: Vec<&String> = dead.iter().filter(|object| left.objects.contains(*object)).collect();
            if !kept.is_empty() {
                judge.fault(
                    Fault::Leaked,
                    format_args!(
                        "{} objects of dead processes are left after cleaning, such as {}",
                        kept.len(),
                        kept[0]
                    ),
                );
            }
            eprintln!("clean: {} objects of dead processes, {removed} removed, {} left", dead.len(), kept.len());
        }
        judge.done();
    }
    Ok(())
}

/// Removes by the library's own means. Answers how many objects went.
fn remove_left() -> Result<usize, Box<dyn Error>> {
    Ok(monshm::clean(false)?.left().count())
}

fn pair(cell: Cell, ledger: &Ledger, judge: &mut Judge<'_>) -> Result<Option<Pair>, Box<dyn Error>> {
    let survivor = Survivor::create(cell)?;
    survivor.brief(ledger, cell, record::MIN_LEN, 1, 0);
    let victim = Victim::start("die-inside", ledger)?;
    let ready = survivor.hand_to(&victim, judge) && Victim::wait_until_ready(ledger);
    Ok(ready.then_some(Pair { survivor, victim }))
}

impl Pair {
    /// The peer still holds the lock; once it is dead, everything still works.
    fn judge(mut self, judge: &mut Judge<'_>) -> Result<(), Box<dyn Error>> {
        if matches!(self.survivor.segment.try_lock(), Ok(Some(_))) {
            judge.fault(Fault::Other, "the lock of a live pair was free after cleaning");
        }
        self.victim.pid.kill();
        self.victim.reap()?;
        judge.row.kills += 1;
        self.survivor.prove_usable(judge, true);
        Ok(())
    }
}
