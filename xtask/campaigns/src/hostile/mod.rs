//! `monshm-campaigns hostile`: real attacking processes against real victims that use the public API.
//!
//! Here stand the command line, the order of plays and what is printed. It changes nothing in the product: an attacker
//! has what any process with the segment has, its bytes, its descriptors and its sockets.

mod attack;
mod attacks;
mod drill;
mod forge;
mod frame;
mod guarded;
mod raw;
mod report;
mod stage;
mod table;
mod theatre;
mod users;
mod victim;
mod wipe;

use crate::cell::CELLS;
use crate::census::isolate;
use attack::{Attack, Users};
use clap::Parser;
use std::error::Error;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use table::Row;
use theatre::{Outcome, Play};

/// Attack real victims with real processes, of other users where we may make them so, and judge how they bear it.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask hostile", bin_name = "cargo xtask hostile")]
struct Args {
    /// Only these attacks, or families of attacks.
    attacks: Vec<String>,
    /// List the attacks and what each does.
    #[arg(long)]
    list: bool,
    /// Only this backend: posix or sysv.
    #[arg(long, value_name = "BACKEND")]
    backend: Option<String>,
    /// What numbers, order of bits and sizes follow from.
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
    /// How often everything is done, with another seed each time.
    #[arg(long, value_name = "N", default_value_t = 1)]
    rounds: u64,
    /// Go on until this many seconds have passed, and finish the round.
    #[arg(long, value_name = "S")]
    seconds: Option<u64>,
    /// Turn every expectation round: each attack must then fail. Shows that each of them judges.
    #[arg(long)]
    contrary: bool,
    /// Print the table as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs what the command line asks for.
pub(crate) fn main(arguments: impl Iterator<Item = String>) -> Result<ExitCode, Box<dyn Error>> {
    let args = Args::parse_from(std::iter::once("hostile".to_owned()).chain(arguments));
    let attacks = chosen(&args)?;
    if args.list {
        attacks.iter().for_each(|attack| println!("{:<28} {}", attack.name, attack.deed));
        return Ok(ExitCode::SUCCESS);
    }
    let isolated = isolate().is_ok();
    if !isolated {
        eprintln!("note: objects of other programs of this user are counted too (no namespaces of our own)");
    }
    no_core_dumps();
    let mut rows: Vec<Row> = Vec::new();
    let begin = Instant::now();
    let least = Duration::from_secs(args.seconds.unwrap_or(0));
    let mut rounds = 0;
    while rounds < args.rounds || begin.elapsed() < least {
        let mut round = Round { args: &args, seed: args.seed + rounds, isolated, rows: &mut rows };
        round.play(&attacks)?;
        rounds += 1;
    }
    Ok(table::print(&rows, args.json, args.seed, rounds, begin.elapsed()))
}

fn chosen(args: &Args) -> Result<Vec<Attack>, Box<dyn Error>> {
    let mut all = attacks::all();
    if args.contrary {
        all.extend(drill::ATTACKS);
    }
    for wanted in &args.attacks {
        if !all.iter().any(|attack| attack.name == wanted || attack.family() == wanted) {
            return Err(format!("there is no attack and no family `{wanted}`; see --list").into());
        }
    }
    let is_wanted = |attack: &Attack| {
        args.attacks.is_empty() || args.attacks.iter().any(|wanted| attack.name == wanted || attack.family() == wanted)
    };
    Ok(all.into_iter().filter(is_wanted).collect())
}

/// One round of all attacks.
struct Round<'a> {
    args: &'a Args,
    seed: u64,
    isolated: bool,
    rows: &'a mut Vec<Row>,
}

impl Round<'_> {
    /// Plays all; those that wait for seconds run beside the others.
    fn play(&mut self, attacks: &[Attack]) -> Result<(), Box<dyn Error>> {
        let mut plays = Vec::new();
        for attack in attacks {
            plays.extend(self.plays(attack));
        }
        let (slow, quick): (Vec<_>, Vec<_>) = plays.into_iter().partition(|play| play.attack.slow);
        let mut running = Vec::new();
        for play in &slow {
            running.push((play, play.start()?));
        }
        for play in &quick {
            let outcome = play.run(self.isolated)?;
            self.note(play, outcome)?;
        }
        for (play, running) in running {
            let outcome = play.finish(running, self.isolated)?;
            self.note(play, outcome)?;
        }
        Ok(())
    }

    /// An attack on each kind of segment, from each side. What cannot be played is skipped, aloud.
    fn plays<'a>(&mut self, attack: &'a Attack) -> Vec<Play<'a>> {
        let mut plays = Vec::new();
        let wanted = |name: &str| self.args.backend.as_deref().is_none_or(|backend| backend == name);
        for cell in CELLS.iter().filter(|cell| attack.cells.contains(cell) && wanted(cell.backend().name())) {
            for side in attack.sides {
                let row = table::row(self.rows, attack, *cell, *side);
                if matches!(attack.users, Users::Others | Users::RootVictim) && !users::can_be_others() {
                    row.skipped = Some("needs root, to run as other users");
                    continue;
                }
                let (cell, side, seed, contrary) = (*cell, *side, self.seed, self.args.contrary);
                plays.push(Play { attack, cell, side, seed, contrary });
            }
        }
        plays
    }

    fn note(&mut self, play: &Play<'_>, mut outcome: Outcome) -> Result<(), Box<dyn Error>> {
        if outcome.only_late && !self.args.contrary {
            // The machine may have been busy: once more, alone. What is late twice is a finding.
            eprintln!("note: {} on {}: {}; once more", play.attack.name, play.cell, outcome.faults.join("; "));
            outcome = play.run(self.isolated)?;
        }
        let row = table::row(self.rows, play.attack, play.cell, play.side);
        row.add(&contrary(outcome, self.args.contrary));
        Ok(())
    }
}

/// Where every expectation was turned round, a play without a fault is the fault.
fn contrary(mut outcome: Outcome, contrary: bool) -> Outcome {
    if contrary {
        let judged = !outcome.faults.is_empty();
        outcome.faults = if judged { Vec::new() } else { vec!["nothing was judged".to_owned()] };
    }
    outcome
}

/// A victim that falls shall not leave a file.
fn no_core_dumps() {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a structure of ours, for the length of the call. What it answers changes no verdict.
    unsafe { libc::setrlimit(libc::RLIMIT_CORE, &raw const none) };
}
