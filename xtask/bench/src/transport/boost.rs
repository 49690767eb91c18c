//! Boost.Interprocess message_queue and boost::lockfree::spsc_queue, the latter in shared memory. Their C++ is in
//! `cpp/boost.cpp`; where it could not be built, `list` has both as skipped, with the build script's reason.
//!
//! The message queue loses its name as soon as it is made; both processes inherit the mapping.

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_void};
use std::ptr::NonNull;

use super::{Mode, Plan, Receiver, Sender, Side, Transport};
use crate::machine::Pages;

/// How one instance of the C++ template is used; as `Spsc` in `cpp/boost.cpp`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Spsc {
    size: usize,
    construct: Option<unsafe extern "C" fn(*mut c_void)>,
    push: Option<unsafe extern "C" fn(*mut c_void, *const c_void) -> bool>,
    pop: Option<unsafe extern "C" fn(*mut c_void, *mut c_void) -> bool>,
}

unsafe extern "C" {
    fn bench_mq_new(name: *const c_char, places: usize, len: usize, why: *mut c_char, why_len: usize) -> *mut c_void;
    fn bench_mq_drop(queue: *mut c_void);
    fn bench_mq_send(queue: *mut c_void, from: *const c_void, len: usize, wait: c_int) -> c_int;
    fn bench_mq_receive(queue: *mut c_void, to: *mut c_void, len: usize, wait: c_int) -> c_long;
    fn bench_spsc(len: usize, ring_len: usize) -> Spsc;
}

pub(super) struct MessageQueue {
    queue: NonNull<c_void>,
    wait: c_int,
}

impl Drop for MessageQueue {
    fn drop(&mut self) {
        // SAFETY: made by `bench_mq_new` in this process or the one it was forked from; dropped once in each.
        unsafe { bench_mq_drop(self.queue.as_ptr()) };
    }
}

impl<const N: usize> Transport<N> for MessageQueue {
    type Sender = Self;
    type Receiver = Self;

    fn make(plan: &Plan) -> Result<Self, String> {
        let name = CString::new(format!("monshm-bench-{}", std::process::id())).expect("no NUL");
        let mut why = [0; 200];
        // SAFETY: name and text outlive the call, which ends the text with a NUL.
        let queue = unsafe {
            let why = why.as_mut_ptr();
            bench_mq_new(name.as_ptr(), plan.places(N)?, N, why.cast(), 200)
        };
        let queue = NonNull::new(queue).ok_or_else(|| {
            let said = CStr::from_bytes_until_nul(&why).map(CStr::to_string_lossy);
            format!("message_queue: {}", said.unwrap_or_default())
        })?;
        Ok(Self { queue, wait: (plan.mode == Mode::Blocking).into() })
    }

    fn sender(self, _: Side) -> Result<Self, String> {
        Ok(self)
    }

    fn receiver(self, _: Side) -> Result<Self, String> {
        Ok(self)
    }
}

impl<const N: usize> Sender<N> for MessageQueue {
    #[inline(always)]
    fn send(&mut self, message: &[u8; N]) -> bool {
        // SAFETY: a living queue and N readable bytes.
        match unsafe { bench_mq_send(self.queue.as_ptr(), message.as_ptr().cast(), N, self.wait) } {
            1 => true,
            0 => false,
            _ => panic!("message_queue threw an exception"),
        }
    }
}

impl<const N: usize> Receiver<N> for MessageQueue {
    #[inline(always)]
    fn receive(&mut self, message: &mut [u8; N]) -> bool {
        // SAFETY: a living queue and N writable bytes.
        match unsafe { bench_mq_receive(self.queue.as_ptr(), message.as_mut_ptr().cast(), N, self.wait) } {
            0 => false,
            len if len == N as c_long => true,
            len => panic!("message_queue gave {len} B, or threw an exception"),
        }
    }
}

/// Lies in pages that both processes inherit.
pub(super) struct SpscQueue {
    pages: Pages,
    push: unsafe extern "C" fn(*mut c_void, *const c_void) -> bool,
    pop: unsafe extern "C" fn(*mut c_void, *mut c_void) -> bool,
}

impl<const N: usize> Transport<N> for SpscQueue {
    type Sender = Self;
    type Receiver = Self;

    fn make(plan: &Plan) -> Result<Self, String> {
        plan.polled_only("boost::lockfree::spsc_queue")?;
        // SAFETY: a pure function.
        let spsc = unsafe { bench_spsc(N, plan.ring_len) };
        let Spsc { size, construct: Some(construct), push: Some(push), pop: Some(pop) } = spsc else {
            return Err(format!("no instance for {N} B through {} B", plan.ring_len));
        };
        let pages = Pages::new(size);
        // SAFETY: `size` bytes that nobody else has, aligned to a page.
        unsafe { construct(pages.base.as_ptr().cast()) };
        Ok(Self { pages, push, pop })
    }

    fn sender(self, _: Side) -> Result<Self, String> {
        Ok(self)
    }

    fn receiver(self, _: Side) -> Result<Self, String> {
        Ok(self)
    }
}

impl<const N: usize> Sender<N> for SpscQueue {
    #[inline(always)]
    fn send(&mut self, message: &[u8; N]) -> bool {
        // SAFETY: a queue of N-byte messages in living pages, one sender; N readable bytes.
        unsafe { (self.push)(self.pages.base.as_ptr().cast(), message.as_ptr().cast()) }
    }
}

impl<const N: usize> Receiver<N> for SpscQueue {
    #[inline(always)]
    fn receive(&mut self, message: &mut [u8; N]) -> bool {
        // SAFETY: a queue of N-byte messages in living pages, one receiver; N writable bytes.
        unsafe { (self.pop)(self.pages.base.as_ptr().cast(), message.as_mut_ptr().cast()) }
    }
}
