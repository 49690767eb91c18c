//! The results of a run as plain data: what the table, the JSON file, the plots, the document and the floors are all
//! made from.
//!
//! It neither measures nor prints. Every figure keeps its rounds, so that whoever reads the file can do other sums.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::facts::{Machine, Noise};

/// A whole run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    /// The command, as typed after `cargo xtask`.
    pub(crate) command: String,
    /// When it began, UTC.
    pub(crate) began: String,
    pub(crate) seconds: f64,
    /// Small loads: such figures are not for a document.
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    pub(crate) seed: u64,
    pub(crate) cores: (usize, usize),
    pub(crate) machine: Machine,
    pub(crate) groups: Vec<GroupResult>,
}

/// Cases that do the same work, measured in the same rounds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct GroupResult {
    pub(crate) suite: String,
    pub(crate) title: String,
    pub(crate) unit: String,
    pub(crate) better: Better,
    /// Ratios are taken against the best case whose name begins with this, for each of these.
    pub(crate) against: Vec<String>,
    pub(crate) chart: Option<Chart>,
    pub(crate) cases: Vec<CaseResult>,
    pub(crate) skipped: Vec<Skipped>,
    pub(crate) noise: Noise,
    pub(crate) seconds: f64,
}

/// Which figures are the good ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Better {
    Higher,
    Lower,
}

/// A group as one point of each line of a picture; the groups of one picture share its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Chart {
    pub(crate) picture: String,
    /// What x counts, with its unit.
    pub(crate) x_label: String,
    pub(crate) x: f64,
    pub(crate) y_label: String,
    /// The figure times this is y.
    pub(crate) y_scale: f64,
}

/// What one case gave.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CaseResult {
    pub(crate) name: String,
    pub(crate) figure: Figure,
    /// Other figures of the same runs.
    pub(crate) details: Vec<Detail>,
    pub(crate) distribution: Option<Distribution>,
}

/// A figure of a case that is not the one which is compared, such as its share of the lock.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Detail {
    pub(crate) name: String,
    pub(crate) unit: String,
    pub(crate) figure: Figure,
}

/// A case without figures.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Skipped {
    pub(crate) name: String,
    pub(crate) why: String,
    /// It began and broke; false where it cannot run here.
    pub(crate) failed: bool,
}

/// One number for each round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) by_round: Vec<f64>,
}

impl Figure {
    /// At least one round.
    pub(crate) fn new(by_round: Vec<f64>) -> Self {
        let mut sorted = by_round.clone();
        sorted.sort_by(f64::total_cmp);
        let (low, high) = (sorted[0], sorted[sorted.len() - 1]);
        let middle = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) };
        Figure { median, low, high, by_round }
    }

    /// The ratios to another figure, round by round.
    pub(crate) fn over(&self, other: &Figure) -> Figure {
        let pairs = self.by_round.iter().zip(&other.by_round);
        Figure::new(pairs.map(|(own, other)| own / other).collect())
    }
}

/// How long single operations of a case took, nanoseconds.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Distribution {
    pub(crate) count: u64,
    pub(crate) p50: Figure,
    pub(crate) p99: Figure,
    pub(crate) p999: Figure,
    pub(crate) max_ns: u64,
}

impl Distribution {
    /// One histogram a round, at least one.
    pub(crate) fn new(by_round: &[Histogram<u64>]) -> Self {
        let at = |percentile: f64| {
            Figure::new(by_round.iter().map(|round| round.value_at_percentile(percentile) as f64).collect())
        };
        let mut all = Histogram::<u64>::new(3).expect("three digits are allowed");
        by_round.iter().for_each(|round| all.add(round).expect("a histogram that resizes itself takes all values"));
        Distribution { count: all.len(), p50: at(50.0), p99: at(99.0), p999: at(99.9), max_ns: all.max() }
    }
}

impl GroupResult {
    /// The best of the cases whose name begins with `prefix`.
    pub(crate) fn best(&self, prefix: &str) -> Option<&CaseResult> {
        let better = |a: &&CaseResult, b: &&CaseResult| a.figure.median.total_cmp(&b.figure.median);
        let cases = self.cases.iter().filter(|case| case.name.starts_with(prefix));
        match self.better {
            Better::Higher => cases.max_by(better),
            Better::Lower => cases.min_by(better),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        let figure = Figure::new(vec![4.0, 1.0, 9.0, 2.0]);
        assert_eq!((figure.median, figure.low, figure.high), (3.0, 1.0, 9.0));
        assert_eq!(Figure::new(vec![5.0, 1.0, 9.0]).median, 5.0);
    }

    #[test]
    fn ratios_are_paired_by_round() {
        // Both doubled in the second round: the ratio did not move, though the medians' ratio would tell the same only
        // by chance.
        let own = Figure::new(vec![1.0, 2.0, 30.0]);
        let other = Figure::new(vec![2.0, 4.0, 10.0]);
        assert_eq!(own.over(&other), Figure::new(vec![0.5, 0.5, 3.0]));
    }

    #[test]
    fn percentiles_are_of_each_round_and_the_maximum_of_all() {
        let mut histogram = Histogram::new(3).unwrap();
        (1..=1000).for_each(|value| histogram.record(value).unwrap());
        let distribution = Distribution::new(&[histogram]);
        assert_eq!((distribution.p50.median, distribution.p99.median), (500.0, 990.0));
        assert_eq!((distribution.count, distribution.max_ns), (1000, 1000));
    }
}
