//! `mutate-header`: changes words of the header of a live segment, one or two at a time, and has a victim call whatever
//! looks at them; also beside a thread that writes them at full speed.
//!
//! The sides are two attachments of one process: what a hostile peer is to its victim is a mapping, and one system call
//! a mutation less makes a hundred million of them a matter of minutes. What comes from the kernel is not here (the
//! hostile campaign is), nor bytes outside of the header (the fuzz targets are).

mod change;
mod racer;
mod victim;

use crate::random::Random;
use clap::Parser;
use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};
use victim::{Kind, Tally, Victim};

/// Change words of a live segment's header, singly, in pairs and beside a racing writer, and judge every call of a
/// victim that looks at them.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask mutate-header", bin_name = "cargo xtask mutate-header")]
struct Args {
    /// Mutations in all; the racing writer's are counted apart.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    count: u64,
    /// What the mutations and calls follow from.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// How many victims work side by side, each on a segment of its own. With more than one, System V attaches of one process
    /// can be in each other's way for longer than the backend tries, which is then told as a finding.
    #[arg(long, value_name = "N", default_value_t = 1)]
    jobs: usize,
    /// Of how many calls one is made beside the racing writer; 0 for none.
    #[arg(long, value_name = "N", default_value_t = 8)]
    racing: u64,
}

/// Mutations between two looks at the clock and at what the others found.
const CHUNK: u64 = 4096;

/// A victim that has not finished a chunk in so many seconds of this program's time does not end.
const ENDLESS_SECONDS: u32 = 60;

/// What the workers share.
struct Shared {
    done: AtomicU64,
    total: Mutex<Tally>,
    findings: Mutex<Vec<String>>,
}

/// Runs the campaign, with its arguments from the command line behind the verb.
pub(crate) fn main(arguments: impl Iterator<Item = String>) -> Result<ExitCode, Box<dyn Error>> {
    let args = Args::parse_from(std::iter::once("mutate-header".to_owned()).chain(arguments));
    let jobs = args.jobs.max(1);
    let shared = Shared { done: AtomicU64::new(0), total: Mutex::default(), findings: Mutex::default() };
    let began = Instant::now();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs as u64)
            .map(|job| {
                let share = args.count / jobs as u64 + u64::from(job < args.count % jobs as u64);
                let (shared, args) = (&shared, &args);
                scope.spawn(move || work(args, job, share, shared))
            })
            .collect();
        watch(&shared, args.count, || workers.iter().all(thread::ScopedJoinHandle::is_finished));
    });
    report(&args, jobs, &shared, began.elapsed())
}

/// One victim after another, until the share is done. A victim is one kind of segment for a while.
fn work(args: &Args, job: u64, share: u64, shared: &Shared) {
    let mut random = Random::of(args.seed, &[job]);
    let mut left = share;
    let mut turn = job;
    while left > 0 && shared.findings.lock().unwrap().is_empty() {
        let kind = Kind::ALL[turn as usize % Kind::ALL.len()];
        let racing = args.racing != 0 && turn % args.racing == 0;
        turn += 1;
        let mut victim = Victim::new(kind);
        // A chunk of system calls is a tenth of one without.
        for _ in 0..64 {
            let count = left.min(CHUNK);
            let outcome = catch_unwind(AssertUnwindSafe(|| match racing {
                true => racer::beside(&mut victim, &mut random, count),
                false => (0..count).for_each(|_| victim.suffer(&mut random)),
            }));
            if outcome.is_err() {
                let last = victim.last();
                shared.findings.lock().unwrap().push(format!("{kind:?}, racing: {racing}, job {job}: {last}"));
                return;
            }
            left -= count;
            shared.done.fetch_add(count, Relaxed);
        }
        shared.total.lock().unwrap().add(&victim.into_tally());
    }
}

/// Tells how far it is, and ends the program when nothing moves: a call that does not end has no other witness. It
/// counts its own looks, so that a campaign that is stopped for a while is not taken for one that hangs.
fn watch(shared: &Shared, count: u64, is_over: impl Fn() -> bool) {
    let (mut before, mut unmoved, mut looks) = (0, 0, 0_u32);
    while !is_over() {
        thread::sleep(Duration::from_millis(100));
        looks += 1;
        let done = shared.done.load(Relaxed);
        unmoved = if done == before { unmoved + 1 } else { 0 };
        before = done;
        if unmoved == ENDLESS_SECONDS * 10 {
            eprintln!("error: a call does not end: {done} of {count} mutations were done {ENDLESS_SECONDS} s ago");
            std::process::exit(1);
        }
        if looks % 100 == 0 {
            eprintln!("{done} of {count} mutations");
        }
    }
}

fn report(args: &Args, jobs: usize, shared: &Shared, took: Duration) -> Result<ExitCode, Box<dyn Error>> {
    let done = shared.done.load(Relaxed);
    println!("{}", shared.total.lock().unwrap());
    let findings = shared.findings.lock().unwrap();
    for finding in findings.iter() {
        println!("finding: {finding}");
    }
    println!(
        "{done} mutations by {jobs} victims in {:.0} s, seed {}, findings: {}",
        took.as_secs_f64(),
        args.seed,
        findings.len()
    );
    Ok(if findings.is_empty() && done == args.count { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
