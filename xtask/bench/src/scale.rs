//! The suite of scale: 1, 10, 100 and 1,000 segments created, handed over to a second process that keeps them, and what
//! each of them costs in time, file descriptors and heap, beside the bare system calls.
//!
//! The time runs from before the first is created until the last is attached; letting go is told apart.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};

use monshm::{DEFAULT_TIMEOUT, MemoryKind, Segment};

use crate::bare::{self, Bare, SIZE};
use crate::machine::{self, Footprint, Pages};
use crate::model::{Better, Chart};
use crate::options::Options;
use crate::rounds::{Case, Group, Plan, Sample};
use crate::setup;

pub(crate) fn plan(options: &Options) -> Plan {
    let mut groups = Vec::new();
    for memory in setup::MEMORIES {
        groups.extend([1, 10, 100, 1000].map(|count| group(memory, count, options)));
    }
    Plan { suite: "scale", groups }
}

fn group(memory: MemoryKind, count: u64, options: &Options) -> Group<'static> {
    let load = Load { count, repeats: (options.load(1000) / count).max(1), cores: options.cores };
    Group {
        title: format!("create, hand over, attach: {memory}, segments: {count}"),
        unit: "us",
        better: Better::Lower,
        against: &["bare"],
        chart: Some(Chart {
            picture: "create, hand over, attach".into(),
            x_label: "segments held by both sides".into(),
            x: count as f64,
            y_label: "us a segment".into(),
            y_scale: 1.0,
        }),
        cases: vec![
            Case::fallible(format!("monshm {memory}"), move || {
                drop(setup::create(memory)?);
                Ok(run(load, |socket| send_ours(memory, socket), receive_ours))
            }),
            Case::new(format!("bare {memory}"), move || {
                let receive = |socket: &UnixStream| bare::receive(memory, socket);
                run(load, |socket| send_bare(memory, socket), receive)
            }),
        ],
    }
}

fn send_ours(memory: MemoryKind, socket: &UnixStream) -> Segment {
    let segment = setup::create(memory).expect("a segment");
    segment.send(socket, DEFAULT_TIMEOUT).expect("the peer attaches");
    segment
}

fn receive_ours(socket: &UnixStream) -> Segment {
    Segment::receive(socket, SIZE, DEFAULT_TIMEOUT).expect("a segment comes")
}

fn send_bare(memory: MemoryKind, socket: &UnixStream) -> Bare {
    let (mapped, handle) = bare::create(memory);
    bare::send(handle, socket);
    mapped
}

/// How many segments are held at once, and how often.
#[derive(Clone, Copy, Debug)]
struct Load {
    count: u64,
    repeats: u64,
    cores: (usize, usize),
}

/// Hands `count` segments over, and lets go of them, again and again.
fn run<M, T>(load: Load, send: impl Fn(&UnixStream) -> M, receive: impl Fn(&UnixStream) -> T) -> Sample {
    let (ours, theirs) = UnixStream::pair().expect("a socket pair");
    let pages = Pages::new(4096);
    // SAFETY: the first words of a page, aligned; the other process writes them before it answers.
    let reported = |index: usize| unsafe { pages.base.cast::<AtomicU64>().add(index).as_ref() };
    let peer = || {
        for _ in 0..load.repeats {
            let before = Footprint::read();
            let held: Vec<T> = (0..load.count).map(|_| receive(&theirs)).collect();
            let grown = Footprint::read().since(before);
            reported(0).store(grown.fds, Ordering::Release);
            reported(1).store(grown.heap_bytes, Ordering::Release);
            say(&theirs);
            hear(&theirs);
            drop(held);
            say(&theirs);
        }
    };
    machine::beside(load.cores, peer, || {
        let (mut took_ns, mut let_go_ns, mut grown) = (0, 0, Footprint::default());
        for _ in 0..load.repeats {
            let before = Footprint::read();
            let began = machine::now_ns();
            let held: Vec<M> = (0..load.count).map(|_| send(&ours)).collect();
            took_ns += machine::now_ns() - began;
            hear(&ours);
            grown = Footprint::read().since(before);
            say(&ours);
            hear(&ours);
            let began = machine::now_ns();
            drop(held);
            let_go_ns += machine::now_ns() - began;
        }
        let each_us = |ns: u64| ns as f64 / 1e3 / (load.count * load.repeats) as f64;
        let each = |sum: u64| sum as f64 / load.count as f64;
        Sample {
            figure: each_us(took_ns),
            details: vec![
                ("let go by the creator", "us", each_us(let_go_ns)),
                ("fds, creator", "each", each(grown.fds)),
                ("fds, peer", "each", each(reported(0).load(Ordering::Acquire))),
                ("heap, creator", "B", each(grown.heap_bytes)),
                ("heap, peer", "B", each(reported(1).load(Ordering::Acquire))),
            ],
            distribution: None,
        }
    })
}

fn say(mut socket: &UnixStream) {
    socket.write_all(&[1]).expect("the other side is there");
}

fn hear(mut socket: &UnixStream) {
    socket.read_exact(&mut [0]).expect("the other side is there");
}
