//! Interleaved rounds: every case once per round, in an order shuffled by a printed seed.
//!
//! It does not know what is measured, nor how results are told. A case that cannot run is kept with its reason; one
//! that breaks does not end the run, but the run does not end well.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use hdrhistogram::Histogram;

use crate::facts::Watch;
use crate::machine;
use crate::model::{Better, CaseResult, Chart, Detail, Distribution, Figure, GroupResult, Skipped};
use crate::options::Options;

/// What one run of a case gives.
#[derive(Debug)]
pub(crate) struct Sample {
    /// The number that is compared, in the group's unit.
    pub(crate) figure: f64,
    /// Other numbers of this run: name, unit, value. The same names in each round.
    pub(crate) details: Vec<(&'static str, &'static str, f64)>,
    /// How long each operation took, nanoseconds.
    pub(crate) distribution: Option<Histogram<u64>>,
}

impl From<f64> for Sample {
    fn from(figure: f64) -> Self {
        Sample { figure, details: Vec::new(), distribution: None }
    }
}

impl From<Histogram<u64>> for Sample {
    /// The median is the figure that is compared.
    fn from(distribution: Histogram<u64>) -> Self {
        let figure = distribution.value_at_percentile(50.0) as f64;
        Sample { figure, details: Vec::new(), distribution: Some(distribution) }
    }
}

/// One thing to measure: run once per round.
pub(crate) struct Case<'a> {
    name: String,
    run: Run<'a>,
}

/// A run, or why there is none here.
type Run<'a> = Box<dyn FnMut() -> Result<Sample, String> + 'a>;

impl<'a> Case<'a> {
    /// A case that runs everywhere.
    pub(crate) fn new<S: Into<Sample>>(name: impl Into<String>, mut run: impl FnMut() -> S + 'a) -> Self {
        Case { name: name.into(), run: Box::new(move || Ok(run().into())) }
    }

    /// A case that tells, in its first round, when it cannot run here, and why.
    pub(crate) fn fallible<S: Into<Sample>>(
        name: impl Into<String>,
        mut run: impl FnMut() -> Result<S, String> + 'a,
    ) -> Self {
        Case { name: name.into(), run: Box::new(move || run().map(Into::into)) }
    }
}

/// Cases that are compared with each other.
pub(crate) struct Group<'a> {
    pub(crate) title: String,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
    /// Which cases ratios are taken against: the best of those whose name starts with this, for each of these.
    pub(crate) against: &'static [&'static str],
    pub(crate) chart: Option<Chart>,
    pub(crate) cases: Vec<Case<'a>>,
}

/// The groups of a suite.
pub(crate) struct Plan {
    pub(crate) suite: &'static str,
    pub(crate) groups: Vec<Group<'static>>,
}

/// Runs a group: all its cases in each round.
pub(crate) fn run(suite: &str, group: &mut Group<'_>, options: &Options, random: &mut u64) -> GroupResult {
    let (watch, began) = (Watch::begin(), Instant::now());
    let mut samples: Vec<Vec<Sample>> = group.cases.iter().map(|_| Vec::new()).collect();
    let mut skipped: Vec<Option<Skipped>> = group.cases.iter().map(|_| None).collect();
    for round in 0..options.rounds() {
        for index in shuffled(group.cases.len(), random) {
            if skipped[index].is_some() {
                continue;
            }
            machine::pin(options.cores.0);
            machine::watch_for_a_hang();
            let case = &mut group.cases[index];
            let outcome = catch_unwind(AssertUnwindSafe(|| (case.run)()));
            let (why, failed) = match outcome {
                Ok(Ok(sample)) => {
                    samples[index].push(sample);
                    continue;
                }
                Ok(Err(why)) if round == 0 => (why, false),
                Ok(Err(why)) => (format!("round {}: {why}", round + 1), true),
                Err(panic) => (format!("round {}: {}", round + 1, message(&*panic)), true),
            };
            skipped[index] = Some(Skipped { name: case.name.clone(), why, failed });
        }
    }
    let measured = group.cases.iter().zip(samples).zip(&skipped).filter(|(_, skipped)| skipped.is_none());
    GroupResult {
        suite: suite.to_owned(),
        title: group.title.clone(),
        unit: group.unit.to_owned(),
        better: group.better,
        against: group.against.iter().map(ToString::to_string).collect(),
        chart: group.chart.clone(),
        cases: measured.map(|((case, samples), _)| gather(&case.name, samples)).collect(),
        skipped: skipped.into_iter().flatten().collect(),
        noise: watch.end(),
        seconds: began.elapsed().as_secs_f64(),
    }
}

/// The samples of a case, a round each, as figures.
fn gather(name: &str, samples: Vec<Sample>) -> CaseResult {
    let names: Vec<(&str, &str)> = samples[0].details.iter().map(|(name, unit, _)| (*name, *unit)).collect();
    let detail = |(index, (name, unit)): (usize, &(&str, &str))| Detail {
        name: (*name).to_owned(),
        unit: (*unit).to_owned(),
        figure: Figure::new(samples.iter().map(|sample| sample.details[index].2).collect()),
    };
    let details = names.iter().enumerate().map(detail).collect();
    let figure = Figure::new(samples.iter().map(|sample| sample.figure).collect());
    let histograms: Vec<Histogram<u64>> = samples.into_iter().filter_map(|sample| sample.distribution).collect();
    let distribution = (!histograms.is_empty()).then(|| Distribution::new(&histograms));
    CaseResult { name: name.to_owned(), figure, details, distribution }
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_else(|| "panicked".into())
}

/// The numbers below `count` in random order (Fisher–Yates over xorshift).
fn shuffled(count: usize, random: &mut u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    for last in (1..count).rev() {
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        order.swap(last, (*random % (last as u64 + 1)) as usize);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn group(cases: Vec<Case<'_>>) -> Group<'_> {
        let better = Better::Higher;
        Group { title: "t".into(), unit: "ns", better, against: &[], chart: None, cases }
    }

    #[test]
    fn each_round_runs_each_case_once_in_an_order_that_the_seed_gives() {
        let order = |seed: u64| {
            let seen = std::cell::RefCell::new(Vec::new());
            let case = |name: char| {
                Case::new(name, {
                    let seen = &seen;
                    move || {
                        seen.borrow_mut().push(name);
                        1.0
                    }
                })
            };
            let options = Options::parse_from(["bench", "--rounds", "4"]);
            run("s", &mut group(vec![case('a'), case('b'), case('c')]), &options, &mut { seed });
            seen.into_inner()
        };
        let one = order(7);
        for round in one.chunks(3) {
            let mut round = round.to_vec();
            round.sort_unstable();
            assert_eq!(round, ['a', 'b', 'c']);
        }
        assert_eq!(one, order(7));
        assert_ne!(one, order(8));
    }

    #[test]
    fn what_cannot_run_is_kept_with_its_reason_and_what_breaks_is_told_apart() {
        let mut round = 0;
        let cases = vec![
            Case::new("runs", || 2.0),
            Case::fallible::<f64>("cannot", || Err("no such call".into())),
            Case::new("breaks", move || {
                round += 1;
                assert!(round < 2, "message 7 is damaged");
                1.0
            }),
        ];
        let options = Options::parse_from(["bench", "--rounds", "3"]);
        let result = run("s", &mut group(cases), &options, &mut 1);
        assert_eq!(result.cases.len(), 1);
        assert_eq!(result.cases[0].figure.by_round, [2.0; 3]);
        let skipped: Vec<_> = result.skipped.iter().map(|one| (one.name.as_str(), one.failed)).collect();
        assert_eq!(skipped, [("cannot", false), ("breaks", true)]);
        assert_eq!(result.skipped[0].why, "no such call");
        assert_eq!(result.skipped[1].why, "round 2: message 7 is damaged");
    }
}
