//! The suite of latency: a message there and back, with its distribution, polled and blocking apart; and after a
//! silence, when whoever waits has gone to sleep.
//!
//! Each round trip is timed by the side that asks. Both sides check what they read. The limit is one message in a page
//! of its own, behind a number that is polled, or slept on by futex(2): no queue, no bounds, no check of a peer.

use hdrhistogram::Histogram;

use crate::model::Better;
use crate::options::Options;
use crate::ring::{MIB, case_name, outcome};
use crate::rounds::{Case, Group, Plan};
use crate::transport::traffic::Trips;
use crate::transport::{self, Failure, Mode, Way};

/// Each direction has a ring of so many bytes.
const RING_LEN: usize = MIB / 16;
/// A silence: longer than any of those measured looks before it sleeps.
const SILENCE_NS: u64 = 200_000;

pub(crate) fn plan(options: &Options) -> Plan {
    let mut groups = Vec::new();
    for mode in [Mode::Polled, Mode::Blocking] {
        groups.push(round_trips::<8>(mode, 0, options));
        groups.push(round_trips::<64>(mode, 0, options));
        groups.push(round_trips::<1024>(mode, 0, options));
    }
    groups.push(round_trips::<64>(Mode::Blocking, SILENCE_NS, options));
    Plan { suite: "latency", groups }
}

fn round_trips<const N: usize>(mode: Mode, pause_ns: u64, options: &Options) -> Group<'static> {
    let plan = transport::Plan { ring_len: RING_LEN, mode, cores: options.cores };
    let budget_ns = options.load(100_000_000);
    let case = |name: String, way: Way| {
        let mut load = None;
        Case::fallible(name, move || {
            if load.is_none() {
                load = Some(outcome(fitting(&way, &plan, budget_ns, pause_ns))?);
            }
            let samples = outcome((way.round_trips)(&plan, load.expect("set above")))?;
            let mut histogram = Histogram::<u64>::new(3).expect("three digits are allowed");
            // The first tenth is warm-up.
            for sample in &samples[samples.len() / 10..] {
                histogram.record(*sample).expect("a histogram that resizes itself takes all values");
            }
            Ok(histogram)
        })
    };
    let limit = match mode {
        Mode::Polled => "limit, atomics",
        Mode::Blocking => "limit, futex",
    };
    let mut cases = vec![case(limit.to_owned(), transport::limit::<N>())];
    // A batch is for many messages.
    let ways = transport::ways::<N>(RING_LEN).into_iter().filter(|way| !way.name.contains("batches"));
    cases.extend(ways.map(|way| case(case_name(&way), way)));
    let silence = if pause_ns == 0 { String::new() } else { format!(", after {} us", pause_ns / 1000) };
    Group {
        title: format!("latency {N} B, {mode}{silence}"),
        unit: "ns",
        against: &["limit", "peer"],
        better: Better::Lower,
        chart: None,
        cases,
    }
}

/// The trips that `way` makes in the time, by a short trial.
fn fitting(way: &Way, plan: &transport::Plan, budget_ns: u64, pause_ns: u64) -> Result<Trips, Failure> {
    let mut samples = (way.round_trips)(plan, Trips { count: 200, pause_ns })?;
    samples.sort_unstable();
    let each_ns = samples[samples.len() / 2] + pause_ns;
    let count = (budget_ns / each_ns.max(1)).clamp(200, 100_000) as usize;
    Ok(Trips { count, pause_ns })
}
