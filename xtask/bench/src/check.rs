//! The guard against regressions: ratios of this run beside the floors of `ci/bench-floors.toml`.
//!
//! Absolute times are never judged. A ratio is how many times as good monshm is as what it is compared with, whether
//! more or less is better. A floor whose case cannot run here is told and does not fail; nor does one that is not met
//! while others used so much of the processors that two sides could not run at the same time.

use std::path::Path;

use serde::Deserialize;

use crate::model::{Better, GroupResult};

/// One line of the file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Floor {
    /// The title of the group.
    pub(crate) group: String,
    /// The case that must not fall behind.
    pub(crate) case: String,
    /// What it is compared with: the best case whose name begins so.
    pub(crate) against: String,
    /// How many times as good as that it must be at least, in the median of the rounds.
    pub(crate) at_least: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    floor: Vec<Floor>,
}

/// Reads the floors.
///
/// # Errors
/// The file cannot be read or understood.
pub(crate) fn read(path: &Path) -> Result<Vec<Floor>, String> {
    let text = std::fs::read_to_string(path).map_err(|fault| format!("{}: {fault}", path.display()))?;
    let file: File = toml::from_str(&text).map_err(|fault| format!("{}: {fault}", path.display()))?;
    Ok(file.floor)
}

/// How much of a core others may use while a figure is judged.
const TOO_LOUD_PERCENT: f64 = 50.0;

/// How a floor was met.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// The ratio stands at or over the floor.
    Met(f64),
    /// It stands below.
    Below(f64),
    /// It stands below, while others used this many percent of a core.
    Disturbed(f64, f64),
    /// The case, or all that it is compared with, cannot run here, and why.
    Skipped(String),
    /// There is no such group or case: the file is wrong.
    Unknown,
}

impl Floor {
    /// Compares a group's results with this floor.
    pub(crate) fn judge(&self, group: &GroupResult) -> Verdict {
        let skipped = |prefix: &str| {
            let found = group.skipped.iter().find(|one| one.name.starts_with(prefix));
            found.map(|one| (one.failed, format!("{}: {}", one.name, one.why)))
        };
        let case = group.cases.iter().find(|case| case.name == self.case);
        let (Some(case), Some(best)) = (case, group.best(&self.against)) else {
            let why = case.map_or_else(|| skipped(&self.case), |_| skipped(&self.against));
            return match why {
                Some((false, why)) => Verdict::Skipped(why),
                // What broke is told as failed by the run itself; here it is no excuse.
                _ => Verdict::Unknown,
            };
        };
        let ratio = match group.better {
            Better::Higher => case.figure.over(&best.figure),
            Better::Lower => best.figure.over(&case.figure),
        };
        let others = group.noise.others_percent + group.noise.stolen_percent;
        match ratio.median {
            median if median >= self.at_least => Verdict::Met(median),
            median if others > TOO_LOUD_PERCENT => Verdict::Disturbed(median, others),
            // A ratio that is no number meets nothing, too.
            median => Verdict::Below(median),
        }
    }

    /// The verdict as a line.
    pub(crate) fn line(&self, verdict: &Verdict) -> String {
        let what = format!("{} beside «{}» in «{}»", self.case, self.against, self.group);
        match verdict {
            Verdict::Met(ratio) => format!("  met      {ratio:>7.2} >= {:.2}  {what}", self.at_least),
            Verdict::Below(ratio) => format!("  BELOW    {ratio:>7.2} <  {:.2}  {what}", self.at_least),
            Verdict::Disturbed(ratio, percent) => {
                format!("  no word  {ratio:>7.2} <  {:.2}  {what}: others used {percent:.0} % of a core", self.at_least)
            }
            Verdict::Skipped(why) => format!("  skipped          {:.2}  {what}: {why}", self.at_least),
            Verdict::Unknown => {
                format!("  UNKNOWN          {:.2}  {what}: no figure of this name", self.at_least)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Noise;
    use crate::model::{CaseResult, Figure, Skipped};

    fn group(better: Better, cases: &[(&str, &[f64])]) -> GroupResult {
        let case = |(name, by_round): &(&str, &[f64])| CaseResult {
            name: (*name).to_owned(),
            figure: Figure::new(by_round.to_vec()),
            details: Vec::new(),
            distribution: None,
        };
        let skipped = |name: &str, failed| Skipped { name: name.into(), why: "no such call".into(), failed };
        GroupResult {
            suite: "s".into(),
            title: "g".into(),
            unit: "u".into(),
            better,
            against: Vec::new(),
            chart: None,
            cases: cases.iter().map(case).collect(),
            skipped: vec![skipped("cannot", false), skipped("broke", true)],
            noise: Noise::default(),
            seconds: 0.0,
        }
    }

    fn floor(case: &str, against: &str, at_least: f64) -> Floor {
        Floor { group: "g".into(), case: case.into(), against: against.into(), at_least }
    }

    #[test]
    fn a_ratio_below_its_floor_is_told_whichever_way_is_better() {
        let cases: &[(&str, &[f64])] =
            &[("ours", &[6.0, 60.0, 6.0]), ("peer a", &[2.0, 20.0, 2.0]), ("peer b", &[1.0; 3])];
        let rate = group(Better::Higher, cases);
        assert_eq!(floor("ours", "peer", 3.0).judge(&rate), Verdict::Met(3.0));
        assert_eq!(floor("ours", "peer", 3.1).judge(&rate), Verdict::Below(3.0));
        // As times, the best peer is b, which takes 1.
        let time = group(Better::Lower, cases);
        assert_eq!(floor("ours", "peer", 0.1).judge(&time), Verdict::Met(1.0 / 6.0));
        assert_eq!(floor("ours", "peer", 0.2).judge(&time), Verdict::Below(1.0 / 6.0));
    }

    #[test]
    fn what_cannot_run_is_no_failure_but_a_wrong_name_or_a_broken_case_is() {
        let group = group(Better::Higher, &[("ours", &[1.0])]);
        let why = Verdict::Skipped("cannot: no such call".into());
        assert_eq!(floor("cannot", "ours", 1.0).judge(&group), why);
        assert_eq!(floor("ours", "cannot", 1.0).judge(&group), why);
        assert_eq!(floor("broke", "ours", 1.0).judge(&group), Verdict::Unknown);
        assert_eq!(floor("nobody", "ours", 1.0).judge(&group), Verdict::Unknown);
    }

    #[test]
    fn a_loud_machine_excuses_a_low_ratio_and_does_not_hide_a_good_one() {
        let mut group = group(Better::Higher, &[("ours", &[1.0]), ("peer", &[4.0])]);
        group.noise.others_percent = 40.0;
        assert_eq!(floor("ours", "peer", 0.5).judge(&group), Verdict::Below(0.25));
        group.noise.stolen_percent = 30.0;
        assert_eq!(floor("ours", "peer", 0.5).judge(&group), Verdict::Disturbed(0.25, 70.0));
        assert_eq!(floor("ours", "peer", 0.2).judge(&group), Verdict::Met(0.25));
    }

    #[test]
    fn no_number_meets_no_floor() {
        let group = group(Better::Higher, &[("ours", &[0.0]), ("peer", &[0.0])]);
        assert!(matches!(floor("ours", "peer", 0.5).judge(&group), Verdict::Below(_)));
    }
}
