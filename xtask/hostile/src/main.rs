//! `cargo xtask hostile`: real attacking processes against real victims that use the public API.
//!
//! Nothing in the product is changed for it: an attacker has what any process with the segment has, its bytes, its
//! descriptors and its sockets. Here stand the command line, the order of scenarios and what is printed.
//!
//! # To add an attack
//!
//! Four lines in the file of its family in `attacks/`, or in a new file that `attacks/mod.rs` lists:
//!
//! ```text
//! attacks! { "ring/tail-zero" (Untrusted, BOTH): "sets tail to 0" => zero_victim, zero_attacker; }
//! fn zero_attacker(process: &mut Process) -> Done { process.edit(|raw| raw.store(TAIL, 0)) }
//! fn zero_victim(victim: &mut Victim<'_>) -> Done { let segment = victim.join()?; victim.let_attack()?;
//!     victim.call("consumer", AT_ONCE, &["Corrupt"], || segment.consumer()); Ok(()) }
//! ```
//!
//! The row says on which kinds of segment and from which sides it runs. `call` says what the victim must see; that it
//! lives, is on time, and loses no memory and no descriptor is checked after every scenario. See it fail once, with
//! `cargo xtask hostile ring/tail-zero --expect-failure`.

mod attack;
mod attacks;
mod forge;
mod frame;
mod guarded;
mod process;
mod raw;
mod report;
mod row;
mod runner;
mod self_test;
mod usage;
mod victim;

use attack::{Attack, Done, Fallible, Users};
use clap::Parser;
use harness::cell::Filter;
use harness::verdict::Verdict;
use harness::{CELLS, users};
use row::Row;
use runner::{Outcome, Scenario};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Attack real victims with real processes, of other users where we may make them so, and judge how they bear it.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask hostile", bin_name = "cargo xtask hostile")]
struct Args {
    /// Only these attacks, or families of attacks.
    attacks: Vec<String>,
    /// List the attacks and what each does.
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    cells: Filter,
    /// What numbers, order of bits and sizes follow from.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// How often everything is done, with another seed each time.
    #[arg(long, value_name = "N", default_value_t = 1)]
    rounds: u64,
    /// Go on until this many seconds have passed, and finish the round.
    #[arg(long, value_name = "S")]
    seconds: Option<u64>,
    /// Self-test: turn every expectation round, so that each attack must fail. Shows that each of them judges.
    #[arg(long)]
    expect_failure: bool,
    /// Print the table as JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    run(&Args::parse()).unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

/// Runs what the command line asks for.
fn run(args: &Args) -> Fallible<ExitCode> {
    let attacks = chosen(args)?;
    if args.list {
        attacks.iter().for_each(|attack| println!("{:<28} {}", attack.name, attack.summary));
        return Ok(ExitCode::SUCCESS);
    }
    let isolated = users::isolate().is_ok();
    if !isolated {
        eprintln!("note: objects of other programs of this user are counted too (no namespaces of our own)");
    }
    no_core_dumps();
    let begin = Instant::now();
    let least = Duration::from_secs(args.seconds.unwrap_or(0));
    let mut campaign = Campaign { args, seed: args.seed, isolated, rows: Vec::new(), verdict: Verdict::new("hostile") };
    let mut rounds = 0;
    while rounds < args.rounds || begin.elapsed() < least {
        campaign.round(&attacks)?;
        campaign.seed += 1;
        rounds += 1;
    }
    let (rows, mut verdict) = (campaign.rows, campaign.verdict);
    let table = row::table(&rows, &mut verdict);
    verdict.notes.push(format!("seed {}, {rounds} round(s), {:.0} s", args.seed, begin.elapsed().as_secs_f64()));
    Ok(verdict.print(args.json, &table, &rows))
}

fn chosen(args: &Args) -> Fallible<Vec<Attack>> {
    let mut all = attacks::all();
    if args.expect_failure {
        all.extend(self_test::ATTACKS);
    }
    let is_named = |attack: &Attack, name: &String| attack.name == name || attack.family() == name;
    for name in &args.attacks {
        if !all.iter().any(|attack| is_named(attack, name)) {
            return Err(format!("there is no attack and no family `{name}`; see --list").into());
        }
    }
    all.retain(|attack| args.attacks.is_empty() || args.attacks.iter().any(|name| is_named(attack, name)));
    Ok(all)
}

/// What was done so far.
struct Campaign<'a> {
    args: &'a Args,
    seed: u64,
    isolated: bool,
    rows: Vec<Row>,
    verdict: Verdict,
}

impl Campaign<'_> {
    /// One round of all attacks; those that wait for seconds run beside the others.
    fn round(&mut self, attacks: &[Attack]) -> Done {
        let scenarios: Vec<Scenario<'_>> = attacks.iter().flat_map(|attack| self.scenarios(attack)).collect();
        let (slow, quick): (Vec<_>, Vec<_>) = scenarios.into_iter().partition(|scenario| scenario.attack.slow);
        let mut running = Vec::new();
        for scenario in &slow {
            running.push((scenario, scenario.start()?));
        }
        for scenario in &quick {
            let outcome = scenario.run(self.isolated)?;
            self.note(scenario, outcome)?;
        }
        for (scenario, running) in running {
            let outcome = scenario.finish(running, self.isolated)?;
            self.note(scenario, outcome)?;
        }
        Ok(())
    }

    /// An attack on each kind of segment, from each side. What cannot be run is skipped, aloud.
    fn scenarios<'a>(&mut self, attack: &'a Attack) -> Vec<Scenario<'a>> {
        let mut scenarios = Vec::new();
        let (seed, inverted) = (self.seed, self.args.expect_failure);
        for cell in CELLS.into_iter().filter(|cell| attack.cells.contains(*cell) && self.args.cells.wants(*cell)) {
            for side in attack.sides.iter().copied() {
                if matches!(attack.users, Users::Others | Users::RootVictim) && !users::can_change() {
                    self.verdict.skip(format!("{} on {cell}, {}: {}", attack.name, side.name(), users::NOT_ROOT));
                } else {
                    scenarios.push(Scenario { attack, cell, side, seed, inverted });
                }
            }
        }
        scenarios
    }

    fn note(&mut self, scenario: &Scenario<'_>, mut outcome: Outcome) -> Done {
        let Scenario { attack, cell, side, seed, inverted } = scenario;
        if *inverted {
            // Where every expectation was turned round, a scenario without a fault is the fault.
            let judged = !outcome.faults.is_empty();
            outcome.faults = if judged { Vec::new() } else { vec!["nothing was judged".to_owned()] };
        } else if outcome.only_late {
            // The machine may have been busy: once more, alone. What is late twice is a finding.
            eprintln!("note: {} on {cell}: {}; once more", attack.name, outcome.faults.join("; "));
            outcome = scenario.run(self.isolated)?;
        }
        for fault in &outcome.faults {
            let what = format!("{} on {cell}, the victim is {}: {fault}", attack.name, side.name());
            self.verdict.find(what, format!("{} {} --seed {seed}", attack.name, Filter::arguments(*cell)));
        }
        Row::of(&mut self.rows, scenario).add(outcome);
        Ok(())
    }
}

/// A victim that falls shall not leave a file.
fn no_core_dumps() {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a structure of ours, for the length of the call. What it answers changes no verdict.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) };
}
