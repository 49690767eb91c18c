//! Faults: every system call of every operation fails once with each plausible errno, on each backend, memory and lock.
//!
//! | file | its job |
//! |------|---------|
//! | `scene`     | the operations and the places where they are tried |
//! | `calls`     | the calls, and what each may plausibly answer |
//! | `intercept` | sees the calls of a subject, and lets one fail |
//! | `subject`   | the process in which a call fails |
//! | `partner`   | its other side |
//! | `stage`     | one run of both |
//! | `judge`     | what a run is worth |
//! | `hardship`  | whole lives under limits, in namespaces, without parts of the system |
//! | `arrange`   | how those are made |
//! | `life`      | what a subject does under them |
//! | `table`     | what is printed |
//!
//! Here stands the plan: the calls of an operation are seen once, and then it runs again for each call and errno.

mod arrange;
mod calls;
mod hardship;
mod intercept;
mod judge;
mod life;
mod partner;
mod report;
mod scene;
mod stage;
mod subject;
mod table;
mod usage;

use crate::census::{Census, isolate};
use crate::random::Random;
use calls::{Plausible, errno_name};
use clap::Parser;
use intercept::{Call, Injection};
use judge::{Verdict, judge, judge_untouched, may_leave};
use scene::{CLEAN, Place, Scene, scenes};
use stage::{Seen, run};
use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use table::{Row, Tally};

/// The argument that starts this campaign.
pub(crate) const VERB: &str = "faults";

/// The argument that makes this program a subject.
pub(crate) const SUBJECT: &str = "--subject";

pub(crate) use subject::main as subject;

/// Before this time has passed, an object may belong to a creator that is still at it.
const GRACE: Duration = Duration::from_millis(11_100);

/// How often a run is made again in which the call did not come.
const TRIES: u32 = 3;

/// How many calls of one sort an operation that waits is followed through: what comes later repeats them.
const REPEATS: u64 = 3;

/// Let every system call of every operation fail once with each plausible errno, and judge what comes of it.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask faults", bin_name = "cargo xtask faults")]
struct Args {
    /// Only this backend: posix, sysv or auto.
    #[arg(long, value_name = "BACKEND")]
    backend: Option<String>,
    /// Only this memory: memfd, shm_open or shmget.
    #[arg(long, value_name = "MEMORY")]
    memory: Option<String>,
    /// Only this lock: futex, pthread-mutex, semaphore or sysv-sem.
    #[arg(long, value_name = "LOCK")]
    lock: Option<String>,
    /// Only this operation, such as create or lock-contended.
    #[arg(long, value_name = "OPERATION")]
    operation: Option<String>,
    /// Only this hardship, such as "full shm"; of the operation hardship.
    #[arg(long, value_name = "NAME")]
    case: Option<String>,
    /// Only calls whose name begins so, such as fcntl or "shmctl RMID".
    #[arg(long, value_name = "NAME")]
    syscall: Option<String>,
    /// Only this errno, such as ENOSPC.
    #[arg(long, value_name = "ERRNO")]
    errno: Option<String>,
    /// Only the call of its sort with this number, from 0.
    #[arg(long, value_name = "N")]
    occurrence: Option<u64>,
    /// At most so many failures of each operation and place, chosen by the seed.
    #[arg(long, value_name = "N")]
    sample: Option<usize>,
    /// What the choice follows from.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// Print the calls and what each would be made to answer; let nothing fail.
    #[arg(long)]
    list: bool,
    /// Print the counts as JSON instead of tables.
    #[arg(long)]
    json: bool,
}

/// Runs what the command line asks for.
pub(crate) fn main() -> Result<ExitCode, Box<dyn Error>> {
    let args = Args::parse_from(std::env::args().skip(1));
    if let Err(error) = isolate() {
        return Err(format!("this needs an IPC and a mount namespace of its own: {error}").into());
    }
    let mut plan = Plan { args, tally: Tally::default(), abandoned: None, left: Vec::new() };
    plan.run()?;
    let text = if plan.args.json { serde_json::to_string(&plan.tally)? + "\n" } else { plan.tally.text() };
    if !plan.args.list {
        print!("{text}");
    }
    Ok(if plan.tally.failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A run of the campaign.
struct Plan {
    args: Args,
    tally: Tally,
    /// When objects were left behind for the operation `clean`.
    abandoned: Option<Instant>,
    /// Objects that calls which were refused have left for `clean`.
    left: Vec<String>,
}

impl Plan {
    fn run(&mut self) -> Result<(), Box<dyn Error>> {
        let before = Census::take();
        let places: Vec<Place> = Place::all().into_iter().filter(|place| self.wants_place(*place)).collect();
        let wanted = |plan: &Self, scene: &Scene| plan.args.operation.as_deref().is_none_or(|name| name == scene.name);
        let all = |plan: &Self, place: Place| -> Vec<Scene> {
            scenes(place).iter().copied().filter(|scene| wanted(plan, scene)).collect()
        };
        if places.iter().any(|place| all(self, *place).iter().any(|scene| scene.name == CLEAN)) {
            self.abandon()?;
        }
        for place in places {
            for scene in all(self, place) {
                self.scene(place, scene)?;
            }
            if !self.args.list && self.suffers() {
                hardship::run(place, self.args.case.as_deref(), &mut self.tally)?;
            }
        }
        self.clean(&before)
    }

    /// Whether hardships are asked for.
    fn suffers(&self) -> bool {
        let args = &self.args;
        args.operation.as_deref().is_none_or(|name| name == hardship::OPERATION)
            && args.syscall.is_none()
            && args.errno.is_none()
    }

    fn wants_place(&self, place: Place) -> bool {
        let fits = |asked: &Option<String>, name: &str| asked.as_deref().is_none_or(|asked| asked == name);
        let args = &self.args;
        match place {
            Place::Auto => fits(&args.backend, "auto") && args.memory.is_none() && args.lock.is_none(),
            Place::Cell(cell) => {
                fits(&args.backend, cell.backend().name())
                    && fits(&args.memory, cell.memory.name())
                    && fits(&args.lock, cell.lock.name())
            }
        }
    }

    /// One operation at one place: once untouched, and once for each failure.
    fn scene(&mut self, place: Place, scene: Scene) -> Result<(), Box<dyn Error>> {
        if let Some(since) = self.abandoned.filter(|_| scene.name == CLEAN) {
            std::thread::sleep(GRACE.saturating_sub(since.elapsed()));
        }
        let mut row = Row { place: place.to_string(), operation: scene.name.to_owned(), ..Row::default() };
        let untouched = run(place, scene, None)?;
        let findings = judge_untouched(&untouched);
        row.calls = untouched.followed.calls.len();
        if !findings.is_empty() {
            row.findings += 1;
            self.tally.find(&findings, &again(place, scene, None));
        }
        let injections = self.injections(place, scene, &untouched.followed.calls);
        if self.args.list {
            list(place, scene, &untouched.followed.calls);
            return Ok(());
        }
        for injection in &injections {
            self.inject(place, scene, injection, &mut row)?;
        }
        self.tally.rows.push(row);
        Ok(())
    }

    fn inject(
        &mut self,
        place: Place,
        scene: Scene,
        injection: &Injection,
        row: &mut Row,
    ) -> Result<(), Box<dyn Error>> {
        let mut seen = run(place, scene, Some(injection))?;
        for _ in 1..TRIES {
            if seen.followed.hit || !ended_well(&seen) {
                break;
            }
            seen = run(place, scene, Some(injection))?;
        }
        if !seen.followed.hit && ended_well(&seen) {
            row.missed += 1;
            return Ok(());
        }
        let verdict = judge(place, scene, injection, &seen);
        row.count(&verdict);
        if let Verdict::Wrong(findings) = &verdict {
            let what = format!(
                "{place} {}: {} {} answers {}{}",
                scene.name,
                injection.call.name(),
                injection.occurrence,
                errno_name(injection.errno),
                if injection.for_good { " for good" } else { "" }
            );
            let findings: Vec<String> = findings.iter().map(|finding| format!("{what}: {finding}")).collect();
            self.tally.find(&findings, &again(place, scene, Some(injection)));
        }
        if may_leave(scene, injection) {
            self.left.extend(seen.left);
        }
        Ok(())
    }

    /// Every failure of the calls that were seen, as far as it is asked for.
    fn injections(&mut self, place: Place, scene: Scene, calls: &[Call]) -> Vec<Injection> {
        let mut all = Vec::new();
        for (index, call) in calls.iter().enumerate() {
            let occurrence = calls[..index].iter().filter(|other| other.is_like(call)).count() as u64;
            let errnos = match call.plausible(place.is_lock_of_libc()) {
                Plausible::Errnos(errnos) => errnos,
                Plausible::Nothing(reason) => {
                    if reason.starts_with("not in") {
                        self.tally.skip(format!("{place} {}: {} is {reason}", scene.name, call.name()));
                    }
                    continue;
                }
            };
            let waits = scene.repeats() && occurrence >= REPEATS;
            for errno in errnos.iter().filter(|_| !waits) {
                let once = Injection { call: *call, occurrence, errno: *errno, for_good: false };
                all.push(once);
                // libc leaves it to the kernel to see that the time is up, which it does before it looks for signals.
                let signals = *errno == libc::EINTR && call.is_wait() && scene.is_timed() && !place.is_lock_of_libc();
                let missing = matches!(*errno, libc::ENOSYS | libc::EPERM) && call.may_be_missing();
                if occurrence == 0 && (signals || missing) {
                    all.push(Injection { for_good: true, ..once });
                }
            }
        }
        all.retain(|injection| self.wants(injection));
        if let Some(most) = self.args.sample {
            let mut random = Random::of(self.args.seed, &[place.index() as u64, all.len() as u64]);
            while all.len() > most {
                let index = random.below(all.len() as u64) as usize;
                all.swap_remove(index);
            }
        }
        all
    }

    fn wants(&self, injection: &Injection) -> bool {
        let args = &self.args;
        args.syscall.as_deref().is_none_or(|name| injection.call.name().starts_with(name))
            && args.errno.as_deref().is_none_or(|name| errno_name(injection.errno) == name)
            && args.occurrence.is_none_or(|number| number == injection.occurrence)
    }

    /// Has creators end without letting go, so that `clean` finds something, once it is old.
    fn abandon(&mut self) -> Result<(), Box<dyn Error>> {
        for place in Place::all() {
            if let Place::Cell(cell) = place {
                if cell.lock == crate::cell::CELLS[0].lock {
                    let mut started = stage::start("abandon", place)?;
                    started.child.wait()?;
                }
            }
        }
        self.abandoned = Some(Instant::now());
        Ok(())
    }

    /// Removes what is left by the library's own means, and says what stays.
    fn clean(&mut self, before: &Census) -> Result<(), Box<dyn Error>> {
        let left = Census::take().since(before);
        if left.is_empty() || self.args.list {
            return Ok(());
        }
        std::thread::sleep(GRACE);
        let removed = monshm::clean(false)?.left().count();
        let kept = Census::take().since(before);
        self.tally.notes.push(format!(
            "{} objects were left by calls that were refused and by creators that ended; clean removed {removed}",
            left.len()
        ));
        if !kept.is_empty() {
            let text = format!("clean leaves {} objects of the dead: {}", kept.len(), kept.join(", "));
            self.tally.rows.push(Row {
                place: Place::Auto.to_string(),
                operation: "clean all".to_owned(),
                findings: 1,
                ..Row::default()
            });
            self.tally.find(&[text], "");
        }
        Ok(())
    }
}

fn ended_well(seen: &Seen) -> bool {
    judge_untouched(seen).is_empty()
}

/// The arguments that choose a place.
fn arguments(place: Place) -> String {
    match place {
        Place::Auto => "--backend auto".to_owned(),
        Place::Cell(cell) => format!("--memory {} --lock {}", cell.memory.name(), cell.lock.name()),
    }
}

/// The arguments that show a run again.
fn again(place: Place, scene: Scene, injection: Option<&Injection>) -> String {
    let place = arguments(place);
    let call = injection.map_or(String::new(), |injection| {
        format!(
            " --syscall \"{}\" --errno {} --occurrence {}",
            injection.call.name(),
            errno_name(injection.errno),
            injection.occurrence
        )
    });
    format!("{place} --operation {}{call}", scene.name)
}

fn list(place: Place, scene: Scene, calls: &[Call]) {
    println!("{place} {}: {} calls", scene.name, calls.len());
    for call in calls {
        match call.plausible(place.is_lock_of_libc()) {
            Plausible::Errnos(errnos) => {
                let errnos: Vec<String> = errnos.iter().map(|errno| errno_name(*errno)).collect();
                println!("    {:<20} {}", call.name(), errnos.join(" "));
            }
            Plausible::Nothing(reason) => println!("    {:<20} – {reason}", call.name()),
        }
    }
}
