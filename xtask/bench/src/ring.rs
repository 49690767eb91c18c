//! The suite of the ring: one way by message size, ours beside every peer, polled and blocking apart; then ours alone.
//!
//! Process peers and ours run in two processes, thread-only peers in two threads; each copies a message in and out, and
//! the consumer checks it (`transport::traffic`). What one message costs is seen by its consumer: it takes the time at
//! the end of the warm-up and at the end.

mod alone;
pub(crate) mod limits;
mod ours;

use monshm_rbuf::{Adaptive, Plain};

use crate::model::Better;
use crate::model::Chart;
use crate::options::Options;
use crate::rounds::{Case, Group, Plan};
use crate::transport::traffic::Load as Messages;
use crate::transport::{self, Failure, Mode, Scope, Way};

pub(crate) const MIB: usize = 1 << 20;

/// What a measurement of the memory moves, as so many messages; the first are warm-up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    ring_len: usize,
    warm: u64,
    total: u64,
    cores: (usize, usize),
}

impl Load {
    /// About 1.5 M short messages, or 192 MiB of long ones; less with --quick.
    pub(crate) fn new(ring_len: usize, message_len: usize, options: &Options) -> Self {
        let warm = (2 * ring_len / message_len) as u64 + 16;
        let timed = options.load((192 * MIB / message_len).min(1_500_000) as u64);
        Load { ring_len, warm, total: warm + timed, cores: options.cores }
    }

    pub(crate) fn rate(&self, ns: u64) -> f64 {
        (self.total - self.warm) as f64 / ns as f64
    }
}

pub(crate) fn plan(options: &Options) -> Plan {
    let mut groups = Vec::new();
    for mode in [Mode::Polled, Mode::Blocking] {
        for ring_len in [MIB, MIB / 16] {
            groups.push(one_way::<16>(ring_len, mode, options));
            groups.push(one_way::<64>(ring_len, mode, options));
            groups.push(one_way::<256>(ring_len, mode, options));
            groups.push(one_way::<1024>(ring_len, mode, options));
            groups.push(one_way::<4096>(ring_len, mode, options));
            groups.push(one_way::<65536>(ring_len, mode, options));
        }
    }
    groups.push(records::<64>(options));
    groups.push(records::<1024>(options));
    let cores = options.cores;
    groups.push(Group {
        title: "round trip 64 B, polled".into(),
        unit: "ns",
        against: &["raw"],
        better: Better::Lower,
        chart: None,
        cases: vec![
            Case::new("raw atomics", move || limits::ping_pong(cores)),
            Case::new("monshm", move || ours::ping_pong::<Adaptive>(cores)),
            Case::new("monshm, plain", move || ours::ping_pong::<Plain>(cores)),
        ],
    });
    groups.push(Group {
        title: "write and read 8 B, one thread".into(),
        unit: "ns",
        against: &["rtrb"],
        better: Better::Lower,
        chart: None,
        cases: vec![
            Case::new("rtrb", move || alone::rtrb(cores.0)),
            Case::new("monshm", move || alone::monshm(cores.0, Adaptive::default())),
            Case::new("monshm, plain", move || alone::monshm(cores.0, Plain)),
        ],
    });
    Plan { suite: "ring", groups }
}

/// The name of a case: ours by its use, a peer by who shares it.
pub(crate) fn case_name(way: &Way) -> String {
    match way.scope {
        Scope::Threads => format!("peer {} (threads)", way.name),
        Scope::Processes if way.name.starts_with("monshm") => way.name.to_owned(),
        Scope::Processes => format!("peer {}", way.name),
    }
}

/// For a case of the rounds: what cannot run is skipped there, what broke ends as a failure.
pub(crate) fn outcome<T>(ran: Result<T, Failure>) -> Result<T, String> {
    match ran {
        Ok(value) => Ok(value),
        Err(Failure::Skipped(why)) => Err(why),
        Err(Failure::Failed(why)) => panic!("{why}"),
    }
}

/// A way as a case: messages per nanosecond, as many in each round as take about a twelfth of a second in the first.
fn streamed<const N: usize>(
    way: Way,
    plan: transport::Plan,
    options: &Options,
    figure: impl Fn(f64) -> f64 + 'static,
) -> impl FnMut() -> Result<f64, String> + 'static {
    let budget_ns = options.load(80_000_000);
    let laps = (2 * plan.ring_len / N) as u64 + 16;
    let mut load = None;
    move || {
        if load.is_none() {
            load = Some(outcome(fitting(&way, &plan, budget_ns, laps))?);
        }
        let messages: Messages = load.expect("set above");
        let ns = outcome((way.one_way)(&plan, messages))?;
        Ok(figure((messages.total - messages.warm) as f64 / ns.max(1) as f64))
    }
}

/// The messages that `way` passes on in the time: by ever longer trials.
fn fitting(way: &Way, plan: &transport::Plan, budget_ns: u64, laps: u64) -> Result<Messages, Failure> {
    const TRIAL_NS: u64 = 2_000_000;
    let mut count = 128;
    loop {
        let ns = (way.one_way)(plan, Messages { warm: 16, total: 16 + count })?.max(1);
        if ns > TRIAL_NS || count >= 1 << 19 {
            let timed = (u128::from(count) * u128::from(budget_ns) / u128::from(ns)) as u64;
            // A fast ring through two million messages has shown what it can.
            let timed = timed.clamp(64, 2_000_000);
            let warm = laps.min(timed / 3);
            return Ok(Messages { warm, total: warm + timed });
        }
        count *= 16;
    }
}

/// All transports of N-byte messages through a ring of one size.
fn one_way<const N: usize>(ring_len: usize, mode: Mode, options: &Options) -> Group<'static> {
    let gib = N >= 64;
    let figure = move |rate: f64| rate * if gib { N as f64 / 1.073_741_824 } else { 1e3 };
    let plan = transport::Plan { ring_len, mode, cores: options.cores };
    let mut cases: Vec<Case<'static>> = transport::ways::<N>(ring_len)
        .into_iter()
        .map(|way| Case::fallible(case_name(&way), streamed::<N>(way, plan, options, figure)))
        .collect();
    let is_limited = N >= 4096 && mode == Mode::Polled;
    if is_limited {
        let load = Load::new(ring_len, N, options);
        cases.push(Case::new("limit", move || figure(load.rate(limits::write_beside_read(load)))));
    }
    Group {
        title: format!("one way {N} B, {} KiB, {mode}", ring_len / 1024),
        unit: if gib { "GiB/s" } else { "M/s" },
        against: if is_limited { &["limit", "peer"] } else { &["peer"] },
        better: Better::Higher,
        chart: Some(Chart {
            picture: format!("one way through {} KiB, {mode}", ring_len / 1024),
            x_label: "bytes of a message".into(),
            x: N as f64,
            y_label: "GiB/s".into(),
            y_scale: if gib { 1.0 } else { N as f64 / 1.073_741_824e3 },
        }),
        cases,
    }
}

/// Our records beside our bytes, in rounds of their own.
fn records<const N: usize>(options: &Options) -> Group<'static> {
    let plan = transport::Plan { ring_len: MIB, mode: Mode::Polled, cores: options.cores };
    let case = |name: &str, way: &str| {
        let found = transport::ways::<N>(MIB).into_iter().find(|one| one.name == way);
        let run = streamed::<N>(found.expect("a use of ours"), plan, options, |rate| rate * 1e3);
        Case::fallible(name, run)
    };
    Group {
        title: format!("records {N} B, {} KiB", MIB / 1024),
        unit: "M/s",
        against: &["bytes"],
        better: Better::Higher,
        chart: None,
        cases: vec![case("bytes", "monshm"), case("records", "monshm records")],
    }
}
