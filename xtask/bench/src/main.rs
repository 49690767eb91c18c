//! Runs benchmark suites: `cargo xtask bench SUITE [OPTIONS]`.
//!
//! Which suites there are, and where results go. How rounds are interleaved stands in `rounds`; nothing here measures.

mod bare;
mod facts;
mod limits;
mod lock;
mod machine;
mod model;
mod options;
mod ring;
mod rounds;
mod scale;
mod setup;
mod text;

use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use clap::Parser;

use model::Results;
use options::{Options, Suite};
use rounds::Plan;

fn main() -> ExitCode {
    let options = Options::parse();
    machine::raise_fd_limit();
    let results = measure(&options);
    if let Err(fault) = tell(&results, &options) {
        eprintln!("error: {fault}");
        return ExitCode::FAILURE;
    }
    let failed: Vec<String> = results
        .groups
        .iter()
        .flat_map(|group| group.skipped.iter().filter(|one| one.failed).map(|one| (&group.title, &one.name)))
        .map(|(title, name)| format!("{name} of «{title}»"))
        .collect();
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("failed: {}", failed.join(", "));
    ExitCode::FAILURE
}

/// The groups of the suites that are asked for.
fn plans(options: &Options) -> Vec<Plan> {
    let suites = [
        (Suite::Limits, limits::plan as fn(&Options) -> Plan),
        (Suite::Lock, lock::plan),
        (Suite::Ring, ring::plan),
        (Suite::Setup, setup::plan),
        (Suite::Scale, scale::plan),
    ];
    let wanted = |suite: &Suite| options.suite == Suite::All || options.suite == *suite;
    let mut plans: Vec<Plan> =
        suites.into_iter().filter(|(suite, _)| wanted(suite)).map(|(_, plan)| plan(options)).collect();
    for plan in &mut plans {
        plan.groups.retain(|group| group.title.contains(&options.only));
    }
    plans
}

/// Runs what is asked for, and prints each group when it is done.
fn measure(options: &Options) -> Results {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut results = Results {
        command: format!("cargo xtask bench {}", arguments.join(" ")),
        began: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
        seconds: 0.0,
        quick: options.quick,
        rounds: options.rounds(),
        seed: options.seed(),
        cores: options.cores,
        machine: facts::Machine::read(),
        groups: Vec::new(),
    };
    println!("{}", results.machine);
    println!("rounds {}, seed {}, cores {:?}\n", results.rounds, results.seed, results.cores);
    let began = Instant::now();
    let mut random = results.seed | 1;
    for Plan { suite, groups } in plans(options) {
        for mut group in groups {
            let result = rounds::run(suite, &mut group, options, &mut random);
            println!("{}", text::group(&result));
            results.groups.push(result);
        }
    }
    results.seconds = began.elapsed().as_secs_f64();
    results
}

/// Writes the files that are asked for.
fn tell(results: &Results, options: &Options) -> Result<(), String> {
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(results).map_err(|fault| fault.to_string())?;
        std::fs::write(path, text + "\n").map_err(|fault| format!("{}: {fault}", path.display()))?;
    }
    Ok(())
}
