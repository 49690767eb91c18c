//! `monshm-headers`: changes words of the header of a live segment, one or two at a time, and makes a call that reads
//! them; also beside a thread that writes them at full speed.
//!
//! The sides are two attachments of one process: what a hostile peer is to its victim is a mapping, and one system call
//! a mutation less makes a hundred million of them a matter of minutes. What comes from the kernel is not here (the
//! hostile campaign is), nor bytes outside of the header (the fuzz targets are). `cargo xtask headers` runs it.

mod change;
mod racer;
mod target;

use clap::Parser;
use harness::Random;
use harness::verdict::Verdict;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};
use target::{Answers, Kind, Target};

/// Change words of a live segment's header, singly, in pairs and beside a racing writer, and judge every call that
/// reads them.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask headers", bin_name = "cargo xtask headers")]
struct Args {
    /// Mutations in all; the racing writer's are counted apart.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    count: u64,
    /// What the mutations and calls follow from.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// How many threads work side by side, each on a segment of its own. With more than one, System V attaches of one
    /// process can be in each other's way for longer than the backend tries, which is then a finding.
    #[arg(long, value_name = "N", default_value_t = 1)]
    jobs: usize,
    /// Of how many calls one is made beside the racing writer; 0 for none.
    #[arg(long, value_name = "N", default_value_t = 8)]
    racing: u64,
}

/// Mutations between two checks of the clock and of what the others found.
const CHUNK: u64 = 4096;

/// A call that has not ended in so many seconds of this program's time hangs.
const TIMEOUT_S: u32 = 60;

/// What the workers share.
struct Shared {
    done: AtomicU64,
    total: Mutex<Answers>,
    findings: Mutex<Vec<String>>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let jobs = args.jobs.max(1) as u64;
    let shared = Shared { done: AtomicU64::new(0), total: Mutex::default(), findings: Mutex::default() };
    let began = Instant::now();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs)
            .map(|job| {
                let share = args.count / jobs + u64::from(job < args.count % jobs);
                let (shared, args) = (&shared, &args);
                scope.spawn(move || work(args, job, share, shared))
            })
            .collect();
        watch(&shared, args.count, || workers.iter().all(thread::ScopedJoinHandle::is_finished));
    });
    report(&args, &shared, began.elapsed())
}

/// One target after another, until the share is done. A target is one kind of segment for a while.
fn work(args: &Args, job: u64, share: u64, shared: &Shared) {
    let mut random = Random::of(args.seed, &[job]);
    let mut left = share;
    let mut turn = job;
    while left > 0 && shared.findings.lock().unwrap().is_empty() {
        let kind = Kind::ALL[turn as usize % Kind::ALL.len()];
        let racing = args.racing != 0 && turn % args.racing == 0;
        turn += 1;
        let mut target = Target::new(kind);
        // A chunk of system calls is a tenth of one without.
        for _ in 0..64 {
            let count = left.min(CHUNK);
            let outcome = catch_unwind(AssertUnwindSafe(|| match racing {
                true => racer::beside(&mut target, &mut random, count),
                false => (0..count).for_each(|_| target.step(&mut random)),
            }));
            if outcome.is_err() {
                let last = target.last();
                shared.findings.lock().unwrap().push(format!("{kind:?}, racing: {racing}, job {job}: {last}"));
                return;
            }
            left -= count;
            shared.done.fetch_add(count, Relaxed);
        }
        shared.total.lock().unwrap().add(&target.into_answers());
    }
}

/// Prints how far it is, and ends the program when nothing moves: a call that does not end has no other witness. It
/// counts its own rounds, so that a campaign that is stopped for a while is not taken for one that hangs.
fn watch(shared: &Shared, count: u64, is_over: impl Fn() -> bool) {
    let (mut before, mut unmoved, mut rounds) = (0, 0, 0_u32);
    while !is_over() {
        thread::sleep(Duration::from_millis(100));
        rounds += 1;
        let done = shared.done.load(Relaxed);
        unmoved = if done == before { unmoved + 1 } else { 0 };
        before = done;
        if unmoved == TIMEOUT_S * 10 {
            eprintln!("error: a call does not end: {done} of {count} mutations were done {TIMEOUT_S} s ago");
            std::process::exit(1);
        }
        if rounds % 100 == 0 {
            eprintln!("{done} of {count} mutations");
        }
    }
}

fn report(args: &Args, shared: &Shared, took: Duration) -> ExitCode {
    let done = shared.done.load(Relaxed);
    let mut verdict = Verdict::new("headers");
    let Args { count, seed, jobs, racing } = args;
    for finding in shared.findings.lock().unwrap().iter() {
        verdict.count(false);
        verdict.find(finding, format_args!("--count {count} --seed {seed} --jobs {jobs} --racing {racing}"));
    }
    if done != *count && verdict.findings.is_empty() {
        verdict.find(format_args!("only {done} of {count} mutations were made"), format_args!("--seed {seed}"));
    }
    verdict.passed = done;
    verdict.notes.push(format!("{done} mutations by {jobs} thread(s) in {:.0} s, seed {seed}", took.as_secs_f64()));
    println!("{}", shared.total.lock().unwrap());
    print!("{}", verdict.text());
    verdict.exit_code()
}
