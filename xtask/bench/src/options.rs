//! The command line: which suites, how many rounds, where the results go.
//!
//! It measures nothing and reads no file.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Measure monshm beside what a user would pick instead: interleaved rounds, pinned cores, real processes.
#[derive(Debug, Parser)]
#[command(name = "monshm-bench", bin_name = "cargo xtask bench")]
pub(crate) struct Options {
    /// What to measure.
    #[arg(value_enum, default_value_t = Suite::All)]
    pub(crate) suite: Suite,

    /// Three rounds and small loads: shows that all works, and large differences.
    #[arg(long)]
    pub(crate) quick: bool,

    /// Rounds of each case [default: 9, or 3 with --quick].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,

    /// Seed of the order within each round [default: the clock].
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// Only groups whose title contains this.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) only: String,

    /// The cores of the two sides.
    #[arg(long, value_name = "A,B", default_value = "0,1", value_parser = parse_cores)]
    pub(crate) cores: (usize, usize),

    /// Write all results to this file.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Write all pictures (SVG) into this folder.
    #[arg(long, value_name = "DIR")]
    pub(crate) plot: Option<PathBuf>,

    /// Write a page (Markdown) with all tables; the pictures that the README shows go into the folder `benchmarks`
    /// beside it.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,

    /// Do not measure: take the results of this file, which --json wrote.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["check", "quick", "rounds", "seed"])]
    pub(crate) from: Option<PathBuf>,

    /// Compare ratios with the floors of ci/bench-floors.toml, and fail when one is below. Measures no other groups;
    /// what is below is measured once more.
    #[arg(long)]
    pub(crate) check: bool,
}

/// The suites; `all` runs them in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Suite {
    /// What the machine itself costs.
    Limits,
    /// Locks, with nobody else and contended.
    Lock,
    /// One way through rings, queues and the system's channels.
    Ring,
    /// Round trips, with their distribution.
    Latency,
    /// Creating a segment.
    Setup,
    /// Handing 1 to 1,000 segments over to a second process.
    Scale,
    /// All of them.
    All,
}

impl Options {
    /// Rounds of each case.
    pub(crate) fn rounds(&self) -> usize {
        self.rounds.map_or(if self.quick { 3 } else { 9 }, |rounds| rounds as usize)
    }

    /// The seed that was given, or one of the clock.
    pub(crate) fn seed(&self) -> u64 {
        self.seed.unwrap_or_else(|| {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.map_or(1, |now| u64::from(now.subsec_nanos()) ^ now.as_secs())
        })
    }

    /// A load of `full` units of work, or an eighth of it with --quick.
    pub(crate) fn load(&self, full: u64) -> u64 {
        if self.quick { (full / 8).max(1) } else { full }
    }
}

fn parse_cores(text: &str) -> Result<(usize, usize), String> {
    let fault = || format!("{text}: two numbers of cores are wanted, such as 0,1");
    let (first, second) = text.split_once(',').ok_or_else(fault)?;
    match (first.trim().parse(), second.trim().parse()) {
        (Ok(first), Ok(second)) if first != second => Ok((first, second)),
        _ => Err(fault()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Options::command().debug_assert();
    }

    #[test]
    fn quick_means_three_rounds_unless_a_number_is_given() {
        let rounds = |line: &str| Options::parse_from(line.split(' ')).rounds();
        assert_eq!(rounds("bench lock"), 9);
        assert_eq!(rounds("bench lock --quick"), 3);
        assert_eq!(rounds("bench lock --quick --rounds 5"), 5);
    }

    #[test]
    fn both_sides_on_one_core_are_refused() {
        assert!(parse_cores("1,1").is_err());
        assert!(parse_cores("1").is_err());
        assert_eq!(parse_cores("0, 3"), Ok((0, 3)));
    }
}
