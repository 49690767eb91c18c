//! Runs benchmark suites: `cargo xtask bench SUITE [OPTIONS]`.
//!
//! Which suites there are, and where results go. How rounds are interleaved stands in `rounds`; nothing here measures.

mod bare;
mod check;
mod facts;
mod latency;
mod limits;
mod lock;
mod machine;
mod model;
mod options;
mod plot;
mod report;
mod ring;
mod rounds;
mod scale;
mod setup;
mod text;
mod transport;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Instant, SystemTime};

use clap::Parser;

use check::{Floor, Verdict};
use model::{GroupResult, Results};
use options::{Options, Suite};
use plot::Picture;
use rounds::{Group, Plan};

/// Where the floors of `--check` stand.
const FLOORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../ci/bench-floors.toml");

/// The pictures that the README shows; they are written beside a document.
const SHOWN: [&str; 2] = ["one way through 1024 KiB, polled", "one way through 64 KiB, polled"];

fn main() -> ExitCode {
    let options = Options::parse();
    machine::raise_fd_limit();
    match run(&options) {
        Ok(faults) if faults.is_empty() => ExitCode::SUCCESS,
        Ok(faults) => {
            faults.iter().for_each(|fault| eprintln!("error: {fault}"));
            ExitCode::FAILURE
        }
        Err(fault) => {
            eprintln!("error: {fault}");
            ExitCode::FAILURE
        }
    }
}

/// Measures, or reads, and tells; gives what was not as it should be.
fn run(options: &Options) -> Result<Vec<String>, String> {
    let floors = if options.check { Some(check::read(Path::new(FLOORS))?) } else { None };
    let (results, verdicts) = match &options.from {
        Some(path) => (read(path)?, Vec::new()),
        None => measure(options, floors.as_deref()),
    };
    tell(&results, options)?;
    let mut faults = Vec::new();
    for group in &results.groups {
        let failed = group.skipped.iter().filter(|one| one.failed);
        faults.extend(failed.map(|one| format!("{} of «{}» failed: {}", one.name, group.title, one.why)));
    }
    if floors.is_some() {
        println!("floors of ci/bench-floors.toml: times as good, at least");
    }
    for (floor, verdict) in verdicts {
        println!("{}", floor.line(&verdict));
        if matches!(verdict, Verdict::Below(_) | Verdict::Unknown) {
            faults.push(format!("a floor is not met:{}", floor.line(&verdict)));
        }
    }
    Ok(faults)
}

/// The groups of the suites that are asked for; with floors, those alone that have one.
fn plans(options: &Options, floors: Option<&[Floor]>) -> Vec<Plan> {
    let suites = [
        (Suite::Limits, limits::plan as fn(&Options) -> Plan),
        (Suite::Lock, lock::plan),
        (Suite::Ring, ring::plan),
        (Suite::Latency, latency::plan),
        (Suite::Setup, setup::plan),
        (Suite::Scale, scale::plan),
    ];
    let wanted = |suite: &Suite| options.suite == Suite::All || options.suite == *suite;
    let has_floor =
        |group: &Group<'_>| floors.is_none_or(|floors| floors.iter().any(|floor| floor.group == group.title));
    let mut plans: Vec<Plan> =
        suites.into_iter().filter(|(suite, _)| wanted(suite)).map(|(_, plan)| plan(options)).collect();
    for plan in &mut plans {
        plan.groups.retain(|group| group.title.contains(&options.only) && has_floor(group));
    }
    plans
}

/// Runs what is asked for, and prints each group when it is done. With floors, gives the verdict on each.
fn measure(options: &Options, floors: Option<&[Floor]>) -> (Results, Vec<(Floor, Verdict)>) {
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
    let (began, mut random, mut verdicts) = (Instant::now(), results.seed | 1, Vec::new());
    for Plan { suite, groups } in plans(options, floors) {
        for mut group in groups {
            let mut measure = || {
                let result = rounds::run(suite, &mut group, options, &mut random);
                println!("{}", text::group(&result));
                result
            };
            let mut result = measure();
            let mut judged = judge(floors, &result);
            let is_low =
                |(_, verdict): &(Floor, Verdict)| matches!(verdict, Verdict::Below(_) | Verdict::Disturbed(..));
            if judged.iter().any(is_low) {
                println!("below a floor: once more\n");
                result = measure();
                judged = judge(floors, &result);
            }
            verdicts.extend(judged);
            results.groups.push(result);
        }
    }
    // Whoever asks for all groups must meet all floors: a floor of no group is a fault of the file.
    if options.suite == Suite::All && options.only.is_empty() {
        let forgotten = |floor: &&Floor| !verdicts.iter().any(|(judged, _)| judged == *floor);
        let forgotten: Vec<Floor> = floors.unwrap_or_default().iter().filter(forgotten).cloned().collect();
        verdicts.extend(forgotten.into_iter().map(|floor| (floor, Verdict::Unknown)));
    }
    results.seconds = began.elapsed().as_secs_f64();
    (results, verdicts)
}

/// The floors of a group, each with its verdict.
fn judge(floors: Option<&[Floor]>, result: &GroupResult) -> Vec<(Floor, Verdict)> {
    let own = floors.unwrap_or_default().iter().filter(|floor| floor.group == result.title);
    own.map(|floor| (floor.clone(), floor.judge(result))).collect()
}

/// The results of an earlier run.
fn read(path: &Path) -> Result<Results, String> {
    let text = std::fs::read_to_string(path).map_err(|fault| format!("{}: {fault}", path.display()))?;
    serde_json::from_str(&text).map_err(|fault| format!("{}: {fault}", path.display()))
}

/// Writes the files that are asked for.
fn tell(results: &Results, options: &Options) -> Result<(), String> {
    let write =
        |path: &Path, text: &str| std::fs::write(path, text).map_err(|fault| format!("{}: {fault}", path.display()));
    if let Some(path) = &options.json {
        let text = serde_json::to_string_pretty(results).map_err(|fault| fault.to_string())?;
        write(path, &(text + "\n"))?;
    }
    let pictures = plot::pictures(results).map_err(|fault| format!("a picture: {fault}"))?;
    let save = |folder: &Path, pictures: &[Picture]| {
        std::fs::create_dir_all(folder).map_err(|fault| format!("{}: {fault}", folder.display()))?;
        pictures.iter().try_for_each(|picture| write(&folder.join(&picture.file), &picture.svg))
    };
    if let Some(folder) = &options.plot {
        save(folder, &pictures)?;
    }
    if let Some(path) = &options.report {
        let shown: Vec<Picture> =
            pictures.into_iter().filter(|picture| SHOWN.contains(&picture.title.as_str())).collect();
        save(&path.with_file_name("benchmarks"), &shown)?;
        write(path, &report::document(results, &shown, "benchmarks"))?;
    }
    Ok(())
}
