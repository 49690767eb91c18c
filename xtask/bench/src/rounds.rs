//! Interleaved rounds: every case once per round, in an order shuffled by a printed seed; medians with their
//! whole range; ratios paired by round.
//!
//! It does not know what is measured. A figure is a number of a stated unit, higher or lower being better as
//! the suite says.

/// What the command line says.
#[derive(Debug)]
pub(crate) struct Options {
    /// Rounds of each case.
    pub(crate) rounds: usize,
    /// Seed of the order.
    pub(crate) seed: u64,
    /// Only groups whose title contains this.
    pub(crate) only: String,
    /// The cores of the two sides.
    pub(crate) cores: (usize, usize),
}

impl Options {
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let seed = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(1, |now| now.as_nanos() as u64);
        let mut options = Options { rounds: 9, seed, only: String::new(), cores: (0, 1) };
        while let Some(name) = arguments.next() {
            let value = arguments.next().unwrap_or_default();
            let number = || value.parse().map_err(|_| format!("{name} {value}"));
            match name.as_str() {
                "--rounds" => options.rounds = number()?,
                "--seed" => options.seed = number()? as u64,
                "--only" => options.only = value,
                "--cores" => {
                    let (a, b) = value.split_once(',').ok_or_else(|| name.clone())?;
                    let core = |text: &str| text.parse().map_err(|_| name.clone());
                    options.cores = (core(a)?, core(b)?);
                }
                _ => return Err(name),
            }
        }
        Ok(options)
    }
}

/// One thing to measure: run once per round, it gives one figure.
pub(crate) struct Case<'a> {
    pub(crate) name: String,
    pub(crate) run: Box<dyn FnMut() -> f64 + 'a>,
}

impl<'a> Case<'a> {
    pub(crate) fn new(name: impl Into<String>, run: impl FnMut() -> f64 + 'a) -> Self {
        Case { name: name.into(), run: Box::new(run) }
    }
}

/// The figures of one case, by round.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) name: String,
    pub(crate) by_round: Vec<f64>,
}

/// Cases that are compared with each other.
pub(crate) struct Group<'a> {
    pub(crate) title: String,
    pub(crate) unit: &'static str,
    /// Which cases ratios are taken against: the best of those whose name starts with this.
    pub(crate) against: &'static str,
    pub(crate) higher_is_better: bool,
    pub(crate) cases: Vec<Case<'a>>,
}

/// Runs the groups, one after the other, and prints each when it is done.
pub(crate) fn run(groups: Vec<Group<'_>>, options: &Options) {
    println!("rounds {}, seed {}, cores {:?}", options.rounds, options.seed, options.cores);
    let mut random = options.seed | 1;
    for mut group in groups {
        if !group.title.contains(&options.only) {
            continue;
        }
        let mut figures: Vec<Figures> = group
            .cases
            .iter()
            .map(|case| Figures { name: case.name.clone(), by_round: vec![0.0; options.rounds] })
            .collect();
        for round in 0..options.rounds {
            for index in shuffled(group.cases.len(), &mut random) {
                figures[index].by_round[round] = (group.cases[index].run)();
            }
        }
        print(&group, &figures);
    }
}

fn print(group: &Group<'_>, figures: &[Figures]) {
    println!("\n{} [{}]", group.title, group.unit);
    let peers = figures.iter().filter(|case| case.name.starts_with(group.against));
    let better = |a: &&Figures, b: &&Figures| median(&a.by_round).total_cmp(&median(&b.by_round));
    let best = if group.higher_is_better { peers.max_by(better) } else { peers.min_by(better) };
    for case in figures {
        let (low, high) = range(&case.by_round);
        print!("  {:28} {:>9.3}  ({low:.3} to {high:.3})", case.name, median(&case.by_round));
        if let Some(best) = best {
            let ratios: Vec<f64> =
                case.by_round.iter().zip(&best.by_round).map(|(own, peer)| own / peer).collect();
            let (low, high) = range(&ratios);
            print!("  {:.2} x {} ({low:.2} to {high:.2})", median(&ratios), best.name);
        }
        println!();
    }
}

pub(crate) fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

fn range(figures: &[f64]) -> (f64, f64) {
    figures
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), figure| (low.min(*figure), high.max(*figure)))
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
