//! The thread that kills at a chosen time, so that the survivor can wait for the lock meanwhile.
//!
//! It knows no segment. The time of the kill is read just before the signal is sent.

use harness::{Child, now_ns};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, pidfd_send_signal};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// The nanoseconds before a kill that are waited for without sleeping.
const SPIN_NS: u64 = 60_000;

/// How long the end of a process that was killed is waited for.
const DEATH_TIMEOUT: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// When the last order was carried out, in nanoseconds of [`now_ns`]; 0 before.
#[derive(Debug, Default)]
struct Times {
    killed_at_ns: AtomicU64,
    dead_at_ns: AtomicU64,
}

/// The thread. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Killer {
    orders: Option<Sender<(OwnedFd, u64)>>,
    times: Arc<Times>,
    thread: Option<JoinHandle<()>>,
}

impl Killer {
    /// Starts the thread.
    pub(crate) fn start() -> Self {
        let (orders, received) = channel::<(OwnedFd, u64)>();
        let times = Arc::new(Times::default());
        let noted = Arc::clone(&times);
        let thread = std::thread::spawn(move || {
            for (process, at_ns) in received {
                sleep_until(at_ns);
                // Release, here and below: pairs with the Acquire in `killed_at` and `dead_at`.
                noted.killed_at_ns.store(now_ns(), Ordering::Release);
                // It may have ended by itself, which the survivor sees by how it ended.
                let _ = pidfd_send_signal(&process, Signal::KILL);
                let _ = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&DEATH_TIMEOUT));
                noted.dead_at_ns.store(now_ns(), Ordering::Release);
            }
        });
        Self { orders: Some(orders), times, thread: Some(thread) }
    }

    /// Orders the kill of `child` in `delay_ns`.
    pub(crate) fn order(&self, child: &Child, delay_ns: u64) -> io::Result<()> {
        self.times.killed_at_ns.store(0, Ordering::Relaxed);
        self.times.dead_at_ns.store(0, Ordering::Relaxed);
        let order = (child.pidfd()?, now_ns().saturating_add(delay_ns));
        if let Some(orders) = &self.orders {
            // The thread ends when we drop the sender, not before.
            let _ = orders.send(order);
        }
        Ok(())
    }

    /// When the kill ordered last was done, in nanoseconds of [`now_ns`]; `None` before.
    pub(crate) fn killed_at(&self) -> Option<u64> {
        // Acquire: pairs with the Release in the thread.
        Some(self.times.killed_at_ns.load(Ordering::Acquire)).filter(|at_ns| *at_ns != 0)
    }

    /// When the process that was killed last had ended, so that the kernel had released all that it held: the signal
    /// only begins that, and on a busy machine the dying waits for a processor too. Waits for that, not for ever.
    pub(crate) fn dead_at(&self) -> Option<u64> {
        let until_ns = now_ns() + 1_000_000_000;
        while now_ns() < until_ns {
            match self.times.dead_at_ns.load(Ordering::Acquire) {
                0 => std::thread::sleep(Duration::from_micros(20)),
                at_ns => return Some(at_ns),
            }
        }
        None
    }
}

impl Drop for Killer {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // It does not panic.
            let _ = thread.join();
        }
    }
}

fn sleep_until(at_ns: u64) {
    let left_ns = at_ns.saturating_sub(now_ns());
    if left_ns > SPIN_NS {
        std::thread::sleep(Duration::from_nanos(left_ns - SPIN_NS));
    }
    while now_ns() < at_ns {
        std::hint::spin_loop();
    }
}
