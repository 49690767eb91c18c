//! The suite of the limits: what the machine itself costs, measured beside everything else.
//!
//! Nothing of ours and no peer is here. A limit that a group of another suite is compared with is measured there again,
//! in the same rounds.

mod lines;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::machine::{self, Pages};
use crate::model::Better;
use crate::options::Options;
use crate::ring;
use crate::rounds::{Case, Group, Plan};

use lines::Side;

pub(crate) fn plan(options: &Options) -> Plan {
    let cores = options.cores;
    let (trips, wakes, calls) = (options.load(400_000), options.load(40_000), options.load(1_000_000));
    let limit = |title: &str, unit, better, cases| Group {
        title: format!("limit: {title}"),
        unit,
        better,
        against: &[],
        chart: None,
        cases,
    };
    let times = vec![
        Case::new("bare system call", move || each(calls, system_call)),
        Case::new("clock_gettime", move || each(calls, machine::now_ns)),
        Case::new("futex wake, nobody waits", move || {
            let pages = Pages::new(4096);
            each(calls, || wake(word32(&pages, 0)))
        }),
        Case::new("cache line, core to core and back", move || line_ping_pong(trips, cores)),
        Case::new("futex wake-up of another process and back", move || futex_ping_pong(wakes, cores)),
    ];
    let mut rates: Vec<Case<'static>> = Vec::new();
    for len in [64 << 10, 1 << 20] {
        let kib = len >> 10;
        let bytes = options.load(4 << 30);
        rates.push(Case::new(format!("memcpy of {kib} KiB, one core"), move || memcpy(len, bytes)));
        let load = ring::Load::new(len, 4096, options);
        rates.push(Case::new(format!("{kib} KiB, one core writes, the other reads"), move || {
            load.rate(ring::limits::write_beside_read(load)) * 4096.0 / 1.073_741_824
        }));
    }
    let laps = options.load(40).max(4);
    let mut lines: Vec<Case<'static>> = Vec::new();
    for (len, kib) in [(64 << 10, 64), (1 << 20, 1024)] {
        for (flushes, what) in [(false, ""), (true, ", and flushed")] {
            for (side, verb) in [(Side::Writer, "write what was read"), (Side::Reader, "read what was written")] {
                let name = format!("{verb}{what}, {kib} KiB");
                lines.push(Case::new(name, move || lines::in_turn(len, laps, cores, flushes, side)));
            }
        }
    }
    Plan {
        suite: "limits",
        groups: vec![
            limit("calls and lines", "ns", Better::Lower, times),
            limit("a line, in turn with the other core", "ns", Better::Lower, lines),
            limit("memory", "GiB/s", Better::Higher, rates),
        ],
    }
}

/// Nanoseconds of one call.
fn each<T>(calls: u64, mut call: impl FnMut() -> T) -> f64 {
    for _ in 0..calls / 10 {
        call();
    }
    let began = machine::now_ns();
    for _ in 0..calls {
        call();
    }
    (machine::now_ns() - began) as f64 / calls as f64
}

/// One that does nothing in the kernel, and that libc does not answer by itself.
fn system_call() {
    // SAFETY: takes nothing, changes nothing.
    unsafe { libc::syscall(libc::SYS_getppid) };
}

fn word32(pages: &Pages, at: usize) -> &AtomicU32 {
    // SAFETY: `at` is 0 or 256, inside the page and aligned.
    unsafe { pages.base.add(at).cast::<AtomicU32>().as_ref() }
}

fn wake(word: &AtomicU32) -> i64 {
    // SAFETY: the word is mapped.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1) }
}

/// Sleeps until the word is not `value`.
fn sleep_while(word: &AtomicU32, value: u32) {
    while word.load(Ordering::Acquire) == value {
        // SAFETY: the word is mapped; no timeout, for the other side always comes.
        unsafe {
            let forever = std::ptr::null::<libc::timespec>();
            libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, value, forever);
        }
    }
}

/// One word that two cores raise in turn, nanoseconds there and back.
fn line_ping_pong(trips: u64, cores: (usize, usize)) -> f64 {
    let pages = Pages::new(4096);
    // SAFETY: the start of the page, aligned.
    let word = unsafe { pages.base.cast::<AtomicU64>().as_ref() };
    let raise_on = |turn: u64| {
        while word.load(Ordering::Acquire) != turn {
            std::hint::spin_loop();
        }
        word.store(turn + 1, Ordering::Release);
    };
    let other = || (0..trips).for_each(|trip| raise_on(2 * trip + 1));
    let ns = machine::beside(cores, other, || {
        let warm = trips / 10;
        (0..warm).for_each(|trip| raise_on(2 * trip));
        let began = machine::now_ns();
        (warm..trips).for_each(|trip| raise_on(2 * trip));
        machine::now_ns() - began
    });
    assert!(word.load(Ordering::Acquire) == 2 * trips, "a turn was lost");
    ns as f64 / (trips - trips / 10) as f64
}

/// Two processes that sleep in turn, nanoseconds there and back.
fn futex_ping_pong(trips: u64, cores: (usize, usize)) -> f64 {
    let pages = Pages::new(4096);
    let (there, back) = (word32(&pages, 0), word32(&pages, 256));
    let other = || {
        for trip in 0..trips as u32 {
            sleep_while(there, trip);
            back.store(trip + 1, Ordering::Release);
            wake(back);
        }
    };
    let ns = machine::beside(cores, other, || {
        let began = machine::now_ns();
        for trip in 0..trips as u32 {
            there.store(trip + 1, Ordering::Release);
            wake(there);
            sleep_while(back, trip);
        }
        machine::now_ns() - began
    });
    ns as f64 / trips as f64
}

/// The C library's copy between two buffers of this process, GiB/s; about `total` bytes.
fn memcpy(len: usize, total: u64) -> f64 {
    let (mut from, mut to) = (vec![0x5A_u8; len], vec![0_u8; len]);
    let copies = (total / len as u64).max(1);
    let mut number = 0_u8;
    let ns = each(copies, || {
        number = number.wrapping_add(1);
        from[len - 1] = number;
        std::hint::black_box(&mut to).copy_from_slice(std::hint::black_box(&from));
    });
    assert_eq!(to[len - 1], number, "the last copy came whole");
    len as f64 / ns / 1.073_741_824
}
