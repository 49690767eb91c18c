//! The suite of the ring: one way by message size beside its peers, records, round trips, one thread alone.
//!
//! Peers run as two threads, ours as two processes over a memfd. Each consumer verifies what it reads: first
//! and last word of each message, all of each 256th. What one message costs is seen by its consumer: it
//! takes the time at the end of the warm-up (two laps of the ring) and at the end.

pub(crate) mod limits;
mod ours;
mod peers;

use crate::machine;
use crate::model::{Better, Chart};
use crate::options::Options;
use crate::rounds::{Case, Group, Plan};

const MIB: usize = 1 << 20;

/// How a run goes: messages, of which the first are warm-up.
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

/// The writing side of a transport of N-byte messages.
trait Sender<const N: usize> {
    /// Sends a message, or tells that there is no room.
    fn send(&mut self, message: &[u8; N]) -> bool;
    /// After each attempt that found no room, and at the end.
    fn flush(&mut self) {}
}

/// The reading side.
trait Receiver<const N: usize> {
    /// Receives a message, or tells that there is none.
    fn receive(&mut self, message: &mut [u8; N]) -> bool;
}

/// Sends all messages of a load.
#[inline(never)]
fn send_all<const N: usize>(sender: &mut impl Sender<N>, load: Load) {
    let mut message = [0x5A; N];
    for number in 0..load.total {
        message[..8].copy_from_slice(&number.to_ne_bytes());
        message[N - 8..].copy_from_slice(&(!number).to_ne_bytes());
        while !sender.send(&message) {
            sender.flush();
            std::hint::spin_loop();
        }
    }
    sender.flush();
}

/// Receives all messages of a load, verifies them, and gives the time of those after the warm-up.
#[inline(never)]
fn receive_all<const N: usize>(receiver: &mut impl Receiver<N>, load: Load) -> u64 {
    let mut message = [0; N];
    let mut start = 0;
    for number in 0..load.total {
        if number == load.warm {
            start = machine::now_ns();
        }
        while !receiver.receive(&mut message) {
            std::hint::spin_loop();
        }
        let first = u64::from_ne_bytes(message[..8].try_into().expect("8 bytes"));
        let last = u64::from_ne_bytes(message[N - 8..].try_into().expect("8 bytes"));
        assert!(first == number && last == !number, "message {number} arrived as {first}, {last}");
        if number % 256 == 0 {
            let middle = message.get(8..N - 8).unwrap_or_default();
            assert!(middle.iter().all(|byte| *byte == 0x5A), "message {number} is damaged");
        }
    }
    machine::now_ns() - start
}

/// Runs a thread-only transport: sender here, receiver in a second thread.
fn in_threads<const N: usize>(
    load: Load,
    mut sender: impl Sender<N>,
    mut receiver: impl Receiver<N> + Send,
) -> u64 {
    std::thread::scope(|scope| {
        let receiving = scope.spawn(move || {
            machine::pin(load.cores.1);
            receive_all(&mut receiver, load)
        });
        machine::pin(load.cores.0);
        send_all(&mut sender, load);
        receiving.join().expect("the receiver verified all")
    })
}

pub(crate) fn plan(options: &Options) -> Plan {
    let mut groups = Vec::new();
    for ring_len in [MIB, MIB / 16] {
        groups.push(one_way::<16>(ring_len, options));
        groups.push(one_way::<64>(ring_len, options));
        groups.push(one_way::<256>(ring_len, options));
        groups.push(one_way::<1024>(ring_len, options));
        groups.push(one_way::<4096>(ring_len, options));
        if ring_len == MIB {
            groups.push(one_way::<65536>(ring_len, options));
        }
    }
    let cores = options.cores;
    for (title, case) in
        [("records 64 B", ours::records::<64> as fn(_) -> _), ("records 1024 B", ours::records::<1024>)]
    {
        let len = if title.contains("1024") { 1024 } else { 64 };
        let load = Load::new(MIB, len, options);
        let bytes = move || if len == 64 { ours::bytes::<64>(load) } else { ours::bytes::<1024>(load) };
        groups.push(Group {
            title: format!("{title}, 1024 KiB"),
            unit: "M/s",
            against: &["bytes"],
            better: Better::Higher,
            chart: None,
            cases: vec![
                Case::new("bytes", move || load.rate(bytes()) * 1e3),
                Case::new("records", move || load.rate(case(load)) * 1e3),
            ],
        });
    }
    groups.push(Group {
        title: "round trip 64 B, polled".into(),
        unit: "ns",
        against: &["raw"],
        better: Better::Lower,
        chart: None,
        cases: vec![
            Case::new("raw atomics", move || limits::ping_pong(cores)),
            Case::new("monshm", move || ours::ping_pong(cores)),
        ],
    });
    groups.push(Group {
        title: "write and read 8 B, one thread".into(),
        unit: "ns",
        against: &["rtrb"],
        better: Better::Lower,
        chart: None,
        cases: vec![
            Case::new("rtrb", move || peers::rtrb_alone(cores.0)),
            Case::new("monshm", move || ours::alone(cores.0)),
        ],
    });
    Plan { suite: "ring", groups }
}

/// All transports of N-byte messages through a ring of one size.
fn one_way<const N: usize>(ring_len: usize, options: &Options) -> Group<'static> {
    let load = Load::new(ring_len, N, options);
    let gib = N >= 64;
    let figure = move |ns: u64| load.rate(ns) * if gib { N as f64 / 1.073_741_824 } else { 1e3 };
    let case = |name: &str, run: fn(Load) -> u64| Case::new(name, move || figure(run(load)));
    let mut cases = vec![
        case("monshm", ours::bytes::<N>),
        case("peer rtrb", peers::rtrb::<N>),
        case("peer ringbuf", peers::ringbuf::<N>),
        case("peer cueue", peers::cueue::<N>),
        case("peer bbqueue", peers::bbqueue::<N>),
        case("peer crossbeam", peers::crossbeam::<N>),
    ];
    if let Some(heapless) = peers::heapless::<N>(ring_len) {
        cases.push(case("peer heapless", heapless));
    }
    if N <= 64 {
        cases.push(case("monshm batches of 64", ours::batches::<N>));
    }
    if N >= 4096 {
        cases.push(case("limit", limits::write_beside_read));
    }
    Group {
        title: format!("one way {N} B, {} KiB", ring_len / 1024),
        unit: if gib { "GiB/s" } else { "M/s" },
        against: if N >= 4096 { &["limit", "peer"] } else { &["peer"] },
        better: Better::Higher,
        chart: Some(Chart::Line {
            picture: format!("one way through {} KiB", ring_len / 1024),
            x_label: "bytes of a message".into(),
            x: N as f64,
            y_label: "GiB/s".into(),
            y_scale: if gib { 1.0 } else { N as f64 / 1.073_741_824e3 },
        }),
        cases,
    }
}
