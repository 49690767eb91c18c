//! The thread that kills at a chosen time, so that the survivor can wait for the lock meanwhile.
//!
//! It knows no segment. The time of the kill is read just before the signal is sent.

use crate::tracer::Pid;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// The nanoseconds before a kill that are waited for without sleeping.
const SPIN_NS: u64 = 60_000;

/// The thread. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Executioner {
    orders: Option<Sender<(Pid, u64)>>,
    killed_at_ns: Arc<AtomicU64>,
    dead_at_ns: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Executioner {
    /// Starts the thread.
    pub(crate) fn start() -> Self {
        let (orders, received) = channel::<(Pid, u64)>();
        let killed_at_ns = Arc::new(AtomicU64::new(0));
        let dead_at_ns = Arc::new(AtomicU64::new(0));
        let (told, told_dead) = (Arc::clone(&killed_at_ns), Arc::clone(&dead_at_ns));
        let thread = std::thread::spawn(move || {
            for (pid, at_ns) in received {
                let death = Death::of(pid);
                sleep_until(at_ns);
                // Release, here and below: pairs with the Acquire in `killed_at` and `dead_at`.
                told.store(now_ns(), Ordering::Release);
                pid.kill();
                death.await_it();
                told_dead.store(now_ns(), Ordering::Release);
            }
        });
        Self { orders: Some(orders), killed_at_ns, dead_at_ns, thread: Some(thread) }
    }

    /// Orders the kill of `pid` in `delay_ns`.
    pub(crate) fn order(&self, pid: Pid, delay_ns: u64) {
        self.killed_at_ns.store(0, Ordering::Relaxed);
        self.dead_at_ns.store(0, Ordering::Relaxed);
        if let Some(orders) = &self.orders {
            // The thread ends when we drop the sender, not before.
            let _ = orders.send((pid, now_ns().saturating_add(delay_ns)));
        }
    }

    /// When the kill ordered last was done, in nanoseconds of [`now_ns`]; `None` before.
    pub(crate) fn killed_at(&self) -> Option<u64> {
        // Acquire: pairs with the Release in the thread.
        Some(self.killed_at_ns.load(Ordering::Acquire)).filter(|at_ns| *at_ns != 0)
    }
}

impl Executioner {
    /// When the one who was killed last had ended, so that the kernel had let go of all that it held: the signal only
    /// begins that, and on a busy machine the dying waits for a processor too. Waits for the news, not for ever.
    pub(crate) fn dead_at(&self) -> Option<u64> {
        let until_ns = now_ns() + 1_000_000_000;
        while now_ns() < until_ns {
            match self.dead_at_ns.load(Ordering::Acquire) {
                0 => std::thread::sleep(Duration::from_micros(20)),
                at_ns => return Some(at_ns),
            }
        }
        None
    }
}

/// A process whose end is waited for: pidfd_open(2).
struct Death(Option<OwnedFd>);

impl Death {
    fn of(pid: Pid) -> Self {
        // SAFETY: takes numbers only.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.0, 0) };
        // SAFETY: the descriptor was just made and belongs to nobody else.
        Self((fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd as RawFd) }))
    }

    fn await_it(&self) {
        let Some(fd) = &self.0 else { return };
        let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd is read and written.
        unsafe { libc::poll(&raw mut poll, 1, 5_000) };
    }
}

impl Drop for Executioner {
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

/// CLOCK_MONOTONIC in nanoseconds.
pub(crate) fn now_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is valid for the write.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
